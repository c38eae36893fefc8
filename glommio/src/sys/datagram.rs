//! Datagrams over a descriptor, for whatever address family.
//!
//! The kernel never sees the caller's memory: what is sent is copied, what is received is copied
//! out, so that calls can be given up at any time.

use std::{
    cell::{Cell, RefCell},
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use socket2::SockAddr;

pub(crate) use super::buffers::message::{Message, too_long};
use super::{
    buffers::socket::SocketBuffers,
    fd::Fd,
    op::{
        accept::Connect,
        datagram::{self, Inbox, Send},
    },
    submission::Submission,
};
use crate::waiters::{Key, poll_verdict, wake_settled};

/// Receives are given room for this much until somebody asks for another size.
pub(crate) const DEFAULT_ROOM_BYTES: usize = 8 << 10;

/// Whether a call takes the datagram that it looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Take,
    Peek,
}

/// A socket for datagrams. Any number of calls may wait at the same time.
pub(crate) struct Datagrams {
    fd: Fd,
    buffers: Rc<SocketBuffers>,
    inbox: Rc<RefCell<Inbox>>,
    room_bytes: Cell<usize>,
}

impl Datagrams {
    pub(crate) fn new(fd: Fd, buffers: Rc<SocketBuffers>) -> Self {
        Datagrams {
            fd,
            buffers,
            inbox: Rc::default(),
            room_bytes: Cell::new(DEFAULT_ROOM_BYTES),
        }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Gives receives room for `bytes` from now on.
    pub(crate) fn set_room_bytes(&self, bytes: usize) {
        if self.room_bytes.replace(bytes) != bytes {
            self.stop_receive();
        }
    }

    /// Waits for a datagram and shows it to `look_at`.
    pub(crate) async fn receive<R>(
        &self,
        look: Look,
        look_at: impl FnOnce(&Message) -> R,
    ) -> io::Result<R> {
        let arrival = Arrival {
            socket: self,
            waits: None,
        };
        arrival.await?;
        let (result, taken) = {
            let mut inbox = self.inbox.borrow_mut();
            match (inbox.take_error(), look) {
                (Some(error), _) => (Err(error), None),
                (None, Look::Peek) => {
                    let front = inbox.arrived.front();
                    let message = front.and_then(|front| front.as_deref().ok());
                    (message.map(look_at).ok_or_else(nothing), None)
                }
                (None, Look::Take) => match inbox.arrived.pop_front() {
                    Some(Ok(message)) => (Ok(look_at(&message)), Some(message)),
                    _ => (Err(nothing()), None),
                },
            }
        };
        if let Some(message) = taken {
            self.buffers.put_back_message(message);
        }
        self.look_after_waiters();
        result
    }

    /// Sends a datagram, and waits until the kernel has it.
    pub(crate) async fn send(&self, data: &[u8], to: Option<&SockAddr>) -> io::Result<usize> {
        self.check_ring()?;
        let mut message = self.buffers.message();
        message.fill(data, to);
        let op = Send {
            fd: self.fd.clone(),
            message,
        };
        let (op, completion) = Submission::new(self.fd.ring().clone(), op).await;
        self.buffers.put_back_message(op.message);
        if completion.result < 0 {
            // A ring that went down meanwhile has cancelled it.
            self.check_ring()?;
        }
        completion.count()
    }

    /// Sets the peer, which takes no waiting.
    pub(crate) async fn connect(&self, peer: SockAddr) -> io::Result<()> {
        self.check_ring()?;
        let op = Connect {
            fd: self.fd.clone(),
            address: Box::new(peer),
        };
        let (_op, completion) = Submission::new(self.fd.ring().clone(), op).await;
        completion.count().map(drop)
    }

    /// If somebody else waits: what is there is theirs, the executor's end too, and what is not there is
    /// asked for.
    fn look_after_waiters(&self) {
        let mut inbox = self.inbox.borrow_mut();
        if inbox.waiters.is_empty() {
            return;
        }
        if inbox.arrived.is_empty() && !self.fd.ring().is_closed() {
            drop(inbox);
            self.arm();
            return;
        }
        inbox.waiters.settle_front(());
        drop(inbox);
        wake_settled(&*self.inbox);
    }

    fn arm(&self) {
        datagram::arm(&self.fd, &self.inbox, &self.buffers, self.room_bytes.get());
    }

    /// Stops the receive in flight. Whoever waits starts another.
    fn stop_receive(&self) {
        let armed = self.inbox.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
    }

    fn check_ring(&self) -> io::Result<()> {
        if self.fd.ring().is_closed() {
            return Err(io::Error::other(
                "the executor that this socket belongs to is gone",
            ));
        }
        Ok(())
    }
}

fn nothing() -> io::Error {
    io::Error::from(io::ErrorKind::WouldBlock)
}

impl Drop for Datagrams {
    fn drop(&mut self) {
        // A receive has nobody to receive for.
        self.stop_receive();
    }
}

/// Waits until something stands in the inbox. Ready means that it is there until the next await.
struct Arrival<'a> {
    socket: &'a Datagrams,
    waits: Option<Key>,
}

impl Future for Arrival<'_> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let socket = self.socket;
        if let Some(key) = self.waits {
            if !socket.fd.ring().is_closed() {
                ready!(poll_verdict(&*socket.inbox, key, cx));
                self.waits = None;
            }
        }
        if !socket.inbox.borrow().arrived.is_empty() {
            return Poll::Ready(Ok(()));
        }
        socket.check_ring()?;
        // Cloned outside of the borrow: a waker is code of others.
        let waker = cx.waker().clone();
        self.waits = Some(socket.inbox.borrow_mut().waiters.push((), waker));
        socket.arm();
        Poll::Pending
    }
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        let Some(key) = self.waits else { return };
        let removed = self.socket.inbox.borrow_mut().waiters.remove(key);
        // Whoever was told to look and does not passes that on.
        if removed.is_some_and(|removed| removed.verdict.is_some()) {
            self.socket.look_after_waiters();
        }
    }
}
