//! Python programs as child processes, and the functions they call.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::Serial;
use executor_remote::object::{Exception, Object};
use executor_remote::rpc::RpcServer;
use serde::Deserialize;

/// Long enough for any machine, so that what hangs fails.
pub const LONG: Duration = Duration::from_secs(60);

/// A python3 that runs one of the scripts in `tests/python`, and is killed when it is dropped.
pub struct Python {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Python {
    pub fn start(script: &str, args: &[&str]) -> Self {
        let script = format!("{}/tests/python/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new("timeout")
            .args([LONG.as_secs().to_string().as_str(), "python3", &script])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("timeout(1) can be run; with python3, it is required by these tests");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, stdout }
    }

    /// The next line that it prints; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it prints text");
        line.trim_end().to_owned()
    }

    /// Fails unless its next line is `ok` and it ends well.
    pub fn expect_ok(mut self) {
        assert_eq!(self.line(), "ok", "what went wrong is on standard error; is there a python3 in PATH?");
        assert!(self.child.wait().expect("it is our child").success());
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Deserialize)]
struct Scale {
    x: i64,
    y: i64,
    factor: i64,
}

/// What the scripts call.
pub fn functions() -> RpcServer {
    let greeting = "hello".to_owned();
    RpcServer::new()
        .register("add", |(x, y): (i64, i64)| x + y)
        .register("greet", move |name: String| format!("{greeting}, {name}"))
        .register("nothing", |()| ())
        .register("total", |numbers: Vec<i64>| numbers.iter().sum::<i64>())
        .register("scale", |it: Scale| vec![it.x * it.factor, it.y * it.factor])
        .register("swap", |it: Object| match it {
            Object::Dict(mut items) => {
                items.reverse();
                Object::Dict(items)
            }
            other => other,
        })
        .register_fallible("parse", |text: String| text.parse::<i64>())
        .register_fallible("look_up", |key: String| {
            Err::<(), _>(
                Exception::with_args("KeyError", vec![Object::Str(key)]).with_note("there are 3 keys"),
            )
        })
        .register_fallible("open_file", |()| std::fs::read_to_string("/there/is/no/such/file"))
        .register("crash", |()| -> i64 { panic!("on purpose") })
        .register_async("later", |x: f64| async move {
            tokio_yield().await;
            2.0 * x
        })
        .register_on(Arc::new(Serial::new()), "square_elsewhere", |x: i64| x * x)
}

/// Pending once.
async fn tokio_yield() {
    let mut first = true;
    std::future::poll_fn(move |cx| match std::mem::replace(&mut first, false) {
        true => {
            cx.waker().wake_by_ref();
            std::task::Poll::Pending
        }
        false => std::task::Poll::Ready(()),
    })
    .await;
}

/// Waits for something that happens without telling.
pub fn await_that(what: &str, mut happened: impl FnMut() -> bool) {
    let limit = Instant::now() + LONG;
    while !happened() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::yield_now();
    }
}
