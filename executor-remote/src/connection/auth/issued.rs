use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use super::Side;

const PREFIX: &[u8; 8] = b"{sha256}";
const NONCE: usize = 40;
const LEN: usize = PREFIX.len() + NONCE;

/// Who sent it, and its random bytes.
type Sent = (Side, [u8; NONCE]);

/// All challenges of this process that are under way.
static UNDER_WAY: Mutex<Option<HashSet<Sent>>> = Mutex::new(None);

/// A challenge of one side. As long as it exists, nobody in this process answers the same random bytes for that side.
#[derive(Debug)]
pub struct Challenge {
    side: Side,
    bytes: [u8; LEN],
}

impl Challenge {
    /// A new one, from the randomness of the operating system.
    ///
    /// # Errors
    ///
    /// What the operating system says when it gives none.
    pub fn draw(side: Side) -> io::Result<Self> {
        let mut nonce = [0; NONCE];
        let mut filled = 0;
        while filled < NONCE {
            match getrandom(&mut nonce[filled..], GetRandomFlags::empty()) {
                Ok(more) => filled += more,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(Self::from_nonce(side, nonce))
    }

    /// The challenge with these random bytes, for tests: each use of a challenge needs bytes that nobody can foresee.
    #[must_use]
    pub fn from_nonce(side: Side, nonce: [u8; NONCE]) -> Self {
        under_way().get_or_insert_default().insert((side, nonce));
        let mut bytes = [0; LEN];
        bytes[..PREFIX.len()].copy_from_slice(PREFIX);
        bytes[PREFIX.len()..].copy_from_slice(&nonce);
        Self { side, bytes }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn side(&self) -> Side {
        self.side
    }

    /// Whether `challenge`, which came from a peer, has been sent by `side` here, whatever digest it asks for.
    pub(super) fn is_under_way(side: Side, challenge: &[u8]) -> bool {
        match (challenge.last_chunk::<NONCE>(), &*under_way()) {
            (Some(nonce), Some(known)) => known.contains(&(side, *nonce)),
            _ => false,
        }
    }
}

impl Drop for Challenge {
    fn drop(&mut self) {
        if let (Some(nonce), Some(known)) = (self.bytes.last_chunk::<NONCE>(), &mut *under_way()) {
            known.remove(&(self.side, *nonce));
        }
    }
}

fn under_way() -> MutexGuard<'static, Option<HashSet<Sent>>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}
