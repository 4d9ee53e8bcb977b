//! What the fuzzer has found (`fuzz` in the repository), as ordinary tests.

mod frames;

use std::path::Path;

#[test]
fn every_input_of_the_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/frames");
    let inputs: Vec<_> = std::fs::read_dir(folder).expect("the corpus").flatten().collect();
    assert!(inputs.len() > 50, "{} inputs", inputs.len());
    for input in inputs {
        let path = input.path();
        println!("{}", path.display());
        frames::run(&std::fs::read(path).expect("an input"));
    }
}
