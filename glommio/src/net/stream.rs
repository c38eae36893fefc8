//! A connected stream socket: what it received, what it has to send.

use std::{
    cell::RefCell,
    future::Future,
    io,
    os::fd::OwnedFd,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use crate::{
    reactor::Reactor,
    sys::{
        buffers::socket::SocketBuffers,
        fd::Fd,
        op::{
            poll::PollOnce,
            recv::{self, RxQueue, read_end},
            send::{self, TxQueue},
        },
        socket,
        submission::Submission,
    },
};

/// Writes of at least this size go to the socket without being copied to the queue.
const DIRECT_WRITE_BYTES: usize = 16 << 10;

/// The state of a stream socket, for whatever address family.
pub(super) struct Stream {
    fd: Fd,
    buffers: Rc<SocketBuffers>,
    rx: Rc<RefCell<RxQueue>>,
    tx: Rc<RefCell<TxQueue>>,
    writable: Option<Submission<PollOnce>>,
}

impl Stream {
    pub(super) fn new(fd: OwnedFd, reactor: &Reactor) -> Self {
        Stream {
            fd: Fd::new(fd, reactor.ring().clone()),
            buffers: reactor.sockets().clone(),
            rx: Rc::default(),
            tx: Rc::default(),
            writable: None,
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        &self.fd
    }

    fn check_ring(&self) -> io::Result<()> {
        if self.fd.ring().is_closed() {
            return Err(io::Error::other(
                "the executor that this stream belongs to is gone",
            ));
        }
        Ok(())
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = self.take_received(buf);
        if n > 0 {
            return Poll::Ready(Ok(n));
        }
        if let Some(end) = self.rx.borrow().end {
            return Poll::Ready(read_end(end));
        }
        self.check_ring()?;
        recv::arm(&self.fd, &self.rx, &self.buffers, buf.len());
        let old = leave(&mut self.rx.borrow_mut().waker, cx.waker());
        drop(old);
        Poll::Pending
    }

    fn take_received(&mut self, buf: &mut [u8]) -> usize {
        let mut rx = self.rx.borrow_mut();
        let mut n = 0;
        while n < buf.len() {
            let Some(chunk) = rx.chunks.front_mut() else {
                break;
            };
            let bytes = chunk.bytes();
            let part = bytes.len().min(buf.len() - n);
            buf[n..n + part].copy_from_slice(&bytes[..part]);
            n += part;
            if part < bytes.len() {
                chunk.advance(part);
            } else {
                rx.chunks.pop_front();
            }
        }
        n
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if let Some(error) = self.tx.borrow_mut().take_error() {
            return Poll::Ready(Err(error));
        }
        self.check_ring()?;
        if buf.len() < DIRECT_WRITE_BYTES {
            let n = send::queue(&self.fd, &self.tx, &self.buffers, buf);
            if n > 0 {
                return Poll::Ready(Ok(n));
            }
            return self.wait_for_queue(cx);
        }
        // Order: what was queued goes first.
        if !self.tx.borrow().is_idle() {
            return self.wait_for_queue(cx);
        }
        loop {
            if let Some(writable) = &mut self.writable {
                match Pin::new(writable).poll(cx) {
                    Poll::Ready(_) => self.writable = None,
                    Poll::Pending => return Poll::Pending,
                }
            }
            match socket::send_now(self.fd.raw(), buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ring = self.fd.ring().clone();
                    let op = PollOnce {
                        fd: self.fd.clone(),
                        events: socket::WRITABLE,
                    };
                    self.writable = Some(Submission::new(ring, op));
                }
                result => return Poll::Ready(result),
            }
        }
    }

    fn wait_for_queue<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let old = leave(&mut self.tx.borrow_mut().waker, cx.waker());
        drop(old);
        Poll::Pending
    }

    /// Waits until everything that was accepted is with the kernel.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.tx.borrow_mut().take_error() {
            return Poll::Ready(Err(error));
        }
        if self.tx.borrow().is_idle() {
            return Poll::Ready(Ok(()));
        }
        self.check_ring()?;
        self.wait_for_queue(cx)
    }

    /// Flushes and tells the peer that nothing follows.
    pub(super) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.poll_flush(cx)? {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => match socket::borrow(&self.fd).shutdown(std::net::Shutdown::Write) {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
                result => Poll::Ready(result),
            },
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What was accepted for sending is sent: the send holds its queue and a share of the
        // descriptor. A receive has nobody to receive for.
        let armed = self.rx.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
        let waker = self.rx.borrow_mut().waker.take();
        drop(waker);
    }
}

/// Leaves a waker; gives back the one it replaces, to be dropped outside of any borrow.
fn leave(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(old) if old.will_wake(waker) => None,
        place => place.replace(waker.clone()),
    }
}
