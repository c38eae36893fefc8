//! Sending on a stream: a socket, or a pipe.
//!
//! Small writes are copied to the stream's [`TxQueue`] and leave with the loop's next enter in one
//! send. That send is flagged `MSG_DONTWAIT`, so it completes during submission: with everything
//! taken in the usual case; otherwise the rest is sent again without the flag and the kernel waits
//! for room. A pipe is written to without such a flag. What was accepted is sent even if the stream is
//! dropped meanwhile: the operation holds the queue and the descriptor.

use std::{cell::RefCell, io, marker::PhantomData, rc::Rc};

use io_uring::{opcode, squeue, types};

use super::{
    Class, Completion, Driven, Next, Operation,
    bytes::{Channel, Pipe, Socket},
};
use crate::sys::{
    buffers::socket::SocketBuffers,
    fd::Fd,
    features::Rung,
    inflight::{Key, fits},
    ledger::IoKind,
    waiting::Waiting,
};

/// How much may wait in a stream's queue before its writer has to.
pub(crate) const QUEUE_BYTES: usize = 64 << 10;

/// What a stream was given to send and has not sent.
#[derive(Default)]
pub(crate) struct TxQueue {
    /// Accepted, not yet handed to the kernel.
    pending: Vec<u8>,
    /// The send that is queued or in flight.
    active: Option<Key>,
    /// An errno to be reported by the next call.
    error: Option<i32>,
    pub(crate) waiting: Waiting,
    /// The stream leaves: nothing is tried again, and what was not sent stays in `pending`.
    leaving: bool,
}

impl TxQueue {
    /// How many more bytes are accepted now.
    pub(crate) fn room(&self) -> usize {
        QUEUE_BYTES.saturating_sub(self.pending.len())
    }

    /// Whether everything accepted was sent.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_none()
    }

    /// The send that is queued or in flight, whose stream leaves: it stops with its next completion,
    /// and what it has not sent can be [taken](Self::take_unsent) then.
    pub(crate) fn leave(&mut self) -> Option<Key> {
        self.leaving = true;
        self.active
    }

    /// Accepted, and not sent when the stream left.
    pub(crate) fn take_unsent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }

    /// Takes the error of an earlier send.
    pub(crate) fn take_error(&mut self) -> Option<io::Error> {
        self.error.take().map(io::Error::from_raw_os_error)
    }
}

/// Accepts up to [`TxQueue::room`] bytes of `data`, which leave at the next enter. Returns how many.
pub(crate) fn queue<C: Channel>(
    fd: &Fd,
    tx: &Rc<RefCell<TxQueue>>,
    buffers: &Rc<SocketBuffers>,
    data: &[u8],
) -> usize {
    let mut queue = tx.borrow_mut();
    let n = data.len().min(queue.room());
    if n == 0 {
        return 0;
    }
    if queue.pending.capacity() == 0 {
        queue.pending = buffers.spare();
    }
    queue.pending.extend_from_slice(&data[..n]);
    if queue.active.is_none() {
        queue.active = Some(start::<C>(fd, tx, buffers));
    }
    n
}

/// Queues what another stream over the same socket had accepted and not sent, however much that is.
pub(crate) fn requeue<C: Channel>(
    fd: &Fd,
    tx: &Rc<RefCell<TxQueue>>,
    buffers: &Rc<SocketBuffers>,
    unsent: Vec<u8>,
) {
    let mut queue = tx.borrow_mut();
    debug_assert!(queue.is_idle());
    queue.pending = unsent;
    queue.active = Some(start::<C>(fd, tx, buffers));
}

/// Has what is queued sent at the next enter.
#[inline]
fn start<C: Channel>(fd: &Fd, tx: &Rc<RefCell<TxQueue>>, buffers: &Rc<SocketBuffers>) -> Key {
    let inline = C::IS_SOCKET && fd.ring().features().has(Rung::InlineSend);
    fd.ring().submit_deferred(Send::<C> {
        shared: Shared {
            fd: fd.clone(),
            tx: tx.clone(),
            buffers: buffers.clone(),
        },
        sending: Vec::new(),
        sent: 0,
        inline,
        polls: false,
        channel: PhantomData,
    })
}

const _: () = assert!(
    fits::<Send<Socket>>() && fits::<Send<Pipe>>(),
    "a send allocates nothing"
);

struct Shared {
    fd: Fd,
    tx: Rc<RefCell<TxQueue>>,
    buffers: Rc<SocketBuffers>,
}

/// A send in flight.
struct Send<C> {
    shared: Shared,
    sending: Vec<u8>,
    sent: u32,
    /// The next try completes during submission.
    inline: bool,
    /// The last try did not wait, though there was no room: a poll (IORING_OP_POLL_ADD, 5.1) goes
    /// before the next one. Not every kernel's ring waits where somebody has set `O_NONBLOCK`.
    polls: bool,
    channel: PhantomData<C>,
}

// SAFETY: the data is on the heap and not touched while the kernel may read it: `sending` changes
// only between a completion and the next `entry`.
unsafe impl<C: Channel> Operation for Send<C> {
    const IO: Option<IoKind> = Some(C::WRITE);

    fn class(&self) -> Class {
        // A completion that a flush or a held-back writer waits for is news.
        if self.inline && self.shared.tx.borrow().waiting.is_empty() {
            Class::Inline
        } else {
            Class::Wait
        }
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.shared.fd.raw());
        if self.polls {
            return opcode::PollAdd::new(fd, libc::POLLOUT as u32).build();
        }
        if self.sent as usize == self.sending.len() {
            let mut queue = self.shared.tx.borrow_mut();
            self.sending.clear();
            self.sent = 0;
            std::mem::swap(&mut self.sending, &mut queue.pending);
        }
        let data = &self.sending[self.sent as usize..];
        C::write(fd, data.as_ptr(), data.len() as u32, self.inline)
    }
}

impl<C> Send<C> {
    /// Ends, and leaves what was not sent in the queue.
    #[cold]
    fn leave(&mut self, queue: &mut TxQueue, completion: Completion) -> Next {
        if !std::mem::take(&mut self.polls) {
            // Whoever sends the rest learns of an error.
            self.sent += completion.result.max(0) as u32;
        }
        let mut unsent = self.sending.split_off(self.sent as usize);
        unsent.append(&mut queue.pending);
        queue.pending = unsent;
        queue.active = None;
        Next::Done(queue.waiting.take())
    }
}

impl<C> Driven for Send<C> {
    fn on_completion(&mut self, completion: Completion) -> Next {
        let tx = self.shared.tx.clone();
        let mut queue = tx.borrow_mut();
        let was_inline = std::mem::take(&mut self.inline);
        if queue.leaving {
            return self.leave(&mut queue, completion);
        }
        if std::mem::take(&mut self.polls) && completion.result >= 0 {
            return Next::Retry;
        }
        match completion.result {
            result if result >= 0 => {
                self.sent += result as u32;
                if (self.sent as usize) < self.sending.len() {
                    // The socket is full: let the kernel wait for room.
                    return Next::Resubmit(None);
                }
                if !queue.pending.is_empty() {
                    self.inline = was_inline;
                    return Next::Resubmit(queue.waiting.take());
                }
            }
            code if -code == libc::EAGAIN || -code == libc::EINTR => {
                self.polls = -code == libc::EAGAIN && !was_inline;
                return Next::Resubmit(None);
            }
            code => {
                queue.error = Some(-code);
                queue.pending.clear();
            }
        }
        queue.active = None;
        self.shared
            .buffers
            .put_back(std::mem::take(&mut self.sending));
        self.shared
            .buffers
            .put_back(std::mem::take(&mut queue.pending));
        Next::Done(queue.waiting.take())
    }
}
