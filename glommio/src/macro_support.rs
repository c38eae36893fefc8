//! What the procedural macros expand to. Hidden, and no part of the public interface.

use std::{
    cell::Cell,
    future::{Future, IntoFuture, poll_fn},
    hash::{BuildHasher, RandomState},
    pin::Pin,
    task::{Context, Poll},
};

pub use glommio_macros::select as expand_select;

use crate::{executor::LocalExecutorBuilder, sys::affinity::RestoreBinding};

/// Runs the future of a function under `#[glommio::main]` or `#[glommio::test]`.
///
/// The thread is bound as before when this returns or unwinds: a test may share its thread with the
/// next one.
#[track_caller]
pub fn run<F: Future>(builder: LocalExecutorBuilder, function: &str, future: F) -> F::Output {
    let _binding = RestoreBinding::of_current_thread();
    match builder.make() {
        Ok(executor) => executor.run(future),
        Err(error) => panic!("cannot make the executor of `{function}`: {error}"),
    }
}

/// Which branch of a `select!` is polled first.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// The one that is written first.
    Biased,
    /// Any of them, anew for each poll.
    Fair,
}

/// What became of one branch when it was polled.
#[derive(Debug)]
pub enum Step<T> {
    /// It waits.
    Pending,
    /// It has nothing to wait for: its guard was false, or its output did not fit the pattern.
    Disabled,
    /// It is done.
    Selected(T),
}

/// The future of a branch.
pub fn future<F: IntoFuture>(future: F) -> F::IntoFuture {
    future.into_future()
}

/// Polls the future of a branch, which goes as soon as it is done.
pub fn poll<F: Future>(
    mut future: Pin<&mut Option<F>>,
    context: &mut Context<'_>,
) -> Step<F::Output> {
    let Some(inner) = future.as_mut().as_pin_mut() else {
        return Step::Disabled;
    };
    match inner.poll(context) {
        Poll::Pending => Step::Pending,
        Poll::Ready(output) => {
            future.set(None);
            Step::Selected(output)
        }
    }
}

/// Polls branches 0 to `count` until one is selected; `None` when all are disabled.
pub fn select<T>(
    order: Order,
    count: usize,
    mut poll_branch: impl FnMut(usize, &mut Context<'_>) -> Step<T>,
) -> impl Future<Output = Option<T>> {
    poll_fn(move |context| {
        let first = match order {
            Order::Biased => 0,
            Order::Fair => random_below(count),
        };
        let mut waits = false;
        for branch in (first..count).chain(0..first) {
            match poll_branch(branch, context) {
                Step::Selected(output) => return Poll::Ready(Some(output)),
                Step::Pending => waits = true,
                Step::Disabled => {}
            }
        }
        if waits {
            Poll::Pending
        } else {
            Poll::Ready(None)
        }
    })
}

/// # Panics
///
/// Always.
#[cold]
#[track_caller]
pub fn no_branch_left() -> ! {
    panic!(
        "all branches of select! are disabled, by their `if` or because their output did not fit \
         the pattern, and there is no `else`"
    )
}

/// # Panics
///
/// Always.
#[cold]
#[track_caller]
pub fn no_fit() -> ! {
    unreachable!("select! takes an output only after it has matched the pattern")
}

/// A number that is good enough for taking turns.
fn random_below(bound: usize) -> usize {
    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }
    let mut state = STATE.get();
    if state == 0 {
        // Different on each thread. Zero is where the generator would stay.
        state = RandomState::new().hash_one("select!") | 1;
    }
    // xorshift64 (Marsaglia, "Xorshift RNGs", 2003).
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    STATE.set(state);
    // The upper half, scaled: `bound` is at most a few dozen.
    (((state >> 32) * bound as u64) >> 32) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::block_on;

    #[test]
    fn every_branch_comes_first_about_equally_often() {
        let count = 5;
        let mut firsts = vec![0; count];
        for _ in 0..5_000 {
            let first = block_on(select(Order::Fair, count, |branch, _| {
                Step::Selected(branch)
            }));
            firsts[first.unwrap()] += 1;
        }
        // 1000 each; the deviation of that is 28.
        assert!(firsts.iter().all(|n| (800..1200).contains(n)), "{firsts:?}");
    }

    #[test]
    fn each_branch_is_polled_once_per_poll() {
        for order in [Order::Biased, Order::Fair] {
            let mut polled = Vec::new();
            let none = block_on(select::<()>(order, 64, |branch, _| {
                polled.push(branch);
                Step::Disabled
            }));
            assert!(none.is_none());
            polled.sort_unstable();
            assert_eq!(polled, (0..64).collect::<Vec<_>>());
        }
    }
}
