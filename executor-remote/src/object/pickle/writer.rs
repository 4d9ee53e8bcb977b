//! Writes the instructions of a pickle.

use super::globals::{self, Form};
use super::opcode::*;
use crate::object::{Exception, Instance, Object};

/// Appends a pickle to a vector.
pub(super) struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>) -> Self {
        out.extend([PROTO, 4]);
        Self { out }
    }

    pub(super) fn end(self) {
        self.out.push(STOP);
    }

    #[inline]
    pub(super) fn op(&mut self, opcode: u8) {
        self.out.push(opcode);
    }

    pub(super) fn bool(&mut self, it: bool) {
        self.op(if it { NEWTRUE } else { NEWFALSE });
    }

    #[inline]
    pub(super) fn int(&mut self, number: i64) {
        if let Ok(byte) = u8::try_from(number) {
            self.out.extend([BININT1, byte]);
        } else if let Ok(short) = u16::try_from(number) {
            let [low, high] = short.to_le_bytes();
            self.out.extend([BININT2, low, high]);
        } else if let Ok(number) = i32::try_from(number) {
            self.op(BININT);
            self.out.extend(number.to_le_bytes());
        } else {
            self.long(i128::from(number));
        }
    }

    pub(super) fn wide_int(&mut self, number: i128) {
        match i64::try_from(number) {
            Ok(number) => self.int(number),
            Err(_) => self.long(number),
        }
    }

    /// In as few bytes as hold the number and its sign.
    fn long(&mut self, number: i128) {
        let bits = 128 - if number < 0 { number.leading_ones() } else { number.leading_zeros() };
        let len = bits as usize / 8 + 1;
        self.out.extend([LONG1, len as u8]);
        self.out.extend(&number.to_le_bytes()[..len]);
    }

    pub(super) fn float(&mut self, number: f64) {
        self.op(BINFLOAT);
        self.out.extend(number.to_be_bytes());
    }

    #[inline]
    pub(super) fn str(&mut self, text: &str) {
        self.counted([SHORT_BINUNICODE, BINUNICODE, BINUNICODE8], text.as_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.counted([SHORT_BINBYTES, BINBYTES, BINBYTES8], bytes);
    }

    /// With the shortest form of the length that holds it, of 1, 4 or 8 bytes.
    #[inline]
    fn counted(&mut self, [short, medium, long]: [u8; 3], bytes: &[u8]) {
        if let Ok(len) = u8::try_from(bytes.len()) {
            self.out.extend([short, len]);
        } else if let Ok(len) = u32::try_from(bytes.len()) {
            self.op(medium);
            self.out.extend(len.to_le_bytes());
        } else {
            self.op(long);
            self.out.extend((bytes.len() as u64).to_le_bytes());
        }
        self.out.extend_from_slice(bytes);
    }

    /// What comes before the items of a tuple of so many.
    #[inline]
    pub(super) fn tuple_begin(&mut self, len: usize) {
        if len > 3 {
            self.op(MARK);
        }
    }

    /// What comes behind them.
    #[inline]
    pub(super) fn tuple_end(&mut self, len: usize) {
        self.op(match len {
            0 => EMPTY_TUPLE,
            1 => TUPLE1,
            2 => TUPLE2,
            3 => TUPLE3,
            _ => TUPLE,
        });
    }

    fn tuple(&mut self, items: &[Object]) {
        self.tuple_begin(items.len());
        items.iter().for_each(|item| self.object(item));
        self.tuple_end(items.len());
    }

    pub(super) fn global(&mut self, module: &str, name: &str) {
        self.str(module);
        self.str(name);
        self.op(STACK_GLOBAL);
    }

    /// Items of a container that is there, if there are any.
    fn items(&mut self, items: &[Object], add: u8) {
        if !items.is_empty() {
            self.op(MARK);
            items.iter().for_each(|item| self.object(item));
            self.op(add);
        }
    }

    pub(super) fn object(&mut self, object: &Object) {
        match object {
            Object::None => self.op(NONE),
            Object::Bool(it) => self.bool(*it),
            Object::Int(number) => self.wide_int(*number),
            Object::Float(number) => self.float(*number),
            Object::Str(text) => self.str(text),
            Object::Bytes(bytes) => self.bytes(bytes),
            Object::List(items) => {
                self.op(EMPTY_LIST);
                self.items(items, APPENDS);
            }
            Object::Tuple(items) => self.tuple(items),
            Object::Dict(items) => self.dict(items.iter().map(|(key, value)| (key, value))),
            Object::Set(items) => {
                self.op(EMPTY_SET);
                self.items(items, ADDITEMS);
            }
            Object::FrozenSet(items) => {
                self.op(MARK);
                items.iter().for_each(|item| self.object(item));
                self.op(FROZENSET);
            }
            // Its own instruction is of protocol 5.
            Object::ByteArray(bytes) => {
                self.global("builtins", "bytearray");
                self.bytes(bytes);
                self.op(TUPLE1);
                self.op(REDUCE);
            }
            Object::Complex(re, im) => {
                self.global("builtins", "complex");
                self.float(*re);
                self.float(*im);
                self.op(TUPLE2);
                self.op(REDUCE);
            }
            Object::Exception(it) => self.exception(it),
            Object::Instance(it) => self.instance(it),
        }
    }

    fn dict<'o>(&mut self, items: impl ExactSizeIterator<Item = (&'o Object, &'o Object)>) {
        self.op(EMPTY_DICT);
        if items.len() > 0 {
            self.op(MARK);
            for (key, value) in items {
                self.object(key);
                self.object(value);
            }
            self.op(SETITEMS);
        }
    }

    fn exception(&mut self, exception: &Exception) {
        match globals::writable_exception(exception) {
            Some((module, name)) => {
                self.global(module, name);
                self.tuple(&exception.args);
            }
            None => {
                self.global("builtins", "Exception");
                self.str(&exception.to_string());
                self.op(TUPLE1);
            }
        }
        self.op(REDUCE);
        self.exception_state(exception);
    }

    /// Every key of the dict becomes an attribute.
    fn exception_state(&mut self, exception: &Exception) {
        let attributes = exception.attributes.iter().filter(|(name, _)| globals::is_plain_attribute(name));
        if exception.notes.is_empty() && exception.cause.is_none() && attributes.clone().next().is_none() {
            return;
        }
        self.op(EMPTY_DICT);
        self.op(MARK);
        if !exception.notes.is_empty() {
            self.str("__notes__");
            self.op(EMPTY_LIST);
            self.op(MARK);
            exception.notes.iter().for_each(|note| self.str(note));
            self.op(APPENDS);
        }
        if let Some(text) = &exception.cause {
            self.str("__cause__");
            self.global("multiprocessing.pool", "RemoteTraceback");
            self.str(text);
            self.op(TUPLE1);
            self.op(REDUCE);
        }
        for (name, value) in attributes {
            self.str(name);
            self.object(value);
        }
        self.op(SETITEMS);
        self.op(BUILD);
    }

    /// Most as `copyreg.__newobj__` has them: made without `__init__`, then given their state.
    fn instance(&mut self, instance: &Instance) {
        let Some((module, name)) = globals::writable_instance(&instance.class) else {
            // Nothing else is ever read as an instance; somebody made this one by hand.
            return self.str(&format!("<{}>", instance.class));
        };
        self.global(module, name);
        let make = match globals::form(module, name) {
            Form::Name => return,
            Form::Call => REDUCE,
            Form::New => NEWOBJ,
        };
        self.tuple(&instance.args);
        self.op(make);
        if instance.state != Object::None {
            self.object(&instance.state);
            self.op(BUILD);
        }
    }
}
