//! Equality and hashing as Python has them.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash, Hasher};

use super::Object;

impl Object {
    /// Whether Python's `==` would hold: `1 == 1.0 == True`, dicts and sets in any order, a `set` and a `frozenset` of the same
    /// items. A NaN equals itself here, as what is in a container does in Python.
    pub fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::None, Self::None) => true,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Bytes(a) | Self::ByteArray(a), Self::Bytes(b) | Self::ByteArray(b)) => a == b,
            (Self::List(a), Self::List(b)) | (Self::Tuple(a), Self::Tuple(b)) => all_equal(a, b),
            (Self::Set(a) | Self::FrozenSet(a), Self::Set(b) | Self::FrozenSet(b)) => same_items(a, b),
            (Self::Dict(a), Self::Dict(b)) => same_entries(a, b),
            (Self::Exception(a), Self::Exception(b)) => a == b,
            (Self::Instance(a), Self::Instance(b)) => a == b,
            (a, b) => match (Number::of(a), Number::of(b)) {
                (Some(a), Some(b)) => a == b,
                _ => false,
            },
        }
    }

    /// Whether it can be a key of a dict or an item of a set.
    pub fn is_hashable(&self) -> bool {
        match self {
            Self::None
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Complex(..)
            | Self::Str(_)
            | Self::Bytes(_) => true,
            Self::Tuple(items) | Self::FrozenSet(items) => items.iter().all(Self::is_hashable),
            Self::ByteArray(_) | Self::List(_) | Self::Dict(_) | Self::Set(_) => false,
            // Python hashes them by their identity, which does not travel.
            Self::Exception(_) | Self::Instance(_) => false,
        }
    }
}

fn all_equal(a: &[Object], b: &[Object]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
}

fn same_items(a: &[Object], b: &[Object]) -> bool {
    let a: HashSet<_> = a.iter().map(KeyRef).collect();
    let b: HashSet<_> = b.iter().map(KeyRef).collect();
    a == b
}

fn same_entries(a: &[(Object, Object)], b: &[(Object, Object)]) -> bool {
    let a: HashMap<_, _> = a.iter().map(|(key, value)| (KeyRef(key), value)).collect();
    let b: HashMap<_, _> = b.iter().map(|(key, value)| (KeyRef(key), value)).collect();
    a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| value.equals(other)))
}

/// A number such that those are equal which Python calls equal.
#[derive(PartialEq, Eq, Hash)]
enum Number {
    Whole(i128),
    /// By its bits.
    Float(u64),
    Complex(u64, u64),
}

impl Number {
    fn of(object: &Object) -> Option<Self> {
        match *object {
            Object::Bool(it) => Some(Self::Whole(i128::from(it))),
            Object::Int(number) => Some(Self::Whole(number)),
            Object::Float(number) => Some(Self::of_float(number)),
            Object::Complex(re, 0.0) => Some(Self::of_float(re)),
            Object::Complex(re, im) => Some(Self::Complex(bits(re), bits(im))),
            _ => None,
        }
    }

    fn of_float(number: f64) -> Self {
        // 2 to the power of 127. Above, no float is an `i128`; below, whole ones are.
        const BOUND: f64 = 1.701_411_834_604_692_3e38;
        if number.trunc() == number && (-BOUND..BOUND).contains(&number) {
            Self::Whole(number as i128)
        } else {
            Self::Float(bits(number))
        }
    }
}

/// The same for equal numbers, and for all that are none.
fn bits(number: f64) -> u64 {
    if number.is_nan() { f64::NAN.to_bits() } else { (number + 0.0).to_bits() }
}

/// An object by which others are found, as Python finds them.
struct KeyRef<'a>(&'a Object);

impl PartialEq for KeyRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(other.0)
    }
}

impl Eq for KeyRef<'_> {}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(number) = Number::of(self.0) {
            return number.hash(state);
        }
        match self.0 {
            Object::Str(text) => text.hash(state),
            Object::Bytes(bytes) | Object::ByteArray(bytes) => bytes.hash(state),
            Object::Tuple(items) => {
                items.len().hash(state);
                items.iter().for_each(|item| KeyRef(item).hash(state));
            }
            // Neither the order counts, nor how often an item is there.
            Object::FrozenSet(items) | Object::Set(items) => {
                let hashes = || {
                    items.iter().map(|item| BuildHasherDefault::<DefaultHasher>::new().hash_one(KeyRef(item)))
                };
                (hashes().min(), hashes().max()).hash(state);
            }
            _ => {}
        }
    }
}

/// An object that is hashable in Python, and equal to others as Python has it: for maps from objects.
///
/// # Examples
///
/// ```
/// use std::collections::HashMap;
///
/// use executor_remote::object::{Key, Object};
///
/// let mut map = HashMap::new();
/// map.insert(Key::new(Object::Int(1)).unwrap(), "one");
/// assert_eq!(map.get(&Key::new(Object::Float(1.0)).unwrap()), Some(&"one"));
/// assert!(Key::new(Object::List(vec![])).is_err(), "a list is no key");
/// ```
#[derive(Debug, Clone)]
pub struct Key(Object);

impl Key {
    /// The object as a key.
    ///
    /// # Errors
    ///
    /// The object, if it is not hashable. Python says `TypeError: unhashable type: 'list'`.
    pub fn new(object: Object) -> Result<Self, Object> {
        if object.is_hashable() { Ok(Self(object)) } else { Err(object) }
    }

    /// The object.
    pub fn as_object(&self) -> &Object {
        &self.0
    }

    /// The object.
    pub fn into_object(self) -> Object {
        self.0
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        KeyRef(&self.0).hash(state);
    }
}
