//! What the fuzzer does with its input; also what the ordinary tests do with the corpus.

use std::collections::HashMap;

use executor_remote::object::pickle::{self, Limits};
use executor_remote::object::{Arguments, MAX_DEPTH, Object};

/// Reads the input as a pickle, in every way. What is accepted is written, read again, and then stays as it is.
pub fn run(input: &[u8]) {
    let mut limits = Limits::default();
    limits.repeated_items = 10_000;
    limits.repeated_bytes = 1 << 16;
    let read = pickle::read(input, &limits);
    if let Ok(object) = &read {
        let written = pickle::write(object);
        // An exception has its notes and its cause some levels deeper when it is written.
        limits = Limits::default();
        limits.depth = 4 * MAX_DEPTH;
        let again = pickle::read(&written, &limits).expect("what was written is read");
        assert_eq!(pickle::write(&again), written, "{object}\nbecame\n{again}");
        let _ = (object.is_hashable(), object.is_truthy(), format!("{object:#}"));
    }
    // Values of types of our own, which borrow from the input.
    let _ = pickle::from_slice::<(&str, Vec<Option<u8>>, i64)>(input);
    let _ = pickle::from_slice::<HashMap<String, Vec<f64>>>(input);
    let _ = pickle::from_slice::<Result<[bool; 2], char>>(input);
    let exception = pickle::from_slice_or_exception::<u64>(input);
    if let Ok(Err(exception)) = exception {
        assert!(
            matches!(pickle::read(input, &Limits::default()), Ok(Object::Exception(it)) if it.message() == exception.message())
        );
    }
    if let Ok(request) = pickle::from_slice::<(String, Object, Object)>(input) {
        let _ = Arguments::from_objects(request.1, request.2).map(|it| it.deserialize::<(i64, i64)>());
    }
}
