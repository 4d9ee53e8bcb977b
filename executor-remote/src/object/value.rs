//! [`Object`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::exception::Exception;
use super::{ObjectError, de, ser};

/// A value as Python has it.
///
/// `==` compares what a value is: `Int(1)` is not `Float(1.0)`. [`equals`](Self::equals) compares as Python does, and
/// [`Key`](super::Key) hashes as Python does. `{}` writes the value as Python's `repr`, `{:#}` as its `ascii`.
///
/// # Examples
///
/// ```
/// use executor_remote::object::Object;
///
/// let object = Object::from_serialize(&(1, "two", vec![3.0]))?;
/// assert_eq!(object.to_string(), "(1, 'two', [3.0])");
/// assert_eq!(object.deserialize::<(i64, String, Vec<f64>)>()?, (1, "two".to_owned(), vec![3.0]));
/// # Ok::<(), executor_remote::object::ObjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub enum Object {
    /// `None`.
    #[default]
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An `int`.
    Int(i128),
    /// A `float`.
    Float(f64),
    /// A `complex`: real and imaginary part.
    Complex(f64, f64),
    /// A `str`.
    Str(String),
    /// `bytes`.
    Bytes(Vec<u8>),
    /// A `bytearray`.
    ByteArray(Vec<u8>),
    /// A `list`.
    List(Vec<Object>),
    /// A `tuple`.
    Tuple(Vec<Object>),
    /// A `dict`, in its order. Of equal keys the last counts.
    Dict(Vec<(Object, Object)>),
    /// A `set`, in no particular order.
    Set(Vec<Object>),
    /// A `frozenset`, in no particular order.
    FrozenSet(Vec<Object>),
    /// An instance of an exception class.
    Exception(Box<Exception>),
    /// An instance of one of the few other classes that are known to be data.
    Instance(Box<Instance>),
}

/// An instance of a class that is known to be data: a `slice`, and what managers exchange (`Token`, `Namespace`, `Value` and
/// proxies, of `multiprocessing.managers`). The class of a proxy is one without arguments and state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Instance {
    /// The class with its module, `multiprocessing.managers.Token`; builtin ones without: `slice`.
    pub class: String,
    /// What the class was called with; mostly nothing.
    pub args: Vec<Object>,
    /// What `__getstate__` gave: for most classes a dict of their attributes.
    pub state: Object,
}

impl Object {
    /// Any serialisable value; the [module](super) says what becomes what.
    ///
    /// # Errors
    ///
    /// What its `Serialize` reports; an integer beyond `i128`; more than [`MAX_DEPTH`](super::MAX_DEPTH) levels.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, ObjectError> {
        value.serialize(ser::ObjectSerializer::new())
    }

    /// The value of this type that the object is.
    ///
    /// # Errors
    ///
    /// What its `Deserialize` reports.
    pub fn deserialize<T: DeserializeOwned>(self) -> Result<T, ObjectError> {
        T::deserialize(de::ObjectDeserializer::new(self))
    }

    /// The name of its type in Python, for messages.
    pub fn type_name(&self) -> &str {
        match self {
            Self::None => "NoneType",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::Complex(..) => "complex",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "bytearray",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::Dict(_) => "dict",
            Self::Set(_) => "set",
            Self::FrozenSet(_) => "frozenset",
            Self::Exception(it) => &it.type_name,
            Self::Instance(it) => it.class.rsplit('.').next().unwrap_or(&it.class),
        }
    }

    /// Whether Python would take it for true in an `if`.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bool(it) => *it,
            Self::Int(it) => *it != 0,
            Self::Float(it) => *it != 0.0,
            Self::Complex(re, im) => *re != 0.0 || *im != 0.0,
            Self::Str(it) => !it.is_empty(),
            Self::Bytes(it) | Self::ByteArray(it) => !it.is_empty(),
            Self::List(it) | Self::Tuple(it) | Self::Set(it) | Self::FrozenSet(it) => !it.is_empty(),
            Self::Dict(it) => !it.is_empty(),
            Self::Exception(_) | Self::Instance(_) => true,
        }
    }

    /// The text, if it is a `str`.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The number, if it is an `int` (or a `bool`, as in Python) that fits.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(number) => i64::try_from(*number).ok(),
            Self::Bool(it) => Some(i64::from(*it)),
            _ => None,
        }
    }

    /// The number, if it is a `float`, an `int` or a `bool`.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(number) => Some(*number),
            Self::Int(number) => Some(*number as f64),
            Self::Bool(it) => Some(f64::from(u8::from(*it))),
            _ => None,
        }
    }
}

macro_rules! from_integers {
    ($($type:ty),+) => {
        $(impl From<$type> for Object {
            fn from(number: $type) -> Self {
                Self::Int(i128::from(number))
            }
        })+
    };
}

from_integers!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

impl From<usize> for Object {
    fn from(number: usize) -> Self {
        Self::Int(number as i128)
    }
}

impl From<()> for Object {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl From<bool> for Object {
    fn from(it: bool) -> Self {
        Self::Bool(it)
    }
}

impl From<f64> for Object {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}

impl From<&str> for Object {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Object {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<Exception> for Object {
    fn from(exception: Exception) -> Self {
        Self::Exception(Box::new(exception))
    }
}

impl From<Instance> for Object {
    fn from(instance: Instance) -> Self {
        Self::Instance(Box::new(instance))
    }
}

impl<T: Into<Object>> From<Option<T>> for Object {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}
