//! The objects of a manager and how long they live.
//!
//! 1. An object lives while somebody refers to it: a session or a name, each counted. When the last reference is given up it
//!    is dropped at once, unless its proxy was ever on its way.
//! 2. An object whose proxy was sent somewhere has been *leased* before, and its proxy may be stored inside of another
//!    shared object. So without references it waits for [`sweep`](Store::sweep), which drops it if its lease is over and
//!    no value of any object mentions it.
//! 3. An answer that mentions an object leases it again: its proxy is on its way to whoever asked. So does an argument from
//!    Python, where nobody asks for leases.
//! 4. Locks are taken in this order: the store's, one object's. No value is dropped under the store's lock.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::mention;
use super::operation::{Given, Outcome, SessionId, Step};
use super::raise;
use super::registry::{Registry, UserObject};
use super::types::{self, Builtin};
use crate::object::{Exception, Object};

#[cfg(test)]
mod tests;

/// How long an object lives whose proxy is on its way in a call or an answer.
const LEASE_OF_MENTIONED: Duration = Duration::from_secs(60);

/// Leases are cut to this.
const MAX_LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// All objects of a manager.
pub(crate) struct Store {
    inner: Mutex<Inner>,
    registry: Registry,
    next_session: AtomicU64,
    /// Whether any object was ever leased, so that answers may mention one.
    has_leased: AtomicBool,
}

#[derive(Default)]
struct Inner {
    objects: HashMap<u64, Held>,
    names: HashMap<String, u64>,
    next_id: u64,
}

struct Held {
    entry: Arc<Entry>,
    references: u64,
    /// `None` if its proxy was never on its way.
    leased_until: Option<Instant>,
}

/// A reference to an object, given up when it is dropped.
pub(crate) struct Reference {
    /// `None` if it was left.
    store: Option<Arc<Store>>,
    entry: Arc<Entry>,
}

impl Reference {
    /// The object.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Leaves the reference where only [`Store::decref`] gives it up.
    pub(crate) fn leave(mut self) {
        self.store = None;
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        if let Some(store) = &self.store {
            // It fails only if somebody has given up a reference that was not theirs.
            let _ = store.decref(self.entry.id);
        }
    }
}

/// An object.
pub(crate) struct Entry {
    id: u64,
    type_name: Arc<str>,
    is_held: bool,
    cell: Cell,
}

enum Cell {
    Builtin(Mutex<Box<dyn Builtin>>),
    User(UserObject),
}

impl Store {
    /// A store without objects, whose ids begin somewhere, so that those of another manager mean nothing here.
    pub(crate) fn new(registry: Registry, first_id: u64) -> Self {
        Self {
            inner: Mutex::new(Inner { next_id: first_id, ..Inner::default() }),
            registry,
            next_session: AtomicU64::new(0),
            has_leased: AtomicBool::new(false),
        }
    }

    /// A number for a new session.
    pub(crate) fn next_session(&self) -> SessionId {
        SessionId(self.next_session.fetch_add(1, Ordering::Relaxed))
    }

    /// Creates an object. A published name creates nothing and gives its object. May run user code, and take as long as
    /// that does.
    pub(crate) fn create(self: &Arc<Self>, type_name: &str, given: Given) -> Result<Reference, Exception> {
        if let Some(published) = self.find(type_name) {
            if !given.is_empty() {
                let message = format!("{type_name} is an object that was published: it takes no arguments");
                return Err(raise::type_error(message));
            }
            return Ok(published);
        }
        let cell = match self.registry.get(type_name) {
            Some(user_type) => Cell::User(user_type.create(given)?),
            None => match types::create(type_name, given) {
                Some(object) => Cell::Builtin(Mutex::new(object?)),
                None => return Err(self.unknown_type(type_name)),
            },
        };
        let is_held = match &cell {
            Cell::Builtin(object) => lock(object).is_held(),
            Cell::User(_) => false,
        };
        let mut inner = self.lock();
        let id = inner.next_id;
        inner.next_id += 1;
        let entry = Arc::new(Entry { id, type_name: type_name.into(), is_held, cell });
        inner.objects.insert(id, Held { entry: Arc::clone(&entry), references: 1, leased_until: None });
        Ok(Reference { store: Some(Arc::clone(self)), entry })
    }

    /// Whether creating this type runs user code.
    pub(crate) fn is_user_type(&self, type_name: &str) -> bool {
        self.registry.get(type_name).is_some()
    }

    fn unknown_type(&self, type_name: &str) -> Exception {
        let mut names: Vec<String> = types::names().map(str::to_owned).collect();
        names.extend(self.registry.names().map(str::to_owned));
        names.extend(self.lock().names.keys().cloned());
        names.sort_unstable();
        let message =
            format!("{type_name}: this manager has no such type or name; it has {}", names.join(", "));
        raise::key_error(Object::Str(message))
    }

    /// The object of this id.
    pub(crate) fn entry(&self, id: u64) -> Result<Arc<Entry>, Exception> {
        self.lock().objects.get(&id).map(|held| Arc::clone(&held.entry)).ok_or_else(|| gone(id))
    }

    /// Takes one reference more.
    pub(crate) fn incref(self: &Arc<Self>, id: u64) -> Result<Reference, Exception> {
        let mut inner = self.lock();
        let held = inner.objects.get_mut(&id).ok_or_else(|| gone(id))?;
        held.references += 1;
        Ok(Reference { store: Some(Arc::clone(self)), entry: Arc::clone(&held.entry) })
    }

    /// Gives up a reference that was [left](Reference::leave).
    pub(crate) fn decref(&self, id: u64) -> Result<(), Exception> {
        let mut inner = self.lock();
        let held = inner.objects.get_mut(&id).ok_or_else(|| gone(id))?;
        held.references = held.references.checked_sub(1).ok_or_else(|| {
            raise::runtime_error(format!(
                "nobody refers to the object {id:x}: a reference was given up twice"
            ))
        })?;
        let dropped = match (held.references, held.leased_until) {
            (0, None) => inner.objects.remove(&id),
            _ => None,
        };
        drop(inner);
        drop(dropped);
        Ok(())
    }

    /// Lets an object live for so long, whoever refers to it.
    pub(crate) fn lease(&self, id: u64, time: Duration, now: Instant) -> Result<(), Exception> {
        let mut inner = self.lock();
        let held = inner.objects.get_mut(&id).ok_or_else(|| gone(id))?;
        held.leased_until = held.leased_until.max(Some(now + time.min(MAX_LEASE)));
        self.has_leased.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whether any object was ever leased: else there is none that an answer mentions.
    pub(crate) fn has_leased(&self) -> bool {
        self.has_leased.load(Ordering::Relaxed)
    }

    /// Leases what an answer mentions, or an argument (rule 3).
    pub(crate) fn lease_mentioned(&self, value: &Object) {
        let mut mentioned = Vec::new();
        mention::visit(value, &mut |id| mentioned.push(id));
        for id in mentioned {
            // It may be a proxy of another manager, or of an object that is gone.
            let _ = self.lease(id, LEASE_OF_MENTIONED, Instant::now());
        }
    }

    /// Gives an object a name, which refers to it.
    pub(crate) fn publish(&self, name: &str, id: u64) -> Result<(), Exception> {
        if types::names().any(|it| it == name) || self.is_user_type(name) {
            return Err(raise::value_error(format!(
                "{name} is the name of a type: publish it under another one"
            )));
        }
        let mut inner = self.lock();
        if inner.names.contains_key(name) {
            return Err(raise::value_error(format!(
                "the name {name} is taken: withdraw it before it is published again"
            )));
        }
        inner.objects.get_mut(&id).ok_or_else(|| gone(id))?.references += 1;
        inner.names.insert(name.to_owned(), id);
        Ok(())
    }

    /// Takes a name away; whether it was there.
    pub(crate) fn withdraw(&self, name: &str) -> bool {
        let withdrawn = self.lock().names.remove(name);
        match withdrawn {
            Some(id) => self.decref(id).is_ok(),
            None => false,
        }
    }

    /// The object of this name, with one reference more.
    pub(crate) fn find(self: &Arc<Self>, name: &str) -> Option<Reference> {
        let id = *self.lock().names.get(name)?;
        self.incref(id).ok()
    }

    /// As [`find`](Self::find), with an error that says which names there are.
    pub(crate) fn find_or_raise(self: &Arc<Self>, name: &str) -> Result<Reference, Exception> {
        self.find(name).ok_or_else(|| {
            let mut names: Vec<String> = self.lock().names.keys().cloned().collect();
            names.sort();
            let message = match names.is_empty() {
                true => format!("{name}: nothing was published"),
                false => format!("{name}: published are {}", names.join(", ")),
            };
            raise::key_error(Object::Str(message))
        })
    }

    /// How many objects somebody refers to.
    pub(crate) fn number_of_objects(&self) -> usize {
        self.lock().objects.values().filter(|held| held.references > 0).count()
    }

    /// A line for each object, as Python's `debug_info`.
    pub(crate) fn debug_info(&self) -> String {
        let inner = self.lock();
        let mut held: Vec<(u64, u64, Arc<Entry>)> = inner
            .objects
            .values()
            .map(|held| (held.entry.id, held.references, Arc::clone(&held.entry)))
            .collect();
        drop(inner);
        held.sort_unstable_by_key(|(id, ..)| *id);
        let lines = held.into_iter().map(|(id, references, entry)| {
            let repr: String = entry.repr().chars().take(75).collect();
            format!("  {id:x}:       refcount={references}\n    {repr}")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Drops what nobody refers to, whose lease is over, and that no value mentions.
    pub(crate) fn sweep(&self, now: Instant) {
        let is_over =
            |held: &Held| held.references == 0 && held.leased_until.is_none_or(|until| until <= now);
        let (candidates, entries) = {
            let inner = self.lock();
            let over = inner.objects.values().filter(|held| is_over(held)).map(|held| held.entry.id);
            let candidates: HashSet<u64> = over.collect();
            if candidates.is_empty() {
                return;
            }
            let entries: Vec<Arc<Entry>> =
                inner.objects.values().map(|held| Arc::clone(&held.entry)).collect();
            (candidates, entries)
        };
        let mentioned = reachable(&candidates, &entries);
        let mut dropped = Vec::new();
        let mut inner = self.lock();
        for id in candidates.difference(&mentioned) {
            // Somebody may have come for it meanwhile.
            if inner.objects.get(id).is_some_and(is_over) {
                dropped.extend(inner.objects.remove(id));
            }
        }
        drop(inner);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // No code of others runs under it, and what is in there is changed in single steps.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which candidates an object mentions that is none, or that is mentioned itself.
fn reachable(candidates: &HashSet<u64>, entries: &[Arc<Entry>]) -> HashSet<u64> {
    let mut mentions: HashMap<u64, Vec<u64>> = HashMap::new();
    let mut open = Vec::new();
    for entry in entries {
        let mut found = Vec::new();
        entry.visit(&mut |value| mention::visit(value, &mut |id| found.push(id)));
        found.retain(|id| candidates.contains(id));
        match candidates.contains(&entry.id) {
            true => drop(mentions.insert(entry.id, found)),
            false => open.extend(found),
        }
    }
    let mut reached = HashSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(mentions.remove(&id).unwrap_or_default());
        }
    }
    reached
}

fn gone(id: u64) -> Exception {
    raise::reference_error(format!(
        "this manager has no object {id:x}, or not any more: nobody referred to it"
    ))
}

impl Entry {
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn type_name(&self) -> &str {
        &self.type_name
    }

    /// Calls a method; `None` if it has none of that name.
    pub(crate) fn call(&self, method: &str, given: Given, session: SessionId) -> Option<Step> {
        match &self.cell {
            Cell::Builtin(object) => lock(object).call(method, given, session),
            Cell::User(object) => object.call(method, given).map(Step::Wait),
        }
    }

    /// What is raised for a method that it does not have.
    pub(crate) fn no_method(&self, method: &str) -> Exception {
        let methods = self.methods().join(", ");
        raise::attribute_error(format!(
            "'{}' object has no method '{method}'; it has {methods}",
            self.type_name
        ))
    }

    /// The names of its methods.
    pub(crate) fn methods(&self) -> Vec<String> {
        match &self.cell {
            Cell::Builtin(object) => lock(object).methods().into_iter().map(str::to_owned).collect(),
            Cell::User(object) => object.methods(),
        }
    }

    /// Whether sessions can hold it, as locks.
    pub(crate) fn is_held(&self) -> bool {
        self.is_held
    }

    /// A copy of its value.
    pub(crate) fn value(&self) -> Outcome {
        match &self.cell {
            Cell::Builtin(object) => lock(object).value(),
            Cell::User(_) => {
                Err(raise::type_error(format!("a {} exists in its manager only", self.type_name)))
            }
        }
    }

    /// Python's `repr`.
    pub(crate) fn repr(&self) -> String {
        match &self.cell {
            Cell::Builtin(object) => lock(object).repr(),
            Cell::User(_) => format!("<{} object>", self.type_name),
        }
    }

    /// Takes back what a parked call of a caller that is gone had been given.
    pub(crate) fn give_back(&self, session: SessionId, given: Object) {
        if let Cell::Builtin(object) = &self.cell {
            lock(object).give_back(session, given);
        }
    }

    /// Releases what a session still holds that has ended.
    pub(crate) fn on_session_end(&self, session: SessionId) {
        if let Cell::Builtin(object) = &self.cell {
            lock(object).on_session_end(session);
        }
    }

    fn visit(&self, visit: &mut dyn FnMut(&Object)) {
        if let Cell::Builtin(object) = &self.cell {
            lock(object).visit(visit);
        }
    }
}

fn lock(object: &Mutex<Box<dyn Builtin>>) -> MutexGuard<'_, Box<dyn Builtin>> {
    // The operations are ours. One that panicked has left a value that is whole, if not what it should be.
    object.lock().unwrap_or_else(PoisonError::into_inner)
}
