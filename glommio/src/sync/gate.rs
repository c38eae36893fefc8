//! Graceful shutdown: closing waits for everyone inside.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    error::{GlommioError, ResourceType},
    executor::{TaskQueueHandle, spawn_local, spawn_local_into},
    task::join::Task,
    waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled},
};

/// Lets tasks in until it is closed; closing waits until all of them have left.
///
/// Whoever uses a resource enters its gate first and holds the [`Pass`] meanwhile. Whoever wants to
/// tear the resource down closes the gate: from then on nobody enters, and once the close has
/// finished nobody is inside. Clones are the same gate.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, executor, sync::Gate};
///
/// LocalExecutor::default().run(async {
///     let gate = Gate::new();
///     let request = gate.spawn(async {
///         executor().yield_now().await;
///         "answered"
///     });
///     gate.close().await.unwrap(); // waits for the request
///     assert!(gate.enter().is_err());
///     assert_eq!(request.unwrap().await, "answered");
/// });
/// ```
#[derive(Clone)]
pub struct Gate {
    inner: Rc<RefCell<Inner>>,
}

struct Inner {
    open: bool,
    inside: usize,
    /// Those who wait for the last one to leave.
    closing: Waiters<(), ()>,
}

impl WaiterCell for RefCell<Inner> {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        f(&mut self.borrow_mut().closing)
    }
}

impl Gate {
    /// An open gate.
    ///
    /// # Examples
    ///
    /// ```
    /// assert!(glommio::sync::Gate::new().is_open());
    /// ```
    #[allow(clippy::new_without_default)] // 0.9 has no `Default` either
    pub fn new() -> Self {
        Gate {
            inner: Rc::new(RefCell::new(Inner {
                open: true,
                inside: 0,
                closing: Waiters::new(),
            })),
        }
    }

    /// Enters, until the pass is dropped.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::Gate`] if the gate is closed, or closing.
    ///
    /// # Examples
    ///
    /// ```
    /// let gate = glommio::sync::Gate::new();
    /// let pass = gate.enter().unwrap();
    /// // … use what the gate protects …
    /// drop(pass);
    /// ```
    pub fn enter(&self) -> Result<Pass, GlommioError<()>> {
        let mut inner = self.inner.borrow_mut();
        if !inner.open {
            return Err(GlommioError::Closed(ResourceType::Gate));
        }
        inner.inside += 1;
        Ok(Pass {
            inner: self.inner.clone(),
        })
    }

    /// Spawns a task that is inside until its future is dropped, into the queue of the running one.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::Gate`] if the gate is closed, or closing.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Gate};
    ///
    /// LocalExecutor::default().run(async {
    ///     let gate = Gate::new();
    ///     let task = gate.spawn(async { 6 * 7 }).unwrap();
    ///     assert_eq!(task.await, 42);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
    ) -> Result<Task<T>, GlommioError<()>> {
        let pass = self.enter()?;
        Ok(spawn_local(hold(future, pass)))
    }

    /// Spawns a task that is inside until its future is dropped, into a queue.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::Gate`] if the gate is closed, or closing; `QueueError` with
    /// `NotFound` if there is no such queue.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{Latency, LocalExecutor, Shares, executor, sync::Gate};
    ///
    /// LocalExecutor::default().run(async {
    ///     let background =
    ///         executor().create_task_queue(Shares::Static(10), Latency::NotImportant, "background");
    ///     let gate = Gate::new();
    ///     let task = gate.spawn_into(async { 6 * 7 }, background).unwrap();
    ///     assert_eq!(task.await, 42);
    /// });
    /// ```
    #[track_caller]
    pub fn spawn_into<T: 'static>(
        &self,
        future: impl Future<Output = T> + 'static,
        handle: TaskQueueHandle,
    ) -> Result<Task<T>, GlommioError<()>> {
        let pass = self.enter()?;
        spawn_local_into(hold(future, pass), handle)
    }

    /// Closes the gate and waits until everyone inside has left.
    ///
    /// The gate is closed at once; the returned future waits. It may be called any number of times,
    /// at the same time or one after the other, through this handle or a clone: each of the futures
    /// waits for the same thing.
    ///
    /// # Errors
    ///
    /// None; the type is that of 0.9.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops the waiting; the gate stays closed. Another call waits on.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Gate};
    ///
    /// LocalExecutor::default().run(async {
    ///     let gate = Gate::new();
    ///     gate.close().await.unwrap();
    ///     gate.close().await.unwrap();
    /// });
    /// ```
    pub fn close(&self) -> impl Future<Output = Result<(), GlommioError<()>>> + use<> {
        self.inner.borrow_mut().open = false;
        Close {
            inner: self.inner.clone(),
            key: None,
        }
    }

    /// Whether one may enter.
    ///
    /// # Examples
    ///
    /// ```
    /// let gate = glommio::sync::Gate::new();
    /// drop(gate.close());
    /// assert!(!gate.is_open());
    /// ```
    pub fn is_open(&self) -> bool {
        self.inner.borrow().open
    }

    /// Whether the gate is closed and nobody is inside any more.
    ///
    /// A gate that is closing is neither open nor closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let gate = glommio::sync::Gate::new();
    /// let pass = gate.enter().unwrap();
    /// drop(gate.close());
    /// assert!(!gate.is_open() && !gate.is_closed());
    /// drop(pass);
    /// assert!(gate.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        let inner = self.inner.borrow();
        !inner.open && inner.inside == 0
    }
}

/// Runs `future`, and drops it before the pass in any case: when it has finished, when it is
/// cancelled, and when it was never polled.
async fn hold<F: Future>(future: F, pass: Pass) -> F::Output {
    // Declared in this order: locals are dropped in reverse.
    let _pass = pass;
    future.await
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = self.inner.borrow();
        f.debug_struct("Gate")
            .field("open", &inner.open)
            .field("inside", &inner.inside)
            .field("closing", &inner.closing.len())
            .finish()
    }
}

/// The wait of [`Gate::close`].
struct Close {
    inner: Rc<RefCell<Inner>>,
    key: Option<Key>,
}

impl Future for Close {
    type Output = Result<(), GlommioError<()>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(key) = self.key {
            std::task::ready!(poll_verdict(&*self.inner, key, context));
            self.key = None;
            return Poll::Ready(Ok(()));
        }
        let waker = context.waker().clone();
        let mut inner = self.inner.borrow_mut();
        if inner.inside == 0 {
            return Poll::Ready(Ok(()));
        }
        let key = inner.closing.push((), waker);
        drop(inner);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Close {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            let removed = self.inner.borrow_mut().closing.remove(key);
            drop(removed);
        }
    }
}

/// Being inside a [`Gate`], until this is dropped.
///
/// Comes from [`Gate::enter`].
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, sync::Gate};
///
/// LocalExecutor::default().run(async {
///     let gate = Gate::new();
///     let pass = gate.enter().unwrap();
///     let closed = gate.close();
///     drop(pass); // else the next line would wait for ever
///     closed.await.unwrap();
/// });
/// ```
pub struct Pass {
    inner: Rc<RefCell<Inner>>,
}

impl Drop for Pass {
    fn drop(&mut self) {
        {
            let mut inner = self.inner.borrow_mut();
            inner.inside -= 1;
            if inner.inside > 0 || inner.open {
                return;
            }
            inner.closing.settle_all(());
        }
        wake_settled(&*self.inner);
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = self.inner.borrow().inside;
        f.debug_struct("Pass").field("inside", &inside).finish()
    }
}
