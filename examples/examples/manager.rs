//! Objects that processes share through a manager: a dict and a list that another process changes.
//!
//! After the example of managers in the documentation of Python's `multiprocessing`. With an address, the manager serves
//! other programs, such as Python.

use executor::Process;
use executor::connection::Listener;
use executor::manager::{Dict, List, Manager};
use executor::object::Object;
use futures::executor::block_on;

/// What the other process does. A proxy travels as any other value.
fn f((d, l): (Dict<Object, Object>, List<i64>)) {
    let done = (|| {
        d.insert(&1.into(), &"1".into()).wait()?;
        d.insert(&"2".into(), &2.into()).wait()?;
        d.insert(&0.25.into(), &Object::None).wait()?;
        l.reverse().wait()
    })();
    done.expect("the manager lives as long as the program");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    executor::init();
    if let Some(address) = std::env::args().nth(1) {
        return serve(&address);
    }
    let manager = Manager::start()?;
    let d: Dict<Object, Object> = manager.dict().wait()?;
    let l: List<i64> = manager.list().wait()?;
    l.extend(0..10).wait()?;

    let p = Process::spawn(f, (d.clone(), l.clone()))?;
    p.join()?;

    for (key, value) in d.items().wait()? {
        println!("{key}: {value}");
    }
    println!("{:?}", l.to_vec().wait()?);
    Ok(())
}

fn serve(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let listener = block_on(Listener::bind(address, "secret password"))?;
    println!("listening on {}", listener.local_addr());
    block_on(Manager::serve(listener));
    Ok(())
}
