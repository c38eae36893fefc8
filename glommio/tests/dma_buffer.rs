//! Buffers for direct I/O as users see them.

use std::{panic::catch_unwind, rc::Rc};

use glommio::{
    LocalExecutor,
    io::{DmaBuffer, DmaFile},
};

/// A buffer that `executor` gave out.
fn buffer_of(executor: &LocalExecutor, fill: u8) -> DmaBuffer {
    executor.run(async {
        let mut buffer = glommio::allocate_dma_buffer(4096);
        buffer.as_bytes_mut().fill(fill);
        buffer
    })
}

#[test]
fn a_buffer_of_another_executor_of_the_thread_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let first = LocalExecutor::default();
    let second = LocalExecutor::default();
    // Both have registered memory: the buffer's slot exists in either table, but is not the same.
    drop(buffer_of(&second, 0));
    let (owned, shared) = (buffer_of(&first, b'o'), Rc::new(buffer_of(&first, b's')));
    let orphan = buffer_of(&LocalExecutor::default(), b'x');
    second.run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        assert_eq!(file.write_at(owned, 0).await.unwrap(), 4096);
        assert_eq!(file.write_rc_at(shared, 4096).await.unwrap(), 4096);
        assert_eq!(file.write_at(orphan, 8192).await.unwrap(), 4096);
        let read = file.read_at(0, 3 * 4096).await.unwrap();
        for (block, fill) in read.chunks(4096).zip(*b"osx") {
            assert!(block.iter().all(|byte| *byte == fill));
        }
        file.close().await.unwrap();
    });
}

#[test]
fn results_and_buffers_outlive_their_executor() {
    let dir = tempfile::tempdir().unwrap();
    let executor = LocalExecutor::default();
    let buffer = buffer_of(&executor, 7);
    let read = executor.run(async {
        let file = DmaFile::create(dir.path().join("file")).await.unwrap();
        let mut block = file.alloc_dma_buffer(4096);
        block.as_bytes_mut().fill(9);
        file.write_at(block, 0).await.unwrap();
        let read = file.read_at(1, 4000).await.unwrap();
        file.close().await.unwrap();
        read
    });
    drop(executor);
    assert_eq!(buffer.as_bytes(), [7; 4096]);
    assert_eq!(*read, [9; 4000]);
    assert_eq!(DmaBuffer::from(read).as_bytes(), [9; 4000]);
}

#[test]
fn a_buffer_of_no_executor_outlives_those_that_write_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let mut buffer = glommio::allocate_dma_buffer_global(5000);
    assert_eq!(buffer.as_bytes(), [0; 5000]);
    assert_eq!(buffer.as_ptr() as usize % 4096, 0);
    buffer.trim_to_size(4096);
    buffer.as_bytes_mut().fill(b'g');
    let buffer = Rc::new(buffer);
    for block in 0..2 {
        LocalExecutor::default().run(async {
            let file = DmaFile::create(&path).await.unwrap();
            let position = block * 4096;
            let written = file.write_rc_at(buffer.clone(), position).await;
            assert_eq!(written.unwrap(), 4096);
            assert_eq!(*file.read_at(position, 4096).await.unwrap(), [b'g'; 4096]);
            file.close().await.unwrap();
        });
    }
    assert!(glommio::allocate_dma_buffer_global(0).is_empty());
}

#[test]
fn a_buffer_larger_than_the_memory_is_refused_in_words() {
    let panic = catch_unwind(|| glommio::allocate_dma_buffer_global(usize::MAX)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    let expected = format!("cannot allocate a DMA buffer of {} bytes", usize::MAX);
    assert_eq!(*text, expected);
}
