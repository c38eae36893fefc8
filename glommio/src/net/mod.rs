//! Sockets.
//!
//! - `addr`: addresses, as the kernel tells them
//! - `deadline`: timeouts of reads and writes
//! - `stream`: the halves of a connection, receive and send
//! - [`TcpListener`], [`TcpStream`]
//! - [`UdpSocket`]

mod addr;
mod deadline;
mod stream;
mod tcp;
mod udp;

pub use tcp::{AcceptedTcpStream, TcpListener, TcpStream};
pub use udp::UdpSocket;
