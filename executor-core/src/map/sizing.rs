//! How many items a chunk has, and how many are on their way.

use std::time::Duration;

/// How long a chunk should take: long against what a task costs (microseconds), short against what a person or a
/// balance at the end notices.
const TARGET: Duration = Duration::from_millis(1);

/// The most items in a chunk, whatever their time; bounds the memory of maps over functions of no work.
const MAX_CHUNK: usize = 16 * 1024;

/// How much larger than the last a chunk may be: one that was fast by chance must not lead to one that is far too long.
const GROWTH: usize = 8;

/// Chunks on their way per worker: one runs, one waits behind it, and some cover for the consumer.
const CHUNKS_PER_WORKER: usize = 4;

#[derive(Debug)]
pub(super) struct Sizing {
    workers: usize,
    fixed_chunk: Option<usize>,
    buffer: Option<usize>,
    /// The size of the next chunk, while it adapts.
    chunk: usize,
}

impl Sizing {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            // An executor whose machines are not there yet has none.
            workers: workers.max(2),
            fixed_chunk: None,
            buffer: None,
            chunk: 1,
        }
    }

    pub(super) fn fix_chunk(&mut self, items: usize) {
        self.fixed_chunk = Some(items);
    }

    pub(super) fn fix_buffer(&mut self, items: usize) {
        self.buffer = Some(items);
    }

    /// How many more items may be taken, when so many items and chunks are on their way.
    pub(super) fn room(&self, items: usize, chunks: usize) -> usize {
        match self.buffer {
            Some(buffer) => buffer.saturating_sub(items),
            None if chunks < CHUNKS_PER_WORKER * self.workers => usize::MAX,
            None => 0,
        }
    }

    /// The size of the next chunk, when so many items are left.
    pub(super) fn chunk(&self, left: (usize, Option<usize>)) -> usize {
        if let Some(items) = self.fixed_chunk {
            return items;
        }
        // Towards the end, leave something for every worker. An unknown end counts as far away.
        let share = match left {
            (left, Some(upper)) if upper == left => left.div_ceil(2 * self.workers),
            _ => MAX_CHUNK,
        };
        // With a buffer that the user has set, every worker should get some of it.
        let of_buffer = self.buffer.map_or(MAX_CHUNK, |buffer| buffer / (2 * self.workers));
        self.chunk.min(share).min(of_buffer).max(1)
    }

    /// A chunk of `len` items took `elapsed`.
    pub(super) fn measured(&mut self, len: usize, elapsed: Duration) {
        let nanos = elapsed.as_nanos().max(1);
        let wanted = TARGET.as_nanos() * len as u128 / nanos;
        let wanted = usize::try_from(wanted).unwrap_or(MAX_CHUNK);
        let limit = len.saturating_mul(GROWTH).max(self.chunk);
        self.chunk = match wanted {
            // Half-way down only: one slow chunk may be the machine's fault.
            wanted if wanted < self.chunk => (self.chunk + wanted) / 2,
            wanted => wanted.min(limit),
        }
        .clamp(1, MAX_CHUNK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_grow_to_about_a_millisecond() {
        let mut sizing = Sizing::new(2);
        for _ in 0..10 {
            let len = sizing.chunk((1_000_000, None));
            sizing.measured(len, Duration::from_micros(1) * len as u32);
        }
        assert_eq!(sizing.chunk((1_000_000, None)), 1000);
    }

    #[test]
    fn slow_items_travel_alone() {
        let mut sizing = Sizing::new(2);
        sizing.measured(1, Duration::from_secs(1));
        assert_eq!(sizing.chunk((1_000_000, None)), 1);
    }

    #[test]
    fn the_last_items_are_spread_over_the_workers() {
        let mut sizing = Sizing::new(2);
        sizing.chunk = 1000;
        assert_eq!(sizing.chunk((100, Some(100))), 25);
        assert_eq!(sizing.chunk((1, Some(1))), 1);
    }

    #[test]
    fn a_buffer_bounds_what_is_on_its_way() {
        let mut sizing = Sizing::new(2);
        sizing.fix_buffer(3);
        assert_eq!(sizing.room(0, 0), 3);
        assert_eq!(sizing.room(3, 3), 0);
    }
}
