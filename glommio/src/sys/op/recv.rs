//! Receiving from a stream socket.
//!
//! The strategy is a private choice of this module: a receive is either a single shot that waits for
//! data first (`POLL_FIRST`) and takes a provided buffer, a multishot receive, or a plain receive
//! into a buffer of its own where the kernel has no provided buffers or none is left. Whatever
//! arrives stands in the [`RxQueue`] that the operation shares with its socket; dropping a read
//! future loses nothing.

use std::{cell::RefCell, collections::VecDeque, io, rc::Rc, sync::OnceLock, task::Waker};

use io_uring::{opcode, squeue, types};

use super::{Class, Completion, Driven, Next, Operation};
use crate::sys::{
    buffers::{
        provided::{BufferGroup, ProvidedBuffer},
        socket::SocketBuffers,
    },
    fd::Fd,
    features::Rung,
    inflight::Key,
};

/// `IORING_RECVSEND_POLL_FIRST`: do not try before the socket says that it is ready.
const POLL_FIRST: u16 = 1;

/// The size of a receive that brings its own buffer.
const OWN_BYTES: usize = 16 << 10;

/// A multishot receive whose reader falls behind by this many messages is stopped, so that one
/// connection cannot hold all buffers. Its reader starts a new one.
const BEHIND_LIMIT: usize = 16;

/// Received data.
pub(crate) enum Chunk {
    Provided(ProvidedBuffer),
    Own { data: Vec<u8>, start: usize },
}

impl Chunk {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Provided(buffer) => buffer,
            Chunk::Own { data, start } => &data[*start..],
        }
    }

    /// Forgets the first `n` bytes.
    pub(crate) fn advance(&mut self, n: usize) {
        match self {
            Chunk::Provided(buffer) => buffer.advance(n),
            Chunk::Own { start, .. } => *start += n,
        }
    }
}

/// How a stream of received data ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RxEnd {
    /// The peer sends no more.
    Eof,
    /// An errno. Reported once; what follows is up to the next receive.
    Error(i32),
}

/// What a socket has received and not yet read.
#[derive(Default)]
pub(crate) struct RxQueue {
    pub(crate) chunks: VecDeque<Chunk>,
    pub(crate) end: Option<RxEnd>,
    /// The receive in flight.
    pub(crate) armed: Option<Key>,
    pub(crate) waker: Option<Waker>,
    /// The socket held more data at the last receive: the next one need not wait first.
    more: bool,
    /// No provided buffer was left: the next receive brings its own.
    starved: bool,
}

/// Which kind of receive an operation is.
enum Into {
    Single(Rc<BufferGroup>),
    Multishot(Rc<BufferGroup>),
    Own(Vec<u8>),
}

/// A receive in flight (IORING_OP_RECV, 5.6).
pub(crate) struct Recv {
    fd: Fd,
    rx: Rc<RefCell<RxQueue>>,
    into: Into,
    poll_first: bool,
}

/// The receive strategy, for measurements: `GLOMMIO_RECV=multishot` selects multishot receives.
/// Single shots won at all sizes and connection counts that were tried (docs/losing-experiments.md).
fn prefer_multishot() -> bool {
    static CHOICE: OnceLock<bool> = OnceLock::new();
    *CHOICE.get_or_init(|| std::env::var_os("GLOMMIO_RECV").is_some_and(|v| v == "multishot"))
}

/// Starts a receive for a reader with `room` bytes, unless one is in flight.
pub(crate) fn arm(fd: &Fd, rx: &Rc<RefCell<RxQueue>>, buffers: &SocketBuffers, room: usize) {
    let mut queue = rx.borrow_mut();
    if queue.armed.is_some() {
        return;
    }
    let ring = fd.ring();
    let poll_first = !queue.more && ring.features().has(Rung::PollFirst);
    let starved = std::mem::take(&mut queue.starved);
    let into = match buffers.group(ring, room) {
        Some(group) if group.offer() && (!starved || group.starved()) => {
            if ring.features().has(Rung::MultishotRecv) && prefer_multishot() {
                Into::Multishot(group.clone())
            } else {
                Into::Single(group.clone())
            }
        }
        _ => {
            let mut own = buffers.spare();
            own.reserve(if room >= OWN_BYTES {
                64 << 10
            } else {
                OWN_BYTES
            });
            Into::Own(own)
        }
    };
    let op = Recv {
        fd: fd.clone(),
        rx: rx.clone(),
        into,
        poll_first,
    };
    queue.armed = Some(ring.submit_driven(op));
}

// SAFETY: provided buffers belong to the group, which the ring keeps; an own buffer is on the heap
// and its capacity is not changed while the operation is in flight.
unsafe impl Operation for Recv {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd.raw());
        let ioprio = if self.poll_first { POLL_FIRST } else { 0 };
        match &mut self.into {
            Into::Single(group) => opcode::Recv::new(fd, std::ptr::null_mut(), 0)
                .ioprio(ioprio)
                .buf_group(group.id())
                .build()
                .flags(squeue::Flags::BUFFER_SELECT),
            Into::Multishot(group) => opcode::RecvMulti::new(fd, group.id()).build(),
            Into::Own(own) => {
                own.clear();
                let len = own.capacity().min(i32::MAX as usize) as u32;
                opcode::Recv::new(fd, own.as_mut_ptr(), len)
                    .ioprio(ioprio)
                    .build()
            }
        }
    }
}

impl Recv {
    fn store(&mut self, queue: &mut RxQueue, completion: Completion) {
        let len = completion.result as usize;
        match &mut self.into {
            Into::Single(group) | Into::Multishot(group) => {
                if let Some(id) = completion.buffer() {
                    let buffer = group.take(id, len);
                    if len > 0 {
                        queue.chunks.push_back(Chunk::Provided(buffer));
                    }
                }
            }
            Into::Own(own) => {
                if len > 0 {
                    let mut data = std::mem::take(own);
                    // SAFETY: the kernel filled `len` bytes, at most the capacity it was given.
                    unsafe { data.set_len(len) };
                    queue.chunks.push_back(Chunk::Own { data, start: 0 });
                }
            }
        }
        if len == 0 {
            queue.end = Some(RxEnd::Eof);
        }
        queue.more = completion.socket_has_more();
    }
}

impl Driven for Recv {
    fn on_completion(&mut self, completion: Completion) -> Next {
        let rx = self.rx.clone();
        let mut queue = rx.borrow_mut();
        match completion.result {
            result if result >= 0 => self.store(&mut queue, completion),
            code => match -code {
                libc::ENOBUFS => queue.starved = true,
                // Stopped by us, or interrupted: the reader decides whether to go on.
                libc::ECANCELED | libc::EINTR => {}
                libc::EAGAIN => queue.more = false,
                errno => queue.end = Some(RxEnd::Error(errno)),
            },
        }
        let waker = queue.waker.take();
        if completion.more() {
            if queue.chunks.len() >= BEHIND_LIMIT {
                return Next::Stop(waker);
            }
            return Next::Keep(waker);
        }
        queue.armed = None;
        Next::Done(waker)
    }
}

/// Turns an end into the result of a read.
pub(crate) fn read_end(end: RxEnd) -> io::Result<usize> {
    match end {
        RxEnd::Eof => Ok(0),
        RxEnd::Error(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}
