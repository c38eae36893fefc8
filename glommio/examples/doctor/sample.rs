//! Two made-up reports for tests: a machine where all is well, and one where little is.

use crate::model::{
    BenchmarkResult, Benchmarks, Confinement, Cpu, Device, DirectIo, Finding, Kernel,
    LatencySummary, Limits, Measured, Report, Rung, SCHEMA_VERSION, Storage, System, Topology,
    Verdict,
};

/// A new kernel on bare metal with an NVMe disk.
pub fn good() -> Report {
    Report {
        schema_version: SCHEMA_VERSION,
        glommio_version: "0.9.10".to_string(),
        verdict: Verdict {
            can_run: true,
            error: None,
        },
        system: System {
            kernel: Kernel {
                release: "6.18.1".to_string(),
                architecture: "x86_64".to_string(),
            },
            ladder: ladder([true; 3]),
            limits: Limits {
                memlock_needed_bytes: 0,
                memlock_wanted_bytes: 20 << 20,
                memlock_allowed_bytes: None,
                memlock_hard_bytes: None,
                memlock_exempt: false,
                open_files_allowed: Some(65_536),
                open_files_hard: Some(524_288),
                open_files_now: Some(4),
            },
            confinement: Confinement {
                container: None,
                seccomp: Some("off"),
                io_uring_disabled: Some(0),
                io_uring_group: None,
                cpu_quota: None,
            },
            topology: topology(&[0, 1]),
        },
        storage: Storage {
            directory: "/srv/data".to_string(),
            filesystem: Some("xfs".to_string()),
            mount_point: Some("/srv".to_string()),
            available_bytes: Some(800 << 30),
            device: Some(Device {
                name: "nvme0n1p2".to_string(),
                disk: "nvme0n1".to_string(),
                major: 259,
                minor: 2,
                logical_block_bytes: 512,
                physical_block_bytes: 4096,
                max_transfer_bytes: Some(1 << 20),
                polling: true,
                poll_queues: Some(2),
                rotational: Some(false),
            }),
            direct_io: DirectIo {
                supported: Some(true),
                alignment_bytes: Some(512),
                error: None,
            },
        },
        findings: vec![],
        benchmarks: Some(Benchmarks {
            seconds_per_step: 2.0,
            interrupted: false,
            results: vec![
                measured(
                    "nop_round_trip",
                    "NOP round trip",
                    &[0, 1],
                    rates(3_420_000.0, None, 1),
                ),
                measured("yield_now", "yield", &[0, 1], rates(51_300_000.0, None, 64)),
                measured(
                    "tcp_echo_64",
                    "TCP echo, 64 connections",
                    &[0, 1],
                    rates(214e3, None, 1),
                ),
                measured(
                    "random_read_32",
                    "random read 4 KiB, depth 32",
                    &[0],
                    rates(102_400.0, Some(102_400.0 * 4096.0), 1),
                ),
            ],
        }),
    }
}

/// An old kernel in a container with tight limits, on tmpfs, where a measurement fails.
pub fn poor() -> Report {
    let mut report = good();
    report.system.kernel.release = "5.10.0-33-arm64".to_string();
    report.system.kernel.architecture = "aarch64".to_string();
    report.system.ladder = ladder([true, false, false]);
    report.system.ladder[1].disabled_by_knob = true;
    report.system.limits = Limits {
        memlock_needed_bytes: 512 << 10,
        memlock_wanted_bytes: 40 << 20,
        memlock_allowed_bytes: Some(64 << 10),
        memlock_hard_bytes: Some(64 << 10),
        memlock_exempt: false,
        open_files_allowed: Some(1024),
        open_files_hard: Some(4096),
        open_files_now: None,
    };
    report.system.confinement = Confinement {
        container: Some("docker".to_string()),
        seccomp: Some("filter"),
        io_uring_disabled: Some(1),
        io_uring_group: Some(1001),
        cpu_quota: Some(1),
    };
    report.system.topology = topology(&[1, 2, 3]);
    report.storage.filesystem = Some("tmpfs".to_string());
    report.storage.device = None;
    report.storage.direct_io = DirectIo {
        supported: Some(false),
        alignment_bytes: Some(512),
        error: None,
    };
    report.findings = vec![Finding {
        topic: "locked memory".to_string(),
        observation: "64 KiB allowed, but an executor needs 512 KiB on this kernel".to_string(),
        advice: "Raise the limit: ulimit -l (shell), LimitMEMLOCK= (systemd).".to_string(),
    }];
    report.benchmarks = Some(Benchmarks {
        seconds_per_step: 0.5,
        interrupted: true,
        results: vec![
            measured(
                "nop_round_trip",
                "NOP round trip",
                &[1, 2, 3],
                rates(12_345.0, None, 1),
            ),
            BenchmarkResult {
                name: "tcp_echo_1".to_string(),
                title: "TCP echo, 1 connection".to_string(),
                cpus: vec![1, 2],
                measured: None,
                error: Some("Connection refused (os error 111)".to_string()),
            },
        ],
    });
    report
}

/// The good machine, but io_uring is forbidden there.
pub fn hopeless() -> Report {
    let mut report = good();
    report.verdict = Verdict {
        can_run: false,
        error: Some(
            "cannot create an io_uring instance: Operation not permitted (os error 1)\n  \
             cause: the sysctl kernel.io_uring_disabled is 2\n  \
             cure:  run as root: sysctl kernel.io_uring_disabled=0"
                .to_string(),
        ),
    };
    report.system.confinement.io_uring_disabled = Some(2);
    report.system.ladder = vec![];
    report.storage.direct_io = DirectIo {
        supported: Some(true),
        alignment_bytes: None,
        error: None,
    };
    report.benchmarks = None;
    report
}

fn ladder(available: [bool; 3]) -> Vec<Rung> {
    let rungs = [
        ("ext_arg", "5.11", "one timeout submission per sleep"),
        (
            "msg_ring",
            "5.18",
            "one eventfd write per cross-executor wake-up of a sleeping peer",
        ),
        (
            "no_iowait",
            "6.15",
            "an idle executor shows up as iowait in system monitors",
        ),
    ];
    rungs
        .into_iter()
        .zip(available)
        .map(|((name, since, cost), available)| Rung {
            name: name.to_string(),
            since: since.to_string(),
            used_for: format!("what {name} is for"),
            cost_of_absence: cost.to_string(),
            available,
            disabled_by_knob: false,
        })
        .collect()
}

/// A package with a core per CPU, numbered as given.
fn topology(cpus: &[usize]) -> Topology {
    Topology {
        cores: cpus.len(),
        packages: 1,
        numa_nodes: 1,
        cpus: cpus
            .iter()
            .map(|&cpu| Cpu {
                cpu,
                core_leader: cpu,
                cache_domain: cpus[0],
                package: 0,
                numa_node: 0,
                usable: true,
            })
            .collect(),
    }
}

fn measured(name: &str, title: &str, cpus: &[usize], measured: Measured) -> BenchmarkResult {
    BenchmarkResult {
        name: name.to_string(),
        title: title.to_string(),
        cpus: cpus.to_vec(),
        measured: Some(measured),
        error: None,
    }
}

fn rates(operations_per_s: f64, bytes_per_s: Option<f64>, batch: u64) -> Measured {
    let operations = operations_per_s as u64 * 2;
    let mean_ns = 1e9 / operations_per_s;
    let times = |factor: f64| (mean_ns * factor) as u64;
    Measured {
        operations,
        elapsed_s: 2.0,
        operations_per_s,
        bytes_per_s,
        latency: LatencySummary {
            operations_per_sample: batch,
            samples: operations / batch,
            mean_ns,
            p50_ns: times(0.9),
            p99_ns: times(3.0),
            p999_ns: times(40.0),
            max_ns: times(900.0),
        },
    }
}
