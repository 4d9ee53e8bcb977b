//! How a handle travels: its descriptors beside the bytes of a message, and in the bytes what else it consists of.
//!
//! 1. A handle serialises as the index of its [`Descriptors`] among the attachments of the message, and its own data.
//! 2. Where nothing can be attached (a file, a message to another machine, `serde_json::to_string`), it is an error
//!    that says so.
//! 3. What arrives is checked by whoever opens the region: kind, version, size.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use executor_core::attachment::{self, Attachment, Local};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use super::error::IpcError;
use super::region::{Kind, Region};

/// Descriptors of this machine that travel beside the bytes of a message.
///
/// The side that sends keeps them until they are sent; the side that receives has descriptors of its own.
#[derive(Debug)]
pub(crate) struct Descriptors {
    what: &'static str,
    fds: Vec<OwnedFd>,
}

impl Descriptors {
    /// `what` they are to the user: `"Queue"`.
    pub(crate) fn new(what: &'static str, fds: Vec<OwnedFd>) -> Self {
        Self { what, fds }
    }

    pub(crate) fn fds(&self) -> &[OwnedFd] {
        &self.fds
    }
}

impl Local for Descriptors {
    fn what(&self) -> &'static str {
        self.what
    }
}

/// Writes a handle: its descriptors, and `meta`.
pub(crate) fn serialize_with<S: Serializer>(
    descriptors: &Arc<Descriptors>,
    meta: &impl Serialize,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let index = attachment::attach(Attachment::Local(Arc::clone(descriptors) as Arc<dyn Local>));
    let index = index.ok_or_else(|| {
        ser::Error::custom(format_args!(
            "a {} exists on this machine only and can be written nowhere but into the argument or the result of a task of \
             a process pool, of a `Process`, or into a `Queue` or `pipe`",
            descriptors.what
        ))
    })?;
    (index, meta).serialize(serializer)
}

/// Writes a handle that consists of one region, and `meta`.
pub(crate) fn serialize<S: Serializer>(
    region: &Region,
    meta: &impl Serialize,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serialize_with(region.descriptors(), meta, serializer)
}

/// Reads a handle: what [`serialize_with`] has written.
pub(crate) fn deserialize_with<'de, M: Deserialize<'de>, D: Deserializer<'de>>(
    what: &'static str,
    deserializer: D,
) -> Result<(Arc<Descriptors>, M), D::Error> {
    let (index, meta) = <(u32, M)>::deserialize(deserializer)?;
    let Some(Attachment::Local(local)) = attachment::attached(index) else {
        return Err(de::Error::custom(format_args!("no descriptors came with a {what}")));
    };
    let local: Arc<dyn std::any::Any + Send + Sync> = local;
    let descriptors = local
        .downcast::<Descriptors>()
        .map_err(|_| de::Error::custom(format_args!("what came with a {what} are no descriptors")))?;
    Ok((descriptors, meta))
}

/// Reads a handle that consists of one region of this kind: what [`serialize`] has written.
pub(crate) fn deserialize<'de, M: Deserialize<'de>, D: Deserializer<'de>>(
    kind: &'static Kind,
    deserializer: D,
) -> Result<(Arc<Region>, M), D::Error> {
    let (descriptors, meta) = deserialize_with::<M, D>(kind.name, deserializer)?;
    let region = Region::open(&descriptors, kind).map_err(|error| de::Error::custom(described(&error)))?;
    Ok((region, meta))
}

/// An error with its causes, for a message that can have none.
fn described(error: &IpcError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text.push_str(&format!(": {source}"));
        cause = source.source();
    }
    text
}
