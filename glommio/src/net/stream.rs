//! A connected stream socket: what it received, what it has to send.

use std::{
    future::Future,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    task::{Context, Poll},
};

use crate::{
    reactor::Reactor,
    sys::{
        fd::Fd,
        ledger::IoKind,
        op::poll::PollOnce,
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
}

impl Stream {
    pub(super) fn new(fd: OwnedFd, reactor: &Reactor) -> Self {
        let fd = Fd::new(fd, reactor.ring().clone());
        Stream {
            rx: RxHalf::new(fd.clone(), reactor.sockets().clone()),
            tx: TxHalf::new(fd, reactor.sockets().clone()),
            writable: None,
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        self.tx.fd()
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.rx.poll_read(cx, buf)
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if buf.len() < DIRECT_WRITE_BYTES {
            return self.tx.poll_queue(cx, buf);
        }
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
            match socket::send_now(self.fd().raw(), buf) {
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
        self.tx.poll_flush(cx)
    }

    /// Flushes and tells the peer that nothing follows.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_flush(cx)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                match socket::borrow(self.fd()).shutdown(std::net::Shutdown::Write) {
                    Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                        Poll::Ready(Ok(()))
                    }
                    result => Poll::Ready(result),
                }
            }
        }
    }
}
