//! Writing several buffers at a time.

use std::io::IoSlice;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::{LocalExecutor, net::TcpStream, spawn_local};

use super::{pair, pattern};

/// Writes `parts` with as many calls as it takes; returns how many that was.
async fn write_all(stream: &mut TcpStream, parts: &[Vec<u8>]) -> u32 {
    let mut parts: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut parts[..];
    IoSlice::advance_slices(&mut rest, 0);
    let mut calls = 0;
    while !rest.is_empty() {
        let n = stream.write_vectored(rest).await.unwrap();
        assert!(n > 0);
        IoSlice::advance_slices(&mut rest, n);
        calls += 1;
    }
    calls
}

fn parts(lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut start = 0;
    let mut part = |len: &usize| {
        start += len;
        (start - len..start).map(pattern).collect()
    };
    lengths.iter().map(&mut part).collect()
}

#[test]
fn parts_of_any_sizes_arrive_in_order() {
    let many = vec![3; 5_000];
    let lengths: [&[usize]; 7] = [
        &[5],
        &[1, 0, 2, 0, 3],
        &[0, 0, 15_000],
        &[15_000, 15_000, 15_000],
        &[1, 200_000, 1, 0],
        &[40_000; 30],
        &many,
    ];
    LocalExecutor::default().run(async {
        for lengths in lengths {
            let (mut client, mut server) = pair().await;
            let total: usize = lengths.iter().sum();
            let parts = parts(lengths);
            let writer = spawn_local(async move {
                client.write_all(b"first").await.unwrap();
                write_all(&mut client, &parts).await;
                client.write_all(b"last").await.unwrap();
            });
            let mut all = Vec::new();
            server.read_to_end(&mut all).await.unwrap();
            writer.await;
            assert_eq!(all.len(), total + 9);
            assert_eq!(
                (&all[..5], &all[total + 5..]),
                (&b"first"[..], &b"last"[..])
            );
            let mut middle = all[5..total + 5].iter().enumerate();
            assert!(middle.all(|(i, byte)| *byte == pattern(i)));
        }
    });
}

#[test]
fn small_parts_leave_together() {
    LocalExecutor::default().run(async {
        let (mut client, _server) = pair().await;
        assert_eq!(write_all(&mut client, &parts(&[1, 0, 100, 1_000])).await, 1);
    });
}

#[test]
fn nothing_is_written_at_once() {
    LocalExecutor::default().run(async {
        let (mut client, _server) = pair().await;
        let nothing = [IoSlice::new(&[]), IoSlice::new(&[])];
        assert_eq!(client.write_vectored(&nothing).await.unwrap(), 0);
        assert_eq!(client.write_vectored(&[]).await.unwrap(), 0);
    });
}
