use executor_core::{ExecutorExt, Serial};

struct Opaque(u64);

fn main() {
    let ex = Serial::new();
    let _ = ex.submit(|opaque: Opaque| opaque.0, Opaque(14));
}
