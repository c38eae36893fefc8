//! The memory that the sockets of one ring share.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use super::provided::BufferGroup;
use crate::sys::{features::Rung, ring::Ring};

/// Small receive buffers: 4,096 of 4 KiB, of which only the used ones take memory.
const SMALL: (u16, u16, usize) = (1, 4096, 4 << 10);
/// Large receive buffers, for readers that ask for much: 256 of 64 KiB.
const LARGE: (u16, u16, usize) = (2, 256, 64 << 10);

/// A reader that offers at least this much room receives into large buffers.
pub(crate) const LARGE_READ_BYTES: usize = 16 << 10;

/// Spare send buffers kept for reuse, and the capacity up to which one is worth keeping.
const SPARES: usize = 256;
const SPARE_BYTES: usize = 64 << 10;

/// Receive buffer groups, registered on first use, and spare send buffers.
#[derive(Default)]
pub(crate) struct SocketBuffers {
    small: OnceCell<Option<Rc<BufferGroup>>>,
    large: OnceCell<Option<Rc<BufferGroup>>>,
    spares: RefCell<Vec<Vec<u8>>>,
}

impl SocketBuffers {
    /// The group for a reader with `room` bytes, or `None` where the kernel has no such buffers or
    /// refused the registration: the receive then brings a buffer of its own.
    pub(crate) fn group(&self, ring: &Ring, room: usize) -> Option<&Rc<BufferGroup>> {
        let (cell, (id, entries, bytes)) = if room >= LARGE_READ_BYTES {
            (&self.large, LARGE)
        } else {
            (&self.small, SMALL)
        };
        cell.get_or_init(|| {
            if !ring.features().has(Rung::BufferRing) {
                return None;
            }
            BufferGroup::register(ring, id, entries, bytes)
                .inspect_err(|error| {
                    tracing::debug!(target: "glommio::sys", %error, "no provided-buffer ring");
                })
                .ok()
        })
        .as_ref()
    }

    /// An empty buffer, with room if one is at hand.
    pub(crate) fn spare(&self) -> Vec<u8> {
        self.spares.borrow_mut().pop().unwrap_or_default()
    }

    /// Takes a buffer back.
    pub(crate) fn put_back(&self, mut buffer: Vec<u8>) {
        if (1..=SPARE_BYTES).contains(&buffer.capacity()) {
            let mut spares = self.spares.borrow_mut();
            if spares.len() < SPARES {
                buffer.clear();
                spares.push(buffer);
            }
        }
    }
}
