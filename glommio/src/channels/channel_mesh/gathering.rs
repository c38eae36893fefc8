//! Where the peers of a mesh wait for each other.
//!
//! The last to join sorts the peers, makes all channels, and leaves each peer its ends; nothing is left
//! to be agreed upon afterwards. Wakers are called and dropped outside of the lock.

use std::{
    future::poll_fn,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use super::role::Role;
use crate::{
    channels::shared_channel::{SharedReceiver, SharedSender, new_met},
    error::{GlommioError, Result},
};

pub(super) struct Gathering<T: Send> {
    nr_peers: usize,
    channel_size: usize,
    state: Mutex<State<T>>,
}

struct State<T: Send> {
    /// Clones of the builder that have not joined yet.
    handles: usize,
    loopback: bool,
    complete: bool,
    /// The executors that have joined, and have not left before all had.
    joined: Vec<usize>,
    /// Those that wait to be complete, or have not noticed yet that they are.
    peers: Vec<Peer<T>>,
}

struct Peer<T: Send> {
    executor: usize,
    role: Role,
    waker: Option<Waker>,
    /// There once the gathering is complete.
    place: Option<Place<T>>,
}

/// What a peer gets.
pub(super) struct Place<T: Send> {
    pub(super) peer_id: usize,
    pub(super) producer_id: Option<usize>,
    pub(super) consumer_id: Option<usize>,
    /// By the number of the consumer.
    pub(super) senders: Vec<Option<SharedSender<T>>>,
    /// By the number of the producer.
    pub(super) receivers: Vec<Option<SharedReceiver<T>>>,
}

impl<T: Send> Gathering<T> {
    /// A gathering with one handle.
    pub(super) fn new(nr_peers: usize, channel_size: usize) -> Self {
        Gathering {
            nr_peers,
            channel_size,
            state: Mutex::new(State {
                handles: 1,
                loopback: false,
                complete: nr_peers == 0,
                joined: Vec::new(),
                peers: Vec::new(),
            }),
        }
    }

    pub(super) fn nr_peers(&self) -> usize {
        self.nr_peers
    }

    pub(super) fn channel_size(&self) -> usize {
        self.channel_size
    }

    /// Gives each peer a channel to itself, too.
    pub(super) fn set_loopback(&self) {
        self.lock().loopback = true;
    }

    pub(super) fn add_handle(&self) {
        self.lock().handles += 1;
    }

    /// A handle is gone. If it was the last, those who wait are told to give up.
    pub(super) fn remove_handle(&self) {
        let wakers = {
            let mut state = self.lock();
            state.handles -= 1;
            state.wakers_of_the_forsaken()
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No foreign code runs under the lock, so nothing in it is half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send> State<T> {
    /// Whether nobody can join any more, although some are missing.
    fn is_forsaken(&self) -> bool {
        !self.complete && self.handles == 0
    }

    fn wakers_of_the_forsaken(&mut self) -> Vec<Waker> {
        if !self.is_forsaken() {
            return Vec::new();
        }
        self.take_wakers()
    }

    fn take_wakers(&mut self) -> Vec<Waker> {
        let peers = self.peers.iter_mut();
        peers.filter_map(|peer| peer.waker.take()).collect()
    }

    fn peer(&mut self, executor: usize) -> Option<&mut Peer<T>> {
        self.peers.iter_mut().find(|peer| peer.executor == executor)
    }

    /// Numbers the peers and makes the channels.
    fn complete(&mut self, channel_size: usize, connect: impl Fn(&Role, &Role) -> bool) {
        self.peers.sort_by_key(|peer| peer.executor);
        let numbers = |is_one: fn(Role) -> bool, peers: &[Peer<T>]| -> Vec<usize> {
            let all = peers.iter().enumerate();
            all.filter(|(_, peer)| is_one(peer.role))
                .map(|(peer_id, _)| peer_id)
                .collect()
        };
        let producers = numbers(Role::is_producer, &self.peers);
        let consumers = numbers(Role::is_consumer, &self.peers);
        let mut places: Vec<Place<T>> = (0..self.peers.len())
            .map(|peer_id| Place {
                peer_id,
                producer_id: producers.binary_search(&peer_id).ok(),
                consumer_id: consumers.binary_search(&peer_id).ok(),
                senders: consumers.iter().map(|_| None).collect(),
                receivers: producers.iter().map(|_| None).collect(),
            })
            .collect();
        for (producer_id, &from) in producers.iter().enumerate() {
            for (consumer_id, &to) in consumers.iter().enumerate() {
                let (from_role, to_role) = (&self.peers[from].role, &self.peers[to].role);
                if (from != to || self.loopback) && connect(from_role, to_role) {
                    let (sender, receiver) = new_met(channel_size);
                    places[from].senders[consumer_id] = Some(sender);
                    places[to].receivers[producer_id] = Some(receiver);
                }
            }
        }
        for (peer, place) in self.peers.iter_mut().zip(places) {
            peer.place = Some(place);
        }
        self.complete = true;
    }
}

/// A peer that has joined and has not got its place yet. Dropping it leaves the gathering again.
pub(super) struct Joining<T: Send> {
    gathering: Arc<Gathering<T>>,
    executor: usize,
}

impl<T: Send> Joining<T> {
    /// Joins with the given executor. Which roles are connected is asked by the last one to join.
    pub(super) fn begin(
        gathering: &Arc<Gathering<T>>,
        executor: usize,
        role: Role,
        connect: impl Fn(&Role, &Role) -> bool,
    ) -> Result<Joining<T>, ()> {
        let mut state = gathering.lock();
        if state.joined.contains(&executor) {
            return Err(refusal(
                io::ErrorKind::AlreadyExists,
                format!("executor {executor} has joined this mesh already"),
            ));
        }
        if state.complete {
            return Err(refusal(
                io::ErrorKind::InvalidInput,
                format!(
                    "all {} peers of this mesh have joined already; make it for more",
                    gathering.nr_peers
                ),
            ));
        }
        state.joined.push(executor);
        state.peers.push(Peer {
            executor,
            role,
            waker: None,
            place: None,
        });
        let wakers = if state.peers.len() == gathering.nr_peers {
            state.complete(gathering.channel_size, connect);
            state.take_wakers()
        } else {
            Vec::new()
        };
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(Joining {
            gathering: gathering.clone(),
            executor,
        })
    }

    /// Waits until all have joined.
    pub(super) async fn place(self) -> Result<Place<T>, ()> {
        poll_fn(|context| self.poll_place(context)).await
    }

    fn poll_place(&self, context: &Context<'_>) -> Poll<Result<Place<T>, ()>> {
        // Cloning is foreign code, which must not run under the lock.
        let waker = context.waker().clone();
        let mut state = self.gathering.lock();
        let forsaken = state.is_forsaken();
        let joined = state.peers.len();
        let Some(peer) = state.peer(self.executor) else {
            panic!("`join` was polled after it had completed");
        };
        if let Some(place) = peer.place.take() {
            return Poll::Ready(Ok(place));
        }
        if forsaken {
            return Poll::Ready(Err(refusal(
                io::ErrorKind::NotConnected,
                format!(
                    "only {joined} of {} peers have joined this mesh, and nobody is left who could: \
                     the other clones of the builder were dropped",
                    self.gathering.nr_peers
                ),
            )));
        }
        let old = peer.waker.replace(waker);
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T: Send> Drop for Joining<T> {
    fn drop(&mut self) {
        let mut state = self.gathering.lock();
        let at = state
            .peers
            .iter()
            .position(|peer| peer.executor == self.executor);
        let left = at.map(|at| state.peers.swap_remove(at));
        if !state.complete {
            state.joined.retain(|&executor| executor != self.executor);
        }
        drop(state);
        // Its channels, if it had any, and a waker.
        drop(left);
    }
}

fn refusal(kind: io::ErrorKind, message: String) -> GlommioError<()> {
    GlommioError::IoError(io::Error::new(kind, message))
}
