//! `net::UdpSocket`.

use std::{
    fmt::Debug,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, RawFd},
    time::Duration,
};

use glommio::net::UdpSocket;

use super::{Outcome, typed};

/// A socket of that crate's version is what users hand in.
type Foreign = socket2::Socket;

signatures! {
    UdpSocket::bind::<SocketAddr> => fn(SocketAddr) -> Outcome<UdpSocket>;
    UdpSocket::bind::<&str> => fn(&'static str) -> Outcome<UdpSocket>;
    UdpSocket::bind::<(&str, u16)> => fn((&'static str, u16)) -> Outcome<UdpSocket>;
    UdpSocket::bind::<&[SocketAddr]> => fn(&'static [SocketAddr]) -> Outcome<UdpSocket>;
    UdpSocket::broadcast => fn(&UdpSocket) -> Outcome<bool>;
    UdpSocket::buffer_size => fn(&mut UdpSocket) -> usize;
    UdpSocket::join_multicast_v4 => fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Outcome<()>;
    UdpSocket::join_multicast_v6 => fn(&UdpSocket, &Ipv6Addr, u32) -> Outcome<()>;
    UdpSocket::leave_multicast_v4 => fn(&UdpSocket, &Ipv4Addr, &Ipv4Addr) -> Outcome<()>;
    UdpSocket::leave_multicast_v6 => fn(&UdpSocket, &Ipv6Addr, u32) -> Outcome<()>;
    UdpSocket::local_addr => fn(&UdpSocket) -> Outcome<SocketAddr>;
    UdpSocket::multicast_loop_v4 => fn(&UdpSocket) -> Outcome<bool>;
    UdpSocket::multicast_loop_v6 => fn(&UdpSocket) -> Outcome<bool>;
    UdpSocket::multicast_ttl_v4 => fn(&UdpSocket) -> Outcome<u32>;
    UdpSocket::peer_addr => fn(&UdpSocket) -> Outcome<SocketAddr>;
    UdpSocket::read_timeout => fn(&UdpSocket) -> Option<Duration>;
    UdpSocket::set_broadcast => fn(&UdpSocket, bool) -> Outcome<()>;
    UdpSocket::set_buffer_size => fn(&mut UdpSocket, usize);
    UdpSocket::set_multicast_loop_v4 => fn(&UdpSocket, bool) -> Outcome<()>;
    UdpSocket::set_multicast_loop_v6 => fn(&UdpSocket, bool) -> Outcome<()>;
    UdpSocket::set_multicast_ttl_v4 => fn(&UdpSocket, u32) -> Outcome<()>;
    UdpSocket::set_read_timeout => fn(&UdpSocket, Option<Duration>) -> Outcome<()>;
    UdpSocket::set_ttl => fn(&UdpSocket, u32) -> Outcome<()>;
    UdpSocket::set_write_timeout => fn(&UdpSocket, Option<Duration>) -> Outcome<()>;
    UdpSocket::ttl => fn(&UdpSocket) -> Outcome<u32>;
    UdpSocket::write_timeout => fn(&UdpSocket) -> Option<Duration>;
    <UdpSocket as AsRawFd>::as_raw_fd => fn(&UdpSocket) -> RawFd;
    <UdpSocket as FromRawFd>::from_raw_fd => unsafe fn(RawFd) -> UdpSocket;
}

implements! {
    UdpSocket: AsRawFd, Debug, From<Foreign>, FromRawFd, Unpin;
}

// It belongs to its executor.
lacks! {
    UdpSocket: Clone, Send, Sync;
}

/// Functions whose types cannot be written down. Never run.
async fn _functions(socket: &UdpSocket, addr: SocketAddr, buf: &mut [u8]) {
    typed::<Outcome<()>>(socket.connect::<SocketAddr>(addr).await);
    typed::<Outcome<usize>>(socket.send(&[]).await);
    typed::<Outcome<usize>>(socket.send_to::<SocketAddr>(&[], addr).await);
    typed::<Outcome<usize>>(socket.recv(buf).await);
    typed::<Outcome<usize>>(socket.peek(buf).await);
    typed::<Outcome<(usize, SocketAddr)>>(socket.recv_from(buf).await);
    typed::<Outcome<(usize, SocketAddr)>>(socket.peek_from(buf).await);
}
