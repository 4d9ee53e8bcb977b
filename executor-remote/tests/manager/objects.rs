//! What the objects of a manager do, from one process.

use std::time::Duration;

use executor_remote::connection::Listener;
use executor_remote::manager::{
    Dict, List, Lock, Manager, ManagerError, ManagerServer, Proxy, Queue, Registry,
};
use executor_remote::object::Object;
use futures::FutureExt;
use futures::executor::block_on;
use serde::{Deserialize, Serialize};

use super::support::manager;
use super::waiting::eventually_equal;

crate::tests![
    a_dict_behaves_as_one,
    a_list_behaves_as_one,
    a_queue_gives_takes_and_counts_what_is_done,
    a_call_that_waits_is_overtaken_by_others,
    a_lock_is_held_by_one_guard_at_a_time,
    a_lock_that_nobody_waits_for_any_more_is_not_held,
    an_item_is_not_taken_by_a_call_that_was_dropped,
    an_event_wakes_who_waits,
    a_namespace_has_values_of_any_type,
    values_of_own_types_come_back,
    a_type_of_the_program_is_created_and_called,
    a_published_object_is_found_and_outlives_its_proxies,
    calls_are_carried_out_in_the_order_in_which_they_were_made,
    a_detached_call_is_carried_out,
    an_argument_that_does_not_serialise_is_an_error_of_its_call,
    a_value_of_another_type_is_an_error_of_its_call,
    an_object_goes_with_its_last_proxy,
    proxies_are_counted_once_for_the_process,
    a_manager_is_connected_to_by_address_and_key,
    a_wrong_key_is_an_error_of_the_connection,
];

fn a_dict_behaves_as_one() {
    let manager = manager();
    let ages: Dict<String, u32> = manager.dict().wait().unwrap();
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
    assert_eq!(ages.pop_last().wait().unwrap(), None);
}

fn a_list_behaves_as_one() {
    let manager = manager();
    let numbers: List<i64> = manager.list().wait().unwrap();
    numbers.extend([3, 1, 2]).wait().unwrap();
    numbers.push(&9).wait().unwrap();
    numbers.set(3, &8).wait().unwrap();
    numbers.insert(0, &5).wait().unwrap();
    numbers.sort().wait().unwrap();
    numbers.reverse().wait().unwrap();
    assert_eq!(numbers.to_vec().wait().unwrap(), [8, 5, 3, 2, 1]);
    assert_eq!(numbers.get(0).wait().unwrap(), Some(8));
    assert_eq!(numbers.get(5).wait().unwrap(), None);
    assert_eq!(numbers.remove(1).wait().unwrap(), Some(5));
    assert_eq!(numbers.pop().wait().unwrap(), Some(1));
    assert!(numbers.contains(&2).wait().unwrap());
    assert_eq!(numbers.len().wait().unwrap(), 3);
    let error = numbers.set(3, &0).wait().unwrap_err();
    assert_eq!(error.exception().map(|it| it.type_name.as_str()), Some("IndexError"));
    let empty: List<i64> = manager.list().wait().unwrap();
    assert_eq!(empty.pop().wait().unwrap(), None);
    assert!(empty.is_empty().wait().unwrap());
}

fn a_queue_gives_takes_and_counts_what_is_done() {
    let manager = manager();
    let queue: Queue<String> = manager.queue(1).wait().unwrap();
    let limit = Duration::from_millis(1);
    assert!(matches!(queue.try_get().wait(), Err(ManagerError::Empty)));
    assert!(matches!(queue.get_timeout(limit).wait(), Err(ManagerError::Empty)));
    queue.put(&"tea".to_owned()).wait().unwrap();
    assert!(matches!(queue.try_put(&"cake".to_owned()).wait(), Err(ManagerError::Full)));
    assert!(matches!(queue.put_timeout(&"cake".to_owned(), limit).wait(), Err(ManagerError::Full)));
    assert!(queue.is_full().wait().unwrap());
    assert_eq!(queue.len().wait().unwrap(), 1);
    // It waits for room.
    let second = queue.put(&"milk".to_owned());
    assert_eq!(queue.get().wait().unwrap(), "tea");
    second.wait().unwrap();
    let joined = queue.join();
    assert_eq!(queue.get().wait().unwrap(), "milk");
    queue.task_done().wait().unwrap();
    queue.task_done().wait().unwrap();
    joined.wait().unwrap();
    let error = queue.task_done().wait().unwrap_err();
    assert_eq!(error.exception().map(|it| it.type_name.as_str()), Some("ValueError"));
    assert!(queue.is_empty().wait().unwrap());
}

fn a_call_that_waits_is_overtaken_by_others() {
    let manager = manager();
    let queue: Queue<u8> = manager.queue(0).wait().unwrap();
    let mut waiting = queue.get();
    assert_eq!(queue.len().wait().unwrap(), 0);
    assert!((&mut waiting).now_or_never().is_none());
    assert!(waiting.wait_timeout(Duration::from_millis(1)).is_none(), "it can be waited for again");
    queue.put(&7).wait().unwrap();
    assert_eq!(block_on(waiting).unwrap(), 7);
}

fn a_lock_is_held_by_one_guard_at_a_time() {
    let manager = manager();
    let lock = manager.lock().wait().unwrap();
    let guard = lock.lock().wait().unwrap();
    assert!(!guard.owner_died());
    assert!(lock.try_lock().wait().unwrap().is_none());
    assert!(lock.lock_timeout(Duration::from_millis(1)).wait().unwrap().is_none());
    let next = lock.lock();
    drop(guard);
    let next = next.wait().unwrap();
    assert!(!next.owner_died(), "it was released");
    next.unlock().wait().unwrap();
    assert!(lock.try_lock().wait().unwrap().is_some());
}

fn is_free(lock: &Lock) -> bool {
    lock.try_lock().wait().unwrap().is_some()
}

/// Whether the call is dropped before the lock comes, or after, in whatever way.
fn a_lock_that_nobody_waits_for_any_more_is_not_held() {
    let manager = manager();
    let lock = manager.lock().wait().unwrap();
    let guard = lock.lock().wait().unwrap();
    drop(lock.lock());
    lock.lock().detach();
    let mut late = lock.lock();
    assert!(late.wait_timeout(Duration::from_millis(1)).is_none());
    drop(guard);
    drop(late);
    eventually_equal("nobody holds the lock", || is_free(&lock), &true);
    // The answer has come, and was not looked at.
    let answered = lock.lock();
    assert!(lock.try_lock().wait().unwrap().is_none());
    drop(answered);
    eventually_equal("nobody holds the lock", || is_free(&lock), &true);
}

fn an_item_is_not_taken_by_a_call_that_was_dropped() {
    let manager = manager();
    let queue: Queue<u8> = manager.queue(0).wait().unwrap();
    drop(queue.get());
    queue.put(&1).wait().unwrap();
    // It may have been given to the dropped call in that instant, and is given back then.
    assert_eq!(queue.get_timeout(super::waiting::PATIENCE).wait().unwrap(), 1);
}

fn an_event_wakes_who_waits() {
    let manager = manager();
    let event = manager.event().wait().unwrap();
    assert!(!event.is_set().wait().unwrap());
    assert!(!event.wait_timeout(Duration::from_millis(1)).wait().unwrap());
    let (first, second) = (event.wait(), event.wait_timeout(super::waiting::PATIENCE));
    event.set().wait().unwrap();
    first.wait().unwrap();
    assert!(second.wait().unwrap());
    event.clear().wait().unwrap();
    assert!(!event.is_set().wait().unwrap());
}

fn a_namespace_has_values_of_any_type() {
    let manager = manager();
    let names = manager.namespace().wait().unwrap();
    names.set("colour", "red").wait().unwrap();
    names.set("sizes", &vec![1, 2]).wait().unwrap();
    assert_eq!(names.get::<String>("colour").wait().unwrap().as_deref(), Some("red"));
    assert_eq!(names.get::<Vec<u8>>("sizes").wait().unwrap(), Some(vec![1, 2]));
    assert_eq!(names.get::<String>("shape").wait().unwrap(), None);
    assert!(names.remove("colour").wait().unwrap());
    assert!(!names.remove("colour").wait().unwrap());
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle { radius: f64 },
    Polygon(Vec<(i32, i32)>),
}

fn values_of_own_types_come_back() {
    let manager = manager();
    let shapes = [Shape::Point, Shape::Circle { radius: 0.5 }, Shape::Polygon(vec![(1, 2), (-3, 4)])];
    let list: List<Shape> = manager.list().wait().unwrap();
    list.extend(shapes.clone()).wait().unwrap();
    assert_eq!(list.to_vec().wait().unwrap(), shapes);
    let value = manager.value(&shapes[1]).wait().unwrap();
    value.set(&shapes[2]).wait().unwrap();
    assert_eq!(value.get().wait().unwrap(), shapes[2]);
    let table: Dict<(u8, String), Option<Shape>> = manager.dict().wait().unwrap();
    let key = (1, "one".to_owned());
    table.insert(&key, &None).wait().unwrap();
    assert_eq!(table.get(&key).wait().unwrap(), Some(None), "none is a value");
}

fn counters() -> Registry {
    Registry::new()
        .register("Counter", |start: i64| start)
        .method("add", |count: &mut i64, n: i64| {
            *count += n;
            *count
        })
        .method("divide", |count: &mut i64, n: i64| *count / n)
        .finish()
}

fn a_type_of_the_program_is_created_and_called() {
    let manager = Manager::start_with(|setup| setup.serve(counters())).expect("a manager");
    let counter = manager.create("Counter", &10).wait().unwrap();
    assert_eq!(counter.call::<_, i64>("add", &5).wait().unwrap(), 15);
    assert_eq!(counter.methods().wait().unwrap(), ["add", "divide"]);
    let error = counter.call::<_, i64>("divide", &0).wait().unwrap_err();
    assert!(error.to_string().contains("divide by zero"), "{error}");
    let error = counter.call::<_, i64>("subtract", &1).wait().unwrap_err();
    assert_eq!(error.exception().map(|it| it.type_name.as_str()), Some("AttributeError"));
    let error = manager.create("Countess", &1).wait().unwrap_err();
    assert!(error.to_string().contains("Counter"), "{error}");
    assert_eq!(counter.call::<_, i64>("add", &0).wait().unwrap(), 15);
}

fn a_published_object_is_found_and_outlives_its_proxies() {
    let manager = manager();
    let list: List<u8> = manager.list().wait().unwrap();
    list.push(&1).wait().unwrap();
    manager.publish("results", &list).wait().unwrap();
    assert!(manager.publish("results", &list).wait().is_err(), "the name is taken");
    drop(list);
    let found: List<u8> = manager.get("results").wait().unwrap();
    assert_eq!(found.to_vec().wait().unwrap(), [1]);
    let error = manager.get::<Dict<u8, u8>>("results").wait().unwrap_err();
    assert!(matches!(error, ManagerError::OtherType { .. }), "{error:?}");
    assert!(manager.get::<Proxy>("results").wait().is_ok(), "of whatever type");
    assert!(manager.get::<Proxy>("nothing").wait().is_err());
    drop(found);
    assert!(manager.withdraw("results").wait().unwrap());
    assert!(!manager.withdraw("results").wait().unwrap());
    eventually_equal("the list goes", || manager.number_of_objects().wait().unwrap(), &0);
}

fn calls_are_carried_out_in_the_order_in_which_they_were_made() {
    let manager = manager();
    let list: List<u32> = manager.list().wait().unwrap();
    let calls: Vec<_> = (0..10_000).map(|n| list.push(&n)).collect();
    let all = list.to_vec();
    assert!(all.wait().unwrap().into_iter().eq(0..10_000));
    block_on(futures::future::try_join_all(calls)).unwrap();
}

fn a_detached_call_is_carried_out() {
    let manager = manager();
    let list: List<u32> = manager.list().wait().unwrap();
    for n in 0..10_000 {
        list.push(&n).detach();
    }
    assert_eq!(list.len().wait().unwrap(), 10_000);
    manager.list::<u32>().detach();
    eventually_equal("what nobody wants goes", || manager.number_of_objects().wait().unwrap(), &1);
}

struct Mute;

impl Serialize for Mute {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("nothing to say"))
    }
}

fn an_argument_that_does_not_serialise_is_an_error_of_its_call() {
    let manager = manager();
    let list = manager.create("list", &()).wait().unwrap();
    let error = list.call::<_, ()>("append", &(Mute,)).wait().unwrap_err();
    assert!(matches!(error, ManagerError::Encode { .. }), "{error:?}");
    assert_eq!(list.call::<_, u8>("__len__", &()).wait().unwrap(), 0);
}

fn a_value_of_another_type_is_an_error_of_its_call() {
    let manager = manager();
    let list = manager.create("list", &(vec!["text"],)).wait().unwrap();
    let error = list.clone().assume::<List<u8>>().get(0).wait().unwrap_err();
    assert!(matches!(error, ManagerError::Decode { .. }), "{error:?}");
    let error = list.assume::<Dict<Vec<u8>, u8>>().get(&vec![1]).wait().unwrap_err();
    assert!(matches!(error, ManagerError::Raised { .. }), "{error:?}");
    let table: Dict<Vec<u8>, u8> = manager.dict().wait().unwrap();
    let error = table.insert(&vec![1], &1).wait().unwrap_err();
    assert!(error.to_string().contains("unhashable"), "{error}");
    let any = manager.create("dict", &()).wait().unwrap().assume::<Dict<u8, Object>>();
    any.insert(&1, &Object::Bytes(vec![1])).wait().unwrap();
    assert_eq!(any.get(&1).wait().unwrap(), Some(Object::Bytes(vec![1])));
}

fn an_object_goes_with_its_last_proxy() {
    let manager = manager();
    let list: List<u8> = manager.list().wait().unwrap();
    let clone = list.clone();
    drop(list);
    clone.push(&1).wait().unwrap();
    assert_eq!(manager.number_of_objects().wait().unwrap(), 1);
    let waiting = clone.len();
    drop(clone);
    assert_eq!(waiting.wait().unwrap(), 1, "a call keeps what it is on");
    eventually_equal("the list goes", || manager.number_of_objects().wait().unwrap(), &0);
}

/// Whatever the order in which they come and go.
fn proxies_are_counted_once_for_the_process() {
    let manager = manager();
    let list: List<u8> = manager.list().wait().unwrap();
    let bytes = executor_remote::object::Codec::Bincode;
    let mut written = Vec::new();
    bytes.encode(&list, &mut written).unwrap();
    manager.publish("numbers", &list).wait().unwrap();
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (manager, written) = (manager.clone(), written.clone());
            std::thread::spawn(move || {
                for n in 0..500 {
                    let list: List<u8> = match n % 2 {
                        0 => bytes.decode(&written).unwrap(),
                        _ => manager.get("numbers").wait().unwrap(),
                    };
                    assert_eq!(list.len().wait().unwrap(), 0);
                }
            })
        })
        .collect();
    drop(list);
    for thread in threads {
        thread.join().expect("no call has failed");
    }
    assert_eq!(manager.number_of_objects().wait().unwrap(), 1);
    manager.withdraw("numbers").wait().unwrap();
    eventually_equal("the list goes", || manager.number_of_objects().wait().unwrap(), &0);
}

fn a_manager_is_connected_to_by_address_and_key() {
    let (address, serving) = served(b"secret");
    let manager = Manager::connect(&address, b"secret").wait().unwrap();
    let same = block_on(Manager::connect(&address, b"secret")).unwrap();
    let list: List<u8> = manager.list().wait().unwrap();
    manager.publish("numbers", &list).wait().unwrap();
    let found: List<u8> = same.get("numbers").wait().unwrap();
    found.push(&1).wait().unwrap();
    assert_eq!(list.to_vec().wait().unwrap(), [1]);
    same.shutdown().wait().unwrap();
    serving.wait();
    assert!(list.len().wait().unwrap_err().is_disconnected());
}

fn a_wrong_key_is_an_error_of_the_connection() {
    let (address, _serving) = served(b"secret");
    let error = Manager::connect(&address, b"wrong").wait().unwrap_err();
    assert!(matches!(error, ManagerError::Connect { .. }), "{error:?}");
    assert!(Manager::connect(&address, b"secret").wait().is_ok(), "another key is another session");
    // What was asked before it is known that there is nobody is told as well.
    let error = Manager::connect("unix:@nobody-is-there", b"secret").wait().unwrap_err();
    assert!(error.is_disconnected(), "{error:?}");
}

fn served(key: &[u8]) -> (String, executor_remote::manager::Serving) {
    let listener = block_on(Listener::bind("127.0.0.1:0", key)).expect("a port");
    let address = listener.local_addr().to_string();
    (address, ManagerServer::new().serve(listener))
}
