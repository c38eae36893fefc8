//! Where the state of a channel lives: with one thread, or shared between threads.
//!
//! `oneshot`, `watch` and `broadcast` are written once, over a [`Storage`]: [`Local`] costs no atomic
//! operation, [`Shared`] takes a mutex. The trait stands in a private module, so that nothing outside
//! of the crate can name it.
//!
//! Access comes in two kinds. What [`StateCell::with`] runs calls no foreign code: no waker, no
//! destructor, no `Clone` of an item. What [`StateCell::read`], [`StateCell::try_write`] and
//! [`StateCell::with_clones`] run may be anything, also something that uses the same channel again.
//! Where that cannot be served it is refused, or is a panic with a message: never a deadlock.

use std::{
    cell::{Ref, RefCell},
    fmt,
    ops::Deref,
    rc::Rc,
    sync::PoisonError,
    task::{Context, Poll, Waker},
};

use super::atomic::{Arc, AtomicUsize, Mutex, MutexGuard, Ordering, thread_token};

/// The kind of pointer and cell that a channel is made of.
pub trait Storage: Sized {
    /// How the halves share the channel.
    type Pointer<X>: Deref<Target = X> + Clone + Unpin;
    /// How they get at its state.
    type Cell<X>: StateCell<X>;

    /// Puts a channel on the heap.
    fn share<X>(channel: X) -> Self::Pointer<X>;
}

/// A cell with interior mutability.
pub trait StateCell<X> {
    /// A cell with a value.
    fn new(value: X) -> Self;

    /// Runs `f`, which calls no foreign code.
    fn with<R>(&self, f: impl FnOnce(&mut X) -> R) -> R;

    /// Runs `f`, which may clone items.
    fn with_clones<R>(&self, f: impl FnOnce(&mut X) -> R) -> R;

    /// Runs `f`, which may be anything.
    fn read<R>(&self, f: impl FnOnce(&X) -> R) -> R;

    /// Runs `f`, which may be anything, unless this thread is using the value already: then
    /// `argument` comes back.
    fn try_write<A, R>(&self, argument: A, f: impl FnOnce(&mut X, A) -> R) -> Result<R, A>;
}

#[cold]
fn used_by_itself() -> ! {
    panic!(
        "a channel was used by code that it was running itself, which cannot wait for its own end: \
         a closure that was given to it, or `Clone` of its item, must leave the channel alone"
    )
}

/// One thread has all of it.
#[derive(Debug)]
pub struct Local;

/// Threads share it.
#[derive(Debug)]
pub struct Shared;

impl Storage for Local {
    type Pointer<X> = Rc<X>;
    type Cell<X> = LocalCell<X>;

    fn share<X>(channel: X) -> Rc<X> {
        Rc::new(channel)
    }
}

impl Storage for Shared {
    type Pointer<X> = Arc<X>;
    type Cell<X> = SharedCell<X>;

    fn share<X>(channel: X) -> Arc<X> {
        Arc::new(channel)
    }
}

/// The cell of [`Local`].
pub struct LocalCell<X>(RefCell<X>);

impl<X> LocalCell<X> {
    /// Keeps the value borrowed, as [`RefCell::borrow`] does.
    pub(super) fn borrow(&self) -> Ref<'_, X> {
        self.0.try_borrow().unwrap_or_else(|_| used_by_itself())
    }
}

impl<X> StateCell<X> for LocalCell<X> {
    fn new(value: X) -> Self {
        LocalCell(RefCell::new(value))
    }

    #[inline]
    fn with<R>(&self, f: impl FnOnce(&mut X) -> R) -> R {
        match self.0.try_borrow_mut() {
            Ok(mut value) => f(&mut value),
            Err(_) => used_by_itself(),
        }
    }

    #[inline]
    fn with_clones<R>(&self, f: impl FnOnce(&mut X) -> R) -> R {
        self.with(f)
    }

    fn read<R>(&self, f: impl FnOnce(&X) -> R) -> R {
        f(&self.borrow())
    }

    fn try_write<A, R>(&self, argument: A, f: impl FnOnce(&mut X, A) -> R) -> Result<R, A> {
        match self.0.try_borrow_mut() {
            Ok(mut value) => Ok(f(&mut value, argument)),
            Err(_) => Err(argument),
        }
    }
}

impl<X> fmt::Debug for LocalCell<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCell").finish_non_exhaustive()
    }
}

/// The cell of [`Shared`].
pub struct SharedCell<X> {
    value: Mutex<X>,
    /// The thread that runs foreign code under the lock, by its [`thread_token`]; else 0.
    ///
    /// A thread only asks whether it is itself, and what it wrote itself it sees without any ordering.
    visitor: AtomicUsize,
}

/// Foreign code is running.
struct Visit<'a>(&'a AtomicUsize);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl<X> SharedCell<X> {
    fn lock(&self) -> Option<MutexGuard<'_, X>> {
        let visitor = self.visitor.load(Ordering::Relaxed);
        if visitor != 0 && visitor == thread_token() {
            return None;
        }
        // A panic of foreign code leaves the state as it was before; see where it is called.
        Some(self.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn visit(&self) -> Visit<'_> {
        self.visitor.store(thread_token(), Ordering::Relaxed);
        Visit(&self.visitor)
    }
}

impl<X> StateCell<X> for SharedCell<X> {
    fn new(value: X) -> Self {
        SharedCell {
            value: Mutex::new(value),
            visitor: AtomicUsize::new(0),
        }
    }

    fn with<R>(&self, f: impl FnOnce(&mut X) -> R) -> R {
        match self.lock() {
            Some(mut value) => f(&mut value),
            None => used_by_itself(),
        }
    }

    fn with_clones<R>(&self, f: impl FnOnce(&mut X) -> R) -> R {
        self.with(|value| {
            let _visit = self.visit();
            f(value)
        })
    }

    fn read<R>(&self, f: impl FnOnce(&X) -> R) -> R {
        self.with_clones(|value| f(value))
    }

    fn try_write<A, R>(&self, argument: A, f: impl FnOnce(&mut X, A) -> R) -> Result<R, A> {
        let Some(mut value) = self.lock() else {
            return Err(argument);
        };
        let _visit = self.visit();
        Ok(f(&mut value, argument))
    }
}

impl<X> fmt::Debug for SharedCell<X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCell").finish_non_exhaustive()
    }
}

/// Polls for something that one task at a time waits for: `ready` looks whether it is there, `slot`
/// is where the waker of that task stands.
///
/// Wakers are cloned and dropped outside of the access.
pub(super) fn poll_single<X, C: StateCell<X>, R>(
    cell: &C,
    context: &Context<'_>,
    slot: impl Fn(&mut X) -> &mut Option<Waker>,
    mut ready: impl FnMut(&mut X) -> Option<R>,
) -> Poll<R> {
    let (found, known) = cell.with(|state| {
        let found = ready(state);
        let known = slot(state)
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()));
        (found, known)
    });
    if let Some(found) = found {
        return Poll::Ready(found);
    }
    if known {
        return Poll::Pending;
    }
    let waker = context.waker().clone();
    let (found, _unneeded) = cell.with(|state| match ready(state) {
        Some(found) => (Some(found), Some(waker)),
        None => (None, slot(state).replace(waker)),
    });
    match found {
        Some(found) => Poll::Ready(found),
        None => Poll::Pending,
    }
}
