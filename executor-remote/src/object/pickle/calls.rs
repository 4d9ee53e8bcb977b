//! What names, calls and states of a pickle are as data. Nothing is called.

use std::borrow::Cow;

use super::PickleError;
use super::globals::{self, Known};
use super::machine::Machine;
use super::node::{Children, ExceptionNode, Global, Id, InstanceNode, NOTHING, Node};

impl<'a> Machine<'a, '_> {
    pub(super) fn global(&mut self, module: Cow<'a, str>, name: Cow<'a, str>) -> Result<(), PickleError> {
        let Some(known) = globals::known(&module, &name) else {
            return Err(forbidden(&format!("{module}.{name}")));
        };
        if known == Known::Class {
            let class = globals::full_name(&module, &name);
            self.leaf(Node::Instance(Box::new(InstanceNode { class, parts: [NOTHING, NOTHING] })));
            return Ok(());
        }
        let id = self.nodes.add_global(Global { module, name, known });
        self.stack.push(id);
        Ok(())
    }

    /// The data that a call stands for.
    pub(super) fn call(&mut self, callable: Id, args: Id) -> Result<(), PickleError> {
        let Node::Global(global) = self.nodes.get(callable) else {
            return Err(self.bad("what is called is neither a class nor a function"));
        };
        let Node::Tuple(children) = self.nodes.get(args) else {
            return Err(self.bad("the arguments are not a tuple"));
        };
        let known = global.known;
        let values: Vec<Id> = match known {
            // They have few; those of exceptions stay where they are.
            Known::Exception | Known::Instance => Vec::new(),
            _ => self.nodes.list(children).to_vec(),
        };
        let node = match known {
            Known::Exception => {
                let type_name = globals::full_name(&global.module, &global.name);
                Node::Exception(Box::new(ExceptionNode { type_name, parts: [args, NOTHING, NOTHING] }))
            }
            Known::Instance => {
                let class = globals::full_name(&global.module, &global.name);
                Node::Instance(Box::new(InstanceNode { class, parts: [args, NOTHING] }))
            }
            Known::RebuildException => self.rebuilt(&values)?,
            Known::List => Node::List(self.items_of(&values)?),
            Known::Set => Node::Set(self.items_of(&values)?),
            Known::FrozenSet => Node::FrozenSet(self.items_of(&values)?),
            Known::Bytes => Node::Bytes(self.bytes_of(&values)?),
            Known::ByteArray => Node::ByteArray(self.bytes_of(&values)?),
            Known::Encode => Node::Bytes(self.encoded(&values)?),
            Known::Complex => match values.iter().map(|id| self.nodes.get(*id)).collect::<Vec<_>>()[..] {
                [Node::Float(re), Node::Float(im)] => Node::Complex(*re, *im),
                _ => return Err(self.bad("a complex number has two parts")),
            },
            Known::OrderedDict => Node::Dict(self.pairs_of(&values)?),
            Known::Class => return Err(self.bad("the class is not called")),
        };
        let parts: &[Id] = match &node {
            Node::Exception(it) => &it.parts,
            Node::Instance(it) => &it.parts,
            Node::List(it) | Node::Set(it) | Node::FrozenSet(it) | Node::Dict(it) => self.nodes.list(it),
            _ => {
                self.leaf(node);
                return Ok(());
            }
        };
        let level = self.within_depth(self.nodes.level_above(parts)?)?;
        let id = self.nodes.add(node, level);
        self.stack.push(id);
        Ok(())
    }

    /// The items of the only argument.
    fn items_of(&mut self, args: &[Id]) -> Result<Children, PickleError> {
        let [arg] = args else {
            return match args {
                [] => Ok(Children::EMPTY),
                _ => Err(self.bad("a list or set is made of one list")),
            };
        };
        let (Node::List(it) | Node::Tuple(it) | Node::Set(it) | Node::FrozenSet(it)) = self.nodes.get(*arg)
        else {
            return Err(self.bad("a list or set is made of a list"));
        };
        let items = self.nodes.list(it).to_vec();
        self.repeat_items(items.len())?;
        Ok(self.nodes.piece(&items))
    }

    /// The items of a list of pairs.
    fn pairs_of(&mut self, args: &[Id]) -> Result<Children, PickleError> {
        let [arg] = args else {
            return match args {
                [] => Ok(Children::EMPTY),
                _ => Err(self.bad("a dict is made of one list")),
            };
        };
        let Node::List(it) = self.nodes.get(*arg) else {
            return Err(self.bad("a dict is made of a list of pairs"));
        };
        let mut items = Vec::new();
        for pair in self.nodes.list(it) {
            match self.nodes.get(*pair) {
                Node::List(it) | Node::Tuple(it) if self.nodes.list(it).len() == 2 => {
                    items.extend_from_slice(self.nodes.list(it));
                }
                _ => return Err(self.bad("a dict is made of pairs")),
            }
        }
        self.repeat_items(items.len())?;
        Ok(self.nodes.piece(&items))
    }

    fn bytes_of(&mut self, args: &[Id]) -> Result<Cow<'a, [u8]>, PickleError> {
        match args {
            [] => Ok(Cow::Borrowed(&[])),
            [arg] => match self.nodes.get(*arg) {
                Node::Bytes(Cow::Borrowed(bytes)) => {
                    let bytes = *bytes;
                    self.again(*arg)?;
                    Ok(Cow::Borrowed(bytes))
                }
                Node::Bytes(Cow::Owned(bytes)) => {
                    let bytes = bytes.clone();
                    self.again(*arg)?;
                    Ok(Cow::Owned(bytes))
                }
                _ => Err(self.bad("a bytearray is made of bytes")),
            },
            _ => Err(self.bad("a bytearray is made of bytes")),
        }
    }

    /// Text in which each character stands for the byte of its number.
    fn encoded(&mut self, args: &[Id]) -> Result<Cow<'a, [u8]>, PickleError> {
        let nodes: Vec<_> = args.iter().map(|id| self.nodes.get(*id)).collect();
        let [Node::Str(text), Node::Str(encoding)] = nodes[..] else {
            return Err(self.bad("bytes are encoded from a text"));
        };
        if !matches!(&**encoding, "latin1" | "latin-1" | "iso-8859-1") {
            return Err(self.bad("bytes are encoded as latin1"));
        }
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        let bytes = bytes.ok_or_else(|| self.bad("the text of bytes has characters that are none"))?;
        self.again(args[0])?;
        Ok(Cow::Owned(bytes))
    }

    /// An exception that gets a cause.
    fn rebuilt(&mut self, args: &[Id]) -> Result<Node<'a>, PickleError> {
        if let [exception, text] = args
            && let (Node::Exception(it), Node::Str(_)) = (self.nodes.get(*exception), self.nodes.get(*text))
        {
            let (type_name, [args, state, _]) = (it.type_name.clone(), it.parts);
            self.repeat_bytes(type_name.len())?;
            return Ok(Node::Exception(Box::new(ExceptionNode { type_name, parts: [args, state, *text] })));
        }
        Err(self.bad("an exception is rebuilt from itself and a text"))
    }

    /// Gives what is on top of the stack its state.
    pub(super) fn build(&mut self, state: Id) -> Result<(), PickleError> {
        let id = self.pop()?;
        self.stack.push(id);
        if id == state {
            return Err(PickleError::Recursive);
        }
        let is_dict = matches!(self.nodes.get(state), Node::Dict(_));
        let level = self.within_depth(self.nodes.level_above(&[state])?)?;
        match self.nodes.get_mut(id) {
            Node::Exception(it) if is_dict => it.parts[1] = state,
            Node::Instance(it) => it.parts[1] = state,
            Node::Exception(_) => return Err(self.bad("the state of an exception is not a dict")),
            _ => return Err(self.bad("a plain value has no state")),
        }
        self.nodes.raise(id, level);
        Ok(())
    }
}

pub(super) fn forbidden(name: &str) -> PickleError {
    // It is the peer's, who may have made it as long as the message.
    PickleError::Forbidden { name: name.chars().take(200).collect() }
}
