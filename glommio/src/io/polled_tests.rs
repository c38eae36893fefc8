//! Polled I/O on whatever device holds the temporary files: it is taken for granted that it has poll
//! queues. Where it has none, some kernels refuse each read, some only those that find data, and
//! some do them by interrupt: files must work all the same.

use std::{path::Path, rc::Rc};

use futures_lite::future::poll_once;

use super::DmaFile;
use crate::{
    executor::{IoStats, LocalExecutor, executor, spawn_local},
    reactor,
    sys::features::{Rung, features},
    test_alloc::allocations,
};

const BLOCK: usize = 4096;

fn is_offered() -> bool {
    features().unwrap().has(Rung::IoPoll)
}

/// Takes it for granted, on this executor, that files in `dir` are on a device with poll queues.
async fn assume_poll_queues(dir: &Path) {
    let file = DmaFile::create(dir.join("where")).await.unwrap();
    reactor::current().assume_poll_queues((file.dev_major(), file.dev_minor()));
    file.close().await.unwrap();
}

async fn write_block(file: &DmaFile, number: u64) {
    let mut buffer = file.alloc_dma_buffer(BLOCK);
    buffer.as_bytes_mut().fill(number as u8 + 1);
    let at = number * BLOCK as u64;
    assert_eq!(file.write_at(buffer, at).await.unwrap(), BLOCK);
}

/// Makes a file of so many blocks, on what is taken for a device with poll queues.
async fn file_of_blocks(path: &Path, count: u64) -> DmaFile {
    assume_poll_queues(path.parent().unwrap()).await;
    let file = DmaFile::create(path).await.unwrap();
    for number in 0..count {
        write_block(&file, number).await;
    }
    file
}

async fn check_block(file: &DmaFile, number: u64) {
    let read = file.read_at(number * BLOCK as u64, BLOCK).await.unwrap();
    assert_eq!(read.len(), BLOCK, "block {number}");
    assert!(
        read.iter().all(|byte| *byte == number as u8 + 1),
        "block {number}"
    );
}

fn stats() -> IoStats {
    executor().io_stats()
}

#[test]
fn a_file_that_cannot_be_polled_works_from_its_first_read_on() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        assume_poll_queues(dir.path()).await;
        let path = dir.path().join("file");
        let file = DmaFile::create(&path).await.unwrap();
        // Without direct I/O there is nothing to poll.
        let is_tried = file.polled_bytes.get() > 0;
        assert!(is_offered() || !is_tried);
        assert!(file.read_at(0, BLOCK).await.unwrap().is_empty());
        for number in 0..8 {
            write_block(&file, number).await;
        }
        file.fdatasync().await.unwrap();
        for number in 0..8 {
            check_block(&file, number).await;
        }
        assert!(file.read_at(1 << 20, BLOCK).await.unwrap().is_empty());
        file.close().await.unwrap();

        // Nothing is decided for the next file.
        let file = DmaFile::open(&path).await.unwrap();
        assert_eq!(file.polled_bytes.get() > 0, is_tried);
        let submitted = || {
            reactor::current()
                .polled_counters()
                .map(|ring| ring.submitted)
        };
        let before = submitted();
        check_block(&file, 3).await;
        let gave_up = is_tried && file.polled_bytes.get() == 0;
        check_block(&file, 4).await;
        if gave_up {
            assert_eq!(submitted(), before.map(|n| n + 1), "asked once per file");
        }
        let io = stats().all_rings();
        assert_eq!(
            io.file_reads(),
            (12, 10 * BLOCK as u64),
            "counted once each"
        );
        assert_eq!(io.file_writes(), (8, 8 * BLOCK as u64));
    });
}

#[test]
fn many_files_that_cannot_be_polled_fall_back_at_the_same_time() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let path = dir.path().join("file");
        let _made = file_of_blocks(&path, 32).await;
        for _ in 0..4 {
            let file = Rc::new(DmaFile::open(&path).await.unwrap());
            let reads: Vec<_> = (0..64)
                .map(|i| {
                    let file = file.clone();
                    spawn_local(async move { check_block(&file, i % 32).await })
                })
                .collect();
            for read in reads {
                read.await;
            }
        }
    });
}

#[test]
fn operations_dropped_at_every_stage_keep_their_memory_until_the_device_is_done() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        LocalExecutor::default().run(async {
            let file = file_of_blocks(&dir.path().join("file"), 1).await;
            if reactor::current().polled_counters().is_some() {
                // Also where the write has shown that it is of no use.
                file.polled_bytes.set(BLOCK as u32);
            }
            let mut reads: Vec<_> = (0..16).map(|_| Box::pin(file.read_at(0, BLOCK))).collect();
            for read in &mut reads {
                assert!(poll_once(read).await.is_none());
            }
            let buffer = file.alloc_dma_buffer(BLOCK);
            let mut write = Box::pin(file.write_at(buffer, BLOCK as u64));
            assert!(poll_once(&mut write).await.is_none());
            match round % 4 {
                0 => drop((reads, write)),
                1 => {
                    executor().yield_task_queue_now().await;
                    drop((reads, write));
                }
                2 => {
                    executor().yield_task_queue_now().await;
                    drop((reads, write));
                    check_block(&file, 0).await;
                }
                _ => {
                    for read in reads {
                        assert!(read.await.unwrap().iter().all(|byte| *byte == 1));
                    }
                    assert_eq!(write.await.unwrap(), BLOCK);
                }
            }
        });
    }
}

#[test]
fn a_refused_ring_leaves_everything_on_the_main_ring() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        let reactor = reactor::current();
        reactor.refuse_polling();
        assume_poll_queues(dir.path()).await;
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        assert_eq!(file.polled_bytes.get(), 0);
        write_block(&file, 0).await;
        check_block(&file, 0).await;
        assert!(reactor.polled_counters().is_none());
        assert_eq!(stats().main_ring.file_reads(), (1, BLOCK as u64));
    });
}

#[test]
fn a_warm_polled_read_or_write_allocates_nothing_whether_it_is_repeated_or_not() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        assume_poll_queues(dir.path()).await;
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let round = async |number| {
            if reactor::current().polled_counters().is_some() {
                // Each time as if it was not known yet that the file cannot be polled.
                file.polled_bytes.set(BLOCK as u32);
            }
            write_block(&file, number).await;
            check_block(&file, number).await;
        };
        for number in 0..64 {
            round(number % 16).await;
        }
        let before = allocations();
        for number in 0..64 {
            round(number % 16).await;
        }
        assert_eq!(allocations() - before, 0);
    });
}

#[test]
fn transfers_that_a_device_would_take_in_pieces_are_not_polled_for() {
    let dir = tempfile::tempdir().unwrap();
    LocalExecutor::default().run(async {
        assume_poll_queues(dir.path()).await;
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        if file.polled_bytes.get() > 0 {
            file.polled_bytes.set(BLOCK as u32);
        }
        let buffer = file.alloc_dma_buffer(2 * BLOCK);
        assert_eq!(file.write_at(buffer, 0).await.unwrap(), 2 * BLOCK);
        assert_eq!(file.read_at(0, 2 * BLOCK).await.unwrap().len(), 2 * BLOCK);
        let io = stats();
        assert_eq!(io.main_ring.file_writes(), (1, 2 * BLOCK as u64));
        assert_eq!(io.main_ring.file_reads(), (1, 2 * BLOCK as u64));
    });
}
