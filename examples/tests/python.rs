//! The examples and the `python3` of the machine understand each other, as the README says.

mod readme;
#[allow(dead_code, reason = "the backends are for other tests")]
mod support;

use std::process::Command;

use examples::Listening;
use readme::{assert_prints, expected, section};
use support::{program, root};

#[test]
fn connection_echo_answers_the_lines_of_python() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("echo").display().to_string();
    let lines = python_lines("connection_echo");
    let [over_tcp, over_unix] = &lines[..] else { panic!("{lines:?}") };

    let mut server = serve("connection_echo", "127.0.0.1:0");
    assert_eq!(shell(&over_tcp.replace("25000", port(&server))), expected("connection_echo", 1));
    assert_eq!(server.line().unwrap() + "\n", expected("connection_echo", 1));

    let mut server = serve("connection_echo", &format!("unix:{path}"));
    assert_eq!(shell(&over_unix.replace("/tmp/echo", &path)), expected("connection_echo", 1));
    assert_eq!(server.line().unwrap() + "\n", expected("connection_echo", 1));
}

#[test]
fn rpc_server_and_rpc_client_print_what_the_readme_says() {
    let server = serve("rpc_server", "127.0.0.1:0");
    assert_eq!(expected("rpc_server", 0), "listening on 127.0.0.1:25000\n");
    assert_prints("rpc_client", &[server.address()], &expected("rpc_client", 0));
    let line = python_lines("rpc_server")[0].replace("127.0.0.1:25000", server.address());
    assert_eq!(shell(&line), expected("rpc_server", 1));
}

#[test]
fn rpc_client_prints_what_the_readme_says_of_a_python_server() {
    let line = &python_lines("rpc_client")[0];
    let script = line.strip_suffix("127.0.0.1:25001").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {script} 127.0.0.1:0")]).current_dir(root());
    let server = Listening::start(&mut command).unwrap();
    assert_prints("rpc_client", &["--pickle", server.address()], &expected("rpc_client", 1));
}

#[test]
fn manager_answers_the_line_of_python() {
    let server = serve("manager", "127.0.0.1:0");
    let line = python_lines("manager")[0].replace("25000", port(&server));
    assert_eq!(shell(&line), expected("manager", 1));
}

/// The command lines that start Python in the section about an example.
fn python_lines(example: &str) -> Vec<String> {
    section(example)
        .lines()
        .filter_map(|it| it.strip_prefix("    "))
        .filter(|it| it.starts_with("python3 "))
        .map(str::to_owned)
        .collect()
}

/// What a command line prints, which must succeed.
#[track_caller]
fn shell(line: &str) -> String {
    let output = Command::new("timeout").args(["60", "sh", "-c", line]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}; is there a python3?");
    String::from_utf8(output.stdout).unwrap()
}

/// An example that listens.
fn serve(example: &str, address: &str) -> Listening {
    Listening::start(Command::new(program(example)).arg(address).current_dir(root())).unwrap()
}

fn port(server: &Listening) -> &str {
    server.address().rsplit(':').next().unwrap()
}

/// The n-th piece of Python in the README of the project.
fn python_of_the_readme(n: usize) -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let block = readme.split("\n```python\n").nth(n + 1).and_then(|it| it.split_once("\n```"));
    block.unwrap_or_else(|| panic!("the README has no Python {n}")).0.to_owned()
}

/// What that piece prints, and the last line of its errors, when it talks to the example.
fn talk(server: &Listening, n: usize) -> (String, String) {
    let script = python_of_the_readme(n).replace("25000", port(server));
    let output = Command::new("timeout").args(["60", "python3", "-c", &script]).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (String::from_utf8(output.stdout).unwrap(), stderr.lines().last().unwrap_or_default().to_owned())
}

#[test]
fn the_python_in_the_readme_of_the_project_talks_to_the_examples() {
    let server = serve("connection_echo", "127.0.0.1:0");
    assert_eq!(talk(&server, 0), ("[1, 2.5, 'three', None]\n".to_owned(), String::new()));
    let server = serve("rpc_server", "127.0.0.1:0");
    assert_eq!(talk(&server, 1), ("5\n".to_owned(), "RuntimeError: division by zero".to_owned()));
    let server = serve("manager", "127.0.0.1:0");
    assert_eq!(talk(&server, 2), ("1 1\n".to_owned(), "KeyError: 'y'".to_owned()));
}
