//! Sending and receiving datagrams.

use std::{
    fmt, io,
    net::SocketAddr,
    os::fd::{AsRawFd, FromRawFd, RawFd},
    time::Duration,
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::{
    error::Result,
    net::{
        addr::address,
        datagram::DatagramSocket,
        resolve::{ToSocketAddrs, resolve, resolve_first, resolve_now},
    },
    sys::{datagram::Look, socket},
};

/// No datagram of UDP is longer: its length is a number of 16 bits.
const MAX_BYTES: usize = 64 << 10;

/// A UDP socket that belongs to the current executor.
///
/// Any number of tasks may send and receive at the same time; those that wait for a datagram get one
/// each, in the order in which they asked. Datagrams may be lost, doubled and reordered on their way:
/// that is UDP.
///
/// What arrives is received into memory of the socket and copied from there. The part of a datagram
/// that is beyond the [buffer size](Self::set_buffer_size), 8 KiB unless another is set, or beyond the
/// buffer of the caller is discarded.
///
/// # Cancel safety
///
/// A receive that is given up loses no datagram: the next one gets it. A send that is given up may
/// have sent its datagram or not; nothing of it is sent by half.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, LocalExecutor, net::UdpSocket};
///
/// LocalExecutor::default().run(async {
///     let server = UdpSocket::bind("127.0.0.1:0")?;
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.connect(server.local_addr()?).await?;
///     client.send(b"ping").await?;
///
///     let mut buffer = [0; 16];
///     let (len, sender) = server.recv_from(&mut buffer).await?;
///     assert_eq!((&buffer[..len], sender), (&b"ping"[..], client.local_addr()?));
///     server.send_to(b"pong", sender).await?;
///
///     let len = client.recv(&mut buffer).await?;
///     assert_eq!(&buffer[..len], b"pong");
///     Ok::<(), GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct UdpSocket {
    inner: DatagramSocket,
}

impl UdpSocket {
    /// A socket with the first of the addresses that can be bound, with `SO_REUSEPORT`: several
    /// executors may bind one address, and the kernel spreads datagrams over them, those of one
    /// sender to the same. Port 0 asks for a free one.
    ///
    /// A host name is looked up on the spot, which blocks the thread.
    ///
    /// # Errors
    ///
    /// Of the last address tried: among others, `AddrInUse` if a socket without `SO_REUSEPORT` or of
    /// another user has it, and `PermissionDenied` for a port that is reserved; `InvalidInput` if
    /// there is no address.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let address = socket.local_addr().unwrap();
    ///     let another_share = UdpSocket::bind(address).unwrap();
    ///     assert_eq!(another_share.local_addr().unwrap(), address);
    /// });
    /// ```
    pub fn bind<A: ToSocketAddrs>(addr: A) -> Result<UdpSocket, ()> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to bind to");
        for addr in resolve_now(&addr)? {
            match bound(addr) {
                Ok(socket) => return Ok(UdpSocket::adopt(socket)),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Takes over a socket that waits.
    fn adopt(socket: Socket) -> UdpSocket {
        UdpSocket {
            inner: DatagramSocket::new(socket.into(), MAX_BYTES),
        }
    }

    /// The socket, to look at and to set options of.
    pub(super) fn socket(&self) -> impl std::ops::Deref<Target = Socket> {
        socket::borrow(self.inner.fd())
    }

    /// Sets the peer: [`send`](Self::send) sends to it, and only its datagrams are received from now
    /// on. What has arrived before stays. Nothing is sent; whether somebody listens there is seen with
    /// the first datagram. Connecting again changes the peer. A host name is looked up on a thread of the
    /// blocking pool.
    ///
    /// # Errors
    ///
    /// Of the last address tried, such as `NetworkUnreachable`; `InvalidInput` if there is none.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the peer may have been set or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.peer_addr().is_err());
    ///     socket.connect("127.0.0.1:9").await.unwrap();
    ///     assert_eq!(socket.peer_addr().unwrap().port(), 9);
    /// });
    /// ```
    pub async fn connect<A: ToSocketAddrs>(&self, addr: A) -> Result<(), ()> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to");
        for addr in resolve(&addr).await? {
            match self.inner.connect(addr.into()).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last.into())
    }

    /// Receives a datagram; returns how many bytes of it were copied to the front of `buf`. A datagram
    /// may be empty.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2): on a connected socket, `ConnectionRefused` if an earlier datagram found
    /// nobody at its port. Each is told once, and the socket goes on to be useful.
    /// [`TimedOut`](crate::GlommioError::TimedOut) after the [read timeout](Self::set_read_timeout).
    ///
    /// # Cancel safety
    ///
    /// A datagram that arrives for a dropped future waits for the next call.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future::poll_once;
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let address = socket.local_addr().unwrap();
    ///     let mut buffer = [0; 16];
    ///     assert!(poll_once(socket.recv(&mut buffer)).await.is_none());
    ///     socket.send_to(b"to myself", address).await.unwrap();
    ///     assert_eq!(socket.recv(&mut buffer).await.unwrap(), 9);
    /// });
    /// ```
    pub async fn recv(&self, buf: &mut [u8]) -> Result<usize, ()> {
        self.inner.receive(Look::Take, buf).await
    }

    /// As [`recv`](Self::recv), with the address of the sender.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let address = socket.local_addr().unwrap();
    ///     socket.send_to(b"too long", address).await.unwrap();
    ///     let mut buffer = [0; 3];
    ///     let (len, sender) = socket.recv_from(&mut buffer).await.unwrap();
    ///     assert_eq!((&buffer[..len], sender), (&b"too"[..], address));
    /// });
    /// ```
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), ()> {
        let (len, sender) = self.inner.receive_from(Look::Take, buf).await?;
        Ok((len, address(Ok(sender))?))
    }

    /// As [`recv`](Self::recv), and leaves the datagram for the next call.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.connect(socket.local_addr().unwrap()).await.unwrap();
    ///     socket.send(b"hello").await.unwrap();
    ///     let mut buffer = [0; 16];
    ///     assert_eq!(socket.peek(&mut buffer[..2]).await.unwrap(), 2);
    ///     assert_eq!(socket.peek(&mut buffer).await.unwrap(), 5);
    ///     assert_eq!(socket.recv(&mut buffer).await.unwrap(), 5);
    /// });
    /// ```
    pub async fn peek(&self, buf: &mut [u8]) -> Result<usize, ()> {
        self.inner.receive(Look::Peek, buf).await
    }

    /// As [`recv_from`](Self::recv_from), and leaves the datagram for the next call.
    ///
    /// # Errors
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Cancel safety
    ///
    /// As for [`recv`](Self::recv).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let address = socket.local_addr().unwrap();
    ///     socket.send_to(b"hello", address).await.unwrap();
    ///     let mut buffer = [0; 16];
    ///     assert_eq!(socket.peek_from(&mut buffer).await.unwrap(), (5, address));
    ///     assert_eq!(socket.recv_from(&mut buffer).await.unwrap(), (5, address));
    /// });
    /// ```
    pub async fn peek_from(&self, buf: &mut [u8]) -> Result<(usize, SocketAddr), ()> {
        let (len, sender) = self.inner.receive_from(Look::Peek, buf).await?;
        Ok((len, address(Ok(sender))?))
    }

    /// Sends a datagram to the peer that [`connect`](Self::connect) has set. Returns the length of
    /// `buf`.
    ///
    /// # Errors
    ///
    /// Those of send(2): `EDESTADDRREQ` without a peer, `EMSGSIZE` for more than a datagram can carry
    /// (65,507 bytes over IPv4), `ConnectionRefused` if an earlier datagram found nobody there.
    /// [`TimedOut`](crate::GlommioError::TimedOut) after the [write timeout](Self::set_write_timeout).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the datagram may have been sent or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.send(b"to whom?").await.is_err());
    ///     socket.connect(socket.local_addr().unwrap()).await.unwrap();
    ///     assert_eq!(socket.send(b"to myself").await.unwrap(), 9);
    /// });
    /// ```
    pub async fn send(&self, buf: &[u8]) -> Result<usize, ()> {
        self.inner.send(buf, None).await
    }

    /// Sends a datagram to the first of the addresses, whatever the peer. Returns the length of `buf`.
    ///
    /// A host name is looked up for each call, on a thread of the blocking pool.
    ///
    /// # Errors
    ///
    /// Those of sendmsg(2): `EMSGSIZE` for more than a datagram can carry (65,507 bytes over IPv4),
    /// `PermissionDenied` for a broadcast address without [`set_broadcast`](Self::set_broadcast);
    /// `InvalidInput` if there is no address.
    /// [`TimedOut`](crate::GlommioError::TimedOut) after the [write timeout](Self::set_write_timeout).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the datagram may have been sent or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let address = socket.local_addr().unwrap();
    ///     assert_eq!(socket.send_to(b"hello", address).await.unwrap(), 5);
    /// });
    /// ```
    pub async fn send_to<A: ToSocketAddrs>(&self, buf: &[u8], addr: A) -> Result<usize, ()> {
        let none = || io::Error::new(io::ErrorKind::InvalidInput, "no address to send to");
        let addr = resolve_first(&addr).await?.ok_or_else(none)?;
        self.inner.send(buf, Some(&addr.into())).await
    }

    /// The longest datagram that is received whole, in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert_eq!(socket.buffer_size(), 8 << 10);
    /// });
    /// ```
    pub fn buffer_size(&mut self) -> usize {
        self.inner.buffer_size()
    }

    /// Sets the longest datagram that is received whole, in bytes: what is longer is cut off there,
    /// however large the buffer of the caller. No datagram is longer than 64 KiB. What has arrived
    /// for a call that was given up is as it was received.
    ///
    /// This is about memory of this crate; the kernel's buffers are `SO_RCVBUF` and `SO_SNDBUF`.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let address = socket.local_addr().unwrap();
    ///     socket.set_buffer_size(20 << 10);
    ///     socket.send_to(&[1; 10 << 10], address).await.unwrap();
    ///     let mut buffer = [0; 20 << 10];
    ///     assert_eq!(socket.recv(&mut buffer).await.unwrap(), 10 << 10);
    /// });
    /// ```
    pub fn set_buffer_size(&mut self, buffer_size: usize) {
        self.inner.set_buffer_size(buffer_size);
    }

    /// How long a receive or a peek waits for a datagram; `None` without end.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert_eq!(socket.read_timeout(), None);
    /// });
    /// ```
    pub fn read_timeout(&self) -> Option<Duration> {
        self.inner.read_timeout()
    }

    /// Sets how long a receive or a peek waits for a datagram. It counts for calls that begin from now
    /// on, and begins anew with each.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{GlommioError, LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let limit = Duration::from_millis(2);
    ///     socket.set_read_timeout(Some(limit)).unwrap();
    ///     let error = socket.recv(&mut [0; 16]).await.unwrap_err();
    ///     assert!(matches!(error, GlommioError::TimedOut(after) if after == limit));
    /// });
    /// ```
    pub fn set_read_timeout(&self, dur: Option<Duration>) -> Result<(), ()> {
        self.inner.set_read_timeout(dur)
    }

    /// How long a send waits for the kernel to take its datagram; `None` without end.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert_eq!(socket.write_timeout(), None);
    /// });
    /// ```
    pub fn write_timeout(&self) -> Option<Duration> {
        self.inner.write_timeout()
    }

    /// Sets how long a send waits for the kernel to take its datagram, which it does at once unless
    /// the socket's send buffer is full. It counts for calls that begin from now on.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a timeout of zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    ///     assert!(socket.set_write_timeout(Some(Duration::ZERO)).is_err());
    ///     assert_eq!(socket.write_timeout(), Some(Duration::from_secs(1)));
    /// });
    /// ```
    pub fn set_write_timeout(&self, dur: Option<Duration>) -> Result<(), ()> {
        self.inner.set_write_timeout(dur)
    }
}

fn bound(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    socket.bind(&SockAddr::from(addr))?;
    Ok(socket)
}

impl AsRawFd for UdpSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.fd().raw()
    }
}

impl FromRawFd for UdpSocket {
    /// Takes over a UDP socket, as `From<Socket>` does.
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
        UdpSocket::from(unsafe { Socket::from_raw_fd(fd) })
    }
}

/// The socket joins the current executor. It is set to wait (not `O_NONBLOCK`): the kernel waits for
/// this crate.
impl From<Socket> for UdpSocket {
    fn from(socket: Socket) -> UdpSocket {
        socket::let_wait(&socket);
        UdpSocket::adopt(socket)
    }
}

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UdpSocket")
            .field("fd", &self.as_raw_fd())
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}
