//! What the user may want to change, drawn from the report.

use crate::model::{Finding, Limits, Report, Rung, Storage, System};
use crate::units::{bytes, number_ranges, plural};

/// A server with fewer descriptors than this runs out of them early.
const COMFORTABLE_OPEN_FILES: u64 = 4096;

/// Everything worth mentioning, most important first. An empty list is good news.
pub fn of(system: &System, storage: &Storage, is_debug_build: bool) -> Vec<Finding> {
    let findings = [
        debug_build(is_debug_build),
        locked_memory(&system.limits),
        open_files(&system.limits),
        cpu_quota(system),
        direct_io(storage),
        switched_off(&system.ladder),
        missing_rungs(system),
        one_cpu(system),
    ];
    findings.into_iter().flatten().collect()
}

/// Adds what only the measurements told.
pub fn after_measuring(report: &mut Report) {
    let failures = report.benchmarks.iter().flat_map(|b| &b.results);
    let failed = failures.filter(|result| result.error.is_some()).count();
    if failed > 0 {
        report.findings.insert(
            0,
            finding(
                "measurements",
                format!(
                    "{} failed; their rows say why",
                    plural(failed, "measurement")
                ),
                "If the cause is not in the system's limits above, please report it together with \
                 the output of this program with --json.",
            ),
        );
    }
}

fn finding(topic: &str, observation: String, advice: impl Into<String>) -> Finding {
    Finding {
        topic: topic.to_string(),
        observation,
        advice: advice.into(),
    }
}

fn debug_build(is_debug_build: bool) -> Option<Finding> {
    is_debug_build.then(|| {
        finding(
            "build",
            "this program was built without optimisation: its numbers mean little".to_string(),
            "Run it with: cargo run --release --example doctor",
        )
    })
}

fn locked_memory(limits: &Limits) -> Option<Finding> {
    let allowed = limits
        .memlock_allowed_bytes
        .filter(|_| !limits.memlock_exempt)?;
    let raise = "Raise the limit: ulimit -l (shell), LimitMEMLOCK= (systemd), --ulimit memlock= \
                 (docker), memlock in /etc/security/limits.conf (login).";
    let (needed, wanted) = (limits.memlock_needed_bytes, limits.memlock_wanted_bytes);
    if allowed < needed {
        let observation = format!(
            "{} allowed, but an executor needs {} on this kernel",
            bytes(allowed),
            bytes(needed)
        );
        return Some(finding("locked memory", observation, raise));
    }
    if allowed < wanted {
        let observation = format!(
            "executors on all CPUs may register up to {} for direct I/O, {} is allowed; the rest \
             works unregistered and takes a little more CPU time per read",
            bytes(wanted),
            bytes(allowed)
        );
        return Some(finding("locked memory", observation, raise));
    }
    None
}

fn open_files(limits: &Limits) -> Option<Finding> {
    let allowed = limits
        .open_files_allowed
        .filter(|&n| n < COMFORTABLE_OPEN_FILES)?;
    let reachable = limits
        .open_files_hard
        .unwrap_or(65_536)
        .min(65_536)
        .max(allowed);
    Some(finding(
        "open files",
        format!("{allowed} allowed; every connection, file and executor takes some"),
        format!(
            "Raise the limit: ulimit -n {reachable} (shell), LimitNOFILE={reachable} (systemd)."
        ),
    ))
}

fn cpu_quota(system: &System) -> Option<Finding> {
    let granted = system.confinement.cpu_quota?;
    let usable = system.topology.usable().len();
    Some(finding(
        "CPU quota",
        format!(
            "the control group grants the time of {}, but {usable} may be used: executors on all \
             of them are stopped when the quota runs out",
            plural(granted, "CPU")
        ),
        format!(
            "Start no more than {}, or raise the quota.",
            plural(granted, "executor")
        ),
    ))
}

fn direct_io(storage: &Storage) -> Option<Finding> {
    (storage.direct_io.supported == Some(false)).then(|| {
        let filesystem = storage.filesystem.as_deref().unwrap_or("the filesystem");
        finding(
            "direct I/O",
            format!("{filesystem} refuses O_DIRECT: reads and writes go through the page cache"),
            "Measure where the data will live: --dir with a directory on ext4, xfs or another \
             filesystem of a disk.",
        )
    })
}

fn switched_off(ladder: &[Rung]) -> Option<Finding> {
    let names: Vec<_> = ladder
        .iter()
        .filter(|rung| rung.disabled_by_knob)
        .map(|rung| rung.name.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        finding(
            "GLOMMIO_DISABLE",
            format!("switches off: {}", names.join(", ")),
            "Unset the variable; it is meant for tests.",
        )
    })
}

fn missing_rungs(system: &System) -> Option<Finding> {
    let missing: Vec<_> = system
        .ladder
        .iter()
        .filter(|rung| !rung.available && !rung.disabled_by_knob)
        .collect();
    let newest = missing
        .iter()
        .map(|rung| rung.since.as_str())
        .max_by_key(|v| version(v))?;
    let total = system.ladder.len();
    Some(finding(
        "kernel",
        format!(
            "{} of {total} features are missing; the ladder says what each costs",
            missing.len()
        ),
        format!("Linux {newest} has them all; everything works without them."),
    ))
}

fn one_cpu(system: &System) -> Option<Finding> {
    let usable = system.topology.usable();
    (usable.len() == 1 && system.topology.cpus.len() > 1).then(|| {
        let online: Vec<_> = system.topology.cpus.iter().map(|cpu| cpu.cpu).collect();
        finding(
            "CPUs",
            format!(
                "only CPU {} of {} may be used: executors share it",
                number_ranges(&usable),
                number_ranges(&online)
            ),
            "Look at the cpuset of the control group, and at taskset.",
        )
    })
}

/// `6.10` is newer than `6.9`.
fn version(text: &str) -> Vec<u32> {
    text.split('.')
        .map(|part| part.parse().unwrap_or(0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    fn topics(report: &Report) -> Vec<String> {
        let findings = of(&report.system, &report.storage, false);
        findings.into_iter().map(|finding| finding.topic).collect()
    }

    #[test]
    fn a_good_machine_has_no_findings() {
        assert_eq!(
            of(&sample::good().system, &sample::good().storage, false),
            []
        );
    }

    #[test]
    fn a_debug_build_is_mentioned_first() {
        let report = sample::poor();
        assert_eq!(of(&report.system, &report.storage, true)[0].topic, "build");
    }

    #[test]
    fn a_poor_machine_has_its_troubles_listed() {
        assert_eq!(
            topics(&sample::poor()),
            [
                "locked memory",
                "open files",
                "CPU quota",
                "direct I/O",
                "GLOMMIO_DISABLE",
                "kernel",
            ]
        );
    }

    #[test]
    fn a_privileged_process_has_no_memlock_finding() {
        let mut report = sample::poor();
        report.system.limits.memlock_exempt = true;
        assert!(!topics(&report).contains(&"locked memory".to_string()));
    }

    #[test]
    fn the_kernel_that_has_everything_is_the_newest_by_number() {
        let mut report = sample::good();
        for (rung, since) in report.system.ladder.iter_mut().zip(["6.9", "6.10", "5.19"]) {
            rung.available = false;
            rung.since = since.to_string();
        }
        let finding = missing_rungs(&report.system).unwrap();
        assert!(finding.advice.starts_with("Linux 6.10 "), "{finding:?}");
    }

    #[test]
    fn a_process_confined_to_one_of_several_cpus_is_told() {
        let mut report = sample::good();
        report.system.topology.cpus[1].usable = false;
        assert_eq!(topics(&report), ["CPUs"]);
        report.system.topology.cpus.truncate(1);
        assert!(
            topics(&report).is_empty(),
            "a machine with one CPU is no mistake"
        );
    }

    #[test]
    fn failed_measurements_come_first() {
        let mut report = sample::poor();
        after_measuring(&mut report);
        assert_eq!(report.findings[0].topic, "measurements");
        let mut report = sample::good();
        after_measuring(&mut report);
        assert!(report.findings.is_empty());
    }
}
