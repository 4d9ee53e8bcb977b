//! Reading the options of a scheme.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::OpenError;

/// What a backend knows: its scheme and the keys of its options.
#[derive(Debug, Clone, Copy)]
pub struct Scheme {
    /// Such as `process`.
    pub name: &'static str,
    /// The keys of its options.
    pub keys: &'static [&'static str],
    /// Whether its URL has hosts.
    pub has_hosts: bool,
}

/// The options of a configuration, all of whose keys are known. Each reader gives `None` for an option that is not
/// set, and an error that says what it should be for a value that cannot be used.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    scheme: &'a str,
    pairs: &'a [(String, String)],
    folder: &'a Path,
}

impl<'a> Options<'a> {
    pub(super) fn new(scheme: &'a str, pairs: &'a [(String, String)], folder: &'a Path) -> Self {
        Self { scheme, pairs, folder }
    }

    /// The text of an option.
    pub fn text(&self, key: &str) -> Option<&'a str> {
        let found = self.pairs.iter().find(|(it, _)| it == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads an option with `parse`, which says what the value should be if it is not.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`].
    pub fn parse<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&'a str) -> Result<T, String>,
    ) -> Result<Option<T>, OpenError> {
        let Some(value) = self.text(key) else {
            return Ok(None);
        };
        match parse(value) {
            Ok(parsed) => Ok(Some(parsed)),
            Err(message) => Err(OpenError::invalid_option(self.scheme, key, value, message)),
        }
    }

    /// A whole number of at least 1.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`].
    pub fn count(&self, key: &str) -> Result<Option<usize>, OpenError> {
        self.parse(key, |value| match value.parse() {
            Ok(0) | Err(_) => Err("it should be a whole number of at least 1".to_owned()),
            Ok(count) => Ok(count),
        })
    }

    /// `true` or `false`.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`].
    pub fn switch(&self, key: &str) -> Result<Option<bool>, OpenError> {
        self.parse(key, |value| match value {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("it should be `true` or `false`".to_owned()),
        })
    }

    /// A time, such as `250ms`, `30s`, `5m`, `1h`.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`].
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, OpenError> {
        self.parse(key, |value| {
            parse_duration(value).ok_or_else(|| {
                "it should be a time with its unit, such as `250ms`, `30s`, `5m` or `1h`".to_owned()
            })
        })
    }

    /// A number of bytes, such as `4096`, `64KiB`, `512MiB`, `2GiB`.
    ///
    /// # Errors
    ///
    /// [`OpenError::InvalidOption`].
    pub fn bytes(&self, key: &str) -> Result<Option<u64>, OpenError> {
        self.parse(key, |value| {
            parse_bytes(value).ok_or_else(|| {
                "it should be a number of bytes, such as `4096`, `64KiB`, `512MiB` or `2GiB`".to_owned()
            })
        })
    }

    /// A path; a relative one counts from the folder of the configuration file.
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(|value| self.folder.join(value))
    }
}

fn split_unit(value: &str) -> (&str, &str) {
    let digits = value.bytes().take_while(u8::is_ascii_digit).count();
    value.split_at(digits)
}

fn parse_duration(value: &str) -> Option<Duration> {
    let (number, unit) = split_unit(value);
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "ms" => Duration::from_millis(number),
        "s" => Duration::from_secs(number),
        "m" => Duration::from_secs(number.checked_mul(60)?),
        "h" => Duration::from_secs(number.checked_mul(3600)?),
        _ => return None,
    })
}

fn parse_bytes(value: &str) -> Option<u64> {
    let (number, unit) = split_unit(value);
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        for wrong in ["", "5", "s", "5 s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(parse_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sizes_may_have_a_unit() {
        assert_eq!(parse_bytes("4096"), Some(4096));
        assert_eq!(parse_bytes("2GiB"), Some(2 << 30));
        for wrong in ["", "GiB", "1GB", "1.5GiB", "-1", "99999999999999GiB"] {
            assert_eq!(parse_bytes(wrong), None, "{wrong}");
        }
    }
}
