//! A pool of worker processes behind the executor interface
