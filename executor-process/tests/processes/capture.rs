//! Output of tasks, told apart.

use std::io::Write;

use executor_process::sys::WorkerCommand;

use crate::support::Worker;

crate::tests![
    output_of_each_task_is_its_own,
    output_of_a_task_that_kills_its_worker_is_there,
    output_outside_of_tasks_is_passed_on,
    task_that_prints_without_end_is_cut_at_the_limit,
];

fn captured(limit: usize) -> Worker {
    Worker::start(&WorkerCommand::new().with_capture(Some(limit)))
}

fn output_of_each_task_is_its_own() {
    let mut worker = captured(10_000);
    let tickets: Vec<_> = (0..5).map(|slot| worker.spawned.board.offer(slot)).collect();
    for (n, ticket) in tickets.iter().enumerate() {
        worker.task(*ticket, &format!("print task {n}"));
    }
    for (n, ticket) in tickets.iter().enumerate() {
        assert_eq!(worker.answer().as_deref(), Some("done"));
        let mut forwarded = Vec::new();
        let stdout = worker.spawned.stdout.as_mut().expect("a pipe").take(*ticket, &mut forwarded);
        let stdout = String::from_utf8(stdout.expect("readable").bytes).expect("text");
        assert_eq!(stdout, format!("task {n} by rust,task {n} by c,task {n} by a child and late"));
        let stderr = worker.spawned.stderr.as_mut().expect("a pipe").take(*ticket, &mut forwarded);
        assert_eq!(stderr.expect("readable").bytes, format!("task {n} to stderr").into_bytes());
        assert_eq!(forwarded, b"");
    }
}

fn output_of_a_task_that_kills_its_worker_is_there() {
    let mut worker = captured(10_000);
    let ticket = worker.spawned.board.offer(0);
    worker.task(ticket, "abort with a word");
    assert_eq!(worker.answer(), None);
    assert_eq!(worker.last_words(), "about to abort: with a word");
    let stderr = worker.spawned.stderr.as_mut().expect("a pipe").take_unfinished(ticket);
    assert_eq!(stderr.bytes, b"about to abort: with a word\n");
}

fn output_outside_of_tasks_is_passed_on() {
    let mut worker = captured(10_000);
    worker.tell("print nothing special");
    assert_eq!(worker.ask("echo done"), "done");
    let mut forwarded = Vec::new();
    worker.spawned.stderr.as_mut().expect("a pipe").read_rest(&mut forwarded).expect("readable");
    assert_eq!(forwarded, b"nothing special to stderr");
}

fn task_that_prints_without_end_is_cut_at_the_limit() {
    let mut worker = captured(1000);
    let ticket = worker.spawned.board.offer(0);
    let text = "x".repeat(20_000);
    worker.task(ticket, &format!("print {text}"));
    assert_eq!(worker.answer().as_deref(), Some("done"));
    let stdout = worker.spawned.stdout.as_mut().expect("a pipe");
    let captured = stdout.take(ticket, &mut std::io::sink().by_ref()).expect("readable");
    assert_eq!(captured.bytes.len(), 1000);
    assert_eq!(captured.dropped as usize, 3 * 20_000 + " by rust, by c, by a child and late".len() - 1000);
}
