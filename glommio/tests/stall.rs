//! The stall detector as users of an executor see it.

use std::{
    fs::File,
    io::{self, Read},
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
    // In one go: between two reads the list may change, and the second one goes on at a place of its
    // number.
    let mut timers = [0; 4096];
    let length =
        File::open("/proc/self/timers").map_or(0, |mut file| file.read(&mut timers).unwrap());
    let timers = std::str::from_utf8(&timers[..length]).unwrap();
    timers.lines().filter(|line| *line == notify).count()
}

/// Lets tasks stall one after the other in a queue of their own, until one was seen where it computes:
/// the machine may take the CPU away before a task gets there, and its time is over then. Gives that
/// report.
fn stall_in_sight(ex: &LocalExecutor, recorder: &Recorder, name: &str, task: fn()) -> Stall {
    for _ in 0..20 {
        let queue = ex.create_task_queue(Shares::Static(10), Latency::NotImportant, name);
        ex.run(async {
            spawn_local_into(async move { task() }, queue)
                .unwrap()
                .await
        });
        let mut seen = recorder.seen.lock().unwrap();
        let at = seen.iter().position(|stall| stall.queue == queue);
        let stall = seen.swap_remove(at.expect("each stall is reported"));
        if stall.trace.contains("compute_for_long") {
            return stall;
        }
    }
    panic!("none of the stalls was seen where it was");
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
    let stall = stall_in_sight(&executor, &recorder, "number crunching", || {
        compute_for_long(Duration::from_millis(50))
    });
    assert_eq!(stall.executor, executor.id());
    assert_eq!(stall.name, "number crunching");
    let asked = Duration::from_millis(5);
    // It was converted to ticks of the CPU's counter and back.
    assert!(
        stall.budget.abs_diff(asked) < Duration::from_micros(1),
        "{stall:?}"
    );
    assert!(stall.overage >= Duration::from_millis(40), "{stall:?}");
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

#[test]
fn a_handler_is_replaced_while_the_executor_runs() {
    let (first, second) = (Recorder::new(45), Recorder::new(46));
    let ex = LocalExecutorBuilder::default()
        .preempt_timer(Duration::from_millis(5))
        .detect_stalls(first.boxed())
        .make()
        .unwrap();
    let stall = async || {
        let queue = executor().create_task_queue(Shares::default(), Latency::NotImportant, "slow");
        let task = async { compute_for_long(Duration::from_millis(30)) };
        spawn_local_into(task, queue).unwrap().await;
        queue
    };
    let reported = |recorder: &Recorder, queue| {
        let seen = recorder.seen.lock().unwrap();
        seen.iter().any(|stall| stall.queue == queue)
    };
    ex.run(async {
        let early = stall().await;
        assert!(reported(&first, early) && !reported(&second, early));
        ex.detect_stalls(second.boxed()).unwrap();
        // The turn in which it was replaced is still the first one's.
        executor().yield_task_queue_now().await;
        let late = stall().await;
        assert!(!reported(&first, late) && reported(&second, late));
    });
    assert_eq!(timers_of_this_thread(), timers_with_detector());
}

#[inline(never)]
fn dive(depth: usize) -> usize {
    if depth == 0 {
        compute_for_long(Duration::from_millis(50));
        return 0;
    }
    std::hint::black_box(dive(depth - 1)) + 1
}

#[test]
fn a_stall_under_a_thousand_calls_is_reported_with_the_innermost() {
    let recorder = Recorder::new(47);
    let ex = LocalExecutorBuilder::default()
        .preempt_timer(Duration::from_millis(5))
        .detect_stalls(recorder.boxed())
        .make()
        .unwrap();
    let stall = stall_in_sight(&ex, &recorder, "deep", || assert_eq!(dive(1_000), 1_000));
    assert!(stall.trace.contains("dive"), "{}", stall.trace);
}
