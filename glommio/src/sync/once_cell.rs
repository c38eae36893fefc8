//! A value that is computed once, by an asynchronous initialiser.

use std::{
    cell::{self, RefCell},
    convert::Infallible,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
};

use crate::waiters::{Key, WaiterCell, Waiters, poll_verdict, wake_settled};

/// A cell that is written once, possibly by an asynchronous initialiser.
///
/// Tasks that ask for the value at the same time run one initialiser between them, and the others
/// wait for it. If it fails, panics or is cancelled, the cell is as it was, and the next of them runs
/// its own.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, sync::OnceCell};
///
/// LocalExecutor::default().run(async {
///     let config = OnceCell::new();
///     let failed = config.get_or_try_init(|| async { Err::<u32, _>("no such file") }).await;
///     assert_eq!(failed, Err("no such file"));
///     assert_eq!(*config.get_or_init(|| async { 7 }).await, 7);
///     assert_eq!(*config.get_or_init(|| async { 8 }).await, 7);
/// });
/// ```
pub struct OnceCell<T> {
    value: cell::OnceCell<T>,
    turns: RefCell<Turns>,
    _local: PhantomData<*const ()>,
}

/// Whose turn it is to run an initialiser.
struct Turns {
    /// Somebody has the turn.
    taken: bool,
    waiters: Waiters<(), Next>,
}

/// What those who waited for an initialiser do next.
#[derive(Clone, Copy)]
enum Next {
    /// Run one themselves: they have the turn now.
    Initialise,
    /// Look at the value.
    Look,
}

impl WaiterCell for RefCell<Turns> {
    type Request = ();
    type Verdict = Next;

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), Next>) -> R) -> R {
        f(&mut self.borrow_mut().waiters)
    }
}

impl<T> OnceCell<T> {
    /// An empty cell.
    ///
    /// # Examples
    ///
    /// ```
    /// let cell = glommio::sync::OnceCell::<u32>::new();
    /// assert_eq!(cell.get(), None);
    /// ```
    pub fn new() -> Self {
        OnceCell {
            value: cell::OnceCell::new(),
            turns: RefCell::new(Turns {
                taken: false,
                waiters: Waiters::new(),
            }),
            _local: PhantomData,
        }
    }

    /// The value, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// let cell = glommio::sync::OnceCell::new();
    /// cell.set(5).unwrap();
    /// assert_eq!(cell.get(), Some(&5));
    /// ```
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Whether there is a value.
    ///
    /// # Examples
    ///
    /// ```
    /// let cell = glommio::sync::OnceCell::<u32>::new();
    /// assert!(!cell.is_initialized());
    /// ```
    pub fn is_initialized(&self) -> bool {
        self.value.get().is_some()
    }

    /// Writes the value.
    ///
    /// This does not wait for an initialiser that runs: it wins, and what the initialiser gives is
    /// dropped.
    ///
    /// # Errors
    ///
    /// Hands `value` back if there is one in the cell already.
    ///
    /// # Examples
    ///
    /// ```
    /// let cell = glommio::sync::OnceCell::new();
    /// assert_eq!(cell.set(5), Ok(()));
    /// assert_eq!(cell.set(6), Err(6));
    /// ```
    pub fn set(&self, value: T) -> Result<(), T> {
        self.value.set(value)?;
        self.turns.borrow_mut().waiters.settle_all(Next::Look);
        wake_settled(&self.turns);
        Ok(())
    }

    /// The value; if there is none, the one that `init` computes.
    ///
    /// While another task runs its initialiser this waits, and `init` is called only if that one
    /// does not succeed. An initialiser that asks its own cell for the value waits for itself for
    /// ever.
    ///
    /// # Panics
    ///
    /// If `init` panics. The cell stays empty then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the initialiser that it runs, and the turn goes to the next task
    /// that waits.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::OnceCell};
    ///
    /// LocalExecutor::default().run(async {
    ///     let cell = OnceCell::new();
    ///     assert_eq!(*cell.get_or_init(|| async { 7 }).await, 7);
    /// });
    /// ```
    pub async fn get_or_init<F, Fut>(&self, init: F) -> &T
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let value = self
            .get_or_try_init(|| async { Ok::<T, Infallible>(init().await) })
            .await;
        match value {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// The value; if there is none, the one that `init` computes, unless it fails.
    ///
    /// Waits as [`get_or_init`](Self::get_or_init) does.
    ///
    /// # Errors
    ///
    /// The error of `init`. The cell stays empty then, and the next task that waits runs its own
    /// initialiser.
    ///
    /// # Panics
    ///
    /// If `init` panics. The cell stays empty then.
    ///
    /// # Cancel safety
    ///
    /// As for [`get_or_init`](Self::get_or_init).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::OnceCell};
    ///
    /// LocalExecutor::default().run(async {
    ///     let cell = OnceCell::new();
    ///     let port = cell.get_or_try_init(|| async { "7000".parse::<u16>() }).await;
    ///     assert_eq!(port, Ok(&7000));
    /// });
    /// ```
    pub async fn get_or_try_init<F, Fut, E>(&self, init: F) -> Result<&T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let turn = match self.get() {
            Some(value) => return Ok(value),
            None => self.turn().await,
        };
        if let Some(value) = self.get() {
            return Ok(value);
        }
        let computed = init().await?;
        // If `set` came first, its value stays.
        let value = self.value.get_or_init(|| computed);
        drop(turn);
        Ok(value)
    }

    /// Waits until there is a value or it is the caller's turn to compute it.
    fn turn(&self) -> Wait<'_, T> {
        Wait {
            cell: self,
            key: None,
        }
    }

    /// Ends a turn: the others get the value, or if there is none, the next one gets the turn.
    fn end_turn(&self) {
        {
            let mut turns = self.turns.borrow_mut();
            if self.is_initialized() {
                turns.taken = false;
                turns.waiters.settle_all(Next::Look);
            } else {
                turns.taken = turns.waiters.settle_front(Next::Initialise);
            }
        }
        wake_settled(&self.turns);
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> Self {
        OnceCell::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_tuple("OnceCell");
        match self.get() {
            Some(value) => out.field(value),
            None => out.field(&format_args!("<empty>")),
        };
        out.finish()
    }
}

/// The turn to run an initialiser; passed on when it is dropped, whatever became of it.
struct Turn<'a, T>(&'a OnceCell<T>);

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

/// The wait of [`OnceCell::turn`]; gives `None` if there is a value instead.
struct Wait<'a, T> {
    cell: &'a OnceCell<T>,
    key: Option<Key>,
}

impl<'a, T> Future for Wait<'a, T> {
    type Output = Option<Turn<'a, T>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let cell = self.cell;
        if let Some(key) = self.key {
            let next = std::task::ready!(poll_verdict(&cell.turns, key, context));
            self.key = None;
            return Poll::Ready(match next {
                Next::Initialise => Some(Turn(cell)),
                Next::Look => None,
            });
        }
        let waker = context.waker().clone();
        let mut turns = cell.turns.borrow_mut();
        if cell.is_initialized() {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut turns.taken, true) {
            return Poll::Ready(Some(Turn(cell)));
        }
        let key = turns.waiters.push((), waker);
        drop(turns);
        self.key = Some(key);
        Poll::Pending
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let removed = self.cell.turns.borrow_mut().waiters.remove(key);
        let had_turn = removed
            .as_ref()
            .is_some_and(|removed| matches!(removed.verdict, Some(Next::Initialise)));
        drop(removed);
        if had_turn {
            self.cell.end_turn();
        }
    }
}
