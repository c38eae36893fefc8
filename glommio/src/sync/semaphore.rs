//! A counting semaphore.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    error::{GlommioError, ResourceType, Result},
    waiters::{Key, Verdict, WaiterCell, Waiters, poll_verdict, wake_settled},
};

/// A counting semaphore for the tasks of one executor.
///
/// It holds a number of units. Tasks acquire some of them, one or many at a time, and wait while
/// there are not enough; units that come back go to the tasks that wait, in the order in which they
/// came. The order is strict: a small request does not overtake a large one that waits in front of
/// it, and a request that finds others waiting waits behind them even if there would be enough for
/// it.
///
/// Waiting allocates nothing once as many tasks have waited before, and giving up a wait takes
/// constant time.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use glommio::{LocalExecutor, spawn_local, sync::Semaphore};
///
/// LocalExecutor::default().run(async {
///     let connections = Rc::new(Semaphore::new(2));
///     let tasks: Vec<_> = (0..5)
///         .map(|request| {
///             let connections = connections.clone();
///             spawn_local(async move {
///                 let _connection = connections.acquire_permit(1).await.unwrap();
///                 request * 2 // at most two of them are here at a time
///             })
///         })
///         .collect();
///     for (request, task) in tasks.into_iter().enumerate() {
///         assert_eq!(task.await, request * 2);
///     }
///     assert_eq!(connections.available(), 2);
/// });
/// ```
pub struct Semaphore {
    state: RefCell<State>,
    _local: PhantomData<*const ()>,
}

struct State {
    available: u64,
    closed: bool,
    waiters: Waiters<u64, Verdict>,
}

impl State {
    /// Takes units, unless others wait or there are not enough.
    #[inline]
    fn take(&mut self, units: u64) -> bool {
        let enough = self.available >= units && self.waiters.is_empty();
        if enough {
            self.available -= units;
        }
        enough
    }

    /// Hands units to the waiters in front, as far as they go.
    #[inline]
    fn hand_out(&mut self) {
        while let Some(&units) = self.waiters.front() {
            if self.available < units {
                return;
            }
            self.available -= units;
            self.waiters.settle_front(Verdict::Granted);
        }
    }
}

impl WaiterCell for RefCell<State> {
    type Request = u64;
    type Verdict = Verdict;

    #[inline]
    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<u64, Verdict>) -> R) -> R {
        f(&mut self.borrow_mut().waiters)
    }
}

impl Semaphore {
    /// A semaphore that holds `avail` units.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = glommio::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.available(), 3);
    /// ```
    pub fn new(avail: u64) -> Semaphore {
        Semaphore {
            state: RefCell::new(State {
                available: avail,
                closed: false,
                waiters: Waiters::new(),
            }),
            _local: PhantomData,
        }
    }

    /// How many units nobody has acquired.
    ///
    /// While a task waits for more than that, they are not for others.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = glommio::sync::Semaphore::new(3);
    /// let _permit = semaphore.try_acquire_permit(2).unwrap();
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn available(&self) -> u64 {
        self.state.borrow().available
    }

    /// Acquires units, and waits until there are enough and everyone who came earlier has theirs.
    ///
    /// The units stay acquired until somebody gives them back with [`signal`](Self::signal);
    /// [`acquire_permit`](Self::acquire_permit) does that by itself. Acquiring 0 units always
    /// succeeds, at once.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::Semaphore`] if the semaphore is closed, or is closed while this
    /// waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. Units that were handed to it already go
    /// to the next in the queue.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Semaphore};
    ///
    /// LocalExecutor::default().run(async {
    ///     let semaphore = Semaphore::new(1);
    ///     semaphore.acquire(1).await.unwrap();
    ///     assert_eq!(semaphore.available(), 0);
    ///     semaphore.signal(1);
    /// });
    /// ```
    pub async fn acquire(&self, units: u64) -> Result<(), ()> {
        Acquire {
            semaphore: self,
            units,
            key: None,
        }
        .await
    }

    /// Acquires units until the returned permit is dropped.
    ///
    /// Waits as [`acquire`](Self::acquire) does.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Semaphore};
    ///
    /// LocalExecutor::default().run(async {
    ///     let semaphore = Semaphore::new(1);
    ///     {
    ///         let _permit = semaphore.acquire_permit(1).await.unwrap();
    ///         assert_eq!(semaphore.available(), 0);
    ///     }
    ///     assert_eq!(semaphore.available(), 1);
    /// });
    /// ```
    pub async fn acquire_permit(&self, units: u64) -> Result<Permit<'_>, ()> {
        self.acquire(units).await?;
        Ok(Permit {
            units,
            semaphore: self,
        })
    }

    /// Acquires units until the returned permit is dropped, which does not borrow the semaphore.
    ///
    /// Waits as [`acquire`](Self::acquire) does. The permit may be moved into tasks and kept in
    /// structures; it keeps the semaphore alive.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Cancel safety
    ///
    /// As for [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use glommio::{LocalExecutor, spawn_local, sync::Semaphore};
    ///
    /// LocalExecutor::default().run(async {
    ///     let semaphore = Rc::new(Semaphore::new(1));
    ///     let permit = semaphore.acquire_static_permit(1).await.unwrap();
    ///     spawn_local(async move { drop(permit) }).await;
    ///     assert_eq!(semaphore.available(), 1);
    /// });
    /// ```
    pub async fn acquire_static_permit(self: &Rc<Self>, units: u64) -> Result<StaticPermit, ()> {
        self.acquire(units).await?;
        Ok(StaticPermit {
            units,
            semaphore: self.clone(),
        })
    }

    /// Acquires units if that is possible without waiting, and says whether it was.
    ///
    /// It is not while others wait, however many units there are; except for 0 units, which can
    /// always be acquired.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::Semaphore`] if the semaphore is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = glommio::sync::Semaphore::new(1);
    /// assert!(semaphore.try_acquire(1).unwrap());
    /// assert!(!semaphore.try_acquire(1).unwrap());
    /// semaphore.signal(1);
    /// ```
    pub fn try_acquire(&self, units: u64) -> Result<bool, ()> {
        if units == 0 {
            return Ok(true);
        }
        let mut state = self.state.borrow_mut();
        if state.closed {
            return Err(closed(units, state.available));
        }
        Ok(state.take(units))
    }

    /// Acquires units, if that is possible without waiting, until the returned permit is dropped.
    ///
    /// # Errors
    ///
    /// `WouldBlock` with [`ResourceType::Semaphore`] where [`try_acquire`](Self::try_acquire) says
    /// `false`, `Closed` if the semaphore is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, sync::Semaphore};
    ///
    /// let semaphore = Semaphore::new(1);
    /// let _permit = semaphore.try_acquire_permit(1).unwrap();
    /// let refused = semaphore.try_acquire_permit(1);
    /// assert!(matches!(refused, Err(GlommioError::WouldBlock(_))));
    /// ```
    pub fn try_acquire_permit(&self, units: u64) -> Result<Permit<'_>, ()> {
        self.acquire_now(units)?;
        Ok(Permit {
            units,
            semaphore: self,
        })
    }

    /// Acquires units, if that is possible without waiting, until the returned permit is dropped,
    /// which does not borrow the semaphore.
    ///
    /// # Errors
    ///
    /// As for [`try_acquire_permit`](Self::try_acquire_permit).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use glommio::sync::Semaphore;
    ///
    /// let semaphore = Rc::new(Semaphore::new(1));
    /// let permit = semaphore.try_acquire_static_permit(1).unwrap();
    /// assert_eq!(semaphore.available(), 0);
    /// drop(permit);
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn try_acquire_static_permit(self: &Rc<Self>, units: u64) -> Result<StaticPermit, ()> {
        self.acquire_now(units)?;
        Ok(StaticPermit {
            units,
            semaphore: self.clone(),
        })
    }

    fn acquire_now(&self, units: u64) -> Result<(), ()> {
        if self.try_acquire(units)? {
            return Ok(());
        }
        Err(GlommioError::WouldBlock(ResourceType::Semaphore {
            requested: units,
            available: self.available(),
        }))
    }

    /// Adds units, be they acquired before or new, and wakes whom they suffice for.
    ///
    /// The number of units is bounded by `u64::MAX`; what goes beyond is lost. A closed semaphore
    /// counts on.
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = glommio::sync::Semaphore::new(0);
    /// semaphore.signal(5);
    /// assert!(semaphore.try_acquire(4).unwrap());
    /// assert_eq!(semaphore.available(), 1);
    /// ```
    pub fn signal(&self, units: u64) {
        {
            let mut state = self.state.borrow_mut();
            state.available = state.available.saturating_add(units);
            state.hand_out();
        }
        wake_settled(&self.state);
    }

    /// Closes the semaphore: whoever waits gets an error, and so does whoever comes later.
    ///
    /// Permits that are out stay valid, and so does what was handed to a waiter that has not been
    /// polled since. Closing a closed semaphore does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// semaphore.close();
    /// let error = semaphore.try_acquire(1).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "Semaphore is closed (requested: 1, available: 1)"
    /// );
    /// ```
    pub fn close(&self) {
        {
            let mut state = self.state.borrow_mut();
            state.closed = true;
            state.waiters.settle_all(Verdict::Closed);
        }
        wake_settled(&self.state);
    }

    /// Whether the semaphore was [closed](Self::close).
    ///
    /// # Examples
    ///
    /// ```
    /// let semaphore = glommio::sync::Semaphore::new(1);
    /// assert!(!semaphore.is_closed());
    /// semaphore.close();
    /// assert!(semaphore.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }
}

impl Drop for Semaphore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.borrow();
        f.debug_struct("Semaphore")
            .field("available", &state.available)
            .field("waiting", &state.waiters.len())
            .field("closed", &state.closed)
            .finish()
    }
}

fn closed(requested: u64, available: u64) -> GlommioError<()> {
    GlommioError::Closed(ResourceType::Semaphore {
        requested,
        available,
    })
}

/// The wait of [`Semaphore::acquire`].
struct Acquire<'a> {
    semaphore: &'a Semaphore,
    units: u64,
    key: Option<Key>,
}

impl Future for Acquire<'_> {
    type Output = Result<(), ()>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (semaphore, units) = (self.semaphore, self.units);
        let Some(key) = self.key else {
            if semaphore.try_acquire(units)? {
                return Poll::Ready(Ok(()));
            }
            let waker = context.waker().clone();
            // Cloning is foreign code; it may have brought units, or closed the semaphore.
            if semaphore.try_acquire(units)? {
                return Poll::Ready(Ok(()));
            }
            self.key = Some(semaphore.state.borrow_mut().waiters.push(units, waker));
            return Poll::Pending;
        };
        let verdict = std::task::ready!(poll_verdict(&semaphore.state, key, context));
        self.key = None;
        Poll::Ready(match verdict {
            Verdict::Granted => Ok(()),
            Verdict::Closed => Err(closed(units, semaphore.available())),
        })
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key else {
            return;
        };
        let removed = {
            let mut state = self.semaphore.state.borrow_mut();
            let removed = state.waiters.remove(key);
            if removed
                .as_ref()
                .is_some_and(|removed| removed.verdict == Some(Verdict::Granted))
            {
                state.available = state.available.saturating_add(self.units);
            }
            // Whoever stood behind may have waited for this one only.
            state.hand_out();
            removed
        };
        drop(removed);
        wake_settled(&self.semaphore.state);
    }
}

/// Units of a [`Semaphore`] that are given back when this is dropped.
///
/// Comes from [`Semaphore::acquire_permit`] and [`Semaphore::try_acquire_permit`].
///
/// # Examples
///
/// ```
/// use glommio::sync::Semaphore;
///
/// let semaphore = Semaphore::new(1);
/// let permit = semaphore.try_acquire_permit(1).unwrap();
/// drop(permit);
/// assert_eq!(semaphore.available(), 1);
/// ```
#[must_use = "units are released when the permit is dropped"]
#[derive(Debug)]
pub struct Permit<'a> {
    units: u64,
    semaphore: &'a Semaphore,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.semaphore.signal(self.units);
    }
}

/// Units of a [`Semaphore`] that are given back when this is dropped, with a share of the semaphore.
///
/// Comes from [`Semaphore::acquire_static_permit`] and [`Semaphore::try_acquire_static_permit`].
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use glommio::sync::{Semaphore, StaticPermit};
///
/// struct Connection {
///     _slot: StaticPermit,
/// }
///
/// let slots = Rc::new(Semaphore::new(1));
/// let connection = Connection {
///     _slot: slots.try_acquire_static_permit(1).unwrap(),
/// };
/// assert_eq!(slots.available(), 0);
/// drop(connection);
/// assert_eq!(slots.available(), 1);
/// ```
#[must_use = "units are released when the permit is dropped"]
#[derive(Debug)]
pub struct StaticPermit {
    units: u64,
    semaphore: Rc<Semaphore>,
}

impl StaticPermit {
    /// Closes the semaphore that the permit belongs to, as [`Semaphore::close`] does.
    ///
    /// The permit stays valid.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::rc::Rc;
    /// use glommio::sync::Semaphore;
    ///
    /// let semaphore = Rc::new(Semaphore::new(1));
    /// let permit = semaphore.try_acquire_static_permit(1).unwrap();
    /// permit.close();
    /// assert!(semaphore.is_closed());
    /// ```
    pub fn close(&self) {
        self.semaphore.close();
    }
}

impl Drop for StaticPermit {
    fn drop(&mut self) {
        self.semaphore.signal(self.units);
    }
}
