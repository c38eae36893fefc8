//! Panics that nobody awaits, and what an executor does about them.
//!
//! A panic is *unobserved* when the last one who could have seen it is gone: the handle of a task was
//! dropped, the future of a blocking job was dropped. It is logged, and then the executor's policy
//! says whether the executor goes on. Whoever notices the panic asks the policy, on its own thread; the
//! verdict to end reaches the executor through a flag that its loop reads once per turn.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::queue::TaskQueueHandle;
use crate::{
    error::PanicPayload,
    task::{self, ExecutorId, Payload},
};

/// What an executor does after a panic that nobody awaits; see
/// [`LocalExecutorBuilder::on_unobserved_panic`](crate::LocalExecutorBuilder::on_unobserved_panic).
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, PanicPolicy};
///
/// // Tests, for example, had better not overlook a panic.
/// let policy = if cfg!(test) { PanicPolicy::EndExecutor } else { PanicPolicy::Continue };
/// let builder = LocalExecutorBuilder::default().on_unobserved_panic(move |_| policy);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PanicPolicy {
    /// The executor goes on. What panicked has ended, and nothing else is touched.
    #[default]
    Continue,
    /// [`LocalExecutor::run`](crate::LocalExecutor::run) stops where it is and resumes the panic on
    /// the executor's thread, so that joining the thread reports it.
    EndExecutor,
}

/// What panicked while nobody awaited it.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutorBuilder, PanicOrigin, PanicPolicy};
///
/// let builder = LocalExecutorBuilder::default().on_unobserved_panic(|panicked| {
///     match panicked.origin {
///         PanicOrigin::BlockingJob => PanicPolicy::Continue,
///         _ => PanicPolicy::EndExecutor,
///     }
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PanicOrigin {
    /// A task whose handle is gone: its future, the destructor of its future or output, or a foreign
    /// waker that the end of the task called.
    Task,
    /// A function given to [`spawn_blocking`](crate::ExecutorProxy::spawn_blocking) whose future is
    /// gone, or the destructor of its result; also a function that never ran because the system
    /// refused a thread for it.
    BlockingJob,
}

impl fmt::Display for PanicOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PanicOrigin::Task => "task",
            PanicOrigin::BlockingJob => "blocking job",
        })
    }
}

/// A panic that nobody awaits, as the handler of
/// [`LocalExecutorBuilder::on_unobserved_panic`](crate::LocalExecutorBuilder::on_unobserved_panic)
/// sees it.
///
/// # Examples
///
/// ```
/// use std::sync::mpsc;
///
/// use glommio::{LocalExecutorBuilder, PanicPolicy, spawn_local};
///
/// let (sender, panics) = mpsc::channel();
/// let executor = LocalExecutorBuilder::default()
///     .name("worker")
///     .on_unobserved_panic(move |panicked| {
///         let _ = sender.send(format!("{}: {}", panicked.executor_name, panicked.message));
///         PanicPolicy::Continue
///     })
///     .make()?;
/// executor.run(async {
///     spawn_local(async { panic!("nobody awaits this") }).detach();
///     glommio::executor().yield_now().await;
/// });
/// assert_eq!(panics.recv().unwrap(), "worker: nobody awaits this");
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UnobservedPanic<'a> {
    /// The number of the executor.
    pub executor: usize,
    /// The name that the executor was built with.
    pub executor_name: &'a str,
    /// The queue of the task, or that of the task which spawned the blocking job.
    pub queue: TaskQueueHandle,
    /// What panicked.
    pub origin: PanicOrigin,
    /// The text of the panic, or a remark that it was not text.
    pub message: &'a str,
}

impl fmt::Display for UnobservedPanic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a {} of queue {} of executor {} ({}) panicked, and nobody awaits it: {}",
            self.origin, self.queue, self.executor, self.executor_name, self.message
        )
    }
}

type Handler = dyn Fn(&UnobservedPanic<'_>) -> PanicPolicy + Send + Sync;

/// The policy of a builder; none means [`PanicPolicy::Continue`].
#[derive(Clone, Default)]
pub(super) struct PanicHandler(Option<Arc<Handler>>);

impl PanicHandler {
    pub(super) fn new(
        handler: impl Fn(&UnobservedPanic<'_>) -> PanicPolicy + Send + Sync + 'static,
    ) -> PanicHandler {
        PanicHandler(Some(Arc::new(handler)))
    }

    /// What the handler says. Panicking is a way of saying that things cannot go on.
    fn ask(&self, panicked: &UnobservedPanic<'_>) -> PanicPolicy {
        let Some(handler) = &self.0 else {
            return PanicPolicy::Continue;
        };
        match catch_unwind(AssertUnwindSafe(|| handler(panicked))) {
            Ok(policy) => policy,
            Err(payload) => {
                let second = PanicPayload::new(payload);
                tracing::error!(
                    target: "glommio::executor",
                    executor = panicked.executor,
                    panic = second.message(),
                    "the handler of unobserved panics panicked itself; the executor ends"
                );
                task::discard(second.into_inner());
                PanicPolicy::EndExecutor
            }
        }
    }
}

impl fmt::Debug for PanicHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            None => "Continue",
            Some(_) => "Handler",
        })
    }
}

/// Where the unobserved panics of one executor are reported, from any thread, also after its end.
pub(super) struct Unobserved {
    id: ExecutorId,
    name: String,
    handler: PanicHandler,
    /// Whether `reason` is there: what the loop reads.
    ending: AtomicBool,
    /// The panic that the executor is to end with.
    reason: Mutex<Option<PanicPayload>>,
}

impl Unobserved {
    pub(super) fn new(id: ExecutorId, name: &str, handler: PanicHandler) -> Unobserved {
        Unobserved {
            id,
            name: name.to_owned(),
            handler,
            ending: AtomicBool::new(false),
            reason: Mutex::new(None),
        }
    }

    /// Logs a panic and does what the policy says. Does not panic.
    pub(super) fn report(&self, origin: PanicOrigin, queue: TaskQueueHandle, payload: Payload) {
        let payload = PanicPayload::new(payload);
        let panicked = UnobservedPanic {
            executor: self.id.as_usize(),
            executor_name: &self.name,
            queue,
            origin,
            message: payload.message(),
        };
        // Before the handler, which may end the process.
        tracing::error!(
            target: "glommio::executor",
            executor = panicked.executor,
            queue = queue.index(),
            origin = %origin,
            panic = panicked.message,
            "a panic that nobody awaits"
        );
        match self.handler.ask(&panicked) {
            PanicPolicy::Continue => task::discard(payload.into_inner()),
            PanicPolicy::EndExecutor => self.end_with(payload),
        }
    }

    fn end_with(&self, payload: PanicPayload) {
        let mut reason = self.lock();
        if reason.is_some() {
            // The first panic is the one that tells what went wrong.
            drop(reason);
            return task::discard(payload.into_inner());
        }
        *reason = Some(payload);
        // SeqCst: the executor announces its sleep, then reads this; we write this, then look
        // whether it sleeps. One of the two sees the other.
        self.ending.store(true, Ordering::SeqCst);
        drop(reason);
        task::notify(self.id);
    }

    /// Whether the executor is to end.
    #[inline]
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// The panic to end with, once.
    pub(super) fn take_reason(&self) -> Option<PanicPayload> {
        if !self.is_ending() {
            return None;
        }
        let mut reason = self.lock();
        self.ending.store(false, Ordering::SeqCst);
        reason.take()
    }

    /// Forgets that the executor is to end.
    pub(super) fn clear(&self) {
        if let Some(reason) = self.take_reason() {
            task::discard(reason.into_inner());
        }
    }

    /// Nothing below the lock panics.
    fn lock(&self) -> MutexGuard<'_, Option<PanicPayload>> {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Unobserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unobserved")
            .field("handler", &self.handler)
            .field("ending", &self.is_ending())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Tasks;

    fn unobserved(handler: PanicHandler) -> (Tasks, Unobserved) {
        let tasks = Tasks::new().expect("a slot for the executor");
        let unobserved = Unobserved::new(tasks.id(), "test", handler);
        (tasks, unobserved)
    }

    #[test]
    fn without_a_handler_everything_goes_on() {
        let (_tasks, unobserved) = unobserved(PanicHandler::default());
        unobserved.report(
            PanicOrigin::Task,
            TaskQueueHandle::new(0, 0),
            Box::new("boom"),
        );
        assert!(!unobserved.is_ending());
        assert!(unobserved.take_reason().is_none());
    }

    #[test]
    fn the_first_panic_that_ends_the_executor_is_the_reason() {
        let (_tasks, unobserved) = unobserved(PanicHandler::new(|_| PanicPolicy::EndExecutor));
        unobserved.report(
            PanicOrigin::Task,
            TaskQueueHandle::new(0, 0),
            Box::new("first"),
        );
        unobserved.report(
            PanicOrigin::BlockingJob,
            TaskQueueHandle::new(0, 0),
            Box::new("second"),
        );
        assert!(unobserved.is_ending());
        assert_eq!(unobserved.take_reason().unwrap().message(), "first");
        assert!(!unobserved.is_ending());
        assert!(unobserved.take_reason().is_none());
    }

    #[test]
    fn a_panicking_handler_ends_the_executor_with_the_panic_that_it_was_asked_about() {
        let (_tasks, unobserved) = unobserved(PanicHandler::new(|_| panic!("handler")));
        unobserved.report(
            PanicOrigin::Task,
            TaskQueueHandle::new(0, 0),
            Box::new("boom"),
        );
        assert_eq!(unobserved.take_reason().unwrap().message(), "boom");
    }

    #[test]
    fn a_payload_with_a_panicking_destructor_hurts_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("destructor");
            }
        }
        let (_tasks, unobserved) = unobserved(PanicHandler::default());
        unobserved.report(
            PanicOrigin::Task,
            TaskQueueHandle::new(0, 0),
            Box::new(Bomb),
        );
    }

    #[test]
    fn the_text_says_what_panicked_where() {
        let panicked = UnobservedPanic {
            executor: 4,
            executor_name: "worker",
            queue: TaskQueueHandle::new(2, 1),
            origin: PanicOrigin::BlockingJob,
            message: "boom",
        };
        assert_eq!(
            panicked.to_string(),
            "a blocking job of queue 2 of executor 4 (worker) panicked, and nobody awaits it: boom"
        );
    }
}
