//! What can be set about a UDP socket, and what it tells about itself.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::UdpSocket;
use crate::{
    error::Result,
    net::{
        addr::address,
        hops::{hops, set_hops},
    },
};

impl UdpSocket {
    /// The address of this socket.
    ///
    /// # Errors
    ///
    /// Those of getsockname(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert_ne!(socket.local_addr().unwrap().port(), 0);
    /// });
    /// ```
    pub fn local_addr(&self) -> Result<SocketAddr, ()> {
        address(self.socket().local_addr())
    }

    /// The peer that [`connect`](Self::connect) has set.
    ///
    /// # Errors
    ///
    /// `NotConnected` without one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.connect("127.0.0.1:9").await.unwrap();
    ///     assert_eq!(socket.peer_addr().unwrap(), "127.0.0.1:9".parse().unwrap());
    /// });
    /// ```
    pub fn peer_addr(&self) -> Result<SocketAddr, ()> {
        address(self.socket().peer_addr())
    }

    /// Whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(!socket.broadcast().unwrap());
    /// });
    /// ```
    pub fn broadcast(&self) -> Result<bool, ()> {
        Ok(self.socket().broadcast()?)
    }

    /// Sets whether datagrams may be sent to broadcast addresses (`SO_BROADCAST`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.set_broadcast(true).unwrap();
    ///     assert!(socket.broadcast().unwrap());
    /// });
    /// ```
    pub fn set_broadcast(&self, broadcast: bool) -> Result<(), ()> {
        Ok(self.socket().set_broadcast(broadcast)?)
    }

    /// How many routers a datagram may pass (`IP_TTL`; `IPV6_UNICAST_HOPS` of a socket for IPv6).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.ttl().unwrap() >= 1);
    /// });
    /// ```
    pub fn ttl(&self) -> Result<u32, ()> {
        hops(&self.socket())
    }

    /// Sets how many routers a datagram may pass (`IP_TTL`; `IPV6_UNICAST_HOPS` too of a socket for IPv6).
    ///
    /// # Errors
    ///
    /// `InvalidInput` beyond 255, and zero over IPv4.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.set_ttl(7).unwrap();
    ///     assert_eq!(socket.ttl().unwrap(), 7);
    /// });
    /// ```
    pub fn set_ttl(&self, ttl: u32) -> Result<(), ()> {
        set_hops(&self.socket(), ttl)
    }

    /// Whether this host receives the multicasts that the socket sends (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.multicast_loop_v4().unwrap());
    /// });
    /// ```
    pub fn multicast_loop_v4(&self) -> Result<bool, ()> {
        Ok(self.socket().multicast_loop_v4()?)
    }

    /// Sets whether this host receives the multicasts that the socket sends (`IP_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.set_multicast_loop_v4(false).unwrap();
    ///     assert!(!socket.multicast_loop_v4().unwrap());
    /// });
    /// ```
    pub fn set_multicast_loop_v4(&self, multicast_loop_v4: bool) -> Result<(), ()> {
        Ok(self.socket().set_multicast_loop_v4(multicast_loop_v4)?)
    }

    /// As [`multicast_loop_v4`](Self::multicast_loop_v4), for IPv6 (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2); a socket for IPv4 has no such option.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.multicast_loop_v6().is_err());
    /// });
    /// ```
    pub fn multicast_loop_v6(&self) -> Result<bool, ()> {
        Ok(self.socket().multicast_loop_v6()?)
    }

    /// As [`set_multicast_loop_v4`](Self::set_multicast_loop_v4), for IPv6 (`IPV6_MULTICAST_LOOP`).
    ///
    /// # Errors
    ///
    /// Those of setsockopt(2); a socket for IPv4 has no such option.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.set_multicast_loop_v6(false).is_err());
    /// });
    /// ```
    pub fn set_multicast_loop_v6(&self, multicast_loop_v6: bool) -> Result<(), ()> {
        Ok(self.socket().set_multicast_loop_v6(multicast_loop_v6)?)
    }

    /// How many routers a multicast may pass (`IP_MULTICAST_TTL`): 1 unless it was set.
    ///
    /// # Errors
    ///
    /// Those of getsockopt(2).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert_eq!(socket.multicast_ttl_v4().unwrap(), 1);
    /// });
    /// ```
    pub fn multicast_ttl_v4(&self) -> Result<u32, ()> {
        Ok(self.socket().multicast_ttl_v4()?)
    }

    /// Sets how many routers a multicast may pass (`IP_MULTICAST_TTL`).
    ///
    /// # Errors
    ///
    /// `InvalidInput` beyond 255.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     socket.set_multicast_ttl_v4(4).unwrap();
    ///     assert_eq!(socket.multicast_ttl_v4().unwrap(), 4);
    /// });
    /// ```
    pub fn set_multicast_ttl_v4(&self, multicast_ttl_v4: u32) -> Result<(), ()> {
        Ok(self.socket().set_multicast_ttl_v4(multicast_ttl_v4)?)
    }

    /// Receives the multicasts to `multiaddr` from now on (`IP_ADD_MEMBERSHIP`), at the interface with the address
    /// `interface`, or at one that the kernel chooses for `0.0.0.0`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for an address that is no multicast address, `AddrInUse` if it was joined already, `ENODEV` without such
    /// an interface.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let everyone = Ipv4Addr::new(224, 0, 0, 123);
    ///     socket.join_multicast_v4(&everyone, &Ipv4Addr::LOCALHOST).unwrap();
    /// });
    /// ```
    pub fn join_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> Result<(), ()> {
        Ok(self.socket().join_multicast_v4(multiaddr, interface)?)
    }

    /// Ends what [`join_multicast_v4`](Self::join_multicast_v4) began.
    ///
    /// # Errors
    ///
    /// `AddrNotAvailable` if the address was not joined.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     let everyone = Ipv4Addr::new(224, 0, 0, 123);
    ///     assert!(socket.leave_multicast_v4(&everyone, &Ipv4Addr::LOCALHOST).is_err());
    /// });
    /// ```
    pub fn leave_multicast_v4(&self, multiaddr: &Ipv4Addr, interface: &Ipv4Addr) -> Result<(), ()> {
        Ok(self.socket().leave_multicast_v4(multiaddr, interface)?)
    }

    /// Receives the multicasts to `multiaddr` from now on (`IPV6_ADD_MEMBERSHIP`), at the interface of that index, or at one that
    /// the kernel chooses for 0.
    ///
    /// # Errors
    ///
    /// As for [`join_multicast_v4`](Self::join_multicast_v4); a socket for IPv4 has no such option.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Ipv6Addr;
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.join_multicast_v6(&Ipv6Addr::LOCALHOST, 0).is_err());
    /// });
    /// ```
    pub fn join_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> Result<(), ()> {
        Ok(self.socket().join_multicast_v6(multiaddr, interface)?)
    }

    /// Ends what [`join_multicast_v6`](Self::join_multicast_v6) began.
    ///
    /// # Errors
    ///
    /// As for [`leave_multicast_v4`](Self::leave_multicast_v4); a socket for IPv4 has no such option.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::Ipv6Addr;
    /// use glommio::{LocalExecutor, net::UdpSocket};
    ///
    /// LocalExecutor::default().run(async {
    ///     let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    ///     assert!(socket.leave_multicast_v6(&Ipv6Addr::LOCALHOST, 0).is_err());
    /// });
    /// ```
    pub fn leave_multicast_v6(&self, multiaddr: &Ipv6Addr, interface: u32) -> Result<(), ()> {
        Ok(self.socket().leave_multicast_v6(multiaddr, interface)?)
    }
}
