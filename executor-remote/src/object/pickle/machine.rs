//! The stack machine that reads a pickle.
//!
//! Every instruction takes at least one byte and makes at most one node, so that the nodes are proportional to the pickle.
//! What an instruction takes from the stack must lie above the last mark.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashMap;

use super::calls::forbidden;
use super::node::{Children, Id, NOTHING, Node, Nodes};
use super::opcode::*;
use super::text;
use super::{Limits, PickleError};

/// The nodes of a pickle, within the limits.
pub(super) fn read<'a>(pickle: &'a [u8], limits: &Limits) -> Result<Nodes<'a>, PickleError> {
    if pickle.len() >= u32::MAX as usize {
        return Err(PickleError::TooLarge { limit: u32::MAX as usize, unit: "bytes" });
    }
    let mut machine = Machine {
        pickle,
        at: 0,
        begin: 0,
        limits,
        nodes: Nodes::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: Vec::new(),
        sparse: HashMap::new(),
        is_shared: false,
        repeated_bytes: 0,
        repeated_items: 0,
    };
    machine.run()?;
    let Machine { nodes, is_shared, .. } = machine;
    if is_shared {
        nodes.check(limits, pickle.len())?;
    }
    Ok(nodes)
}

pub(super) struct Machine<'a, 'l> {
    pickle: &'a [u8],
    /// The next byte.
    at: usize,
    /// Where the instruction begins.
    begin: usize,
    limits: &'l Limits,
    pub(super) nodes: Nodes<'a>,
    pub(super) stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    /// What was stored under the numbers from 0 on.
    memo: Vec<Id>,
    /// What was stored under numbers that do not follow on these.
    sparse: HashMap<u32, Id>,
    /// Whether a node that refers to others may be referred to twice, so that it may contain itself.
    is_shared: bool,
    /// Bytes of text that are there because of repetition, apart from those of shared nodes.
    repeated_bytes: usize,
    /// References that were copied.
    repeated_items: usize,
}

impl<'a> Machine<'a, '_> {
    fn run(&mut self) -> Result<(), PickleError> {
        loop {
            self.begin = self.at;
            let opcode = self.byte()?;
            if opcode == STOP {
                break;
            }
            self.step(opcode)?;
        }
        let root = self.pop()?;
        if self.at < self.pickle.len() {
            return Err(PickleError::TrailingBytes { left: self.pickle.len() - self.at });
        }
        self.nodes.set_root(root)
    }

    fn step(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            // Text, and what is with it.
            SHORT_BINUNICODE => self.counted_text::<1>()?,
            MEMOIZE => self.put((self.memo.len() + self.sparse.len()) as u32)?,
            BINGET => {
                let key = self.byte()?;
                self.fetch(u32::from(key))?;
            }
            BINPUT => {
                let key = self.byte()?;
                self.put(u32::from(key))?;
            }
            LONG_BINGET => {
                let key = u32::from_le_bytes(self.array()?);
                self.fetch(key)?;
            }
            LONG_BINPUT => {
                let key = u32::from_le_bytes(self.array()?);
                self.put(key)?;
            }
            BINUNICODE => self.counted_text::<4>()?,
            BINUNICODE8 => self.counted_text::<8>()?,
            SHORT_BINBYTES => self.counted_bytes::<1>(Node::Bytes)?,
            BINBYTES => self.counted_bytes::<4>(Node::Bytes)?,
            BINBYTES8 => self.counted_bytes::<8>(Node::Bytes)?,
            BYTEARRAY8 => self.counted_bytes::<8>(Node::ByteArray)?,

            // Numbers and constants.
            NONE => self.stack.push(NOTHING),
            NEWTRUE => self.leaf(Node::Bool(true)),
            NEWFALSE => self.leaf(Node::Bool(false)),
            BININT1 => {
                let number = self.byte()?;
                self.leaf(Node::Int(i64::from(number)));
            }
            BININT2 => {
                let number = u16::from_le_bytes(self.array()?);
                self.leaf(Node::Int(i64::from(number)));
            }
            BININT => {
                let number = i32::from_le_bytes(self.array()?);
                self.leaf(Node::Int(i64::from(number)));
            }
            LONG1 => {
                let len = self.byte()?;
                self.long(usize::from(len))?;
            }
            LONG4 => {
                let len = self.length::<4>()?;
                self.long(len)?;
            }
            BINFLOAT => {
                let number = f64::from_be_bytes(self.array()?);
                self.leaf(Node::Float(number));
            }

            // Containers.
            MARK => self.marks.push(self.stack.len()),
            EMPTY_LIST => self.container(Node::List(Children::EMPTY)),
            EMPTY_DICT => self.container(Node::Dict(Children::EMPTY)),
            EMPTY_SET => self.container(Node::Set(Children::EMPTY)),
            EMPTY_TUPLE => self.container(Node::Tuple(Children::EMPTY)),
            TUPLE1 => self.collect(self.below(1)?, Node::Tuple)?,
            TUPLE2 => self.collect(self.below(2)?, Node::Tuple)?,
            TUPLE3 => self.collect(self.below(3)?, Node::Tuple)?,
            TUPLE => self.collect_marked(Node::Tuple)?,
            LIST => self.collect_marked(Node::List)?,
            FROZENSET => self.collect_marked(Node::FrozenSet)?,
            DICT => {
                let start = self.pop_mark()?;
                self.pairs_since(start)?;
                self.collect(start, Node::Dict)?;
            }
            APPEND => {
                let start = self.below(1)?;
                self.append(start, |node| matches!(node, Node::List(_)))?;
            }
            APPENDS => {
                let start = self.pop_mark()?;
                self.append(start, |node| matches!(node, Node::List(_)))?;
            }
            ADDITEMS => {
                let start = self.pop_mark()?;
                self.append(start, |node| matches!(node, Node::Set(_)))?;
            }
            SETITEM => {
                let start = self.below(2)?;
                self.append(start, |node| matches!(node, Node::Dict(_)))?;
            }
            SETITEMS => {
                let start = self.pop_mark()?;
                self.pairs_since(start)?;
                self.append(start, |node| matches!(node, Node::Dict(_)))?;
            }
            _ => return self.rare(opcode),
        }
        Ok(())
    }

    /// What is not in most pickles of plain data, or only in those of protocols 0 and 1.
    fn rare(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            PROTO => {
                let protocol = self.byte()?;
                if protocol > 5 {
                    return Err(PickleError::Protocol(protocol));
                }
            }
            FRAME => {
                let len = self.length::<8>()?;
                if len > self.pickle.len() - self.at {
                    return Err(self.truncated());
                }
            }
            POP => {
                // Python lets a POP take a mark away.
                match self.marks.last() {
                    Some(mark) if *mark == self.stack.len() => drop(self.marks.pop()),
                    _ => drop(self.pop()?),
                }
            }
            POP_MARK => {
                let start = self.pop_mark()?;
                self.stack.truncate(start);
            }
            DUP => {
                let top = self.pop()?;
                self.stack.push(top);
                self.again(top)?;
            }

            GLOBAL => {
                let (module, name) = (self.name_line()?, self.name_line()?);
                self.global(module.into(), name.into())?;
            }
            STACK_GLOBAL => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.global(module, name)?;
            }
            REDUCE | NEWOBJ => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.call(callable, args)?;
            }
            NEWOBJ_EX => {
                let (named, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                if !matches!(self.nodes.get(named), Node::Dict(it) if self.nodes.list(it).is_empty()) {
                    return Err(self.bad("keyword arguments for a class are not data"));
                }
                self.call(callable, args)?;
            }
            OBJ => {
                let start = self.pop_mark()?;
                if start == self.stack.len() {
                    return Err(self.bad("there is no class"));
                }
                let callable = self.stack[start];
                self.collect(start + 1, Node::Tuple)?;
                let args = self.pop()?;
                self.stack.truncate(start);
                self.call(callable, args)?;
            }
            INST => {
                let (module, name) = (self.name_line()?, self.name_line()?);
                self.collect_marked(Node::Tuple)?;
                let args = self.pop()?;
                self.global(module.into(), name.into())?;
                let callable = self.pop()?;
                self.call(callable, args)?;
            }
            BUILD => {
                let state = self.pop()?;
                self.build(state)?;
            }

            INT => {
                let node = match self.line()? {
                    b"00" => Node::Bool(false),
                    b"01" => Node::Bool(true),
                    digits => self.decimal(digits)?,
                };
                self.leaf(node);
            }
            LONG => {
                let line = self.line()?;
                let node = self.decimal(line.strip_suffix(b"L").unwrap_or(line))?;
                self.leaf(node);
            }
            FLOAT => {
                let number = str::from_utf8(self.line()?).ok().and_then(|it| it.trim().parse().ok());
                self.leaf(Node::Float(number.ok_or_else(|| self.bad("this is no number"))?));
            }
            STRING => {
                let text =
                    text::unquote(self.line()?).ok_or_else(|| self.bad("the text is not quoted ASCII"))?;
                self.leaf(Node::Str(Cow::Owned(text)));
            }
            BINSTRING => self.ascii::<4>()?,
            SHORT_BINSTRING => self.ascii::<1>()?,
            UNICODE => {
                let text = text::unescape(self.line()?).ok_or_else(|| self.bad(NOT_UNICODE))?;
                self.leaf(Node::Str(Cow::Owned(text)));
            }
            PUT => {
                let key = self.memo_key()?;
                self.put(key)?;
            }
            GET => {
                let key = self.memo_key()?;
                self.fetch(key)?;
            }

            PERSID | BINPERSID => return Err(forbidden("a persistent id")),
            EXT1 | EXT2 | EXT4 => return Err(forbidden("the extension registry of copyreg")),
            NEXT_BUFFER | READONLY_BUFFER => return Err(self.bad("the buffer is not in the pickle")),
            _ => return Err(self.bad("no protocol has it")),
        }
        Ok(())
    }

    // ---- bytes ---------------------------------------------------------------------------------------------------

    fn truncated(&self) -> PickleError {
        PickleError::Truncated { len: self.pickle.len() }
    }

    #[cold]
    pub(super) fn bad(&self, reason: &'static str) -> PickleError {
        PickleError::BadInstruction { opcode: self.pickle[self.begin], at: self.begin, reason }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, PickleError> {
        let byte = *self.pickle.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], PickleError> {
        let bytes = self.pickle[self.at..].get(..len).ok_or_else(|| self.truncated())?;
        self.at += len;
        Ok(bytes)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], PickleError> {
        let bytes = self.bytes(N)?;
        Ok(bytes.try_into().expect("it has this length"))
    }

    /// A length of so many bytes.
    #[inline]
    fn length<const N: usize>(&mut self) -> Result<usize, PickleError> {
        let mut len = [0; 8];
        len[..N].copy_from_slice(self.bytes(N)?);
        usize::try_from(u64::from_le_bytes(len)).map_err(|_| self.truncated())
    }

    fn line(&mut self) -> Result<&'a [u8], PickleError> {
        let rest = &self.pickle[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or_else(|| self.truncated())?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn name_line(&mut self) -> Result<&'a str, PickleError> {
        str::from_utf8(self.line()?).map_err(|_| self.bad(NOT_UNICODE))
    }

    fn memo_key(&mut self) -> Result<u32, PickleError> {
        let line = self.line()?;
        let key = str::from_utf8(line).ok().and_then(|line| line.parse().ok());
        key.ok_or_else(|| self.bad("the number of the memo is none"))
    }

    // ---- the stack -----------------------------------------------------------------------------------------------

    /// Where the stack ends for an instruction.
    fn fence(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Id, PickleError> {
        match self.stack.len() > self.fence() {
            true => self.stack.pop().ok_or_else(|| self.bad(EMPTY_STACK)),
            false => Err(self.bad(EMPTY_STACK)),
        }
    }

    /// Where the last so many values begin.
    fn below(&self, len: usize) -> Result<usize, PickleError> {
        match self.stack.len().checked_sub(len) {
            Some(start) if start >= self.fence() => Ok(start),
            _ => Err(self.bad(EMPTY_STACK)),
        }
    }

    fn pop_mark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or_else(|| self.bad("there is no mark"))
    }

    fn pop_text(&mut self) -> Result<Cow<'a, str>, PickleError> {
        let id = self.pop()?;
        match self.nodes.get(id) {
            Node::Str(text) => Ok(text.clone()),
            _ => Err(self.bad("the name is not text")),
        }
    }

    #[inline]
    pub(super) fn leaf(&mut self, node: Node<'a>) {
        let id = self.nodes.add(node, 0);
        self.stack.push(id);
    }

    /// One without content.
    fn container(&mut self, node: Node<'a>) {
        let id = self.nodes.add(node, 1);
        self.stack.push(id);
    }

    pub(super) fn within_depth(&self, level: u32) -> Result<u32, PickleError> {
        match level as usize > self.limits.depth {
            true => Err(PickleError::TooDeep { limit: self.limits.depth }),
            false => Ok(level),
        }
    }

    /// Takes what is on the stack from there on into a container.
    fn collect(&mut self, start: usize, node: fn(Children) -> Node<'a>) -> Result<(), PickleError> {
        let level = self.within_depth(self.nodes.level_above(&self.stack[start..])?)?;
        let children = self.nodes.piece(&self.stack[start..]);
        self.stack.truncate(start);
        let id = self.nodes.add(node(children), level);
        self.stack.push(id);
        Ok(())
    }

    fn collect_marked(&mut self, node: fn(Children) -> Node<'a>) -> Result<(), PickleError> {
        let start = self.pop_mark()?;
        self.collect(start, node)
    }

    fn pairs_since(&self, start: usize) -> Result<(), PickleError> {
        match (self.stack.len() - start).is_multiple_of(2) {
            true => Ok(()),
            false => Err(self.bad("a key has no value")),
        }
    }

    /// Adds what is on the stack from there on to the container below it.
    fn append(&mut self, start: usize, is_right: fn(&Node<'a>) -> bool) -> Result<(), PickleError> {
        let container = match start > self.fence() {
            true => self.stack[start - 1],
            false => return Err(self.bad(EMPTY_STACK)),
        };
        if !is_right(self.nodes.get(container)) {
            return Err(self.bad("the items are for another kind of container"));
        }
        if self.stack[start..].contains(&container) {
            return Err(PickleError::Recursive);
        }
        let level = self.nodes.level_above(&self.stack[start..])?;
        let level = self.nodes.raise(container, level);
        self.within_depth(level)?;
        self.nodes.extend(container, &self.stack[start..]);
        self.stack.truncate(start);
        Ok(())
    }

    // ---- the memo ------------------------------------------------------------------------------------------------

    #[inline]
    fn put(&mut self, key: u32) -> Result<(), PickleError> {
        let top = self.pop()?;
        self.stack.push(top);
        let at = key as usize;
        match at.cmp(&self.memo.len()) {
            Ordering::Less => self.memo[at] = top,
            Ordering::Equal => self.memo.push(top),
            Ordering::Greater => drop(self.sparse.insert(key, top)),
        }
        Ok(())
    }

    fn fetch(&mut self, key: u32) -> Result<(), PickleError> {
        let id = self.memo.get(key as usize).or_else(|| self.sparse.get(&key)).copied();
        let id = id.ok_or_else(|| self.bad("nothing is stored under this number"))?;
        self.stack.push(id);
        self.again(id)
    }

    /// A node is referred to once more.
    pub(super) fn again(&mut self, id: Id) -> Result<(), PickleError> {
        match self.nodes.get(id) {
            Node::Str(_) | Node::Bytes(_) | Node::ByteArray(_) | Node::Global(_) => {
                self.repeat_bytes(self.nodes.text_len(id))
            }
            Node::List(_)
            | Node::Tuple(_)
            | Node::Dict(_)
            | Node::Set(_)
            | Node::FrozenSet(_)
            | Node::Exception(_)
            | Node::Instance(_) => {
                self.is_shared = true;
                Ok(())
            }
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::Wide(_)
            | Node::Float(_)
            | Node::Complex(..) => Ok(()),
        }
    }

    /// So many bytes are there once more. What the message has room for itself is free.
    pub(super) fn repeat_bytes(&mut self, len: usize) -> Result<(), PickleError> {
        self.repeated_bytes = self.repeated_bytes.saturating_add(len);
        let limit = self.limits.repeated_bytes;
        match self.repeated_bytes.saturating_sub(self.pickle.len()) > limit {
            true => Err(PickleError::TooLarge { limit, unit: "bytes" }),
            false => Ok(()),
        }
    }

    /// So many references are there once more.
    pub(super) fn repeat_items(&mut self, len: usize) -> Result<(), PickleError> {
        self.repeated_items = self.repeated_items.saturating_add(len);
        let limit = self.limits.repeated_items;
        match self.repeated_items.saturating_sub(self.pickle.len()) > limit {
            true => Err(PickleError::TooLarge { limit, unit: "values" }),
            false => Ok(()),
        }
    }

    // ---- leaves --------------------------------------------------------------------------------------------------

    #[inline]
    fn counted_text<const N: usize>(&mut self) -> Result<(), PickleError> {
        let len = self.length::<N>()?;
        let text = str::from_utf8(self.bytes(len)?).map_err(|_| self.bad(NOT_UNICODE))?;
        self.leaf(Node::Str(Cow::Borrowed(text)));
        Ok(())
    }

    fn counted_bytes<const N: usize>(
        &mut self,
        node: fn(Cow<'a, [u8]>) -> Node<'a>,
    ) -> Result<(), PickleError> {
        let len = self.length::<N>()?;
        let bytes = self.bytes(len)?;
        self.leaf(node(Cow::Borrowed(bytes)));
        Ok(())
    }

    /// The text of Python 2, of which Python 3 takes ASCII.
    fn ascii<const N: usize>(&mut self) -> Result<(), PickleError> {
        let len = self.length::<N>()?;
        let bytes = self.bytes(len)?;
        let text = str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
        let text = text.ok_or_else(|| self.bad("the text of Python 2 is not ASCII"))?;
        self.leaf(Node::Str(Cow::Borrowed(text)));
        Ok(())
    }

    /// An integer of so many bytes, the least significant first, the sign in the last bit.
    fn long(&mut self, len: usize) -> Result<(), PickleError> {
        let bytes = self.bytes(len)?;
        let fill = match bytes.last() {
            Some(last) if last & 0x80 != 0 => 0xff,
            _ => 0,
        };
        let mut wide = [fill; 16];
        let (low, high) = bytes.split_at(bytes.len().min(16));
        wide[..low.len()].copy_from_slice(low);
        let number = i128::from_le_bytes(wide);
        if high.iter().any(|byte| *byte != fill) || (number < 0) != (fill != 0) {
            return Err(PickleError::IntegerTooLarge { bits: len * 8 });
        }
        self.leaf(int(number));
        Ok(())
    }

    fn decimal(&self, digits: &[u8]) -> Result<Node<'a>, PickleError> {
        let text = str::from_utf8(digits).map_err(|_| self.bad("this is no number"))?.trim();
        match text.parse() {
            Ok(number) => Ok(int(number)),
            Err(_)
                if !text.is_empty()
                    && text.trim_start_matches(['-', '+']).bytes().all(|it| it.is_ascii_digit()) =>
            {
                // A decimal digit is about ten thirds of a bit.
                Err(PickleError::IntegerTooLarge { bits: text.len() * 10 / 3 })
            }
            Err(_) => Err(self.bad("this is no number")),
        }
    }
}

const EMPTY_STACK: &str = "there are too few values for it";
const NOT_UNICODE: &str =
    "the text is not Unicode: it has halves of surrogate pairs, or bytes that are no UTF-8";

fn int<'a>(number: i128) -> Node<'a> {
    match i64::try_from(number) {
        Ok(number) => Node::Int(number),
        Err(_) => Node::Wide(Box::new(number)),
    }
}
