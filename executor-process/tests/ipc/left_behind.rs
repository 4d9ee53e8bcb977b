//! What is left when there is nothing to be had, and when all is over.

use executor_process::ipc::{IpcError, Lock};
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::support::Child;

crate::tests![no_descriptor_left_is_an_error_that_says_so];

fn no_descriptor_left_is_an_error_that_says_so() {
    Child::start(|| {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = Some(0);
        let lock = Lock::new().expect("a lock");
        setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
        let error = Lock::new().expect_err("no descriptor may be opened");
        assert!(matches!(error, IpcError::System { what: "Lock", .. }));
        let text = error.to_string();
        assert!(text.contains("cannot make the memory of a Lock") && text.contains("ulimit -n"), "{text}");
        // What there is goes on.
        drop(lock.clone().lock().expect("nobody died"));
    })
    .join();
}
