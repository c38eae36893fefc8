//! A readers-writer lock.

use std::{
    cell::{Ref, RefCell, RefMut},
    fmt,
    ops::{Deref, DerefMut},
};

use super::{
    LockResult, TryLockResult,
    access::{Access, Kind, Refusal},
    guard::{self, Held, HeldExclusive, HeldShared},
};
use crate::error::{GlommioError, ResourceType};

/// A readers-writer lock for the tasks of one executor.
///
/// Any number of tasks may read the value at a time, or one may write it. Access is given in the
/// order in which it was asked for: a task that waits to write stops readers that come later, so
/// that neither side starves the other. In turn a task that holds a guard and asks for a second one,
/// even a second one for reading, may wait for itself for ever.
///
/// The lock cannot be poisoned, but it can be [closed](Self::close); then it hands out no guards any
/// more.
///
/// Waiting allocates nothing once as many tasks have waited before, and giving up a wait takes
/// constant time.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, sync::RwLock};
///
/// LocalExecutor::default().run(async {
///     let lock = RwLock::new(5);
///     {
///         let (one, other) = (lock.read().await.unwrap(), lock.read().await.unwrap());
///         assert_eq!(*one + *other, 10);
///     }
///     *lock.write().await.unwrap() += 1;
///     assert_eq!(*lock.read().await.unwrap(), 6);
/// });
/// ```
pub struct RwLock<T> {
    access: Access,
    /// Filled until `into_inner` takes it.
    value: RefCell<Option<T>>,
}

impl<T> RwLock<T> {
    /// An open lock around `value`.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = glommio::sync::RwLock::new(5);
    /// assert_eq!(*lock.try_read().unwrap(), 5);
    /// ```
    pub fn new(value: T) -> Self {
        RwLock {
            access: Access::new(),
            value: RefCell::new(Some(value)),
        }
    }

    /// The value, which nobody else can access while the lock is borrowed mutably.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::RwLock`] if the lock is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut lock = glommio::sync::RwLock::new(5);
    /// *lock.get_mut().unwrap() = 6;
    /// assert_eq!(*lock.try_read().unwrap(), 6);
    /// ```
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        if self.is_closed() {
            return Err(closed());
        }
        self.value.get_mut().as_mut().ok_or_else(closed)
    }

    /// Takes the value out of the lock.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::RwLock`] if the lock is closed; the value is dropped then.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = glommio::sync::RwLock::new(String::from("inside"));
    /// assert_eq!(lock.into_inner().unwrap(), "inside");
    /// ```
    pub fn into_inner(mut self) -> LockResult<T> {
        if self.is_closed() {
            return Err(closed());
        }
        self.value.get_mut().take().ok_or_else(closed)
    }

    /// Waits until nobody writes and nobody who came earlier waits, and gives access for reading.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::RwLock`] if the lock is closed, or is closed while this waits.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up its place in the queue. Access that was given to it already goes
    /// to the next.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::RwLock};
    ///
    /// LocalExecutor::default().run(async {
    ///     let lock = RwLock::new(5);
    ///     assert_eq!(*lock.read().await.unwrap(), 5);
    /// });
    /// ```
    pub async fn read(&self) -> LockResult<RwLockReadGuard<'_, T>> {
        match self.access.acquire(Kind::Shared).await {
            Ok(()) => Ok(self.read_guard()),
            Err(()) => Err(closed()),
        }
    }

    /// Waits until nobody has access and nobody who came earlier waits, and gives access for
    /// writing.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    ///
    /// # Cancel safety
    ///
    /// As for [`read`](Self::read).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, sync::RwLock};
    ///
    /// LocalExecutor::default().run(async {
    ///     let lock = RwLock::new(5);
    ///     *lock.write().await.unwrap() = 6;
    ///     assert_eq!(*lock.read().await.unwrap(), 6);
    /// });
    /// ```
    pub async fn write(&self) -> LockResult<RwLockWriteGuard<'_, T>> {
        match self.access.acquire(Kind::Exclusive).await {
            Ok(()) => Ok(self.write_guard()),
            Err(()) => Err(closed()),
        }
    }

    /// Gives access for reading if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` with [`ResourceType::RwLock`] if somebody writes, or waits; `Closed` if the lock
    /// is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, sync::RwLock};
    ///
    /// let lock = RwLock::new(5);
    /// let _writing = lock.try_write().unwrap();
    /// assert!(matches!(lock.try_read(), Err(GlommioError::WouldBlock(_))));
    /// ```
    pub fn try_read(&self) -> TryLockResult<RwLockReadGuard<'_, T>> {
        match self.access.try_acquire(Kind::Shared) {
            Ok(()) => Ok(self.read_guard()),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// Gives access for writing if that is possible without waiting.
    ///
    /// # Errors
    ///
    /// `WouldBlock` with [`ResourceType::RwLock`] if somebody has access, or waits; `Closed` if the
    /// lock is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{GlommioError, sync::RwLock};
    ///
    /// let lock = RwLock::new(5);
    /// let _reading = lock.try_read().unwrap();
    /// assert!(matches!(lock.try_write(), Err(GlommioError::WouldBlock(_))));
    /// ```
    pub fn try_write(&self) -> TryLockResult<RwLockWriteGuard<'_, T>> {
        match self.access.try_acquire(Kind::Exclusive) {
            Ok(()) => Ok(self.write_guard()),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// Closes the lock: whoever waits gets an error, and so does whoever comes later.
    ///
    /// Guards that are out stay valid, and so does access that was given to a waiter that has not
    /// been polled since.
    ///
    /// # Errors
    ///
    /// `Closed` with [`ResourceType::RwLock`] if it is closed already.
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = glommio::sync::RwLock::new(5);
    /// lock.close().unwrap();
    /// assert_eq!(lock.try_read().unwrap_err().to_string(), "RwLock is closed");
    /// assert!(lock.close().is_err());
    /// ```
    pub fn close(&self) -> LockResult<()> {
        if self.access.close() {
            return Ok(());
        }
        Err(closed())
    }

    /// Whether the lock was [closed](Self::close).
    ///
    /// # Examples
    ///
    /// ```
    /// let lock = glommio::sync::RwLock::new(5);
    /// lock.close().unwrap();
    /// assert!(lock.is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.access.is_closed()
    }

    /// The caller was given access.
    fn read_guard(&self) -> RwLockReadGuard<'_, T> {
        let value = Ref::map(self.value.borrow(), |value| match value {
            Some(value) => value,
            None => unreachable!("into_inner took the value, and with it the lock"),
        });
        RwLockReadGuard(Held::shared(value, &self.access))
    }

    /// The caller was given access.
    fn write_guard(&self) -> RwLockWriteGuard<'_, T> {
        let value = RefMut::map(self.value.borrow_mut(), |value| match value {
            Some(value) => value,
            None => unreachable!("into_inner took the value, and with it the lock"),
        });
        RwLockWriteGuard(Held::exclusive(value, &self.access))
    }
}

pub(super) fn closed() -> GlommioError<()> {
    GlommioError::Closed(ResourceType::RwLock)
}

pub(super) fn refused(refusal: Refusal) -> GlommioError<()> {
    match refusal {
        Refusal::Closed => closed(),
        Refusal::Busy => GlommioError::WouldBlock(ResourceType::RwLock),
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> Self {
        RwLock::new(T::default())
    }
}

impl<T> Drop for RwLock<T> {
    fn drop(&mut self) {
        self.access.close();
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.value.try_borrow().ok();
        let value = value.as_deref().and_then(Option::as_ref);
        debug("RwLock", &self.access, value.map(|value| value as _), f)
    }
}

/// A lock with its value, unless somebody is writing it.
pub(super) fn debug(
    name: &str,
    access: &Access,
    value: Option<&dyn fmt::Debug>,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    f.debug_struct(name)
        .field("value", value.unwrap_or(&format_args!("<locked>")))
        .field("waiting", &access.waiting())
        .field("closed", &access.is_closed())
        .finish()
}

/// Access to the value of a [`RwLock`] for reading, until this is dropped.
///
/// Comes from [`RwLock::read`] and [`RwLock::try_read`].
///
/// # Examples
///
/// ```
/// let lock = glommio::sync::RwLock::new(vec![1, 2]);
/// let guard = lock.try_read().unwrap();
/// assert_eq!(guard.len(), 2);
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockReadGuard<'a, T>(HeldShared<'a, T>);

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        guard::debug("RwLockReadGuard", &**self, f)
    }
}

/// Access to the value of a [`RwLock`] for writing, until this is dropped.
///
/// Comes from [`RwLock::write`] and [`RwLock::try_write`].
///
/// # Examples
///
/// ```
/// let lock = glommio::sync::RwLock::new(vec![1, 2]);
/// lock.try_write().unwrap().push(3);
/// assert_eq!(lock.try_read().unwrap().len(), 3);
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T>(HeldExclusive<'a, T>);

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        guard::debug("RwLockWriteGuard", &**self, f)
    }
}
