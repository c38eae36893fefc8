//! Placements on made-up hosts, from the kernel's files to the chosen CPUs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use proptest::prelude::*;

use super::{CpuLocation, CpuSet, CpuSetGenerator, Placement, PoolPlacement};
use crate::{
    error::Result,
    sys::topology::{
        LogicalCpu, Topology,
        made_up::{Regular, write_cpus},
    },
};

/// Two sockets of two NUMA nodes, each with two caches around two cores with two
/// threads: CPUs 0 to 15 are first threads, 16 to 31 second ones.
const SERVER: Regular = Regular {
    packages: 2,
    nodes_per_package: 2,
    caches_per_node: 2,
    cores_per_cache: 2,
    threads_per_core: 2,
};

/// CPUs without siblings on a host with one package and one node; `clusters`
/// says who shares a cache.
fn board(clusters: &[&[usize]]) -> Vec<LogicalCpu> {
    let mut template = SERVER.direct().cpus[0].clone();
    let mut cpus = Vec::new();
    for cluster in clusters {
        for (core, cpu) in cluster.iter().enumerate() {
            template.cpu = *cpu;
            template.core = core;
            template.core_leader = *cpu;
            template.cache_domain = cluster[0];
            cpus.push(template.clone());
        }
    }
    cpus
}

fn everything(host: &Topology) -> CpuSet {
    host.cpus.iter().map(CpuLocation::from).collect()
}

/// What each of `executors` is bound to, or why nobody is bound.
fn chosen(generator: Result<CpuSetGenerator, ()>, executors: usize) -> String {
    let mut generator = match generator {
        Ok(generator) => generator,
        Err(error) => return error.to_string(),
    };
    let bindings = (0..executors).map(|_| match generator.next().cpu_binding() {
        None => "anywhere".to_owned(),
        Some(cpus) => {
            let cpus: Vec<String> = cpus.into_iter().map(|cpu| cpu.to_string()).collect();
            cpus.join(",")
        }
    });
    bindings.collect::<Vec<_>>().join(" | ")
}

/// Everything that can be asked of a host, as text.
fn plan(host: &Topology) -> String {
    let mut text = format!(
        "{} CPUs online, {} usable; {} packages, {} NUMA nodes, {} cache domains, {} cores\n",
        host.cpus.len(),
        host.usable().count(),
        host.packages(),
        host.numa_nodes(),
        host.cache_domains(),
        host.cores(),
    );
    let mut line = |name: &str, chosen: String| writeln!(text, "{name:<24} {chosen}").unwrap();
    let pool = |placement: PoolPlacement| {
        let executors = placement.executor_count();
        chosen(placement.resolve(|| host.clone()), executors)
    };
    let single = |placement: Placement| chosen(placement.resolve(|| host.clone()), 1);

    let usable: CpuSet = host.usable().map(CpuLocation::from).collect();
    let all = usable.len();
    line("online", single(Placement::Fenced(everything(host))));
    line("usable", single(Placement::Fenced(usable.clone())));
    line("MaxSpread, all", pool(PoolPlacement::MaxSpread(all, None)));
    for executors in (1..=all).filter(|count| *count <= 8 || *count == all) {
        let placement = PoolPlacement::MaxPack(executors, None);
        line(&format!("MaxPack, {executors}"), pool(placement));
    }
    let last = host.usable().map(|cpu| cpu.cache_domain).max();
    let is_last = |at: &CpuLocation| {
        let known = host.cpus.iter().find(|cpu| cpu.cpu == at.cpu);
        known.map(|cpu| cpu.cache_domain) == last
    };
    let last_cache = usable.clone().filter(is_last);
    let rest = usable.filter(|at| !last_cache.contains(at));
    let inside = last_cache.len();
    line(
        "MaxSpread, last cache",
        pool(PoolPlacement::MaxSpread(inside, Some(last_cache.clone()))),
    );
    line(
        "MaxPack, all but it",
        pool(PoolPlacement::MaxPack(rest.len(), Some(rest.clone()))),
    );
    line(
        "Fenced, 2 in last cache",
        pool(PoolPlacement::Fenced(2, last_cache.clone())),
    );
    line(
        "Custom, two sets",
        pool(PoolPlacement::Custom(vec![last_cache, rest])),
    );
    line("Unbound, 2", pool(PoolPlacement::Unbound(2)));
    line(
        "one too many",
        pool(PoolPlacement::MaxSpread(all + 1, None)),
    );
    let beyond = host.cpus.iter().map(|cpu| cpu.cpu).max().unwrap() + 1;
    line("beyond the last CPU", single(Placement::Fixed(beyond)));
    text
}

#[test]
fn two_sockets_of_two_nodes_with_hyperthreads() {
    insta::assert_snapshot!(plan(&SERVER.topology(&[])));
}

#[test]
fn little_and_big_clusters_with_gaps_in_the_numbering() {
    let cpus = board(&[&[0, 1, 2, 3], &[6, 7], &[12]]);
    insta::assert_snapshot!(plan(&Topology::read(&write_cpus(&cpus, &[]).files(), &[])));
}

#[test]
fn one_cpu_that_is_not_the_first() {
    insta::assert_snapshot!(plan(&Topology::read(
        &write_cpus(&board(&[&[3]]), &[0, 1, 2]).files(),
        &[3]
    )));
}

#[test]
fn holes_of_offline_cpus() {
    // Whole cores, single threads and one whole cache (4, 5, 20, 21) are off.
    let offline = [1, 17, 18, 4, 5, 20, 21, 9, 31];
    let mut cpus = SERVER.direct().cpus;
    cpus.retain(|cpu| !offline.contains(&cpu.cpu));
    for cpu in &mut cpus {
        // With their lowest CPU off, groups are named after the next one.
        if cpu.core_leader == 9 {
            cpu.core_leader = 25;
        }
    }
    let host = Topology::read(&write_cpus(&cpus, &offline).files(), &[]);
    assert_eq!(host.cpus, cpus);
    insta::assert_snapshot!(plan(&host));
}

#[test]
fn container_with_a_cpuset_across_sockets() {
    // Four CPUs of node 1 and two of node 3, half of them second threads.
    insta::assert_snapshot!(plan(&SERVER.topology(&[4, 5, 6, 20, 28, 13])));
}

#[test]
fn set_operations_make_placements() {
    let host = SERVER.direct();
    let all = everything(&host);
    let set = |keep: fn(&CpuLocation) -> bool| all.clone().filter(keep);
    let (low, first_threads) = (set(|at| at.package == 0), set(|at| at.cpu < 16));
    let spread = |cpus: CpuSet| {
        let placement = PoolPlacement::MaxSpread(cpus.len(), Some(cpus));
        let executors = placement.executor_count();
        chosen(placement.resolve(|| host.clone()), executors)
    };
    let both = low.intersection(&first_threads).cloned().collect();
    assert_eq!(spread(both), "0 | 4 | 2 | 6 | 1 | 5 | 3 | 7");
    let second_threads_above = all
        .difference(&low.union(&first_threads).cloned().collect())
        .cloned()
        .collect();
    assert_eq!(
        spread(second_threads_above),
        "24 | 28 | 26 | 30 | 25 | 29 | 27 | 31"
    );
    let one_of_them: CpuSet = low.symmetric_difference(&first_threads).cloned().collect();
    assert_eq!(one_of_them.len(), 16);
    assert!(one_of_them.is_disjoint(&low.intersection(&first_threads).cloned().collect()));
}

/// A host of any shape: how many CPUs in which core, around which cache, and so on.
#[derive(Clone, Debug)]
struct Host {
    topology: Topology,
    /// Whether packages hold NUMA nodes, or nodes hold packages.
    nodes_inside: bool,
}

impl Host {
    /// The groups of a CPU, from the outside in.
    fn path(&self, cpu: &LogicalCpu) -> Path {
        let (outer, inner) = match self.nodes_inside {
            true => (cpu.package, cpu.numa_node),
            false => (cpu.numa_node, cpu.package),
        };
        [outer, inner, cpu.cache_domain, cpu.core_leader, cpu.cpu]
    }

    fn paths(&self) -> Vec<Path> {
        self.topology.usable().map(|cpu| self.path(cpu)).collect()
    }
}

type Path = [usize; 5];
const CORE: usize = 3;

/// Threads of cores of caches of inner groups of outer groups.
type Shape = Vec<Vec<Vec<Vec<usize>>>>;

fn hosts() -> impl Strategy<Value = Host> {
    let cores = prop::collection::vec(1..=2_usize, 1..=3);
    let caches = prop::collection::vec(cores, 1..=3);
    let inner = prop::collection::vec(caches, 1..=2);
    let shape = prop::collection::vec(inner, 1..=3);
    let numbers = Just((0..150).collect::<Vec<usize>>()).prop_shuffle();
    let usable = prop::collection::vec(prop::bool::weighted(0.8), 150);
    (shape, numbers, usable, any::<bool>()).prop_filter_map(
        "no CPU to use",
        |(shape, numbers, usable, nodes_inside)| {
            let topology = build(&shape, &numbers, &usable, nodes_inside);
            let any = topology.usable().next().is_some();
            any.then_some(Host {
                topology,
                nodes_inside,
            })
        },
    )
}

fn build(shape: &Shape, numbers: &[usize], usable: &[bool], nodes_inside: bool) -> Topology {
    let mut cpus = Vec::new();
    let mut numbers = numbers.iter().copied();
    let mut inner_groups = 0;
    let mut cores = 0;
    for (outer, inners) in shape.iter().enumerate() {
        for caches in inners {
            let (package, numa_node) = match nodes_inside {
                true => (outer, inner_groups),
                false => (inner_groups, outer),
            };
            inner_groups += 1;
            for around_cache in caches {
                let mut domain = Vec::new();
                for threads in around_cache {
                    let core: Vec<usize> = numbers.by_ref().take(*threads).collect();
                    domain.extend(core.iter().map(|cpu| LogicalCpu {
                        cpu: *cpu,
                        core: cores,
                        package,
                        numa_node,
                        cache_domain: 0,
                        core_leader: *core.iter().min().unwrap(),
                        usable: usable[*cpu],
                    }));
                    cores += 1;
                }
                let lowest = domain.iter().map(|cpu| cpu.cpu).min().unwrap();
                for cpu in &mut domain {
                    cpu.cache_domain = lowest;
                }
                cpus.extend(domain);
            }
        }
    }
    cpus.sort_unstable_by_key(|cpu| cpu.cpu);
    Topology { cpus }
}

/// The paths of the CPUs that a placement hands out.
fn hand_out(host: &Host, placement: PoolPlacement, times: usize) -> Vec<Path> {
    let mut generator = placement.resolve(|| host.topology.clone()).unwrap();
    let one = |_| {
        let at = generator.next().next().expect("bound to a CPU");
        let known = host.topology.cpus.iter().find(|cpu| cpu.cpu == at.cpu);
        host.path(known.expect("a CPU of the host"))
    };
    (0..times).map(one).collect()
}

/// How many of `cpus` each group of a level has; groups of `all` without any count.
fn counts(all: &[Path], cpus: &[Path], level: usize) -> BTreeMap<Vec<usize>, usize> {
    let mut counts: BTreeMap<Vec<usize>, usize> = all
        .iter()
        .map(|path| (path[..=level].to_vec(), 0))
        .collect();
    for path in cpus {
        *counts.get_mut(&path[..=level]).unwrap() += 1;
    }
    counts
}

/// The groups of a level in which some core has none of `cpus`.
fn groups_with_idle_core(all: &[Path], cpus: &[Path], level: usize) -> BTreeSet<Vec<usize>> {
    counts(all, cpus, CORE)
        .into_iter()
        .filter(|(_, count)| *count == 0)
        .map(|(core, _)| core[..=level.min(CORE)].to_vec())
        .collect()
}

proptest! {
    #![proptest_config(crate::test_cases::cases(64))]

    #[test]
    fn every_allowed_cpu_is_taken_before_one_is_repeated(
        host in hosts(),
        part in 0.0..1.0_f64,
    ) {
        let mut all = host.paths();
        all.sort_unstable();
        let executors = 1 + (part * (all.len() - 1) as f64) as usize;
        for placement in [
            PoolPlacement::MaxSpread(executors, None),
            PoolPlacement::MaxPack(executors, None),
        ] {
            for round in hand_out(&host, placement, 3 * all.len()).chunks(all.len()) {
                let mut round = round.to_vec();
                round.sort_unstable();
                prop_assert_eq!(&round, &all);
            }
        }
    }

    #[test]
    fn spreading_goes_where_the_fewest_are_and_shares_cores_last(host in hosts()) {
        let all = host.paths();
        let order = hand_out(&host, PoolPlacement::MaxSpread(all.len(), None), all.len());
        for (taken, next) in order.iter().enumerate() {
            let before = &order[..taken];
            let idle_cores = groups_with_idle_core(&all, before, CORE);
            prop_assert!(
                idle_cores.is_empty() || idle_cores.contains(&next[..=CORE]),
                "{next:?} shares a core while others are idle"
            );
            for level in 0..=CORE {
                let idle = groups_with_idle_core(&all, before, level);
                let counts = counts(&all, before, level);
                let own = counts[&next[..=level]];
                let siblings = idle.iter().filter(|group| group[..level] == next[..level]);
                for sibling in siblings {
                    prop_assert!(
                        own <= counts[sibling],
                        "{next:?} joins {own} at level {level}, {sibling:?} has {}",
                        counts[sibling]
                    );
                }
            }
        }
    }

    #[test]
    fn spreading_takes_each_outermost_group_before_one_twice(host in hosts()) {
        let all = host.paths();
        let groups = counts(&all, &[], 0).len();
        let order = hand_out(&host, PoolPlacement::MaxSpread(groups, None), groups);
        let taken: BTreeSet<usize> = order.iter().map(|path| path[0]).collect();
        prop_assert_eq!(taken.len(), groups);
    }

    #[test]
    fn packing_shares_the_innermost_group_that_can_hold_all(
        host in hosts(),
        part in 0.0..1.0_f64,
    ) {
        let all = host.paths();
        let executors = 1 + (part * (all.len() - 1) as f64) as usize;
        let packed = hand_out(&host, PoolPlacement::MaxPack(executors, None), executors);
        // Which levels have a group that is large enough, and how large is the smallest?
        let fitting = |level: usize| {
            let sizes = counts(&all, &all, level).into_values();
            sizes.filter(|size| *size >= executors).min()
        };
        let deepest = (0..5).rev().find(|level| fitting(*level).is_some());
        let inside: Vec<Path> = match deepest {
            None => all.clone(),
            Some(level) => {
                let group = &packed[0][..=level];
                prop_assert!(packed.iter().all(|path| path[..=level] == *group));
                let inside = all.iter().filter(|path| path[..=level] == *group);
                inside.copied().collect()
            }
        };
        if let Some(level) = deepest {
            prop_assert_eq!(Some(inside.len()), fitting(level), "the smallest that fits");
        }
        // One level further in, as few groups as possible are touched.
        let next = deepest.map_or(0, |level| level + 1);
        if next < 5 {
            let mut sizes: Vec<usize> = counts(&inside, &inside, next).into_values().collect();
            sizes.sort_unstable_by(|one, other| other.cmp(one));
            let mut held = 0;
            let needed = sizes.iter().take_while(|size| {
                let more = held < executors;
                held += **size;
                more
            });
            let touched = counts(&inside, &packed, next);
            let touched = touched.values().filter(|count| **count > 0).count();
            prop_assert_eq!(touched, needed.count());
        }
    }
}

proptest! {
    // Each case writes a thousand files.
    #![proptest_config(crate::test_cases::cases(8))]

    #[test]
    fn what_the_kernel_says_is_what_is_read(host in hosts()) {
        let cpus = &host.topology.cpus;
        let allowed: Vec<usize> = host.topology.usable().map(|cpu| cpu.cpu).collect();
        let read = Topology::read(&write_cpus(cpus, &[]).files(), &allowed);
        prop_assert_eq!(&read, &host.topology);
    }
}
