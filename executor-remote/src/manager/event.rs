//! [`Event`].

use std::time::Duration;

use super::call::{Call, nothing, value};
use super::protocol::type_names;
use super::proxy::{Proxy, proxy};

/// A flag that processes can wait for: Python's `Event`. [`Proxy`] says how it lives and travels.
///
/// # Examples
///
/// ```
/// use executor_remote::manager::Manager;
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
/// #   executor_process::init();
///     let manager = Manager::start()?;
///     let ready = manager.event().wait()?;
///     let waiting = ready.wait();
///     ready.set().wait()?;
///     waiting.wait()?;
///     assert!(ready.is_set().wait()?);
///     Ok(())
/// }
/// ```
pub struct Event {
    pub(super) proxy: Proxy,
}

proxy!(Event, type_names::EVENT);

impl Event {
    /// Sets it, and wakes everyone who waits.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn set(&self) -> Call<()> {
        self.proxy.handle().call("set", Ok(Vec::new()), nothing)
    }

    /// Unsets it: who waits from now on waits.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn clear(&self) -> Call<()> {
        self.proxy.handle().call("clear", Ok(Vec::new()), nothing)
    }

    /// Whether it is set.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn is_set(&self) -> Call<bool> {
        self.proxy.handle().call("is_set", Ok(Vec::new()), value)
    }

    /// A call that is answered when the event is set.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn wait(&self) -> Call<()> {
        self.proxy.handle().call("wait", Ok(Vec::new()), nothing)
    }

    /// As [`wait`](Self::wait), but answered after `limit` at the latest: whether the event is set.
    ///
    /// # Errors
    ///
    /// As those of all calls.
    pub fn wait_timeout(&self, limit: Duration) -> Call<bool> {
        self.proxy.handle().call("wait", Ok(vec![limit.as_secs_f64().into()]), value)
    }
}
