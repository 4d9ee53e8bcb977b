//! [`Exception`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Object;

/// An instance of a Python exception class, as data.
///
/// `{}` writes it as the last line of a traceback: `ValueError: text`.
///
/// # Examples
///
/// ```
/// use executor_remote::object::{Exception, Object};
///
/// let exception = Exception::new("ValueError", "no such colour").with_note("while painting");
/// assert_eq!(exception.to_string(), "ValueError: no such colour");
///
/// // A KeyError has the key and not a text.
/// let exception = Exception::with_args("KeyError", vec![Object::from(7)]);
/// assert_eq!(exception.message(), "7");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Exception {
    /// The class, as a traceback has it: `ValueError` of the builtin ones, otherwise with its module, `queue.Empty`.
    #[serde(rename = "type")]
    pub type_name: String,
    /// What the class was called with, mostly one text.
    pub args: Vec<Object>,
    /// Lines that a traceback shows under the message (`__notes__`).
    pub notes: Vec<String>,
    /// The text of a traceback of another process, which was the cause of this (`__cause__`).
    pub cause: Option<String>,
    /// Other attributes of the instance.
    pub attributes: Vec<(String, Object)>,
}

impl Exception {
    /// An exception of this class with this text.
    pub fn new(type_name: impl Into<String>, text: impl Into<String>) -> Self {
        Self::with_args(type_name, vec![Object::Str(text.into())])
    }

    /// An exception of this class with these arguments.
    pub fn with_args(type_name: impl Into<String>, args: Vec<Object>) -> Self {
        Self { type_name: type_name.into(), args, notes: Vec::new(), cause: None, attributes: Vec::new() }
    }

    /// Adds a note.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Sets the text of the cause.
    pub fn with_cause(mut self, text: impl Into<String>) -> Self {
        self.cause = Some(text.into());
        self
    }

    /// What Python's `str(exception)` gives.
    pub fn message(&self) -> String {
        match (self.args.as_slice(), self.type_name.as_str()) {
            ([], _) => String::new(),
            ([key], "KeyError") => key.to_string(),
            ([Object::Str(text)], _) => text.clone(),
            ([arg], _) => arg.to_string(),
            ([number @ Object::Int(_), text], _) if self.is_os_error() => {
                format!("[Errno {number}] {}", plain(text))
            }
            ([number @ Object::Int(_), text, name, ..], _) if self.is_os_error() => {
                format!("[Errno {number}] {}: {name}", plain(text))
            }
            ([Object::Str(encoding), bytes, start, end, Object::Str(reason)], "UnicodeDecodeError") => {
                format!("'{encoding}' codec can't decode {bytes} in position {start}-{end}: {reason}")
            }
            (args, _) => Object::Tuple(args.to_vec()).to_string(),
        }
    }

    /// Whether the class is `OSError` or one that Python makes of it.
    fn is_os_error(&self) -> bool {
        const OS_ERRORS: &[&str] = &[
            "BlockingIOError",
            "BrokenPipeError",
            "ChildProcessError",
            "ConnectionAbortedError",
            "ConnectionError",
            "ConnectionRefusedError",
            "ConnectionResetError",
            "FileExistsError",
            "FileNotFoundError",
            "InterruptedError",
            "IsADirectoryError",
            "NotADirectoryError",
            "OSError",
            "PermissionError",
            "ProcessLookupError",
            "TimeoutError",
        ];
        OS_ERRORS.contains(&self.type_name.as_str())
    }
}

fn plain(object: &Object) -> String {
    object.as_str().map_or_else(|| object.to_string(), str::to_owned)
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = self.message();
        match message.is_empty() {
            true => f.write_str(&self.type_name),
            false => write!(f, "{}: {message}", self.type_name),
        }
    }
}

impl std::error::Error for Exception {}
