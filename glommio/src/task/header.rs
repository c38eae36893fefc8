//! The part of a task that everybody who holds a reference can see.
//!
//! A task is one allocation: this header, then the *stage*, which is the future and later its
//! output (see [`raw`](super::raw)). The header is what run queues, the owned list, wakers and
//! handles point to; it does not know the future's type, only a table of functions that do.
//!
//! # Who may touch what
//!
//! | fields | who |
//! |---|---|
//! | `vtable`, `executor`, `queue` | anyone, read only |
//! | `shared`, `inbox_link` | anyone who holds a reference |
//! | everything else, and the stage | the thread of the executor that owns the task |
//!
//! # Who keeps it alive
//!
//! `local` counts the references that cannot leave the owner's thread because their types are not
//! `Send`: one for the owned list, one for the handle, one per awaiter link of another task of the
//! same executor. A run queue's reference is the flag [`SCHEDULED`]. As long as any of them exists
//! they hold, together, one unit of the atomic count in `shared`; each waker holds one of its own.
//! The owned list's reference goes last among those that need the future, so `local == 0` implies
//! that future, output and awaiter are gone: what the last waker frees, on whatever thread, is
//! plain memory.
//!
//! `local` cannot overflow: each awaiter link sits in a task of its own, and 2^31 of those would
//! take 200 GiB; the one place that makes links refuses to pass that bound all the same.

use super::{
    atomic::AtomicPtr,
    blocks::{self, Shape},
    id::ExecutorId,
    inbox::Node,
    payload::Payload,
    shared::Shared,
    state::{SCHEDULED, State},
    trace::Trace,
};
use core::{
    cell::{Cell, UnsafeCell},
    mem,
    ops::Deref,
    ptr::NonNull,
    task::Waker,
};

/// What a poll left in the stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Polled {
    /// The future.
    Pending,
    /// The output.
    Ready,
    /// The payload of a panic.
    Panicked,
}

/// What the header knows of the future behind it.
pub(super) struct VTable {
    /// Polls the future; afterwards the stage is as the answer says. Demands `RUNNING`.
    pub(super) poll: unsafe fn(TaskPtr) -> Polled,
    /// Drops the future; what its destructor panicked with is returned. Demands `RUNNING`.
    pub(super) drop_future: unsafe fn(TaskPtr) -> Result<(), Payload>,
    /// Drops the output; what its destructor panicked with is returned. Demands an output.
    pub(super) drop_output: unsafe fn(TaskPtr) -> Result<(), Payload>,
    /// Of the whole allocation.
    pub(super) shape: Shape,
    /// The name of the future's type.
    #[cfg(feature = "debugging")]
    pub(super) type_name: fn() -> &'static str,
}

/// The header of a task.
#[repr(C, align(16))]
pub(super) struct Header {
    pub(super) vtable: &'static VTable,
    pub(super) executor: ExecutorId,
    /// Link of the run queue.
    pub(super) run_link: Cell<Option<TaskPtr>>,
    pub(super) local: Cell<u32>,
    /// The task queue this task was spawned into; a number of the executor's, not ours.
    pub(super) queue: u32,
    pub(super) shared: Shared,
    pub(super) state: State,
    /// Who waits for the end of this task. Only while a handle exists and `COMPLETED` is clear.
    pub(super) awaiter: UnsafeCell<Awaiter>,
    /// Links of the owned list; `None` while the task is not in it.
    pub(super) owned_next: Cell<Option<TaskPtr>>,
    pub(super) owned_prev: Cell<Option<TaskPtr>>,
    inbox_link: AtomicPtr<Header>,
    pub(super) trace: Trace,
}

// SAFETY: the accessor returns one fixed field, which nothing but inboxes uses; the INJECTED bit
// keeps a header from being pushed while it is in an inbox or a batch.
unsafe impl Node for Header {
    fn inbox_link(&self) -> &AtomicPtr<Header> {
        &self.inbox_link
    }
}

impl Header {
    pub(super) fn new(
        vtable: &'static VTable,
        executor: ExecutorId,
        queue: u32,
        state: State,
        local: u32,
    ) -> Header {
        Header {
            vtable,
            executor,
            run_link: Cell::new(None),
            local: Cell::new(local),
            queue,
            shared: Shared::new(),
            state,
            awaiter: UnsafeCell::new(Awaiter::Nobody),
            owned_next: Cell::new(None),
            owned_prev: Cell::new(None),
            inbox_link: AtomicPtr::default(),
            trace: Trace::new(),
        }
    }
}

/// A pointer to a live task.
///
/// Copying it moves no count. The contract is made where one is created: a `TaskPtr` is used only
/// while a counted reference to the task exists (or [`SCHEDULED`] stands for one), so that
/// dereferencing is always fine. It points to the whole allocation, not just to the header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TaskPtr(NonNull<Header>);

impl Deref for TaskPtr {
    type Target = Header;

    #[inline(always)]
    fn deref(&self) -> &Header {
        // SAFETY: by the contract of `TaskPtr` the task is alive. Nobody ever has a `&mut Header`.
        unsafe { self.0.as_ref() }
    }
}

impl TaskPtr {
    /// # Safety
    ///
    /// The pointer covers the whole allocation of a task, and every copy is used only while a
    /// counted reference to it exists.
    #[inline(always)]
    pub(super) unsafe fn new(header: NonNull<Header>) -> TaskPtr {
        TaskPtr(header)
    }

    #[inline(always)]
    pub(super) fn as_non_null(self) -> NonNull<Header> {
        self.0
    }

    /// The place of the stage, as whatever it holds.
    #[inline(always)]
    pub(super) fn stage<T>(self) -> NonNull<T> {
        // SAFETY: a stage is behind every header that has one, in the allocation that this pointer
        // covers.
        unsafe { self.0.add(1).cast() }
    }

    /// Adds a reference of the owner's thread.
    #[inline(always)]
    pub(super) fn acquire_local(self) {
        debug_assert_ne!(self.local.get(), 0, "no local reference to copy from");
        self.local.set(self.local.get() + 1);
    }

    /// Gives back a reference of the owner's thread.
    ///
    /// # Safety
    ///
    /// The caller owns such a reference and is on the owner's thread. The task may be gone
    /// afterwards.
    #[inline(always)]
    pub(super) unsafe fn release_local(self) {
        let left = self.local.get() - 1;
        self.local.set(left);
        if left == 0 && !self.state.any(SCHEDULED) {
            // SAFETY: neither local references nor a runnable are left, so their unit goes.
            unsafe { self.release_shared() }
        }
    }

    /// Gives back what the flag [`SCHEDULED`] stood for, after it was cleared.
    ///
    /// # Safety
    ///
    /// The caller held the runnable of this task, is on the owner's thread, and cleared the flag.
    /// The task may be gone afterwards.
    #[inline(always)]
    pub(super) unsafe fn release_scheduled(self) {
        if self.local.get() == 0 {
            // SAFETY: neither local references nor a runnable are left, so their unit goes.
            unsafe { self.release_shared() }
        }
    }

    /// Gives back one unit of the atomic count: a waker's, the inbox's, or the owner's.
    ///
    /// # Safety
    ///
    /// The caller owns that unit. The task may be gone afterwards.
    #[inline(always)]
    pub(super) unsafe fn release_shared(self) {
        if self.shared.release() {
            // SAFETY: this was the last unit, so nobody else can reach the task. The owner gave
            // its unit back before or just now, hence future, output and awaiter are gone.
            unsafe { blocks::free(self.0.as_ptr().cast(), &self.vtable.shape) }
        }
    }

    /// Replaces who waits for this task and returns who did. Owner's thread only.
    #[inline]
    pub(super) fn replace_awaiter(self, awaiter: Awaiter) -> Awaiter {
        // SAFETY: only the owner's thread accesses the cell, and no code of others runs while the
        // exclusive borrow lasts: values are moved, neither cloned nor dropped.
        unsafe { mem::replace(&mut *self.awaiter.get(), awaiter) }
    }

    /// The task of the same executor that waits for this one. Owner's thread only.
    #[cfg(feature = "debugging")]
    pub(super) fn awaiting_task(self) -> Option<TaskPtr> {
        // SAFETY: only the owner's thread accesses the cell, and the shared borrow ends here.
        match unsafe { &*self.awaiter.get() } {
            Awaiter::Task(link) => Some(link.task()),
            Awaiter::Nobody | Awaiter::Waker(_) => None,
        }
    }

    /// Takes out the task of the same executor that waits for this one. Owner's thread only.
    #[inline(always)]
    pub(super) fn take_awaiting_task(self) -> Option<LocalRef> {
        let place = self.awaiter.get();
        // SAFETY: only the owner's thread accesses the cell, and no code of others runs in here. The
        // link is moved out and overwritten, so that it is counted once.
        unsafe {
            let Awaiter::Task(LocalRef(task)) = *place else {
                return None;
            };
            place.write(Awaiter::Nobody);
            Some(LocalRef::from_counted(task))
        }
    }
}

/// A counted reference of the owner's thread.
pub(super) struct LocalRef(TaskPtr);

impl LocalRef {
    /// # Safety
    ///
    /// One unit of `local` is passed on to the new value, on the owner's thread.
    #[inline(always)]
    pub(super) unsafe fn from_counted(task: TaskPtr) -> LocalRef {
        LocalRef(task)
    }

    #[inline(always)]
    pub(super) fn task(&self) -> TaskPtr {
        self.0
    }
}

impl Drop for LocalRef {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this value owns one unit, and not being `Send` (it holds a raw pointer) it is
        // still on the owner's thread.
        unsafe { self.0.release_local() }
    }
}

/// Who waits for a task to end.
pub(super) enum Awaiter {
    Nobody,
    /// Another task (or even this one) of the same executor.
    Task(LocalRef),
    /// Anything else that can be woken.
    Waker(Waker),
}
