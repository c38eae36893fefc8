//! The order in which spreading and packing take CPUs.
//!
//! Both look at the topology as a tree: NUMA node and package (whichever of
//! them holds the other is outside), cache domain, core, CPU. The tree is never
//! built. Sorted by their paths from the root, the CPUs of a subtree are
//! neighbours in a slice, and its children are the runs of equal numbers at the
//! next level.
//!
//! *Spreading* walks down from the root for each CPU anew, and takes at every
//! level the child that has an idle core left, then the one with the fewest
//! executors, then the one with the most room. *Packing* knows how many CPUs it
//! must find: it takes the deepest subtree that holds them all, and of several
//! the smallest. Where none does, it fills the largest child and looks on for
//! the rest.

use std::{cmp::Reverse, ops::Range};

use super::CpuLocation;
use crate::sys::topology::Topology;

/// The levels of a path, from the root: NUMA node and package in either order,
/// cache domain, core, CPU.
const LEVELS: usize = 5;
const CORE: usize = 3;

/// Hands out single CPUs in an order that a strategy decided, over and over.
#[derive(Clone, Debug)]
pub struct CpuOrder {
    cpus: Vec<CpuLocation>,
    next: usize,
}

impl CpuOrder {
    /// All the CPUs of the topology, each as far as possible from those before.
    pub(super) fn spread(topology: &Topology) -> Self {
        let tree = Tree::of(topology);
        let mut executors = vec![false; tree.paths.len()];
        let order = (0..tree.paths.len()).map(|_| {
            let at = tree.farthest(&executors);
            executors[at] = true;
            at
        });
        let order: Vec<usize> = order.collect();
        tree.order(topology, &order)
    }

    /// All the CPUs of the topology; the first `executors` of them as close to
    /// each other as possible.
    pub(super) fn pack(topology: &Topology, executors: usize) -> Self {
        let tree = Tree::of(topology);
        let mut order = Vec::with_capacity(tree.paths.len());
        tree.fill(
            0..tree.paths.len(),
            0,
            executors.min(tree.paths.len()),
            &mut order,
        );
        let rest: Vec<usize> = (0..tree.paths.len())
            .filter(|at| !order.contains(at))
            .collect();
        order.extend(rest);
        tree.order(topology, &order)
    }

    /// The next CPU; the first one again after the last. `None` only if there
    /// never was any.
    pub(super) fn next(&mut self) -> Option<CpuLocation> {
        let cpu = self.cpus.get(self.next)?.clone();
        self.next = (self.next + 1) % self.cpus.len();
        Some(cpu)
    }
}

/// The CPUs, sorted by their paths.
struct Tree {
    paths: Vec<[usize; LEVELS]>,
}

impl Tree {
    fn of(topology: &Topology) -> Self {
        let node_in_package = topology.cpus.iter().all(|cpu| {
            let mut node = topology
                .cpus
                .iter()
                .filter(|other| other.numa_node == cpu.numa_node);
            node.all(|other| other.package == cpu.package)
        });
        let mut paths: Vec<_> = topology
            .cpus
            .iter()
            .map(|cpu| {
                let (outer, inner) = if node_in_package {
                    (cpu.package, cpu.numa_node)
                } else {
                    (cpu.numa_node, cpu.package)
                };
                [outer, inner, cpu.cache_domain, cpu.core_leader, cpu.cpu]
            })
            .collect();
        paths.sort_unstable();
        Tree { paths }
    }

    /// Turns positions in the tree into locations.
    fn order(&self, topology: &Topology, positions: &[usize]) -> CpuOrder {
        let location = |at: &usize| {
            let cpu = self.paths[*at][LEVELS - 1];
            let found = topology.cpus.iter().find(|known| known.cpu == cpu);
            found.map(CpuLocation::from)
        };
        CpuOrder {
            cpus: positions.iter().filter_map(location).collect(),
            next: 0,
        }
    }

    /// The children of a subtree: its runs of equal numbers at this level.
    fn children(&self, subtree: Range<usize>, level: usize) -> impl Iterator<Item = Range<usize>> {
        let mut start = subtree.start;
        self.paths[subtree]
            .chunk_by(move |one, other| one[level] == other[level])
            .map(move |run| {
                let child = start..start + run.len();
                start = child.end;
                child
            })
    }

    /// The free CPU that is farthest from the executors. There must be one.
    fn farthest(&self, executors: &[bool]) -> usize {
        let mut subtree = 0..self.paths.len();
        for level in 0..LEVELS {
            subtree = self
                .children(subtree, level)
                .filter(|child| executors[child.clone()].contains(&false))
                .min_by_key(|child| {
                    let taken = executors[child.clone()].iter().filter(|taken| **taken);
                    let taken = taken.count();
                    let busy = !self.has_idle_core(child.clone(), executors);
                    (busy, taken, Reverse(child.len() - taken))
                })
                .expect("a subtree with a free CPU has a child with one");
        }
        subtree.start
    }

    fn has_idle_core(&self, subtree: Range<usize>, executors: &[bool]) -> bool {
        let start = subtree.start;
        let mut at = start;
        self.paths[subtree]
            .chunk_by(|one, other| one[..=CORE] == other[..=CORE])
            .any(|core| {
                let range = at..at + core.len();
                at = range.end;
                !executors[range].contains(&true)
            })
    }

    /// Appends `count` CPUs of the subtree, close to each other. It must have
    /// as many.
    fn fill(&self, subtree: Range<usize>, level: usize, mut count: usize, order: &mut Vec<usize>) {
        debug_assert!(count <= subtree.len());
        if level == LEVELS {
            order.extend(subtree.take(count));
            return;
        }
        let mut children: Vec<_> = self.children(subtree, level).collect();
        while count > 0 {
            let tightest_that_fits = (0..children.len())
                .filter(|child| children[*child].len() >= count)
                .min_by_key(|child| {
                    let child = children[*child].clone();
                    let size = child.len();
                    (self.tightest_fit(child, level + 1, count), size)
                });
            let child = match tightest_that_fits {
                Some(child) => child,
                None => (0..children.len())
                    .min_by_key(|child| Reverse(children[*child].len()))
                    .expect("a subtree has as many CPUs as are asked of it"),
            };
            let child = children.remove(child);
            let taken = count.min(child.len());
            self.fill(child, level + 1, taken, order);
            count -= taken;
        }
    }

    /// The deepest level at which something in the subtree, which is itself at
    /// `level` and has as many, still has `count` CPUs; and how many the
    /// smallest of those has.
    fn tightest_fit(
        &self,
        subtree: Range<usize>,
        level: usize,
        count: usize,
    ) -> (Reverse<usize>, usize) {
        let itself = (Reverse(level), subtree.len());
        if level == LEVELS {
            return itself;
        }
        self.children(subtree, level)
            .filter(|child| child.len() >= count)
            .map(|child| self.tightest_fit(child, level + 1, count))
            .min()
            .unwrap_or(itself)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sys::topology::made_up::Regular;

    /// Two sockets of two NUMA nodes, each with two caches around two cores
    /// with two threads: CPUs 0 to 15 are first threads, 16 to 31 second ones.
    const SERVER: Regular = Regular {
        packages: 2,
        nodes_per_package: 2,
        caches_per_node: 2,
        cores_per_cache: 2,
        threads_per_core: 2,
    };

    fn take(mut order: CpuOrder, count: usize) -> Vec<usize> {
        (0..count).map(|_| order.next().unwrap().cpu).collect()
    }

    fn spread(topology: &Topology, count: usize) -> Vec<usize> {
        take(CpuOrder::spread(topology), count)
    }

    fn pack(topology: &Topology, count: usize) -> Vec<usize> {
        take(CpuOrder::pack(topology, count), count)
    }

    /// The topology without all but these CPUs.
    fn only(mut topology: Topology, cpus: &[usize]) -> Topology {
        topology.cpus.retain(|cpu| cpus.contains(&cpu.cpu));
        topology
    }

    #[test]
    fn spreading_takes_sockets_then_nodes_then_caches_then_cores_then_threads() {
        let order = spread(&SERVER.direct(), 32);
        assert_eq!(order[..2], [0, 8], "sockets");
        assert_eq!(order[2..4], [4, 12], "nodes");
        assert_eq!(order[4..8], [2, 10, 6, 14], "caches");
        assert_eq!(order[8..16], [1, 9, 5, 13, 3, 11, 7, 15], "cores");
        assert_eq!(order[16..18], [16, 24], "threads of busy cores come last");
    }

    #[test]
    fn spreading_takes_an_idle_core_of_a_fuller_socket_before_a_busy_one() {
        // Socket 0 offers one core with both threads, socket 1 four cores.
        let host = only(SERVER.direct(), &[0, 16, 8, 9, 10, 11]);
        assert_eq!(spread(&host, 6), [8, 0, 10, 9, 11, 16]);
    }

    #[test]
    fn packing_takes_threads_of_a_core_then_cores_around_a_cache() {
        let host = SERVER.direct();
        assert_eq!(pack(&host, 1), [0]);
        assert_eq!(pack(&host, 2), [0, 16]);
        assert_eq!(pack(&host, 4), [0, 16, 1, 17]);
        assert_eq!(pack(&host, 8), [0, 16, 1, 17, 2, 18, 3, 19]);
        assert_eq!(pack(&host, 9)[8], 4, "the other node of the same socket");
    }

    #[test]
    fn packing_takes_the_tightest_place_that_fits() {
        // Cache 0 offers one CPU, cache 2 two, cache 4 four.
        let host = only(SERVER.direct(), &[0, 2, 3, 4, 5, 20, 21]);
        assert_eq!(pack(&host, 1), [0]);
        assert_eq!(pack(&host, 2), [4, 20], "one core rather than one cache");
        assert_eq!(
            pack(&host, 3),
            [4, 20, 5],
            "one cache rather than the smaller node"
        );
        assert_eq!(pack(&host, 4), [4, 20, 5, 21]);
        assert_eq!(pack(&host, 5), [4, 20, 5, 21, 0]);
    }

    #[test]
    fn packing_compares_the_places_and_not_what_is_around_them() {
        // Socket 0 offers two cores around one cache; socket 1 more, among
        // them a cache with three CPUs.
        let host = only(SERVER.direct(), &[0, 1, 16, 17, 8, 9, 24, 12, 13, 14, 15]);
        assert_eq!(pack(&host, 3), [8, 24, 9]);
    }

    #[test]
    fn one_cpu_is_all_there_is() {
        let host = only(SERVER.direct(), &[13]);
        assert_eq!(spread(&host, 3), [13, 13, 13]);
        assert_eq!(pack(&host, 1), [13]);
    }

    #[test]
    fn node_with_several_packages_holds_them() {
        // As in virtual machines: one NUMA node, every CPU its own socket.
        let mut host = SERVER.direct();
        for cpu in &mut host.cpus {
            cpu.numa_node = 0;
            cpu.package = cpu.cpu;
            cpu.cache_domain = cpu.cpu;
            cpu.core_leader = cpu.cpu;
        }
        assert_eq!(spread(&host, 3), [0, 1, 2]);
        assert_eq!(pack(&host, 3), [0, 1, 2]);
    }

    #[test]
    fn clusters_of_different_sizes_are_filled_evenly_and_to_the_end() {
        // Four small cores around one cache and two big ones around another.
        let mut host = only(SERVER.direct(), &[0, 1, 2, 3, 4, 5]);
        for cpu in &mut host.cpus {
            cpu.numa_node = 0;
            cpu.cache_domain = cpu.cpu / 4 * 4;
        }
        assert_eq!(spread(&host, 6), [0, 4, 1, 5, 2, 3]);
        assert_eq!(pack(&host, 2), [4, 5]);
        assert_eq!(pack(&host, 3), [0, 1, 2]);
    }

    fn hosts() -> impl Strategy<Value = Regular> {
        (
            1..=3_usize,
            1..=3_usize,
            1..=2_usize,
            1..=3_usize,
            1..=2_usize,
        )
            .prop_map(
                |(
                    packages,
                    nodes_per_package,
                    caches_per_node,
                    cores_per_cache,
                    threads_per_core,
                )| {
                    Regular {
                        packages,
                        nodes_per_package,
                        caches_per_node,
                        cores_per_cache,
                        threads_per_core,
                    }
                },
            )
    }

    /// How many of the CPUs lie in each of the host's groups.
    fn loads(
        host: &Topology,
        cpus: &[usize],
        group: impl Fn(&crate::sys::topology::LogicalCpu) -> usize,
    ) -> Vec<usize> {
        let mut loads = std::collections::BTreeMap::new();
        for cpu in &host.cpus {
            *loads.entry(group(cpu)).or_insert(0) += usize::from(cpus.contains(&cpu.cpu));
        }
        loads.into_values().collect()
    }

    proptest! {
        #![proptest_config(crate::test_cases::cases(256))]

        #[test]
        fn no_cpu_is_taken_again_before_all_were(
            host in hosts(),
            kept in prop::collection::vec(any::<bool>(), 108),
            count in 1..108_usize,
        ) {
            let mut host = host.direct();
            host.cpus.retain(|cpu| kept[cpu.cpu]);
            prop_assume!(!host.cpus.is_empty());
            let all: Vec<usize> = host.cpus.iter().map(|cpu| cpu.cpu).collect();
            for mut order in [CpuOrder::spread(&host), CpuOrder::pack(&host, count)] {
                for _ in 0..3 {
                    let mut round: Vec<usize> =
                        all.iter().map(|_| order.next().unwrap().cpu).collect();
                    round.sort_unstable();
                    prop_assert_eq!(&round, &all);
                }
            }
        }

        #[test]
        fn spreading_over_a_regular_host_is_even_at_every_level(
            host in hosts(),
            part in 0.0..1.0_f64,
        ) {
            let host = host.direct();
            let count = 1 + (part * (host.cpus.len() - 1) as f64) as usize;
            let cpus = spread(&host, count);
            for loads in [
                loads(&host, &cpus, |cpu| cpu.package),
                loads(&host, &cpus, |cpu| cpu.numa_node),
                loads(&host, &cpus, |cpu| cpu.cache_domain),
                loads(&host, &cpus, |cpu| cpu.core_leader),
            ] {
                let (least, most) = (loads.iter().min(), loads.iter().max());
                prop_assert!(most.unwrap() - least.unwrap() <= 1, "{:?}", loads);
            }
        }

        #[test]
        fn packing_on_a_regular_host_touches_as_little_as_possible(
            host in hosts(),
            part in 0.0..1.0_f64,
        ) {
            let shape = host;
            let host = host.direct();
            let count = 1 + (part * (host.cpus.len() - 1) as f64) as usize;
            let cpus = pack(&host, count);
            let per_core = shape.threads_per_core;
            let per_cache = per_core * shape.cores_per_cache;
            let per_node = per_cache * shape.caches_per_node;
            for (loads, size) in [
                (loads(&host, &cpus, |cpu| cpu.package), per_node * shape.nodes_per_package),
                (loads(&host, &cpus, |cpu| cpu.numa_node), per_node),
                (loads(&host, &cpus, |cpu| cpu.cache_domain), per_cache),
                (loads(&host, &cpus, |cpu| cpu.core_leader), per_core),
            ] {
                let touched = loads.iter().filter(|load| **load > 0).count();
                prop_assert_eq!(touched, count.div_ceil(size));
            }
        }
    }
}
