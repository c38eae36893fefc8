//! Numbers that two threads raise for each other: the ping-pong of every runtime.
//!
//! Built from a plain waker, with nothing of any runtime in it: what is measured with it is how a
//! runtime takes wake-ups from another thread.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

#[derive(Default)]
struct Slot {
    value: AtomicU64,
    reader: AtomicWaker,
}

impl Slot {
    fn raise(&self, value: u64) {
        // `wake` comes after the store, `register` before the load: either the reader sees the value
        // or the writer sees the waker.
        self.value.store(value, Ordering::Release);
        self.reader.wake();
    }

    async fn reaches(&self, value: u64) {
        poll_fn(|context| {
            if self.value.load(Ordering::Acquire) >= value {
                return Poll::Ready(());
            }
            self.reader.register(context.waker());
            if self.value.load(Ordering::Acquire) >= value {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// One end of an exchange.
pub struct End {
    mine: Arc<Slot>,
    peer: Arc<Slot>,
}

/// Both ends.
pub fn pair() -> (End, End) {
    let (a, b) = (Arc::new(Slot::default()), Arc::new(Slot::default()));
    let first = End {
        mine: a.clone(),
        peer: b.clone(),
    };
    (first, End { mine: b, peer: a })
}

impl End {
    /// Sends the numbers from `from` (inclusive) to `to` (exclusive), each after the answer to the one
    /// before.
    pub async fn ping(&self, from: u64, to: u64) {
        for i in from..to {
            self.peer.raise(i);
            self.mine.reaches(i).await;
        }
    }

    /// Answers the numbers from `from` (inclusive) to `to` (exclusive).
    pub async fn pong(&self, from: u64, to: u64) {
        for i in from..to {
            self.mine.reaches(i).await;
            self.peer.raise(i);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn numbers_cross_threads_both_ways() {
        let (ping, pong) = pair();
        let answering = std::thread::spawn(move || block_on(pong.pong(1, 1000)));
        block_on(ping.ping(1, 1000));
        answering.join().unwrap();
    }
}
