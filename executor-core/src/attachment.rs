//! What travels beside the bytes of a message: blobs, which are moved and not encoded, and things of this machine.
//!
//! Serde knows bytes only. So whoever encodes a message *collects* on its thread what the values in it *attach*, and
//! these write the index that they get instead of themselves; whoever decodes it *provides* what has come beside the
//! bytes, and the values ask for what is *attached* at their index. The message's carrier brings the list from the
//! one to the other, by whatever means it has.
//!
//! 1. Collecting and providing are scopes of one thread, for as long as the value's own `Serialize` or `Deserialize` runs, and
//!    not while a task runs: what a task serialises for purposes of its own attaches nothing.
//! 2. Scopes nest, and the innermost counts alone: a message that is encoded within another has its own list.
//! 3. Outside of a scope nothing can be attached. A [`Blob`] is then written by value; what cannot be written
//!    by value says so as an error of its `Serialize`.
//! 4. The list is in the order of first use, and what is attached twice is in it once.
//! 5. What is only *kept* is not sent, has no index, and needs nothing of the carrier: it lives as long as the encoded job, until its
//!    outcome is there, however long it waits in a queue and however often it is begun. So the proxy of an object elsewhere keeps
//!    that object alive until the task has had it.
//!
//! [`Shared`](crate::Shared) values are collected by the same means, but into a list of their own: their bytes go ahead
//! of the message, once, and only the encoder of a job asks for them.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use crate::blob::Blob;
use crate::shared::ShareBlob;

/// One thing that travels beside the bytes of a message.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Attachment {
    /// Bytes that are moved, not encoded.
    Blob(Blob),
    /// Something that exists on this machine only.
    Local(Arc<dyn Local>),
}

/// Something of this machine, such as descriptors. A backend whose workers are on this machine moves it by means that the two
/// agree on; one that crosses to another machine refuses it at submit with [`NotPortable`](crate::TaskError::NotPortable),
/// which says to use a manager.
pub trait Local: Any + Send + Sync + fmt::Debug {
    /// What it is to the user, for messages: `"Queue"`.
    fn what(&self) -> &'static str;
}

impl Attachment {
    /// Whether the two are the same thing, not equal things.
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Blob(one), Self::Blob(other)) => one.is_same(other),
            (Self::Local(one), Self::Local(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

thread_local! {
    /// What the innermost message that is being encoded takes, and whether it has lists yet. Every encode looks here, and
    /// most of them attach nothing.
    static SCOPE: Cell<u8> = const { Cell::new(0) };
    /// The lists of those messages that have any, the innermost last.
    static LISTS: RefCell<Vec<Collected>> = const { RefCell::new(Vec::new()) };
    static PROVIDED: RefCell<Option<Vec<Attachment>>> = const { RefCell::new(None) };
}

/// In a scope: of the two lists, those that the message can carry.
const TAKES_ATTACHMENTS: u8 = 1;
const TAKES_SHARES: u8 = 2;
/// In a scope: the last of `LISTS` is its own.
const HAS_LISTS: u8 = 4;
/// In a scope: the message stays here, and with it what is kept.
const KEEPS: u8 = 8;

/// What the values of a message have attached so far.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) shares: Vec<Arc<ShareBlob>>,
    pub(crate) kept: Kept,
}

/// What lives as long as an encoded message, and is not sent.
pub(crate) type Kept = Vec<Arc<dyn Any + Send + Sync>>;

impl Collected {
    pub(crate) fn is_empty(&self) -> bool {
        self.attachments.is_empty() && self.shares.is_empty() && self.kept.is_empty()
    }
}

/// The lists of the message that is being encoded.
fn with_lists<T>(f: impl FnOnce(&mut Collected) -> T) -> T {
    LISTS.with_borrow_mut(|lists| {
        if SCOPE.get() & HAS_LISTS == 0 {
            lists.push(Collected::default());
            SCOPE.set(SCOPE.get() | HAS_LISTS);
        }
        f(lists.last_mut().expect("just pushed, or its scope says that it is there"))
    })
}

/// What is attached twice is looked for among so many: arguments refer to few things, and those that refer to very many
/// do not pay for it with the square of their number.
const LOOK_BACK: usize = 32;

/// Attaches a thing to the message that is being encoded on this thread, and gives its index; `None` if there is no such
/// message, or it cannot carry anything. For `Serialize` implementations.
pub fn attach(attachment: Attachment) -> Option<u32> {
    if !is_collecting() {
        return None;
    }
    // What is there already is dropped outside: a destructor may encode, too.
    let mut attachment = Some(attachment);
    with_lists(|collected| {
        let list = &mut collected.attachments;
        let from = list.len().saturating_sub(LOOK_BACK);
        let is_same = |it: &Attachment| attachment.as_ref().is_some_and(|new| it.is_same(new));
        let known = list[from..].iter().position(is_same);
        let index = known.map_or(list.len(), |at| from + at);
        let number = u32::try_from(index).ok()?;
        if known.is_none() {
            list.extend(attachment.take());
        }
        Some(number)
    })
}

/// Keeps a thing alive as long as the job that is being encoded on this thread, or the shared value, without sending it. False
/// if there is no such message: what is encoded for other purposes is only bytes from then on. For `Serialize` implementations.
///
/// It is dropped at the latest with the job; when the job has an outcome, on whichever thread tells it. Its destructor must
/// not wait for anything.
pub fn keep(thing: Arc<dyn Any + Send + Sync>) -> bool {
    if SCOPE.get() & KEEPS == 0 {
        return false;
    }
    let mut thing = Some(thing);
    with_lists(|collected| {
        let kept = &mut collected.kept;
        let from = kept.len().saturating_sub(LOOK_BACK);
        let is_same = |it: &Arc<_>| thing.as_ref().is_some_and(|new| Arc::ptr_eq(it, new));
        if !kept[from..].iter().any(is_same) {
            kept.extend(thing.take());
        }
    });
    true
}

/// Whether [`attach`] would take something.
pub fn is_collecting() -> bool {
    SCOPE.get() & TAKES_ATTACHMENTS != 0
}

/// What is attached at this index to the message that is being decoded on this thread. For `Deserialize` implementations.
pub fn attached(index: u32) -> Option<Attachment> {
    PROVIDED.with_borrow(|provided| provided.as_ref()?.get(usize::try_from(index).ok()?).cloned())
}

/// Encodes a message; gives what its values have attached.
///
/// # Examples
///
/// ```
/// use executor_core::attachment::{self, Attachment};
/// let (index, list) = attachment::collect(|| {
///     attachment::attach(Attachment::Blob(vec![1, 2, 3].into()))
/// });
/// assert_eq!(index, Some(0));
/// let there = attachment::provide(list, || attachment::attached(0));
/// assert!(matches!(there, Some(Attachment::Blob(blob)) if *blob == [1, 2, 3]));
/// ```
pub fn collect<T>(encode: impl FnOnce() -> T) -> (T, Vec<Attachment>) {
    let (result, collected) = collect_as(TAKES_ATTACHMENTS, encode);
    (result, collected.attachments)
}

/// Encodes the argument of a job, whose shared values go ahead of it. Gives what its values have attached, if anything.
#[inline]
pub(crate) fn collect_job<T>(takes_attachments: bool, encode: impl FnOnce() -> T) -> (T, Option<Collected>) {
    let takes = if takes_attachments { TAKES_ATTACHMENTS | TAKES_SHARES } else { TAKES_SHARES };
    let scope = Scope::enter(takes | KEEPS);
    let result = encode();
    (result, scope.leave())
}

/// As [`collect`], for a shared value, which carries what the message does that it is in, and stays here.
pub(crate) fn collect_shared<T>(encode: impl FnOnce() -> T) -> (T, Vec<Attachment>, Kept) {
    let (result, collected) = collect_as(SCOPE.get() & TAKES_ATTACHMENTS | KEEPS, encode);
    (result, collected.attachments, collected.kept)
}

/// As [`collect`], for a message that is encoded in parts: continues the list of the parts before.
#[inline]
pub(crate) fn collect_more<T>(attachments: &mut Vec<Attachment>, encode: impl FnOnce() -> T) -> T {
    let scope = Scope::enter(TAKES_ATTACHMENTS);
    if !attachments.is_empty() {
        with_lists(|lists| lists.attachments = std::mem::take(attachments));
    }
    let result = encode();
    if let Some(collected) = scope.leave() {
        *attachments = collected.attachments;
    }
    result
}

/// Encodes a message that carries nothing but its bytes.
#[doc(hidden)]
#[inline]
pub fn collect_nothing<T>(encode: impl FnOnce() -> T) -> T {
    collect_as(0, encode).0
}

#[inline]
fn collect_as<T>(takes: u8, encode: impl FnOnce() -> T) -> (T, Collected) {
    let scope = Scope::enter(takes);
    let result = encode();
    (result, scope.leave().unwrap_or_default())
}

/// A message that is being encoded. Puts the outer one back, also when that panics.
struct Scope {
    outer: u8,
}

impl Scope {
    #[inline]
    fn enter(takes: u8) -> Self {
        Self { outer: SCOPE.replace(takes) }
    }

    /// What the message has collected, if that is anything.
    #[inline]
    fn leave(self) -> Option<Collected> {
        let collected = self.put_back();
        std::mem::forget(self);
        collected
    }

    #[inline]
    fn put_back(&self) -> Option<Collected> {
        match SCOPE.replace(self.outer) & HAS_LISTS {
            0 => None,
            _ => LISTS.with_borrow_mut(Vec::pop),
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.put_back();
    }
}

/// Decodes a message that has come with these attachments.
pub fn provide<T>(mut attachments: Vec<Attachment>, decode: impl FnOnce() -> T) -> T {
    provide_from(&mut attachments, decode)
}

/// As [`provide`], for a message that is decoded in parts: the attachments are there again afterwards.
pub(crate) fn provide_from<T>(attachments: &mut Vec<Attachment>, decode: impl FnOnce() -> T) -> T {
    /// Puts the outer list back, also when `decode` panics.
    struct Provided<'a> {
        outer: Option<Vec<Attachment>>,
        attachments: &'a mut Vec<Attachment>,
    }
    impl Drop for Provided<'_> {
        fn drop(&mut self) {
            *self.attachments = PROVIDED.replace(self.outer.take()).unwrap_or_default();
        }
    }
    let outer = PROVIDED.replace(Some(std::mem::take(attachments)));
    let _provided = Provided { outer, attachments };
    decode()
}

/// Notes a shared value for the job that is being encoded on this thread. False if there is no such job.
pub(crate) fn note_share(blob: &Arc<ShareBlob>) -> bool {
    if !is_collecting_shares() {
        return false;
    }
    with_lists(|collected| {
        if !collected.shares.iter().any(|it| it.id() == blob.id()) {
            collected.shares.push(Arc::clone(blob));
        }
    });
    true
}

/// Whether [`note_share`] would note a value.
pub(crate) fn is_collecting_shares() -> bool {
    SCOPE.get() & TAKES_SHARES != 0
}
