//! The body of a task: its function, and how argument and result are moved or serialised.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attachment;
use crate::codec;
use crate::dynamic::Dynamic;
use crate::error::TaskError;
use crate::identity::{self, Invocation, Target, WireBody};
use crate::panic;
use crate::parcel::{self, Buffer, Bytes, Carrier, Outlet, Parcel};

/// A boxed task body that is a future.
pub(crate) type BodyFuture<R> = Pin<Box<dyn Future<Output = R> + Send>>;

/// What starting a body gives.
pub(crate) enum Started<R> {
    /// The body ran to its end.
    Ready(R),
    /// The function could not be called.
    Failed(TaskError),
    /// The body is a future; the backend polls it.
    Future(BodyFuture<R>),
}

/// What a value must be to travel.
pub(crate) trait Value: Serialize + DeserializeOwned + Send + 'static {}
impl<T: Serialize + DeserializeOwned + Send + 'static> Value for T {}

/// The function of a task, with its types.
pub(crate) trait Body: Send + Sync + 'static {
    type Arg: Send + 'static;
    type Out: Send + 'static;

    /// Whether [`start`](Self::start) gives a future.
    const IS_ASYNC: bool;

    /// Calls the function. A panic unwinds out of here.
    fn start(&self, arg: Self::Arg) -> Started<Self::Out>;

    /// How another process finds the function.
    fn target(&self) -> Result<Target, TaskError>;

    fn encode_arg(arg: &Self::Arg, out: &mut Buffer<'_>) -> Result<(), TaskError>;

    fn decode_out(bytes: &[u8]) -> Result<Self::Out, TaskError>;
}

/// `fn(A) -> R`.
pub(crate) struct Call<A, R>(pub(crate) fn(A) -> R);

impl<A: Value, R: Value> Body for Call<A, R> {
    type Arg = A;
    type Out = R;
    const IS_ASYNC: bool = false;

    fn start(&self, arg: A) -> Started<R> {
        Started::Ready((self.0)(arg))
    }
    fn target(&self) -> Result<Target, TaskError> {
        identity::target::<Self>(self.0 as *const ())
    }
    fn encode_arg(arg: &A, out: &mut Buffer<'_>) -> Result<(), TaskError> {
        codec::encode_arg_into(arg, out)
    }
    fn decode_out(bytes: &[u8]) -> Result<R, TaskError> {
        codec::decode_result(bytes)
    }
}

impl<A: Value, R: Value> WireBody for Call<A, R> {
    unsafe fn enter(function: *const (), arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
        // SAFETY: the caller passes the address of a live `fn(A) -> R`, as the contract of `enter` demands.
        let function: fn(A) -> R = unsafe { std::mem::transmute(function) };
        Invocation::Done(run_encoded(arg, out, function))
    }
}

/// Decodes the argument, calls the function and encodes the result, each guarded against panics.
pub(crate) fn run_encoded<A: Value, R: Value>(
    arg: Parcel<'_>,
    out: &mut Outlet<'_>,
    function: impl FnOnce(A) -> R,
) -> Result<(), TaskError> {
    let arg = decode_arg(arg)?;
    let result = panic::catch(|| function(arg))?;
    let encoded = out.encode_result(&result);
    if std::mem::needs_drop::<R>() {
        panic::catch(|| drop(result))?;
    }
    encoded
}

/// Decodes the argument. What it has come in is given back before the task begins.
fn decode_arg<A: Value>(arg: Parcel<'_>) -> Result<A, TaskError> {
    let Parcel { bytes, mut attachments } = arg;
    parcel::open(&mut attachments, || codec::decode_arg(&bytes))
}

/// `fn(A) -> R`, for a caller that does not know `R`. Elsewhere it is entered as [`Call`].
pub(crate) struct DynamicCall<A, R>(pub(crate) fn(A) -> R);

impl<A: Value, R: Value> Body for DynamicCall<A, R> {
    type Arg = A;
    type Out = Dynamic;
    const IS_ASYNC: bool = false;

    fn start(&self, arg: A) -> Started<Dynamic> {
        Started::Ready(Dynamic::new((self.0)(arg)))
    }
    fn target(&self) -> Result<Target, TaskError> {
        Call(self.0).target()
    }
    fn encode_arg(arg: &A, out: &mut Buffer<'_>) -> Result<(), TaskError> {
        codec::encode_arg_into(arg, out)
    }
    fn decode_out(bytes: &[u8]) -> Result<Dynamic, TaskError> {
        codec::decode_result::<R>(bytes).map(Dynamic::new)
    }
}

/// `fn(A) -> Fut`: the body is a future.
pub(crate) struct AsyncCall<A, Fut>(pub(crate) fn(A) -> Fut);

impl<A: Value, Fut> Body for AsyncCall<A, Fut>
where
    Fut: Future + Send + 'static,
    Fut::Output: Value,
{
    type Arg = A;
    type Out = Fut::Output;
    const IS_ASYNC: bool = true;

    fn start(&self, arg: A) -> Started<Fut::Output> {
        Started::Future(Box::pin((self.0)(arg)))
    }
    fn target(&self) -> Result<Target, TaskError> {
        identity::target::<Self>(self.0 as *const ())
    }
    fn encode_arg(arg: &A, out: &mut Buffer<'_>) -> Result<(), TaskError> {
        codec::encode_arg_into(arg, out)
    }
    fn decode_out(bytes: &[u8]) -> Result<Fut::Output, TaskError> {
        codec::decode_result(bytes)
    }
}

impl<A: Value, Fut> WireBody for AsyncCall<A, Fut>
where
    Fut: Future + Send + 'static,
    Fut::Output: Value,
{
    unsafe fn enter(function: *const (), arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
        // SAFETY: the caller passes the address of a live `fn(A) -> Fut`, as the contract of `enter` demands.
        let function: fn(A) -> Fut = unsafe { std::mem::transmute(function) };
        let carrier = out.carrier();
        let started = decode_arg::<A>(arg).and_then(|arg| panic::catch(|| function(arg)));
        match started {
            Err(error) => Invocation::Done(Err(error)),
            Ok(future) => Invocation::Pending(Box::pin(async move {
                let result = panic::catch_future(future).await?;
                parcel::encode_owned(&result, carrier)
            })),
        }
    }
}

/// A registered function, by name.
pub(crate) struct NamedCall<A, R> {
    name: Box<str>,
    _types: PhantomData<fn(A) -> R>,
}

impl<A, R> NamedCall<A, R> {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.into(), _types: PhantomData }
    }
}

impl<A: Value, R: Value> NamedCall<A, R> {
    /// Goes through bytes also in the same process: the registry knows functions by their serialised form only.
    fn call(&self, arg: &A) -> Result<R, TaskError> {
        let (mut bytes, mut result) = (Vec::new(), Vec::new());
        let (encoded, attachments) = attachment::collect(|| codec::encode_arg(arg, &mut bytes));
        encoded?;
        let mut outlet = Outlet::new(&mut result, Carrier::local(usize::MAX).without_bulk());
        let parcel = Parcel { bytes: Bytes::Owned(bytes), attachments };
        identity::call_registered(&self.name, parcel, &mut outlet)?;
        let (attachments, _) = outlet.finish();
        parcel::decode_result(Parcel { bytes: Bytes::Owned(result), attachments })
    }
}

impl<A: Value, R: Value> Body for NamedCall<A, R> {
    type Arg = A;
    type Out = R;
    const IS_ASYNC: bool = false;

    fn start(&self, arg: A) -> Started<R> {
        match self.call(&arg) {
            Ok(value) => Started::Ready(value),
            Err(error) => Started::Failed(error),
        }
    }
    fn target(&self) -> Result<Target, TaskError> {
        Ok(Target::Named(self.name.to_string()))
    }
    fn encode_arg(arg: &A, out: &mut Buffer<'_>) -> Result<(), TaskError> {
        codec::encode_arg_into(arg, out)
    }
    fn decode_out(bytes: &[u8]) -> Result<R, TaskError> {
        codec::decode_result(bytes)
    }
}

/// Any `FnOnce`, for backends in the same process: the closure is its own argument.
pub(crate) struct CallOnce<F, R>(PhantomData<fn(F) -> R>);

impl<F, R> CallOnce<F, R> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<F, R> Body for CallOnce<F, R>
where
    F: FnOnce() -> R + Send + 'static,
    R: Send + 'static,
{
    type Arg = F;
    type Out = R;
    const IS_ASYNC: bool = false;

    fn start(&self, arg: F) -> Started<R> {
        Started::Ready(arg())
    }
    fn target(&self) -> Result<Target, TaskError> {
        Err(TaskError::not_portable(
            "a closure given to `spawn` stays in its process; use `submit` with a function and an argument",
        ))
    }
    fn encode_arg(_: &F, _: &mut Buffer<'_>) -> Result<(), TaskError> {
        Err(TaskError::not_portable("the captures of a closure given to `spawn` are not serialisable"))
    }
    fn decode_out(_: &[u8]) -> Result<R, TaskError> {
        Err(TaskError::decode(
            std::any::type_name::<R>(),
            "a closure given to `spawn` has no serialised result",
        ))
    }
}
