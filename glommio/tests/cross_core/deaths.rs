//! One side of a channel dies, at every stage and in every way. The other side must be told, must get
//! what is its due, in order and once, and every message must be dropped once.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
};

use glommio::{
    ExecutorJoinHandle, GlommioError, ResourceType,
    channels::shared_channel::{
        self, ConnectedReceiver, ConnectedSender, SharedReceiver, SharedSender,
    },
    executor, spawn_local, yield_if_needed,
};

use crate::{Live, on_executor, support::eventually_async};

/// How a side leaves in the middle of its work.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// Its executor's root future ends, and the executor goes.
    Leaves,
    /// Its executor's root future panics.
    Panics,
    /// Its executor is asked to stop.
    Stopped,
    /// Its task is cancelled, and the executor lives on.
    Cancelled,
    /// Its task panics, and the executor lives on.
    TaskPanics,
}

const DEATHS: [Death; 5] = [
    Death::Leaves,
    Death::Panics,
    Death::Stopped,
    Death::Cancelled,
    Death::TaskPanics,
];

/// What the side is doing when it dies, or rather what the other is doing.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// Not connected, and will not be.
    Unconnected,
    /// Waiting for the other to connect.
    Connecting,
    /// Connected, and has sent or received nothing.
    Connected,
    /// In the middle of many messages.
    Streaming,
    /// Having done its part of a few messages; the other waits for more.
    Resting,
}

const STAGES: [Stage; 5] = [
    Stage::Unconnected,
    Stage::Connecting,
    Stage::Connected,
    Stage::Streaming,
    Stage::Resting,
];

const CAPACITY: usize = 4;

/// A number, and a count of all messages that exist.
struct Message {
    number: u64,
    _live: Live,
}

/// Told by a doomed task when its stage is reached.
#[derive(Clone, Default)]
struct Time(Arc<AtomicBool>);

impl Time {
    async fn has_come(&self) -> ! {
        self.0.store(true, Relaxed);
        std::future::pending().await
    }
}

/// Runs `work` on an executor and lets it die in the given way once it says that the time has come.
fn doomed<F>(
    death: Death,
    work: impl FnOnce(Time) -> F + Send + 'static,
    survivor_is_done: Arc<AtomicBool>,
) -> ExecutorJoinHandle<()>
where
    F: Future<Output = ()> + 'static,
{
    on_executor(move || async move {
        let time = Time::default();
        let stop = executor().stop_handle();
        let task = {
            let (time, now) = (time.clone(), time.clone());
            spawn_local(async move {
                if death == Death::TaskPanics {
                    let work = work(time);
                    let bomb = async {
                        eventually_async("the time", || now.0.load(Relaxed)).await;
                        // Without the message: it is no news.
                        std::panic::resume_unwind(Box::new("dies"));
                    };
                    futures_lite::future::or(work, bomb).await;
                } else {
                    work(time).await;
                }
            })
        };
        eventually_async("the time", || time.0.load(Relaxed)).await;
        match death {
            Death::Leaves => task.detach(),
            Death::Panics => std::panic::resume_unwind(Box::new("dies")),
            Death::Stopped => {
                stop.request_stop();
                stop.requested().await;
                task.detach()
            }
            Death::Cancelled => {
                task.cancel().await;
                let done = || survivor_is_done.load(Relaxed);
                return eventually_async("the survivor is done", done).await;
            }
            Death::TaskPanics => {
                let done = || survivor_is_done.load(Relaxed);
                eventually_async("the survivor is done", done).await;
                task.detach()
            }
        };
    })
}

async fn send_until_closed(sender: ConnectedSender<Message>, live: &Arc<AtomicUsize>) -> u64 {
    for number in 0.. {
        let message = Message {
            number,
            _live: Live::new(live),
        };
        match sender.send(message).await {
            Ok(()) => {}
            Err(GlommioError::Closed(ResourceType::Channel(message))) => {
                assert_eq!(message.number, number, "handed back");
                return number;
            }
            Err(error) => panic!("{error}"),
        }
        yield_if_needed().await;
    }
    unreachable!()
}

async fn receive_until_end(receiver: ConnectedReceiver<Message>) -> u64 {
    let mut received = 0;
    while let Some(message) = receiver.recv().await {
        assert_eq!(message.number, received, "in order, and none twice");
        received += 1;
    }
    received
}

async fn receiver_dies(
    receiver: SharedReceiver<Message>,
    stage: Stage,
    time: Time,
    received: Arc<AtomicUsize>,
) {
    if stage == Stage::Unconnected {
        time.has_come().await;
    }
    let connecting = receiver.connect();
    if stage == Stage::Connecting {
        let mut connecting = std::pin::pin!(connecting);
        let connected = futures_lite::future::poll_once(connecting.as_mut()).await;
        let _keep = (connecting, connected);
        time.has_come().await;
    }
    let receiver = connecting.await;
    let goal = match stage {
        Stage::Connected => 0,
        Stage::Streaming => 1_000,
        _ => CAPACITY as u64 + 2,
    };
    let streaming = stage == Stage::Streaming;
    let mut expected = 0;
    loop {
        if expected == goal && !streaming {
            time.has_come().await;
        }
        if expected == goal {
            time.0.store(true, Relaxed);
        }
        let message = receiver.recv().await.unwrap();
        assert_eq!(message.number, expected);
        expected += 1;
        received.store(expected as usize, Relaxed);
        if streaming {
            // So that it can die here.
            executor().yield_now().await;
        }
    }
}

async fn sender_dies(
    sender: SharedSender<Message>,
    stage: Stage,
    time: Time,
    live: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
) {
    if stage == Stage::Unconnected {
        time.has_come().await;
    }
    let connecting = sender.connect();
    if stage == Stage::Connecting {
        let mut connecting = std::pin::pin!(connecting);
        let connected = futures_lite::future::poll_once(connecting.as_mut()).await;
        let _keep = (connecting, connected);
        time.has_come().await;
    }
    let sender = connecting.await;
    let goal = match stage {
        Stage::Connected => 0,
        Stage::Streaming => 1_000,
        _ => CAPACITY as u64 + 2,
    };
    let streaming = stage == Stage::Streaming;
    for number in 0.. {
        if number == goal && !streaming {
            time.has_come().await;
        }
        if number == goal {
            time.0.store(true, Relaxed);
        }
        let message = Message {
            number,
            _live: Live::new(&live),
        };
        // The count is taken without another await, so it is exact wherever this task dies.
        assert!(sender.send(message).await.is_ok());
        sent.fetch_add(1, Relaxed);
        if streaming {
            executor().yield_now().await;
        }
    }
}

#[test]
fn a_sender_is_told_whenever_and_however_the_receiver_dies() {
    for stage in STAGES {
        for death in DEATHS {
            let live = Arc::new(AtomicUsize::new(0));
            let received = Arc::new(AtomicUsize::new(0));
            let done = Arc::new(AtomicBool::new(false));
            let (sender, receiver) = shared_channel::new_bounded(CAPACITY);
            let survivor = {
                let (live, done) = (live.clone(), done.clone());
                on_executor(move || async move {
                    let sent = send_until_closed(sender.connect().await, &live).await;
                    done.store(true, Relaxed);
                    sent as usize
                })
            };
            let counted = received.clone();
            let doomed = doomed(
                death,
                move |time| receiver_dies(receiver, stage, time, counted),
                done,
            );
            let sent = survivor.join().unwrap();
            assert_eq!(
                doomed.join().is_err(),
                death == Death::Panics,
                "{stage:?}, {death:?}"
            );
            let received = received.load(Relaxed);
            // One may slip in while the dying receiver makes room.
            assert!(
                (received..=received + CAPACITY + 1).contains(&sent),
                "{stage:?}, {death:?}: {received} of {sent}"
            );
            assert_eq!(live.load(Relaxed), 0, "{stage:?}, {death:?}");
        }
    }
}

#[test]
fn a_receiver_gets_the_rest_and_the_end_whenever_and_however_the_sender_dies() {
    for stage in STAGES {
        for death in DEATHS {
            let live = Arc::new(AtomicUsize::new(0));
            let sent = Arc::new(AtomicUsize::new(0));
            let done = Arc::new(AtomicBool::new(false));
            let (sender, receiver) = shared_channel::new_bounded(CAPACITY);
            let survivor = {
                let done = done.clone();
                on_executor(move || async move {
                    let received = receive_until_end(receiver.connect().await).await;
                    done.store(true, Relaxed);
                    received as usize
                })
            };
            let (counted, theirs) = (sent.clone(), live.clone());
            let doomed = doomed(
                death,
                move |time| sender_dies(sender, stage, time, theirs, counted),
                done,
            );
            let received = survivor.join().unwrap();
            assert_eq!(
                doomed.join().is_err(),
                death == Death::Panics,
                "{stage:?}, {death:?}"
            );
            assert_eq!(received, sent.load(Relaxed), "{stage:?}, {death:?}");
            assert_eq!(live.load(Relaxed), 0, "{stage:?}, {death:?}");
        }
    }
}

#[test]
fn executors_stop_while_every_channel_between_them_is_full() {
    let live = Arc::new(AtomicUsize::new(0));
    let full = Arc::new(AtomicUsize::new(0));
    let (there, from_here) = shared_channel::new_bounded(1);
    let (back, from_there) = shared_channel::new_bounded(1);
    let sides = [(there, from_there), (back, from_here)].map(|(sender, receiver)| {
        let (live, full) = (live.clone(), full.clone());
        on_executor(move || async move {
            let (sender, receiver) =
                futures_lite::future::zip(sender.connect(), receiver.connect()).await;
            let theirs = full.clone();
            spawn_local(async move {
                // Nobody ever receives, so the second waits for ever.
                let _receiver = receiver;
                while sender.send(Live::new(&live)).await.is_ok() {
                    theirs.fetch_add(1, Relaxed);
                }
            })
            .detach();
            // Both of them: a peer that left before would close its channel.
            eventually_async("full", || full.load(Relaxed) == 2).await;
        })
    });
    for side in sides {
        side.join().unwrap();
    }
    assert_eq!(live.load(Relaxed), 0);
}
