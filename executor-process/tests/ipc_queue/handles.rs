//! Handles in the arguments and results of tasks and processes.
//!
//! A pool has threads, after which nothing can be forked: these tests come last.

use executor_core::{Executor, ExecutorExt, Shutdown};
use executor_process::ipc::{self, PipeReader, PipeWriter, Queue, RecvError};
use executor_process::{Process, ProcessConfig, ProcessExecutor};
use futures::executor::block_on;

pub const TESTS: crate::harness::Tests = &[
    ("a_process_gets_queues_and_pipes_in_its_argument", process),
    ("tasks_of_a_pool_get_queues_and_pipes_inside_of_their_arguments", pool),
];

fn serve(queue: &Queue<u64>, results: &PipeWriter<u64>) {
    while let Ok(n @ 1..) = queue.get() {
        results.send(n * 2).expect("a receiver");
    }
}

fn process() {
    let queue = Queue::unbounded().expect("a queue");
    let (results, writer) = ipc::pipe().expect("a pipe");
    let process =
        Process::spawn(|(queue, writer)| serve(&queue, &writer), (queue.clone(), writer)).expect("a process");
    for n in 1..100 {
        queue.put(n).expect("room");
        assert_eq!(results.recv().expect("a result"), n * 2);
    }
    queue.put(0).expect("room");
    process.join().expect("it ended well");
    assert!(matches!(results.recv(), Err(RecvError::Closed)), "nobody else has the writer");
}

fn pool() {
    let pool = ProcessExecutor::open(ProcessConfig::default().with_workers(2)).expect("a pool");
    let queue = Queue::bounded(4).expect("a queue");
    let (results, writer) = ipc::pipe().expect("a pipe");
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let argument = vec![Some((queue.clone(), writer.clone()))];
            pool.submit(
                |handles: Vec<Option<(Queue<u64>, PipeWriter<u64>)>>| {
                    handles.iter().flatten().for_each(|(queue, writer)| serve(queue, writer));
                },
                argument,
            )
        })
        .collect();
    (1..1000).for_each(|n| {
        queue.put(n).expect("room");
        assert_eq!(results.recv().expect("a result") % 2, 0);
    });
    (0..2).for_each(|_| queue.put(0).expect("room"));
    for task in tasks {
        task.wait().expect("the task ends well");
    }
    // And back: a worker makes a pipe, and its result is an end of it.
    let reader: PipeReader<String> = pool
        .submit(
            |()| {
                let (reader, writer) = ipc::pipe().expect("a pipe");
                writer.send("from the worker".to_owned()).expect("a receiver");
                reader
            },
            (),
        )
        .wait()
        .expect("the task ends well");
    assert_eq!(reader.recv().expect("a message"), "from the worker");
    assert!(matches!(reader.recv(), Err(RecvError::Closed)));
    block_on(pool.shutdown(Shutdown::Drain));
}
