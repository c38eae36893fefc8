//! The queue of waiters, on its own.

use std::{
    cell::RefCell,
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use proptest::prelude::*;

use super::{Key, WaiterCell, Waiters, poll_verdict, wake_settled};
use crate::test_alloc::allocations;

impl WaiterCell for RefCell<Waiters<u32, char>> {
    type Request = u32;
    type Verdict = char;

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<u32, char>) -> R) -> R {
        f(&mut self.borrow_mut())
    }
}

#[derive(Default)]
struct Count(AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn counting() -> (Arc<Count>, Waker) {
    let count = Arc::new(Count::default());
    (count.clone(), count.into())
}

fn noop() -> Waker {
    Waker::noop().clone()
}

#[test]
fn waiters_are_settled_in_the_order_in_which_they_came() {
    let mut waiters = Waiters::new();
    let keys: Vec<_> = (0..4).map(|i| waiters.push(i, noop())).collect();
    waiters.remove(keys[1]);
    let mut seen = Vec::new();
    while let Some(&request) = waiters.front() {
        seen.push(request);
        waiters.settle_front('x');
    }
    assert_eq!(seen, [0, 2, 3]);
    assert!(!waiters.settle_front('y'));
}

#[test]
fn a_settled_waiter_is_woken_once_and_told_once() {
    let cell = RefCell::new(Waiters::new());
    let (count, waker) = counting();
    let key = cell.borrow_mut().push(1, waker.clone());
    let context = Context::from_waker(&waker);
    assert_eq!(poll_verdict(&cell, key, &context), Poll::Pending);
    cell.borrow_mut().settle_front('x');
    wake_settled(&cell);
    wake_settled(&cell);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    assert_eq!(poll_verdict(&cell, key, &context), Poll::Ready('x'));
    assert_eq!(poll_verdict(&cell, key, &context), Poll::Pending);
    assert_eq!(Arc::strong_count(&count), 2, "only `waker` and `count`");
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_woken() {
    let cell = RefCell::new(Waiters::<u32, char>::new());
    let ((old, old_waker), (new, new_waker)) = (counting(), counting());
    let key = cell.borrow_mut().push(1, old_waker);
    let polled = poll_verdict(&cell, key, &Context::from_waker(&new_waker));
    assert_eq!(polled, Poll::Pending);
    assert_eq!(Arc::strong_count(&old), 1, "the old waker is dropped");
    cell.borrow_mut().settle_all('x');
    wake_settled(&cell);
    assert_eq!(old.0.load(Ordering::Relaxed), 0);
    assert_eq!(new.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_removed_waiter_is_not_woken_and_hands_its_verdict_back() {
    let mut waiters = Waiters::new();
    let (count, waker) = counting();
    let (queued, settled) = (waiters.push(1, waker.clone()), waiters.push(2, waker));
    let removed = waiters.remove(queued).unwrap();
    assert_eq!((removed.request, removed.verdict), (1, None));
    waiters.settle_front('x');
    let removed = waiters.remove(settled).unwrap();
    assert_eq!((removed.request, removed.verdict), (2, Some('x')));
    assert!(waiters.next_wake().is_none());
    assert_eq!(count.0.load(Ordering::Relaxed), 0);
}

proptest! {
    #![proptest_config(crate::test_cases::cases(256))]

    /// Against a `VecDeque`, whatever the order of the calls.
    #[test]
    fn behaves_as_a_queue(steps in prop::collection::vec((0..5u8, any::<prop::sample::Index>()), 1..200)) {
        let cell = RefCell::new(Waiters::new());
        let mut model: VecDeque<(u32, Key)> = VecDeque::new();
        let mut settled: Vec<Key> = Vec::new();
        let mut to_wake = 0;
        for (serial, (step, index)) in steps.into_iter().enumerate() {
            match step {
                0 | 1 => {
                    let key = cell.borrow_mut().push(serial as u32, noop());
                    model.push_back((serial as u32, key));
                }
                2 => {
                    let any = cell.borrow_mut().settle_front('x');
                    prop_assert_eq!(any, !model.is_empty());
                    if let Some((_, key)) = model.pop_front() {
                        settled.push(key);
                        to_wake += 1;
                    }
                }
                3 if !model.is_empty() => {
                    let (request, key) = model.remove(index.index(model.len())).unwrap();
                    let removed = cell.borrow_mut().remove(key).unwrap();
                    prop_assert_eq!((removed.request, removed.verdict), (request, None));
                    prop_assert!(cell.borrow_mut().remove(key).is_none());
                }
                4 => {
                    let mut woken = 0;
                    while let Some(waker) = cell.with_waiters(Waiters::next_wake) {
                        waker.wake();
                        woken += 1;
                    }
                    prop_assert_eq!(woken, to_wake);
                    to_wake = 0;
                    for key in settled.drain(..) {
                        let polled = poll_verdict(&cell, key, &Context::from_waker(Waker::noop()));
                        prop_assert_eq!(polled, Poll::Ready('x'));
                    }
                }
                _ => {}
            }
            let waiters = cell.borrow();
            prop_assert_eq!(waiters.len(), model.len());
            prop_assert_eq!(waiters.is_empty(), model.is_empty());
            prop_assert_eq!(waiters.front(), model.front().map(|(request, _)| request));
            prop_assert_eq!(waiters.registered(), model.len() + settled.len());
        }
    }
}

#[test]
fn a_warm_queue_allocates_nothing() {
    let cell = RefCell::new(Waiters::new());
    let (_count, waker) = counting();
    let context = Context::from_waker(&waker);
    let round = || {
        let keys: [Key; 8] =
            std::array::from_fn(|i| cell.borrow_mut().push(i as u32, waker.clone()));
        drop(cell.borrow_mut().remove(keys[3]));
        cell.borrow_mut().settle_all('x');
        wake_settled(&cell);
        keys.iter()
            .filter(|key| poll_verdict(&cell, **key, &context).is_ready())
            .count()
    };
    round();
    let before = allocations();
    assert_eq!(round(), 7);
    assert_eq!(allocations(), before);
}
