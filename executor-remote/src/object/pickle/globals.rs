//! The names that a pickle may refer to, and what they mean as data.

use crate::object::{Exception, Object};

/// What a name that is known to be data stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// `list(items)`: how the views of a manager's dict are answered.
    List,
    Set,
    FrozenSet,
    ByteArray,
    Bytes,
    Complex,
    /// `_codecs.encode(text, 'latin1')`, which is how protocols up to 2 have bytes.
    Encode,
    OrderedDict,
    Exception,
    /// A function that gives an exception the text of its cause.
    RebuildException,
    /// A class with `__setstate__`, or with attributes.
    Instance,
    /// A class that is data by itself, as an argument of others.
    Class,
}

/// What the name stands for, or `None` if it is not known to be data.
pub(super) fn known(module: &str, name: &str) -> Option<Known> {
    match (current(module), name) {
        ("builtins", "list") => Some(Known::List),
        ("builtins", "set") => Some(Known::Set),
        ("builtins", "frozenset") => Some(Known::FrozenSet),
        ("builtins", "bytearray") => Some(Known::ByteArray),
        ("builtins", "bytes") => Some(Known::Bytes),
        ("builtins", "complex") => Some(Known::Complex),
        ("builtins", "slice") => Some(Known::Instance),
        ("builtins", name) => is_builtin_exception(name).then_some(Known::Exception),
        ("_codecs", "encode") => Some(Known::Encode),
        ("collections", "OrderedDict") => Some(Known::OrderedDict),
        ("multiprocessing.pool", "rebuild_exc") | ("concurrent.futures.process", "_rebuild_exc") => {
            Some(Known::RebuildException)
        }
        ("multiprocessing.managers", name) if INSTANCES.contains(&name) => Some(Known::Instance),
        ("multiprocessing.managers", name) if PROXIES.contains(&name) => Some(Known::Class),
        (module, name) => is_exception_by_name(module, name).then_some(Known::Exception),
    }
}

/// Python 2 had other names for modules, and protocols up to 2 still write them.
fn current(module: &str) -> &str {
    match module {
        "__builtin__" | "exceptions" => "builtins",
        // `queue.Empty` is made in C.
        "_queue" | "Queue" => "queue",
        module => module,
    }
}

/// The name of a class as a traceback has it.
pub(super) fn full_name(module: &str, name: &str) -> String {
    match current(module) {
        "builtins" => name.to_owned(),
        module => format!("{module}.{name}"),
    }
}

/// Classes of `multiprocessing.managers` that are data.
const INSTANCES: &[&str] = &["Namespace", "Token", "Value", REBUILD_PROXY];

/// Not a class but the function that makes a proxy of its arguments: the class of the proxy, a `Token`, and others.
const REBUILD_PROXY: &str = "RebuildProxy";

/// What `RebuildProxy` makes proxies with.
const PROXIES: &[&str] = &[
    "AcquirerProxy",
    "ArrayProxy",
    "AutoProxy",
    "BarrierProxy",
    "BaseProxy",
    "ConditionProxy",
    "DictProxy",
    "EventProxy",
    "IteratorProxy",
    "ListProxy",
    "NamespaceProxy",
    "PoolProxy",
    "ValueProxy",
];

/// The builtin exceptions that every Python from 3.8 on has.
const BUILTIN_EXCEPTIONS: &[&str] = &[
    "ArithmeticError",
    "AssertionError",
    "AttributeError",
    "BaseException",
    "BlockingIOError",
    "BrokenPipeError",
    "BufferError",
    "BytesWarning",
    "ChildProcessError",
    "ConnectionAbortedError",
    "ConnectionError",
    "ConnectionRefusedError",
    "ConnectionResetError",
    "DeprecationWarning",
    "EOFError",
    "EnvironmentError",
    "Exception",
    "FileExistsError",
    "FileNotFoundError",
    "FloatingPointError",
    "FutureWarning",
    "GeneratorExit",
    "IOError",
    "ImportError",
    "ImportWarning",
    "IndentationError",
    "IndexError",
    "InterruptedError",
    "IsADirectoryError",
    "KeyError",
    "KeyboardInterrupt",
    "LookupError",
    "MemoryError",
    "ModuleNotFoundError",
    "NameError",
    "NotADirectoryError",
    "NotImplementedError",
    "OSError",
    "OverflowError",
    "PendingDeprecationWarning",
    "PermissionError",
    "ProcessLookupError",
    "RecursionError",
    "ReferenceError",
    "ResourceWarning",
    "RuntimeError",
    "RuntimeWarning",
    "StopAsyncIteration",
    "StopIteration",
    "SyntaxError",
    "SyntaxWarning",
    "SystemError",
    "SystemExit",
    "TabError",
    "TimeoutError",
    "TypeError",
    "UnboundLocalError",
    "UnicodeDecodeError",
    "UnicodeEncodeError",
    "UnicodeError",
    "UnicodeTranslateError",
    "UnicodeWarning",
    "UserWarning",
    "ValueError",
    "Warning",
    "ZeroDivisionError",
];

/// Those of later versions, which are read and not written.
const LATER_EXCEPTIONS: &[&str] =
    &["BaseExceptionGroup", "EncodingWarning", "ExceptionGroup", "PythonFinalizationError"];

fn is_builtin_exception(name: &str) -> bool {
    BUILTIN_EXCEPTIONS.binary_search(&name).is_ok() || LATER_EXCEPTIONS.contains(&name)
}

/// Exceptions of the standard library that take any arguments, and so can be written as what they are.
const WRITABLE: &[(&str, &str)] = &[
    ("queue", "Empty"),
    ("queue", "Full"),
    ("multiprocessing.context", "AuthenticationError"),
    ("multiprocessing.context", "BufferTooShort"),
    ("multiprocessing.context", "ProcessError"),
    ("multiprocessing.context", "TimeoutError"),
    ("multiprocessing.managers", "RemoteError"),
];

/// Of those whose names do not say that they are exceptions.
const UNMARKED: &[(&str, &str)] = &[
    ("queue", "Empty"),
    ("queue", "Full"),
    ("multiprocessing.context", "BufferTooShort"),
    ("multiprocessing.pool", "RemoteTraceback"),
    ("concurrent.futures.process", "_RemoteTraceback"),
];

/// Whether the class is one of exceptions, by the conventions of Python. It is not called in any case.
fn is_exception_by_name(module: &str, name: &str) -> bool {
    const MARKS: [&str; 3] = ["Error", "Exception", "Warning"];
    let last = name.rsplit('.').next().unwrap_or(name);
    let is_class = last.trim_start_matches('_').starts_with(char::is_uppercase);
    is_class && MARKS.iter().any(|mark| last.ends_with(mark)) || UNMARKED.contains(&(module, name))
}

/// Module and name under which the exception is written, if it can be read back with its arguments.
pub(super) fn writable_exception(exception: &Exception) -> Option<(&str, &str)> {
    let (module, name) = exception.type_name.rsplit_once('.').unwrap_or(("builtins", &exception.type_name));
    let is_writable = match module {
        "builtins" => BUILTIN_EXCEPTIONS.binary_search(&name).is_ok(),
        _ => WRITABLE.contains(&(module, name)),
    };
    (is_writable && takes_back(name, &exception.args)).then_some((module, name))
}

/// Whether the class can be called with these arguments.
fn takes_back(name: &str, args: &[Object]) -> bool {
    use Object::{Bytes, Int, Str, Tuple};
    match name {
        "UnicodeDecodeError" => matches!(args, [Str(_), Bytes(_), Int(_), Int(_), Str(_)]),
        "UnicodeEncodeError" => matches!(args, [Str(_), Str(_), Int(_), Int(_), Str(_)]),
        "UnicodeTranslateError" => matches!(args, [Str(_), Int(_), Int(_), Str(_)]),
        "SyntaxError" | "IndentationError" | "TabError" => match args {
            [] | [_] => true,
            [_, Tuple(place)] => place.len() == 4,
            _ => false,
        },
        _ => true,
    }
}

/// Module and name of a class of [`Instance`](crate::object::Instance).
pub(super) fn writable_instance(class: &str) -> Option<(&str, &str)> {
    let (module, name) = class.rsplit_once('.').unwrap_or(("builtins", class));
    matches!(known(module, name), Some(Known::Instance | Known::Class)).then_some((module, name))
}

/// How what the name stands for is written.
pub(super) fn form(module: &str, name: &str) -> Form {
    match known(module, name) {
        Some(Known::Class) => Form::Name,
        _ if name == REBUILD_PROXY => Form::Call,
        _ => Form::New,
    }
}

/// The form of an [`Instance`](crate::object::Instance).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// The name itself.
    Name,
    /// What calling it gives.
    Call,
    /// Made without `__init__`.
    New,
}

/// Whether setting this attribute of an exception only adds to it.
pub(super) fn is_plain_attribute(name: &str) -> bool {
    !name.starts_with("__") && name != "args"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted() {
        assert!(BUILTIN_EXCEPTIONS.is_sorted());
    }
}
