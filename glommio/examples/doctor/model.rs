//! The report as data: what `--json` prints and what the tables are made from.
//!
//! Field names are a contract with scripts. They carry their unit (`_bytes`, `_s`, `_ns`, `_per_s`);
//! `null` means "no limit" or "unknown", as the field says. A change of meaning, a renamed or a
//! removed field raises [`SCHEMA_VERSION`]; a new field does not.

use serde::Serialize;

/// Version of the JSON document.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything the doctor found out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema_version: u32,
    pub glommio_version: String,
    pub verdict: Verdict,
    pub system: System,
    pub storage: Storage,
    /// What the user may want to change, most important first.
    pub findings: Vec<Finding>,
    /// `null` with `--no-bench`, and where glommio cannot run.
    pub benchmarks: Option<Benchmarks>,
}

/// Whether an executor could be started.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    pub can_run: bool,
    /// Cause and cure, in the words of the library's error.
    pub error: Option<String>,
}

/// The machine and what limits this process on it.
#[derive(Debug, Clone, Serialize)]
pub struct System {
    pub kernel: Kernel,
    pub ladder: Vec<Rung>,
    pub limits: Limits,
    pub confinement: Confinement,
    pub topology: Topology,
}

#[derive(Debug, Clone, Serialize)]
pub struct Kernel {
    pub release: String,
    pub architecture: String,
}

/// One optional kernel feature.
#[derive(Debug, Clone, Serialize)]
pub struct Rung {
    pub name: String,
    /// Kernel version that introduced it, such as `5.18`.
    pub since: String,
    pub used_for: String,
    pub cost_of_absence: String,
    pub available: bool,
    /// Switched off by `GLOMMIO_DISABLE` although the kernel may offer it.
    pub disabled_by_knob: bool,
}

#[derive(Debug, Clone, Serialize)]
pub struct Limits {
    /// Locked memory without which no executor starts; 0 from Linux 5.12 to 6.13.
    pub memlock_needed_bytes: u64,
    /// Locked memory that executors on all usable CPUs may register for direct I/O together. With
    /// less, buffers beyond it work unregistered.
    pub memlock_wanted_bytes: u64,
    /// Locked memory this user may have; `null`: no limit.
    pub memlock_allowed_bytes: Option<u64>,
    /// What the limit can be raised to without privileges; `null`: no limit.
    pub memlock_hard_bytes: Option<u64>,
    /// The process is privileged: the limit is not enforced.
    pub memlock_exempt: bool,
    /// Open files this process may have; `null`: no limit.
    pub open_files_allowed: Option<u64>,
    /// What the limit can be raised to without privileges; `null`: no limit.
    pub open_files_hard: Option<u64>,
    /// Open files when the doctor looked; `null`: unknown.
    pub open_files_now: Option<usize>,
}

/// What stands between this process and the kernel.
#[derive(Debug, Clone, Serialize)]
pub struct Confinement {
    /// Container technology, when there are signs of one.
    pub container: Option<String>,
    /// System-call filter: `off`, `strict` or `filter`; `null`: unknown.
    pub seccomp: Option<&'static str>,
    /// The sysctl `kernel.io_uring_disabled`; `null`: this kernel has no such sysctl.
    pub io_uring_disabled: Option<u32>,
    /// The group that may use io_uring although the sysctl is 1; `null`: none.
    pub io_uring_group: Option<u32>,
    /// How many CPUs' time the control group grants, rounded down but at least 1; `null`: as much
    /// as there are usable CPUs.
    pub cpu_quota: Option<usize>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Topology {
    pub cores: usize,
    pub packages: usize,
    pub numa_nodes: usize,
    /// The CPUs that are online.
    pub cpus: Vec<Cpu>,
}

/// A hardware thread.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cpu {
    pub cpu: usize,
    /// The lowest CPU of the same core.
    pub core_leader: usize,
    /// The lowest CPU that shares the last-level cache.
    pub cache_domain: usize,
    pub package: usize,
    pub numa_node: usize,
    /// Whether this process may run there.
    pub usable: bool,
}

/// The storage under a directory.
#[derive(Debug, Clone, Serialize)]
pub struct Storage {
    pub directory: String,
    /// Type of the filesystem; `null`: unknown.
    pub filesystem: Option<String>,
    /// `null`: unknown.
    pub mount_point: Option<String>,
    /// Free space for this user; `null`: unknown.
    pub available_bytes: Option<u64>,
    /// Block device; `null` where the filesystem has none, as tmpfs.
    pub device: Option<Device>,
    pub direct_io: DirectIo,
}

#[derive(Debug, Clone, Serialize)]
pub struct Device {
    pub name: String,
    /// The whole disk, if the device is a partition; else the same as `name`.
    pub disk: String,
    pub major: u32,
    pub minor: u32,
    pub logical_block_bytes: usize,
    pub physical_block_bytes: usize,
    /// Largest transfer in one piece; `null`: unknown.
    pub max_transfer_bytes: Option<usize>,
    /// Whether reads can be polled for.
    pub polling: bool,
    /// How many poll queues the driver has; `null`: it does not say.
    pub poll_queues: Option<u32>,
    /// Spinning disk; `null`: unknown.
    pub rotational: Option<bool>,
}

/// How files in the directory can be opened with `O_DIRECT`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectIo {
    /// `null`: no file could be made there to find out.
    pub supported: Option<bool>,
    /// Unit of offsets, lengths and memory as glommio uses it; `null`: unknown.
    pub alignment_bytes: Option<u64>,
    /// Why glommio could not open a file there; `null`: it could, or it cannot run at all.
    pub error: Option<String>,
}

/// Something the user may want to change.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    pub topic: String,
    pub observation: String,
    pub advice: String,
}

/// The measurements.
#[derive(Debug, Clone, Serialize)]
pub struct Benchmarks {
    pub seconds_per_step: f64,
    pub interrupted: bool,
    pub results: Vec<BenchmarkResult>,
}

/// One measurement: either `measured` or `error` is present.
#[derive(Debug, Clone, Serialize)]
pub struct BenchmarkResult {
    /// Stable identifier.
    pub name: String,
    pub title: String,
    /// CPUs the executors of this measurement were bound to.
    pub cpus: Vec<usize>,
    pub measured: Option<Measured>,
    pub error: Option<String>,
}

/// Throughput of all executors of a measurement together, and the latency of its operations.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measured {
    pub operations: u64,
    pub elapsed_s: f64,
    pub operations_per_s: f64,
    /// `null` where the operation moves no data.
    pub bytes_per_s: Option<f64>,
    pub latency: LatencySummary,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LatencySummary {
    /// Operations timed together; above 1, the percentiles are those of the mean of so many
    /// operations in a row, because reading the clock costs as much as one of them.
    pub operations_per_sample: u64,
    pub samples: u64,
    pub mean_ns: f64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub p999_ns: u64,
    pub max_ns: u64,
}

impl Topology {
    /// The numbers of the CPUs this process may use, in ascending order.
    pub fn usable(&self) -> Vec<usize> {
        self.cpus
            .iter()
            .filter(|cpu| cpu.usable)
            .map(|cpu| cpu.cpu)
            .collect()
    }
}

impl Report {
    /// Whether glommio can run here and every measurement that was asked for succeeded.
    pub fn is_healthy(&self) -> bool {
        let measured = self
            .benchmarks
            .iter()
            .flat_map(|b| &b.results)
            .all(|r| r.error.is_none());
        self.verdict.can_run && measured
    }
}

#[cfg(test)]
mod tests {
    use crate::sample;

    #[test]
    fn json_document() {
        insta::assert_json_snapshot!(sample::good());
    }

    #[test]
    fn health_needs_an_executor_and_every_measurement() {
        assert!(sample::good().is_healthy());
        assert!(!sample::poor().is_healthy(), "a measurement failed");
        assert!(!sample::hopeless().is_healthy(), "no executor");
        let mut unmeasured = sample::good();
        unmeasured.benchmarks = None;
        assert!(unmeasured.is_healthy());
    }
}
