//! `list`.

use super::slice::Slice;
use super::{Kind, Method, Now, collect, order};
use crate::manager::operation::{Args, Outcome, integer};
use crate::manager::raise;
use crate::object::{Exception, Object};

/// More items a multiplication does not make.
const MAX_PRODUCT: usize = 1 << 26;

#[derive(Default)]
pub(super) struct List {
    items: Vec<Object>,
}

impl List {
    /// Where an index points, which counts from the end if it is negative.
    fn position(&self, index: i128, message: &str) -> Result<usize, Exception> {
        let index = if index < 0 { index + self.items.len() as i128 } else { index };
        usize::try_from(index)
            .ok()
            .filter(|index| *index < self.items.len())
            .ok_or_else(|| raise::index_error(message))
    }

    fn get_item(&mut self, mut args: Args) -> Outcome {
        let index = Index::of(&args.required("index")?)?;
        args.end()?;
        match index {
            Index::One(index) => Ok(self.items[self.position(index, "list index out of range")?].clone()),
            Index::Slice(slice) => {
                let places = slice.places(self.items.len());
                Ok(Object::List(places.into_iter().map(|at| self.items[at].clone()).collect()))
            }
        }
    }

    fn set_item(&mut self, mut args: Args) -> Outcome {
        let index = Index::of(&args.required("index")?)?;
        let value = args.required("value")?;
        args.end()?;
        match index {
            Index::One(index) => {
                let at = self.position(index, "list assignment index out of range")?;
                self.items[at] = value;
            }
            Index::Slice(slice) => self.set_slice(&slice, collect(value)?)?,
        }
        Ok(Object::None)
    }

    fn set_slice(&mut self, slice: &Slice, values: Vec<Object>) -> Result<(), Exception> {
        if slice.is_contiguous() {
            self.items.splice(slice.range(self.items.len()), values);
            return Ok(());
        }
        let places = slice.places(self.items.len());
        if places.len() != values.len() {
            return Err(raise::value_error(format!(
                "attempt to assign sequence of size {} to extended slice of size {}",
                values.len(),
                places.len()
            )));
        }
        places.into_iter().zip(values).for_each(|(at, value)| self.items[at] = value);
        Ok(())
    }

    fn delete_item(&mut self, mut args: Args) -> Outcome {
        let index = Index::of(&args.required("index")?)?;
        args.end()?;
        match index {
            Index::One(index) => {
                let at = self.position(index, "list assignment index out of range")?;
                self.items.remove(at);
            }
            Index::Slice(slice) => {
                let mut is_gone = vec![false; self.items.len()];
                slice.places(self.items.len()).into_iter().for_each(|at| is_gone[at] = true);
                let mut gone = is_gone.into_iter();
                self.items.retain(|_| !gone.next().unwrap_or(false));
            }
        }
        Ok(Object::None)
    }

    fn contains(&mut self, mut args: Args) -> Outcome {
        let value = args.required("value")?;
        args.end()?;
        Ok(self.items.iter().any(|item| item.equals(&value)).into())
    }

    fn count(&mut self, mut args: Args) -> Outcome {
        let value = args.required("value")?;
        args.end()?;
        Ok(self.items.iter().filter(|item| item.equals(&value)).count().into())
    }

    fn index(&mut self, mut args: Args) -> Outcome {
        let value = args.required("value")?;
        let slice = Slice::between(args.optional("start"), args.optional("stop"))?;
        args.end()?;
        let range = slice.range(self.items.len());
        let start = range.start;
        let found = self.items[range].iter().position(|item| item.equals(&value));
        found
            .map(|at| (start + at).into())
            .ok_or_else(|| raise::value_error(format!("{value} is not in list")))
    }

    fn append(&mut self, mut args: Args) -> Outcome {
        let value = args.required("object")?;
        args.end()?;
        self.items.push(value);
        Ok(Object::None)
    }

    fn extend(&mut self, mut args: Args) -> Outcome {
        let values = collect(args.required("iterable")?)?;
        args.end()?;
        self.items.extend(values);
        Ok(Object::None)
    }

    fn insert(&mut self, mut args: Args) -> Outcome {
        let index = integer(&args.required("index")?)?;
        let value = args.required("object")?;
        args.end()?;
        let len = self.items.len() as i128;
        let index = if index < 0 { index.saturating_add(len) } else { index };
        self.items.insert(index.clamp(0, len) as usize, value);
        Ok(Object::None)
    }

    fn pop(&mut self, mut args: Args) -> Outcome {
        let index = args.integer("index", -1)?;
        args.end()?;
        if self.items.is_empty() {
            return Err(raise::index_error("pop from empty list"));
        }
        let at = self.position(index, "pop index out of range")?;
        Ok(self.items.remove(at))
    }

    fn remove(&mut self, mut args: Args) -> Outcome {
        let value = args.required("value")?;
        args.end()?;
        let at = self.items.iter().position(|item| item.equals(&value));
        self.items.remove(at.ok_or_else(|| raise::value_error("list.remove(x): x not in list"))?);
        Ok(Object::None)
    }

    fn reverse(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.items.reverse();
        Ok(Object::None)
    }

    fn sort(&mut self, mut args: Args) -> Outcome {
        // Both by name alone. A function cannot come here; Python's client has refused to pickle it.
        let keywords = args.keywords();
        args.end()?;
        let mut is_reversed = false;
        for (name, value) in keywords {
            match (name.as_str(), value) {
                ("reverse", value) => is_reversed = value.is_truthy(),
                ("key", Object::None) => {}
                _ => return Err(raise::type_error("sort() of a shared list takes no argument but reverse")),
            }
        }
        order::sort(&mut self.items, is_reversed)?;
        Ok(Object::None)
    }

    fn clear(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.items.clear();
        Ok(Object::None)
    }

    fn copy(&mut self, args: Args) -> Outcome {
        args.end()?;
        self.value()
    }

    fn len(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.items.len().into())
    }

    fn reversed(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(Object::List(self.items.iter().rev().cloned().collect()))
    }

    fn add(&mut self, mut args: Args) -> Outcome {
        let other = args.required("value")?;
        args.end()?;
        let Object::List(other) = other else {
            return Err(raise::type_error(format!(
                "can only concatenate list (not \"{}\") to list",
                other.type_name()
            )));
        };
        Ok(Object::List(self.items.iter().cloned().chain(other).collect()))
    }

    fn multiply(&mut self, args: Args) -> Outcome {
        self.product(args).map(Object::List)
    }

    fn multiply_in_place(&mut self, args: Args) -> Outcome {
        self.items = self.product(args)?;
        Ok(Object::None)
    }

    fn product(&self, mut args: Args) -> Result<Vec<Object>, Exception> {
        let times = integer(&args.required("value")?)?.max(0);
        args.end()?;
        let len = usize::try_from(times).ok().and_then(|times| self.items.len().checked_mul(times));
        let len = len.filter(|len| *len <= MAX_PRODUCT);
        let len = len.ok_or_else(|| {
            raise::exception(
                "MemoryError",
                format!("a product has at most {MAX_PRODUCT} items in a shared list"),
            )
        })?;
        Ok(self.items.iter().cycle().take(len).cloned().collect())
    }
}

/// What is between the brackets of `list[...]`.
enum Index {
    One(i128),
    Slice(Slice),
}

impl Index {
    fn of(object: &Object) -> Result<Self, Exception> {
        match Slice::of(object) {
            Some(slice) => Ok(Self::Slice(slice?)),
            None => integer(object).map(Self::One).map_err(|_| {
                raise::type_error(format!(
                    "list indices must be integers or slices, not {}",
                    object.type_name()
                ))
            }),
        }
    }
}

impl Kind for List {
    const METHODS: &'static [(&'static str, Method<Self>)] = &[
        ("__add__", Now(Self::add)),
        ("__contains__", Now(Self::contains)),
        ("__delitem__", Now(Self::delete_item)),
        ("__getitem__", Now(Self::get_item)),
        ("__iadd__", Now(Self::extend)),
        ("__imul__", Now(Self::multiply_in_place)),
        ("__iter__", Now(Self::copy)),
        ("__len__", Now(Self::len)),
        ("__mul__", Now(Self::multiply)),
        ("__reversed__", Now(Self::reversed)),
        ("__rmul__", Now(Self::multiply)),
        ("__setitem__", Now(Self::set_item)),
        ("append", Now(Self::append)),
        ("clear", Now(Self::clear)),
        ("copy", Now(Self::copy)),
        ("count", Now(Self::count)),
        ("extend", Now(Self::extend)),
        ("index", Now(Self::index)),
        ("insert", Now(Self::insert)),
        ("pop", Now(Self::pop)),
        ("remove", Now(Self::remove)),
        ("reverse", Now(Self::reverse)),
        ("sort", Now(Self::sort)),
    ];

    fn create(mut args: Args) -> Result<Self, Exception> {
        let items = args.positional().map_or(Ok(Vec::new()), collect)?;
        args.end()?;
        Ok(Self { items })
    }

    fn value(&self) -> Outcome {
        Ok(Object::List(self.items.clone()))
    }

    fn repr(&self) -> String {
        Object::List(self.items.clone()).to_string()
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        self.items.iter().for_each(visit);
    }
}
