//! `sync`.

use std::{
    fmt::Debug,
    future::{Future, Ready},
    ops::{Deref, DerefMut},
    rc::Rc,
};

use glommio::{
    GlommioError, Task, TaskQueueHandle,
    sync::{
        Barrier, BarrierWaitResult, CancellationToken, Cancelled, ForeignCancellation, Gate,
        LockResult, Mutex, MutexGuard, Notified, Notify, OnceCell, Pass, Permit, RwLock,
        RwLockReadGuard, RwLockWriteGuard, Semaphore, StaticPermit, TryLockResult,
    },
};

use super::{Outcome, typed};

type Lock = RwLock<u8>;
type Once = OnceCell<u8>;

signatures! {
    Semaphore::new => fn(u64) -> Semaphore;
    Semaphore::available => fn(&Semaphore) -> u64;
    Semaphore::try_acquire => fn(&Semaphore, u64) -> Outcome<bool>;
    Semaphore::try_acquire_permit => for<'a> fn(&'a Semaphore, u64) -> Outcome<Permit<'a>>;
    Semaphore::try_acquire_static_permit => fn(&Rc<Semaphore>, u64) -> Outcome<StaticPermit>;
    Semaphore::signal => fn(&Semaphore, u64);
    Semaphore::close => fn(&Semaphore);
    Semaphore::is_closed => fn(&Semaphore) -> bool;
    StaticPermit::close => fn(&StaticPermit);

    Lock::new => fn(u8) -> Lock;
    Lock::get_mut => for<'a> fn(&'a mut Lock) -> LockResult<&'a mut u8>;
    Lock::into_inner => fn(Lock) -> LockResult<u8>;
    Lock::try_read => for<'a> fn(&'a Lock) -> TryLockResult<RwLockReadGuard<'a, u8>>;
    Lock::try_write => for<'a> fn(&'a Lock) -> TryLockResult<RwLockWriteGuard<'a, u8>>;
    Lock::close => fn(&Lock) -> LockResult<()>;
    Lock::is_closed => fn(&Lock) -> bool;

    Mutex::<u8>::new => fn(u8) -> Mutex<u8>;
    Mutex::<u8>::get_mut => for<'a> fn(&'a mut Mutex<u8>) -> LockResult<&'a mut u8>;
    Mutex::<u8>::into_inner => fn(Mutex<u8>) -> LockResult<u8>;
    Mutex::<u8>::try_lock => for<'a> fn(&'a Mutex<u8>) -> TryLockResult<MutexGuard<'a, u8>>;
    Mutex::<u8>::close => fn(&Mutex<u8>);
    Mutex::<u8>::is_closed => fn(&Mutex<u8>) -> bool;

    Gate::new => fn() -> Gate;
    Gate::enter => fn(&Gate) -> Result<Pass, GlommioError<()>>;
    Gate::is_open => fn(&Gate) -> bool;
    Gate::is_closed => fn(&Gate) -> bool;

    Once::new => fn() -> Once;
    Once::get => for<'a> fn(&'a Once) -> Option<&'a u8>;
    Once::is_initialized => fn(&Once) -> bool;
    Once::set => fn(&Once, u8) -> Result<(), u8>;

    CancellationToken::new => fn() -> CancellationToken;
    CancellationToken::cancel => fn(&CancellationToken);
    CancellationToken::cancelled => for<'a> fn(&'a CancellationToken) -> Cancelled<'a>;
    CancellationToken::child_token => fn(&CancellationToken) -> CancellationToken;
    CancellationToken::foreign_child => fn(&CancellationToken) -> ForeignCancellation;
    CancellationToken::is_cancelled => fn(&CancellationToken) -> bool;
    ForeignCancellation::attach => fn(&ForeignCancellation) -> CancellationToken;
    ForeignCancellation::is_cancelled => fn(&ForeignCancellation) -> bool;

    Notify::new => fn() -> Notify;
    Notify::notified => for<'a> fn(&'a Notify) -> Notified<'a>;
    Notify::notify_one => fn(&Notify);
    Notify::notify_waiters => fn(&Notify);
    Barrier::new => fn(usize) -> Barrier;
    BarrierWaitResult::is_leader => fn(&BarrierWaitResult) -> bool;
}

implements! {
    Semaphore: Debug, Unpin;
    Permit<'static>: Debug, Unpin;
    StaticPermit: Debug, Unpin;
    Lock: Debug, Default, Unpin;
    RwLockReadGuard<'static, u8>: Debug, Deref<Target = u8>, Unpin;
    RwLockWriteGuard<'static, u8>: Debug, DerefMut<Target = u8>, Unpin;
    Mutex<u8>: Debug, Default, Unpin;
    MutexGuard<'static, u8>: Debug, DerefMut<Target = u8>, Unpin;
    Gate: Clone, Debug, Unpin;
    Pass: Debug, Unpin;
    Once: Debug, Default, Unpin;
    CancellationToken: Clone, Debug, Default, Unpin;
    Cancelled<'static>: Future<Output = ()>, Unpin;
    ForeignCancellation: Clone, Debug, Send, Sync, Unpin;
    Notify: Debug, Default, Unpin;
    Notified<'static>: Debug, Future<Output = ()>, Unpin;
    Barrier: Debug, Unpin;
    BarrierWaitResult: Debug;
}

lacks! {
    Semaphore: Send, Sync;
    Permit<'static>: Clone, Send, Sync;
    StaticPermit: Clone, Send, Sync;
    Lock: Send, Sync;
    RwLockReadGuard<'static, u8>: Clone, Send, Sync;
    RwLockWriteGuard<'static, u8>: Clone, Send, Sync;
    Mutex<u8>: Send, Sync;
    MutexGuard<'static, u8>: Clone, Send, Sync;
    Gate: Send, Sync;
    Pass: Clone, Send, Sync;
    CancellationToken: Send, Sync;
    Notify: Send, Sync;
    Barrier: Send, Sync;
}

/// The asynchronous functions, by what awaiting them gives.
#[allow(dead_code)]
async fn awaited(queue: TaskQueueHandle) {
    let semaphore = Rc::new(Semaphore::new(1));
    typed::<Outcome<()>>(semaphore.acquire(1).await);
    typed::<Outcome<Permit<'_>>>(semaphore.acquire_permit(1).await);
    typed::<Outcome<StaticPermit>>(semaphore.acquire_static_permit(1).await);

    let (lock, mutex) = (Lock::new(1), Mutex::new(1_u8));
    typed::<LockResult<RwLockReadGuard<'_, u8>>>(lock.read().await);
    typed::<LockResult<RwLockWriteGuard<'_, u8>>>(lock.write().await);
    typed::<LockResult<MutexGuard<'_, u8>>>(mutex.lock().await);

    let gate = Gate::new();
    typed::<Result<Task<u8>, GlommioError<()>>>(gate.spawn(async { 1 }));
    typed::<Result<Task<u8>, GlommioError<()>>>(gate.spawn_into(async { 1 }, queue));
    // The wait borrows nothing of the gate.
    let close = gate.close();
    drop(gate);
    typed::<Result<(), GlommioError<()>>>(close.await);

    let once = Once::new();
    let init: fn() -> Ready<u8> = || std::future::ready(1);
    let try_init: fn() -> Ready<Result<u8, char>> = || std::future::ready(Ok(1));
    typed::<&u8>(once.get_or_init(init).await);
    typed::<Result<&u8, char>>(once.get_or_try_init(try_init).await);

    typed::<BarrierWaitResult>(Barrier::new(1).wait().await);
}
