//! Python's `slice`, as an index of lists.

use std::ops::Range;

use crate::manager::operation::integer;
use crate::manager::raise;
use crate::object::{Exception, Object};

/// The class by which a slice is known.
pub(super) const CLASS: &str = "slice";

/// `start:stop:step`, each of which may be missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slice {
    start: Option<i128>,
    stop: Option<i128>,
    /// Not 0.
    step: i128,
}

impl Slice {
    /// The slice that an object is; `None` if it is none.
    pub(super) fn of(object: &Object) -> Option<Result<Self, Exception>> {
        let Object::Instance(instance) = object else { return None };
        let [start, stop, step] = instance.args.as_slice() else { return None };
        (instance.class == CLASS).then(|| {
            let step = bound(step)?.unwrap_or(1);
            if step == 0 {
                return Err(raise::value_error("slice step cannot be zero"));
            }
            Ok(Self { start: bound(start)?, stop: bound(stop)?, step })
        })
    }

    /// `start:stop`.
    pub(super) fn between(start: Option<Object>, stop: Option<Object>) -> Result<Self, Exception> {
        let start = start.as_ref().map_or(Ok(None), bound)?;
        let stop = stop.as_ref().map_or(Ok(None), bound)?;
        Ok(Self { start, stop, step: 1 })
    }

    /// Whether what it takes out of a list is one piece, in its order.
    pub(super) fn is_contiguous(&self) -> bool {
        self.step == 1
    }

    /// The piece of a list that a contiguous slice is.
    pub(super) fn range(&self, len: usize) -> Range<usize> {
        let start = self.start.map_or(0, |start| clamp(start, 0, len)) as usize;
        let stop = self.stop.map_or(len, |stop| clamp(stop, 0, len) as usize);
        start..stop.max(start)
    }

    /// The places in a list, in the order of the slice.
    pub(super) fn places(&self, len: usize) -> Vec<usize> {
        let end = len as i128;
        // Backwards it begins at the last item at most, and can stop before the first.
        let (low, first, last) = if self.step > 0 { (0, 0, end) } else { (-1, end - 1, -1) };
        let high = if self.step > 0 { end } else { end - 1 };
        let mut at = self.start.map_or(first, |start| clamp(start, low, len).min(high));
        let stop = self.stop.map_or(last, |stop| clamp(stop, low, len));
        let mut places = Vec::new();
        while (self.step > 0 && at < stop) || (self.step < 0 && at > stop) {
            places.push(at as usize);
            at = at.saturating_add(self.step);
        }
        places
    }
}

/// A place in a list of `len` items, of which a negative one counts from the end.
fn clamp(index: i128, low: i128, len: usize) -> i128 {
    let len = len as i128;
    let index = if index < 0 { index.saturating_add(len) } else { index };
    index.clamp(low, len)
}

fn bound(object: &Object) -> Result<Option<i128>, Exception> {
    match object {
        Object::None => Ok(None),
        other => integer(other).map(Some),
    }
}
