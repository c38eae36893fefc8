//! UDP.
//!
//! - [`socket`]: sending and receiving
//! - [`options`]: what can be set about a socket

mod options;
mod socket;

pub use socket::UdpSocket;
