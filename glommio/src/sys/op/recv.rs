//! Receiving from a stream: a socket, or a pipe.
//!
//! The strategy is a private choice of this module: a receive is either a single shot that waits for
//! data first (`POLL_FIRST`) and takes a provided buffer, a multishot receive, or a plain receive
//! into a buffer of its own where the kernel has no provided buffers or none is left. Whatever
//! arrives stands in the [`RxQueue`] that the operation shares with its stream; dropping a read
//! future loses nothing.

use std::{
    cell::RefCell, collections::VecDeque, io, marker::PhantomData, rc::Rc, sync::OnceLock,
    task::Waker,
};

use io_uring::{opcode, squeue, types};

use super::{
    Class, Completion, Driven, Next, Operation,
    bytes::{Channel, Pipe, Socket},
    poll::{AwaitReadable, Receiver},
};
use crate::sys::{
    buffers::{
        provided::{BufferGroup, ProvidedBuffer},
        socket::SocketBuffers,
    },
    fd::Fd,
    features::Rung,
    inflight::{Key, fits},
    ledger::IoKind,
    waiting::Waiting,
};

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

    /// Ends a chunk that was read to its end: its memory serves the next receive.
    pub(crate) fn give_back(self, buffers: &SocketBuffers) {
        match self {
            // Goes back to its group by itself.
            Chunk::Provided(buffer) => drop(buffer),
            Chunk::Own { data, .. } => buffers.put_back(data),
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
    pub(crate) waiting: Waiting,
    /// The socket held more data at the last receive: the next one need not wait first.
    more: bool,
    /// No provided buffer was left: the next receive brings its own.
    starved: bool,
    /// The last receive did not wait, though there was nothing: the next one is preceded by a poll.
    dry: bool,
}

const _: () = assert!(
    fits::<Recv<Socket>>() && fits::<Recv<Pipe>>(),
    "a receive allocates nothing"
);

/// Which kind of receive an operation is.
enum Into {
    Single(Rc<BufferGroup>),
    Multishot(Rc<BufferGroup>),
    Own(Vec<u8>),
}

/// A receive in flight.
pub(crate) struct Recv<C> {
    fd: Fd,
    rx: Rc<RefCell<RxQueue>>,
    into: Into,
    poll_first: bool,
    channel: PhantomData<C>,
}

/// The receive strategy, for measurements: `GLOMMIO_RECV=multishot` selects multishot receives.
/// Single shots had the lower median cost at 1 and 128 connections from 64 B to 64 KiB; at 5,000 the
/// noise hid the difference (docs/losing-experiments.md).
fn prefer_multishot() -> bool {
    static CHOICE: OnceLock<bool> = OnceLock::new();
    *CHOICE.get_or_init(|| std::env::var_os("GLOMMIO_RECV").is_some_and(|v| v == "multishot"))
}

/// Starts a receive for a reader with `room` bytes, unless one is in flight.
pub(crate) fn arm<C: Channel>(
    fd: &Fd,
    rx: &Rc<RefCell<RxQueue>>,
    buffers: &SocketBuffers,
    room: usize,
) {
    let mut queue = rx.borrow_mut();
    if queue.armed.is_some() {
        return;
    }
    let ring = fd.ring();
    if std::mem::take(&mut queue.dry) {
        queue.armed = Some(ring.submit_driven(AwaitReadable {
            fd: fd.clone(),
            receiver: rx.clone(),
        }));
        return;
    }
    let poll_first = !queue.more && ring.features().has(Rung::PollFirst);
    let starved = std::mem::take(&mut queue.starved);
    let into = match buffers.group(ring, room) {
        Some(group) if group.offer() && (!starved || group.starved()) => {
            if C::IS_SOCKET && ring.features().has(Rung::MultishotRecv) && prefer_multishot() {
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
    let op = Recv::<C> {
        fd: fd.clone(),
        rx: rx.clone(),
        into,
        poll_first,
        channel: PhantomData,
    };
    queue.armed = Some(ring.submit_driven(op));
}

// SAFETY: provided buffers belong to the group, which the ring keeps; an own buffer is on the heap
// and its capacity is not changed while the operation is in flight.
unsafe impl<C: Channel> Operation for Recv<C> {
    const IO: Option<IoKind> = Some(C::READ);

    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd.raw());
        match &mut self.into {
            Into::Single(group) => C::read(
                fd,
                std::ptr::null_mut(),
                0,
                self.poll_first,
                Some(group.id()),
            ),
            Into::Multishot(group) => opcode::RecvMulti::new(fd, group.id()).build(),
            Into::Own(own) => {
                own.clear();
                let len = own.capacity().min(i32::MAX as usize) as u32;
                C::read(fd, own.as_mut_ptr(), len, self.poll_first, None)
            }
        }
    }
}

impl<C> Recv<C> {
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

impl<C> Driven for Recv<C> {
    fn on_completion(&mut self, completion: Completion) -> Next {
        let rx = self.rx.clone();
        let mut queue = rx.borrow_mut();
        match completion.result {
            result if result >= 0 => self.store(&mut queue, completion),
            code => match -code {
                libc::ENOBUFS => queue.starved = true,
                // Stopped by us, or interrupted: the reader decides whether to go on.
                libc::ECANCELED | libc::EINTR => {}
                libc::EAGAIN => queue.dry = true,
                errno => queue.end = Some(RxEnd::Error(errno)),
            },
        }
        let waker = queue.waiting.take();
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

impl Receiver for RxQueue {
    fn on_readable(&mut self) -> Option<Waker> {
        self.armed = None;
        // A receive that polls first might not wait for its poll.
        self.more = true;
        self.waiting.take()
    }
}

/// Turns an end into the result of a read.
pub(crate) fn read_end(end: RxEnd) -> io::Result<usize> {
    match end {
        RxEnd::Eof => Ok(0),
        RxEnd::Error(errno) => Err(io::Error::from_raw_os_error(errno)),
    }
}
