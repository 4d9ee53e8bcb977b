//! Proxies: how they travel, and the one for objects of types that users register.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, DeserializeOwned, Deserializer};
use serde::ser::{self, Serializer};
use serde::{Deserialize, Serialize};

use super::call::{Call, value};
use super::handle::Handle;
use super::protocol::{METHODS, PROXY_MARK};
use super::session::Session;
use crate::connection::AuthKey;
use crate::object::{Object, ObjectError};

/// An object of any type that a manager has, called by the names of its methods.
///
/// The types of this module, as [`Dict`](super::Dict), are the same with methods of their own.
///
/// # Life
///
/// An object lives as long as there is a proxy of it in any process, a [name](super::Manager::publish), or a shared object in which
/// one is stored. Proxies are counted by process: a process that ends, however it ends, refers to nothing any more.
///
/// # Travel
///
/// A proxy can be cloned, sent to threads, and serialised: into the argument or the result of a task, on process pools and on
/// other machines, into a [`Process`](executor_process::Process), a queue, and into other shared objects. On the other side it connects to
/// the manager on its own, so the address with which this process has connected must be reachable from there.
///
/// The encoded argument of a task keeps the object alive until the task has its outcome. On any other way it lives for 60 s after
/// the proxy was serialised, even if nobody else has a proxy of it: a result, say, must have been taken by then.
///
/// **A serialised proxy has the manager's key in it**, for the other side has to prove it. Arguments and results of tasks are seen by the
/// workers alone: what goes to other machines is encrypted if the cluster has a key. Who writes a proxy elsewhere, into a file
/// or to a peer, lets whoever reads it use all of the manager's objects.
///
/// # Errors
///
/// Serialising the proxy of an object at a manager that a Python program runs is an error.
#[derive(Clone)]
pub struct Proxy {
    handle: Arc<Handle>,
}

impl Proxy {
    pub(super) fn new(handle: Arc<Handle>) -> Self {
        Self { handle }
    }

    pub(super) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The object's type as the manager names it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        self.handle.type_name()
    }

    /// The address of the manager.
    #[must_use]
    pub fn address(&self) -> &str {
        self.handle.address()
    }

    /// Calls a method. A tuple is its positional arguments, `()` none, and anything else the only one.
    ///
    /// # Errors
    ///
    /// [`Raised`](super::ManagerError::Raised) with what the method raised, `AttributeError` if there is none of this name;
    /// [`Decode`](super::ManagerError::Decode) if the value is not an `R`.
    pub fn call<A, R>(&self, method: impl Into<Cow<'static, str>>, args: &A) -> Call<R>
    where
        A: Serialize + ?Sized,
        R: DeserializeOwned,
    {
        self.handle.call(method, Object::from_serialize(args).map(positional), value)
    }

    /// The proxy as one of this type, whatever the manager calls the type of the object: for objects that behave like it, as a
    /// Python `dict` that was registered under a name of its own.
    #[must_use]
    pub fn assume<P: SharedObject>(self) -> P {
        P::of(self)
    }

    /// The names of the methods that the object has.
    ///
    /// # Errors
    ///
    /// As those of any call on the object.
    pub fn methods(&self) -> Call<Vec<String>> {
        let handle = Arc::clone(&self.handle);
        match self.handle.as_native() {
            Some((session, id)) => {
                let pending = session.call::<_, Vec<String>>(METHODS, id);
                Call::other(async move {
                    let context = super::call::Context { handle, method: Cow::Borrowed("methods") };
                    pending.await?.map_err(|exception| context.raised(exception))
                })
            }
            None => Call::other(async move { handle.python_methods().await }),
        }
    }
}

pub(super) fn positional(args: Object) -> Vec<Object> {
    match args {
        Object::Tuple(args) => args,
        Object::None => Vec::new(),
        only => vec![only],
    }
}

/// The arguments of a method.
pub(super) fn args<const N: usize>(
    args: [Result<Object, ObjectError>; N],
) -> Result<Vec<Object>, ObjectError> {
    args.into_iter().collect()
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.handle, f)
    }
}

impl Serialize for Proxy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((session, id)) = self.handle.as_native() else {
            return Err(ser::Error::custom(format_args!(
                "the proxy of a {} at a Python manager cannot travel: connect there with `PythonManager::connect`",
                self.type_name()
            )));
        };
        self.handle.depart();
        let key = session.key().as_bytes().map(KeyBytes::Borrowed);
        (PROXY_MARK, &**session.address(), key, id, self.type_name()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        type Written = (String, String, Option<KeyBytes<'static>>, u64, String);
        let (mark, address, key, id, type_name) = Written::deserialize(deserializer)?;
        if mark != PROXY_MARK {
            return Err(de::Error::custom("this is not the proxy of an object of a manager"));
        }
        let key = key.map_or_else(AuthKey::none, |key| AuthKey::from(key.as_ref()));
        Ok(Self::new(Session::of(&address, &key).receive(id, &type_name)))
    }
}

/// A key, written as bytes.
enum KeyBytes<'a> {
    Borrowed(&'a [u8]),
    Owned(zeroize::Zeroizing<Vec<u8>>),
}

impl AsRef<[u8]> for KeyBytes<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

impl Serialize for KeyBytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_ref())
    }
}

impl<'de> Deserialize<'de> for KeyBytes<'static> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = KeyBytes<'static>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the bytes of a key")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                self.visit_byte_buf(bytes.to_vec())
            }

            fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
                Ok(KeyBytes::Owned(bytes.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = seq.next_element()? {
                    bytes.push(byte);
                }
                self.visit_byte_buf(bytes)
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// A proxy of some type. Implemented by all proxies of this module, and by nothing else.
pub trait SharedObject: Clone + Send + Sync + sealed::Sealed + 'static {}

pub(super) mod sealed {
    use super::Proxy;

    pub trait Sealed {
        /// The type at the manager; `None` is any.
        const TYPE_NAME: Option<&'static str>;

        fn proxy(&self) -> &Proxy;

        fn of(proxy: Proxy) -> Self;
    }
}

use sealed::Sealed;

impl SharedObject for Proxy {}

impl Sealed for Proxy {
    const TYPE_NAME: Option<&'static str> = None;

    fn proxy(&self) -> &Proxy {
        self
    }

    fn of(proxy: Proxy) -> Self {
        proxy
    }
}

/// What a proxy is whose type is not the one that is expected.
pub(super) fn cast<P: SharedObject>(proxy: Proxy) -> Result<P, super::ManagerError> {
    match P::TYPE_NAME {
        Some(expected) if expected != proxy.type_name() => Err(super::ManagerError::OtherType {
            expected: expected.to_owned(),
            found: proxy.type_name().to_owned(),
        }),
        _ => Ok(P::of(proxy)),
    }
}

/// Makes a type a proxy: `proxy!(Dict<K, V>, type_names::DICT)`, of a struct with the fields `proxy` and `items`.
macro_rules! proxy {
    ($name:ident $(<$($param:ident),+>)?, $type_name:expr) => {
        impl $(<$($param),+>)? Clone for $name $(<$($param),+>)? {
            fn clone(&self) -> Self {
                $crate::manager::proxy::sealed::Sealed::of(self.proxy.clone())
            }
        }

        impl $(<$($param),+>)? ::std::fmt::Debug for $name $(<$($param),+>)? {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Debug::fmt(&self.proxy, f)
            }
        }

        impl $(<$($param),+>)? ::serde::Serialize for $name $(<$($param),+>)? {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.proxy.serialize(serializer)
            }
        }

        impl<'de, $($($param: 'static),+)?> ::serde::Deserialize<'de> for $name $(<$($param),+>)? {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let proxy = <$crate::manager::proxy::Proxy as ::serde::Deserialize>::deserialize(deserializer)?;
                $crate::manager::proxy::cast(proxy).map_err(::serde::de::Error::custom)
            }
        }

        impl $(<$($param: 'static),+>)? $crate::manager::proxy::SharedObject for $name $(<$($param),+>)? {}

        impl $(<$($param),+>)? $crate::manager::proxy::sealed::Sealed for $name $(<$($param),+>)? {
            const TYPE_NAME: Option<&'static str> = Some($type_name);

            fn proxy(&self) -> &$crate::manager::proxy::Proxy {
                &self.proxy
            }

            fn of(proxy: $crate::manager::proxy::Proxy) -> Self {
                Self { proxy $(, types: $crate::manager::proxy::proxy!(@types $($param),+))? }
            }
        }
    };
    (@types $($param:ident),+) => { ::std::marker::PhantomData };
}
pub(super) use proxy;
