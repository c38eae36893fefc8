//! Model of the SPSC queue: its source file, compiled against loom's primitives, in every
//! interleaving and with every value that the memory model lets a load return.

/// Stands in for `channels/atomic.rs`.
mod atomic {
    pub(super) use loom::{
        cell::UnsafeCell,
        sync::{
            Arc,
            atomic::{AtomicBool, AtomicUsize, Ordering},
        },
    };
}

#[allow(dead_code)]
#[path = "../src/channels/spsc_queue.rs"]
mod spsc_queue;

use loom::thread;
use spsc_queue::{Consumer, Producer, make, make_at};
use std::sync::Arc;

/// Tries to push `0..attempts` and returns what was accepted.
fn push_some(producer: &Producer<Box<u32>>, attempts: u32) -> Vec<u32> {
    (0..attempts)
        .filter(|&i| producer.try_push(Box::new(i)).is_none())
        .collect()
}

fn pop_some(consumer: &Consumer<Box<u32>>, attempts: u32) -> Vec<u32> {
    (0..attempts)
        .filter_map(|_| consumer.try_pop())
        .map(|item| *item)
        .collect()
}

/// Races attempts of both halves; afterwards the queue's rest completes the sequence.
fn race(start: usize, capacity: usize, pushes: u32, pops: u32) {
    loom::model(move || {
        let (producer, consumer) = make_at(start, capacity);
        let pushing = thread::spawn(move || push_some(&producer, pushes));
        let mut popped = pop_some(&consumer, pops);
        let pushed = pushing.join().unwrap();
        assert!(pushed.len() >= capacity.min(pushes as usize));
        assert!(consumer.producer_disconnected());
        popped.extend(pop_some(&consumer, capacity as u32 + 1));
        assert_eq!(popped, pushed);
    });
}

#[test]
fn racing_at_capacity_one_keeps_order_and_loses_nothing() {
    race(0, 1, 3, 3);
}

#[test]
fn racing_at_capacity_two_keeps_order_and_loses_nothing() {
    race(0, 2, 4, 3);
}

#[test]
fn a_capacity_below_the_number_of_slots_is_a_bound() {
    race(0, 3, 5, 3);
}

#[test]
fn positions_may_wrap_around() {
    race(usize::MAX, 1, 3, 3);
    race(usize::MAX - 1, 2, 4, 3);
}

#[test]
fn every_item_of_a_waiting_producer_arrives_once_and_in_order() {
    loom::model(|| {
        let (producer, consumer) = make(1);
        let pushing = thread::spawn(move || {
            for i in 0..3 {
                let mut item = Box::new(i);
                while let Some(back) = producer.try_push(item) {
                    item = back;
                    thread::yield_now();
                }
            }
        });
        for i in 0..3 {
            let item = loop {
                match consumer.try_pop() {
                    Some(item) => break item,
                    None => thread::yield_now(),
                }
            };
            assert_eq!(*item, i);
        }
        pushing.join().unwrap();
        assert_eq!(consumer.try_pop(), None);
    });
}

#[test]
fn free_space_is_never_overestimated() {
    loom::model(|| {
        let (producer, consumer) = make(2);
        assert_eq!(push_some(&producer, 2).len(), 2);
        let popping = thread::spawn(move || {
            pop_some(&consumer, 2);
            consumer
        });
        let free = producer.free_space();
        for i in 0..free {
            assert_eq!(producer.try_push(Box::new(i as u32)), None);
        }
        drop(popping.join().unwrap());
        assert_eq!(producer.free_space(), 2 - free);
    });
}

#[test]
fn an_empty_queue_whose_producer_is_gone_stays_empty() {
    loom::model(|| {
        let (producer, consumer) = make(2);
        let pushing = thread::spawn(move || {
            push_some(&producer, 2);
            assert!(!producer.disconnect());
            assert!(producer.disconnect());
            assert!(producer.try_push(Box::new(9)).is_some());
        });
        let early = pop_some(&consumer, 1).len();
        if consumer.producer_disconnected() {
            assert_eq!(early + pop_some(&consumer, 3).len(), 2);
        }
        pushing.join().unwrap();
    });
}

#[test]
fn a_producer_notices_that_the_consumer_is_gone() {
    loom::model(|| {
        let (producer, consumer) = make(2);
        let popping = thread::spawn(move || {
            let popped = pop_some(&consumer, 1).len();
            drop(consumer);
            popped
        });
        let pushed = push_some(&producer, 1).len();
        if producer.consumer_disconnected() {
            assert!(producer.try_push(Box::new(7)).is_some());
            let free = producer.free_space();
            assert_eq!(free, 2 - pushed + popping.join().unwrap());
        } else {
            popping.join().unwrap();
            assert!(producer.consumer_disconnected());
        }
    });
}

#[test]
fn items_left_behind_are_dropped_once_whichever_half_goes_last() {
    loom::model(|| {
        let item = Arc::new(());
        let (producer, consumer) = make(2);
        let moved = item.clone();
        let pushing = thread::spawn(move || {
            for _ in 0..3 {
                producer.try_push(moved.clone());
            }
        });
        drop(consumer.try_pop());
        drop(consumer);
        pushing.join().unwrap();
        assert_eq!(Arc::strong_count(&item), 1);
    });
}

#[test]
fn batches_keep_order_and_lose_nothing() {
    for (start, capacity) in [(0, 2), (usize::MAX, 3)] {
        loom::model(move || {
            let (mut producer, mut consumer) = make_at(start, capacity);
            let pushing = thread::spawn(move || {
                let mut numbers = (0..5_u32).map(Box::new);
                let first = producer.try_push_batch(&mut numbers);
                assert_eq!(first, capacity);
                first + producer.try_push_batch(&mut numbers)
            });
            let mut popped = Vec::new();
            let first = consumer.try_pop_batch(&mut popped, 1);
            assert_eq!(popped.len(), first);
            consumer.try_pop_batch(&mut popped, usize::MAX);
            let pushed = pushing.join().unwrap();
            consumer.try_pop_batch(&mut popped, usize::MAX);
            assert_eq!(popped.len(), pushed);
            assert!(popped.iter().map(|item| **item).eq(0..pushed as u32));
            assert!(consumer.producer_disconnected());
        });
    }
}

#[test]
fn a_batch_is_seen_as_a_whole() {
    loom::model(|| {
        let (mut producer, mut consumer) = make(4);
        let pushing = thread::spawn(move || {
            assert_eq!(producer.try_push_batch(&mut (0..3_u32).map(Box::new)), 3);
        });
        let mut popped = Vec::new();
        let seen = consumer.try_pop_batch(&mut popped, usize::MAX);
        assert!(seen == 0 || seen == 3, "{seen}");
        pushing.join().unwrap();
    });
}
