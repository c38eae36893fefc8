//! Receive buffers that are lent to the kernel only when data arrives.
//!
//! A *provided-buffer ring* (`IORING_REGISTER_PBUF_RING`, Linux 5.19) is an array in shared memory
//! through which the process offers buffers; a receive with `IOSQE_BUFFER_SELECT` takes one at the
//! moment it has data, so a connection that waits holds none.
//!
//! The kernel consumes offers in order. Offering everything at once would cycle through all of the
//! memory and touch a cold buffer for every message; so only as many buffers are on offer as recent
//! load needed (`target`), and the free ones are kept on a stack: the next offer is the buffer that
//! was used last and is still in the cache. Running out doubles the target.
//!
//! See io_uring_register_buf_ring(3), io_uring_setup_buf_ring(3).

use std::{
    cell::{Cell, RefCell},
    io,
    ops::Deref,
    ptr::NonNull,
    rc::Rc,
    sync::atomic::{AtomicU16, Ordering},
};

use io_uring::types::BufRingEntry;

use super::mapping::Mapping;
use crate::sys::ring::Ring;

/// How many buffers are on offer before load asks for more.
const INITIAL_TARGET: u16 = 32;

/// A provided-buffer ring and the memory of its buffers.
pub(crate) struct BufferGroup {
    id: u16,
    buffer_bytes: usize,
    entries: u16,
    /// The offers, shared with the kernel. The memory is unmapped after the ring is down: the ring
    /// keeps a share of every group.
    offers: Mapping,
    data: Mapping,
    /// The producer's position in `offers`.
    tail: Cell<u16>,
    /// Buffers neither on offer nor with a reader; the last one is the warmest.
    free: RefCell<Vec<u16>>,
    on_offer: Cell<u16>,
    target: Cell<u16>,
}

impl BufferGroup {
    /// Registers `entries` (a power of two) buffers of `buffer_bytes` (a multiple of 4 KiB). The
    /// memory is touched only as buffers are used.
    pub(crate) fn register(
        ring: &Ring,
        id: u16,
        entries: u16,
        buffer_bytes: usize,
    ) -> io::Result<Rc<BufferGroup>> {
        assert!(entries.is_power_of_two(), "{entries} entries");
        let offers = Mapping::new((usize::from(entries) * size_of::<BufRingEntry>()).max(4096))?;
        let data = Mapping::new(usize::from(entries) * buffer_bytes)?;
        ring.with_submitter(|submitter| {
            // SAFETY: `offers` holds `entries` entries and is unmapped only after the ring was shut
            // down: `Ring::keep` below gives the ring a share of this group.
            unsafe {
                submitter.register_buf_ring_with_flags(
                    offers.start().as_ptr() as u64,
                    entries,
                    id,
                    0,
                )
            }
        })?;
        let group = Rc::new(BufferGroup {
            id,
            buffer_bytes,
            entries,
            offers,
            data,
            tail: Cell::new(0),
            free: RefCell::new((0..entries).rev().collect()),
            on_offer: Cell::new(0),
            target: Cell::new(INITIAL_TARGET.min(entries)),
        });
        ring.keep(group.clone());
        Ok(group)
    }

    pub(crate) fn id(&self) -> u16 {
        self.id
    }

    /// Puts buffers on offer up to the target. Call it before a receive is submitted. Returns
    /// whether any buffer is on offer.
    pub(crate) fn offer(&self) -> bool {
        if self.on_offer.get() < self.target.get() {
            self.top_up();
        }
        self.on_offer.get() > 0
    }

    fn top_up(&self) {
        let mut free = self.free.borrow_mut();
        let mask = self.entries - 1;
        let mut tail = self.tail.get();
        while self.on_offer.get() < self.target.get() {
            let Some(id) = free.pop() else { break };
            let entry = self.entry(tail & mask);
            // SAFETY: the entry is in bounds (masked), and not on offer: at most `entries` buffers
            // exist, so the kernel is done with whatever it held. The first entry's reserved field
            // overlays the ring's tail; `set_*` do not touch it.
            let entry = unsafe { &mut *entry.as_ptr() };
            entry.set_addr(self.address(id).as_ptr() as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(id);
            tail = tail.wrapping_add(1);
            self.on_offer.set(self.on_offer.get() + 1);
        }
        self.tail.set(tail);
        // SAFETY: the tail lies in the reserved field of the first entry, is two bytes wide and
        // aligned, and is written by this thread alone; the kernel reads it with acquire.
        let shared =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entry(0).as_ptr()).cast_mut()) };
        shared.store(tail, Ordering::Release);
    }

    fn entry(&self, index: u16) -> NonNull<BufRingEntry> {
        debug_assert!(index < self.entries);
        // SAFETY: in bounds of the mapping, which holds `entries` entries.
        unsafe {
            self.offers
                .start()
                .cast::<BufRingEntry>()
                .add(usize::from(index))
        }
    }

    fn address(&self, id: u16) -> NonNull<u8> {
        debug_assert!(id < self.entries);
        // SAFETY: in bounds of the mapping, which holds `entries` buffers.
        unsafe { self.data.start().add(usize::from(id) * self.buffer_bytes) }
    }

    /// Takes over the buffer that the kernel picked and filled with `len` bytes.
    pub(crate) fn take(self: &Rc<Self>, id: u16, len: usize) -> ProvidedBuffer {
        debug_assert!(id < self.entries && len <= self.buffer_bytes);
        self.on_offer.set(self.on_offer.get() - 1);
        ProvidedBuffer {
            group: self.clone(),
            id,
            start: 0,
            end: len as u32,
        }
    }

    /// A receive found no buffer on offer: offer more from now on. Returns whether there are more.
    pub(crate) fn starved(&self) -> bool {
        let target = self.target.get();
        if self.on_offer.get() < target {
            // Used up since the last top-up: the target itself may be enough.
            self.top_up();
        }
        self.target.set(target.saturating_mul(2).min(self.entries));
        self.offer()
    }

    /// How many buffers hold received data: neither free nor on offer.
    pub(crate) fn in_use(&self) -> usize {
        let unused = self.free.borrow().len() + usize::from(self.on_offer.get());
        usize::from(self.entries) - unused
    }
}

/// A buffer with received data. Goes back to its group when dropped.
pub(crate) struct ProvidedBuffer {
    group: Rc<BufferGroup>,
    id: u16,
    start: u32,
    end: u32,
}

impl ProvidedBuffer {
    /// Forgets the first `n` bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        self.start += n as u32;
    }
}

impl Deref for ProvidedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the kernel filled the buffer up to `end` before it posted the completion and does
        // not touch it until it is on offer again, which happens after this value is dropped.
        unsafe {
            std::slice::from_raw_parts(
                self.group
                    .address(self.id)
                    .as_ptr()
                    .add(self.start as usize),
                (self.end - self.start) as usize,
            )
        }
    }
}

impl Drop for ProvidedBuffer {
    fn drop(&mut self) {
        self.group.free.borrow_mut().push(self.id);
    }
}
