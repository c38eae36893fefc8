//! Where there is nothing to poll, or polling is refused.

use glommio::{LocalExecutor, internals::polled_ring_counters};

use super::{
    BLOCK, check, filled, polled_dir, stats,
    support::{self, Child},
    support::{has_poll_queues, polling_is_on},
};

#[test]
fn a_device_without_poll_queues_makes_no_second_ring() {
    let dir = tempfile::tempdir().unwrap();
    if has_poll_queues(dir.path()) && polling_is_on() {
        return support::skip("the device of the temporary files has poll queues");
    }
    LocalExecutor::default().run(async {
        let file = filled(&dir.path().join("file"), 4).await;
        check(&file, 3).await;
        assert!(polled_ring_counters().is_none());
        let io = stats();
        assert_eq!(io.main_ring.file_reads(), (1, BLOCK as u64));
        assert_eq!(io.poll_ring.file_reads(), (0, 0));
    });
}

#[test]
fn the_switch_of_the_rung_keeps_everything_on_the_main_ring() {
    let mut child =
        Child::new("fallbacks::the_switch_of_the_rung_keeps_everything_on_the_main_ring");
    child.command.env("GLOMMIO_DISABLE", "io_poll");
    child.run(|| {
        assert!(!polling_is_on());
        let dir = tempfile::tempdir().unwrap();
        LocalExecutor::default().run(async {
            let file = filled(&dir.path().join("file"), 4).await;
            check(&file, 2).await;
            assert!(polled_ring_counters().is_none());
            assert_eq!(stats().main_ring.file_reads(), (1, BLOCK as u64));
        });
    });
}

#[test]
fn errors_of_polled_io_are_those_of_the_operation() {
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        let path = dir.path().join("file");
        filled(&path, 1).await.close().await.unwrap();
        let file = glommio::io::DmaFile::open(&path).await.unwrap();
        let buffer = file.alloc_dma_buffer(BLOCK);
        let error = file.write_at(buffer, 0).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(9), "not open to write: {error}");
        check(&file, 0).await;
        assert_eq!(stats().poll_ring.file_reads(), (1, BLOCK as u64));
    });
}
