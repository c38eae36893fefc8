//! [`ReadResult`]: bytes that were read, shared without copies.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::slice;

use super::block::DmaBlock;

/// Bytes read from a file: a cheap view into a shared buffer.
///
/// Cloning and [slicing](ReadResult::slice) copy no bytes and allocate nothing. The buffer behind a
/// result stays in use as long as any view of it exists, so keep a copy rather than a small slice
/// of a large result for long.
///
/// A result can be made from bytes for tests: `ReadResult::from(vec![1, 2, 3])`.
///
/// A result belongs to the thread that made it: it is neither `Send` nor `Sync`.
#[derive(Clone, Default)]
pub struct ReadResult {
    /// `None` exactly when `len` is 0: an empty result keeps no memory.
    block: Option<DmaBlock>,
    offset: usize,
    len: usize,
}

impl ReadResult {
    /// The view of `len` bytes from `offset` of a block, to which nobody writes from now on.
    ///
    /// # Panics
    /// If they are not within the block.
    pub(crate) fn new(block: DmaBlock, offset: usize, len: usize) -> ReadResult {
        assert!(offset <= block.capacity() && len <= block.capacity() - offset);
        if len == 0 {
            return ReadResult::default();
        }
        ReadResult {
            block: Some(block),
            offset,
            len,
        }
    }

    /// The view of `len` bytes from `extra_offset` bytes into `this`, or `None` where that is not
    /// within `this`.
    ///
    /// ```
    /// use glommio::io::ReadResult;
    ///
    /// let result = ReadResult::from(b"key=value".as_slice());
    /// let value = ReadResult::slice(&result, 4, 5).unwrap();
    /// assert_eq!(&*value, b"value");
    /// ```
    pub fn slice(this: &Self, extra_offset: usize, len: usize) -> Option<Self> {
        if extra_offset > this.len || len > this.len - extra_offset {
            return None;
        }
        // SAFETY: just checked.
        Some(unsafe { Self::slice_unchecked(this, extra_offset, len) })
    }

    /// [`ReadResult::slice`] without the check.
    ///
    /// # Safety
    /// `extra_offset + len` does not overflow and is at most the length of `this`.
    pub unsafe fn slice_unchecked(this: &Self, extra_offset: usize, len: usize) -> Self {
        debug_assert!(
            extra_offset
                .checked_add(len)
                .is_some_and(|end| end <= this.len)
        );
        if len == 0 {
            return ReadResult::default();
        }
        ReadResult {
            block: this.block.clone(),
            offset: this.offset + extra_offset,
            len,
        }
    }

    /// The block, if this is its only view and begins where the block does.
    pub(super) fn into_unique_block(self) -> Result<DmaBlock, ReadResult> {
        match self.block {
            Some(block) if self.offset == 0 && block.is_unique() => Ok(block),
            block => Err(ReadResult { block, ..self }),
        }
    }

    /// A block for a copy of these bytes, from where they are.
    pub(super) fn allocate_alike(&self, bytes: usize) -> io::Result<DmaBlock> {
        match &self.block {
            Some(block) => block.allocate_alike(bytes),
            None => DmaBlock::standalone(bytes),
        }
    }
}

impl Deref for ReadResult {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(block) = &self.block else {
            return &[];
        };
        // SAFETY: every constructor keeps `offset + len` within the block (the unsafe one by its
        // caller's promise). The block's memory is initialised, lives as long as this reference to
        // it, and is not written to: a block with a view is not behind any `DmaBuffer`.
        unsafe { slice::from_raw_parts(block.as_ptr().add(self.offset), self.len) }
    }
}

impl AsRef<[u8]> for ReadResult {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for ReadResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadResult")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish()
    }
}

/// A result with a copy of the bytes, needing no executor: for tests.
///
/// # Panics
/// If the system does not have the memory.
impl From<&[u8]> for ReadResult {
    fn from(bytes: &[u8]) -> ReadResult {
        if bytes.is_empty() {
            return ReadResult::default();
        }
        let block = DmaBlock::standalone(bytes.len()).expect("memory for a result");
        // SAFETY: the new block is at least as long as `bytes`, cannot overlap them, and has no
        // other reference.
        unsafe {
            block
                .as_ptr()
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        ReadResult::new(block, 0, bytes.len())
    }
}

/// A result with a copy of the bytes, needing no executor: for tests.
///
/// # Panics
/// If the system does not have the memory.
impl From<Vec<u8>> for ReadResult {
    fn from(bytes: Vec<u8>) -> ReadResult {
        ReadResult::from(bytes.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{DmaArena, DmaBuffer};
    use super::*;

    #[test]
    fn a_default_result_is_empty() {
        let empty = ReadResult::default();
        assert_eq!(&*empty, b"");
        assert_eq!(&*ReadResult::slice(&empty, 0, 0).unwrap(), b"");
        assert!(ReadResult::slice(&empty, 0, 1).is_none());
        assert!(ReadResult::slice(&empty, 1, 0).is_none());
        assert_eq!(&*ReadResult::from(Vec::new()), b"");
    }

    #[test]
    fn slices_are_within_their_result() {
        let result = ReadResult::from((0..100).collect::<Vec<u8>>());
        let middle = ReadResult::slice(&result, 10, 50).unwrap();
        assert_eq!(*middle, result[10..60]);
        for offset in 0..=51 {
            for len in 0..=51 {
                let part = ReadResult::slice(&middle, offset, len);
                assert_eq!(part.as_deref(), middle.get(offset..offset + len));
            }
        }
        assert!(ReadResult::slice(&middle, 1, usize::MAX).is_none());
        assert!(ReadResult::slice(&middle, usize::MAX, 1).is_none());
    }

    #[test]
    fn an_unchecked_slice_is_the_checked_one() {
        let result = ReadResult::from(b"abcdef".as_slice());
        // SAFETY: 2 + 3 is within 6.
        let part = unsafe { ReadResult::slice_unchecked(&result, 2, 3) };
        assert_eq!(part.as_ref(), b"cde");
    }

    #[test]
    fn views_keep_the_memory_and_empty_ones_do_not() {
        let arena = DmaArena::unregistered(1 << 20);
        let mut buffer = arena.allocate(1 << 20).unwrap();
        buffer.as_bytes_mut().fill(5);
        let start = buffer.as_ptr();
        let result = buffer.into_read_result(4096, 8192);
        let part = ReadResult::slice(&result.clone(), 8000, 10).unwrap();
        let empty = ReadResult::slice(&result, 0, 0).unwrap();
        drop(result);
        assert_ne!(arena.allocate(1).unwrap().as_ptr(), start);
        assert_eq!(&*part, [5; 10]);
        drop(part);
        assert_eq!(arena.allocate(1).unwrap().as_ptr(), start);
        drop(empty);
    }

    #[test]
    fn a_result_beyond_its_buffer_is_refused() {
        for (offset, len) in [(0, 11), (10, 1), (11, 0), (1, usize::MAX)] {
            let buffer = DmaBuffer::standalone(10).unwrap();
            let make = std::panic::AssertUnwindSafe(|| buffer.into_read_result(offset, len));
            assert!(std::panic::catch_unwind(make).is_err(), "{offset} {len}");
        }
    }

    #[test]
    fn cloning_and_slicing_allocate_nothing() {
        let arena = DmaArena::unregistered(1 << 20);
        let result = arena.allocate(4096).unwrap().into_read_result(0, 4096);
        let before = crate::test_alloc::allocations();
        for _ in 0..100 {
            let part = ReadResult::slice(&result.clone(), 5, 5).unwrap();
            assert_eq!(part.len(), 5);
        }
        assert_eq!(crate::test_alloc::allocations() - before, 0);
    }
}
