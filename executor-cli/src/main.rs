//! The `executor` command.
fn main() {}
