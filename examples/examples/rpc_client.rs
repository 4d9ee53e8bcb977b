//! Calls of the functions of `rpc_server`; with `--pickle`, of the same functions in `examples/python/rpc_server.py`.

use clap::Parser;
use executor::connection::Client;
use executor::object::Codec;
use executor::rpc::{RpcClient, RpcError};
use futures::executor::block_on;

#[derive(Parser)]
struct Arguments {
    #[arg(default_value = "127.0.0.1:25000")]
    address: String,
    /// The server is a Python program
    #[arg(long)]
    pickle: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments = Arguments::parse();
    let connection = block_on(Client::connect(&arguments.address, "secret password"))?;
    let client = RpcClient::new(match arguments.pickle {
        true => connection.with_codec(Codec::Pickle),
        false => connection,
    })?;

    // `.await` works as well as `.wait()`, in any async runtime.
    let sum: i64 = client.call("add", (2, 3)).wait()?;
    println!("add(2, 3) = {sum}");
    let greeting: String = client.call("greet", "bob").wait()?;
    println!("greet(\"bob\") = {greeting:?}");
    let primes: u64 = client.call("count_primes", 100_000).wait()?;
    println!("count_primes(100000) = {primes}");

    // A call is on its way at once, so many share the connection.
    let calls: Vec<_> = (0..1000).map(|n| client.call::<_, i64>("add", (n, n))).collect();
    let mut total = 0;
    for call in calls {
        total += call.wait()?;
    }
    println!("a thousand calls at once: {total}");

    // What can go wrong is told apart.
    for (name, arguments) in [("divide", (1, 0)), ("ad", (2, 3))] {
        match client.call::<_, i64>(name, arguments).wait() {
            Ok(value) => println!("{name}{arguments:?} = {value}"),
            Err(RpcError::UnknownName { nearest, .. }) => println!("there is no `{name}`, but {nearest:?}"),
            Err(other) => println!("{name}{arguments:?}: {other}"),
        }
    }
    Ok(())
}
