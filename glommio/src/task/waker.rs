//! Wakers: the only references to a task that may travel.
//!
//! A waker is the header's address with the table below, and holds one unit of the atomic count.
//! Inside its own executor, waking is a comparison of two integers, a flag, and a push to the run
//! queue. Anywhere else (another thread, another executor, or this thread outside of any) the
//! header goes to its executor's inbox, and the executor is told.

use core::{
    mem::ManuallyDrop,
    ptr::NonNull,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{
    context,
    header::{Header, TaskPtr},
    id::ExecutorId,
    wake::{inject, wake_local, wake_task},
};

/// A static has one address, by which we recognize our own wakers.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The waker that a task is polled with. It borrows the reference that the poll stands on; only a
/// clone of it counts.
#[inline(always)]
pub(super) fn borrowed(task: TaskPtr) -> ManuallyDrop<Waker> {
    let data = task.as_non_null().as_ptr().cast_const().cast();
    // SAFETY: the functions of the table keep the contract of `RawWaker`; not being dropped, this
    // waker never gives back a reference that it does not own.
    ManuallyDrop::new(unsafe { Waker::from_raw(RawWaker::new(data, &VTABLE)) })
}

/// The task behind a waker, if it is one of ours and belongs to `executor`.
///
/// The pointer is good for as long as the waker is.
#[inline]
pub(super) fn task_of(waker: &Waker, executor: ExecutorId) -> Option<TaskPtr> {
    if !core::ptr::eq(waker.vtable(), &VTABLE) {
        return None;
    }
    // SAFETY: with our table the data is a task, which the waker keeps alive.
    let task = unsafe { task_from(waker.data()) };
    (task.executor == executor).then_some(task)
}

/// Whether this is a waker of that very task.
#[inline]
pub(super) fn is_of(waker: &Waker, task: TaskPtr) -> bool {
    waker.data() == task.as_non_null().as_ptr().cast_const().cast()
        && core::ptr::eq(waker.vtable(), &VTABLE)
}

/// # Safety
///
/// `data` is the data of one of our wakers, and the result is used only while it lives.
#[inline(always)]
unsafe fn task_from(data: *const ()) -> TaskPtr {
    // SAFETY: `borrowed` and `clone` put the address of a whole task there; it is never null.
    unsafe { TaskPtr::new(NonNull::new_unchecked(data.cast::<Header>().cast_mut())) }
}

// SAFETY (all four functions): called through the table, so `data` is the address of a task that
// the waker in question keeps alive. `clone`, `wake_by_ref` borrow its reference; `wake` and
// `drop_waker` consume it. They may run on any thread and use only what any thread may use, unless
// the current context proves that this is the owner's thread.

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: see above.
    unsafe { task_from(data) }.shared.acquire();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: see above.
    wake_task(unsafe { task_from(data) });
}

unsafe fn wake(data: *const ()) {
    // SAFETY: see above.
    let task = unsafe { task_from(data) };
    if context::is_current(task.executor) {
        wake_local(task);
    } else if task.shared.begin_injection() {
        // SAFETY: this waker's reference goes to the inbox.
        return unsafe { inject(task) };
    }
    // SAFETY: this waker's reference was not passed on.
    unsafe { task.release_shared() }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: see above; the reference is this waker's.
    unsafe { task_from(data).release_shared() }
}
