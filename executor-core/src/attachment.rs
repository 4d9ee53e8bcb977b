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
//!
//! [`Shared`](crate::Shared) values are collected by the same means, but into a list of their own: their bytes go ahead
//! of the message, once, and only the encoder of a job asks for them.

#[cfg(test)]
mod tests;

use std::any::Any;
use std::cell::RefCell;
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
    static COLLECTING: RefCell<Option<Collected>> = const { RefCell::new(None) };
    static PROVIDED: RefCell<Option<Vec<Attachment>>> = const { RefCell::new(None) };
}

/// What the values of a message have attached so far.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) attachments: Vec<Attachment>,
    pub(crate) shares: Vec<Arc<ShareBlob>>,
    /// Of the two lists, those that the message can carry.
    takes_attachments: bool,
    takes_shares: bool,
}

/// What is attached twice is looked for among so many: arguments refer to few things, and those that refer to very many
/// do not pay for it with the square of their number.
const LOOK_BACK: usize = 32;

/// Attaches a thing to the message that is being encoded on this thread, and gives its index; `None` if there is no such
/// message, or it cannot carry anything. For `Serialize` implementations.
pub fn attach(attachment: Attachment) -> Option<u32> {
    COLLECTING.with_borrow_mut(|collecting| {
        let collected = collecting.as_mut().filter(|it| it.takes_attachments)?;
        let list = &mut collected.attachments;
        let from = list.len().saturating_sub(LOOK_BACK);
        let known = list[from..].iter().position(|it| it.is_same(&attachment));
        let index = known.map_or(list.len(), |at| from + at);
        let number = u32::try_from(index).ok()?;
        if known.is_none() {
            list.push(attachment);
        }
        Some(number)
    })
}

/// Whether [`attach`] would take something.
pub fn is_collecting() -> bool {
    COLLECTING.with_borrow(|collecting| collecting.as_ref().is_some_and(|it| it.takes_attachments))
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
    let (result, collected) =
        collect_as(Collected { takes_attachments: true, ..Collected::default() }, encode);
    (result, collected.attachments)
}

/// Encodes the argument of a job, whose shared values go ahead of it.
pub(crate) fn collect_job<T>(takes_attachments: bool, encode: impl FnOnce() -> T) -> (T, Collected) {
    collect_as(Collected { takes_attachments, takes_shares: true, ..Collected::default() }, encode)
}

/// As [`collect`], for a message within another, which carries what that one does.
pub(crate) fn collect_like_outer<T>(encode: impl FnOnce() -> T) -> (T, Vec<Attachment>) {
    let start = Collected { takes_attachments: is_collecting(), ..Collected::default() };
    let (result, collected) = collect_as(start, encode);
    (result, collected.attachments)
}

/// As [`collect`], for a message that is encoded in parts: continues the list of the parts before.
pub(crate) fn collect_more<T>(attachments: &mut Vec<Attachment>, encode: impl FnOnce() -> T) -> T {
    let start = Collected {
        attachments: std::mem::take(attachments),
        takes_attachments: true,
        ..Collected::default()
    };
    let (result, collected) = collect_as(start, encode);
    *attachments = collected.attachments;
    result
}

/// Encodes a message that carries nothing but its bytes.
#[doc(hidden)]
pub fn collect_nothing<T>(encode: impl FnOnce() -> T) -> T {
    // Outside of a scope nothing can be attached in any case.
    if COLLECTING.with_borrow(Option::is_none) {
        return encode();
    }
    collect_as(Collected::default(), encode).0
}

fn collect_as<T>(empty: Collected, encode: impl FnOnce() -> T) -> (T, Collected) {
    /// Puts the outer scope back, also when `encode` panics.
    struct Outer(Option<Collected>);
    impl Drop for Outer {
        fn drop(&mut self) {
            COLLECTING.set(self.0.take());
        }
    }
    let mut outer = Outer(COLLECTING.replace(Some(empty)));
    let result = encode();
    let collected = COLLECTING.replace(outer.0.take()).unwrap_or_default();
    std::mem::forget(outer);
    (result, collected)
}

/// Decodes a message that has come with these attachments.
pub fn provide<T>(mut attachments: Vec<Attachment>, decode: impl FnOnce() -> T) -> T {
    provide_from(&mut attachments, decode)
}

/// As [`provide`], for a message that is decoded in parts: the attachments are there again afterwards.
pub(crate) fn provide_from<T>(attachments: &mut Vec<Attachment>, decode: impl FnOnce() -> T) -> T {
    /// Puts the outer scope back, also when `decode` panics.
    struct Scope<'a> {
        outer: Option<Vec<Attachment>>,
        attachments: &'a mut Vec<Attachment>,
    }
    impl Drop for Scope<'_> {
        fn drop(&mut self) {
            *self.attachments = PROVIDED.replace(self.outer.take()).unwrap_or_default();
        }
    }
    let outer = PROVIDED.replace(Some(std::mem::take(attachments)));
    let _scope = Scope { outer, attachments };
    decode()
}

/// Notes a shared value for the job that is being encoded on this thread. False if there is no such job.
pub(crate) fn note_share(blob: &Arc<ShareBlob>) -> bool {
    COLLECTING.with_borrow_mut(|collecting| {
        let Some(collected) = collecting.as_mut().filter(|it| it.takes_shares) else { return false };
        if !collected.shares.iter().any(|it| it.id() == blob.id()) {
            collected.shares.push(Arc::clone(blob));
        }
        true
    })
}

/// Whether [`note_share`] would note a value.
pub(crate) fn is_collecting_shares() -> bool {
    COLLECTING.with_borrow(|collecting| collecting.as_ref().is_some_and(|it| it.takes_shares))
}
