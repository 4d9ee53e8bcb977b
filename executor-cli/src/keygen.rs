//! `executor keygen FILE`: a new cluster key.

use std::path::PathBuf;

use executor::remote::key::ClusterKey;

use crate::failure::Failure;

/// Write a new cluster key to FILE, which only its owner may read (mode 0600).
///
/// Copy the file to every machine that runs an agent or a program that uses one. Who has it may run programs on all
/// agents that were started with it.
#[derive(clap::Args)]
pub struct Arguments {
    /// The file to make; one that exists is not overwritten
    file: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let failed = |error| Failure::Other(Box::new(error));
    let key = ClusterKey::generate().map_err(failed)?;
    key.write_new(&arguments.file).map_err(failed)?;
    println!("wrote {} (key {})", arguments.file.display(), key.fingerprint());
    Ok(())
}
