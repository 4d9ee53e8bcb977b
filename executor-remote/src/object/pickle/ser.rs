//! Any serialisable value, straight to the instructions of a pickle.

use serde::ser::{
    Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::opcode::*;
use super::writer::Writer;
use crate::object::ser::{ObjectSerializer, Special, too_deep, too_large};
use crate::object::{MAX_DEPTH, ObjectError};

pub(super) struct PickleSerializer<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// How many levels may follow.
    levels: usize,
}

impl<'w, 'a> PickleSerializer<'w, 'a> {
    pub(super) fn new(writer: &'w mut Writer<'a>) -> Self {
        Self { writer, levels: MAX_DEPTH }
    }

    /// The begin of a dict of one item, whose value follows.
    fn variant(&mut self, name: &str) -> Result<(), ObjectError> {
        self.levels = self.levels.checked_sub(1).ok_or_else(too_deep)?;
        self.writer.op(EMPTY_DICT);
        self.writer.str(name);
        Ok(())
    }

    fn container(self, kind: Kind, in_variant: bool) -> Result<Container<'w, 'a>, ObjectError> {
        let levels = self.levels.checked_sub(1).ok_or_else(too_deep)?;
        match kind {
            Kind::List => self.writer.op(EMPTY_LIST),
            Kind::Tuple(len) => self.writer.tuple_begin(len),
            Kind::Dict => self.writer.op(EMPTY_DICT),
        }
        Ok(Container { writer: self.writer, levels, kind, items: 0, in_variant })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    List,
    /// Of so many.
    Tuple(usize),
    Dict,
}

/// A container whose items are being written.
pub(super) struct Container<'w, 'a> {
    writer: &'w mut Writer<'a>,
    /// How many levels may be inside.
    levels: usize,
    kind: Kind,
    items: usize,
    /// Whether it is the content of a variant.
    in_variant: bool,
}

impl Container<'_, '_> {
    /// One more item, or the key of one.
    #[inline]
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        if self.items == 0 && !matches!(self.kind, Kind::Tuple(_)) {
            self.writer.op(MARK);
        }
        self.items += 1;
        self.value(value)
    }

    #[inline]
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        value.serialize(PickleSerializer { writer: self.writer, levels: self.levels })
    }

    fn finish(self) -> Result<(), ObjectError> {
        match self.kind {
            Kind::Tuple(len) if self.items != len => {
                return Err(ObjectError::new(format!(
                    "Serialize announced a tuple of {len} items and gave {}",
                    self.items
                )));
            }
            Kind::Tuple(len) => self.writer.tuple_end(len),
            Kind::List | Kind::Dict if self.items == 0 => {}
            Kind::List => self.writer.op(APPENDS),
            Kind::Dict => self.writer.op(SETITEMS),
        }
        if self.in_variant {
            self.writer.op(SETITEM);
        }
        Ok(())
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty) => $write:ident($wide:ty)),+ $(,)?) => {
        $(#[inline]
        fn $method(self, number: $type) -> Result<(), ObjectError> {
            self.writer.$write(<$wide>::from(number));
            Ok(())
        })+
    };
}

impl<'w, 'a> Serializer for PickleSerializer<'w, 'a> {
    type Ok = ();
    type Error = ObjectError;
    type SerializeSeq = Container<'w, 'a>;
    type SerializeTuple = Container<'w, 'a>;
    type SerializeTupleStruct = Container<'w, 'a>;
    type SerializeTupleVariant = Container<'w, 'a>;
    type SerializeMap = Container<'w, 'a>;
    type SerializeStruct = Container<'w, 'a>;
    type SerializeStructVariant = Container<'w, 'a>;

    numbers! {
        serialize_bool(bool) => bool(bool), serialize_i8(i8) => int(i64), serialize_i16(i16) => int(i64),
        serialize_i32(i32) => int(i64), serialize_i64(i64) => int(i64), serialize_i128(i128) => wide_int(i128),
        serialize_u8(u8) => int(i64), serialize_u16(u16) => int(i64), serialize_u32(u32) => int(i64),
        serialize_u64(u64) => wide_int(i128), serialize_f32(f32) => float(f64), serialize_f64(f64) => float(f64),
    }

    fn serialize_u128(self, number: u128) -> Result<(), ObjectError> {
        self.writer.wide_int(i128::try_from(number).map_err(|_| too_large(number))?);
        Ok(())
    }
    fn serialize_char(self, c: char) -> Result<(), ObjectError> {
        self.writer.str(c.encode_utf8(&mut [0; 4]));
        Ok(())
    }
    fn serialize_str(self, text: &str) -> Result<(), ObjectError> {
        self.writer.str(text);
        Ok(())
    }
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), ObjectError> {
        self.writer.bytes(bytes);
        Ok(())
    }
    fn serialize_none(self) -> Result<(), ObjectError> {
        self.writer.op(NONE);
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ObjectError> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<(), ObjectError> {
        self.serialize_none()
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), ObjectError> {
        self.serialize_none()
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), ObjectError> {
        self.serialize_str(variant)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), ObjectError> {
        let Some(kind) = Special::of_newtype(name) else { return value.serialize(self) };
        let inner = value.serialize(ObjectSerializer::with_levels(self.levels))?;
        self.writer.object(&kind.restore(inner)?);
        Ok(())
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), ObjectError> {
        self.variant(variant)?;
        value.serialize(PickleSerializer { writer: self.writer, levels: self.levels })?;
        self.writer.op(SETITEM);
        Ok(())
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Container<'w, 'a>, ObjectError> {
        self.container(Kind::List, false)
    }
    fn serialize_tuple(self, len: usize) -> Result<Container<'w, 'a>, ObjectError> {
        self.container(Kind::Tuple(len), false)
    }
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Container<'w, 'a>, ObjectError> {
        self.container(Kind::Tuple(len), false)
    }
    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Container<'w, 'a>, ObjectError> {
        self.variant(variant)?;
        self.container(Kind::Tuple(len), true)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Container<'w, 'a>, ObjectError> {
        self.container(Kind::Dict, false)
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Container<'w, 'a>, ObjectError> {
        self.container(Kind::Dict, false)
    }
    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Container<'w, 'a>, ObjectError> {
        self.variant(variant)?;
        self.container(Kind::Dict, true)
    }
}

macro_rules! sequences {
    ($($trait:ident::$method:ident),+ $(,)?) => {
        $(impl $trait for Container<'_, '_> {
            type Ok = ();
            type Error = ObjectError;
            #[inline]
            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
                self.item(value)
            }
            fn end(self) -> Result<(), ObjectError> {
                self.finish()
            }
        })+
    };
}

sequences! {
    SerializeSeq::serialize_element, SerializeTuple::serialize_element, SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
}

impl SerializeMap for Container<'_, '_> {
    type Ok = ();
    type Error = ObjectError;
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ObjectError> {
        self.item(key)
    }
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ObjectError> {
        self.value(value)
    }
    fn end(self) -> Result<(), ObjectError> {
        self.finish()
    }
}

macro_rules! structs {
    ($($trait:ident),+) => {
        $(impl $trait for Container<'_, '_> {
            type Ok = ();
            type Error = ObjectError;
            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), ObjectError> {
                self.item(name)?;
                self.value(value)
            }
            fn end(self) -> Result<(), ObjectError> {
                self.finish()
            }
        })+
    };
}

structs! { SerializeStruct, SerializeStructVariant }
