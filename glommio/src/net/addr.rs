//! Addresses, as the kernel tells them.

use std::{io, net::SocketAddr};

use socket2::SockAddr;

use crate::error::Result;

/// An Internet address out of what the kernel says.
pub(super) fn address(addr: io::Result<SockAddr>) -> Result<SocketAddr, ()> {
    let unknown = || io::Error::new(io::ErrorKind::InvalidData, "not an Internet address");
    Ok(addr?.as_socket().ok_or_else(unknown)?)
}
