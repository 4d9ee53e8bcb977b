//! What goes into the process and what comes out of it.
//!
//! Both lie in one memfd that the two have open: first frames with the argument and what it refers to, which the process
//! reads and cuts off, then a frame with the outcome. So neither ever waits for the other to read, however large a value
//! is, and an outcome survives the process. Descriptors that belong to values come through the socket, ahead of the frame
//! that says how many.
//!
//! ```text
//! argument:  shared values (Share frames) | Task frame
//! outcome:   length of the rest (u64, written last) | Done frame
//! ```

use std::any::Any;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use executor_core::attachment::{Attachment, Local};
use executor_core::wire::{FromWorker, Item, Packed, TaskFrame, ToWorker};
use executor_core::{
    Blob, Carrier, Host, Invocation, Job, Outlet, Parcel, ShareBlob, TaskError, share_store, worker,
};
use rustix::fs::MemfdFlags;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};

use crate::ipc::handle::Descriptors;
use crate::transport::FrameReader;

/// What a value on its way to another process of this machine may have.
pub(super) fn carrier() -> Carrier {
    /// What the length of a frame can tell, less what is in a frame besides.
    const LIMIT: usize = u32::MAX as usize - (1 << 20);
    Carrier::local(LIMIT).without_bulk()
}

/// Makes the file.
pub(super) fn file() -> io::Result<File> {
    Ok(rustix::fs::memfd_create(c"executor-process", MemfdFlags::CLOEXEC)?.into())
}

// ---- the argument ----------------------------------------------------------------------------------------------

/// Puts an encoded job into the file, and its descriptors into the socket.
pub(super) fn write_argument(job: &Job, mut file: &File, socket: BorrowedFd<'_>) -> Result<(), PackError> {
    let mut bytes = Vec::new();
    let mut descriptors = Vec::new();
    for share in job.shares() {
        let attached = pack(share.attachments(), &mut descriptors)?;
        let value = Packed { bytes: share.bytes(), attached: &attached, is_bulk: false };
        ToWorker::Share(share.id(), value).encode(&mut bytes);
    }
    let attached = pack(job.attachments(), &mut descriptors)?;
    let task = TaskFrame {
        slot: 0,
        task: job.id(),
        attempt: 1,
        is_async: job.is_async(),
        target: job.target().map_err(PackError::Task)?,
        extra: None,
        arg: Packed { bytes: job.encoded(), attached: &attached, is_bulk: false },
    };
    ToWorker::Task(task).encode(&mut bytes);
    file.write_all(&bytes).map_err(PackError::Io)?;
    send_descriptors(socket, &descriptors).map_err(PackError::Io)
}

/// Why a value could not be packed.
pub(super) enum PackError {
    Task(TaskError),
    Io(io::Error),
}

/// In the process: reads the argument, runs the function, and writes the outcome. True if there is a value.
pub(super) fn run(mut file: &File, socket: BorrowedFd<'_>, host: &Arc<dyn Host>) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    file.set_len(0)?;
    let mut frames = FrameReader::new(usize::MAX);
    frames.feed(&bytes);
    drop(bytes);
    let garbled =
        |error: &dyn std::error::Error| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    while let Some(frame) = frames.next_frame().map_err(|error| garbled(&error))? {
        match ToWorker::decode(frame).map_err(|error| garbled(&error))? {
            ToWorker::Share(id, value) => {
                share_store().insert(ShareBlob::new(id, unpack(value, socket)?.into_owned()));
            }
            ToWorker::Task(task) => {
                let incoming = worker::Incoming {
                    target: &task.target,
                    arg: unpack(task.arg, socket)?,
                    task: task.task,
                    attempt: task.attempt,
                    token: 0,
                };
                let mut bytes = Vec::new();
                let mut outlet = Outlet::new(&mut bytes, carrier());
                let result = match worker::run(incoming, host, &mut outlet) {
                    Invocation::Done(result) => result,
                    Invocation::Pending(_) => unreachable!("a process is started with plain functions"),
                };
                let (attachments, _) = outlet.finish();
                let outcome = result.map(|()| (&bytes[..], &attachments[..]));
                return write_outcome(outcome, file, socket);
            }
            _ => break,
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

// ---- the outcome -----------------------------------------------------------------------------------------------

/// Puts an outcome into the file. True if it is a value.
pub(super) fn write_outcome(
    outcome: Result<(&[u8], &[Attachment]), TaskError>,
    file: &File,
    socket: BorrowedFd<'_>,
) -> io::Result<bool> {
    let mut descriptors = Vec::new();
    let mut attached = Vec::new();
    let outcome = outcome.and_then(|(bytes, attachments)| {
        attached = pack(attachments, &mut descriptors).map_err(|error| match error {
            PackError::Task(error) => error,
            PackError::Io(error) => TaskError::encode("result", error),
        })?;
        Ok(Packed { bytes, attached: &attached, is_bulk: false })
    });
    let is_value = outcome.is_ok();
    let mut frame = vec![0; LENGTH];
    FromWorker::Done(0, Duration::ZERO, outcome).encode(&mut frame);
    if let Err(error) = put(file, &frame).and_then(|()| send_descriptors(socket, &descriptors)) {
        // No memory left for it, or no descriptors: that can be said in few bytes.
        let error = TaskError::encode("result", format_args!("handing it over failed: {error}"));
        frame.truncate(LENGTH);
        FromWorker::Done(0, Duration::ZERO, Err(error)).encode(&mut frame);
        file.set_len(0)?;
        put(file, &frame)?;
        commit(file, &frame)?;
        return Ok(false);
    }
    commit(file, &frame)?;
    Ok(is_value)
}

/// Bytes of the length at the beginning of the file.
const LENGTH: usize = 8;

fn put(file: &File, frame: &[u8]) -> io::Result<()> {
    file.write_all_at(frame, 0)
}

fn commit(file: &File, frame: &[u8]) -> io::Result<()> {
    file.write_all_at(&((frame.len() - LENGTH) as u64).to_le_bytes(), 0)
}

/// What a process that has ended has left in the file.
pub(super) enum Left {
    /// Its outcome, as a frame.
    Outcome(Vec<u8>),
    /// Nothing: it has not finished.
    Nothing,
    /// Not even its argument is read.
    Unread,
}

/// Reads what is left in the file. The process may have written anything.
pub(super) fn read_outcome(file: &File, argument: u64) -> io::Result<Left> {
    let size = file.metadata()?.len();
    let mut length = [0; LENGTH];
    if argument > 0 && size == argument {
        return Ok(Left::Unread);
    }
    if size < LENGTH as u64 {
        return Ok(Left::Nothing);
    }
    file.read_exact_at(&mut length, 0)?;
    let length = u64::from_le_bytes(length);
    if length == 0 || length != size - LENGTH as u64 {
        return Ok(Left::Nothing);
    }
    let mut frame = vec![0; length as usize];
    file.read_exact_at(&mut frame, LENGTH as u64)?;
    Ok(Left::Outcome(frame))
}

/// Resolves the job with the outcome in the frame.
pub(super) fn complete(job: Job, frame: &[u8], socket: BorrowedFd<'_>) -> executor_core::Notice {
    let garbled = |what: &dyn std::fmt::Display| TaskError::decode("result", what);
    let body = frame.get(crate::transport::HEADER..).unwrap_or_default();
    match FromWorker::decode(body) {
        Ok(FromWorker::Done(_, _, Ok(value))) => match unpack(value, socket) {
            Ok(parcel) => job.complete_deferred(parcel),
            Err(error) => job.fail_deferred(garbled(&error)),
        },
        Ok(FromWorker::Done(_, _, Err(error))) => job.fail_deferred(error),
        Ok(_) => job.fail_deferred(garbled(&"the process has written something else")),
        Err(error) => job.fail_deferred(garbled(&error)),
    }
}

// ---- attachments -----------------------------------------------------------------------------------------------

/// Writes how attachments travel; gathers the descriptors that go through the socket.
fn pack<'a>(
    attachments: &'a [Attachment],
    descriptors: &mut Vec<BorrowedFd<'a>>,
) -> Result<Vec<u8>, PackError> {
    let mut items = Vec::new();
    for attachment in attachments {
        match attachment {
            Attachment::Blob(blob) => Item::Inline(blob).write(&mut items),
            Attachment::Local(local) => {
                let fds = (&**local as &dyn Any).downcast_ref::<Descriptors>().map(Descriptors::fds);
                let count = fds.and_then(|fds| u8::try_from(fds.len()).ok());
                let (Some(fds), Some(count)) = (fds, count) else {
                    return Err(PackError::Task(TaskError::not_portable(format!(
                        "a `{}` cannot be passed to a process",
                        local.what()
                    ))));
                };
                descriptors.extend(fds.iter().map(AsFd::as_fd));
                Item::Local(count).write(&mut items);
            }
            _ => {
                return Err(PackError::Task(TaskError::not_portable(
                    "it has an attachment of an unknown kind",
                )));
            }
        }
    }
    Ok(items)
}

/// The value with its attachments, whose descriptors come out of the socket.
fn unpack<'a>(value: Packed<'a>, socket: BorrowedFd<'_>) -> io::Result<Parcel<'a>> {
    let garbled = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message.to_owned());
    let items = value.items().map_err(|error| garbled(&error.to_string()))?;
    let wanted = items.iter().map(|item| if let Item::Local(count) = item { usize::from(*count) } else { 0 });
    let mut descriptors = receive_descriptors(socket, wanted.sum())?.into_iter();
    let mut parcel = Parcel::from(value.bytes);
    for item in items {
        parcel.attachments.push(match item {
            Item::Inline(bytes) => Attachment::Blob(Blob::from(bytes)),
            Item::Local(count) => {
                let fds = descriptors.by_ref().take(count.into()).collect();
                Attachment::Local(Arc::new(Descriptors::new("handle", fds)) as Arc<dyn Local>)
            }
            _ => return Err(garbled("an attachment travels by other means")),
        });
    }
    Ok(parcel)
}

/// How many descriptors go with one packet; the kernel takes 253.
const BATCH: usize = 64;

fn send_descriptors(socket: BorrowedFd<'_>, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    for batch in descriptors.chunks(BATCH) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(batch));
        debug_assert!(fits, "the buffer was made for {BATCH}");
        let iov = [IoSlice::new(&[0])];
        // It never waits: somebody who passes this many is told so.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(socket, &iov, &mut control, flags))?;
    }
    Ok(())
}

fn receive_descriptors(socket: BorrowedFd<'_>, wanted: usize) -> io::Result<Vec<OwnedFd>> {
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    while descriptors.len() < wanted {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let mut iov = [IoSliceMut::new(&mut byte)];
        // They were sent before the frame.
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        rustix::io::retry_on_intr(|| rustix::net::recvmsg(socket, &mut iov, &mut control, flags))?;
        let before = descriptors.len();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                descriptors.extend(fds);
            }
        }
        if descriptors.len() == before {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptors of its handles did not come",
            ));
        }
    }
    Ok(descriptors)
}
