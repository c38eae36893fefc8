//! Shared channels that work as they should.

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use futures_lite::future::{self, block_on};
use glommio::{
    GlommioError, Latency, LocalExecutor, ResourceType, Shares,
    channels::shared_channel::{self, ConnectedReceiver, ConnectedSender},
    executor, spawn_local, spawn_local_into,
    timer::sleep,
    yield_if_needed,
};

use crate::{messages, on_executor};

async fn connected<T: Send>(size: usize) -> (ConnectedSender<T>, ConnectedReceiver<T>) {
    let (sender, receiver) = shared_channel::new_bounded(size);
    future::zip(sender.connect(), receiver.connect()).await
}

#[test]
fn messages_go_both_ways_in_order_and_once_at_every_capacity() {
    for capacity in [1, 2, 3, 64, 1024] {
        let messages = messages(10_000);
        let (there, from_here) = shared_channel::new_bounded(capacity);
        let (back, from_there) = shared_channel::new_bounded(capacity);
        let sides = [(there, from_there), (back, from_here)].map(|(sender, receiver)| {
            on_executor(move || async move {
                let (sender, receiver) = future::zip(sender.connect(), receiver.connect()).await;
                let sending = spawn_local(async move {
                    for number in 0..messages {
                        sender.send(Box::new(number)).await.unwrap();
                        yield_if_needed().await;
                    }
                });
                for expected in 0..messages {
                    assert_eq!(receiver.recv().await, Some(Box::new(expected)));
                }
                assert_eq!(receiver.recv().await, None);
                sending.await;
            })
        });
        for side in sides {
            side.join().unwrap();
        }
    }
}

#[test]
fn the_receiver_is_a_stream() {
    let (sender, receiver) = shared_channel::new_bounded(4);
    let sending = on_executor(move || async move {
        let sender = sender.connect().await;
        for number in 0..1_000 {
            sender.send(number).await.unwrap();
        }
    });
    let receiving =
        on_executor(move || async move { receiver.connect().await.collect::<Vec<u32>>().await });
    sending.join().unwrap();
    assert!(receiving.join().unwrap().into_iter().eq(0..1_000));
}

#[test]
fn a_message_goes_there_and_comes_back() {
    let (ask, questions) = shared_channel::new_bounded(1);
    let (answer, answers) = shared_channel::new_bounded(1);
    let peer = on_executor(move || async move {
        let (questions, answer) = future::zip(questions.connect(), answer.connect()).await;
        while let Some(number) = questions.recv().await {
            answer.send(number + 1).await.unwrap();
        }
    });
    let asking = on_executor(move || async move {
        let (ask, answers) = future::zip(ask.connect(), answers.connect()).await;
        for number in 0..2_000_u32 {
            ask.send(number).await.unwrap();
            assert_eq!(answers.recv().await, Some(number + 1));
        }
    });
    asking.join().unwrap();
    peer.join().unwrap();
}

#[test]
fn threads_without_an_executor_can_have_either_end() {
    let (to_thread, from_executor) = shared_channel::new_bounded(2);
    let (to_executor, from_thread) = shared_channel::new_bounded(2);
    let thread = std::thread::spawn(move || {
        block_on(async {
            let (from_executor, to_executor) =
                future::zip(from_executor.connect(), to_executor.connect()).await;
            while let Some(number) = from_executor.recv().await {
                to_executor.send(number * 2).await.unwrap();
            }
        });
    });
    LocalExecutor::default().run(async {
        let (sender, receiver) = future::zip(to_thread.connect(), from_thread.connect()).await;
        let sending = spawn_local(async move {
            for number in 0..1_000_u64 {
                sender.send(number).await.unwrap();
            }
        });
        for number in 0..1_000 {
            assert_eq!(receiver.recv().await, Some(number * 2));
        }
        assert_eq!(receiver.recv().await, None);
        sending.await;
    });
    thread.join().unwrap();
}

#[test]
fn a_foreign_sender_travels_and_wakes_and_closes() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = connected(2).await;
        let sender = sender.into_foreign();
        assert_eq!(sender.free_space(), 2);
        let first = std::thread::spawn(move || {
            sender.try_send(1).unwrap();
            sender
        });
        assert_eq!(receiver.recv().await, Some(1));
        let sender = first.join().unwrap();
        let second = std::thread::spawn(move || {
            sender.try_send(2).unwrap();
            sender.try_send(3).unwrap();
            let error = sender.try_send(4).unwrap_err();
            assert!(matches!(
                error,
                GlommioError::WouldBlock(ResourceType::Channel(4))
            ));
            assert_eq!(sender.free_space(), 0);
        });
        second.join().unwrap();
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, Some(3));
        assert_eq!(receiver.recv().await, None);

        let (sender, receiver) = connected(2).await;
        let sender = sender.into_foreign();
        drop(receiver);
        let error = sender.try_send(5).unwrap_err();
        assert!(matches!(
            error,
            GlommioError::Closed(ResourceType::Channel(5))
        ));
    });
}

#[test]
fn closing_is_one_way_and_what_was_sent_arrives() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = connected(4).await;
        sender.try_send(1).unwrap();
        sender.send(2).await.unwrap();
        sender.close();
        sender.close();
        let refused = [sender.send(3).await, sender.try_send(3)];
        for error in refused.map(Result::unwrap_err) {
            assert!(matches!(
                error,
                GlommioError::Closed(ResourceType::Channel(3))
            ));
        }
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(receiver.recv().await, None);
        assert_eq!(receiver.recv().await, None, "and stays closed");
    });
}

#[test]
fn a_channel_of_capacity_zero_holds_the_message_on_its_way() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = connected(0).await;
        sender.send(1).await.unwrap();
        assert!(sender.try_send(2).is_err());
        assert_eq!(receiver.recv().await, Some(1));
    });
}

#[test]
fn tasks_that_share_a_sender_are_served_in_turn() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = connected(1).await;
        let sender = Rc::new(sender);
        let tasks: Vec<_> = (0..10)
            .map(|number| {
                let sender = sender.clone();
                spawn_local(async move { sender.send(number).await.unwrap() })
            })
            .collect();
        executor().yield_now().await;
        for expected in 0..10 {
            assert_eq!(receiver.recv().await, Some(expected));
        }
        for task in tasks {
            task.await;
        }
    });
}

#[test]
fn tasks_that_share_a_receiver_are_served_in_turn_and_all_see_the_end() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = connected(8).await;
        let receiver = Rc::new(receiver);
        let tasks: Vec<_> = (0..10)
            .map(|_| {
                let receiver = receiver.clone();
                spawn_local(async move { receiver.recv().await })
            })
            .collect();
        executor().yield_now().await;
        for number in 0..5 {
            sender.try_send(number).unwrap();
        }
        executor().yield_now().await;
        sender.close();
        for (number, task) in tasks.into_iter().enumerate() {
            assert_eq!(task.await, (number < 5).then_some(number));
        }
    });
}

#[test]
fn closing_sends_everyone_away_who_waits_for_room() {
    LocalExecutor::default().run(async {
        let (sender, _receiver) = connected(1).await;
        sender.send(0).await.unwrap();
        let sender = Rc::new(sender);
        let tasks: Vec<_> = (1..5)
            .map(|number| {
                let sender = sender.clone();
                spawn_local(async move { sender.send(number).await })
            })
            .collect();
        executor().yield_now().await;
        sender.close();
        for (number, task) in (1..).zip(tasks) {
            let error = task.await.unwrap_err();
            assert!(matches!(error, GlommioError::Closed(_)));
            assert_eq!(error.into_inner(), Some(number));
        }
    });
}

#[test]
fn halves_say_what_they_are() {
    let (sender, receiver) = shared_channel::new_bounded::<u8>(3);
    assert!(format!("{sender:?}").starts_with("SharedSender { free_space: 3, closed: false"));
    assert!(format!("{receiver:?}").starts_with("SharedReceiver { sender_gone: false"));
    drop(receiver);
    assert!(format!("{sender:?}").contains("closed: true"));
}

/// Sends questions to a peer that sleeps. It answers each through a number, which `wait` waits for
/// with the thread blocked.
async fn ask_a_sleeper<F: Future<Output = ()>>(wait: impl Fn(Arc<Answers>) -> F) {
    let (ask, questions) = shared_channel::new_bounded(1);
    let answers = Arc::<Answers>::default();
    let theirs = answers.clone();
    let peer = on_executor(move || async move {
        let questions = questions.connect().await;
        while let Some(number) = questions.recv().await {
            theirs.given.store(number, Relaxed);
        }
    });
    let ask = ask.connect().await;
    for number in 1..=20 {
        // Time for the peer to fall asleep. If it has not, it sees the question by itself.
        sleep(Duration::from_millis(2)).await;
        let answered = wait(answers.clone());
        answers.wanted.store(number, Relaxed);
        ask.send(number).await.unwrap();
        answered.await;
    }
    drop(ask);
    peer.join().unwrap();
}

#[derive(Default)]
struct Answers {
    wanted: AtomicU32,
    given: AtomicU32,
}

impl Answers {
    fn block(&self) {
        let start = Instant::now();
        while self.given.load(Relaxed) < self.wanted.load(Relaxed) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "a peer was not woken"
            );
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_wake_up_has_left_when_the_task_that_sent_it_runs_again() {
    LocalExecutor::default().run(ask_a_sleeper(|answers| async move {
        executor().yield_now().await;
        answers.block();
    }));
}

#[test]
fn a_wake_up_has_left_when_a_task_of_another_queue_runs() {
    LocalExecutor::default().run(async {
        let other = executor().create_task_queue(Shares::default(), Latency::NotImportant, "other");
        ask_a_sleeper(|answers| spawn_local_into(async move { answers.block() }, other).unwrap())
            .await;
    });
}
