//! What becomes of polled I/O that nobody waits for.

use futures_lite::future::poll_once;
use glommio::{LocalExecutor, internals::polled_ring_counters, io::DmaFile};

use super::{
    BLOCK, check, filled, polled_dir,
    support::{alone, eventually_async, open_fds},
};

#[test]
fn executors_end_with_polled_io_in_flight_and_leave_nothing() {
    alone(
        "tear_down::executors_end_with_polled_io_in_flight_and_leave_nothing",
        &[],
        || {
            let Some(dir) = polled_dir() else { return };
            let path = dir.path().join("file");
            LocalExecutor::default().run(async {
                filled(&path, 64).await.close().await.unwrap();
            });
            let before = open_fds();
            for round in 0..20 {
                let executor = LocalExecutor::default();
                executor.run(async {
                    let file = std::rc::Rc::new(DmaFile::open(&path).await.unwrap());
                    for number in 0..32 {
                        let file = file.clone();
                        glommio::spawn_local(async move { check(&file, number).await }).detach();
                    }
                    if round % 2 == 0 {
                        // They are submitted, and some of them complete.
                        glommio::executor().yield_task_queue_now().await;
                    }
                });
                drop(executor);
                assert_eq!(open_fds(), before, "round {round}");
            }
        },
    );
}

#[test]
fn reads_and_writes_that_are_dropped_in_flight_complete_for_nobody() {
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        let file = filled(&dir.path().join("file"), 32).await;
        for round in 0..10 {
            let mut reads: Vec<_> = (0..16)
                .map(|i| Box::pin(file.read_at(i * 100, BLOCK)))
                .collect();
            for read in &mut reads {
                assert!(poll_once(read).await.is_none());
            }
            let buffer = file.alloc_dma_buffer(BLOCK);
            let mut write = Box::pin(file.write_at(buffer, 32 * BLOCK as u64));
            assert!(poll_once(&mut write).await.is_none());
            if round % 2 == 0 {
                glommio::executor().yield_task_queue_now().await;
            }
            drop((reads, write));
            check(&file, round).await;
        }
        eventually_async("the device has answered", || {
            polled_ring_counters().unwrap().in_flight == 0
        })
        .await;
        for number in 0..32 {
            check(&file, number).await;
        }
        file.close().await.unwrap();
    });
}

#[test]
fn a_file_that_outlives_its_executor_reports_that_it_is_gone() {
    let Some(dir) = polled_dir() else { return };
    let path = dir.path().join("file");
    let executor = LocalExecutor::default();
    let file = executor.run(async { filled(&path, 1).await });
    drop(executor);
    LocalExecutor::default().run(async {
        let error = file.read_at(0, BLOCK).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(125), "{error}");
    });
}
