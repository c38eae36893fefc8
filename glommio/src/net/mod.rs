//! Sockets.
//!
//! - `stream`: the halves of a connection, receive and send
//! - [`TcpListener`], [`TcpStream`]

mod stream;
mod tcp;

pub use tcp::{AcceptedTcpStream, TcpListener, TcpStream};
