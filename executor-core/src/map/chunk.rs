//! The bodies of `map`: a function called with each of several items.
//!
//! Items of a chunk do not share a fate: one that panics, or that does not serialise, fails alone. So each item is
//! serialised on its own, behind its length; a length of `u32::MAX` stands for an error, which follows.

use std::time::{Duration, Instant};

use crate::attachment::Attachment;
use crate::codec;
use crate::context::context;
use crate::error::TaskError;
use crate::identity::{self, Invocation, Target, WireBody};
use crate::panic;
use crate::parcel::{self, Buffer, Outlet, Parcel};
use crate::shared::{self, Shared};
use crate::task::{Body, Job, Started, TaskFuture, TaskOptions, Value};

/// The results of a chunk, in the order of its items. The error is boxed: results are many and errors are large.
pub struct ChunkResults<R> {
    pub(super) results: Vec<Result<R, Box<TaskError>>>,
    /// How long the items took together.
    pub(super) elapsed: Duration,
}

/// How a `map` makes tasks from items.
pub trait Mapper: Send + 'static {
    /// An item.
    type Item: Send + 'static;
    /// What the function gives for one.
    type Output: Send + 'static;

    /// A task for these items.
    #[doc(hidden)]
    fn job(
        &self,
        items: Vec<Self::Item>,
        options: Option<TaskOptions>,
    ) -> (Job, TaskFuture<ChunkResults<Self::Output>>);
}

/// `fn(A) -> R` for each item.
pub struct Plain<A, R>(pub(crate) fn(A) -> R);

impl<A: Value, R: Value> Mapper for Plain<A, R> {
    type Item = A;
    type Output = R;
    fn job(&self, items: Vec<A>, options: Option<TaskOptions>) -> (Job, TaskFuture<ChunkResults<R>>) {
        Job::new(Plain(self.0), items, options)
    }
}

/// `fn(&E, A) -> R` for each item.
pub struct ChunkWith<E, A, R> {
    function: fn(&E, A) -> R,
    env: Shared<E>,
}

impl<E, A, R> ChunkWith<E, A, R> {
    pub(crate) fn new(function: fn(&E, A) -> R, env: Shared<E>) -> Self {
        Self { function, env }
    }
}

impl<E: Value + Sync, A: Value, R: Value> Mapper for ChunkWith<E, A, R> {
    type Item = A;
    type Output = R;
    fn job(&self, items: Vec<A>, options: Option<TaskOptions>) -> (Job, TaskFuture<ChunkResults<R>>) {
        Job::new(With(self.function), (self.env.clone(), items), options)
    }
}

/// The body of [`ChunkWith`].
struct With<E, A, R>(fn(&E, A) -> R);

fn run_items<A, R>(
    items: impl Iterator<Item = Result<A, TaskError>>,
    mut f: impl FnMut(A) -> R,
) -> ChunkResults<R> {
    let start = Instant::now();
    let context = context();
    let results = items
        .map(|item| {
            // Asked between items, so that a `map` that was dropped soon ends.
            if context.is_cancelled() {
                return Err(Box::new(TaskError::Cancelled));
            }
            item.and_then(|item| panic::catch(|| f(item))).map_err(Box::new)
        })
        .collect();
    ChunkResults { results, elapsed: start.elapsed() }
}

impl<A: Value, R: Value> Body for Plain<A, R> {
    type Arg = Vec<A>;
    type Out = ChunkResults<R>;
    const IS_ASYNC: bool = false;

    fn start(&self, items: Vec<A>) -> Started<ChunkResults<R>> {
        Started::Ready(run_items(items.into_iter().map(Ok), self.0))
    }
    fn target(&self) -> Result<Target, TaskError> {
        identity::target::<Self>(self.0 as *const ())
    }
    fn encode_arg(items: &Vec<A>, out: &mut Buffer<'_>) -> Result<(), TaskError> {
        encode_items(items, out.vec());
        Ok(())
    }
    fn decode_out(bytes: &[u8]) -> Result<ChunkResults<R>, TaskError> {
        decode_results(bytes)
    }
}

impl<A: Value, R: Value> WireBody for Plain<A, R> {
    unsafe fn enter(function: *const (), arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
        // SAFETY: the caller passes the address of a live `fn(A) -> R`, as the contract of `enter` demands.
        let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
        let Parcel { bytes, attachments } = arg;
        Invocation::Done(run_encoded_items(&bytes, attachments, out, function))
    }
}

impl<E: Value + Sync, A: Value, R: Value> Body for With<E, A, R> {
    type Arg = (Shared<E>, Vec<A>);
    type Out = ChunkResults<R>;
    const IS_ASYNC: bool = false;

    fn start(&self, (env, items): Self::Arg) -> Started<ChunkResults<R>> {
        Started::Ready(run_items(items.into_iter().map(Ok), |item| (self.0)(&env, item)))
    }
    fn target(&self) -> Result<Target, TaskError> {
        identity::target::<Self>(self.0 as *const ())
    }
    fn encode_arg((env, items): &Self::Arg, out: &mut Buffer<'_>) -> Result<(), TaskError> {
        let id = shared::reference(env)?;
        let out = out.vec();
        out.extend_from_slice(&id.0.to_le_bytes());
        encode_items(items, out);
        Ok(())
    }
    fn decode_out(bytes: &[u8]) -> Result<ChunkResults<R>, TaskError> {
        decode_results(bytes)
    }
}

impl<E: Value + Sync, A: Value, R: Value> WireBody for With<E, A, R> {
    unsafe fn enter(function: *const (), arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
        // SAFETY: the caller passes the address of a live `fn(&E, A) -> R`, as the contract of `enter` demands.
        let function: fn(&E, A) -> R = unsafe { std::mem::transmute(function) };
        let Parcel { bytes, attachments } = arg;
        let env = bytes.split_first_chunk::<16>().ok_or_else(garbled).and_then(|(id, items)| {
            let env = shared::resolve::<E>(shared::ShareId(u128::from_le_bytes(*id)))?;
            Ok((env, items))
        });
        Invocation::Done(
            env.and_then(|(env, items)| {
                run_encoded_items(items, attachments, out, |item| function(&env, item))
            }),
        )
    }
}

const ERROR: u32 = u32::MAX;

/// Appends what `write` writes, behind its length.
fn with_length(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), TaskError>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let len = match write(out) {
        Ok(()) => u32::try_from(out.len() - start - 4).expect("an item is shorter than 4 GiB"),
        Err(error) => {
            out.truncate(start + 4);
            write_error(&error, out);
            ERROR
        }
    };
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
}

fn write_error(error: &TaskError, out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    codec::encode_message(error, out);
    let len = (out.len() - at - 4) as u32;
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

fn encode_items<A: Value>(items: &[A], out: &mut Vec<u8>) {
    for item in items {
        with_length(out, |out| codec::encode_arg(item, out));
    }
}

fn garbled() -> TaskError {
    TaskError::decode("chunk of a map", "it is truncated")
}

/// The items of a chunk, one after the other.
struct Items<'a>(&'a [u8]);

impl<'a> Items<'a> {
    fn split(&mut self, len: usize) -> Result<&'a [u8], TaskError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or_else(garbled)?;
        self.0 = rest;
        Ok(head)
    }

    fn length(&mut self) -> Result<u32, TaskError> {
        let (len, rest) = self.0.split_first_chunk().ok_or_else(garbled)?;
        self.0 = rest;
        Ok(u32::from_le_bytes(*len))
    }

    fn read(&mut self) -> Result<&'a [u8], TaskError> {
        match self.length()? {
            ERROR => {
                let len = self.length()? as usize;
                let error = codec::decode_message(self.split(len)?);
                Err(error.unwrap_or_else(|message| TaskError::decode("error of an item", message)))
            }
            len => self.split(len as usize),
        }
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<&'a [u8], TaskError>;
    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let before = self.0.len();
        let item = self.read();
        if item.is_err() && (before < 4 || self.0.len() == before) {
            // Truncated: there is no telling where the next one would be.
            self.0 = &[];
        }
        Some(item)
    }
}

fn run_encoded_items<A: Value, R: Value>(
    bytes: &[u8],
    mut attachments: Vec<Attachment>,
    out: &mut Outlet<'_>,
    f: impl FnMut(A) -> R,
) -> Result<(), TaskError> {
    let mut decode = |item| parcel::open(&mut attachments, || codec::decode_arg(item));
    let items = Items(bytes).map(|item| item.and_then(&mut decode));
    let chunk = run_items(items, f);
    let nanos = u64::try_from(chunk.elapsed.as_nanos()).unwrap_or(u64::MAX);
    out.patch(|out, collect| {
        out.extend_from_slice(&nanos.to_le_bytes());
        for result in chunk.results {
            with_length(out, |out| match result {
                Ok(value) => {
                    let encoded = collect.of(|| codec::encode_result(&value, out));
                    if std::mem::needs_drop::<R>() {
                        panic::catch(|| drop(value))?;
                    }
                    encoded
                }
                Err(error) => Err(*error),
            });
        }
    });
    Ok(())
}

fn decode_results<R: Value>(bytes: &[u8]) -> Result<ChunkResults<R>, TaskError> {
    let (nanos, items) = bytes.split_first_chunk().ok_or_else(garbled)?;
    Ok(ChunkResults {
        elapsed: Duration::from_nanos(u64::from_le_bytes(*nanos)),
        results: Items(items).map(|item| item.and_then(codec::decode_result).map_err(Box::new)).collect(),
    })
}
