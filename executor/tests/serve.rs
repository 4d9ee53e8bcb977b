//! `executor::serve_if_asked()`: this program's registered functions, called by `python3` and by Rust, on every backend.
//!
//! It has a `main` of its own, which serves when a test starts it as `serve ..`.

#[path = "../../executor-process/tests/common/harness.rs"]
mod harness;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Output, Stdio};

use executor::connection::{AuthKey, Client};
use executor::object::Codec;
use executor::rpc::{ClientConfig, RpcClient, RpcError};
use futures::executor::block_on;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Rectangle {
    width: u32,
    height: u32,
}

executor::register! {
    "add" => |(x, y): (i64, i64)| x + y,
    "greet" => |name: String| format!("hello, {name}"),
    "length" => |text: String| text.len(),
    "total" => |numbers: Vec<i64>| numbers.iter().sum::<i64>(),
    "nothing" => |(): ()| (),
    "area" => |it: Rectangle| it.width * it.height,
    "panics" => |message: String| -> () { panic!("{message}") },
    "process_id" => |(): ()| std::process::id(),
    "reads" => |path: String| std::fs::read_to_string(path).unwrap(),
    "dies" => |(): ()| -> () { std::process::abort() },
}

fn main() -> ExitCode {
    executor::init();
    executor::serve_if_asked();
    let tests = harness::selected(&[
        TESTS,
        #[cfg(feature = "python-tests")]
        python::TESTS,
    ]);
    let mut tally = harness::Tally::start(tests.len());
    tally.run(tests, |(_, test)| test());
    tally.end()
}

tests![
    rust_calls_functions_in_every_codec,
    a_wrong_key_is_refused,
    a_signal_lets_running_functions_end,
    what_cannot_be_meant_exits_with_2,
    what_cannot_be_served_exits_with_1,
    help_is_printed,
    other_arguments_are_the_programs_own,
];

fn program() -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env_remove("EXECUTOR_URL").env_remove("EXECUTOR_CONFIG");
    command
}

/// A file that holds a key and may be read by its owner alone.
struct Key {
    folder: tempfile::TempDir,
}

impl Key {
    fn new(key: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("authkey"), key).unwrap();
        std::fs::set_permissions(folder.path().join("authkey"), std::fs::Permissions::from_mode(0o600))
            .unwrap();
        Self { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("authkey")
    }
}

/// This program, serving; it ends with this value.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(listen: &str, executor: &str, key: &Path) -> Self {
        let mut process = program()
            .args(["serve", "--listen", listen, "--executor", executor, "--authkey-file"])
            .arg(key)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("it said {line:?}"));
        Self { process, address: address.to_owned() }
    }

    fn client(&self, key: &str, codec: Codec) -> RpcClient {
        let connection = block_on(Client::connect(&self.address, key)).unwrap();
        RpcClient::over(connection, codec, ClientConfig::default()).unwrap()
    }

    fn terminate(&self) {
        let pid = i32::try_from(self.process.id()).unwrap();
        // SAFETY: kill only takes numbers; the process is our child and has not been waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Those that have `python3` as their peer.
#[cfg(feature = "python-tests")]
mod python {
    use super::*;

    crate::tests![
        python_calls_functions_that_run_on_threads,
        python_calls_functions_that_run_in_processes,
        python_calls_functions_over_a_unix_socket,
    ];

    fn python_calls_functions_that_run_on_threads() {
        python_calls("thread://?workers=2", "127.0.0.1:0");
    }

    fn python_calls_functions_that_run_in_processes() {
        python_calls("process://?workers=2", "127.0.0.1:0");
    }

    fn python_calls_functions_over_a_unix_socket() {
        let folder = tempfile::tempdir().unwrap();
        python_calls("serial://", &format!("unix:{}", folder.path().join("calls").display()));
    }

    fn python_calls(executor: &str, listen: &str) {
        let key = Key::new("a key for python\n");
        let server = Server::start(listen, executor, &key.path());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/thirty_lines.py");
        let backend = executor.split("://").next().unwrap();
        let output = Command::new("timeout")
            .arg("60")
            .arg("python3")
            .arg(script)
            .arg(&server.address)
            .arg(key.path())
            .args([&server.process.id().to_string(), backend])
            .output()
            .expect("python3 is in PATH: these tests need it");
        assert!(
            output.status.success() && output.stdout == b"ok\n",
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

fn rust_calls_functions_in_every_codec() {
    let key = Key::new("secret");
    let server = Server::start("127.0.0.1:0", "process://?workers=2", &key.path());
    for codec in [Codec::Bincode, Codec::MessagePack, Codec::Json, Codec::Pickle] {
        let client = server.client("secret", codec);
        assert_eq!(client.call::<_, i64>("add", (2i64, 3i64)).wait().unwrap(), 5, "{codec:?}");
        let area = client.call::<_, u32>("area", Rectangle { width: 3, height: 4 }).wait();
        assert_eq!(area.unwrap(), 12, "{codec:?}");
        let worker = client.call::<_, u32>("process_id", ()).wait().unwrap();
        assert_ne!(worker, server.process.id(), "{codec:?}");
        let error = client.call::<_, ()>("panics", ("on purpose".to_owned(),)).wait().unwrap_err();
        assert!(error.to_string().contains("on purpose"), "{codec:?}: {error}");
        let error = client.call::<_, i64>("ad", (2i64, 3i64)).wait().unwrap_err();
        assert!(error.to_string().contains("add"), "{codec:?}: {error}");
    }
    let client = server.client("secret", Codec::Bincode);
    assert!(matches!(client.call::<_, ()>("panics", "x".to_owned()).wait(), Err(RpcError::Panicked { .. })));
    let calls: Vec<_> = (0i64..2000).map(|n| client.call::<_, i64>("add", (n, n))).collect();
    for (n, call) in (0i64..).zip(calls) {
        assert_eq!(call.wait().unwrap(), 2 * n);
    }
}

fn a_wrong_key_is_refused() {
    let key = Key::new("secret");
    let server = Server::start("127.0.0.1:0", "thread://", &key.path());
    let error = block_on(Client::connect(&server.address, "wrong")).map(drop).expect_err("the key is wrong");
    assert!(error.to_string().contains("key"), "{error}");
    let read = AuthKey::read(key.path()).unwrap();
    assert!(block_on(Client::connect(&server.address, read)).is_ok());
}

fn a_signal_lets_running_functions_end() {
    let key = Key::new("secret");
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("calls");
    let mut server =
        Server::start(&format!("unix:{}", socket.display()), "process://?workers=2", &key.path());
    let client = server.client("secret", Codec::Bincode);
    assert_eq!(client.call::<_, i64>("add", (1i64, 2i64)).wait().unwrap(), 3);
    assert!(socket.exists());

    // Opening either end of the pipe waits for the other, so the function runs when this goes on.
    let pipe = folder.path().join("pipe");
    make_pipe(&pipe);
    let running = client.call::<_, String>("reads", pipe.display().to_string());
    let mut writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    server.terminate();
    // The signal has come when further calls are refused.
    let refused =
        std::iter::repeat_with(|| client.call::<_, i64>("add", (1i64, 2i64)).wait()).find_map(Result::err);
    let refused = refused.expect("it refuses in the end");
    assert!(matches!(refused, RpcError::Stopping { .. } | RpcError::Disconnected { .. }), "{refused}");
    writer.write_all(b"to its end").unwrap();
    drop(writer);
    assert_eq!(running.wait().unwrap(), "to its end");

    let status = server.process.wait().unwrap();
    assert_eq!(status.code(), Some(0), "{status}");
    assert!(!socket.exists(), "the socket is removed");
    assert!(client.call::<_, i64>("add", (1i64, 2i64)).wait().is_err());
}

fn make_pipe(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success(), "{made}");
}

/// Runs this program with arguments with which it ends by itself.
fn serve(arguments: &[&str]) -> Output {
    program().arg("serve").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn what_cannot_be_meant_exits_with_2() {
    for (arguments, wanted) in [
        (&[][..], "--listen ADDR"),
        (&["--lsten", "127.0.0.1:0"], "did you mean `--listen`?"),
        (&["--listen"], "wants a value"),
        (&["--listen", "127.0.0.1:0", "--listen=127.0.0.1:0"], "twice"),
        (&["127.0.0.1:0"], "--authkey-file"),
        (&["--listen", "127.0.0.1:0", "--executor", "proces://"], "did you mean `process`?"),
    ] {
        let output = serve(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(wanted), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn what_cannot_be_served_exits_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let exposed = Key::new("secret");
    std::fs::set_permissions(exposed.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = exposed.path();
    for (arguments, wanted) in [
        (&["--listen", "127.0.0.1:0", "--authkey-file", "no/such/key"][..], "no/such/key"),
        (&["--listen", "127.0.0.1:0", "--authkey-file", exposed.to_str().unwrap()], "chmod 600"),
        (&["--listen", &taken], "in use"),
        (&["--listen", "0.0.0.0:0"], "key"),
    ] {
        let output = serve(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(wanted), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
    }
}

fn help_is_printed() {
    let output = serve(&["--help"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("--executor URL"), "{output:?}");
}

fn other_arguments_are_the_programs_own() {
    let mut own = program().arg("no test has this name").stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = String::new();
    own.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    assert!(own.wait().unwrap().success() && printed.contains("running 0 tests"), "{printed}");
}
