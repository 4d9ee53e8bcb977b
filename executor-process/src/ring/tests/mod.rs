//! What the ring promises, against a plain model, in every interleaving, and against a side that runs wild.

#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
