//! Whatever a peer says in the handshake with an authkey: nobody gets through who does not hold the key.
#![no_main]

#[path = "../../executor-remote/tests/corpus/connection_auth.rs"]
mod connection_auth;

libfuzzer_sys::fuzz_target!(|input: &[u8]| connection_auth::run(input));
