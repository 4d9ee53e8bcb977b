//! What the README of the examples says that they print.

use crate::support::{root, run};

/// The section about an example.
pub fn section(example: &str) -> String {
    let readme = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    let section = readme.split("\n## ").find(|it| it.lines().next() == Some(example));
    section.unwrap_or_else(|| panic!("the README has no section `{example}`")).to_owned()
}

/// The n-th block of output in the section about an example.
pub fn expected(example: &str, n: usize) -> String {
    let section = section(example);
    let block = section.split("\n```text\n").nth(n + 1).and_then(|it| it.split_once("```"));
    block.unwrap_or_else(|| panic!("`{example}` has no block {n}")).0.to_owned()
}

/// An example that prints what is wanted, and ends well.
#[track_caller]
pub fn assert_prints(example: &str, arguments: &[&str], wanted: &str) {
    let output = run(example, arguments);
    assert!(output.status.success(), "{example} {arguments:?}: {output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted, "{example} {arguments:?}");
}
