//! `net::ToSocketAddrs` and `net::Resolution`.

use std::{
    fmt::Debug,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
};

use glommio::net::{Resolution, ToSocketAddrs};

use super::typed;

implements! {
    SocketAddr: ToSocketAddrs;
    SocketAddrV4: ToSocketAddrs;
    SocketAddrV6: ToSocketAddrs;
    (IpAddr, u16): ToSocketAddrs;
    (Ipv4Addr, u16): ToSocketAddrs;
    (Ipv6Addr, u16): ToSocketAddrs;
    (&str, u16): ToSocketAddrs;
    (String, u16): ToSocketAddrs;
    str: ToSocketAddrs;
    String: ToSocketAddrs;
    Vec<SocketAddr>: ToSocketAddrs;
    &[SocketAddr]: ToSocketAddrs;
    &&SocketAddr: ToSocketAddrs;
    &str: ToSocketAddrs;
    Resolution: Clone, Debug;
}

fn _variants(resolution: Resolution) {
    match resolution {
        Resolution::Lookup(name) => typed::<String>(name),
        Resolution::Ready(addrs) => typed::<Vec<SocketAddr>>(addrs),
    }
}
