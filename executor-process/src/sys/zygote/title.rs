//! What `ps` shows of a forked process: the arguments that it was started with, unless they are written over.

use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;

/// The memory of this process's only argument.
pub(in crate::sys) struct Title {
    start: NonNull<u8>,
    len: usize,
}

impl Title {
    /// Appended to the argument of a process whose copies will have longer titles.
    pub(in crate::sys) const ROOM: &'static str = "           ";

    /// `None` if there are more arguments, or they are not where the kernel says.
    pub(in crate::sys) fn find() -> Option<Self> {
        let mut arguments = std::env::args_os();
        let (only, None) = (arguments.next()?, arguments.next()) else { return None };
        let (start, end) = arguments_in_memory()?;
        let start = NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(start))?;
        let len = end.checked_sub(start.addr().get())?;
        // SAFETY: the kernel put the arguments there, in memory that stays mapped and that nobody writes.
        let bytes = unsafe { std::slice::from_raw_parts(start.as_ptr(), len) };
        (bytes.strip_suffix(&[0]) == Some(only.as_bytes())).then_some(Self { start, len })
    }

    /// Shows this process as the worker of this name.
    ///
    /// It has one thread, which does not look at its arguments meanwhile.
    pub(super) fn set(&self, name: &str) {
        let Some(program) = std::env::args_os().next() else { return };
        let program = program.as_bytes();
        let end = program.windows(2).rposition(|it| it == b" [").unwrap_or(program.len());
        let mut title = program[..end].to_vec();
        title.extend_from_slice(b" [executor worker ");
        title.extend_from_slice(name.as_bytes());
        title.push(b']');
        // The last byte stays zero.
        title.resize(self.len - 1, 0);
        for (at, byte) in title.into_iter().enumerate() {
            // SAFETY: within the memory that `find` has found, which is writable as all of the stack; nobody reads it
            // now (the caller's promise), and whatever is read later is a string that ends before the end.
            unsafe { self.start.as_ptr().add(at).write_volatile(byte) };
        }
    }
}

/// Where the kernel shows this process's arguments from: fields 48 and 49 of `/proc/self/stat`.
fn arguments_in_memory() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is a name in parentheses, which may contain anything; the third is the first behind it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(48 - 3);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
