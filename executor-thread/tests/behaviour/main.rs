//! What `thread://` promises. No test waits for a time to pass, except for time limits themselves.

mod asynchronous;
mod cancel;
mod ends;
mod order;
mod parallel;
mod scopes;
mod support;
mod values;
mod waits;
