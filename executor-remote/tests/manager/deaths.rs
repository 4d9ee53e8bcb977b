//! What is left of workers, clients and managers that are killed: nothing.

use executor_core::{ExecutorExt, TaskError};
use executor_process::Process;
use executor_remote::manager::{Event, List, Lock, Manager, ManagerError, Queue};

use super::support::{Cluster, await_objects, children, manager, objects, processes, sockets_of, value};
use super::waiting::{await_ends, eventually_equal, watch};

crate::tests![
    the_lock_and_the_proxies_of_a_killed_worker_come_free,
    the_lock_of_a_killed_process_comes_free_for_who_waits,
    an_item_that_a_killed_process_waits_for_goes_to_another,
    calls_on_a_killed_manager_fail,
    calls_on_a_manager_that_was_dropped_fail_and_nothing_is_left,
    a_manager_does_not_outlive_its_program,
];

/// Takes the lock, keeps a new object, says so, and never ends.
fn hold((lock, mine, ready): (Lock, List<i64>, Event)) {
    let _guard = lock.lock().wait().unwrap();
    mine.push(&1).wait().unwrap();
    ready.set().wait().unwrap();
    loop {
        std::thread::park();
    }
}

fn the_lock_and_the_proxies_of_a_killed_worker_come_free() {
    let local = processes(1);
    let cluster = Cluster::start(1);
    for ex in [&local as &dyn executor_core::Executor, &*cluster] {
        let manager = manager();
        let (lock, ready) = (manager.lock().wait().unwrap(), manager.event().wait().unwrap());
        let pid = value(ex.submit(|()| std::process::id() as i32, ()));
        let holding = ex.submit(hold, (lock.clone(), manager.list().wait().unwrap(), ready.clone()));
        ready.wait().wait().unwrap();
        assert!(lock.try_lock().wait().unwrap().is_none(), "the worker holds it");
        assert_eq!(objects(&manager), 3);
        kill(pid);
        let guard = lock.lock().wait().unwrap();
        assert!(guard.owner_died(), "the next holder is told");
        drop(guard);
        assert!(!lock.lock().wait().unwrap().owner_died(), "once");
        let error = holding.wait().unwrap_err();
        assert!(matches!(error, TaskError::WorkerLost { .. }), "{error:?}");
        await_objects(&manager, 2);
        // The others go on, in a worker that replaces the one that was killed.
        let add = |ready: Event| ready.is_set().wait().unwrap();
        assert!(value(ex.submit(add, ready.clone())));
    }
}

fn the_lock_of_a_killed_process_comes_free_for_who_waits() {
    let manager = manager();
    let (lock, ready) = (manager.lock().wait().unwrap(), manager.event().wait().unwrap());
    let process = Process::spawn(hold, (lock.clone(), manager.list().wait().unwrap(), ready.clone()))
        .expect("a process");
    ready.wait().wait().unwrap();
    let (first, second) = (lock.lock(), lock.lock());
    process.kill();
    let guard = first.wait().unwrap();
    assert!(guard.owner_died());
    drop(guard);
    assert!(!second.wait().unwrap().owner_died());
    assert!(process.join().is_err());
    await_objects(&manager, 2);
}

fn an_item_that_a_killed_process_waits_for_goes_to_another() {
    let manager = manager();
    let (queue, ready): (Queue<u8>, Event) =
        (manager.queue(0).wait().unwrap(), manager.event().wait().unwrap());
    let wait = |(queue, ready, _mine): (Queue<u8>, Event, List<u8>)| {
        let item = queue.get();
        ready.set().wait().unwrap();
        item.wait().unwrap()
    };
    let mine = manager.list().wait().unwrap();
    let process = Process::spawn(wait, (queue.clone(), ready.clone(), mine)).expect("a process");
    ready.wait().wait().unwrap();
    process.kill();
    assert!(process.join().is_err());
    // Its references go with its session, and with that what waits there.
    await_objects(&manager, 2);
    queue.put(&1).wait().unwrap();
    assert_eq!(queue.try_get().wait().unwrap(), 1);
}

fn calls_on_a_killed_manager_fail() {
    let manager = manager();
    let queue: Queue<u8> = manager.queue(0).wait().unwrap();
    let lock = manager.lock().wait().unwrap();
    let guard = lock.lock().wait().unwrap();
    let waiting = queue.get();
    let pid = manager.pid().expect("it was started here");
    kill(pid);
    let error = waiting.wait().unwrap_err();
    assert!(matches!(error, ManagerError::Disconnected { .. }), "{error:?}");
    let error = queue.len().wait().unwrap_err();
    assert!(matches!(error, ManagerError::Disconnected { .. }), "{error:?}");
    assert!(error.to_string().contains(manager.address()), "{error}");
    assert!(guard.unlock().wait().unwrap_err().is_disconnected());
    assert!(manager.list::<u8>().wait().unwrap_err().is_disconnected());
    // What is serialised now is of no use, and no worse than that.
    let error =
        value(processes(1).submit(|queue: Queue<u8>| queue.len().wait().map_err(|it| it.to_string()), queue));
    assert!(error.unwrap_err().contains("cannot reach the manager"));
}

fn calls_on_a_manager_that_was_dropped_fail_and_nothing_is_left() {
    let manager = manager();
    let address = manager.address().to_owned();
    let list: List<u8> = manager.list().wait().unwrap();
    assert!(sockets_of(&address) > 0);
    drop(manager);
    assert!(list.push(&1).wait().unwrap_err().is_disconnected());
    eventually_equal("its process ends", children, &Vec::new());
    drop(list);
    eventually_equal("sockets", || sockets_of(&address), &0);
}

fn a_manager_does_not_outlive_its_program() {
    let start = |()| {
        let manager = Manager::start().expect("a manager");
        let pid = manager.pid().expect("it was started here");
        // It is never dropped.
        std::mem::forget(manager);
        pid
    };
    let pid = Process::spawn(start, ()).expect("a process").join().expect("a pid");
    await_ends("the manager", [watch(pid)]);
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("it is ours");
}
