//! Accepting Unix connections.

use std::{
    fmt,
    os::{
        fd::{AsRawFd, RawFd},
        unix::net::SocketAddr,
    },
    path::Path,
    task::{Context, Poll},
};

use futures_core::Stream;
use socket2::{Domain, Socket, Type};

use super::{UnixStream, addr};
use crate::{
    error::Result,
    net::{
        listener::{BACKLOG, Listener},
        stream::Departed,
    },
    sys::socket,
};

/// A Unix socket that accepts connections.
///
/// Its path stays when it is dropped; whoever binds the path again removes it first.
///
/// # Examples
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use glommio::{GlommioError, LocalExecutor, net::{UnixListener, UnixStream}, spawn_local};
///
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("socket");
/// LocalExecutor::default().run(async {
///     let listener = UnixListener::bind(&path)?;
///     let server = spawn_local(async move {
///         let mut stream = listener.accept().await?;
///         stream.write_all(b"hello").await?;
///         stream.close().await?;
///         Ok::<(), GlommioError<()>>(())
///     });
///     let mut stream = UnixStream::connect(&path).await?;
///     let mut text = String::new();
///     stream.read_to_string(&mut text).await?;
///     assert_eq!(text, "hello");
///     server.await
/// })
/// # .unwrap();
/// ```
pub struct UnixListener {
    inner: Listener,
}

impl UnixListener {
    /// Listens at `addr`, which must not exist. A zero byte in front makes it an abstract name, which is no
    /// file and goes with the last socket that has it.
    ///
    /// # Errors
    ///
    /// `AddrInUse` if there is something at the path, even a socket that nobody listens at any more; those of
    /// socket(2) and bind(2); `InvalidInput` for a path that is empty, longer than 107 bytes, or has a zero
    /// byte inside.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::linux::net::SocketAddrExt;
    /// use glommio::{LocalExecutor, net::UnixListener};
    ///
    /// LocalExecutor::default().run(async {
    ///     let name = format!("\0example-{}", std::process::id());
    ///     let listener = UnixListener::bind(&name).unwrap();
    ///     let address = listener.local_addr().unwrap();
    ///     assert_eq!(address.as_abstract_name(), Some(&name.as_bytes()[1..]));
    ///     assert!(UnixListener::bind(&name).is_err());
    /// });
    /// ```
    pub fn bind<A: AsRef<Path>>(addr: A) -> Result<UnixListener, ()> {
        let path = addr.as_ref();
        let listen = || {
            let addr = addr::of_path(path)?;
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&addr)?;
            socket.listen(BACKLOG)?;
            Ok(socket)
        };
        let socket = addr::at(path, "Binding", listen())?;
        Ok(UnixListener {
            inner: Listener::new(socket.into()),
        })
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
    ///
    /// # Examples
    ///
    /// See [`UnixListener`].
    pub async fn accept(&self) -> Result<UnixStream, ()> {
        self.shared_accept()
            .await
            .map(AcceptedUnixStream::bind_to_executor)
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
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{io::Read, os::unix::net::UnixStream};
    /// use futures_lite::AsyncWriteExt;
    /// use glommio::{LocalExecutor, LocalExecutorBuilder, net::UnixListener};
    ///
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("socket");
    /// LocalExecutor::default().run(async {
    ///     let listener = UnixListener::bind(&path).unwrap();
    ///     let mut client = UnixStream::connect(&path).unwrap();
    ///     let accepted = listener.shared_accept().await.unwrap();
    ///     let other = LocalExecutorBuilder::default().spawn(|| async move {
    ///         accepted.bind_to_executor().write_all(b"from elsewhere").await.unwrap();
    ///     });
    ///     other.unwrap().join().unwrap();
    ///     let mut text = String::new();
    ///     client.read_to_string(&mut text).unwrap();
    ///     assert_eq!(text, "from elsewhere");
    /// });
    /// ```
    pub async fn shared_accept(&self) -> Result<AcceptedUnixStream, ()> {
        self.inner.accept().await.map(AcceptedUnixStream)
    }

    /// As [`shared_accept`](Self::shared_accept), to be polled.
    ///
    /// Only the waker of the last call is woken, and when nobody waits in another way.
    pub fn poll_shared_accept(&self, cx: &mut Context<'_>) -> Poll<Result<AcceptedUnixStream, ()>> {
        self.inner.poll_accept(cx).map_ok(AcceptedUnixStream)
    }

    /// As [`accept`](Self::accept), to be polled. See
    /// [`poll_shared_accept`](Self::poll_shared_accept).
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Result<UnixStream, ()>> {
        self.poll_shared_accept(cx)
            .map_ok(AcceptedUnixStream::bind_to_executor)
    }

    /// The connections as they arrive, without end.
    pub fn incoming(&self) -> impl Stream<Item = Result<UnixStream, ()>> + Unpin + '_ {
        self.inner
            .incoming(|departed| AcceptedUnixStream(departed).bind_to_executor())
    }

    /// The address that the listener is bound to.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        addr::address(socket::borrow(self.inner.fd()).local_addr())
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.fd().raw()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnixListener")
            .field("fd", &self.as_raw_fd())
            .field("address", &self.local_addr().ok())
            .finish()
    }
}

/// A connection that no executor owns. It may be sent to another thread.
#[derive(Debug)]
pub struct AcceptedUnixStream(Departed);

impl AcceptedUnixStream {
    /// Makes the connection one of the current executor.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// See [`UnixListener::shared_accept`].
    pub fn bind_to_executor(self) -> UnixStream {
        UnixStream::of(self.0.arrive())
    }
}
