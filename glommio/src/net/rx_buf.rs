//! What a stream receives into: nothing but the caller's memory, or a buffer of its own.

/// What a stream keeps of the bytes that it received and its reader has not taken.
///
/// [`NonBuffered`] keeps nothing, [`Preallocated`] up to as much as it was made for. Whoever writes another
/// one implements [`Buffered`] too, and hands it to
/// [`TcpStream::buffered_with`](super::TcpStream::buffered_with).
pub trait RxBuf {
    /// Copies unread bytes to the front of `buf` and takes them; returns how many.
    fn read(&mut self, buf: &mut [u8]) -> usize;

    /// Copies unread bytes to the front of `buf` and leaves them; returns how many.
    fn peek(&self, buf: &mut [u8]) -> usize;

    /// Whether no byte is unread.
    fn is_empty(&self) -> bool;

    /// The unread bytes.
    fn as_bytes(&self) -> &[u8];

    /// Takes the first `amt` of the unread bytes, or all if there are fewer.
    fn consume(&mut self, amt: usize);

    /// How many bytes it can hold. A reader with room for as many is served past the buffer while that is
    /// empty.
    fn buffer_size(&self) -> usize;

    /// Makes the first `result` bytes of [`unfilled`](Self::unfilled) unread ones.
    fn handle_result(&mut self, result: usize);

    /// Where the stream puts what it receives. It asks only while [`is_empty`](Self::is_empty); a buffer
    /// for [`AsyncBufRead`](futures_lite::AsyncBufRead) has room then.
    fn unfilled(&mut self) -> &mut [u8];

    /// Takes the memory out, to fill it elsewhere; `None` if bytes in it are unread, and where there is no
    /// memory. Until it is [put back](Self::restore_kernel_buffer) there is no room in the buffer. Streams
    /// of this crate do not call it: they fill [`unfilled`](Self::unfilled).
    fn take_kernel_buffer(&mut self) -> Option<OwnedRxBuf>;

    /// Puts memory back. How much of it was filled is for [`handle_result`](Self::handle_result) to say.
    fn restore_kernel_buffer(&mut self, buf: OwnedRxBuf);
}

/// A buffer in which bytes can stand, so that its stream implements
/// [`AsyncBufRead`](futures_lite::AsyncBufRead).
pub trait Buffered: RxBuf {}

/// The memory of a buffer, outside of it.
///
/// # Examples
///
/// ```
/// use glommio::net::{OwnedRxBuf, Preallocated, RxBuf};
///
/// let mut buffer = Preallocated::new(16);
/// let mut memory = buffer.take_kernel_buffer().unwrap().into_vec();
/// memory[..5].copy_from_slice(b"hello");
/// buffer.restore_kernel_buffer(OwnedRxBuf::new(memory));
/// buffer.handle_result(5);
/// assert_eq!(buffer.as_bytes(), b"hello");
/// ```
#[derive(Debug)]
pub struct OwnedRxBuf(Vec<u8>);

impl OwnedRxBuf {
    /// The bytes of `memory` are the room.
    pub fn new(memory: Vec<u8>) -> Self {
        OwnedRxBuf(memory)
    }

    /// The memory, as long as there is room.
    pub fn into_vec(self) -> Vec<u8> {
        self.0
    }

    /// How much room there is, in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no room.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// No buffer: what is received goes to the reader's.
#[derive(Clone, Copy, Debug, Default)]
pub struct NonBuffered;

impl RxBuf for NonBuffered {
    #[inline]
    fn read(&mut self, _buf: &mut [u8]) -> usize {
        0
    }

    #[inline]
    fn peek(&self, _buf: &mut [u8]) -> usize {
        0
    }

    #[inline]
    fn is_empty(&self) -> bool {
        true
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &[]
    }

    #[inline]
    fn consume(&mut self, _amt: usize) {}

    #[inline]
    fn buffer_size(&self) -> usize {
        0
    }

    #[inline]
    fn handle_result(&mut self, _result: usize) {}

    #[inline]
    fn unfilled(&mut self) -> &mut [u8] {
        &mut []
    }

    #[inline]
    fn take_kernel_buffer(&mut self) -> Option<OwnedRxBuf> {
        None
    }

    #[inline]
    fn restore_kernel_buffer(&mut self, _buf: OwnedRxBuf) {}
}

/// A buffer of a fixed size: 8 KiB unless another is asked for.
///
/// # Examples
///
/// ```
/// use glommio::net::{Preallocated, RxBuf};
///
/// assert_eq!(Preallocated::default().buffer_size(), 8 << 10);
/// assert_eq!(Preallocated::new(100).buffer_size(), 100);
/// ```
#[derive(Debug)]
pub struct Preallocated {
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Preallocated {
    const DEFAULT_BYTES: usize = 8 << 10;

    /// A buffer of `size` bytes, of one at least.
    pub fn new(size: usize) -> Self {
        Preallocated {
            memory: vec![0; size.max(1)],
            start: 0,
            end: 0,
        }
    }
}

impl Default for Preallocated {
    fn default() -> Self {
        Preallocated::new(Self::DEFAULT_BYTES)
    }
}

impl RxBuf for Preallocated {
    #[inline]
    fn read(&mut self, buf: &mut [u8]) -> usize {
        let n = self.peek(buf);
        self.consume(n);
        n
    }

    #[inline]
    fn peek(&self, buf: &mut [u8]) -> usize {
        let unread = self.as_bytes();
        let n = unread.len().min(buf.len());
        buf[..n].copy_from_slice(&unread[..n]);
        n
    }

    #[inline]
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    #[inline]
    fn as_bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    #[inline]
    fn consume(&mut self, amt: usize) {
        self.start = self.end.min(self.start.saturating_add(amt));
    }

    #[inline]
    fn buffer_size(&self) -> usize {
        self.memory.len()
    }

    #[inline]
    fn handle_result(&mut self, result: usize) {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
        self.end = self.memory.len().min(self.end.saturating_add(result));
    }

    #[inline]
    fn unfilled(&mut self) -> &mut [u8] {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
        &mut self.memory[self.end..]
    }

    fn take_kernel_buffer(&mut self) -> Option<OwnedRxBuf> {
        if !self.is_empty() || self.memory.is_empty() {
            return None;
        }
        self.start = 0;
        self.end = 0;
        Some(OwnedRxBuf(std::mem::take(&mut self.memory)))
    }

    /// Memory that comes while bytes are unread is dropped: it is not the one that was taken.
    fn restore_kernel_buffer(&mut self, buf: OwnedRxBuf) {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
            self.memory = buf.0;
        }
    }
}

impl Buffered for Preallocated {}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(size: usize, bytes: &[u8]) -> Preallocated {
        let mut buffer = Preallocated::new(size);
        buffer.unfilled()[..bytes.len()].copy_from_slice(bytes);
        buffer.handle_result(bytes.len());
        buffer
    }

    #[test]
    fn bytes_are_peeked_read_and_consumed_in_order() {
        let mut buffer = filled(8, b"abcdef");
        assert_eq!(buffer.unfilled().len(), 2);
        let mut out = [0; 4];
        assert_eq!((buffer.peek(&mut out), &out), (4, b"abcd"));
        assert_eq!((buffer.read(&mut out), &out), (4, b"abcd"));
        assert_eq!(buffer.as_bytes(), b"ef");
        buffer.consume(usize::MAX);
        assert!(buffer.is_empty());
        assert_eq!(buffer.read(&mut out), 0);
        assert_eq!(buffer.unfilled().len(), 8, "the room is back");
    }

    #[test]
    fn what_is_filled_in_parts_stands_together() {
        let mut buffer = filled(8, b"abc");
        buffer.unfilled()[..2].copy_from_slice(b"de");
        buffer.handle_result(2);
        assert_eq!(buffer.as_bytes(), b"abcde");
        buffer.handle_result(usize::MAX);
        assert_eq!(buffer.as_bytes().len(), 8, "no more than there is");
    }

    #[test]
    fn memory_leaves_only_an_empty_buffer() {
        let mut buffer = filled(4, b"x");
        assert!(buffer.take_kernel_buffer().is_none());
        buffer.restore_kernel_buffer(OwnedRxBuf::new(vec![0; 9]));
        assert_eq!(buffer.as_bytes(), b"x", "bytes that are unread stay");
        buffer.consume(1);
        let memory = buffer.take_kernel_buffer().unwrap();
        assert_eq!((memory.len(), memory.is_empty()), (4, false));
        assert!(buffer.take_kernel_buffer().is_none());
        assert!(buffer.unfilled().is_empty());
        buffer.handle_result(3);
        assert!(buffer.is_empty(), "there is nothing to fill");
        buffer.restore_kernel_buffer(memory);
        assert_eq!(buffer.buffer_size(), 4);
    }

    #[test]
    fn a_buffer_has_room_for_a_byte_at_least() {
        assert_eq!(Preallocated::new(0).buffer_size(), 1);
    }

    #[test]
    fn no_buffer_holds_nothing() {
        let mut none = NonBuffered;
        none.handle_result(5);
        none.restore_kernel_buffer(OwnedRxBuf::new(vec![1]));
        assert!(none.is_empty() && none.as_bytes().is_empty() && none.unfilled().is_empty());
        assert_eq!((none.read(&mut [0]), none.peek(&mut [0])), (0, 0));
        assert!(none.take_kernel_buffer().is_none());
    }
}
