//! The functions of a server by their names, and what its peers may do.

use std::collections::HashMap;
use std::sync::Arc;

use crate::rpc::dialect::{Dialect, Fault};
use crate::rpc::handler::Handler;
use crate::rpc::protocol::{Failure, FailureKind};

/// How many of the nearest names are told.
const NEAREST: usize = 3;

/// What all peers of a server share, and what does not change while it serves.
pub(super) struct Registry {
    pub(super) handlers: HashMap<String, Arc<dyn Handler>>,
    pub(super) config: Config,
}

#[derive(Debug, Clone)]
pub(super) struct Config {
    /// None: by each peer's first message.
    pub(super) dialect: Option<Dialect>,
    /// For each peer.
    pub(super) calls_in_flight: usize,
    /// For each peer.
    pub(super) unsent_bytes: usize,
    pub(super) peers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { dialect: None, calls_in_flight: 1024, unsent_bytes: 1 << 20, peers: 4096 }
    }
}

impl Registry {
    /// That there is no function of this name, and which there are instead.
    pub(super) fn unknown(&self, name: &str) -> Fault {
        let nearest = nearest(name, self.handlers.keys().map(String::as_str));
        let mut message = format!("there is no function `{name}`");
        if let Some((first, others)) = nearest.split_first() {
            message += &format!("; did you mean `{first}`");
            others.iter().for_each(|other| message += &format!(" or `{other}`"));
            message.push('?');
        }
        let kind = FailureKind::UnknownName;
        Failure { kind, type_name: String::new(), message, notes: nearest }.into()
    }
}

/// The names that this one may be a typo of, best first.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    // The work grows with the product of the lengths, and the peer has chosen one of them.
    if name.len() > crate::rpc::protocol::NAME_LIMIT {
        return Vec::new();
    }
    let mut near: Vec<_> = known
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .filter(|(distance, known)| *distance <= 1 + known.len().max(name.len()) / 3)
        .collect();
    near.sort_unstable();
    near.into_iter().take(NEAREST).map(|(_, known)| known.to_owned()).collect()
}
