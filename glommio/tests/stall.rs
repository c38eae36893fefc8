//! The stall detector as users of an executor see it.

use std::{
    io,
    sync::{Arc, Barrier, Mutex},
    thread,
    time::{Duration, Instant},
};

use glommio::{
    DefaultStallDetectionHandler, GlommioError, Latency, LocalExecutor, LocalExecutorBuilder,
    Shares, StallDetection, StallDetectionHandler, TaskQueueHandle, executor, spawn_local_into,
};

#[derive(Debug)]
struct Stall {
    executor: usize,
    queue: TaskQueueHandle,
    name: String,
    budget: Duration,
    overage: Duration,
    trace: String,
}

/// Keeps what it is told. Signals are the process's: tests that need one to be free or taken use
/// one of their own.
#[derive(Clone, Debug)]
struct Recorder {
    signal: u8,
    seen: Arc<Mutex<Vec<Stall>>>,
}

impl Recorder {
    fn new(signal: u8) -> Recorder {
        let seen = Arc::default();
        Recorder { signal, seen }
    }

    fn boxed(&self) -> Option<Box<dyn StallDetectionHandler>> {
        Some(Box::new(self.clone()))
    }
}

impl StallDetectionHandler for Recorder {
    fn threshold(&self, _: TaskQueueHandle, budget: Duration) -> Option<Duration> {
        Some(budget / 10)
    }

    fn signal(&self) -> u8 {
        self.signal
    }

    fn stall(&self, stall: StallDetection<'_>) {
        self.seen.lock().unwrap().push(Stall {
            executor: stall.executor,
            queue: stall.queue_handle,
            name: stall.queue_name.to_owned(),
            budget: stall.budget,
            overage: stall.overage,
            trace: format!("{:?}", stall.trace),
        });
    }
}

#[inline(never)]
fn compute_for_long(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Kernel timers that signal the calling thread, where the kernel tells.
fn timers_of_this_thread() -> usize {
    let path = std::fs::read_link("/proc/thread-self").unwrap();
    let tid = path.file_name().unwrap().to_str().unwrap();
    let notify = format!("notify: signal/tid.{tid}");
    let timers = std::fs::read_to_string("/proc/self/timers").unwrap_or_default();
    timers.lines().filter(|line| *line == notify).count()
}

/// What [`timers_of_this_thread`] gives with a detector; not every kernel lists timers.
fn timers_with_detector() -> usize {
    usize::from(std::fs::exists("/proc/self/timers").unwrap())
}

#[test]
fn a_task_that_does_not_yield_is_reported_with_its_queue_and_stack() {
    let recorder = Recorder::new(40);
    let executor = LocalExecutorBuilder::default()
        .preempt_timer(Duration::from_millis(5))
        .detect_stalls(recorder.boxed())
        .make()
        .unwrap();
    let queue = executor.create_task_queue(
        Shares::Static(10),
        Latency::NotImportant,
        "number crunching",
    );
    executor.run(async {
        let task = async { compute_for_long(Duration::from_millis(50)) };
        spawn_local_into(task, queue).unwrap().await;
    });
    let seen = recorder.seen.lock().unwrap();
    let stall = seen.iter().find(|stall| stall.queue == queue).unwrap();
    assert_eq!(stall.executor, executor.id());
    assert_eq!(stall.name, "number crunching");
    let asked = Duration::from_millis(5);
    // It was converted to ticks of the CPU's counter and back.
    assert!(
        stall.budget.abs_diff(asked) < Duration::from_micros(1),
        "{stall:?}"
    );
    assert!(stall.overage >= Duration::from_millis(40), "{stall:?}");
    assert!(stall.trace.contains("compute_for_long"), "{}", stall.trace);
}

#[test]
fn a_task_that_yields_when_asked_is_not_reported() {
    let recorder = Recorder::new(41);
    let ex = LocalExecutorBuilder::default()
        // The machine may take the CPU away for a while in the middle of it.
        .preempt_timer(Duration::from_secs(5))
        .detect_stalls(recorder.boxed())
        .make()
        .unwrap();
    ex.run(async {
        for _ in 0..10_000 {
            executor().yield_now().await;
        }
    });
    assert!(recorder.seen.lock().unwrap().is_empty());
}

#[test]
fn two_executors_with_one_signal_report_their_own_stalls() {
    let recorder = Recorder::new(42);
    let meeting = Arc::new(Barrier::new(2));
    let threads = [(); 2].map(|()| {
        let meeting = meeting.clone();
        LocalExecutorBuilder::default()
            .preempt_timer(Duration::from_millis(5))
            .detect_stalls(recorder.boxed())
            .spawn(move || async move {
                let queue =
                    executor().create_task_queue(Shares::default(), Latency::NotImportant, "slow");
                meeting.wait();
                let task = async { compute_for_long(Duration::from_millis(50)) };
                spawn_local_into(task, queue).unwrap().await;
                executor().id()
            })
            .unwrap()
    });
    let ids = threads.map(|thread| thread.join().unwrap());
    let seen = recorder.seen.lock().unwrap();
    for id in ids {
        let mut stalls = seen.iter().filter(|stall| stall.executor == id);
        assert!(stalls.any(|stall| stall.name == "slow"), "{seen:?}");
    }
}

#[test]
fn an_executor_has_a_timer_only_while_it_looks_for_stalls() {
    let executor = LocalExecutor::default();
    assert_eq!(executor.run(async { timers_of_this_thread() }), 0);
    executor.detect_stalls(Recorder::new(43).boxed()).unwrap();
    let timers = executor.run(async { timers_of_this_thread() });
    assert_eq!(timers, timers_with_detector());
    executor.detect_stalls(None).unwrap();
    assert_eq!(executor.run(async { timers_of_this_thread() }), 0);
    executor.detect_stalls(Recorder::new(43).boxed()).unwrap();
    drop(executor);
    assert_eq!(timers_of_this_thread(), 0);
}

#[test]
fn the_detector_can_be_removed_while_a_task_runs() {
    let executor = LocalExecutor::default();
    executor.detect_stalls(Recorder::new(44).boxed()).unwrap();
    executor.run(async {
        executor.detect_stalls(None).unwrap();
        glommio::executor().yield_now().await;
    });
    assert_eq!(timers_of_this_thread(), 0);
}

#[test]
fn a_signal_that_is_taken_or_out_of_range_is_an_error_of_the_builder() {
    let error = |signal| {
        let builder = LocalExecutorBuilder::default().detect_stalls(Recorder::new(signal).boxed());
        match builder.spawn(|| async {}) {
            Err(GlommioError::IoError(error)) => error,
            other => panic!("{other:?}"),
        }
    };
    // SIGPIPE: Rust programs ignore it.
    assert_eq!(error(13).kind(), io::ErrorKind::ResourceBusy);
    assert_eq!(error(9).kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error(0).kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error(200).kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn executors_may_share_the_default_handler() {
    let make = || {
        LocalExecutorBuilder::default()
            .detect_stalls(Some(Box::new(DefaultStallDetectionHandler {})))
            .make()
            .unwrap()
    };
    let executor = make();
    let other = thread::spawn(move || make().run(async { timers_of_this_thread() }));
    let expected = timers_with_detector();
    assert_eq!(other.join().unwrap(), expected);
    assert_eq!(executor.run(async { timers_of_this_thread() }), expected);
}
