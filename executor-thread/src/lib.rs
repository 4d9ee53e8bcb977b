//! Threads behind the executor interface
