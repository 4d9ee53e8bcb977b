//! Names of tasks and workers: a slot in a table and the generation of its tenant.

use std::num::NonZeroU64;

/// Names one task from its submit until it is resolved and gone from its worker.
///
/// Slots are reused and generations tell the tenants apart, so a key that has outlived its task is recognised
/// and refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TaskKey(NonZeroU64);

/// Names one worker from [`handle_worker_ready`](super::Scheduler::handle_worker_ready) until it is lost or
/// retired.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct WorkerKey(NonZeroU64);

/// The first generation of every slot; never 0, which keeps a key non-zero and `Option<TaskKey>` in eight
/// bytes.
pub(super) const FIRST_GENERATION: u32 = 1;

/// The generation of a slot's next tenant.
#[inline]
pub(super) fn next_generation(generation: u32) -> u32 {
    generation.checked_add(1).unwrap_or(FIRST_GENERATION)
}

#[inline]
fn pack(slot: u32, generation: u32) -> NonZeroU64 {
    debug_assert_ne!(generation, 0, "generations start at {FIRST_GENERATION}");
    let raw = u64::from(generation) << 32 | u64::from(slot);
    NonZeroU64::new(raw).unwrap_or(NonZeroU64::MIN)
}

macro_rules! key_methods {
    ($key:ident, $what:literal) => {
        impl $key {
            #[inline]
            pub(super) fn new(slot: u32, generation: u32) -> Self {
                Self(pack(slot, generation))
            }

            #[inline]
            pub(super) fn parts(self) -> (u32, u32) {
                (self.0.get() as u32, (self.0.get() >> 32) as u32)
            }

            #[doc = concat!("The table slot of this ", $what, ": dense from 0, and reused once the ", $what, " is gone.")]
            ///
            /// For a driver's own table beside the scheduler's.
            #[inline]
            pub fn slot(self) -> usize {
                self.parts().0 as usize
            }

            /// The key as a number, for the wire. Never 0.
            #[inline]
            pub fn into_raw(self) -> u64 {
                self.0.get()
            }

            /// The key back from the wire; `None` for 0.
            ///
            /// A number that was never a key is harmless: every method looks keys up and ignores unknown
            /// ones.
            #[inline]
            pub fn from_raw(raw: u64) -> Option<Self> {
                NonZeroU64::new(raw).map(Self)
            }
        }
    };
}

key_methods!(TaskKey, "task");
key_methods!(WorkerKey, "worker");
