//! The examples print what their README says, on every backend.

mod readme;
mod support;

use readme::{assert_prints, expected};
use support::{Backends, root, run};

#[test]
fn quickstart_prints_what_the_readme_says() {
    let backends = Backends::start();
    for url in backends.urls() {
        let isolates = url.starts_with("process") || url.starts_with("tcp");
        assert_prints("quickstart", &[&url], &expected("quickstart", usize::from(isolates)));
    }
}

#[test]
fn checksum_prints_what_the_readme_says() {
    let files = ["LICENSE", "LICENSE-APACHE", "LICENSE-MIT"];
    let backends = Backends::start();
    for url in backends.urls() {
        let arguments = [&["--executor", &url][..], &files].concat();
        assert_prints("checksum", &arguments, &expected("checksum", 0));
    }
}

#[test]
fn pool_prints_what_the_readme_says() {
    let backends = Backends::start();
    for url in backends.urls() {
        assert_prints("pool", &[&url], &expected("pool", 0));
    }
}

#[test]
fn swap_prints_what_the_readme_says_for_each_file() {
    let backends = Backends::start();
    let folder = root().join("examples/examples/swap");
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    assert_prints("swap", &[&file("thread.toml")], &expected("swap", 0));
    assert_prints("swap", &[&file("process.toml")], &expected("swap", 1));

    // The file names the port that a reader would choose; here it has to be a free one.
    let text = std::fs::read_to_string(file("tcp.toml")).unwrap();
    let at_hand = text.replace("\"127.0.0.1:7077\"", &format!("\"{}\"", backends.agent()));
    assert_ne!(text, at_hand);
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("tcp.toml");
    std::fs::write(&path, at_hand).unwrap();
    assert_prints("swap", &[path.to_str().unwrap()], &expected("swap", 2));
}

#[test]
fn queue_prints_what_the_readme_says() {
    assert_prints("queue", &[], &expected("queue", 0));
}

#[test]
fn pipe_prints_what_the_readme_says() {
    assert_prints("pipe", &[], &expected("pipe", 0));
}

#[test]
fn lock_prints_what_the_readme_says_in_any_order() {
    let output = run::<&str>("lock", &[]);
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = printed.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, expected("lock", 0).lines().collect::<Vec<_>>());
}

#[test]
fn shared_memory_prints_what_the_readme_says() {
    assert_prints("shared_memory", &[], &expected("shared_memory", 0));
}

#[test]
fn cluster_prints_what_the_readme_says() {
    assert_prints("cluster", &[], &expected("cluster", 0));
}

#[test]
fn start_methods_prints_what_the_readme_says_for_each_method() {
    assert_prints("start_methods", &[], &expected("start_methods", 0));
    assert_prints("start_methods", &["forkserver"], &expected("start_methods", 1));
    assert_prints("start_methods", &["fork"], &expected("start_methods", 1));
}

#[test]
fn process_prints_what_the_readme_says() {
    assert_prints("process", &[], &expected("process", 0));
}

#[test]
fn connection_echo_prints_what_the_readme_says() {
    assert_prints("connection_echo", &[], &expected("connection_echo", 0));
}

#[test]
fn manager_prints_what_the_readme_says() {
    assert_prints("manager", &[], &expected("manager", 0));
}
