//! [`Lock`] and [`LockGuard`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::ManagerError;
use super::call::{Call, Context, Outcome, nothing, value};
use super::handle::Handle;
use super::pending::Pending;
use super::protocol::{ACQUIRE, acquired, type_names};
use super::proxy::{Proxy, proxy};
use crate::io_runtime;
use crate::object::Object;

/// A lock that processes share: Python's `Lock`. [`Proxy`] says how it lives and travels.
///
/// It is held by one [`LockGuard`] at a time, whichever process and thread that is in. It is given to those who wait in the order
/// in which they came.
///
/// A process that ends while it holds the lock, or loses its connection, holds it no longer; the next holder
/// [is told](LockGuard::owner_died), because what the lock protects may be half changed.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::Manager;
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let (lock, sum) = (manager.lock().wait()?, manager.value(&1).wait()?);
///     let guard = lock.lock().wait()?;
///     sum.set(&(sum.get().wait()? + 1)).wait()?;
///     assert!(lock.try_lock().wait()?.is_none());
///     drop(guard);
///     assert!(lock.try_lock().wait()?.is_some());
///     Ok(())
/// }
/// ```
pub struct Lock {
    pub(super) proxy: Proxy,
}

proxy!(Lock, type_names::LOCK);

impl Lock {
    /// Takes the lock, as soon as nobody holds it.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped takes the lock when its turn comes and gives it back at once: it is never held for nobody.
    pub fn lock(&self) -> Call<LockGuard> {
        self.acquire(None, |outcome, context| match acquire(outcome, context)? {
            Some(guard) => Ok(guard),
            // A lock that is waited for without a limit is not refused.
            None => Err(context.raised(crate::object::Exception::new("RuntimeError", "not acquired"))),
        })
    }

    /// Takes the lock if nobody holds it now.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Call<Option<LockGuard>> {
        self.acquire(Some(Duration::ZERO), acquire)
    }

    /// Takes the lock if nobody holds it any more within `limit`.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(&self, limit: Duration) -> Call<Option<LockGuard>> {
        self.acquire(Some(limit), acquire)
    }

    fn acquire<T>(
        &self,
        limit: Option<Duration>,
        decode: fn(Outcome, &Context) -> Result<T, ManagerError>,
    ) -> Call<T> {
        let handle = self.proxy.handle();
        let call = if handle.as_native().is_some() {
            handle.call(ACQUIRE, Ok(vec![limit.map(|limit| limit.as_secs_f64()).into()]), decode)
        } else {
            // Python has it as two arguments, and takes no limit where nothing is waited for.
            let args = match limit {
                None => vec![true.into()],
                Some(Duration::ZERO) => vec![false.into()],
                Some(limit) => vec![true.into(), limit.as_secs_f64().into()],
            };
            handle.call("acquire", Ok(args), decode)
        };
        call.if_abandoned(release_when_acquired)
    }
}

/// The guard, or none if somebody else holds the lock.
fn acquire(outcome: Outcome, context: &Context) -> Result<Option<LockGuard>, ManagerError> {
    let owner_died = match value::<Object>(outcome, context)? {
        Object::Bool(false) | Object::Int(acquired::NO) => return Ok(None),
        Object::Int(acquired::OWNER_DIED) => true,
        _ => false,
    };
    Ok(Some(LockGuard { handle: Arc::clone(&context.handle), owner_died, holds: true }))
}

/// Nobody waits for the lock any more, and yet it may come.
fn release_when_acquired(pending: Pending<Object>, context: Context) {
    io_runtime::handle().spawn(async move {
        if let Ok(outcome) = pending.await {
            // The guard's destructor releases it.
            drop(acquire(outcome, &context));
        }
    });
}

/// The lock is held as long as this exists. Dropping it releases the lock, without waiting for the manager's answer.
#[must_use = "the lock is released when this is dropped"]
pub struct LockGuard {
    handle: Arc<Handle>,
    owner_died: bool,
    holds: bool,
}

impl LockGuard {
    /// Whether who held the lock before has ended, or lost its connection, without releasing it: what the lock protects may
    /// be half changed. It is told once, to the next holder.
    #[must_use]
    pub fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Releases the lock; the call is answered when it is.
    ///
    /// # Errors
    ///
    /// As those of all calls. When the connection has been lost, so has been the lock: the protected data may have been changed
    /// by others meanwhile.
    pub fn unlock(mut self) -> Call<()> {
        self.holds = false;
        self.handle.call("release", Ok(Vec::new()), nothing)
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        if self.holds {
            self.handle.tell("release", Vec::new());
        }
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockGuard").field("owner_died", &self.owner_died).finish_non_exhaustive()
    }
}
