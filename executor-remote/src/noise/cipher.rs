//! One direction of an encrypted connection: a Noise `CipherState` over ring's AES-256-GCM.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::error::RecordError;

pub(super) const TAG_LEN: usize = 16;
const KEY_LEN: usize = 32;

/// Records between two rekeys. RFC 8446 section 5.5 allows AES-GCM 2^24.5 records of 16 KiB for one key,
/// where an attacker's advantage is some 2^-57; of our records, four times as long, that makes
/// 2^22.5. This is well below it, and costs one key schedule in a million records.
pub(super) const REKEY_EVERY: u64 = 1 << 20;

pub(super) struct Cipher {
    // "Less safe" as it leaves nonces to its user. `advance` is the only place that makes them.
    key: LessSafeKey,
    next: u64,
}

impl Cipher {
    pub fn new(key: &[u8; KEY_LEN]) -> Self {
        Self { key: schedule(key), next: 0 }
    }

    /// Number of the next record.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Encrypts `out[start..]` where it lies, and appends the tag.
    pub fn seal(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), RecordError> {
        let nonce = self.advance()?;
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut out[start..])
            .expect("a record is far below the cipher's limit of 64 GiB");
        out.extend_from_slice(tag.as_ref());
        Ok(())
    }

    /// Decrypts `out[start..]` where it lies, and removes the tag; on failure removes all of it.
    pub fn open(&mut self, out: &mut Vec<u8>, start: usize) -> Result<(), RecordError> {
        let record = self.next;
        let opened = self.advance().and_then(|nonce| {
            self.key
                .open_in_place(nonce, Aad::empty(), &mut out[start..])
                .map(|plaintext| plaintext.len())
                .map_err(|_| RecordError::Forged { record })
        });
        out.truncate(start + *opened.as_ref().unwrap_or(&0));
        opened.map(drop)
    }

    fn advance(&mut self) -> Result<Nonce, RecordError> {
        if self.next == u64::MAX {
            return Err(RecordError::Exhausted);
        }
        if self.next != 0 && self.next.is_multiple_of(REKEY_EVERY) {
            self.rekey();
        }
        let nonce = nonce(self.next);
        self.next += 1;
        Ok(nonce)
    }

    /// Noise section 4.2: the new key is what the old one makes of zeros under the last nonce.
    fn rekey(&mut self) {
        let mut key = Zeroizing::new([0; KEY_LEN]);
        let _tag = self
            .key
            .seal_in_place_separate_tag(nonce(u64::MAX), Aad::empty(), &mut *key)
            .expect("32 bytes are below the cipher's limit");
        self.key = schedule(&key);
    }

    #[cfg(test)]
    pub fn skip_to(&mut self, record: u64) {
        self.next = record;
    }
}

fn schedule(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes keys of 32 bytes"))
}

/// Noise section 12: four zero bytes and the number, big endian.
fn nonce(record: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&record.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}
