//! Task-locals: values that a future and what it awaits can reach by name.
//!
//! The value lives in the future that [`LocalKey::scope`] returns. A key is one word of thread-local
//! storage: a pointer to the value of the innermost scope that is being polled (or dropped) on this
//! thread, or nothing. Each poll of a scope sets the word on its way in and puts the former one
//! back on its way out, by return or by unwinding. So a value is visible exactly in the frames below
//! its scope, on whatever thread or executor the scope is polled; scopes nest; and the word is never
//! left pointing at a value that can go away.

use core::{
    cell::Cell,
    error::Error,
    fmt,
    future::Future,
    mem::ManuallyDrop,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll},
};
use std::thread;

/// Declares task-locals.
///
/// Each `static NAME: Type;` becomes a [`LocalKey<Type>`](crate::task::LocalKey). It has no value
/// until [`scope`](crate::task::LocalKey::scope) gives it one for a future.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, spawn_local, task_local};
///
/// task_local! {
///     /// The request that the running task serves.
///     pub static REQUEST: u64;
///     static USER: &'static str;
/// }
///
/// async fn log(text: &str) -> String {
///     REQUEST.with(|request| USER.with(|user| format!("{request} {user}: {text}")))
/// }
///
/// LocalExecutor::default().run(async {
///     let first = spawn_local(REQUEST.scope(1, USER.scope("ann", log("start"))));
///     let second = spawn_local(REQUEST.scope(2, USER.scope("bob", log("start"))));
///     assert_eq!(first.await, "1 ann: start");
///     assert_eq!(second.await, "2 bob: start");
///     assert!(REQUEST.try_with(|_| ()).is_err());
/// });
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty; $($rest:tt)*) => {
        $crate::task_local!($(#[$attribute])* $visibility static $name: $type);
        $crate::task_local!($($rest)*);
    };
    ($(#[$attribute:meta])* $visibility:vis static $name:ident: $type:ty) => {
        $(#[$attribute])*
        $visibility static $name: $crate::task::LocalKey<$type> = {
            ::std::thread_local! {
                static SLOT: $crate::task::LocalSlot<$type> = const {
                    $crate::task::LocalSlot::new()
                };
            }
            $crate::task::LocalKey::new(SLOT)
        };
    };
}

/// The name of a task-local; [`task_local!`](crate::task_local) declares one.
///
/// # Examples
///
/// A value that changes needs a cell:
///
/// ```
/// use std::cell::Cell;
/// use glommio::{LocalExecutor, task_local};
///
/// task_local! {
///     static STEPS: Cell<u32>;
/// }
///
/// async fn step() {
///     STEPS.with(|steps| steps.set(steps.get() + 1));
/// }
///
/// let steps = LocalExecutor::default().run(STEPS.scope(Cell::new(0), async {
///     step().await;
///     step().await;
///     STEPS.with(Cell::get)
/// }));
/// assert_eq!(steps, 2);
/// ```
pub struct LocalKey<T: 'static> {
    slot: thread::LocalKey<LocalSlot<T>>,
}

/// Where a thread keeps the current value of a key.
#[doc(hidden)]
pub struct LocalSlot<T>(Cell<Option<NonNull<T>>>);

impl<T> LocalSlot<T> {
    #[doc(hidden)]
    #[allow(clippy::new_without_default)] // for the macro, in a constant
    pub const fn new() -> LocalSlot<T> {
        LocalSlot(Cell::new(None))
    }
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn new(slot: thread::LocalKey<LocalSlot<T>>) -> LocalKey<T> {
        LocalKey { slot }
    }

    /// Gives the key a value for the time of a future.
    ///
    /// The value is there whenever the future is polled, wherever that is, and while it is dropped;
    /// it is dropped after it. Tasks that the future spawns do not see it. An inner scope of the same
    /// key hides the value of the outer one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, task_local};
    ///
    /// task_local! {
    ///     static LEVEL: u32;
    /// }
    ///
    /// LocalExecutor::default().run(LEVEL.scope(1, async {
    ///     assert_eq!(LEVEL.with(|level| *level), 1);
    ///     LEVEL.scope(2, async { assert_eq!(LEVEL.with(|level| *level), 2) }).await;
    ///     assert_eq!(LEVEL.with(|level| *level), 1);
    /// }));
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture {
            key: self,
            value,
            future: ManuallyDrop::new(future),
        }
    }

    /// Calls `f` with the value.
    ///
    /// # Panics
    ///
    /// Outside of every scope of this key.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, task_local};
    ///
    /// task_local! {
    ///     static NAME: String;
    /// }
    ///
    /// let name = String::from("ann");
    /// LocalExecutor::default().run(NAME.scope(name, async {
    ///     assert_eq!(NAME.with(|name| name.len()), 3);
    /// }));
    /// ```
    #[track_caller]
    pub fn with<R>(&'static self, f: impl FnOnce(&T) -> R) -> R {
        match self.current() {
            // SAFETY: see `current`.
            Some(value) => f(unsafe { value.as_ref() }),
            None => panic!(
                "{AccessError}: the value is there inside of the future that its key's `scope` \
                 returned, and not in tasks which that future spawns"
            ),
        }
    }

    /// Calls `f` with the value, if there is one.
    ///
    /// # Errors
    ///
    /// Outside of every scope of this key.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::task_local;
    ///
    /// task_local! {
    ///     static NAME: String;
    /// }
    ///
    /// let error = NAME.try_with(|name| name.clone()).unwrap_err();
    /// assert_eq!(error.to_string(), "the task-local has no value here");
    /// ```
    pub fn try_with<R>(&'static self, f: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let value = self.current().ok_or(AccessError)?;
        // SAFETY: see `current`.
        Ok(f(unsafe { value.as_ref() }))
    }

    /// The value of the innermost scope that is entered on this thread.
    ///
    /// It may be borrowed until the caller returns: a pointer in the slot belongs to a frame of
    /// `enter` further up this stack, whose caller borrows the value for longer than that frame
    /// lasts, and `enter` takes the pointer out again before it returns or unwinds.
    fn current(&'static self) -> Option<NonNull<T>> {
        self.slot.with(|slot| slot.0.get())
    }

    /// Runs `f` with the key set to `value`.
    fn enter<R>(&'static self, value: &T, f: impl FnOnce() -> R) -> R {
        struct Restore<T: 'static>(&'static LocalKey<T>, Option<NonNull<T>>);

        impl<T: 'static> Drop for Restore<T> {
            fn drop(&mut self) {
                self.0.slot.with(|slot| slot.0.set(self.1));
            }
        }

        let value = NonNull::from(value);
        let _restore = Restore(self, self.slot.with(|slot| slot.0.replace(Some(value))));
        f()
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").finish_non_exhaustive()
    }
}

/// A task-local was asked for outside of its scopes.
///
/// # Examples
///
/// ```
/// use glommio::{task::AccessError, task_local};
///
/// task_local! {
///     static NAME: &'static str;
/// }
///
/// fn name() -> Result<String, AccessError> {
///     NAME.try_with(|name| name.to_string())
/// }
/// assert_eq!(name(), Err(AccessError));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessError;

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task-local has no value here")
    }
}

impl Error for AccessError {}

/// A future with a value for a task-local; [`LocalKey::scope`] makes one.
///
/// # Cancel safety
///
/// As that of the inner future. Dropping this drops the inner future, which still sees the value,
/// and then the value.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, task::TaskLocalFuture, task_local};
///
/// task_local! {
///     static NAME: &'static str;
/// }
///
/// let named: TaskLocalFuture<&'static str, _> = NAME.scope("ann", async {
///     NAME.with(|name| name.len())
/// });
/// assert_eq!(LocalExecutor::default().run(named), 3);
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct TaskLocalFuture<T: 'static, F> {
    key: &'static LocalKey<T>,
    /// Never pinned.
    value: T,
    /// Pinned with `self`; dropped by `drop`, inside of the scope.
    future: ManuallyDrop<F>,
}

// The value is not pinned, whatever its type.
impl<T: 'static, F: Unpin> Unpin for TaskLocalFuture<T, F> {}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: of the fields only `future` is treated as pinned. It is not moved out of here,
        // `Unpin` depends on it alone, and `drop` drops it in place.
        let this = unsafe { self.get_unchecked_mut() };
        // SAFETY: as above.
        let future = unsafe { Pin::new_unchecked(&mut *this.future) };
        this.key.enter(&this.value, || future.poll(context))
    }
}

impl<T: 'static, F> Drop for TaskLocalFuture<T, F> {
    fn drop(&mut self) {
        let TaskLocalFuture { key, value, future } = self;
        // SAFETY: dropped in place, here and nowhere else; `drop` is called once. If the destructor
        // panics, the compiler still drops the value.
        key.enter(value, || unsafe { ManuallyDrop::drop(future) });
    }
}

impl<T: 'static + fmt::Debug, F: fmt::Debug> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture")
            .field("value", &self.value)
            .field("future", &*self.future)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, pending, poll_once, yield_now, zip};
    use std::{
        cell::RefCell,
        panic::{AssertUnwindSafe, catch_unwind},
        pin::pin,
        rc::Rc,
    };

    task_local! {
        static NUMBER: u32;
        static LOG: Rc<RefCell<Vec<String>>>
    }

    fn number() -> Option<u32> {
        NUMBER.try_with(|number| *number).ok()
    }

    #[test]
    fn scopes_nest_and_put_the_outer_value_back() {
        block_on(async {
            assert_eq!(number(), None);
            NUMBER
                .scope(1, async {
                    assert_eq!(number(), Some(1));
                    NUMBER
                        .scope(2, async {
                            yield_now().await;
                            assert_eq!(number(), Some(2));
                        })
                        .await;
                    assert_eq!(number(), Some(1));
                })
                .await;
            assert_eq!(number(), None);
        });
    }

    #[test]
    fn futures_that_take_turns_keep_their_own_values() {
        let count = |own| {
            NUMBER.scope(own, async move {
                for _ in 0..100 {
                    assert_eq!(number(), Some(own));
                    yield_now().await;
                    assert_eq!(number(), Some(own));
                }
            })
        };
        block_on(async {
            zip(count(1), zip(count(2), count(3))).await;
            assert_eq!(number(), None);
        });
    }

    #[test]
    fn a_panic_in_a_poll_leaves_no_value_behind() {
        block_on(NUMBER.scope(7, async {
            let mut inner = pin!(NUMBER.scope(8, async { panic!("in a scope") }));
            let result = catch_unwind(AssertUnwindSafe(|| {
                block_on(poll_once(inner.as_mut()));
            }));
            assert!(result.is_err());
            assert_eq!(number(), Some(7));
        }));
        assert_eq!(number(), None);
    }

    #[test]
    fn a_poll_inside_of_with_does_not_disturb_the_borrow() {
        block_on(NUMBER.scope(1, async {
            NUMBER.with(|outer| {
                block_on(NUMBER.scope(2, async { assert_eq!(number(), Some(2)) }));
                assert_eq!(*outer, 1);
                assert_eq!(number(), Some(1));
            });
        }));
    }

    /// Says when it is dropped, and what it sees then.
    struct Witness(&'static str, Rc<RefCell<Vec<String>>>);

    impl Drop for Witness {
        fn drop(&mut self) {
            let line = format!("{} sees {:?}", self.0, number());
            self.1.borrow_mut().push(line);
        }
    }

    #[test]
    fn a_dropped_future_sees_the_value_and_goes_before_it() {
        task_local! {
            static VALUE: Witness;
        }
        let log = Rc::new(RefCell::new(Vec::new()));
        let inner = Witness("future", log.clone());
        let value = Witness("value", log.clone());
        {
            let scoped = VALUE.scope(value, async move {
                let _inner = inner;
                pending::<()>().await;
            });
            let mut scoped = pin!(NUMBER.scope(5, scoped));
            assert!(block_on(poll_once(scoped.as_mut())).is_none());
            assert!(log.borrow().is_empty());
        }
        assert_eq!(*log.borrow(), ["future sees Some(5)", "value sees Some(5)"]);
    }

    #[test]
    fn a_panic_in_the_futures_destructor_still_drops_the_value() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("in a destructor");
            }
        }
        let value = Rc::new(RefCell::new(Vec::new()));
        let bomb = Bomb;
        let scoped = LOG.scope(value.clone(), async move {
            let _bomb = bomb;
        });
        assert!(catch_unwind(AssertUnwindSafe(|| drop(scoped))).is_err());
        assert_eq!(Rc::strong_count(&value), 1);
        assert!(LOG.try_with(|_| ()).is_err());
    }

    #[test]
    fn a_scope_may_move_between_threads_before_and_between_polls() {
        let mut scoped = Box::pin(NUMBER.scope(3, async {
            let before = number();
            yield_now().await;
            (before, number())
        }));
        assert!(block_on(poll_once(&mut scoped)).is_none());
        let seen = thread::spawn(move || (block_on(scoped), number())).join();
        assert_eq!(seen.unwrap(), ((Some(3), Some(3)), None));
    }

    #[test]
    fn outside_of_a_scope_the_panic_says_where_the_value_is() {
        let payload = catch_unwind(|| NUMBER.with(|number| *number)).unwrap_err();
        let text = payload.downcast_ref::<String>().unwrap();
        assert!(
            text.starts_with("the task-local has no value here: "),
            "{text}"
        );
        assert!(text.contains("`scope`"), "{text}");
    }

    #[test]
    fn an_unpin_future_stays_unpin_whatever_the_value() {
        fn unpin<F: Unpin>(_: &F) {}
        task_local! {
            static PINNED: core::marker::PhantomPinned;
        }
        unpin(&PINNED.scope(core::marker::PhantomPinned, core::future::ready(())));
    }
}
