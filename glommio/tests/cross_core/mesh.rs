//! Meshes: who gets which channel, what is refused, and that nobody waits for ever.

use std::{
    io,
    sync::{Arc, Mutex},
    thread,
};

use futures::StreamExt;
use futures_lite::future;
use glommio::{
    GlommioError, LocalExecutor, ResourceType,
    channels::channel_mesh::{FullMesh, MeshAdapter, MeshBuilder, Receivers, Role, Senders},
    executor, spawn_local,
};

use crate::{messages, on_executor};

/// Runs `work` as each peer of a full mesh.
fn on_all_peers<T, F, R>(
    mesh: FullMesh<T>,
    work: impl Fn(Senders<T>, Receivers<T>) -> F + Clone + Send + 'static,
) -> Vec<R>
where
    T: Send + 'static,
    F: Future<Output = R> + 'static,
    R: Send + 'static,
{
    let peers: Vec<_> = (0..mesh.nr_peers())
        .map(|_| {
            let (mesh, work) = (mesh.clone(), work.clone());
            on_executor(move || async move {
                let (senders, receivers) = mesh.join().await.unwrap();
                work(senders, receivers).await
            })
        })
        .collect();
    peers.into_iter().map(|peer| peer.join().unwrap()).collect()
}

/// Everyone sends to everyone and receives from everyone, at the same time.
async fn all_to_all(senders: Senders<u64>, mut receivers: Receivers<u64>, messages: u64) {
    let me = senders.peer_id();
    let receiving: Vec<_> = receivers
        .streams()
        .into_iter()
        .map(|(from, mut stream)| {
            spawn_local(async move {
                for expected in 0..messages {
                    assert_eq!(stream.next().await, Some(expected), "from {from}");
                }
                assert_eq!(stream.next().await, None, "from {from}");
            })
        })
        .collect();
    assert_eq!(receiving.len(), senders.nr_consumers() - 1);
    for number in 0..messages {
        for peer in (0..senders.nr_consumers()).filter(|&peer| peer != me) {
            senders.send_to(peer, number).await.unwrap();
        }
    }
    senders.close();
    for task in receiving {
        task.await;
    }
}

/// DataDog/glommio#555. `GLOMMIO_TEST_MESSAGES=100000` runs the long proof.
#[test]
fn a_full_mesh_of_capacity_one_exchanges_all_to_all_without_deadlock() {
    for (peers, fast) in [(2, 5_000), (8, 500)] {
        let messages = messages(fast);
        let start = std::time::Instant::now();
        on_all_peers(MeshBuilder::full(peers, 1), move |senders, receivers| {
            all_to_all(senders, receivers, messages)
        });
        println!(
            "{peers} peers, {messages} messages per pair: {:?}",
            start.elapsed()
        );
    }
}

/// The same with one task that does both in turns, so that a full channel stops its receiving, too,
/// unless room is made by the other's receiving.
#[test]
fn peers_that_answer_each_message_do_not_block_each_other() {
    on_all_peers(MeshBuilder::full(4, 1), |senders, receivers| async move {
        let me = senders.peer_id();
        for number in 0..500_u32 {
            for peer in (0..4).filter(|&peer| peer != me) {
                senders.send_to(peer, number).await.unwrap();
            }
            for peer in (0..4).filter(|&peer| peer != me) {
                assert_eq!(receivers.recv_from(peer).await.unwrap(), Some(number));
            }
        }
    });
}

#[test]
fn peers_are_numbered_by_their_executors_ids() {
    let mut places =
        on_all_peers::<u8, _, _>(MeshBuilder::full(5, 1), |senders, receivers| async move {
            let me = senders.peer_id();
            assert_eq!(receivers.peer_id(), me);
            assert_eq!(senders.producer_id(), Some(me));
            assert_eq!(receivers.consumer_id(), Some(me));
            assert_eq!((senders.nr_consumers(), receivers.nr_producers()), (5, 5));
            (executor().id(), me)
        });
    places.sort_unstable();
    assert!(places.iter().map(|place| place.1).eq(0..5));
}

#[test]
fn roles_decide_who_is_connected_to_whom() {
    use Role::*;
    let roles = [Producer, Consumer, Both, Consumer, Both];
    let mesh = MeshBuilder::partial(roles.len(), 4);
    let peers: Vec<_> = roles
        .into_iter()
        .map(|role| {
            let mesh = mesh.clone();
            on_executor(move || async move {
                let (senders, mut receivers) = mesh.join(role).await.unwrap();
                assert_eq!(senders.producer_id().is_some(), role != Consumer);
                assert_eq!(receivers.consumer_id().is_some(), role != Producer);
                assert_eq!((senders.nr_consumers(), receivers.nr_producers()), (4, 3));
                let mut reached = Vec::new();
                for consumer in 0..4 {
                    match senders.try_send_to(consumer, senders.producer_id()) {
                        Ok(()) => reached.push(consumer),
                        Err(error) => assert_eq!(kind(&error), Some(io::ErrorKind::InvalidInput)),
                    }
                }
                let others: Vec<_> = (0..4)
                    .filter(|&consumer| Some(consumer) != receivers.consumer_id())
                    .collect();
                assert_eq!(reached, if role == Consumer { vec![] } else { others });
                drop(senders);
                let mut heard = Vec::new();
                for (producer, stream) in receivers.streams() {
                    assert_eq!(stream.collect::<Vec<_>>().await, [Some(producer)]);
                    heard.push(producer);
                }
                heard.len()
            })
        })
        .collect();
    let heard: Vec<_> = peers.into_iter().map(|peer| peer.join().unwrap()).collect();
    assert_eq!(heard, [0, 3, 2, 3, 2]);
}

fn kind<T>(error: &GlommioError<T>) -> Option<io::ErrorKind> {
    match error {
        GlommioError::IoError(error) => Some(error.kind()),
        _ => None,
    }
}

#[test]
fn what_has_no_channel_is_refused_with_a_reason() {
    on_all_peers(
        MeshBuilder::full(2, 1),
        |senders, mut receivers| async move {
            let me = senders.peer_id();
            for (peer, reason) in [(me, "the sender itself"), (2, "no consumer 2")] {
                for error in [
                    senders.send_to(peer, 1).await.unwrap_err(),
                    senders.try_send_to(peer, 1).unwrap_err(),
                ] {
                    assert_eq!(kind(&error), Some(io::ErrorKind::InvalidInput));
                    assert!(error.to_string().contains(reason), "{error}");
                }
            }
            for peer in [me, 2] {
                let error = receivers.recv_from(peer).await.unwrap_err();
                assert_eq!(kind(&error), Some(io::ErrorKind::InvalidInput));
            }
            let streams = receivers.streams();
            assert_eq!(streams.len(), 1);
            assert!(receivers.recv_from(1 - me).await.is_err(), "it was taken");
            assert!(receivers.streams().is_empty());
        },
    );
}

#[test]
fn with_a_loopback_everyone_also_sends_to_oneself() {
    on_all_peers(
        MeshBuilder::full(3, 1).with_loopback(),
        |senders, receivers| async move {
            let me = senders.peer_id();
            for peer in 0..3 {
                senders.send_to(peer, (me, peer)).await.unwrap();
            }
            for peer in 0..3 {
                assert_eq!(receivers.recv_from(peer).await.unwrap(), Some((peer, me)));
            }
        },
    );
}

#[test]
fn joining_twice_and_joining_a_complete_mesh_are_refused() {
    let mesh = MeshBuilder::<u8, _>::full(2, 1);
    let other = {
        let mesh = mesh.clone();
        on_executor(move || async move {
            mesh.join().await.unwrap();
        })
    };
    LocalExecutor::default().run(async {
        let first = spawn_local(mesh.clone().join());
        executor().yield_now().await;
        let error = mesh.clone().join().await.unwrap_err();
        assert_eq!(kind(&error), Some(io::ErrorKind::AlreadyExists));
        first.await.unwrap();
        let error = mesh.clone().join().await.unwrap_err();
        assert_eq!(kind(&error), Some(io::ErrorKind::AlreadyExists));
    });
    other.join().unwrap();
    LocalExecutor::default().run(async {
        let error = mesh.join().await.unwrap_err();
        assert_eq!(kind(&error), Some(io::ErrorKind::InvalidInput));
    });
    LocalExecutor::default().run(async {
        let error = MeshBuilder::<u8, _>::full(0, 1).join().await.unwrap_err();
        assert_eq!(kind(&error), Some(io::ErrorKind::InvalidInput));
    });
}

#[test]
fn peers_that_can_never_be_enough_are_told() {
    // Whoever does not come drops its clone: before or after the others have joined.
    for late in [false, true] {
        let mesh = MeshBuilder::<u8, _>::full(3, 1);
        let missing = mesh.clone();
        let peers: Vec<_> = [mesh.clone(), mesh]
            .into_iter()
            .map(|mesh| {
                on_executor(move || async move {
                    let error = mesh.join().await.unwrap_err();
                    assert_eq!(kind(&error), Some(io::ErrorKind::NotConnected));
                    assert!(error.to_string().contains("of 3 peers"), "{error}");
                })
            })
            .collect();
        if late {
            thread::sleep(std::time::Duration::from_millis(20));
        }
        drop(missing);
        for peer in peers {
            peer.join().unwrap();
        }
    }
}

#[test]
fn a_join_that_is_given_up_makes_room_for_another() {
    let mesh = MeshBuilder::<u8, _>::full(2, 1);
    LocalExecutor::default().run(async {
        let (given_up, again) = (mesh.clone(), mesh.clone());
        assert!(future::poll_once(Box::pin(given_up.join())).await.is_none());
        let other = on_executor(move || async move {
            let (senders, _receivers) = mesh.join().await.unwrap();
            senders.send_to(1 - senders.peer_id(), 7).await.unwrap();
        });
        let (senders, receivers) = again.join().await.unwrap();
        assert_eq!(
            receivers.recv_from(1 - senders.peer_id()).await.unwrap(),
            Some(7)
        );
        other.join().unwrap();
    });
}

#[test]
fn a_peer_that_dies_after_joining_closes_its_channels() {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let mesh = MeshBuilder::<u64, _>::full(3, 1);
    let peers: Vec<_> = (0..3)
        .map(|number| {
            let (mesh, ids) = (mesh.clone(), ids.clone());
            on_executor(move || async move {
                let (senders, receivers) = mesh.join().await.unwrap();
                ids.lock().unwrap().push(senders.peer_id());
                if number == 0 {
                    std::panic::resume_unwind(Box::new("dies"));
                }
                let mut dead = Vec::new();
                for peer in (0..3).filter(|&peer| peer != senders.peer_id()) {
                    // One message fits; the next waits until somebody receives or is gone.
                    let mut sent = 0;
                    while sent < 2 {
                        match senders.send_to(peer, sent).await {
                            Ok(()) => sent += 1,
                            Err(GlommioError::Closed(ResourceType::Channel(_))) => {
                                dead.push(peer);
                                break;
                            }
                            Err(error) => panic!("{error}"),
                        }
                        if sent == 1 {
                            while let Some(number) = receivers.recv_from(peer).await.unwrap() {
                                if number == 0 {
                                    break;
                                }
                            }
                        }
                    }
                }
                dead.len()
            })
        })
        .collect();
    let dead: Vec<_> = peers.into_iter().map(|peer| peer.join().ok()).collect();
    assert_eq!(dead[0], None);
    assert!(
        dead[1..]
            .iter()
            .all(|dead| dead.is_some_and(|dead| dead >= 1)),
        "{dead:?}"
    );
}

#[test]
fn builders_say_what_they_are() {
    let mesh = MeshBuilder::<u8, _>::partial(3, 9);
    assert!(format!("{mesh:?}").contains("full: false, nr_peers: 3, channel_size: 9"));
    use Role::*;
    use glommio::channels::channel_mesh::{Full, Partial};
    assert!(Full.is_full() && !Partial.is_full());
    for (from, to, connected) in [
        (Producer, Consumer, true),
        (Producer, Producer, false),
        (Consumer, Producer, false),
        (Both, Consumer, true),
        (Both, Both, true),
        (Producer, Both, true),
    ] {
        assert_eq!(Partial.connect(&from, &to), connected);
        assert!(Full.connect(&from, &to));
    }
}
