//! What client and agent say to one another before the first task, without IO.
//!
//! ```text
//! client                                     agent
//!   Hello: protocol, codec, target,       ->
//!          build, executable, limits
//!                                         <-   SendExecutable, if it is not in the cache
//!   its bytes, without frames             ->
//!                                         <-   Welcome: slots, frame limit
//!                                              or Refused: why
//! ```
//!
//! All of it travels in the records of [`noise`](crate::noise), in frames of `executor_core::wire`. A `Hello` keeps its layout
//! in all versions up to and with the target, so that an agent can tell a client of another version what is wrong.

use executor_core::{BuildId, CODEC_ID, TaskError, wire};

#[cfg(test)]
mod tests;

/// The greatest length of any of these frames, but for the texts of refusals, which are cut to fit.
pub(crate) const GREETING_LIMIT: usize = 4096;

/// Longest text of a target or a refusal.
const TEXT_LIMIT: usize = 2048;

/// The client's first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    /// [`wire::PROTOCOL`].
    pub(crate) protocol: u32,
    /// [`CODEC_ID`].
    pub(crate) codec: u8,
    /// What the executable runs on.
    pub(crate) target: String,
    /// For logs, and for errors.
    pub(crate) build: BuildId,
    /// Of the client's executable.
    pub(crate) hash: [u8; 32],
    /// Length of the client's executable.
    pub(crate) size: u64,
    /// The client takes no longer frames.
    pub(crate) frame_limit: u32,
    /// The client is never silent for longer, in milliseconds, and wants to hear something as often.
    pub(crate) heartbeat_ms: u32,
}

/// The agent's answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The session begins.
    Welcome {
        /// How many tasks run at a time.
        slots: u32,
        /// The agent takes no longer frames.
        frame_limit: u32,
    },
    /// The executable's bytes are to come next.
    SendExecutable,
    /// There will be no session.
    Refused(Refusal),
}

/// Why there is no session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    /// For people: what is the matter and what can be done, or for [`Reason::Build`] what the agent is.
    pub(crate) text: String,
}

/// What a client does about a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Another protocol, codec or target: trying again is of no use.
    Build = 1,
    /// The agent has as many sessions as it may have, or is about to end.
    Busy = 2,
    /// The executable cannot be kept or started.
    Executable = 3,
}

/// A message that no peer of this version sends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer's greeting is garbled: {0}")]
pub(crate) struct GreetingError(&'static str);

/// What this side runs on, as it stands in a [`Hello`].
pub(crate) fn own_target() -> String {
    format!("{}-{}-{}", std::env::consts::ARCH, std::env::consts::OS, usize::BITS)
}

/// Protocol, codec and target, for people.
pub(crate) fn describe(protocol: u32, codec: u8, target: &str) -> String {
    format!("protocol {protocol}, codec {codec}, {target}")
}

const HELLO: u8 = 129;
const WELCOME: u8 = 130;
const SEND_EXECUTABLE: u8 = 131;
const REFUSED: u8 = 132;

impl Hello {
    /// Appends the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        frame(out, HELLO, |out| {
            out.extend_from_slice(&self.protocol.to_le_bytes());
            out.push(self.codec);
            out.extend_from_slice(&(self.target.len() as u16).to_le_bytes());
            out.extend_from_slice(self.target.as_bytes());
            out.extend_from_slice(self.build.as_bytes());
            out.extend_from_slice(&self.hash);
            out.extend_from_slice(&self.size.to_le_bytes());
            out.extend_from_slice(&self.frame_limit.to_le_bytes());
            out.extend_from_slice(&self.heartbeat_ms.to_le_bytes());
        });
    }

    /// Reads the body of a frame. What does not suit this side is a refusal.
    pub(crate) fn decode(body: &[u8]) -> Result<Result<Self, Refusal>, GreetingError> {
        let mut rest = Rest(body);
        if rest.array::<1>()? != [HELLO] {
            return Err(GreetingError("it does not begin with a hello"));
        }
        let protocol = u32::from_le_bytes(rest.array()?);
        let [codec] = rest.array()?;
        let len = u16::from_le_bytes(rest.array()?).into();
        let target = rest.text(len)?;
        if protocol != wire::PROTOCOL || codec != CODEC_ID || target != own_target() {
            let text = describe(wire::PROTOCOL, CODEC_ID, &own_target());
            return Ok(Err(Refusal { reason: Reason::Build, text }));
        }
        Ok(Ok(Self {
            protocol,
            codec,
            target,
            build: BuildId::from_bytes(rest.array()?),
            hash: rest.array()?,
            size: u64::from_le_bytes(rest.array()?),
            frame_limit: u32::from_le_bytes(rest.array()?),
            heartbeat_ms: u32::from_le_bytes(rest.array()?),
        }))
    }
}

impl Answer {
    /// Appends the frame.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Welcome { slots, frame_limit } => frame(out, WELCOME, |out| {
                out.extend_from_slice(&slots.to_le_bytes());
                out.extend_from_slice(&frame_limit.to_le_bytes());
            }),
            Self::SendExecutable => frame(out, SEND_EXECUTABLE, |_| {}),
            Self::Refused(Refusal { reason, text }) => frame(out, REFUSED, |out| {
                out.push(*reason as u8);
                let cut = text.floor_char_boundary(TEXT_LIMIT);
                out.extend_from_slice(&text.as_bytes()[..cut]);
            }),
        }
    }

    /// Reads the body of a frame.
    pub(crate) fn decode(body: &[u8]) -> Result<Self, GreetingError> {
        let mut rest = Rest(body);
        match rest.array()? {
            [WELCOME] => Ok(Self::Welcome {
                slots: u32::from_le_bytes(rest.array()?),
                frame_limit: u32::from_le_bytes(rest.array()?),
            }),
            [SEND_EXECUTABLE] => Ok(Self::SendExecutable),
            [REFUSED] => {
                let reason = match rest.array()? {
                    [1] => Reason::Build,
                    [2] => Reason::Busy,
                    [3] => Reason::Executable,
                    _ => return Err(GreetingError("it refuses for an unknown reason")),
                };
                let len = rest.0.len();
                Ok(Self::Refused(Refusal { reason, text: rest.text(len)? }))
            }
            _ => Err(GreetingError("it is no answer to a hello")),
        }
    }
}

impl Refusal {
    /// What tasks fail with.
    pub(crate) fn into_error(self, address: &str) -> TaskError {
        match self.reason {
            Reason::Build => TaskError::build_mismatch(
                describe(wire::PROTOCOL, CODEC_ID, &own_target()),
                format!("{} (the agent at {address})", self.text),
            ),
            Reason::Busy | Reason::Executable => TaskError::unreachable(address, self.text),
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    body(out);
    let len = (out.len() - start - wire::LENGTH) as u32;
    out[start..start + wire::LENGTH].copy_from_slice(&len.to_le_bytes());
}

struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], GreetingError> {
        let (array, rest) = self.0.split_first_chunk().ok_or(GreetingError("it is truncated"))?;
        self.0 = rest;
        Ok(*array)
    }

    fn text(&mut self, len: usize) -> Result<String, GreetingError> {
        let (text, rest) = self.0.split_at_checked(len).ok_or(GreetingError("it is truncated"))?;
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| GreetingError("its text is not UTF-8"))?;
        Ok(text.to_owned())
    }
}
