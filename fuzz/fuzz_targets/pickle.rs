//! Whatever a peer sends as a pickle is read as plain data or refused.
#![no_main]

#[path = "../../executor-remote/tests/corpus/pickle.rs"]
mod corpus;

libfuzzer_sys::fuzz_target!(|input: &[u8]| corpus::run(input));
