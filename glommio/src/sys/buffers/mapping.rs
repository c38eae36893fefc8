//! Anonymous memory straight from the kernel, unmapped when dropped.

use std::io;
use std::ptr::NonNull;

use super::buddy::PAGE_BYTES;

/// Zeroed, page-aligned, private memory of a fixed address.
#[derive(Debug)]
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Maps `bytes` of zeroed memory; the kernel provides each page on its first use.
    ///
    /// `bytes` must be a multiple of [`PAGE_BYTES`] and not 0. Fails where the kernel refuses
    /// (address space or memory limits, or more than could ever be provided).
    pub(super) fn new(bytes: usize) -> io::Result<Mapping> {
        assert!(
            bytes > 0 && bytes % PAGE_BYTES == 0,
            "mapping of {bytes} bytes"
        );
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches no
        // existing memory and refers to no descriptor.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { start, bytes })
    }

    /// Takes responsibility for a mapping given up with [`Mapping::into_raw`].
    ///
    /// # Safety
    /// `start` and `bytes` are those of a mapping given up with `into_raw`, and nobody uses its
    /// memory once the new owner is dropped.
    pub(super) unsafe fn from_raw(start: NonNull<u8>, bytes: usize) -> Mapping {
        Mapping { start, bytes }
    }

    /// Gives the memory up without unmapping it.
    pub(super) fn into_raw(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).start
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps the memory out of children made by `fork`.
    ///
    /// The kernel reads and writes a registered chunk through the physical pages it pinned. A fork
    /// would make those pages copy-on-write, and before Linux 5.12 the first write afterwards could
    /// move this process to a copy that the kernel does not know of.
    pub(super) fn exclude_from_fork(&self) {
        // Best effort: failing leaves what every ordinary mapping has.
        // SAFETY: the range is ours, mapped, and the advice changes nothing in this process.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, libc::MADV_DONTFORK) };
    }

    /// Unmaps everything from `bytes` (a multiple of the page size, not 0) on.
    pub(super) fn truncate(&mut self, bytes: usize) {
        assert!(bytes > 0 && bytes % PAGE_BYTES == 0 && bytes <= self.bytes);
        if bytes == self.bytes {
            return;
        }
        // SAFETY: the range lies within our mapping. `&mut self` and the callers (a chunk is
        // truncated before any block of it is handed out) mean that nobody points into it.
        unsafe { unmap(self.start.add(bytes), self.bytes - bytes) };
        self.bytes = bytes;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: we own the mapping, and its users keep it alive as long as they point into it.
        unsafe { unmap(self.start, self.bytes) };
    }
}

/// # Safety
/// The range is a page-aligned part of one mapping that nobody uses any more.
unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
    // SAFETY: the caller's promise. A failure (only possible when splitting a mapping exceeds the
    // kernel's limit of mappings) leaks the memory, which is harmless.
    unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_zeroed_aligned_and_writable() {
        let mapping = Mapping::new(3 * PAGE_BYTES).unwrap();
        assert_eq!(mapping.start().as_ptr() as usize % PAGE_BYTES, 0);
        // SAFETY: the mapping is alive, zeroed by the kernel, and only this test points into it.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(mapping.start().as_ptr(), mapping.bytes()) };
        assert!(bytes.iter().all(|byte| *byte == 0));
        bytes.fill(7);
    }

    #[test]
    fn truncating_keeps_the_front() {
        let mut mapping = Mapping::new(4 * PAGE_BYTES).unwrap();
        mapping.exclude_from_fork();
        mapping.truncate(PAGE_BYTES);
        mapping.truncate(PAGE_BYTES);
        assert_eq!(mapping.bytes(), PAGE_BYTES);
        // SAFETY: the first page is still mapped and only this test points into it.
        unsafe { mapping.start().as_ptr().write_bytes(1, PAGE_BYTES) };
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        let bytes = (isize::MAX as usize / PAGE_BYTES) * PAGE_BYTES;
        assert_eq!(
            Mapping::new(bytes).unwrap_err().raw_os_error(),
            Some(libc::ENOMEM)
        );
    }
}
