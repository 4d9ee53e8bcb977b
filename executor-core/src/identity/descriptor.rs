//! Descriptors: one per body type, in never-written memory of the executable.

use std::any::type_name;
use std::cell::Cell;
use std::marker::PhantomData;

use super::Invocation;
use super::image::{Image, image};
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

thread_local! {
    /// What this thread has sent last, as addresses of descriptor and function, and it has passed.
    static SENT: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// What this thread has found last.
    static FOUND: Cell<Option<(u64, u64, Resolved)>> = const { Cell::new(None) };
}

/// The offsets of the descriptor and the function; for the sender.
#[inline]
pub(super) fn offsets<B: WireBody>(function: *const ()) -> Result<(u64, u64), String> {
    let image = image()?;
    let addresses = (Of::<B>::DESCRIPTOR as *const Descriptor as usize, function as usize);
    if SENT.get() != addresses {
        check(image, addresses)?;
        SENT.set(addresses);
    }
    Ok((image.offset(addresses.0) as u64, image.offset(addresses.1) as u64))
}

/// Whether they are in the image.
fn check(image: &Image, (descriptor, function): (usize, usize)) -> Result<(), String> {
    let (descriptor, function) = (image.offset(descriptor), image.offset(function));
    if !image.is_frozen(descriptor, size_of::<Descriptor>()) || !image.is_code(function) {
        return Err(FOREIGN.to_owned());
    }
    Ok(())
}

/// A descriptor and a function that have passed all checks.
#[derive(Clone, Copy)]
pub(super) struct Resolved {
    descriptor: &'static Descriptor,
    function: *const (),
}

impl Resolved {
    #[inline]
    pub(super) fn enter(&self, arg: Parcel<'_>, out: &mut Outlet<'_>) -> Invocation {
        // SAFETY: `resolve` has found a descriptor, and the sender took the function together with it; see the module
        // documentation of `identity`.
        unsafe { (self.descriptor.enter)(self.function, arg, out) }
    }
}

/// Checks what a sender has named; for the receiver, after the build ids were found equal.
#[inline]
pub(super) fn resolve(descriptor: u64, function: u64) -> Result<Resolved, String> {
    match FOUND.get() {
        Some(last) if (last.0, last.1) == (descriptor, function) => Ok(last.2),
        _ => {
            let found = look_up(descriptor, function)?;
            FOUND.set(Some((descriptor, function, found)));
            Ok(found)
        }
    }
}

fn look_up(descriptor: u64, function: u64) -> Result<Resolved, String> {
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
