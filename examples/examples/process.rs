//! A function in a process of its own.
//!
//! After the first example in the documentation of Python's `multiprocessing.Process`; there is more that comes back here.

use executor::{Process, TaskError};

fn f(name: String) {
    println!("hello {name}");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    let p = Process::spawn(f, "bob".to_owned())?;
    p.join()?;

    let p = Process::spawn(|n: u64| n * n, 7)?;
    println!("7 squared is {}", p.join()?);

    let p = Process::spawn(|code: i32| -> () { std::process::exit(code) }, 3)?;
    if let Err(TaskError::WorkerLost { exit, .. }) = p.join() {
        println!("one that exits gives no value, but a code: {exit:?}");
    }
    Ok(())
}
