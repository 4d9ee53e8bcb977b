//! A program that forgets `executor::init()` gets an error that says so, from each of its workers, and no workers that
//! start workers. It has a `main` of its own because it must not be a test binary that `init_before_main!` helps.

use executor::prelude::*;

fn main() {
    let ex = match executor::open("process://?workers=1") {
        Ok(ex) => ex,
        Err(error) => {
            // This is the worker: `main` runs in it because nothing has taken over.
            assert_eq!(error, OpenError::InitMissing);
            eprintln!("{error}");
            std::process::exit(3);
        }
    };
    let error = ex.submit(|n: u64| n, 1).wait().expect_err("no worker can run it");
    let text = error.to_string();
    assert!(matches!(error, TaskError::Broken { .. }), "{text}");
    assert!(text.contains("executor::init()"), "the error names the remedy: {text}");
    println!("test a_forgotten_init_is_an_error_that_names_the_remedy ... ok");
}
