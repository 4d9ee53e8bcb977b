//! The thread's robust list: locks of which the kernel takes care when the thread dies.
//!
//! Each thread has one, and its head lies in the C library's description of the thread, which uses it for robust
//! mutexes. The kernel knows where. We link our nodes into the same list, as the C library does with its own, because a
//! thread can have but one: word, previous and next are at the same places in both kinds of node, and each keeps the
//! other's links in order.
//!
//! 1. Only the thread itself touches its list and the links of nodes in it, or for the keeper's list whoever holds the
//!    keeper's mutex. So all that is needed is that the *kernel*, which looks when the thread is no more, sees the
//!    steps in the order of the program: release fences.
//! 2. A node that is in a list stays mapped: guards borrow their region, and a guard that was forgotten pins it
//!    (`region`, rule 3).
//! 3. A fork leaves the child with one thread, another number and an empty list. What this module remembers of the
//!    thread is forgotten there.

use std::cell::Cell;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicUsize, fence};

use super::RobustLock;
use crate::ipc::error::IpcError;

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct Head {
    /// Address of the `next` of the first node, or of this field.
    list: AtomicUsize,
    /// From a node's `next` to its word.
    futex_offset: isize,
    /// Address of the `next` of the node that is being taken or given back.
    pending: AtomicUsize,
}

const NEXT: usize = std::mem::offset_of!(RobustLock, next);
/// Between a node's `next` and `previous`; before the head, the C library has a `previous` as well.
const PREVIOUS: usize = size_of::<usize>();
const OFFSET: isize = -(NEXT as isize);
const _: () = assert!(NEXT - PREVIOUS == std::mem::offset_of!(RobustLock, previous));
const _: () = assert!(std::mem::offset_of!(RobustLock, word) == 0);

/// Marks nodes of another kind in the lowest bit of an address.
const FLAG: usize = 1;

/// A thread as the owner of locks; in general the one that runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Me {
    tid: u32,
    head: *const Head,
}

impl Me {
    #[inline]
    pub(crate) fn tid(self) -> u32 {
        self.tid
    }

    #[inline]
    fn head(self) -> &'static Head {
        // SAFETY: the head of this very thread (`Me` is not `Send`), or of the keeper, which outlives the use (`keeper`, rule
        // 2). It exists as long as the thread does.
        unsafe { &*self.head }
    }
}

thread_local! {
    static ME: Cell<Me> = const { Cell::new(Me { tid: 0, head: ptr::null() }) };
}

/// This thread.
///
/// # Panics
///
/// If the thread has no robust list, or one of another shape than the thread had on which [`supported`] looked.
#[inline]
pub(crate) fn me() -> Me {
    let me = ME.get();
    if me.tid != 0 { me } else { meet() }
}

/// Forgets what is remembered of the thread: for a fork that calls no handlers.
pub(crate) fn forget() {
    ME.set(Me { tid: 0, head: ptr::null() });
}

#[cold]
fn meet() -> Me {
    static FORGET_IN_CHILDREN: Once = Once::new();
    FORGET_IN_CHILDREN.call_once(|| {
        extern "C" fn forget_in_child() {
            forget();
        }
        // SAFETY: the handler does one store to memory of its thread.
        unsafe { libc::pthread_atfork(None, None, Some(forget_in_child)) };
    });
    let head = head().expect("every thread of the C library has a robust list; this one was made without it");
    let me = Me { tid: rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned(), head };
    ME.set(me);
    me
}

/// The head of this thread's list, if it has one of the shape that is written here.
fn head() -> Option<*const Head> {
    let (mut head, mut length) = (ptr::null::<Head>(), 0usize);
    // SAFETY: writes to the two places, which are as large as the kernel expects.
    let answer = unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    if answer != 0 || head.is_null() || length != size_of::<Head>() {
        return None;
    }
    // SAFETY: what the C library has told the kernel about this thread.
    (unsafe { (*head).futex_offset } == OFFSET).then_some(head)
}

/// Whether the C library of this process keeps robust lists as this module does.
pub(crate) fn supported() -> Result<(), IpcError> {
    match ME.get().tid != 0 || head().is_some() {
        true => Ok(()),
        false => Err(IpcError::Unsupported {
            reason: "the C library keeps the robust lists of its threads in another way than glibc does",
        }),
    }
}

/// The lock is about to be taken or given back.
#[inline]
pub(super) fn begin(me: Me, lock: &RobustLock) {
    me.head().pending.store(address(lock), Relaxed);
    fence(Release);
}

/// This thread waits for others to ring, who wake *one*: should it die, the kernel wakes another one who waits for the `heir`.
/// The word is zero for ever, which the kernel takes for a lock that is free (`word`, rule 5).
pub(crate) fn begin_waiting(me: Me, heir: &AtomicU32) {
    me.head().pending.store(heir.as_ptr().expose_provenance().wrapping_sub_signed(OFFSET), Relaxed);
    fence(Release);
}

/// The lock was taken or given back, or the wait has ended.
#[inline]
pub(crate) fn end(me: Me) {
    fence(Release);
    me.head().pending.store(0, Relaxed);
}

/// Puts the lock at the head of the list.
#[inline]
pub(super) fn link(me: Me, lock: &RobustLock) {
    let head = me.head();
    let first = head.list.load(Relaxed);
    lock.next.store(first, Relaxed);
    lock.previous.store((&raw const head.list).addr(), Relaxed);
    previous_of(first).store(address(lock), Relaxed);
    // The node has its links before the kernel can come across it (rule 1).
    fence(Release);
    head.list.store((&raw const lock.next).expose_provenance(), Relaxed);
    fence(Release);
}

/// Takes the lock out of the list of this thread, in which it is.
#[inline]
pub(super) fn unlink(lock: &RobustLock) {
    let (next, previous) = (lock.next.load(Relaxed), lock.previous.load(Relaxed));
    fence(Release);
    previous_of(next).store(previous, Relaxed);
    next_of(previous).store(next, Relaxed);
    fence(Release);
}

#[inline]
fn address(lock: &RobustLock) -> usize {
    (&raw const lock.next).expose_provenance()
}

/// The `next` of a node or the head itself.
#[inline]
fn next_of(node: usize) -> &'static AtomicUsize {
    // SAFETY: the address stood in this thread's list or in a node that is in it, which are mapped (rule 2) and touched
    // by this thread alone (rule 1).
    unsafe { &*ptr::with_exposed_provenance::<AtomicUsize>(node & !FLAG) }
}

/// The `previous` of a node, or the C library's place for it before the head.
#[inline]
fn previous_of(node: usize) -> &'static AtomicUsize {
    // SAFETY: as for `next_of`; the place lies at this distance in nodes and head alike.
    unsafe { &*ptr::with_exposed_provenance::<AtomicUsize>((node & !FLAG) - PREVIOUS) }
}

/// How many nodes are in the list.
#[cfg(test)]
pub(super) fn length(me: Me) -> usize {
    let end = (&raw const me.head().list).addr();
    std::iter::successors(Some(me.head().list.load(Relaxed)), |node| Some(next_of(*node).load(Relaxed)))
        .take_while(|node| *node != end)
        .count()
}
