//! What becomes of arguments, results and panics.

use executor_core::{ExecutorExt, TaskError};

use crate::support::open;

#[test]
fn arguments_and_results_are_moved_and_never_serialised() {
    #[derive(Debug, PartialEq)]
    struct Unserialisable(u64);
    impl serde::Serialize for Unserialisable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("must not be asked"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Unserialisable {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Err(serde::de::Error::custom("must not be asked"))
        }
    }
    let future = open(1).submit(|it: Unserialisable| Unserialisable(it.0 + 1), Unserialisable(41));
    assert_eq!(future.wait(), Ok(Unserialisable(42)));
}

#[test]
fn a_panic_costs_its_own_task_only() {
    let ex = open(1);
    let lost = ex.submit(|()| -> u64 { panic!("on purpose") }, ());
    assert!(matches!(lost.wait(), Err(TaskError::Panicked { message, .. }) if message == "on purpose"));
    assert_eq!(ex.submit(|n: u64| n, 1).wait(), Ok(1));
}
