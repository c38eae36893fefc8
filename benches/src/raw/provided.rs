//! A ring of buffers from which the kernel picks one when data arrives.

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::raw::Ring;

const PAGE_BYTES: usize = 4096;

/// Equal buffers registered as a provided-buffer ring.
///
/// The kernel names a buffer by its id in the completion; from then on it is the program's until
/// [`give_back`](Self::give_back).
pub struct ProvidedBuffers {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    count: u16,
    tail: u16,
    storage: NonNull<u8>,
    storage_layout: Layout,
    buffer_bytes: usize,
}

impl ProvidedBuffers {
    /// Allocates at least `count` buffers of `bytes` bytes and registers them with `ring` as `group`.
    ///
    /// # Errors
    ///
    /// If `count` exceeds 32,768, or the kernel (before 5.19) knows no buffer rings.
    ///
    /// # Safety
    ///
    /// `ring` is dropped before the returned buffers.
    pub unsafe fn register(
        ring: &Ring,
        group: u16,
        count: usize,
        bytes: usize,
    ) -> io::Result<Self> {
        let refuse = |why| io::Error::new(io::ErrorKind::InvalidInput, why);
        let count = u16::try_from(count.next_power_of_two())
            .ok()
            .filter(|&count| count <= 1 << 15 && bytes > 0)
            .ok_or_else(|| refuse("a ring holds 1 to 32,768 buffers of at least one byte"))?;
        let layout = Layout::array::<BufRingEntry>(count.into())
            .and_then(|layout| layout.align_to(PAGE_BYTES))
            .map_err(|_| refuse("too many buffers"))?;
        let storage_layout = Layout::from_size_align(bytes * usize::from(count), PAGE_BYTES)
            .map_err(|_| refuse("too many bytes"))?;
        // SAFETY: both layouts have a size other than zero.
        let (entries, storage) = unsafe {
            (
                alloc::alloc_zeroed(layout).cast(),
                alloc::alloc_zeroed(storage_layout),
            )
        };
        let Some(entries) = NonNull::new(entries) else {
            alloc::handle_alloc_error(layout)
        };
        let Some(storage) = NonNull::new(storage) else {
            alloc::handle_alloc_error(storage_layout)
        };
        let mut buffers = Self {
            entries,
            layout,
            count,
            tail: 0,
            storage,
            storage_layout,
            buffer_bytes: bytes,
        };
        // SAFETY: the memory is page-aligned, has room for `count` entries, and lives until `Drop`,
        // which the caller promised to come after the ring's.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                count,
                group,
                0,
            )?;
        }
        for id in 0..count {
            buffers.stage(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The first `len` bytes of buffer `id`, which the kernel has filled.
    ///
    /// # Panics
    ///
    /// If there is no such buffer, or it is smaller.
    pub fn filled(&self, id: u16, len: usize) -> &[u8] {
        assert!(id < self.count && len <= self.buffer_bytes);
        // SAFETY: the range lies inside the storage, which was zeroed at allocation, so it is
        // initialised whatever the kernel wrote; a buffer named by a completion is not written again
        // until it is given back, which takes `&mut self`.
        unsafe { slice::from_raw_parts(self.address(id), len) }
    }

    /// Hands a buffer back to the kernel; visible there after [`publish`](Self::publish).
    ///
    /// # Panics
    ///
    /// If there is no such buffer.
    pub fn give_back(&mut self, id: u16) {
        assert!(id < self.count);
        self.stage(id);
    }

    /// Lets the kernel see the buffers given back since the last call.
    pub fn publish(&mut self) {
        // SAFETY: the ring's first entry is initialised and the kernel reads its tail field
        // atomically; AtomicU16 has the layout of u16.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        // Release: the entries staged before must be visible to whoever sees the new tail.
        tail.store(self.tail, Ordering::Release);
    }

    fn stage(&mut self, id: u16) {
        let slot = usize::from(self.tail & (self.count - 1));
        let address = self.address(id) as u64;
        // SAFETY: `slot` is below `count`. The kernel does not read slots at or past the tail it
        // last saw, and at most `count` buffers are ever out, so this slot is not being read. The
        // setters leave the tail, which shares memory with the first entry's last field, alone.
        let entry = unsafe { &mut *self.entries.as_ptr().add(slot) };
        entry.set_addr(address);
        entry.set_len(self.buffer_bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn address(&self, id: u16) -> *mut u8 {
        // SAFETY: callers pass `id < count`, so the offset stays inside the storage.
        unsafe {
            self.storage
                .as_ptr()
                .add(usize::from(id) * self.buffer_bytes)
        }
    }
}

impl Drop for ProvidedBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated with these layouts in `register`; the ring that knew of them is gone.
        unsafe {
            alloc::dealloc(self.entries.as_ptr().cast(), self.layout);
            alloc::dealloc(self.storage.as_ptr(), self.storage_layout);
        }
    }
}
