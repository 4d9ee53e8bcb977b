//! Pipes between processes: messages over a Unix socket, with what cannot be written as bytes beside them.
//!
//! 1. **A message is one packet** of a `SOCK_SEQPACKET` socket pair: the kernel delivers it whole or not at all. So several
//!    processes can send into one pipe, and several receive from it, without a lock; and a sender that dies in the midst
//!    of a `send` has sent the message or nothing. A packet that is shorter than it says did not come from here: an error of
//!    its own, [`RecvError::Truncated`], and only that message is lost.
//! 2. What does not fit into a packet ([`message::INLINE`]) follows in a sealed memfd that travels with it. The part in the packet
//!    fills the socket's buffer, so that only a few such messages can be under way: then `send` waits.
//! 3. Handles travel as descriptors beside the packet (`SCM_RIGHTS`), blobs as bytes.
//! 4. The socket closes when the last handle of that side is dropped or dies, in whatever process. Then what was sent is
//!    received first, and after that, [`RecvError::Closed`].
//!
//! ```text
//! mod, error, future    what users have
//! message               a value as a packet, and back          socket    packets with descriptors
//! reactor               the thread that waits for futures
//! ```

mod error;
mod future;
mod message;
mod reactor;
mod socket;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use error::{RecvError, SendError};
pub use future::{Recv, Send};

use self::message::Message;
use self::socket::Direction;
use super::futex::Deadline;
use super::handle::{self, Descriptors};

/// The most that one message may be when encoded, blobs included, in bytes: 4 GiB less one.
pub const MAX_MESSAGE_BYTES: usize = executor_core::CODEC_LIMIT;

/// A pipe for messages from one side to the other: who reads and who writes, as of [`std::io::pipe`].
///
/// # Errors
///
/// No descriptors are left.
///
/// # Examples
///
/// ```
/// use executor_process::ipc::{self, RecvError};
/// let (reader, writer) = ipc::pipe::<(u32, String)>()?;
/// writer.send((42, "hello".to_owned()))?;
/// drop(writer);
/// assert_eq!(reader.recv()?, (42, "hello".to_owned()));
/// assert!(matches!(reader.recv(), Err(RecvError::Closed)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<T>() -> io::Result<(PipeReader<T>, PipeWriter<T>)> {
    let (reader, writer) = socket::pair()?;
    // The writer hears nothing, so that its end is at the same time the end of the pipe.
    rustix::net::shutdown(&writer, rustix::net::Shutdown::Read)?;
    let (reader, writer) = (End::new("PipeReader", reader), End::new("PipeWriter", writer));
    Ok((PipeReader { end: reader, items: PhantomData }, PipeWriter { end: writer, items: PhantomData }))
}

/// A pipe for messages both ways: one end sends `A` and receives `B`, the other the reverse.
///
/// # Errors
///
/// No descriptors are left.
///
/// # Examples
///
/// ```
/// use executor_process::ipc;
/// let (asking, answering) = ipc::duplex::<u64, String>()?;
/// asking.send(6)?;
/// let n = answering.recv()?;
/// answering.send("ab".repeat(n as usize))?;
/// assert_eq!(asking.recv()?.len(), 12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex<A, B>() -> io::Result<(PipeEnd<A, B>, PipeEnd<B, A>)> {
    let (one, other) = socket::pair()?;
    let (one, other) = (End::new("PipeEnd", one), End::new("PipeEnd", other));
    Ok((PipeEnd { end: one, items: PhantomData }, PipeEnd { end: other, items: PhantomData }))
}

/// One side of a socket pair.
#[derive(Debug, Clone)]
struct End {
    socket: Arc<Descriptors>,
}

impl End {
    fn new(what: &'static str, socket: std::os::fd::OwnedFd) -> Self {
        Self { socket: Arc::new(Descriptors::new(what, vec![socket])) }
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.fds()[0].as_fd()
    }

    fn send<T: Serialize + 'static>(&self, value: T, deadline: Deadline) -> Result<(), SendError<T>> {
        match Message::encode(&value).and_then(|message| socket::send(self.fd(), &message, deadline)) {
            Ok(()) => Ok(()),
            Err(failure) => Err(failure.with(value)),
        }
    }

    fn recv<T: DeserializeOwned + 'static>(&self, deadline: Deadline) -> Result<T, RecvError> {
        socket::recv(self.fd(), deadline)?.decode()
    }

    fn open<'de, D: Deserializer<'de>>(what: &'static str, deserializer: D) -> Result<Self, D::Error> {
        let (socket, ()) = handle::deserialize_with(what, deserializer)?;
        match socket.fds() {
            [fd] if socket::is_ours(fd) => Ok(Self { socket }),
            _ => Err(D::Error::custom(format_args!("what came with a {what} is no pipe"))),
        }
    }
}

macro_rules! sends {
    ($name:ident<$($generic:ident),*>, $sent:ident) => {
        impl<$($generic),*> $name<$($generic),*>
        where
            $sent: Serialize + 'static,
        {
            /// Sends a message, and waits while the pipe is full.
            ///
            /// A message is not acknowledged: that it was sent does not mean that anybody will receive it.
            ///
            /// # Errors
            ///
            /// [`SendError`], with the message, which was not sent then: [`Closed`](SendError::Closed) if all who could receive it are
            /// gone.
            ///
            /// # Blocking
            ///
            /// While as much is under way as the socket's buffer holds, some hundred small messages.
            pub fn send(&self, message: $sent) -> Result<(), SendError<$sent>> {
                self.end.send(message, Deadline::NEVER)
            }

            /// Sends a message, and waits while the pipe is full, but not longer than this.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send); [`Full`](SendError::Full) when the time is up.
            pub fn send_timeout(&self, message: $sent, timeout: Duration) -> Result<(), SendError<$sent>> {
                self.end.send(message, Deadline::after(timeout))
            }

            /// Sends a message if there is room now.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send); [`Full`](SendError::Full) if there is no room.
            pub fn try_send(&self, message: $sent) -> Result<(), SendError<$sent>> {
                self.end.send(message, Deadline::after(Duration::ZERO))
            }

            /// Sends a message, and waits while the pipe is full. The message is encoded now, not when the future is polled.
            ///
            /// # Errors
            ///
            /// As [`send`](Self::send).
            ///
            /// # Cancel safety
            ///
            /// The message was sent if and only if the future was ready. It is lost with the future.
            pub fn send_async(&self, message: $sent) -> Send<$sent> {
                Send::new(self.end.clone(), message)
            }
        }
    };
}

macro_rules! receives {
    ($name:ident<$($generic:ident),*>, $received:ident) => {
        impl<$($generic),*> $name<$($generic),*> {
            /// Waits until there is something to receive, be it the end, but not longer than this. Whether there is.
            ///
            /// Another who receives from the same pipe may be faster.
            #[must_use]
            pub fn poll(&self, timeout: Duration) -> bool {
                socket::wait(self.end.fd(), Direction::In, Deadline::after(timeout))
            }
        }

        impl<$($generic),*> $name<$($generic),*>
        where
            $received: DeserializeOwned + 'static,
        {
            /// Receives the next message, and waits for one if need be.
            ///
            /// # Errors
            ///
            /// [`Closed`](RecvError::Closed) when all has been received and all who could send are gone. Any other error loses one message at
            /// most; the next call receives the next one.
            ///
            /// # Blocking
            ///
            /// Until there is a message, or nobody is left who could send one.
            pub fn recv(&self) -> Result<$received, RecvError> {
                self.end.recv(Deadline::NEVER)
            }

            /// Receives the next message, and waits for one if need be, but not longer than this.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv); [`Empty`](RecvError::Empty) when the time is up.
            pub fn recv_timeout(&self, timeout: Duration) -> Result<$received, RecvError> {
                self.end.recv(Deadline::after(timeout))
            }

            /// Receives the next message if there is one now.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv); [`Empty`](RecvError::Empty) if there is none.
            pub fn try_recv(&self) -> Result<$received, RecvError> {
                self.end.recv(Deadline::after(Duration::ZERO))
            }

            /// Receives the next message, and waits for one if need be.
            ///
            /// # Errors
            ///
            /// As [`recv`](Self::recv).
            ///
            /// # Cancel safety
            ///
            /// Nothing is lost if the future is dropped: a message is received only by the poll that returns it.
            pub fn recv_async(&self) -> Recv<$received> {
                Recv::new(self.end.clone())
            }
        }
    };
}

macro_rules! handle {
    ($name:ident<$($generic:ident),*>) => {
        impl<$($generic),*> Clone for $name<$($generic),*> {
            fn clone(&self) -> Self {
                Self { end: self.end.clone(), items: PhantomData }
            }
        }

        impl<$($generic),*> fmt::Debug for $name<$($generic),*> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }

        /// Writes the handle. Only into what can carry descriptors.
        impl<$($generic),*> Serialize for $name<$($generic),*> {
            fn serialize<S_: Serializer>(&self, serializer: S_) -> Result<S_::Ok, S_::Error> {
                handle::serialize_with(&self.end.socket, &(), serializer)
            }
        }

        impl<'de, $($generic),*> Deserialize<'de> for $name<$($generic),*> {
            fn deserialize<D_: Deserializer<'de>>(deserializer: D_) -> Result<Self, D_::Error> {
                Ok(Self { end: End::open(stringify!($name), deserializer)?, items: PhantomData })
            }
        }
    };
}

/// The reading side of a [`pipe`].
///
/// Cloning or sending it gives another handle of the same side; each message is received by one of them.
/// Senders get [`SendError::Closed`] when the last handle is gone, in whatever process.
pub struct PipeReader<T> {
    end: End,
    items: PhantomData<fn() -> T>,
}

/// The writing side of a [`pipe`].
///
/// Cloning or sending it gives another handle of the same side. Receivers get [`RecvError::Closed`] when the
/// last handle is gone, in whatever process: one that keeps a handle for itself, after having sent it to another, keeps the
/// pipe open.
pub struct PipeWriter<T> {
    end: End,
    items: PhantomData<fn(T)>,
}

/// One end of a [`duplex`] pipe, which sends `S` and receives `R`.
///
/// Cloning or sending it gives another handle of the same end.
pub struct PipeEnd<S, R> {
    end: End,
    items: PhantomData<fn(S) -> R>,
}

handle!(PipeReader<T>);
handle!(PipeWriter<T>);
handle!(PipeEnd<S, R>);
receives!(PipeReader<T>, T);
sends!(PipeWriter<T>, T);
sends!(PipeEnd<S, R>, S);
receives!(PipeEnd<S, R>, R);
