//! The same program on the backend that a configuration file names.
//!
//! `swap [FILE]`: three such files lie beside this one. Without an argument, `EXECUTOR_URL` or the file that
//! `EXECUTOR_CONFIG` names decides, and `thread://` if neither is set.

use std::ops::Range;

use executor::prelude::*;

const END: u64 = 100_000;
const STEP: u64 = 5_000;

fn count_primes(numbers: Range<u64>) -> usize {
    let is_prime = |n: &u64| *n >= 2 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    numbers.filter(is_prime).count()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    let config = match std::env::args_os().nth(1) {
        Some(file) => Config::from_file(file)?,
        None => Config::from_env()?,
    };
    let ex = config.open()?;
    let ranges = (0..END / STEP).map(|i| i * STEP..(i + 1) * STEP);
    let counts: Vec<usize> = ex.map(count_primes, ranges).into_iter().collect::<Result<_, _>>()?;
    println!("{} primes below {END}, counted by `{}`", counts.iter().sum::<usize>(), config.scheme());
    Ok(())
}
