//! The memory that the sockets of one ring share.

use std::{
    cell::{OnceCell, RefCell},
    rc::Rc,
};

use super::{message::Message, provided::BufferGroup};
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

/// Spare messages kept for reuse, up to [`SPARE_BYTES`] each.
const SPARE_MESSAGES: usize = 64;

/// Receive buffer groups, registered on first use, spare send buffers, and spare messages.
#[derive(Default)]
pub(crate) struct SocketBuffers {
    small: OnceCell<Option<Rc<BufferGroup>>>,
    large: OnceCell<Option<Rc<BufferGroup>>>,
    spares: RefCell<Vec<Vec<u8>>>,
    // Boxed because the kernel knows them by their addresses.
    #[allow(clippy::vec_box)]
    messages: RefCell<Vec<Box<Message>>>,
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

    /// How many receive buffers of the groups hold data that nobody has read.
    pub(crate) fn in_use(&self) -> usize {
        let groups = [&self.small, &self.large].map(|cell| cell.get().and_then(Option::as_ref));
        groups
            .into_iter()
            .flatten()
            .map(|group| group.in_use())
            .sum()
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

    /// The memory for a datagram, with room if some is at hand.
    pub(crate) fn message(&self) -> Box<Message> {
        let spare = self.messages.borrow_mut().pop();
        spare.unwrap_or_else(Message::boxed)
    }

    /// Takes the memory of a datagram back.
    pub(crate) fn put_back_message(&self, message: Box<Message>) {
        let mut messages = self.messages.borrow_mut();
        if message.capacity() <= SPARE_BYTES && messages.len() < SPARE_MESSAGES {
            messages.push(message);
        }
    }
}
