//! How many routers what a socket sends may pass.

use std::io;

use socket2::{Domain, Socket};

use crate::error::Result;

/// The field of a packet has 8 bits.
const MAX_HOPS: u32 = 255;

/// `IPV6_UNICAST_HOPS` of a socket for IPv6, else `IP_TTL`.
pub(super) fn hops(socket: &Socket) -> Result<u32, ()> {
    if is_v6(socket)? {
        return Ok(socket.unicast_hops_v6()?);
    }
    Ok(socket.ttl_v4()?)
}

pub(super) fn set_hops(socket: &Socket, hops: u32) -> Result<(), ()> {
    if hops > MAX_HOPS {
        // The kernel takes the largest numbers for negative ones, which mean something else.
        let error = format!("{hops} hops are more than a packet can say: {MAX_HOPS}");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, error).into());
    }
    if is_v6(socket)? {
        socket.set_unicast_hops_v6(hops)?;
    }
    // A socket for IPv6 sends to mapped IPv4 addresses too.
    Ok(socket.set_ttl_v4(hops)?)
}

fn is_v6(socket: &Socket) -> io::Result<bool> {
    Ok(socket.domain()? == Domain::IPV6)
}
