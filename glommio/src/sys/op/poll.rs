//! Readiness and the wake-up eventfd.

use std::{cell::RefCell, rc::Rc, sync::Arc, task::Waker};

use io_uring::{opcode, squeue, types};

use super::{Class, Completion, Driven, Next, Operation};
use crate::sys::{eventfd::EventFd, fd::Fd};

/// Does nothing, through the whole path of an operation (IORING_OP_NOP, 5.1).
pub(crate) struct Nop;

// SAFETY: a NOP points to nothing.
unsafe impl Operation for Nop {
    fn entry(&mut self) -> squeue::Entry {
        opcode::Nop::new().build()
    }
}

/// Waits for readiness of a descriptor once (IORING_OP_POLL_ADD, 5.1).
pub(crate) struct PollOnce {
    pub(crate) fd: Fd,
    pub(crate) events: i16,
}

// SAFETY: a poll points to nothing; the descriptor is held open by its share.
unsafe impl Operation for PollOnce {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(self.fd.raw()), self.events as u32).build()
    }
}

/// Somebody who receives, one operation at a time.
pub(crate) trait Receiver: 'static {
    /// The wait for something to receive is over; who wants it is to be woken, and tries.
    fn on_readable(&mut self) -> Option<Waker>;
}

/// Waits until a descriptor is readable, for a receive that was answered `EAGAIN`: not every
/// kernel's ring waits where somebody has set `O_NONBLOCK`, and it would answer so for ever
/// (IORING_OP_POLL_ADD, 5.1).
pub(super) struct AwaitReadable<R> {
    pub(super) fd: Fd,
    pub(super) receiver: Rc<RefCell<R>>,
}

// SAFETY: a poll points to nothing; the descriptor is held open by its share.
unsafe impl<R: Receiver> Operation for AwaitReadable<R> {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        opcode::PollAdd::new(types::Fd(self.fd.raw()), libc::POLLIN as u32).build()
    }
}

impl<R: Receiver> Driven for AwaitReadable<R> {
    fn on_completion(&mut self, _completion: Completion) -> Next {
        // An error of the descriptor is the next receive's to tell.
        Next::Done(self.receiver.borrow_mut().on_readable())
    }
}

/// Watches the executor's wake-up eventfd for as long as the ring lives.
///
/// With multishot poll (5.13) the counter is never read: each write is an edge that posts a
/// completion, and 2^64 writes do not happen. Before that, a read consumes the counter and is
/// submitted again.
pub(crate) struct WatchEventFd {
    pub(crate) eventfd: Arc<EventFd>,
    pub(crate) multishot: bool,
    counter: Box<[u8; 8]>,
}

impl WatchEventFd {
    pub(crate) fn new(eventfd: Arc<EventFd>, multishot: bool) -> Self {
        WatchEventFd {
            eventfd,
            multishot,
            counter: Box::default(),
        }
    }
}

// SAFETY: the read's target is boxed, so it stays where it is when the operation moves.
unsafe impl Operation for WatchEventFd {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.eventfd.raw());
        if self.multishot {
            opcode::PollAdd::new(fd, libc::POLLIN as u32)
                .multi(true)
                .build()
        } else {
            let counter = &mut *self.counter;
            opcode::Read::new(fd, counter.as_mut_ptr(), counter.len() as u32).build()
        }
    }
}

impl Driven for WatchEventFd {
    fn on_completion(&mut self, completion: Completion) -> Next {
        if completion.more() {
            return Next::Keep(None);
        }
        // Whatever ended it: without the watch, the executor hears of no thread any more. A multishot
        // poll whose completion finds the queue full ends with its result, or, says the kernel, as
        // cancelled. At tear-down, what is to be submitted again goes without having been.
        Next::Resubmit(None)
    }
}

/// Wakes when an eventfd's counter is not zero, or when the ring goes down (IORING_OP_POLL_ADD, 5.1).
/// The counter is not read, so any number of rings may watch the same one.
pub(crate) struct WatchOnce {
    eventfd: Arc<EventFd>,
    waker: Option<Waker>,
}

impl WatchOnce {
    pub(crate) fn new(eventfd: Arc<EventFd>, waker: Waker) -> Self {
        WatchOnce {
            eventfd,
            waker: Some(waker),
        }
    }
}

// SAFETY: a poll points to nothing; the descriptor is held open by its share.
unsafe impl Operation for WatchOnce {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.eventfd.raw());
        opcode::PollAdd::new(fd, libc::POLLIN as u32).build()
    }
}

impl Driven for WatchOnce {
    fn on_completion(&mut self, completion: Completion) -> Next {
        match -completion.result {
            libc::EINTR | libc::EAGAIN => Next::Resubmit(None),
            // Readable; or cancelled, and then the waker leaves the ring before it is dropped.
            _ => Next::Done(self.waker.take()),
        }
    }
}
