//! TCP as its users see it.

mod buffered;
mod moving;
mod peek;
mod shutdown;
mod timeouts;
mod vectored;

use std::{
    cell::Cell, future::Future, io::Read, net::SocketAddr, rc::Rc, task::Poll, time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWriteExt, StreamExt, future};
use glommio::{
    LocalExecutor, LocalExecutorBuilder,
    net::{TcpListener, TcpStream},
    spawn_local,
    timer::timeout,
};
use socket2::Socket;

use super::support::{self, alone, nothing_spins};

pub(super) fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    (listener, addr)
}

pub(super) async fn pair() -> (TcpStream, TcpStream) {
    let (listener, addr) = listener();
    let (client, server) = future::zip(TcpStream::connect(addr), listener.accept()).await;
    (client.unwrap(), server.unwrap())
}

pub(super) fn pattern(i: usize) -> u8 {
    (i * 31 % 251) as u8
}

#[test]
fn what_is_written_is_read_and_the_end_is_seen() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        assert_eq!(client.peer_addr().unwrap(), server.local_addr().unwrap());
        client.write_all(b"hello").await.unwrap();
        client.write_all(b", world").await.unwrap();
        client.close().await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello, world");
        assert_eq!(
            server.read(&mut [0; 8]).await.unwrap(),
            0,
            "the end stays the end"
        );
        server.write_all(b"half-closed").await.unwrap();
        drop(server);
        text.clear();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "half-closed", "written just before the drop");
    });
}

#[test]
fn large_transfers_arrive_whole_in_both_directions() {
    const LEN: usize = 8 << 20;
    LocalExecutor::default().run(async {
        let (client, server) = pair().await;
        let side = |mut stream: TcpStream, chunk: usize| async move {
            let data: Vec<u8> = (0..LEN).map(pattern).collect();
            let mut got = vec![0; chunk];
            let (mut sent, mut received) = (0, 0);
            // Write and read by turns, so that neither side can rely on the other's buffers.
            while sent < LEN || received < LEN {
                let write = async {
                    if sent == LEN {
                        return future::pending().await;
                    }
                    let end = (sent + chunk).min(LEN);
                    (stream.write(&data[sent..end]).await.unwrap(), 0)
                };
                let n = if sent < LEN && (sent <= received || received == LEN) {
                    write.await
                } else {
                    (0, stream.read(&mut got).await.unwrap())
                };
                sent += n.0;
                assert!(
                    got[..n.1]
                        .iter()
                        .enumerate()
                        .all(|(i, b)| *b == pattern(received + i))
                );
                received += n.1;
            }
            stream.flush().await.unwrap();
        };
        let small = spawn_local(side(client, 3_000));
        let large = spawn_local(side(server, 100_000));
        small.await;
        large.await;
    });
}

#[test]
fn a_slow_reader_holds_the_writer_back_and_loses_nothing() {
    const LEN: usize = 16 << 20;
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let accepted = Rc::new(Cell::new(0));
        let theirs = accepted.clone();
        let writer = spawn_local(async move {
            let block: Vec<u8> = (0..2510).map(pattern).collect();
            while theirs.get() < LEN {
                client.write_all(&block).await.unwrap();
                theirs.set(theirs.get() + block.len());
            }
            client.close().await.unwrap();
        });
        glommio::timer::sleep(std::time::Duration::from_millis(50)).await;
        assert!(accepted.get() < LEN, "a writer must not be let run away");
        let mut buf = vec![0; 70_000];
        let mut received = 0;
        loop {
            let n = server.read(&mut buf).await.unwrap();
            if n == 0 {
                break;
            }
            assert!(
                buf[..n]
                    .iter()
                    .enumerate()
                    .all(|(i, b)| *b == pattern((received + i) % 2510))
            );
            received += n;
        }
        writer.await;
        assert_eq!(received, accepted.get());
    });
}

#[test]
fn a_refused_connection_and_a_taken_address_are_errors() {
    LocalExecutor::default().run(async {
        // Nobody listens, nor can: a port that is free may be somebody else's by now.
        let (_reserved, addr) = support::silent_port();
        let error = std::io::Error::from(TcpStream::connect(addr).await.unwrap_err());
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
        let foreign = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = TcpListener::bind(foreign.local_addr().unwrap()).unwrap_err();
        assert_eq!(
            std::io::Error::from(error).kind(),
            std::io::ErrorKind::AddrInUse
        );
    });
}

#[test]
fn writing_to_a_closed_peer_is_an_error_and_no_signal() {
    LocalExecutor::default().run(async {
        let (mut client, server) = pair().await;
        drop(server);
        let mut failed = None;
        for _ in 0..10_000 {
            let result = async {
                client.write_all(b"x").await?;
                client.flush().await
            };
            if let Err(error) = result.await {
                failed = Some(error.kind());
                break;
            }
        }
        assert!(
            matches!(
                failed,
                Some(std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset)
            ),
            "{failed:?}"
        );
    });
}

#[test]
fn dropping_connections_at_every_stage_leaks_no_descriptor() {
    let test = "tcp::dropping_connections_at_every_stage_leaks_no_descriptor";
    alone(test, &[], churn_leaks_nothing);
}

fn churn_leaks_nothing() {
    let churn = || {
        LocalExecutor::default().run(async {
            let (listener, addr) = listener();
            for _ in 0..50 {
                // Before submission, in flight, and with a connection that nobody takes.
                drop(listener.accept());
                drop(future::poll_once(listener.accept()).await);
                let mut connect = Box::pin(TcpStream::connect(addr));
                drop(future::poll_once(&mut connect).await);
                drop(connect);
                let (client, server) = pair().await;
                let (mut client, mut server) = (client, server);
                let mut buf = [0; 16];
                assert!(future::poll_once(client.read(&mut buf)).await.is_none());
                server.write_all(b"never read").await.unwrap();
                drop(client);
                drop(server);
            }
        });
    };
    churn();
    let before = support::open_fds();
    for _ in 0..5 {
        churn();
    }
    support::eventually("descriptors are back", || support::open_fds() <= before);
}

#[test]
fn every_waiting_accept_gets_a_connection() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        let listener = Rc::new(listener);
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let listener = listener.clone();
                spawn_local(async move { listener.accept().await.unwrap() })
            })
            .collect();
        glommio::executor().yield_now().await;
        let clients: Vec<_> = (0..20)
            .map(|_| std::net::TcpStream::connect(addr).unwrap())
            .collect();
        for task in waiting {
            task.await;
        }
        drop(clients);
    });
}

/// One way to wait for a connection and to give up.
type GivenUp = fn(&TcpListener, &mut std::task::Context<'_>);

#[test]
fn who_gives_up_accepting_takes_nobodys_turn() {
    let ways: [GivenUp; 3] = [
        |listener, cx| assert!(std::pin::pin!(listener.accept()).poll(cx).is_pending()),
        |listener, cx| assert!(listener.incoming().poll_next(cx).is_pending()),
        |listener, cx| assert!(listener.poll_accept(cx).is_pending()),
    ];
    LocalExecutor::default().run(async {
        for give_up in ways {
            let (listener, addr) = listener();
            let listener = Rc::new(listener);
            let before = listener.clone();
            let before = spawn_local(async move { before.accept().await.unwrap() });
            glommio::executor().yield_now().await;
            let theirs = listener.clone();
            let gave_up = spawn_local(async move {
                future::poll_fn(|cx| {
                    give_up(&theirs, cx);
                    Poll::Ready(())
                })
                .await;
                // Alive, and not interested any more.
                future::pending::<()>().await
            });
            glommio::executor().yield_now().await;
            let after = listener.clone();
            let after = spawn_local(async move { after.accept().await.unwrap() });
            glommio::executor().yield_now().await;
            for accepting in [before, after] {
                let client = std::net::TcpStream::connect(addr).unwrap();
                let accepted = timeout(Duration::from_secs(30), async { Ok(accepting.await) });
                assert_eq!(
                    accepted.await.unwrap().peer_addr().unwrap(),
                    client.local_addr().unwrap(),
                    "first come, first served"
                );
            }
            gave_up.cancel().await;
        }
    });
}

#[test]
fn whoever_was_told_of_a_connection_and_is_dropped_passes_it_on() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        for wins in [0, 1] {
            let mut accepts: Vec<_> = (0..2).map(|_| Box::pin(listener.accept())).collect();
            for accept in &mut accepts {
                assert!(future::poll_once(accept).await.is_none());
            }
            let _client = std::net::TcpStream::connect(addr).unwrap();
            // The first is told, and not polled.
            glommio::timer::sleep(Duration::from_millis(5)).await;
            let accept = accepts.swap_remove(wins);
            drop(accepts);
            timeout(Duration::from_secs(30), accept).await.unwrap();
        }
    });
}

#[test]
fn five_hundred_connections_are_served() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        spawn_local(async move {
            let mut incoming = listener.incoming();
            while let Some(stream) = incoming.next().await {
                let mut stream = stream.unwrap();
                spawn_local(async move {
                    let mut buf = [0; 64];
                    while let Ok(n) = stream.read(&mut buf).await {
                        if n == 0 || stream.write_all(&buf[..n]).await.is_err() {
                            break;
                        }
                    }
                })
                .detach();
            }
        })
        .detach();
        let clients: Vec<_> = (0..500u32)
            .map(|i| {
                spawn_local(async move {
                    let mut stream = TcpStream::connect(addr).await.unwrap();
                    for round in 0..5 {
                        let text = (i * 10 + round).to_le_bytes();
                        stream.write_all(&text).await.unwrap();
                        let mut back = [0; 4];
                        stream.read_exact(&mut back).await.unwrap();
                        assert_eq!(back, text);
                    }
                })
            })
            .collect();
        for client in clients {
            client.await;
        }
    });
}

#[test]
fn an_accepted_connection_moves_to_another_executor() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        let accepted = listener.shared_accept().await.unwrap();
        let other = LocalExecutorBuilder::default()
            .spawn(move || async move {
                let mut stream = accepted.bind_to_executor();
                stream.write_all(b"from the other executor").await.unwrap();
            })
            .unwrap();
        other.join().unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from the other executor");
    });
}

#[test]
fn a_stream_that_was_set_not_to_wait_waits() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        let client = std::net::TcpStream::connect(addr).unwrap();
        client.set_nonblocking(true).unwrap();
        let mut client = TcpStream::from(Socket::from(client));
        let mut server = listener.accept().await.unwrap();
        let mut buf = [0; 16];
        assert!(future::poll_once(client.read(&mut buf)).await.is_none());
        glommio::executor().yield_task_queue_now().await;
        let completed = glommio::internals::ring_counters().completed;
        for _ in 0..20 {
            glommio::executor().yield_task_queue_now().await;
        }
        let more = glommio::internals::ring_counters().completed - completed;
        assert!(more <= 2, "{more} receives that found nothing");
        server.write_all(b"hello").await.unwrap();
        assert_eq!(client.read(&mut buf).await.unwrap(), 5);
    });
}

#[test]
fn a_stream_that_becomes_nonblocking_waits_for_data_and_for_room() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        support::set_nonblocking(&client);
        support::set_nonblocking(&server);
        let reader = spawn_local(async move {
            assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 5);
            client
        });
        nothing_spins().await;
        server.write_all(b"hello").await.unwrap();
        let mut client = reader.await;

        // Small writes, until nothing more is taken.
        const BLOCK: [u8; 8 << 10] = [7; 8 << 10];
        let mut sent = 0;
        while let Ok(n) = timeout(Duration::from_millis(100), async {
            Ok(server.write(&BLOCK).await?)
        })
        .await
        {
            sent += n;
        }
        nothing_spins().await;
        drop(server);
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), sent);
    });
}

#[test]
fn a_listener_that_becomes_nonblocking_waits_for_connections() {
    LocalExecutor::default().run(async {
        let (listener, addr) = listener();
        support::set_nonblocking(&listener);
        let guests = spawn_local(async move {
            for _ in 0..3 {
                listener.accept().await.unwrap();
            }
        });
        for _ in 0..3 {
            nothing_spins().await;
            TcpStream::connect(addr).await.unwrap();
        }
        guests.await;
    });
}
