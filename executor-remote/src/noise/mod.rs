//! The secure channel: what two peers say before the first frame, and how frames travel after it.
//!
//! Nothing here knows what the bytes mean. Above lies one stream of plaintext bytes in each
//! direction, below one stream of bytes on the wire.
//!
//! # Protocol
//!
//! ```text
//! initiator (dialled)                                   responder (listened)
//!   hello: offer, mode                       ->
//!   noise only: message 1 (e, psk), 48 bytes ->
//!                                            <-   hello: welcome, or why not
//!                                            <-   noise only: message 2 (e, ee), 48 bytes
//!   noise only: an empty record              ->
//!   records                                 <->   records
//! ```
//!
//! 1. A *hello* has 16 bytes and one layout in all versions: `EXECUTOR`, version (u16, little
//!    endian), mode (0 plain, 1 noise), status, four zero bytes. Anything else is refused at its
//!    first wrong byte, before anything is allocated for it and without an answer.
//! 2. The mode follows from the key: who has one speaks noise and nothing else, who has none speaks
//!    plain. So nobody can talk a peer out of its encryption. A responder that refuses says why
//!    in the status of its hello. That status is not authenticated; it only chooses the
//!    words of an error.
//! 3. Noise is `Noise_NNpsk0_25519_AESGCM_BLAKE2s` with the cluster key as psk: both prove that they
//!    hold it, and each connection has keys of its own that the cluster key does not reveal later.
//!    The prologue is both hellos, so a changed hello fails the handshake.
//! 4. The responder waits for the initiator's first record, which is empty. A recording of an old
//!    message 1 gets that far and no further, so [`accept`] costs a replaying stranger
//!    two curve multiplications and costs the agent no session.
//! 5. A *record* is a length (u16, big endian) and that many bytes: ciphertext and a tag of 16
//!    bytes, or plaintext in plain mode. Records cut the stream anywhere; frames know nothing of
//!    them. An empty record ends the stream, so that a cut connection can be told from
//!    a closed one.
//! 6. The nonce of a record is its number, counted in each direction from 0, never sent. A record
//!    changed, repeated, left out or moved therefore fails its tag, and the stream with it. After
//!    each 2^20 records the key is replaced as Noise section 4.2 says (`REKEY`), well below the number
//!    that AES-GCM allows for one key; the count goes on, and its end at 2^64 - 1 is an error.
//!
//! # Decisions
//!
//! *AES-GCM through ring, not ChaCha20-Poly1305 through snow.* snow's own ciphers schedule the key
//! anew for every message. Seal or open of a 40-byte record and of 64 KiB, on the machine this was
//! built on (AES-NI): snow's ChaCha20-Poly1305 1,690 ns and 1.3 GiB/s, its AES-GCM 340 ns and
//! 1.2 GiB/s, ring's ChaCha20-Poly1305 175 ns and 2.2 GiB/s, ring's AES-GCM 120 ns and 6.5 GiB/s. On
//! a processor without AES instructions ring is slower and still constant in time.
//!
//! *The two halves share nothing.* [`Sealer`] and [`Opener`] are made from the two keys of Noise's
//! `Split()`. snow would keep both in one object, which a reading and a writing thread
//! would have to share; it could not rekey one direction without a lock. Records are thus sealed here,
//! and a test holds them against snow's own transport.
//!
//! # Example
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use std::time::{Duration, Instant};
//!
//! use executor_remote::key::ClusterKey;
//! use executor_remote::noise::{accept, connect};
//!
//! let key = ClusterKey::generate()?;
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let (client, agent) = UnixStream::pair()?;
//! std::thread::scope(|scope| {
//!     scope.spawn(|| {
//!         let mut agent = accept(agent, Some(&key), deadline).unwrap();
//!         agent.writer.send(b"welcome").unwrap();
//!         agent.writer.close().unwrap();
//!     });
//!     let mut client = connect(client, Some(&key), deadline)?;
//!     let mut received = Vec::new();
//!     while client.reader.receive(&mut received)? > 0 {}
//!     assert_eq!(received, b"welcome");
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod cipher;
mod error;
mod handshake;
mod hello;
mod record;
mod secure;

pub use error::{HandshakeError, RecordError, SecureError, Stage};
pub use handshake::Handshake;
pub use hello::{HELLO_LEN, PROTOCOL_VERSION};
pub use record::{MAX_RECORD_LEN, Opener, Sealer};
pub use secure::{Secure, SecureReader, SecureWriter, Stream, accept, connect};
