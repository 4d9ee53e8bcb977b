//! A server that stops when its process is told to.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::ServerHandle;
use crate::io_runtime;

impl ServerHandle {
    /// From now on SIGINT and SIGTERM do not end the process but [stop](Self::stop) the server. For the
    /// `main` of a program that only serves.
    ///
    /// A second signal of the same kind ends the process at once, with 128 and the signal's number as a shell would report it.
    ///
    /// # Errors
    ///
    /// The operating system's, if it does not let us know of signals.
    pub fn stop_on_signals(&self) -> io::Result<()> {
        let runtime = io_runtime::start()?;
        let _entered = runtime.enter();
        for (kind, number) in [(SignalKind::interrupt(), 2), (SignalKind::terminate(), 15)] {
            let mut signals: Signal = signal(kind)?;
            let server = self.clone();
            runtime.spawn(async move {
                if signals.recv().await.is_none() {
                    return;
                }
                server.stop();
                if signals.recv().await.is_some() {
                    std::process::exit(128 + number);
                }
            });
        }
        Ok(())
    }
}
