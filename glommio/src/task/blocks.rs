//! The memory of ended tasks, kept for the next ones.
//!
//! A task that is spawned where another has just ended gets its memory, without the way through the
//! allocator, and finds it in the cache. What is kept, is kept per thread, while an executor runs on it:
//!
//! - every block comes from the global allocator with the layout of its *class* (sizes in steps of
//!   [`STEP`] bytes), and may be given back to it by any thread at any time. A task whose last waker is
//!   dropped on another thread, or after the end of its executor, ends there. So nothing is shared
//!   between threads, and no block belongs to anyone;
//! - a class keeps [`KEPT_BYTES`] at most. A burst of a million tasks leaves no more than that behind;
//! - everything is given back when the thread leaves its executor.
//!
//! Tasks larger than [`LARGEST`], and those with a strict alignment, always go to the allocator.
//!
//! A sanitizer or valgrind would see no use of an ended task in memory that was not freed. Whoever runs
//! one says so by `RUSTFLAGS='--cfg glommio_sanitized'`; nothing is kept then.

use core::{alloc::Layout, cell::Cell, ptr};
use std::alloc::{alloc, dealloc};

/// Classes are this far apart.
const STEP: usize = 32;

/// The largest block that is kept.
const LARGEST: usize = 1024;

/// What a class keeps at most.
const KEPT_BYTES: usize = 32 * 1024;

/// The alignment of all blocks that are kept. That of any allocator, so it costs nothing.
const ALIGN: usize = 16;

/// What the memory of a task looks like. Known to the compiler when a task is spawned.
pub(super) struct Shape {
    layout: Layout,
    /// Where the task starts in it. Not 0 only if the alignment is strict.
    lead: usize,
    class: usize,
    /// How many blocks the class keeps; 0 if this shape has no class.
    most: u32,
}

impl Shape {
    /// Memory of this layout, in which the task starts after `lead` bytes.
    pub(super) const fn of(layout: Layout, lead: usize) -> Shape {
        if layout.size() == 0 || layout.size() > LARGEST || layout.align() > ALIGN || lead > 0 {
            return Shape {
                layout,
                lead,
                class: 0,
                most: 0,
            };
        }
        let class = (layout.size() - 1) / STEP;
        let bytes = (class + 1) * STEP;
        // As great as the old one, and aligned as strictly.
        let Ok(layout) = Layout::from_size_align(bytes, ALIGN) else {
            unreachable!()
        };
        let most = if cfg!(glommio_sanitized) {
            0
        } else {
            KEPT_BYTES / bytes
        };
        Shape {
            layout,
            lead,
            class,
            most: most as u32,
        }
    }
}

/// The start of a block that is kept.
struct Kept {
    next: *mut Kept,
}

struct Class {
    first: Cell<*mut Kept>,
    len: Cell<u32>,
}

struct Blocks {
    /// An executor runs on this thread. Otherwise nothing is kept.
    open: Cell<bool>,
    classes: [Class; LARGEST / STEP],
}

thread_local! {
    // No destructor: `close` leaves nothing behind, and can be relied upon.
    static BLOCKS: Blocks = const {
        Blocks {
            open: Cell::new(false),
            classes: [const {
                Class {
                    first: Cell::new(ptr::null_mut()),
                    len: Cell::new(0),
                }
            }; LARGEST / STEP],
        }
    };
}

/// Memory for one task; null if there is none.
#[inline(always)]
pub(super) fn allocate(shape: &'static Shape) -> *mut u8 {
    if shape.most > 0 {
        let kept = BLOCKS.with(|blocks| {
            let class = &blocks.classes[shape.class];
            let kept = class.first.get();
            if !kept.is_null() {
                // SAFETY: a block in the list is ours alone, and starts with its link.
                class.first.set(unsafe { (*kept).next });
                class.len.set(class.len.get() - 1);
            }
            kept
        });
        if !kept.is_null() {
            return kept.cast();
        }
    }
    // SAFETY: no shape of a task is zero-sized, a task starts with a header.
    let block = unsafe { alloc(shape.layout) };
    if block.is_null() {
        return block;
    }
    // SAFETY: the lead is part of the layout.
    unsafe { block.add(shape.lead) }
}

/// Gives back the memory of a task. Any thread, inside or outside of an executor.
///
/// # Safety
///
/// It was [allocated](allocate) with this shape, on whatever thread, and nobody uses it any more.
#[inline(never)]
pub(super) unsafe fn free(task: *mut u8, shape: &'static Shape) {
    BLOCKS.with(|blocks| {
        let class = match blocks.classes.get(shape.class) {
            Some(class) if blocks.open.get() && class.len.get() < shape.most => class,
            // SAFETY: passed on to the caller.
            _ => return unsafe { release(task, shape) },
        };
        let block = task.cast::<Kept>();
        // SAFETY: the block is the caller's to give. Being of a class, it has no lead, and is large
        // enough for the link and aligned for it.
        unsafe {
            (*block).next = class.first.get();
        }
        class.first.set(block);
        class.len.set(class.len.get() + 1);
    });
}

/// # Safety
///
/// As for [`free`].
#[cold]
unsafe fn release(task: *mut u8, shape: &'static Shape) {
    // SAFETY: `allocate` got the block from the global allocator with this layout, and went this far
    // into it.
    unsafe { dealloc(task.sub(shape.lead), shape.layout) }
}

/// Keeps blocks from now on. An executor begins to run on this thread.
pub(super) fn open() {
    BLOCKS.with(|blocks| blocks.open.set(true));
}

/// Gives back what was kept, and keeps nothing from now on.
pub(super) fn close() {
    BLOCKS.with(|blocks| {
        blocks.open.set(false);
        for (index, class) in blocks.classes.iter().enumerate() {
            let mut next = class.first.replace(ptr::null_mut());
            class.len.set(0);
            while !next.is_null() {
                let block = next;
                // SAFETY: the list was taken out of its class, so its blocks are ours. They came
                // from the global allocator with the layout of the class: `of` has checked it.
                unsafe {
                    next = (*block).next;
                    let layout = Layout::from_size_align_unchecked((index + 1) * STEP, ALIGN);
                    dealloc(block.cast(), layout);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const SMALL: &Shape = &Shape::of(Layout::new::<[u64; 16]>(), 0);
    const LARGE: &Shape = &Shape::of(Layout::new::<[u64; 200]>(), 0);
    const STRICT: &Shape = &Shape::of(Layout::new::<Strict>(), 16);

    #[repr(align(64))]
    struct Strict(#[allow(dead_code)] u8);

    fn kept() -> u32 {
        BLOCKS.with(|blocks| blocks.classes.iter().map(|class| class.len.get()).sum())
    }

    fn blocks_of(shape: &'static Shape, count: usize) -> Vec<*mut u8> {
        (0..count).map(|_| allocate(shape)).collect()
    }

    fn free_all(blocks: Vec<*mut u8>, shape: &'static Shape) {
        for block in blocks {
            assert!(!block.is_null());
            // SAFETY: allocated with this shape by the tests below, and freed once.
            unsafe { free(block, shape) };
        }
    }

    #[test]
    fn shapes_are_rounded_up_to_their_class_or_left_alone() {
        for size in 1..=LARGEST {
            for align in [1, 2, 4, 8, 16] {
                let wanted = Layout::from_size_align(size, align).unwrap();
                let shape = Shape::of(wanted, 0);
                assert!(shape.layout.size() >= size && shape.layout.size() < size + STEP);
                assert!(shape.layout.align() >= align);
                assert_eq!(shape.layout.size(), (shape.class + 1) * STEP);
            }
        }
        for wanted in [LARGE, STRICT] {
            assert_eq!(wanted.most, 0);
        }
        assert_eq!(LARGE.layout, Layout::new::<[u64; 200]>());
        assert_eq!(STRICT.layout, Layout::new::<Strict>());
    }

    #[test]
    #[cfg(not(glommio_sanitized))]
    fn the_last_block_freed_is_the_next_one_used() {
        open();
        let block = allocate(SMALL);
        // SAFETY: allocated above.
        unsafe { free(block, SMALL) };
        assert_eq!(kept(), 1);
        let again = allocate(SMALL);
        assert_eq!((again, kept()), (block, 0));
        free_all(vec![again], SMALL);
        close();
    }

    #[test]
    fn a_burst_leaves_no_more_than_the_bound() {
        open();
        free_all(blocks_of(SMALL, 10_000), SMALL);
        assert_eq!(kept(), SMALL.most);
        free_all(blocks_of(LARGE, 10), LARGE);
        free_all(blocks_of(STRICT, 10), STRICT);
        assert_eq!(kept(), SMALL.most);
        close();
        assert_eq!(kept(), 0);
    }

    #[test]
    fn nothing_is_kept_outside_of_an_executor() {
        free_all(blocks_of(SMALL, 10), SMALL);
        assert_eq!(kept(), 0);
        open();
        let blocks = blocks_of(SMALL, 10);
        close();
        free_all(blocks, SMALL);
        assert_eq!(kept(), 0);
    }

    struct Moved(Vec<*mut u8>);

    // SAFETY: nobody else uses the blocks.
    unsafe impl Send for Moved {}

    #[test]
    fn another_thread_may_free_a_block_and_keeps_it_if_it_runs_an_executor() {
        open();
        let (idle, running) = (Moved(blocks_of(SMALL, 9)), Moved(blocks_of(SMALL, 9)));
        close();
        thread::spawn(move || {
            let (idle, running) = (idle, running);
            free_all(idle.0, SMALL);
            assert_eq!(kept(), 0);
            open();
            free_all(running.0, SMALL);
            assert_eq!(kept(), SMALL.most.min(9));
            close();
            assert_eq!(kept(), 0);
        })
        .join()
        .unwrap();
    }
}
