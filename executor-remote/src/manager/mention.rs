//! Proxies inside of values.
//!
//! A Rust proxy is a tuple with a mark ([`PROXY_MARK`]), and a Python one an instance of a class that is rebuilt with a
//! `Token`. What mentions an object of another manager does no harm: ids begin at random.

use super::protocol::PROXY_MARK;
use crate::object::Object;

/// The class of a Python proxy's address and id.
const TOKEN: &str = "multiprocessing.managers.Token";

/// Calls `found` with the id of every object that is mentioned.
pub(crate) fn visit(value: &Object, found: &mut impl FnMut(u64)) {
    match value {
        Object::List(items) | Object::Tuple(items) | Object::Set(items) | Object::FrozenSet(items) => {
            if let Some(id) = proxy(items) {
                found(id);
            }
            items.iter().for_each(|item| visit(item, found));
        }
        Object::Dict(items) => items.iter().for_each(|(key, value)| {
            visit(key, found);
            visit(value, found);
        }),
        Object::Instance(instance) => {
            if let Some(id) = token(value) {
                found(id);
            }
            instance.args.iter().for_each(|arg| visit(arg, found));
            visit(&instance.state, found);
        }
        _ => {}
    }
}

/// The id in what a Rust proxy serialises as.
fn proxy(items: &[Object]) -> Option<u64> {
    match items {
        [Object::Str(mark), _, _, Object::Int(id), ..] if mark == PROXY_MARK => u64::try_from(*id).ok(),
        _ => None,
    }
}

/// The id in a Python token: its state is `(typeid, address, id)`, and the id is in hexadecimal digits.
pub(crate) fn token(value: &Object) -> Option<u64> {
    let Object::Instance(instance) = value else { return None };
    if instance.class != TOKEN {
        return None;
    }
    let Object::Tuple(state) = &instance.state else { return None };
    let [_, _, Object::Str(id)] = state.as_slice() else { return None };
    u64::from_str_radix(id, 16).ok()
}
