//! `executor call`, as a user runs it, against servers in Rust and in Python.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use executor::connection::Listener;
use executor::remote::key::ClusterKey;
use executor::rpc::{RpcServer, Serving};
use futures::executor::block_on;
use serde::Deserialize;

fn call(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_executor")).arg("call").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn expect_value(arguments: &[&str], value: &str) {
    let output = call(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    assert_eq!(text(&output.stdout), format!("{value}\n"), "{arguments:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
}

fn expect_failure(arguments: &[&str], status: i32, wanted: &str) {
    let output = call(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
    assert!(text(&output.stderr).contains(wanted), "{arguments:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
}

/// A file that holds a key and may be read by its owner alone.
struct Key(tempfile::TempDir);

impl Key {
    fn new(key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authkey");
        std::fs::write(&path, key).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self(folder)
    }

    fn path(&self) -> String {
        self.0.path().join("authkey").display().to_string()
    }
}

#[derive(Deserialize)]
struct Rectangle {
    width: u32,
    height: u32,
}

fn functions() -> RpcServer {
    RpcServer::new()
        .register("add", |(x, y): (i64, i64)| x + y)
        .register("length", |text: String| text.len())
        .register("area", |it: Rectangle| it.width * it.height)
        .register("nothing", |(): ()| ())
        .register("pairs", |count: u32| (0..count).map(|n| (n, format!("{n}"))).collect::<Vec<_>>())
        .register("crash", |message: String| -> () { panic!("{message}") })
        .register_fallible("parse", |text: String| text.parse::<i64>())
        .register_async("never", |(): ()| std::future::pending::<()>())
}

/// Serves these functions with the key `secret`.
fn serve() -> (String, Serving) {
    let listener = block_on(Listener::bind("127.0.0.1:0", "secret")).unwrap();
    (listener.local_addr().to_string(), functions().serve(listener))
}

#[test]
fn values_are_printed_as_json_in_every_codec() {
    let key = Key::new("secret\n");
    let (address, _serving) = serve();
    for codec in ["json", "messagepack", "pickle"] {
        let file = key.path();
        let call = |name, arguments, value| {
            let arguments =
                [address.as_str(), name, arguments, "--authkey-file", file.as_str(), "--codec", codec];
            expect_value(&arguments, value);
        };
        call("add", "[2, 3]", "5");
        call("add", "[-2, -3]", "-5");
        call("length", r#"["Grüße"]"#, "7");
        call("length", r#""Grüße""#, "7");
        call("area", r#"{"width": 3, "height": 4}"#, "12");
        call("nothing", "[]", "null");
        call("pairs", "2", r#"[[0,"0"],[1,"1"]]"#);
    }
    expect_value(&[&address, "nothing", "--authkey-file", &key.path()], "null");
}

#[test]
fn errors_go_to_standard_error_and_exit_with_1() {
    let key = Key::new("secret");
    let (address, _serving) = serve();
    for codec in ["json", "messagepack", "pickle"] {
        let file = key.path();
        let fails = |name, arguments, wanted| {
            let arguments =
                [address.as_str(), name, arguments, "--authkey-file", file.as_str(), "--codec", codec];
            expect_failure(&arguments, 1, wanted);
        };
        fails("parse", r#"["x"]"#, "invalid digit");
        fails("crash", r#"["on purpose"]"#, "on purpose");
        fails("ad", "[2, 3]", "add");
        fails("add", r#"["two", 3]"#, "two");
        fails("add", "[2]", "1 was given");
    }
}

#[test]
fn a_deadline_ends_the_wait() {
    let key = Key::new("secret");
    let (address, _serving) = serve();
    let arguments = [&address, "never", "--authkey-file", &key.path(), "--deadline", "50ms"];
    expect_failure(&arguments, 1, "deadline");
}

#[test]
fn functions_of_a_server_with_a_cluster_key_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cluster.key");
    let key = ClusterKey::generate().unwrap();
    key.write_new(&path).unwrap();
    let listener = block_on(Listener::bind_noise("127.0.0.1:0", &key)).unwrap();
    let address = listener.local_addr().to_string();
    let _serving = functions().serve(listener);
    expect_value(&[&address, "add", "[2, 3]", "--key", path.to_str().unwrap()], "5");
}

#[test]
fn functions_are_called_over_a_unix_socket_without_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("unix:{}", folder.path().join("calls").display());
    let listener = block_on(Listener::bind(&address, None)).unwrap();
    let _serving = functions().serve(listener);
    expect_value(&[&address, "add", "[2, 3]"], "5");
}

/// Those that have `python3` as their peer.
#[cfg(feature = "python-tests")]
mod python {
    use std::io::{BufRead, BufReader};
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStdin, Stdio};

    use super::*;

    /// The well-known server of thirty lines, which ends with this value, or with this process.
    struct PythonServer {
        process: Child,
        address: String,
        _input: ChildStdin,
    }

    impl PythonServer {
        fn start(key: &str) -> Self {
            let script: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/server.py");
            let mut process = Command::new("python3")
                .arg(script)
                .arg(key)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("python3 is in PATH: these tests need it");
            let input = process.stdin.take().unwrap();
            let mut port = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
            Self { process, address: format!("127.0.0.1:{}", port.trim_end()), _input: input }
        }
    }

    impl Drop for PythonServer {
        fn drop(&mut self) {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }

    #[test]
    fn functions_of_a_python_server_are_called() {
        let key = Key::new("a key for python\n");
        let server = PythonServer::start("a key for python");
        let file = key.path();
        let with = |name, arguments| {
            [server.address.as_str(), name, arguments, "--authkey-file", file.as_str(), "--codec", "pickle"]
        };
        let value = |name, arguments, value| expect_value(&with(name, arguments), value);
        value("add", "[2, 3]", "5");
        value("add", r#"["2", "3"]"#, r#""23""#);
        value("described", "[[1]]", r#"{"type":"list","pair":[1,2],"nothing":null,"half":0.5}"#);
        let arguments = with("fail", r#"["no such luck"]"#);
        expect_failure(&arguments, 1, "ValueError");
        expect_failure(&arguments, 1, "no such luck");
    }
}

#[test]
fn what_cannot_be_called_says_why() {
    let right = Key::new("secret");
    let wrong = Key::new("other");
    let (address, _serving) = serve();
    expect_failure(&[&address, "add", "[2, 3]", "--authkey-file", &wrong.path()], 1, "key");
    expect_failure(&[&address, "add", "[2, 3]", "--authkey-file", "no/such/key"], 1, "no/such/key");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    expect_failure(&[&free, "add", "[2, 3]", "--authkey-file", &right.path()], 1, &free);
}

#[test]
fn what_cannot_be_meant_exits_with_2() {
    for (arguments, wanted) in [
        (&["127.0.0.1:1", "add", "[2, 3"][..], "not JSON"),
        (&["127.0.0.1:1", "length", "text"], "double quotes"),
        (&["127.0.0.1:1", "add", "[]", "--deadline", "5"], "unit"),
        (&["127.0.0.1:1", "add", "[]", "--codec", "pickel"], "pickle"),
        (&["127.0.0.1:1"], "NAME"),
        (&[], "ADDR"),
    ] {
        expect_failure(arguments, 2, wanted);
    }
}
