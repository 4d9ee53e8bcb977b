//! Functions that other programs call by name: `rpc_client` does, and so does `examples/python/rpc_client.py`.

use executor::connection::Listener;
use executor::rpc::RpcServer;
use futures::executor::block_on;

fn count_primes(below: u64) -> usize {
    (2..below).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d))).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:25000".to_owned());
    let greeting = "hello".to_owned();

    let server = RpcServer::new()
        .register("add", |(x, y): (i64, i64)| x + y)
        // Handlers run here, so they may have what they need with them.
        .register("greet", move |name: String| format!("{greeting} {name}"))
        .register_fallible("divide", |(x, y): (i64, i64)| x.checked_div(y).ok_or("division by zero"))
        // Long work goes to an executor; which one, its URL says.
        .register_on(executor::open("process://?workers=2")?, "count_primes", count_primes);

    let listener = block_on(Listener::bind(&address, "secret password"))?;
    println!("listening on {}", listener.local_addr());
    server.serve(listener).wait()?;
    Ok(())
}
