//! Robust locks as records of who has something: a permit, a place at a barrier.
//!
//! A record is taken and given back inside of a monitor, so nobody ever waits for it as for a lock; its owner's death is what it is
//! for. Its owner is a thread, or for tasks the keeper.

use std::marker::PhantomData;
use std::sync::Arc;

use super::keeper::Kept;
use super::region::Region;
use super::robust::{self, RobustLock};

/// A record that somebody has. Keeps the region mapped.
pub(super) trait Record: Sized {
    /// Takes the free record at this offset.
    fn take(region: &Arc<Region>, offset: usize) -> Option<Self>;
    /// Makes it free, without waking anybody.
    fn give_back(self);
    /// What says who has it.
    fn lock(&self) -> &RobustLock;
}

/// A thread's record.
#[derive(Debug)]
pub(super) struct OfThread {
    region: Arc<Region>,
    offset: usize,
    tid: u32,
    of_this_thread: PhantomData<*mut ()>,
}

impl OfThread {
    /// False in the child of a fork, which has a copy.
    pub(super) fn is_mine(&self) -> bool {
        robust::me().tid() == self.tid
    }
}

impl Record for OfThread {
    fn take(region: &Arc<Region>, offset: usize) -> Option<Self> {
        let me = robust::me();
        region.at::<RobustLock>(offset).try_take_for(me).ok()?;
        Some(Self { region: Arc::clone(region), offset, tid: me.tid(), of_this_thread: PhantomData })
    }

    fn give_back(self) {
        if self.is_mine() {
            self.lock().give_back_quietly_for(robust::me());
        }
    }

    fn lock(&self) -> &RobustLock {
        self.region.at(self.offset)
    }
}

impl Record for Kept {
    fn take(region: &Arc<Region>, offset: usize) -> Option<Self> {
        Self::try_new(region, offset).ok()
    }

    fn give_back(self) {
        self.give_back_quietly();
    }

    fn lock(&self) -> &RobustLock {
        Kept::lock(self)
    }
}
