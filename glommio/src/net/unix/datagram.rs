//! Datagrams between programs of one host.

use std::{
    fmt,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::SocketAddr,
    },
    path::Path,
};

use nix::sys::socket::UnixAddr;
use socket2::{Domain, Socket, Type};

use super::addr;
use crate::{
    error::Result,
    net::datagram::DatagramSocket,
    sys::{datagram::Look, socket},
};

/// Receives are given no more room than that. The kernel takes datagrams as long as the sender's
/// `SO_SNDBUF`, which is far less unless an administrator says otherwise.
const MAX_BYTES: usize = 16 << 20;

/// A socket for datagrams between programs of one host, which belongs to the current executor.
///
/// Any number of tasks may send and receive at the same time; those that wait for a datagram get one
/// each, in the order in which they asked. Nothing is lost or reordered on the way: a send waits while the
/// receiver's queue is full, which holds ten datagrams unless `net.unix.max_dgram_qlen` says otherwise.
///
/// What arrives is received into memory of the socket and copied from there. The part of a datagram
/// that is beyond the [buffer size](Self::set_buffer_size), 8 KiB unless another is set, or beyond the
/// buffer of the caller is discarded.
///
/// Its path stays when it is dropped; whoever binds the path again removes it first.
///
/// # Cancel safety
///
/// A receive that is given up loses no datagram: the next one gets it. A send that is given up may
/// have sent its datagram or not; nothing of it is sent by half.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, LocalExecutor, net::UnixDatagram};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("log");
/// LocalExecutor::default().run(async {
///     let log = UnixDatagram::bind(&path)?;
///     let program = UnixDatagram::unbound()?;
///     program.send_to(b"started", &path).await?;
///
///     let mut buffer = [0; 64];
///     let (len, sender) = log.recv_from(&mut buffer).await?;
///     assert_eq!(&buffer[..len], b"started");
///     assert!(sender.path().is_none(), "it is not bound");
///     Ok::<(), GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub struct UnixDatagram {
    inner: DatagramSocket,
}

impl UnixDatagram {
    /// A socket at `addr`, which must not exist. A zero byte in front makes it an abstract name, which is no
    /// file and goes with the socket.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is something at the path, even what is left of a socket; those of socket(2) and
    /// bind(2); `InvalidInput` for a path that is empty, longer than 107 bytes, or has a zero byte inside.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// See [`UnixDatagram`].
    pub fn bind<A: AsRef<Path>>(addr: A) -> Result<UnixDatagram, ()> {
        let path = addr.as_ref();
        let bind = || {
            let addr = addr::of_path(path)?;
            let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
            socket.bind(&addr)?;
            Ok(socket)
        };
        addr::at(path, "Binding", bind()).map(UnixDatagram::adopt)
    }

    /// A socket without a name: it can send, and nobody can send to it.
    ///
    /// # Errors
    ///
    /// Those of socket(2).
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// See [`UnixDatagram`].
    pub fn unbound() -> Result<UnixDatagram, ()> {
        Ok(UnixDatagram::adopt(Socket::new(
            Domain::UNIX,
            Type::DGRAM,
            None,
        )?))
    }

    /// Two sockets without names, each the peer of the other.
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
    /// ```
    /// use glommio::{LocalExecutor, net::UnixDatagram};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (one, other) = UnixDatagram::pair().unwrap();
    ///     one.send(b"hello").await.unwrap();
    ///     assert_eq!(other.recv(&mut [0; 16]).await.unwrap(), 5);
    /// });
    /// ```
    pub fn pair() -> Result<(UnixDatagram, UnixDatagram), ()> {
        let (one, other) = Socket::pair(Domain::UNIX, Type::DGRAM, None)?;
        Ok((UnixDatagram::adopt(one), UnixDatagram::adopt(other)))
    }

    fn adopt(socket: Socket) -> UnixDatagram {
        UnixDatagram {
            inner: DatagramSocket::new(socket.into(), MAX_BYTES),
        }
    }

    /// Sets the peer: [`send`](Self::send) sends to it, and only its datagrams are received from now on.
    /// Connecting again changes the peer.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is nothing at the path, `ConnectionRefused` if the socket there is closed,
    /// `PermissionDenied` if it has another peer; `InvalidInput` as for [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the peer may have been set or not.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UnixDatagram};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("log");
    /// LocalExecutor::default().run(async {
    ///     let log = UnixDatagram::bind(&path).unwrap();
    ///     let program = UnixDatagram::unbound().unwrap();
    ///     program.connect(&path).await.unwrap();
    ///     program.send(b"started").await.unwrap();
    ///     assert_eq!(log.recv(&mut [0; 16]).await.unwrap(), 7);
    /// });
    /// ```
    pub async fn connect<A: AsRef<Path>>(&self, addr: A) -> Result<(), ()> {
        let path = addr.as_ref();
        let connect = async { self.inner.connect(addr::of_path(path)?).await };
        addr::at(path, "Connecting", connect.await)
    }

    /// Receives a datagram; returns how many bytes of it were copied to the front of `buf`. A datagram
    /// may be empty.
    ///
    /// # Errors
    ///
    /// Those of recvmsg(2).
    ///
    /// # Cancel safety
    ///
    /// A datagram that arrives for a dropped future waits for the next call.
    ///
    /// # Examples
    ///
    /// See [`pair`](Self::pair).
    pub async fn recv(&self, buf: &mut [u8]) -> Result<usize, ()> {
        self.inner.receive(Look::Take, buf).await
    }

    /// As [`recv`](Self::recv), with the address of the sender, which has no name unless the sender is
    /// bound.
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
    /// See [`UnixDatagram`].
    pub async fn recv_from(&self, buf: &mut [u8]) -> Result<(usize, UnixAddr), ()> {
        let (len, sender) = self.inner.receive_from(Look::Take, buf).await?;
        Ok((len, addr::nix_address(&sender)?))
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
    /// use glommio::{LocalExecutor, net::UnixDatagram};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (one, other) = UnixDatagram::pair().unwrap();
    ///     one.send(b"hello").await.unwrap();
    ///     let mut buffer = [0; 16];
    ///     assert_eq!(other.peek(&mut buffer[..2]).await.unwrap(), 2);
    ///     assert_eq!(other.recv(&mut buffer).await.unwrap(), 5);
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
    pub async fn peek_from(&self, buf: &mut [u8]) -> Result<(usize, UnixAddr), ()> {
        let (len, sender) = self.inner.receive_from(Look::Peek, buf).await?;
        Ok((len, addr::nix_address(&sender)?))
    }

    /// Sends a datagram to the peer that [`connect`](Self::connect) has set. Waits while the peer's queue is
    /// full. Returns the length of `buf`.
    ///
    /// # Errors
    ///
    /// Those of send(2): `NotConnected` without a peer, `ConnectionRefused` if it is closed, `EMSGSIZE` for
    /// more than `SO_SNDBUF` has room for.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the datagram may have been sent or not.
    ///
    /// # Examples
    ///
    /// See [`pair`](Self::pair).
    pub async fn send(&self, buf: &[u8]) -> Result<usize, ()> {
        self.inner.send(buf, None).await
    }

    /// Sends a datagram to the socket at `addr`, whatever the peer. Waits while that one's queue is full.
    /// Returns the length of `buf`.
    ///
    /// # Errors
    ///
    /// `NotFound` if there is nothing at the path, `ConnectionRefused` if the socket there is closed; those
    /// of sendmsg(2), such as `EMSGSIZE` for more than `SO_SNDBUF` has room for; `InvalidInput` as for
    /// [`bind`](Self::bind).
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped the datagram may have been sent or not.
    ///
    /// # Examples
    ///
    /// See [`UnixDatagram`].
    pub async fn send_to<A: AsRef<Path>>(&self, buf: &[u8], addr: A) -> Result<usize, ()> {
        let path = addr.as_ref();
        let to = addr::at(path, "Sending", addr::of_path(path))?;
        let sent = self.inner.send(buf, Some(&to)).await;
        sent.or_else(|error| addr::at(path, "Sending", Err(error.into())))
    }

    /// The longest datagram that is received whole, in bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UnixDatagram};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mut socket = UnixDatagram::unbound().unwrap();
    ///     assert_eq!(socket.buffer_size(), 8 << 10);
    /// });
    /// ```
    pub fn buffer_size(&mut self) -> usize {
        self.inner.buffer_size()
    }

    /// Sets the longest datagram that is received whole, in bytes: what is longer is cut off there,
    /// however large the buffer of the caller, and in any case beyond 16 MiB. What has arrived for a call that
    /// was given up is as it was received.
    ///
    /// This is about memory of this crate; the kernel's buffers are `SO_RCVBUF` and `SO_SNDBUF`.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UnixDatagram};
    ///
    /// LocalExecutor::default().run(async {
    ///     let (one, mut other) = UnixDatagram::pair().unwrap();
    ///     other.set_buffer_size(20 << 10);
    ///     one.send(&[1; 10 << 10]).await.unwrap();
    ///     let mut buffer = [0; 20 << 10];
    ///     assert_eq!(other.recv(&mut buffer).await.unwrap(), 10 << 10);
    /// });
    /// ```
    pub fn set_buffer_size(&mut self, buffer_size: usize) {
        self.inner.set_buffer_size(buffer_size);
    }

    /// The address of this socket.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        addr::address(socket::borrow(self.inner.fd()).local_addr())
    }

    /// The peer that [`connect`](Self::connect) has set.
    ///
    /// # Errors
    ///
    /// `NotConnected` without one.
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        addr::address(socket::borrow(self.inner.fd()).peer_addr())
    }
}

impl AsRawFd for UnixDatagram {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.fd().raw()
    }
}

impl fmt::Debug for UnixDatagram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixDatagram")
            .field("fd", &self.as_raw_fd())
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}
