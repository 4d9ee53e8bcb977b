//! What opening an executor refuses, and how it says so.

use std::process::Command;

use executor::prelude::*;

fn error(url: &str) -> OpenError {
    match executor::open(url) {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error,
    }
}

#[test]
fn a_scheme_with_a_typo_names_the_nearest() {
    let error = error("proces://?workers=2");
    assert!(
        matches!(&error, OpenError::UnknownScheme { nearest: Some(it), .. } if it == "process"),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "unknown executor scheme `proces` (did you mean `process`?); known schemes: serial, thread, process, tcp"
    );
}

#[test]
fn a_scheme_like_no_other_names_the_known_ones() {
    let error = error("mainframe://");
    assert!(matches!(error, OpenError::UnknownScheme { nearest: None, .. }), "{error}");
    assert!(error.to_string().ends_with("known schemes: serial, thread, process, tcp"), "{error}");
}

#[test]
fn a_scheme_of_a_later_version_says_so() {
    for scheme in ["slurm", "k8s", "spark", "ssh"] {
        let error = error(&format!("{scheme}://"));
        assert!(matches!(error, OpenError::NotYet { .. }), "{error}");
        assert!(error.to_string().contains("is not in this version"), "{error}");
    }
}

#[test]
fn an_option_that_serial_has_not_is_refused() {
    let error = error("serial://?workers=2");
    assert!(matches!(error, OpenError::UnknownOption { .. }), "{error}");
}

#[test]
fn hosts_where_there_are_none_are_refused() {
    let error = error("serial://workers=2");
    assert!(error.to_string().contains("serial://?key=value"), "{error}");
}

#[test]
fn what_is_not_a_url_is_refused_with_an_example() {
    let error = error("thread");
    assert!(matches!(error, OpenError::Syntax { .. }), "{error}");
    assert!(error.to_string().contains("process://?workers=4"), "{error}");
}

#[test]
fn a_file_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("executor.toml");
    std::fs::write(&path, "executor = \"serial\"\n").unwrap();
    let ex = Config::from_file(&path).unwrap().open().unwrap();
    assert_eq!(ex.capabilities().scheme, "serial");
    assert_eq!(ex.submit(|n: u64| n + 1, 41).wait(), Ok(42));
}

#[test]
fn an_error_in_a_file_names_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("executor.toml");
    std::fs::write(&path, "executor = \"serial\"\nworkers = = 2\n").unwrap();
    let error = Config::from_file(&path).unwrap_err().to_string();
    assert!(error.contains("executor.toml") && error.contains("line 2"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let error = Config::from_file("no/such/executor.toml").unwrap_err();
    assert!(matches!(error, OpenError::System { .. }), "{error}");
    assert!(error.to_string().contains("no/such/executor.toml"), "{error}");
}

/// The environment of this process is shared by all tests, so it is read by another one: this test, started again.
#[test]
fn the_environment_decides() {
    const ROLE: &str = "TEST_OF_THE_ENVIRONMENT";
    if std::env::var_os(ROLE).is_some() {
        match executor::Config::from_env() {
            Ok(config) => println!("<{config}>"),
            Err(error) => println!("<{error}>"),
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("executor.toml");
    std::fs::write(&file, "executor = \"thread\"\nworkers = 3\n").unwrap();
    let file = file.to_str().unwrap();
    let config = |variables: &[(&str, &str)]| {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_environment_decides", "--nocapture"])
            .env_remove("EXECUTOR_URL")
            .env_remove("EXECUTOR_CONFIG")
            .env(ROLE, "1")
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (_, text) = text.split_once('<').unwrap();
        text.split_once(">\n").unwrap().0.to_owned()
    };
    assert_eq!(config(&[]), "thread://");
    assert_eq!(config(&[("EXECUTOR_URL", "")]), "thread://");
    assert_eq!(config(&[("EXECUTOR_CONFIG", file)]), "thread://?workers=3");
    assert_eq!(config(&[("EXECUTOR_CONFIG", file), ("EXECUTOR_URL", "serial://")]), "serial://");
    assert!(config(&[("EXECUTOR_URL", "serial")]).contains("EXECUTOR_URL"));
}
