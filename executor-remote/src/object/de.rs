//! How an [`Object`] is deserialised, and how other values are made of one.
//!
//! Objects and the nodes of a pickle are both a [`Source`]; [`SourceDeserializer`] makes values of either. An `Object` asks
//! for itself by the name of a newtype struct. A source answers by laying it down whole, in a place of the thread, from which the
//! visitor takes it at once; any other format goes on as if it had been asked for any value.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::value::SeqDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, Error, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};

use super::value::Instance;
use super::{Exception, MAX_DEPTH, Object, ObjectError};

/// The newtype struct by whose name an [`Object`] asks for itself.
const OBJECT: &str = "$executor::object::Object";

thread_local! {
    static WHOLE: RefCell<Option<Object>> = const { RefCell::new(None) };
    /// How many objects are being deserialised inside of one another.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
}

struct Level;

impl Level {
    fn enter<E: Error>() -> Result<Self, E> {
        let depth = DEPTH.get();
        if depth > MAX_DEPTH {
            return Err(E::custom(super::ser::too_deep()));
        }
        DEPTH.set(depth + 1);
        Ok(Self)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let _level = Level::enter()?;
        if deserializer.is_human_readable() {
            return deserializer.deserialize_newtype_struct(OBJECT, ObjectVisitor);
        }
        Tagged::deserialize(deserializer).map(Self::from)
    }
}

/// An object with what it is in front; see [`ser`](super::ser).
#[derive(serde::Deserialize)]
#[serde(rename = "Object")]
enum Tagged {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Complex(f64, f64),
    Str(String),
    Bytes(Bytes),
    ByteArray(Bytes),
    List(Vec<Object>),
    Tuple(Vec<Object>),
    Dict(Vec<(Object, Object)>),
    Set(Vec<Object>),
    FrozenSet(Vec<Object>),
    Exception(Box<Exception>),
    Instance(Box<Instance>),
}

impl From<Tagged> for Object {
    fn from(tagged: Tagged) -> Self {
        match tagged {
            Tagged::None => Self::None,
            Tagged::Bool(it) => Self::Bool(it),
            Tagged::Int(number) => Self::Int(number),
            Tagged::Float(number) => Self::Float(number),
            Tagged::Complex(re, im) => Self::Complex(re, im),
            Tagged::Str(text) => Self::Str(text),
            Tagged::Bytes(bytes) => Self::Bytes(bytes.0),
            Tagged::ByteArray(bytes) => Self::ByteArray(bytes.0),
            Tagged::List(items) => Self::List(items),
            Tagged::Tuple(items) => Self::Tuple(items),
            Tagged::Dict(items) => Self::Dict(items),
            Tagged::Set(items) => Self::Set(items),
            Tagged::FrozenSet(items) => Self::FrozenSet(items),
            Tagged::Exception(it) => Self::Exception(it),
            Tagged::Instance(it) => Self::Instance(it),
        }
    }
}

/// Bytes, as serde has them only by request.
struct Bytes(Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BytesVisitor;
        impl Visitor<'_> for BytesVisitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_byte_buf(BytesVisitor)
    }
}

/// Takes what any format has that describes itself.
struct ObjectVisitor;

macro_rules! visit {
    ($($method:ident($type:ty)),+ $(,)?) => {
        $(fn $method<E: Error>(self, value: $type) -> Result<Object, E> {
            Ok(Object::from(value))
        })+
    };
}

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    visit! { visit_bool(bool), visit_i64(i64), visit_i128(i128), visit_u64(u64), visit_f64(f64), visit_str(&str), visit_string(String) }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Object, E> {
        i128::try_from(number).map(Object::Int).map_err(|_| E::custom(super::ser::too_large(number)))
    }
    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Object, E> {
        Ok(Object::Bytes(bytes.to_vec()))
    }
    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Object, E> {
        Ok(Object::Bytes(bytes))
    }
    fn visit_none<E: Error>(self) -> Result<Object, E> {
        Ok(Object::None)
    }
    fn visit_unit<E: Error>(self) -> Result<Object, E> {
        Ok(Object::None)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        <Object as Deserialize>::deserialize(deserializer)
    }
    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Object, D::Error> {
        match WHOLE.take() {
            Some(object) => Ok(object),
            None => deserializer.deserialize_any(self),
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Object::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_entry()? {
            items.push(item);
        }
        Ok(Object::Dict(items))
    }
}

/// Something that values are made of.
pub trait Source<'de>: Sized {
    /// The items of a sequence.
    type Items: ExactSizeIterator<Item = Self>;
    /// The items of a dict.
    type Entries: ExactSizeIterator<Item = (Self, Self)>;

    /// Whether it is `None`.
    fn is_none(&self) -> bool;

    /// What it is.
    fn shape(self) -> Shape<'de, Self>;

    /// All of it.
    fn into_object(self) -> Object;
}

/// What a [`Source`] is.
pub enum Shape<'de, S: Source<'de>> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Cow<'de, str>),
    Bytes(Cow<'de, [u8]>),
    Items(S::Items),
    Entries(S::Entries),
    /// Something that is not a plain value: what it is called.
    Other(String),
}

impl<'de> Source<'de> for Object {
    type Items = std::vec::IntoIter<Object>;
    type Entries = std::vec::IntoIter<(Object, Object)>;

    fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    fn shape(self) -> Shape<'de, Self> {
        match self {
            Self::None => Shape::None,
            Self::Bool(it) => Shape::Bool(it),
            Self::Int(number) => Shape::Int(number),
            Self::Float(number) => Shape::Float(number),
            complex @ Self::Complex(..) => Shape::Other(complex.to_string()),
            Self::Str(text) => Shape::Str(Cow::Owned(text)),
            Self::Bytes(bytes) | Self::ByteArray(bytes) => Shape::Bytes(Cow::Owned(bytes)),
            Self::List(items) | Self::Tuple(items) | Self::Set(items) | Self::FrozenSet(items) => {
                Shape::Items(items.into_iter())
            }
            Self::Dict(items) => Shape::Entries(items.into_iter()),
            Self::Exception(it) => Shape::Other(format!("the exception {it}")),
            Self::Instance(it) => Shape::Other(format!("an instance of {}", it.class)),
        }
    }

    fn into_object(self) -> Object {
        self
    }
}

/// Makes values of a [`Source`].
pub struct SourceDeserializer<S>(S);

/// Makes values of an [`Object`].
pub type ObjectDeserializer = SourceDeserializer<Object>;

impl<'de, S: Source<'de>> IntoDeserializer<'de, ObjectError> for SourceDeserializer<S> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<S> SourceDeserializer<S> {
    pub(super) fn new(source: S) -> Self {
        Self(source)
    }
}

fn visit_any<'de, S: Source<'de>, V: Visitor<'de>>(
    shape: Shape<'de, S>,
    visitor: V,
) -> Result<V::Value, ObjectError> {
    match shape {
        Shape::None => visitor.visit_unit(),
        Shape::Bool(it) => visitor.visit_bool(it),
        Shape::Int(number) => match (i64::try_from(number), u64::try_from(number)) {
            (Ok(number), _) => visitor.visit_i64(number),
            (_, Ok(number)) => visitor.visit_u64(number),
            _ => visitor.visit_i128(number),
        },
        Shape::Float(number) => visitor.visit_f64(number),
        Shape::Str(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
        Shape::Str(Cow::Owned(text)) => visitor.visit_string(text),
        Shape::Bytes(Cow::Borrowed(bytes)) => visitor.visit_borrowed_bytes(bytes),
        Shape::Bytes(Cow::Owned(bytes)) => visitor.visit_byte_buf(bytes),
        Shape::Items(items) => visit_items(items, visitor),
        Shape::Entries(entries) => visit_entries(entries, visitor),
        Shape::Other(what) => Err(ObjectError::invalid_type(Unexpected::Other(&what), &visitor)),
    }
}

fn visit_items<'de, S: Source<'de>, V: Visitor<'de>>(
    items: impl ExactSizeIterator<Item = S>,
    visitor: V,
) -> Result<V::Value, ObjectError> {
    let len = items.len();
    let mut items = Items(items);
    let value = visitor.visit_seq(&mut items)?;
    match items.0.len() {
        0 => Ok(value),
        left => Err(ObjectError::new(format!("invalid length {len}, expected {left} less"))),
    }
}

fn visit_entries<'de, S: Source<'de>, V: Visitor<'de>>(
    entries: impl ExactSizeIterator<Item = (S, S)>,
    visitor: V,
) -> Result<V::Value, ObjectError> {
    let len = entries.len();
    let mut entries = Entries { entries, value: None };
    let value = visitor.visit_map(&mut entries)?;
    match entries.entries.len() {
        0 => Ok(value),
        left => Err(ObjectError::new(format!("invalid length {len}, expected {left} less"))),
    }
}

fn visit_bytes_as_items<'de, V: Visitor<'de>>(bytes: &[u8], visitor: V) -> Result<V::Value, ObjectError> {
    let mut items = SeqDeserializer::<_, ObjectError>::new(bytes.iter().copied());
    let value = visitor.visit_seq(&mut items)?;
    items.end()?;
    Ok(value)
}

macro_rules! any {
    ($($method:ident)+) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
            visit_any(self.0.shape(), visitor)
        })+
    };
}

/// Whether it is an [`Object`] that asks for a newtype struct of this name.
pub(super) fn asks_for_object(name: &str) -> bool {
    name == OBJECT
}

impl<'de, S: Source<'de>> Deserializer<'de> for SourceDeserializer<S> {
    type Error = ObjectError;

    any! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_map deserialize_identifier
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        visit_any(self.0.shape(), visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        visit_any(self.0.shape(), visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        if self.0.is_none() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        match self.0.shape() {
            Shape::Items(items) if items.len() == 0 => visitor.visit_unit(),
            shape => visit_any(shape, visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        if asks_for_object(name) {
            WHOLE.replace(Some(self.0.into_object()));
            return visitor.visit_newtype_struct(de::value::UnitDeserializer::<ObjectError>::new());
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        match self.0.shape() {
            Shape::Bytes(bytes) => visit_bytes_as_items(&bytes, visitor),
            shape => visit_any(shape, visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ObjectError> {
        match self.0.shape() {
            Shape::Items(items) if items.len() != len => {
                Err(ObjectError::invalid_length(items.len(), &visitor))
            }
            Shape::Bytes(bytes) => visit_bytes_as_items(&bytes, visitor),
            shape => visit_any(shape, visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        visit_any(self.0.shape(), visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        match self.0.shape() {
            Shape::Str(name) => visitor.visit_enum(Variant::<S> { name: name.into_owned(), content: None }),
            Shape::Entries(mut entries) if entries.len() == 1 => {
                let (name, content) = entries.next().expect("there is one");
                match name.shape() {
                    Shape::Str(name) => {
                        visitor.visit_enum(Variant { name: name.into_owned(), content: Some(content) })
                    }
                    _ => Err(ObjectError::new("the name of an enum's variant is not text")),
                }
            }
            shape => visit_any(shape, visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        visitor.visit_unit()
    }
}

struct Items<I>(I);

impl<'de, S: Source<'de>, I: ExactSizeIterator<Item = S>> SeqAccess<'de> for Items<I> {
    type Error = ObjectError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ObjectError> {
        match self.0.next() {
            Some(item) => seed.deserialize(SourceDeserializer(item)).map(Some),
            None => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

struct Entries<I, S> {
    entries: I,
    value: Option<S>,
}

impl<'de, S: Source<'de>, I: ExactSizeIterator<Item = (S, S)>> MapAccess<'de> for Entries<I, S> {
    type Error = ObjectError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ObjectError> {
        match self.entries.next() {
            Some((key, value)) => {
                self.value = Some(value);
                seed.deserialize(SourceDeserializer(key)).map(Some)
            }
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ObjectError> {
        match self.value.take() {
            Some(value) => seed.deserialize(SourceDeserializer(value)),
            None => Err(ObjectError::new("a value was asked for before its key")),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant of an enum, with what is in it.
struct Variant<S> {
    name: String,
    content: Option<S>,
}

impl<'de, S: Source<'de>> EnumAccess<'de> for Variant<S> {
    type Error = ObjectError;
    type Variant = Content<S>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<S>), ObjectError> {
        let name = seed.deserialize(de::value::StringDeserializer::<ObjectError>::new(self.name))?;
        Ok((name, Content(self.content)))
    }
}

struct Content<S>(Option<S>);

impl<S> Content<S> {
    fn required(self) -> Result<SourceDeserializer<S>, ObjectError> {
        match self.0 {
            Some(content) => Ok(SourceDeserializer(content)),
            None => Err(ObjectError::new("the variant of an enum has no content, and one was expected")),
        }
    }
}

impl<'de, S: Source<'de>> VariantAccess<'de> for Content<S> {
    type Error = ObjectError;

    fn unit_variant(self) -> Result<(), ObjectError> {
        match self.0 {
            Some(content) => de::Deserialize::deserialize(SourceDeserializer(content)),
            None => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ObjectError> {
        seed.deserialize(self.required()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ObjectError> {
        self.required()?.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        self.required()?.deserialize_struct("", fields, visitor)
    }
}
