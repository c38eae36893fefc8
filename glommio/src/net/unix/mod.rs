//! Sockets between programs of one host.
//!
//! - [`listener`], [`stream`]: connections
//! - [`datagram`]: sockets for datagrams
//! - `addr`: paths and abstract names as addresses

mod addr;
mod datagram;
mod listener;
mod stream;

pub use datagram::UnixDatagram;
pub use listener::{AcceptedUnixStream, UnixListener};
pub use stream::UnixStream;
