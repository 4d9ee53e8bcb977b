//! Whatever a peer sends over a connection: the inbox takes it for messages or refuses it.
#![no_main]

#[path = "../../executor-remote/tests/corpus/connection_frames.rs"]
mod connection_frames;

libfuzzer_sys::fuzz_target!(|input: &[u8]| connection_frames::run(input));
