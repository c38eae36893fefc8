//! Direct I/O whose completions are polled for, on devices that have poll queues.
//!
//! The files are made in the folder for temporary files: `TMPDIR=/mnt/nvme cargo test --test polled`,
//! or `glommio-tests run --dir nvme=/mnt/nvme polled::`. Where its device has no poll queues, the tests
//! say so and show nothing, but for those that are about such devices.

#[path = "../support/cpu.rs"]
mod cpu;
mod fallbacks;
mod files;
mod sleep;
#[path = "../support/mod.rs"]
mod support;
mod tear_down;

use std::path::Path;

use glommio::{IoStats, executor, io::DmaFile};
use tempfile::TempDir;

/// A block of direct I/O of every device.
const BLOCK: usize = 4096;

/// A folder on a device that is polled; if there is none, says so.
fn polled_dir() -> Option<TempDir> {
    if !support::polling_is_on() {
        support::skip("polling is not offered, or switched off by GLOMMIO_DISABLE");
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    if !support::has_poll_queues(dir.path()) {
        support::skip("the device of the temporary files has no poll queues");
        return None;
    }
    Some(dir)
}

/// What stands in block `number` of every file of these tests.
fn content(number: u64) -> impl Iterator<Item = u8> {
    (0..BLOCK as u64).map(move |i| (number * 31 + i) as u8)
}

/// A new file of that many blocks, with their content.
async fn filled(path: &Path, blocks: u64) -> DmaFile {
    let file = DmaFile::create(path).await.unwrap();
    for number in 0..blocks {
        let mut buffer = file.alloc_dma_buffer(BLOCK);
        for (byte, value) in buffer.as_bytes_mut().iter_mut().zip(content(number)) {
            *byte = value;
        }
        let at = number * BLOCK as u64;
        assert_eq!(file.write_at(buffer, at).await.unwrap(), BLOCK);
    }
    file
}

/// Reads a block and compares it.
async fn check(file: &DmaFile, number: u64) {
    let at = number * BLOCK as u64;
    let read = file.read_at(at, BLOCK).await.unwrap();
    assert!(read.iter().copied().eq(content(number)), "block {number}");
}

fn stats() -> IoStats {
    executor().io_stats()
}
