//! A task whose turn has come.

use core::{
    fmt,
    mem::ManuallyDrop,
    panic::{RefUnwindSafe, UnwindSafe},
};

use super::{header::TaskPtr, state::SCHEDULED};

/// A scheduled task, for an executor's run queue.
///
/// At most one exists per task. Dropping it without running it takes the task off the run queue;
/// the next wake puts it back.
///
/// # Examples
///
/// It never leaves the executor; only its name is public:
///
/// ```
/// fn describe(task: &glommio::task::Task) -> String {
///     format!("{task:?}")
/// }
/// ```
pub struct Runnable(TaskPtr);

// As for the handles of a task.
impl UnwindSafe for Runnable {}
impl RefUnwindSafe for Runnable {}

impl Runnable {
    /// # Safety
    ///
    /// Owner's thread; the caller turned [`SCHEDULED`] on, and passes on what it stands for.
    #[inline(always)]
    pub(super) unsafe fn from_scheduled(task: TaskPtr) -> Runnable {
        Runnable(task)
    }

    /// The pointer, with what [`SCHEDULED`] stands for.
    #[inline(always)]
    pub(super) fn into_task(self) -> TaskPtr {
        ManuallyDrop::new(self).0
    }

    /// The queue that the task was spawned into.
    #[inline(always)]
    pub(crate) fn queue(&self) -> u32 {
        self.0.queue
    }
}

impl Drop for Runnable {
    fn drop(&mut self) {
        self.0.state.remove(SCHEDULED);
        // SAFETY: the runnable was ours, the type is not `Send`, and the flag is cleared.
        unsafe { self.0.release_scheduled() }
    }
}

impl fmt::Debug for Runnable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("executor", &self.0.executor.as_usize())
            .field("queue", &self.0.queue)
            .field("state", &self.0.state.describe())
            .finish()
    }
}
