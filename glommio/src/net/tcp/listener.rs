//! Accepting TCP connections.

use std::{
    cell::RefCell,
    fmt, io,
    net::{SocketAddr, TcpStream as StdTcpStream, ToSocketAddrs},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_core::Stream;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::stream::{TcpStream, address};
use crate::{
    error::Result,
    reactor,
    sys::{
        fd::Fd,
        op::accept::{self, AcceptQueue},
        socket,
    },
};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4096;

/// A TCP socket that accepts connections.
///
/// Several executors may bind one address, each with a listener of its own: the kernel spreads
/// connections over them.
pub struct TcpListener {
    fd: Fd,
    queue: Rc<RefCell<AcceptQueue>>,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound, with `SO_REUSEADDR` and
    /// `SO_REUSEPORT`.
    ///
    /// # Errors
    ///
    /// Of the last address tried; `InvalidInput` if there is none.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> Result<TcpListener, ()> {
        let reactor = reactor::current();
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in addr.to_socket_addrs()? {
            match listen(addr) {
                Ok(socket) => {
                    return Ok(TcpListener {
                        fd: Fd::new(socket.into(), reactor.ring().clone()),
                        queue: Rc::default(),
                    });
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Waits for a connection that belongs to the current executor.
    ///
    /// # Errors
    ///
    /// Those of accept(2), such as the limit of open files.
    ///
    /// # Cancel safety
    ///
    /// A connection that arrives for a dropped future waits for the next call.
    pub async fn accept(&self) -> Result<TcpStream, ()> {
        self.shared_accept()
            .await
            .map(AcceptedTcpStream::bind_to_executor)
    }

    /// Waits for a connection that may be handed to another executor.
    ///
    /// # Errors
    ///
    /// Those of accept(2).
    ///
    /// # Cancel safety
    ///
    /// As for [`accept`](Self::accept).
    pub async fn shared_accept(&self) -> Result<AcceptedTcpStream, ()> {
        Turn {
            listener: self,
            waits: false,
        }
        .await
    }

    /// As [`shared_accept`](Self::shared_accept), to be polled.
    pub fn poll_shared_accept(&self, cx: &mut Context<'_>) -> Poll<Result<AcceptedTcpStream, ()>> {
        let news = self.queue.borrow_mut().take();
        if let Some(result) = news {
            if !self.queue.borrow().wakers.is_empty() {
                // Others wait, and the accept may have ended with this result.
                accept::arm(&self.fd, &self.queue);
            }
            return Poll::Ready(match result {
                Ok(fd) => Ok(AcceptedTcpStream { fd: fd.into() }),
                Err(error) => Err(error.into()),
            });
        }
        if self.fd.ring().is_closed() {
            let gone = io::Error::other("the executor that this listener belongs to is gone");
            return Poll::Ready(Err(gone.into()));
        }
        self.queue.borrow_mut().wait(cx.waker());
        accept::arm(&self.fd, &self.queue);
        Poll::Pending
    }

    /// As [`accept`](Self::accept), to be polled.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<TcpStream, ()>> {
        self.poll_shared_accept(cx)
            .map_ok(AcceptedTcpStream::bind_to_executor)
    }

    /// The connections as they arrive, without end.
    pub fn incoming(&self) -> impl Stream<Item = Result<TcpStream, ()>> + Unpin + '_ {
        Incoming(self)
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        address(socket::borrow(&self.fd).local_addr())
    }
}

fn listen(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&SockAddr::from(addr))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// One caller of accept.
struct Turn<'a> {
    listener: &'a TcpListener,
    waits: bool,
}

impl Future for Turn<'_> {
    type Output = Result<AcceptedTcpStream, ()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = self.listener.poll_shared_accept(cx);
        self.waits = result.is_pending();
        result
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A wake-up that was meant for this caller goes on to the next one.
        if self.waits {
            let waker = {
                let mut queue = self.listener.queue.borrow_mut();
                if queue.has_news() || queue.armed.is_none() {
                    queue.wakers.pop()
                } else {
                    None
                }
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

struct Incoming<'a>(&'a TcpListener);

impl Stream for Incoming<'_> {
    type Item = Result<TcpStream, ()>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(Some)
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        let armed = self.queue.borrow().armed;
        if let Some(key) = armed {
            self.fd.ring().cancel(key);
        }
        let wakers = std::mem::take(&mut self.queue.borrow_mut().wakers);
        drop(wakers);
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.raw()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("fd", &self.fd.raw())
            .field("address", &self.local_addr().ok())
            .finish()
    }
}

/// A connection that no executor owns yet. It may be sent to another thread.
#[derive(Debug)]
pub struct AcceptedTcpStream {
    fd: StdTcpStream,
}

impl AcceptedTcpStream {
    /// Makes the connection one of the current executor.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub fn bind_to_executor(self) -> TcpStream {
        TcpStream::adopt(OwnedFd::from(self.fd))
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        Ok(self.fd.peer_addr()?)
    }
}
