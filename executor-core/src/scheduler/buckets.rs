//! Workers sorted roughly by load, in lists of equal level: least and most loaded in constant time.

use super::tasks::NIL;

/// How many levels there are; one bit each in [`Buckets::mask`].
const LEVELS: usize = 32;
/// The level of a worker that is in no list.
pub(super) const NOWHERE: u8 = u8::MAX;

#[derive(Clone, Copy, Debug)]
struct Links {
    prev: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    head: u32,
    tail: u32,
    len: u32,
}

#[derive(Debug)]
pub(super) struct Buckets {
    buckets: [Bucket; LEVELS],
    /// Bit n is set while bucket n has a worker.
    mask: u32,
    /// By worker slot. The level itself stays with the worker, where the caller compares it before it comes
    /// here.
    links: Vec<Links>,
}

impl Buckets {
    pub(super) fn new() -> Self {
        let empty = Bucket { head: NIL, tail: NIL, len: 0 };
        Self { buckets: [empty; LEVELS], mask: 0, links: Vec::new() }
    }

    /// A worker of the lowest level.
    #[inline]
    pub(super) fn lowest(&self) -> Option<u32> {
        (self.mask != 0).then(|| self.buckets[self.mask.trailing_zeros() as usize].head)
    }

    /// A worker of the highest level.
    #[inline]
    pub(super) fn highest(&self) -> Option<u32> {
        (self.mask != 0).then(|| self.buckets[31 - self.mask.leading_zeros() as usize].head)
    }

    /// How many workers are below a level.
    pub(super) fn count_below(&self, level: u8) -> usize {
        self.buckets[..level as usize].iter().map(|bucket| bucket.len as usize).sum()
    }

    /// Whether any worker is below a level.
    #[inline]
    pub(super) fn any_below(&self, level: u8) -> bool {
        self.mask & ((1 << level) - 1) != 0
    }

    /// Moves a worker from the level where it is to another; [`NOWHERE`] means no list.
    pub(super) fn shift(&mut self, worker: u32, from: u8, to: u8) {
        if from != NOWHERE {
            self.unlink(worker, from);
        }
        match to {
            NOWHERE => {}
            // Who became idle last goes first: its caches are warm, and it may not have gone to sleep yet.
            0 => self.push_front(worker, to),
            _ => self.push_back(worker, to),
        }
    }

    /// Puts a worker behind its equals.
    pub(super) fn rotate(&mut self, worker: u32, level: u8) {
        if self.buckets[level as usize].len > 1 {
            self.unlink(worker, level);
            self.push_back(worker, level);
        }
    }

    fn push_front(&mut self, worker: u32, level: u8) {
        let head = self.buckets[level as usize].head;
        self.set_links(worker, Links { prev: NIL, next: head });
        let bucket = &mut self.buckets[level as usize];
        bucket.head = worker;
        bucket.len += 1;
        match head {
            NIL => bucket.tail = worker,
            _ => self.links[head as usize].prev = worker,
        }
        self.mask |= 1 << level;
    }

    fn push_back(&mut self, worker: u32, level: u8) {
        let tail = self.buckets[level as usize].tail;
        self.set_links(worker, Links { prev: tail, next: NIL });
        let bucket = &mut self.buckets[level as usize];
        bucket.tail = worker;
        bucket.len += 1;
        match tail {
            NIL => bucket.head = worker,
            _ => self.links[tail as usize].next = worker,
        }
        self.mask |= 1 << level;
    }

    fn unlink(&mut self, worker: u32, level: u8) {
        let Links { prev, next } = self.links[worker as usize];
        let bucket = &mut self.buckets[level as usize];
        bucket.len -= 1;
        if bucket.len == 0 {
            self.mask &= !(1 << level);
        }
        match prev {
            NIL => bucket.head = next,
            _ => self.links[prev as usize].next = next,
        }
        match next {
            NIL => bucket.tail = prev,
            _ => self.links[next as usize].prev = prev,
        }
    }

    fn set_links(&mut self, worker: u32, links: Links) {
        let slot = worker as usize;
        if slot >= self.links.len() {
            self.links.resize(slot + 1, Links { prev: NIL, next: NIL });
        }
        self.links[slot] = links;
    }
}
