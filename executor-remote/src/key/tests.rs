use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// A key file with `text`, mode 0600.
fn file_with(text: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = folder();
    let path = dir.path().join("cluster.key");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    (dir, path)
}

fn format_error(text: &[u8]) -> (usize, String) {
    let (_dir, path) = file_with(text);
    match ClusterKey::read(&path) {
        Err(error @ KeyError::Format { line, .. }) => (line, error.to_string()),
        other => panic!("expected a format error, got {other:?}"),
    }
}

#[test]
fn a_written_key_reads_back() {
    let dir = folder();
    let path = dir.path().join("k");
    let key = ClusterKey::generate().unwrap();
    key.write_new(&path).unwrap();
    assert_eq!(ClusterKey::read(&path).unwrap().0, key.0);
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
}

#[test]
fn generated_keys_differ() {
    assert_ne!(ClusterKey::generate().unwrap().0, ClusterKey::generate().unwrap().0);
}

#[test]
fn an_existing_file_is_not_overwritten() {
    let (_dir, path) = file_with(b"precious");
    let error = ClusterKey::generate().unwrap().write_new(&path).unwrap_err();
    assert!(matches!(error, KeyError::Exists { .. }), "{error}");
    assert!(error.to_string().contains(path.to_str().unwrap()));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn a_missing_folder_is_a_write_error_that_names_the_path() {
    let error = ClusterKey::generate().unwrap().write_new("/nonexistent/k").unwrap_err();
    assert!(matches!(error, KeyError::Write { .. }));
    assert!(error.to_string().contains("/nonexistent/k"));
}

#[test]
fn a_file_that_others_may_read_is_refused_with_its_mode_and_the_remedy() {
    let (_dir, path) = file_with(b"");
    for mode in [0o640, 0o604, 0o620, 0o601, 0o666] {
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let text = ClusterKey::read(&path).unwrap_err().to_string();
        assert!(text.contains(&format!("mode {mode:04o}")), "{text}");
        assert!(text.contains(&format!("chmod 600 {}", path.display())), "{text}");
    }
}

#[test]
fn a_read_only_key_file_is_fine() {
    let dir = folder();
    let path = dir.path().join("k");
    ClusterKey::generate().unwrap().write_new(&path).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
    ClusterKey::read(&path).unwrap();
}

#[test]
fn format_errors_name_the_line() {
    let digits = "0123456789abcdef".repeat(4);
    assert_eq!(format_error(b"").0, 1);
    assert_eq!(format_error(b"-----BEGIN OPENSSH PRIVATE KEY-----\n").0, 1);
    assert_eq!(format_error(&[0xff; 4000]).0, 1);
    assert_eq!(format_error(format!("{HEADER}\n").as_bytes()).0, 2);
    let (line, text) = format_error(format!("{HEADER}\n{}\n", &digits[1..]).as_bytes());
    assert_eq!(line, 2);
    assert!(text.contains("63 digits where a key has 64"), "{text}");
    let wrong = digits.replacen('3', "x", 1);
    let (line, text) = format_error(format!("{HEADER}\n{wrong}\n").as_bytes());
    assert_eq!(line, 2);
    assert!(text.contains("column 4"), "{text}");
    assert_eq!(format_error(format!("{HEADER}\n{digits}\n\nmore\n").as_bytes()).0, 4);
}

#[test]
fn format_errors_do_not_quote_the_key() {
    let digits = "0123456789abcdef".repeat(4);
    let (_, text) = format_error(format!("{HEADER}\n{digits}ab\n").as_bytes());
    assert!(!text.contains("0123456789"), "{text}");
}

#[test]
fn carriage_returns_and_a_missing_last_newline_are_tolerated() {
    let digits = "ab".repeat(32);
    for text in [format!("{HEADER}\r\n{digits}\r\n"), format!("{HEADER}\n{digits}")] {
        let (_dir, path) = file_with(text.as_bytes());
        assert_eq!(ClusterKey::read(path).unwrap().0, [0xab; 32]);
    }
}

#[test]
fn what_is_not_a_regular_file_is_refused_without_hanging() {
    let dir = folder();
    assert!(matches!(ClusterKey::read(dir.path()), Err(KeyError::NotAFile { .. })));
    let pipe = dir.path().join("pipe");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(matches!(ClusterKey::read(pipe), Err(KeyError::NotAFile { .. })));
}

#[test]
fn debug_shows_the_fingerprint_and_no_key_byte() {
    let key = ClusterKey::from_bytes([0xab; KEY_LEN]);
    let text = format!("{key:?}");
    assert_eq!(text, format!("ClusterKey({})", key.fingerprint()));
    assert!(!text.contains("abab") && !text.contains("171"), "{text}");
    assert_ne!(key.fingerprint(), ClusterKey::from_bytes([0xac; KEY_LEN]).fingerprint());
}
