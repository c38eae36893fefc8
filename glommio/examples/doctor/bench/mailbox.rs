//! A number that one executor raises and another one waits for.
//!
//! Built from a plain waker, with nothing of glommio in it: what is measured with it is how the
//! runtime takes wake-ups from other threads.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

/// The value that stands for "nobody will raise this any more".
const CLOSED: u64 = u64::MAX;

#[derive(Default)]
struct Slot {
    value: AtomicU64,
    reader: AtomicWaker,
}

/// The side that raises the number. Dropping it closes the mailbox, so that a reader whose writer
/// failed does not wait for ever.
pub struct Sender(Arc<Slot>);

/// The side that waits.
pub struct Receiver(Arc<Slot>);

/// The writer is gone.
#[derive(Debug, PartialEq)]
pub struct Closed;

/// A mailbox whose number is 0.
pub fn mailbox() -> (Sender, Receiver) {
    let slot = Arc::new(Slot::default());
    (Sender(slot.clone()), Receiver(slot))
}

impl Sender {
    /// Sets the number and wakes the reader.
    pub fn raise(&self, value: u64) {
        assert_ne!(value, CLOSED);
        self.publish(value);
    }

    fn publish(&self, value: u64) {
        // Release, paired with the reader's Acquire: what happened before a message happened
        // before its receipt. `wake` comes after the store, `register` before the load, so
        // either the reader sees the value or the writer sees the waker.
        self.0.value.store(value, Ordering::Release);
        self.0.reader.wake();
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.publish(CLOSED);
    }
}

impl Receiver {
    /// Waits until the number is at least `value`. Cancel safe: nothing is consumed.
    pub async fn reaches(&self, value: u64) -> Result<(), Closed> {
        poll_fn(|context| {
            if let Some(outcome) = self.outcome(value) {
                return Poll::Ready(outcome);
            }
            self.0.reader.register(context.waker());
            self.outcome(value).map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Waits until the sender is gone.
    pub async fn closed(&self) {
        // No number but CLOSED is as high, so this cannot be Ok.
        let _ = self.reaches(CLOSED).await;
    }

    fn outcome(&self, value: u64) -> Option<Result<(), Closed>> {
        match self.0.value.load(Ordering::Acquire) {
            CLOSED => Some(Err(Closed)),
            current if current >= value => Some(Ok(())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn the_reader_waits_for_its_number() {
        let (sender, receiver) = mailbox();
        assert_eq!(block_on(poll_once(receiver.reaches(2))), None);
        sender.raise(1);
        assert_eq!(block_on(poll_once(receiver.reaches(2))), None);
        sender.raise(2);
        assert_eq!(block_on(poll_once(receiver.reaches(2))), Some(Ok(())));
    }

    #[test]
    fn a_writer_that_is_gone_ends_the_wait() {
        let (sender, receiver) = mailbox();
        sender.raise(7);
        drop(sender);
        assert_eq!(block_on(receiver.reaches(8)), Err(Closed));
        block_on(receiver.closed());
    }

    #[test]
    fn numbers_cross_threads_both_ways() {
        const ROUNDS: u64 = 10_000;
        let (ping, pinged) = mailbox();
        let (pong, ponged) = mailbox();
        let echo = std::thread::spawn(move || {
            for round in 1.. {
                if block_on(pinged.reaches(round)).is_err() {
                    return round;
                }
                pong.raise(round);
            }
            unreachable!("the mailbox closes before the numbers run out");
        });
        for round in 1..=ROUNDS {
            ping.raise(round);
            block_on(ponged.reaches(round)).unwrap();
        }
        drop(ping);
        assert_eq!(echo.join().unwrap(), ROUNDS + 1);
    }
}
