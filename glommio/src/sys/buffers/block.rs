//! [`DmaBlock`]: a counted reference to a run of pages.
//!
//! Every block's memory is initialised from the start: mappings and stand-alone blocks begin as
//! zeroes, and a reused block holds what its previous user in the same process left there. Reading
//! a block that nobody has filled is therefore defined, if pointless.
//!
//! Who may write: only the holder of the one and only reference to a block, which is what
//! [`DmaBuffer`](super::DmaBuffer) embodies; a kernel operation that writes to a block owns such a
//! buffer until its completion. As soon as a block is shared it is only read.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::fmt;
use std::io;
use std::ptr::NonNull;
use std::rc::Rc;

use super::buddy::PAGE_BYTES;
use super::chunks::Chunks;
use super::mapping::Mapping;

/// Stand-alone blocks of at least this many bytes are mapped, so that the kernel zeroes their pages
/// when they are first used; smaller ones come from the heap, which makes no system call.
const MAP_FROM_BYTES: usize = 1 << 20;

/// A reference to page-aligned memory for direct I/O; the last one dropped returns the memory.
///
/// Cloning and dropping count in plain integers that live beside the arena's page records (or
/// behind a stand-alone block's data): no reference costs a heap allocation.
pub(crate) struct DmaBlock {
    /// First byte; aligned to [`PAGE_BYTES`].
    start: NonNull<u8>,
    /// Bytes that may be used from `start`; a multiple of [`PAGE_BYTES`].
    capacity: usize,
    home: Home,
}

enum Home {
    /// A block of an arena, whose memory stays mapped as long as any `Rc` of it exists.
    Arena {
        arena: Rc<Chunks>,
        page: u32,
        fixed: Option<u16>,
    },
    /// A block of its own: its [`Trailer`] follows the data.
    Standalone,
}

/// What a stand-alone block remembers, stored directly behind its data.
struct Trailer {
    owners: Cell<usize>,
    mapped: bool,
}

impl DmaBlock {
    /// A block of at least `bytes` of an arena, stand-alone where the arena cannot serve.
    ///
    /// Fails with [`io::ErrorKind::OutOfMemory`] where the system does not have the memory.
    pub(super) fn of_arena(arena: &Rc<Chunks>, bytes: usize) -> io::Result<DmaBlock> {
        match arena.allocate(bytes) {
            // The run counts one owner, which this is; its memory stays mapped as long as `arena`.
            Some(run) => Ok(DmaBlock {
                start: run.start,
                capacity: run.bytes,
                home: Home::Arena {
                    arena: Rc::clone(arena),
                    page: run.page,
                    fixed: run.fixed,
                },
            }),
            None => DmaBlock::standalone(bytes),
        }
    }

    /// A zeroed block of at least `bytes` outside every arena.
    ///
    /// Fails with [`io::ErrorKind::OutOfMemory`] where the system does not have the memory.
    pub(crate) fn standalone(bytes: usize) -> io::Result<DmaBlock> {
        let no_memory = || {
            let text = format!("cannot allocate a DMA buffer of {bytes} bytes");
            io::Error::new(io::ErrorKind::OutOfMemory, text)
        };
        let capacity = bytes
            .max(1)
            .checked_next_multiple_of(PAGE_BYTES)
            .ok_or_else(no_memory)?;
        let mapped = capacity >= MAP_FROM_BYTES;
        let layout = standalone_layout(capacity).ok_or_else(no_memory)?;
        let start = if mapped {
            Mapping::new(layout.size())
                .map_err(|_| no_memory())?
                .into_raw()
        } else {
            // SAFETY: the layout's size is not 0: it includes the trailer.
            NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(no_memory)?
        };
        let block = DmaBlock {
            start,
            capacity,
            home: Home::Standalone,
        };
        // SAFETY: `standalone_layout` reserved room for the trailer at its address, which is
        // aligned because `capacity` is a multiple of the page size; nobody else knows the memory.
        unsafe {
            block.trailer().write(Trailer {
                owners: Cell::new(1),
                mapped,
            })
        };
        Ok(block)
    }

    /// First byte, aligned to 4 KiB. Writing through it needs the exclusiveness described above.
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Usable bytes: a multiple of 4 KiB.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The index of the ring's fixed buffer that contains the block, if it is registered.
    pub(crate) fn fixed_index(&self) -> Option<u16> {
        match &self.home {
            Home::Arena { fixed, .. } => *fixed,
            Home::Standalone => None,
        }
    }

    /// [`DmaBlock::fixed_index`], if the block belongs to `arena`.
    pub(super) fn fixed_index_in(&self, arena: &Rc<Chunks>) -> Option<u16> {
        match &self.home {
            Home::Arena {
                arena: home, fixed, ..
            } if Rc::ptr_eq(home, arena) => *fixed,
            _ => None,
        }
    }

    /// Whether this is the only reference to the block.
    pub(crate) fn is_unique(&self) -> bool {
        match &self.home {
            Home::Arena { arena, page, .. } => arena.owners(*page) == 1,
            Home::Standalone => self.standalone_owners().get() == 1,
        }
    }

    /// A block for a copy of this one's bytes: from the same arena if it has one.
    pub(super) fn allocate_alike(&self, bytes: usize) -> io::Result<DmaBlock> {
        match &self.home {
            Home::Arena { arena, .. } => DmaBlock::of_arena(arena, bytes),
            Home::Standalone => DmaBlock::standalone(bytes),
        }
    }

    fn trailer(&self) -> *mut Trailer {
        debug_assert!(matches!(self.home, Home::Standalone));
        // SAFETY: a stand-alone block's memory extends beyond its capacity by a trailer.
        unsafe { self.start.add(self.capacity) }
            .cast::<Trailer>()
            .as_ptr()
    }

    fn standalone_owners(&self) -> &Cell<usize> {
        // SAFETY: `standalone` wrote the trailer before the block was handed out, it lives as long
        // as any reference, is only ever shared, and never leaves this thread.
        unsafe { &(*self.trailer()).owners }
    }
}

/// Data of `capacity` bytes with the trailer behind it, or `None` if no address space can hold it.
fn standalone_layout(capacity: usize) -> Option<Layout> {
    let mut bytes = capacity.checked_add(size_of::<Trailer>())?;
    if capacity >= MAP_FROM_BYTES {
        bytes = bytes.checked_next_multiple_of(PAGE_BYTES)?;
    }
    Layout::from_size_align(bytes, PAGE_BYTES).ok()
}

impl Clone for DmaBlock {
    fn clone(&self) -> Self {
        let home = match &self.home {
            Home::Arena { arena, page, fixed } => {
                arena.retain(*page);
                Home::Arena {
                    arena: Rc::clone(arena),
                    page: *page,
                    fixed: *fixed,
                }
            }
            Home::Standalone => {
                let owners = self.standalone_owners();
                // Only reachable by forgetting clones; going on would free a block in use.
                let more = owners
                    .get()
                    .checked_add(1)
                    .expect("too many owners of one DMA block");
                owners.set(more);
                Home::Standalone
            }
        };
        DmaBlock {
            start: self.start,
            capacity: self.capacity,
            home,
        }
    }
}

impl Drop for DmaBlock {
    fn drop(&mut self) {
        match &self.home {
            Home::Arena { arena, page, .. } => arena.release(*page),
            Home::Standalone => {
                let owners = self.standalone_owners();
                owners.set(owners.get() - 1);
                if owners.get() > 0 {
                    return;
                }
                // SAFETY: as for `standalone_owners`; the value is copied out before the free.
                let mapped = unsafe { (*self.trailer()).mapped };
                let layout = standalone_layout(self.capacity).expect("it was allocated");
                if mapped {
                    // SAFETY: `standalone` made the mapping with this length and gave it up; the
                    // last reference is going away.
                    drop(unsafe { Mapping::from_raw(self.start, layout.size()) });
                } else {
                    // SAFETY: `standalone` allocated the memory with this layout; the last
                    // reference is going away.
                    unsafe { dealloc(self.start.as_ptr(), layout) };
                }
            }
        }
    }
}

impl fmt::Debug for DmaBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaBlock")
            .field("start", &self.start)
            .field("capacity", &self.capacity)
            .field("fixed_index", &self.fixed_index())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standalone_blocks_are_aligned_zeroed_and_counted() {
        for bytes in [
            0,
            1,
            4096,
            4097,
            128 << 10,
            MAP_FROM_BYTES,
            MAP_FROM_BYTES + 1,
            5 << 20,
        ] {
            let block = DmaBlock::standalone(bytes).unwrap();
            assert_eq!(block.as_ptr() as usize % PAGE_BYTES, 0);
            assert_eq!(block.capacity(), bytes.max(1).next_multiple_of(PAGE_BYTES));
            assert_eq!(block.fixed_index(), None);
            // SAFETY: the block is alive and this test holds its only reference.
            let data = unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), block.capacity()) };
            assert!(data.iter().all(|byte| *byte == 0));
            data.fill(0xa5);

            assert!(block.is_unique());
            let other = block.clone();
            assert!(!block.is_unique() && !other.is_unique());
            drop(block);
            assert!(other.is_unique());
            // SAFETY: as above; `data` is not used any more.
            let data = unsafe { std::slice::from_raw_parts(other.as_ptr(), other.capacity()) };
            assert!(data.iter().all(|byte| *byte == 0xa5));
        }
    }

    #[test]
    fn sizes_no_system_can_provide_are_errors() {
        for bytes in [
            usize::MAX,
            usize::MAX - PAGE_BYTES,
            isize::MAX as usize,
            1 << 60,
        ] {
            let error = DmaBlock::standalone(bytes).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
            assert!(error.to_string().contains(&bytes.to_string()));
        }
    }

    #[test]
    fn an_optional_block_is_no_larger_than_a_block() {
        assert_eq!(size_of::<Option<DmaBlock>>(), size_of::<DmaBlock>());
        assert!(size_of::<DmaBlock>() <= 32);
    }
}
