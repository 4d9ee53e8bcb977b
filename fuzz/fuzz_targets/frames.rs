//! Whatever a worker publishes in its ring: its parent's end takes it for frames or refuses it.
#![no_main]

#[path = "../../executor-process/tests/corpus/frames.rs"]
mod frames;

libfuzzer_sys::fuzz_target!(|input: &[u8]| frames::run(input));
