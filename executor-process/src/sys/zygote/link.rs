//! What program and zygote say to each other: messages with descriptors over a sequenced-packet socket pair.
//!
//! Each message is one packet, so that a forked worker and its zygote can both write to the same end.

use std::ffi::OsString;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most bytes of a message. Texts are cut to fit; an environment that does not fit is an error.
const MESSAGE_BYTES: usize = 64 * 1024;

/// The most descriptors that come with a message: channel, standard output, standard error.
const DESCRIPTORS: usize = 3;

/// What the program wants.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sys) enum ToZygote {
    /// Run the hook of this name, or none, and say that you are ready.
    Prepare { preload: String },
    /// Fork a worker, which is the program's `request`. Channel, and standard output and error if they are pipes.
    Worker { request: u64, has_stdout: bool, has_stderr: bool, name: String },
    /// Fork another zygote, with these variables in its environment and this end of a link.
    Zygote { envs: Vec<(OsString, OsString)> },
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::sys) enum FromZygote {
    /// It has been prepared.
    Ready,
    /// It cannot be prepared, and leaves.
    Failed { reason: String },
    /// The process with this number is there. Said by the zygote and by the new process itself, so that the program
    /// knows its child even if one of them is killed in between.
    Forked { request: u64, pid: i32 },
    /// The fork was not possible.
    Refused { request: u64, reason: String },
}

/// One end.
#[derive(Debug)]
pub(in crate::sys) struct Link(OwnedFd);

/// What was there to receive.
pub(in crate::sys) enum Received<T> {
    Message(T, Vec<OwnedFd>),
    Nothing,
    Closed,
}

impl Link {
    /// The program's end, non-blocking for what comes, and the zygote's.
    pub(in crate::sys) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        Ok((Self(ours), theirs))
    }

    pub(in crate::sys) fn new(end: OwnedFd) -> Self {
        Self(end)
    }

    /// Sends a message; `descriptors` are copied.
    pub(in crate::sys) fn send(
        &self,
        message: &impl Message,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = message.encode();
        if bytes.len() > MESSAGE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the environment for workers is too large",
            ));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(descriptors));
            debug_assert!(fits, "no message has more than {DESCRIPTORS} descriptors");
        }
        let iov = [IoSlice::new(&bytes)];
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(&self.0, &iov, &mut control, SendFlags::NOSIGNAL))?;
        Ok(())
    }

    /// The next message; waits for it if `wait` is set.
    pub(in crate::sys) fn receive<T: Message>(&self, wait: bool) -> io::Result<Received<T>> {
        let mut buffer = vec![0; MESSAGE_BYTES];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut flags = RecvFlags::CMSG_CLOEXEC;
        flags.set(RecvFlags::DONTWAIT, !wait);
        let mut iov = [IoSliceMut::new(&mut buffer)];
        let got = match rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(&self.0, &mut iov, &mut control, flags)
        }) {
            Ok(got) if got.bytes == 0 => return Ok(Received::Closed),
            Ok(got) => got,
            Err(Errno::AGAIN) => return Ok(Received::Nothing),
            Err(Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        };
        let descriptors = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        match T::decode(&buffer[..got.bytes]) {
            Some(message) => Ok(Received::Message(message, descriptors)),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "the other side said what nobody says")),
        }
    }

    /// Lets the other side read the end; what it still says can be received.
    pub(in crate::sys) fn finish(&self) {
        // A socket that is not connected any more has its end already.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Write);
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Something with a form in bytes.
pub(in crate::sys) trait Message: Sized {
    fn encode(&self) -> Vec<u8>;
    fn decode(bytes: &[u8]) -> Option<Self>;
}

impl Message for ToZygote {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Prepare { preload } => [b"P", preload.as_bytes()].concat(),
            Self::Worker { request, has_stdout, has_stderr, name } => {
                let pipes = u8::from(*has_stdout) | u8::from(*has_stderr) << 1;
                [b"W", &request.to_le_bytes()[..], &[pipes], name.as_bytes()].concat()
            }
            Self::Zygote { envs } => {
                let mut bytes = b"Z".to_vec();
                for text in envs.iter().flat_map(|(name, value)| [name, value]) {
                    bytes.extend((text.len() as u32).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
                bytes
            }
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match kind {
            b'P' => Self::Prepare { preload: text(rest)? },
            b'W' => {
                let (request, rest) = number(rest)?;
                let (pipes, name) = rest.split_first()?;
                let (has_stdout, has_stderr) = (pipes & 1 != 0, pipes & 2 != 0);
                Self::Worker { request, has_stdout, has_stderr, name: text(name)? }
            }
            b'Z' => {
                let mut rest = rest;
                let mut texts = Vec::new();
                while !rest.is_empty() {
                    let (len, tail) = rest.split_first_chunk::<4>()?;
                    let (text, tail) = tail.split_at_checked(u32::from_le_bytes(*len) as usize)?;
                    texts.push(OsString::from_vec(text.to_vec()));
                    rest = tail;
                }
                let mut texts = texts.into_iter();
                let mut envs = Vec::new();
                while let Some(name) = texts.next() {
                    envs.push((name, texts.next()?));
                }
                Self::Zygote { envs }
            }
            _ => return None,
        })
    }
}

impl Message for FromZygote {
    fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => b"R".to_vec(),
            Self::Failed { reason } => [b"F", cut(reason)].concat(),
            Self::Forked { request, pid } => [b"K", &request.to_le_bytes()[..], &pid.to_le_bytes()].concat(),
            Self::Refused { request, reason } => [b"N", &request.to_le_bytes()[..], cut(reason)].concat(),
        }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        Some(match kind {
            b'R' if rest.is_empty() => Self::Ready,
            b'F' => Self::Failed { reason: text(rest)? },
            b'K' => {
                let (request, pid) = number(rest)?;
                let pid = i32::from_le_bytes(pid.try_into().ok()?);
                (pid > 0).then_some(Self::Forked { request, pid })?
            }
            b'N' => {
                let (request, reason) = number(rest)?;
                Self::Refused { request, reason: text(reason)? }
            }
            _ => return None,
        })
    }
}

fn cut(reason: &str) -> &[u8] {
    const MOST: usize = MESSAGE_BYTES / 2;
    &reason.as_bytes()[..reason.floor_char_boundary(MOST)]
}

fn text(bytes: &[u8]) -> Option<String> {
    String::from_utf8(bytes.to_vec()).ok()
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_le_bytes(*number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests() -> Vec<ToZygote> {
        vec![
            ToZygote::Prepare { preload: String::new() },
            ToZygote::Prepare { preload: "load".to_owned() },
            ToZygote::Worker { request: u64::MAX, has_stdout: false, has_stderr: true, name: "3".to_owned() },
            ToZygote::Zygote {
                envs: vec![("A".into(), "".into()), ("B".into(), OsString::from_vec(vec![255]))],
            },
        ]
    }

    fn answers() -> Vec<FromZygote> {
        vec![
            FromZygote::Ready,
            FromZygote::Failed { reason: "no".to_owned() },
            FromZygote::Forked { request: 7, pid: 4711 },
            FromZygote::Refused { request: 8, reason: "ä".repeat(10) },
        ]
    }

    #[test]
    fn messages_survive_the_socket_one_by_one() {
        let (ours, theirs) = Link::pair().unwrap();
        let theirs = Link::new(theirs);
        for message in requests() {
            ours.send(&message, &[ours.as_fd()]).unwrap();
            match theirs.receive(true).unwrap() {
                Received::Message(got, fds) => assert_eq!((got, fds.len()), (message, 1)),
                _ => panic!("a message was sent"),
            }
        }
        for message in answers() {
            theirs.send(&message, &[]).unwrap();
        }
        drop(theirs);
        for message in answers() {
            match ours.receive(false).unwrap() {
                Received::Message(got, fds) => assert_eq!((got, fds.len()), (message, 0)),
                _ => panic!("a message was sent"),
            }
        }
        assert!(matches!(ours.receive::<FromZygote>(false), Ok(Received::Closed)));
    }

    #[test]
    fn truncated_messages_are_none_or_others_and_never_a_panic() {
        for message in requests() {
            let bytes = message.encode();
            (0..bytes.len())
                .for_each(|len| assert_ne!(ToZygote::decode(&bytes[..len]), Some(requests().remove(2))));
        }
        for message in answers() {
            let bytes = message.encode();
            (0..bytes.len())
                .for_each(|len| assert_ne!(FromZygote::decode(&bytes[..len]), Some(answers().remove(2))));
        }
    }

    #[test]
    fn a_reason_of_any_length_fits() {
        let (ours, theirs) = Link::pair().unwrap();
        ours.send(&FromZygote::Failed { reason: "ä".repeat(MESSAGE_BYTES) }, &[]).unwrap();
        match Link::new(theirs).receive(true).unwrap() {
            Received::Message(FromZygote::Failed { reason }, _) => {
                assert_eq!(reason.len(), MESSAGE_BYTES / 2)
            }
            _ => panic!("a message was sent"),
        }
    }
}
