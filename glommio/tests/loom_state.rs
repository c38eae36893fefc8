//! Models of the channels that threads share: their source files, compiled against loom's primitives,
//! in every interleaving, or in all of those with up to two preemptions.

/// Stands in for `channels/atomic.rs`.
mod atomic {
    use std::hash::{DefaultHasher, Hash, Hasher};

    pub(super) use loom::sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    };

    pub(super) fn thread_token() -> usize {
        let mut hasher = DefaultHasher::new();
        loom::thread::current().id().hash(&mut hasher);
        hasher.finish() as usize | 1
    }
}

mod error {
    pub(crate) use glommio::{GlommioError, ResourceType};
}

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

#[allow(dead_code)]
#[path = "../src/channels/storage.rs"]
mod storage;

#[allow(dead_code)]
#[path = "../src/channels/oneshot.rs"]
mod oneshot;

#[allow(dead_code)]
#[path = "../src/channels/watch.rs"]
mod watch;

#[allow(dead_code)]
#[path = "../src/channels/broadcast/mod.rs"]
mod broadcast;

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use broadcast::RecvError;
use error::GlommioError;
use loom::{sync::Notify, thread};

/// Wakes the thread that waits.
struct Unpark(Notify);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls when woken, and only then; loom reports a lost wake-up as a deadlock.
fn block_on<F: Future>(future: F) -> F::Output {
    let unpark = Arc::new(Unpark(Notify::new()));
    let waker = Waker::from(unpark.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        unpark.0.wait();
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls once, with a waker that is only counted.
fn poll_once<F: Future>(count: &Arc<Count>, future: F) -> Poll<F::Output> {
    let waker = Waker::from(count.clone());
    pin!(future).poll(&mut Context::from_waker(&waker))
}

/// For models whose whole search does not end in useful time.
fn bounded(f: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(f);
}

#[test]
fn a_value_reaches_a_receiver_however_they_race() {
    loom::model(|| {
        let (sender, receiver) = oneshot::shared();
        let sending = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!(block_on(receiver).unwrap(), 1);
        sending.join().unwrap();
    });
}

#[test]
fn a_receiver_hears_that_the_sender_is_gone() {
    loom::model(|| {
        let (sender, receiver) = oneshot::shared::<u32>();
        let going = thread::spawn(move || drop(sender));
        assert!(block_on(receiver).is_err());
        going.join().unwrap();
    });
}

#[test]
fn a_value_that_races_with_the_end_of_the_receiver_is_handed_back_or_dropped_once() {
    loom::model(|| {
        let value = Arc::new(());
        let (sender, receiver) = oneshot::shared();
        let theirs = value.clone();
        let sending = thread::spawn(move || sender.send(theirs).map_err(|e| e.into_inner()));
        drop(receiver);
        match sending.join().unwrap() {
            Ok(()) => {}
            Err(back) => assert!(Arc::ptr_eq(&back.unwrap(), &value)),
        }
        assert_eq!(Arc::strong_count(&value), 1);
    });
}

#[test]
fn a_sender_hears_that_the_receiver_is_gone() {
    loom::model(|| {
        let (mut sender, receiver) = oneshot::shared::<u32>();
        let going = thread::spawn(move || drop(receiver));
        block_on(sender.closed());
        assert!(sender.is_closed());
        assert!(sender.send(1).is_err());
        going.join().unwrap();
    });
}

#[test]
fn both_sides_wait_for_each_other_to_go_and_one_gives_up() {
    loom::model(|| {
        let (mut sender, receiver) = oneshot::shared::<u32>();
        let receiving = thread::spawn(move || block_on(receiver).ok());
        let count = Arc::default();
        let gone = poll_once(&count, sender.closed()).is_ready();
        assert!(!gone, "the receiver waits for this sender");
        drop(sender);
        assert_eq!(receiving.join().unwrap(), None);
        assert_eq!(Arc::strong_count(&count), 1, "a waker is left");
    });
}

#[test]
fn a_value_is_not_missed_while_the_receivers_waker_is_replaced() {
    loom::model(|| {
        let (sender, mut receiver) = oneshot::shared();
        let count = Arc::default();
        assert!(poll_once(&count, &mut receiver).is_pending());
        let sending = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!(block_on(&mut receiver).unwrap(), 1);
        sending.join().unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&count), 1, "a waker is left");
    });
}

#[test]
fn a_closed_receiver_has_the_value_or_the_sender_has_it() {
    loom::model(|| {
        let (sender, mut receiver) = oneshot::shared();
        let sending = thread::spawn(move || sender.send(1).is_ok());
        receiver.close();
        let received = receiver.try_recv().is_ok();
        assert_eq!(received, sending.join().unwrap());
    });
}

#[test]
fn a_receiver_sees_the_last_value_and_then_the_end() {
    bounded(|| {
        let (sender, mut receiver) = watch::shared(0);
        let sending = thread::spawn(move || {
            sender.send(1).unwrap();
            sender.send(2).unwrap();
        });
        let mut last = 0;
        while block_on(receiver.changed()).is_ok() {
            let value = receiver.get();
            assert!(value >= last);
            last = value;
        }
        assert_eq!(last, 2);
        sending.join().unwrap();
    });
}

#[test]
fn every_receiver_is_woken() {
    bounded(|| {
        let (sender, mut receiver) = watch::shared(0);
        let receiving = {
            let mut receiver = receiver.clone();
            thread::spawn(move || {
                block_on(receiver.changed()).unwrap();
                receiver.get()
            })
        };
        let sending = thread::spawn(move || sender.send(1).unwrap());
        block_on(receiver.changed()).unwrap();
        assert_eq!(receiver.get(), 1);
        assert_eq!(receiving.join().unwrap(), 1);
        sending.join().unwrap();
    });
}

#[test]
fn a_wait_for_a_change_that_is_given_up_leaves_the_change_unseen() {
    loom::model(|| {
        let (sender, mut receiver) = watch::shared(0);
        let sending = thread::spawn(move || {
            sender.send(1).unwrap();
            sender
        });
        let count = Arc::default();
        if poll_once(&count, receiver.changed()).is_pending() {
            block_on(receiver.changed()).unwrap();
        }
        assert_eq!(receiver.get(), 1);
        drop(sending.join().unwrap());
        assert_eq!(Arc::strong_count(&count), 1, "a waker is left");
        assert!(!receiver.has_changed());
    });
}

#[test]
fn a_value_that_races_with_the_last_receiver_is_set_or_handed_back() {
    loom::model(|| {
        let (sender, receiver) = watch::shared(0);
        let going = thread::spawn(move || drop(receiver));
        match sender.send(1) {
            Ok(()) => assert_eq!(sender.get(), 1),
            Err(error) => {
                assert_eq!(error.into_inner(), Some(1));
                assert_eq!(sender.get(), 0);
            }
        }
        going.join().unwrap();
        assert!(sender.is_closed());
    });
}

#[test]
fn a_value_that_is_looked_at_by_another_thread_is_set_afterwards() {
    loom::model(|| {
        let (sender, receiver) = watch::shared((0, 0));
        let looking = thread::spawn(move || receiver.with_current(|&(a, b)| assert_eq!(a, b)));
        // Only the thread that looks would be refused.
        let set = sender.send_modify(|both| *both = (1, 1));
        assert!(!matches!(set, Err(GlommioError::WouldBlock(_))));
        looking.join().unwrap();
    });
}

#[test]
fn every_receiver_gets_every_message() {
    bounded(|| {
        let (sender, mut receiver) = broadcast::shared(1);
        let receiving = {
            let mut receiver = receiver.clone();
            thread::spawn(move || block_on(receiver.recv()))
        };
        assert_eq!(sender.send(1).unwrap(), 2);
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(receiving.join().unwrap(), Ok(1));
    });
}

#[test]
fn a_receiver_gets_the_last_message_and_hears_of_the_end() {
    bounded(|| {
        let (sender, mut receiver) = broadcast::shared(1);
        let sending = thread::spawn(move || drop(sender.send(1)));
        assert_eq!(block_on(receiver.recv()), Ok(1));
        assert_eq!(block_on(receiver.recv()), Err(RecvError::Closed));
        sending.join().unwrap();
    });
}

#[test]
fn a_receiver_that_lags_or_goes_leaves_nothing_behind() {
    bounded(|| {
        let message = Arc::new(());
        let (sender, mut receiver) = broadcast::shared(1);
        let going = sender.subscribe();
        let theirs = message.clone();
        let sending = thread::spawn(move || {
            for _ in 0..2 {
                sender.send(theirs.clone()).unwrap();
            }
        });
        drop(going);
        let mut received = 0;
        loop {
            match block_on(receiver.recv()) {
                Ok(_) => received += 1,
                Err(RecvError::Lagged(missed)) => received += missed,
                Err(RecvError::Closed) => break,
            }
        }
        assert_eq!(received, 2);
        sending.join().unwrap();
        assert_eq!(Arc::strong_count(&message), 1);
    });
}
