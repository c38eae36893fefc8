//! Either side goes, at every stage: every item is received once, handed back, or dropped once, and
//! in order.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use futures_lite::StreamExt;
use glommio::{
    GlommioError, LocalExecutor, ResourceType,
    channels::{
        broadcast::{self, RecvError},
        local_channel::{new_bounded, new_unbounded},
        oneshot, watch,
    },
    executor, spawn_local,
};

const ITEMS: u32 = 6;

/// What became of each item, in the order in which it happened.
#[derive(Default)]
struct Ledger {
    received: RefCell<Vec<u32>>,
    handed_back: RefCell<Vec<u32>>,
    dropped: RefCell<Vec<u32>>,
}

/// Enters itself when it is dropped.
struct Item(u32, Rc<Ledger>);

impl Drop for Item {
    fn drop(&mut self) {
        self.1.dropped.borrow_mut().push(self.0);
    }
}

/// The producer sends `sends` items and goes, the consumer goes after `receives`. The producer lets the
/// consumer run after each item, or only when it has to wait.
async fn run(capacity: usize, sends: u32, receives: u32, yields: bool) -> Rc<Ledger> {
    let ledger = Rc::new(Ledger::default());
    let (sender, receiver) = new_bounded(capacity);
    let producer = spawn_local({
        let ledger = ledger.clone();
        async move {
            for number in 0..sends {
                match sender.send(Item(number, ledger.clone())).await {
                    Ok(()) => {}
                    Err(GlommioError::Closed(ResourceType::Channel(item))) => {
                        ledger.handed_back.borrow_mut().push(item.0);
                    }
                    Err(error) => panic!("{error}"),
                }
                if yields {
                    executor().yield_now().await;
                }
            }
        }
    });
    let consumer = spawn_local({
        let ledger = ledger.clone();
        async move {
            for _ in 0..receives {
                let Some(item) = receiver.recv().await else {
                    break;
                };
                ledger.received.borrow_mut().push(item.0);
            }
        }
    });
    producer.await;
    consumer.await;
    ledger
}

#[test]
fn a_local_channel_whose_sides_go_at_every_stage_accounts_for_every_item() {
    let all = || (0..=ITEMS).flat_map(|sends| (0..=ITEMS).map(move |receives| (sends, receives)));
    LocalExecutor::default().run(async {
        for capacity in [0, 1, 3, usize::MAX] {
            for (sends, receives) in all() {
                for yields in [false, true] {
                    let case = format!("{capacity}, {sends}, {receives}, {yields}");
                    let ledger = run(capacity, sends, receives, yields).await;
                    let received = ledger.received.take();
                    let handed_back = ledger.handed_back.take();
                    let expected = sends.min(receives);
                    assert_eq!(received, (0..expected).collect::<Vec<_>>(), "{case}");
                    // Those handed back are the last ones.
                    let first_back = sends - handed_back.len() as u32;
                    assert!(first_back >= expected, "{case}");
                    let last_ones: Vec<u32> = (first_back..sends).collect();
                    assert_eq!(handed_back, last_ones, "{case}");
                    let mut dropped = ledger.dropped.take();
                    dropped.sort_unstable();
                    assert_eq!(dropped, (0..sends).collect::<Vec<_>>(), "{case}");
                }
            }
        }
    });
}

#[test]
fn tasks_that_are_cancelled_mid_way_lose_nothing_that_was_sent() {
    // The consumer is cancelled over and over, at whichever step it is.
    LocalExecutor::default().run(async {
        let (sender, receiver) = new_bounded(2);
        let receiver = Rc::new(receiver);
        let received = Rc::new(RefCell::new(Vec::new()));
        let producer = spawn_local(async move {
            for number in 0..1_000 {
                sender.send(number).await.unwrap();
                if number % 7 == 0 {
                    executor().yield_now().await;
                }
            }
        });
        let mut random = fastrand::Rng::with_seed(448);
        while received.borrow().len() < 1_000 {
            let consumer = spawn_local({
                let (receiver, received) = (receiver.clone(), received.clone());
                async move {
                    while let Some(item) = receiver.recv().await {
                        received.borrow_mut().push(item);
                        executor().yield_now().await;
                    }
                }
            });
            for _ in 0..random.u32(0..5) {
                executor().yield_now().await;
            }
            consumer.cancel().await;
        }
        producer.await;
        assert_eq!(*received.borrow(), (0..1_000).collect::<Vec<_>>());
        assert_eq!(receiver.recv().await, None);
    });
}

#[test]
fn an_owned_stream_ends_with_the_last_sender_and_closes_when_it_is_dropped() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = new_unbounded();
        let mut stream = receiver.into_stream();
        let other = sender.clone();
        let reading = spawn_local(async move {
            let mut items = Vec::new();
            while let Some(item) = stream.next().await {
                items.push(item);
            }
            assert_eq!(stream.next().await, None, "it stays at its end");
            items
        });
        sender.send(1).await.unwrap();
        drop(sender);
        executor().yield_now().await;
        other.send(2).await.unwrap();
        drop(other);
        assert_eq!(reading.await, [1, 2]);

        let (sender, receiver) = new_bounded(1);
        let stream = receiver.into_stream();
        sender.send(1).await.unwrap();
        let waiting = spawn_local({
            let sender = sender.clone();
            async move { sender.send(2).await.unwrap_err().into_inner() }
        });
        executor().yield_now().await;
        drop(stream);
        assert_eq!(waiting.await, Some(2));
        assert_eq!(sender.try_send(3).unwrap_err().into_inner(), Some(3));
    });
}

#[test]
fn a_weak_sender_keeps_nothing_open_and_reopens_nothing() {
    LocalExecutor::default().run(async {
        let (sender, receiver) = new_bounded(1);
        let weak = sender.downgrade();
        let other = weak.clone().upgrade().unwrap();
        drop(sender);
        other.send(1).await.unwrap();
        drop(other);
        assert!(weak.upgrade().is_none(), "though the channel has an item");
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, None);
        drop(receiver);
        assert!(weak.upgrade().is_none());
    });
}

macro_rules! oneshot_stages {
    ($name:ident, $new:path, $receiver:ident) => {
        #[test]
        fn $name() {
            LocalExecutor::default().run(async {
                // Sent before, or after the receiver waits.
                let (sender, receiver) = $new();
                sender.send(1).unwrap();
                assert_eq!(receiver.await.unwrap(), 1);
                let (sender, receiver) = $new();
                let waiting = spawn_local(receiver);
                executor().yield_now().await;
                sender.send(2).unwrap();
                assert_eq!(waiting.await.unwrap(), 2);

                // The sender goes, before or while the receiver waits.
                let (sender, receiver): (_, oneshot::$receiver<u32>) = $new();
                drop(sender);
                let error = receiver.await.unwrap_err();
                assert_eq!(error.to_string(), "Channel is closed");
                let (sender, receiver): (_, oneshot::$receiver<u32>) = $new();
                let waiting = spawn_local(receiver);
                executor().yield_now().await;
                drop(sender);
                assert!(waiting.await.is_err());

                // The receiver goes: before it is sent, after, and while the sender waits for that.
                let (sender, receiver) = $new();
                drop(receiver);
                assert_eq!(sender.send(3).unwrap_err().into_inner(), Some(3));
                let (sender, receiver) = $new();
                let kept = Arc::new(());
                sender.send(kept.clone()).unwrap();
                drop(receiver);
                assert_eq!(Arc::strong_count(&kept), 1);
                let (mut sender, receiver): (_, oneshot::$receiver<u32>) = $new();
                let waiting = spawn_local(async move { sender.closed().await });
                executor().yield_now().await;
                drop(receiver);
                waiting.await;

                // A closed receiver still has what was sent before; and has it once.
                let (sender, mut receiver) = $new();
                sender.send(4).unwrap();
                receiver.close();
                assert_eq!((&mut receiver).await.unwrap(), 4);
                assert!((&mut receiver).await.is_err());
                assert!(receiver.try_recv().is_err());
            });
        }
    };
}

oneshot_stages!(oneshot_ends_well_at_every_stage, oneshot::oneshot, Receiver);
oneshot_stages!(
    shared_oneshot_ends_well_at_every_stage,
    oneshot::shared,
    SharedReceiver
);

macro_rules! watch_stages {
    ($name:ident, $new:path) => {
        #[test]
        fn $name() {
            LocalExecutor::default().run(async {
                // The last value outlives the sender, and is news once.
                let (sender, mut receiver) = $new(0);
                let mut late = receiver.clone();
                let waiting = spawn_local(async move {
                    let mut seen = Vec::new();
                    while receiver.changed().await.is_ok() {
                        seen.push(receiver.get());
                    }
                    seen
                });
                executor().yield_now().await;
                sender.send(1).unwrap();
                executor().yield_now().await;
                sender.send(2).unwrap();
                sender.send(3).unwrap();
                drop(sender);
                assert_eq!(waiting.await, [1, 3], "2 was never there to be seen");
                late.changed().await.unwrap();
                assert_eq!(late.get(), 3);
                assert!(late.changed().await.is_err());
                assert_eq!(late.get(), 3);

                // Without receivers nothing can be set.
                let (sender, receiver) = $new(0);
                let other = receiver.clone();
                drop(receiver);
                sender.send(1).unwrap();
                drop(other);
                assert!(sender.is_closed());
                assert_eq!(sender.send(2).unwrap_err().into_inner(), Some(2));
                assert!(sender.send_modify(|_| panic!("is not called")).is_err());
                assert_eq!(sender.get(), 1);
            });
        }
    };
}

watch_stages!(watch_ends_well_at_every_stage, watch::watch);
watch_stages!(shared_watch_ends_well_at_every_stage, watch::shared);

macro_rules! broadcast_stages {
    ($name:ident, $new:path) => {
        #[test]
        fn $name() {
            LocalExecutor::default().run(async {
                // Those who wait, those who are behind, and those who come late.
                let (sender, mut behind) = $new(2);
                let mut waiting = sender.subscribe();
                let waiting = spawn_local(async move {
                    let mut received = Vec::new();
                    loop {
                        let next = waiting.recv().await;
                        received.push(next);
                        if next == Err(RecvError::Closed) {
                            return received;
                        }
                    }
                });
                executor().yield_now().await;
                for number in 0..4 {
                    assert_eq!(sender.send(number).unwrap(), 2);
                    executor().yield_now().await;
                }
                let mut late = sender.clone().subscribe();
                drop(sender);
                let mut all: Vec<_> = (0..4).map(Ok).collect();
                all.push(Err(RecvError::Closed));
                assert_eq!(waiting.await, all);
                assert_eq!(behind.recv().await, Err(RecvError::Lagged(2)));
                assert_eq!(behind.recv().await, Ok(2));
                let mut copy = behind.clone();
                assert_eq!((behind.recv().await, copy.recv().await), (Ok(3), Ok(3)));
                assert_eq!(behind.recv().await, Err(RecvError::Closed));
                assert_eq!(late.recv().await, Err(RecvError::Closed));

                // Without receivers a message comes back, until somebody subscribes.
                let (sender, receiver) = $new(1);
                drop(receiver);
                assert_eq!(sender.send(1).unwrap_err().into_inner(), Some(1));
                let mut receiver = sender.subscribe();
                assert_eq!(sender.send(2).unwrap(), 1);
                assert_eq!(receiver.recv().await, Ok(2));
            });
        }
    };
}

broadcast_stages!(broadcast_ends_well_at_every_stage, broadcast::broadcast);
broadcast_stages!(shared_broadcast_ends_well_at_every_stage, broadcast::shared);

#[test]
#[should_panic = "ask for 1 or more"]
fn a_broadcast_channel_must_keep_something() {
    drop(broadcast::broadcast::<u32>(0));
}

/// What a channel runs for its user may use the channel again: refused or a panic, never a deadlock.
mod used_by_itself {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use glommio::channels::broadcast::{SharedReceiver, SharedSender};

    use super::*;

    fn message(f: impl FnOnce()) -> String {
        let payload = catch_unwind(AssertUnwindSafe(f)).unwrap_err();
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        text.unwrap_or_default()
    }

    #[test]
    fn setting_a_value_that_is_being_looked_at_is_refused() {
        let (sender, receiver) = watch::watch(1);
        let error = receiver.with_current(|_| sender.send(2).unwrap_err());
        assert!(matches!(
            error,
            GlommioError::WouldBlock(ResourceType::Channel(2))
        ));
        let borrowed = receiver.borrow();
        assert!(sender.send(2).is_err());
        assert!(sender.send_modify(|_| ()).is_err());
        assert_eq!((*borrowed, *sender.borrow(), receiver.get()), (1, 1, 1));
        assert!(!receiver.has_changed());
        drop(borrowed);

        let (sender, receiver) = watch::shared(1);
        let error = receiver.with_current(|_| sender.send(2).unwrap_err());
        assert!(matches!(
            error,
            GlommioError::WouldBlock(ResourceType::Channel(2))
        ));
        sender.send(2).unwrap();
        assert_eq!(receiver.get(), 2);
    }

    #[test]
    fn looking_at_a_value_that_is_being_changed_is_a_panic() {
        let (sender, receiver) = watch::watch(1);
        let text = message(|| drop(sender.send_modify(|_| _ = receiver.get())));
        assert!(text.contains("running itself"), "{text}");
        assert!(!receiver.has_changed());
        sender.send(2).unwrap();
        assert_eq!(receiver.get(), 2);

        let (sender, receiver) = watch::shared(1);
        let text = message(|| drop(sender.send_modify(|_| _ = receiver.get())));
        assert!(text.contains("running itself"), "{text}");
        sender.send(2).unwrap();
        assert_eq!(receiver.get(), 2, "a panic poisons nothing");
    }

    /// Sends a message when it is cloned.
    struct Chatty(Option<SharedSender<Chatty>>);

    impl Clone for Chatty {
        fn clone(&self) -> Self {
            drop(self.0.as_ref().map(|sender| sender.send(Chatty(None))));
            Chatty(None)
        }
    }

    #[test]
    fn a_message_that_uses_its_channel_when_it_is_cloned_is_a_panic() {
        let (sender, mut receiver): (_, SharedReceiver<Chatty>) = broadcast::shared(4);
        let mut other = sender.subscribe();
        sender
            .send(Chatty(Some(sender.clone())))
            .unwrap_or_default();
        let text = message(|| drop(receiver.try_recv()));
        assert!(text.contains("running itself"), "{text}");
        // It is still there, and the last receiver takes it without a clone.
        drop(receiver);
        assert!(other.try_recv().is_ok_and(|message| message.0.is_some()));
    }
}
