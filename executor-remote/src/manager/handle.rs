//! What all proxies of one object in this process share: the reference to it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use executor_core::attachment;

use super::call::{Call, Context, Decode};
use super::error::ManagerError;
use super::pending::Pending;
use super::python_client::Server;
use super::session::Session;
use crate::object::{Object, ObjectError};

/// For how long a lease is not asked for again: as good as nothing of [`LEASE_TIME`](super::session::LEASE_TIME).
const LEASE_AGAIN: Duration = Duration::from_secs(1);

/// A reference to an object of a manager. Given up when it is dropped.
pub(crate) struct Handle {
    place: Place,
    type_name: Box<str>,
}

/// Where the object is.
enum Place {
    /// At a manager of this project.
    Native { session: Arc<Session>, id: u64, leased: Mutex<Option<Instant>> },
    /// At a manager that a Python program runs.
    Python { server: Arc<Server>, id: Box<str> },
}

impl Handle {
    /// To be made by the session alone, which counts the reference.
    pub(super) fn native(session: Arc<Session>, id: u64, type_name: &str) -> Self {
        Self { place: Place::Native { session, id, leased: Mutex::new(None) }, type_name: type_name.into() }
    }

    /// Of an object for which the server has counted a reference of ours.
    pub(super) fn python(server: Arc<Server>, id: &str, type_name: &str) -> Self {
        Self { place: Place::Python { server, id: id.into() }, type_name: type_name.into() }
    }

    /// The object's type as the manager names it.
    pub(super) fn type_name(&self) -> &str {
        &self.type_name
    }

    /// The manager's address.
    pub(super) fn address(&self) -> &Arc<str> {
        match &self.place {
            Place::Native { session, .. } => session.address(),
            Place::Python { server, .. } => server.address(),
        }
    }

    /// Session and id of an object at a manager of this project.
    pub(super) fn as_native(&self) -> Option<(&Arc<Session>, u64)> {
        match &self.place {
            Place::Native { session, id, .. } => Some((session, *id)),
            Place::Python { .. } => None,
        }
    }

    /// Makes sure that the object outlives the journey of a proxy that is about to be serialised.
    pub(super) fn depart(self: &Arc<Self>) {
        let Place::Native { session, id, leased } = &self.place else { return };
        attachment::keep(Arc::clone(self) as Arc<_>);
        let mut leased = leased.lock().unwrap_or_else(PoisonError::into_inner);
        if leased.is_none_or(|at| at.elapsed() >= LEASE_AGAIN) {
            session.lease(*id);
            *leased = Some(Instant::now());
        }
    }

    /// The names of the methods of an object at a Python manager; of another, none.
    pub(super) async fn python_methods(self: Arc<Self>) -> Result<Vec<String>, ManagerError> {
        let Place::Python { server, id } = &self.place else { return Ok(Vec::new()) };
        let outcome = server.methods(id, &self.type_name).await?;
        let context = Context { handle: Arc::clone(&self), method: Cow::Borrowed("methods") };
        super::call::value(outcome, &context)
    }

    /// Asks for a method to be called.
    pub(super) fn call<T>(
        self: &Arc<Self>,
        method: impl Into<Cow<'static, str>>,
        args: Result<Vec<Object>, ObjectError>,
        decode: Decode<T>,
    ) -> Call<T> {
        let method = method.into();
        let pending = self.pending(method.clone(), args);
        Call::method(pending, Context { handle: Arc::clone(self), method }, decode)
    }

    /// As [`call`](Self::call), where nobody waits for the answer. It is carried out even if this process ends now.
    pub(super) fn tell(&self, method: &'static str, args: Vec<Object>) {
        self.pending(Cow::Borrowed(method), Ok(args)).detach();
        if let Place::Native { session, .. } = &self.place {
            session.flush();
        }
    }

    fn pending(&self, method: Cow<'static, str>, args: Result<Vec<Object>, ObjectError>) -> Pending<Object> {
        let args = match args {
            Ok(args) => args,
            Err(source) => {
                let object = self.type_name.clone().into_string();
                let error = ManagerError::Encode { object, method: method.into_owned(), source };
                return Pending::failed(Arc::clone(self.address()), error);
            }
        };
        match &self.place {
            Place::Native { session, id, .. } => session.method(*id, method, args),
            Place::Python { server, id } => server.method(id, &method, args),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        match &self.place {
            Place::Native { session, id, .. } => session.give_up(*id, self),
            Place::Python { server, id } => server.give_up(id),
        }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct(&self.type_name);
        match &self.place {
            Place::Native { id, .. } => out.field("id", id),
            Place::Python { id, .. } => out.field("id", id),
        };
        out.field("manager", self.address()).finish()
    }
}
