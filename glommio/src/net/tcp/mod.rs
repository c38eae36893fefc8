//! TCP.

mod listener;
mod stream;

pub use listener::{AcceptedTcpStream, TcpListener};
pub use stream::TcpStream;
