//! `net::TcpListener`, `net::TcpStream`, and what a stream receives into.

use std::{
    fmt::Debug,
    net::{Shutdown, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures_core::Stream;
use futures_lite::{AsyncBufRead, AsyncRead, AsyncWrite};
use glommio::net::{
    AcceptedTcpStream, Buffered, NonBuffered, OwnedRxBuf, Preallocated, RxBuf, TcpListener,
    TcpStream,
};

use super::{Outcome, typed};

type Foreign = socket2::Socket;

signatures! {
    TcpListener::bind::<SocketAddr> => fn(SocketAddr) -> Outcome<TcpListener>;
    TcpListener::bind::<&str> => fn(&'static str) -> Outcome<TcpListener>;
    TcpListener::local_addr => fn(&TcpListener) -> Outcome<SocketAddr>;
    TcpListener::poll_accept => fn(&TcpListener, &mut Context<'_>) -> Poll<Outcome<TcpStream>>;
    TcpListener::poll_shared_accept =>
        fn(&TcpListener, &mut Context<'_>) -> Poll<Outcome<AcceptedTcpStream>>;
    TcpListener::set_ttl => fn(&TcpListener, u32) -> Outcome<()>;
    TcpListener::ttl => fn(&TcpListener) -> Outcome<u32>;
    <TcpListener as FromRawFd>::from_raw_fd => unsafe fn(RawFd) -> TcpListener;

    AcceptedTcpStream::bind_to_executor => fn(AcceptedTcpStream) -> TcpStream;
    AcceptedTcpStream::peer_addr => fn(&AcceptedTcpStream) -> Outcome<SocketAddr>;

    TcpStream::buffered => fn(TcpStream) -> TcpStream<Preallocated>;
    TcpStream::buffered_with::<Preallocated> =>
        fn(TcpStream, Preallocated) -> TcpStream<Preallocated>;
    TcpStream::into_accepted => fn(TcpStream<NonBuffered>) -> AcceptedTcpStream;
    <TcpStream as IntoRawFd>::into_raw_fd => fn(TcpStream) -> RawFd;
    <TcpStream as FromRawFd>::from_raw_fd => unsafe fn(RawFd) -> TcpStream;
    TcpStream::<Preallocated>::local_addr => fn(&TcpStream<Preallocated>) -> Outcome<SocketAddr>;
    TcpStream::<Preallocated>::nodelay => fn(&TcpStream<Preallocated>) -> Outcome<bool>;
    TcpStream::<Preallocated>::peer_addr => fn(&TcpStream<Preallocated>) -> Outcome<SocketAddr>;
    TcpStream::<Preallocated>::poll_shutdown =>
        fn(&TcpStream<Preallocated>, &mut Context<'_>, Shutdown) -> Poll<Outcome<()>>;
    TcpStream::<Preallocated>::read_timeout => fn(&TcpStream<Preallocated>) -> Option<Duration>;
    TcpStream::<Preallocated>::set_nodelay => fn(&TcpStream<Preallocated>, bool) -> Outcome<()>;
    TcpStream::<Preallocated>::set_read_timeout =>
        fn(&TcpStream<Preallocated>, Option<Duration>) -> Outcome<()>;
    TcpStream::<Preallocated>::set_ttl => fn(&TcpStream<Preallocated>, u32) -> Outcome<()>;
    TcpStream::<Preallocated>::set_write_timeout =>
        fn(&TcpStream<Preallocated>, Option<Duration>) -> Outcome<()>;
    TcpStream::<Preallocated>::ttl => fn(&TcpStream<Preallocated>) -> Outcome<u32>;
    TcpStream::<Preallocated>::write_timeout => fn(&TcpStream<Preallocated>) -> Option<Duration>;

    Preallocated::new => fn(usize) -> Preallocated;
    <Preallocated as RxBuf>::as_bytes => fn(&Preallocated) -> &[u8];
    <Preallocated as RxBuf>::buffer_size => fn(&Preallocated) -> usize;
    <Preallocated as RxBuf>::consume => fn(&mut Preallocated, usize);
    <Preallocated as RxBuf>::handle_result => fn(&mut Preallocated, usize);
    <Preallocated as RxBuf>::is_empty => fn(&Preallocated) -> bool;
    <Preallocated as RxBuf>::peek => fn(&Preallocated, &mut [u8]) -> usize;
    <Preallocated as RxBuf>::read => fn(&mut Preallocated, &mut [u8]) -> usize;
    <Preallocated as RxBuf>::restore_kernel_buffer => fn(&mut Preallocated, OwnedRxBuf);
    <Preallocated as RxBuf>::take_kernel_buffer => fn(&mut Preallocated) -> Option<OwnedRxBuf>;
    <Preallocated as RxBuf>::unfilled => fn(&mut Preallocated) -> &mut [u8];

    OwnedRxBuf::new => fn(Vec<u8>) -> OwnedRxBuf;
    OwnedRxBuf::into_vec => fn(OwnedRxBuf) -> Vec<u8>;
    OwnedRxBuf::is_empty => fn(&OwnedRxBuf) -> bool;
    OwnedRxBuf::len => fn(&OwnedRxBuf) -> usize;
}

implements! {
    TcpListener: AsRawFd, Debug, FromRawFd, Unpin;
    AcceptedTcpStream: Debug, Send, Sync, Unpin;
    TcpStream: AsRawFd, AsyncRead, AsyncWrite, Debug, From<Foreign>, FromRawFd, IntoRawFd, Unpin;
    TcpStream<Preallocated>: AsRawFd, AsyncBufRead, AsyncRead, AsyncWrite, Debug, Unpin;
    NonBuffered: RxBuf, Send, Sync, Unpin;
    Preallocated: Buffered, Debug, Default, Send, Sync, Unpin;
    OwnedRxBuf: Send, Sync, Unpin;
}

// They belong to their executor.
lacks! {
    TcpListener: Clone, Send, Sync;
    TcpStream: AsyncBufRead, Clone, Send, Sync;
}

/// Functions whose types cannot be written down. Never run.
async fn _functions(listener: &TcpListener, stream: &TcpStream<Preallocated>, addr: SocketAddr) {
    typed::<Outcome<TcpStream>>(listener.accept().await);
    typed::<Outcome<AcceptedTcpStream>>(listener.shared_accept().await);
    typed::<Outcome<TcpStream>>(TcpStream::connect::<SocketAddr>(addr).await);
    typed::<Outcome<TcpStream>>(
        TcpStream::connect_timeout::<SocketAddr>(addr, Duration::MAX).await,
    );
    typed::<Outcome<usize>>(stream.peek(&mut []).await);
    typed::<Outcome<()>>(stream.shutdown(Shutdown::Both).await);
}

fn _incoming(listener: &TcpListener) -> impl Stream<Item = Outcome<TcpStream>> + Unpin {
    listener.incoming()
}

fn _vectored(
    stream: Pin<&mut TcpStream<Preallocated>>,
    cx: &mut Context<'_>,
) -> Poll<std::io::Result<usize>> {
    stream.poll_write_vectored(cx, &[])
}
