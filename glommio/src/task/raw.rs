//! The memory of a task: the functions that know the future's type.
//!
//! ```text
//!   ┌────────────┬─────────────────────────────────────────────┐
//!   │ Header     │ stage: future, then output or panic payload │
//!   └────────────┴─────────────────────────────────────────────┘
//! ```
//!
//! Which of the three the stage holds follows from the header's flags: the future until
//! `COMPLETED`, then the output if `OUTPUT`, the payload if `OUTPUT|PANICKED`, else nothing.

use core::{
    alloc::Layout,
    future::Future,
    mem::{self, ManuallyDrop, offset_of},
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll},
};
use std::{
    alloc::handle_alloc_error,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    blocks::{self, Shape},
    header::{Header, Polled, TaskPtr, VTable},
    id::ExecutorId,
    payload::{Payload, discard},
    state::State,
    waker,
};

#[repr(C)]
union Stage<F: Future> {
    future: ManuallyDrop<F>,
    output: ManuallyDrop<F::Output>,
    panic: ManuallyDrop<Payload>,
}

/// The allocation, but for the place of the header if the stage has a strict alignment: then what is
/// between the two goes before the header. So the stage is always where a header ends, and a handle
/// finds the output without knowing the future.
#[repr(C)]
#[allow(dead_code)]
struct TaskCell<F: Future> {
    header: Header,
    stage: Stage<F>,
}

/// Allocates a task: scheduled, with a handle, and with `local` at 2 (owned list and handle).
///
/// Nothing in here can unwind, so neither the memory nor the future can get lost.
#[inline]
pub(super) fn allocate<F: Future>(executor: ExecutorId, queue: u32, future: F) -> TaskPtr {
    let vtable = const {
        &VTable {
            poll: poll::<F>,
            drop_future: drop_future::<F>,
            drop_output: drop_output::<F>,
            shape: Shape::of(
                Layout::new::<TaskCell<F>>(),
                offset_of!(TaskCell<F>, stage) - size_of::<Header>(),
            ),
            #[cfg(feature = "debugging")]
            type_name: core::any::type_name::<F>,
        }
    };
    let Some(header) = NonNull::new(blocks::allocate(&vtable.shape).cast::<Header>()) else {
        handle_alloc_error(Layout::new::<TaskCell<F>>())
    };
    // SAFETY: the memory is fresh and has room for a header and, right behind it, a stage. Writing
    // the parts one by one moves a large future straight to its place. The pointer covers the whole
    // allocation, and the two local references that keep it alive are handed to the caller.
    unsafe {
        header.write(Header::new(vtable, executor, queue, State::newborn(), 2));
        let task = TaskPtr::new(header);
        task.stage::<F>().write(future);
        task
    }
}

/// Unwinds if the future's poll does; the future is still there then, see [`bury`].
///
/// # Safety
///
/// The stage holds a future of type `F`, and `RUNNING` keeps everybody else away from it.
unsafe fn poll<F: Future>(task: TaskPtr) -> Polled {
    let waker = waker::borrowed(task);
    let mut context = Context::from_waker(&waker);
    // SAFETY: the future is there, ours alone as long as RUNNING is set, and never moves: the
    // allocation stays where it is and the future is dropped in place.
    let pinned = unsafe { Pin::new_unchecked(task.stage::<F>().as_mut()) };
    let Poll::Ready(output) = pinned.poll(&mut context) else {
        return Polled::Pending;
    };
    // SAFETY: as above.
    match unsafe { drop_stage::<F>(task) } {
        Ok(()) => {
            // SAFETY: the future is gone, so the place is free.
            unsafe { task.stage::<F::Output>().write(output) };
            Polled::Ready
        }
        Err(payload) => {
            // The first panic is the one that tells what went wrong.
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(output))) {
                discard(second);
            }
            // SAFETY: the stage is vacant.
            unsafe { task.stage::<Payload>().write(payload) };
            Polled::Panicked
        }
    }
}

/// Cleans up after a panic in the future's poll, and stores the payload.
///
/// # Safety
///
/// The stage holds a future, and `RUNNING` keeps everybody else away from it.
#[cold]
pub(super) unsafe fn bury(task: TaskPtr, payload: Payload) -> Polled {
    // SAFETY: as the caller says.
    if let Err(second) = unsafe { (task.vtable.drop_future)(task) } {
        // The first panic is the one that tells what went wrong.
        discard(second);
    }
    // SAFETY: the stage is vacant now.
    unsafe { task.stage::<Payload>().write(payload) };
    Polled::Panicked
}

/// # Safety
///
/// The stage holds a future of type `F`, and `RUNNING` keeps everybody else away from it. It holds
/// nothing afterwards.
unsafe fn drop_future<F: Future>(task: TaskPtr) -> Result<(), Payload> {
    // SAFETY: as the caller says.
    unsafe { drop_stage::<F>(task) }
}

/// # Safety
///
/// The stage holds an output of a future of type `F`. It holds nothing afterwards.
unsafe fn drop_output<F: Future>(task: TaskPtr) -> Result<(), Payload> {
    // SAFETY: as the caller says.
    unsafe { drop_stage::<F::Output>(task) }
}

/// # Safety
///
/// The stage holds a `T`, and it is the caller's. It holds nothing afterwards.
pub(super) unsafe fn drop_stage<T>(task: TaskPtr) -> Result<(), Payload> {
    if !mem::needs_drop::<T>() {
        return Ok(());
    }
    // SAFETY: as the caller says.
    catch_unwind(AssertUnwindSafe(|| unsafe {
        task.stage::<T>().drop_in_place();
    }))
}
