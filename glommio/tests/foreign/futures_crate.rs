//! The combinators of `futures` over glommio's own futures.

use std::time::{Duration, Instant};

use futures::{
    FutureExt, StreamExt, channel::oneshot, future, pin_mut, select, stream::FuturesUnordered,
};
use glommio::{executor, spawn_local, timer::Timer};

use crate::Host;

fn on_an_executor<T: Send + 'static, F: Future<Output = T> + 'static>(
    make: impl FnOnce() -> F + Send + 'static,
) -> T {
    Host::Glommio.run(make).join().expect("no assertion fails")
}

#[test]
fn futures_unordered_drives_tasks_timers_and_answers_of_other_executors() {
    on_an_executor(|| async {
        let mut all = FuturesUnordered::new();
        let mut peers = Vec::new();
        for number in 0..300_u64 {
            all.push(match number % 3 {
                0 => spawn_local(async move {
                    executor().yield_now().await;
                    number
                })
                .boxed_local(),
                1 => async move {
                    Timer::new(Duration::from_micros(number * 10)).await;
                    number
                }
                .boxed_local(),
                _ => {
                    let (answer, question) = oneshot::channel();
                    peers.push((answer, number));
                    async move { question.await.unwrap() }.boxed_local()
                }
            });
        }
        let peer = Host::Glommio.run(move || async move {
            for (answer, number) in peers {
                answer.send(number).unwrap();
                executor().yield_now().await;
            }
        });
        let mut seen = Vec::new();
        while let Some(number) = all.next().await {
            seen.push(number);
        }
        seen.sort_unstable();
        assert!(seen.into_iter().eq(0..300));
        peer.join().unwrap();
    });
}

#[test]
fn join_all_waits_for_tasks_of_every_length() {
    let sum = on_an_executor(|| async {
        let tasks = (0..1_000_u64).map(|number| {
            spawn_local(async move {
                for _ in 0..number % 7 {
                    executor().yield_now().await;
                }
                number
            })
        });
        let numbers = future::join_all(tasks).await;
        numbers.into_iter().sum::<u64>()
    });
    assert_eq!(sum, (0..1_000).sum::<u64>());
}

#[test]
fn select_takes_the_first_and_what_lost_can_go_on() {
    on_an_executor(|| async {
        let (answer, question) = oneshot::channel::<u32>();
        let mut question = question.fuse();
        let timer = Timer::new(Duration::from_millis(2)).fuse();
        pin_mut!(timer);
        let timed_out = select! {
            _ = timer => true,
            _ = question => false,
        };
        assert!(timed_out);
        let peer = Host::Thread.run(move || async move { answer.send(5).unwrap() });
        let answer = select! {
            answer = question => answer.unwrap(),
            _ = Timer::new(Duration::from_secs(3600)).fuse() => 0,
        };
        assert_eq!(answer, 5);
        peer.join().unwrap();
    });
}

#[test]
fn a_lost_select_arm_cancels_its_task() {
    on_an_executor(|| async {
        let (alive, mut gone) = oneshot::channel::<()>();
        let task = spawn_local(async move {
            let _alive = alive;
            future::pending::<()>().await;
        });
        future::select(task, Box::pin(executor().yield_now())).await;
        // The task was dropped with the losing arm; its future goes at its next turn.
        let start = Instant::now();
        while gone.try_recv() == Ok(None) {
            executor().yield_now().await;
            assert!(start.elapsed() < Duration::from_secs(10), "still alive");
        }
    });
}

#[test]
fn a_shared_future_wakes_waiters_on_several_executors() {
    let (answer, question) = oneshot::channel::<u32>();
    let question = question.map(Result::unwrap).shared();
    let waiters: Vec<_> = [Host::Glommio, Host::Glommio, Host::Thread, Host::Tokio]
        .into_iter()
        .map(|host| {
            let question = question.clone();
            host.run(move || question)
        })
        .collect();
    let answering = Host::Glommio.run(move || async move {
        Timer::new(Duration::from_millis(5)).await;
        answer.send(9).unwrap();
    });
    for waiter in waiters {
        assert_eq!(waiter.join(), Some(9));
    }
    answering.join().unwrap();
}

#[test]
fn an_executor_that_dies_cancels_its_oneshots() {
    let (answer, question) = oneshot::channel::<u32>();
    let dying = Host::Glommio.run(move || async move {
        spawn_local(async move {
            let _answer = answer;
            future::pending::<()>().await;
        })
        .detach();
        executor().yield_now().await;
    });
    let waiting = Host::Glommio.run(move || question);
    dying.join().unwrap();
    assert_eq!(waiting.join(), Some(Err(oneshot::Canceled)));
}
