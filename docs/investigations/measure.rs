//! What this process holds, for the programs of the investigations: descriptors, threads, memory,
//! and the live blocks of the heap, counted exactly.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fmt, fs,
    sync::atomic::{AtomicI64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

static LIVE_BLOCKS: AtomicI64 = AtomicI64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { System.alloc(layout) };
        if !block.is_null() {
            LIVE_BLOCKS.fetch_add(1, Relaxed);
            LIVE_BYTES.fetch_add(layout.size() as i64, Relaxed);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BLOCKS.fetch_sub(1, Relaxed);
        LIVE_BYTES.fetch_sub(layout.size() as i64, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What the process holds at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub descriptors: usize,
    pub threads: usize,
    pub mappings: usize,
    pub heap_blocks: i64,
    pub heap_bytes: i64,
    pub resident_kib: usize,
}

impl Held {
    pub fn now() -> Held {
        let resident = fs::read_to_string("/proc/self/status")
            .ok()
            .and_then(|status| {
                let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
                line.split_whitespace().nth(1)?.parse().ok()
            });
        let entries = |dir: &str| fs::read_dir(dir).map_or(0, Iterator::count);
        Held {
            // Reading the directory takes one descriptor itself.
            descriptors: entries("/proc/self/fd") - 1,
            threads: entries("/proc/self/task"),
            mappings: fs::read_to_string("/proc/self/maps").map_or(0, |maps| maps.lines().count()),
            heap_blocks: LIVE_BLOCKS.load(Relaxed),
            heap_bytes: LIVE_BYTES.load(Relaxed),
            resident_kib: resident.unwrap_or(0),
        }
    }

    /// What the process holds once the caller has seen enough of it go, or after half a minute.
    ///
    /// A thread leaves its mark a little longer than a join waits for it. What is not looked at may
    /// belong to others: threads and descriptors to the harness and to tests that wait their turn.
    pub fn settled(is_enough: impl Fn(&Held) -> bool) -> Held {
        let start = Instant::now();
        loop {
            let now = Held::now();
            if is_enough(&now) || start.elapsed() > Duration::from_secs(30) {
                return now;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} descriptors, {} threads, {} mappings, {} heap blocks of {} bytes, {} KiB resident",
            self.descriptors,
            self.threads,
            self.mappings,
            self.heap_blocks,
            self.heap_bytes,
            self.resident_kib
        )
    }
}
