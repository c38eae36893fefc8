//! Files on a device that is polled.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Shares, executor,
    internals::polled_ring_counters,
    io::{DmaFile, OpenOptions},
    spawn_local, spawn_local_into,
};

use super::{BLOCK, check, filled, polled_dir, stats};

#[test]
fn reads_and_writes_are_polled_for_and_everything_else_is_not() {
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        assert!(polled_ring_counters().is_none(), "made when it is needed");
        let file = filled(&dir.path().join("file"), 8).await;
        for number in 0..8 {
            check(&file, number).await;
        }
        file.fdatasync().await.unwrap();
        assert_eq!(file.file_size().await.unwrap(), 8 * BLOCK as u64);
        file.close().await.unwrap();

        let (io, bytes) = (stats(), 8 * BLOCK as u64);
        assert_eq!(io.poll_ring.file_writes(), (8, bytes));
        assert_eq!(io.poll_ring.file_reads(), (8, bytes));
        assert_eq!(io.main_ring.file_writes(), (0, 0));
        assert_eq!(io.main_ring.file_reads(), (0, 0));
        assert_eq!(
            (io.main_ring.files_opened(), io.main_ring.files_closed()),
            (1, 1)
        );
        assert_eq!(
            (io.poll_ring.files_opened(), io.poll_ring.files_closed()),
            (0, 0)
        );
        let ring = polled_ring_counters().unwrap();
        assert_eq!(
            (ring.submitted, ring.completed, ring.in_flight),
            (16, 16, 0)
        );
    });
}

#[test]
fn an_empty_first_file_decides_for_nobody() {
    let Some(dir) = polled_dir() else { return };
    let path = dir.path().join("file");
    LocalExecutor::default().run(async {
        let file = DmaFile::create(&path).await.unwrap();
        assert!(file.read_at(0, BLOCK).await.unwrap().is_empty());
        file.close().await.unwrap();

        let mut options = OpenOptions::new();
        let file = options.write(true).dma_open(&path).await.unwrap();
        file.write_at(file.alloc_dma_buffer(BLOCK), 0)
            .await
            .unwrap();
        file.close().await.unwrap();

        for _ in 0..3 {
            let file = DmaFile::open(&path).await.unwrap();
            let before = stats().poll_ring.file_reads().0;
            assert_eq!(file.read_at(1, 100).await.unwrap().len(), 100);
            assert_eq!(file.read_at(1 << 20, 100).await.unwrap().len(), 0);
            assert_eq!(stats().poll_ring.file_reads().0, before + 2);
            file.close().await.unwrap();
        }
        assert_eq!(stats().main_ring.file_reads(), (0, 0));
    });
}

#[test]
fn many_reads_at_a_time_bring_the_right_data() {
    const BLOCKS: u64 = 64;
    const READS: u64 = 1_000;
    let Some(dir) = polled_dir() else { return };
    for depth in [128, 4] {
        let builder = LocalExecutorBuilder::default().ring_depth(depth);
        builder.make().unwrap().run(async {
            let file = Rc::new(filled(&dir.path().join("file"), BLOCKS).await);
            let readers: Vec<_> = (0..32)
                .map(|reader| {
                    let file = file.clone();
                    spawn_local(async move {
                        for i in (reader..READS).step_by(32) {
                            check(&file, i * 7 % BLOCKS).await;
                        }
                    })
                })
                .collect();
            for reader in readers {
                reader.await;
            }
            assert_eq!(
                stats().poll_ring.file_reads(),
                (READS, READS * BLOCK as u64)
            );
        });
    }
}

#[test]
fn large_transfers_are_whole_and_not_polled_for() {
    const BYTES: usize = 20 << 20;
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let mut buffer = file.alloc_dma_buffer(BYTES);
        for (number, block) in buffer.as_bytes_mut().chunks_exact_mut(BLOCK).enumerate() {
            block.fill(number as u8);
        }
        assert_eq!(file.write_at(buffer, 0).await.unwrap(), BYTES);
        let read = file.read_at(0, BYTES).await.unwrap();
        assert_eq!(read.len(), BYTES);
        for (number, block) in read.chunks_exact(BLOCK).enumerate() {
            assert!(
                block.iter().all(|byte| *byte == number as u8),
                "block {number}"
            );
        }
        assert_eq!(stats().poll_ring.file_reads(), (0, 0), "too large to poll");
        assert_eq!(stats().main_ring.file_reads().1, BYTES as u64);
        let read = file.read_at(3 << 20, 100 << 10).await.unwrap();
        assert_eq!(read.len(), 100 << 10);
        assert_eq!(stats().poll_ring.file_reads(), (1, 100 << 10));
    });
}

#[test]
fn polled_io_counts_for_the_queue_that_issued_it_and_latencies_are_recorded() {
    let Some(dir) = polled_dir() else { return };
    let builder = LocalExecutorBuilder::default().record_io_latencies(true);
    builder.make().unwrap().run(async {
        let path = dir.path().join("file");
        let file = Rc::new(filled(&path, 4).await);
        let latency = Latency::Matters(Duration::from_millis(1));
        let queue = executor().create_task_queue(Shares::Static(10), latency, "reader");
        let reads = file.clone();
        let read = async move {
            for number in 0..4 {
                check(&reads, number).await;
            }
        };
        spawn_local_into(read, queue).unwrap().await;
        let of_queue = executor().task_queue_io_stats(queue).unwrap();
        let bytes = 4 * BLOCK as u64;
        assert_eq!(of_queue.poll_ring.file_reads(), (4, bytes));
        assert_eq!(of_queue.poll_ring.file_writes(), (0, 0));
        assert_eq!(of_queue.all_rings().file_reads(), (4, bytes));
        let all = stats();
        assert_eq!(all.poll_ring.file_writes(), (4, bytes));
        assert_eq!(all.poll_ring.io_latency_us().count(), 8);
        assert_eq!(all.main_ring.io_latency_us().count(), 0);
    });
}

#[test]
fn a_busy_task_does_not_hold_completions_up() {
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        let file = Rc::new(filled(&dir.path().join("file"), 8).await);
        let reads = file.clone();
        let reader = spawn_local(async move {
            for number in (0..8).cycle().take(64) {
                check(&reads, number).await;
            }
        });
        let latency = Latency::Matters(Duration::from_millis(1));
        let queue = executor().create_task_queue(Shares::Static(10), latency, "reader");
        let reads = file.clone();
        let fast_reader = async move {
            for number in (0..8).cycle().take(64) {
                check(&reads, number).await;
            }
        };
        let fast_reader = spawn_local_into(fast_reader, queue).unwrap();
        let done = Rc::new(Cell::new(false));
        let ends = done.clone();
        let busy = spawn_local(async move {
            let start = Instant::now();
            while !ends.get() {
                // Emulated machines are slow.
                assert!(start.elapsed() < Duration::from_secs(300), "reads starve");
                glommio::yield_if_needed().await;
            }
        });
        reader.await;
        fast_reader.await;
        done.set(true);
        busy.await;
        assert_eq!(stats().poll_ring.file_reads().0, 128);
    });
}
