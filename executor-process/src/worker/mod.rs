//! The worker's side: takes tasks from its channel, runs them, and answers.
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

use std::sync::Arc;
use std::time::{Duration, Instant};

use executor_core::wire::{Finished, FromWorker, Packed, TaskFrame, ToWorker, encode_done};
use executor_core::worker::{Incoming, run as run_body};
use executor_core::{Carrier, Host, Invocation, Outlet, Parcel, ShareBlob, TaskError, share_store};

use self::host::WorkerHost;
use self::input::{Input, Next};
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
    let WorkerChannel { socket, board, journal, frame_limit, capture } = channel;
    let input = socket.try_clone().map(Input::new);
    let Ok(input) = input else { fail("no descriptor is left for the channel") };
    let shared = Arc::new(Shared {
        board,
        output: Output::new(socket, journal),
        input,
        nested: nested::Pending::default(),
        frame_limit,
        capture,
        runtime: runtime::Runtime::default(),
    });
    Output::start_flusher(&shared);
    let host: Arc<dyn Host> = Arc::new(WorkerHost::new(Arc::clone(&shared)));
    shared.output.send(&FromWorker::Ready(1));
    let mut worker = Worker { shared, host, scratch: Vec::new() };
    loop {
        match worker.shared.input.next(&worker.shared) {
            Next::Frame(frame) => worker.handle(&frame),
            Next::Closed => leave(),
        }
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
    /// A result's frame, before it goes into the journal.
    scratch: Vec<u8>,
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
        // What has been finished is on its way before something long may begin.
        self.shared.output.expect_delay();
        if !self.shared.board.claim(ticket) {
            return;
        }
        let started = Instant::now();
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
            Ok(Finished { elapsed: started.elapsed(), ..Finished::default() })
        });
        drop(section);
        if let Some(body) = pending {
            self.shared.runtime.spawn(&self.shared, task.slot, body);
            return;
        }
        if let Err(error) = result {
            let error = shortened(error);
            FromWorker::Done(task.slot, started.elapsed(), Err(error)).encode(&mut self.scratch);
        }
        self.shared.output.write(&self.scratch);
        shrink(&mut self.scratch);
    }
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
