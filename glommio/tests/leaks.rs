//! Executors come and go and leave nothing behind (DataDog/glommio#448: six eventfds and the tasks'
//! headers of each executor stayed).

mod support;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, future};
use glommio::{
    Latency, LocalExecutor, LocalExecutorBuilder, Shares, executor,
    io::DmaFile,
    net::{TcpListener, TcpStream},
    spawn_local, spawn_local_into,
    timer::sleep,
};
use support::{alone, eventually, open_fds, status, threads};

/// How many executors are made and dropped; `GLOMMIO_TEST_EXECUTORS` sets another number.
const EXECUTORS: usize = 2_000;

/// By how much the heap may differ in the end, in bytes, however many executors there were: a few
/// tables whose size depends on what happened to coincide. Four bytes per executor would be more.
const HEAP_SLACK_BYTES: i64 = 8 << 10;

/// What may remain of the resident set, in KiB, however many there were: the allocator's own.
const RESIDENT_SLACK_KIB: u64 = 32 << 10;

/// The system's allocator, counting what is in use.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);
static LIVE_BLOCKS: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE_BYTES.fetch_add(layout.size() as i64, Ordering::Relaxed);
        LIVE_BLOCKS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size() as i64, Ordering::Relaxed);
        LIVE_BLOCKS.fetch_sub(1, Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// A thread that keeps the wakers it is given, and wakes them when it likes: some while their
/// executor lives, some long after.
#[derive(Default)]
struct Foreign {
    held: Mutex<Vec<Waker>>,
    /// Whoever wakes some holds it: when [`Foreign::let_go`] returns, nobody has any in hand.
    waking: Mutex<()>,
}

impl Foreign {
    /// A future that nobody completes, whose waker a foreign thread has.
    fn hold(self: &Arc<Self>) -> impl Future<Output = ()> + use<> {
        let foreign = self.clone();
        std::future::poll_fn(move |cx| {
            foreign.held.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Wakes all, and keeps no memory for others.
    fn let_go(&self) {
        self.wake_some(0);
        let empty = std::mem::take(&mut *self.held.lock().unwrap());
        assert!(empty.is_empty(), "an executor lives");
    }

    fn wake_some(&self, keep: usize) {
        let _waking = self.waking.lock().unwrap();
        let mut wakers = self.held.lock().unwrap();
        let surplus = wakers.len().saturating_sub(keep);
        let old: Vec<_> = wakers.drain(..surplus).collect();
        drop(wakers);
        for (i, waker) in old.into_iter().enumerate() {
            match i % 3 {
                0 => waker.wake(),
                1 => waker.wake_by_ref(),
                _ => drop(waker),
            }
        }
    }
}

/// Leaves something of everything unfinished, and ends.
async fn leave_unfinished(file: std::path::PathBuf, foreign: Arc<Foreign>) {
    let queue = executor().create_task_queue(
        Shares::Static(10),
        Latency::Matters(Duration::from_millis(1)),
        "other",
    );
    // Timers, near and far.
    spawn_local(sleep(Duration::from_secs(3600))).detach();
    spawn_local_into(sleep(Duration::from_millis(1)), queue)
        .unwrap()
        .detach();
    // An accept, a connect, a receive without data, a send without a reader.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, server) = future::zip(TcpStream::connect(addr), listener.accept()).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    spawn_local(async move {
        let _ = client.read(&mut [0; 16]).await;
    })
    .detach();
    server.write_all(&[1; 100]).await.unwrap();
    spawn_local_into(
        async move { while server.write_all(&[2; 8192]).await.is_ok() {} },
        queue,
    )
    .unwrap()
    .detach();
    spawn_local(async move {
        let _ = TcpStream::connect(addr).await;
    })
    .detach();
    spawn_local_into(
        async move {
            loop {
                let _ = listener.accept().await;
            }
        },
        queue,
    )
    .unwrap()
    .detach();
    // Reads in flight, and a file that nobody closes.
    let file = std::rc::Rc::new(DmaFile::open(file).await.unwrap());
    for i in 0..4 {
        let file = file.clone();
        spawn_local(async move {
            loop {
                let _ = file.read_at(i * 512, 4096).await;
            }
        })
        .detach();
    }
    // Tasks that another thread wakes, that are cancelled, that were never polled, that panic.
    spawn_local(foreign.hold()).detach();
    spawn_local_into(foreign.hold(), queue).unwrap().detach();
    drop(spawn_local(foreign.hold()));
    spawn_local(std::future::pending::<()>()).cancel().await;
    let joined = spawn_local(std::future::pending::<()>()).detach();
    spawn_local(async move {
        joined.await;
    })
    .detach();
    executor().yield_task_queue_now().await;
    spawn_local(async {}).detach();
}

/// Makes executors and drops them, most on this thread and some on threads of their own.
fn churn(executors: usize, file: &std::path::Path, foreign: &Arc<Foreign>) {
    for i in 0..executors {
        let (file, foreign) = (file.to_owned(), foreign.clone());
        match i % 8 {
            0 => LocalExecutorBuilder::default()
                .spawn(move || leave_unfinished(file, foreign))
                .unwrap()
                .join()
                .unwrap(),
            // Never runs.
            1 => drop(LocalExecutor::default()),
            2 => LocalExecutor::default().run(async {
                // A blocking job that outlives its executor.
                spawn_local(executor().spawn_blocking(|| {
                    std::thread::sleep(Duration::from_micros(200));
                }))
                .detach();
                executor().yield_now().await;
            }),
            _ => LocalExecutor::default().run(leave_unfinished(file, foreign)),
        }
    }
}

struct Footprint {
    fds: usize,
    threads: u64,
    heap_bytes: i64,
    heap_blocks: i64,
    resident_kib: u64,
}

impl Footprint {
    fn now() -> Footprint {
        Footprint {
            fds: open_fds(),
            threads: threads(),
            heap_bytes: LIVE_BYTES.load(Ordering::Relaxed),
            heap_blocks: LIVE_BLOCKS.load(Ordering::Relaxed),
            resident_kib: status("VmRSS"),
        }
    }
}

#[test]
fn executors_that_come_and_go_leave_nothing_behind() {
    alone(
        "executors_that_come_and_go_leave_nothing_behind",
        &[],
        || {
            let executors = match std::env::var("GLOMMIO_TEST_EXECUTORS") {
                Ok(number) => number.parse().expect("GLOMMIO_TEST_EXECUTORS is a number"),
                Err(_) => EXECUTORS,
            };
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("file");
            std::fs::write(&file, [1; 16 << 10]).unwrap();
            let foreign = Arc::<Foreign>::default();
            let stop = AtomicUsize::new(0);
            // The foreign one is the only thread that stays.
            let expected = threads() + 1;

            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while stop.load(Ordering::Relaxed) == 0 {
                        // Wakers are held for about a hundred executors.
                        foreign.wake_some(200);
                        std::thread::sleep(Duration::from_micros(500));
                    }
                    foreign.wake_some(0);
                });
                // Also if an assertion fails: the scope waits for the thread.
                scopeguard::defer! { stop.store(1, Ordering::Relaxed) }
                // What is made once, and tables that grow to their size.
                churn(100, &file, &foreign);
                foreign.let_go();
                let ended = || threads() == expected;
                eventually("the first threads have ended", ended);
                let before = Footprint::now();

                let start = std::time::Instant::now();
                churn(executors, &file, &foreign);
                let took = start.elapsed();
                foreign.let_go();

                eventually("all threads have ended", ended);
                eventually("descriptors are back", || open_fds() <= before.fds);
                let after = Footprint::now();
                eprintln!(
                    "{executors} executors in {took:?}: descriptors {} -> {}, threads {} -> {}, \
                 heap {} B in {} blocks -> {} B in {}, resident {} KiB -> {} KiB",
                    before.fds,
                    after.fds,
                    before.threads,
                    after.threads,
                    before.heap_bytes,
                    before.heap_blocks,
                    after.heap_bytes,
                    after.heap_blocks,
                    before.resident_kib,
                    after.resident_kib,
                );
                assert!(after.fds <= before.fds);
                assert_eq!(after.threads, before.threads);
                let grown = after.heap_bytes - before.heap_bytes;
                assert!(
                    grown <= HEAP_SLACK_BYTES,
                    "the heap grew by {grown} bytes in {} blocks",
                    after.heap_blocks - before.heap_blocks
                );
                assert!(after.resident_kib <= before.resident_kib + RESIDENT_SLACK_KIB);
            });
        },
    );
}
