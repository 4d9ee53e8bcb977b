//! Which executor to open: URLs and TOML files, and the options of each scheme.
//!
//! An executor is named by a URL, `scheme://hosts?key=value&..`, or by the same in TOML:
//!
//! ```toml
//! executor = "process"      # the scheme
//! workers = 4               # its options, under the names that the URL uses
//! max_age = "1h"
//!
//! # for machines:
//! # executor = "tcp"
//! # hosts = ["host-a:7077", "host-b:7077"]
//! # key = "cluster.key"
//! ```
//!
//! or `executor = "process://?workers=4"`, a whole URL. What a scheme's options are, its backend declares as a
//! [`Scheme`]; a key that it does not know is an error that names the nearest one.

mod options;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

pub use options::{Options, Scheme};

use crate::error::{OpenError, nearest};

/// Which executor to open, with which options; parsed and not yet checked against a [`Scheme`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    scheme: String,
    hosts: Vec<String>,
    options: Vec<(String, String)>,
    /// Where it comes from, for errors.
    place: String,
    /// Paths in it are relative to this folder.
    folder: PathBuf,
}

impl Config {
    /// Parses `scheme://host,host?key=value&key=value`.
    ///
    /// # Errors
    ///
    /// [`OpenError::Syntax`] that says what is wrong.
    pub fn from_url(url: &str) -> Result<Self, OpenError> {
        parse_url(url, url).map_err(|message| OpenError::syntax(format!("`{url}`"), message))
    }

    /// Parses TOML: `executor` is the scheme or a whole URL, `hosts` the hosts, every other key an option.
    ///
    /// # Errors
    ///
    /// [`OpenError::Syntax`] with the line.
    pub fn from_toml(text: &str) -> Result<Self, OpenError> {
        parse_toml(text, "TOML", Path::new(""))
    }

    /// Reads a TOML file. Paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// [`OpenError::Syntax`] with file and line, or [`OpenError::System`] if it cannot be read.
    ///
    /// # Blocking
    ///
    /// Reads the file.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|it| OpenError::system(path.display().to_string(), format!("reading the file: {it}")))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        parse_toml(&text, &path.display().to_string(), folder)
    }

    /// What the environment names: `EXECUTOR_URL`, else the file that `EXECUTOR_CONFIG` names, else `thread://`.
    ///
    /// # Errors
    ///
    /// As [`from_url`](Self::from_url) and [`from_file`](Self::from_file).
    ///
    /// # Blocking
    ///
    /// May read a file.
    pub fn from_env() -> Result<Self, OpenError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    pub(crate) fn from_variables(
        variable: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self, OpenError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(url) = variable("EXECUTOR_URL") {
            let url = url.to_str().ok_or_else(|| OpenError::syntax("EXECUTOR_URL", "it is not UTF-8"))?;
            return parse_url(url, url)
                .map_err(|message| OpenError::syntax(format!("EXECUTOR_URL `{url}`"), message));
        }
        match variable("EXECUTOR_CONFIG") {
            Some(path) => Self::from_file(path),
            None => Self::from_url("thread://"),
        }
    }

    /// The scheme, such as `process`.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The hosts, for schemes of machines.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Checks the options against what the scheme's backend knows, and gives them for reading.
    ///
    /// # Errors
    ///
    /// [`OpenError::UnknownOption`] with the nearest known one; [`OpenError::Syntax`] for an option given twice, or for
    /// hosts where there are none.
    pub fn options(&self, scheme: &Scheme) -> Result<Options<'_>, OpenError> {
        for (at, (key, _)) in self.options.iter().enumerate() {
            if !scheme.keys.contains(&key.as_str()) {
                return Err(OpenError::UnknownOption {
                    scheme: self.scheme.clone(),
                    key: key.clone(),
                    nearest: nearest(key, scheme.keys.iter().copied()).map(str::to_owned),
                    known: match scheme.keys {
                        [] => "none".to_owned(),
                        keys => keys.join(", "),
                    },
                });
            }
            if self.options[..at].iter().any(|(earlier, _)| earlier == key) {
                return Err(OpenError::syntax(&self.place, format!("`{key}` is given twice")));
            }
        }
        if !scheme.has_hosts && !self.hosts.is_empty() {
            return Err(OpenError::syntax(
                &self.place,
                format!(
                    "`{}` has no hosts, but `{}` is given as one (options stand behind a `?`: `{}://?key=value`)",
                    self.scheme,
                    self.hosts.join(","),
                    self.scheme
                ),
            ));
        }
        Ok(Options::new(&self.scheme, &self.options, &self.folder))
    }

    /// An error that says that no backend has this scheme, and which is nearest among `known`.
    pub fn unknown_scheme(&self, known: &[&str]) -> OpenError {
        OpenError::UnknownScheme {
            scheme: self.scheme.clone(),
            nearest: nearest(&self.scheme, known.iter().copied()).map(str::to_owned),
            known: known.join(", "),
        }
    }

    /// An error that says that this version has no backend for the scheme, though the name is reserved for one.
    pub fn scheme_of_later(&self, known: &[&str]) -> OpenError {
        OpenError::NotYet { scheme: self.scheme.clone(), known: known.join(", ") }
    }
}

impl fmt::Display for Config {
    /// The URL.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.hosts.join(","))?;
        for (at, (key, value)) in self.options.iter().enumerate() {
            write!(f, "{}{key}={}", if at == 0 { '?' } else { '&' }, percent_encode(value))?;
        }
        Ok(())
    }
}

fn parse_url(url: &str, place: &str) -> Result<Config, String> {
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("it has no `://`; write for example `thread://` or `process://?workers=4`")?;
    if scheme.is_empty() || !scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    {
        return Err(format!("`{scheme}` is not a scheme"));
    }
    let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
    let hosts = match hosts.trim_end_matches('/') {
        "" => Vec::new(),
        hosts => hosts.split(',').map(str::to_owned).collect(),
    };
    if hosts.iter().any(String::is_empty) {
        return Err("it has an empty host".to_owned());
    }
    let options = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), percent_decode(value)?)),
            None => Err(format!("the option `{pair}` has no value; write `{pair}=..`")),
        })
        .collect::<Result<_, String>>()?;
    Ok(Config {
        scheme: scheme.to_owned(),
        hosts,
        options,
        place: format!("`{place}`"),
        folder: PathBuf::new(),
    })
}

/// What would be taken for something else in a URL is written as `%` and two digits.
fn percent_encode(value: &str) -> String {
    value.replace('%', "%25").replace('&', "%26")
}

/// `%20` and the like, which a path may need.
fn percent_decode(value: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = tail;
        if *byte != b'%' {
            bytes.push(*byte);
            continue;
        }
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.ok_or_else(|| format!("`{value}` has a `%` without two hexadecimal digits"))?);
        rest = &tail[2..];
    }
    String::from_utf8(bytes).map_err(|_| format!("`{value}` is not UTF-8 when decoded"))
}

fn parse_toml(text: &str, place: &str, folder: &Path) -> Result<Config, OpenError> {
    let table: toml::Table =
        toml::from_str(text).map_err(|it| OpenError::syntax(place, it.to_string().trim_end()))?;
    let syntax = |message: String| OpenError::syntax(place, message);
    let named = table
        .get("executor")
        .ok_or_else(|| syntax("the key `executor` is missing; write `executor = \"thread\"`".to_owned()))?
        .as_str()
        .ok_or_else(|| syntax("`executor` is not a string".to_owned()))?;
    let url = if named.contains("://") { named.to_owned() } else { format!("{named}://") };
    let mut config = parse_url(&url, place).map_err(syntax)?;
    for (key, value) in table.iter().filter(|(key, _)| *key != "executor") {
        if key == "hosts" {
            let hosts = value.as_array().map(|hosts| hosts.iter().map(toml::Value::as_str));
            let hosts: Option<Vec<&str>> = hosts.and_then(Iterator::collect);
            let hosts = hosts.ok_or_else(|| syntax("`hosts` is not a list of strings".to_owned()))?;
            config.hosts.extend(hosts.into_iter().map(str::to_owned));
            continue;
        }
        let value = match value {
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(yes) => yes.to_string(),
            _ => return Err(syntax(format!("`{key}` is neither a string, a number nor true or false"))),
        };
        config.options.push((key.clone(), value));
    }
    config.place = place.to_owned();
    config.folder = folder.to_owned();
    Ok(config)
}
