//! The authkey of connections, from a file.

use std::path::Path;

use zeroize::Zeroizing;

use super::{KeyError, MAX_FILE_LEN, read_secret};
use crate::connection::AuthKey;

impl AuthKey {
    /// Reads a file whose contents are the key, whatever bytes they are, but for one line end at the end of it: editors and
    /// `echo` write it, and Python's `open(..., "rb").read()` would keep it. A key of random bytes should not end in byte 10.
    ///
    /// # Errors
    ///
    /// [`KeyError::Read`] if the file cannot be read, [`KeyError::Exposed`] if others than its owner may,
    /// [`KeyError::NotAFile`], and [`KeyError::Format`] if it is empty, or longer than 1024 bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::fs::PermissionsExt;
    ///
    /// use executor_remote::connection::AuthKey;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("authkey");
    /// std::fs::write(&path, "secret\n")?;
    /// assert!(AuthKey::read(&path).unwrap_err().to_string().contains("chmod 600"));
    /// std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    /// let key = AuthKey::read(&path)?; // the key is b"secret"
    /// # let _ = key;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(path: impl AsRef<Path>) -> Result<Self, KeyError> {
        let path = path.as_ref();
        let text = read_secret(path)?;
        let format =
            |problem: &str| KeyError::Format { path: path.into(), line: 1, problem: problem.to_owned() };
        let key = key_in(&text);
        if key.is_empty() {
            return Err(format("is empty, so there is no key in it"));
        }
        if text.len() as u64 > MAX_FILE_LEN {
            return Err(format("begins what is longer than a key may be, 1024 bytes"));
        }
        Ok(Self::from(key))
    }
}

/// The file's contents without the line end at its end.
fn key_in(text: &Zeroizing<Vec<u8>>) -> &[u8] {
    let key = text.strip_suffix(b"\n").unwrap_or(text);
    key.strip_suffix(b"\r").filter(|_| key.len() < text.len()).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use zeroize::Zeroizing;

    use super::{AuthKey, KeyError, key_in};

    #[test]
    fn one_line_end_is_not_part_of_the_key() {
        for (text, key) in [
            (&b"secret"[..], &b"secret"[..]),
            (b"secret\n", b"secret"),
            (b"secret\r\n", b"secret"),
            (b"secret\r", b"secret\r"),
            (b"secret\n\n", b"secret\n"),
            (b"\0\xff\n", b"\0\xff"),
            (b"\n", b""),
        ] {
            assert_eq!(key_in(&Zeroizing::new(text.to_vec())), key);
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_file_and_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("authkey");
        let read = |contents: &[u8], mode| {
            std::fs::write(&path, contents).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            AuthKey::read(&path)
        };
        assert!(read(b"secret\n", 0o600).is_ok());
        assert!(matches!(read(b"secret\n", 0o640), Err(KeyError::Exposed { mode: 0o640, .. })));
        for (contents, reason) in [(&b""[..], "empty"), (b"\n", "empty"), (&[7; 2000], "1024")] {
            let error = read(contents, 0o600).unwrap_err();
            assert!(matches!(error, KeyError::Format { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("authkey") && text.contains(reason), "{text}");
        }
        assert!(matches!(AuthKey::read(folder.path().join("none")), Err(KeyError::Read { .. })));
        assert!(matches!(
            AuthKey::read(folder.path()),
            Err(KeyError::NotAFile { .. } | KeyError::Exposed { .. })
        ));
    }
}
