//! Taking over before `main`: what [`init_before_main!`](crate::init_before_main) expands to.
//!
//! The loader calls the functions in the executable's `.init_array`, one after the other, and then `main`. The macro puts
//! one there. In a worker it never returns, so what stands behind it in the array would never run; and among that can be
//! the constructors by which `register!` makes functions known (the order is the linker's). So in a worker it first calls
//! what the loader would have called next.
//!
//! Rejected: a constructor with a late priority. The linkers put all entries that have a priority before those that have
//! none, which `register!`'s are.

use std::ffi::{c_char, c_int};

/// A function that the loader calls before `main`, as glibc calls it. Others pass nothing, and nothing is read.
pub type Constructor = unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char);

/// An entry of `.init_array`.
#[repr(transparent)]
pub struct Entry(pub Constructor);

/// Becomes a worker if this process was started as one.
///
/// # Safety
///
/// It is called by the loader for `entry`, which is in the main executable's `.init_array`, with the loader's arguments.
pub unsafe fn before_main(
    entry: &'static Entry,
    argc: c_int,
    argv: *const *const c_char,
    envp: *const *const c_char,
) {
    if crate::init::check().is_ok() {
        return;
    }
    for later in entries_behind(entry) {
        // SAFETY: the loader would call it next, with the same arguments, and does not: `init` does not return here.
        unsafe { later(argc, argv, envp) };
    }
    crate::init();
}

/// The constructors behind `entry` in the array of the main executable.
fn entries_behind(entry: &'static Entry) -> impl Iterator<Item = Constructor> {
    let (start, end) = init_array().unwrap_or((0, 0));
    let first = std::ptr::from_ref(entry).addr() + size_of::<Entry>();
    let len = if first > start && first <= end { (end - first) / size_of::<usize>() } else { 0 };
    let first = std::ptr::from_ref(entry).cast::<usize>().wrapping_add(1);
    (0..len).filter_map(move |at| {
        // SAFETY: between `entry` and the end of the array that `entry` is in, whose words are never written after
        // relocation.
        let word = unsafe { first.add(at).read() };
        // SAFETY: a word of the array is a constructor; 0 and -1 are the paddings that the ABI allows.
        (word != 0 && word != usize::MAX).then(|| unsafe { std::mem::transmute::<usize, Constructor>(word) })
    })
}

/// Where the main executable's `.init_array` begins and ends. `None` for one that is linked statically at a fixed
/// address, which has no dynamic section to tell.
fn init_array() -> Option<(usize, usize)> {
    let (base, dynamic) = dynamic_section()?;
    let (mut start, mut size) = (None, None);
    let mut at = dynamic;
    loop {
        // SAFETY: the dynamic section of the main executable, which ends with a null entry.
        let [tag, value] = unsafe { at.read() };
        match tag {
            DT_NULL => break,
            DT_INIT_ARRAY => start = Some(base.wrapping_add(value)),
            DT_INIT_ARRAYSZ => size = Some(value),
            _ => {}
        }
        at = at.wrapping_add(1);
    }
    Some((start?, start?.checked_add(size?)?))
}

const DT_NULL: usize = 0;
const DT_INIT_ARRAY: usize = 25;
const DT_INIT_ARRAYSZ: usize = 27;

/// The load address of the main executable, and its dynamic section.
fn dynamic_section() -> Option<(usize, *const [usize; 2])> {
    // SAFETY: asks for values that the kernel put beside the program; no such value is 0.
    let (table, len) = unsafe { (libc::getauxval(libc::AT_PHDR), libc::getauxval(libc::AT_PHNUM)) };
    if table == 0 {
        return None;
    }
    // SAFETY: the program headers of the main executable, mapped for as long as it runs.
    let headers = unsafe {
        std::slice::from_raw_parts(
            std::ptr::with_exposed_provenance::<libc::Elf64_Phdr>(table as usize),
            len as usize,
        )
    };
    let find =
        |kind| headers.iter().find(|header| header.p_type == kind).map(|header| header.p_vaddr as usize);
    let base = (table as usize).wrapping_sub(find(libc::PT_PHDR)?);
    let dynamic = base.wrapping_add(find(libc::PT_DYNAMIC)?);
    Some((base, std::ptr::with_exposed_provenance(dynamic)))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    static CALLS: AtomicU32 = AtomicU32::new(0);

    unsafe extern "C" fn count(_: c_int, _: *const *const c_char, _: *const *const c_char) {
        CALLS.fetch_add(1, Ordering::Relaxed);
    }

    #[used]
    #[unsafe(link_section = ".init_array")]
    static FIRST: Entry = Entry(count);
    #[used]
    #[unsafe(link_section = ".init_array")]
    static SECOND: Entry = Entry(count);

    #[test]
    fn the_entries_behind_ours_are_found() {
        assert_eq!(CALLS.load(Ordering::Relaxed), 2, "the loader calls what is in the array");
        let (earlier, later) = match std::ptr::from_ref(&FIRST) < std::ptr::from_ref(&SECOND) {
            true => (&FIRST, &SECOND),
            false => (&SECOND, &FIRST),
        };
        let is_ours = |it: &Constructor| *it as usize == count as *const () as usize;
        assert_eq!(entries_behind(earlier).filter(is_ours).count(), 1);
        assert_eq!(entries_behind(later).filter(is_ours).count(), 0);
        let (_, end) = init_array().unwrap();
        let behind = (end - std::ptr::from_ref(later).addr()) / size_of::<Entry>() - 1;
        assert_eq!(entries_behind(later).count(), behind);
    }

    #[test]
    fn an_entry_outside_of_the_array_has_none_behind_it() {
        static ELSEWHERE: Entry = Entry(count);
        assert_eq!(entries_behind(&ELSEWHERE).count(), 0);
    }
}
