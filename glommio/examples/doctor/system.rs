//! Part (a): the kernel, its ladder, the limits and the CPUs, as `glommio::sysinfo` sees them.

use std::num::NonZero;

use glommio::sysinfo::{self, Seccomp};

use crate::model::{Confinement, Cpu, Kernel, Limits, Rung, System, Topology};

/// What an executor may register for direct I/O unless `io_memory` says otherwise.
const IO_MEMORY_BYTES: u64 = 10 << 20;
/// Between these kernels rings are not counted as locked memory. Since the second they are regions
/// of user memory, and counted like any other.
const RINGS_ARE_FREE: std::ops::Range<(u32, u32)> = (5, 12)..(6, 14);
/// What the rings of an executor take on kernels that count them.
const RING_BYTES: u64 = 512 << 10;

/// Examines the machine.
pub fn examine() -> System {
    let kernel = sysinfo::kernel();
    let topology = topology(&sysinfo::topology());
    let usable = topology.usable().len();
    System {
        ladder: ladder(),
        limits: limits(&sysinfo::limits(), kernel.version, usable),
        confinement: confinement(&kernel, usable),
        kernel: Kernel {
            release: kernel.release,
            architecture: kernel.architecture.to_string(),
        },
        topology,
    }
}

fn ladder() -> Vec<Rung> {
    sysinfo::ladder()
        .into_iter()
        .flatten()
        .map(|rung| Rung {
            name: rung.name.to_string(),
            since: rung.since.to_string(),
            used_for: rung.used_for.to_string(),
            cost_of_absence: rung.cost_of_absence.to_string(),
            available: rung.available,
            disabled_by_knob: rung.disabled_by_knob,
        })
        .collect()
}

fn limits(limits: &sysinfo::Limits, version: Option<(u32, u32)>, usable_cpus: usize) -> Limits {
    let rings_count = version.is_some_and(|version| !RINGS_ARE_FREE.contains(&version));
    Limits {
        memlock_needed_bytes: if rings_count { RING_BYTES } else { 0 },
        memlock_wanted_bytes: IO_MEMORY_BYTES * usable_cpus as u64,
        memlock_allowed_bytes: limits.memlock_bytes.soft,
        memlock_hard_bytes: limits.memlock_bytes.hard,
        memlock_exempt: limits.memlock_exempt,
        open_files_allowed: limits.open_files.soft,
        open_files_hard: limits.open_files.hard,
        open_files_now: limits.open_files_now,
    }
}

fn confinement(kernel: &sysinfo::Kernel, usable_cpus: usize) -> Confinement {
    // The standard library takes the control group's quota into account.
    let granted = std::thread::available_parallelism().map_or(usable_cpus, NonZero::get);
    Confinement {
        container: kernel.container.clone(),
        seccomp: match kernel.seccomp {
            Seccomp::Disabled => Some("off"),
            Seccomp::Strict => Some("strict"),
            Seccomp::Filter => Some("filter"),
            _ => None,
        },
        io_uring_disabled: kernel.io_uring_disabled,
        io_uring_group: kernel.io_uring_group,
        cpu_quota: (granted < usable_cpus).then_some(granted),
    }
}

fn topology(topology: &sysinfo::Topology) -> Topology {
    let cpus = topology.cpus.iter().map(|cpu| Cpu {
        cpu: cpu.cpu,
        core_leader: cpu.core_leader,
        cache_domain: cpu.cache_domain,
        package: cpu.package,
        numa_node: cpu.numa_node,
        usable: cpu.usable,
    });
    Topology {
        cores: topology.cores(),
        packages: topology.packages(),
        numa_nodes: topology.numa_nodes(),
        cpus: cpus.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_need_locked_memory_on_old_and_on_new_kernels() {
        let host = sysinfo::limits();
        let needed = |version| limits(&host, version, 1).memlock_needed_bytes;
        assert_eq!(needed(Some((5, 10))), RING_BYTES);
        assert_eq!(needed(Some((5, 12))), 0);
        assert_eq!(needed(Some((6, 12))), 0);
        assert_eq!(needed(Some((6, 18))), RING_BYTES);
        assert_eq!(needed(None), 0);
    }

    #[test]
    fn every_executor_may_register_memory() {
        assert_eq!(
            limits(&sysinfo::limits(), None, 3).memlock_wanted_bytes,
            30 << 20
        );
    }

    #[test]
    fn this_machine_has_a_usable_cpu_and_a_kernel() {
        let system = examine();
        assert!(!system.topology.usable().is_empty());
        assert!(!system.kernel.release.is_empty());
        assert!(!system.ladder.is_empty());
    }
}
