//! `dict`.

use super::ordered_map::OrderedMap;
use super::{Kind, Method, Now, collect};
use crate::manager::operation::{Args, Outcome};
use crate::manager::raise;
use crate::object::{Exception, Key, Object};

#[derive(Default)]
pub(super) struct Dict {
    items: OrderedMap,
}

impl Dict {
    fn contains(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        args.end()?;
        Ok(self.items.get(&key).is_some().into())
    }

    fn get_item(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        args.end()?;
        self.items.get(&key).cloned().ok_or_else(|| raise::key_error(key.into_object()))
    }

    fn set_item(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        let value = args.required("value")?;
        args.end()?;
        self.items.insert(key, value);
        Ok(Object::None)
    }

    fn delete_item(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        args.end()?;
        self.items.remove(&key).map(|_| Object::None).ok_or_else(|| raise::key_error(key.into_object()))
    }

    fn get(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        let default = args.optional("default");
        args.end()?;
        Ok(self.items.get(&key).cloned().or(default).unwrap_or_default())
    }

    fn set_default(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        let default = args.optional("default").unwrap_or_default();
        args.end()?;
        if let Some(value) = self.items.get(&key) {
            return Ok(value.clone());
        }
        self.items.insert(key, default.clone());
        Ok(default)
    }

    fn pop(&mut self, mut args: Args) -> Outcome {
        let key = key(&mut args)?;
        let default = args.optional("default");
        args.end()?;
        self.items.remove(&key).or(default).ok_or_else(|| raise::key_error(key.into_object()))
    }

    fn pop_item(&mut self, args: Args) -> Outcome {
        args.end()?;
        let (key, value) =
            self.items.pop().ok_or_else(|| raise::key_error("popitem(): dictionary is empty".into()))?;
        Ok(Object::Tuple(vec![key, value]))
    }

    fn len(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.items.len().into())
    }

    fn clear(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.items.clear();
        Ok(Object::None)
    }

    fn keys(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(Object::List(self.items.keys().map(|key| key.as_object().clone()).collect()))
    }

    fn reversed(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(Object::List(self.items.keys().rev().map(|key| key.as_object().clone()).collect()))
    }

    fn values(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(Object::List(self.items.iter().map(|(_, value)| value.clone()).collect()))
    }

    fn items(&mut self, args: Args) -> Outcome {
        args.end()?;
        let pair = |(key, value)| Object::Tuple(vec![key, value]);
        Ok(Object::List(self.entries().into_iter().map(pair).collect()))
    }

    fn copy(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.value()
    }

    fn update(&mut self, mut args: Args) -> Outcome {
        let pairs = pairs(&mut args)?;
        args.end()?;
        pairs.into_iter().for_each(|(key, value)| self.items.insert(key, value));
        Ok(Object::None)
    }

    fn or(&mut self, args: Args) -> Outcome {
        let mut other = Self::default();
        self.items.iter().for_each(|(key, value)| other.items.insert(key.clone(), value.clone()));
        other.update(args)?;
        other.value()
    }

    fn reversed_or(&mut self, args: Args) -> Outcome {
        let mut other = Self::default();
        other.update(args)?;
        self.items.iter().for_each(|(key, value)| other.items.insert(key.clone(), value.clone()));
        other.value()
    }

    fn entries(&self) -> Vec<(Object, Object)> {
        self.items.iter().map(|(key, value)| (key.as_object().clone(), value.clone())).collect()
    }
}

fn key(args: &mut Args) -> Result<Key, Exception> {
    as_key(args.required("key")?)
}

fn as_key(object: Object) -> Result<Key, Exception> {
    Key::new(object).map_err(|object| raise::type_error(format!("unhashable type: '{}'", object.type_name())))
}

/// What `dict(...)` and `update(...)` take: a mapping or pairs, and keywords.
fn pairs(args: &mut Args) -> Result<Vec<(Key, Object)>, Exception> {
    let given = match args.positional() {
        None => Vec::new(),
        Some(Object::Dict(items)) => items,
        Some(other) => collect(other)?.into_iter().map(pair).collect::<Result<_, _>>()?,
    };
    let named = args.keywords().into_iter().map(|(name, value)| (Object::Str(name), value));
    given.into_iter().chain(named).map(|(key, value)| Ok((as_key(key)?, value))).collect()
}

fn pair(item: Object) -> Result<(Object, Object), Exception> {
    let mut items = collect(item)?.into_iter();
    match (items.next(), items.next(), items.next()) {
        (Some(key), Some(value), None) => Ok((key, value)),
        _ => Err(raise::value_error("dictionary update sequence elements must have length 2")),
    }
}

impl Kind for Dict {
    const METHODS: &'static [(&'static str, Method<Self>)] = &[
        ("__contains__", Now(Self::contains)),
        ("__delitem__", Now(Self::delete_item)),
        ("__getitem__", Now(Self::get_item)),
        ("__ior__", Now(Self::update)),
        ("__iter__", Now(Self::keys)),
        ("__len__", Now(Self::len)),
        ("__or__", Now(Self::or)),
        ("__reversed__", Now(Self::reversed)),
        ("__ror__", Now(Self::reversed_or)),
        ("__setitem__", Now(Self::set_item)),
        ("clear", Now(Self::clear)),
        ("copy", Now(Self::copy)),
        ("get", Now(Self::get)),
        ("items", Now(Self::items)),
        ("keys", Now(Self::keys)),
        ("pop", Now(Self::pop)),
        ("popitem", Now(Self::pop_item)),
        ("setdefault", Now(Self::set_default)),
        ("update", Now(Self::update)),
        ("values", Now(Self::values)),
    ];

    fn create(args: Args) -> Result<Self, Exception> {
        let mut dict = Self::default();
        dict.update(args)?;
        Ok(dict)
    }

    fn value(&self) -> Outcome {
        Ok(Object::Dict(self.entries()))
    }

    fn repr(&self) -> String {
        Object::Dict(self.entries()).to_string()
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        for (key, value) in self.items.iter() {
            visit(key.as_object());
            visit(value);
        }
    }
}
