//! How an [`Object`] is serialised, and how other values become one.
//!
//! To a format that describes itself, an object goes as the value that it is. Kinds that such formats lack are newtype
//! structs with a name of ours around a kind that they have; others ignore the name, the two serializers of this module and of
//! [`pickle`](super::pickle) understand it. To any other format it goes as an enum, with a tag.

use serde::ser::{
    self, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::value::Instance;
use super::{Exception, MAX_DEPTH, Object, ObjectError};

/// A kind of object that only Python has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    ByteArray,
    Complex,
    Set,
    FrozenSet,
    Exception,
    Instance,
}

impl Special {
    const ALL: [Self; 6] =
        [Self::ByteArray, Self::Complex, Self::Set, Self::FrozenSet, Self::Exception, Self::Instance];

    fn name(self) -> &'static str {
        match self {
            Self::ByteArray => "$executor::object::ByteArray",
            Self::Complex => "$executor::object::Complex",
            Self::Set => "$executor::object::Set",
            Self::FrozenSet => "$executor::object::FrozenSet",
            Self::Exception => "$executor::object::Exception",
            Self::Instance => "$executor::object::Instance",
        }
    }

    /// The kind that a newtype struct of this name stands for.
    #[inline]
    pub(super) fn of_newtype(name: &str) -> Option<Self> {
        if !name.starts_with('$') {
            return None;
        }
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The object of this kind, from the one that stands for it.
    pub(super) fn restore(self, inner: Object) -> Result<Object, ObjectError> {
        Ok(match (self, inner) {
            (Self::ByteArray, Object::Bytes(bytes)) => Object::ByteArray(bytes),
            (Self::Complex, Object::Tuple(parts)) => match parts[..] {
                [Object::Float(re), Object::Float(im)] => Object::Complex(re, im),
                _ => return Err(self.broken()),
            },
            (Self::Set, Object::List(items)) => Object::Set(items),
            (Self::FrozenSet, Object::List(items)) => Object::FrozenSet(items),
            (Self::Exception, fields) => Object::from(fields.deserialize::<Exception>()?),
            (Self::Instance, fields) => Object::from(fields.deserialize::<Instance>()?),
            _ => return Err(self.broken()),
        })
    }

    fn broken(self) -> ObjectError {
        ObjectError::new(format!("a newtype struct is named `{}`, which means something else", self.name()))
    }
}

/// Bytes, as serde has them only by request.
pub(super) struct AsBytes<'a>(pub(super) &'a [u8]);

impl Serialize for AsBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Pairs as a map.
pub(super) struct AsMap<'a>(pub(super) &'a [(Object, Object)]);

impl Serialize for AsMap<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, value)))
    }
}

/// An object with what it is in front.
#[derive(serde::Serialize)]
#[serde(rename = "Object")]
enum Tagged<'a> {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Complex(f64, f64),
    Str(&'a str),
    Bytes(AsBytes<'a>),
    ByteArray(AsBytes<'a>),
    List(&'a [Object]),
    Tuple(&'a [Object]),
    Dict(&'a [(Object, Object)]),
    Set(&'a [Object]),
    FrozenSet(&'a [Object]),
    Exception(&'a Exception),
    Instance(&'a Instance),
}

impl<'a> Tagged<'a> {
    fn new(object: &'a Object) -> Self {
        match object {
            Object::None => Self::None,
            Object::Bool(it) => Self::Bool(*it),
            Object::Int(number) => Self::Int(*number),
            Object::Float(number) => Self::Float(*number),
            Object::Complex(re, im) => Self::Complex(*re, *im),
            Object::Str(text) => Self::Str(text),
            Object::Bytes(bytes) => Self::Bytes(AsBytes(bytes)),
            Object::ByteArray(bytes) => Self::ByteArray(AsBytes(bytes)),
            Object::List(items) => Self::List(items),
            Object::Tuple(items) => Self::Tuple(items),
            Object::Dict(items) => Self::Dict(items),
            Object::Set(items) => Self::Set(items),
            Object::FrozenSet(items) => Self::FrozenSet(items),
            Object::Exception(it) => Self::Exception(it),
            Object::Instance(it) => Self::Instance(it),
        }
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return Tagged::new(self).serialize(serializer);
        }
        match self {
            Self::None => serializer.serialize_none(),
            Self::Bool(it) => serializer.serialize_bool(*it),
            Self::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => serializer.serialize_i64(number),
                (_, Ok(number)) => serializer.serialize_u64(number),
                _ => serializer.serialize_i128(*number),
            },
            Self::Float(number) => serializer.serialize_f64(*number),
            Self::Str(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_bytes(bytes),
            Self::List(items) => serializer.collect_seq(items),
            Self::Tuple(items) => {
                let mut tuple = serializer.serialize_tuple(items.len())?;
                for item in items {
                    tuple.serialize_element(item)?;
                }
                tuple.end()
            }
            Self::Dict(items) => AsMap(items).serialize(serializer),
            Self::ByteArray(bytes) => {
                serializer.serialize_newtype_struct(Special::ByteArray.name(), &AsBytes(bytes))
            }
            Self::Complex(re, im) => serializer.serialize_newtype_struct(Special::Complex.name(), &(re, im)),
            Self::Set(items) => serializer.serialize_newtype_struct(Special::Set.name(), items),
            Self::FrozenSet(items) => serializer.serialize_newtype_struct(Special::FrozenSet.name(), items),
            Self::Exception(it) => serializer.serialize_newtype_struct(Special::Exception.name(), it),
            Self::Instance(it) => serializer.serialize_newtype_struct(Special::Instance.name(), it),
        }
    }
}

/// Makes an [`Object`] of whatever is serialised.
#[derive(Clone, Copy)]
pub(super) struct ObjectSerializer {
    /// How many levels may follow.
    levels: usize,
    /// Whether `()` becomes a tuple of nothing and not `None`.
    keeps_unit: bool,
}

impl ObjectSerializer {
    pub(super) fn new() -> Self {
        Self::with_levels(MAX_DEPTH)
    }

    pub(super) fn with_levels(levels: usize) -> Self {
        Self { levels, keeps_unit: false }
    }

    /// For what is called with: `()` is no argument, and `None` is one.
    pub(super) fn of_arguments() -> Self {
        Self { keeps_unit: true, ..Self::new() }
    }

    fn inner(self) -> Result<Self, ObjectError> {
        match self.levels.checked_sub(1) {
            Some(levels) => Ok(Self::with_levels(levels)),
            None => Err(too_deep()),
        }
    }

    fn items(self, variant: Option<&'static str>, len: usize) -> Result<Items, ObjectError> {
        Ok(Items { inner: self.inner()?, items: Vec::with_capacity(len), variant })
    }

    fn entries(self, variant: Option<&'static str>, len: usize) -> Result<Entries, ObjectError> {
        Ok(Entries { inner: self.inner()?, entries: Vec::with_capacity(len), key: None, variant })
    }
}

pub(super) fn too_deep() -> ObjectError {
    ObjectError::new(format!("the value has more than {MAX_DEPTH} levels"))
}

pub(super) fn too_large(number: impl std::fmt::Display) -> ObjectError {
    ObjectError::new(format!("the integer {number} is beyond 127 bits and a sign"))
}

fn in_variant(variant: Option<&'static str>, content: Object) -> Object {
    match variant {
        Some(variant) => Object::Dict(vec![(Object::from(variant), content)]),
        None => content,
    }
}

/// A list or tuple that is being made.
pub(super) struct Items {
    inner: ObjectSerializer,
    items: Vec<Object>,
    variant: Option<&'static str>,
}

impl Items {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        self.items.push(value.serialize(self.inner)?);
        Ok(())
    }
}

/// A dict that is being made.
pub(super) struct Entries {
    inner: ObjectSerializer,
    entries: Vec<(Object, Object)>,
    key: Option<Object>,
    variant: Option<&'static str>,
}

impl Entries {
    fn push<T: Serialize + ?Sized>(&mut self, key: Object, value: &T) -> Result<(), ObjectError> {
        self.entries.push((key, value.serialize(self.inner)?));
        Ok(())
    }
}

macro_rules! integers {
    ($($method:ident($type:ty)),+ $(,)?) => {
        $(fn $method(self, number: $type) -> Result<Object, ObjectError> {
            Ok(Object::from(number))
        })+
    };
}

impl Serializer for ObjectSerializer {
    type Ok = Object;
    type Error = ObjectError;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = Items;
    type SerializeTupleVariant = Items;
    type SerializeMap = Entries;
    type SerializeStruct = Entries;
    type SerializeStructVariant = Entries;

    integers! {
        serialize_bool(bool), serialize_i8(i8), serialize_i16(i16), serialize_i32(i32), serialize_i64(i64),
        serialize_i128(i128), serialize_u8(u8), serialize_u16(u16), serialize_u32(u32), serialize_u64(u64),
        serialize_f64(f64), serialize_str(&str),
    }

    fn serialize_u128(self, number: u128) -> Result<Object, ObjectError> {
        i128::try_from(number).map(Object::Int).map_err(|_| too_large(number))
    }
    fn serialize_f32(self, number: f32) -> Result<Object, ObjectError> {
        Ok(Object::Float(f64::from(number)))
    }
    fn serialize_char(self, c: char) -> Result<Object, ObjectError> {
        Ok(Object::Str(c.to_string()))
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<Object, ObjectError> {
        Ok(Object::Bytes(bytes.to_vec()))
    }
    fn serialize_none(self) -> Result<Object, ObjectError> {
        Ok(Object::None)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Object, ObjectError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Object, ObjectError> {
        Ok(if self.keeps_unit { Object::Tuple(Vec::new()) } else { Object::None })
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Object, ObjectError> {
        Ok(Object::None)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Object, ObjectError> {
        Ok(Object::from(variant))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<Object, ObjectError> {
        let inner = value.serialize(self)?;
        match Special::of_newtype(name) {
            Some(kind) => kind.restore(inner),
            None => Ok(inner),
        }
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Object, ObjectError> {
        Ok(in_variant(Some(variant), value.serialize(self.inner()?)?))
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Items, ObjectError> {
        // A hint only, and it may be wrong.
        self.items(None, len.unwrap_or(0).min(4096))
    }
    fn serialize_tuple(self, len: usize) -> Result<Items, ObjectError> {
        self.items(None, len)
    }
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Items, ObjectError> {
        self.items(None, len)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Items, ObjectError> {
        self.items(Some(variant), len)
    }
    fn serialize_map(self, len: Option<usize>) -> Result<Entries, ObjectError> {
        self.entries(None, len.unwrap_or(0).min(4096))
    }
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Entries, ObjectError> {
        self.entries(None, len)
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Entries, ObjectError> {
        self.entries(Some(variant), len)
    }
}

impl SerializeSeq for Items {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        self.push(value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(Object::List(self.items))
    }
}

impl SerializeTuple for Items {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        self.push(value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(Object::Tuple(self.items))
    }
}

impl SerializeTupleStruct for Items {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        self.push(value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(Object::Tuple(self.items))
    }
}

impl SerializeTupleVariant for Items {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        self.push(value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(in_variant(self.variant, Object::Tuple(self.items)))
    }
}

impl SerializeMap for Entries {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ObjectError> {
        self.key = Some(key.serialize(self.inner)?);
        Ok(())
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        let key = self
            .key
            .take()
            .ok_or_else(|| <ObjectError as ser::Error>::custom("a value came before its key"))?;
        self.push(key, value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(Object::Dict(self.entries))
    }
}

impl SerializeStruct for Entries {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ObjectError> {
        self.push(Object::from(name), value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(Object::Dict(self.entries))
    }
}

impl SerializeStructVariant for Entries {
    type Ok = Object;
    type Error = ObjectError;
    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ObjectError> {
        self.push(Object::from(name), value)
    }
    fn end(self) -> Result<Object, ObjectError> {
        Ok(in_variant(self.variant, Object::Dict(self.entries)))
    }
}
