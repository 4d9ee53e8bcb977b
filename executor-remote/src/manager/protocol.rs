//! The native protocol of a manager: what proxies of Rust programs say to the server.
//!
//! It is the native dialect of `rpc` with the codec bincode. A client is an `RpcClient`; the table below
//! lists the functions, with the one value that is their argument.
//!
//! | function | argument | value |
//! | --- | --- | --- |
//! | [`CREATE`] | `(type: String, args: Vec<Object>)` | [`Created`]; the session gets one reference |
//! | [`FIND`] | `name: String` | [`Created`] of what was published under the name; the session gets one reference |
//! | [`CALL`] | `(id: u64, method: &str, args: Vec<Object>)` | `Object` |
//! | [`INCREF`] | `id: u64` | `()`; one reference more |
//! | [`DECREF`] | `id: u64` | `()`; one reference less |
//! | [`LEASE`] | `(id: u64, milliseconds: u64)` | `()`; the object lives for so long, whoever refers to it |
//! | [`PUBLISH`] | `(name: String, id: u64)` | `()`; the name refers to the object, until it is withdrawn |
//! | [`WITHDRAW`] | `name: String` | `bool`: whether there was such a name |
//! | [`METHODS`] | `id: u64` | `Vec<String>` |
//! | [`NUMBER_OF_OBJECTS`] | `()` | `u64` |
//! | [`DEBUG_INFO`] | `()` | `String` |
//! | [`SHUTDOWN`] | `()` | `()`; then the server ends |
//!
//! 1. *Outcomes.* Each function answers `Result<value, Exception>`, as a value in its answer. The exception is what
//!    Python would raise: `KeyError` with the key, `queue.Empty`, `AttributeError` for a method that there is
//!    not, `ReferenceError` for an object that there is not (any more). Failures of the RPC layer itself mean
//!    that the peer is no manager, or is gone.
//! 2. *Sessions.* A connection is a session. It holds references, counted for each object; when it ends, for whatever
//!    reason, they are gone, its parked calls are withdrawn, and the locks it holds are released.
//! 3. *Life.* An object lives while there is a reference of any session, a name, or a lease that is not over. Who sends a
//!    proxy on its way first asks for a lease on the same connection; who receives it sends `INCREF` before its first
//!    call. An object whose proxy is stored inside of another shared object lives as long as it is there.
//! 4. *Order.* What a session asks is begun in the order in which it was sent, so a client need not await an answer before
//!    it sends the next call. Answers come in any order.
//! 5. *Waiting.* A call that has to wait (`Queue.get`, `Lock.acquire`, `Event.wait`) is parked and overtaken by later
//!    ones. Its time limit is its argument, in seconds, as in Python. RPC's cancel takes it out again; what it
//!    was given in that instant, an item or a lock, goes back to the object.
//! 6. *Methods* are those of Python, with positional arguments: `("__setitem__", [key, value])`, `("get", [key,
//!    default])`, `("put", [item, block, timeout])`. The lists are in `types`. For Rust alone, there is
//!    [`ACQUIRE`] of locks.
//! 7. *Proxies inside of values* are recognised by their form, the tuple `(`[`PROXY_MARK`]`, address: str, key: bytes or
//!    None, id: int, type: str)`, wherever it is nested.

use serde::{Deserialize, Serialize};

/// Creates an object.
pub(crate) const CREATE: &str = "manager.create";
/// Finds a published object.
pub(crate) const FIND: &str = "manager.find";
/// Calls a method of an object.
pub(crate) const CALL: &str = "manager.call";
/// Takes one more reference.
pub(crate) const INCREF: &str = "manager.incref";
/// Gives one reference up.
pub(crate) const DECREF: &str = "manager.decref";
/// Keeps an object alive while its proxy is on its way.
pub(crate) const LEASE: &str = "manager.lease";
/// Gives an object a name.
pub(crate) const PUBLISH: &str = "manager.publish";
/// Takes a name away.
pub(crate) const WITHDRAW: &str = "manager.withdraw";
/// Lists the methods of an object.
pub(crate) const METHODS: &str = "manager.methods";
/// Counts the objects that anybody refers to.
pub(crate) const NUMBER_OF_OBJECTS: &str = "manager.number_of_objects";
/// Describes the objects for a person.
pub(crate) const DEBUG_INFO: &str = "manager.debug_info";
/// Ends the server.
pub(crate) const SHUTDOWN: &str = "manager.shutdown";

/// The method of a lock that also says whether its last holder left it behind: `(timeout: float | None)`, answered by one
/// of the [`acquired`] numbers. A limit of `None` waits for ever, 0.0 does not wait.
pub(crate) const ACQUIRE: &str = "#ACQUIRE";

/// What [`ACQUIRE`] answers.
pub(crate) mod acquired {
    /// The time was over.
    pub(crate) const NO: i128 = 0;
    /// The caller holds the lock.
    pub(crate) const YES: i128 = 1;
    /// The caller holds the lock, and who held it before has lost its connection without releasing it.
    pub(crate) const OWNER_DIED: i128 = 2;
}

/// The first item of the tuple that a proxy serialises as.
pub(crate) const PROXY_MARK: &str = "executor.manager.proxy/1";

/// Names of the types that every manager has; Python's, as in `SyncManager`.
pub(crate) mod type_names {
    pub(crate) const DICT: &str = "dict";
    pub(crate) const LIST: &str = "list";
    /// Created with its bound; 0 is none.
    pub(crate) const QUEUE: &str = "Queue";
    pub(crate) const LOCK: &str = "Lock";
    pub(crate) const EVENT: &str = "Event";
    pub(crate) const NAMESPACE: &str = "Namespace";
    /// Created with Python's type code, of which nothing follows, and the value.
    pub(crate) const VALUE: &str = "Value";
}

/// An object that was created or found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Created {
    /// What it is called in calls.
    pub(crate) id: u64,
    /// The type it was created as.
    pub(crate) type_name: String,
}
