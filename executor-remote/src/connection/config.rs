use std::time::Duration;

use super::auth::Rules;
use super::handshake::{Protection, Terms};
use crate::object::Codec;

/// 256 MiB: more than anything that is worth sending as one message, and less than what a machine cannot spare.
const MAX_MESSAGE: usize = 256 << 20;

/// Settings of a listener, and of the connections that it accepts.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub(super) handshake_limit: Duration,
    pub(super) max_half_open: usize,
    pub(super) max_waiting: usize,
    pub(super) max_message: usize,
    pub(super) rules: Rules,
    pub(super) codec: Codec,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            handshake_limit: Duration::from_secs(5),
            max_half_open: 256,
            max_waiting: 128,
            max_message: MAX_MESSAGE,
            rules: Rules::default(),
            codec: Codec::default(),
        }
    }
}

impl ListenerConfig {
    /// How long a peer may take for the handshake. 5 seconds unless given. Too low cuts off honest peers on slow lines; too
    /// high lets silent ones stay.
    #[must_use]
    pub fn with_handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake_limit = limit;
        self
    }

    /// How many peers may be in their handshake at a time. 256 unless given, at least 1. When one more comes, it waits for one of
    /// them to be through, and for the oldest to be cut off after 100 ms: so a crowd of silent peers does not keep an honest
    /// one out. Too low lets such a crowd slow down the others; each peer costs a descriptor and about 2 KiB.
    #[must_use]
    pub fn with_max_half_open(mut self, peers: usize) -> Self {
        self.max_half_open = peers.max(1);
        self
    }

    /// How many peers may wait, after their handshake, for `accept` to be called. 128 unless given, at least 1. When there are
    /// so many, no more are let in, and the operating system queues them.
    #[must_use]
    pub fn with_max_waiting(mut self, peers: usize) -> Self {
        self.max_waiting = peers.max(1);
        self
    }

    /// The longest message that is received, in bytes. 256 MiB unless given. It bounds the memory of a connection, which grows
    /// with what has come and not with what was announced.
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Refuses responses with HMAC-MD5. They are accepted unless this is called, as Python before 3.12 knows nothing else.
    #[must_use]
    pub fn refuse_md5(mut self) -> Self {
        self.rules.refuse_md5 = true;
        self
    }

    /// How objects become messages on its connections. [`Codec::Bincode`] unless given; Python needs [`Codec::Pickle`].
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    pub(super) fn terms(&self, protection: Protection) -> Terms {
        Terms {
            protection,
            rules: self.rules,
            limit: self.handshake_limit,
            max_message: self.max_message,
            codec: self.codec,
        }
    }
}

/// Settings of a connection that is made from here.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(super) limit: Duration,
    pub(super) max_message: usize,
    pub(super) rules: Rules,
    pub(super) codec: Codec,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(10),
            max_message: MAX_MESSAGE,
            rules: Rules::default(),
            codec: Codec::default(),
        }
    }
}

impl ClientConfig {
    /// How long connecting and the handshake may take, together. 10 seconds unless given.
    #[must_use]
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// As [`ListenerConfig::with_max_message`].
    #[must_use]
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// Neither makes nor accepts responses with HMAC-MD5: the server has to be Python 3.12 or later, or one of ours.
    #[must_use]
    pub fn refuse_md5(mut self) -> Self {
        self.rules.refuse_md5 = true;
        self
    }

    /// How objects become messages on its connections. [`Codec::Bincode`] unless given; Python needs [`Codec::Pickle`].
    #[must_use]
    pub fn with_codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    pub(super) fn terms(&self, protection: Protection) -> Terms {
        Terms {
            protection,
            rules: self.rules,
            limit: self.limit,
            max_message: self.max_message,
            codec: self.codec,
        }
    }
}
