//! Handlers that give their work to an executor.

use std::sync::Arc;

use executor_core::{Executor, ExecutorExt, TaskError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{AsyncFunction, Handler, OrFault};
use crate::rpc::dialect::Fault;
use crate::rpc::protocol::FailureKind;

/// A function whose calls are tasks. A call that is cancelled cancels its task.
pub(crate) fn on_executor<A, R>(executor: Arc<dyn Executor>, function: fn(A) -> R) -> impl Handler
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    AsyncFunction::new(move |args: A| {
        let task = executor.submit(function, args).cancel_on_drop();
        async move { OrFault(task.await.map_err(from_task_error)) }
    })
}

/// What the end of a task is to the caller of the function.
pub(super) fn from_task_error(error: TaskError) -> Fault {
    let kind = match &error {
        TaskError::Panicked { .. } => FailureKind::Panic,
        TaskError::TimedOut { .. } => FailureKind::DeadlineExceeded,
        _ => FailureKind::Executor,
    };
    let message = match &error {
        TaskError::Panicked { message, .. } => format!("the function panicked: {message}"),
        other => other.to_string(),
    };
    Fault::new(kind, message)
}
