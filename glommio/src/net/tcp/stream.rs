//! A TCP connection.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr, ToSocketAddrs},
    os::fd::{AsRawFd, OwnedFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
};

use futures_io::{AsyncRead, AsyncWrite};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    error::Result,
    net::{addr::address, stream::Stream},
    reactor,
    sys::{fd::Fd, op::accept::Connect, socket},
};

/// A TCP connection that belongs to the current executor.
///
/// Small writes are collected and leave when the executor next turns to the kernel, so
/// [`flush`](futures_lite::AsyncWriteExt::flush) or [`close`](futures_lite::AsyncWriteExt::close) is
/// needed only to wait for them: what was written is sent even if the stream is dropped. An error of
/// such a write surfaces with the next call.
///
/// # Cancel safety
///
/// A dropped read loses no data. A dropped write has either accepted its data or not.
pub struct TcpStream {
    stream: Stream,
}

impl TcpStream {
    /// Takes over a connected socket.
    pub(super) fn adopt(fd: OwnedFd) -> TcpStream {
        TcpStream {
            stream: Stream::new(fd, &reactor::current()),
        }
    }

    /// Connects to the first of the addresses that answers.
    ///
    /// # Errors
    ///
    /// Of the last address tried; `InvalidInput` if there is none.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> Result<TcpStream, ()> {
        let reactor = reactor::current();
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
        for addr in addr.to_socket_addrs()? {
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
            let fd = Fd::new(socket.into(), reactor.ring().clone());
            let op = Connect {
                fd: fd.clone(),
                address: Box::new(SockAddr::from(addr)),
            };
            let (op, completion) = reactor.submit(op).await;
            drop(op);
            match completion.count() {
                Ok(_) => {
                    let fd = match fd.try_into_owned() {
                        Ok(fd) => fd,
                        Err(shared) => shared.duplicate()?,
                    };
                    return Ok(TcpStream::adopt(fd));
                }
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        address(socket::borrow(self.stream.fd()).local_addr())
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        address(socket::borrow(self.stream.fd()).peer_addr())
    }

    /// Sends small segments at once (`true`), or lets the kernel collect them (`false`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, value: bool) -> Result<(), ()> {
        Ok(socket::borrow(self.stream.fd()).set_tcp_nodelay(value)?)
    }

    /// See [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    pub fn nodelay(&self) -> Result<bool, ()> {
        Ok(socket::borrow(self.stream.fd()).tcp_nodelay()?)
    }

    /// Shuts the connection down, wholly or one half. What was written is sent first.
    ///
    /// # Errors
    ///
    /// Those of earlier writes, and of shutdown(2).
    pub async fn shutdown(&mut self, how: Shutdown) -> Result<(), ()> {
        std::future::poll_fn(|cx| self.stream.poll_flush(cx)).await?;
        Ok(socket::borrow(self.stream.fd()).shutdown(how)?)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.poll_close(cx)
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.fd().raw()
    }
}

/// The socket joins the current executor. It is set to wait (not `O_NONBLOCK`): the kernel waits for
/// this crate.
impl From<Socket> for TcpStream {
    fn from(socket: Socket) -> TcpStream {
        socket::let_wait(&socket);
        TcpStream::adopt(socket.into())
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("fd", &self.as_raw_fd())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}
