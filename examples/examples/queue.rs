//! A queue between two processes, as in the documentation of Python's `multiprocessing`.

use executor::Process;
use executor::ipc::Queue;

type Item = (u32, Option<bool>, String);

fn f(queue: Queue<Item>) {
    queue.put((42, None, "hello".to_owned())).expect("an unbounded queue has room");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init(); // Takes over in the other process.
    let queue = Queue::unbounded()?;
    // The handle travels as any argument; it is the same queue on the other side.
    let process = Process::spawn(f, queue.clone())?;
    println!("{:?}", queue.get()?);
    process.join()?;
    Ok(())
}
