//! A map from objects to objects that keeps the order in which keys were put in, as Python's `dict`.

use std::collections::HashMap;

use crate::object::{Key, Object};

/// So few holes in the order are not worth closing.
const MIN_HOLES: usize = 32;

#[derive(Default)]
pub(super) struct OrderedMap {
    /// The value, and where in `order` the key is.
    items: HashMap<Key, (usize, Object)>,
    /// With holes where a key was removed; there is none at the end.
    order: Vec<Option<Key>>,
}

impl OrderedMap {
    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Object> {
        self.items.get(key).map(|(_, value)| value)
    }

    /// Puts a value in. An equal key stays what and where it is.
    pub(super) fn insert(&mut self, key: Key, value: Object) {
        if let Some((_, old)) = self.items.get_mut(&key) {
            *old = value;
            return;
        }
        self.order.push(Some(key.clone()));
        self.items.insert(key, (self.order.len() - 1, value));
    }

    pub(super) fn remove(&mut self, key: &Key) -> Option<Object> {
        let (at, value) = self.items.remove(key)?;
        self.order[at] = None;
        while let Some(None) = self.order.last() {
            self.order.pop();
        }
        if self.order.len() > 2 * self.items.len() + MIN_HOLES {
            self.close_holes();
        }
        Some(value)
    }

    /// Removes the last item.
    pub(super) fn pop(&mut self) -> Option<(Object, Object)> {
        let key = self.order.last()?.clone()?;
        let value = self.remove(&key)?;
        Some((key.into_object(), value))
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn keys(&self) -> impl DoubleEndedIterator<Item = &Key> {
        self.order.iter().flatten()
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (&Key, &Object)> {
        self.keys().filter_map(|key| Some((key, self.get(key)?)))
    }

    fn close_holes(&mut self) {
        self.order.retain(Option::is_some);
        for (at, key) in self.order.iter().flatten().enumerate() {
            if let Some((place, _)) = self.items.get_mut(key) {
                *place = at;
            }
        }
    }
}
