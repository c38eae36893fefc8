//! `net::UnixListener`, `net::UnixStream` and `net::UnixDatagram`.

use std::{
    fmt::Debug,
    net::Shutdown,
    os::{
        fd::{AsRawFd, FromRawFd, RawFd},
        unix::net::SocketAddr,
    },
    path::{Path, PathBuf},
    task::{Context, Poll},
};

use futures_core::Stream;
use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use glommio::net::{
    AcceptedUnixStream, NonBuffered, Preallocated, UnixDatagram, UnixListener, UnixStream,
};

use super::{Outcome, typed};

/// An address of that crate's version is what users are given.
type Foreign = nix::sys::socket::UnixAddr;

signatures! {
    UnixListener::bind::<&Path> => fn(&'static Path) -> Outcome<UnixListener>;
    UnixListener::bind::<&str> => fn(&'static str) -> Outcome<UnixListener>;
    UnixListener::bind::<PathBuf> => fn(PathBuf) -> Outcome<UnixListener>;
    UnixListener::local_addr => fn(&UnixListener) -> Outcome<SocketAddr>;
    UnixListener::poll_accept => fn(&UnixListener, &mut Context<'_>) -> Poll<Outcome<UnixStream>>;
    UnixListener::poll_shared_accept =>
        fn(&UnixListener, &mut Context<'_>) -> Poll<Outcome<AcceptedUnixStream>>;
    AcceptedUnixStream::bind_to_executor => fn(AcceptedUnixStream) -> UnixStream;

    UnixStream::pair => fn() -> Outcome<(UnixStream, UnixStream)>;
    UnixStream::buffered => fn(UnixStream<NonBuffered>) -> UnixStream<Preallocated>;
    UnixStream::buffered_with::<Preallocated> =>
        fn(UnixStream, Preallocated) -> UnixStream<Preallocated>;
    UnixStream::<Preallocated>::local_addr => fn(&UnixStream<Preallocated>) -> Outcome<SocketAddr>;
    UnixStream::<Preallocated>::peer_addr => fn(&UnixStream<Preallocated>) -> Outcome<SocketAddr>;
    UnixStream::<Preallocated>::poll_shutdown =>
        fn(&UnixStream<Preallocated>, &mut Context<'_>, Shutdown) -> Poll<Outcome<()>>;
    <UnixStream as FromRawFd>::from_raw_fd => unsafe fn(RawFd) -> UnixStream;

    UnixDatagram::bind::<&Path> => fn(&'static Path) -> Outcome<UnixDatagram>;
    UnixDatagram::pair => fn() -> Outcome<(UnixDatagram, UnixDatagram)>;
    UnixDatagram::unbound => fn() -> Outcome<UnixDatagram>;
    UnixDatagram::buffer_size => fn(&mut UnixDatagram) -> usize;
    UnixDatagram::set_buffer_size => fn(&mut UnixDatagram, usize);
    UnixDatagram::local_addr => fn(&UnixDatagram) -> Outcome<SocketAddr>;
    UnixDatagram::peer_addr => fn(&UnixDatagram) -> Outcome<SocketAddr>;
}

implements! {
    UnixListener: AsRawFd, Debug, Unpin;
    AcceptedUnixStream: Debug, Send, Sync, Unpin;
    UnixStream: AsRawFd, AsyncRead, AsyncWrite, Debug, FromRawFd, Unpin;
    UnixStream<Preallocated>: AsRawFd, AsyncBufRead, AsyncRead, AsyncWrite, Debug, Unpin;
    UnixDatagram: AsRawFd, Debug, Unpin;
}

// They belong to their executor.
lacks! {
    UnixListener: Clone, Send, Sync;
    UnixStream: AsyncBufRead, Clone, Send, Sync;
    UnixDatagram: Clone, Send, Sync;
}

/// Functions whose types cannot be written down. Never run.
async fn _functions(
    listener: &UnixListener,
    stream: &UnixStream<Preallocated>,
    socket: &UnixDatagram,
    buf: &mut [u8],
) {
    typed::<Outcome<UnixStream>>(listener.accept().await);
    typed::<Outcome<AcceptedUnixStream>>(listener.shared_accept().await);
    typed::<Outcome<UnixStream>>(UnixStream::connect::<&Path>(Path::new("")).await);
    typed::<Outcome<usize>>(stream.peek(buf).await);
    typed::<Outcome<()>>(stream.shutdown(Shutdown::Both).await);
    typed::<Outcome<()>>(socket.connect::<&Path>(Path::new("")).await);
    typed::<Outcome<usize>>(socket.send(buf).await);
    typed::<Outcome<usize>>(socket.send_to::<&Path>(buf, Path::new("")).await);
    typed::<Outcome<usize>>(socket.recv(buf).await);
    typed::<Outcome<usize>>(socket.peek(buf).await);
    typed::<Outcome<(usize, Foreign)>>(socket.recv_from(buf).await);
    typed::<Outcome<(usize, Foreign)>>(socket.peek_from(buf).await);
}

implements! {
    Foreign: Same<glommio::net::UnixAddr>;
}

/// Is implemented by one type for itself.
trait Same<T> {}

impl<T> Same<T> for T {}

fn _incoming(listener: &UnixListener) -> impl Stream<Item = Outcome<UnixStream>> + Unpin {
    listener.incoming()
}
