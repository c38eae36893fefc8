//! Giving up on futures.

use std::{
    cell::{Cell, RefCell},
    future::{Future, pending, poll_fn, ready},
    io::ErrorKind,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use glommio::{
    GlommioError, LocalExecutor, executor, future,
    timer::{sleep, timeout, try_timeout},
};

use super::{HOUR, MS, Woken};

type Outcome<T> = glommio::Result<T, ()>;

#[test]
fn a_future_in_time_gives_its_output_or_its_own_error() {
    LocalExecutor::default().run(async {
        let slow_but_in_time = async {
            sleep(MS).await;
            7
        };
        assert_eq!(future::timeout(HOUR, slow_but_in_time).await.unwrap(), 7);
        assert_eq!(timeout(HOUR, ready(Outcome::Ok(7))).await.unwrap(), 7);
        let own = || {
            ready(Outcome::<()>::Err(GlommioError::WouldBlock(
                glommio::ResourceType::Gate,
            )))
        };
        for error in [timeout(HOUR, own()).await, try_timeout(HOUR, own()).await] {
            assert!(matches!(error, Err(GlommioError::WouldBlock(_))));
        }
    });
}

#[test]
fn a_future_that_takes_too_long_ends_in_timed_out_with_the_duration() {
    LocalExecutor::default().run(async {
        let start = Instant::now();
        let results = [
            timeout(MS * 3, pending::<Outcome<()>>()).await,
            try_timeout(MS * 3, pending::<Outcome<()>>()).await,
            future::timeout(MS * 3, pending::<()>()).await,
        ];
        assert!(start.elapsed() >= MS * 9);
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.to_string(), "Operation timed out after 3ms");
            assert!(matches!(error, GlommioError::TimedOut(after) if after == MS * 3));
            assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
        }
    });
}

/// Notes in a list that it was dropped.
struct Noted(Rc<RefCell<Vec<&'static str>>>);

impl Drop for Noted {
    fn drop(&mut self) {
        self.0.borrow_mut().push("dropped");
    }
}

#[test]
fn the_future_is_dropped_before_the_error_comes_back() {
    LocalExecutor::default().run(async {
        let log = Rc::new(RefCell::new(Vec::new()));
        for wait in [Duration::ZERO, MS] {
            let noted = Noted(log.clone());
            let inner = async move {
                let _noted = noted;
                pending::<()>().await;
            };
            let mut whole = pin!(future::timeout(wait, inner));
            // Whoever sees the error in a poll sees that the future is gone, though the
            // timeout itself is still there.
            let error = poll_fn(|context| {
                let polled = whole.as_mut().poll(context);
                assert_eq!(polled.is_ready(), !log.borrow().is_empty());
                polled
            });
            assert!(error.await.is_err());
            assert_eq!(log.borrow_mut().drain(..).count(), 1);
        }
    });
}

#[test]
fn a_future_is_polled_first_even_if_there_is_no_time_at_all() {
    LocalExecutor::default().run(async {
        let zero = Duration::ZERO;
        assert_eq!(future::timeout(zero, ready(7)).await.unwrap(), 7);
        let polls = Cell::new(0);
        let counted = poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::<()>::Pending
        });
        let (woken, waker) = Woken::new();
        let mut whole = pin!(future::timeout(zero, counted));
        let polled = whole.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(matches!(polled, Poll::Ready(Err(GlommioError::TimedOut(after))) if after == zero));
        assert_eq!((polls.get(), woken.times()), (1, 0));
        // One that is ready at the same time as its timeout has won.
        let both = future::timeout(MS, async { std::thread::sleep(MS * 3) });
        assert!(both.await.is_ok());
    });
}

#[test]
fn a_future_that_never_stops_being_woken_is_given_up_all_the_same() {
    LocalExecutor::default().run(async {
        let restless = async {
            loop {
                executor().yield_now().await;
            }
        };
        let start = Instant::now();
        assert!(future::timeout(MS * 3, restless).await.is_err());
        assert!(start.elapsed() >= MS * 3);
    });
}

#[test]
fn g67_a_timeout_that_was_not_needed_does_not_hit_the_next_one() {
    LocalExecutor::default().run(async {
        for _ in 0..50 {
            // Abandoned while it is armed, in either way.
            assert!(
                future::timeout(MS * 2, executor().yield_now())
                    .await
                    .is_ok()
            );
            let abandoned = future::timeout(MS, pending::<()>());
            let _ = futures_lite::future::poll_once(abandoned).await;
            let start = Instant::now();
            let next = future::timeout(MS * 4, pending::<()>()).await;
            assert!(next.is_err() && start.elapsed() >= MS * 4);
        }
    });
}

#[test]
fn timeouts_nest_and_the_shorter_one_wins() {
    LocalExecutor::default().run(async {
        let never = || future::timeout(HOUR, pending::<()>());
        let outer = future::timeout(MS, never()).await;
        assert!(matches!(outer, Err(GlommioError::TimedOut(after)) if after == MS));
        let inner = future::timeout(HOUR, future::timeout(MS, pending::<()>())).await;
        assert!(matches!(inner, Ok(Err(GlommioError::TimedOut(after))) if after == MS));
    });
}
