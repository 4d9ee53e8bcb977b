//! What goes into a process and what comes back.

use std::io::Write;

use executor_core::{Blob, Shared, TaskError};
use executor_process::ipc::Queue;
use executor_process::{Exit, Output, Process, ProcessError};
use serde::{Deserialize, Serialize};

crate::tests![
    a_value_comes_back,
    large_values_come_back,
    blobs_and_shared_values_come_along,
    handles_come_along_and_back,
    an_argument_that_does_not_serialise_is_an_error_at_once,
    an_argument_that_does_not_decode_is_an_error_of_the_function,
    a_result_that_does_not_serialise_is_an_error_of_the_function,
    a_panic_is_told,
    a_process_has_a_name_and_an_environment_and_no_input,
    streams_go_where_they_are_told,
    many_at_once_all_come_back,
    a_process_awaited_by_a_runtime,
    a_process_starts_processes_of_its_own,
];

fn a_value_comes_back() {
    let process = Process::spawn(|(a, b): (u64, u64)| a * b, (6, 7)).expect("a process");
    assert_ne!(process.pid(), std::process::id() as i32);
    assert_eq!(process.join(), Ok(42));
}

fn large_values_come_back() {
    let bytes: Vec<u8> = (0..16 << 20).map(|n: u32| n as u8).collect();
    let process = Process::spawn(|bytes: Vec<u8>| bytes, bytes.clone()).expect("a process");
    assert!(process.join().expect("a value") == bytes);
}

fn blobs_and_shared_values_come_along() {
    let (blob, table) = (Blob::from(vec![1; 1 << 20]), Shared::new(vec![3u64, 4, 5]));
    let add = |(blob, table): (Blob, Shared<Vec<u64>>)| {
        Blob::from(blob.iter().map(|byte| byte + table[1] as u8).collect::<Vec<u8>>())
    };
    let sum = Process::spawn(add, (blob, table)).expect("a process").join().expect("a value");
    assert!(sum.len() == 1 << 20 && sum.iter().all(|byte| *byte == 5));
}

/// Their descriptors travel beside the argument and beside the value, also inside of other values.
fn handles_come_along_and_back() {
    let (asked, answered) =
        (Queue::<u64>::unbounded().expect("a queue"), Queue::unbounded().expect("a queue"));
    let square = |queues: Vec<Queue<u64>>| {
        let n = queues[0].get().expect("a number");
        queues[1].put(n * n).expect("room");
        let fresh = Queue::<String>::unbounded().expect("a queue");
        fresh.put("from the process".to_owned()).expect("room");
        fresh
    };
    let queues = vec![asked.clone(), answered.clone()];
    let process = Process::spawn(square, queues).expect("a process");
    asked.put(12).expect("room");
    assert_eq!(answered.get().expect("a number"), 144);
    let fresh = process.join().expect("a queue");
    assert_eq!(fresh.try_get().expect("a text"), "from the process");
}

#[derive(Debug, PartialEq, Deserialize)]
struct Mute;

impl Serialize for Mute {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("nothing to say"))
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct Deaf(u8);

impl<'de> Deserialize<'de> for Deaf {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("nothing heard"))
    }
}

fn an_argument_that_does_not_serialise_is_an_error_at_once() {
    match Process::spawn(|_: Mute| (), Mute) {
        Err(ProcessError::Handover(TaskError::Encode { message, .. })) => {
            assert!(message.contains("nothing to say"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

fn an_argument_that_does_not_decode_is_an_error_of_the_function() {
    match Process::spawn(|_: Deaf| (), Deaf(1)).expect("a process").join() {
        Err(TaskError::Decode { what, message, .. }) => {
            assert!(what.contains("argument") && message.contains("nothing heard"), "{what}: {message}");
        }
        other => panic!("{other:?}"),
    }
}

fn a_result_that_does_not_serialise_is_an_error_of_the_function() {
    match Process::spawn(|()| Mute, ()).expect("a process").join() {
        Err(TaskError::Encode { what, message, .. }) => {
            assert!(what.contains("result") && message.contains("nothing to say"), "{what}: {message}");
        }
        other => panic!("{other:?}"),
    }
}

fn a_panic_is_told() {
    let builder = Process::builder().stderr(Output::Null);
    let mut process = builder.spawn(|n: u64| -> u64 { panic!("not {n}") }, 13).expect("a process");
    match process.join_timeout(crate::support::PATIENCE) {
        Some(Err(TaskError::Panicked { message, location, .. })) => {
            assert_eq!(message, "not 13");
            assert!(location.contains("values.rs"), "{location}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(process.exit_status(), Some(Exit { code: Some(1), signal: None }));
    assert_eq!(
        process.join_timeout(crate::support::PATIENCE),
        Some(Err(TaskError::Closed)),
        "it is given once"
    );
}

/// What a process finds: its line in `ps`, a variable, bytes on its standard input, whether it leads its group.
fn surroundings(_: ()) -> (String, Option<String>, usize, bool) {
    let line = std::fs::read_to_string("/proc/self/cmdline").expect("/proc");
    let input = std::io::read_to_string(std::io::stdin()).expect("an empty stream").len();
    let is_leader = rustix::process::getpgrp() == rustix::process::getpid();
    (line, std::env::var("TEST_EXTRA").ok(), input, is_leader)
}

fn a_process_has_a_name_and_an_environment_and_no_input() {
    let process = Process::builder().name("counter").env("TEST_EXTRA", "value");
    let process = process.spawn(surroundings, ()).expect("a process");
    assert_eq!(process.name(), Some("counter"));
    let (line, variable, input, is_leader) = process.join().expect("a value");
    assert!(line.starts_with("process-") && line.contains("[executor process counter]"), "{line}");
    assert_eq!((variable.as_deref(), input, is_leader), (Some("value"), 0, true));
}

fn streams_go_where_they_are_told() {
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a socket pair");
    let print = |()| {
        println!("to stdout");
        eprintln!("to stderr");
        std::io::stdout().flush().expect("a stream");
    };
    let builder = Process::builder().stdout(Output::File(theirs.into())).stderr(Output::Null);
    builder.spawn(print, ()).expect("a process").join().expect("a value");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut ours, &mut text).expect("text, and the end");
    assert_eq!(text, "to stdout\n");
}

fn many_at_once_all_come_back() {
    let processes: Vec<_> =
        (0..20u64).map(|n| Process::spawn(|n: u64| n * n, n).expect("a process")).collect();
    for (n, process) in (0..).zip(processes) {
        assert_eq!(process.join(), Ok(n * n));
    }
}

fn a_process_awaited_by_a_runtime() {
    let mut process = Process::spawn(|n: u64| n + 1, 41).expect("a process");
    assert_eq!(futures::executor::block_on(&mut process), Ok(42));
    assert_eq!(futures::executor::block_on(&mut process), Err(TaskError::Closed), "it is given once");
    let processes = (0..5u64).map(|n| Process::spawn(|n: u64| n * 3, n).expect("a process"));
    let values = futures::executor::block_on(futures::future::join_all(processes));
    assert_eq!(values, (0..5).map(|n| Ok(n * 3)).collect::<Vec<_>>());
}

fn a_process_starts_processes_of_its_own() {
    let tree = |depth: u64| match depth {
        0 => Ok(1),
        depth => Process::spawn(|depth: u64| depth + 1, depth - 1)
            .map_err(|it| it.to_string())?
            .join()
            .map_err(|it| it.to_string()),
    };
    let tree: fn(u64) -> Result<u64, String> = tree;
    assert_eq!(Process::spawn(tree, 3).expect("a process").join(), Ok(Ok(3)));
}
