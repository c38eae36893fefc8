//! O_DIRECT random reads into registered buffers.

use std::alloc::{self, Layout};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use io_uring::{opcode, types};

use crate::host::Random;
use crate::raw::Ring;
use crate::{Sample, Stopwatch};

const BLOCK_BYTES: usize = 4096;

/// Reads `n` random 4 KiB blocks of `path` with O_DIRECT, `depth` at a time.
///
/// # Errors
///
/// If the file cannot be opened with O_DIRECT, or a read fails or comes short.
pub fn random_reads(path: &Path, depth: usize, n: u64) -> io::Result<Sample> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECT)
        .open(path)?;
    let size = file.metadata()?.len();
    let mut reads = Reads::new(file, depth)?;
    let mut rng = Random::new(depth as u64);

    let watch = Stopwatch::start();
    let mut submitted = 0;
    for slot in 0..depth.min(n as usize) {
        reads.submit(slot, rng.block(size, BLOCK_BYTES as u64))?;
        submitted += 1;
    }
    let mut done = 0;
    while done < n {
        reads.ring.enter(1)?;
        while let Some(completion) = reads.ring.take() {
            reads.in_flight -= 1;
            match completion.result() {
                len if len == BLOCK_BYTES as i32 => {}
                len if len >= 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                error => return Err(io::Error::from_raw_os_error(-error)),
            }
            done += 1;
            if submitted < n {
                let slot = completion.user_data() as usize;
                reads.submit(slot, rng.block(size, BLOCK_BYTES as u64))?;
                submitted += 1;
            }
        }
    }
    Ok(watch.stop(n))
}

// Drop waits for every read in flight before it frees the blocks.
struct Reads {
    ring: Ring,
    blocks: *mut u8,
    layout: Layout,
    in_flight: usize,
    _file: File,
}

impl Reads {
    fn new(file: File, depth: usize) -> io::Result<Self> {
        let ring = Ring::new((depth as u32).next_power_of_two().max(8))?;
        let layout = Layout::from_size_align(BLOCK_BYTES * depth.max(1), BLOCK_BYTES)
            .map_err(io::Error::other)?;
        // SAFETY: the layout's size is not zero.
        let blocks = unsafe { alloc::alloc_zeroed(layout) };
        if blocks.is_null() {
            alloc::handle_alloc_error(layout);
        }
        let reads = Self {
            ring,
            blocks,
            layout,
            in_flight: 0,
            _file: file,
        };
        let iovecs: Vec<libc::iovec> = (0..depth)
            .map(|slot| libc::iovec {
                iov_base: reads.block(slot).cast(),
                iov_len: BLOCK_BYTES,
            })
            .collect();
        // SAFETY: the blocks stay allocated until the ring is gone.
        unsafe { reads.ring.submitter().register_buffers(&iovecs)? };
        reads
            .ring
            .submitter()
            .register_files(&[reads._file.as_raw_fd()])?;
        Ok(reads)
    }

    fn block(&self, slot: usize) -> *mut u8 {
        // SAFETY: `slot` is below the depth for which the blocks were allocated.
        unsafe { self.blocks.add(slot * BLOCK_BYTES) }
    }

    fn submit(&mut self, slot: usize, offset: u64) -> io::Result<()> {
        let entry = opcode::ReadFixed::new(
            types::Fixed(0),
            self.block(slot),
            BLOCK_BYTES as u32,
            slot as u16,
        )
        .offset(offset)
        .build()
        .user_data(slot as u64);
        // SAFETY: the block belongs to this slot, which has no other read in flight, and outlives
        // the ring.
        unsafe { self.ring.push(&entry)? };
        self.in_flight += 1;
        Ok(())
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        // Reads are in flight only after an error; the device may still write into their blocks.
        while self.in_flight > 0 {
            if self.ring.enter(1).is_err() {
                return;
            }
            while self.ring.take().is_some() {
                self.in_flight -= 1;
            }
        }
        // SAFETY: allocated with this layout, and no read is in flight any more.
        unsafe { alloc::dealloc(self.blocks, self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::written_file;

    #[test]
    fn reads_at_both_depths() {
        // Beside the program, since a temporary directory may refuse O_DIRECT.
        let dir = std::env::current_exe().unwrap().with_extension("reads");
        let path = dir.join("data");
        written_file(&path, 1 << 20).unwrap();
        for depth in [1, 32] {
            assert_eq!(random_reads(&path, depth, 100).unwrap().ops, 100);
        }
        assert!(random_reads(&dir.join("missing"), 1, 1).is_err());
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
