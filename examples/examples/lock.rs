//! A lock so that only one process prints at a time, as in the documentation of Python's `multiprocessing`.

use std::io::Write;
use std::time::Duration;

use executor::Process;
use executor::ipc::Lock;

fn f((lock, number): (Lock, u32)) {
    let _guard = lock.lock().expect("no process died with the lock");
    // In pieces, and slowly: without the lock they would be mixed.
    for piece in ["hello ", "world ", &format!("{number}\n")] {
        print!("{piece}");
        std::io::stdout().flush().expect("somebody reads");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init(); // Takes over in the other processes.
    let lock = Lock::new()?;
    let processes: Result<Vec<_>, _> =
        (0..10).map(|number| Process::spawn(f, (lock.clone(), number))).collect();
    for process in processes? {
        process.join()?;
    }
    Ok(())
}
