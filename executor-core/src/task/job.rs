//! The executor's side of a task.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::body::Body;
use super::cell::{ErasedOutput, Extra, Ref, Relay, Sink, StartedTask};
use super::future::TaskFuture;
use super::options::{Printed, TaskOptions};
use super::owner::OwnerId;
use super::payload::Payload;
use super::state::Content;
use super::{CallOnce, CancelOutcome, TaskId, cell};
use crate::attachment::{Attachment, Collected};
use crate::blob::Blob;
use crate::context::{Host, Scope};
use crate::error::TaskError;
use crate::identity::Target;
use crate::parcel::{Carrier, Parcel};
use crate::shared::ShareBlob;

/// A task as an executor gets it: function, argument and completion in one allocation, types erased.
///
/// A backend either *runs* a job in this process ([`run`](Self::run): the argument is moved, never serialised), or
/// *encodes* it ([`encode`](Self::encode)) and later *completes* it from bytes ([`complete`](Self::complete)).
/// A job that is dropped resolves its future with [`TaskError::Closed`], so that no future is ever left without an
/// answer.
pub struct Job {
    task: Ref,
}

/// What became of a job that was told to run.
#[must_use]
pub enum RunOutcome {
    /// The body ran to its end, and the future is resolved.
    Finished,
    /// The task had been cancelled before; its body did not begin.
    Gone,
    /// The body is a future. Poll it to its end on an async runtime; dropping it resolves the task as closed.
    Async(Pin<Box<dyn Future<Output = ()> + Send>>),
}

impl Job {
    pub(crate) fn new<B: Body>(
        body: B,
        arg: B::Arg,
        options: Option<TaskOptions>,
    ) -> (Job, TaskFuture<B::Out>) {
        let (job, future) = Ref::new(body, arg, options.map(Extra::new));
        (Job { task: job }, TaskFuture::new(future))
    }

    /// A job from any closure, for backends in the same process. It cannot be encoded.
    pub fn from_fn<F, R>(f: F) -> (Job, TaskFuture<R>)
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        Job::new(CallOnce::new(), f, None)
    }

    /// A job that another process has encoded, for an executor that serialises. `sink` is called once with the serialised
    /// result or the error, on whichever thread completes the task; it must not block. The handle is the submitter's.
    pub fn from_encoded(
        target: Target,
        arg: Parcel<'_>,
        is_async: bool,
        options: TaskOptions,
        shares: Vec<Arc<ShareBlob>>,
        sink: impl FnOnce(Result<Parcel<'static>, TaskError>) + Send + 'static,
    ) -> (Job, RelayHandle) {
        let sink = Sink::Function(Box::new(sink));
        let relay = Relay { id: TaskId::next(), target, is_async, attempts_before: 0, sink };
        Self::new_relay(relay, arg, options, shares)
    }

    /// As [`from_encoded`](Self::from_encoded), for a submitter of very many tasks: they share a sink, which names this
    /// one by `token`.
    pub fn relay(
        relayed: Relayed<'_>,
        options: TaskOptions,
        shares: Vec<Arc<ShareBlob>>,
        sink: Arc<dyn RelaySink>,
        token: u64,
    ) -> (Job, RelayHandle) {
        let Relayed { task, target, arg, is_async, attempts_before } = relayed;
        let relay = Relay { id: task, target, is_async, attempts_before, sink: Sink::Shared(sink, token) };
        Self::new_relay(relay, arg, options, shares)
    }

    fn new_relay(
        relay: Relay,
        arg: Parcel<'_>,
        options: TaskOptions,
        shares: Vec<Arc<ShareBlob>>,
    ) -> (Job, RelayHandle) {
        let extra = (options != super::options::DEFAULT).then(|| Extra::new(options));
        let Parcel { bytes, attachments } = arg;
        let task = Ref::new_relay(relay, Payload::from(bytes), extra);
        task.set_carried(Collected { attachments, shares, ..Collected::default() });
        let handle = RelayHandle { task: task.another() };
        (Job { task }, handle)
    }

    /// The argument of a job that no executor has taken.
    ///
    /// # Safety
    ///
    /// The job was made with a `B`.
    pub(crate) unsafe fn reclaim<B: Body>(self) -> Option<B::Arg> {
        // SAFETY: passed on.
        unsafe { self.task.reclaim::<B>() }
    }

    /// The task's id, which its future and its context tell too.
    #[inline]
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// What the caller asked for.
    #[inline]
    pub fn options(&self) -> &TaskOptions {
        self.task.options()
    }

    /// Sets what the caller asked for; before the job is handed over.
    pub(crate) fn set_options(&self, options: TaskOptions) {
        if options != TaskOptions::default() {
            self.task.set_options(options);
        }
    }

    /// Whether the body is a future, so that many share a worker.
    #[inline]
    pub fn is_async(&self) -> bool {
        self.task.is_async()
    }

    /// Whether the task is resolved already, because it was cancelled.
    #[inline]
    pub fn is_resolved(&self) -> bool {
        self.task.snapshot().is_done()
    }

    /// Takes charge of the job: from here on, the future asks `owner` when it wants to cancel, with `word`, which is
    /// the backend's to choose. False if the task was cancelled already; then drop the job.
    #[inline]
    #[must_use]
    pub fn set_owner(&self, owner: &OwnerId, word: u64) -> bool {
        self.task.set_owner(owner.get(), word)
    }

    /// Lets `owner` know when the future cancels the task before it begins, and answer for it afterwards, without taking
    /// charge: the future still decides alone. Ends with [`unwatch`](Self::unwatch).
    #[inline]
    pub fn watch(&self, owner: &OwnerId) {
        self.task.watch(owner.get());
    }

    /// For a job that goes back to its submitter.
    pub fn unwatch(&self) {
        self.task.watch(0);
    }

    /// A word for the backend's own use, such as a queue link; 0 at first.
    #[inline]
    pub fn word(&self) -> &AtomicU64 {
        self.task.word()
    }

    /// A view of the task that outlives the job.
    pub fn handle(&self) -> JobHandle {
        JobHandle { task: self.task.another() }
    }

    /// The pointer that [`into_raw`](Self::into_raw) would give, for [`JobHandle::borrow_raw`].
    #[inline]
    pub fn as_raw(&self) -> NonNull<()> {
        self.task.as_raw()
    }

    /// The job as one pointer, for queues. Take it back with [`from_raw`](Self::from_raw), or its future never ends.
    #[inline]
    pub fn into_raw(self) -> NonNull<()> {
        self.into_task().into_raw()
    }

    /// # Safety
    ///
    /// `raw` comes from [`into_raw`](Self::into_raw) and is used once.
    #[inline]
    pub unsafe fn from_raw(raw: NonNull<()>) -> Self {
        // SAFETY: passed on.
        let task = unsafe { Ref::from_raw(raw) };
        Job { task }
    }

    /// A handle for a time limit: a second completer besides the job itself. To be made before the body begins.
    pub fn time_limit_handle(&self) -> JobHandle {
        self.task.set_contested();
        JobHandle { task: self.task.another() }
    }

    // ---- run it here -------------------------------------------------------------------------------------------

    /// Runs the body on this thread and resolves the future. A panic is caught and becomes the outcome.
    ///
    /// `attempt` counts from 1. `host` is what `context()` gives access to.
    pub fn run(self, host: &Arc<dyn Host>, attempt: u32) -> RunOutcome {
        self.run_keeping(host, attempt).0
    }

    /// As [`run`](Self::run), and gives the job's reference back if there is nothing left to do, so that the caller
    /// decides when the task may be freed.
    #[inline]
    pub fn run_keeping(self, host: &Arc<dyn Host>, attempt: u32) -> (RunOutcome, Option<JobHandle>) {
        let scope = Scope::of_job(&self.task, self.task.id(), attempt, host);
        match scope.enter(|| self.task.start()) {
            None => {
                self.task.abandon_job();
                (RunOutcome::Gone, Some(self.finished()))
            }
            Some(StartedTask::Finished) => (RunOutcome::Finished, Some(self.finished())),
            Some(StartedTask::Future(body)) => {
                let scope = scope.into_owned(JobHandle { task: self.task.another() });
                // The job moves into the future: dropped half-way, it resolves the task as closed.
                let job = self;
                let body = Box::pin(async move {
                    scope.poll_inside(body).await;
                    job.finished();
                });
                (RunOutcome::Async(body), None)
            }
        }
    }

    /// The future is resolved; only the reference is left.
    #[inline]
    fn finished(self) -> JobHandle {
        JobHandle { task: self.into_task() }
    }

    /// The job's reference, without the job's duty.
    #[inline]
    fn into_task(self) -> Ref {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is not dropped and not used again, so that the reference is moved out exactly once.
        unsafe { std::ptr::read(&raw const this.task) }
    }

    // ---- or send it away ---------------------------------------------------------------------------------------

    /// How the receiver finds the function.
    ///
    /// # Errors
    ///
    /// [`TaskError::NotPortable`] if it cannot.
    #[inline]
    pub fn target(&self) -> Result<Target, TaskError> {
        self.task.target()
    }

    /// Serialises the argument and drops it. Nothing happens the second time.
    ///
    /// # Errors
    ///
    /// [`TaskError::Encode`], with the argument untouched.
    pub fn encode(&mut self) -> Result<(), TaskError> {
        self.task.encode(Carrier::bytes(usize::MAX))
    }

    /// As [`encode`](Self::encode), for an executor that sends no more than `limit` bytes at a time.
    ///
    /// # Errors
    ///
    /// [`TaskError::Encode`], with the argument untouched, also if it or a shared value that it refers to is larger.
    pub fn encode_within(&mut self, limit: usize) -> Result<(), TaskError> {
        self.task.encode(Carrier::bytes(limit))
    }

    /// As [`encode_within`](Self::encode_within), for an executor that carries more than bytes: with the argument it has to send
    /// the job's [`attachments`](Self::attachments).
    ///
    /// # Errors
    ///
    /// [`TaskError::Encode`] and [`TaskError::NotPortable`], with the argument untouched; see [`Carrier::check`].
    pub fn encode_for(&mut self, carrier: Carrier) -> Result<(), TaskError> {
        self.task.encode(carrier)
    }

    /// The serialised argument.
    ///
    /// # Panics
    ///
    /// If [`encode`](Self::encode) has not been called.
    #[inline]
    pub fn encoded(&self) -> &[u8] {
        self.task.encoded()
    }

    /// Whether the serialised argument is its [bytes](Self::encoded) and nothing else: not in a blob, with nothing attached, and
    /// without shared values.
    ///
    /// # Panics
    ///
    /// As [`encoded`](Self::encoded).
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.task.is_plain()
    }

    /// The blob that the serialised argument is in, if it is large and its carrier takes such.
    ///
    /// # Panics
    ///
    /// As [`encoded`](Self::encoded).
    #[inline]
    pub fn bulk(&self) -> Option<&Blob> {
        self.task.bulk()
    }

    /// What is attached to the serialised argument.
    pub fn attachments(&self) -> &[Attachment] {
        self.task.attachments()
    }

    /// The shared values that the serialised argument refers to. The worker needs them before the task.
    #[inline]
    pub fn shares(&self) -> &[Arc<ShareBlob>] {
        self.task.shares()
    }

    /// How many times the body was begun before this executor got the job: a relayed task may have had attempts on
    /// other machines. The worker is told this and the executor's own attempt together.
    #[inline]
    pub fn attempts_before(&self) -> u32 {
        self.task.attempts_before()
    }

    /// Keeps how long the body ran, as its worker measured it, for the sink of a relayed task. Before it is completed.
    #[inline]
    pub fn note_elapsed(&self, elapsed: Duration) {
        self.task.note_elapsed(elapsed);
    }

    /// Says that the body has begun elsewhere, which [`TaskFuture::status`] shows.
    pub fn mark_begun(&self) {
        self.task.mark_begun();
    }

    /// Resolves the future with a serialised result, which whoever takes it decodes.
    pub fn complete<'a>(self, result: impl Into<Parcel<'a>>) {
        self.complete_as(ErasedOutput::Encoded(result.into())).give();
    }

    /// As [`complete`](Self::complete), but who waits is told by the notice: for backends that complete many tasks under
    /// a lock and tell afterwards.
    pub fn complete_deferred<'a>(self, result: impl Into<Parcel<'a>>) -> Notice {
        self.complete_as(ErasedOutput::Encoded(result.into()))
    }

    /// As [`complete_deferred`](Self::complete_deferred), of a result that is its bytes and nothing else, for less.
    #[inline]
    pub fn complete_plain_deferred(self, result: &[u8]) -> Notice {
        Notice(self.into_task().complete_plain_and_leave(result))
    }

    /// As [`fail`](Self::fail), but who waits is told by the notice.
    pub fn fail_deferred(self, error: TaskError) -> Notice {
        self.complete_as(ErasedOutput::Error(Box::new(error)))
    }

    #[inline]
    fn complete_as(self, output: ErasedOutput<'_>) -> Notice {
        Notice(self.into_task().complete_and_leave(output))
    }

    /// Stores what the task has told about its progress, elsewhere.
    pub fn set_progress(&self, fraction: f64) {
        self.task.set_progress(fraction);
    }

    /// Keeps what the task printed, for [`TaskFuture::printed`]; once, and before the job is completed.
    pub fn set_printed(&self, printed: Printed) {
        self.task.set_printed(printed);
    }

    /// Resolves the future with an error.
    pub fn fail(self, error: TaskError) {
        self.complete_as(ErasedOutput::Error(Box::new(error))).give();
    }
}

impl Drop for Job {
    #[inline]
    fn drop(&mut self) {
        self.task.abandon_job();
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("id", &self.id())
            .field("name", &self.options().name)
            .field("state", &self.task.snapshot())
            .finish()
    }
}

/// The duty to tell whoever waits for a task that it is resolved.
#[must_use = "whoever waits for the task sleeps until the notice is given"]
pub struct Notice(cell::Notice);

impl Notice {
    /// Whether there is anybody to tell.
    #[inline]
    pub fn is_needed(&self) -> bool {
        !matches!(self.0, cell::Notice::Nobody)
    }

    /// Tells.
    pub fn give(self) {
        self.0.give();
    }
}

impl fmt::Debug for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notice").field("is_needed", &self.is_needed()).finish()
    }
}

/// A view of a running task: its cooperative flag, and the completer that a time limit needs.
pub struct JobHandle {
    pub(super) task: Ref,
}

impl JobHandle {
    pub(crate) fn new(task: Ref) -> Self {
        Self { task }
    }

    /// Whether the cooperative flag is raised.
    pub fn is_cancelled(&self) -> bool {
        self.task.snapshot().is_cancel_requested()
    }

    /// Raises the cooperative flag.
    pub fn request_cancel(&self) {
        self.task.request_cancel();
    }

    /// Resolves the future with an error although the body still runs. False if it has not begun in this process, or is
    /// resolved. (A task that runs elsewhere is resolved by its job, whose serialised argument may be in use.)
    ///
    /// Only on handles from [`Job::time_limit_handle`].
    pub fn fail(&self, error: TaskError) -> bool {
        let snapshot = self.task.snapshot();
        let runs_here = snapshot.has_begun() && snapshot.content() == Content::Empty;
        runs_here && !snapshot.is_done() && self.task.complete(ErasedOutput::Error(Box::new(error)))
    }

    /// Resolves the future as cancelled and raises the flag, although the body may be running in this process. False if the
    /// future is resolved already, or is just being resolved by the end of the body.
    ///
    /// Only by the backend that runs the job. Needs no [`Job::time_limit_handle`].
    pub fn kill(&self) -> bool {
        self.task.kill()
    }

    /// Whether the future is resolved.
    pub fn is_resolved(&self) -> bool {
        self.task.snapshot().is_done()
    }

    /// A handle from the pointer of a job, without a reference of its own.
    ///
    /// # Safety
    ///
    /// `raw` comes from [`Job::as_raw`] or [`Job::into_raw`], and the task is not freed while the handle is used.
    pub unsafe fn borrow_raw(raw: NonNull<()>) -> std::mem::ManuallyDrop<Self> {
        // SAFETY: passed on; the reference is not given up, because it was not taken.
        std::mem::ManuallyDrop::new(Self { task: unsafe { Ref::from_raw(raw) } })
    }

    /// Stores what the task tells about its progress.
    pub fn set_progress(&self, fraction: f64) {
        self.task.set_progress(fraction);
    }
}

impl Clone for JobHandle {
    fn clone(&self) -> Self {
        Self::new(self.task.another())
    }
}

impl fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobHandle").field(&self.task.id()).finish()
    }
}

/// What another process has sent of a task; for [`Job::relay`].
#[derive(Debug)]
pub struct Relayed<'a> {
    /// The id that the submitter knows.
    pub task: TaskId,
    /// How the function is found.
    pub target: Target,
    /// The serialised argument.
    pub arg: Parcel<'a>,
    /// Whether the body is a future.
    pub is_async: bool,
    /// How many times it was begun before, on other machines.
    pub attempts_before: u32,
}

/// Who gets the outcomes of relayed tasks; see [`Job::relay`].
pub trait RelaySink: Send + Sync {
    /// The task with this token has ended, after this time, if its executor knows it (else zero).
    ///
    /// Called once for each task, by whichever thread completes it and possibly under locks of its executor: it must
    /// be short, and call neither the executor nor a [`RelayHandle`].
    fn complete(&self, token: u64, outcome: Result<&Parcel<'_>, &TaskError>, elapsed: Duration);

    /// Called after one or more calls of [`complete`](Self::complete), outside of all locks. It must not block.
    fn flush(&self);
}

/// The submitter's side of a job from [`Job::from_encoded`] or [`Job::relay`]: it may stop the task, once an executor has taken it.
pub struct RelayHandle {
    task: Ref,
}

impl RelayHandle {
    /// The task's id.
    pub fn id(&self) -> TaskId {
        self.task.id()
    }

    /// The job's word; see [`Job::word`].
    pub fn word(&self) -> &AtomicU64 {
        self.task.word()
    }

    /// Cancels the task as [`TaskFuture::cancel`] does; the sink is called with the outcome.
    pub fn cancel(&self) -> CancelOutcome {
        self.task.cancel_held()
    }

    /// Takes the task back if its body has not begun. True if it never begins; the sink is called with `Cancelled`.
    pub fn revoke(&self) -> bool {
        self.task.revoke()
    }

    /// What the task last told about its progress.
    pub fn progress(&self) -> Option<f64> {
        self.task.owner_progress()
    }
}

impl fmt::Debug for RelayHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RelayHandle").field(&self.task.id()).finish()
    }
}
