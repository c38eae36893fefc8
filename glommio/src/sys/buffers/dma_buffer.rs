//! [`DmaBuffer`]: memory to fill and hand to the kernel.

use std::fmt;

use std::slice;

use super::block::DmaBlock;
use super::read_result::ReadResult;

/// A buffer for direct I/O: page-aligned memory with a single owner.
///
/// Buffers come from the executor's I/O memory while that lasts, where the kernel has usually
/// pinned them already, and from ordinary memory beyond it. Dropping a buffer returns its memory.
///
/// The content of a new buffer is unspecified but initialised: zeroes, or what an earlier buffer of
/// the same executor left in the memory. Overwrite whatever you are going to write to a file.
///
/// A buffer belongs to the thread that made it: it is neither `Send` nor `Sync`.
pub struct DmaBuffer {
    /// Never shared: nobody else holds a reference to this block.
    block: DmaBlock,
    /// At most the block's capacity.
    len: usize,
}

impl DmaBuffer {
    /// The buffer of the first `len` bytes of a block that nobody else refers to.
    ///
    /// # Panics
    /// If the block is shared or shorter than `len`: either would let safe code alias memory.
    pub(crate) fn new(block: DmaBlock, len: usize) -> DmaBuffer {
        assert!(block.is_unique(), "a shared block as a DMA buffer");
        assert!(len <= block.capacity());
        DmaBuffer { block, len }
    }

    /// A zeroed buffer of `len` bytes that belongs to no executor's I/O memory.
    ///
    /// Fails with [`std::io::ErrorKind::OutOfMemory`] where the system does not have the memory.
    pub(crate) fn standalone(len: usize) -> std::io::Result<DmaBuffer> {
        Ok(DmaBuffer::new(DmaBlock::standalone(len)?, len))
    }

    /// The buffer's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: the block's memory is initialised and at least `len` bytes; it is borrowed with
        // the buffer, its only reference, so nobody writes to it meanwhile.
        unsafe { slice::from_raw_parts(self.block.as_ptr(), self.len) }
    }

    /// The buffer's bytes, to be changed.
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the buffer is borrowed exclusively.
        unsafe { slice::from_raw_parts_mut(self.block.as_ptr(), self.len) }
    }

    /// The address of the first byte, aligned to 4 KiB.
    pub fn as_ptr(&self) -> *const u8 {
        self.block.as_ptr()
    }

    /// The address of the first byte, aligned to 4 KiB, for writing.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.block.as_ptr()
    }

    /// The length in bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the length is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Shortens the buffer to its first `newsize` bytes.
    ///
    /// The memory behind them stays with the buffer until that is dropped.
    ///
    /// # Panics
    /// If the buffer is shorter than `newsize`.
    pub fn trim_to_size(&mut self, newsize: usize) {
        assert!(
            newsize <= self.len,
            "cannot trim a buffer of {} bytes to {newsize}",
            self.len
        );
        self.len = newsize;
    }

    /// Bytes the buffer's block has room for.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.block.capacity()
    }

    /// Changes the length to anything up to the capacity; what lies there is initialised.
    ///
    /// # Panics
    /// If the capacity is less than `len`.
    #[cfg(test)]
    pub(crate) fn set_len(&mut self, len: usize) {
        assert!(len <= self.block.capacity());
        self.len = len;
    }

    pub(super) fn block(&self) -> &DmaBlock {
        &self.block
    }

    /// The index of the fixed buffer that contains this memory, if it is registered with the ring
    /// of the executor it came from. See [`DmaArena::fixed_index_of`](super::DmaArena) where it may be
    /// another executor's.
    pub(crate) fn fixed_index(&self) -> Option<u16> {
        self.block.fixed_index()
    }

    /// Makes `len` bytes from `offset` a shareable result. Copies nothing.
    ///
    /// # Panics
    /// If they are not within the buffer.
    pub(crate) fn into_read_result(self, offset: usize, len: usize) -> ReadResult {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "a result outside its buffer"
        );
        ReadResult::new(self.block, offset, len)
    }
}

impl AsRef<[u8]> for DmaBuffer {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsMut<[u8]> for DmaBuffer {
    fn as_mut(&mut self) -> &mut [u8] {
        self.as_bytes_mut()
    }
}

impl fmt::Debug for DmaBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaBuffer")
            .field("len", &self.len)
            .field("block", &self.block)
            .finish()
    }
}

/// Keeps the bytes without a copy where the result is the only one of its memory and begins at the
/// memory's start, which results of aligned reads do; copies them otherwise.
///
/// # Panics
/// If a copy is needed and the system does not have the memory for it.
impl From<ReadResult> for DmaBuffer {
    fn from(result: ReadResult) -> DmaBuffer {
        let len = result.len();
        let bytes_to_copy = match result.into_unique_block() {
            Ok(block) => return DmaBuffer::new(block, len),
            Err(shared) => shared,
        };
        let block = bytes_to_copy
            .allocate_alike(len)
            .expect("memory for the copy of a result");
        let mut buffer = DmaBuffer::new(block, len);
        buffer.as_bytes_mut().copy_from_slice(&bytes_to_copy);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::super::DmaArena;
    use super::*;

    #[test]
    fn a_buffer_has_the_length_asked_for_and_the_alignment_of_pages() {
        let arena = DmaArena::unregistered(1 << 20);
        for len in [0, 1, 511, 4096, 5000, 1 << 20, 3 << 20] {
            let mut buffer = arena.allocate(len).unwrap();
            assert_eq!((buffer.len(), buffer.is_empty()), (len, len == 0));
            assert_eq!(buffer.as_ptr() as usize % 4096, 0);
            assert_eq!(buffer.as_mut_ptr() as *const u8, buffer.as_ptr());
            buffer.as_bytes_mut().fill(3);
            assert_eq!(
                buffer
                    .as_bytes()
                    .iter()
                    .map(|byte| *byte as usize)
                    .sum::<usize>(),
                3 * len
            );
            assert_eq!(buffer.as_ref().len(), buffer.as_mut().len());
        }
    }

    #[test]
    fn trimming_shortens_and_never_lengthens() {
        let mut buffer = DmaBuffer::standalone(100).unwrap();
        buffer
            .as_bytes_mut()
            .copy_from_slice(&std::array::from_fn::<u8, 100, _>(|at| at as u8));
        buffer.trim_to_size(100);
        buffer.trim_to_size(3);
        assert_eq!(buffer.as_bytes(), [0, 1, 2]);
        let longer = std::panic::AssertUnwindSafe(|| buffer.trim_to_size(4));
        assert!(std::panic::catch_unwind(longer).is_err());
    }

    #[test]
    fn the_length_may_use_the_capacity_and_no_more() {
        let mut buffer = DmaBuffer::standalone(1).unwrap();
        buffer.set_len(buffer.capacity());
        assert_eq!(buffer.as_bytes(), [0; 4096]);
        let beyond = std::panic::AssertUnwindSafe(|| buffer.set_len(4097));
        assert!(std::panic::catch_unwind(beyond).is_err());
    }

    #[test]
    fn a_shared_block_is_refused() {
        let block = DmaBlock::standalone(1).unwrap();
        let shared = block.clone();
        let make = std::panic::AssertUnwindSafe(|| DmaBuffer::new(block, 1));
        assert!(std::panic::catch_unwind(make).is_err());
        assert!(shared.is_unique());
    }

    #[test]
    fn debug_shows_the_length_and_not_the_content() {
        let text = format!("{:?}", DmaBuffer::standalone(77).unwrap());
        assert!(
            text.contains("len: 77") && text.contains("capacity: 4096"),
            "{text}"
        );
    }

    #[test]
    fn buffers_and_results_stay_on_their_thread() {
        // Each type must lack the trait for `probe` to be unambiguous.
        trait Probe<Marker> {
            fn probe() {}
        }
        struct IsSend;
        struct IsSync;
        impl<T: ?Sized> Probe<()> for T {}
        impl<T: ?Sized + Send> Probe<IsSend> for T {}
        impl<T: ?Sized + Sync> Probe<IsSync> for T {}
        <DmaBuffer as Probe<_>>::probe();
        <ReadResult as Probe<_>>::probe();
    }

    #[test]
    fn a_whole_unique_result_becomes_a_buffer_without_a_copy() {
        let arena = DmaArena::unregistered(1 << 20);
        for make in [DmaArena::allocate, |_: &DmaArena, len| {
            DmaBuffer::standalone(len)
        }] {
            let mut buffer = make(&arena, 5000).unwrap();
            buffer.as_bytes_mut().fill(9);
            let start = buffer.as_ptr();
            let buffer = DmaBuffer::from(buffer.into_read_result(0, 4999));
            assert_eq!(
                (buffer.as_ptr(), buffer.as_bytes()),
                (start, &[9; 4999][..])
            );
        }
    }

    #[test]
    fn a_shared_or_offset_result_is_copied_to_an_aligned_buffer() {
        let arena = DmaArena::unregistered(1 << 20);
        let mut buffer = arena.allocate(4096).unwrap();
        buffer.as_bytes_mut()[..6].copy_from_slice(b"abcdef");
        let result = buffer.into_read_result(0, 6);

        let mut copy = DmaBuffer::from(result.clone());
        assert_eq!(copy.as_bytes(), b"abcdef");
        copy.as_bytes_mut().fill(b'x');
        assert_eq!(&*result, b"abcdef");

        let tail = ReadResult::slice(&result, 2, 3).unwrap();
        drop(result);
        let copy = DmaBuffer::from(tail);
        assert_eq!(
            (copy.as_bytes(), copy.as_ptr() as usize % 4096),
            (&b"cde"[..], 0)
        );

        assert!(DmaBuffer::from(ReadResult::default()).is_empty());
    }
}
