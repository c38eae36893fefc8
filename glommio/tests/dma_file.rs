//! Files with direct I/O as their users see them.

use glommio::{GlommioError, LocalExecutor, io::DmaFile, spawn_local};

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
