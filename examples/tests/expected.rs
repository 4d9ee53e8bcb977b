//! The examples print what their README says, on every backend.

mod support;

use support::{root, run, urls};

/// The n-th block of output in the section about an example.
fn expected(example: &str, n: usize) -> String {
    let readme = std::fs::read_to_string(root().join("examples/README.md")).unwrap();
    let section = readme.split("\n## ").find(|it| it.lines().next() == Some(example));
    let section = section.unwrap_or_else(|| panic!("the README has no section `{example}`"));
    let block = section.split("\n```text\n").nth(n + 1).and_then(|it| it.split_once("```"));
    block.unwrap_or_else(|| panic!("`{example}` has no block {n}")).0.to_owned()
}

#[track_caller]
fn assert_prints(example: &str, arguments: &[&str], wanted: &str) {
    let output = run(example, arguments);
    assert!(output.status.success(), "{example} {arguments:?}: {output:?}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), wanted, "{example} {arguments:?}");
}

#[test]
fn quickstart_prints_what_the_readme_says() {
    for url in urls() {
        let isolates = url.starts_with("process") || url.starts_with("tcp");
        assert_prints("quickstart", &[&url], &expected("quickstart", usize::from(isolates)));
    }
}

#[test]
fn checksum_prints_what_the_readme_says() {
    let files = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"];
    for url in urls() {
        let arguments = [&["--executor", &url][..], &files].concat();
        assert_prints("checksum", &arguments, &expected("checksum", 0));
    }
}

#[test]
fn pool_prints_what_the_readme_says() {
    for url in urls() {
        assert_prints("pool", &[&url], &expected("pool", 0));
    }
}
