//! Telling tasks that something has changed.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use crate::waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled};

/// Tells the tasks of one executor that something has changed: a condition variable without a lock.
///
/// Tasks of an executor do not run at the same time, so the state that the condition is about needs
/// no lock: look at it, and if it is not as it should be, wait for [`notified`](Self::notified) and
/// look again.
///
/// [`notify_one`](Self::notify_one) wakes the task that has waited longest. If nobody waits it is
/// remembered, once, for the next that does. [`notify_waiters`](Self::notify_waiters) wakes everyone
/// who waits now.
///
/// # Examples
///
/// ```
/// use std::{cell::RefCell, collections::VecDeque, rc::Rc};
/// use glommio::{LocalExecutor, spawn_local, sync::Notify};
///
/// LocalExecutor::default().run(async {
///     let queue = Rc::new((RefCell::new(VecDeque::new()), Notify::new()));
///     let consumer = spawn_local({
///         let queue = queue.clone();
///         async move {
///             loop {
///                 let item = queue.0.borrow_mut().pop_front();
///                 match item {
///                     Some(item) => return item,
///                     None => queue.1.notified().await,
///                 }
///             }
///         }
///     });
///     queue.0.borrow_mut().push_back("item");
///     queue.1.notify_one();
///     assert_eq!(consumer.await, "item");
/// });
/// ```
pub struct Notify {
    state: RefCell<State>,
    _local: PhantomData<*const ()>,
}

struct State {
    /// A `notify_one` that nobody has received.
    stored: bool,
    /// How often `notify_waiters` was called.
    rounds: u64,
    waiters: Waiters<(), Source>,
}

/// Where a notification came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// It belongs to one waiter; if that does not take it, it goes to the next.
    One,
    /// Everybody has it.
    All,
}

impl WaiterCell for RefCell<State> {
    type Request = ();
    type Verdict = Source;

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), Source>) -> R) -> R {
        f(&mut self.borrow_mut().waiters)
    }
}

impl Notify {
    /// Nobody waits, and nothing is remembered.
    ///
    /// # Examples
    ///
    /// ```
    /// let notify = glommio::sync::Notify::new();
    /// notify.notify_one();
    /// ```
    pub fn new() -> Self {
        Notify {
            state: RefCell::new(State {
                stored: false,
                rounds: 0,
                waiters: Waiters::new(),
            }),
            _local: PhantomData,
        }
    }

    /// A future that waits for a notification.
    ///
    /// It receives every [`notify_waiters`](Self::notify_waiters) after this call, polled or not. In
    /// the queue for [`notify_one`](Self::notify_one) it stands from its first poll on, or from
    /// [`Notified::enable`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. If a `notify_one` has chosen it, that
    /// goes to the next, or is remembered.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Notify};
    ///
    /// LocalExecutor::default().run(async {
    ///     let notify = Notify::new();
    ///     let notified = notify.notified();
    ///     notify.notify_waiters();
    ///     notified.await;
    /// });
    /// ```
    pub fn notified(&self) -> Notified<'_> {
        Notified {
            notify: self,
            stage: Stage::Created(self.state.borrow().rounds),
        }
    }

    /// Notifies the task that has waited longest, or the next one that will wait.
    ///
    /// Calls are not counted: several of them while nobody waits are remembered as one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Notify};
    ///
    /// LocalExecutor::default().run(async {
    ///     let notify = Notify::new();
    ///     notify.notify_one();
    ///     notify.notified().await; // at once
    /// });
    /// ```
    pub fn notify_one(&self) {
        {
            let mut state = self.state.borrow_mut();
            if !state.waiters.settle_front(Source::One) {
                state.stored = true;
            }
        }
        wake_settled(&self.state);
    }

    /// Notifies everyone who waits now; nothing is remembered for later.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Notify};
    ///
    /// LocalExecutor::default().run(async {
    ///     let notify = Notify::new();
    ///     let (one, other) = (notify.notified(), notify.notified());
    ///     notify.notify_waiters();
    ///     one.await;
    ///     other.await;
    /// });
    /// ```
    pub fn notify_waiters(&self) {
        {
            let mut state = self.state.borrow_mut();
            state.rounds += 1;
            state.waiters.settle_all(Source::All);
        }
        wake_settled(&self.state);
    }
}

impl Default for Notify {
    fn default() -> Self {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Notify")
            .field("stored", &state.stored)
            .field("waiting", &state.waiters.len())
            .finish()
    }
}

/// The wait for a notification; see [`Notify::notified`].
///
/// # Cancel safety
///
/// Dropping it loses no notification that another task could have.
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Not in the queue yet; with the number of `notify_waiters` calls before.
    Created(u64),
    Queued(Key),
    Done,
}

impl Notified<'_> {
    /// Takes a place in the queue without waiting, and says whether there is a notification already;
    /// if so, it is this future's.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::sync::Notify;
    ///
    /// let notify = Notify::new();
    /// let (mut first, mut second) = (notify.notified(), notify.notified());
    /// assert!(!first.enable());
    /// assert!(!second.enable());
    /// notify.notify_one();
    /// assert!(first.enable());
    /// assert!(!second.enable());
    /// ```
    pub fn enable(&mut self) -> bool {
        self.advance(&Context::from_waker(Waker::noop())).is_ready()
    }

    fn advance(&mut self, context: &Context<'_>) -> Poll<()> {
        let state = &self.notify.state;
        match self.stage {
            Stage::Done => Poll::Ready(()),
            Stage::Queued(key) => {
                std::task::ready!(poll_verdict(state, key, context));
                self.stage = Stage::Done;
                Poll::Ready(())
            }
            Stage::Created(rounds) => {
                let waker = context.waker().clone();
                let mut state = state.borrow_mut();
                if state.rounds != rounds || std::mem::take(&mut state.stored) {
                    self.stage = Stage::Done;
                    return Poll::Ready(());
                }
                self.stage = Stage::Queued(state.waiters.push((), waker));
                Poll::Pending
            }
        }
    }
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.advance(context)
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Stage::Queued(key) = self.stage else {
            return;
        };
        let removed = self.notify.state.borrow_mut().waiters.remove(key);
        let was_chosen = removed
            .as_ref()
            .is_some_and(|removed| removed.verdict == Some(Source::One));
        drop(removed);
        if was_chosen {
            self.notify.notify_one();
        }
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified")
            .field("stage", &self.stage)
            .finish()
    }
}
