use executor_core::{ExecutorExt, Serial};

fn main() {
    let ex = Serial::new();
    let text = String::from("borrowed");
    let _ = ex.submit(|text: &str| text.len(), text.as_str());
}
