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
    task::{Context, Poll},
};

pub(crate) use super::op::bytes::{Pipe, Socket};
use super::{
    buffers::socket::SocketBuffers,
    fd::Fd,
    op::{
        bytes::Channel,
        recv::{self, Chunk, RxEnd, RxQueue, read_end},
        send::{self, TxQueue},
    },
};

/// A stream of which so many pieces are peeked at holds no buffers of the ring for them.
const GATHER_PIECES: usize = 16;

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
        let old = self.queue.borrow_mut().waiting.set_owner(cx.waker());
        drop(old);
        Poll::Pending
    }

    /// Copies what was received and not read, and leaves it there. Any number of tasks may wait for
    /// that, and one more to read.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = self.copy_received(buf);
        if n < buf.len() && self.queue.borrow().end.is_none() && !self.fd.ring().is_closed() {
            // Whoever wants to see more and looks again finds it.
            self.gather();
            recv::arm::<C>(&self.fd, &self.queue, &self.buffers, buf.len() - n);
        }
        if n > 0 {
            return Poll::Ready(Ok(n));
        }
        if let Some(end) = self.queue.borrow().end {
            return Poll::Ready(read_end(end));
        }
        check_ring(&self.fd)?;
        let waker = cx.waker().clone();
        let known = self.queue.borrow_mut().waiting.join(waker);
        drop(known);
        Poll::Pending
    }

    /// Makes one piece of many, whose buffers are for all streams: whoever peeks for much and is sent
    /// little at a time would hold them.
    fn gather(&self) {
        let mut queue = self.queue.borrow_mut();
        if queue.chunks.len() >= GATHER_PIECES {
            let data = self.drain(&mut queue);
            queue.chunks.push_back(Chunk::Own { data, start: 0 });
        }
    }

    fn drain(&self, queue: &mut RxQueue) -> Vec<u8> {
        let mut data = Vec::new();
        for chunk in queue.chunks.drain(..) {
            data.extend_from_slice(chunk.bytes());
            chunk.give_back(&self.buffers);
        }
        data
    }

    fn copy_received(&self, buf: &mut [u8]) -> usize {
        let queue = self.queue.borrow();
        let mut n = 0;
        for chunk in &queue.chunks {
            if n == buf.len() {
                break;
            }
            let bytes = chunk.bytes();
            let part = bytes.len().min(buf.len() - n);
            buf[n..n + part].copy_from_slice(&bytes[..part]);
            n += part;
        }
        n
    }

    /// Asks the receive in flight to stop; whether there was none.
    pub(crate) fn stop(&self) -> bool {
        let armed = self.queue.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
        armed.is_none()
    }

    /// Takes all that was received and not read, and how the stream ended, if it did.
    pub(crate) fn take_unread(&self) -> (Vec<u8>, Option<RxEnd>) {
        let mut queue = self.queue.borrow_mut();
        (self.drain(&mut queue), queue.end)
    }

    /// Begins with what another half has [left](Self::take_unread).
    pub(crate) fn put_unread(&self, unread: Vec<u8>, end: Option<RxEnd>) {
        let mut queue = self.queue.borrow_mut();
        if !unread.is_empty() {
            queue.chunks.push_back(Chunk::Own {
                data: unread,
                start: 0,
            });
        }
        queue.end = end;
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
        self.stop();
        let wakers = std::mem::take(&mut self.queue.borrow_mut().waiting);
        drop(wakers);
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

    /// Whether something would be accepted now.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.borrow().room() > 0
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
        let old = self.queue.borrow_mut().waiting.set_owner(cx.waker());
        drop(old);
        Poll::Pending
    }

    /// Waits until everything that was accepted is with the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(flushed) = self.flushed() {
            return Poll::Ready(flushed);
        }
        self.wait(cx)
    }

    /// As [`poll_flush`](Self::poll_flush), for any number of tasks.
    pub(crate) fn poll_flushed(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The end of the ring is for everyone, unlike the error that it left.
        check_ring(&self.fd)?;
        if let Some(flushed) = self.flushed() {
            return Poll::Ready(flushed);
        }
        let waker = cx.waker().clone();
        let known = self.queue.borrow_mut().waiting.join(waker);
        drop(known);
        Poll::Pending
    }

    /// Whether everything that was accepted is with the kernel; `None`: not yet.
    fn flushed(&self) -> Option<io::Result<()>> {
        if let Some(error) = self.queue.borrow_mut().take_error() {
            return Some(Err(error));
        }
        if self.is_idle() {
            return Some(Ok(()));
        }
        check_ring(&self.fd).err().map(Err)
    }

    /// Asks the send in flight to stop with what it has sent, and to leave the rest; whether there was
    /// none. Nothing can be written any more.
    pub(crate) fn stop(&self) -> bool {
        let active = self.queue.borrow_mut().leave();
        if let Some(key) = active {
            self.fd.ring().cancel(key);
        }
        active.is_none()
    }

    /// Sends what another half has [left](Self::take_unsent) before anything else.
    pub(crate) fn put_unsent(&self, unsent: Vec<u8>) {
        if !unsent.is_empty() {
            send::requeue::<C>(&self.fd, &self.queue, &self.buffers, unsent);
        }
    }

    /// What was accepted and not sent, once it was [stopped](Self::stop).
    pub(crate) fn take_unsent(&self) -> Vec<u8> {
        self.queue.borrow_mut().take_unsent()
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
