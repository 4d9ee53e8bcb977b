//! `Value`: one value, with a type code that means nothing here.

use super::{Kind, Method, Now};
use crate::manager::operation::{Args, Outcome};
use crate::object::{Exception, Instance, Object};

pub(super) struct Value {
    typecode: Object,
    value: Object,
}

impl Value {
    fn get(&mut self, args: Args) -> Outcome {
        args.end()?;
        Ok(self.value.clone())
    }

    fn set(&mut self, mut args: Args) -> Outcome {
        let value = args.required("value")?;
        args.end()?;
        self.value = value;
        Ok(Object::None)
    }
}

impl Kind for Value {
    const METHODS: &'static [(&'static str, Method<Self>)] =
        &[("get", Now(Self::get)), ("set", Now(Self::set))];

    fn create(mut args: Args) -> Result<Self, Exception> {
        let typecode = args.required("typecode")?;
        let value = args.required("value")?;
        args.flag("lock", true);
        args.end()?;
        Ok(Self { typecode, value })
    }

    fn value(&self) -> Outcome {
        let text = |name: &str| Object::Str(name.to_owned());
        let state = vec![(text("_typecode"), self.typecode.clone()), (text("_value"), self.value.clone())];
        let class = "multiprocessing.managers.Value".to_owned();
        Ok(Instance { class, args: Vec::new(), state: Object::Dict(state) }.into())
    }

    fn repr(&self) -> String {
        format!("Value({}, {})", self.typecode, self.value)
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        visit(&self.value);
    }
}
