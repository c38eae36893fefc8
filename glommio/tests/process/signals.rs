//! Signals that are waited for.

use std::{
    ffi::c_int,
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Waker},
    thread,
    time::Duration,
};

use futures_lite::future::{poll_once, zip};
use glommio::{
    GlommioError, LocalExecutor, LocalExecutorBuilder, LocalExecutorPoolBuilder, Placement,
    PoolPlacement, executor,
    signal::{self, Signals},
    spawn_local,
    timer::timeout,
};

use crate::flag::Flag;
use crate::support::{alone, eventually, eventually_async, open_fds, threads};

pub(crate) fn send(signal: c_int) {
    // SAFETY: no preconditions.
    let sent = unsafe { libc::kill(libc::getpid(), signal) };
    assert_eq!(sent, 0, "{}", io::Error::last_os_error());
}

/// Whether `signal` is blocked in the calling thread.
fn is_blocked(signal: c_int) -> bool {
    is_blocked_in("thread-self", signal)
}

/// Whether `signal` is blocked in the thread with that directory in `/proc`.
fn is_blocked_in(thread: &str, signal: c_int) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
    let mask = u64::from_str_radix(mask.unwrap().trim(), 16).unwrap();
    mask >> (signal - 1) & 1 == 1
}

/// Holds `signals` in the calling thread and in the only other one of a process of its own, the main
/// thread of the test harness. What is sent to the process from then on waits at once, instead of being
/// passed on by the main thread some time later.
pub(crate) fn hold_in_both_threads(signals: &[c_int]) {
    signal::block(signals).unwrap();
    let main = std::process::id();
    // SAFETY: no preconditions.
    if unsafe { libc::gettid() } == main as libc::pid_t {
        return;
    }
    for &signal in signals {
        // It blocks all of them while it starts the calling thread.
        eventually("the main thread waits for the test", || {
            !is_blocked_in(&format!("self/task/{main}"), signal)
        });
        // SAFETY: no preconditions; the signal is held.
        let sent = unsafe { libc::syscall(libc::SYS_tgkill, main, main, signal) };
        assert_eq!(sent, 0, "{}", io::Error::last_os_error());
        let passed_on = async { receive(&Signals::new(&[signal]).unwrap()).await };
        assert_eq!(LocalExecutor::default().run(passed_on), signal);
    }
}

/// A signal that was sent, or a failure where none arrives.
pub(crate) async fn receive(signals: &Signals) -> c_int {
    timeout(Duration::from_secs(30), signals.recv())
        .await
        .expect("a signal arrives")
}

fn kind<T>(result: Result<T, GlommioError<()>>) -> io::ErrorKind {
    match result {
        Ok(_) => panic!("it is refused"),
        Err(error) => io::Error::from(error).kind(),
    }
}

#[test]
fn a_signal_wakes_who_waits_for_it_and_is_received_once() {
    alone(
        "signals::a_signal_wakes_who_waits_for_it_and_is_received_once",
        &[],
        || {
            LocalExecutor::default().run(async {
                let signals = Signals::new(&[libc::SIGTERM, libc::SIGHUP]).unwrap();
                for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGTERM] {
                    let (received, ()) = zip(signals.recv(), async { send(signal) }).await;
                    assert_eq!(received.unwrap(), signal);
                    assert_eq!(signals.try_recv().unwrap(), None);
                }
            });
        },
    );
}

#[test]
fn a_signal_from_outside_arrives_while_the_executor_sleeps() {
    alone(
        "signals::a_signal_from_outside_arrives_while_the_executor_sleeps",
        &[],
        || {
            LocalExecutor::default().run(async {
                let signals = Signals::new(&[libc::SIGTERM]).unwrap();
                let kill = format!("kill -TERM {}", std::process::id());
                let mut kill = std::process::Command::new("sh")
                    .args(["-c", &kill])
                    .spawn()
                    .unwrap();
                assert_eq!(signals.recv().await.unwrap(), libc::SIGTERM);
                assert!(kill.wait().unwrap().success());
            });
        },
    );
}

#[test]
fn numbers_that_cannot_be_waited_for_are_refused() {
    LocalExecutor::default().run(async {
        let max = libc::SIGRTMAX();
        for signal in [0, -3, max + 1, i32::MAX, libc::SIGKILL, libc::SIGSTOP] {
            assert_eq!(
                kind(Signals::new(&[signal])),
                io::ErrorKind::InvalidInput,
                "{signal}"
            );
            assert_eq!(kind(signal::block(&[signal])), io::ErrorKind::InvalidInput);
        }
        for fault in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
            assert_eq!(
                kind(Signals::new(&[libc::SIGUSR1, fault])),
                io::ErrorKind::InvalidInput
            );
        }
        // Nothing was done by halves.
        assert!(!is_blocked(libc::SIGUSR1));
        assert_eq!(kind(Signals::new(&[])), io::ErrorKind::InvalidInput);
        signal::block(&[]).unwrap();
    });
}

#[test]
fn a_dropped_recv_loses_no_signal() {
    alone("signals::a_dropped_recv_loses_no_signal", &[], || {
        LocalExecutor::default().run(async {
            let signal = libc::SIGRTMIN();
            let signals = Signals::new(&[signal]).unwrap();

            // Unpolled, and with a poll in flight.
            drop(signals.recv());
            assert!(poll_once(signals.recv()).await.is_none());
            executor().yield_now().await;
            send(signal);
            assert_eq!(signals.recv().await.unwrap(), signal);

            // Woken, and not polled since.
            let flag = Arc::new(Flag::default());
            let waker = Waker::from(flag.clone());
            {
                let mut recv = pin!(signals.recv());
                let mut cx = Context::from_waker(&waker);
                assert!(recv.as_mut().poll(&mut cx).is_pending());
                send(signal);
                eventually_async("the wake-up", || flag.is_set()).await;
            }
            assert_eq!(signals.recv().await.unwrap(), signal);
            assert_eq!(signals.try_recv().unwrap(), None);
        });
    });
}

#[test]
fn signals_are_received_exactly_once_by_receivers_that_come_and_go() {
    const SHARDS: usize = 3;
    const SIGNALS: usize = 600;
    alone(
        "signals::signals_are_received_exactly_once_by_receivers_that_come_and_go",
        &[],
        || {
            let signal = libc::SIGRTMIN() + 1;
            signal::block(&[signal]).unwrap();
            let received = Arc::new(AtomicUsize::new(0));
            let count = received.clone();
            let ready = Arc::new(Barrier::new(SHARDS + 1));
            let is_ready = ready.clone();
            let shards = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(SHARDS))
                .on_all_shards(move || async move {
                    let stop = executor().stop_handle();
                    is_ready.wait();
                    while !stop.is_requested() {
                        // A new one for each few signals, given up with a poll in flight.
                        let signals = Signals::new(&[signal]).unwrap();
                        for _ in 0..3 {
                            match stop.run_until_stopped(signals.recv()).await {
                                Some(number) => {
                                    assert_eq!(number.unwrap(), signal);
                                    count.fetch_add(1, Ordering::SeqCst);
                                }
                                None => break,
                            }
                        }
                        let _ = poll_once(signals.recv()).await.map(|number| {
                            assert_eq!(number.unwrap(), signal);
                            count.fetch_add(1, Ordering::SeqCst)
                        });
                    }
                })
                .unwrap();
            ready.wait();
            for _ in 0..SIGNALS {
                send(signal);
            }
            eventually("all signals", || received.load(Ordering::SeqCst) >= SIGNALS);
            shards.stop_handle().request_stop();
            for shard in shards.join_all() {
                shard.unwrap();
            }
            assert_eq!(received.load(Ordering::SeqCst), SIGNALS);
            LocalExecutor::default().run(async {
                let signals = Signals::new(&[signal]).unwrap();
                assert_eq!(signals.try_recv().unwrap(), None);
            });
        },
    );
}

#[test]
fn two_receivers_of_one_executor_share_the_signals() {
    alone(
        "signals::two_receivers_of_one_executor_share_the_signals",
        &[],
        || {
            LocalExecutor::default().run(async {
                let signal = libc::SIGRTMAX();
                let signals = std::rc::Rc::new(Signals::new(&[signal]).unwrap());
                let tasks: Vec<_> = (0..4)
                    .map(|_| {
                        let signals = signals.clone();
                        spawn_local(async move { signals.recv().await.unwrap() })
                    })
                    .collect();
                executor().yield_now().await;
                for _ in 0..tasks.len() {
                    send(signal);
                }
                for task in tasks {
                    assert_eq!(task.await, signal);
                }
                assert_eq!(signals.try_recv().unwrap(), None);
            });
        },
    );
}

#[test]
fn standard_signals_coalesce_and_real_time_signals_queue() {
    alone(
        "signals::standard_signals_coalesce_and_real_time_signals_queue",
        &[],
        || {
            let (standard, first, second) =
                (libc::SIGUSR2, libc::SIGRTMIN() + 2, libc::SIGRTMIN() + 5);
            hold_in_both_threads(&[standard, first, second]);
            LocalExecutor::default().run(async {
                let signals = Signals::new(&[standard, first, second]).unwrap();
                for signal in [second, standard, first, standard, second, standard] {
                    send(signal);
                }
                let mut received = Vec::new();
                while let Some(signal) = signals.try_recv().unwrap() {
                    received.push(signal);
                }
                assert_eq!(received, [standard, first, second, second]);
            });
        },
    );
}

#[test]
fn a_signal_waits_for_the_next_receiver() {
    alone("signals::a_signal_waits_for_the_next_receiver", &[], || {
        signal::block(&[libc::SIGTERM]).unwrap();
        send(libc::SIGTERM);
        let receive = || async {
            let signals = Signals::new(&[libc::SIGTERM]).unwrap();
            signals.recv().await.unwrap()
        };
        assert_eq!(LocalExecutor::default().run(receive()), libc::SIGTERM);
        // Between two executors.
        send(libc::SIGTERM);
        let executor = LocalExecutorBuilder::new(Placement::Unbound).spawn(receive);
        assert_eq!(executor.unwrap().join().unwrap(), libc::SIGTERM);
    });
}

#[test]
fn threads_that_know_nothing_of_it_do_not_let_the_signal_end_the_process() {
    alone(
        "signals::threads_that_know_nothing_of_it_do_not_let_the_signal_end_the_process",
        &[],
        || {
            // Started first: they let every signal through. So does the main thread of the harness.
            let (end, until_end) = mpsc::channel::<()>();
            let until_end = Arc::new(std::sync::Mutex::new(until_end));
            let all_run = Arc::new(Barrier::new(5));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (until_end, all_run) = (until_end.clone(), all_run.clone());
                    thread::spawn(move || {
                        assert!(!is_blocked(libc::SIGTERM));
                        all_run.wait();
                        let _ = until_end.lock().unwrap().recv();
                    })
                })
                .collect();
            // The first signal that passes through a thread is blocked there from then on.
            all_run.wait();
            // One of them is ignored by default, one by this program.
            // SAFETY: no handler is involved.
            unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) };
            let all = [libc::SIGTERM, libc::SIGWINCH, libc::SIGHUP, libc::SIGALRM];
            let task = LocalExecutorBuilder::new(Placement::Unbound).spawn(move || async move {
                for round in 0..50 {
                    let signal = all[round % all.len()];
                    let signals = Signals::new(&[signal]).unwrap();
                    send(signal);
                    assert_eq!(signals.recv().await.unwrap(), signal);
                }
            });
            task.unwrap().join().unwrap();
            drop(end);
            for thread in threads {
                thread.join().unwrap();
            }
        },
    );
}

#[test]
fn threads_of_the_runtime_block_what_is_waited_for() {
    alone(
        "signals::threads_of_the_runtime_block_what_is_waited_for",
        &[],
        || {
            // Elsewhere than in the thread that starts the executors.
            thread::spawn(|| signal::block(&[libc::SIGTERM]).unwrap())
                .join()
                .unwrap();
            assert!(!is_blocked(libc::SIGTERM));
            let check = || async {
                assert!(is_blocked(libc::SIGTERM));
                assert!(!is_blocked(libc::SIGHUP), "and nothing else");
                let job = || (is_blocked(libc::SIGTERM), is_blocked(libc::SIGHUP));
                assert_eq!(executor().spawn_blocking(job).await, (true, false));
            };
            let one = LocalExecutorBuilder::new(Placement::Unbound).spawn(check);
            one.unwrap().join().unwrap();
            let pool = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(2));
            for shard in pool.on_all_shards(check).unwrap().join_all() {
                shard.unwrap();
            }
        },
    );
}

#[test]
fn one_interrupt_completes_every_ctrl_c_of_every_executor() {
    const SHARDS: usize = 3;
    alone(
        "signals::one_interrupt_completes_every_ctrl_c_of_every_executor",
        &[],
        || {
            let waiting = Arc::new(AtomicUsize::new(0));
            let theirs = waiting.clone();
            let shards = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(SHARDS))
                .on_all_shards(move || async move {
                    let first = spawn_local(signal::ctrl_c());
                    let second = spawn_local(signal::ctrl_c());
                    executor().yield_now().await;
                    theirs.fetch_add(1, Ordering::SeqCst);
                    first.await.unwrap();
                    second.await.unwrap();
                })
                .unwrap();
            eventually("all wait", || waiting.load(Ordering::SeqCst) == SHARDS);
            send(libc::SIGINT);
            for shard in shards.join_all() {
                shard.unwrap();
            }
        },
    );
}

#[test]
fn ctrl_c_may_be_dropped_and_waited_for_again() {
    alone(
        "signals::ctrl_c_may_be_dropped_and_waited_for_again",
        &[],
        || {
            LocalExecutor::default().run(async {
                drop(signal::ctrl_c());
                assert!(poll_once(signal::ctrl_c()).await.is_none());
                // Nobody waits, nothing ends; the next one finds it.
                send(libc::SIGINT);
                signal::ctrl_c().await.unwrap();
                assert!(poll_once(signal::ctrl_c()).await.is_none(), "it is over");

                // One of two is gone when it comes.
                let (mut gone, mut stays) =
                    (Box::pin(signal::ctrl_c()), Box::pin(signal::ctrl_c()));
                assert!(poll_once(&mut gone).await.is_none());
                assert!(poll_once(&mut stays).await.is_none());
                drop(gone);
                send(libc::SIGINT);
                stays.await.unwrap();
            });
        },
    );
}

#[test]
fn a_signal_stops_a_pool_through_its_handle() {
    alone(
        "signals::a_signal_stops_a_pool_through_its_handle",
        &[],
        || {
            signal::block(&[libc::SIGTERM]).unwrap();
            let shards = LocalExecutorPoolBuilder::new(PoolPlacement::Unbound(3))
                .on_all_shards(|| async {
                    let stop = executor().stop_handle();
                    let signals = Signals::new(&[libc::SIGTERM]).unwrap();
                    if let Some(signal) = stop.run_until_stopped(signals.recv()).await {
                        assert_eq!(signal.unwrap(), libc::SIGTERM);
                        stop.request_stop();
                        return 1;
                    }
                    0
                })
                .unwrap();
            send(libc::SIGTERM);
            let received: i32 = shards.join_all().into_iter().map(Result::unwrap).sum();
            assert_eq!(received, 1);
        },
    );
}

#[test]
fn signals_that_outlive_their_executor_report_an_error() {
    alone(
        "signals::signals_that_outlive_their_executor_report_an_error",
        &[],
        || {
            let executor = LocalExecutor::default();
            let signals = executor.run(async { Signals::new(&[libc::SIGTERM]).unwrap() });
            drop(executor);
            let error = futures_lite::future::block_on(signals.recv()).unwrap_err();
            assert!(error.to_string().contains("executor"), "{error}");
            send(libc::SIGTERM);
            eventually("the signal", || {
                signals.try_recv().unwrap() == Some(libc::SIGTERM)
            });
        },
    );
}

#[test]
fn descriptors_and_threads_are_back() {
    alone("signals::descriptors_and_threads_are_back", &[], || {
        let round = || {
            LocalExecutor::default().run(async {
                for _ in 0..100 {
                    let signals = Signals::new(&[libc::SIGUSR1]).unwrap();
                    assert!(poll_once(signals.recv()).await.is_none());
                    let _ = poll_once(signal::ctrl_c()).await;
                    executor().yield_now().await;
                }
            });
        };
        round();
        let before = (open_fds(), threads());
        round();
        eventually("descriptors and threads are back", || {
            open_fds() <= before.0 && threads() <= before.1
        });
    });
}
