use executor_core::{ExecutorExt, Serial};

fn main() {
    let ex = Serial::new();
    let _ = ex.submit_async(async |n: u64| n + 1, 14);
}
