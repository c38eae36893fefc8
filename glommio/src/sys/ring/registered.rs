//! Memory that the kernel knows by registration.

use std::{any::Any, io, rc::Rc};

use super::{Ring, closed};
use crate::sys::{buffers::Registrar, features::Rung, pinned::Pinned};

/// Slots in the table of registered buffers; each costs the kernel a pointer.
const BUFFER_TABLE_SLOTS: u16 = 256;

impl Ring {
    /// Calls `f` with the submitter, for registrations.
    pub(crate) fn with_submitter<R>(
        &self,
        f: impl FnOnce(&io_uring::Submitter<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match &self.state.borrow().uring {
            Some(uring) => f(&uring.submitter()),
            None => Err(closed()),
        }
    }

    /// Keeps registered memory alive, or what else goes with it, until the ring is closed.
    pub(crate) fn keep(&self, memory: Rc<dyn Any>) {
        self.state.borrow_mut().kept.push(memory);
    }
}

impl Registrar for Ring {
    fn register_chunk(&self, index: u16, ptr: *mut u8, len: usize) -> io::Result<()> {
        let pinned = Pinned::reserve(len)?;
        self.with_submitter(|submitter| {
            if index == 0 {
                match submitter.register_buffers_sparse(u32::from(BUFFER_TABLE_SLOTS)) {
                    // Registered by an earlier try whose chunk was too large for memlock.
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
                    other => other?,
                }
            }
            let chunk = libc::iovec {
                iov_base: ptr.cast(),
                iov_len: len,
            };
            // SAFETY: the arena keeps the chunk mapped while a block of it exists, and only
            // operations that own a block name the slot.
            unsafe { submitter.register_buffers_update(u32::from(index), &[chunk], None) }
        })?;
        self.keep(Rc::new(pinned));
        Ok(())
    }

    fn table_size(&self) -> u16 {
        if self.features.has(Rung::SparseBuffers) {
            BUFFER_TABLE_SLOTS
        } else {
            0
        }
    }
}
