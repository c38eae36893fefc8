//! The list of measurements for this machine.

use super::clock::StepClock;
use super::files::{self, Target};
use super::recorder::Sample;
use super::runner::Step;
use super::{Failure, Scratch, cpu, echo, ping_pong};
use crate::model::Topology;
use crate::units;

/// Random reads in flight in the deep measurement.
const RANDOM_READ_DEPTH: usize = 32;
/// Connections in the wide measurement.
const ECHO_CONNECTIONS: usize = 64;

/// The steps in the order in which they run: the file is written before it is read.
pub fn plan(topology: &Topology, scratch: &Scratch, alignment_bytes: Option<u64>) -> Vec<Step> {
    let all = topology.usable();
    let pair = distant_pair(topology);
    let mut steps = vec![
        on_all(
            &all,
            "nop_round_trip",
            "NOP round trip",
            cpu::nop_round_trip,
        ),
        on_all(
            &all,
            "spawn_and_join",
            "spawn and join a task",
            cpu::spawn_and_join,
        ),
        on_all(&all, "yield_now", "yield", cpu::yield_now),
        on_all(
            &all,
            "timer_lateness",
            "timer lateness",
            cpu::timer_lateness,
        ),
        Step::new(
            "cross_core_ping_pong",
            if pair.0 == pair.1 {
                "ping-pong on one CPU"
            } else {
                "cross-core ping-pong"
            },
            both(pair),
            move |clock| Ok(vec![ping_pong::cross_core_ping_pong(pair, clock)?]),
        ),
    ];
    for connections in [1, ECHO_CONNECTIONS] {
        steps.push(Step::new(
            format!("tcp_echo_{connections}"),
            format!("TCP echo, {}", units::plural(connections, "connection")),
            both(pair),
            move |clock| Ok(vec![echo::tcp_echo(pair, connections, clock)?]),
        ));
    }
    steps.extend(file_steps(pair.0, scratch, alignment_bytes));
    steps
}

fn file_steps(cpu: usize, scratch: &Scratch, alignment_bytes: Option<u64>) -> Vec<Step> {
    let Some(size_bytes) = scratch.size_bytes() else {
        let full = |_| Err("the file system has too little free space for a test file".into());
        return vec![Step::new("files", "reads and writes", vec![], full)];
    };
    let target = Target {
        path: scratch.path().to_path_buf(),
        size_bytes,
    };
    let request = units::bytes(files::REQUEST_BYTES as u64);
    let depth = files::SEQUENTIAL_DEPTH;
    let (for_writing, for_reading) = (target.clone(), target.clone());
    let mut steps = vec![
        Step::new(
            "sequential_write",
            format!("write {request}, depth {depth}"),
            vec![cpu],
            move |clock| Ok(vec![files::sequential_write(cpu, for_writing, clock)?]),
        ),
        Step::new(
            "sequential_read",
            format!("read {request}, depth {depth}"),
            vec![cpu],
            move |clock| Ok(vec![files::sequential_read(cpu, for_reading, clock)?]),
        ),
    ];
    let block = units::bytes(files::block_size(alignment_bytes.unwrap_or(0)) as u64);
    for depth in [1, RANDOM_READ_DEPTH] {
        let target = target.clone();
        steps.push(Step::new(
            format!("random_read_{depth}"),
            format!("random read {block}, depth {depth}"),
            vec![cpu],
            move |clock| Ok(vec![files::random_read(cpu, target, depth, clock)?]),
        ));
    }
    steps
}

fn on_all(
    cpus: &[usize],
    name: &str,
    title: &str,
    measure: fn(&[usize], StepClock) -> Result<Vec<Sample>, Failure>,
) -> Step {
    let on = cpus.to_vec();
    Step::new(name, title, cpus.to_vec(), move |clock| measure(&on, clock))
}

fn both(pair: (usize, usize)) -> Vec<usize> {
    if pair.0 == pair.1 {
        vec![pair.0]
    } else {
        vec![pair.0, pair.1]
    }
}

/// Two CPUs this process may use: of two cores of one package if there are, else any two; twice
/// the same one on a machine with one CPU.
fn distant_pair(topology: &Topology) -> (usize, usize) {
    let usable: Vec<_> = topology.cpus.iter().filter(|cpu| cpu.usable).collect();
    let Some((first, others)) = usable.split_first() else {
        return (0, 0);
    };
    let second = others
        .iter()
        .find(|cpu| cpu.package == first.package && cpu.core_leader != first.core_leader)
        .or_else(|| others.iter().find(|cpu| cpu.package != first.package))
        .or_else(|| others.first());
    (first.cpu, second.map_or(first.cpu, |cpu| cpu.cpu))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Cpu;

    /// CPUs as (cpu, core, package), of which some are usable.
    fn topology(cpus: &[(usize, usize, usize)], usable: &[usize]) -> Topology {
        let cpus = cpus.iter().map(|&(cpu, core_leader, package)| Cpu {
            cpu,
            core_leader,
            cache_domain: 0,
            package,
            numa_node: 0,
            usable: usable.contains(&cpu),
        });
        Topology {
            cores: 0,
            packages: 0,
            numa_nodes: 1,
            cpus: cpus.collect(),
        }
    }

    #[test]
    fn a_pair_is_two_cores_of_one_package_where_possible() {
        let smt = [(0, 0, 0), (1, 0, 0), (2, 2, 1), (3, 3, 0)];
        assert_eq!(distant_pair(&topology(&smt, &[0, 1, 2, 3])), (0, 3));
        assert_eq!(distant_pair(&topology(&smt, &[0, 1, 2])), (0, 2));
        assert_eq!(distant_pair(&topology(&smt, &[0, 1])), (0, 1));
        assert_eq!(distant_pair(&topology(&smt, &[3])), (3, 3));
    }
}
