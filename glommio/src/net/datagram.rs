//! A socket for datagrams, for whatever address family.

use std::{cell::Cell, os::fd::OwnedFd, time::Duration};

use socket2::SockAddr;

use super::deadline::{checked, within};
use crate::{
    error::Result,
    reactor,
    sys::{
        datagram::{DEFAULT_ROOM_BYTES, Datagrams, Look, Message, too_long},
        fd::Fd,
    },
};

/// What is common to the sockets for datagrams.
pub(super) struct DatagramSocket {
    datagrams: Datagrams,
    /// No datagram is longer.
    max_bytes: usize,
    buffer_bytes: usize,
    read_timeout: Cell<Option<Duration>>,
    write_timeout: Cell<Option<Duration>>,
}

impl DatagramSocket {
    /// Takes over a socket that waits, and whose datagrams are no longer than `max_bytes`.
    pub(super) fn new(fd: OwnedFd, max_bytes: usize) -> Self {
        let reactor = reactor::current();
        let fd = Fd::new(fd, reactor.ring().clone());
        DatagramSocket {
            datagrams: Datagrams::new(fd, reactor.sockets().clone()),
            max_bytes,
            buffer_bytes: DEFAULT_ROOM_BYTES,
            read_timeout: Cell::new(None),
            write_timeout: Cell::new(None),
        }
    }

    pub(super) fn fd(&self) -> &Fd {
        self.datagrams.fd()
    }

    pub(super) async fn connect(&self, peer: SockAddr) -> std::io::Result<()> {
        self.datagrams.connect(peer).await
    }

    pub(super) async fn receive(&self, look: Look, buf: &mut [u8]) -> Result<usize, ()> {
        let copy = |message: &Message| copy(message.data(), buf);
        self.show(look, copy).await
    }

    pub(super) async fn receive_from(
        &self,
        look: Look,
        buf: &mut [u8],
    ) -> Result<(usize, SockAddr), ()> {
        let copy = |message: &Message| (copy(message.data(), buf), message.sender());
        self.show(look, copy).await
    }

    async fn show<R>(&self, look: Look, look_at: impl FnOnce(&Message) -> R) -> Result<R, ()> {
        let work = async { Ok(self.datagrams.receive(look, look_at).await?) };
        within(self.read_timeout.get(), work).await
    }

    /// Sends to `to`, or to the peer.
    pub(super) async fn send(&self, buf: &[u8], to: Option<&SockAddr>) -> Result<usize, ()> {
        if buf.len() > self.max_bytes {
            return Err(too_long().into());
        }
        let work = async { Ok(self.datagrams.send(buf, to).await?) };
        within(self.write_timeout.get(), work).await
    }

    pub(super) fn buffer_size(&self) -> usize {
        self.buffer_bytes
    }

    pub(super) fn set_buffer_size(&mut self, bytes: usize) {
        self.buffer_bytes = bytes;
        self.datagrams.set_room_bytes(bytes.min(self.max_bytes));
    }

    pub(super) fn read_timeout(&self) -> Option<Duration> {
        self.read_timeout.get()
    }

    pub(super) fn set_read_timeout(&self, limit: Option<Duration>) -> Result<(), ()> {
        self.read_timeout.set(checked(limit)?);
        Ok(())
    }

    pub(super) fn write_timeout(&self) -> Option<Duration> {
        self.write_timeout.get()
    }

    pub(super) fn set_write_timeout(&self, limit: Option<Duration>) -> Result<(), ()> {
        self.write_timeout.set(checked(limit)?);
        Ok(())
    }
}

/// Copies as much as fits; returns how much that is.
fn copy(data: &[u8], buf: &mut [u8]) -> usize {
    let len = data.len().min(buf.len());
    buf[..len].copy_from_slice(&data[..len]);
    len
}
