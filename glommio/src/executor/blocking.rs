//! The threads on which one executor runs code that blocks.
//!
//! Jobs wait in one queue, first come first served. A thread is started when a job arrives that no
//! idle thread can take, up to the number the pool was made with, and stays until the pool is gone.
//! A job that was accepted always runs: dropping its future or the pool does not call it back, and
//! nobody waits for it then; should it panic all the same, the pool's owner is told. The threads that drain the queue of a dropped pool end by themselves.
//!
//! The threads inherit the signal mask of the executor's thread, and block what the program waits for
//! by `glommio::signal`; nothing else: their mask is inherited by every process that a job starts,
//! which then ignored SIGTERM. Other signals sent to the whole process may therefore interrupt a
//! system call of a job, as on any other thread of the program.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::{
    blocking_job::{BlockingTask, OnUnobserved, Outcome, Slot},
    queue::TaskQueueHandle,
};
use crate::{error::PanicPayload, sys::signals, task::discard};

/// What a new thread of the pool does first: it binds itself to its CPUs.
pub(crate) type ThreadSetup = Arc<dyn Fn() -> io::Result<()> + Send + Sync>;

type Job = Box<dyn FnOnce() + Send>;

/// How a thread is started; replaced in tests.
type StartThread = fn(thread::Builder, Job) -> io::Result<()>;

/// The blocking threads of one executor.
pub(crate) struct BlockingPool {
    /// Threads are named `<executor>-blocking-<n>`.
    executor_name: String,
    /// One entry per thread the pool may have.
    setups: Vec<ThreadSetup>,
    start_thread: StartThread,
    shared: Arc<Shared>,
    on_unobserved: OnUnobserved,
}

/// What a pool has to do.
#[cfg(feature = "metrics")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    /// Threads that were started.
    pub(super) threads: usize,
    /// Of these, the ones that wait for a job.
    pub(super) idle: usize,
    /// Jobs that wait for a thread.
    pub(super) queued: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled once per queued job, and to all when the pool is dropped.
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Threads started and not failed to start; never falls otherwise.
    threads: usize,
    /// Threads waiting for `work`. Those already signalled count until they have the lock again, so
    /// the queue may need a thread exactly when it is longer than this.
    idle: usize,
    /// The pool was dropped: threads end when the queue is empty.
    closed: bool,
}

impl BlockingPool {
    /// A pool of at most `setups.len()` threads, none of which is started yet.
    ///
    /// # Panics
    /// If there is no setup: jobs would wait for ever.
    pub(crate) fn new(
        executor_name: &str,
        setups: Vec<ThreadSetup>,
        on_unobserved: OnUnobserved,
    ) -> BlockingPool {
        assert!(!setups.is_empty(), "a blocking pool without threads");
        BlockingPool {
            // The operating system does not take names with a zero byte.
            executor_name: executor_name.replace('\0', "?"),
            setups,
            start_thread: |builder, job| builder.spawn(job).map(drop),
            shared: Arc::default(),
            on_unobserved,
        }
    }

    /// Queues `job`, of a task of `queue`, and returns the future of its result. The job runs whether or not the future is
    /// polled; a panic in it resumes where the future is awaited.
    ///
    /// # Panics
    /// The future panics if the pool has no thread and the system refuses to start one.
    pub(crate) fn run<F, R>(&self, queue: TaskQueueHandle, job: F) -> BlockingTask<R>
    where
        F: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        let slot = Arc::new(Slot::new(queue, Arc::clone(&self.on_unobserved)));
        let theirs = Arc::clone(&slot);
        let job: Job = Box::new(move || {
            let result = panic::catch_unwind(AssertUnwindSafe(job));
            theirs.finish(Outcome::Done(result));
        });
        if let Err(error) = self.queue(job) {
            slot.finish(Outcome::NoThread(error));
        }
        BlockingTask::new(slot)
    }

    /// Queues `job` and starts a thread if it needs one. Fails if nobody would ever run it.
    fn queue(&self, job: Job) -> io::Result<()> {
        let mut state = self.shared.lock();
        state.queue.push_back(job);
        let needs_thread = state.queue.len() > state.idle && state.threads < self.setups.len();
        if !needs_thread {
            drop(state);
            self.shared.work.notify_one();
            return Ok(());
        }
        let number = state.threads;
        state.threads += 1;
        drop(state);

        let name = format!("{}-blocking-{number}", self.executor_name);
        let setup = Arc::clone(&self.setups[number]);
        let shared = Arc::clone(&self.shared);
        let thread = Box::new(move || shared.work_until_closed(&*setup));
        let Err(error) = (self.start_thread)(thread::Builder::new().name(name), thread) else {
            return Ok(());
        };
        let mut state = self.shared.lock();
        state.threads -= 1;
        if state.threads > 0 {
            // The others get to the job.
            drop(state);
            self.shared.work.notify_one();
            tracing::debug!(target: "glommio::executor", %error, "no further blocking thread");
            return Ok(());
        }
        // Without a thread, nothing but this job can be in the queue.
        let unwanted = state.queue.pop_back();
        drop(state);
        drop(unwanted);
        Err(error)
    }
}

#[cfg(feature = "metrics")]
impl BlockingPool {
    /// How many threads and jobs there are now.
    pub(super) fn load(&self) -> Load {
        let state = self.shared.lock();
        Load {
            threads: state.threads,
            idle: state.idle,
            queued: state.queue.len(),
        }
    }
}

impl Drop for BlockingPool {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.work.notify_all();
    }
}

impl fmt::Debug for BlockingPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("BlockingPool")
            .field("executor_name", &self.executor_name)
            .field("max_threads", &self.setups.len())
            .field("threads", &state.threads)
            .field("idle", &state.idle)
            .field("queued", &state.queue.len())
            .finish()
    }
}

impl Shared {
    /// No user code runs under this lock, so whoever panicked with it left the state consistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of one thread.
    fn work_until_closed(&self, setup: &dyn Fn() -> io::Result<()>) {
        signals::block_held();
        if let Err(error) = setup() {
            // The builder checked the placement; CPUs can still go away afterwards. A job on
            // another CPU is better than none.
            let thread = thread::current();
            tracing::warn!(
                target: "glommio::executor",
                thread = thread.name(),
                %error,
                "cannot bind a blocking thread to its CPUs; it runs on any"
            );
        }
        while let Some(job) = self.next_job() {
            // The job catches the panics of the user's closure. What is left are those of foreign
            // wakers; the thread survives them too.
            if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(job)) {
                let payload = PanicPayload::new(payload);
                tracing::error!(
                    target: "glommio::executor",
                    thread = thread::current().name(),
                    panic = payload.message(),
                    "whoever awaits blocking work panicked when woken"
                );
                discard(payload.into_inner());
            }
        }
    }

    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.queue.pop_front() {
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state.idle += 1;
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Payload;
    use futures_lite::future::{block_on, poll_once, zip};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Waker};

    fn pool(threads: usize) -> BlockingPool {
        let no_setup: ThreadSetup = Arc::new(|| Ok(()));
        BlockingPool::new("test", vec![no_setup; threads], nobody_panics())
    }

    fn nobody_panics() -> OnUnobserved {
        Arc::new(|_, payload| panic!("unobserved: {}", panic_text(payload)))
    }

    /// A pool of one thread, and the panics that nobody awaited.
    fn watched_pool() -> (BlockingPool, mpsc::Receiver<(usize, String)>) {
        let (sender, receiver) = mpsc::channel();
        let mut pool = pool(1);
        pool.on_unobserved = Arc::new(move |queue, payload| {
            let _ = sender.send((queue.index(), panic_text(payload)));
        });
        (pool, receiver)
    }

    fn threads(pool: &BlockingPool) -> usize {
        pool.shared.lock().threads
    }

    fn panic_text(payload: Payload) -> String {
        match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload
                .downcast::<&str>()
                .map(|text| text.to_string())
                .unwrap(),
        }
    }

    #[test]
    fn a_job_runs_on_a_named_thread_and_returns_its_result() {
        let pool = pool(1);
        assert_eq!(threads(&pool), 0, "started before it was needed");
        let name = block_on(pool.run(TaskQueueHandle::default(), || {
            thread::current().name().map(str::to_owned)
        }));
        assert_eq!(name.as_deref(), Some("test-blocking-0"));
        assert_eq!(block_on(pool.run(TaskQueueHandle::default(), || 7)), 7);
        assert_eq!(threads(&pool), 1);
    }

    #[test]
    fn a_name_with_a_zero_byte_is_made_fit() {
        let pool = BlockingPool::new("a\0b", vec![Arc::new(|| Ok(()))], nobody_panics());
        let name = block_on(pool.run(TaskQueueHandle::default(), || {
            thread::current().name().map(str::to_owned)
        }));
        assert_eq!(name.as_deref(), Some("a?b-blocking-0"));
    }

    #[test]
    fn the_future_can_cross_threads() {
        let pool = pool(1);
        let task = pool.run(TaskQueueHandle::default(), || 5);
        assert_eq!(thread::spawn(|| block_on(task)).join().unwrap(), 5);
    }

    #[test]
    fn jobs_run_in_order_and_one_at_a_time_on_one_thread() {
        let pool = pool(1);
        let (sender, receiver) = mpsc::channel();
        let tasks: Vec<_> = (0..100)
            .map(|number| {
                let sender = sender.clone();
                pool.run(TaskQueueHandle::default(), move || {
                    sender.send(number).unwrap()
                })
            })
            .collect();
        tasks.into_iter().for_each(block_on);
        assert_eq!(
            receiver.try_iter().collect::<Vec<_>>(),
            (0..100).collect::<Vec<_>>()
        );
    }

    #[test]
    fn threads_are_started_up_to_the_limit_and_work_at_the_same_time() {
        let pool = pool(3);
        let meeting = Arc::new(Barrier::new(3));
        let jobs: Vec<_> = (0..3)
            .map(|_| {
                let meeting = Arc::clone(&meeting);
                // Finishes only if all three run at once.
                pool.run(TaskQueueHandle::default(), move || {
                    meeting.wait().is_leader()
                })
            })
            .collect();
        let more: Vec<_> = (0..20)
            .map(|number| pool.run(TaskQueueHandle::default(), move || number))
            .collect();
        let leaders = jobs.into_iter().map(block_on).filter(|leads| *leads);
        assert_eq!(leaders.count(), 1);
        for (number, task) in more.into_iter().enumerate() {
            assert_eq!(block_on(task), number);
        }
        assert_eq!(threads(&pool), 3);
    }

    #[test]
    fn every_thread_runs_its_own_setup_and_a_failing_one_does_not_end_it() {
        let ran: Arc<Mutex<Vec<usize>>> = Arc::default();
        let setup = |number| -> ThreadSetup {
            let ran = Arc::clone(&ran);
            Arc::new(move || {
                ran.lock().unwrap().push(number);
                Err(io::Error::from(io::ErrorKind::InvalidInput))
            })
        };
        let pool = BlockingPool::new("test", vec![setup(0), setup(1)], nobody_panics());
        let meeting = Arc::new(Barrier::new(2));
        let other = Arc::clone(&meeting);
        let first = pool.run(TaskQueueHandle::default(), move || {
            meeting.wait().is_leader()
        });
        let second = pool.run(TaskQueueHandle::default(), move || other.wait().is_leader());
        let (first, second) = block_on(zip(first, second));
        assert_ne!(first, second);
        let mut ran = ran.lock().unwrap().clone();
        ran.sort_unstable();
        assert_eq!(ran, [0, 1]);
    }

    #[test]
    fn a_panic_resumes_at_the_await_and_the_pool_keeps_its_thread() {
        let pool = pool(1);
        let id = block_on(pool.run(TaskQueueHandle::default(), || thread::current().id()));
        for round in 0..10 {
            let task = pool.run(TaskQueueHandle::default(), move || -> () {
                panic!("in round {round}")
            });
            let payload = panic::catch_unwind(AssertUnwindSafe(|| block_on(task))).unwrap_err();
            assert_eq!(panic_text(payload), format!("in round {round}"));
        }
        assert_eq!(
            block_on(pool.run(TaskQueueHandle::default(), || thread::current().id())),
            id
        );
    }

    #[test]
    fn a_dropped_future_does_not_stop_its_job() {
        let pool = pool(1);
        let (go, wait) = mpsc::channel::<()>();
        let (sender, receiver) = mpsc::channel();
        let gate = pool.run(TaskQueueHandle::default(), move || wait.recv());
        let mut task =
            Box::pin(pool.run(TaskQueueHandle::default(), move || sender.send(1).unwrap()));
        assert!(block_on(poll_once(&mut task)).is_none());
        drop(task);
        go.send(()).unwrap();
        assert_eq!(receiver.recv(), Ok(1));
        assert_eq!(block_on(gate), Ok(()));
    }

    #[test]
    fn a_panic_after_the_future_was_dropped_is_reported() {
        let (pool, unobserved) = watched_pool();
        let (go, wait) = mpsc::channel::<()>();
        drop(pool.run(TaskQueueHandle::new(3, 0), move || {
            wait.recv().unwrap();
            panic!("too late");
        }));
        go.send(()).unwrap();
        assert_eq!(unobserved.recv(), Ok((3, "too late".to_owned())));
        assert_eq!(block_on(pool.run(TaskQueueHandle::default(), || 1)), 1);
    }

    #[test]
    fn a_panic_before_the_future_is_dropped_unpolled_is_reported() {
        let (pool, unobserved) = watched_pool();
        let task = pool.run(TaskQueueHandle::new(4, 0), || panic!("unseen"));
        // The one thread has finished the first job when it runs the second.
        block_on(pool.run(TaskQueueHandle::default(), || ()));
        assert!(unobserved.try_recv().is_err(), "the future could still ask");
        drop(task);
        assert_eq!(unobserved.try_recv(), Ok((4, "unseen".to_owned())));
    }

    #[test]
    fn a_panic_that_was_awaited_is_not_reported() {
        let (pool, unobserved) = watched_pool();
        let mut task = Box::pin(pool.run(TaskQueueHandle::default(), || panic!("seen")));
        panic::catch_unwind(AssertUnwindSafe(|| block_on(&mut task))).unwrap_err();
        drop(task);
        block_on(pool.run(TaskQueueHandle::default(), || ()));
        assert!(unobserved.try_recv().is_err());
    }

    #[test]
    fn a_job_that_got_no_thread_is_reported_if_nobody_awaits_it() {
        let (mut pool, unobserved) = watched_pool();
        pool.start_thread = |_, _| Err(io::Error::from(io::ErrorKind::WouldBlock));
        drop(pool.run(TaskQueueHandle::new(5, 2), || ()));
        let (queue, text) = unobserved.try_recv().unwrap();
        assert_eq!(queue, 5);
        assert!(text.starts_with("cannot start a thread"), "{text}");
    }

    #[test]
    fn an_unwanted_result_with_a_panicking_destructor_is_reported_and_leaves_the_pool_whole() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("destructor");
            }
        }
        let (pool, unobserved) = watched_pool();
        let id = block_on(pool.run(TaskQueueHandle::default(), || thread::current().id()));
        let (go, wait) = mpsc::channel::<()>();
        drop(pool.run(TaskQueueHandle::new(6, 0), move || {
            wait.recv().unwrap();
            Bomb
        }));
        go.send(()).unwrap();
        assert_eq!(unobserved.recv(), Ok((6, "destructor".to_owned())));
        assert_eq!(
            block_on(pool.run(TaskQueueHandle::default(), || thread::current().id())),
            id
        );
    }

    #[test]
    fn dropping_the_pool_waits_for_nobody_and_loses_no_job() {
        let pool = pool(1);
        let shared = Arc::clone(&pool.shared);
        let (go, wait) = mpsc::channel::<()>();
        let running = pool.run(TaskQueueHandle::default(), move || wait.recv());
        let queued = pool.run(TaskQueueHandle::default(), || 2);
        // Returns although `running` cannot finish before `go` is used.
        drop(pool);
        go.send(()).unwrap();
        assert_eq!(block_on(zip(running, queued)), (Ok(()), 2));
        // The thread holds the other reference until it ends.
        while Arc::strong_count(&shared) > 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn idle_threads_end_with_the_pool() {
        let pool = pool(1);
        block_on(pool.run(TaskQueueHandle::default(), || ()));
        let shared = Arc::clone(&pool.shared);
        drop(pool);
        while Arc::strong_count(&shared) > 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn no_thread_at_all_is_a_clear_panic_at_the_await() {
        let mut pool = pool(1);
        pool.start_thread = |_, _| Err(io::Error::from(io::ErrorKind::WouldBlock));
        let task = pool.run(TaskQueueHandle::default(), || 1);
        let payload = panic::catch_unwind(AssertUnwindSafe(|| block_on(task))).unwrap_err();
        let text = panic_text(payload);
        assert!(
            text.starts_with("cannot start a thread for blocking work: "),
            "{text}"
        );
        // The next job tries again.
        pool.start_thread = |builder, job| builder.spawn(job).map(drop);
        assert_eq!(block_on(pool.run(TaskQueueHandle::default(), || 2)), 2);
    }

    #[test]
    fn a_thread_that_cannot_be_added_leaves_its_job_to_the_others() {
        let mut pool = pool(2);
        let (go, wait) = mpsc::channel::<()>();
        let busy = pool.run(TaskQueueHandle::default(), move || wait.recv());
        pool.start_thread = |_, _| Err(io::Error::from(io::ErrorKind::WouldBlock));
        let task = pool.run(TaskQueueHandle::default(), || 3);
        go.send(()).unwrap();
        assert_eq!(block_on(zip(busy, task)), (Ok(()), 3));
        assert_eq!(threads(&pool), 1);
    }

    #[test]
    fn polling_again_replaces_the_waker() {
        struct Count(AtomicUsize);
        impl std::task::Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let pool = pool(1);
        let (go, wait) = mpsc::channel::<()>();
        let mut task = Box::pin(pool.run(TaskQueueHandle::default(), move || wait.recv()));
        let stale = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&stale));
        assert!(
            task.as_mut()
                .poll(&mut Context::from_waker(&waker))
                .is_pending()
        );
        assert!(block_on(poll_once(&mut task)).is_none());
        go.send(()).unwrap();
        assert_eq!(block_on(task), Ok(()));
        assert_eq!(stale.0.load(Ordering::SeqCst), 0);
        drop(waker);
        assert_eq!(Arc::strong_count(&stale), 1);
    }
}
