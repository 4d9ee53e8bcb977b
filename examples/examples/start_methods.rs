//! Where worker processes come from, and what they find there.
//!
//! `start_methods [spawn|forkserver|fork]`, by default `spawn`. After the first example on start methods in the documentation of
//! Python's `multiprocessing`.

use std::sync::OnceLock;

use executor::ipc::Queue;
use executor::prelude::*;
use executor::{Process, register};

fn foo(q: Queue<String>) {
    q.put("hello".to_owned()).unwrap();
}

/// Something that takes long to make.
static TABLE: OnceLock<Vec<u64>> = OnceLock::new();

fn load(_: ()) {
    TABLE.get_or_init(|| (0..100_000).map(|n| n * n).collect());
}

register! { "load" => load }

/// A task: an entry of the table, and whether the worker had the table from the beginning.
fn look_up(n: usize) -> (u64, bool) {
    let had = TABLE.get().is_some();
    load(());
    (TABLE.get().map_or(0, |table| table[n]), had)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    let method = std::env::args().nth(1).unwrap_or_else(|| "spawn".to_owned());

    let q = Queue::unbounded()?;
    let p = match &*method {
        // A closure, which has all that the program has.
        "fork" => Process::fork(|| foo(q.clone()))?,
        _ => Process::spawn(foo, q.clone())?,
    };
    println!("{}", q.get()?);
    p.join()?;

    let url = match &*method {
        // A zygote runs the hook, and the workers are forked from it.
        "forkserver" => "process://?start_method=forkserver&preload=load".to_owned(),
        // The workers are forked from this program, so that it has to have one thread until here.
        "fork" => {
            load(());
            "process://?start_method=fork".to_owned()
        }
        method => format!("process://?start_method={method}"),
    };
    let ex = executor::open(&url)?;
    let (square, had) = ex.submit(look_up, 300).wait()?;
    println!("300 squared is {square}; the worker had the table from the beginning: {had}");
    Ok(())
}
