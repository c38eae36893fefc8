//! The memory of an arena: chunks that are mapped on demand and registered where memlock allows.

use std::cell::{Cell, RefCell};
use std::io;
use std::ptr::NonNull;
use std::rc::Weak;

use super::buddy::{self, Buddy, CHUNK_PAGES, Class, MAX_CHUNKS, PAGE_BYTES};
use super::mapping::Mapping;

/// Bytes in a full chunk, which is also the largest block of an arena.
pub(crate) const CHUNK_BYTES: usize = CHUNK_PAGES as usize * PAGE_BYTES;

/// A chunk is not halved below this when memlock is scarce: smaller fixed buffers would serve few
/// reads and still take a slot of the ring's table each.
const MIN_REGISTERED_BYTES: usize = 64 << 10;

/// What the arena asks of the ring: to pin a chunk as a fixed buffer.
pub(crate) trait Registrar {
    /// Registers `len` bytes at `ptr` in slot `index` of the table.
    ///
    /// The memory is page-aligned and stays mapped while any block of it exists. Slots are used in
    /// ascending order from 0, each at most once. Fails with `ENOMEM` where memlock does not allow
    /// it (the arena tries again with less); any other error ends registration for this arena.
    fn register_chunk(&self, index: u16, ptr: *mut u8, len: usize) -> io::Result<()>;

    /// Slots in the table; 0 where the ring has none.
    fn table_size(&self) -> u16;
}

/// The memory of one arena, which its blocks share; unmapped when the last of them goes.
pub(super) struct Chunks {
    limit_bytes: usize,
    mapped_bytes: Cell<usize>,
    registered_bytes: Cell<usize>,
    /// Registered chunks, and so the next free slot of the table.
    registered_chunks: Cell<u16>,
    /// `None` once registration has ended: no ring, its table is full, or memlock is used up.
    registrar: RefCell<Option<Weak<dyn Registrar>>>,
    buddy: RefCell<Buddy>,
    /// Indexed by page number / [`CHUNK_PAGES`]; grows only.
    chunks: RefCell<Vec<Chunk>>,
}

struct Chunk {
    memory: Mapping,
    fixed: Option<u16>,
}

/// A run of pages that was just allocated, with one owner.
pub(super) struct Run {
    pub(super) page: u32,
    /// The slot of the ring's table that contains it.
    pub(super) fixed: Option<u16>,
    /// Page-aligned; initialised, and mapped as long as the [`Chunks`].
    pub(super) start: NonNull<u8>,
    pub(super) bytes: usize,
}

impl Chunks {
    /// Nothing is mapped yet.
    pub(super) fn new(limit_bytes: usize, registrar: Option<Weak<dyn Registrar>>) -> Chunks {
        Chunks {
            limit_bytes: limit_bytes.min(MAX_CHUNKS.saturating_mul(CHUNK_BYTES)),
            mapped_bytes: Cell::new(0),
            registered_bytes: Cell::new(0),
            registered_chunks: Cell::new(0),
            registrar: RefCell::new(registrar),
            buddy: RefCell::default(),
            chunks: RefCell::default(),
        }
    }

    /// At least `bytes`; `None` if they are more than a chunk has, or the limit is reached.
    pub(super) fn allocate(&self, bytes: usize) -> Option<Run> {
        let order = buddy::order_for(bytes)?;
        // Ends: every round of it either returns or maps more of a limited number of bytes.
        loop {
            let page = self.buddy.borrow_mut().allocate(order);
            match page {
                Some(page) => return Some(self.run(page, order)),
                None if self.grow(buddy::block_bytes(order)) => {}
                None => return None,
            }
        }
    }

    /// What was just allocated from the buddy lists.
    fn run(&self, page: u32, order: u8) -> Run {
        let chunks = self.chunks.borrow();
        let chunk = &chunks[(page / CHUNK_PAGES) as usize];
        let offset = (page % CHUNK_PAGES) as usize * PAGE_BYTES;
        let bytes = buddy::block_bytes(order);
        assert!(offset + bytes <= chunk.memory.bytes());
        Run {
            page,
            fixed: chunk.fixed,
            // SAFETY: just asserted that the block lies within the chunk's mapping.
            start: unsafe { chunk.memory.start().add(offset) },
            bytes,
        }
    }

    /// Maps another chunk, if the limit leaves one that is worth it for a block of `wanted_bytes`.
    /// A registered chunk may still turn out smaller, so `true` means: try again.
    fn grow(&self, wanted_bytes: usize) -> bool {
        let left = (self.limit_bytes - self.mapped_bytes.get()) / PAGE_BYTES * PAGE_BYTES;
        let bytes = left.min(CHUNK_BYTES);
        if bytes < wanted_bytes || self.buddy.borrow().chunks() == MAX_CHUNKS {
            return false;
        }
        let Ok(mut memory) = Mapping::new(bytes) else {
            return false;
        };
        let fixed = self.register(&mut memory);
        let class = if fixed.is_some() {
            Class::Registered
        } else {
            Class::Plain
        };
        let pages = (memory.bytes() / PAGE_BYTES) as u32;
        self.mapped_bytes
            .set(self.mapped_bytes.get() + memory.bytes());
        let mut chunks = self.chunks.borrow_mut();
        chunks.push(Chunk { memory, fixed });
        let index = self.buddy.borrow_mut().add_chunk(pages, class);
        assert_eq!(index + 1, chunks.len());
        true
    }

    /// Registers as much of a new chunk as is allowed and cuts the rest off. Returns the slot, or
    /// `None` where the whole chunk stays ordinary memory.
    fn register(&self, memory: &mut Mapping) -> Option<u16> {
        let registrar = self.registrar.borrow().as_ref()?.upgrade();
        let slot = self.registered_chunks.get();
        let Some(registrar) = registrar.filter(|ring| slot < ring.table_size()) else {
            self.registrar.replace(None);
            return None;
        };

        let needed = memory.bytes();
        let outcome = offer(&*registrar, slot, memory);
        if let Ok(accepted) = outcome {
            memory.truncate(accepted);
            memory.exclude_from_fork();
            self.registered_chunks.set(slot + 1);
            self.registered_bytes
                .set(self.registered_bytes.get() + accepted);
            if accepted == needed {
                return Some(slot);
            }
        }
        // Every further chunk would be refused too, at the price of several system calls.
        self.registrar.replace(None);
        tracing::debug!(
            target: "glommio::sys",
            limit_bytes = self.limit_bytes,
            needed_bytes = self.mapped_bytes.get() + needed,
            registered_bytes = self.registered_bytes.get(),
            memlock_bytes = memlock_limit_bytes(),
            error = outcome.as_ref().err().map(tracing::field::display),
            "the kernel pins no more I/O memory for this executor; the rest works unpinned, a \
             little slower (`ulimit -l` with a higher number allows more)"
        );
        outcome.ok().map(|_| slot)
    }

    #[cfg(test)]
    pub(super) fn mapped_bytes(&self) -> usize {
        self.mapped_bytes.get()
    }

    #[cfg(test)]
    pub(super) fn registered_bytes(&self) -> usize {
        self.registered_bytes.get()
    }

    #[cfg(test)]
    pub(super) fn contains(&self, start: *const u8) -> bool {
        self.chunks.borrow().iter().any(|chunk| {
            let from = chunk.memory.start().as_ptr() as usize;
            (from..from + chunk.memory.bytes()).contains(&(start as usize))
        })
    }

    pub(super) fn owners(&self, page: u32) -> u32 {
        self.buddy.borrow().owners(page)
    }

    pub(super) fn retain(&self, page: u32) {
        self.buddy.borrow_mut().retain(page);
    }

    pub(super) fn release(&self, page: u32) {
        self.buddy.borrow_mut().release(page);
    }
}

/// Offers `memory` to the ring, half as much each time memlock forbids it. Returns how many bytes
/// from the start were accepted.
fn offer(registrar: &dyn Registrar, slot: u16, memory: &Mapping) -> io::Result<usize> {
    let mut bytes = memory.bytes();
    loop {
        let error = match registrar.register_chunk(slot, memory.start().as_ptr(), bytes) {
            Ok(()) => return Ok(bytes),
            Err(error) => error,
        };
        bytes = bytes / 2 / PAGE_BYTES * PAGE_BYTES;
        if error.raw_os_error() != Some(libc::ENOMEM) || bytes < MIN_REGISTERED_BYTES {
            return Err(error);
        }
    }
}

/// The soft `RLIMIT_MEMLOCK` of this process in bytes, for the log.
fn memlock_limit_bytes() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call writes the limits to the structure it is given and does nothing else.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    (result == 0).then_some(limit.rlim_cur)
}
