//! Before `main`: a process that was started as a worker follows its parent, whether or not its `main` calls `init`.
//!
//! In a program that forgot `init`, a worker does whatever the program does, until `start_timeout` ends it. That must not go
//! on when the program is killed meanwhile.

use super::worker;

/// The loader calls it.
// SAFETY of the section: it holds functions that the loader calls; it passes arguments, which this one does not read.
#[used]
#[unsafe(link_section = ".init_array")]
static FOLLOW: extern "C" fn() = follow;

/// In a process that bears no mark, this looks at one environment variable.
extern "C" fn follow() {
    worker::follow_if_marked();
}
