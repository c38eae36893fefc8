//! Sockets.
//!
//! - `addr`: addresses, as the kernel tells them
//! - `deadline`: timeouts of reads and writes
//! - `hops`: how many routers packets may pass
//! - `rx_buf`: what a stream receives into ([`RxBuf`], [`Buffered`])
//! - `stream`: the halves of a connection, receive and send; `buffered`: with a receive buffer
//! - [`TcpListener`], [`TcpStream`]
//! - [`UdpSocket`]

mod addr;
mod buffered;
mod deadline;
mod hops;
mod rx_buf;
mod stream;
mod tcp;
mod udp;

pub use rx_buf::{Buffered, NonBuffered, OwnedRxBuf, Preallocated, RxBuf};
pub use tcp::{AcceptedTcpStream, TcpListener, TcpStream};
pub use udp::UdpSocket;
