//! From what users call an address to addresses.
//!
//! A host name may take seconds to look up, with calls that block. The asynchronous functions have that
//! done on a thread of the blocking pool; what needs no lookup is taken as it is.

use std::{
    io,
    net::{
        IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6,
        ToSocketAddrs as StdToSocketAddrs,
    },
};

use crate::executor::executor;

/// What can be connected to, bound, or sent to: everything that is a [`std::net::ToSocketAddrs`].
///
/// Host names, as in `"example.org:80"` and `("example.org", 80)`, are looked up by the asynchronous
/// functions on a thread of the [blocking pool](crate::LocalExecutorBuilder::blocking_thread_pool_placement),
/// so that the executor goes on meanwhile. `bind`, which is no asynchronous function, looks them up on the
/// spot, and everything waits for it. Addresses in numbers are never looked up.
///
/// The trait is sealed: other types are made addresses before they are handed in.
///
/// # Examples
///
/// ```
/// use std::net::Ipv4Addr;
/// use glommio::{LocalExecutor, net::{TcpListener, TcpStream}};
///
/// LocalExecutor::default().run(async {
///     let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
///     let port = listener.local_addr().unwrap().port();
///     TcpStream::connect(("localhost", port)).await.unwrap();
///     TcpStream::connect(format!("127.0.0.1:{port}")).await.unwrap();
///     TcpStream::connect(&[listener.local_addr().unwrap()][..]).await.unwrap();
/// });
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no address of a socket",
    note = "a type of yours that implements `std::net::ToSocketAddrs` is first made a `Vec<SocketAddr>`"
)]
pub trait ToSocketAddrs: sealed::Sealed {}

/// What has to be done to get at addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Nothing: here they are, in the order in which they are to be tried.
    Ready(Vec<SocketAddr>),
    /// To look up a host name, which stands before a colon and a port.
    Lookup(String),
}

pub(super) mod sealed {
    use super::*;

    pub trait Sealed {
        /// The addresses, or what to look up.
        fn resolution(&self) -> io::Result<Resolution>;

        /// The only address, where that is known without asking, and without memory for it.
        fn only(&self) -> Option<SocketAddr> {
            None
        }
    }
}

use sealed::Sealed;

/// The addresses, without blocking the thread.
pub(super) async fn resolve(addr: &impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    match addr.resolution()? {
        Resolution::Ready(addrs) => Ok(addrs),
        Resolution::Lookup(name) => executor().spawn_blocking(|| look_up(name)).await,
    }
}

/// The first of the addresses, without blocking the thread.
pub(super) async fn resolve_first(addr: &impl ToSocketAddrs) -> io::Result<Option<SocketAddr>> {
    match addr.only() {
        Some(only) => Ok(Some(only)),
        None => Ok(resolve(addr).await?.first().copied()),
    }
}

/// The addresses, at once.
pub(super) fn resolve_now(addr: &impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    match addr.resolution()? {
        Resolution::Ready(addrs) => Ok(addrs),
        Resolution::Lookup(name) => look_up(name),
    }
}

fn look_up(name: String) -> io::Result<Vec<SocketAddr>> {
    match name.to_socket_addrs() {
        Ok(addrs) => Ok(addrs.collect()),
        Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
    }
}

/// A host and a port, of which the host may be in numbers.
fn host_and_port(host: &str, port: u16) -> Resolution {
    match host.parse::<IpAddr>() {
        Ok(ip) => Resolution::Ready(vec![SocketAddr::new(ip, port)]),
        Err(_) => Resolution::Lookup(format!("{host}:{port}")),
    }
}

/// Types that are one address.
macro_rules! one_address {
    ($($addr:ty),*) => {
        $(
            impl Sealed for $addr {
                fn resolution(&self) -> io::Result<Resolution> {
                    Ok(Resolution::Ready(self.only().into_iter().collect()))
                }

                #[inline]
                fn only(&self) -> Option<SocketAddr> {
                    Some(SocketAddr::from(*self))
                }
            }

            impl ToSocketAddrs for $addr {}
        )*
    };
}

one_address!(
    SocketAddr,
    SocketAddrV4,
    SocketAddrV6,
    (IpAddr, u16),
    (Ipv4Addr, u16),
    (Ipv6Addr, u16)
);

impl Sealed for str {
    fn resolution(&self) -> io::Result<Resolution> {
        if let Ok(addr) = self.parse() {
            return Ok(Resolution::Ready(vec![addr]));
        }
        let wrong = |what| io::Error::new(io::ErrorKind::InvalidInput, format!("{self:?}: {what}"));
        let (host, port) = self
            .rsplit_once(':')
            .ok_or_else(|| wrong("an address ends with a colon and a port"))?;
        let port = port
            .parse()
            .map_err(|_| wrong("a port is a number up to 65535"))?;
        Ok(host_and_port(host, port))
    }
}

impl ToSocketAddrs for str {}

impl Sealed for String {
    fn resolution(&self) -> io::Result<Resolution> {
        self.as_str().resolution()
    }
}

impl ToSocketAddrs for String {}

impl Sealed for (&str, u16) {
    fn resolution(&self) -> io::Result<Resolution> {
        Ok(host_and_port(self.0, self.1))
    }
}

impl ToSocketAddrs for (&str, u16) {}

impl Sealed for (String, u16) {
    fn resolution(&self) -> io::Result<Resolution> {
        Ok(host_and_port(&self.0, self.1))
    }
}

impl ToSocketAddrs for (String, u16) {}

impl Sealed for &[SocketAddr] {
    fn resolution(&self) -> io::Result<Resolution> {
        Ok(Resolution::Ready(self.to_vec()))
    }

    fn only(&self) -> Option<SocketAddr> {
        self.first().copied()
    }
}

impl ToSocketAddrs for &[SocketAddr] {}

impl Sealed for Vec<SocketAddr> {
    fn resolution(&self) -> io::Result<Resolution> {
        Ok(Resolution::Ready(self.clone()))
    }

    fn only(&self) -> Option<SocketAddr> {
        self.first().copied()
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {}

impl<T: ToSocketAddrs + ?Sized> Sealed for &T {
    fn resolution(&self) -> io::Result<Resolution> {
        (**self).resolution()
    }

    fn only(&self) -> Option<SocketAddr> {
        (**self).only()
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(addr: &str) -> Resolution {
        Resolution::Ready(vec![addr.parse().unwrap()])
    }

    fn resolution(addr: impl ToSocketAddrs) -> Resolution {
        addr.resolution().unwrap()
    }

    #[test]
    fn numbers_are_never_looked_up() {
        let v4 = "192.0.2.1:80";
        let v6 = "[2001:db8::1]:80";
        for addr in [v4, v6] {
            let parsed: SocketAddr = addr.parse().unwrap();
            assert_eq!(resolution(addr), ready(addr));
            assert_eq!(resolution(addr.to_owned()), ready(addr));
            assert_eq!(resolution(parsed), ready(addr));
            let borrowed = &parsed;
            assert_eq!(resolution(borrowed), ready(addr));
            assert_eq!(resolution((parsed.ip(), 80)), ready(addr));
            assert_eq!(resolution((parsed.ip().to_string(), 80)), ready(addr));
            assert_eq!(resolution((&*parsed.ip().to_string(), 80)), ready(addr));
            assert_eq!(resolution(vec![parsed]), ready(addr));
            assert_eq!(resolution(&[parsed][..]), ready(addr));
        }
        assert_eq!(resolution((Ipv4Addr::new(192, 0, 2, 1), 80)), ready(v4));
        assert_eq!(resolution(v4.parse::<SocketAddrV4>().unwrap()), ready(v4));
        assert_eq!(resolution(v6.parse::<SocketAddrV6>().unwrap()), ready(v6));
        let none: &[SocketAddr] = &[];
        assert_eq!(resolution(none), Resolution::Ready(Vec::new()));
    }

    #[test]
    fn names_are_looked_up() {
        let lookup = Resolution::Lookup("example.org:80".to_owned());
        assert_eq!(resolution("example.org:80"), lookup);
        assert_eq!(resolution("example.org:0080"), lookup);
        assert_eq!(resolution("example.org:80".to_owned()), lookup);
        assert_eq!(resolution(("example.org", 80)), lookup);
        assert_eq!(resolution(("example.org".to_owned(), 80)), lookup);
    }

    #[test]
    fn what_has_no_port_is_refused_at_once() {
        for addr in [
            "",
            "example.org",
            "example.org:",
            "example.org:65536",
            "[::1]",
            "a:b",
        ] {
            let error = addr.resolution().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{addr}");
            assert!(error.to_string().contains(addr), "{error}");
        }
    }

    #[test]
    fn only_needs_no_memory() {
        let addr: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(addr.only(), Some(addr));
        assert_eq!(<&SocketAddr>::only(&&addr), Some(addr));
        assert_eq!((&[addr, addr][..]).only(), Some(addr));
        assert_eq!("192.0.2.1:80".only(), None);
    }
}
