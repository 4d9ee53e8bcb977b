//! [`Event`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::bell::Bell;
use super::error::IpcError;
use super::futex::Deadline;
use super::guard::handle;
use super::region::{Kind, Region};

const KIND: &Kind = &Kind { name: "Event", code: 5 };

/// The word: whether it is set, and above, how often it has been set.
const WORD: usize = 16;
const SET: u32 = 1;
const ONCE: u32 = 2;

/// A flag that processes set, clear and wait for.
///
/// It needs no owner: whoever dies, what was set stays set, and all who waited for it are woken.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use executor_process::ipc::Event;
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let event = Event::new()?;
/// assert!(!event.wait_timeout(Duration::from_millis(1)));
/// event.set();
/// event.wait();
/// event.clear();
/// assert!(!event.is_set());
/// # Ok(())
/// # }
/// ```
pub struct Event {
    region: Arc<Region>,
}

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    ///
    /// No descriptor or memory is left, or this system lacks what is needed (Linux 5.16, glibc).
    pub fn new() -> Result<Self, IpcError> {
        Ok(Self::of(Region::create(KIND, WORD + size_of::<AtomicU32>())?))
    }

    fn of(region: Arc<Region>) -> Self {
        Self { region }
    }

    fn bell(&self) -> &Bell {
        self.region.at(0)
    }

    fn word(&self) -> &AtomicU32 {
        self.region.at(WORD)
    }

    /// Sets the flag, and wakes all who wait.
    pub fn set(&self) {
        if self.is_set() {
            return;
        }
        // Failure: another has set it, and wakes them.
        self.bell()
            .ring_after(|| {
                self.word().fetch_update(SeqCst, SeqCst, |word| {
                    (word & SET == 0).then_some(word.wrapping_add(ONCE) | SET)
                })
            })
            .ok();
    }

    /// Takes the flag back. Who was waiting when it was set has been woken all the same.
    pub fn clear(&self) {
        self.word().fetch_and(!SET, SeqCst);
    }

    /// Whether it is set.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.word().load(SeqCst) & SET != 0
    }

    /// Waits until the flag is set.
    ///
    /// # Blocking
    ///
    /// Until then; not at all if it is set.
    pub fn wait(&self) {
        self.wait_until(Deadline::NEVER);
    }

    /// Waits until the flag is set, at most for `timeout`. Whether it has been set, though it may have been cleared since.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        // No clock is asked for what is there already.
        self.is_set() || self.wait_until(Deadline::after(timeout))
    }

    /// Waits until the flag is set.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped and made anew; what is set meanwhile is seen unless it was cleared again.
    pub fn wait_async(&self) -> impl Future<Output = ()> + Send + use<> {
        let (this, before) = (self.clone(), self.word().load(SeqCst));
        async move {
            loop {
                let seen = this.bell().count();
                if has_happened(this.word().load(SeqCst), before) {
                    return;
                }
                Bell::wait(&this.region, 0, seen, Deadline::NEVER).await;
            }
        }
    }

    fn wait_until(&self, deadline: Deadline) -> bool {
        let before = self.word().load(SeqCst);
        loop {
            let (seen, word) = (self.bell().count(), self.word().load(SeqCst));
            if has_happened(word, before) {
                return true;
            }
            if deadline.has_passed() {
                return false;
            }
            self.bell().sleep(seen, &[(self.word(), word)], deadline);
        }
    }
}

/// Whether it is set, or has been set since the word was `before`.
fn has_happened(word: u32, before: u32) -> bool {
    word & SET != 0 || word / ONCE != before / ONCE
}

handle!(Event, KIND, |region| region.body_len() == WORD + size_of::<AtomicU32>());

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish()
    }
}
