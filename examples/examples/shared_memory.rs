//! A number, an array and plain bytes that two processes share, as in the documentation of Python's `multiprocessing`.

use executor::Process;
use executor::ipc::{Array, SharedMemory, Value};

fn f((number, array): (Value<f64>, Array<i32>)) {
    *number.lock().expect("nobody died") = 2.5;
    for element in array.lock().expect("nobody died").iter_mut() {
        *element = -*element;
    }
}

/// Attaches by name to what the other process has made.
fn g(name: String) {
    let bytes = SharedMemory::open(&name).expect("its creator has it");
    bytes.write(0, b"howdy");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init(); // Takes over in the other processes.
    let number = Value::new(0.0)?;
    let array = Array::new(&(0..10).collect::<Vec<i32>>())?;
    Process::spawn(f, (number.clone(), array.clone()))?.join()?;
    println!("{}", *number.lock().expect("nobody died"));
    println!("{:?}", array.lock().expect("nobody died"));

    let name = format!("executor-example-{}", std::process::id());
    let bytes = SharedMemory::create(&name, 10)?;
    bytes.write(0, &[22, 33, 44, 55, 66, 77]);
    Process::spawn(g, name)?.join()?;
    let mut copy = [0; 6];
    bytes.read(0, &mut copy);
    println!("{:?} {}", String::from_utf8_lossy(&copy[..5]), copy[5]);
    Ok(())
}
