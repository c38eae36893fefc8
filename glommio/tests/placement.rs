//! Placements of a process that may not use every CPU of the host.

use std::{env, process::Command};

use glommio::{
    BuilderErrorKind, CpuSet, GlommioError, LocalExecutorBuilder, Placement, PoolPlacement,
};
use nix::{
    sched::{CpuSet as Mask, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

/// Set in the child of [`in_a_child_bound_to`], which it tells its CPU.
const ONLY_CPU: &str = "GLOMMIO_TEST_ONLY_CPU";

const THIS_THREAD: Pid = Pid::from_raw(0);

/// Runs the test of this name again, in a process that may use one CPU only: a
/// process inherits the affinity of the thread that starts it.
fn in_a_child_bound_to(cpu: usize, test: &'static str) {
    let child = std::thread::spawn(move || {
        let mut mask = Mask::new();
        mask.set(cpu).unwrap();
        sched_setaffinity(THIS_THREAD, &mask).unwrap();
        Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(ONLY_CPU, cpu.to_string())
            .output()
            .unwrap()
    });
    let output = child.join().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert!(text.contains("1 passed"), "no such test: {text}");
}

fn last_allowed_cpu() -> usize {
    let mask = sched_getaffinity(THIS_THREAD).unwrap();
    let mut allowed = (0..Mask::count()).filter(|cpu| mask.is_set(*cpu).unwrap());
    allowed.next_back().unwrap()
}

#[test]
fn only_the_cpus_that_the_process_may_use_are_handed_out() {
    let Ok(only) = env::var(ONLY_CPU) else {
        return in_a_child_bound_to(
            last_allowed_cpu(),
            "only_the_cpus_that_the_process_may_use_are_handed_out",
        );
    };
    let only: usize = only.parse().unwrap();
    let online: Vec<usize> = CpuSet::online().unwrap().iter().map(|at| at.cpu).collect();
    assert_eq!(online, [only]);
    for placement in [
        PoolPlacement::MaxSpread(1, None),
        PoolPlacement::MaxPack(1, None),
    ] {
        let mut generator = placement.generate_cpu_set().unwrap();
        assert_eq!(
            generator.next().map(|at| at.cpu).collect::<Vec<_>>(),
            [only]
        );
    }
    for placement in [
        PoolPlacement::MaxSpread(2, None),
        PoolPlacement::MaxPack(2, None),
    ] {
        let error = placement.generate_cpu_set().unwrap_err();
        assert!(
            matches!(
                error,
                GlommioError::BuilderError(BuilderErrorKind::InsufficientCpus {
                    required: 2,
                    available: 1
                })
            ),
            "{error}"
        );
    }
}

#[test]
fn an_executor_runs_where_it_was_placed() {
    let cpu = last_allowed_cpu();
    let fence = CpuSet::online().unwrap().filter(|at| at.cpu == cpu);
    for placement in [Placement::Fixed(cpu), Placement::Fenced(fence)] {
        let handle = LocalExecutorBuilder::new(placement)
            .spawn(|| async {
                let mask = sched_getaffinity(THIS_THREAD).unwrap();
                (0..Mask::count())
                    .filter(|cpu| mask.is_set(*cpu).unwrap())
                    .collect::<Vec<_>>()
            })
            .unwrap();
        assert_eq!(handle.join().unwrap(), [cpu]);
    }
}

#[test]
fn a_set_without_cpus_is_refused_by_the_builder() {
    let nowhere = CpuSet::online().unwrap().filter(|_| false);
    let error = LocalExecutorBuilder::new(Placement::Fenced(nowhere))
        .make()
        .unwrap_err();
    assert!(
        matches!(
            error,
            GlommioError::BuilderError(BuilderErrorKind::InsufficientCpus {
                required: 1,
                available: 0
            })
        ),
        "{error}"
    );
}
