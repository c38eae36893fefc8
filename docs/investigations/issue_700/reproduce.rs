//! DataDog/glommio#700: heap corruption through cloned halves of the SPSC queue.
//!
//! Runs as the test `issue_700` of the crate. See README.md next to this file.

#[path = "../measure.rs"]
mod measure;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{
            AtomicUsize,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use glommio::channels::spsc_queue::{self, Consumer, Producer};
use measure::Held;

/// One test at a time: they count the heap of the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `scenario` and demands that it leaves no item behind. The harness allocates a little for each
/// of its tests; `items` must be many more.
fn leaves_nothing_behind(scenario: impl Fn()) {
    let _alone = alone();
    const SLACK_BLOCKS: i64 = 40;
    scenario();
    let before = Held::now();
    scenario();
    let is_flat = |held: &Held| held.heap_blocks <= before.heap_blocks + SLACK_BLOCKS;
    let after = Held::settled(is_flat);
    assert!(is_flat(&after), "{before}\n{after}");
}

/// What the report sent: strings, which live on the heap. The text tells whether it arrived intact.
fn text(number: usize) -> String {
    format!("message number {number}, long enough for an allocation")
}

fn number(text: &str) -> usize {
    let number = text.trim_start_matches("message number ");
    let number = number
        .split(',')
        .next()
        .and_then(|number| number.parse().ok());
    let number = number.unwrap_or_else(|| panic!("mangled: {text}"));
    assert_eq!(text, self::text(number), "mangled");
    number
}

/// How long a scenario goes on, with fewer strings if it must: where others compute, a thread that gives
/// way may have to wait for each of them.
const LONG_ENOUGH: Duration = Duration::from_secs(5);

/// Pushes so many, or as many as it can; how many?
fn push_all(producer: &Producer<String>, strings: usize) -> usize {
    let start = Instant::now();
    for number in 0..strings {
        if start.elapsed() > LONG_ENOUGH {
            return number;
        }
        let mut item = text(number);
        while let Some(back) = producer.try_push(item) {
            item = back;
            thread::yield_now();
        }
    }
    strings
}

#[test]
fn the_nearest_program_that_compiles_loses_and_repeats_nothing() {
    const STRINGS: usize = 100_000;
    leaves_nothing_behind(|| {
        let (producer, consumer) = spsc_queue::make::<String>(4096);
        let (producer, consumer) = (Mutex::new(producer), Mutex::new(consumer));
        let (next, pushing) = (AtomicUsize::new(0), AtomicUsize::new(2));
        let start = Instant::now();
        let mut seen: Vec<usize> = thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while start.elapsed() < LONG_ENOUGH {
                        let number = next.fetch_add(1, Relaxed);
                        if number >= STRINGS {
                            break;
                        }
                        let mut item = text(number);
                        while let Some(back) = producer.lock().unwrap().try_push(item) {
                            item = back;
                            thread::yield_now();
                        }
                    }
                    pushing.fetch_sub(1, Release);
                });
            }
            let consumers: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut seen = Vec::new();
                        loop {
                            let last = pushing.load(Acquire) == 0;
                            let popped = consumer.lock().unwrap().try_pop();
                            match popped {
                                Some(text) => seen.push(number(&text)),
                                None if last => return seen,
                                None => thread::yield_now(),
                            }
                        }
                    })
                })
                .collect();
            let seen = consumers.into_iter().map(|seen| seen.join().unwrap());
            seen.flatten().collect()
        });
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..next.load(Relaxed).min(STRINGS)));
    });
}

fn pass(capacity: usize, strings: usize) {
    let (producer, consumer) = spsc_queue::make(capacity);
    let pushing = thread::spawn(move || push_all(&producer, strings));
    let mut popped = 0;
    loop {
        let last = consumer.producer_disconnected();
        match consumer.try_pop() {
            Some(text) => {
                assert_eq!(number(&text), popped);
                popped += 1;
            }
            None if last => break,
            None => thread::yield_now(),
        }
    }
    assert_eq!(popped, pushing.join().unwrap());
}

#[test]
fn one_producer_and_one_consumer_lose_and_repeat_nothing() {
    for (capacity, strings) in [(1, 10_000), (7, 50_000), (4096, 200_000)] {
        leaves_nothing_behind(|| pass(capacity, strings));
    }
}

#[test]
fn batches_lose_and_repeat_nothing() {
    const STRINGS: usize = 100_000;
    leaves_nothing_behind(|| {
        let (mut producer, mut consumer) = spsc_queue::make(100);
        let pushing = thread::spawn(move || {
            let start = Instant::now();
            let in_time = |_: &usize| start.elapsed() < LONG_ENOUGH;
            let mut items = (0..STRINGS).take_while(in_time).map(text).peekable();
            while items.peek().is_some() {
                if producer.try_push_batch(&mut items) == 0 {
                    thread::yield_now();
                }
            }
        });
        let mut received = Vec::new();
        loop {
            let last = consumer.producer_disconnected();
            if consumer.try_pop_batch(&mut received, 64) > 0 {
                continue;
            }
            if last {
                break;
            }
            thread::yield_now();
        }
        let numbers = received.iter().map(|text| number(text));
        assert!(numbers.eq(0..received.len()) && !received.is_empty());
        pushing.join().unwrap();
    });
}

#[test]
fn strings_left_in_the_queue_are_dropped_once_whoever_goes_first() {
    let abandon = |consumer_first: bool| {
        let (producer, consumer): (Producer<String>, Consumer<String>) = spsc_queue::make(1024);
        let popped = Arc::new(AtomicUsize::new(0));
        let theirs = popped.clone();
        let consuming = thread::spawn(move || {
            while !consumer.producer_disconnected() {
                if consumer.try_pop().is_some()
                    && theirs.fetch_add(1, Relaxed) > 300
                    && consumer_first
                {
                    return;
                }
            }
        });
        for number in 0..20_000 {
            if producer.consumer_disconnected() {
                break;
            }
            producer.try_push(text(number));
        }
        drop(producer);
        consuming.join().unwrap();
    };
    leaves_nothing_behind(|| {
        for _ in 0..20 {
            abandon(true);
            abandon(false);
        }
    });
}
