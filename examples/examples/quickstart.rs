//! Submit, await, map; a panic handled and, on backends that isolate tasks, a lost worker handled.
//!
//! `quickstart [URL]`, by default `thread://`.

use executor::prelude::*;

fn fibonacci(n: u64) -> u64 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

fn parse(text: String) -> u32 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is not a number"))
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init(); // Takes over when this process is a worker.
    let url = std::env::args().nth(1).unwrap_or_else(|| "thread://".to_owned());
    let ex = executor::open(&url)?;

    // A function and its argument; the thread waits.
    println!("fibonacci(30) = {}", ex.submit(fibonacci, 30).wait()?);

    // A closure; what it would capture travels in the argument. Any async runtime can await the future.
    let (factor, number) = (6, 7);
    let product = ex.submit(|(factor, number): (u64, u64)| factor * number, (factor, number));
    println!("6 * 7 = {}", futures::executor::block_on(product)?);

    // Many items, in order, in chunks, never more on their way than a bounded buffer holds.
    let squares: Vec<u64> = ex.map(|n: u64| n * n, 0..10).into_iter().collect::<Result<_, _>>()?;
    println!("squares: {squares:?}");

    // A panic is an outcome of its task, with message and place.
    match ex.submit(parse, "forty-two".to_owned()).wait() {
        Err(TaskError::Panicked { message, .. }) => println!("a panic: {message}"),
        other => println!("expected a panic, got {other:?}"),
    }

    // So is the death of the worker, where a task has a process around it.
    if ex.capabilities().isolates {
        match ex.submit(|()| -> () { std::process::abort() }, ()).wait() {
            Err(TaskError::WorkerLost { signal, .. }) => println!("a lost worker: signal {signal:?}"),
            other => println!("expected a lost worker, got {other:?}"),
        }
    } else {
        println!("a lost worker: not here, an abort would end this program");
    }

    // Neither harms the executor.
    println!("fibonacci(50) = {}", ex.submit(fibonacci, 50).wait()?);
    futures::executor::block_on(ex.shutdown(Shutdown::Drain));
    Ok(())
}
