//! What the root has that 0.9.0 had not: additions of other forks, and our own.

use std::{
    any::Any,
    error::Error,
    fmt::{Debug, Display},
    future::Future,
    hash::Hash,
    pin::Pin,
    time::Duration,
};

use glommio::{
    CpuIter, CpuLocation, CpuSet, CpuSetGenerator, ExecutorJoinHandle, ExecutorProxy, GlommioError,
    IoStats, Latency, LocalExecutor, LocalExecutorBuilder, LocalExecutorPoolBuilder, PanicOrigin,
    PanicPayload, PanicPolicy, PoolThreadHandles, RingIoStats, Shares, StartCause, StartError,
    StopHandle, StopRequested, TaskQueueHandle, UnobservedPanic,
};

use super::{Outcome, typed};

type Policy = fn(&UnobservedPanic<'_>) -> PanicPolicy;

signatures! {
    ExecutorProxy::stop_handle => fn(&ExecutorProxy) -> StopHandle;
    ExecutorJoinHandle::<u8>::stop_handle => fn(&ExecutorJoinHandle<u8>) -> &StopHandle;
    PoolThreadHandles::<u8>::stop_handle => fn(&PoolThreadHandles<u8>) -> &StopHandle;
    LocalExecutor::create_task_queue =>
        fn(&LocalExecutor, Shares, Latency, &str) -> TaskQueueHandle;
    LocalExecutorBuilder::stop_handle =>
        fn(LocalExecutorBuilder, StopHandle) -> LocalExecutorBuilder;
    LocalExecutorBuilder::on_unobserved_panic =>
        fn(LocalExecutorBuilder, Policy) -> LocalExecutorBuilder;
    LocalExecutorPoolBuilder::stop_handle =>
        fn(LocalExecutorPoolBuilder, StopHandle) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::on_unobserved_panic =>
        fn(LocalExecutorPoolBuilder, Policy) -> LocalExecutorPoolBuilder;

    StopHandle::new => fn() -> Outcome<StopHandle>;
    StopHandle::request_stop => fn(&StopHandle);
    StopHandle::is_requested => fn(&StopHandle) -> bool;
    StopHandle::requested => fn(&StopHandle) -> StopRequested<'_>;

    PanicPayload::new => fn(Box<dyn Any + Send>) -> PanicPayload;
    GlommioError::<u8>::start_error => fn(&GlommioError<u8>) -> Option<&StartError>;
    StartError::cause => fn(&StartError) -> StartCause;
    StartError::failed => fn(&StartError) -> &str;
    StartError::why => fn(&StartError) -> &str;
    StartError::cure => fn(&StartError) -> &str;

    RingIoStats::socket_reads => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::socket_writes => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::sockets_accepted => fn(&RingIoStats) -> u64;
    RingIoStats::pipe_reads => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::pipe_writes => fn(&RingIoStats) -> (u64, u64);
    CpuLocation::cache_domain => fn(&CpuLocation) -> usize;
}

implements! {
    StopHandle: Clone, Debug, Send, Sync, Unpin;
    StopRequested<'static>: Debug, Future<Output = ()>, Send, Unpin;
    PanicPolicy: Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Send, Sync;
    PanicOrigin: Clone, Copy, Debug, Display, Eq, Hash, PartialEq, Send, Sync;
    UnobservedPanic<'static>: Clone, Copy, Debug, Display, Send, Sync;
    PanicPayload: Debug, Send, Sync, Unpin, From<Box<dyn Any + Send>>;
    StartCause: Clone, Copy, Debug, Eq, Hash, PartialEq, Send, Sync;
    StartError: Debug, Display, Error, Send, Sync;
    GlommioError<u8>: From<StartError>;
    CpuIter: Clone, Debug, Send, Sync;
    CpuSet: Hash;
    CpuSetGenerator: Clone, Debug, Send, Sync;
    IoStats: Clone, Default;
}

/// Never run.
async fn _outputs_of_futures(stop: StopHandle) {
    let () = stop.requested().await;
    let _: Option<u8> = stop.run_until_stopped(std::future::ready(5_u8)).await;
}

/// Variants and fields, by name; where no more may come, matches are exhaustive. Never run.
fn _variants_and_fields(panicked: UnobservedPanic<'_>, cause: StartCause, cpus: CpuIter) {
    let _: (usize, &str, TaskQueueHandle) =
        (panicked.executor, panicked.executor_name, panicked.queue);
    let _: &str = panicked.message;
    match panicked.origin {
        PanicOrigin::Task | PanicOrigin::BlockingJob => {}
        _ => {}
    }
    match PanicPolicy::default() {
        PanicPolicy::Continue | PanicPolicy::EndExecutor => {}
    }
    match cause {
        StartCause::KernelTooOld
        | StartCause::IoUringDisabled
        | StartCause::Denied
        | StartCause::MemlockLimit
        | StartCause::FileLimit
        | StartCause::Other => {}
        _ => {}
    }
    if let Some(binding) = cpus.clone().cpu_binding() {
        typed::<Vec<usize>>(binding.into_iter().collect());
    }
    match cpus {
        CpuIter::Unbound => {}
        CpuIter::Single(cpu) => typed::<CpuLocation>(cpu),
        CpuIter::Multi(cpus) => typed::<Vec<CpuLocation>>(cpus),
    }
    match CpuSetGenerator::Unbound {
        CpuSetGenerator::Unbound => {}
        CpuSetGenerator::Fenced(cpus) => typed::<CpuSet>(cpus),
        CpuSetGenerator::Custom(sets) => typed::<Vec<CpuSet>>(sets),
        // What these hold has no public name.
        CpuSetGenerator::MaxSpread(_) | CpuSetGenerator::MaxPack(_) => {}
    }
}

/// What must be used. Never run.
fn _must_be_used(single: LocalExecutorBuilder, pool: LocalExecutorPoolBuilder, stop: StopHandle) {
    #[expect(unused_must_use)]
    {
        stop.requested();
    }
    #[expect(unused_must_use)]
    {
        single.stop_handle(stop.clone());
    }
    #[expect(unused_must_use)]
    {
        pool.on_unobserved_panic(|_| PanicPolicy::Continue);
    }
}

#[glommio::main(name = "entry", preempt_timer = Duration::from_millis(10))]
async fn entry() -> u8 {
    glommio::select! {
        number = std::future::ready(5) => number,
        never = std::future::pending::<u8>() => never,
    }
}

#[glommio::test]
async fn a_test_of_the_root() -> Outcome<()> {
    Ok(())
}

#[test]
fn macros_of_the_root_run_futures() {
    const _: fn() -> u8 = entry;
    assert_eq!(entry(), 5);
    let boxed: Pin<Box<dyn Future<Output = u8>>> = Box::pin(std::future::ready(6));
    let run = LocalExecutor::default().run(async { glommio::select!(number = boxed => number) });
    assert_eq!(run, 6);
}
