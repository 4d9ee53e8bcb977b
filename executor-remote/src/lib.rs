//! Machines reached over TCP behind the executor interface
