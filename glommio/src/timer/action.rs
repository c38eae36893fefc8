//! Doing something later, in a task of its own.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use super::sleep::Timer;
use crate::{
    error::Result,
    executor::{TaskQueueHandle, executor, spawn_local, spawn_local_into},
    task::JoinHandle,
};

/// Runs a future once, when its time has come.
///
/// The action has a task of its own. Dropping this handle changes nothing for it; use
/// [`destroy`](Self::destroy) or [`cancel`](Self::cancel) to stop it.
///
/// # Examples
///
/// An idle connection is closed unless something happens:
///
/// ```
/// use std::time::Duration;
/// use glommio::{LocalExecutor, timer::TimerActionOnce};
///
/// LocalExecutor::default().run(async {
///     let close = TimerActionOnce::do_in(Duration::from_millis(1), async { "closed" });
///     close.rearm_in(Duration::from_millis(2)); // something happened
///     assert_eq!(close.join().await, Some("closed"));
/// });
/// ```
#[derive(Debug)]
pub struct TimerActionOnce<T> {
    handle: JoinHandle<T>,
    /// Gone as soon as the action has started, or will not.
    timer: Weak<RefCell<Timer>>,
}

impl<T: 'static> TimerActionOnce<T> {
    /// Runs `action` when `when` has passed, in the task queue of the running task.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let action = TimerActionOnce::do_in(Duration::from_millis(1), async { 7 });
    ///     assert_eq!(action.join().await, Some(7));
    /// });
    /// ```
    #[track_caller]
    pub fn do_in(when: Duration, action: impl Future<Output = T> + 'static) -> TimerActionOnce<T> {
        Self::spawn(Timer::new(when), action)
    }

    /// Runs `action` when `when` has passed, in a task queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{Latency, LocalExecutor, Shares, executor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue = executor().create_task_queue(Shares::Static(10), Latency::NotImportant, "late");
    ///     let which = async { executor().current_task_queue() };
    ///     let action = TimerActionOnce::do_in_into(Duration::from_millis(1), which, queue)?;
    ///     assert_eq!(action.join().await, Some(queue));
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn do_in_into(
        when: Duration,
        action: impl Future<Output = T> + 'static,
        tq: TaskQueueHandle,
    ) -> Result<TimerActionOnce<T>, ()> {
        Self::spawn_into(Timer::new(when), action, tq)
    }

    /// Runs `action` at `when`, or at once if that has passed, in the task queue of the running task.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let when = Instant::now() + Duration::from_millis(1);
    ///     let action = TimerActionOnce::do_at(when, async { Instant::now() });
    ///     assert!(action.join().await >= Some(when));
    /// });
    /// ```
    #[track_caller]
    pub fn do_at(when: Instant, action: impl Future<Output = T> + 'static) -> TimerActionOnce<T> {
        Self::spawn(Timer::at(when), action)
    }

    /// Runs `action` at `when`, or at once if that has passed, in a task queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Instant;
    /// use glommio::{LocalExecutor, TaskQueueHandle, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue = TaskQueueHandle::default();
    ///     let action = TimerActionOnce::do_at_into(Instant::now(), async { 7 }, queue)?;
    ///     assert_eq!(action.join().await, Some(7));
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn do_at_into(
        when: Instant,
        action: impl Future<Output = T> + 'static,
        tq: TaskQueueHandle,
    ) -> Result<TimerActionOnce<T>, ()> {
        Self::spawn_into(Timer::at(when), action, tq)
    }

    #[track_caller]
    fn spawn(timer: Timer, action: impl Future<Output = T> + 'static) -> TimerActionOnce<T> {
        let timer = Rc::new(RefCell::new(timer));
        TimerActionOnce {
            timer: Rc::downgrade(&timer),
            handle: spawn_local(delayed(timer, action)).detach(),
        }
    }

    #[track_caller]
    fn spawn_into(
        timer: Timer,
        action: impl Future<Output = T> + 'static,
        tq: TaskQueueHandle,
    ) -> Result<TimerActionOnce<T>, ()> {
        let timer = Rc::new(RefCell::new(timer));
        Ok(TimerActionOnce {
            timer: Rc::downgrade(&timer),
            handle: spawn_local_into(delayed(timer, action), tq)?.detach(),
        })
    }

    /// Stops the action, whether or not it has started, and waits until its future is dropped.
    ///
    /// # Panics
    ///
    /// With the panic of the action, if it panicked.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it stops the action in any case; dropping the future cuts the waiting short.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{rc::Rc, time::Duration};
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let held = Rc::new(());
    ///     let theirs = held.clone();
    ///     let action = TimerActionOnce::do_in(Duration::from_secs(60), async move { drop(theirs) });
    ///     action.cancel().await;
    ///     assert_eq!(Rc::strong_count(&held), 1);
    /// });
    /// ```
    pub async fn cancel(self) {
        self.handle.cancel();
        self.handle.await;
    }

    /// Stops the action, whether or not it has started, at its next scheduling point, without
    /// waiting for that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let action = TimerActionOnce::do_in(Duration::from_millis(1), async { 7 });
    ///     action.destroy();
    ///     assert_eq!(action.join().await, None);
    /// });
    /// ```
    pub fn destroy(&self) {
        self.handle.cancel();
    }

    /// Puts the start off, or forward, to when `dur` will have passed.
    ///
    /// Changes nothing once the action has started or was stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let start = Instant::now();
    ///     let action = TimerActionOnce::do_in(Duration::from_secs(60), async { Instant::now() });
    ///     action.rearm_in(Duration::from_millis(2));
    ///     assert!(action.join().await >= Some(start + Duration::from_millis(2)));
    /// });
    /// ```
    pub fn rearm_in(&self, dur: Duration) {
        if let Some(timer) = self.timer.upgrade() {
            timer.borrow_mut().reset(dur);
        }
    }

    /// Puts the start off, or forward, to `when`.
    ///
    /// Changes nothing once the action has started or was stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let action = TimerActionOnce::do_in(Duration::from_secs(60), async { 7 });
    ///     action.rearm_at(Instant::now());
    ///     assert_eq!(action.join().await, Some(7));
    /// });
    /// ```
    pub fn rearm_at(&self, when: Instant) {
        if let Some(timer) = self.timer.upgrade() {
            timer.borrow_mut().reset_at(when);
        }
    }

    /// Waits for the action's output; `None` if it was stopped.
    ///
    /// # Panics
    ///
    /// With the panic of the action, if it panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the output; the action is not stopped.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, timer::TimerActionOnce};
    ///
    /// LocalExecutor::default().run(async {
    ///     let action = TimerActionOnce::do_in(Duration::ZERO, async { 7 });
    ///     assert_eq!(action.join().await, Some(7));
    /// });
    /// ```
    pub async fn join(self) -> Option<T> {
        self.handle.await
    }
}

/// Waits, drops the timer, then acts.
async fn delayed<T>(timer: Rc<RefCell<Timer>>, action: impl Future<Output = T>) -> T {
    // The waker is this task's, so the borrow covers no code of others.
    poll_fn(|context| Pin::new(&mut *timer.borrow_mut()).poll(context)).await;
    drop(timer);
    action.await
}

/// Runs a future again and again, with pauses that it chooses.
///
/// The action has a task of its own. Dropping this handle changes nothing for it; use
/// [`destroy`](Self::destroy) or [`cancel`](Self::cancel) to stop it.
///
/// # Examples
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use glommio::{LocalExecutor, timer::TimerActionRepeat};
///
/// LocalExecutor::default().run(async {
///     let left = Rc::new(Cell::new(3));
///     let theirs = left.clone();
///     let action = TimerActionRepeat::repeat(move || {
///         theirs.set(theirs.get() - 1);
///         let again = theirs.get() > 0;
///         async move { again.then_some(Duration::from_millis(1)) }
///     });
///     assert_eq!(action.join().await, Some(()));
///     assert_eq!(left.get(), 0);
/// });
/// ```
#[derive(Debug)]
pub struct TimerActionRepeat {
    handle: JoinHandle<()>,
}

impl TimerActionRepeat {
    /// Runs the future that `action_gen` makes, for the first time as soon as the executor gets to
    /// it, and again after the duration that it returns, until that is `None`; in the task queue of
    /// the running task. A duration of zero lets other tasks run first, as
    /// [`yield_now`](crate::ExecutorProxy::yield_now) does.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, timer::TimerActionRepeat};
    ///
    /// LocalExecutor::default().run(async {
    ///     let once = TimerActionRepeat::repeat(|| async { None });
    ///     assert_eq!(once.join().await, Some(()));
    /// });
    /// ```
    #[track_caller]
    pub fn repeat<G, F>(action_gen: G) -> TimerActionRepeat
    where
        G: Fn() -> F + 'static,
        F: Future<Output = Option<Duration>> + 'static,
    {
        TimerActionRepeat {
            handle: spawn_local(repeated(action_gen)).detach(),
        }
    }

    /// The same as [`repeat`](Self::repeat), in a task queue.
    ///
    /// # Errors
    ///
    /// `QueueError` with `NotFound` if there is no such queue.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, TaskQueueHandle, timer::TimerActionRepeat};
    ///
    /// LocalExecutor::default().run(async {
    ///     let queue = TaskQueueHandle::default();
    ///     let once = TimerActionRepeat::repeat_into(|| async { None }, queue)?;
    ///     assert_eq!(once.join().await, Some(()));
    ///     Ok::<(), glommio::GlommioError<()>>(())
    /// })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn repeat_into<G, F>(action_gen: G, tq: TaskQueueHandle) -> Result<TimerActionRepeat, ()>
    where
        G: Fn() -> F + 'static,
        F: Future<Output = Option<Duration>> + 'static,
    {
        Ok(TimerActionRepeat {
            handle: spawn_local_into(repeated(action_gen), tq)?.detach(),
        })
    }

    /// Stops the action, in a pause or while it runs, and waits until its future is dropped.
    ///
    /// # Panics
    ///
    /// With the panic of the action, if it panicked.
    ///
    /// # Cancel safety
    ///
    /// Once polled, it stops the action in any case; dropping the future cuts the waiting short.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, timer::TimerActionRepeat};
    ///
    /// LocalExecutor::default().run(async {
    ///     let action = TimerActionRepeat::repeat(|| async { Some(Duration::from_millis(1)) });
    ///     action.cancel().await;
    /// });
    /// ```
    pub async fn cancel(self) {
        self.handle.cancel();
        self.handle.await;
    }

    /// Stops the action, in a pause or while it runs, at its next scheduling point, without waiting
    /// for that.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use glommio::{LocalExecutor, timer::TimerActionRepeat};
    ///
    /// LocalExecutor::default().run(async {
    ///     let action = TimerActionRepeat::repeat(|| async { Some(Duration::from_millis(1)) });
    ///     action.destroy();
    ///     assert_eq!(action.join().await, None);
    /// });
    /// ```
    pub fn destroy(&self) {
        self.handle.cancel();
    }

    /// Waits until the action wants no repetition; `None` if it was stopped.
    ///
    /// # Panics
    ///
    /// With the panic of the action, if it panicked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the action.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, timer::TimerActionRepeat};
    ///
    /// LocalExecutor::default().run(async {
    ///     assert_eq!(TimerActionRepeat::repeat(|| async { None }).join().await, Some(()));
    /// });
    /// ```
    pub async fn join(self) -> Option<()> {
        self.handle.await
    }
}

async fn repeated<G, F>(action_gen: G)
where
    G: Fn() -> F,
    F: Future<Output = Option<Duration>>,
{
    while let Some(pause) = action_gen().await {
        if pause.is_zero() {
            // No timer would wait, and nobody else would ever run again.
            executor().yield_now().await;
        } else {
            Timer::new(pause).await;
        }
    }
}
