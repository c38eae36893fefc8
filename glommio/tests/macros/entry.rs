//! `#[glommio::main]` and `#[glommio::test]`.

use std::{
    error::Error,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use glommio::{
    CpuSet, GlommioError, LocalExecutor, PanicPolicy, Placement, PoolPlacement, StopHandle,
    executor, spawn_local,
};

mod facade {
    pub use glommio as runtime;
}

fn message(run: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(run)).expect_err("it panics");
    glommio::PanicPayload::new(payload).message().to_owned()
}

/// The CPUs of the calling thread, as the kernel lists them.
fn allowed_cpus() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("Cpus_allowed_list"));
    line.unwrap().to_owned()
}

/// A CPU that this process may use.
fn some_cpu() -> usize {
    let online = CpuSet::online().unwrap();
    online
        .into_iter()
        .map(|location| location.cpu)
        .min()
        .unwrap()
}

#[glommio::test]
async fn a_test_runs_on_an_executor() {
    assert!(executor().id() > 0);
    assert_eq!(spawn_local(async { 6 * 7 }).await, 42);
}

#[glommio::test]
async fn a_test_may_return_a_result() -> Result<(), GlommioError<()>> {
    let queue = glommio::TaskQueueHandle::default();
    let five = glommio::spawn_local_into(async { 5 }, queue)?.await;
    assert_eq!(five, 5);
    Ok(())
}

#[glommio::test]
async fn a_test_may_return_a_boxed_error() -> Result<(), Box<dyn Error>> {
    let number: u8 = "7".parse()?;
    assert_eq!(number, 7);
    Ok(())
}

#[glommio::test]
async fn a_test_may_return_any_termination() -> ExitCode {
    ExitCode::SUCCESS
}

#[glommio::test]
#[should_panic(expected = "on purpose")]
async fn a_panic_may_be_expected() {
    spawn_local(async {}).await;
    panic!("on purpose");
}

/// A comment that stays one.
#[glommio::test(name = "named", ring_depth = 2 + 2, io_memory = 1 << 20)]
#[allow(clippy::unused_unit, reason = "attributes stay")]
async fn options_go_to_the_builder() -> () {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let file = glommio::io::DmaFile::create(path).await.unwrap();
    file.close().await.unwrap();
}

#[glommio::test(crate = facade::runtime)]
async fn the_crate_may_have_another_path() {
    assert!(executor().id() > 0);
}

#[glommio::test(
    placement = Placement::Unbound,
    preempt_timer = Duration::from_millis(5),
    spin_before_park = Duration::ZERO,
    record_io_latencies = true,
    blocking_thread_pool_placement = PoolPlacement::Unbound(2),
    detect_stalls = None,
    stop_handle = StopHandle::new().unwrap(),
    on_unobserved_panic = |_| PanicPolicy::Continue,
)]
async fn every_option_of_the_builder_is_there() {
    assert_eq!(executor().spawn_blocking(|| 3).await, 3);
}

macro_rules! function_with {
    ($body:block) => {
        #[glommio::main]
        async fn written_by_a_macro() -> u8 $body
    };
}

#[test]
fn a_macro_may_write_the_function() {
    function_with!({ spawn_local(async { 5 }).await });
    assert_eq!(written_by_a_macro(), 5);
}

#[test]
fn each_call_has_an_executor_of_its_own() {
    #[glommio::main]
    async fn id() -> usize {
        executor().id()
    }
    let first: usize = id();
    assert!(id() > first);
}

#[test]
fn the_executor_has_the_name_of_the_function_or_what_it_is_given() {
    // The policy is told the name of the executor.
    static NAMED: AtomicUsize = AtomicUsize::new(0);
    fn expect(name: &'static str) -> impl Fn(&glommio::UnobservedPanic<'_>) -> PanicPolicy {
        move |panicked| {
            assert_eq!(panicked.executor_name, name);
            NAMED.fetch_add(1, Ordering::Relaxed);
            PanicPolicy::Continue
        }
    }
    async fn panic_unseen() {
        drop(spawn_local(async { panic!("unseen") }).detach());
        executor().yield_now().await;
    }

    #[glommio::main(on_unobserved_panic = expect("serve"))]
    async fn serve() {
        panic_unseen().await;
    }
    #[glommio::main(name = "other", on_unobserved_panic = expect("other"))]
    async fn r#loop() {
        panic_unseen().await;
    }
    serve();
    r#loop();
    assert_eq!(NAMED.load(Ordering::Relaxed), 2);
}

#[test]
fn what_is_left_ends_with_the_function() {
    static DROPPED: AtomicBool = AtomicBool::new(false);
    struct Witness;
    impl Drop for Witness {
        fn drop(&mut self) {
            DROPPED.store(true, Ordering::Relaxed);
        }
    }
    #[glommio::main]
    async fn leave_a_task() {
        let witness = Witness;
        spawn_local(async move {
            let _witness = witness;
            pending::<()>().await
        })
        .detach();
    }
    leave_a_task();
    assert!(DROPPED.load(Ordering::Relaxed));
}

#[test]
fn a_cpu_is_a_placement_and_the_thread_is_free_again_afterwards() {
    #[glommio::main(cpu = some_cpu())]
    async fn bound() -> String {
        allowed_cpus()
    }
    #[glommio::main(cpu = some_cpu())]
    async fn bound_and_panicking() {
        panic!("bound");
    }
    let before = allowed_cpus();
    let bound = bound();
    assert_eq!(bound, format!("Cpus_allowed_list:\t{}", some_cpu()));
    assert_eq!(allowed_cpus(), before);
    assert_eq!(message(bound_and_panicking), "bound");
    assert_eq!(allowed_cpus(), before);
}

#[test]
fn an_executor_that_cannot_be_made_is_a_panic_that_says_why() {
    #[glommio::main(cpu = 100_000)]
    async fn nowhere() {}
    assert_eq!(
        message(nowhere),
        "cannot make the executor of `nowhere`: Executor builder error: CPU 100000 doesn't exist \
         on the host"
    );
    assert!(message(|| LocalExecutor::default().run(async { nowhere() })).contains("inception"));
}
