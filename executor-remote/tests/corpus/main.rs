//! What the fuzzer has found (`fuzz` in the repository), as ordinary tests.

mod connection_auth;
mod connection_frames;
mod pickle;

use std::path::Path;

fn run_all(target: &str, least: usize, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let inputs: Vec<_> = std::fs::read_dir(folder).expect("the corpus").flatten().collect();
    assert!(inputs.len() >= least, "{} inputs", inputs.len());
    for input in inputs {
        let path = input.path();
        println!("{}", path.display());
        run(&std::fs::read(path).expect("an input"));
    }
}

#[test]
fn every_input_of_the_frames_passes() {
    run_all("connection_frames", 20, connection_frames::run);
}

#[test]
fn every_input_of_the_handshake_passes() {
    run_all("connection_auth", 20, connection_auth::run);
}

#[test]
fn every_input_of_the_pickle_reader_passes() {
    run_all("pickle", 50, pickle::run);
}
