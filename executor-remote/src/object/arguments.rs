//! [`Arguments`].

use serde::Serialize;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error, IntoDeserializer, Visitor};

use super::de::ObjectDeserializer;
use super::ser::ObjectSerializer;
use super::{Object, ObjectError};

/// What a function is called with, as Python has it: positional and named arguments.
///
/// It is a serde deserializer of the one argument that a function here takes:
///
/// * a tuple (or array, or tuple struct) takes the positional arguments, as many as it has fields;
/// * `()` takes none;
/// * a struct takes the named ones by the names of its fields; or positional ones in the order of its fields, and named ones for
///   the rest; or a single positional `dict`;
/// * a map takes the named ones, if there are no others;
/// * a sequence (`Vec`) takes the one positional argument, or all if there are more;
/// * any other type takes the one positional argument.
///
/// Named arguments that fit nothing are an error.
///
/// # Examples
///
/// ```
/// use executor_remote::object::{Arguments, Object};
///
/// // add(2, 3)
/// let arguments = Arguments::positional(vec![Object::from(2), Object::from(3)]);
/// assert_eq!(arguments.deserialize::<(i64, i64)>()?, (2, 3));
///
/// // area(width=2, height=3)
/// #[derive(serde::Deserialize)]
/// struct Area {
///     width: u32,
///     height: u32,
/// }
/// let named = vec![("width".to_owned(), Object::from(2)), ("height".to_owned(), Object::from(3))];
/// let area: Area = Arguments { positional: vec![], named }.deserialize()?;
/// assert_eq!(area.width * area.height, 6);
/// # Ok::<(), executor_remote::object::ObjectError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arguments {
    /// Those without a name, in their order.
    pub positional: Vec<Object>,
    /// Those with a name.
    pub named: Vec<(String, Object)>,
}

impl Arguments {
    /// These, and none with a name.
    pub fn positional(positional: Vec<Object>) -> Self {
        Self { positional, named: Vec::new() }
    }

    /// What a caller has passed: a tuple is the positional arguments, `()` is none, and any other value is the only one.
    ///
    /// # Errors
    ///
    /// As [`Object::from_serialize`].
    pub fn from_serialize<T: Serialize + ?Sized>(arguments: &T) -> Result<Self, ObjectError> {
        Ok(Self::positional(match arguments.serialize(ObjectSerializer::of_arguments())? {
            Object::Tuple(fields) => fields,
            only => vec![only],
        }))
    }

    /// What a Python program has passed: the positional ones as a tuple or list, the named ones as a dict.
    ///
    /// # Errors
    ///
    /// If they are not that.
    pub fn from_objects(positional: Object, named: Object) -> Result<Self, ObjectError> {
        let (Object::Tuple(positional) | Object::List(positional)) = positional else {
            return Err(ObjectError::new(format!(
                "the positional arguments are not a tuple but a {}",
                positional.type_name()
            )));
        };
        let Object::Dict(entries) = named else {
            return Err(ObjectError::new(format!(
                "the named arguments are not a dict but a {}",
                named.type_name()
            )));
        };
        let named = entries.into_iter().map(|(name, value)| match name {
            Object::Str(name) => Ok((name, value)),
            name => Err(ObjectError::new(format!("the name of an argument is not a str but {name}"))),
        });
        Ok(Self { positional, named: named.collect::<Result<_, _>>()? })
    }

    /// The argument of a function that takes a `T`.
    ///
    /// # Errors
    ///
    /// If they do not fit.
    pub fn deserialize<'de, T: serde::Deserialize<'de>>(self) -> Result<T, ObjectError> {
        T::deserialize(self)
    }

    fn no_names(&self) -> Result<(), ObjectError> {
        match self.named.as_slice() {
            [] => Ok(()),
            named => {
                let names: Vec<_> = named.iter().map(|(name, _)| format!("`{name}`")).collect();
                Err(ObjectError::new(format!(
                    "no keyword arguments are known, and {} came",
                    names.join(", ")
                )))
            }
        }
    }

    /// The only positional argument.
    fn single(mut self) -> Result<ObjectDeserializer, ObjectError> {
        self.no_names()?;
        match (self.positional.len(), self.positional.pop()) {
            (1, Some(only)) => Ok(ObjectDeserializer::new(only)),
            (count, _) => Err(wrong_count(1, count)),
        }
    }

    /// As many as a tuple has fields.
    fn visit_tuple<'de, V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ObjectError> {
        self.no_names()?;
        match self.positional.len() {
            count if count == len => visitor.visit_seq(self.into_seq()),
            count => Err(wrong_count(len, count)),
        }
    }

    fn into_seq(self) -> SeqDeserializer<impl Iterator<Item = ObjectDeserializer>, ObjectError> {
        SeqDeserializer::new(self.positional.into_iter().map(ObjectDeserializer::new))
    }

    fn visit_named<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        let entries = self.named.into_iter().map(|(name, value)| (name, ObjectDeserializer::new(value)));
        visitor.visit_map(MapDeserializer::new(entries))
    }
}

fn wrong_count(wanted: usize, came: usize) -> ObjectError {
    let noun = if wanted == 1 { "argument" } else { "arguments" };
    let verb = if came == 1 { "was" } else { "were" };
    ObjectError::new(format!("{wanted} positional {noun} are taken, and {came} {verb} given"))
}

macro_rules! single {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
            self.single()?.$method(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Arguments {
    type Error = ObjectError;

    single! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    /// For an [`Object`]: the only one, or a tuple of them.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        match self.positional.len() {
            1 => self.single()?.deserialize_any(visitor),
            _ => {
                self.no_names()?;
                ObjectDeserializer::new(Object::Tuple(self.positional)).deserialize_any(visitor)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        match self.positional.len() {
            0 if self.named.is_empty() => visitor.visit_none(),
            _ => self.single()?.deserialize_option(visitor),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        self.no_names()?;
        match self.positional.as_slice() {
            [] | [Object::None] => visitor.visit_unit(),
            some => Err(wrong_count(0, some.len())),
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
        if !super::de::asks_for_object(name) {
            return visitor.visit_newtype_struct(self);
        }
        match self.positional.len() {
            1 => self.single()?.deserialize_newtype_struct(name, visitor),
            _ => {
                self.no_names()?;
                ObjectDeserializer::new(Object::Tuple(self.positional))
                    .deserialize_newtype_struct(name, visitor)
            }
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        match self.positional.len() {
            1 => self.single()?.deserialize_seq(visitor),
            _ => {
                self.no_names()?;
                visitor.visit_seq(self.into_seq())
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ObjectError> {
        self.visit_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        self.visit_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        match self.positional.is_empty() {
            true => self.visit_named(visitor),
            false => self.single()?.deserialize_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        if self.named.is_empty() && matches!(self.positional[..], [Object::Dict(_)]) {
            return self.single()?.deserialize_struct(name, fields, visitor);
        }
        if self.positional.len() > fields.len() {
            return Err(wrong_count(fields.len(), self.positional.len()));
        }
        for (field, value) in fields.iter().zip(std::mem::take(&mut self.positional)) {
            if self.named.iter().any(|(name, _)| name == field) {
                return Err(ObjectError::new(format!("the argument `{field}` was given twice")));
            }
            self.named.push(((*field).to_owned(), value));
        }
        if let Some((name, _)) = self.named.iter().find(|(name, _)| !fields.contains(&name.as_str())) {
            return Err(ObjectError::unknown_field(name, fields));
        }
        self.visit_named(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ObjectError> {
        self.single()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ObjectError> {
        visitor.visit_unit()
    }
}

impl IntoDeserializer<'_, ObjectError> for Object {
    type Deserializer = ObjectDeserializer;

    /// A deserializer of the object, for where one is wanted in place of a value.
    fn into_deserializer(self) -> ObjectDeserializer {
        ObjectDeserializer::new(self)
    }
}
