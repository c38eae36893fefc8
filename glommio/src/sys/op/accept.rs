//! Accepting and making connections.

use std::{cell::RefCell, collections::VecDeque, io, os::fd::OwnedFd, rc::Rc, task::Waker};

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::{
    Class, Completion, Driven, Next, Operation,
    poll::{AwaitReadable, Receiver},
};
use crate::{
    sys::{
        fd::{self, Fd},
        features::Rung,
        inflight::Key,
        ledger::IoKind,
    },
    waiters::Turns,
};

/// A multishot accept is stopped when this many connections wait for somebody to take them; the
/// rest stays in the kernel's backlog.
const UNTAKEN_LIMIT: usize = 64;

/// Connections that a listener accepted and nobody took yet.
#[derive(Default)]
pub(crate) struct AcceptQueue {
    pub(crate) accepted: VecDeque<OwnedFd>,
    pub(crate) error: Option<i32>,
    /// The accept in flight.
    pub(crate) armed: Option<Key>,
    /// Who waits to look again.
    pub(crate) turns: Turns,
    /// The last accept did not wait, though there was nothing: the next one is preceded by a poll.
    dry: bool,
}

impl AcceptQueue {
    /// Takes a connection or an error that has arrived.
    pub(crate) fn take(&mut self) -> Option<io::Result<OwnedFd>> {
        if let Some(fd) = self.accepted.pop_front() {
            return Some(Ok(fd));
        }
        self.error
            .take()
            .map(|errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Whether something stands here to be taken.
    pub(crate) fn has_news(&self) -> bool {
        !self.accepted.is_empty() || self.error.is_some()
    }
}

/// An accept in flight (IORING_OP_ACCEPT, 5.5; multishot 5.19).
pub(crate) struct Accept {
    fd: Fd,
    queue: Rc<RefCell<AcceptQueue>>,
    multishot: bool,
}

/// Starts an accept on `fd`, unless one is in flight.
pub(crate) fn arm(fd: &Fd, queue: &Rc<RefCell<AcceptQueue>>) {
    let mut state = queue.borrow_mut();
    if state.armed.is_some() {
        return;
    }
    state.armed = Some(if std::mem::take(&mut state.dry) {
        fd.ring().submit_driven(AwaitReadable {
            fd: fd.clone(),
            receiver: queue.clone(),
        })
    } else {
        let multishot = fd.ring().features().has(Rung::MultishotAccept);
        fd.ring().submit_driven(Accept {
            fd: fd.clone(),
            queue: queue.clone(),
            multishot,
        })
    });
}

impl Receiver for AcceptQueue {
    fn on_readable(&mut self) -> Option<Waker> {
        self.armed = None;
        self.turns.tell_next()
    }
}

// SAFETY: no address is asked for, so an accept points to nothing.
unsafe impl Operation for Accept {
    const IO: Option<IoKind> = Some(IoKind::Accept);

    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let fd = types::Fd(self.fd.raw());
        let flags = libc::SOCK_CLOEXEC;
        if self.multishot {
            opcode::AcceptMulti::new(fd).flags(flags).build()
        } else {
            opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
                .flags(flags)
                .build()
        }
    }
}

impl Driven for Accept {
    fn on_completion(&mut self, completion: Completion) -> Next {
        let mut queue = self.queue.borrow_mut();
        match completion.result {
            // A connection that arrives after its listener is gone is closed with the queue.
            result if result >= 0 => queue.accepted.push_back(fd::adopt(result)),
            code => match -code {
                libc::ECANCELED | libc::EINTR => {}
                libc::EAGAIN => queue.dry = true,
                errno => queue.error = Some(errno),
            },
        }
        // With one connection one waiter can go on. It sees to the others when there is an error or
        // an end.
        let waker = queue.turns.tell_next();
        if completion.more() {
            if queue.accepted.len() >= UNTAKEN_LIMIT {
                return Next::Stop(waker);
            }
            return Next::Keep(waker);
        }
        queue.armed = None;
        Next::Done(waker)
    }
}

/// Connects a socket (IORING_OP_CONNECT, 5.5).
pub(crate) struct Connect {
    pub(crate) fd: Fd,
    pub(crate) address: Box<SockAddr>,
}

// SAFETY: the address is boxed.
unsafe impl Operation for Connect {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        opcode::Connect::new(
            types::Fd(self.fd.raw()),
            self.address.as_ptr().cast(),
            self.address.len(),
        )
        .build()
    }
}
