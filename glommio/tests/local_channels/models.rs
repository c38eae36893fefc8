//! The same steps for a channel and for a sequential model of it: the same answers, the same
//! wake-ups.
//!
//! The steps include what `select` does to a wait: it is polled, perhaps a few times, and dropped,
//! before or after it was served.

use std::{
    collections::{BTreeMap, VecDeque},
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use futures_core::Stream;
use glommio::{
    GlommioError, ResourceType,
    channels::{
        broadcast::{self, RecvError, TryRecvError},
        local_channel::{LocalReceiver, LocalSender, new_bounded},
        watch,
    },
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::flag::Flag;

fn with_context<R>(flag: &Arc<Flag>, f: impl FnOnce(&mut Context<'_>) -> R) -> R {
    let waker = Waker::from(flag.clone());
    f(&mut Context::from_waker(&waker))
}

/// A wait that has been polled at least once.
struct Waiting<T> {
    id: usize,
    future: Pin<Box<dyn Future<Output = T>>>,
    flag: Arc<Flag>,
}

impl<T> Waiting<T> {
    fn new(id: usize, future: impl Future<Output = T> + 'static) -> Self {
        Waiting {
            id,
            future: Box::pin(future),
            flag: Arc::default(),
        }
    }

    fn poll(&mut self) -> Poll<T> {
        with_context(&self.flag, |context| self.future.as_mut().poll(context))
    }
}

#[derive(Clone, Debug)]
enum Step {
    TrySend,
    Send,
    PollSend(Index),
    DropSend(Index),
    TryRecv,
    Recv,
    PollRecv(Index),
    DropRecv(Index),
    CloneSender,
    DropSender(Index),
    DropReceiver,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    use Step::*;
    let step = prop_oneof![
        8 => Just(TrySend),
        8 => Just(Send),
        6 => any::<Index>().prop_map(PollSend),
        5 => any::<Index>().prop_map(DropSend),
        6 => Just(TryRecv),
        10 => Just(Recv),
        6 => any::<Index>().prop_map(PollRecv),
        6 => any::<Index>().prop_map(DropRecv),
        1 => Just(CloneSender),
        1 => any::<Index>().prop_map(DropSender),
        1 => prop::bool::weighted(0.2).prop_map(|drop| if drop { DropReceiver } else { TryRecv }),
    ];
    vec(step, 1..150)
}

/// What a local channel is supposed to do: items are numbered when they are accepted, and received in
/// that order.
struct ChannelModel {
    capacity: usize,
    accepted: u64,
    available: BTreeMap<u64, u32>,
    receiving: VecDeque<usize>,
    /// Receivers that have something and do not know it yet.
    handed: BTreeMap<usize, (u64, u32)>,
    /// Receivers that will hear that nothing comes any more.
    ended: Vec<usize>,
    sending: VecDeque<(usize, u32)>,
    /// Senders that are done and do not know it yet: with success, or with their item back.
    done: BTreeMap<usize, Result<(), u32>>,
    senders: usize,
    receiver_gone: bool,
}

impl ChannelModel {
    fn accept(&mut self, item: u32) {
        self.available.insert(self.accepted, item);
        self.accepted += 1;
    }

    fn has_room(&self) -> bool {
        self.available.len() < self.capacity
            || (self.available.is_empty() && !self.receiving.is_empty())
    }

    /// Whatever can move, moves.
    fn settle(&mut self) {
        loop {
            if !self.receiving.is_empty() && !self.available.is_empty() {
                let id = self.receiving.pop_front().unwrap();
                let item = self.available.pop_first().unwrap();
                self.handed.insert(id, item);
            } else if !self.sending.is_empty() && self.has_room() {
                let (id, item) = self.sending.pop_front().unwrap();
                self.accept(item);
                self.done.insert(id, Ok(()));
            } else {
                return;
            }
        }
    }

    /// `None` if it has to wait.
    fn try_send(&mut self, item: u32) -> Option<Result<(), u32>> {
        if self.receiver_gone {
            return Some(Err(item));
        }
        if !self.has_room() {
            return None;
        }
        self.accept(item);
        self.settle();
        Some(Ok(()))
    }

    /// `None` if it has to wait.
    fn try_recv(&mut self) -> Option<Option<u32>> {
        let item = match self.available.pop_first() {
            Some((_, item)) => Some(item),
            // Without a buffer it comes from the sender that waits.
            None => self.sending.pop_front().map(|(id, item)| {
                self.done.insert(id, Ok(()));
                item
            }),
        };
        self.settle();
        match item {
            Some(item) => Some(Some(item)),
            None => (self.senders == 0).then_some(None),
        }
    }

    fn poll_recv(&mut self, id: usize) -> Option<Option<u32>> {
        if let Some((_, item)) = self.handed.remove(&id) {
            return Some(Some(item));
        }
        let at = self.ended.iter().position(|&ended| ended == id)?;
        self.ended.remove(at);
        self.try_recv()
    }

    fn drop_recv(&mut self, id: usize) {
        self.receiving.retain(|&waiting| waiting != id);
        self.ended.retain(|&ended| ended != id);
        if let Some((number, item)) = self.handed.remove(&id) {
            self.available.insert(number, item);
            self.settle();
        }
    }

    fn drop_sender(&mut self) {
        self.senders -= 1;
        if self.senders == 0 {
            self.ended.extend(self.receiving.drain(..));
        }
    }
}

type Item = (u32, Rc<()>);

/// Both sides of the comparison, and what is alive of them.
struct ChannelTest {
    model: ChannelModel,
    senders: Vec<LocalSender<Item>>,
    receiver: Option<Rc<LocalReceiver<Item>>>,
    sends: Vec<Waiting<Result<(), GlommioError<Item>>>>,
    recvs: Vec<Waiting<Option<Item>>>,
    /// Every item that exists has a share of it.
    census: Rc<()>,
    next: u32,
}

impl ChannelTest {
    fn item(&mut self) -> Item {
        self.next += 1;
        (self.next, self.census.clone())
    }

    fn agree_sent(result: Result<(), GlommioError<Item>>, expected: Option<Result<(), u32>>) {
        match (result, expected) {
            (Ok(()), Some(Ok(()))) => {}
            (Err(GlommioError::WouldBlock(ResourceType::Channel(_))), None) => {}
            (Err(GlommioError::Closed(ResourceType::Channel((item, _)))), Some(Err(mine))) => {
                assert_eq!(item, mine);
            }
            (result, expected) => panic!("{result:?}, but the model says {expected:?}"),
        }
    }

    fn agree_received(
        result: Result<Option<Item>, GlommioError<()>>,
        expected: Option<Option<u32>>,
    ) {
        match (result, expected) {
            (Ok(Some((item, _))), Some(Some(mine))) => assert_eq!(item, mine),
            (Ok(None) | Err(GlommioError::Closed(ResourceType::Channel(()))), Some(None)) => {}
            (Err(GlommioError::WouldBlock(ResourceType::Channel(()))), None) => {}
            (result, expected) => panic!("{result:?}, but the model says {expected:?}"),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::TrySend => {
                let item = self.item();
                let Some(sender) = self.senders.first() else {
                    return;
                };
                let expected = self.model.try_send(item.0);
                Self::agree_sent(sender.try_send(item), expected);
            }
            Step::Send => {
                let item = self.item();
                let number = item.0;
                // The wait has a sender of its own.
                let Some(sender) = self.senders.first().cloned() else {
                    return;
                };
                let send = async move { sender.send(item).await };
                let mut wait = Waiting::new(number as usize, send);
                let (polled, expected) = (wait.poll(), self.model.try_send(number));
                match polled {
                    Poll::Ready(result) => Self::agree_sent(result, expected),
                    Poll::Pending => {
                        assert_eq!(expected, None);
                        self.model.sending.push_back((wait.id, number));
                        self.model.senders += 1;
                        self.sends.push(wait);
                    }
                }
            }
            Step::PollSend(index) if !self.sends.is_empty() => {
                let at = index.index(self.sends.len());
                let polled = self.sends[at].poll();
                let expected = self.model.done.remove(&self.sends[at].id);
                match polled {
                    Poll::Ready(result) => {
                        Self::agree_sent(result, expected);
                        drop(self.sends.remove(at));
                        self.model.drop_sender();
                    }
                    Poll::Pending => assert_eq!(expected, None),
                }
            }
            Step::DropSend(index) if !self.sends.is_empty() => {
                let wait = self.sends.remove(index.index(self.sends.len()));
                self.model.done.remove(&wait.id);
                self.model.sending.retain(|sending| sending.0 != wait.id);
                self.model.drop_sender();
            }
            Step::TryRecv => {
                let Some(receiver) = &self.receiver else {
                    return;
                };
                Self::agree_received(receiver.try_recv().map(Some), self.model.try_recv());
            }
            Step::Recv => {
                let Some(receiver) = self.receiver.clone() else {
                    return;
                };
                self.next += 1;
                let recv = async move { receiver.recv().await };
                let mut wait = Waiting::new(self.next as usize, recv);
                let (polled, expected) = (wait.poll(), self.model.try_recv());
                match polled {
                    Poll::Ready(received) => Self::agree_received(Ok(received), expected),
                    Poll::Pending => {
                        assert_eq!(expected, None);
                        self.model.receiving.push_back(wait.id);
                        self.recvs.push(wait);
                    }
                }
            }
            Step::PollRecv(index) if !self.recvs.is_empty() => {
                let at = index.index(self.recvs.len());
                let polled = self.recvs[at].poll();
                let expected = self.model.poll_recv(self.recvs[at].id);
                match polled {
                    Poll::Ready(received) => {
                        Self::agree_received(Ok(received), expected);
                        self.recvs.remove(at);
                    }
                    Poll::Pending => assert_eq!(expected, None),
                }
            }
            Step::DropRecv(index) if !self.recvs.is_empty() => {
                let wait = self.recvs.remove(index.index(self.recvs.len()));
                self.model.drop_recv(wait.id);
            }
            Step::CloneSender if !self.senders.is_empty() => {
                self.senders.push(self.senders[0].clone());
                self.model.senders += 1;
            }
            Step::DropSender(index) if !self.senders.is_empty() => {
                self.senders.remove(index.index(self.senders.len()));
                self.model.drop_sender();
            }
            Step::DropReceiver if self.receiver.is_some() => {
                for wait in self.recvs.drain(..) {
                    self.model.drop_recv(wait.id);
                }
                self.receiver = None;
                self.model.receiver_gone = true;
                self.model.available.clear();
                let refused = self.model.sending.drain(..);
                self.model
                    .done
                    .extend(refused.map(|(id, item)| (id, Err(item))));
            }
            _ => {}
        }
    }

    fn compare(&self) {
        let ChannelTest { model, .. } = self;
        if let Some(sender) = self.senders.first() {
            assert_eq!(sender.len(), model.available.len());
            assert_eq!(sender.is_empty(), model.available.is_empty());
            assert_eq!(sender.is_full(), !model.has_room());
        }
        for wait in &self.sends {
            let done = model.done.contains_key(&wait.id);
            assert_eq!(wait.flag.is_set(), done, "of sender {}", wait.id);
        }
        for wait in &self.recvs {
            let told = model.handed.contains_key(&wait.id) || model.ended.contains(&wait.id);
            assert_eq!(wait.flag.is_set(), told, "of receiver {}", wait.id);
        }
        let refused = model.done.values().filter(|done| done.is_err()).count();
        let items = model.available.len() + model.handed.len() + model.sending.len() + refused;
        assert_eq!(Rc::strong_count(&self.census) - 1, items, "items are alive");
    }
}

fn run_channel(capacity: usize, steps: Vec<Step>) {
    let (sender, receiver) = new_bounded(capacity);
    let mut test = ChannelTest {
        model: ChannelModel {
            capacity,
            accepted: 0,
            available: BTreeMap::new(),
            receiving: VecDeque::new(),
            handed: BTreeMap::new(),
            ended: Vec::new(),
            sending: VecDeque::new(),
            done: BTreeMap::new(),
            senders: 1,
            receiver_gone: false,
        },
        senders: vec![sender],
        receiver: Some(Rc::new(receiver)),
        sends: Vec::new(),
        recvs: Vec::new(),
        census: Rc::new(()),
        next: 0,
    };
    for step in steps {
        test.step(step);
        test.compare();
    }
    let census = test.census.clone();
    drop(test);
    assert_eq!(Rc::strong_count(&census), 1, "an item is left");
}

#[derive(Clone, Debug)]
enum NewsStep {
    Send,
    /// Polls a receiver: as a stream, which keeps its place, or as a future that is dropped then.
    Poll(Index, bool),
    TryRecv(Index),
    Clone(Index),
    Subscribe,
    DropReceiver(Index),
    DropSender,
}

fn news_steps() -> impl Strategy<Value = Vec<NewsStep>> {
    use NewsStep::*;
    let step = prop_oneof![
        10 => Just(Send),
        16 => (any::<Index>(), any::<bool>()).prop_map(|(index, stream)| Poll(index, stream)),
        4 => any::<Index>().prop_map(TryRecv),
        2 => any::<Index>().prop_map(Clone),
        2 => Just(Subscribe),
        3 => any::<Index>().prop_map(DropReceiver),
        1 => prop::bool::weighted(0.3).prop_map(|drop| if drop { DropSender } else { Send }),
    ];
    vec(step, 1..150)
}

/// A receiver, and what the model knows of it.
struct Listener<R> {
    receiver: R,
    /// The version it has seen, or the number of the message that it wants next.
    position: u64,
    /// There while it is queued.
    waits: Option<Arc<Flag>>,
}

impl<R> Listener<R> {
    fn new(receiver: R, position: u64) -> Self {
        Listener {
            receiver,
            position,
            waits: None,
        }
    }
}

fn check_wakes<R>(listeners: &[Listener<R>], news: impl Fn(&Listener<R>) -> bool) {
    for listener in listeners {
        if let Some(flag) = &listener.waits {
            assert_eq!(flag.is_set(), news(listener));
        }
    }
}

macro_rules! watch_model {
    ($name:ident, $new:path) => {
        fn $name(steps: Vec<NewsStep>) {
            let (sender, receiver) = $new(0);
            let mut sender = Some(sender);
            let (mut version, mut alive) = (0_u64, true);
            let mut listeners = vec![Listener::new(receiver, 0)];
            for step in steps {
                match step {
                    NewsStep::Send => {
                        let Some(sender) = &sender else { continue };
                        assert_eq!(sender.is_closed(), listeners.is_empty());
                        // In place, every third time.
                        let sent = match version % 3 {
                            0 => sender.send_modify(|value| *value += 1).map_err(drop),
                            _ => sender.send(version + 1).map_err(drop),
                        };
                        assert_eq!(sent.is_err(), listeners.is_empty());
                        version += u64::from(sent.is_ok());
                        assert_eq!(sender.get(), version);
                    }
                    NewsStep::Poll(index, stream) if !listeners.is_empty() => {
                        let at = index.index(listeners.len());
                        let listener = &mut listeners[at];
                        let flag = Arc::<Flag>::default();
                        assert_eq!(
                            listener.receiver.has_changed(),
                            listener.position != version
                        );
                        let polled = with_context(&flag, |context| {
                            if stream {
                                return Pin::new(&mut listener.receiver).poll_next(context);
                            }
                            let mut changed = listener.receiver.changed();
                            let polled = Pin::new(&mut changed).poll(context);
                            drop(changed);
                            let latest = listener.receiver.get();
                            polled.map(|changed| changed.ok().map(|()| latest))
                        });
                        let news = listener.position != version;
                        let expected = match (news, alive) {
                            (true, _) => Poll::Ready(Some(version)),
                            (false, true) => Poll::Pending,
                            (false, false) => Poll::Ready(None),
                        };
                        assert_eq!(polled, expected);
                        listener.position = version;
                        listener.waits = (stream && polled.is_pending()).then_some(flag);
                    }
                    NewsStep::TryRecv(index) if !listeners.is_empty() => {
                        let listener = &listeners[index.index(listeners.len())];
                        assert_eq!(listener.receiver.with_current(|value| *value), version);
                    }
                    NewsStep::Clone(index) if !listeners.is_empty() => {
                        let listener = &listeners[index.index(listeners.len())];
                        let clone = Listener::new(listener.receiver.clone(), listener.position);
                        listeners.push(clone);
                    }
                    NewsStep::DropReceiver(index) if !listeners.is_empty() => {
                        listeners.remove(index.index(listeners.len()));
                    }
                    NewsStep::DropSender => {
                        sender = None;
                        alive = false;
                    }
                    _ => {}
                }
                check_wakes(&listeners, |listener| {
                    !alive || listener.position != version
                });
            }
        }
    };
}

watch_model!(run_watch, watch::watch);
watch_model!(run_shared_watch, watch::shared);

macro_rules! broadcast_model {
    ($name:ident, $new:path) => {
        fn $name(capacity: usize, steps: Vec<NewsStep>) {
            let (sender, receiver) = $new(capacity);
            let mut sender = Some(sender);
            let mut sent = 0_u64;
            let mut listeners = vec![Listener::new(receiver, 0)];
            for step in steps {
                let alive = sender.is_some();
                // What a receiver gets next.
                let next = |position: u64, sent: u64| {
                    let kept_from = sent.saturating_sub(capacity as u64);
                    if position < kept_from {
                        (kept_from, Err(TryRecvError::Lagged(kept_from - position)))
                    } else if position < sent {
                        (position + 1, Ok(position))
                    } else if alive {
                        (position, Err(TryRecvError::Empty))
                    } else {
                        (position, Err(TryRecvError::Closed))
                    }
                };
                match step {
                    NewsStep::Send => {
                        let Some(sender) = &sender else { continue };
                        assert_eq!(sender.receiver_count(), listeners.len());
                        match sender.clone().send(sent) {
                            Ok(receivers) => {
                                assert_eq!(receivers, listeners.len());
                                sent += 1;
                            }
                            Err(error) => {
                                assert!(listeners.is_empty());
                                assert_eq!(error.into_inner(), Some(sent));
                            }
                        }
                    }
                    NewsStep::Poll(index, stream) if !listeners.is_empty() => {
                        let at = index.index(listeners.len());
                        let listener = &mut listeners[at];
                        let flag = Arc::<Flag>::default();
                        let polled = with_context(&flag, |context| {
                            if stream {
                                let next = Pin::new(&mut listener.receiver).poll_next(context);
                                return next.map(|next| next.unwrap_or(Err(RecvError::Closed)));
                            }
                            Pin::new(&mut listener.receiver.recv()).poll(context)
                        });
                        let (position, expected) = next(listener.position, sent);
                        assert_eq!(
                            polled,
                            match expected {
                                Ok(message) => Poll::Ready(Ok(message)),
                                Err(TryRecvError::Lagged(missed)) => {
                                    Poll::Ready(Err(RecvError::Lagged(missed)))
                                }
                                Err(TryRecvError::Empty) => Poll::Pending,
                                Err(TryRecvError::Closed) => Poll::Ready(Err(RecvError::Closed)),
                            }
                        );
                        listener.position = position;
                        listener.waits = (stream && polled.is_pending()).then_some(flag);
                    }
                    NewsStep::TryRecv(index) if !listeners.is_empty() => {
                        let at = index.index(listeners.len());
                        let listener = &mut listeners[at];
                        let (position, expected) = next(listener.position, sent);
                        assert_eq!(listener.receiver.try_recv(), expected);
                        // A place in the queue stays, for the stream to be polled again.
                        listener.position = position;
                    }
                    NewsStep::Clone(index) if !listeners.is_empty() => {
                        let listener = &listeners[index.index(listeners.len())];
                        let clone = Listener::new(listener.receiver.clone(), listener.position);
                        listeners.push(clone);
                    }
                    NewsStep::Subscribe => {
                        let Some(sender) = &sender else { continue };
                        listeners.push(Listener::new(sender.subscribe(), sent));
                    }
                    NewsStep::DropReceiver(index) if !listeners.is_empty() => {
                        listeners.remove(index.index(listeners.len()));
                    }
                    NewsStep::DropSender => sender = None,
                    _ => {}
                }
                for listener in &listeners {
                    let Some(flag) = &listener.waits else {
                        continue;
                    };
                    let news = sender.is_none() || listener.position < sent;
                    // Received since by `try_recv`, it may have been woken for nothing.
                    assert!(flag.is_set() || !news, "a receiver was not woken");
                }
            }
        }
    };
}

broadcast_model!(run_broadcast, broadcast::broadcast);
broadcast_model!(run_shared_broadcast, broadcast::shared);

proptest! {
    #![proptest_config(crate::cases::cases(300))]

    #[test]
    fn a_local_channel_behaves_as_its_model(capacity in 0..4_usize, steps in steps()) {
        run_channel(capacity, steps);
    }

    #[test]
    fn watch_behaves_as_its_model(steps in news_steps()) {
        run_watch(steps.clone());
        run_shared_watch(steps);
    }

    #[test]
    fn broadcast_behaves_as_its_model(capacity in 1..4_usize, steps in news_steps()) {
        run_broadcast(capacity, steps.clone());
        run_shared_broadcast(capacity, steps);
    }
}

/// A message lives until the last receiver has it, is gone, or has missed it.
#[test]
fn broadcast_messages_are_dropped_when_nobody_wants_them_any_more() {
    let census = Rc::new(());
    let messages = || Rc::strong_count(&census) - 1;
    let (sender, mut first) = broadcast::broadcast(3);
    let mut second = sender.subscribe();
    for _ in 0..3 {
        sender.send(census.clone()).unwrap();
    }
    assert_eq!(messages(), 3);
    first.try_recv().unwrap();
    first.try_recv().unwrap();
    assert_eq!(messages(), 3, "the second wants them still");
    second.try_recv().unwrap();
    assert_eq!(messages(), 2);
    let third = second.clone();
    drop(second);
    assert_eq!(messages(), 2, "the clone wants them still");
    drop(third);
    assert_eq!(messages(), 1);
    for _ in 0..3 {
        sender.send(census.clone()).unwrap();
    }
    assert_eq!(messages(), 3, "the oldest was overwritten");
    drop(first);
    assert_eq!(messages(), 0);
    assert!(sender.send(census.clone()).is_err());
    assert_eq!(messages(), 0);
}
