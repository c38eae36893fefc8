//! Executors that end while every channel is full, empty and waited for.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use futures_lite::StreamExt;
use glommio::{
    LocalExecutor, LocalExecutorBuilder, Placement,
    channels::{
        broadcast::{self, RecvError},
        local_channel::{new_bounded, new_unbounded},
        oneshot, watch,
    },
    executor, spawn_local,
};

/// Fails instead of hanging.
fn within_a_minute(f: impl FnOnce() + Send + 'static) {
    let (done, ended) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        f();
        done.send(()).unwrap();
    });
    match ended.recv_timeout(Duration::from_secs(60)) {
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("the executor did not end"),
        _ => thread.join().unwrap(),
    }
}

#[test]
fn an_executor_ends_while_every_local_channel_is_full_and_waited_for() {
    within_a_minute(|| {
        let census = Rc::new(());
        LocalExecutor::default().run(async {
            for capacity in [0, 1, 128] {
                let (sender, receiver) = new_bounded(capacity);
                let (empty_sender, empty_receiver) = new_bounded::<Rc<()>>(capacity);
                let empty_receiver = Rc::new(empty_receiver);
                for _ in 0..8 {
                    let (sender, census) = (sender.clone(), census.clone());
                    spawn_local(async move {
                        loop {
                            sender.send(census.clone()).await.unwrap();
                        }
                    })
                    .detach();
                    let (sender, receiver) = (empty_sender.clone(), empty_receiver.clone());
                    spawn_local(async move {
                        while receiver.recv().await.is_some() {}
                        drop(sender);
                    })
                    .detach();
                }
                // Halves that outlive their peers' tasks in one order or the other.
                spawn_local(async move {
                    std::future::pending::<()>().await;
                    drop((receiver, empty_sender));
                })
                .detach();
                let (looped, mut news) = watch::watch(census.clone());
                let (event, mut events) = broadcast::broadcast(2);
                let (_answer, question) = oneshot::oneshot::<Rc<()>>();
                event.send(census.clone()).unwrap();
                spawn_local(async move {
                    let _keep = (looped, event);
                    events.recv().await.unwrap();
                    futures_lite::future::zip(events.recv(), question)
                        .await
                        .0
                        .unwrap();
                })
                .detach();
                spawn_local(async move { news.changed().await }).detach();
                std::mem::forget(_answer); // a sender that never goes
            }
            for _ in 0..4 {
                executor().yield_now().await;
            }
        });
        assert_eq!(
            Rc::strong_count(&census),
            1,
            "an item outlived the executor"
        );
    });
}

/// Sends when it is dropped, as a task that says goodbye does.
struct Goodbye {
    sender: glommio::channels::local_channel::LocalSender<Option<Rc<Cell<u32>>>>,
    count: Rc<Cell<u32>>,
}

impl Drop for Goodbye {
    fn drop(&mut self) {
        self.count.set(self.count.get() + 1);
        // Wakes a task of an executor that is being dropped, finds it full, or closed.
        drop(self.sender.try_send(Some(self.count.clone())));
        drop(self.sender.clone());
    }
}

#[test]
fn destructors_may_use_channels_while_the_executor_is_dropped() {
    within_a_minute(|| {
        let count = Rc::new(Cell::new(0));
        LocalExecutor::default().run(async {
            let (sender, receiver) = new_unbounded();
            let receiver = Rc::new(receiver);
            for _ in 0..16 {
                let goodbye = Goodbye {
                    sender: sender.clone(),
                    count: count.clone(),
                };
                let receiver = receiver.clone();
                spawn_local(async move {
                    let goodbye = goodbye;
                    while receiver.recv().await.is_some() {}
                    drop(goodbye);
                })
                .detach();
            }
            executor().yield_now().await;
        });
        assert_eq!(count.get(), 16);
        assert_eq!(Rc::strong_count(&count), 1);
    });
}

#[test]
fn the_peers_of_an_executor_that_ends_hear_of_it() {
    within_a_minute(|| {
        let (answer, question) = oneshot::shared::<u32>();
        let (asked, unasked) = oneshot::shared::<u32>();
        let (setter, mut news) = watch::shared(0);
        let (event, mut events) = broadcast::shared(2);
        let gone = LocalExecutorBuilder::new(Placement::Unbound)
            .spawn(move || async move {
                // Tasks that wait for ever, with a half of each, and full channels.
                for number in 0..5 {
                    event.send(number).unwrap();
                    setter.send(number).unwrap();
                }
                spawn_local(async move {
                    let _keep = (answer, setter, event);
                    drop(unasked.await);
                })
                .detach();
                executor().yield_now().await;
            })
            .unwrap();
        let peer = LocalExecutorBuilder::new(Placement::Unbound)
            .spawn(move || async move {
                assert!(question.await.is_err());
                let mut asked = asked;
                asked.closed().await;
                assert_eq!(asked.send(1).unwrap_err().into_inner(), Some(1));
                while news.changed().await.is_ok() {}
                assert_eq!(news.get(), 4);
                let mut heard = Vec::new();
                while let Some(next) = events.next().await {
                    heard.push(next);
                }
                heard
            })
            .unwrap();
        gone.join().unwrap();
        let heard = peer.join().unwrap();
        assert_eq!(heard.last(), Some(&Ok(4)), "{heard:?}");
        let missed: u64 = heard
            .iter()
            .map(|next| match next {
                Ok(_) => 1,
                Err(RecvError::Lagged(missed)) => *missed,
                Err(RecvError::Closed) => 0,
            })
            .sum();
        assert_eq!(missed, 5, "{heard:?}");
    });
}

#[test]
fn channels_outlive_the_executors_whose_tasks_waited() {
    let (sender, receiver) = oneshot::shared();
    let (setter, news) = watch::shared(0);
    let (event, events) = broadcast::shared(1);
    // Receivers that were polled there, and are polled elsewhere afterwards.
    let receivers = Arc::new(Mutex::new(Some((receiver, news, events))));
    let theirs = receivers.clone();
    LocalExecutor::default().run(async move {
        spawn_local(async move {
            let mut taken = theirs.lock().unwrap().take().unwrap();
            let (receiver, news, events) = &mut taken;
            let polled = futures_lite::future::poll_once(async {
                let all = futures_lite::future::zip(receiver, news.next());
                futures_lite::future::zip(all, events.next()).await
            })
            .await;
            assert!(polled.is_none());
            *theirs.lock().unwrap() = Some(taken);
        })
        .await;
    });
    // Wakes a task that is gone with its executor.
    sender.send(1).unwrap();
    setter.send(2).unwrap();
    event.send(3).unwrap();
    let (receiver, mut news, mut events) = receivers.lock().unwrap().take().unwrap();
    LocalExecutor::default().run(async move {
        assert_eq!(receiver.await.unwrap(), 1);
        assert_eq!(news.next().await, Some(2));
        assert_eq!(events.next().await, Some(Ok(3)));
    });
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_receiver_that_was_polled_and_dropped_keeps_no_waker() {
    let count = Arc::new(Count::default());
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    let (_sender, mut receiver) = oneshot::shared::<u32>();
    assert!(
        std::pin::Pin::new(&mut receiver)
            .poll(&mut context)
            .is_pending()
    );
    let (_setter, mut news) = watch::shared(0);
    assert!(news.poll_next(&mut context).is_pending());
    let (_event, mut events) = broadcast::shared::<u32>(1);
    assert!(events.poll_next(&mut context).is_pending());
    let (_items, receiver_of_items) = new_unbounded::<u32>();
    let mut items = receiver_of_items.into_stream();
    assert!(items.poll_next(&mut context).is_pending());
    assert_eq!(Arc::strong_count(&count), 6);
    drop((receiver, news, events, items));
    assert_eq!(Arc::strong_count(&count), 2);
}
