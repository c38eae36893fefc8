//! The root, `task` and `prelude`.

use std::{
    any::Any,
    error::Error,
    fmt::{Debug, Display},
    future::{Future, Ready},
    hash::Hash,
    io,
    iter::Sum,
    os::fd::RawFd,
    panic::{RefUnwindSafe, UnwindSafe},
    path::PathBuf,
    rc::Rc,
    thread::{JoinHandle as ThreadHandle, Thread},
    time::Duration,
};

use glommio::{
    BuilderErrorKind, CpuIter, CpuLocation, CpuSet, CpuSetGenerator, DefaultStallDetectionHandler,
    ExecutorErrorKind, ExecutorJoinHandle, ExecutorProxy, ExecutorStats, GlommioError, IoStats,
    Latency, LocalExecutor, LocalExecutorBuilder, LocalExecutorPoolBuilder, PanicPayload,
    Placement, PoolPlacement, PoolThreadHandles, QueueErrorKind, ReactorErrorKind, ResourceType,
    RingIoStats, ScopedTask, Shares, SharesManager, StallDetection, StallDetectionHandler,
    StopHandle, Task, TaskQueueHandle, TaskQueueStats,
    io::DmaBuffer,
    task::{AccessError, JoinHandle, LocalKey, TaskLocalFuture},
};
use sketches_ddsketch::DDSketch;

use super::{Outcome, typed};

type Handler = Box<dyn StallDetectionHandler + 'static>;
type Job = fn() -> Ready<u8>;

signatures! {
    ExecutorProxy::id => fn(&ExecutorProxy) -> usize;
    ExecutorProxy::create_task_queue =>
        fn(&ExecutorProxy, Shares, Latency, &str) -> TaskQueueHandle;
    ExecutorProxy::current_task_queue => fn(&ExecutorProxy) -> TaskQueueHandle;
    ExecutorProxy::need_preempt => fn(&ExecutorProxy) -> bool;
    ExecutorProxy::executor_stats => fn(&ExecutorProxy) -> ExecutorStats;
    ExecutorProxy::io_stats => fn(&ExecutorProxy) -> IoStats;
    ExecutorProxy::task_queue_stats =>
        fn(&ExecutorProxy, TaskQueueHandle) -> Outcome<TaskQueueStats>;
    ExecutorProxy::task_queue_io_stats => fn(&ExecutorProxy, TaskQueueHandle) -> Outcome<IoStats>;
    ExecutorProxy::all_task_queue_stats =>
        fn(&ExecutorProxy, Vec<TaskQueueStats>) -> Vec<TaskQueueStats>;
    ExecutorProxy::spawn_local => fn(&ExecutorProxy, Ready<u8>) -> Task<u8>;
    ExecutorProxy::spawn_local_into =>
        fn(&ExecutorProxy, Ready<u8>, TaskQueueHandle) -> Outcome<Task<u8>>;
    ExecutorProxy::spawn_scoped_local =>
        unsafe fn(&ExecutorProxy, Ready<u8>) -> ScopedTask<'static, u8>;
    ExecutorProxy::spawn_scoped_local_into =>
        unsafe fn(&ExecutorProxy, Ready<u8>, TaskQueueHandle) -> Outcome<ScopedTask<'static, u8>>;
    glommio::executor => fn() -> ExecutorProxy;
    glommio::early_init => fn();
    glommio::allocate_dma_buffer => fn(usize) -> DmaBuffer;
    glommio::allocate_dma_buffer_global => fn(usize) -> DmaBuffer;
    glommio::spawn_local => fn(Ready<u8>) -> Task<u8>;
    glommio::spawn_local_into => fn(Ready<u8>, TaskQueueHandle) -> Outcome<Task<u8>>;
    glommio::spawn_scoped_local => unsafe fn(Ready<u8>) -> ScopedTask<'static, u8>;
    glommio::spawn_scoped_local_into =>
        unsafe fn(Ready<u8>, TaskQueueHandle) -> Outcome<ScopedTask<'static, u8>>;

    LocalExecutor::id => fn(&LocalExecutor) -> usize;
    LocalExecutor::run => fn(&LocalExecutor, Ready<u8>) -> u8;
    LocalExecutor::spawn => fn(&LocalExecutor, Ready<u8>) -> Task<u8>;
    LocalExecutor::detect_stalls => fn(&LocalExecutor, Option<Handler>) -> Outcome<()>;
    LocalExecutor::remove_task_queue => fn(&LocalExecutor, TaskQueueHandle) -> Outcome<()>;
    LocalExecutor::stop_handle => fn(&LocalExecutor) -> StopHandle;

    LocalExecutorBuilder::new => fn(Placement) -> LocalExecutorBuilder;
    LocalExecutorBuilder::name => fn(LocalExecutorBuilder, &str) -> LocalExecutorBuilder;
    LocalExecutorBuilder::io_memory => fn(LocalExecutorBuilder, usize) -> LocalExecutorBuilder;
    LocalExecutorBuilder::ring_depth => fn(LocalExecutorBuilder, usize) -> LocalExecutorBuilder;
    LocalExecutorBuilder::preempt_timer =>
        fn(LocalExecutorBuilder, Duration) -> LocalExecutorBuilder;
    LocalExecutorBuilder::spin_before_park =>
        fn(LocalExecutorBuilder, Duration) -> LocalExecutorBuilder;
    LocalExecutorBuilder::record_io_latencies =>
        fn(LocalExecutorBuilder, bool) -> LocalExecutorBuilder;
    LocalExecutorBuilder::blocking_thread_pool_placement =>
        fn(LocalExecutorBuilder, PoolPlacement) -> LocalExecutorBuilder;
    LocalExecutorBuilder::detect_stalls =>
        fn(LocalExecutorBuilder, Option<Handler>) -> LocalExecutorBuilder;
    LocalExecutorBuilder::make => fn(LocalExecutorBuilder) -> Outcome<LocalExecutor>;
    LocalExecutorBuilder::spawn =>
        fn(LocalExecutorBuilder, Job) -> Outcome<ExecutorJoinHandle<u8>>;
    ExecutorJoinHandle::<u8>::thread => fn(&ExecutorJoinHandle<u8>) -> &Thread;
    ExecutorJoinHandle::<u8>::join => fn(ExecutorJoinHandle<u8>) -> Outcome<u8>;

    LocalExecutorPoolBuilder::new => fn(PoolPlacement) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::name =>
        fn(LocalExecutorPoolBuilder, &str) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::io_memory =>
        fn(LocalExecutorPoolBuilder, usize) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::ring_depth =>
        fn(LocalExecutorPoolBuilder, usize) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::preempt_timer =>
        fn(LocalExecutorPoolBuilder, Duration) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::spin_before_park =>
        fn(LocalExecutorPoolBuilder, Duration) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::record_io_latencies =>
        fn(LocalExecutorPoolBuilder, bool) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::blocking_thread_pool_placement =>
        fn(LocalExecutorPoolBuilder, PoolPlacement) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::detect_stalls =>
        fn(LocalExecutorPoolBuilder, Option<Box<dyn Fn() -> Handler>>) -> LocalExecutorPoolBuilder;
    LocalExecutorPoolBuilder::on_all_shards =>
        fn(LocalExecutorPoolBuilder, Job) -> Outcome<PoolThreadHandles<u8>>;
    PoolThreadHandles::<u8>::handles =>
        fn(&PoolThreadHandles<u8>) -> &Vec<ThreadHandle<Outcome<u8>>>;
    PoolThreadHandles::<u8>::join_all => fn(PoolThreadHandles<u8>) -> Vec<Outcome<u8>>;

    Placement::generate_cpu_set => fn(Placement) -> Outcome<CpuSetGenerator>;
    PoolPlacement::generate_cpu_set => fn(PoolPlacement) -> Outcome<CpuSetGenerator>;
    PoolPlacement::executor_count => fn(&PoolPlacement) -> usize;
    CpuSetGenerator::next => fn(&mut CpuSetGenerator) -> CpuIter;
    CpuSet::online => fn() -> Outcome<CpuSet>;
    CpuSet::filter => fn(CpuSet, fn(&CpuLocation) -> bool) -> CpuSet;
    CpuSet::is_empty => fn(&CpuSet) -> bool;
    CpuSet::len => fn(&CpuSet) -> usize;
    CpuSet::contains => fn(&CpuSet, &CpuLocation) -> bool;
    CpuSet::is_disjoint => fn(&CpuSet, &CpuSet) -> bool;
    CpuSet::is_subset => fn(&CpuSet, &CpuSet) -> bool;
    CpuSet::is_superset => fn(&CpuSet, &CpuSet) -> bool;

    IoStats::all_rings => fn(&IoStats) -> RingIoStats;
    RingIoStats::files_opened => fn(&RingIoStats) -> u64;
    RingIoStats::files_closed => fn(&RingIoStats) -> u64;
    RingIoStats::file_reads => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::file_deduped_reads => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::file_buffered_reads => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::file_writes => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::file_buffered_writes => fn(&RingIoStats) -> (u64, u64);
    RingIoStats::io_latency_us => fn(&RingIoStats) -> &DDSketch;
    RingIoStats::pre_reactor_io_scheduler_latency_us => fn(&RingIoStats) -> &DDSketch;
    RingIoStats::post_reactor_io_scheduler_latency_us => fn(&RingIoStats) -> &DDSketch;
    ExecutorStats::executor_runtime => fn(&ExecutorStats) -> Duration;
    ExecutorStats::total_runtime => fn(&ExecutorStats) -> Duration;
    ExecutorStats::scheduler_runs => fn(&ExecutorStats) -> u64;
    ExecutorStats::tasks_executed => fn(&ExecutorStats) -> u64;
    TaskQueueStats::index => fn(&TaskQueueStats) -> TaskQueueHandle;
    TaskQueueStats::current_shares => fn(&TaskQueueStats) -> usize;
    TaskQueueStats::runtime => fn(&TaskQueueStats) -> Duration;
    TaskQueueStats::queue_selected => fn(&TaskQueueStats) -> u64;
    TaskQueueHandle::index => fn(&TaskQueueHandle) -> usize;

    Task::<u8>::detach => fn(Task<u8>) -> JoinHandle<u8>;
    JoinHandle::<u8>::cancel => fn(&JoinHandle<u8>);
    LocalKey::<u8>::scope => fn(&'static LocalKey<u8>, u8, Ready<u8>) -> TaskLocalFuture<u8, Ready<u8>>;
    LocalKey::<u8>::with => fn(&'static LocalKey<u8>, fn(&u8) -> u8) -> u8;
    LocalKey::<u8>::try_with => fn(&'static LocalKey<u8>, fn(&u8) -> u8) -> Result<u8, AccessError>;
    GlommioError::<u8>::raw_os_error => fn(&GlommioError<u8>) -> Option<i32>;
    GlommioError::<u8>::into_inner => fn(GlommioError<u8>) -> Option<u8>;
    PanicPayload::into_inner => fn(PanicPayload) -> Box<dyn Any + Send>;
    PanicPayload::message => fn(&PanicPayload) -> &str;

    <[u8] as glommio::ByteSliceExt>::read_at => fn(&[u8], usize, &mut [u8]) -> usize;
    <[u8] as glommio::ByteSliceMutExt>::write_at => fn(&mut [u8], usize, &[u8]) -> usize;
    <[u8] as glommio::ByteSliceMutExt>::memset => fn(&mut [u8], u8);
    <dyn SharesManager>::shares => fn(&(dyn SharesManager + 'static)) -> usize;
    <dyn SharesManager>::adjustment_period => fn(&(dyn SharesManager + 'static)) -> Duration;
    <dyn StallDetectionHandler>::signal => fn(&(dyn StallDetectionHandler + 'static)) -> u8;
    <dyn StallDetectionHandler>::threshold =>
        fn(&(dyn StallDetectionHandler + 'static), TaskQueueHandle, Duration) -> Option<Duration>;
    <dyn StallDetectionHandler>::stall =>
        fn(&(dyn StallDetectionHandler + 'static), StallDetection<'_>);
}

implements! {
    GlommioError<u8>: Debug, Display, Error, Send, Sync, Unpin, From<io::Error>,
        From<(io::Error, ResourceType<u8>)>;
    GlommioError<Rc<u8>>: Debug, Display, Error;
    io::Error: From<GlommioError<u8>>, From<GlommioError<Rc<u8>>>;
    BuilderErrorKind: Debug, Display, Send, Sync, Unpin;
    ExecutorErrorKind: Clone, Copy, Debug, Display, Eq, PartialEq, Send, Sync, Unpin;
    QueueErrorKind: Clone, Copy, Debug, Display, Eq, PartialEq, Send, Sync, Unpin;
    ReactorErrorKind: Clone, Debug, Display, Eq, PartialEq, Send, Sync, Unpin;
    ResourceType<u8>: Debug, Display, Send, Sync, Unpin;
    ResourceType<Rc<u8>>: Debug, Display;
    Latency: Clone, Copy, Debug, Send, Sync, Unpin;
    Placement: Clone, Debug, Eq, Hash, PartialEq, Send, Sync, Unpin;
    PoolPlacement: Clone, Debug, Eq, Hash, PartialEq, Send, Sync, Unpin, From<Placement>;
    Shares: Clone, Debug, Default, Unpin;
    ExecutorProxy: Debug, Send, Sync, Unpin;
    ExecutorStats: Clone, Copy, Debug, Default, Send, Sync, Unpin;
    IoStats: Debug, Send, Sync, Unpin;
    RingIoStats: Clone, Debug, Default, Send, Sync, Unpin, Sum<&'static RingIoStats>;
    TaskQueueStats: Clone, Copy, Debug, Send, Sync, Unpin;
    TaskQueueHandle: Clone, Copy, Debug, Default, Display, Eq, Hash, PartialEq, Send, Sync, Unpin;
    LocalExecutor: Debug, Default, Unpin;
    LocalExecutorBuilder: Debug, Default, Send, Sync, Unpin;
    LocalExecutorPoolBuilder: Debug, Unpin;
    ExecutorJoinHandle<u8>: Debug, Send, Sync, Unpin;
    PoolThreadHandles<u8>: Debug, Send, Sync, Unpin;
    CpuLocation: Clone, Debug, Eq, Hash, PartialEq, Send, Sync, Unpin;
    CpuSet: Clone, Debug, Eq, PartialEq, Send, Sync, Unpin, FromIterator<CpuLocation>,
        IntoIterator<Item = CpuLocation>;
    &'static CpuSet: IntoIterator<Item = &'static CpuLocation>;
    CpuIter: Iterator<Item = CpuLocation>;
    DefaultStallDetectionHandler: Debug, Send, Sync, StallDetectionHandler;
    StallDetection<'static>: Debug, Display;
    StopHandle: Clone, Debug, Send, Sync;
    Task<u8>: Debug, Unpin, Future<Output = u8>;
    ScopedTask<'static, u8>: Debug, Unpin, Future<Output = u8>;
    JoinHandle<u8>: Debug, Unpin, Future<Output = Option<u8>>;
    JoinHandle<Rc<u8>>: Unpin;
    glommio::task::Task: Debug, Unpin, UnwindSafe, RefUnwindSafe;
    AccessError: Debug, Display, Error;
    LocalKey<u8>: Debug;
    TaskLocalFuture<u8, Ready<u8>>: Future<Output = u8>, Unpin;
    Vec<u8>: glommio::ByteSliceExt, glommio::ByteSliceMutExt;
}

lacks! {
    Shares: Send, Sync;
    LocalExecutor: Send, Sync, Clone;
    Task<u8>: Send, Sync, Clone;
    ScopedTask<'static, u8>: Send, Sync, Clone;
    JoinHandle<u8>: Send, Sync, Clone;
    glommio::task::Task: Send, Sync, Clone;
    glommio::channels::spsc_queue::Producer<u8>: Clone;
    glommio::channels::spsc_queue::Consumer<u8>: Clone;
}

/// The futures of `async fn`s, whose types have no names. Never run.
async fn _outputs_of_futures(proxy: ExecutorProxy, task: Task<u8>, scoped: ScopedTask<'_, u8>) {
    fn send<T: Send>(value: T) -> T {
        value
    }
    let () = proxy.yield_if_needed().await;
    let () = proxy.yield_now().await;
    let () = proxy.yield_task_queue_now().await;
    let () = glommio::yield_if_needed().await;
    let _: u8 = proxy.spawn_blocking(|| 5_u8).await;
    let _: u8 = send(proxy.spawn_blocking_send(|| 5_u8)).await;
    let _: Option<u8> = task.cancel().await;
    let _: Option<u8> = scoped.cancel().await;
}

/// Every variant and field, by name: matches are exhaustive, literals complete. Never run.
fn _variants_and_fields(error: GlommioError<u8>, stall: StallDetection<'_>, stats: IoStats) {
    let resource = |resource| match resource {
        ResourceType::Semaphore {
            requested,
            available,
        } => typed::<(u64, u64)>((requested, available)),
        ResourceType::RwLock | ResourceType::Gate => {}
        ResourceType::Channel(value) => typed::<u8>(value),
        ResourceType::File(remark) => typed::<String>(remark),
    };
    match error {
        GlommioError::IoError(source) => typed::<io::Error>(source),
        GlommioError::EnhancedIoError {
            source,
            op,
            path,
            fd,
        } => typed::<(io::Error, &'static str, Option<PathBuf>, Option<RawFd>)>((
            source, op, path, fd,
        )),
        GlommioError::ExecutorError(ExecutorErrorKind::QueueError { index, kind }) => {
            let _: usize = index;
            match kind {
                QueueErrorKind::StillActive | QueueErrorKind::NotFound => {}
            }
        }
        GlommioError::ExecutorError(ExecutorErrorKind::InvalidId(id)) => typed::<usize>(id),
        GlommioError::BuilderError(kind) => match kind {
            BuilderErrorKind::NonExistentCpus { cpu } => typed::<usize>(cpu),
            BuilderErrorKind::InsufficientCpus {
                required,
                available,
            } => typed::<(usize, usize)>((required, available)),
            BuilderErrorKind::NrShards { minimum, shards } => {
                typed::<(usize, usize)>((minimum, shards));
            }
            BuilderErrorKind::ThreadPanic(payload) => typed::<PanicPayload>(payload),
        },
        GlommioError::Closed(closed) => resource(closed),
        GlommioError::CanNotBeClosed(open, reason) => {
            let _: &'static str = reason;
            resource(open);
        }
        GlommioError::WouldBlock(busy) => resource(busy),
        GlommioError::ReactorError(kind) => match kind {
            ReactorErrorKind::IncorrectSourceType(name) => typed::<String>(name),
            ReactorErrorKind::MemLockLimit(max, min) => typed::<(u64, u64)>((max, min)),
        },
        GlommioError::TimedOut(after) => typed::<Duration>(after),
    }

    let StallDetection {
        executor,
        queue_handle,
        queue_name,
        trace,
        budget,
        overage,
    } = stall;
    let _: (usize, TaskQueueHandle, &str) = (executor, queue_handle, queue_name);
    let _: (backtrace::Backtrace, Duration, Duration) = (trace, budget, overage);
    let IoStats {
        main_ring,
        latency_ring,
        poll_ring,
    } = stats;
    let _: [RingIoStats; 3] = [main_ring, latency_ring, poll_ring];
    let location = CpuLocation {
        cpu: 0,
        core: 0,
        package: 0,
        numa_node: 0,
    };
    let set = || CpuSet::from_iter([location.clone()]);
    match Placement::Unbound {
        Placement::Unbound => {}
        Placement::Fixed(cpu) => typed::<usize>(cpu),
        Placement::Fenced(cpus) => typed::<CpuSet>(cpus),
    }
    match PoolPlacement::Custom(vec![set()]) {
        PoolPlacement::Unbound(count) => typed::<usize>(count),
        PoolPlacement::Fenced(count, cpus) => typed::<(usize, CpuSet)>((count, cpus)),
        PoolPlacement::MaxSpread(count, cpus) | PoolPlacement::MaxPack(count, cpus) => {
            typed::<(usize, Option<CpuSet>)>((count, cpus));
        }
        PoolPlacement::Custom(sets) => typed::<Vec<CpuSet>>(sets),
    }
    match Shares::default() {
        Shares::Static(shares) => typed::<usize>(shares),
        Shares::Dynamic(manager) => typed::<Rc<dyn SharesManager>>(manager),
    }
    match Latency::NotImportant {
        Latency::NotImportant => {}
        Latency::Matters(bound) => typed::<Duration>(bound),
    }
}

/// What must be used. An expectation that no warning meets is an error. Never run.
fn _must_be_used(
    single: fn() -> LocalExecutorBuilder,
    pool: fn() -> LocalExecutorPoolBuilder,
    task: fn() -> (Task<u8>, ScopedTask<'static, u8>),
    handle: ExecutorJoinHandle<u8>,
    cpus: CpuSet,
) {
    macro_rules! warned {
        ($($unused:expr;)*) => {
            $({
                #[expect(unused_must_use)]
                {
                    $unused;
                }
            })*
        };
    }
    let placement = || PoolPlacement::Unbound(1);
    warned! {
        single().name("a");
        single().io_memory(1);
        single().ring_depth(1);
        single().preempt_timer(Duration::ZERO);
        single().spin_before_park(Duration::ZERO);
        single().record_io_latencies(true);
        single().blocking_thread_pool_placement(placement());
        single().detect_stalls(None);
        single().spawn(|| async {});
        pool().name("a");
        pool().io_memory(1);
        pool().ring_depth(1);
        pool().preempt_timer(Duration::ZERO);
        pool().spin_before_park(Duration::ZERO);
        pool().record_io_latencies(true);
        pool().blocking_thread_pool_placement(placement());
        pool().detect_stalls(None);
        pool().on_all_shards(|| async {});
        task().0;
        task().1;
        handle.thread();
        cpus.filter(|_| true);
    }
}

/// What `use glommio::prelude::*` brings.
mod prelude {
    use glommio::prelude as p;

    const _: fn() -> p::ExecutorProxy = p::executor;
    const _: fn(std::future::Ready<u8>) -> glommio::Task<u8> = p::spawn_local;
    const _: fn(
        std::future::Ready<u8>,
        p::TaskQueueHandle,
    ) -> Result<glommio::Task<u8>, p::GlommioError<()>> = p::spawn_local_into;
    type _Types = (
        p::IoStats,
        p::RingIoStats,
        p::Latency,
        p::LocalExecutor,
        p::LocalExecutorBuilder,
        p::LocalExecutorPoolBuilder,
        p::PoolThreadHandles<u8>,
        p::Placement,
        p::PoolPlacement,
        p::Shares,
    );

    async fn _functions(bytes: &mut [u8]) {
        use p::{ByteSliceExt as _, ByteSliceMutExt as _};
        bytes.memset(0);
        bytes.write_at(0, &[1_u8]);
        bytes.read_at(0, &mut [0_u8]);
        let () = p::yield_if_needed().await;
    }
}

glommio::task_local! {
    static REQUEST: u64;
}

#[test]
fn macros_of_the_root_expand() {
    let mut ran = false;
    {
        glommio::defer! {}
        let shared = Rc::new(5);
        let cloned = glommio::enclose! { (shared) move || *shared };
        assert_eq!(cloned() + *shared, 10);
    }
    let doubled = glommio::dbg_context!(&ran, "doubling", {
        let half = 21;
        half * 2
    });
    assert_eq!(doubled, 42);
    glommio::dbg_context!(std::ptr::null::<()>(), run, ran = true);
    assert!(ran);
    let error: GlommioError<()> = GlommioError::TimedOut(Duration::from_secs(1));
    let error: io::Error = glommio::to_io_error!(error);
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(REQUEST.try_with(|id| *id).is_err());
}
