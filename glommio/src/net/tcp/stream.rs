//! A TCP connection.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd},
    task::{Context, Poll},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    error::Result,
    net::{
        addr::address,
        buffered::{BufferedStream, stream_traits},
        deadline::{checked, within},
        hops::{hops, set_hops},
        resolve::{ToSocketAddrs, resolve},
        rx_buf::{Buffered, NonBuffered, Preallocated, RxBuf},
        stream::{Departed, Stream},
    },
    reactor,
    sys::socket,
};

/// A TCP connection that belongs to the current executor.
///
/// Small writes are collected and leave when the executor next turns to the kernel, so
/// [`flush`](futures_lite::AsyncWriteExt::flush) or [`close`](futures_lite::AsyncWriteExt::close) is
/// needed only to wait for them: what was written is sent even if the stream is dropped. An error of
/// such a write surfaces with the next call.
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
/// use futures_lite::{AsyncBufReadExt, AsyncWriteExt, StreamExt, future};
/// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
///
/// LocalExecutor::default().run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let connect = TcpStream::connect(listener.local_addr()?);
///     let (client, server) = future::try_zip(connect, listener.accept()).await?;
///     let mut server = server;
///     server.write_all(b"one\ntwo\n").await?;
///     server.close().await?;
///     let mut lines = client.buffered().lines();
///     assert_eq!(lines.next().await.unwrap()?, "one");
///     assert_eq!(lines.next().await.unwrap()?, "two");
///     assert!(lines.next().await.is_none());
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct TcpStream<B: RxBuf = NonBuffered> {
    inner: BufferedStream<B>,
}

impl TcpStream {
    fn of(stream: Stream) -> TcpStream {
        TcpStream {
            inner: BufferedStream::of(stream),
        }
    }

    /// Connects to the first of the addresses that answers. A host name is looked up on a thread of the
    /// blocking pool.
    ///
    /// # Errors
    ///
    /// Of the last address tried, or of the lookup; `InvalidInput` if there is none.
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
    /// ```
    /// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let address = listener.local_addr().unwrap();
    ///     let stream = TcpStream::connect(address).await.unwrap();
    ///     assert_eq!(stream.peer_addr().unwrap(), address);
    /// });
    /// ```
    pub async fn connect<A: ToSocketAddrs>(addr: A) -> Result<TcpStream, ()> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
        for addr in resolve(&addr).await? {
            let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
            match Stream::connect(socket, addr.into()).await {
                Ok(stream) => return Ok(TcpStream::of(stream)),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// As [`connect`](Self::connect), for at most `duration` with the lookup and all of the addresses
    /// together.
    ///
    /// # Errors
    ///
    /// [`TimedOut`](crate::GlommioError::TimedOut) when the time is over; `InvalidInput` if it is zero; and
    /// as for [`connect`](Self::connect).
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
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let address = listener.local_addr().unwrap();
    ///     let stream = TcpStream::connect_timeout(address, Duration::from_secs(5)).await;
    ///     assert!(stream.is_ok());
    ///     assert!(TcpStream::connect_timeout(address, Duration::ZERO).await.is_err());
    /// });
    /// ```
    pub async fn connect_timeout<A: ToSocketAddrs>(
        addr: A,
        duration: Duration,
    ) -> Result<TcpStream, ()> {
        let limit = checked(Some(duration))?;
        within(limit, TcpStream::connect(addr)).await
    }

    /// The stream with a receive buffer of 8 KiB.
    ///
    /// # Examples
    ///
    /// See [`TcpStream`].
    pub fn buffered(self) -> TcpStream<Preallocated> {
        self.buffered_with(Preallocated::default())
    }

    /// The stream with a receive buffer of your choice. Small reads are served from there; those with room
    /// for as much as it can hold go past it while it is empty.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::net::{Preallocated, TcpStream};
    ///
    /// fn with_large_buffer(stream: TcpStream) -> TcpStream<Preallocated> {
    ///     stream.buffered_with(Preallocated::new(64 << 10))
    /// }
    /// ```
    pub fn buffered_with<B: Buffered>(self, buf: B) -> TcpStream<B> {
        TcpStream {
            inner: self.inner.with(buf),
        }
    }

    /// Takes the connection off its executor, so that another one can have it: with all that was received
    /// and not read, and all that was written and not sent. Timeouts stay behind.
    ///
    /// # Panics
    ///
    /// Outside of its executor, unless that is gone; and where a second descriptor is needed, because the
    /// kernel has not finished with the first, and none is left.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
    /// use glommio::{LocalExecutor, LocalExecutorBuilder, net::{TcpListener, TcpStream}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let connect = TcpStream::connect(listener.local_addr().unwrap());
    ///     let (client, server) = future::zip(connect, listener.accept()).await;
    ///     let (mut client, mut server) = (client.unwrap(), server.unwrap());
    ///     server.write_all(b"from the first, ").await.unwrap();
    ///     let server = server.into_accepted();
    ///     let other = LocalExecutorBuilder::default().spawn(|| async move {
    ///         let mut server = server.bind_to_executor();
    ///         server.write_all(b"from the second").await.unwrap();
    ///     });
    ///     other.unwrap().join().unwrap();
    ///     let mut text = String::new();
    ///     client.read_to_string(&mut text).await.unwrap();
    ///     assert_eq!(text, "from the first, from the second");
    /// });
    /// ```
    pub fn into_accepted(self) -> AcceptedTcpStream {
        AcceptedTcpStream::of(self.inner.raw.depart())
    }
}

impl<B: RxBuf> TcpStream<B> {
    /// The address of this end.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        address(self.socket().local_addr())
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        address(self.socket().peer_addr())
    }

    /// Sends small segments at once (`true`), or lets the kernel collect them (`false`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    pub fn set_nodelay(&self, value: bool) -> Result<(), ()> {
        Ok(self.socket().set_tcp_nodelay(value)?)
    }

    /// See [`set_nodelay`](Self::set_nodelay).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    pub fn nodelay(&self) -> Result<bool, ()> {
        Ok(self.socket().tcp_nodelay()?)
    }

    /// How many routers a packet may pass (`IP_TTL`; `IPV6_UNICAST_HOPS` of a socket for IPv6).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    pub fn ttl(&self) -> Result<u32, ()> {
        hops(&self.socket())
    }

    /// Sets how many routers a packet may pass.
    ///
    /// # Errors
    ///
    /// `InvalidInput` beyond 255, and for zero.
    pub fn set_ttl(&self, ttl: u32) -> Result<(), ()> {
        set_hops(&self.socket(), ttl)
    }

    /// How long a read or a peek waits for data; `None` without end.
    pub fn read_timeout(&self) -> Option<Duration> {
        self.inner.raw.read_patience().limit()
    }

    /// Sets how long a read or a peek waits for data, before it fails with an error of the kind `TimedOut`.
    /// Nothing is lost then, and the stream can be read on.
    ///
    /// The time of a read begins when it finds nothing to read, and ends when it returns something. A read
    /// that is dropped while it waits leaves its time running for the next one; setting the timeout lets
    /// it begin anew.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{io, time::Duration};
    /// use futures_lite::AsyncReadExt;
    /// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let mut stream = TcpStream::connect(silent.local_addr().unwrap()).await.unwrap();
    ///     stream.set_read_timeout(Some(Duration::from_millis(2))).unwrap();
    ///     let error = stream.read(&mut [0; 16]).await.unwrap_err();
    ///     assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    /// });
    /// ```
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> Result<(), ()> {
        self.inner.raw.read_patience().set_limit(dur)
    }

    /// How long a write, flush, close or shutdown waits; `None` without end.
    pub fn write_timeout(&self) -> Option<Duration> {
        self.inner.raw.write_patience().limit()
    }

    /// Sets how long a write waits for room, and a flush, close or shutdown for the kernel to take what was
    /// written, before it fails with an error of the kind `TimedOut`. A write that fails so has accepted
    /// nothing; what earlier ones wrote is still sent. As for [reads](Self::set_read_timeout), the time
    /// begins when a call has to wait, and ends when one returns.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero.
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> Result<(), ()> {
        self.inner.raw.write_patience().set_limit(dur)
    }

    /// Waits for data, copies as much as is there and has room to the front of `buf`, and leaves it to be
    /// read. Returns how much that is: zero at the end of the stream, and for an empty `buf`. Any number of
    /// tasks may peek at the same time.
    ///
    /// # Errors
    ///
    /// Those that a read would have, a [timeout](Self::set_read_timeout) included.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
    /// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let connect = TcpStream::connect(listener.local_addr().unwrap());
    ///     let (client, server) = future::zip(connect, listener.accept()).await;
    ///     let (mut client, mut server) = (client.unwrap(), server.unwrap());
    ///     client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    ///     let mut verb = [0; 3];
    ///     assert_eq!(server.peek(&mut verb).await.unwrap(), 3);
    ///     assert_eq!(&verb, b"GET");
    ///     let mut line = [0; 16];
    ///     server.read_exact(&mut line).await.unwrap();
    ///     assert_eq!(&line, b"GET / HTTP/1.1\r\n");
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
    /// Those of earlier writes, a [timeout](Self::set_write_timeout), and those of shutdown(2):
    /// `NotConnected` if the connection is gone.
    ///
    /// # Cancel safety
    ///
    /// Once dropped, nothing is shut down any more.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Shutdown;
    /// use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
    /// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
    ///
    /// LocalExecutor::default().run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ///     let connect = TcpStream::connect(listener.local_addr().unwrap());
    ///     let (client, server) = future::zip(connect, listener.accept()).await;
    ///     let (mut client, mut server) = (client.unwrap(), server.unwrap());
    ///     client.write_all(b"the question").await.unwrap();
    ///     client.shutdown(Shutdown::Write).await.unwrap();
    ///     let mut text = String::new();
    ///     server.read_to_string(&mut text).await.unwrap();
    ///     assert_eq!(text, "the question");
    /// });
    /// ```
    pub async fn shutdown(&self, how: Shutdown) -> Result<(), ()> {
        self.inner.raw.shutdown(how).await
    }

    /// As [`shutdown`](Self::shutdown), to be polled, and without a timeout. Any number of tasks may poll it
    /// at the same time.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>, how: Shutdown) -> Poll<Result<(), ()>> {
        let poll = self.inner.raw.poll_shutdown(cx, how);
        poll.map_err(Into::into)
    }

    /// The socket, to look at and to set options of.
    fn socket(&self) -> impl std::ops::Deref<Target = Socket> {
        socket::borrow(self.inner.raw.fd())
    }
}

stream_traits!(TcpStream);

/// The socket joins the current executor. It is set to wait (not `O_NONBLOCK`): the kernel waits for
/// this crate.
impl From<Socket> for TcpStream {
    fn from(socket: Socket) -> TcpStream {
        socket::let_wait(&socket);
        TcpStream::of(Stream::new(socket.into(), &reactor::current()))
    }
}

impl FromRawFd for TcpStream {
    /// Takes over a connected socket, as `From<Socket>` does.
    ///
    /// # Safety
    ///
    /// The descriptor is open, and belongs to nobody else.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    unsafe fn from_raw_fd(fd: RawFd) -> Self {
        // SAFETY: the caller's promise.
        TcpStream::from(unsafe { Socket::from_raw_fd(fd) })
    }
}

/// What was written is still sent; flush before, to know of it and to be its only writer. What a read that
/// was dropped, or a peek, has taken from the socket and nobody has read is discarded.
///
/// It panics where [`into_accepted`](TcpStream::into_accepted) does.
impl IntoRawFd for TcpStream {
    fn into_raw_fd(self) -> RawFd {
        self.inner.raw.into_fd().into_raw_fd()
    }
}

impl<B: RxBuf> fmt::Debug for TcpStream<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("fd", &self.as_raw_fd())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}

/// A connection that no executor owns. It may be sent to another thread.
#[derive(Debug)]
pub struct AcceptedTcpStream(Departed);

impl AcceptedTcpStream {
    pub(super) fn of(departed: Departed) -> AcceptedTcpStream {
        AcceptedTcpStream(departed)
    }

    /// Makes the connection one of the current executor.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    pub fn bind_to_executor(self) -> TcpStream {
        TcpStream::of(self.0.arrive())
    }

    /// The address of the other end.
    ///
    /// # Errors
    ///
    /// Those of getpeername(2).
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        address(socket::borrow(self.0.fd()).peer_addr())
    }
}
