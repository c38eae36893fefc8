//! Timers by hand: an ordered map, and the ring's own wait as the only kernel timer.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::tasks::ReadyQueue;
use crate::raw::Ring;
use crate::{Sample, Stopwatch};

#[derive(Default)]
struct Timers {
    // Keyed by deadline, then by a number that makes the key unique.
    armed: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl Timers {
    fn arm(&mut self, delay: Duration, waker: Waker) -> (Instant, u64) {
        let key = (Instant::now() + delay, self.next);
        self.next += 1;
        self.armed.insert(key, waker);
        key
    }

    fn fire(&mut self, now: Instant) {
        while let Some(first) = self.armed.first_entry() {
            if first.key().0 > now {
                return;
            }
            first.remove().wake();
        }
    }
}

/// Arms a timer a second away and cancels it, `n` times.
pub fn arm_and_cancel(n: u64) -> Sample {
    let mut timers = Timers::default();
    let waker = Waker::noop();
    let watch = Stopwatch::start();
    for _ in 0..n {
        let key = timers.arm(Duration::from_secs(1), waker.clone());
        assert!(timers.armed.remove(&key).is_some());
    }
    watch.stop(n)
}

/// Runs `n` tasks that each sleep once, for the times that [`Workload::Sleeps`] prescribes.
///
/// [`Workload::Sleeps`]: crate::Workload::Sleeps
///
/// # Errors
///
/// If the ring cannot be set up or entered.
pub fn sleeps(n: u64) -> io::Result<Sample> {
    let mut ring = Ring::new(8)?;
    let timers = Rc::new(RefCell::new(Timers::default()));
    let mut queue = ReadyQueue::new();

    let watch = Stopwatch::start();
    for i in 0..n {
        let timers = timers.clone();
        queue.spawn(async move {
            let delay = crate::workload::sleep_of(i);
            let begin = Instant::now();
            let mut key = None;
            future::poll_fn(|cx| {
                let mut timers = timers.borrow_mut();
                match key {
                    None => {
                        key = Some(timers.arm(delay, cx.waker().clone()));
                        Poll::Pending
                    }
                    Some(key) if timers.armed.contains_key(&key) => Poll::Pending,
                    Some(_) => Poll::Ready(()),
                }
            })
            .await;
            assert!(
                begin.elapsed() >= delay,
                "a sleep ends no earlier than asked"
            );
        });
    }
    queue.run();
    while !queue.is_empty() {
        let now = Instant::now();
        let first = timers
            .borrow()
            .armed
            .first_key_value()
            .map(|(key, _)| key.0);
        let first = first.expect("every task that is left sleeps");
        if let Some(wait) = first
            .checked_duration_since(now)
            .filter(|wait| !wait.is_zero())
        {
            ring.enter_for(wait)?;
        }
        timers.borrow_mut().fire(Instant::now());
        queue.run();
    }
    Ok(watch.stop(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn concurrent_sleeps_take_as_long_as_the_longest() {
        let sample = sleeps(100).unwrap();
        assert_eq!(sample.ops, 100);
        assert!(sample.wall >= Duration::from_millis(50));
    }

    #[test]
    fn arming_and_cancelling_leaves_nothing() {
        assert_eq!(arm_and_cancel(1000).ops, 1000);
    }
}
