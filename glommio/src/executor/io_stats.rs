//! What I/O an executor and its queues have done so far.

use std::{fmt, iter::Sum};

use sketches_ddsketch::DDSketch;

use crate::sys::ledger::{Account, IoKind, Latencies, Totals};

/// I/O of an executor, or of one of its task queues, since it was made.
///
/// The main ring of an executor has two parts, which say for whom it worked; the third is that of the
/// ring that polls devices, which exists once a file on such a device was opened. The numbers only
/// grow: reading them resets nothing, and the difference between two readings is what happened in
/// between.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, executor, io::DmaFile};
///
/// let dir = tempfile::tempdir().unwrap();
/// LocalExecutor::default().run(async {
///     let file = DmaFile::create(dir.path().join("file")).await?;
///     let mut buffer = file.alloc_dma_buffer(4096);
///     buffer.as_bytes_mut().fill(b'x');
///     file.write_at(buffer, 0).await?;
///     file.close().await?;
///
///     let io = executor().io_stats();
///     assert_eq!(io.main_ring.file_writes(), (1, 4096));
///     assert_eq!(io.latency_ring.file_writes(), (0, 0));
///     assert_eq!(io.all_rings().files_opened(), 1);
///     assert_eq!(io.all_rings().files_closed(), 1);
/// #   Ok::<(), glommio::GlommioError<()>>(())
/// })?;
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct IoStats {
    /// I/O of tasks in ordinary queues.
    pub main_ring: RingIoStats,
    /// I/O of tasks in queues with [`Latency::Matters`](crate::Latency::Matters).
    pub latency_ring: RingIoStats,
    /// Reads and writes whose completions were polled for (`IORING_SETUP_IOPOLL`), of tasks in any
    /// queue: those of [`DmaFile`](crate::io::DmaFile)s on devices that have poll queues.
    pub poll_ring: RingIoStats,
}

impl IoStats {
    pub(super) fn of_executor(main: &Totals, polled: &Totals) -> IoStats {
        let polled = [&polled.ordinary, &polled.latency_matters].map(RingIoStats::of);
        IoStats {
            main_ring: RingIoStats::of(&main.ordinary),
            latency_ring: RingIoStats::of(&main.latency_matters),
            poll_ring: polled.iter().sum(),
        }
    }

    pub(super) fn of_queue(account: &Account, polled: &Account, latency_matters: bool) -> IoStats {
        let mut stats = IoStats {
            poll_ring: RingIoStats::of(polled),
            ..IoStats::default()
        };
        if latency_matters {
            stats.latency_ring = RingIoStats::of(account);
        } else {
            stats.main_ring = RingIoStats::of(account);
        }
        stats
    }

    /// The sum of the three parts.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::IoStats;
    ///
    /// assert_eq!(IoStats::default().all_rings().file_reads(), (0, 0));
    /// ```
    pub fn all_rings(&self) -> RingIoStats {
        [&self.main_ring, &self.latency_ring, &self.poll_ring]
            .into_iter()
            .sum()
    }
}

/// One part of [`IoStats`]: how many operations of each kind completed without error, and how
/// many bytes they moved.
///
/// Pairs are (operations, bytes). An operation is what the kernel was asked for once: a large read
/// may take several, reads that were merged into one count as one. An operation whose future was
/// dropped is counted if the kernel finished it all the same.
///
/// # Examples
///
/// The sum of the statistics of several executors:
///
/// ```
/// use glommio::RingIoStats;
///
/// let parts = [RingIoStats::default(), RingIoStats::default()];
/// let all: RingIoStats = parts.iter().sum();
/// assert_eq!(all.files_opened(), 0);
/// ```
///
/// What happened between two readings:
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use glommio::{LocalExecutor, executor, net::{TcpListener, TcpStream}, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     let server = spawn_local(async move { listener.accept().await });
///     let mut client = TcpStream::connect(address).await?;
///     let mut server = server.await?;
///
///     let before = executor().io_stats().all_rings();
///     client.write_all(b"hello").await?;
///     server.read_exact(&mut [0; 5]).await?;
///     let after = executor().io_stats().all_rings();
///     assert_eq!(after.socket_writes().1 - before.socket_writes().1, 5);
///     assert_eq!(after.socket_reads().1 - before.socket_reads().1, 5);
///     assert_eq!(after.sockets_accepted(), 1);
///     // No files were touched.
///     assert_eq!((after.file_reads(), after.file_buffered_reads()), ((0, 0), (0, 0)));
///     assert_eq!((after.file_writes(), after.file_buffered_writes()), ((0, 0), (0, 0)));
///     assert_eq!((after.file_deduped_reads(), after.files_closed()), ((0, 0), 0));
///     // Nor pipes of other processes.
///     assert_eq!((after.pipe_reads(), after.pipe_writes()), ((0, 0), (0, 0)));
///     Ok::<(), glommio::GlommioError<()>>(())
/// })?;
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Default)]
pub struct RingIoStats {
    account: Account,
    latencies: Latencies,
}

impl RingIoStats {
    fn of(account: &Account) -> RingIoStats {
        let mut stats = RingIoStats::default();
        stats.account.add_tallies(account);
        if let Some(latencies) = account.latencies() {
            stats.latencies = latencies.clone();
        }
        stats
    }

    fn pair(&self, kind: IoKind) -> (u64, u64) {
        let tally = self.account.tally(kind);
        (tally.ops, tally.bytes)
    }

    /// Files that were opened or created. Minus [`files_closed`](Self::files_closed), those that are
    /// open now, as long as every file is closed by a task of the same kind of queue; in
    /// [`IoStats::all_rings`], whoever closes them.
    pub fn files_opened(&self) -> u64 {
        self.pair(IoKind::FileOpen).0
    }

    /// Files that were closed, also by being dropped.
    pub fn files_closed(&self) -> u64 {
        self.pair(IoKind::FileClose).0
    }

    /// Reads past the page cache: operations and bytes.
    pub fn file_reads(&self) -> (u64, u64) {
        self.pair(IoKind::FileRead)
    }

    /// Reads that were answered from the buffer of another read of the same file: reads and bytes.
    /// They are no operations and are not part of [`file_reads`](Self::file_reads).
    pub fn file_deduped_reads(&self) -> (u64, u64) {
        self.pair(IoKind::DedupedRead)
    }

    /// Reads through the page cache: operations and bytes.
    pub fn file_buffered_reads(&self) -> (u64, u64) {
        self.pair(IoKind::BufferedRead)
    }

    /// Writes past the page cache: operations and bytes.
    pub fn file_writes(&self) -> (u64, u64) {
        self.pair(IoKind::FileWrite)
    }

    /// Writes through the page cache: operations and bytes.
    pub fn file_buffered_writes(&self) -> (u64, u64) {
        self.pair(IoKind::BufferedWrite)
    }

    /// Receives on sockets: operations and bytes. The end of a stream is a receive of no bytes.
    pub fn socket_reads(&self) -> (u64, u64) {
        self.pair(IoKind::SocketRead)
    }

    /// Sends on sockets: operations and bytes. Small writes between two turns of the reactor leave
    /// in one operation.
    pub fn socket_writes(&self) -> (u64, u64) {
        self.pair(IoKind::SocketWrite)
    }

    /// Reads from the output of child processes that are pipes: operations and bytes. The end of a
    /// stream is a read of no bytes.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, executor, process::Command};
    ///
    /// LocalExecutor::default().run(async {
    ///     Command::new("echo").arg("hello").output().await?;
    ///     assert_eq!(executor().io_stats().all_rings().pipe_reads().1, 6);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    pub fn pipe_reads(&self) -> (u64, u64) {
        self.pair(IoKind::PipeRead)
    }

    /// Writes to the input of child processes that are pipes: operations and bytes. Small writes
    /// between two turns of the reactor leave in one operation.
    pub fn pipe_writes(&self) -> (u64, u64) {
        self.pair(IoKind::PipeWrite)
    }

    /// Connections that were accepted.
    pub fn sockets_accepted(&self) -> u64 {
        self.pair(IoKind::Accept).0
    }

    /// The distribution, in microseconds, of the time from the hand-over of a read or write of a
    /// file to the kernel until its completion was seen.
    ///
    /// The kernel and the device; and the executor, if it was busy running tasks when the operation
    /// completed. Empty unless the executor [records latencies].
    ///
    /// [records latencies]: crate::LocalExecutorBuilder::record_io_latencies
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutorBuilder, executor, io::DmaFile};
    ///
    /// let dir = tempfile::tempdir().unwrap();
    /// let handle = LocalExecutorBuilder::default()
    ///     .record_io_latencies(true)
    ///     .spawn(move || async move {
    ///         let file = DmaFile::create(dir.path().join("file")).await?;
    ///         file.write_at(file.alloc_dma_buffer(4096), 0).await?;
    ///         file.close().await?;
    ///         let io = executor().io_stats().all_rings();
    ///         let latency = io.io_latency_us();
    ///         assert_eq!(latency.count(), 1);
    ///         println!("p99 {:.0?} µs", latency.quantile(0.99));
    /// #       Ok::<(), glommio::GlommioError<()>>(())
    ///     })?;
    /// handle.join()??;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn io_latency_us(&self) -> &DDSketch {
        &self.latencies.io
    }

    /// The distribution, in microseconds, of the time from the submission of a read or write of a
    /// file by its task until the hand-over to the kernel.
    ///
    /// The wait for the end of the slice, as operations leave in batches; and for room below the
    /// [ring's depth](crate::LocalExecutorBuilder::ring_depth). Empty unless the executor records
    /// latencies.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutorBuilder, io::DmaFile};
    ///
    /// let dir = tempfile::tempdir().unwrap();
    /// let executor = LocalExecutorBuilder::default().record_io_latencies(true).make()?;
    /// executor.run(async {
    ///     let file = DmaFile::create(dir.path().join("file")).await?;
    ///     file.write_at(file.alloc_dma_buffer(4096), 0).await?;
    ///     file.close().await?;
    ///     let io = glommio::executor().io_stats().all_rings();
    ///     assert_eq!(io.pre_reactor_io_scheduler_latency_us().count(), 1);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn pre_reactor_io_scheduler_latency_us(&self) -> &DDSketch {
        &self.latencies.pre_reactor
    }

    /// The distribution, in microseconds, of the time from when the completion of a read or write of
    /// a file was seen until its task took the result.
    ///
    /// The wait in the run queue. A result that no task takes any more is not part of it. Empty
    /// unless the executor records latencies.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutorBuilder, io::DmaFile};
    ///
    /// let dir = tempfile::tempdir().unwrap();
    /// let executor = LocalExecutorBuilder::default().record_io_latencies(true).make()?;
    /// executor.run(async {
    ///     let file = DmaFile::create(dir.path().join("file")).await?;
    ///     file.write_at(file.alloc_dma_buffer(4096), 0).await?;
    ///     file.close().await?;
    ///     let io = glommio::executor().io_stats().all_rings();
    ///     assert_eq!(io.post_reactor_io_scheduler_latency_us().count(), 1);
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })?;
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn post_reactor_io_scheduler_latency_us(&self) -> &DDSketch {
        &self.latencies.post_reactor
    }
}

impl<'a> Sum<&'a RingIoStats> for RingIoStats {
    fn sum<I: Iterator<Item = &'a RingIoStats>>(iter: I) -> Self {
        iter.fold(RingIoStats::default(), |mut sum, part| {
            sum.account.add(&part.account);
            sum.latencies.add(&part.latencies);
            sum
        })
    }
}

/// Median, 99th percentile and maximum of a distribution.
struct Brief<'a>(&'a DDSketch);

impl fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quantile = |q| self.0.quantile(q).ok().flatten();
        f.debug_struct("DDSketch")
            .field("count", &self.0.count())
            .field("p50", &quantile(0.5))
            .field("p99", &quantile(0.99))
            .field("max", &self.0.max())
            .finish()
    }
}

impl fmt::Debug for RingIoStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingIoStats")
            .field("files_opened", &self.files_opened())
            .field("files_closed", &self.files_closed())
            .field("file_reads", &self.file_reads())
            .field("file_deduped_reads", &self.file_deduped_reads())
            .field("file_buffered_reads", &self.file_buffered_reads())
            .field("file_writes", &self.file_writes())
            .field("file_buffered_writes", &self.file_buffered_writes())
            .field("socket_reads", &self.socket_reads())
            .field("socket_writes", &self.socket_writes())
            .field("sockets_accepted", &self.sockets_accepted())
            .field("pipe_reads", &self.pipe_reads())
            .field("pipe_writes", &self.pipe_writes())
            .field("io_latency_us", &Brief(self.io_latency_us()))
            .field(
                "pre_reactor_io_scheduler_latency_us",
                &Brief(self.pre_reactor_io_scheduler_latency_us()),
            )
            .field(
                "post_reactor_io_scheduler_latency_us",
                &Brief(self.post_reactor_io_scheduler_latency_us()),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::ledger::{Ledger, Origin};

    fn totals() -> Totals {
        let mut ledger = Ledger::default();
        ledger.record_latencies();
        for (queue, latency_matters, bytes) in [(0, false, 4096), (1, true, 512)] {
            let origin = Origin {
                queue,
                tenant: queue,
                latency_matters,
            };
            let kind = IoKind::FileRead;
            ledger.queued(Some(kind), queue);
            ledger.waits(Some(kind), queue, 1);
            let at = ledger.time().expect("switched on");
            ledger.entered(1, at);
            ledger.looks();
            ledger.completed(origin, kind, queue, bytes);
            ledger.fetched(origin, Some(kind), queue, bytes);
            ledger.completed(origin, IoKind::DedupedRead, queue, 7);
        }
        ledger.totals()
    }

    #[test]
    fn queues_whose_latency_matters_are_the_latency_ring() {
        let stats = IoStats::of_executor(&totals(), &Totals::default());
        assert_eq!(stats.main_ring.file_reads(), (1, 4096));
        assert_eq!(stats.latency_ring.file_reads(), (1, 512));
        assert_eq!(stats.poll_ring.file_reads(), (0, 0));
    }

    #[test]
    fn what_was_polled_for_is_the_poll_ring_whatever_the_queue() {
        let stats = IoStats::of_executor(&Totals::default(), &totals());
        assert_eq!(stats.poll_ring.file_reads(), (2, 4608));
        assert_eq!(stats.poll_ring.io_latency_us().count(), 2);
        assert_eq!(stats.all_rings().file_reads(), (2, 4608));
        assert_eq!(stats.main_ring.file_reads(), (0, 0));
        let totals = totals();
        let of_queue = IoStats::of_queue(&totals.ordinary, &totals.latency_matters, false);
        assert_eq!(of_queue.main_ring.file_reads(), (1, 4096));
        assert_eq!(of_queue.poll_ring.file_reads(), (1, 512));
    }

    #[test]
    fn a_sum_has_counters_and_latencies_of_all_parts() {
        let all = IoStats::of_executor(&totals(), &Totals::default()).all_rings();
        assert_eq!(all.file_reads(), (2, 4608));
        assert_eq!(all.file_deduped_reads(), (2, 14));
        for sketch in [
            all.io_latency_us(),
            all.pre_reactor_io_scheduler_latency_us(),
            all.post_reactor_io_scheduler_latency_us(),
        ] {
            assert_eq!(sketch.count(), 2);
        }
        let twice: RingIoStats = [&all, &all].into_iter().sum();
        assert_eq!(twice.io_latency_us().count(), 4);
    }

    #[test]
    fn the_debug_text_is_readable() {
        let text = format!("{:?}", RingIoStats::default());
        assert!(text.contains("file_reads: (0, 0)"), "{text}");
        assert!(text.contains("count: 0, p50: None"), "{text}");
    }
}
