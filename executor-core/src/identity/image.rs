//! The main executable as it is mapped: where its code is, and which of its memory is never written.

/// Offsets are relative to where the executable was loaded.
#[derive(Default)]
pub(super) struct Image {
    base: usize,
    code: Vec<(usize, usize)>,
    frozen: Vec<(usize, usize)>,
    notes: Vec<(usize, usize)>,
}

impl Image {
    #[inline]
    pub(super) fn offset(&self, address: usize) -> usize {
        address.wrapping_sub(self.base)
    }

    pub(super) fn address(&self, offset: usize) -> usize {
        self.base.wrapping_add(offset)
    }

    #[inline]
    pub(super) fn is_code(&self, offset: usize) -> bool {
        inside(&self.code, offset, 1)
    }

    /// Whether the bytes are in memory that is never written after relocation.
    #[inline]
    pub(super) fn is_frozen(&self, offset: usize, len: usize) -> bool {
        inside(&self.frozen, offset, len)
    }

    #[cfg(test)]
    pub(super) fn frozen_offsets(&self) -> impl Iterator<Item = usize> {
        self.frozen.iter().flat_map(|&(start, end)| start..end)
    }

    /// The contents of the ELF note segments.
    pub(super) fn notes(&self) -> impl Iterator<Item = &'static [u8]> {
        self.notes.iter().map(|&(start, end)| {
            // SAFETY: a note segment of our own image, mapped readable for the life of the process; notes are
            // constants of the file.
            unsafe { std::slice::from_raw_parts(self.address(start) as *const u8, end - start) }
        })
    }
}

#[inline]
fn inside(ranges: &[(usize, usize)], offset: usize, len: usize) -> bool {
    ranges
        .iter()
        .any(|&(start, end)| offset >= start && offset.checked_add(len).is_some_and(|last| last <= end))
}

/// The image of the main executable, or why there is none.
#[cfg(target_os = "linux")]
#[inline]
pub(super) fn image() -> Result<&'static Image, String> {
    use std::sync::OnceLock;
    static IMAGE: OnceLock<Image> = OnceLock::new();
    Ok(IMAGE.get_or_init(elf::main_program))
}

/// The image of the main executable, or why there is none.
#[cfg(not(target_os = "linux"))]
pub(super) fn image() -> Result<&'static Image, String> {
    Err("functions travel by their place in the executable on Linux only; make it known with `register!` and submit it \
         with `call`"
        .to_owned())
}

#[cfg(target_os = "linux")]
mod elf {
    use std::ffi::{c_int, c_void};

    use super::Image;

    pub(super) fn main_program() -> Image {
        let mut image = Image::default();
        // SAFETY: `first` matches the signature, and `image` outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(first), (&raw mut image).cast()) };
        image
    }

    /// Reads the first entry, which is the main program.
    unsafe extern "C" fn first(info: *mut libc::dl_phdr_info, _size: usize, image: *mut c_void) -> c_int {
        // SAFETY: the loader passes a valid entry for the duration of the call, and `image` is ours.
        let (info, image) = unsafe { (&*info, &mut *image.cast::<Image>()) };
        // SAFETY: the entry's own program headers.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        image.base = info.dlpi_addr as usize;
        for header in headers {
            let start = header.p_vaddr as usize;
            let range = (start, start + header.p_memsz as usize);
            let is_loaded = header.p_type == libc::PT_LOAD;
            let is_written = header.p_flags & libc::PF_W != 0;
            if header.p_type == libc::PT_GNU_RELRO || (is_loaded && !is_written) {
                image.frozen.push(range);
            }
            if is_loaded && header.p_flags & libc::PF_X != 0 {
                image.code.push(range);
            }
            if header.p_type == libc::PT_NOTE {
                image.notes.push(range);
            }
        }
        1
    }
}
