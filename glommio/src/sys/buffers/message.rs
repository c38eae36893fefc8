//! The memory of one datagram on its way: header, address and data, as sendmsg(2) and recvmsg(2)
//! want them.

use std::{io, mem, ptr};

use socket2::{SockAddr, SockAddrStorage};

/// Room for an address of any family.
const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// A header that points to an address and to data which it owns. It stays in its box from the
/// moment at which the kernel is told of it until the completion.
pub(crate) struct Message {
    header: libc::msghdr,
    part: libc::iovec,
    address: libc::sockaddr_storage,
    address_len: libc::socklen_t,
    data: Vec<u8>,
}

impl Message {
    pub(super) fn boxed() -> Box<Message> {
        Box::new(Message {
            // SAFETY: integers and pointers, for which zero is a value.
            header: unsafe { mem::zeroed() },
            part: libc::iovec {
                iov_base: ptr::null_mut(),
                iov_len: 0,
            },
            // SAFETY: as above.
            address: unsafe { mem::zeroed() },
            address_len: 0,
            data: Vec::new(),
        })
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// How much data it holds without an allocation.
    pub(super) fn capacity(&self) -> usize {
        self.data.capacity()
    }

    /// Copies what is to be sent, and whereto; to the connected peer without an address.
    pub(crate) fn fill(&mut self, data: &[u8], to: Option<&SockAddr>) {
        self.data.clear();
        self.data.extend_from_slice(data);
        self.address_len = to.map_or(0, SockAddr::len);
        if let Some(to) = to {
            let mut storage = to.clone().as_storage();
            // SAFETY: the storage holds an address of any family.
            self.address = *unsafe { storage.view_as() };
        }
    }

    /// Whether it goes to an address of its own.
    pub(crate) fn is_addressed(&self) -> bool {
        self.address_len > 0
    }

    /// Makes room for a datagram of up to `bytes`; what is longer is cut off by the kernel.
    pub(crate) fn make_room(&mut self, bytes: usize) {
        self.data.clear();
        self.data.reserve(bytes);
        self.part.iov_len = bytes;
    }

    /// The header for sendmsg(2). It and all that it points to stays where it is until the message
    /// is changed or dropped.
    pub(crate) fn header_to_send(&mut self) -> *const libc::msghdr {
        self.part.iov_len = self.data.len();
        self.link(self.address_len)
    }

    /// The header for recvmsg(2), as for [`header_to_send`](Self::header_to_send).
    pub(crate) fn header_to_receive(&mut self) -> *mut libc::msghdr {
        debug_assert!(self.part.iov_len <= self.data.capacity());
        self.link(ADDRESS_BYTES)
    }

    fn link(&mut self, address_len: libc::socklen_t) -> *mut libc::msghdr {
        self.part.iov_base = self.data.as_mut_ptr().cast();
        self.header.msg_name = match address_len {
            0 => ptr::null_mut(),
            _ => ptr::from_mut(&mut self.address).cast(),
        };
        self.header.msg_namelen = address_len;
        self.header.msg_iov = &mut self.part;
        self.header.msg_iovlen = 1;
        self.header.msg_flags = 0;
        &mut self.header
    }

    /// Takes in what the kernel received.
    ///
    /// # Safety
    ///
    /// A receive with [`header_to_receive`](Self::header_to_receive) of this message has completed
    /// with `len`.
    pub(crate) unsafe fn received(&mut self, len: usize) {
        debug_assert!(len <= self.part.iov_len);
        // SAFETY: the kernel filled `len` bytes, and no more than it was given room for.
        unsafe { self.data.set_len(len) };
        self.address_len = self.header.msg_namelen.min(ADDRESS_BYTES);
    }

    /// Where a received datagram came from.
    pub(crate) fn sender(&self) -> SockAddr {
        let mut storage = SockAddrStorage::zeroed();
        // SAFETY: the storage holds any address, and the kernel wrote one of that length.
        unsafe {
            *storage.view_as() = self.address;
            SockAddr::new(storage, self.address_len)
        }
    }
}

/// The error of a datagram that no packet can carry.
pub(crate) fn too_long() -> io::Error {
    io::Error::from_raw_os_error(libc::EMSGSIZE)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn a_message_to_send_points_to_its_own_copies() {
        let to: SocketAddr = "127.0.0.1:7000".parse().unwrap();
        let mut message = Message::boxed();
        message.fill(b"hello", Some(&to.into()));
        assert!(message.is_addressed());
        let header = message.header_to_send();
        // SAFETY: the message is there and was not changed.
        let (part, address_len) = unsafe { (*(*header).msg_iov, (*header).msg_namelen) };
        assert_eq!(part.iov_base.cast_const().cast(), message.data().as_ptr());
        assert_eq!(part.iov_len, 5);
        assert_eq!(address_len, SockAddr::from(to).len());
        assert_eq!(message.sender().as_socket(), Some(to));

        message.fill(b"", None);
        assert!(!message.is_addressed());
        let header = message.header_to_send();
        // SAFETY: as above.
        assert!(unsafe { (*header).msg_name }.is_null());
    }

    #[test]
    fn room_is_made_once() {
        let mut message = Message::boxed();
        message.make_room(1000);
        let data = message.data.as_ptr();
        message.make_room(10);
        message.make_room(1000);
        assert_eq!(message.data.as_ptr(), data);
        assert!(message.data().is_empty());
    }
}
