//! The DMA arena of one executor.
//!
//! An arena may use up to its limit but holds nothing at first: it maps a chunk of 1 MiB when a
//! block is asked for that no chunk can serve. Each new chunk is offered to the ring as a fixed
//! buffer ([`Registrar`]). Pinned memory counts against `RLIMIT_MEMLOCK`; when the kernel refuses,
//! the chunk is halved until it is accepted or too small to be worth it, and whatever is mapped
//! afterwards is ordinary memory, on which the same operations work, only slower. So memlock is
//! never an error to the user here.
//!
//! Requests that the arena cannot serve (larger than a chunk, or the limit is reached) get a
//! stand-alone block. Blocks keep the arena's memory mapped; the owner of the arena may go first.

use std::io;
use std::rc::{Rc, Weak};

use super::block::DmaBlock;
use super::chunks::{Chunks, Registrar};
use super::dma_buffer::DmaBuffer;

/// The memory for I/O of one executor. Clones share it.
#[derive(Clone)]
pub(crate) struct DmaArena {
    chunks: Rc<Chunks>,
}

impl DmaArena {
    /// An arena of up to `limit_bytes`, whose chunks are registered with `registrar` while that is
    /// alive. Allocates no block memory yet.
    ///
    /// The registrar is held weakly because it usually owns, through operations in flight, blocks
    /// of this arena.
    pub(crate) fn new(limit_bytes: usize, registrar: Weak<dyn Registrar>) -> DmaArena {
        DmaArena::with(limit_bytes, Some(registrar))
    }

    /// An arena of up to `limit_bytes` of ordinary memory.
    #[cfg(test)]
    pub(crate) fn unregistered(limit_bytes: usize) -> DmaArena {
        DmaArena::with(limit_bytes, None)
    }

    fn with(limit_bytes: usize, registrar: Option<Weak<dyn Registrar>>) -> DmaArena {
        DmaArena {
            chunks: Rc::new(Chunks::new(limit_bytes, registrar)),
        }
    }

    /// A block of at least `bytes`, aligned to 4 KiB, with a single owner; stand-alone where the
    /// arena cannot serve.
    ///
    /// Fails with [`io::ErrorKind::OutOfMemory`] where the system does not have the memory.
    pub(crate) fn allocate_block(&self, bytes: usize) -> io::Result<DmaBlock> {
        DmaBlock::of_arena(&self.chunks, bytes)
    }

    /// A buffer of `bytes`; see [`DmaArena::allocate_block`].
    pub(crate) fn allocate(&self, bytes: usize) -> io::Result<DmaBuffer> {
        Ok(DmaBuffer::new(self.allocate_block(bytes)?, bytes))
    }

    /// The slot of the ring's table that contains `buffer`, if the buffer is from this arena and
    /// registered.
    ///
    /// A buffer may outlive its executor and be written by the next one on the thread, whose ring
    /// has another table: only the arena of the ring that does the I/O may answer.
    pub(crate) fn fixed_index_of(&self, buffer: &DmaBuffer) -> Option<u16> {
        buffer.block().fixed_index_in(&self.chunks)
    }

    /// Bytes mapped so far; at most the arena's limit.
    #[cfg(test)]
    pub(crate) fn mapped_bytes(&self) -> usize {
        self.chunks.mapped_bytes()
    }

    /// Bytes registered with the ring so far.
    #[cfg(test)]
    pub(crate) fn registered_bytes(&self) -> usize {
        self.chunks.registered_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        buddy::{CHUNK_PAGES, PAGE_BYTES},
        chunks::CHUNK_BYTES,
    };
    use super::*;
    use std::cell::{Cell, RefCell, RefMut};

    /// A ring that pins up to `allowed_bytes` and records what it was asked.
    struct FakeRing {
        allowed_bytes: usize,
        slots: u16,
        errno: i32,
        pinned: RefCell<Vec<(u16, usize, usize)>>,
        refusals: Cell<usize>,
    }

    impl FakeRing {
        fn new(allowed_bytes: usize, slots: u16) -> Rc<FakeRing> {
            FakeRing::failing_with(libc::ENOMEM, allowed_bytes, slots)
        }

        fn failing_with(errno: i32, allowed_bytes: usize, slots: u16) -> Rc<FakeRing> {
            let (pinned, refusals) = (RefCell::default(), Cell::new(0));
            Rc::new(FakeRing {
                allowed_bytes,
                slots,
                errno,
                pinned,
                refusals,
            })
        }

        fn arena(self: &Rc<FakeRing>, limit_bytes: usize) -> DmaArena {
            let ring: Weak<FakeRing> = Rc::downgrade(self);
            DmaArena::new(limit_bytes, ring)
        }

        fn pinned(&self) -> RefMut<'_, Vec<(u16, usize, usize)>> {
            self.pinned.borrow_mut()
        }

        fn contains(&self, block: &DmaBlock) -> bool {
            let start = block.as_ptr() as usize;
            let end = start + block.capacity();
            self.pinned().iter().any(|&(slot, from, bytes)| {
                Some(slot) == block.fixed_index() && from <= start && end <= from + bytes
            })
        }
    }

    impl Registrar for FakeRing {
        fn register_chunk(&self, index: u16, ptr: *mut u8, len: usize) -> io::Result<()> {
            assert!(ptr as usize % PAGE_BYTES == 0 && len % PAGE_BYTES == 0);
            assert_eq!(index as usize, self.pinned().len());
            assert!(index < self.slots);
            let used: usize = self.pinned().iter().map(|chunk| chunk.2).sum();
            if used + len > self.allowed_bytes {
                self.refusals.set(self.refusals.get() + 1);
                return Err(io::Error::from_raw_os_error(self.errno));
            }
            self.pinned().push((index, ptr as usize, len));
            Ok(())
        }

        fn table_size(&self) -> u16 {
            self.slots
        }
    }

    /// Blocks of `bytes` until one comes from outside the arena.
    fn exhaust(arena: &DmaArena, bytes: usize) -> Vec<DmaBlock> {
        let in_arena = |block: &DmaBlock| arena.chunks.contains(block.as_ptr());
        std::iter::from_fn(|| Some(arena.allocate_block(bytes).unwrap()))
            .take_while(in_arena)
            .collect()
    }

    #[test]
    fn a_new_arena_holds_no_memory_and_grows_by_chunks_to_its_limit() {
        let ring = FakeRing::new(usize::MAX, 16);
        let limit = 2 * CHUNK_BYTES + 10 * PAGE_BYTES;
        let arena = ring.arena(limit + 5);
        assert_eq!((arena.mapped_bytes(), arena.registered_bytes()), (0, 0));
        let first = arena.allocate_block(1).unwrap();
        assert_eq!(
            (arena.mapped_bytes(), arena.registered_bytes()),
            (CHUNK_BYTES, CHUNK_BYTES)
        );

        let mut blocks = exhaust(&arena, PAGE_BYTES);
        assert_eq!(
            (arena.mapped_bytes(), arena.registered_bytes()),
            (limit, limit)
        );
        assert_eq!(ring.pinned().len(), 3);
        blocks.push(first);
        assert!(blocks.iter().all(|block| ring.contains(block)));
        let mut starts: Vec<_> = blocks.iter().map(|block| block.as_ptr() as usize).collect();
        starts.sort_unstable();
        starts.dedup();
        assert_eq!(starts.len(), limit / PAGE_BYTES);

        drop(blocks);
        assert_eq!(
            exhaust(&arena, CHUNK_BYTES).len(),
            2,
            "the pages did not merge back"
        );
        assert_eq!(arena.mapped_bytes(), limit);
    }

    #[test]
    fn what_the_arena_cannot_serve_stands_alone() {
        let arena = DmaArena::unregistered(CHUNK_BYTES);
        let large = arena.allocate_block(CHUNK_BYTES + 1).unwrap();
        assert_eq!(large.capacity(), CHUNK_BYTES + PAGE_BYTES);
        assert_eq!(arena.mapped_bytes(), 0);
        let whole = arena.allocate_block(CHUNK_BYTES).unwrap();
        let beyond = arena.allocate_block(1).unwrap();
        assert_eq!(
            (whole.capacity(), beyond.capacity()),
            (CHUNK_BYTES, PAGE_BYTES)
        );
        assert_eq!(arena.mapped_bytes(), CHUNK_BYTES);
        for bytes in [usize::MAX, isize::MAX as usize] {
            let error = arena.allocate_block(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        }
    }

    #[test]
    fn a_limit_below_a_page_leaves_no_arena() {
        for limit in [0, PAGE_BYTES - 1] {
            let arena = FakeRing::new(usize::MAX, 16).arena(limit);
            assert_eq!(arena.allocate_block(1).unwrap().fixed_index(), None);
            assert_eq!(arena.mapped_bytes(), 0);
        }
    }

    #[test]
    fn registration_shrinks_to_what_memlock_allows() {
        // (allowed by memlock, registered of a limit of four chunks, refusals seen)
        let table = [
            (0, 0, 5),
            (63 << 10, 0, 5),
            (64 << 10, 64 << 10, 4),
            (500 << 10, 256 << 10, 2),
            (CHUNK_BYTES, CHUNK_BYTES, 5),
            (CHUNK_BYTES + (700 << 10), CHUNK_BYTES + (512 << 10), 1),
            (4 * CHUNK_BYTES, 4 * CHUNK_BYTES, 0),
        ];
        for (allowed, registered, refusals) in table {
            let ring = FakeRing::new(allowed, 16);
            let arena = ring.arena(4 * CHUNK_BYTES);
            let blocks = exhaust(&arena, PAGE_BYTES);
            assert_eq!(arena.registered_bytes(), registered, "memlock {allowed}");
            assert_eq!(ring.refusals.get(), refusals, "memlock {allowed}");
            assert_eq!(arena.mapped_bytes(), 4 * CHUNK_BYTES);
            assert_eq!(blocks.len(), 4 * CHUNK_PAGES as usize);
            let fixed = blocks.iter().filter(|block| block.fixed_index().is_some());
            assert_eq!(fixed.clone().count() * PAGE_BYTES, registered);
            assert!(fixed.clone().all(|block| ring.contains(block)));
        }
    }

    #[test]
    fn a_block_larger_than_the_shrunken_chunk_is_served_unregistered() {
        let ring = FakeRing::new(128 << 10, 16);
        let arena = ring.arena(2 * CHUNK_BYTES);
        let large = arena.allocate_block(CHUNK_BYTES).unwrap();
        assert_eq!(large.fixed_index(), None);
        assert_eq!(arena.mapped_bytes(), CHUNK_BYTES + (128 << 10));
        assert_eq!(
            arena.allocate_block(128 << 10).unwrap().fixed_index(),
            Some(0)
        );
    }

    #[test]
    fn registration_ends_at_the_end_of_the_table() {
        for slots in [0, 1, 2] {
            let ring = FakeRing::new(usize::MAX, slots);
            let arena = ring.arena(3 * CHUNK_BYTES);
            let blocks = exhaust(&arena, CHUNK_BYTES);
            assert_eq!(blocks.len(), 3);
            assert_eq!(ring.pinned().len(), slots as usize);
            let mut fixed: Vec<_> = blocks.iter().filter_map(DmaBlock::fixed_index).collect();
            fixed.sort_unstable();
            assert_eq!(fixed, (0..slots).collect::<Vec<_>>());
        }
    }

    #[test]
    fn other_registration_errors_are_not_retried() {
        let ring = FakeRing::failing_with(libc::EOPNOTSUPP, 0, 16);
        let arena = ring.arena(2 * CHUNK_BYTES);
        let blocks = exhaust(&arena, PAGE_BYTES);
        assert_eq!(
            (blocks.len(), ring.refusals.get()),
            (2 * CHUNK_PAGES as usize, 1)
        );
        assert!(blocks.iter().all(|block| block.fixed_index().is_none()));
    }

    #[test]
    fn a_ring_that_is_gone_is_not_asked() {
        let ring = FakeRing::new(usize::MAX, 16);
        let arena = ring.arena(CHUNK_BYTES);
        drop(ring);
        assert_eq!(arena.allocate_block(1).unwrap().fixed_index(), None);
        assert_eq!(
            (arena.mapped_bytes(), arena.registered_bytes()),
            (CHUNK_BYTES, 0)
        );
    }

    #[test]
    fn a_buffer_is_registered_with_the_ring_of_its_own_arena_only() {
        let (ring, other_ring) = (FakeRing::new(usize::MAX, 16), FakeRing::new(usize::MAX, 16));
        let (arena, other) = (ring.arena(CHUNK_BYTES), other_ring.arena(CHUNK_BYTES));
        let buffer = arena.allocate(1).unwrap();
        let _warm = other.allocate(1).unwrap();
        assert_eq!(arena.fixed_index_of(&buffer), Some(0));
        assert_eq!(other.fixed_index_of(&buffer), None);
        assert_eq!(
            arena.fixed_index_of(&DmaBuffer::standalone(1).unwrap()),
            None
        );
    }

    #[test]
    fn blocks_outlive_the_arena() {
        let arena = DmaArena::unregistered(2 * CHUNK_BYTES);
        let watch = Rc::downgrade(&arena.chunks);
        let mut blocks = exhaust(&arena, 64 << 10);
        drop(arena);
        for (number, block) in blocks.iter().enumerate() {
            // SAFETY: the block is alive and this test holds its only reference.
            unsafe { block.as_ptr().write_bytes(number as u8, block.capacity()) };
        }
        let other = blocks[7].clone();
        blocks.clear();
        // SAFETY: the block is alive and nobody writes to it any more.
        let bytes = unsafe { std::slice::from_raw_parts(other.as_ptr(), other.capacity()) };
        assert!(bytes.iter().all(|byte| *byte == 7));
        assert!(watch.upgrade().is_some());
        drop(other);
        assert!(watch.upgrade().is_none(), "the arena's memory leaked");
    }

    #[test]
    fn a_block_goes_back_with_its_last_reference() {
        let arena = DmaArena::unregistered(CHUNK_BYTES);
        let block = arena.allocate_block(CHUNK_BYTES).unwrap();
        let start = block.as_ptr();
        assert!(block.is_unique());
        let other = block.clone();
        assert!(!other.is_unique());
        drop(block);
        assert!(other.is_unique());
        assert_ne!(arena.allocate_block(1).unwrap().as_ptr(), start);
        drop(other);
        assert_eq!(arena.allocate_block(CHUNK_BYTES).unwrap().as_ptr(), start);
    }

    #[test]
    fn warm_blocks_cost_no_heap_allocation() {
        let arena = FakeRing::new(usize::MAX, 16).arena(4 * CHUNK_BYTES);
        let mut held: [Option<DmaBlock>; 8] = Default::default();
        let mut round = |arena: &DmaArena| {
            for (at, slot) in held.iter_mut().enumerate() {
                *slot = Some(arena.allocate_block(PAGE_BYTES << (at % 7)).unwrap());
            }
            let shared = held[3].clone();
            held.fill_with(|| None);
            drop(shared);
        };
        round(&arena);
        let before = crate::test_alloc::allocations();
        for _ in 0..1000 {
            round(&arena);
        }
        assert_eq!(crate::test_alloc::allocations() - before, 0);
    }
}
