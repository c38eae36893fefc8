//! An executor polls while something is in flight, and only then.

use std::{cell::Cell, rc::Rc, time::Duration};

use glommio::{
    LocalExecutor, LocalExecutorBuilder, Placement,
    internals::{polled_ring_counters, ring_counters},
    timer::sleep,
};

use super::{BLOCK, check, cpu::thread_cpu_ticks, filled, polled_dir, stats};

#[test]
fn dd301_an_idle_executor_with_open_polled_files_uses_no_cpu() {
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        let file = filled(&dir.path().join("file"), 8).await;
        for number in 0..8 {
            check(&file, number).await;
        }
        let ticks = thread_cpu_ticks();
        let (main, polled) = (ring_counters(), polled_ring_counters().unwrap());
        sleep(Duration::from_secs(2)).await;
        assert_eq!(polled_ring_counters().unwrap().enters, polled.enters);
        let enters = ring_counters().enters - main.enters;
        assert!(enters <= 100, "{enters} system calls in 2 s of idling");
        let ticks = thread_cpu_ticks() - ticks;
        assert!(ticks <= 30, "{ticks} clock ticks of CPU in 2 s of idling");
        check(&file, 5).await;
    });
}

#[test]
fn timers_and_other_threads_are_heard_while_devices_are_polled() {
    let Some(dir) = polled_dir() else { return };
    LocalExecutor::default().run(async {
        let file = Rc::new(filled(&dir.path().join("file"), 8).await);
        let done = Rc::new(Cell::new(false));
        let (reads, ends) = (file.clone(), done.clone());
        let reader = glommio::spawn_local(async move {
            while !ends.get() {
                check(&reads, 3).await;
            }
        });
        let (sender, receiver) = async_channel::bounded(1);
        let sends = std::thread::spawn(move || {
            for i in 0..100 {
                sender.send_blocking(i).unwrap();
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        for i in 0..100 {
            assert_eq!(receiver.recv().await.unwrap(), i);
        }
        for _ in 0..20 {
            sleep(Duration::from_millis(1)).await;
        }
        done.set(true);
        reader.await;
        sends.join().unwrap();
    });
}

/// On one CPU, with a priority above every thread of the kernel that might be needed.
#[test]
fn an_executor_with_a_real_time_priority_leaves_the_cpu_to_the_kernels_threads() {
    let Some(dir) = polled_dir() else { return };
    let builder = LocalExecutorBuilder::new(Placement::Fixed(0));
    let executor = builder.spawn(move || async move {
        let parameter = libc::sched_param { sched_priority: 1 };
        // SAFETY: a plain call; the structure lives across it.
        if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &parameter) } != 0 {
            return super::support::skip("no right to a real-time priority");
        }
        for round in 0..4 {
            let path = dir.path().join(format!("file{round}"));
            let file = filled(&path, 16).await;
            file.fdatasync().await.unwrap();
            for number in 0..16 {
                check(&file, number).await;
            }
            file.close().await.unwrap();
        }
        assert_eq!(stats().poll_ring.file_reads(), (64, 64 * BLOCK as u64));
    });
    executor.unwrap().join().unwrap();
}
