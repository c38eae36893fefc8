//! Model of the cancellation that crosses threads: its source files, compiled against loom's
//! primitives, in every interleaving.

/// Stands in for `sync/atomic.rs`.
mod atomic {
    pub(super) use loom::sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    };
}

#[allow(dead_code)]
#[path = "../src/sync/weak_list.rs"]
mod weak_list;

#[allow(dead_code)]
#[path = "../src/waiters"]
mod waiters {
    mod queue;
    mod slab;

    pub(crate) use self::{
        queue::{WaiterCell, Waiters, poll_verdict, wake_settled},
        slab::Key,
    };
}

#[path = "../src/sync/signal.rs"]
mod signal;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use loom::{sync::Notify, thread};
use signal::Signal;
use waiters::Key;

/// Wakes the thread that waits.
struct Unpark(Notify);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls when woken, and only then; loom reports a lost wake-up as a deadlock.
fn poll_until_ready(signal: &Signal, key: &mut Option<Key>) {
    let unpark = Arc::new(Unpark(Notify::new()));
    let waker = Waker::from(unpark.clone());
    while signal
        .poll_cancelled(key, &Context::from_waker(&waker))
        .is_pending()
    {
        unpark.0.wait();
    }
}

fn wait(signal: &Signal) {
    let mut key = None;
    poll_until_ready(signal, &mut key);
    assert!(key.is_none());
    assert!(signal.is_cancelled());
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_waiter_is_woken_however_it_races_with_the_cancellation() {
    loom::model(|| {
        let signal = Arc::new(Signal::new());
        let cancelling = {
            let signal = signal.clone();
            thread::spawn(move || signal.cancel())
        };
        wait(&signal);
        cancelling.join().unwrap();
    });
}

#[test]
fn two_cancellations_and_a_waiter() {
    loom::model(|| {
        let signal = Arc::new(Signal::new());
        let cancelling: [_; 2] = std::array::from_fn(|_| {
            let signal = signal.clone();
            thread::spawn(move || signal.cancel())
        });
        wait(&signal);
        for thread in cancelling {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_child_is_cancelled_however_it_races_with_the_parents_cancellation() {
    loom::model(|| {
        let parent = Arc::new(Signal::new());
        let cancelling = {
            let parent = parent.clone();
            thread::spawn(move || parent.cancel())
        };
        let child = Arc::new(Signal::new());
        parent.add_child(&child);
        wait(&child);
        cancelling.join().unwrap();
    });
}

#[test]
fn a_wait_that_is_given_up_leaves_nothing_behind() {
    loom::model(|| {
        let signal = Arc::new(Signal::new());
        let cancelling = {
            let signal = signal.clone();
            thread::spawn(move || signal.cancel())
        };
        let count = Arc::new(Count::default());
        {
            let waker = Waker::from(count.clone());
            let mut key = None;
            let polled = signal.poll_cancelled(&mut key, &Context::from_waker(&waker));
            assert!(polled.is_pending() || signal.is_cancelled());
            signal.forget(&mut key);
        }
        cancelling.join().unwrap();
        assert!(count.0.load(Ordering::Relaxed) <= 1);
        assert_eq!(Arc::strong_count(&count), 1, "the waker is gone");
    });
}

#[test]
fn a_waker_that_is_replaced_while_the_cancellation_comes_is_not_lost() {
    loom::model(|| {
        let signal = Arc::new(Signal::new());
        let mut key = None;
        let first = signal.poll_cancelled(&mut key, &Context::from_waker(Waker::noop()));
        assert!(first.is_pending());
        let cancelling = {
            let signal = signal.clone();
            thread::spawn(move || signal.cancel())
        };
        poll_until_ready(&signal, &mut key);
        cancelling.join().unwrap();
    });
}
