//! Descriptors: one per body type, in never-written memory of the executable.

use std::any::type_name;
use std::marker::PhantomData;

use super::Invocation;
use super::image::image;
use crate::parcel::{Outlet, Parcel};
use crate::task::Body;

/// A body whose function can be entered from bytes.
pub(crate) trait WireBody: Body + Sized {
    /// Decodes the argument, calls the function and appends the encoded result.
    ///
    /// # Safety
    ///
    /// `function` is the address of a function of the type that this body holds.
    unsafe fn enter(function: *const (), arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation;
}

type Enter = unsafe fn(*const (), Parcel<'_>, &mut Outlet<'_>) -> Invocation;

/// What the receiver needs to know of a body's types. The marks at both ends and the three code pointers between
/// them make it recognisable: no other place of an executable passes [`resolve`].
#[repr(C)]
struct Descriptor {
    head: u64,
    enter: Enter,
    arg: fn() -> &'static str,
    result: fn() -> &'static str,
    tail: u64,
}

const HEAD: u64 = u64::from_le_bytes(*b"exectask");
const TAIL: u64 = u64::from_le_bytes(*b"desc0001");
const WORDS: usize = size_of::<Descriptor>() / 8;
const _: () = assert!(WORDS == 5 && size_of::<usize>() == 8, "descriptors are for 64-bit machines");

struct Of<B>(PhantomData<B>);

impl<B: WireBody> Of<B> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor {
        head: HEAD,
        enter: B::enter,
        arg: type_name::<B::Arg>,
        result: type_name::<B::Out>,
        tail: TAIL,
    };
}

const FOREIGN: &str = "its code is not in the main executable (it comes from a shared library or plugin); make it known \
                       with `register!` and submit it with `call`";

/// The offsets of the descriptor and the function; for the sender.
#[inline]
pub(super) fn offsets<B: WireBody>(function: *const ()) -> Result<(u64, u64), String> {
    let image = image()?;
    let descriptor = image.offset(Of::<B>::DESCRIPTOR as *const Descriptor as usize);
    let function = image.offset(function as usize);
    if !image.is_frozen(descriptor, size_of::<Descriptor>()) || !image.is_code(function) {
        return Err(FOREIGN.to_owned());
    }
    Ok((descriptor as u64, function as u64))
}

/// A descriptor and a function that have passed all checks.
pub(super) struct Resolved {
    descriptor: &'static Descriptor,
    function: *const (),
}

impl Resolved {
    pub(super) fn enter(&self, arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
        // SAFETY: `resolve` has found a descriptor, and the sender took the function together with it; see the module
        // documentation of `identity`.
        unsafe { (self.descriptor.enter)(self.function, arg, out) }
    }
}

/// Checks what a sender has named; for the receiver, after the build ids were found equal.
pub(super) fn resolve(descriptor: u64, function: u64) -> Result<Resolved, String> {
    let image = image()?;
    let (Ok(descriptor), Ok(function)) = (usize::try_from(descriptor), usize::try_from(function)) else {
        return Err("the function's offset does not fit this machine".to_owned());
    };
    if !descriptor.is_multiple_of(align_of::<Descriptor>())
        || !image.is_frozen(descriptor, size_of::<Descriptor>())
    {
        return Err(format!("there is no descriptor at offset {descriptor:#x} of this executable"));
    }
    if !image.is_code(function) {
        return Err(format!("there is no code at offset {function:#x} of this executable"));
    }
    let address = image.address(descriptor) as *const Descriptor;
    // SAFETY: in bounds of our own image, aligned, and never written after relocation; any bytes are integers.
    let words = unsafe { address.cast::<[u64; WORDS]>().read() };
    let is_code = |word: u64| usize::try_from(word).is_ok_and(|it| image.is_code(image.offset(it)));
    if words[0] != HEAD || words[WORDS - 1] != TAIL || !words[1..WORDS - 1].iter().all(|it| is_code(*it)) {
        return Err(format!("there is no descriptor at offset {descriptor:#x} of this executable"));
    }
    Ok(Resolved {
        // SAFETY: marks and pointers are in their places, so this is a `Descriptor`, in memory that lives for ever.
        descriptor: unsafe { &*address },
        function: image.address(function) as *const (),
    })
}

/// How many offsets of this executable pass as descriptors.
#[cfg(test)]
pub(super) fn count_accepted() -> usize {
    let image = image().unwrap();
    let function = image.offset(count_accepted as *const () as usize) as u64;
    image.frozen_offsets().filter(|offset| resolve(*offset as u64, function).is_ok()).count()
}
