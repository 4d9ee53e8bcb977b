//! A Rust client of the manager of a real Python.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use executor_remote::manager::{Dict, List, ManagerError, PythonManager, Queue};

use super::waiting::eventually_equal;

crate::tests![
    a_python_dict_behaves_as_one,
    a_python_list_behaves_as_one,
    a_python_queue_gives_and_takes_and_says_when_it_cannot,
    the_other_python_types_behave_as_theirs,
    a_registered_python_type_is_created_and_called,
    what_python_raises_arrives_with_type_and_arguments,
    a_call_that_waits_in_python_holds_up_no_other,
    python_objects_go_with_the_last_proxy,
    a_wrong_key_is_refused_by_python,
    a_python_manager_that_has_gone_is_an_error,
    the_proxy_of_a_python_object_does_not_serialise,
];

/// A Python manager; killed when it is dropped.
struct Python {
    child: Child,
    address: String,
}

impl Python {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/manager_server.py");
        let mut child = Command::new("timeout")
            .args(["120", "python3", "-I", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`timeout` and `python3` are needed in PATH for these tests");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("its port");
        let port: u16 = line.trim().parse().expect("python3 in PATH starts the server and prints its port");
        Self { child, address: format!("127.0.0.1:{port}") }
    }

    fn client(&self) -> PythonManager {
        PythonManager::connect(&self.address, b"secret").wait().expect("a connection")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // The end of its input ends it, and `timeout` with it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn a_python_dict_behaves_as_one() {
    let python = Python::start();
    let ages: Dict<String, i64> = python.client().dict().wait().unwrap();
    ages.insert("Ada", &36).wait().unwrap();
    ages.update([("Bob".to_owned(), 7), ("Eve".to_owned(), 1)]).wait().unwrap();
    assert_eq!(ages.get("Ada").wait().unwrap(), Some(36));
    assert_eq!(ages.get("Zoe").wait().unwrap(), None);
    assert_eq!(ages.len().wait().unwrap(), 3);
    assert!(ages.contains_key("Bob").wait().unwrap());
    assert_eq!(ages.keys().wait().unwrap(), ["Ada", "Bob", "Eve"]);
    assert_eq!(ages.values().wait().unwrap(), [36, 7, 1]);
    assert_eq!(ages.items().wait().unwrap()[1], ("Bob".to_owned(), 7));
    assert_eq!(ages.to_map().wait().unwrap()["Eve"], 1);
    assert_eq!(ages.get_or_insert("Ada", &99).wait().unwrap(), 36);
    assert_eq!(ages.remove("Bob").wait().unwrap(), Some(7));
    assert_eq!(ages.remove("Bob").wait().unwrap(), None);
    assert_eq!(ages.pop_last().wait().unwrap(), Some(("Eve".to_owned(), 1)));
    ages.clear().wait().unwrap();
    assert!(ages.is_empty().wait().unwrap());
}

fn a_python_list_behaves_as_one() {
    let python = Python::start();
    let numbers: List<i64> = python.client().list().wait().unwrap();
    numbers.extend([3, 1, 2]).wait().unwrap();
    numbers.push(&9).wait().unwrap();
    numbers.set(3, &8).wait().unwrap();
    numbers.sort().wait().unwrap();
    numbers.reverse().wait().unwrap();
    assert_eq!(numbers.to_vec().wait().unwrap(), [8, 3, 2, 1]);
    assert_eq!(numbers.get(0).wait().unwrap(), Some(8));
    assert_eq!(numbers.get(4).wait().unwrap(), None);
    assert_eq!(numbers.remove(1).wait().unwrap(), Some(3));
    assert_eq!(numbers.pop().wait().unwrap(), Some(1));
    assert!(numbers.contains(&2).wait().unwrap());
    assert_eq!(numbers.len().wait().unwrap(), 2);
}

fn a_python_queue_gives_and_takes_and_says_when_it_cannot() {
    let python = Python::start();
    let queue: Queue<String> = python.client().queue(1).wait().unwrap();
    assert!(matches!(queue.try_get().wait(), Err(ManagerError::Empty)));
    assert!(matches!(queue.get_timeout(Duration::from_millis(1)).wait(), Err(ManagerError::Empty)));
    queue.put(&"tea".to_owned()).wait().unwrap();
    assert!(matches!(queue.try_put(&"cake".to_owned()).wait(), Err(ManagerError::Full)));
    assert!(queue.is_full().wait().unwrap());
    assert_eq!(queue.get().wait().unwrap(), "tea");
    queue.task_done().wait().unwrap();
    queue.join().wait().unwrap();
}

fn the_other_python_types_behave_as_theirs() {
    let python = Python::start();
    let manager = python.client();
    let value = manager.value(&1.5).wait().unwrap();
    value.set(&2.5).wait().unwrap();
    assert_eq!(value.get().wait().unwrap(), 2.5);

    let event = manager.event().wait().unwrap();
    assert!(!event.wait_timeout(Duration::from_millis(1)).wait().unwrap());
    event.set().wait().unwrap();
    event.wait().wait().unwrap();

    let names = manager.namespace().wait().unwrap();
    names.set("colour", "red").wait().unwrap();
    assert_eq!(names.get::<String>("colour").wait().unwrap().as_deref(), Some("red"));
    assert_eq!(names.get::<String>("shape").wait().unwrap(), None);
    assert!(names.remove("colour").wait().unwrap());
    assert!(!names.remove("colour").wait().unwrap());

    let lock = manager.lock().wait().unwrap();
    let guard = lock.lock().wait().unwrap();
    assert!(!guard.owner_died());
    assert!(lock.try_lock().wait().unwrap().is_none());
    assert!(lock.lock_timeout(Duration::from_millis(1)).wait().unwrap().is_none());
    guard.unlock().wait().unwrap();
    assert!(lock.try_lock().wait().unwrap().is_some());
}

fn a_registered_python_type_is_created_and_called() {
    let python = Python::start();
    let manager = python.client();
    let counter = manager.create("Counter", &(10,)).wait().unwrap();
    assert_eq!(counter.call::<_, i64>("add", &(5,)).wait().unwrap(), 15);
    assert_eq!(counter.call::<_, i64>("add", &5).wait().unwrap(), 20, "the only argument");
    let mut set: Vec<i64> = counter.call("make_set", &()).wait().unwrap();
    set.sort_unstable();
    assert_eq!(set, [1, 2, 3]);
    let methods = counter.methods().wait().unwrap();
    assert!(methods.contains(&"add".to_owned()), "{methods:?}");
    // One that behaves like a type of ours.
    let table = manager.create("dict", &()).wait().unwrap().assume::<Dict<i64, i64>>();
    table.insert(&1, &2).wait().unwrap();
    assert_eq!(table.get(&1).wait().unwrap(), Some(2));
}

fn what_python_raises_arrives_with_type_and_arguments() {
    let python = Python::start();
    let manager = python.client();
    let counter = manager.create("Counter", &()).wait().unwrap();
    let error = counter.call::<_, ()>("fail", &()).wait().unwrap_err();
    let exception = error.exception().expect("an exception");
    assert_eq!(exception.type_name, "ValueError");
    assert_eq!(exception.args, ["no such colour".into(), 7.into()]);

    // A KeyError has the key, whatever it is.
    let table: Dict<(i64, String), i64> = manager.dict().wait().unwrap();
    let key = (1, "one".to_owned());
    let proxy = manager.create("dict", &()).wait().unwrap();
    let error = proxy.call::<_, i64>("__getitem__", &(key.clone(),)).wait().unwrap_err();
    let exception = error.exception().expect("an exception");
    assert_eq!(exception.type_name, "KeyError");
    assert_eq!(exception.args[0].clone().deserialize::<(i64, String)>().unwrap(), key);
    assert_eq!(error.to_string(), "__getitem__ of a dict raised KeyError: (1, 'one')");
    table.insert(&key, &1).wait().unwrap();
    assert_eq!(table.get(&key).wait().unwrap(), Some(1));

    let error = manager.create("Nothing", &()).wait().unwrap_err();
    let exception = error.exception().expect("an exception");
    assert_eq!(exception.type_name, "multiprocessing.managers.RemoteError");
    assert!(exception.message().contains("KeyError: 'Nothing'"), "{exception}");

    // What names code is not read.
    let error = counter.call::<_, ()>("make_unreadable", &()).wait().unwrap_err();
    assert!(matches!(error, ManagerError::Protocol { .. }), "{error:?}");
    assert_eq!(counter.call::<_, i64>("add", &1).wait().unwrap(), 1, "the object goes on");
}

fn a_call_that_waits_in_python_holds_up_no_other() {
    let python = Python::start();
    let queue: Queue<i64> = python.client().queue(0).wait().unwrap();
    let items: Vec<_> = (0..3).map(|_| queue.get()).collect();
    for n in 0..3 {
        queue.put(&n).wait().unwrap();
    }
    let mut items: Vec<i64> = items.into_iter().map(|item| item.wait().unwrap()).collect();
    items.sort_unstable();
    assert_eq!(items, [0, 1, 2]);
}

fn python_objects_go_with_the_last_proxy() {
    let python = Python::start();
    let manager = python.client();
    let before = manager.number_of_objects().wait().unwrap();
    let list: List<i64> = manager.list().wait().unwrap();
    let clone = list.clone();
    drop(list);
    clone.push(&1).wait().unwrap();
    assert_eq!(manager.number_of_objects().wait().unwrap(), before + 1);
    drop(clone);
    eventually_equal("the list goes", || manager.number_of_objects().wait().unwrap(), &before);
}

fn a_wrong_key_is_refused_by_python() {
    let python = Python::start();
    let error = PythonManager::connect(&python.address, b"wrong").wait().unwrap_err();
    assert!(matches!(error, ManagerError::Connect { .. }), "{error:?}");
    assert!(python.client().number_of_objects().wait().is_ok(), "the manager goes on");
}

fn a_python_manager_that_has_gone_is_an_error() {
    let python = Python::start();
    let manager = python.client();
    let list: List<i64> = manager.list().wait().unwrap();
    list.push(&1).wait().unwrap();
    drop(python);
    assert!(list.push(&2).wait().unwrap_err().is_disconnected());
    assert!(
        matches!(list.push(&2).wait(), Err(ManagerError::Connect { .. })),
        "it tries again, and nobody is there"
    );
    assert!(manager.list::<i64>().wait().unwrap_err().is_disconnected());
}

fn the_proxy_of_a_python_object_does_not_serialise() {
    let python = Python::start();
    let list: List<i64> = python.client().list().wait().unwrap();
    let error = executor_remote::object::Object::from_serialize(&list).unwrap_err();
    assert!(error.to_string().contains("PythonManager::connect"), "{error}");
}
