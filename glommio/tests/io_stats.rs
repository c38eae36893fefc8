//! I/O statistics as their users see them.

mod support;

use std::{
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use glommio::{
    IoStats, Latency, LocalExecutor, LocalExecutorBuilder, RingIoStats, Shares, executor,
    internals::ring_counters,
    io::DmaFile,
    net::{TcpListener, TcpStream},
    spawn_local, spawn_local_into,
};

fn run<T>(future: impl Future<Output = T>) -> T {
    LocalExecutor::default().run(future)
}

fn run_recording<T>(future: impl Future<Output = T>) -> T {
    let builder = LocalExecutorBuilder::default().record_io_latencies(true);
    builder.make().unwrap().run(future)
}

async fn file_of(path: &Path, bytes: usize) -> DmaFile {
    let file = DmaFile::create(path).await.unwrap();
    file.write_at(file.alloc_dma_buffer(bytes), 0)
        .await
        .unwrap();
    file
}

fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {}
}

#[test]
fn operations_on_files_are_counted_with_their_bytes() {
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    run(async {
        let file = file_of(&dir.path().join("file"), 8192).await;
        assert_eq!(file.read_at(0, 4096).await.unwrap().len(), 4096);
        assert_eq!(file.read_at(4096, 4096).await.unwrap().len(), 4096);
        let io = executor().io_stats();
        assert_eq!(io.main_ring.files_opened(), 1);
        assert_eq!(io.main_ring.files_closed(), 0);
        assert_eq!(io.main_ring.file_writes(), (1, 8192));
        assert_eq!(io.main_ring.file_reads(), (2, 8192));
        file.close().await.unwrap();

        let io = executor().io_stats();
        assert_eq!(io.main_ring.files_closed(), 1);
        assert_eq!(
            io.main_ring.file_reads(),
            (2, 8192),
            "reading resets nothing"
        );
        for other in [&io.latency_ring, &io.poll_ring] {
            assert_eq!(other.files_opened(), 0);
            assert_eq!(other.file_reads(), (0, 0));
        }
        assert_eq!(io.main_ring.file_buffered_reads(), (0, 0));
        assert_eq!(io.main_ring.file_buffered_writes(), (0, 0));
        assert_eq!(io.main_ring.socket_reads(), (0, 0));
    });
}

#[test]
fn errors_are_not_counted() {
    run(async {
        let missing = PathBuf::from("/nonexistent/file");
        assert!(DmaFile::open(&missing).await.is_err());
        let io = executor().io_stats().all_rings();
        assert_eq!((io.files_opened(), io.files_closed()), (0, 0));
    });
}

#[test]
fn a_dropped_file_counts_as_closed() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        drop(file_of(&dir.path().join("file"), 4096).await);
        let io = executor().io_stats().all_rings();
        assert_eq!((io.files_opened(), io.files_closed()), (1, 1));
    });
}

#[test]
fn a_file_that_is_opened_for_a_dropped_future_is_closed_again() {
    let dir = tempfile::tempdir().unwrap();
    run(async {
        let idle = ring_counters().in_flight;
        for n in 0..16 {
            let create = DmaFile::create(dir.path().join(n.to_string()));
            let mut create = Box::pin(create);
            assert!(future::poll_once(&mut create).await.is_none());
            // Some are dropped before the kernel has them, some after.
            if n % 2 == 0 {
                executor().yield_task_queue_now().await;
            }
            drop(create);
        }
        while ring_counters().in_flight > idle {
            executor().yield_task_queue_now().await;
        }
        let io = executor().io_stats().all_rings();
        assert_eq!(io.files_opened(), io.files_closed());
    });
}

#[test]
fn io_counts_for_the_queue_of_the_task_that_issued_it() {
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    run(async {
        let matters = Latency::Matters(Duration::from_millis(5));
        let urgent = executor().create_task_queue(Shares::Static(10), matters, "urgent");
        let other =
            executor().create_task_queue(Shares::Static(10), Latency::NotImportant, "other");
        for (queue, bytes) in [(urgent, 4096), (other, 8192)] {
            let path = dir.path().join(queue.to_string());
            let task = async move { file_of(&path, bytes).await.close().await };
            spawn_local_into(task, queue).unwrap().await.unwrap();
        }
        let of = |queue| executor().task_queue_io_stats(queue).unwrap();
        assert_eq!(of(urgent).latency_ring.file_writes(), (1, 4096));
        assert_eq!(of(urgent).main_ring.file_writes(), (0, 0));
        assert_eq!(of(urgent).all_rings().files_closed(), 1);
        assert_eq!(of(other).main_ring.file_writes(), (1, 8192));
        assert_eq!(of(other).latency_ring.file_writes(), (0, 0));
        assert_eq!(of(Default::default()).all_rings().file_writes(), (0, 0));

        let io = executor().io_stats();
        assert_eq!(io.latency_ring.file_writes(), (1, 4096));
        assert_eq!(io.main_ring.file_writes(), (1, 8192));
        assert_eq!(io.all_rings().file_writes(), (2, 12_288));
    });
}

#[test]
fn the_executor_remembers_the_io_of_removed_queues() {
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    let path = dir.path().join("file");
    let executor = LocalExecutor::default();
    let matters = Latency::Matters(Duration::from_millis(5));
    let queue = executor.create_task_queue(Shares::Static(10), matters, "gone");
    executor.run(async {
        let task = async move { file_of(&path, 4096).await.close().await };
        spawn_local_into(task, queue).unwrap().await.unwrap();
    });
    executor.remove_task_queue(queue).unwrap();
    executor.run(async {
        let error = glommio::executor().task_queue_io_stats(queue).unwrap_err();
        assert!(error.to_string().contains("not found"), "{error}");
        let io = glommio::executor().io_stats();
        assert_eq!(io.latency_ring.file_writes(), (1, 4096));
        assert_eq!(io.main_ring.file_writes(), (0, 0));
    });
}

#[test]
fn sockets_are_counted_and_are_no_files() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn_local(async move {
            let mut stream = listener.accept().await.unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).await.unwrap();
            received.len()
        });
        let mut client = TcpStream::connect(address).await.unwrap();
        // A small write goes through the send queue, a large one goes directly.
        client.write_all(&[1; 100]).await.unwrap();
        client.write_all(&vec![2; 100_000]).await.unwrap();
        client.close().await.unwrap();
        drop(client);
        assert_eq!(server.await, 100_100);

        let io = executor().io_stats().main_ring;
        assert_eq!(io.sockets_accepted(), 1);
        assert_eq!(io.socket_writes().1, 100_100);
        assert_eq!(io.socket_reads().1, 100_100);
        assert!(io.socket_writes().0 >= 2 && io.socket_reads().0 >= 2);
        assert_eq!((io.files_opened(), io.files_closed()), (0, 0));
    });
}

#[test]
fn pipes_of_processes_are_counted_apart_and_are_not_timed() {
    let text = vec![b'x'; 100_000];
    run_recording(async {
        let mut cat = support::piped_cat().await;
        let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let mut received = Vec::new();
        let written = async {
            input.write_all(&text).await.unwrap();
            input.close().await.unwrap();
        };
        let (_, read) = future::zip(written, output.read_to_end(&mut received)).await;
        assert_eq!(read.unwrap(), text.len());
        assert!(cat.wait().await.unwrap().success());

        let io = executor().io_stats().main_ring;
        assert_eq!((io.pipe_writes().1, io.pipe_reads().1), (100_000, 100_000));
        // The queue takes 64 KiB at a time, and the end is a read of its own.
        assert!(io.pipe_writes().0 >= 2 && io.pipe_reads().0 >= 2);
        assert_eq!(
            (io.socket_reads(), io.file_buffered_reads()),
            ((0, 0), (0, 0))
        );
        assert_eq!(sketch_counts(&io), [0, 0, 0]);
    });
}

fn sketch_counts(io: &RingIoStats) -> [usize; 3] {
    [
        io.pre_reactor_io_scheduler_latency_us().count(),
        io.io_latency_us().count(),
        io.post_reactor_io_scheduler_latency_us().count(),
    ]
}

#[test]
fn no_latency_is_recorded_unless_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let io: IoStats = run(async {
        let file = file_of(&dir.path().join("file"), 4096).await;
        file.close().await.unwrap();
        executor().io_stats()
    });
    assert_eq!(sketch_counts(&io.all_rings()), [0, 0, 0]);
}

#[test]
fn each_read_and_write_is_one_entry_of_each_latency() {
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    run_recording(async {
        let file = file_of(&dir.path().join("file"), 4096).await;
        for _ in 0..9 {
            file.read_at(0, 4096).await.unwrap();
        }
        let io = executor().io_stats();
        assert_eq!(sketch_counts(&io.main_ring), [10, 10, 10]);
        assert_eq!(sketch_counts(&io.latency_ring), [0, 0, 0]);
        let queue = executor().task_queue_io_stats(Default::default()).unwrap();
        assert_eq!(sketch_counts(&queue.main_ring), [10, 10, 10]);
        assert!(io.main_ring.io_latency_us().max().unwrap() > 0.0);
        file.close().await.unwrap();
    });
}

#[test]
fn a_task_in_the_way_shows_in_the_scheduler_latencies() {
    const BUSY: Duration = Duration::from_millis(20);
    let Some(dir) = support::unpolled_dir() else {
        return;
    };
    run_recording(async {
        let file = file_of(&dir.path().join("file"), 4096).await;
        let before = executor().io_stats().main_ring;
        let max = |io: &RingIoStats| io.pre_reactor_io_scheduler_latency_us().max().unwrap();
        let quick_us = max(&before);

        let file = Rc::new(file);
        let busy_us = BUSY.as_micros() as f64;
        // Where the machine takes the CPU away after the reader's turn, it is the end of the queue's turn
        // too, and the read leaves before the hog runs.
        for round in 1.. {
            let theirs = file.clone();
            let reader = spawn_local(async move { theirs.read_at(0, 4096).await.unwrap().len() });
            // Runs after the read was submitted and before it can leave; and, as it stands in the run
            // queue all the time, between the completion and the reader.
            let hog = spawn_local(async {
                loop {
                    spin(BUSY);
                    executor().yield_task_queue_now().await;
                }
            });
            assert_eq!(reader.await, 4096);
            hog.cancel().await;

            let io = executor().io_stats().main_ring;
            let pre_us = max(&io);
            let post_us = io.post_reactor_io_scheduler_latency_us().max().unwrap();
            if pre_us >= busy_us && post_us >= busy_us {
                return;
            }
            assert!(
                round < 10,
                "{pre_us} µs before, {post_us} µs after; without the hog {quick_us} µs before"
            );
        }
    });
}
