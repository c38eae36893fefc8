//! A connected stream socket: what it received, what it has to send.

use std::{
    future::{Future, poll_fn},
    io::{self, IoSlice},
    net::Shutdown,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use socket2::SockAddr;

use super::deadline::{Patience, within};
use crate::{
    error::Result,
    reactor::{self, Reactor},
    sys::{
        fd::Fd,
        ledger::IoKind,
        op::{accept::Connect, poll::PollOnce, recv::RxEnd},
        socket,
        stream::{RxHalf, Socket, TxHalf},
        submission::Submission,
    },
};

/// Writes of at least this size go to the socket without being copied to the queue.
const DIRECT_WRITE_BYTES: usize = 16 << 10;

/// The state of a stream socket, for whatever address family.
pub(super) struct Stream {
    rx: RxHalf<Socket>,
    tx: TxHalf<Socket>,
    writable: Option<Submission<PollOnce>>,
    read_patience: Patience,
    write_patience: Patience,
}

impl Stream {
    pub(super) fn new(fd: OwnedFd, reactor: &Reactor) -> Self {
        let fd = Fd::new(fd, reactor.ring().clone());
        Stream {
            rx: RxHalf::new(fd.clone(), reactor.sockets().clone()),
            tx: TxHalf::new(fd, reactor.sockets().clone()),
            writable: None,
            read_patience: Patience::default(),
            write_patience: Patience::default(),
        }
    }

    /// Connects `socket`, which is fresh.
    pub(super) async fn connect(socket: socket2::Socket, peer: SockAddr) -> io::Result<Stream> {
        let reactor = reactor::current();
        let fd = Fd::new(socket.into(), reactor.ring().clone());
        let op = Connect {
            fd: fd.clone(),
            address: Box::new(peer),
        };
        let (op, completion) = reactor.submit(op).await;
        drop(op);
        completion.count()?;
        Ok(Stream::new(owned(fd)?, &reactor))
    }

    pub(super) fn fd(&self) -> &Fd {
        self.tx.fd()
    }

    pub(super) fn read_patience(&self) -> &Patience {
        &self.read_patience
    }

    pub(super) fn write_patience(&self) -> &Patience {
        &self.write_patience
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let poll = self.rx.poll_read(cx, buf);
        self.read_patience.judge(cx, poll)
    }

    /// Copies what was received and not read.
    pub(super) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.rx.poll_peek(cx, buf)
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let poll = if buf.len() < DIRECT_WRITE_BYTES {
            self.tx.poll_queue(cx, buf)
        } else {
            self.poll_direct(cx, |fd| socket::send_now(fd.raw(), buf))
        };
        self.write_patience.judge(cx, poll)
    }

    pub(super) fn poll_write_vectored(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(first) = bufs.iter().position(|buf| !buf.is_empty()) else {
            return Poll::Ready(Ok(0));
        };
        let bufs = &bufs[first..];
        let bytes: usize = bufs.iter().map(|buf| buf.len()).sum();
        let poll = if bytes < DIRECT_WRITE_BYTES {
            self.poll_queue_all(cx, bufs)
        } else {
            self.poll_direct(cx, |fd| socket::send_all_now(fd, bufs))
        };
        self.write_patience.judge(cx, poll)
    }

    /// Queues as much as there is room for.
    fn poll_queue_all(
        &mut self,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut queued = 0;
        for buf in bufs.iter().filter(|buf| !buf.is_empty()) {
            if queued > 0 && !self.tx.has_room() {
                break;
            }
            let n = ready!(self.tx.poll_queue(cx, buf))?;
            queued += n;
            if n < buf.len() {
                break;
            }
        }
        Poll::Ready(Ok(queued))
    }

    /// Sends with `send`, which does not wait, once everything that was queued is sent.
    fn poll_direct(
        &mut self,
        cx: &mut Context<'_>,
        send: impl Fn(&Fd) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        self.tx.check()?;
        // Order: what was queued goes first.
        if !self.tx.is_idle() {
            return self.tx.wait(cx);
        }
        loop {
            if let Some(writable) = &mut self.writable {
                match Pin::new(writable).poll(cx) {
                    Poll::Ready(_) => self.writable = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match send(self.fd()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ring = self.fd().ring().clone();
                    let op = PollOnce {
                        fd: self.fd().clone(),
                        events: socket::WRITABLE,
                    };
                    self.writable = Some(Submission::new(ring, op));
                }
                result => {
                    if let Ok(bytes) = &result {
                        let ring = self.fd().ring();
                        ring.count_io(IoKind::SocketWrite, *bytes as u64);
                    }
                    return Poll::Ready(result);
                }
            }
        }
    }

    /// Waits until everything that was accepted is with the kernel.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = self.tx.poll_flush(cx);
        self.write_patience.judge(cx, poll)
    }

    /// Flushes and tells the peer that nothing follows.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        match socket::borrow(self.fd()).shutdown(Shutdown::Write) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            result => Poll::Ready(result),
        }
    }

    /// Shuts one direction down, or both; that of writing when everything that was accepted is with the
    /// kernel.
    pub(super) fn poll_shutdown(
        &self,
        cx: &mut Context<'_>,
        how: Shutdown,
    ) -> Poll<io::Result<()>> {
        if how != Shutdown::Read {
            ready!(self.tx.poll_flushed(cx))?;
        }
        Poll::Ready(socket::borrow(self.fd()).shutdown(how))
    }

    /// As [`poll_shutdown`](Self::poll_shutdown), within the timeout of writes.
    pub(super) async fn shutdown(&self, how: Shutdown) -> Result<(), ()> {
        let work = async { Ok(poll_fn(|cx| self.poll_shutdown(cx, how)).await?) };
        within(self.write_patience.limit(), work).await
    }

    /// Takes the descriptor out. A receive is stopped; what was received and not read is discarded. What
    /// was written is sent.
    pub(super) fn into_fd(self) -> OwnedFd {
        self.settle(|rx, _| rx.stop());
        let fd = self.fd().clone();
        drop(self);
        expect_owned(fd)
    }

    /// Takes everything out, for a stream on another executor.
    pub(super) fn depart(self) -> Departed {
        self.settle(|rx, tx| rx.stop() & tx.stop());
        let (unread, end) = self.rx.take_unread();
        let luggage = Luggage {
            unread,
            end,
            unsent: self.tx.take_unsent(),
        };
        let fd = self.fd().clone();
        drop(self);
        Departed {
            fd: expect_owned(fd),
            luggage: (!luggage.is_empty()).then(|| Box::new(luggage)),
        }
    }

    /// Asks for `stopped`, which takes no longer than a cancellation, until it is so.
    fn settle(&self, stopped: impl Fn(&RxHalf<Socket>, &TxHalf<Socket>) -> bool) {
        let ring = self.fd().ring();
        if ring.is_closed() || stopped(&self.rx, &self.tx) {
            return;
        }
        let reactor = reactor::current();
        assert!(
            Rc::ptr_eq(reactor.ring(), ring),
            "a stream leaves an executor only from a task of it"
        );
        reactor.settle(|| stopped(&self.rx, &self.tx));
    }
}

/// The descriptor of a socket that nothing is done with any more.
fn owned(fd: Fd) -> io::Result<OwnedFd> {
    fd.try_into_owned().or_else(|shared| shared.duplicate())
}

fn expect_owned(fd: Fd) -> OwnedFd {
    owned(fd).expect("a descriptor for a socket that an operation still uses")
}

/// A connection that no executor owns. It may be sent to another thread.
#[derive(Debug)]
pub(super) struct Departed {
    fd: OwnedFd,
    luggage: Option<Box<Luggage>>,
}

/// What a stream has in memory and takes along.
#[derive(Debug)]
struct Luggage {
    unread: Vec<u8>,
    end: Option<RxEnd>,
    unsent: Vec<u8>,
}

impl Luggage {
    fn is_empty(&self) -> bool {
        self.unread.is_empty() && self.end.is_none() && self.unsent.is_empty()
    }
}

impl From<OwnedFd> for Departed {
    fn from(fd: OwnedFd) -> Departed {
        Departed { fd, luggage: None }
    }
}

impl Departed {
    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// A stream of the current executor.
    pub(super) fn arrive(self) -> Stream {
        let stream = Stream::new(self.fd, &reactor::current());
        if let Some(luggage) = self.luggage {
            stream.rx.put_unread(luggage.unread, luggage.end);
            stream.tx.put_unsent(luggage.unsent);
        }
        stream
    }
}
