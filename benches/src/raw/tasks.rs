//! What tasks cost when they are made by hand: a ready queue of boxed futures.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{self, Future};
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crate::{Sample, Stopwatch};

type Boxed<T> = Pin<Box<dyn Future<Output = T>>>;

thread_local! {
    // Slots of the tasks to poll next. One ready queue per thread at a time, so wakers need not say
    // which; a waker used on another thread wakes nobody, and none is.
    static READY: RefCell<VecDeque<usize>> = const { RefCell::new(VecDeque::new()) };
}

struct Slot {
    index: usize,
    queued: AtomicBool,
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Not a swap: only one thread is here.
        if !self.queued.load(Ordering::Relaxed) {
            self.queued.store(true, Ordering::Relaxed);
            READY.with_borrow_mut(|ready| ready.push_back(self.index));
        }
    }
}

struct Task {
    future: Boxed<()>,
    slot: Arc<Slot>,
    waker: Waker,
}

/// Polls tasks in the order in which they were woken.
pub(super) struct ReadyQueue {
    tasks: Vec<Option<Task>>,
    live: usize,
}

impl ReadyQueue {
    pub(super) fn new() -> Self {
        READY.with_borrow_mut(VecDeque::clear);
        Self {
            tasks: Vec::new(),
            live: 0,
        }
    }

    pub(super) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        let slot = Arc::new(Slot {
            index: self.tasks.len(),
            queued: AtomicBool::new(false),
        });
        let waker = Waker::from(slot.clone());
        waker.wake_by_ref();
        self.tasks.push(Some(Task {
            future: Box::pin(future),
            slot,
            waker,
        }));
        self.live += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Polls until no task is ready.
    pub(super) fn run(&mut self) {
        while let Some(index) = READY.with_borrow_mut(VecDeque::pop_front) {
            let Some(task) = &mut self.tasks[index] else {
                continue;
            };
            task.slot.queued.store(false, Ordering::Relaxed);
            if task
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&task.waker))
                .is_ready()
            {
                self.tasks[index] = None;
                self.live -= 1;
            }
        }
    }
}

async fn yield_now() {
    let mut yielded = false;
    future::poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

// Runs one future on a ready queue and returns what it measured.
fn measure(future: impl Future<Output = Sample> + 'static) -> Sample {
    let result = Rc::new(Cell::new(None));
    let slot = result.clone();
    let mut queue = ReadyQueue::new();
    queue.spawn(async move { slot.set(Some(future.await)) });
    queue.run();
    result
        .get()
        .expect("the future needs nothing but the queue to finish")
}

/// One task goes to the back of the ready queue `n` times.
pub fn yields(n: u64) -> Sample {
    measure(async move {
        let watch = Stopwatch::start();
        for _ in 0..n {
            yield_now().await;
        }
        watch.stop(n)
    })
}

/// Boxes a future, queues it, polls it to its end and frees it, `n` times.
pub fn spawns(n: u64) -> Sample {
    let mut queue: VecDeque<Boxed<u64>> = VecDeque::new();
    let waker = Waker::noop();
    let watch = Stopwatch::start();
    for i in 0..n {
        queue.push_back(black_box(Box::pin(async move { i })));
        let mut task = queue.pop_front().expect("pushed the line before");
        match task.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Ready(value) => assert_eq!(value, i),
            Poll::Pending => unreachable!("the future awaits nothing"),
        }
    }
    watch.stop(n)
}

/// Passes `n` messages through a bounded queue (128) from one task to another.
pub fn local_channel(n: u64) -> Sample {
    const CAPACITY: usize = 128;

    struct Channel {
        messages: VecDeque<u64>,
        sender: Option<Waker>,
        receiver: Option<Waker>,
    }

    let channel = Rc::new(RefCell::new(Channel {
        messages: VecDeque::with_capacity(CAPACITY),
        sender: None,
        receiver: None,
    }));
    let mut queue = ReadyQueue::new();

    let tx = channel.clone();
    queue.spawn(async move {
        for i in 0..n {
            future::poll_fn(|cx| {
                let mut channel = tx.borrow_mut();
                if channel.messages.len() == CAPACITY {
                    channel.sender = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                channel.messages.push_back(i);
                if let Some(waker) = channel.receiver.take() {
                    waker.wake();
                }
                Poll::Ready(())
            })
            .await;
        }
    });
    queue.spawn(async move {
        for i in 0..n {
            let got = future::poll_fn(|cx| {
                let mut channel = channel.borrow_mut();
                let Some(message) = channel.messages.pop_front() else {
                    channel.receiver = Some(cx.waker().clone());
                    return Poll::Pending;
                };
                if let Some(waker) = channel.sender.take() {
                    waker.wake();
                }
                Poll::Ready(message)
            })
            .await;
            assert_eq!(got, i);
        }
    });

    let watch = Stopwatch::start();
    queue.run();
    assert!(queue.is_empty());
    watch.stop(n)
}

/// Compares the cycle counter with a deadline and looks at one flag, `n` times.
///
/// That is all there is to know about whether a task should yield; on processors without a cheap
/// counter it is the monotonic clock.
pub fn need_preempt(n: u64) -> Sample {
    let deadline = black_box(cycles() + Duration::from_secs(3600).as_nanos() as u64 * 8);
    let flag = AtomicBool::new(false);
    let flag = black_box(&flag);
    let mut preempted = 0;
    let watch = Stopwatch::start();
    for _ in 0..n {
        preempted += u64::from(black_box(
            cycles() > deadline || flag.load(Ordering::Relaxed),
        ));
    }
    let sample = watch.stop(n);
    assert_eq!(preempted, 0, "the deadline is an hour away");
    sample
}

#[cfg(target_arch = "x86_64")]
fn cycles() -> u64 {
    // SAFETY: every x86_64 processor has the instruction, and Linux does not forbid it to programs.
    unsafe { std::arch::x86_64::_rdtsc() }
}

#[cfg(not(target_arch = "x86_64"))]
fn cycles() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;

    static EPOCH: OnceLock<Instant> = OnceLock::new();
    EPOCH.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_does_what_it_was_asked() {
        for baseline in [yields, spawns, local_channel, need_preempt] {
            assert_eq!(baseline(1000).ops, 1000);
        }
    }

    #[test]
    fn a_task_that_nobody_wakes_stays() {
        let mut queue = ReadyQueue::new();
        queue.spawn(future::pending());
        queue.run();
        assert!(!queue.is_empty());
    }
}
