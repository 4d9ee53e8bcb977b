//! The worker's side: takes tasks from its channel, runs them, and answers.
//!
//! A thread of its own waits for the parent's end, and does nothing else.
//!
//! Tasks run on the main thread, which reads the channel itself: a task of no work costs no hand-over between threads. Async
//! bodies run on a runtime of their own thread, started with the first of them. The first task that asks for its executor
//! has a *reader* thread started, which takes the channel over: the answers of nested tasks must arrive while the main
//! thread is busy. From then on the main thread gets its tasks from the reader.
//!
//! Who holds the input's lock reads. The main thread holds it only between tasks, so that the reader can take over while a
//! task runs; if the main thread is waiting for input itself, it goes on until the next frames come, which includes
//! answers of nested tasks, and finds the reader in charge afterwards.

mod host;
mod input;
mod limit;
mod nested;
mod output;
mod runtime;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::wire::{Finished, FromWorker, Packed, TaskFrame, ToWorker, encode_done};
use executor_core::worker::{Incoming, run as run_body};
use executor_core::{Carrier, Host, Invocation, Outlet, Parcel, ShareBlob, TaskError, share_store};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use self::host::WorkerHost;
use self::input::{Batch, Input};
pub(crate) use self::limit::ERROR_BYTES;
use self::limit::shortened;
use self::output::Output;
use crate::board::{Ticket, WorkerBoard};
use crate::sys::Capturer;
use crate::sys::worker::WorkerChannel;

/// Exit code of a worker that got what no parent sends.
const EXIT_PROTOCOL: i32 = 76;

/// What the threads of a worker share.
struct Shared {
    board: WorkerBoard,
    output: Output,
    input: Input,
    nested: nested::Pending,
    /// The largest value that the parent takes.
    frame_limit: usize,
    capture: Option<Capturer>,
    runtime: runtime::Runtime,
}

/// Runs tasks until the parent wants no more or is gone. Never returns.
pub(crate) fn run(channel: WorkerChannel) -> ! {
    let WorkerChannel { control, board, input, output, bell, frame_limit, capture } = channel;
    follow_parent(control);
    let shared = Arc::new(Shared {
        board,
        output: Output::new(output, bell),
        input: Input::new(input),
        nested: nested::Pending::default(),
        frame_limit,
        capture,
        runtime: runtime::Runtime::default(),
    });
    let host: Arc<dyn Host> = Arc::new(WorkerHost::new(Arc::clone(&shared)));
    shared.output.send(&FromWorker::Ready(1));
    let mut worker = Worker { shared, host, scratch: Vec::new(), free_since: Instant::now() };
    let mut batch = Batch::default();
    loop {
        if worker.shared.input.next(&worker.shared, &mut batch) {
            worker.free_since = Instant::now();
        }
        while let Some(frame) = batch.next() {
            worker.handle(frame);
        }
    }
}

/// Ends this process when the parent has gone: whatever its threads are busy with, nobody wants it any more.
fn follow_parent(control: OwnedFd) {
    let started = std::thread::Builder::new().name("executor-parent".to_owned()).stack_size(64 * 1024).spawn(
        move || {
            let mut fds = [PollFd::new(&control, PollFlags::RDHUP)];
            // Nothing but an end, or an error, ends this; a signal to this thread changes nothing.
            while let Ok(0) | Err(Errno::INTR) = poll(&mut fds, None) {}
            leave();
        },
    );
    if let Err(error) = started {
        fail(&format!("the thread that follows the parent could not be started: {error}"));
    }
}

/// Ends the process as a program ends.
fn leave() -> ! {
    crate::sys::worker::exit(0)
}

/// Ends a process that cannot be a worker. Its standard error is quoted by the parent.
fn fail(message: &str) -> ! {
    eprintln!("executor worker: {message}");
    crate::sys::worker::exit(EXIT_PROTOCOL)
}

/// The main thread.
struct Worker {
    shared: Arc<Shared>,
    host: Arc<dyn Host>,
    /// A result's frame, before it goes into the ring.
    scratch: Vec<u8>,
    /// When it was done with the last task, or had the next after it had waited. What a task takes is counted from here, so
    /// that the clock is asked once for each.
    free_since: Instant,
}

impl Worker {
    fn handle(&mut self, frame: &[u8]) {
        match ToWorker::decode(frame) {
            Ok(ToWorker::Task(task)) => self.run_task(&task),
            Ok(ToWorker::Exit) => {
                self.shared.output.flush();
                leave()
            }
            Ok(other) => self.shared.handle(other),
            Err(error) => fail(&error.to_string()),
        }
    }

    fn run_task(&mut self, task: &TaskFrame<'_>) {
        let Some(ticket) = Ticket::from_bits(task.slot) else {
            fail(&format!("{} is not a ticket", task.slot))
        };
        // What has been finished is known before something long may begin. Should that fail, this task has not begun.
        self.shared.output.expect_delay();
        if !self.shared.board.claim(ticket) {
            return;
        }
        let incoming = Incoming {
            target: &task.target,
            arg: Parcel::from(task.arg.bytes),
            task: task.task,
            attempt: task.attempt,
            token: task.slot,
        };
        self.scratch.clear();
        let section = self.shared.capture.as_ref().map(|capture| capture.begin(ticket));
        let mut pending = None;
        let limit = self.shared.frame_limit;
        let result = encode_done(&mut self.scratch, task.slot, |out| {
            let before = out.len();
            let mut outlet = Outlet::new(out, Carrier::bytes(limit));
            let done = match run_body(incoming, &self.host, &mut outlet) {
                Invocation::Done(result) => result,
                Invocation::Pending(body) => {
                    pending = Some(body);
                    return Err(TaskError::Closed);
                }
            };
            done?;
            let len = out.len() - before;
            if len > limit {
                out.truncate(before);
                return Err(TaskError::over_frame_limit("result", len, limit));
            }
            Ok(Finished { elapsed: took(&mut self.free_since), ..Finished::default() })
        });
        drop(section);
        if let Some(body) = pending {
            took(&mut self.free_since);
            self.shared.runtime.spawn(&self.shared, task.slot, body);
            return;
        }
        if let Err(error) = result {
            let error = shortened(error);
            let elapsed = took(&mut self.free_since);
            FromWorker::Done(task.slot, elapsed, Err(error)).encode(&mut self.scratch);
        }
        self.shared.output.write(&self.scratch);
        shrink(&mut self.scratch);
    }
}

/// How long it is since then; from now on, since now.
fn took(since: &mut Instant) -> Duration {
    let now = Instant::now();
    now.duration_since(std::mem::replace(since, now))
}

/// Gives back a buffer that one large result has made large.
fn shrink(buffer: &mut Vec<u8>) {
    /// Kept for the next results.
    const KEEP: usize = 4 << 20;
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
}

impl Shared {
    /// Deals with a frame that is not for the main thread.
    fn handle(&self, frame: ToWorker<'_>) {
        match frame {
            ToWorker::Share(id, value) => share_store().insert(ShareBlob::new(id, value.bytes.to_vec())),
            ToWorker::Unshare(id) => share_store().remove(id),
            ToWorker::NestedDone(nested, outcome) => self.nested.complete(nested, outcome),
            ToWorker::Task(_) | ToWorker::Exit => {
                unreachable!("tasks and the order to leave go to the main thread")
            }
            ToWorker::Release(..) | ToWorker::Withdraw(_) => fail("nothing was granted"),
            ToWorker::Ping | ToWorker::Stop(..) | ToWorker::Revoke(_) => {
                fail("a frame that is for agents came to a worker process")
            }
        }
    }

    /// Sends the answer of an async task.
    fn answer(&self, slot: u64, elapsed: Duration, result: Result<Parcel<'static>, TaskError>) {
        let outcome = match &result {
            Ok(parcel) if parcel.bytes.len() > self.frame_limit => {
                Err(TaskError::over_frame_limit("result", parcel.bytes.len(), self.frame_limit))
            }
            Ok(parcel) => Ok(Packed::from(&*parcel.bytes)),
            Err(error) => Err(shortened(error.clone())),
        };
        self.output.send(&FromWorker::Done(slot, elapsed, outcome));
    }
}
