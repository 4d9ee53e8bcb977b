//! What is written into large buffers and read from them, in the same way by all who do: at the speed of memory, and
//! so that what was read shows whether it is what was written.

use crate::workload::PAYLOAD_BYTES;

/// Words of a payload.
pub const WORDS: usize = PAYLOAD_BYTES / size_of::<u64>();

/// Fills the words with a pattern that depends on `seed`, which is the first of them.
#[inline(never)]
pub fn write(seed: u64, words: &mut [u64]) {
    for (index, word) in words.iter_mut().enumerate() {
        *word = seed.wrapping_add(index as u64);
    }
}

/// Reads every word.
#[inline(never)]
pub fn read(words: &[u64]) -> u64 {
    words.iter().copied().fold(0, u64::wrapping_add)
}

/// What [`read`] gives of a payload that was written with `seed`.
pub fn expected(seed: u64) -> u64 {
    let words = WORDS as u64;
    seed.wrapping_mul(words).wrapping_add(words * (words - 1) / 2)
}

/// The seed of the answer to a payload of that seed: another one, so that what was sent is not taken for it.
pub fn answer(seed: u64) -> u64 {
    !seed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_was_written() {
        let mut words = vec![0; WORDS];
        for seed in [3, answer(3)] {
            write(seed, &mut words);
            assert_eq!(words[0], seed);
            assert_eq!(read(&words), expected(seed));
        }
        words[WORDS - 1] += 1;
        assert_ne!(read(&words), expected(answer(3)));
    }
}
