//! `checksum` prints what `find | sort | sha256sum` prints, whatever the files are called, and survives what it meets.

mod support;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

use support::{Backends, run};

/// What the system's own tools print for these paths.
fn reference(paths: &[OsString]) -> Vec<u8> {
    let script = r#"find "$@" -type f -print0 | sort -z | xargs -0 -r sha256sum"#;
    let output =
        Command::new("sh").args(["-c", script, "sh"]).args(paths).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output.stdout
}

fn on(url: &str, paths: &[OsString]) -> Vec<OsString> {
    [OsString::from("--executor"), OsString::from(url), OsString::from("--")]
        .into_iter()
        .chain(paths.iter().cloned())
        .collect()
}

fn folder_with_odd_names() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &[u8], text: &str| {
        let path = folder.path().join(OsStr::from_bytes(name));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(b"plain", "a");
    write(b"empty", "");
    write(b"with blank", "b");
    write(b"new\nline", "c");
    write(b"back\\slash", "d");
    write(b"carriage\rreturn", "e");
    write(b"not utf-8 \xff\xfe", "f");
    write(b"-rf", "g");
    write(b"a/b", "h");
    write(b"a.b", "i");
    write(b"a b/c", "j");
    write(b"large", &"0123456789abcdef".repeat(100_000));
    std::os::unix::fs::symlink("plain", folder.path().join("link to a file")).unwrap();
    std::os::unix::fs::symlink("a", folder.path().join("link to a folder")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("link to nothing")).unwrap();
    folder
}

#[test]
fn odd_names_are_printed_as_the_tools_print_them() {
    let folder = folder_with_odd_names();
    let reference = reference(&[folder.path().into()]);
    assert_eq!(reference.iter().filter(|it| **it == b'\n').count(), 12);
    let backends = Backends::start();
    for url in backends.urls() {
        let output = run("checksum", &on(&url, &[folder.path().into()]));
        assert!(output.status.success(), "{url}: {output:?}");
        assert_eq!(output.stdout.as_bstr(), reference.as_bstr(), "{url}");
        assert!(output.stderr.is_empty(), "no progress bar where there is no terminal: {output:?}");
    }
}

#[test]
fn paths_are_joined_as_find_joins_them() {
    let folder = folder_with_odd_names();
    let path = |end: &str| {
        let mut path = folder.path().as_os_str().as_bytes().to_vec();
        path.extend_from_slice(end.as_bytes());
        OsString::from_vec(path)
    };
    for ends in [
        &["/"][..],
        &["//"],
        &["/."],
        &["/a/.."],
        &["/link to a folder"],
        &["/link to a folder/"],
        &["/plain"],
        &["/a", "/a b", "/a.b", "/a"],
    ] {
        let paths: Vec<OsString> = ends.iter().map(|end| path(end)).collect();
        let output = run("checksum", &on("serial://", &paths));
        assert!(output.status.success(), "{ends:?}: {output:?}");
        assert_eq!(output.stdout.as_bstr(), reference(&paths).as_bstr(), "{ends:?}");
    }
}

/// `/proc/self/mem` is a regular file whose first byte nobody can read, not even a superuser.
#[test]
fn a_file_that_cannot_be_read_costs_a_line_and_the_exit_status() {
    let folder = folder_with_odd_names();
    let backends = Backends::start();
    for url in backends.urls() {
        let paths = [
            "/proc/self/mem".into(),
            folder.path().join("plain").into(),
            folder.path().join("vanished").into(),
        ];
        let output = run("checksum", &on(&url, &paths));
        assert_eq!(output.status.code(), Some(1), "{url}: {output:?}");
        assert_eq!(output.stdout.as_bstr(), reference(&paths[1..2]).as_bstr(), "{url}");
        let mut errors: Vec<&str> = std::str::from_utf8(&output.stderr).unwrap().lines().collect();
        errors.sort_unstable();
        let vanished = format!("checksum: {}: No such file or directory", Path::new(&paths[2]).display());
        assert_eq!(errors, ["checksum: /proc/self/mem: Input/output error", &vanished], "{url}");
    }
}

#[test]
fn a_wrong_executor_is_an_error_that_says_why() {
    let output = run("checksum", &["--executor", "proces://", "LICENSE"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("did you mean `process`?"), "{output:?}");
}

/// Bytes that a failed assertion shows as text.
trait AsBstr {
    fn as_bstr(&self) -> std::borrow::Cow<'_, str>;
}

impl AsBstr for Vec<u8> {
    fn as_bstr(&self) -> std::borrow::Cow<'_, str> {
        self.escape_ascii().to_string().into()
    }
}
