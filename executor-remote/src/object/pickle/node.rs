//! What a pickle makes, as a list of nodes that refer to one another.

use std::borrow::Cow;

use super::globals;
use super::{Limits, PickleError};
use crate::object::de::{Shape, Source};
use crate::object::{Exception, Instance, Object};

/// A place in the list of nodes.
pub(super) type Id = u32;

/// The node that stands for nothing; it is `None`.
pub(super) const NOTHING: Id = 0;

/// The level of a class or function, which nothing may contain.
const GLOBAL_LEVEL: u32 = u32::MAX;

pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// One that needs more than 64 bits.
    Wide(Box<i128>),
    Float(f64),
    Complex(f64, f64),
    Str(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    ByteArray(Cow<'a, [u8]>),
    List(Children),
    Tuple(Children),
    /// Keys and values by turns.
    Dict(Children),
    Set(Children),
    FrozenSet(Children),
    Global(Box<Global<'a>>),
    Exception(Box<ExceptionNode>),
    Instance(Box<InstanceNode>),
}

/// A class or function by its name; it is never called.
#[derive(Clone)]
pub(super) struct Global<'a> {
    pub(super) module: Cow<'a, str>,
    pub(super) name: Cow<'a, str>,
    pub(super) known: globals::Known,
}

#[derive(Clone)]
pub(super) struct ExceptionNode {
    pub(super) type_name: String,
    /// Arguments (a tuple), state (a dict or nothing), text of the cause (or nothing).
    pub(super) parts: [Id; 3],
}

pub(super) struct InstanceNode {
    pub(super) class: String,
    /// Arguments (a tuple) and state.
    pub(super) parts: [Id; 2],
}

/// The children of a node: a piece of the common list, or a list of their own if they came little by little.
pub(super) enum Children {
    Piece { start: u32, len: u32 },
    Own(Vec<Id>),
}

impl Children {
    pub(super) const EMPTY: Self = Self::Piece { start: 0, len: 0 };
}

#[derive(Default)]
pub(super) struct Nodes<'a> {
    nodes: Vec<Node<'a>>,
    /// How many levels are below each node, itself included.
    levels: Vec<u32>,
    children: Vec<Id>,
    root: Id,
}

impl<'a> Nodes<'a> {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::None], levels: vec![0], ..Self::default() }
    }

    #[inline]
    pub(super) fn add(&mut self, node: Node<'a>, level: u32) -> Id {
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        self.levels.push(level);
        id
    }

    pub(super) fn add_global(&mut self, global: Global<'a>) -> Id {
        self.add(Node::Global(Box::new(global)), GLOBAL_LEVEL)
    }

    #[inline]
    pub(super) fn get(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: Id) -> &mut Node<'a> {
        &mut self.nodes[id as usize]
    }

    /// The level of a node with these children.
    ///
    /// # Errors
    ///
    /// `Forbidden` if one of them is a class or function itself.
    #[inline]
    pub(super) fn level_above(&self, children: &[Id]) -> Result<u32, PickleError> {
        match children.iter().map(|id| self.levels[*id as usize]).max() {
            None => Ok(1),
            Some(GLOBAL_LEVEL) => Err(self.global_among(children)),
            Some(level) => Ok(level + 1),
        }
    }

    #[cold]
    fn global_among(&self, ids: &[Id]) -> PickleError {
        let mut names = ids.iter().filter_map(|id| match self.get(*id) {
            Node::Global(it) => Some(format!("{}.{}", it.module, it.name)),
            _ => None,
        });
        PickleError::Forbidden { name: names.next().unwrap_or_default() }
    }

    /// Raises the level of a node that has got children. Gives the level.
    #[inline]
    pub(super) fn raise(&mut self, id: Id, level: u32) -> u32 {
        let own = &mut self.levels[id as usize];
        *own = (*own).max(level);
        *own
    }

    pub(super) fn piece(&mut self, children: &[Id]) -> Children {
        let start = self.children.len() as u32;
        self.children.extend_from_slice(children);
        Children::Piece { start, len: children.len() as u32 }
    }

    /// The children of a list, dict or set, with these behind them. The node keeps its kind.
    pub(super) fn extend(&mut self, id: Id, more: &[Id]) {
        let start = self.children.len() as u32;
        let all = &mut self.children;
        let (Node::List(children) | Node::Dict(children) | Node::Set(children)) =
            &mut self.nodes[id as usize]
        else {
            unreachable!("the caller has looked at its kind")
        };
        match children {
            Children::Piece { len: 0, .. } => {
                all.extend_from_slice(more);
                *children = Children::Piece { start, len: more.len() as u32 };
            }
            Children::Piece { start, len } => {
                let mut own = all[*start as usize..][..*len as usize].to_vec();
                own.extend_from_slice(more);
                *children = Children::Own(own);
            }
            Children::Own(own) => own.extend_from_slice(more),
        }
    }

    pub(super) fn list<'n>(&'n self, children: &'n Children) -> &'n [Id] {
        match children {
            Children::Piece { start, len } => &self.children[*start as usize..][..*len as usize],
            Children::Own(own) => own,
        }
    }

    /// All that a node refers to.
    fn parts(&self, id: Id) -> &[Id] {
        match self.get(id) {
            Node::List(it) | Node::Tuple(it) | Node::Dict(it) | Node::Set(it) | Node::FrozenSet(it) => {
                self.list(it)
            }
            Node::Exception(it) => &it.parts,
            Node::Instance(it) => &it.parts,
            _ => &[],
        }
    }

    pub(super) fn set_root(&mut self, id: Id) -> Result<(), PickleError> {
        self.root = id;
        self.level_above(&[id]).map(drop)
    }

    pub(super) fn root(&self) -> NodeRef<'_, 'a> {
        NodeRef { nodes: self, id: self.root }
    }

    /// Bytes of text that the node has itself.
    pub(super) fn text_len(&self, id: Id) -> usize {
        match self.get(id) {
            Node::Str(text) => text.len(),
            Node::Bytes(bytes) | Node::ByteArray(bytes) => bytes.len(),
            Node::Global(it) => it.module.len() + it.name.len(),
            Node::Exception(it) => it.type_name.len(),
            Node::Instance(it) => it.class.len(),
            _ => 0,
        }
    }

    /// Looks through all that the root refers to, for when nodes are shared.
    pub(super) fn check(&self, limits: &Limits, len: usize) -> Result<(), PickleError> {
        let totals = self.totals(limits)?;
        if totals.items > (self.nodes.len() + limits.repeated_items) as u64 {
            return Err(PickleError::TooLarge { limit: limits.repeated_items, unit: "values" });
        }
        if totals.text > (len + limits.repeated_bytes) as u64 {
            return Err(PickleError::TooLarge { limit: limits.repeated_bytes, unit: "bytes" });
        }
        Ok(())
    }

    /// Of the root with every repetition. Each node is visited once, without recursion.
    fn totals(&self, limits: &Limits) -> Result<Totals, PickleError> {
        enum State {
            Unknown,
            Begun,
            Known(Totals),
        }
        let mut states: Vec<State> = self.nodes.iter().map(|_| State::Unknown).collect();
        let mut path = vec![(self.root, 0)];
        loop {
            let &mut (id, ref mut next) = path.last_mut().expect("the root is taken off below");
            let parts = self.parts(id);
            if *next == 0 {
                states[id as usize] = State::Begun;
            }
            if let Some(&part) = parts.get(*next) {
                *next += 1;
                match states[part as usize] {
                    State::Unknown => path.push((part, 0)),
                    State::Begun => return Err(PickleError::Recursive),
                    State::Known(_) => {}
                }
                continue;
            }
            let mut totals =
                Totals { items: 1, text: self.text_len(id) as u64, level: self.levels[id as usize].min(1) };
            for part in parts {
                if let State::Known(part) = &states[*part as usize] {
                    totals.add(part);
                }
            }
            if totals.level as usize > limits.depth {
                return Err(PickleError::TooDeep { limit: limits.depth });
            }
            path.pop();
            if path.is_empty() {
                return Ok(totals);
            }
            states[id as usize] = State::Known(totals);
        }
    }
}

struct Totals {
    items: u64,
    text: u64,
    level: u32,
}

impl Totals {
    fn add(&mut self, part: &Self) {
        self.items = self.items.saturating_add(part.items);
        self.text = self.text.saturating_add(part.text);
        self.level = self.level.max(part.level + 1);
    }
}

/// A node with those that it refers to. They have been checked: there is an end to what it contains.
#[derive(Clone, Copy)]
pub(super) struct NodeRef<'n, 'a> {
    nodes: &'n Nodes<'a>,
    id: Id,
}

impl<'n, 'a> NodeRef<'n, 'a> {
    fn node(self) -> &'n Node<'a> {
        self.nodes.get(self.id)
    }

    fn at(self, id: Id) -> Self {
        Self { nodes: self.nodes, id }
    }

    fn items(self, children: &'n Children) -> NodeItems<'n, 'a> {
        NodeItems { nodes: self.nodes, ids: self.nodes.list(children).iter() }
    }

    fn entries(self, children: &'n Children) -> NodeEntries<'n, 'a> {
        NodeEntries { nodes: self.nodes, ids: self.nodes.list(children).chunks_exact(2) }
    }

    fn objects(self, children: &'n Children) -> Vec<Object> {
        self.items(children).map(Self::to_object).collect()
    }

    pub(super) fn to_object(self) -> Object {
        match self.node() {
            Node::None => Object::None,
            Node::Bool(it) => Object::Bool(*it),
            Node::Int(number) => Object::Int(i128::from(*number)),
            Node::Wide(number) => Object::Int(**number),
            Node::Float(number) => Object::Float(*number),
            Node::Complex(re, im) => Object::Complex(*re, *im),
            Node::Str(text) => Object::Str(text.clone().into_owned()),
            Node::Bytes(bytes) => Object::Bytes(bytes.clone().into_owned()),
            Node::ByteArray(bytes) => Object::ByteArray(bytes.clone().into_owned()),
            Node::List(it) => Object::List(self.objects(it)),
            Node::Tuple(it) => Object::Tuple(self.objects(it)),
            Node::Dict(it) => Object::Dict(
                self.entries(it).map(|(key, value)| (key.to_object(), value.to_object())).collect(),
            ),
            Node::Set(it) => Object::Set(self.objects(it)),
            Node::FrozenSet(it) => Object::FrozenSet(self.objects(it)),
            // Nothing contains one; see `level_above`.
            Node::Global(it) => Object::Str(globals::full_name(&it.module, &it.name)),
            Node::Exception(_) => self.exception().map_or(Object::None, Object::Exception),
            Node::Instance(it) => self.instance(it).into(),
        }
    }

    fn tuple(self, id: Id) -> Vec<Object> {
        match self.nodes.get(id) {
            Node::Tuple(items) => self.objects(items),
            _ => Vec::new(),
        }
    }

    fn instance(self, instance: &InstanceNode) -> Instance {
        let [args, state] = instance.parts;
        Instance { class: instance.class.clone(), args: self.tuple(args), state: self.at(state).to_object() }
    }

    /// The exception, if it is one.
    pub(super) fn exception(self) -> Option<Box<Exception>> {
        let Node::Exception(it) = self.node() else { return None };
        let [args, state, cause] = it.parts;
        let mut exception = Exception::with_args(it.type_name.clone(), self.tuple(args));
        if let Node::Dict(state) = self.nodes.get(state) {
            for (name, value) in self.entries(state) {
                self.set_attribute(&mut exception, name, value);
            }
        }
        if let Node::Str(text) = self.nodes.get(cause) {
            exception.cause = Some(text.clone().into_owned());
        }
        Some(Box::new(exception))
    }

    fn set_attribute(self, exception: &mut Exception, name: Self, value: Self) {
        let Node::Str(name) = name.node() else { return };
        match (&**name, value.node()) {
            ("__notes__", Node::List(notes) | Node::Tuple(notes)) => {
                let texts = self.items(notes).map(|note| match note.to_object() {
                    Object::Str(text) => text,
                    other => other.to_string(),
                });
                exception.notes = texts.collect();
            }
            ("__cause__", Node::Exception(_)) => exception.cause = value.exception().map(|it| it.as_cause()),
            (name, _) if globals::is_plain_attribute(name) => {
                exception.attributes.push((name.to_owned(), value.to_object()));
            }
            _ => {}
        }
    }
}

impl Exception {
    /// Its text as the cause of another: of a traceback that came from elsewhere, the traceback.
    fn as_cause(&self) -> String {
        match (self.type_name.ends_with("RemoteTraceback"), &self.args[..]) {
            (true, [Object::Str(text)]) => text.clone(),
            _ => self.to_string(),
        }
    }
}

pub(super) struct NodeItems<'n, 'a> {
    nodes: &'n Nodes<'a>,
    ids: std::slice::Iter<'n, Id>,
}

impl<'n, 'a> Iterator for NodeItems<'n, 'a> {
    type Item = NodeRef<'n, 'a>;
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.ids.next().map(|id| NodeRef { nodes: self.nodes, id: *id })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ids.size_hint()
    }
}

impl ExactSizeIterator for NodeItems<'_, '_> {}

pub(super) struct NodeEntries<'n, 'a> {
    nodes: &'n Nodes<'a>,
    ids: std::slice::ChunksExact<'n, Id>,
}

impl<'n, 'a> Iterator for NodeEntries<'n, 'a> {
    type Item = (NodeRef<'n, 'a>, NodeRef<'n, 'a>);
    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.ids.next()?;
        let node = |id| NodeRef { nodes: self.nodes, id };
        Some((node(pair[0]), node(pair[1])))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ids.size_hint()
    }
}

impl ExactSizeIterator for NodeEntries<'_, '_> {}

impl<'n, 'de> Source<'de> for NodeRef<'n, 'de> {
    type Items = NodeItems<'n, 'de>;
    type Entries = NodeEntries<'n, 'de>;

    fn is_none(&self) -> bool {
        matches!(self.node(), Node::None)
    }

    #[inline]
    fn shape(self) -> Shape<'de, Self> {
        match self.node() {
            Node::None => Shape::None,
            Node::Bool(it) => Shape::Bool(*it),
            Node::Int(number) => Shape::Int(i128::from(*number)),
            Node::Wide(number) => Shape::Int(**number),
            Node::Float(number) => Shape::Float(*number),
            Node::Complex(re, im) => Shape::Other(Object::Complex(*re, *im).to_string()),
            Node::Str(text) => Shape::Str(text.clone()),
            Node::Bytes(bytes) | Node::ByteArray(bytes) => Shape::Bytes(bytes.clone()),
            Node::List(it) | Node::Tuple(it) | Node::Set(it) | Node::FrozenSet(it) => {
                Shape::Items(self.items(it))
            }
            Node::Dict(it) => Shape::Entries(self.entries(it)),
            Node::Global(it) => Shape::Other(globals::full_name(&it.module, &it.name)),
            Node::Exception(_) => Shape::Other(match self.exception() {
                Some(exception) => format!("the exception {exception}"),
                None => String::new(),
            }),
            Node::Instance(it) => Shape::Other(format!("an instance of {}", it.class)),
        }
    }

    fn into_object(self) -> Object {
        self.to_object()
    }
}
