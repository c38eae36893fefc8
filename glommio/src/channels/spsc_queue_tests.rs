//! Tests of [`super::spsc_queue`]: apart from it, because the model in `tests/loom_spsc.rs` compiles
//! that file with primitives which work inside a model only.

use super::spsc_queue::{Consumer, Producer, make, make_at};
use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

#[test]
fn items_come_out_in_order_until_the_queue_is_empty() {
    let (producer, consumer) = make(4);
    assert_eq!(consumer.try_pop(), None);
    for round in 0..10 {
        for i in 0..4 {
            assert_eq!(producer.try_push(round * 4 + i), None);
        }
        for i in 0..4 {
            assert_eq!(consumer.try_pop(), Some(round * 4 + i));
        }
        assert_eq!(consumer.try_pop(), None);
    }
}

#[test]
fn the_capacity_is_exact() {
    for capacity in 0..=9 {
        let (producer, consumer) = make(capacity);
        for i in 0..capacity {
            assert_eq!(producer.free_space(), capacity - i);
            assert_eq!(producer.try_push(i), None);
        }
        assert_eq!(producer.free_space(), 0);
        assert_eq!(producer.try_push(77), Some(77));
        if capacity > 0 {
            assert_eq!(consumer.try_pop(), Some(0));
            assert_eq!(producer.free_space(), 1);
            assert_eq!(producer.try_push(capacity), None);
        }
        assert_eq!(producer.try_push(78), Some(78));
        assert!((1..=capacity).all(|i| consumer.try_pop() == Some(i)));
        assert_eq!(consumer.try_pop(), None);
    }
}

#[test]
#[should_panic(expected = "capacity")]
fn an_impossible_capacity_panics() {
    let _ = make::<u64>(usize::MAX);
}

#[test]
fn positions_wrap_around() {
    let (producer, consumer) = make_at(usize::MAX - 2, 3);
    for i in 0..12 {
        assert_eq!(producer.try_push(i), None);
        assert_eq!(producer.try_push(i), None);
        assert_eq!(producer.free_space(), 1);
        assert_eq!(consumer.try_pop(), Some(i));
        assert_eq!(consumer.try_pop(), Some(i));
        assert_eq!(producer.free_space(), 3);
    }
}

#[test]
fn items_of_size_zero_are_counted() {
    let (producer, consumer) = make(3);
    assert!((0..3).all(|_| producer.try_push(()).is_none()));
    assert_eq!(producer.try_push(()), Some(()));
    assert!((0..3).all(|_| consumer.try_pop().is_some()));
    assert_eq!(consumer.try_pop(), None);
}

#[test]
fn a_disconnected_queue_takes_nothing_but_gives_out_what_it_has() {
    let (producer, consumer) = make(4);
    assert!(producer.try_push(1).is_none());
    assert!(!producer.disconnect());
    assert!(producer.disconnect(), "disconnected before");
    assert_eq!(producer.try_push(2), Some(2));
    assert!(consumer.producer_disconnected());
    assert_eq!(consumer.try_pop(), Some(1));
    assert_eq!(consumer.try_pop(), None);

    let (producer, consumer) = make(4);
    assert!(producer.try_push(1).is_none());
    assert!(!producer.consumer_disconnected());
    assert!(!consumer.disconnect());
    assert!(consumer.disconnect(), "disconnected before");
    assert!(producer.consumer_disconnected());
    assert_eq!(producer.try_push(2), Some(2));
    assert_eq!(consumer.try_pop(), Some(1));
}

#[test]
fn dropping_a_half_disconnects_it() {
    let (producer, consumer) = make::<u8>(1);
    drop(producer);
    assert!(consumer.producer_disconnected());
    let (producer, consumer) = make(1);
    drop(consumer);
    assert!(producer.consumer_disconnected());
    assert_eq!(producer.try_push(1), Some(1));
}

#[test]
fn items_left_behind_are_dropped_with_the_later_half() {
    let item = Rc::new(());
    let (producer, consumer) = make(8);
    for _ in 0..5 {
        assert!(producer.try_push(item.clone()).is_none());
    }
    drop(consumer.try_pop());
    drop(consumer);
    assert_eq!(Rc::strong_count(&item), 5);
    drop(producer);
    assert_eq!(Rc::strong_count(&item), 1);
}

/// Counts its drops and panics in some of them.
struct Bomb<'a> {
    drops: &'a Cell<usize>,
    explodes: bool,
}

impl Drop for Bomb<'_> {
    fn drop(&mut self) {
        self.drops.set(self.drops.get() + 1);
        assert!(!self.explodes, "bomb {}", self.drops.get());
    }
}

#[test]
fn panics_in_destructors_neither_lose_nor_repeat_a_drop() {
    let drops = Cell::new(0);
    let (producer, consumer) = make(8);
    for i in 0..6 {
        let explodes = i % 2 == 1;
        let drops = &drops;
        assert!(producer.try_push(Bomb { drops, explodes }).is_none());
    }
    drop(producer);
    let panic = catch_unwind(AssertUnwindSafe(|| drop(consumer))).unwrap_err();
    assert_eq!(drops.get(), 6);
    assert_eq!(
        panic.downcast_ref::<String>().unwrap(),
        "bomb 2",
        "the first panic goes on"
    );
}

#[test]
fn panics_in_destructors_while_unwinding_do_not_abort() {
    let drops = Cell::new(0);
    let unwinding = catch_unwind(AssertUnwindSafe(|| {
        let (producer, _consumer) = make(2);
        for _ in 0..2 {
            let explodes = true;
            let drops = &drops;
            assert!(producer.try_push(Bomb { drops, explodes }).is_none());
        }
        panic!("the original panic");
    }));
    assert_eq!(drops.get(), 2);
    let panic = unwinding.unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the original panic"));
}

#[test]
fn halves_of_sendable_items_are_send() {
    fn assert_send<T: Send>() {}
    assert_send::<Producer<Cell<u8>>>();
    assert_send::<Consumer<Cell<u8>>>();
}

#[test]
fn a_batch_stops_at_the_capacity_and_at_the_end_of_the_iterator() {
    let (mut producer, mut consumer) = make(3);
    let mut numbers = 0..7;
    assert_eq!(producer.try_push_batch(&mut numbers), 3);
    assert_eq!(producer.try_push_batch(&mut numbers), 0);
    let mut popped = Vec::new();
    assert_eq!(consumer.try_pop_batch(&mut popped, 2), 2);
    assert_eq!(producer.try_push_batch(&mut numbers), 2);
    assert_eq!(consumer.try_pop_batch(&mut popped, 10), 3);
    assert_eq!(producer.try_push_batch(&mut numbers), 2);
    assert_eq!(consumer.try_pop_batch(&mut popped, 0), 0);
    assert_eq!(consumer.try_pop_batch(&mut popped, 10), 2);
    assert_eq!(consumer.try_pop_batch(&mut popped, 10), 0);
    assert_eq!(popped, [0, 1, 2, 3, 4, 5, 6]);

    consumer.disconnect();
    let mut more = 0..1;
    assert_eq!(producer.try_push_batch(&mut more), 0);
    assert_eq!(more, 0..1, "what is not pushed stays in the iterator");
}

#[test]
fn what_a_panicking_iterator_yielded_before_is_pushed() {
    let (mut producer, consumer) = make(8);
    let mut items = (0..4).inspect(|&number| assert!(number < 2, "the iterator panics"));
    let pushing = AssertUnwindSafe(|| producer.try_push_batch(&mut items));
    assert!(catch_unwind(pushing).is_err());
    assert_eq!(consumer.try_pop(), Some(0));
    assert_eq!(consumer.try_pop(), Some(1));
    assert_eq!(consumer.try_pop(), None);
    assert_eq!(producer.free_space(), 8);
}

#[test]
fn a_collection_that_takes_only_some_of_a_batch_leaves_the_rest() {
    struct First(Option<u32>);

    impl Extend<u32> for First {
        fn extend<I: IntoIterator<Item = u32>>(&mut self, items: I) {
            self.0 = items.into_iter().next();
        }
    }

    let (mut producer, mut consumer) = make(8);
    assert_eq!(producer.try_push_batch(&mut (0..3)), 3);
    let mut first = First(None);
    assert_eq!(consumer.try_pop_batch(&mut first, 8), 1);
    assert_eq!(first.0, Some(0));
    assert_eq!(producer.free_space(), 6);
    assert_eq!(consumer.try_pop(), Some(1));
}

/// Passes so many boxes from thread to thread, or as many as go in ten seconds: where others compute, a
/// thread that gives way may have to wait for each of them.
fn stress(capacity: usize, count: u64) {
    let (producer, consumer) = make(capacity);
    let pushing = thread::spawn(move || {
        let start = Instant::now();
        for i in 0..count {
            if start.elapsed() > Duration::from_secs(10) {
                return i;
            }
            let mut item = Box::new(i);
            while let Some(back) = producer.try_push(item) {
                item = back;
                thread::yield_now();
            }
        }
        count
    });
    let mut expected = 0;
    loop {
        let last = consumer.producer_disconnected();
        match consumer.try_pop() {
            Some(item) => {
                assert_eq!(*item, expected);
                expected += 1;
            }
            None if last => break,
            None => thread::yield_now(),
        }
    }
    assert_eq!(expected, pushing.join().unwrap());
}

#[test]
fn a_million_items_cross_threads_in_order_and_once() {
    stress(100, if cfg!(miri) { 1_000 } else { 1_000_000 });
}

#[test]
fn items_squeeze_through_capacity_one() {
    stress(1, if cfg!(miri) { 100 } else { 20_000 });
}
