//! The streams of children.

use std::{fs, io, os::fd::RawFd, process::Stdio, time::Duration};

use futures_lite::{
    AsyncReadExt, AsyncWriteExt,
    future::{poll_once, zip},
};
use glommio::{
    LocalExecutor,
    channels::oneshot,
    executor,
    process::{Child, Command},
    spawn_local,
    timer::sleep,
};

use crate::{
    children::sh,
    support::{alone, nothing_spins, piped_cat, set_nonblocking},
};

fn noise(bytes: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(bytes)
        .collect()
}

async fn through_cat(data: &[u8], step: usize) {
    let mut cat = piped_cat().await;
    let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
    let write = async {
        for part in data.chunks(step) {
            input.write_all(part).await.unwrap();
        }
        input.close().await.unwrap();
        input.close().await.unwrap();
        let error = input.write(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    };
    let read = async {
        let mut all = Vec::new();
        output.read_to_end(&mut all).await.unwrap();
        all
    };
    let ((), all) = zip(write, read).await;
    assert!(all == data, "{} of {} bytes", all.len(), data.len());
    assert!(cat.wait().await.unwrap().success());
}

#[test]
fn what_goes_in_comes_out() {
    LocalExecutor::default().run(async {
        let data = noise(1 << 20);
        through_cat(&data, data.len()).await;
        through_cat(&data, 10_000).await;
        through_cat(&data[..20_000], 7).await;
        through_cat(&[], 1).await;
    });
}

#[test]
fn what_goes_in_comes_out_without_any_rung() {
    alone(
        "pipes::what_goes_in_comes_out_without_any_rung",
        &[("GLOMMIO_DISABLE", "all")],
        || LocalExecutor::default().run(async { through_cat(&noise(1 << 20), 10_000).await }),
    );
}

#[test]
fn both_outputs_are_read_at_once() {
    LocalExecutor::default().run(async {
        let script = "head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; echo end";
        let output = sh(script).output().await.unwrap();
        assert_eq!(output.stdout.len(), 300_004);
        assert_eq!(output.stderr.len(), 300_000);
    });
}

#[test]
fn a_read_that_is_given_up_loses_nothing() {
    LocalExecutor::default().run(async {
        let mut cat = piped_cat().await;
        let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        let mut buf = [0; 16];
        let mut received = Vec::new();
        for round in 0..50u8 {
            assert!(poll_once(output.read(&mut buf)).await.is_none());
            input.write_all(&[round]).await.unwrap();
            for _ in 0..round % 4 {
                executor().yield_now().await;
                if let Some(n) = poll_once(output.read(&mut buf)).await {
                    received.extend_from_slice(&buf[..n.unwrap()]);
                }
            }
            while received.len() <= usize::from(round) {
                let n = output.read(&mut buf).await.unwrap();
                received.extend_from_slice(&buf[..n]);
            }
        }
        assert_eq!(received, (0..50).collect::<Vec<u8>>());
    });
}

#[test]
fn a_child_that_reads_no_more_is_a_broken_pipe() {
    LocalExecutor::default().run(async {
        let mut child = sh("exec <&-; echo closed; read x <&1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let mut output = child.stdout.take().unwrap();
        let mut input = child.stdin.take().unwrap();
        assert_eq!(output.read(&mut [0; 16]).await.unwrap(), 7);
        // A child of another test that has yet to execute its program has all pipes open. Once the
        // pipe is full, a write waits for it.
        let error = loop {
            let write = async {
                input.write_all(b"anyone?").await?;
                input.flush().await
            };
            match write.await {
                Ok(()) => executor().yield_now().await,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        child.kill().await.unwrap();
    });
}

#[test]
fn writes_wait_for_a_child_that_does_not_read() {
    LocalExecutor::default().run(async {
        let mut child = Command::new("sleep")
            .arg("1000")
            .stdin(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .await
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // The pipe and the queue hold 64 KiB each.
        let data = vec![0; 1 << 20];
        {
            let mut write = std::pin::pin!(input.write_all(&data));
            for _ in 0..10 {
                assert!(poll_once(&mut write).await.is_none());
                executor().yield_now().await;
            }
        }
        assert!(poll_once(input.flush()).await.is_none());
        child.kill().await.unwrap();
        let error = input.flush().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    });
}

#[test]
fn what_was_accepted_arrives_although_the_stream_is_dropped() {
    LocalExecutor::default().run(async {
        let data = noise(60_000);
        let mut cat = piped_cat().await;
        let mut input = cat.stdin.take().unwrap();
        input.write_all(&data).await.unwrap();
        drop(input);
        let output = cat.wait_with_output().await.unwrap();
        assert!(output.stdout == data);
    });
}

#[test]
fn one_child_feeds_another() {
    LocalExecutor::default().run(async {
        let mut first = sh("echo pear; echo apple; echo fig >&2")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .await
            .unwrap();
        let stdout: Stdio = first.stdout.take().unwrap().try_into().unwrap();
        let sorted = Command::new("sort").stdin(stdout).output().await.unwrap();
        assert_eq!(sorted.stdout, b"apple\npear\n");
        let output = first.wait_with_output().await.unwrap();
        assert_eq!(output.stderr, b"fig\n");
    });
}

/// Our end of the pipe that is a child's standard input.
fn end_of_input(child: &Child) -> RawFd {
    let pipe = fs::read_link(format!("/proc/{}/fd/0", child.id().unwrap())).unwrap();
    let mut ours = fs::read_dir("/proc/self/fd").unwrap().flatten();
    let end = ours.find(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == pipe));
    end.unwrap().file_name().to_str().unwrap().parse().unwrap()
}

#[test]
fn pipes_that_become_nonblocking_wait_for_data_and_for_room() {
    LocalExecutor::default().run(async {
        let mut cat = piped_cat().await;
        let (mut input, mut output) = (cat.stdin.take().unwrap(), cat.stdout.take().unwrap());
        set_nonblocking(&end_of_input(&cat));
        set_nonblocking(&output);
        let (start, go) = oneshot::oneshot();
        // Read from when asked for: until then the child has nowhere to write to.
        let reader = spawn_local(async move {
            let mut all = vec![0; 4];
            output.read_exact(&mut all).await.unwrap();
            go.await.unwrap();
            output.read_to_end(&mut all).await.unwrap();
            all
        });
        nothing_spins().await;
        let data = noise(1 << 20);
        let theirs = data.clone();
        let writer = spawn_local(async move {
            input.write_all(&theirs).await.unwrap();
            input.close().await.unwrap();
        });
        sleep(Duration::from_millis(100)).await;
        nothing_spins().await;
        start.send(()).unwrap();
        writer.await;
        let all = reader.await;
        assert!(all == data, "{} of {} bytes", all.len(), data.len());
        assert!(cat.wait().await.unwrap().success());
    });
}
