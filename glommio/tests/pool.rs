//! Pools of executors: all of their shards, or none.

#[path = "support/cpu.rs"]
mod cpu;

use std::{
    any::Any,
    collections::HashSet,
    process::Command,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use glommio::{
    BuilderErrorKind, CpuSet, GlommioError, LocalExecutor, LocalExecutorBuilder,
    LocalExecutorPoolBuilder, Placement, PoolPlacement, PoolThreadHandles, StallDetection,
    StallDetectionHandler, StartCause, TaskQueueHandle, early_init, executor, timer::Timer,
};

use cpu::thread_cpu_ticks;

fn affinity() -> Vec<usize> {
    let mask = nix::sched::sched_getaffinity(nix::unistd::Pid::from_raw(0)).unwrap();
    (0..nix::sched::CpuSet::count())
        .filter(|cpu| mask.is_set(*cpu).unwrap())
        .collect()
}

fn outputs<T>(pool: PoolThreadHandles<T>) -> Vec<T> {
    let results = pool.join_all().into_iter().collect::<Result<_, _>>();
    results.unwrap()
}

#[test]
fn every_shard_runs_the_future_on_an_executor_and_a_named_thread_of_its_own() {
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(3))
        .name("web")
        .on_all_shards(|| async {
            let name = thread::current().name().map(str::to_owned);
            (name.unwrap(), executor().id(), thread::current().id())
        })
        .unwrap();
    assert_eq!(pool.handles().len(), 3);
    let outputs = outputs(pool);
    let names: Vec<_> = outputs.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["web-0", "web-1", "web-2"]);
    let ids: HashSet<_> = outputs.iter().map(|(_, id, _)| id).collect();
    let threads: HashSet<_> = outputs.iter().map(|(.., thread)| thread).collect();
    assert_eq!((ids.len(), threads.len()), (3, 3));
}

#[test]
fn shards_are_placed_where_the_placement_says() {
    let online = CpuSet::online().unwrap();
    let all: Vec<usize> = {
        let mut cpus: Vec<_> = online.iter().map(|location| location.cpu).collect();
        cpus.sort_unstable();
        cpus
    };
    let run = |placement| {
        let pool = LocalExecutorPoolBuilder::new(placement).on_all_shards(|| async { affinity() });
        outputs(pool.unwrap())
    };
    for placement in [
        PoolPlacement::MaxSpread(all.len(), None),
        PoolPlacement::MaxPack(all.len(), Some(online.clone())),
    ] {
        let mut bound = run(placement).concat();
        bound.sort_unstable();
        assert_eq!(bound, all, "one CPU each, each CPU once");
    }
    for cpus in run(PoolPlacement::Fenced(3, online.clone())) {
        assert_eq!(cpus, all);
    }
    let last = *all.last().unwrap();
    let only = online.clone().filter(|location| location.cpu == last);
    let custom = run(PoolPlacement::Custom(vec![online, only]));
    assert_eq!(custom, [all.clone(), vec![last]]);
}

#[test]
fn a_placement_that_does_not_fit_is_an_error_of_the_builder() {
    let start = |placement| {
        LocalExecutorPoolBuilder::new(placement)
            .on_all_shards(|| async {})
            .map(|pool| pool.join_all().len())
            .unwrap_err()
    };
    let error = start(PoolPlacement::Unbound(0));
    let GlommioError::BuilderError(BuilderErrorKind::NrShards { shards: 0, .. }) = error else {
        panic!("{error:?}");
    };
    let error = start(PoolPlacement::MaxSpread(100_000, None));
    let GlommioError::BuilderError(BuilderErrorKind::InsufficientCpus { required, .. }) = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(required, 100_000);
}

#[test]
fn all_shards_are_up_before_any_runs() {
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(3))
        .on_all_shards({
            let meeting = Arc::new(Barrier::new(3));
            // Blocks until the others have come here too.
            move || async move { meeting.wait().is_leader() }
        })
        .unwrap();
    let leaders = outputs(pool).into_iter().filter(|leads| *leads);
    assert_eq!(leaders.count(), 1);
}

#[test]
fn options_reach_every_shard() {
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2))
        .io_memory(1 << 20)
        .ring_depth(16)
        .preempt_timer(Duration::from_millis(3))
        .spin_before_park(Duration::from_micros(10))
        .record_io_latencies(true)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(2))
        .name("opts")
        .on_all_shards(|| async {
            // Until one is as long as asked for: the machine may take the CPU away for longer. Read before
            // the slice begins, so that its time is no longer than what passed since.
            let first = std::time::Instant::now();
            let slice = loop {
                let start = std::time::Instant::now();
                executor().yield_task_queue_now().await;
                while !executor().need_preempt() {}
                let slice = start.elapsed();
                if slice < Duration::from_millis(50) || first.elapsed() > Duration::from_secs(60) {
                    break slice;
                }
            };
            let meeting = Arc::new(Barrier::new(2));
            let meet = |meeting: Arc<Barrier>| {
                executor().spawn_blocking(move || {
                    meeting.wait();
                    thread::current().name().map(str::to_owned).unwrap()
                })
            };
            // Ends only with two blocking threads.
            let names = futures_lite::future::zip(meet(meeting.clone()), meet(meeting)).await;
            (slice, names.0)
        })
        .unwrap();
    for (shard, (slice, blocking)) in outputs(pool).into_iter().enumerate() {
        // The default is 100 ms.
        assert!(slice >= Duration::from_millis(2), "{slice:?}");
        assert!(slice < Duration::from_millis(50), "{slice:?}");
        assert!(
            blocking.starts_with(&format!("opts-{shard}-blocking-")),
            "{blocking}"
        );
    }
}

#[test]
fn a_panic_of_one_shard_is_reported_and_the_others_go_on() {
    let next = Arc::new(AtomicUsize::new(0));
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(3))
        .on_all_shards(move || async move {
            let number = next.fetch_add(1, Ordering::SeqCst);
            Timer::new(Duration::from_millis(1)).await;
            assert_ne!(number, 1, "asked to");
            number
        })
        .unwrap();
    let (well, died): (Vec<_>, Vec<_>) = pool.join_all().into_iter().partition(Result::is_ok);
    let numbers: HashSet<_> = well.into_iter().map(Result::unwrap).collect();
    assert_eq!(numbers, HashSet::from([0, 2]));
    let [Err(GlommioError::BuilderError(BuilderErrorKind::ThreadPanic(payload)))] = &died[..]
    else {
        panic!("{died:?}");
    };
    assert!(payload.message().contains("asked to"), "{payload}");
}

/// A handler whose signal can be had or not.
#[derive(Debug)]
struct Handler(u8);

impl StallDetectionHandler for Handler {
    fn threshold(&self, _: TaskQueueHandle, _: Duration) -> Option<Duration> {
        None
    }

    fn signal(&self) -> u8 {
        self.0
    }

    fn stall(&self, _: StallDetection<'_>) {}
}

#[test]
fn a_shard_that_cannot_start_gives_the_pool_up_before_any_future_runs() {
    let start = |fails: fn(usize) -> bool, ran: Arc<AtomicUsize>| {
        let (sigkill, made) = (9, AtomicUsize::new(0));
        LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(4))
            .detect_stalls(Some(Box::new(move || {
                let shard = made.fetch_add(1, Ordering::SeqCst);
                Box::new(Handler(if fails(shard) { sigkill } else { 50 }))
            })))
            .on_all_shards(move || async move { ran.fetch_add(1, Ordering::SeqCst) })
    };
    let ran = Arc::new(AtomicUsize::new(0));
    for fails in [
        (|shard| shard == 0) as fn(usize) -> bool,
        |shard| shard == 3,
        |_| true,
    ] {
        let error = start(fails, ran.clone()).map(drop).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("signal 9 is reserved"), "{text}");
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert_eq!(Arc::strong_count(&ran), 1, "the threads have ended");
    }
    let mut turns = outputs(start(|_| false, ran.clone()).unwrap());
    turns.sort_unstable();
    assert_eq!(turns, [0, 1, 2, 3]);
}

#[test]
fn a_panic_while_the_pool_is_built_leaves_no_thread_waiting() {
    let ran = Arc::new(AtomicUsize::new(0));
    let theirs = ran.clone();
    let built = std::panic::catch_unwind(move || {
        let made = AtomicUsize::new(0);
        LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(4))
            .detect_stalls(Some(Box::new(move || {
                assert!(made.fetch_add(1, Ordering::SeqCst) < 2, "asked to");
                Box::new(Handler(50))
            })))
            .on_all_shards(move || async move { theirs.fetch_add(1, Ordering::SeqCst) })
            .map(|pool| pool.join_all().len())
    });
    assert!(built.is_err());
    // Two threads had started; they end by themselves.
    while Arc::strong_count(&ran) > 1 {
        thread::yield_now();
    }
    assert_eq!(ran.load(Ordering::SeqCst), 0);
}

#[test]
fn builders_can_be_printed() {
    let builder = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2)).name("printed");
    let text = format!("{builder:?}");
    assert!(
        text.contains("printed") && text.contains("Unbound(2)"),
        "{text}"
    );
}

/// Runs one test of this file alone, in a process in which no thread has room for its stack.
fn in_a_process_without_threads(test: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--test-threads=1", "--nocapture"])
        .env("GLOMMIO_TEST_CHILD", test)
        .env("RUST_MIN_STACK", (1_u64 << 47).to_string())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

fn is_child() -> bool {
    std::env::var_os("GLOMMIO_TEST_CHILD").is_some()
}

#[test]
fn a_thread_that_cannot_be_started_is_an_error_with_a_cure() {
    if !is_child() {
        let name = "a_thread_that_cannot_be_started_is_an_error_with_a_cure";
        return in_a_process_without_threads(name);
    }
    let builder = LocalExecutorBuilder::default().name("lonely");
    let alone = builder.spawn(|| async {}).map(drop).unwrap_err();
    let builder = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(3)).name("lonely");
    let pool = builder.on_all_shards(|| async {}).map(drop).unwrap_err();
    for (error, name) in [(alone, "lonely"), (pool, "lonely-0")] {
        let start = error.start_error().unwrap_or_else(|| panic!("{error}"));
        assert_eq!(start.cause(), StartCause::Other);
        let text = error.to_string();
        assert!(text.contains(&format!("{name:?}")), "{text}");
        assert!(text.contains("ulimit -u"), "{text}");
    }
    // Nothing is left that keeps an executor from running here.
    assert_eq!(LocalExecutor::default().run(async { 1 }), 1);
}

#[test]
fn a_name_with_a_zero_byte_is_made_fit() {
    let thread = || async { thread::current().name().map(str::to_owned) };
    let one = LocalExecutorBuilder::default().name("a\0b").spawn(thread);
    assert_eq!(one.unwrap().join().unwrap().as_deref(), Some("a?b"));
    let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(1)).name("a\0b");
    let names = outputs(pool.on_all_shards(thread).unwrap());
    assert_eq!(names[0].as_deref(), Some("a?b-0"));
}

#[test]
fn spinning_before_parking_is_honoured_for_every_placement() {
    /// Waits, idle, until the thread has used CPU time that only spinning explains.
    async fn spins() -> bool {
        let before = thread_cpu_ticks();
        for _ in 0..10_000 {
            Timer::new(Duration::from_millis(10)).await;
            if thread_cpu_ticks() - before >= 10 {
                return true;
            }
        }
        false
    }
    let cpu = CpuSet::online().unwrap().iter().next().unwrap().cpu;
    let spin = Duration::from_secs(1);
    for placement in [
        Placement::Unbound,
        Placement::Fixed(cpu),
        Placement::Fenced(CpuSet::online().unwrap()),
    ] {
        let text = format!("{placement:?}");
        let one = LocalExecutorBuilder::new(placement.clone()).spin_before_park(spin);
        assert!(one.spawn(spins).unwrap().join().unwrap(), "{text}");
        let pool = LocalExecutorPoolBuilder::new(placement.into()).spin_before_park(spin);
        assert_eq!(
            outputs(pool.on_all_shards(spins).unwrap()),
            [true],
            "{text}"
        );
    }
}

#[test]
fn early_init_may_be_called_at_any_time_from_any_thread() {
    early_init();
    let threads: Vec<_> = (0..4).map(|_| thread::spawn(early_init)).collect();
    for thread in threads {
        thread.join().unwrap();
    }
    LocalExecutor::default().run(async { early_init() });
}

#[test]
fn a_thread_bound_after_early_init_still_places_pools_elsewhere() {
    // On a thread of its own: the binding ends with it.
    thread::spawn(|| {
        early_init();
        let all = affinity();
        let mut one = nix::sched::CpuSet::new();
        one.set(all[0]).unwrap();
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one).unwrap();
        let pool = LocalExecutorPoolBuilder::new(PoolPlacement::MaxSpread(all.len(), None));
        let mut bound = outputs(pool.on_all_shards(|| async { affinity() }).unwrap()).concat();
        bound.sort_unstable();
        assert_eq!(bound, all);
    })
    .join()
    .unwrap();
}

/// Runs an executor when it is dropped.
struct RunsAtTheEnd(Box<dyn Fn()>);

impl Drop for RunsAtTheEnd {
    fn drop(&mut self) {
        (self.0)();
    }
}

thread_local! {
    static LAST: std::cell::RefCell<Vec<Box<dyn Any>>> = const { std::cell::RefCell::new(Vec::new()) };
}

#[test]
fn an_executor_can_be_made_and_run_in_the_destructor_of_a_thread_local() {
    let (sender, outcome) = std::sync::mpsc::channel();
    let at_the_end = move || {
        let answer = LocalExecutor::default().run(async {
            Timer::new(Duration::from_millis(1)).await;
            glommio::spawn_local(async { 42 }).await
        });
        sender.send(answer).unwrap();
    };
    thread::spawn(move || {
        LAST.with(|last| {
            last.borrow_mut()
                .push(Box::new(RunsAtTheEnd(Box::new(at_the_end))))
        });
        // Thread-locals of the crate that have destructors would be gone before `LAST`.
        LocalExecutor::default().run(async { Timer::new(Duration::from_millis(1)).await });
    })
    .join()
    .unwrap();
    assert_eq!(outcome.recv(), Ok(42));
}

#[test]
fn an_executor_kept_in_a_thread_local_drops_its_tasks_with_the_thread() {
    let dropped = Arc::new(());
    let theirs = dropped.clone();
    thread::spawn(move || {
        let ex = LocalExecutor::default();
        ex.spawn(async move {
            let _theirs = theirs;
            Timer::new(Duration::from_secs(3600)).await;
        })
        .detach();
        ex.run(async { executor().yield_now().await });
        LAST.with(|last| last.borrow_mut().push(Box::new(ex)));
    })
    .join()
    .unwrap();
    assert_eq!(Arc::strong_count(&dropped), 1);
}
