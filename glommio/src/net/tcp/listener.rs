//! Accepting TCP connections.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, RawFd},
    task::{Context, Poll},
};

use futures_core::Stream;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::stream::{AcceptedTcpStream, TcpStream};
use crate::{
    error::Result,
    net::{
        addr::address,
        hops::{hops, set_hops},
        listener::{BACKLOG, Listener},
        resolve::{ToSocketAddrs, resolve_now},
    },
    sys::socket,
};

/// A TCP socket that accepts connections.
///
/// Several executors may bind one address, each with a listener of its own: the kernel spreads
/// connections over them.
pub struct TcpListener {
    inner: Listener,
}

impl TcpListener {
    /// Listens on the first of the addresses that can be bound, with `SO_REUSEADDR` and
    /// `SO_REUSEPORT`. A host name is looked up on the spot, which blocks the thread.
    ///
    /// # Errors
    ///
    /// Of the last address tried, or of the lookup; `InvalidInput` if there is none.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub fn bind<A: ToSocketAddrs>(addr: A) -> Result<TcpListener, ()> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on");
        for addr in resolve_now(&addr)? {
            match listen(addr) {
                Ok(socket) => return Ok(TcpListener::adopt(socket)),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Takes over a socket that listens.
    fn adopt(socket: Socket) -> TcpListener {
        TcpListener {
            inner: Listener::new(socket.into()),
        }
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
        self.inner.accept().await.map(AcceptedTcpStream::of)
    }

    /// As [`shared_accept`](Self::shared_accept), to be polled.
    ///
    /// Only the waker of the last call is woken, and when nobody waits in another way.
    pub fn poll_shared_accept(&self, cx: &mut Context<'_>) -> Poll<Result<AcceptedTcpStream, ()>> {
        self.inner.poll_accept(cx).map_ok(AcceptedTcpStream::of)
    }

    /// As [`accept`](Self::accept), to be polled. See
    /// [`poll_shared_accept`](Self::poll_shared_accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<TcpStream, ()>> {
        self.poll_shared_accept(cx)
            .map_ok(AcceptedTcpStream::bind_to_executor)
    }

    /// The connections as they arrive, without end.
    pub fn incoming(&self) -> impl Stream<Item = Result<TcpStream, ()>> + Unpin + '_ {
        self.inner
            .incoming(|departed| AcceptedTcpStream::of(departed).bind_to_executor())
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        address(socket::borrow(self.inner.fd()).local_addr())
    }

    /// How many routers a packet of a connection may pass (`IP_TTL`; `IPV6_UNICAST_HOPS` of a socket for
    /// IPv6). Connections begin with what their listener has.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::TcpListener};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     assert!(listener.ttl().unwrap() >= 1);
    /// });
    /// ```
    pub fn ttl(&self) -> Result<u32, ()> {
        hops(&socket::borrow(self.inner.fd()))
    }

    /// Sets how many routers a packet of a connection may pass, for connections that arrive from now on.
    ///
    /// # Errors
    ///
    /// `InvalidInput` beyond 255, and for zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::TcpListener};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     listener.set_ttl(20).unwrap();
    ///     assert_eq!(listener.ttl().unwrap(), 20);
    /// });
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> Result<(), ()> {
        set_hops(&socket::borrow(self.inner.fd()), ttl)
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

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.fd().raw()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpListener")
            .field("fd", &self.as_raw_fd())
            .field("address", &self.local_addr().ok())
            .finish()
    }
}

impl FromRawFd for TcpListener {
    /// Takes over a socket that listens. It is set to wait (not `O_NONBLOCK`).
    ///
    /// # Safety
    ///
    /// The descriptor is open, and belongs to nobody else.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::fd::{FromRawFd, IntoRawFd};
    /// use glommio::{LocalExecutor, net::TcpListener};
    ///
    /// LocalExecutor::default().run(async {
    ///     let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    ///     // SAFETY: the descriptor is handed over.
    ///     let listener = unsafe { TcpListener::from_raw_fd(theirs.into_raw_fd()) };
    ///     assert_ne!(listener.local_addr().unwrap().port(), 0);
    /// });
    /// ```
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller's promise.
        let socket = unsafe { Socket::from_raw_fd(fd) };
        socket::let_wait(&socket);
        TcpListener::adopt(socket)
    }
}
