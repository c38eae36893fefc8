//! Children: how they start, how they end, and who waits for them.

use std::{
    io,
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::Path,
    process::Stdio,
    time::Duration,
};

use futures_lite::{
    AsyncReadExt, AsyncWriteExt,
    future::{poll_once, zip},
};
use glommio::{
    GlommioError, LocalExecutor, executor,
    process::{Child, Command},
    signal::{self, Signals},
    spawn_local,
    timer::sleep,
};

use crate::{
    signals::{hold_in_both_threads, receive, send},
    support::{alone, eventually, open_fds, threads},
};

/// A command of the shell.
pub fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// A child that runs until it is killed.
fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg("1000");
    command
}

/// The states of this process's children, such as `S` and `Z` (a zombie).
fn children() -> Vec<char> {
    let me = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name stands in parentheses and may hold anything.
            let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
            let (state, parent) = (fields.next()?, fields.next()?);
            (parent == me).then(|| state.chars().next())?
        })
        .collect()
}

fn no_children_left() {
    eventually("all children are waited for", || children().is_empty());
}

fn error_of<T>(result: Result<T, GlommioError<()>>) -> (io::ErrorKind, String) {
    match result {
        Ok(_) => panic!("it fails"),
        Err(error) => {
            let text = error.to_string();
            (io::Error::from(error).kind(), text)
        }
    }
}

#[test]
fn a_child_gives_its_code_or_the_signal_that_ended_it() {
    LocalExecutor::default().run(async {
        assert_eq!(sh("exit 42").status().await.unwrap().code(), Some(42));
        let killed = sh("kill -9 $$").status().await.unwrap();
        assert_eq!((killed.code(), killed.signal()), (None, Some(9)));
        let output = sh("echo out; echo err >&2; exit 1").output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
    });
}

#[test]
fn a_command_runs_as_often_as_asked_and_as_told() {
    LocalExecutor::default().run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut command = sh("pwd; echo $FRUIT $GONE; cat");
        command
            .current_dir(dir.path())
            .envs([("FRUIT", "pear"), ("GONE", "no")])
            .env_remove("GONE");
        let expected = format!("{}\npear\n", dir.path().canonicalize().unwrap().display());
        for _ in 0..2 {
            let output = command.output().await.unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        }
        // What `output` captured is inherited again: it was not set.
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null());
        child = child.process_group(0);
        let mut child = child.spawn().await.unwrap();
        assert!(child.stdout.is_none() && child.stderr.is_none());
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn what_cannot_be_executed_is_named_with_the_reason() {
    LocalExecutor::default().run(async {
        let dir = tempfile::tempdir().unwrap();
        let (kind, text) = error_of(Command::new("no-such-program").spawn().await);
        assert_eq!(kind, io::ErrorKind::NotFound);
        assert!(
            text.contains("Spawning") && text.contains("no-such-program"),
            "{text}"
        );

        let plain = dir.path().join("plain-file");
        std::fs::write(&plain, "#!/bin/sh\n").unwrap();
        std::fs::set_permissions(&plain, PermissionsExt::from_mode(0o644)).unwrap();
        let (kind, text) = error_of(Command::new(&plain).status().await);
        assert_eq!(kind, io::ErrorKind::PermissionDenied);
        assert!(text.contains("plain-file"), "{text}");

        let (kind, text) = error_of(Command::new("echo").arg("x".repeat(4 << 20)).output().await);
        assert_eq!(kind, io::ErrorKind::ArgumentListTooLong);
        assert!(text.contains("echo"), "{text}");

        let mut elsewhere = Command::new("true");
        elsewhere.current_dir(dir.path().join("missing"));
        assert_eq!(error_of(elsewhere.spawn().await).0, io::ErrorKind::NotFound);
    });
}

#[test]
fn other_tasks_run_while_a_child_is_waited_for() {
    LocalExecutor::default().run(async {
        let mut child = sh("read line").stdin(Stdio::piped()).spawn().await.unwrap();
        let mut input = child.stdin.take().unwrap();
        let task = spawn_local(async move {
            for _ in 0..20 {
                executor().yield_now().await;
            }
            input.write_all(b"go\n").await.unwrap();
            input.close().await.unwrap();
        });
        assert!(child.wait().await.unwrap().success());
        task.await;
    });
}

#[test]
fn a_wait_that_is_given_up_loses_nothing() {
    LocalExecutor::default().run(async {
        let mut child = sleeper().spawn().await.unwrap();
        assert!(child.id().is_some());
        for _ in 0..3 {
            drop(child.wait());
            assert!(poll_once(child.wait()).await.is_none());
            executor().yield_now().await;
            sleep(Duration::from_millis(1)).await;
            assert!(child.try_wait().unwrap().is_none());
        }
        {
            // Given up while its news is on the way.
            let mut wait = std::pin::pin!(child.wait());
            assert!(poll_once(&mut wait).await.is_none());
            executor().yield_now().await;
        }
        child.start_kill().unwrap();
        assert!(
            poll_once(child.wait())
                .await
                .is_none_or(|status| status.is_ok())
        );
        for _ in 0..2 {
            assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGKILL));
        }
        assert_eq!(child.id(), None);
        // Nobody else is hit by it.
        child.start_kill().unwrap();
        child.kill().await.unwrap();
        let error = child.send_signal(libc::SIGTERM).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
        let (kind, _) = error_of(child.send_signal(65));
        assert_eq!(kind, io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_child_has_no_number_any_more_once_a_signal_has_found_it_ended() {
    LocalExecutor::default().run(async {
        for kill in [false, true] {
            let mut child = sh("exit 3").spawn().await.unwrap();
            let pid = child.id().unwrap();
            // Until it has ended, and without taking its status.
            let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
            let options = libc::WEXITED | libc::WNOWAIT;
            // SAFETY: `info` is writable.
            let result = unsafe { libc::waitid(libc::P_PID, pid, info.as_mut_ptr(), options) };
            assert_eq!((result, child.id()), (0, Some(pid)));
            if kill {
                child.start_kill().unwrap();
            } else {
                child.send_signal(libc::SIGTERM).unwrap_err();
            }
            assert_eq!(child.id(), None);
            assert_eq!(child.wait().await.unwrap().code(), Some(3));
        }
    });
}

/// The whole life of a few children, by every way to wait for them.
async fn lives() {
    let mut patient = sleeper().spawn().await.unwrap();
    let mut children: Vec<Child> = Vec::new();
    for code in 0..8 {
        children.push(
            sh(&format!("read x; exit {code}"))
                .stdin(Stdio::piped())
                .spawn()
                .await
                .unwrap(),
        );
    }
    let waits: Vec<_> = children
        .into_iter()
        .map(|mut child| spawn_local(async move { child.wait().await.unwrap().code() }))
        .collect();
    for (code, wait) in waits.into_iter().enumerate() {
        assert_eq!(wait.await, Some(code as i32));
    }
    for _ in 0..2 {
        assert!(poll_once(patient.wait()).await.is_none());
        executor().yield_now().await;
    }
    patient.send_signal(libc::SIGTERM).unwrap();
    assert_eq!(patient.wait().await.unwrap().signal(), Some(libc::SIGTERM));
}

/// Whether this process has so many descriptors and threads at most. What was counted before may have
/// had one on its way out.
fn no_more_than(before: (usize, u64)) -> bool {
    open_fds() <= before.0 && threads() <= before.1
}

fn live_and_leave_nothing(test: &str, disable: &str) {
    alone(test, &[("GLOMMIO_DISABLE", disable)], || {
        LocalExecutor::default().run(async {});
        let before = (open_fds(), threads());
        LocalExecutor::default().run(lives());
        no_children_left();
        eventually("descriptors and threads are back", || no_more_than(before));
    });
}

#[test]
fn children_are_waited_for_on_the_ring() {
    live_and_leave_nothing("children::children_are_waited_for_on_the_ring", "");
}

#[test]
fn children_are_waited_for_through_pidfds() {
    live_and_leave_nothing("children::children_are_waited_for_through_pidfds", "waitid");
}

#[test]
fn children_are_waited_for_by_threads() {
    live_and_leave_nothing("children::children_are_waited_for_by_threads", "all");
}

#[test]
fn a_dropped_child_runs_on_and_leaves_no_zombie() {
    alone(
        "children::a_dropped_child_runs_on_and_leaves_no_zombie",
        &[],
        || {
            let dir = tempfile::tempdir().unwrap();
            let (go, done) = (dir.path().join("go"), dir.path().join("done"));
            let script = format!(
                "until [ -e {} ]; do sleep 0.01; done; : > {}",
                go.display(),
                done.display()
            );
            LocalExecutor::default().run(async {
                for _ in 0..8 {
                    drop(sh(&script).spawn().await.unwrap());
                }
                // One that is waited for, and given up.
                let mut child = sh(&script).spawn().await.unwrap();
                assert!(poll_once(child.wait()).await.is_none());
            });
            // Their executor is gone.
            assert_eq!(children().len(), 9);
            assert!(!children().contains(&'Z'));
            std::fs::write(&go, "").unwrap();
            no_children_left();
            assert!(done.exists());
            eventually("the thread that waited is gone", || {
                !has_thread("glommio-reaper")
            });
        },
    );
}

fn has_thread(name: &str) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let mut names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|comm| comm.trim() == name)
}

#[test]
fn kill_on_drop_ends_the_child_wherever_it_is_dropped() {
    alone(
        "children::kill_on_drop_ends_the_child_wherever_it_is_dropped",
        &[],
        || {
            let executor = LocalExecutor::default();
            let left = executor.run(async {
                let child = sleeper().kill_on_drop(true).spawn().await.unwrap();
                drop(child);
                // While it is waited for.
                let mut child = sleeper().kill_on_drop(true).spawn().await.unwrap();
                assert!(poll_once(child.wait()).await.is_none());
                drop(child);
                let mut command = sleeper();
                let mut status = Box::pin(command.kill_on_drop(true).status());
                assert!(poll_once(&mut status).await.is_none());
                sleep(Duration::from_millis(20)).await;
                drop(status);
                // While it is started.
                for _ in 0..20 {
                    let mut command = sleeper();
                    command.kill_on_drop(true);
                    let _ = poll_once(command.spawn()).await;
                }
                let mut task = sleeper();
                spawn_local(async move { task.kill_on_drop(true).output().await }).detach();
                executor_turns().await;
                sleeper().kill_on_drop(true).spawn().await.unwrap()
            });
            drop(executor);
            drop(left);
            no_children_left();
        },
    );
}

async fn executor_turns() {
    for _ in 0..3 {
        executor().yield_now().await;
    }
}

#[test]
fn a_child_that_was_dropped_while_it_started_runs_on_without_kill_on_drop() {
    alone(
        "children::a_child_that_was_dropped_while_it_started_runs_on_without_kill_on_drop",
        &[],
        || {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("file");
            LocalExecutor::default().run(async {
                let mut command = sh(&format!(": > {}", file.display()));
                let _ = poll_once(command.spawn()).await;
            });
            eventually("the program has run", || file.exists());
            no_children_left();
        },
    );
}

#[test]
fn spawns_leave_no_descriptor_thread_or_zombie() {
    alone(
        "children::spawns_leave_no_descriptor_thread_or_zombie",
        &[],
        || {
            let spawns = std::env::var("GLOMMIO_TEST_SPAWNS");
            let spawns: usize = spawns.map_or(60, |n| n.parse().unwrap());
            LocalExecutor::default().run(async {
                let round = async |number: usize| match number % 4 {
                    0 => assert!(Command::new("true").status().await.unwrap().success()),
                    1 => {
                        let output = Command::new("echo").arg("x").output().await.unwrap();
                        assert_eq!(output.stdout, b"x\n");
                    }
                    2 => drop(Command::new("true").spawn().await.unwrap()),
                    _ => {
                        let mut command = Command::new("cat");
                        command
                            .stdin(Stdio::piped())
                            .stdout(Stdio::piped())
                            .kill_on_drop(true);
                        let mut child = command.spawn().await.unwrap();
                        assert!(poll_once(child.wait()).await.is_none_or(|end| end.is_ok()));
                        let mut output = child.stdout.take().unwrap();
                        let _ = poll_once(output.read(&mut [0; 16])).await;
                    }
                };
                for number in 0..4 {
                    round(number).await;
                }
                sleep(Duration::from_millis(20)).await;
                eventually("the thread that waits is gone", || {
                    !has_thread("glommio-reaper")
                });
                executor_turns().await;
                let before = (open_fds(), threads());
                for number in 0..spawns {
                    round(number).await;
                }
                executor_turns().await;
                no_children_left();
                let back = || no_more_than(before);
                crate::support::eventually_async("descriptors and threads are back", back).await;
            });
        },
    );
}

#[test]
fn a_child_that_outlives_its_executor_is_still_there() {
    LocalExecutor::default().run(async {});
    let executor = LocalExecutor::default();
    let mut child = executor.run(async { sleeper().stdout(Stdio::piped()).spawn().await.unwrap() });
    drop(executor);
    assert!(child.try_wait().unwrap().is_none());
    child.start_kill().unwrap();
    // It may have ended by now, or the error says why that cannot be waited for here.
    match futures_lite::future::block_on(child.wait()) {
        Ok(status) => assert_eq!(status.signal(), Some(libc::SIGKILL)),
        Err(error) => assert!(error.to_string().contains("executor"), "{error}"),
    }
    eventually("its end", || child.try_wait().unwrap().is_some());
}

#[test]
fn a_child_that_somebody_else_waited_for_is_an_error() {
    alone(
        "children::a_child_that_somebody_else_waited_for_is_an_error",
        &[],
        || {
            // SAFETY: no handler is involved. The kernel forgets children at once.
            unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            LocalExecutor::default().run(async {
                let mut child = sh("read x").stdin(Stdio::piped()).spawn().await.unwrap();
                let error = child.wait().await.unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::ECHILD));
                assert!(error.to_string().contains("Waiting"), "{error}");
            });
        },
    );
}

/// Runs children while signals are held, some of them pending.
async fn deaf_to_nothing(ignores: &[i32]) {
    // Twice: the second time, the command has been prepared already.
    let mut command = sh("grep -E 'SigBlk|SigIgn' /proc/self/status; kill -TERM $$; echo survived");
    for _ in 0..2 {
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.signal(), Some(libc::SIGTERM), "{text}");
        let mask = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap().trim(), 16).unwrap()
        };
        assert_eq!(mask("SigBlk:"), 0);
        for signal in [libc::SIGHUP, libc::SIGTERM, libc::SIGINT, libc::SIGPIPE] {
            let is_ignored = mask("SigIgn:") >> (signal - 1) & 1 == 1;
            assert_eq!(is_ignored, ignores.contains(&signal), "signal {signal}");
        }
    }
    let mut child = sleeper().uid(current_user()).spawn().await.unwrap();
    child.send_signal(libc::SIGINT).unwrap();
    assert_eq!(child.wait().await.unwrap().signal(), Some(libc::SIGINT));
}

fn current_user() -> u32 {
    std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap())
}

#[test]
fn a_child_does_not_inherit_that_signals_are_held() {
    alone(
        "children::a_child_does_not_inherit_that_signals_are_held",
        &[],
        || {
            let queued = libc::SIGRTMIN() + 3;
            let held = [libc::SIGTERM, libc::SIGINT, libc::SIGPIPE, queued];
            hold_in_both_threads(&held);
            // They wait in this process while children are started, and are not lost by that.
            send(libc::SIGTERM);
            (0..5).for_each(|_| send(queued));
            LocalExecutor::default().run(async {
                deaf_to_nothing(&[]).await;
                let signals = Signals::new(&held).unwrap();
                for expected in [libc::SIGTERM, queued, queued, queued, queued, queued] {
                    assert_eq!(receive(&signals).await, expected);
                }
                assert_eq!(signals.try_recv().unwrap(), None);
            });
        },
    );
}

#[test]
fn a_child_ignores_what_its_parent_ignored() {
    alone(
        "children::a_child_ignores_what_its_parent_ignored",
        &[],
        || {
            // SAFETY: no handler is involved.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
            let held = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGPIPE];
            signal::block(&held).unwrap();
            LocalExecutor::default().run(deaf_to_nothing(&[libc::SIGHUP]));
        },
    );
}

#[test]
fn a_child_of_a_program_with_a_handler_is_not_deaf_either() {
    extern "C" fn handler(_: i32) {}
    alone(
        "children::a_child_of_a_program_with_a_handler_is_not_deaf_either",
        &[],
        || {
            let handler = handler as extern "C" fn(i32) as *const () as usize;
            // SAFETY: the handler does nothing.
            unsafe { libc::signal(libc::SIGTERM, handler) };
            signal::block(&[libc::SIGTERM, libc::SIGINT]).unwrap();
            LocalExecutor::default().run(deaf_to_nothing(&[]));
        },
    );
}

#[test]
fn sigchld_can_be_waited_for_beside_children() {
    alone(
        "children::sigchld_can_be_waited_for_beside_children",
        &[],
        || {
            LocalExecutor::default().run(async {
                let signals = Signals::new(&[libc::SIGCHLD]).unwrap();
                let mut child = Command::new("true").spawn().await.unwrap();
                let (signal, end) = zip(signals.recv(), child.wait()).await;
                assert_eq!(signal.unwrap(), libc::SIGCHLD);
                assert!(end.unwrap().success());
            });
        },
    );
}

#[test]
fn what_the_standard_library_was_told_is_kept() {
    LocalExecutor::default().run(async {
        let mut std = std::process::Command::new("sh");
        std.args(["-c", "echo $FRUIT"]).env("FRUIT", "plum");
        let output = Command::from(std).output().await.unwrap();
        assert_eq!(output.stdout, b"plum\n");
    });
}

#[test]
fn a_status_does_not_wait_for_pipes_that_nobody_reads() {
    LocalExecutor::default().run(async {
        let mut command = sh("head -c 1000000 /dev/zero; exit 0");
        command.stdout(Stdio::piped()).stdin(Stdio::piped());
        command.status().await.unwrap();
    });
}

#[test]
fn programs_are_found_in_the_path_and_by_their_path() {
    LocalExecutor::default().run(async {
        let dir = tempfile::tempdir().unwrap();
        let script: &Path = &dir.path().join("script");
        std::fs::write(script, "#!/bin/sh\nexit 5\n").unwrap();
        std::fs::set_permissions(script, PermissionsExt::from_mode(0o755)).unwrap();
        // Another test may be between fork and exec, with the script open to write.
        let status = loop {
            match Command::new(script).status().await {
                Err(error) if error.raw_os_error() == Some(libc::ETXTBSY) => {}
                other => break other.unwrap(),
            }
        };
        assert_eq!(status.code(), Some(5));
    });
}
