//! A pool of worker processes behind the executor interface
//!
//! The system layer below the pool, bottom up:
//!
//! * [`board`]: shared memory in which parent and worker agree on what had begun and what is finished;
//! * [`transport`]: frames over the private channel of a worker;
//! * [`sys`]: starting a worker, being one, and how it ended;
//! * [`limits`]: how many workers this machine allows.
//!
//! The first three are for the pool and say nothing about tasks; they are public for its tests.

#[doc(hidden)]
pub mod board;
pub mod limits;
#[doc(hidden)]
pub mod sys;
#[doc(hidden)]
pub mod transport;
