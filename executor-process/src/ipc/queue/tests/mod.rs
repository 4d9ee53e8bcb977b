#[cfg(not(loom))]
mod async_twins;
mod heap;
#[cfg(loom)]
mod loom;
#[cfg(not(loom))]
mod model;
#[cfg(not(loom))]
mod shared;
