//! Streams of bytes over a descriptor, a half for each direction.
//!
//! Both halves are what `futures_io` asks for: a read that is given up goes on and keeps its data for
//! the next one, and a write is copied and leaves with the executor's next enter. The kernel never
//! sees the caller's memory.

use std::{
    cell::RefCell,
    io,
    marker::PhantomData,
    rc::Rc,
    task::{Context, Poll, Waker},
};

pub(crate) use super::op::bytes::{Pipe, Socket};
use super::{
    buffers::socket::SocketBuffers,
    fd::Fd,
    op::{
        bytes::Channel,
        recv::{self, RxQueue, read_end},
        send::{self, TxQueue},
    },
};

/// The half that reads.
pub(crate) struct RxHalf<C: Channel> {
    fd: Fd,
    buffers: Rc<SocketBuffers>,
    queue: Rc<RefCell<RxQueue>>,
    channel: PhantomData<C>,
}

impl<C: Channel> RxHalf<C> {
    pub(crate) fn new(fd: Fd, buffers: Rc<SocketBuffers>) -> Self {
        RxHalf {
            fd,
            buffers,
            queue: Rc::default(),
            channel: PhantomData,
        }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    pub(crate) fn poll_read(
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
        if let Some(end) = self.queue.borrow().end {
            return Poll::Ready(read_end(end));
        }
        check_ring(&self.fd)?;
        recv::arm::<C>(&self.fd, &self.queue, &self.buffers, buf.len());
        let old = leave(&mut self.queue.borrow_mut().waker, cx.waker());
        drop(old);
        Poll::Pending
    }

    fn take_received(&mut self, buf: &mut [u8]) -> usize {
        let mut queue = self.queue.borrow_mut();
        let mut n = 0;
        while n < buf.len() {
            let Some(chunk) = queue.chunks.front_mut() else {
                break;
            };
            let bytes = chunk.bytes();
            let part = bytes.len().min(buf.len() - n);
            buf[n..n + part].copy_from_slice(&bytes[..part]);
            n += part;
            if part < bytes.len() {
                chunk.advance(part);
            } else if let Some(chunk) = queue.chunks.pop_front() {
                chunk.give_back(&self.buffers);
            }
        }
        n
    }
}

impl<C: Channel> Drop for RxHalf<C> {
    fn drop(&mut self) {
        // A receive has nobody to receive for.
        let armed = self.queue.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
        let waker = self.queue.borrow_mut().waker.take();
        drop(waker);
    }
}

/// The half that writes. What it accepted is written even if it is dropped: the send holds its queue
/// and a share of the descriptor.
pub(crate) struct TxHalf<C: Channel> {
    fd: Fd,
    buffers: Rc<SocketBuffers>,
    queue: Rc<RefCell<TxQueue>>,
    channel: PhantomData<C>,
}

impl<C: Channel> TxHalf<C> {
    pub(crate) fn new(fd: Fd, buffers: Rc<SocketBuffers>) -> Self {
        TxHalf {
            fd,
            buffers,
            queue: Rc::default(),
            channel: PhantomData,
        }
    }

    pub(crate) fn fd(&self) -> &Fd {
        &self.fd
    }

    /// Fails with what became of earlier writes, or because the executor is gone.
    pub(crate) fn check(&self) -> io::Result<()> {
        if let Some(error) = self.queue.borrow_mut().take_error() {
            return Err(error);
        }
        check_ring(&self.fd)
    }

    /// Whether everything accepted was handed to the kernel and taken by it.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.borrow().is_idle()
    }

    /// Accepts some of `buf`, which is not empty, and copies it.
    pub(crate) fn poll_queue(
        &mut self,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let n = send::queue::<C>(&self.fd, &self.queue, &self.buffers, buf);
        if n > 0 {
            return Poll::Ready(Ok(n));
        }
        self.wait(cx)
    }

    /// Waits for the queue to get on.
    pub(crate) fn wait<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        let old = leave(&mut self.queue.borrow_mut().waker, cx.waker());
        drop(old);
        Poll::Pending
    }

    /// Waits until everything that was accepted is with the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.queue.borrow_mut().take_error() {
            return Poll::Ready(Err(error));
        }
        if self.is_idle() {
            return Poll::Ready(Ok(()));
        }
        check_ring(&self.fd)?;
        self.wait(cx)
    }
}

fn check_ring(fd: &Fd) -> io::Result<()> {
    if fd.ring().is_closed() {
        return Err(io::Error::other(
            "the executor that this stream belongs to is gone",
        ));
    }
    Ok(())
}

/// Leaves a waker; gives back the one it replaces, to be dropped outside of any borrow.
fn leave(place: &mut Option<Waker>, waker: &Waker) -> Option<Waker> {
    match place {
        Some(old) if old.will_wake(waker) => None,
        place => place.replace(waker.clone()),
    }
}
