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
use std::sync::{Arc, Weak};
use std::thread::ThreadId;
use std::time::Duration;

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
use crate::segment::{self, Book, Note, Packing, UnpackError};
use crate::sys::Capturer;
use crate::sys::clock::monotonic_nanos;
use crate::sys::worker::WorkerChannel;
use crate::transport::Lane;

/// Exit code of a worker that got what no parent sends.
const EXIT_PROTOCOL: i32 = 76;

/// What the threads of a worker share.
struct Shared {
    /// What was granted to the parent, and by it.
    book: Arc<Book>,
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
    let control = Arc::new(control);
    follow_parent(Arc::clone(&control));
    // As long as this process.
    std::mem::forget(segment::install());
    let main = std::thread::current().id();
    let shared = Arc::new_cyclic(|this: &Weak<Shared>| Shared {
        book: book(Lane::of_worker(control), main, this.clone()),
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
    let mut worker = Worker { shared, host, scratch: Vec::new(), free_since: monotonic_nanos() };
    let mut batch = Batch::default();
    loop {
        if worker.shared.input.next(&worker.shared, &mut batch) {
            worker.free_since = monotonic_nanos();
        }
        while let Some(frame) = batch.next() {
            worker.handle(frame);
        }
    }
}

/// The books with the parent. What the main thread drops, it tells itself, behind the result of its task or before it
/// waits; what other threads drop, they do.
fn book(lane: Lane, main: ThreadId, shared: Weak<Shared>) -> Arc<Book> {
    Book::new(lane, false, move || {
        if std::thread::current().id() != main
            && let Some(shared) = shared.upgrade()
        {
            shared.send_notes();
        }
    })
}

/// Ends this process when the parent has gone: whatever its threads are busy with, nobody wants it any more.
fn follow_parent(control: Arc<OwnedFd>) {
    let started = std::thread::Builder::new().name("executor-parent".to_owned()).stack_size(64 * 1024).spawn(
        move || {
            let mut fds = [PollFd::new(&*control, PollFlags::RDHUP)];
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
    /// When by [`monotonic_nanos`] it was done with the last task, or had the next after it had waited. What a task takes is counted from
    /// here, so that the clock is asked once for each.
    free_since: u64,
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
            // What came with it was sent all the same.
            drop(self.shared.unpacked("argument", task.arg));
            return;
        }
        let arg = match self.shared.unpacked("argument", task.arg) {
            Ok(arg) => arg,
            Err(error) => {
                let done = FromWorker::Done(task.slot, took(&mut self.free_since), Err(error));
                return self.shared.output.send(&done);
            }
        };
        let incoming =
            Incoming { target: &task.target, arg, task: task.task, attempt: task.attempt, token: task.slot };
        self.scratch.clear();
        let section = self.shared.capture.as_ref().map(|capture| capture.begin(ticket));
        let mut pending = None;
        let carrier = self.shared.carrier();
        // What is attached to the result has to be there until the frame is published.
        let mut attached = Vec::new();
        let mut bulk = None;
        let result = encode_done(&mut self.scratch, task.slot, |out| {
            let before = out.len();
            let mut outlet = Outlet::new(out, carrier);
            let done = match run_body(incoming, &self.host, &mut outlet) {
                Invocation::Done(result) => result,
                Invocation::Pending(body) => {
                    pending = Some(body);
                    return Err(TaskError::Closed);
                }
            };
            done?;
            (attached, bulk) = outlet.finish();
            let len = bulk.as_ref().map_or(out.len() - before, |bulk| bulk.len());
            carrier.check("result", len, &attached)?;
            let Packing { items, is_bulk } = self.shared.book.packing(bulk.as_ref(), &attached);
            Ok(Finished { elapsed: took(&mut self.free_since), attached: items, is_bulk })
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
        drop((attached, bulk));
        if self.shared.book.has_notes() {
            self.shared.send_notes();
        }
    }
}

/// How long it is since then; from now on, since now.
fn took(since: &mut u64) -> Duration {
    let now = monotonic_nanos();
    Duration::from_nanos(now.saturating_sub(std::mem::replace(since, now)))
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
            ToWorker::Share(id, value) => match self.unpacked("shared value", value) {
                Ok(parcel) => share_store().insert(ShareBlob::new(id, parcel.into_owned())),
                // Missed by the tasks that use it.
                Err(error) => eprintln!("executor worker: {error}"),
            },
            ToWorker::Unshare(id) => share_store().remove(id),
            ToWorker::NestedDone(nested, outcome) => {
                let outcome = outcome.and_then(|value| self.unpacked("result", value));
                self.nested.complete(nested, outcome);
            }
            ToWorker::Task(_) | ToWorker::Exit => {
                unreachable!("tasks and the order to leave go to the main thread")
            }
            ToWorker::Release(name, count) => {
                if let Err(error) = self.book.on_release(name, count) {
                    fail(&error.to_string());
                }
            }
            ToWorker::Withdraw(name) => self.book.on_withdraw(name),
            ToWorker::Ping | ToWorker::Stop(..) | ToWorker::Revoke(_) => {
                fail("a frame that is for agents came to a worker process")
            }
        }
    }

    /// Sends the answer of an async task.
    fn answer(&self, slot: u64, elapsed: Duration, result: Result<Parcel<'static>, TaskError>) {
        let result = result.and_then(|parcel| {
            self.carrier().check("result", parcel.bytes.len(), &parcel.attachments)?;
            Ok(parcel)
        });
        let packing;
        let outcome = match &result {
            Ok(parcel) => {
                packing = self.book.packing_of(parcel);
                Ok(packing.of(&parcel.bytes))
            }
            Err(error) => Err(shortened(error.clone())),
        };
        self.output.send(&FromWorker::Done(slot, elapsed, outcome));
    }

    /// What goes to the parent.
    fn carrier(&self) -> Carrier {
        Carrier::local(self.frame_limit)
    }

    /// A value with what has come beside it.
    fn unpacked<'a>(&self, what: &str, value: Packed<'a>) -> Result<Parcel<'a>, TaskError> {
        match self.book.unpack(value) {
            Ok(parcel) => Ok(parcel),
            Err(UnpackError::Lost(reason)) => Err(TaskError::decode(what, reason)),
            Err(UnpackError::Nonsense(reason)) => fail(&reason),
        }
    }

    /// Tells the parent what of its memory is used no more, and what of ours is gone.
    fn send_notes(&self) {
        for note in self.book.take_notes() {
            self.output.send(&match note {
                Note::Release(name, count) => FromWorker::Release(name, count),
                Note::Withdraw(name) => FromWorker::Withdraw(name),
            });
        }
    }

    /// The main thread is about to wait.
    fn on_idle(&self) {
        if self.book.has_notes() {
            self.send_notes();
        }
        self.output.flush();
    }
}
