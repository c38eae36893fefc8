//! Sockets.
//!
//! - [`TcpListener`], [`TcpStream`]; [`UnixListener`], [`UnixStream`]
//! - [`UdpSocket`]; [`UnixDatagram`]
//! - `listener`, `stream`, `datagram`: what they are for whatever address family
//! - `buffered`: a stream with its receive buffer; `rx_buf`: those buffers ([`RxBuf`], [`Buffered`])
//! - `deadline`: timeouts of reads and writes
//! - `addr`: addresses, as the kernel tells them; `resolve`: as users give them ([`ToSocketAddrs`])
//! - `hops`: how many routers packets may pass

mod addr;
mod buffered;
mod datagram;
mod deadline;
mod hops;
mod listener;
mod resolve;
mod rx_buf;
mod stream;
mod tcp;
mod udp;
mod unix;

/// An address of a Unix socket, as [`UnixDatagram::recv_from`] gives it.
pub use nix::sys::socket::UnixAddr;

pub use resolve::{Resolution, ToSocketAddrs};
pub use rx_buf::{Buffered, NonBuffered, OwnedRxBuf, Preallocated, RxBuf};
pub use tcp::{AcceptedTcpStream, TcpListener, TcpStream};
pub use udp::UdpSocket;
pub use unix::{AcceptedUnixStream, UnixDatagram, UnixListener, UnixStream};
