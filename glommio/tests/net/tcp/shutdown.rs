//! Ending a connection in one direction or both.

use std::{
    cell::RefCell, future::poll_fn, io::ErrorKind, net::Shutdown, pin::Pin, rc::Rc, time::Duration,
};

use futures_lite::{AsyncReadExt, AsyncWrite, AsyncWriteExt, future::poll_once};
use glommio::{LocalExecutor, executor, net::TcpStream, spawn_local, timer::timeout};

use super::{pair, pattern};

#[test]
fn what_was_written_arrives_before_the_end() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        client.write_all(b"the question").await.unwrap();
        let shared: &TcpStream = &client;
        shared.shutdown(Shutdown::Write).await.unwrap();
        let mut text = String::new();
        server.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "the question");
        server.write_all(b"the answer").await.unwrap();
        server.shutdown(Shutdown::Both).await.unwrap();
        text.clear();
        client.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "the answer");
        if let Err(error) = client.shutdown(Shutdown::Both).await {
            // The connection may be gone for the kernel, too.
            let error = std::io::Error::from(error);
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
        assert!(
            client.write(b"more").await.is_ok(),
            "taken, and then refused"
        );
        assert!(client.flush().await.is_err());
    });
}

#[test]
fn a_read_that_waits_finds_the_end_when_reading_is_shut_down() {
    LocalExecutor::default().run(async {
        let (client, _server) = pair().await;
        let client = Rc::new(RefCell::new(client));
        let reader = client.clone();
        let reader = spawn_local(async move {
            poll_fn(|cx| {
                let mut stream = reader.borrow_mut();
                futures_lite::AsyncRead::poll_read(Pin::new(&mut *stream), cx, &mut [0; 8])
            })
            .await
        });
        executor().yield_now().await;
        poll_fn(|cx| client.borrow().poll_shutdown(cx, Shutdown::Read))
            .await
            .unwrap();
        assert_eq!(reader.await.unwrap(), 0);
    });
}

/// Writes small blocks until the stream takes nothing more; returns how many bytes it took.
async fn fill(stream: &mut TcpStream) -> usize {
    let mut taken = 0;
    loop {
        let block: Vec<u8> = (taken..taken + 5_000).map(pattern).collect();
        let write = async { Ok(stream.write(&block).await?) };
        match timeout(Duration::from_millis(100), write).await {
            Ok(n) => taken += n,
            // Else the kernel was only slow.
            Err(_) if poll_once(stream.flush()).await.is_none() => return taken,
            Err(_) => {}
        }
    }
}

#[test]
fn everyone_who_waits_for_a_full_stream_is_woken() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let taken = fill(&mut client).await;
        let client = Rc::new(RefCell::new(client));
        let writer = client.clone();
        let writer = spawn_local(async move {
            let next = [pattern(taken)];
            poll_fn(|cx| Pin::new(&mut *writer.borrow_mut()).poll_write(cx, &next)).await
        });
        executor().yield_now().await;
        let ends: Vec<_> = (0..3)
            .map(|_| {
                let client = client.clone();
                spawn_local(async move {
                    poll_fn(|cx| client.borrow().poll_shutdown(cx, Shutdown::Write)).await
                })
            })
            .collect();
        executor().yield_now().await;
        let given_up = poll_once(poll_fn(|cx| {
            client.borrow().poll_shutdown(cx, Shutdown::Both)
        }));
        assert!(given_up.await.is_none());

        let mut all = Vec::new();
        let all_of_it = async { Ok(server.read_to_end(&mut all).await?) };
        timeout(Duration::from_secs(60), all_of_it).await.unwrap();
        assert!(all.iter().enumerate().all(|(i, byte)| *byte == pattern(i)));
        for end in ends {
            end.await.unwrap();
        }
        let late = writer.await.unwrap_or(0);
        // Room for the writer may come before everything is sent, and then it is sent too.
        assert!((taken..=taken + late).contains(&all.len()));
    });
}

#[test]
fn a_shutdown_waits_no_longer_than_a_write_may() {
    LocalExecutor::default().run(async {
        let (mut client, mut server) = pair().await;
        let taken = fill(&mut client).await;
        client
            .set_write_timeout(Some(Duration::from_millis(5)))
            .unwrap();
        let error = client.shutdown(Shutdown::Write).await.unwrap_err();
        assert_eq!(std::io::Error::from(error).kind(), ErrorKind::TimedOut);
        client.set_write_timeout(None).unwrap();
        let reader = spawn_local(async move {
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            all.len()
        });
        client.shutdown(Shutdown::Write).await.unwrap();
        assert_eq!(reader.await, taken);
    });
}
