//! What must not compile, with the message that its user sees, and what must be inferred.
//!
//! The messages are rustc's own: after an update of the toolchain they are written anew by `TRYBUILD=overwrite`.

#[test]
fn wrong_tasks_are_refused_by_the_compiler_and_right_ones_are_inferred() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/fail/*.rs");
    cases.pass("tests/ui/pass/*.rs");
}
