//! Runs the tests of a set: every pass in every place, several tests at a time.

use std::{
    collections::HashSet,
    io::Write,
    num::NonZeroUsize,
    sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    plan::{PASSES, Pass, PassIn, Place},
    process::{self, Ended, Outcome},
    report::Report,
    set::{Set, Test},
};

pub struct Settings {
    pub places: Vec<Place>,
    pub passes: Vec<PassIn>,
    pub jobs: NonZeroUsize,
    pub time_limit: Duration,
}

pub fn run<W: Write>(
    set: &Set,
    tests: &[Test],
    settings: &Settings,
    report: &mut Report<W>,
) -> Result<()> {
    // Linux patches its own code when the first ring with an index array comes and when the last one
    // goes. qemu's emulation has other CPUs run the code half patched at times, which is a panic (seen
    // with 7.2, "int3" in io_submit_sqes). With this ring there is no first and no last one meanwhile.
    let _ring = io_uring::IoUring::new(2);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let commit = match set.commit() {
        "" => "unknown",
        commit => commit,
    };
    report.say(&format!(
        "{} tests of commit {commit} on Linux {}",
        tests.len(),
        kernel.trim()
    ))?;
    for asked in &settings.passes {
        asked.check(&settings.places)?;
    }
    for asked in &settings.passes {
        let pass = asked.pass;
        let whole = pass == PASSES[0];
        let mut here: Vec<&Test> = tests
            .iter()
            .filter(|test| whole || !test.kernel_independent)
            .collect();
        let places = settings.places.iter();
        for place in places.filter(|place| asked.is_made_in(place)) {
            let suite = format!("{}@{}", pass.name, place.name);
            let start = Instant::now();
            let with_files = run_suite(set, &here, pass, place, settings, &suite, report)?;
            report.suite(&suite, start.elapsed())?;
            // Where files lie makes no difference to the rest.
            here.retain(|test| with_files.contains(&test.full_name()));
        }
    }
    Ok(())
}

/// Runs `tests`; which of them made files, or failed before they could.
fn run_suite<W: Write>(
    set: &Set,
    tests: &[&Test],
    pass: Pass,
    place: &Place,
    settings: &Settings,
    suite: &str,
    report: &mut Report<W>,
) -> Result<HashSet<String>> {
    let mut with_files = HashSet::new();
    let mut ended = |test: &Test, ended: Ended| -> Result<()> {
        let name = test.full_name();
        report.test(suite, &name, &ended.outcome, ended.took)?;
        if ended.made_files || matches!(ended.outcome, Outcome::Failed { .. }) {
            with_files.insert(name);
        }
        Ok(())
    };
    let run_one = |test: &Test| {
        // An error is that of this program; it has no `Send`.
        process::run(set, test, pass, place, settings.time_limit).map_err(|e| e.to_string())
    };

    let (alone, together): (Vec<&Test>, Vec<&Test>) = tests.iter().partition(|test| test.alone);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (results, received) = mpsc::channel();
        for _ in 0..settings.jobs.get() {
            let results = results.clone();
            scope.spawn(|| {
                // Ends early when nobody wants the results any more.
                let results = results;
                while let Some(test) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if results.send((*test, run_one(test))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(results);
        for (test, result) in received {
            ended(test, result?)?;
        }
        Result::Ok(())
    })?;
    for test in alone {
        ended(test, run_one(test)?)?;
    }
    Ok(with_files)
}
