//! Synchronisation between the tasks of an executor.
//!
//! | type | for |
//! |---|---|
//! | [`Semaphore`] | at most so many at a time |
//! | [`Mutex`], [`RwLock`] | a value that is accessed across an `.await` |
//! | [`Gate`] | shutting down once everyone is out |
//! | [`OnceCell`] | a value computed once |
//! | [`CancellationToken`] | telling a tree of tasks to stop, on other executors too |
//! | [`Notify`] | waiting for a condition |
//! | [`Barrier`] | tasks that wait for each other |
//!
//! All of them belong to one thread, except [`ForeignCancellation`], and need no atomic operation.
//! They are plain data structures over wakers: they work with every executor, and outside of one
//! (apart from [`Gate::spawn`]).
//!
//! # Order
//!
//! Whoever waits is served in the order in which the waits began: when a future is polled first, not
//! when it is made.
//!
//! # Cancel safety
//!
//! Every wait may be dropped at any time, as `select` and timeouts do. It gives up its place; what
//! was given to it and not yet taken goes to the next.
//!
//! What no lock can cure: a task that keeps such a future, given what it waits for, and does not
//! poll it again, holds up everyone behind. Poll a wait until it completes, or drop it.
//!
//! # Cost
//!
//! A wait that is not necessary is a few loads and stores. A wait that is takes a place in a queue
//! that the primitive keeps, without an allocation once the queue has been as long before, and
//! leaves it, by being served or by being dropped, in constant time.

mod access;
#[cfg(test)]
mod alloc_tests;
mod atomic;
mod barrier;
mod cancellation;
mod gate;
mod guard;
mod mutex;
mod notify;
mod once_cell;
mod rwlock;
mod semaphore;
mod signal;
mod weak_list;

pub use barrier::{Barrier, BarrierWaitResult};
pub use cancellation::{CancellationToken, Cancelled, ForeignCancellation};
pub use gate::{Gate, Pass};
pub use mutex::{Mutex, MutexGuard};
pub use notify::{Notified, Notify};
pub use once_cell::OnceCell;
pub use rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard};
pub use semaphore::{Permit, Semaphore, StaticPermit};

/// What locking gives: a guard, or `Closed`.
pub type LockResult<T> = std::result::Result<T, crate::error::GlommioError<()>>;

/// What locking without waiting gives: a guard, `WouldBlock` or `Closed`.
pub type TryLockResult<T> = std::result::Result<T, crate::error::GlommioError<()>>;
