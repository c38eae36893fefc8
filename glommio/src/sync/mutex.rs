//! A mutual exclusion lock.

use std::{
    cell::RefCell,
    fmt,
    ops::{Deref, DerefMut},
};

use super::{
    LockResult, TryLockResult,
    access::{Access, Kind},
    guard::{self, Held, HeldExclusive},
    rwlock::{closed, debug, refused},
};

/// A lock that one task of the executor holds at a time.
///
/// It is for critical sections that contain an `.await`; for others a `RefCell` will do. The lock is
/// given in the order in which it was asked for. It cannot be poisoned, but it can be
/// [closed](Self::close). Errors name [`ResourceType::RwLock`](crate::ResourceType::RwLock), of
/// which this is the kind without readers.
///
/// Waiting allocates nothing once as many tasks have waited before, and giving up a wait takes
/// constant time.
///
/// # Examples
///
/// ```
/// use std::rc::Rc;
/// use glommio::{LocalExecutor, executor, spawn_local, sync::Mutex};
///
/// LocalExecutor::default().run(async {
///     let counter = Rc::new(Mutex::new(0));
///     let tasks: Vec<_> = (0..10)
///         .map(|_| {
///             let counter = counter.clone();
///             spawn_local(async move {
///                 let mut guard = counter.lock().await.unwrap();
///                 let before = *guard;
///                 executor().yield_now().await; // nobody else gets the lock meanwhile
///                 *guard = before + 1;
///             })
///         })
///         .collect();
///     for task in tasks {
///         task.await;
///     }
///     assert_eq!(*counter.lock().await.unwrap(), 10);
/// });
/// ```
pub struct Mutex<T> {
    access: Access,
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// An open lock around `value`.
    ///
    /// # Examples
    ///
    /// ```
    /// let mutex = glommio::sync::Mutex::new(5);
    /// assert_eq!(*mutex.try_lock().unwrap(), 5);
    /// ```
    pub fn new(value: T) -> Self {
        Mutex {
            access: Access::new(),
            value: RefCell::new(value),
        }
    }

    /// Waits until everyone who came earlier is done, and gives the lock.
    ///
    /// A task that holds the lock and asks for it again waits for itself for ever.
    ///
    /// # Errors
    ///
    /// `Closed` if the mutex is closed, or is closed while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. A lock that was given to it already goes
    /// to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::Mutex};
    ///
    /// LocalExecutor::default().run(async {
    ///     let mutex = Mutex::new(5);
    ///     *mutex.lock().await.unwrap() += 1;
    ///     assert_eq!(*mutex.lock().await.unwrap(), 6);
    /// });
    /// ```
    pub async fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        match self.access.acquire(Kind::Exclusive).await {
            Ok(()) => Ok(self.guard()),
            Err(()) => Err(closed()),
        }
    }

    /// Gives the lock if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if somebody holds it, or waits for it; `Closed` if the mutex is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, sync::Mutex};
    ///
    /// let mutex = Mutex::new(5);
    /// let _guard = mutex.try_lock().unwrap();
    /// assert!(matches!(mutex.try_lock(), Err(GlommioError::WouldBlock(_))));
    /// ```
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        match self.access.try_acquire(Kind::Exclusive) {
            Ok(()) => Ok(self.guard()),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// The value, which nobody else can access while the mutex is borrowed mutably.
    ///
    /// # Errors
    ///
    /// `Closed` if the mutex is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut mutex = glommio::sync::Mutex::new(5);
    /// *mutex.get_mut().unwrap() = 6;
    /// assert_eq!(*mutex.try_lock().unwrap(), 6);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        if self.is_closed() {
            return Err(closed());
        }
        Ok(self.value.get_mut())
    }

    /// Takes the value out of the mutex.
    ///
    /// # Errors
    ///
    /// `Closed` if the mutex is closed; the value is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// let mutex = glommio::sync::Mutex::new(String::from("inside"));
    /// assert_eq!(mutex.into_inner().unwrap(), "inside");
    /// ```
    pub fn into_inner(self) -> LockResult<T> {
        if self.is_closed() {
            return Err(closed());
        }
        Ok(self.value.into_inner())
    }

    /// Closes the mutex: whoever waits gets an error, and so does whoever comes later.
    ///
    /// A guard that is out stays valid, and so does a lock that was given to a waiter that has not
    /// been polled since. Closing a closed mutex does nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let mutex = glommio::sync::Mutex::new(5);
    /// mutex.close();
    /// assert!(mutex.try_lock().is_err());
    /// ```
    pub fn close(&self) {
        self.access.close();
    }

    /// Whether the mutex was [closed](Self::close).
    ///
    /// # Examples
    ///
    /// ```
    /// let mutex = glommio::sync::Mutex::new(5);
    /// mutex.close();
    /// assert!(mutex.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.access.is_closed()
    }

    /// The caller was given the lock.
    fn guard(&self) -> MutexGuard<'_, T> {
        MutexGuard(Held::exclusive(self.value.borrow_mut(), &self.access))
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Mutex::new(T::default())
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.try_borrow().ok();
        let value = value.as_deref().map(|value| value as _);
        debug("Mutex", &self.access, value, f)
    }
}

/// The lock of a [`Mutex`], and access to its value, until this is dropped.
///
/// Comes from [`Mutex::lock`] and [`Mutex::try_lock`].
///
/// # Examples
///
/// ```
/// let mutex = glommio::sync::Mutex::new(vec![1, 2]);
/// mutex.try_lock().unwrap().push(3);
/// assert_eq!(mutex.try_lock().unwrap().len(), 3);
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T>(HeldExclusive<'a, T>);

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        guard::debug("MutexGuard", &**self, f)
    }
}
