//! Finding tasks that do not yield.
//!
//! A queue that runs past its budget delays everything else on its executor. The detector arms a
//! timer when a queue starts to run; if the timer fires, the stack at that moment is recorded, and
//! reported when the queue has stopped, outside the signal. A stall that never ends is therefore
//! never reported: that is for a debugger.
//!
//! An executor without a detector has no timer and no signal handler, and pays one branch per slice.
//! With one, a slice costs two readings of the clock. See [`StallTimer`] for how the stack is found.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

use backtrace::{Backtrace, BacktraceFrame};

use super::queue::TaskQueueHandle;
use crate::sys::stall_timer::{SIGUSR1, StallTimer};
use crate::task::discard;

/// A task queue that ran for longer than it should have.
///
/// # Examples
///
/// ```
/// use glommio::StallDetection;
///
/// /// For a handler's `stall`.
/// fn report(stall: StallDetection<'_>) {
///     println!("queue {} of executor {}", stall.queue_handle, stall.executor);
///     println!("ran {:?} longer than {:?}", stall.overage, stall.budget);
/// }
/// ```
#[derive(Debug)]
pub struct StallDetection<'a> {
    /// The id of the executor.
    pub executor: usize,
    /// The queue that ran.
    pub queue_handle: TaskQueueHandle,
    /// The name of the queue.
    pub queue_name: &'a str,
    /// Where the queue's task was when its time was up, innermost function first. At most 128
    /// frames.
    pub trace: Backtrace,
    /// How long the queue should have run at most.
    pub budget: Duration,
    /// How much longer it ran.
    pub overage: Duration,
}

impl fmt::Display for StallDetection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "task queue {} ({:?}) of executor {} ran {:.1?} longer than its budget of {:.1?}. When \
             its time was up it was at\n{:?}",
            self.queue_handle,
            self.queue_name,
            self.executor,
            self.overage,
            self.budget,
            self.trace
        )
    }
}

/// Decides what a stall is, and what happens when one was found.
///
/// Give one to [`LocalExecutorBuilder::detect_stalls`] to look for tasks that run for too long
/// without yielding. Meant for development and for hunting a latency problem, rather than for always: the
/// stack is recorded by a signal handler, which interrupts system calls of the task that stalls
/// (`EINTR`), and on systems with a C library older than glibc 2.35 a stall within `dlopen` can
/// upset the recording.
///
/// [`LocalExecutorBuilder::detect_stalls`]: crate::LocalExecutorBuilder::detect_stalls
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{LocalExecutorBuilder, StallDetection, StallDetectionHandler, TaskQueueHandle};
///
/// /// Reports whoever runs twice as long as expected.
/// #[derive(Debug)]
/// struct Twice;
///
/// impl StallDetectionHandler for Twice {
///     fn threshold(&self, _queue: TaskQueueHandle, expected: Duration) -> Option<Duration> {
///         Some(expected)
///     }
///
///     fn signal(&self) -> u8 {
///         12 // SIGUSR2
///     }
///
///     fn stall(&self, stall: StallDetection<'_>) {
///         eprintln!("{} ran {:?} too long: {:?}", stall.queue_name, stall.overage, stall.trace);
///     }
/// }
///
/// let expected = Duration::from_millis(1);
/// assert_eq!(Twice.threshold(TaskQueueHandle::default(), expected), Some(expected));
/// assert_eq!(Twice.signal(), 12);
/// let builder = LocalExecutorBuilder::default().detect_stalls(Some(Box::new(Twice)));
/// ```
pub trait StallDetectionHandler: fmt::Debug + Send + Sync {
    /// How much longer than `max_expected_runtime` the queue may run before that is a stall, or
    /// `None` to let it run for as long as it wants. Asked each time the queue starts to run, so
    /// the answer should not take long. A panic in here is logged and means `None`.
    fn threshold(
        &self,
        queue_handle: TaskQueueHandle,
        max_expected_runtime: Duration,
    ) -> Option<Duration>;

    /// The signal to use. Several executors may share it; nothing else in the process may use it.
    ///
    /// A number that is no signal, one that the system reserves, and one that is handled, ignored
    /// or blocked already are errors when the executor is built.
    fn signal(&self) -> u8;

    /// Called on the executor's thread when a queue that stalled has stopped running.
    ///
    /// A panic in here is logged and ends there.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{DefaultStallDetectionHandler, StallDetection, StallDetectionHandler};
    ///
    /// /// Forwards to the handler that logs.
    /// fn forward(stall: StallDetection<'_>) {
    ///     DefaultStallDetectionHandler {}.stall(stall);
    /// }
    /// ```
    fn stall(&self, detection: StallDetection<'_>);
}

/// Logs stalls: a queue that runs 10 % longer than it should is reported as a warning through
/// [`tracing`], target `glommio::executor`. Uses the signal `SIGUSR1`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{DefaultStallDetectionHandler, StallDetectionHandler, TaskQueueHandle};
///
/// let handler = DefaultStallDetectionHandler {};
/// let threshold = handler.threshold(TaskQueueHandle::default(), Duration::from_millis(100));
/// assert_eq!(threshold, Some(Duration::from_millis(10)));
/// ```
#[derive(Debug)]
pub struct DefaultStallDetectionHandler {}

impl StallDetectionHandler for DefaultStallDetectionHandler {
    fn threshold(
        &self,
        _queue_handle: TaskQueueHandle,
        max_expected_runtime: Duration,
    ) -> Option<Duration> {
        Some(max_expected_runtime / 10)
    }

    fn signal(&self) -> u8 {
        SIGUSR1
    }

    fn stall(&self, detection: StallDetection<'_>) {
        tracing::warn!(target: "glommio::executor", "{detection}");
    }
}

/// The stall detector of one executor.
#[derive(Debug)]
pub(crate) struct StallDetector {
    executor: usize,
    handler: Box<dyn StallDetectionHandler>,
    timer: StallTimer,
    /// When the queue that runs now started, and its budget.
    running: Cell<(Instant, Duration)>,
}

impl StallDetector {
    /// A detector for the executor of the calling thread.
    ///
    /// # Errors
    /// `InvalidInput` and `ResourceBusy` where the handler's signal cannot be had, and what the
    /// kernel says where it has no timer left.
    pub(crate) fn new(
        executor: usize,
        handler: Box<dyn StallDetectionHandler>,
    ) -> io::Result<StallDetector> {
        let timer = StallTimer::new(handler.signal())?;
        let running = Cell::new((Instant::now(), Duration::ZERO));
        Ok(StallDetector {
            executor,
            handler,
            timer,
            running,
        })
    }

    /// A queue starts to run and should be done within `budget`.
    pub(crate) fn enter_queue(&self, queue: TaskQueueHandle, budget: Duration) {
        let call = AssertUnwindSafe(|| self.handler.threshold(queue, budget));
        let threshold = panic::catch_unwind(call).unwrap_or_else(|payload| {
            let executor = self.executor;
            tracing::error!(target: "glommio::executor", executor, "the stall handler panicked");
            discard(payload);
            None
        });
        let Some(threshold) = threshold else {
            return;
        };
        self.running.set((Instant::now(), budget));
        self.timer.arm(budget.saturating_add(threshold));
    }

    /// The queue entered last has stopped; reports if that took too long.
    pub(crate) fn leave_queue(&self, queue: TaskQueueHandle, name: &str) {
        self.timer.disarm();
        if self.timer.has_fired() {
            self.report(queue, name);
        }
    }

    #[cold]
    fn report(&self, queue_handle: TaskQueueHandle, queue_name: &str) {
        let (start, budget) = self.running.get();
        let overage = start.elapsed().saturating_sub(budget);
        let frames = self.timer.take_trace().unwrap_or_default();
        let frames: Vec<BacktraceFrame> = frames.into_iter().map(Into::into).collect();
        let mut trace = Backtrace::from(frames);
        trace.resolve();
        let executor = self.executor;
        let detection = StallDetection {
            executor,
            queue_handle,
            queue_name,
            trace,
            budget,
            overage,
        };
        let call = AssertUnwindSafe(|| self.handler.stall(detection));
        if let Err(payload) = panic::catch_unwind(call) {
            tracing::error!(target: "glommio::executor", executor, "the stall handler panicked");
            discard(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Barrier, Mutex};
    use std::thread;

    /// A report, without borrows.
    #[derive(Debug)]
    struct Seen {
        executor: usize,
        queue: usize,
        name: String,
        budget: Duration,
        overage: Duration,
        text: String,
    }

    #[derive(Debug, Default)]
    struct Recorder {
        signal: u8,
        tolerant: bool,
        panics: bool,
        seen: Arc<Mutex<Vec<Seen>>>,
    }

    impl StallDetectionHandler for Recorder {
        fn threshold(&self, _: TaskQueueHandle, budget: Duration) -> Option<Duration> {
            (!self.tolerant).then_some(budget / 10)
        }

        fn signal(&self) -> u8 {
            self.signal
        }

        fn stall(&self, stall: StallDetection<'_>) {
            self.seen.lock().unwrap().push(Seen {
                executor: stall.executor,
                queue: stall.queue_handle.index(),
                name: stall.queue_name.to_owned(),
                budget: stall.budget,
                overage: stall.overage,
                text: stall.to_string(),
            });
            assert!(!self.panics, "asked to");
        }
    }

    const BUDGET: Duration = Duration::from_millis(2);

    #[inline(never)]
    fn hog_the_executor(detector: &StallDetector) {
        while !detector.timer.has_fired() {
            std::hint::spin_loop();
        }
        std::hint::black_box(());
    }

    #[test]
    fn a_stall_is_reported_with_queue_budget_overage_and_stack() {
        let recorder = Recorder {
            signal: 56,
            ..Recorder::default()
        };
        let seen = recorder.seen.clone();
        let detector = StallDetector::new(7, Box::new(recorder)).unwrap();
        let queue = TaskQueueHandle::default();

        // The machine may take the CPU away before it is in the function that stalls.
        for round in 0.. {
            assert!(round < 20, "none of the stalls was seen where it was");
            seen.lock().unwrap().clear();
            detector.enter_queue(queue, BUDGET);
            hog_the_executor(&detector);
            assert!(
                seen.lock().unwrap().is_empty(),
                "reported from the signal handler"
            );
            detector.leave_queue(queue, "greedy");
            let seen = seen.lock().unwrap();
            if seen
                .iter()
                .any(|stall| stall.text.contains("hog_the_executor"))
            {
                break;
            }
        }
        detector.enter_queue(queue, Duration::from_secs(3600));
        detector.leave_queue(queue, "modest");

        let seen = seen.lock().unwrap();
        let [stall] = &seen[..] else {
            panic!("{} reports", seen.len());
        };
        assert_eq!((stall.executor, stall.queue), (7, 0));
        assert_eq!((stall.name.as_str(), stall.budget), ("greedy", BUDGET));
        assert!(stall.overage >= BUDGET / 10, "{:?}", stall.overage);
        let text = &stall.text;
        assert!(
            text.contains("\"greedy\"") && text.contains("budget of 2.0ms"),
            "{text}"
        );
    }

    #[test]
    fn a_queue_without_a_threshold_may_run_for_ever() {
        let recorder = Recorder {
            signal: 57,
            tolerant: true,
            ..Recorder::default()
        };
        let seen = recorder.seen.clone();
        let detector = StallDetector::new(1, Box::new(recorder)).unwrap();
        let queue = TaskQueueHandle::default();
        detector.enter_queue(queue, Duration::ZERO);
        // An armed timer of no time would have fired before this one.
        let other = StallTimer::new(57).unwrap();
        other.arm(Duration::from_millis(5));
        while !other.has_fired() {
            std::hint::spin_loop();
        }
        detector.leave_queue(queue, "free");
        assert!(seen.lock().unwrap().is_empty());
    }

    #[test]
    fn executors_stall_at_the_same_time_and_are_told_apart() {
        let seen: Arc<Mutex<Vec<_>>> = Arc::default();
        let meeting = Barrier::new(2);
        thread::scope(|scope| {
            for executor in [1, 2] {
                let (seen, meeting) = (seen.clone(), &meeting);
                scope.spawn(move || {
                    let recorder = Recorder {
                        signal: 58,
                        seen,
                        ..Recorder::default()
                    };
                    let detector = StallDetector::new(executor, Box::new(recorder)).unwrap();
                    meeting.wait();
                    for _ in 0..5 {
                        detector.enter_queue(TaskQueueHandle::default(), BUDGET);
                        hog_the_executor(&detector);
                        detector.leave_queue(TaskQueueHandle::default(), "q");
                    }
                });
            }
        });
        let seen = seen.lock().unwrap();
        for executor in [1, 2] {
            assert_eq!(
                seen.iter()
                    .filter(|stall| stall.executor == executor)
                    .count(),
                5
            );
        }
    }

    #[test]
    fn a_handler_that_panics_hurts_nobody() {
        let recorder = Recorder {
            signal: 59,
            panics: true,
            ..Recorder::default()
        };
        let seen = recorder.seen.clone();
        let detector = StallDetector::new(1, Box::new(recorder)).unwrap();
        detector.enter_queue(TaskQueueHandle::default(), BUDGET);
        hog_the_executor(&detector);
        detector.leave_queue(TaskQueueHandle::default(), "q");
        assert_eq!(
            seen.lock()
                .unwrap_or_else(|poison| poison.into_inner())
                .len(),
            1
        );
    }

    #[test]
    fn a_signal_out_of_range_is_an_error() {
        for signal in [0, 65, 255] {
            let recorder = Recorder {
                signal,
                ..Recorder::default()
            };
            let error = StallDetector::new(1, Box::new(recorder)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
    }

    #[test]
    fn the_default_handler_allows_a_tenth_and_uses_sigusr1() {
        let handler = DefaultStallDetectionHandler {};
        let queue = TaskQueueHandle::default();
        let allowed = handler.threshold(queue, Duration::from_millis(100));
        assert_eq!(allowed, Some(Duration::from_millis(10)));
        assert_eq!(handler.signal(), 10);
    }
}
