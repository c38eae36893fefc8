//! `Semaphore` and `RwLock` against sequential models: the same steps, the same answers, the same
//! wake-ups.
//!
//! The steps include what `select` does to a wait: it is polled, perhaps a few times, and dropped,
//! before or after it was served.

#[path = "support/cases.rs"]
mod cases;
#[path = "support/flag.rs"]
mod flag;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use glommio::{
    GlommioError, ResourceType,
    sync::{Permit, RwLock, RwLockReadGuard, RwLockWriteGuard, Semaphore},
};
use proptest::{collection::vec, prelude::*, sample::Index};

use flag::Flag;

/// A wait that has been polled at least once.
struct Waiting<'a, T> {
    id: usize,
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    flag: Arc<Flag>,
}

impl<'a, T> Waiting<'a, T> {
    fn new(id: usize, future: impl Future<Output = T> + 'a) -> Self {
        Waiting {
            id,
            future: Box::pin(future),
            flag: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<T> {
        let waker = Waker::from(self.flag.clone());
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn is_woken(&self) -> bool {
        self.flag.is_set()
    }
}

#[derive(Clone, Debug)]
enum SemaphoreStep {
    Acquire(u64),
    TryAcquire(u64),
    Poll(Index),
    DropWait(Index),
    Release(Index),
    Signal(u64),
    Close,
}

fn semaphore_steps() -> impl Strategy<Value = Vec<SemaphoreStep>> {
    use SemaphoreStep::*;
    let step = prop_oneof![
        10 => (0..4u64).prop_map(Acquire),
        4 => (0..4u64).prop_map(TryAcquire),
        6 => any::<Index>().prop_map(Poll),
        6 => any::<Index>().prop_map(DropWait),
        6 => any::<Index>().prop_map(Release),
        3 => (0..3u64).prop_map(Signal),
        1 => Just(Close),
    ];
    vec(step, 1..120)
}

/// What a semaphore is supposed to do.
#[derive(Default)]
struct SemaphoreModel {
    available: u64,
    closed: bool,
    queue: VecDeque<(usize, u64)>,
    /// Those who have left the queue and do not know it yet; `true` if they have their units.
    settled: Vec<(usize, u64, bool)>,
}

impl SemaphoreModel {
    fn hand_out(&mut self) {
        while let Some(&(id, units)) = self.queue.front() {
            if units > self.available {
                break;
            }
            self.available -= units;
            self.queue.pop_front();
            self.settled.push((id, units, true));
        }
    }

    fn release(&mut self, units: u64) {
        self.available += units;
        self.hand_out();
    }

    /// `None` if it has to wait.
    fn try_acquire(&mut self, units: u64) -> Option<Result<(), ()>> {
        if units == 0 {
            return Some(Ok(()));
        }
        if self.closed {
            return Some(Err(()));
        }
        if self.queue.is_empty() && units <= self.available {
            self.available -= units;
            return Some(Ok(()));
        }
        None
    }

    fn poll(&mut self, id: usize) -> Option<Result<(), ()>> {
        let at = self.settled.iter().position(|entry| entry.0 == id)?;
        Some(self.settled.remove(at).2.then_some(()).ok_or(()))
    }

    fn drop_wait(&mut self, id: usize) {
        if let Some(at) = self.settled.iter().position(|entry| entry.0 == id) {
            let (_, units, granted) = self.settled.remove(at);
            if granted {
                self.release(units);
            }
            return;
        }
        self.queue.retain(|entry| entry.0 != id);
        self.hand_out();
    }

    fn close(&mut self) {
        self.closed = true;
        let refused = self.queue.drain(..).map(|(id, units)| (id, units, false));
        self.settled.extend(refused);
    }
}

type SemaphoreResult<'a> = Result<Permit<'a>, GlommioError<()>>;

fn agree(result: &SemaphoreResult<'_>, model: Result<(), ()>, available: u64) {
    match (result, model) {
        (Ok(_), Ok(())) => {}
        (Err(GlommioError::Closed(ResourceType::Semaphore { available: a, .. })), Err(())) => {
            assert_eq!(*a, available);
        }
        _ => panic!("{result:?}, but the model says {model:?}"),
    }
}

fn run_semaphore(units: u64, steps: Vec<SemaphoreStep>) {
    let semaphore = Semaphore::new(units);
    let mut model = SemaphoreModel {
        available: units,
        ..SemaphoreModel::default()
    };
    let mut total = units;
    let mut waits: Vec<Waiting<'_, SemaphoreResult<'_>>> = Vec::new();
    let mut held: Vec<(u64, Permit<'_>)> = Vec::new();
    let mut asked: Vec<u64> = Vec::new(); // units by id
    for step in steps {
        match step {
            SemaphoreStep::Acquire(units) => {
                let id = asked.len();
                asked.push(units);
                let mut wait = Waiting::new(id, semaphore.acquire_permit(units));
                match (wait.poll(), model.try_acquire(units)) {
                    (Poll::Ready(result), Some(expected)) => {
                        agree(&result, expected, model.available);
                        held.extend(result.ok().map(|permit| (units, permit)));
                    }
                    (Poll::Pending, None) => {
                        model.queue.push_back((id, units));
                        waits.push(wait);
                    }
                    (polled, expected) => panic!("{polled:?}, but the model says {expected:?}"),
                }
            }
            SemaphoreStep::TryAcquire(units) => {
                let result = semaphore.try_acquire_permit(units);
                match (result, model.try_acquire(units)) {
                    (
                        Err(GlommioError::WouldBlock(ResourceType::Semaphore {
                            requested,
                            available,
                        })),
                        None,
                    ) => {
                        assert_eq!((requested, available), (units, model.available));
                    }
                    (result, Some(expected)) => {
                        agree(&result, expected, model.available);
                        held.extend(result.ok().map(|permit| (units, permit)));
                    }
                    (result, None) => panic!("{result:?}, but the model says it blocks"),
                }
            }
            SemaphoreStep::Poll(index) if !waits.is_empty() => {
                let at = index.index(waits.len());
                let id = waits[at].id;
                match (waits[at].poll(), model.poll(id)) {
                    (Poll::Ready(result), Some(expected)) => {
                        agree(&result, expected, model.available);
                        held.extend(result.ok().map(|permit| (asked[id], permit)));
                        waits.remove(at);
                    }
                    (Poll::Pending, None) => {}
                    (polled, expected) => panic!("{polled:?}, but the model says {expected:?}"),
                }
            }
            SemaphoreStep::DropWait(index) if !waits.is_empty() => {
                let wait = waits.remove(index.index(waits.len()));
                model.drop_wait(wait.id);
            }
            SemaphoreStep::Release(index) if !held.is_empty() => {
                let (units, permit) = held.remove(index.index(held.len()));
                drop(permit);
                model.release(units);
            }
            SemaphoreStep::Signal(units) => {
                semaphore.signal(units);
                model.release(units);
                total += units;
            }
            SemaphoreStep::Close => {
                semaphore.close();
                model.close();
            }
            _ => {}
        }
        assert_eq!(semaphore.available(), model.available);
        assert_eq!(semaphore.is_closed(), model.closed);
        for wait in &waits {
            let settled = model.settled.iter().any(|entry| entry.0 == wait.id);
            assert_eq!(wait.is_woken(), settled, "of waiter {}", wait.id);
        }
    }
    drop(waits);
    drop(held);
    assert_eq!(semaphore.available(), total, "a unit is lost");
}

#[derive(Clone, Debug)]
enum LockStep {
    Lock { write: bool },
    TryLock { write: bool },
    Poll(Index),
    DropWait(Index),
    Release(Index),
    Close,
}

fn lock_steps() -> impl Strategy<Value = Vec<LockStep>> {
    use LockStep::*;
    let step = prop_oneof![
        10 => prop::bool::weighted(0.4).prop_map(|write| Lock { write }),
        4 => any::<bool>().prop_map(|write| TryLock { write }),
        6 => any::<Index>().prop_map(Poll),
        6 => any::<Index>().prop_map(DropWait),
        8 => any::<Index>().prop_map(Release),
        1 => Just(Close),
    ];
    vec(step, 1..120)
}

/// What a readers-writer lock is supposed to do.
#[derive(Default)]
struct LockModel {
    readers: usize,
    writer: bool,
    closed: bool,
    queue: VecDeque<(usize, bool)>,
    settled: Vec<(usize, bool, bool)>,
}

impl LockModel {
    fn grant(&mut self, write: bool) -> bool {
        let free = !self.writer && (!write || self.readers == 0);
        if free && write {
            self.writer = true;
        } else if free {
            self.readers += 1;
        }
        free
    }

    fn grant_waiters(&mut self) {
        while let Some(&(id, write)) = self.queue.front() {
            if !self.grant(write) {
                break;
            }
            self.queue.pop_front();
            self.settled.push((id, write, true));
        }
    }

    fn release(&mut self, write: bool) {
        if write {
            assert!(std::mem::take(&mut self.writer));
        } else {
            self.readers -= 1;
        }
        self.grant_waiters();
    }

    fn try_lock(&mut self, write: bool) -> Option<Result<(), ()>> {
        if self.closed {
            return Some(Err(()));
        }
        (self.queue.is_empty() && self.grant(write)).then_some(Ok(()))
    }

    fn poll(&mut self, id: usize) -> Option<Result<(), ()>> {
        let at = self.settled.iter().position(|entry| entry.0 == id)?;
        Some(self.settled.remove(at).2.then_some(()).ok_or(()))
    }

    fn drop_wait(&mut self, id: usize) {
        if let Some(at) = self.settled.iter().position(|entry| entry.0 == id) {
            let (_, write, granted) = self.settled.remove(at);
            if granted {
                self.release(write);
            }
            return;
        }
        self.queue.retain(|entry| entry.0 != id);
        self.grant_waiters();
    }

    fn close(&mut self) {
        self.closed = true;
        let refused = self.queue.drain(..).map(|(id, write)| (id, write, false));
        self.settled.extend(refused);
    }
}

enum Guard<'a> {
    Read(RwLockReadGuard<'a, u64>),
    Write(RwLockWriteGuard<'a, u64>),
}

type LockAnswer<'a> = Result<Guard<'a>, GlommioError<()>>;

async fn lock(lock: &RwLock<u64>, write: bool) -> LockAnswer<'_> {
    Ok(match write {
        true => Guard::Write(lock.write().await?),
        false => Guard::Read(lock.read().await?),
    })
}

fn try_lock(lock: &RwLock<u64>, write: bool) -> LockAnswer<'_> {
    Ok(match write {
        true => Guard::Write(lock.try_write()?),
        false => Guard::Read(lock.try_read()?),
    })
}

fn run_lock(steps: Vec<LockStep>) {
    let rwlock = RwLock::new(0);
    let mut model = LockModel::default();
    let mut waits: Vec<Waiting<'_, LockAnswer<'_>>> = Vec::new();
    let mut held: Vec<Guard<'_>> = Vec::new();
    let mut writes = 0;
    for (id, step) in steps.into_iter().enumerate() {
        let mut taken = None;
        match step {
            LockStep::Lock { write } => {
                let mut wait = Waiting::new(id, lock(&rwlock, write));
                match (wait.poll(), model.try_lock(write)) {
                    (Poll::Ready(answer), Some(expected)) => taken = Some((answer, expected)),
                    (Poll::Pending, None) => {
                        model.queue.push_back((id, write));
                        waits.push(wait);
                    }
                    (_, expected) => panic!("the model says {expected:?}"),
                }
            }
            LockStep::TryLock { write } => {
                match (try_lock(&rwlock, write), model.try_lock(write)) {
                    (Err(GlommioError::WouldBlock(ResourceType::RwLock)), None) => {}
                    (answer, Some(expected)) => taken = Some((answer, expected)),
                    (_, None) => panic!("the model says it blocks"),
                }
            }
            LockStep::Poll(index) if !waits.is_empty() => {
                let at = index.index(waits.len());
                let id = waits[at].id;
                match (waits[at].poll(), model.poll(id)) {
                    (Poll::Ready(answer), Some(expected)) => {
                        taken = Some((answer, expected));
                        waits.remove(at);
                    }
                    (Poll::Pending, None) => {}
                    (_, expected) => panic!("the model says {expected:?}"),
                }
            }
            LockStep::DropWait(index) if !waits.is_empty() => {
                let wait = waits.remove(index.index(waits.len()));
                model.drop_wait(wait.id);
            }
            LockStep::Release(index) if !held.is_empty() => {
                let guard = held.remove(index.index(held.len()));
                let write = matches!(guard, Guard::Write(_));
                drop(guard);
                model.release(write);
            }
            LockStep::Close => {
                assert_eq!(rwlock.close().is_err(), model.closed);
                model.close();
            }
            _ => {}
        }
        match taken {
            Some((Ok(guard), Ok(()))) => held.push(guard),
            Some((Err(GlommioError::Closed(ResourceType::RwLock)), Err(()))) | None => {}
            Some((answer, expected)) => {
                panic!("{:?}, the model: {expected:?}", answer.map(drop))
            }
        }
        // Whatever is held can be used, and shows every write so far.
        for guard in &mut held {
            match guard {
                Guard::Read(value) => assert_eq!(**value, writes),
                Guard::Write(value) => {
                    assert_eq!(**value, writes);
                    writes += 1;
                    **value = writes;
                }
            }
        }
        assert_eq!(rwlock.is_closed(), model.closed);
        for wait in &waits {
            let settled = model.settled.iter().any(|entry| entry.0 == wait.id);
            assert_eq!(wait.is_woken(), settled, "of waiter {}", wait.id);
        }
    }
    drop(waits);
    drop(held);
    assert_eq!(
        rwlock.try_write().is_ok(),
        !model.closed,
        "an access is lost"
    );
}

proptest! {
    #![proptest_config(cases::cases(1_000))]

    #[test]
    fn a_semaphore_does_as_its_model(units in 0..5u64, steps in semaphore_steps()) {
        run_semaphore(units, steps);
    }

    #[test]
    fn a_lock_does_as_its_model(steps in lock_steps()) {
        run_lock(steps);
    }
}
