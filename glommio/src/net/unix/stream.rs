//! A Unix connection.

use std::{
    fmt,
    net::Shutdown,
    os::{
        fd::{AsRawFd, FromRawFd, RawFd},
        unix::net::SocketAddr,
    },
    path::Path,
    task::{Context, Poll},
};

use socket2::{Domain, Socket, Type};

use super::addr;
use crate::{
    error::Result,
    net::{
        buffered::{BufferedStream, stream_traits},
        rx_buf::{Buffered, NonBuffered, Preallocated, RxBuf},
        stream::Stream,
    },
    reactor,
    sys::socket,
};

/// A connection between programs of one host, which belongs to the current executor.
///
/// Small writes are collected and leave when the executor next turns to the kernel, as with a
/// [`TcpStream`](crate::net::TcpStream): what was written is sent even if the stream is dropped, and an
/// error of such a write surfaces with the next call.
///
/// [`buffered`](Self::buffered) makes a stream with a receive buffer of it, which implements
/// [`AsyncBufRead`](futures_lite::AsyncBufRead).
///
/// # Cancel safety
///
/// A dropped read or peek loses no data. A dropped write has either accepted its data or not.
///
/// # Examples
///
/// ```
/// use futures_lite::{AsyncBufReadExt, AsyncWriteExt};
/// use glommio::{GlommioError, LocalExecutor, net::UnixStream};
///
/// LocalExecutor::default().run(async {
///     let (mut one, other) = UnixStream::pair()?;
///     one.write_all(b"hello\n").await?;
///     let mut line = String::new();
///     other.buffered().read_line(&mut line).await?;
///     assert_eq!(line, "hello\n");
///     Ok::<(), GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct UnixStream<B: RxBuf = NonBuffered> {
    inner: BufferedStream<B>,
}

impl UnixStream {
    pub(super) fn of(stream: Stream) -> UnixStream {
        UnixStream {
            inner: BufferedStream::of(stream),
        }
    }

    /// Takes over a connected socket that waits.
    fn adopt(socket: Socket) -> UnixStream {
        UnixStream::of(Stream::new(socket.into(), &reactor::current()))
    }

    /// Connects to the socket that listens at `addr`; a zero byte in front makes it an abstract name. Waits
    /// while as many connections as the listener takes wait to be accepted.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is nothing at the path, `ConnectionRefused` if nobody listens there; those of
    /// connect(2); `InvalidInput` for a path that is empty, longer than 107 bytes, or has a zero byte
    /// inside.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the socket.
    ///
    /// # Examples
    ///
    /// See [`UnixListener`](super::UnixListener).
    pub async fn connect<A: AsRef<Path>>(addr: A) -> Result<UnixStream, ()> {
        let path = addr.as_ref();
        let connect = async {
            let addr = addr::of_path(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            Stream::connect(socket, addr).await
        };
        addr::at(path, "Connecting", connect.await).map(UnixStream::of)
    }

    /// Two ends of a connection without a name.
    ///
    /// # Errors
    ///
    /// Those of socketpair(2).
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// See [`UnixStream`].
    pub fn pair() -> Result<(UnixStream, UnixStream), ()> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None)?;
        Ok((UnixStream::adopt(one), UnixStream::adopt(other)))
    }

    /// The stream with a receive buffer of 8 KiB.
    ///
    /// # Examples
    ///
    /// See [`UnixStream`].
    pub fn buffered(self) -> UnixStream<Preallocated> {
        self.buffered_with(Preallocated::default())
    }

    /// The stream with a receive buffer of your choice. Small reads are served from there; those with room
    /// for as much as it can hold go past it while it is empty.
    pub fn buffered_with<B: Buffered>(self, buf: B) -> UnixStream<B> {
        UnixStream {
            inner: self.inner.with(buf),
        }
    }
}

impl<B: RxBuf> UnixStream<B> {
    /// The address of this end; most that connect have none.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        addr::address(self.socket().local_addr())
    }

    /// The address of the other end; most that connect have none.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        addr::address(self.socket().peer_addr())
    }

    /// Waits for data, copies as much as is there and has room to the front of `buf`, and leaves it to be
    /// read. Returns how much that is: zero at the end of the stream, and for an empty `buf`. Any number of
    /// tasks may peek at the same time.
    ///
    /// # Errors
    ///
    /// Those that a read would have.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt};
    /// use glommio::{LocalExecutor, net::UnixStream};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (mut one, mut other) = UnixStream::pair().unwrap();
    ///     one.write_all(b"hello").await.unwrap();
    ///     let mut buf = [0; 16];
    ///     assert_eq!(other.peek(&mut buf).await.unwrap(), 5);
    ///     assert_eq!(other.read(&mut buf).await.unwrap(), 5);
    /// });
    /// ```
    pub async fn peek(&self, buf: &mut [u8]) -> Result<usize, ()> {
        self.inner.peek(buf).await
    }

    /// Shuts the connection down, wholly or in one direction. Before that of writing, what was written is
    /// sent. A read that waits while that of reading is shut down finds the end.
    ///
    /// # Errors
    ///
    /// Those of earlier writes, and of shutdown(2).
    ///
    /// # Cancel safety
    ///
    /// Once dropped, nothing is shut down any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Shutdown;
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt};
    /// use glommio::{LocalExecutor, net::UnixStream};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (mut one, mut other) = UnixStream::pair().unwrap();
    ///     one.write_all(b"that is all").await.unwrap();
    ///     one.shutdown(Shutdown::Write).await.unwrap();
    ///     let mut text = String::new();
    ///     other.read_to_string(&mut text).await.unwrap();
    ///     assert_eq!(text, "that is all");
    /// });
    /// ```
    pub async fn shutdown(&self, how: Shutdown) -> Result<(), ()> {
        self.inner.raw.shutdown(how).await
    }

    /// As [`shutdown`](Self::shutdown), to be polled. Any number of tasks may poll it at the same time.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>, how: Shutdown) -> Poll<Result<(), ()>> {
        let poll = self.inner.raw.poll_shutdown(cx, how);
        poll.map_err(Into::into)
    }

    fn socket(&self) -> impl std::ops::Deref<Target = Socket> {
        socket::borrow(self.inner.raw.fd())
    }
}

stream_traits!(UnixStream);

impl FromRawFd for UnixStream {
    /// Takes over a connected socket. It is set to wait (not `O_NONBLOCK`): the kernel waits for this crate.
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
    /// use std::os::{fd::{FromRawFd, IntoRawFd}, unix::net};
    /// use futures_lite::AsyncWriteExt;
    /// use glommio::{LocalExecutor, net::UnixStream};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (ours, theirs) = net::UnixStream::pair().unwrap();
    ///     // SAFETY: the descriptor is handed over.
    ///     let mut ours = unsafe { UnixStream::from_raw_fd(ours.into_raw_fd()) };
    ///     ours.write_all(b"hello").await.unwrap();
    ///     # drop(theirs);
    /// });
    /// ```
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller's promise.
        let socket = unsafe { Socket::from_raw_fd(fd) };
        socket::let_wait(&socket);
        UnixStream::adopt(socket)
    }
}

impl<B: RxBuf> fmt::Debug for UnixStream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixStream")
            .field("fd", &self.as_raw_fd())
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}
