//! The functions that are called, and waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::Serial;
use executor_remote::object::{Exception, Object};
use executor_remote::rpc::RpcServer;
use serde::Deserialize;

/// Long enough for any machine, so that what hangs fails.
pub const LONG: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Scale {
    x: i64,
    y: i64,
    factor: i64,
}

/// What peers call, and the scripts of Python.
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
