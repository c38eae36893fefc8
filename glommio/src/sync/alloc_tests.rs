//! A warm wait allocates nothing, whatever it waits for and however it ends.

use std::{
    future::Future,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::{Barrier, CancellationToken, Gate, Mutex, Notify, OnceCell, RwLock, Semaphore};
use crate::{
    executor::{LocalExecutor, executor, spawn_local},
    test_alloc::{allocations, assert_warm_is_free},
};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn the_count_sees_an_allocation() {
    let before = allocations();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations() - before, 1);
}

/// `$wait` waits until `$serve`; one is served, one is dropped while it waits.
macro_rules! warm {
    ($name:ident, $wait:expr, $serve:expr) => {
        assert_warm_is_free(|| {
            let mut served = pin!($wait);
            assert!(poll(served.as_mut()).is_pending());
            {
                let dropped = pin!($wait);
                assert!(poll(dropped).is_pending());
            }
            $serve;
            assert!(poll(served.as_mut()).is_ready());
        })
    };
}

#[test]
fn waiting_for_a_semaphore() {
    let semaphore = Semaphore::new(0);
    warm!(semaphore, semaphore.acquire(1), semaphore.signal(1));
}

#[test]
fn waiting_for_a_lock() {
    let lock = RwLock::new(5);
    let guard = std::cell::RefCell::new(None);
    assert_warm_is_free(|| {
        guard.replace(lock.try_write().ok());
        warm(&lock, &guard);
    });

    fn warm<'a>(
        lock: &'a RwLock<u32>,
        guard: &std::cell::RefCell<Option<super::RwLockWriteGuard<'a, u32>>>,
    ) {
        let (mut read, mut write) = (pin!(lock.read()), pin!(lock.write()));
        assert!(poll(read.as_mut()).is_pending());
        assert!(poll(write.as_mut()).is_pending());
        drop(guard.take());
        assert!(poll(read.as_mut()).is_ready());
        assert!(poll(write.as_mut()).is_ready());
    }
}

#[test]
fn waiting_for_a_mutex() {
    let mutex = Mutex::new(5);
    assert_warm_is_free(|| {
        let guard = mutex.try_lock().unwrap();
        let mut lock = pin!(mutex.lock());
        assert!(poll(lock.as_mut()).is_pending());
        drop(guard);
        assert!(poll(lock.as_mut()).is_ready());
    });
}

#[test]
fn waiting_for_a_gate_to_empty() {
    let gate = Gate::new();
    let outer = gate.clone();
    let pass = gate.enter().unwrap();
    assert_warm_is_free(|| {
        let close = pin!(outer.close());
        assert!(poll(close).is_pending());
    });
    drop(pass);
}

#[test]
fn waiting_for_a_notification() {
    let notify = Notify::new();
    warm!(notify, notify.notified(), notify.notify_one());
    warm!(notify, notify.notified(), notify.notify_waiters());
}

#[test]
fn waiting_for_others_to_arrive() {
    let barrier = Barrier::new(2);
    assert_warm_is_free(|| {
        let (mut first, second) = (pin!(barrier.wait()), pin!(barrier.wait()));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second).is_ready());
        assert!(poll(first).is_ready());
    });
}

#[test]
fn waiting_for_an_initialiser() {
    let cell = OnceCell::<u32>::new();
    assert_warm_is_free(|| {
        let mut running = pin!(cell.get_or_try_init(|| async {
            let mut yielded = false;
            std::future::poll_fn(move |_| match std::mem::replace(&mut yielded, true) {
                false => Poll::Pending,
                true => Poll::Ready(()),
            })
            .await;
            Err(())
        }));
        let mut waiting = pin!(cell.get_or_try_init(|| async { Err(()) }));
        assert!(poll(running.as_mut()).is_pending());
        assert!(poll(waiting.as_mut()).is_pending());
        assert_eq!(poll(running.as_mut()), Poll::Ready(Err(())));
        assert_eq!(poll(waiting.as_mut()), Poll::Ready(Err(())));
    });
}

#[test]
fn waiting_for_a_cancellation_here_or_elsewhere() {
    let token = CancellationToken::new();
    let attached = token.foreign_child().attach();
    assert_warm_is_free(|| {
        let (here, there) = (pin!(token.cancelled()), pin!(attached.cancelled()));
        assert!(poll(here).is_pending());
        assert!(poll(there).is_pending());
    });
}

#[test]
fn tasks_that_contend_for_a_semaphore() {
    LocalExecutor::default().run(async {
        let semaphore = Rc::new(Semaphore::new(1));
        let counted: Rc<std::cell::Cell<Option<u64>>> = Rc::default();
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let (semaphore, counted) = (semaphore.clone(), counted.clone());
                spawn_local(async move {
                    for round in 0..1_000 {
                        let permit = semaphore.acquire_permit(1).await.unwrap();
                        executor().yield_now().await;
                        drop(permit);
                        if round == 200 && counted.get().is_none() {
                            counted.set(Some(allocations()));
                        }
                    }
                    allocations()
                })
            })
            .collect();
        let mut ends = Vec::with_capacity(8);
        for worker in workers {
            ends.push(worker.await);
        }
        // From when the first was warm until the first was done.
        let first_end = ends.into_iter().min().unwrap();
        assert_eq!(first_end - counted.get().unwrap(), 0);
    });
}
