//! Tasks that wait for each other.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use crate::waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled};

/// Lets tasks of one executor go on once a number of them have arrived.
///
/// It can be used again: as soon as the tasks of one round are released, others may arrive for the
/// next.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use glommio::{LocalExecutor, spawn_local, sync::Barrier};
///
/// LocalExecutor::default().run(async {
///     let barrier = Rc::new(Barrier::new(3));
///     let tasks: Vec<_> = (0..3)
///         .map(|_| {
///             let barrier = barrier.clone();
///             spawn_local(async move { barrier.wait().await.is_leader() })
///         })
///         .collect();
///     let mut leaders = 0;
///     for task in tasks {
///         leaders += u32::from(task.await);
///     }
///     assert_eq!(leaders, 1);
/// });
/// ```
pub struct Barrier {
    tasks: usize,
    arrived: RefCell<Waiters<(), ()>>,
    _local: PhantomData<*const ()>,
}

impl WaiterCell for RefCell<Waiters<(), ()>> {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        f(&mut self.borrow_mut())
    }
}

impl Barrier {
    /// A barrier for `tasks` tasks. One for no task holds nobody up, like one for one.
    ///
    /// # Examples
    ///
    /// ```
    /// let barrier = glommio::sync::Barrier::new(2);
    /// # drop(barrier);
    /// ```
    pub fn new(tasks: usize) -> Self {
        Barrier {
            tasks,
            arrived: RefCell::new(Waiters::new()),
            _local: PhantomData,
        }
    }

    /// Arrives, and waits for the others.
    ///
    /// The one that arrives last does not wait; it is the leader of the round.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before the last one has arrived takes the arrival back: one more task
    /// has to arrive then. Afterwards it changes nothing for the others.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Barrier};
    ///
    /// LocalExecutor::default().run(async {
    ///     let barrier = Barrier::new(2);
    ///     let (one, other) = futures_lite::future::zip(barrier.wait(), barrier.wait()).await;
    ///     assert!(!one.is_leader());
    ///     assert!(other.is_leader());
    /// });
    /// ```
    pub async fn wait(&self) -> BarrierWaitResult {
        Wait {
            barrier: self,
            key: None,
        }
        .await
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("tasks", &self.tasks)
            .field("arrived", &self.arrived.borrow().len())
            .finish()
    }
}

/// What a task learns when its [`Barrier`] releases it.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, sync::Barrier};
///
/// LocalExecutor::default().run(async {
///     assert!(Barrier::new(1).wait().await.is_leader());
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    leader: bool,
}

impl BarrierWaitResult {
    /// Whether this task was the last to arrive; one of each round was.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Barrier};
    ///
    /// LocalExecutor::default().run(async {
    ///     let barrier = Barrier::new(1);
    ///     if barrier.wait().await.is_leader() {
    ///         // … what one task does for all …
    ///     }
    /// });
    /// ```
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// The wait of [`Barrier::wait`].
struct Wait<'a> {
    barrier: &'a Barrier,
    key: Option<Key>,
}

impl Future for Wait<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        let barrier = self.barrier;
        if let Some(key) = self.key {
            std::task::ready!(poll_verdict(&barrier.arrived, key, context));
            self.key = None;
            return Poll::Ready(BarrierWaitResult { leader: false });
        }
        let waker = context.waker().clone();
        let mut arrived = barrier.arrived.borrow_mut();
        if arrived.len() + 1 < barrier.tasks {
            let key = arrived.push((), waker);
            drop(arrived);
            self.key = Some(key);
            return Poll::Pending;
        }
        arrived.settle_all(());
        drop(arrived);
        wake_settled(&barrier.arrived);
        Poll::Ready(BarrierWaitResult { leader: true })
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let removed = self.barrier.arrived.borrow_mut().remove(key);
            drop(removed);
        }
    }
}
