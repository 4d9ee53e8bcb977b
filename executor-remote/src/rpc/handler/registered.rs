//! Functions that `register!` has made known by name, whose types only their registration knows.

use std::sync::Arc;

use executor_core::{Dynamic, DynamicError, Executor, ExecutorExt, TaskFuture, decode_plain_seed};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IntoDeserializer};

use super::executor::from_task_error;
use super::{Begun, Handler, OrFault, begin_future};
use crate::object::{Codec, Object};
use crate::rpc::dialect::{Args, Fault, Form, positional};
use crate::rpc::protocol::FailureKind;
use crate::rpc::transport::Batch;

/// One of these functions. Its calls are tasks; a call that is cancelled cancels its task.
///
/// The arguments are decoded here, where the call was read, by the function's own type, so that what does not fit never
/// becomes a task. The value comes back as one that can be written in any dialect.
pub(crate) struct Registered {
    name: &'static str,
    executor: Arc<dyn Executor>,
}

impl Registered {
    pub(crate) fn new(name: &'static str, executor: Arc<dyn Executor>) -> Self {
        Self { name, executor }
    }

    fn submit(&self, args: Args<'_>) -> Result<TaskFuture<Dynamic>, Fault> {
        match args {
            Args::Values(arguments) => self.call(arguments),
            Args::Encoded(Codec::Bincode, bytes) => {
                decode_plain_seed(Submit(self), bytes).unwrap_or_else(|message| Err(bad_arguments(message)))
            }
            Args::Encoded(codec, bytes) => {
                let value: Object = codec.decode(bytes).map_err(|error| Fault::bad_arguments(&error))?;
                // As for other handlers: it is all of the arguments, or else the only one of them.
                let called = self.call(value.clone().into_deserializer());
                called.or_else(|fault| self.call(positional(value)).map_err(|_| fault))
            }
        }
    }

    fn call<'de, D: Deserializer<'de>>(&self, argument: D) -> Result<TaskFuture<Dynamic>, Fault> {
        match self.executor.call_dynamic(self.name, argument) {
            Ok(task) => Ok(task.cancel_on_drop()),
            Err(DynamicError::BadArgument { message, .. }) => Err(bad_arguments(message)),
            Err(error) => Err(Fault::new(FailureKind::UnknownName, error.to_string())),
        }
    }
}

impl Handler for Registered {
    fn begin(&self, args: Args<'_>, form: &Form, batch: &mut Batch) -> Begun {
        begin_future(form, batch, || {
            let task = self.submit(args)?;
            Ok(async move { OrFault(task.await.map_err(from_task_error)) })
        })
    }
}

/// Takes the argument from a format that does not describe itself, which only its type can read.
struct Submit<'a>(&'a Registered);

impl<'de> DeserializeSeed<'de> for Submit<'_> {
    type Value = Result<TaskFuture<Dynamic>, Fault>;

    fn deserialize<D: Deserializer<'de>>(self, argument: D) -> Result<Self::Value, D::Error> {
        Ok(self.0.call(argument))
    }
}

fn bad_arguments(message: String) -> Fault {
    Fault::new(FailureKind::BadArguments, message)
}
