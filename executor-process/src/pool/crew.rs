//! The pool's workers, by number.

use super::watch::Ears;
use super::worker::Worker;
use crate::ring::Need;

/// Workers in the order of their numbers. There are few, and they are looked up for every task: a search
/// in a short list of numbers beats a hash.
#[derive(Default)]
pub(super) struct Crew {
    ids: Vec<u64>,
    workers: Vec<Worker>,
}

impl Crew {
    /// Takes a worker in, with a number that no other has had.
    pub(super) fn add(&mut self, id: u64, worker: Worker) {
        // Nearly always the last: they come in the order in which they were begun to be started.
        let place = self.ids.partition_point(|other| *other < id);
        self.ids.insert(place, id);
        self.workers.insert(place, worker);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Worker> {
        let place = self.place(id)?;
        self.ids.remove(place);
        Some(self.workers.remove(place))
    }

    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<&Worker> {
        self.place(id).map(|place| &self.workers[place])
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Worker> {
        self.place(id).map(|place| &mut self.workers[place])
    }

    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// The number of the worker at a place below [`len`](Self::len).
    pub(super) fn id_at(&self, place: usize) -> Option<u64> {
        self.ids.get(place).copied()
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter()
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.workers.iter_mut()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u64, &mut Worker)> {
        self.ids.iter().copied().zip(self.workers.iter_mut())
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    #[inline]
    fn place(&self, id: u64) -> Option<usize> {
        match &self.ids[..] {
            [only] => (*only == id).then_some(0),
            ids => ids.binary_search(&id).ok(),
        }
    }
}

impl Ears for Crew {
    fn listen(&self, need: Need) {
        for worker in self.values() {
            worker.listen(need);
        }
    }

    fn has_answers(&self) -> bool {
        self.values().any(Worker::has_answers)
    }
}
