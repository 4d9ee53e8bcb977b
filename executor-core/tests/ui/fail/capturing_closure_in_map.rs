use executor_core::{ExecutorExt, Serial};

fn main() {
    let ex = Serial::new();
    let factor = 3u64;
    let _ = ex.map(|n: u64| factor * n, 0..14);
}
