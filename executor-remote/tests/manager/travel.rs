//! Proxies on their way: in tasks, processes, other values, other objects.

use executor_core::{Executor, ExecutorExt, Shared};
use executor_process::{Process, ipc};
use executor_remote::connection::Listener;
use executor_remote::manager::{Dict, Event, List, Lock, Manager, Namespace, Proxy, Queue, Value};
use executor_remote::object::Codec;
use serde::{Deserialize, Serialize};

use super::support::{Cluster, await_objects, manager, objects, on_both, processes, value};

crate::tests![
    proxies_are_arguments_of_tasks,
    proxies_are_results_of_tasks,
    proxies_travel_inside_of_other_values,
    a_shared_value_has_proxies,
    a_process_gets_a_proxy_and_makes_objects,
    a_queue_of_this_machine_carries_proxies,
    an_object_outlives_its_proxies_while_its_task_waits,
    an_object_outlives_its_proxies_while_its_task_waits_for_an_agent,
    an_object_goes_with_a_task_that_is_cancelled,
    an_object_whose_proxy_is_in_another_object_lives_there,
    a_proxy_is_read_back_as_its_own_type_only,
    two_processes_add_under_a_lock,
    two_processes_add_under_a_lock_through_async_tasks,
];

#[derive(Serialize, Deserialize)]
struct Everything {
    dict: Dict<String, i64>,
    list: List<i64>,
    value: Value<f64>,
    queue: Queue<i64>,
    lock: Lock,
    event: Event,
    namespace: Namespace,
    any: Proxy,
}

impl Everything {
    fn make(manager: &Manager) -> Self {
        Self {
            dict: manager.dict().wait().unwrap(),
            list: manager.list().wait().unwrap(),
            value: manager.value(&0.5).wait().unwrap(),
            queue: manager.queue(0).wait().unwrap(),
            lock: manager.lock().wait().unwrap(),
            event: manager.event().wait().unwrap(),
            namespace: manager.namespace().wait().unwrap(),
            any: manager.create("list", &()).wait().unwrap(),
        }
    }
}

fn proxies_are_arguments_of_tasks() {
    on_both(1, |ex| {
        let manager = manager();
        let all = Everything::make(&manager);
        let (list, dict, queue) = (all.list.clone(), all.dict.clone(), all.queue.clone());
        let worker = value(ex.submit(
            |all: Everything| {
                let guard = all.lock.lock().wait().unwrap();
                all.dict.insert("pid", &std::process::id().into()).wait().unwrap();
                all.list.push(&1).wait().unwrap();
                all.value.set(&1.5).wait().unwrap();
                all.queue.put(&2).wait().unwrap();
                all.event.set().wait().unwrap();
                all.namespace.set("name", &3).wait().unwrap();
                all.any.call::<_, ()>("append", &("any",)).wait().unwrap();
                drop(guard);
                std::process::id()
            },
            all,
        ));
        assert_ne!(worker, std::process::id());
        assert_eq!(dict.get("pid").wait().unwrap(), Some(worker.into()));
        assert_eq!(list.to_vec().wait().unwrap(), [1]);
        assert_eq!(queue.get().wait().unwrap(), 2);
        // The others had no proxy but that of the task.
        await_objects(&manager, 3);
    });
}

fn proxies_are_results_of_tasks() {
    on_both(1, |ex| {
        let manager = manager();
        let list: List<i64> = manager.list().wait().unwrap();
        let back = value(ex.submit(
            |list: List<i64>| {
                list.push(&1).wait().unwrap();
                (list.clone(), vec![list])
            },
            list,
        ));
        back.0.push(&2).wait().unwrap();
        assert_eq!(back.1[0].to_vec().wait().unwrap(), [1, 2]);
    });
}

fn proxies_travel_inside_of_other_values() {
    on_both(1, |ex| {
        let manager = manager();
        let lists: Vec<List<i64>> = (0..3).map(|_| manager.list().wait().unwrap()).collect();
        let sent = lists.iter().cloned().zip(0..).collect::<Vec<_>>();
        let push = |lists: Vec<(List<i64>, i64)>| {
            for (list, n) in &lists {
                list.push(n).detach();
            }
            lists.iter().map(|(list, _)| list.len().wait().unwrap()).sum::<usize>()
        };
        assert_eq!(value(ex.submit(push, sent)), 3);
        for (list, n) in lists.iter().zip(0..) {
            assert_eq!(list.to_vec().wait().unwrap(), [n]);
        }
    });
}

fn a_shared_value_has_proxies() {
    on_both(2, |ex| {
        let manager = manager();
        let list: List<i64> = manager.list().wait().unwrap();
        let shared: Shared<(List<i64>, i64)> = ex.share((list.clone(), 10));
        let futures: Vec<_> = (0..8)
            .map(|n| {
                let push = |(shared, n): (Shared<(List<i64>, i64)>, i64)| {
                    shared.0.push(&(shared.1 * n)).wait().unwrap();
                };
                ex.submit(push, (shared.clone(), n))
            })
            .collect();
        futures.into_iter().for_each(value);
        list.sort().wait().unwrap();
        assert!(list.to_vec().wait().unwrap().into_iter().eq((0..8).map(|n| 10 * n)));
    });
}

fn a_process_gets_a_proxy_and_makes_objects() {
    let manager = manager();
    let dict: Dict<String, List<i64>> = manager.dict().wait().unwrap();
    let make = |(address, key, dict): (String, Vec<u8>, Dict<String, List<i64>>)| {
        let manager = Manager::connect(address, key).wait().unwrap();
        let list: List<i64> = manager.list().wait().unwrap();
        list.push(&7).wait().unwrap();
        dict.insert("made", &list).wait().unwrap();
        // The process ends, and with it its references.
        list
    };
    // Of a manager that is served here; the process has its address and key, and a proxy of the one that was started.
    let listener = futures::executor::block_on(Listener::bind("127.0.0.1:0", b"other"));
    let listener = listener.expect("a port");
    let address = listener.local_addr().to_string();
    let _serving = Manager::serve(listener);
    let process =
        Process::spawn(make, (address.clone(), b"other".to_vec(), dict.clone())).expect("a process");
    let list = process.join().expect("a list");
    assert_eq!(list.to_vec().wait().unwrap(), [7]);
    assert_eq!(list.len().wait().unwrap(), 1);
    // A proxy of one manager in an object of another.
    let same = dict.get("made").wait().unwrap().expect("it is there");
    same.push(&8).wait().unwrap();
    assert_eq!(list.to_vec().wait().unwrap(), [7, 8]);
}

fn a_queue_of_this_machine_carries_proxies() {
    let manager = manager();
    let queue = ipc::Queue::<List<i64>>::unbounded().expect("a queue");
    queue.put(manager.list().wait().unwrap()).expect("room");
    // Nobody has a proxy, and yet it is there.
    let list = queue.get().expect("a list");
    list.push(&1).wait().unwrap();
    assert_eq!(list.len().wait().unwrap(), 1);
}

/// What is counted are references, not leases, which end.
fn an_object_outlives_its_proxies_while_its_task_waits() {
    waits(&processes(1));
}

fn an_object_outlives_its_proxies_while_its_task_waits_for_an_agent() {
    waits(&*Cluster::start(1));
}

fn waits(ex: &dyn Executor) {
    let manager = manager();
    let gate = manager.event().wait().unwrap();
    let blocked = ex.submit(|gate: Event| gate.wait().wait().is_ok(), gate.clone());
    let list: List<i64> = manager.list().wait().unwrap();
    let waiting = ex.submit(|list: List<i64>| list.len().wait().unwrap(), list);
    // The worker is told nothing of the second task before the first has ended, or holds its bytes alone.
    assert_eq!(objects(&manager), 2);
    gate.set().wait().unwrap();
    assert!(value(blocked));
    assert_eq!(value(waiting), 0);
    await_objects(&manager, 1);
}

fn an_object_goes_with_a_task_that_is_cancelled() {
    let ex = processes(1);
    let manager = manager();
    let gate = manager.event().wait().unwrap();
    let blocked = ex.submit(|gate: Event| gate.wait().wait().is_ok(), gate.clone());
    let list: List<i64> = manager.list().wait().unwrap();
    let waiting = ex.submit(|list: List<i64>| list.len().wait().unwrap(), list);
    waiting.cancel();
    assert!(waiting.wait().is_err());
    await_objects(&manager, 1);
    gate.set().wait().unwrap();
    assert!(value(blocked));
}

fn an_object_whose_proxy_is_in_another_object_lives_there() {
    let manager = manager();
    let outer: Dict<String, List<i64>> = manager.dict().wait().unwrap();
    let inner: List<i64> = manager.list().wait().unwrap();
    inner.push(&1).wait().unwrap();
    outer.insert("inner", &inner).wait().unwrap();
    drop(inner);
    let inner = outer.get("inner").wait().unwrap().expect("it is there");
    assert_eq!(inner.to_vec().wait().unwrap(), [1]);
    // Also one inside of itself.
    let own: List<Proxy> = manager.list().wait().unwrap();
    let any: Proxy = Codec::Bincode.decode(&encoded(&own)).unwrap();
    own.push(&any).wait().unwrap();
    assert_eq!(own.get(0).wait().unwrap().expect("it is there").type_name(), "list");
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    Codec::Bincode.encode(value, &mut bytes).unwrap();
    bytes
}

fn a_proxy_is_read_back_as_its_own_type_only() {
    let manager = manager();
    let list: List<i64> = manager.list().wait().unwrap();
    for codec in [Codec::Bincode, Codec::Pickle, Codec::MessagePack, Codec::Json] {
        let mut bytes = Vec::new();
        codec.encode(&list, &mut bytes).unwrap();
        let back: List<i64> = codec.decode(&bytes).unwrap();
        back.push(&1).wait().unwrap();
        let error = codec.decode::<Dict<i64, i64>>(&bytes).unwrap_err();
        let text = format!("{error:?}");
        assert!(text.contains("a list where a dict was expected"), "{text}");
    }
    assert_eq!(list.len().wait().unwrap(), 4);
    assert!(!format!("{list:?}").contains("key"), "{list:?}");
}

const ADDITIONS: usize = 200;

fn two_processes_add_under_a_lock() {
    on_both(2, |ex| {
        let manager = manager();
        let (lock, sum) = (manager.lock().wait().unwrap(), manager.value(&0i64).wait().unwrap());
        let add = |(lock, sum): (Lock, Value<i64>)| {
            for _ in 0..ADDITIONS {
                let guard = lock.lock().wait().unwrap();
                assert!(!guard.owner_died());
                let before = sum.get().wait().unwrap();
                sum.set(&(before + 1)).wait().unwrap();
            }
            std::process::id()
        };
        let workers: Vec<_> = (0..2).map(|_| ex.submit(add, (lock.clone(), sum.clone()))).collect();
        let workers: Vec<u32> = workers.into_iter().map(value).collect();
        assert_ne!(workers[0], workers[1], "side by side");
        assert_eq!(sum.get().wait().unwrap(), 2 * ADDITIONS as i64);
    });
}

fn two_processes_add_under_a_lock_through_async_tasks() {
    let ex = processes(2);
    let manager = manager();
    let (lock, sum) = (manager.lock().wait().unwrap(), manager.value(&0i64).wait().unwrap());
    let add = |(lock, sum): (Lock, Value<i64>)| async move {
        for _ in 0..ADDITIONS / 10 {
            let guard = lock.lock().await.unwrap();
            let before = sum.get().await.unwrap();
            sum.set(&(before + 1)).await.unwrap();
            guard.unlock().await.unwrap();
        }
    };
    let tasks: Vec<_> = (0..10).map(|_| ex.submit_async(add, (lock.clone(), sum.clone()))).collect();
    tasks.into_iter().for_each(value);
    assert_eq!(sum.get().wait().unwrap(), ADDITIONS as i64);
}
