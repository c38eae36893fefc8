//! What the workloads of all runtimes here have in common.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::thread;
use std::time::Duration;

use glommio_benches::exchange::{self, End};
use glommio_benches::{Sample, Stopwatch, host};

/// Bytes per random read.
pub const BLOCK_BYTES: usize = 4096;

/// A task that gives way `n` times.
pub async fn yields(n: u64) -> Sample {
    let watch = Stopwatch::start();
    for _ in 0..n {
        give_way().await;
    }
    watch.stop(n)
}

/// Goes to the back of the runtime's queue.
pub async fn give_way() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Spawns a trivial task and waits for it, `n` times. `spawn` gives a future of the task's output.
pub async fn spawns<J: Future<Output = u64>>(n: u64, spawn: impl Fn(u64) -> J) -> Sample {
    let watch = Stopwatch::start();
    for i in 0..n {
        assert_eq!(spawn(i).await, i);
    }
    watch.stop(n)
}

/// Polls a sleep of a second once and drops it, `n` times.
pub async fn arm_and_cancel<S: Future>(n: u64, sleep: impl Fn(Duration) -> S) -> Sample {
    let watch = Stopwatch::start();
    for _ in 0..n {
        let mut timer = pin!(sleep(Duration::from_secs(1)));
        let fired = poll_fn(|context| Poll::Ready(timer.as_mut().poll(context).is_ready())).await;
        assert!(!fired);
    }
    watch.stop(n)
}

/// Waits for `n` tasks that `spawn` starts.
pub async fn join_all<J: Future>(n: u64, spawn: impl Fn(u64) -> J) -> Sample {
    let watch = Stopwatch::start();
    let tasks: Vec<_> = (0..n).map(spawn).collect();
    for task in tasks {
        task.await;
    }
    watch.stop(n)
}

/// A ping-pong between a runtime on the first CPU and one on the last. `pong` drives the answering
/// future on a thread of its own, `ping` the asking one on this thread.
pub fn ping_pong(
    cpus: &[usize],
    n: u64,
    ping: impl FnOnce(Asking) -> io::Result<Sample>,
    pong: impl FnOnce(Answering) -> io::Result<()> + Send + 'static,
) -> io::Result<Sample> {
    let (asking, answering) = exchange::pair();
    on_two_cpus(
        cpus,
        || ping(Asking(asking, n)),
        move || pong(Answering(answering, n)),
    )
}

/// Runs `first` on this thread and the first CPU, `last` on a thread of its own and the last one.
pub fn on_two_cpus(
    cpus: &[usize],
    first: impl FnOnce() -> io::Result<Sample>,
    last: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<Sample> {
    let cpu = cpus.last().copied();
    let thread = thread::spawn(move || {
        if let Some(cpu) = cpu {
            host::pin(cpu)?;
        }
        last()
    });
    if let Some(&cpu) = cpus.first() {
        host::pin(cpu)?;
    }
    let sample = first()?;
    thread.join().expect("the other thread does not panic")?;
    Ok(sample)
}

/// The asking side.
pub struct Asking(End, u64);

/// The answering side.
pub struct Answering(End, u64);

impl Asking {
    /// Exchanges all messages.
    pub async fn run(self) -> Sample {
        // The first one waits until the other thread is there.
        self.0.ping(1, 2).await;
        let watch = Stopwatch::start();
        self.0.ping(2, self.1 + 2).await;
        watch.stop(self.1)
    }
}

impl Answering {
    /// Answers all messages.
    pub async fn run(self) {
        self.0.pong(1, self.1 + 2).await;
    }
}

/// How many of `n` reads reader number `reader` of `depth` does.
pub fn share(n: u64, depth: usize, reader: usize) -> u64 {
    n / depth as u64 + u64::from((reader as u64) < n % depth as u64)
}

/// A buffer that O_DIRECT takes, for runtimes that own buffers while they read.
pub struct Block(Box<Aligned>);

#[repr(C, align(4096))]
struct Aligned([u8; BLOCK_BYTES]);

impl Block {
    /// A zeroed buffer.
    pub fn new() -> Self {
        Block(Box::new(Aligned([0; BLOCK_BYTES])))
    }

    /// Its memory.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.0.as_ptr()
    }

    /// Its memory.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.0.0.as_mut_ptr()
    }
}

/// The result of a read, which must have filled the block.
pub fn whole(read: usize) -> io::Result<()> {
    if read == BLOCK_BYTES {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
