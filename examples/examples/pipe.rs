//! A pipe between two processes, as in the documentation of Python's `multiprocessing`.

use executor::Process;
use executor::ipc::{self, PipeEnd, RecvError};

type Message = (u32, Option<bool>, String);

fn f(connection: PipeEnd<Message, ()>) {
    connection.send((42, None, "hello".to_owned())).expect("the other side waits");
    // It closes when the last handle is dropped, here.
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init(); // Takes over in the other process.
    let (parent, child) = ipc::duplex::<(), Message>()?;
    let process = Process::spawn(f, child)?;
    println!("{:?}", parent.recv()?);
    process.join()?;
    // The process was the only one that could have sent more.
    match parent.recv() {
        Err(RecvError::Closed) => println!("the end"),
        other => println!("expected the end, got {other:?}"),
    }
    Ok(())
}
