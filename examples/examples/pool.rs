//! Twenty tasks, and four ways to their results.
//!
//! `pool [URL]`, by default `thread://`. After the example in the documentation of Python's `multiprocessing.Pool`.

use executor::prelude::*;
use serde::{Deserialize, Serialize};

fn mul((a, b): (u64, u64)) -> u64 {
    a * b
}

fn plus((a, b): (u64, u64)) -> u64 {
    a + b
}

/// A map calls one function, so which one of two is part of its argument.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Task {
    Mul(u64, u64),
    Plus(u64, u64),
}

fn calculate(task: Task) -> String {
    match task {
        Task::Mul(a, b) => format!("mul({a}, {b}) = {}", mul((a, b))),
        Task::Plus(a, b) => format!("plus({a}, {b}) = {}", plus((a, b))),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    let url = std::env::args().nth(1).unwrap_or_else(|| "thread://".to_owned());
    let ex = executor::open(&url)?;
    futures::executor::block_on(run(&*ex))?;
    Ok(())
}

async fn run(ex: &dyn Executor) -> Result<(), TaskError> {
    let tasks = || (0..10).map(|i| Task::Mul(i, 7)).chain((0..10).map(|i| Task::Plus(i, 8)));

    println!("By awaiting each future:");
    let products: Vec<_> = (0..10).map(|i| ex.submit(mul, (i, 7))).collect();
    let sums: Vec<_> = (0..10).map(|i| ex.submit(plus, (i, 8))).collect();
    for (i, product) in products.into_iter().enumerate() {
        println!("    mul({i}, 7) = {}", product.await?);
    }
    for (i, sum) in sums.into_iter().enumerate() {
        println!("    plus({i}, 8) = {}", sum.await?);
    }

    println!("By ordered iteration:");
    let mut results = ex.map(calculate, tasks());
    while let Some(result) = results.next().await {
        println!("    {}", result?);
    }

    println!("By unordered iteration, sorted here:");
    let mut results = ex.map(calculate, tasks()).unordered();
    let mut lines = Vec::new();
    while let Some(result) = results.next().await {
        lines.push(result?);
    }
    lines.sort();
    for line in lines {
        println!("    {line}");
    }

    println!("By one map that blocks until all is there:");
    for result in ex.map(calculate, tasks()).wait() {
        println!("    {}", result?);
    }
    Ok(())
}
