//! The life of a task, as the flags of one byte.
//!
//! Only the thread of the executor that owns a task reads or writes this byte, so it is a plain
//! [`Cell`]: a transition is a load, a bit operation and a store. Threads that merely hold a waker
//! never look here; what they may touch is in [`shared`](super::shared).
//!
//! ```text
//!               spawn
//!                 │
//!                 ▼          Runnable::run
//!          ┌─► SCHEDULED ───────────────────► RUNNING ──────────────┐
//!          │      ▲                            │  │                 │
//!     wake │      │  woken while it ran        │  │ Pending         │ Ready, or a panic
//!          │      └────────────────────────────┘  │                 ▼
//!          │                                      │             COMPLETED
//!          └────────────── (idle) ◄───────────────┘             (OUTPUT, or OUTPUT|PANICKED)
//!
//!     cancel: CLOSED joins whatever is set.
//!         idle               → SCHEDULED|CLOSED, so that the executor comes by
//!         SCHEDULED|CLOSED   → run drops the future instead of polling it → COMPLETED|CLOSED
//!         RUNNING|CLOSED     → Pending: run drops the future at once      → COMPLETED|CLOSED
//!                            → Ready:   the output wins                   → COMPLETED|OUTPUT
//! ```
//!
//! The future exists until `COMPLETED` is set; from then on the memory behind the header holds an
//! output, a panic's payload, or nothing. `HANDLE` accompanies all of this and says whether anyone
//! can still ask for the result.

use core::cell::Cell;

/// A [`Runnable`](super::runnable::Runnable) of this task exists, or `run` will make one when the
/// current poll returns.
///
/// Set by a wake, by a cancellation and at birth; cleared when `run` starts, or when a runnable is
/// dropped unused. While it is set further wakes have nothing to do. Outside of `RUNNING` the flag
/// *is* the run queue's reference to the task: the memory stays while it is set, though no counter
/// moved. During `RUNNING` it only remembers that the task was woken while it ran. It may be set
/// together with `COMPLETED`: then a husk still sits in a run queue and is freed when popped.
pub(super) const SCHEDULED: u8 = 1 << 0;

/// A frame further up this thread's stack is using the future: it polls it or drops it.
///
/// Set and cleared by that frame alone. While it is set nobody else may touch the future, not even
/// to drop it: whoever wants it gone sets `CLOSED` and leaves the rest to the frame. The owner's
/// reference is never released while it is set, so the frame needs none of its own.
pub(super) const RUNNING: u8 = 1 << 1;

/// The future is gone and will not come back.
///
/// Set exactly once, by the frame that held `RUNNING`, after the future was dropped (or was given
/// up for good when teardown reached its bound). From then on wakes and cancellations are no-ops
/// and the owner's list no longer knows the task.
pub(super) const COMPLETED: u8 = 1 << 2;

/// Someone asked for the task to stop.
///
/// Set by a cancellation before `COMPLETED`; never cleared while the future lives. A closed task
/// is not polled again. After `COMPLETED` the flag stays only if the task ended *because* of the
/// request: a task that produced its output anyway counts as not cancelled.
pub(super) const CLOSED: u8 = 1 << 3;

/// A `Task`, `ScopedTask` or `JoinHandle` of this task exists.
///
/// Set at birth; cleared when that handle is dropped, never set again. While it is clear an output
/// has no taker and is dropped on the spot.
pub(super) const HANDLE: u8 = 1 << 4;

/// The memory behind the header holds a value that nobody has taken yet.
///
/// Set together with `COMPLETED`; cleared by whoever moves the value out or drops it, before
/// touching it, so that no path can see it twice.
pub(super) const OUTPUT: u8 = 1 << 5;

/// The value that `OUTPUT` speaks of is the payload of a panic, not the future's output.
///
/// Set together with `COMPLETED|OUTPUT`, never alone, never cleared.
pub(super) const PANICKED: u8 = 1 << 6;

/// The flags of one task.
pub(super) struct State(Cell<u8>);

impl State {
    /// A task as it is born: waiting for its first poll, with a handle.
    pub(super) const fn newborn() -> State {
        State(Cell::new(SCHEDULED | HANDLE))
    }

    #[inline(always)]
    pub(super) fn get(&self) -> u8 {
        self.0.get()
    }

    #[inline(always)]
    pub(super) fn set(&self, flags: u8) {
        self.0.set(flags);
    }

    /// Whether any of `flags` is set.
    #[inline(always)]
    pub(super) fn any(&self, flags: u8) -> bool {
        self.0.get() & flags != 0
    }

    #[inline(always)]
    pub(super) fn insert(&self, flags: u8) {
        self.0.set(self.0.get() | flags);
    }

    #[inline(always)]
    pub(super) fn remove(&self, flags: u8) {
        self.0.set(self.0.get() & !flags);
    }

    /// The word that names the state best, for `Debug`.
    pub(super) fn describe(&self) -> &'static str {
        let flags = self.0.get();
        match () {
            () if flags & PANICKED != 0 => "panicked",
            () if flags & (COMPLETED | CLOSED) == COMPLETED | CLOSED => "cancelled",
            () if flags & COMPLETED != 0 => "completed",
            () if flags & CLOSED != 0 => "cancelling",
            () if flags & RUNNING != 0 => "running",
            () if flags & SCHEDULED != 0 => "scheduled",
            () => "idle",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newborn_is_scheduled_and_has_a_handle() {
        let state = State::newborn();
        assert_eq!(state.get(), SCHEDULED | HANDLE);
        assert_eq!(state.describe(), "scheduled");
    }

    #[test]
    fn flags_are_distinct_bits() {
        let all = [
            SCHEDULED, RUNNING, COMPLETED, CLOSED, HANDLE, OUTPUT, PANICKED,
        ];
        let union = all.iter().fold(0u8, |seen, flag| {
            assert_eq!(flag.count_ones(), 1);
            assert_eq!(seen & flag, 0);
            seen | flag
        });
        assert_eq!(union.count_ones() as usize, all.len());
    }

    #[test]
    fn the_description_prefers_how_a_task_ended() {
        let state = State::newborn();
        state.insert(CLOSED);
        assert_eq!(state.describe(), "cancelling");
        state.set(COMPLETED | CLOSED | HANDLE | SCHEDULED);
        assert_eq!(state.describe(), "cancelled");
        state.set(COMPLETED | OUTPUT);
        assert_eq!(state.describe(), "completed");
        state.insert(PANICKED);
        assert_eq!(state.describe(), "panicked");
    }
}
