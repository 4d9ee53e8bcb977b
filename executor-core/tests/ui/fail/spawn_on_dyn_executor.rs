use std::sync::Arc;

use executor_core::{Executor, Serial};

fn main() {
    let ex: Arc<dyn Executor> = Arc::new(Serial::new());
    let factor = 3u64;
    let _ = ex.spawn(move || factor * 14);
}
