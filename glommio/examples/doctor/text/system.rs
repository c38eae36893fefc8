//! Kernel, limits, confinement and CPUs.

use super::layout::{fact, heading};
use crate::model::{Confinement, Kernel, Limits, System, Topology, Verdict};
use crate::units::{bytes, number_ranges, plural};

pub fn section(system: &System, verdict: &Verdict, width: usize) -> String {
    let ring = if verdict.can_run {
        "usable"
    } else {
        "not usable: see the end of this report"
    };
    let facts = [
        ("kernel", kernel(&system.kernel)),
        ("io_uring", ring.to_string()),
        ("locked memory", memlock(&system.limits)),
        ("open files", open_files(&system.limits)),
        ("confinement", confinement(&system.confinement)),
        ("CPUs", topology(&system.topology)),
    ];
    let facts: String = facts
        .iter()
        .map(|(label, text)| fact(label, text, width))
        .collect();
    heading("System") + &facts
}

fn kernel(kernel: &Kernel) -> String {
    format!("Linux {} on {}", kernel.release, kernel.architecture)
}

fn memlock(limits: &Limits) -> String {
    let needed = match limits.memlock_needed_bytes {
        0 => "none needed".to_string(),
        count => format!("{} needed", bytes(count)),
    };
    let wanted = bytes(limits.memlock_wanted_bytes);
    let allowed = match limits.memlock_exempt {
        true => "privileged: no limit".to_string(),
        false => allowance(
            limits.memlock_allowed_bytes,
            limits.memlock_hard_bytes,
            bytes,
        ),
    };
    format!("{allowed}; {needed}, up to {wanted} used")
}

fn open_files(limits: &Limits) -> String {
    let allowed = allowance(limits.open_files_allowed, limits.open_files_hard, |n| {
        n.to_string()
    });
    match limits.open_files_now {
        Some(count) => format!("{allowed}; {count} open now"),
        None => allowed,
    }
}

/// A soft limit, and the hard one where it is higher.
fn allowance(soft: Option<u64>, hard: Option<u64>, show: fn(u64) -> String) -> String {
    match (soft, hard) {
        (None, _) => "no limit".to_string(),
        (Some(soft), None) => format!("{} allowed, without limit if raised", show(soft)),
        (Some(soft), Some(hard)) if hard > soft => {
            format!("{} allowed, up to {} if raised", show(soft), show(hard))
        }
        (Some(soft), Some(_)) => format!("{} allowed", show(soft)),
    }
}

fn confinement(confinement: &Confinement) -> String {
    let container = match &confinement.container {
        Some(name) => format!("container: {name}"),
        None => "no container noticed".to_string(),
    };
    let seccomp = format!("seccomp {}", confinement.seccomp.unwrap_or("unknown"));
    let sysctl = match (confinement.io_uring_disabled, confinement.io_uring_group) {
        (None, _) => None,
        (Some(1), Some(group)) => Some(format!(
            "kernel.io_uring_disabled = 1 but for group {group}"
        )),
        (Some(value), _) => Some(format!("kernel.io_uring_disabled = {value}")),
    };
    let quota = confinement
        .cpu_quota
        .map(|cpus| format!("CPU quota of {cpus}"));
    let all = [Some(container), Some(seccomp), sysctl, quota];
    all.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn topology(topology: &Topology) -> String {
    let usable = topology.usable();
    let ours = match usable.len() == topology.cpus.len() {
        true => "all usable".to_string(),
        false => format!("usable: {}", number_ranges(&usable)),
    };
    format!(
        "{} online, {ours}; {}, {}, {}",
        topology.cpus.len(),
        plural(topology.cores, "core"),
        plural(topology.packages, "package"),
        plural(topology.numa_nodes, "NUMA node"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_is_shown_where_it_helps() {
        let shown = |soft, hard| allowance(soft, hard, bytes);
        assert_eq!(shown(None, None), "no limit");
        assert_eq!(
            shown(Some(8 << 20), None),
            "8 MiB allowed, without limit if raised"
        );
        assert_eq!(shown(Some(8 << 20), Some(8 << 20)), "8 MiB allowed");
        assert_eq!(
            shown(Some(0), Some(8 << 20)),
            "0 B allowed, up to 8 MiB if raised"
        );
    }
}
