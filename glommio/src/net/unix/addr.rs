//! Paths and abstract names as addresses, and back.

use std::{
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{ffi::OsStrExt, net::SocketAddr},
    },
    path::Path,
};

use nix::sys::socket::UnixAddr;
use socket2::SockAddr;

use crate::error::{GlommioError, Result};

/// `sizeof sun_path`: a path of as many bytes less one, because of the zero at its end, and an abstract name
/// with the zero at its front.
const MAX_BYTES: usize = 108;

/// The address of a path; a zero byte at its front makes it an abstract name.
pub(super) fn of_path(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    let is_abstract = bytes.first() == Some(&0);
    let most = if is_abstract {
        MAX_BYTES
    } else {
        MAX_BYTES - 1
    };
    let wrong = if bytes.is_empty() {
        "an empty path is no address of a socket".to_owned()
    } else if bytes.len() > most {
        format!(
            "this address of a socket has {} bytes, and {most} are the most",
            bytes.len()
        )
    } else if !is_abstract && bytes.contains(&0) {
        "a path has no zero bytes, except that one in front makes it an abstract name".to_owned()
    } else {
        return SockAddr::unix(path);
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, wrong))
}

/// Names the path in an error.
pub(super) fn at<T>(path: &Path, op: &'static str, result: io::Result<T>) -> Result<T, ()> {
    result.map_err(|error| GlommioError::create_enhanced(error, op, Some(path), None))
}

/// An address as the standard library has it; without a name if it is none of Unix sockets.
pub(super) fn address(addr: io::Result<SockAddr>) -> Result<SocketAddr, ()> {
    let addr = addr?;
    Ok(match (addr.as_pathname(), addr.as_abstract_namespace()) {
        (Some(path), _) => SocketAddr::from_pathname(path),
        (None, Some(name)) => SocketAddr::from_abstract_name(name),
        (None, None) => SocketAddr::from_pathname(""),
    }?)
}

/// An address as nix has it; without a name if the sender has none.
pub(super) fn nix_address(addr: &SockAddr) -> Result<UnixAddr, ()> {
    let address = match (addr.as_pathname(), addr.as_abstract_namespace()) {
        (Some(path), _) => UnixAddr::new(path),
        (None, Some(name)) => UnixAddr::new_abstract(name),
        (None, None) => Ok(UnixAddr::new_unnamed()),
    };
    Ok(address.map_err(io::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_the_same_whoever_has_them() {
        let longest = "x".repeat(107);
        for name in ["/tmp/socket", "relative", &longest, "\0abstract", "\0a\0b"] {
            let addr = of_path(Path::new(name)).unwrap();
            let std = address(Ok(addr.clone())).unwrap();
            let nix = nix_address(&addr).unwrap();
            let path = (!name.starts_with('\0')).then(|| Path::new(name));
            assert_eq!((std.as_pathname(), nix.path()), (path, path));
            let bare = name.strip_prefix('\0').map(str::as_bytes);
            assert_eq!((std.as_abstract_name(), nix.as_abstract()), (bare, bare));
        }
        let longest = format!("\0{longest}");
        let addr = address(of_path(Path::new(&longest))).unwrap();
        assert_eq!(addr.as_abstract_name().map(<[u8]>::len), Some(107));
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_reason() {
        let too_long = "x".repeat(108);
        let too_long_abstract = format!("\0{too_long}");
        for (name, reason) in [
            ("", "empty"),
            (&too_long, "108 bytes, and 107"),
            (&too_long_abstract, "109 bytes, and 108"),
            ("a\0b", "zero bytes"),
        ] {
            let error = of_path(Path::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
