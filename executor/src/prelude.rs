//! What a program that uses executors needs: `use executor::prelude::*;`.
//!
//! [`StreamExt`] is among it because [`Map`](crate::Map) and [`AsCompleted`](crate::AsCompleted) are streams, and
//! `results.next().await` is how one takes the results of a stream. It is the trait of `futures`, by its own name: a
//! program that imports another `StreamExt` by name gets that one, without an ambiguity.

pub use crate::{
    Blob, Capabilities, Config, Context, Executor, ExecutorExt, OpenError, ReturnWhen, Shared, Shutdown,
    Stats, TaskError, TaskFuture, TaskId, TaskStatus, TrySubmitError, as_completed, context, from_env, open,
    register, wait,
};
pub use futures::StreamExt;
