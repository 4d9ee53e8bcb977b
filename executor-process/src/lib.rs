//! A pool of worker processes behind the executor interface\n
#[doc(hidden)]
pub mod board;
pub mod limits;
#[doc(hidden)]
pub mod transport;
