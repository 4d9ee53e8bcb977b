//! `Namespace`: values by name.

use super::{Kind, Method, Now};
use crate::manager::operation::{Args, Outcome};
use crate::manager::raise;
use crate::object::{Exception, Instance, Object};

/// In the order in which they were set. There are few.
pub(super) struct Namespace {
    attributes: Vec<(String, Object)>,
}

impl Namespace {
    fn position(&self, name: &str) -> Option<usize> {
        self.attributes.iter().position(|(other, _)| other == name)
    }

    fn get(&mut self, mut args: Args) -> Outcome {
        let name = name(&mut args)?;
        args.end()?;
        match self.position(&name) {
            Some(at) => Ok(self.attributes[at].1.clone()),
            None => Err(missing(&name)),
        }
    }

    fn set(&mut self, mut args: Args) -> Outcome {
        let name = name(&mut args)?;
        let value = args.required("value")?;
        args.end()?;
        match self.position(&name) {
            Some(at) => self.attributes[at].1 = value,
            None => self.attributes.push((name, value)),
        }
        Ok(Object::None)
    }

    fn delete(&mut self, mut args: Args) -> Outcome {
        let name = name(&mut args)?;
        args.end()?;
        match self.position(&name) {
            Some(at) => {
                self.attributes.remove(at);
                Ok(Object::None)
            }
            None => Err(missing(&name)),
        }
    }
}

fn name(args: &mut Args) -> Result<String, Exception> {
    match args.required("name")? {
        Object::Str(name) => Ok(name),
        other => {
            Err(raise::type_error(format!("attribute name must be string, not '{}'", other.type_name())))
        }
    }
}

fn missing(name: &str) -> Exception {
    raise::attribute_error(format!("'Namespace' object has no attribute '{name}'"))
}

impl Kind for Namespace {
    const METHODS: &'static [(&'static str, Method<Self>)] = &[
        ("__delattr__", Now(Self::delete)),
        ("__getattribute__", Now(Self::get)),
        ("__setattr__", Now(Self::set)),
    ];

    fn create(mut args: Args) -> Result<Self, Exception> {
        let attributes = args.keywords();
        args.end()?;
        Ok(Self { attributes })
    }

    fn value(&self) -> Outcome {
        let state =
            self.attributes.iter().map(|(name, value)| (Object::Str(name.clone()), value.clone())).collect();
        let class = "multiprocessing.managers.Namespace".to_owned();
        Ok(Instance { class, args: Vec::new(), state: Object::Dict(state) }.into())
    }

    fn repr(&self) -> String {
        let mut items: Vec<String> = self
            .attributes
            .iter()
            .filter(|(name, _)| !name.starts_with('_'))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        items.sort();
        format!("Namespace({})", items.join(", "))
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        self.attributes.iter().for_each(|(_, value)| visit(value));
    }
}
