//! Files with direct I/O as their users see them.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

use glommio::{
    GlommioError, Latency, LocalExecutor, Shares, executor, io::DmaFile, spawn_local,
    spawn_local_into,
};

fn run<T>(future: impl Future<Output = T>) -> T {
    LocalExecutor::default().run(future)
}

#[test]
fn what_is_written_is_read_back_at_any_position() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let mut buffer = file.alloc_dma_buffer(64 << 10);
        for (i, byte) in buffer.as_bytes_mut().iter_mut().enumerate() {
            *byte = (i % 251) as u8;
        }
        assert_eq!(file.write_at(buffer, 0).await.unwrap(), 64 << 10);
        file.fdatasync().await.unwrap();
        for (pos, size) in [(0, 10), (4095, 2), (1, 65_535), (511, 513), (65_530, 100)] {
            let read = file.read_at(pos, size).await.unwrap();
            let expected = size.min((64 << 10) - pos as usize);
            assert_eq!(read.len(), expected, "{pos}+{size}");
            assert!(
                read.iter()
                    .enumerate()
                    .all(|(i, b)| *b == ((pos as usize + i) % 251) as u8)
            );
        }
        assert_eq!(
            file.read_at(1 << 20, 10).await.unwrap().len(),
            0,
            "past the end"
        );
        assert_eq!(file.file_size().await.unwrap(), 64 << 10);
        file.close().await.unwrap();
    });
}

#[test]
fn an_unaligned_write_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let path = dir.path().join("file");
        let file = DmaFile::create(&path).await.unwrap();
        let error = file
            .write_at(file.alloc_dma_buffer(4096), 7)
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("position 7") && text.contains("op: Writing"),
            "{text}"
        );
        let GlommioError::EnhancedIoError {
            source,
            path: named,
            fd,
            ..
        } = error
        else {
            panic!("{text}")
        };
        assert_eq!(source.kind(), std::io::ErrorKind::InvalidInput);
        assert_eq!((named, fd.is_some()), (Some(path), true));
    });
}

#[test]
fn a_missing_file_and_a_directory_are_errors_with_their_path() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let missing = DmaFile::open(dir.path().join("missing")).await.unwrap_err();
        assert_eq!(missing.raw_os_error(), Some(2));
        assert!(missing.to_string().contains("missing"), "{missing}");
        let directory = DmaFile::open(dir.path()).await.unwrap_err();
        assert_eq!(directory.raw_os_error(), Some(21), "{directory}");
    });
}

#[test]
fn more_reads_than_the_ring_is_deep_wait_their_turn() {
    let dir = tempfile::tempdir().unwrap();
    let ex = glommio::LocalExecutorBuilder::default()
        .ring_depth(4)
        .make()
        .unwrap();
    ex.run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let buffer = file.alloc_dma_buffer(1 << 20);
        file.write_at(buffer, 0).await.unwrap();
        let file = std::rc::Rc::new(file);
        let reads: Vec<_> = (0..256u64)
            .map(|i| {
                let file = file.clone();
                spawn_local(async move { file.read_at(i * 4096, 4096).await.unwrap().len() })
            })
            .collect();
        for read in reads {
            assert_eq!(read.await, 4096);
        }
    });
}

#[test]
fn operations_dropped_at_every_stage_are_harmless() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        run(async {
            let path = dir.path().join("file");
            let file = DmaFile::create(&path).await.unwrap();
            file.write_at(file.alloc_dma_buffer(8192), 0).await.unwrap();
            drop(file.read_at(0, 4096));
            let mut read = Box::pin(file.read_at(0, 4096));
            assert!(futures_lite::future::poll_once(&mut read).await.is_none());
            drop(read);
            let mut write = Box::pin(file.write_at(file.alloc_dma_buffer(4096), 4096));
            assert!(futures_lite::future::poll_once(&mut write).await.is_none());
            glommio::timer::sleep(std::time::Duration::from_millis(1)).await;
            drop(write);
            let mut open = Box::pin(DmaFile::open(&path));
            assert!(futures_lite::future::poll_once(&mut open).await.is_none());
            drop(open);
        });
    }
}

/// Gives way until it is told to end, or for so long that something must be wrong.
async fn loop_of_yields(yields: impl AsyncFn(), done: Rc<Cell<bool>>) -> u64 {
    let (start, mut rounds) = (Instant::now(), 0);
    while !done.get() {
        assert!(start.elapsed() < Duration::from_secs(120), "reads starve");
        yields().await;
        rounds += 1;
    }
    rounds
}

#[test]
fn dd431_dd674_loops_of_yields_do_not_starve_reads_of_files() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let buffer = file.alloc_dma_buffer(64 << 10);
        file.write_at(buffer, 0).await.unwrap();
        let queue = || executor().create_task_queue(Shares::default(), Latency::NotImportant, "");
        // Beside the reader and in another queue, each kind alone and all together.
        for kinds in [0b0001, 0b0010, 0b0100, 0b1000, 0b1111] {
            let done = Rc::new(Cell::new(false));
            let mut loops = Vec::new();
            for kind in (0..4).filter(|kind| kinds & (1 << kind) != 0) {
                let done = done.clone();
                let task = match kind {
                    0 => spawn_local(loop_of_yields(async || executor().yield_now().await, done)),
                    1 => spawn_local(loop_of_yields(
                        async || executor().yield_task_queue_now().await,
                        done,
                    )),
                    2 => spawn_local_into(
                        loop_of_yields(async || executor().yield_now().await, done),
                        queue(),
                    )
                    .unwrap(),
                    _ => spawn_local_into(
                        loop_of_yields(async || executor().yield_task_queue_now().await, done),
                        queue(),
                    )
                    .unwrap(),
                };
                loops.push(task);
            }
            for read in 0..50 {
                let result = file.read_at(read % 16 * 4096, 4096).await.unwrap();
                assert_eq!(result.len(), 4096);
            }
            done.set(true);
            for task in loops {
                assert!(task.await > 0, "kinds {kinds:b}");
            }
        }
        file.close().await.unwrap();
    });
}
