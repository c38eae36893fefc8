//! How the CPUs of this host lie to each other.
//!
//! The kernel describes that under `/sys/devices/system`: which CPUs share a
//! NUMA node, a package (a socket), a cache, and a core. What it leaves out is
//! replaced by the coarsest answer that fits: one node, one package, a core per
//! CPU.

use std::sync::{Mutex, PoisonError};

use super::{affinity, sysfs::KernelFiles};

const CPU_DIR: &str = "sys/devices/system/cpu";
const NODE_DIR: &str = "sys/devices/system/node";

/// One CPU as the kernel counts them: a hardware thread.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogicalCpu {
    /// The number of the CPU.
    pub cpu: usize,
    /// The number of its core, as the kernel counts: unique within a package at
    /// best. See [`core_leader`](Self::core_leader).
    pub core: usize,
    /// The number of its package, or socket.
    pub package: usize,
    /// The number of its NUMA node.
    pub numa_node: usize,
    /// The group of CPUs that share its last-level cache, named after the
    /// lowest CPU in it.
    pub cache_domain: usize,
    /// The lowest CPU of the same core: equal exactly for the hardware threads
    /// of one core.
    pub core_leader: usize,
    /// Whether this process may run there: it may not use CPUs outside of its
    /// cpuset, or of the affinity that it was started with.
    pub usable: bool,
}

/// The CPUs of this host that are online.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topology {
    /// Every CPU that is online, in the order of their numbers.
    pub cpus: Vec<LogicalCpu>,
}

impl Topology {
    /// The topology of this host, as this process may use it.
    ///
    /// How CPUs lie to each other is read once, and again when others are online; that and which of
    /// them are usable is looked up each time.
    pub(crate) fn host() -> Self {
        static LAST: Mutex<Option<Topology>> = Mutex::new(None);
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        Topology::refresh(&mut last, &KernelFiles::host(), &affinity::process())
    }

    /// Reads a topology, with the help of what was read last as long as the same CPUs are online.
    fn refresh(last: &mut Option<Topology>, files: &KernelFiles, allowed: &[usize]) -> Self {
        let known = last.as_mut().filter(|known| {
            let cpus = known.cpus.iter().map(|cpu| cpu.cpu);
            cpus.eq(online(files, allowed))
        });
        let Some(known) = known else {
            return last.insert(Topology::read(files, allowed)).clone();
        };
        for cpu in &mut known.cpus {
            cpu.usable = is_usable(cpu.cpu, allowed);
        }
        known.clone()
    }

    /// Reads a topology; `allowed` are the CPUs that the process may use, or
    /// empty if that is not known.
    pub(crate) fn read(files: &KernelFiles, allowed: &[usize]) -> Self {
        let nodes = cpus_of_nodes(files);
        let cpus = online(files, allowed)
            .into_iter()
            .map(|cpu| {
                let node = nodes.iter().find(|(_, cpus)| cpus.contains(&cpu));
                read_cpu(files, cpu, node.map_or(0, |(node, _)| *node), allowed)
            })
            .collect();
        Topology { cpus }
    }

    /// The CPUs that this process may use, in the order of their numbers.
    pub fn usable(&self) -> impl Iterator<Item = &LogicalCpu> {
        self.cpus.iter().filter(|cpu| cpu.usable)
    }

    /// How many NUMA nodes have a CPU that is online.
    pub fn numa_nodes(&self) -> usize {
        self.count(|cpu| cpu.numa_node)
    }

    /// How many packages have a CPU that is online.
    pub fn packages(&self) -> usize {
        self.count(|cpu| cpu.package)
    }

    /// How many last-level caches are shared by the CPUs that are online.
    pub fn cache_domains(&self) -> usize {
        self.count(|cpu| cpu.cache_domain)
    }

    /// How many cores have a CPU that is online.
    pub fn cores(&self) -> usize {
        self.count(|cpu| cpu.core_leader)
    }

    fn count(&self, group: impl Fn(&LogicalCpu) -> usize) -> usize {
        let mut groups: Vec<usize> = self.cpus.iter().map(group).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.len()
    }
}

/// The cache domain of one CPU of this host, as in
/// [`LogicalCpu::cache_domain`].
pub(crate) fn cache_domain_of(cpu: usize) -> usize {
    cache_domain(&KernelFiles::host(), cpu)
}

/// The CPUs that are online: what the kernel lists, else the CPUs that have a
/// directory and no file that says offline, else those that we may use, else
/// as many as the standard library counts.
fn online(files: &KernelFiles, allowed: &[usize]) -> Vec<usize> {
    let directories = files.numbered_entries(CPU_DIR, "cpu");
    let is_offline = |cpu: &usize| files.flag(format!("{CPU_DIR}/cpu{cpu}/online")) == Some(false);
    let mut cpus = match files.cpu_list(format!("{CPU_DIR}/online")) {
        Some(mut listed) if !listed.is_empty() => {
            // Inside a container the list may be an invention that counts our
            // CPUs from zero. The scheduler knows which ones they really are.
            listed.extend(
                allowed
                    .iter()
                    .filter(|cpu| directories.contains(cpu) && !is_offline(cpu)),
            );
            listed
        }
        _ => directories
            .into_iter()
            .filter(|cpu| !is_offline(cpu))
            .collect(),
    };
    if cpus.is_empty() {
        cpus.extend(allowed);
    }
    if cpus.is_empty() {
        cpus.extend(0..std::thread::available_parallelism().map_or(1, usize::from));
    }
    cpus.sort_unstable();
    cpus.dedup();
    cpus
}

fn cpus_of_nodes(files: &KernelFiles) -> Vec<(usize, Vec<usize>)> {
    files
        .numbered_entries(NODE_DIR, "node")
        .into_iter()
        .filter_map(|node| {
            let cpus = files.cpu_list(format!("{NODE_DIR}/node{node}/cpulist"))?;
            Some((node, cpus))
        })
        .collect()
}

fn read_cpu(files: &KernelFiles, cpu: usize, numa_node: usize, allowed: &[usize]) -> LogicalCpu {
    let topology = format!("{CPU_DIR}/cpu{cpu}/topology");
    // Some architectures answer -1, which is no number of a package.
    let package = files.number(format!("{topology}/physical_package_id"));
    let core = files.number(format!("{topology}/core_id"));
    // Renamed in Linux 5.3; both names exist since.
    let siblings = ["core_cpus_list", "thread_siblings_list"]
        .iter()
        .find_map(|name| lowest_sharing(files, &format!("{topology}/{name}"), cpu));
    LogicalCpu {
        cpu,
        core: core.unwrap_or(cpu),
        package: package.unwrap_or(0),
        numa_node,
        cache_domain: cache_domain(files, cpu),
        core_leader: siblings.unwrap_or(cpu),
        usable: is_usable(cpu, allowed),
    }
}

fn is_usable(cpu: usize, allowed: &[usize]) -> bool {
    allowed.is_empty() || allowed.contains(&cpu)
}

/// The lowest CPU that shares the last-level cache; where caches are not
/// described, as in some virtual machines, the lowest of the cluster or package.
fn cache_domain(files: &KernelFiles, cpu: usize) -> usize {
    let dir = format!("{CPU_DIR}/cpu{cpu}");
    let caches = files.numbered_entries(format!("{dir}/cache"), "index");
    let last_level = caches
        .into_iter()
        .filter_map(|index| {
            let cache = format!("{dir}/cache/index{index}");
            let level: u32 = files.number(format!("{cache}/level"))?;
            let lowest = lowest_sharing(files, &format!("{cache}/shared_cpu_list"), cpu)?;
            Some((level, lowest))
        })
        .max_by_key(|(level, _)| *level)
        .map(|(_, lowest)| lowest);
    let mut wider = ["cluster_cpus_list", "package_cpus_list"]
        .iter()
        .map(|name| format!("{dir}/topology/{name}"));
    last_level
        .or_else(|| wider.find_map(|name| lowest_sharing(files, &name, cpu)))
        .unwrap_or(cpu)
}

/// The lowest CPU of a list, if the list makes sense: it must have `cpu` in it.
fn lowest_sharing(files: &KernelFiles, name: &str, cpu: usize) -> Option<usize> {
    let cpus = files.cpu_list(name)?;
    cpus.contains(&cpu).then(|| cpus[0])
}

/// Made-up hosts, for the tests of everything that depends on a topology.
#[cfg(test)]
pub(crate) mod made_up {
    use super::{super::sysfs::made_up::MadeUp, *};

    /// Writes a host of any shape. The files of a CPU list the CPUs that agree
    /// with it; those of offline CPUs are what the kernel leaves of them.
    pub(crate) fn write_cpus(cpus: &[LogicalCpu], offline: &[usize]) -> MadeUp {
        let made_up = MadeUp::new();
        let list = |same: &dyn Fn(&&LogicalCpu) -> bool| {
            let numbers = cpus.iter().filter(same).map(|cpu| cpu.cpu.to_string());
            numbers.collect::<Vec<_>>().join(",")
        };
        made_up.write(&format!("{CPU_DIR}/online"), list(&|_| true));
        for cpu in offline {
            made_up.write(&format!("{CPU_DIR}/cpu{cpu}/online"), 0);
        }
        for cpu in cpus {
            let dir = format!("{CPU_DIR}/cpu{}", cpu.cpu);
            let core = list(&|other| other.core_leader == cpu.core_leader);
            let cache = list(&|other| other.cache_domain == cpu.cache_domain);
            let node = list(&|other| other.numa_node == cpu.numa_node);
            made_up
                .write(&format!("{NODE_DIR}/node{}/cpulist", cpu.numa_node), node)
                .write(&format!("{dir}/topology/physical_package_id"), cpu.package)
                .write(&format!("{dir}/topology/core_id"), cpu.core)
                .write(&format!("{dir}/topology/core_cpus_list"), &core)
                .write(&format!("{dir}/cache/index1/level"), 1)
                .write(&format!("{dir}/cache/index1/shared_cpu_list"), core)
                .write(&format!("{dir}/cache/index2/level"), 2)
                .write(&format!("{dir}/cache/index2/shared_cpu_list"), cache);
        }
        made_up
    }

    /// A host of which every level has the same number of children.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Regular {
        pub(crate) packages: usize,
        pub(crate) nodes_per_package: usize,
        pub(crate) caches_per_node: usize,
        pub(crate) cores_per_cache: usize,
        pub(crate) threads_per_core: usize,
    }

    impl Regular {
        pub(crate) fn cores(&self) -> usize {
            self.packages * self.nodes_per_package * self.caches_per_node * self.cores_per_cache
        }

        /// The topology without a detour through files. CPUs are numbered as
        /// x86 does it, all first threads and then all second ones.
        pub(crate) fn direct(&self) -> Topology {
            let cores = self.cores();
            let per_node = self.caches_per_node * self.cores_per_cache;
            let per_package = self.nodes_per_package * per_node;
            let cpus = (0..cores * self.threads_per_core).map(|cpu| {
                let leader = cpu % cores;
                LogicalCpu {
                    cpu,
                    core: leader % per_package,
                    package: leader / per_package,
                    numa_node: leader / per_node,
                    cache_domain: leader / self.cores_per_cache * self.cores_per_cache,
                    core_leader: leader,
                    usable: true,
                }
            });
            Topology {
                cpus: cpus.collect(),
            }
        }

        /// The topology as it comes out of files.
        pub(crate) fn topology(&self, allowed: &[usize]) -> Topology {
            Topology::read(&self.write().files(), allowed)
        }

        pub(crate) fn write(&self) -> MadeUp {
            let made_up = MadeUp::new();
            let cores = self.cores();
            let list = |cores: std::ops::Range<usize>| {
                (0..self.threads_per_core)
                    .flat_map(|thread| cores.clone().map(move |core| thread * self.cores() + core))
                    .map(|cpu| cpu.to_string())
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let group = |core: usize, size: usize| {
                let first = core / size * size;
                list(first..first + size)
            };
            let per_node = self.caches_per_node * self.cores_per_cache;
            made_up.write(
                "sys/devices/system/cpu/online",
                format!("0-{}", cores * self.threads_per_core - 1),
            );
            for node in 0..cores / per_node {
                made_up.write(
                    &format!("{NODE_DIR}/node{node}/cpulist"),
                    list(node * per_node..(node + 1) * per_node),
                );
            }
            for cpu in 0..cores * self.threads_per_core {
                let core = cpu % cores;
                let per_package = self.nodes_per_package * per_node;
                let dir = format!("{CPU_DIR}/cpu{cpu}");
                made_up
                    .write(
                        &format!("{dir}/topology/physical_package_id"),
                        core / per_package,
                    )
                    .write(&format!("{dir}/topology/core_id"), core % per_package)
                    .write(&format!("{dir}/topology/core_cpus_list"), group(core, 1))
                    .write(&format!("{dir}/cache/index0/level"), 1)
                    .write(
                        &format!("{dir}/cache/index0/shared_cpu_list"),
                        group(core, 1),
                    )
                    .write(&format!("{dir}/cache/index3/level"), 3)
                    .write(
                        &format!("{dir}/cache/index3/shared_cpu_list"),
                        group(core, self.cores_per_cache),
                    );
            }
            made_up
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::sysfs::made_up::MadeUp, made_up::Regular, *};

    const BIG: Regular = Regular {
        packages: 2,
        nodes_per_package: 2,
        caches_per_node: 2,
        cores_per_cache: 2,
        threads_per_core: 2,
    };

    #[test]
    fn two_sockets_of_two_nodes_with_hyperthreads() {
        let topology = BIG.topology(&[]);
        assert_eq!(topology.cpus.len(), 32);
        assert_eq!(topology.packages(), 2);
        assert_eq!(topology.numa_nodes(), 4);
        assert_eq!(topology.cache_domains(), 8);
        assert_eq!(topology.cores(), 16);
        assert_eq!(topology.usable().count(), 32);
        assert_eq!(topology, BIG.direct());
        assert_eq!(
            topology.cpus[27],
            LogicalCpu {
                cpu: 27,
                core: 3,
                package: 1,
                numa_node: 2,
                cache_domain: 10,
                core_leader: 11,
                usable: true,
            }
        );
    }

    #[test]
    fn offline_cpus_are_left_out() {
        let made_up = BIG.write();
        made_up.write("sys/devices/system/cpu/online", "0-3,8");
        let topology = Topology::read(&made_up.files(), &[]);
        let cpus: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.cpu).collect();
        assert_eq!(cpus, [0, 1, 2, 3, 8]);
    }

    #[test]
    fn cpus_that_we_may_use_count_when_the_list_is_an_invention() {
        let made_up = BIG.write();
        made_up
            .write("sys/devices/system/cpu/online", "0-1")
            .write("sys/devices/system/cpu/cpu6/online", "0");
        let topology = Topology::read(&made_up.files(), &[1, 5, 6, 99]);
        let cpus: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.cpu).collect();
        assert_eq!(cpus, [0, 1, 5]);
    }

    #[test]
    fn cpus_outside_of_the_affinity_are_not_usable() {
        let topology = BIG.topology(&[1, 5, 99]);
        let usable: Vec<usize> = topology.usable().map(|cpu| cpu.cpu).collect();
        assert_eq!(usable, [1, 5]);
        assert_eq!(topology.cpus.len(), 32);
    }

    #[test]
    fn clusters_with_repeated_core_ids_stay_apart() {
        // Two clusters of an arm board: core ids start over in each, no L3, no
        // package, and the second cluster lacks CPUs 6 and 7.
        let made_up = MadeUp::new();
        made_up.write("sys/devices/system/cpu/online", "0-5");
        for (cpu, cluster) in [
            (0, "0-3"),
            (1, "0-3"),
            (2, "0-3"),
            (3, "0-3"),
            (4, "4-5"),
            (5, "4-5"),
        ] {
            let dir = format!("sys/devices/system/cpu/cpu{cpu}");
            made_up
                .write(&format!("{dir}/topology/physical_package_id"), -1)
                .write(&format!("{dir}/topology/core_id"), cpu % 4)
                .write(&format!("{dir}/topology/thread_siblings_list"), cpu)
                .write(&format!("{dir}/cache/index2/level"), 2)
                .write(&format!("{dir}/cache/index2/shared_cpu_list"), cluster);
        }
        let topology = Topology::read(&made_up.files(), &[]);
        assert_eq!(topology.cores(), 6);
        assert_eq!(topology.cache_domains(), 2);
        assert_eq!(topology.packages(), 1);
        assert_eq!(topology.numa_nodes(), 1);
        assert_eq!(topology.cpus[4].core, 0);
        assert_eq!(topology.cpus[5].cache_domain, 4);
    }

    #[test]
    fn package_stands_in_for_caches_that_are_not_described() {
        let made_up = MadeUp::new();
        made_up.write("sys/devices/system/cpu/online", "0-3");
        for cpu in 0..4 {
            let package = if cpu < 2 { "0-1" } else { "2-3" };
            let file = format!("sys/devices/system/cpu/cpu{cpu}/topology/package_cpus_list");
            made_up.write(&file, package);
        }
        let topology = Topology::read(&made_up.files(), &[]);
        assert_eq!(topology.cache_domains(), 2);
        assert_eq!(topology.cpus[3].cache_domain, 2);
        assert_eq!(topology.cores(), 4);
    }

    #[test]
    fn nothing_to_read_means_the_cpus_we_may_use() {
        let empty = MadeUp::new();
        let topology = Topology::read(&empty.files(), &[2, 7]);
        assert_eq!(
            topology.cpus[1],
            LogicalCpu {
                cpu: 7,
                core: 7,
                package: 0,
                numa_node: 0,
                cache_domain: 7,
                core_leader: 7,
                usable: true,
            }
        );
        assert_eq!(topology.cores(), 2);
        assert!(!Topology::read(&empty.files(), &[]).cpus.is_empty());
    }

    #[test]
    fn directories_replace_a_missing_list_of_online_cpus() {
        let made_up = MadeUp::new();
        made_up
            .write("sys/devices/system/cpu/cpu0/topology/core_id", 0)
            .write("sys/devices/system/cpu/cpu1/online", 0)
            .write("sys/devices/system/cpu/cpu2/online", 1)
            .write("sys/devices/system/cpu/cpufreq/x", 1);
        let topology = Topology::read(&made_up.files(), &[]);
        let cpus: Vec<usize> = topology.cpus.iter().map(|cpu| cpu.cpu).collect();
        assert_eq!(cpus, [0, 2]);
    }

    #[test]
    fn lists_that_contradict_themselves_are_ignored() {
        let made_up = BIG.write();
        made_up.write("sys/devices/system/cpu/cpu5/topology/core_cpus_list", "0-1");
        made_up.write(
            "sys/devices/system/cpu/cpu5/cache/index3/shared_cpu_list",
            "?",
        );
        let topology = Topology::read(&made_up.files(), &[]);
        assert_eq!(topology.cpus[5].core_leader, 5);
        assert_eq!(
            topology.cpus[5].cache_domain, 5,
            "the next lower cache counts"
        );
    }

    #[test]
    fn what_was_read_serves_until_other_cpus_are_online() {
        let made_up = BIG.write();
        let (files, mut last) = (made_up.files(), None);
        assert_eq!(Topology::refresh(&mut last, &files, &[]), BIG.topology(&[]));
        made_up.write("sys/devices/system/cpu/cpu0/topology/core_id", 77);
        let again = Topology::refresh(&mut last, &files, &[1, 5]);
        assert_eq!(again.cpus[0].core, 0, "read again");
        let usable: Vec<usize> = again.usable().map(|cpu| cpu.cpu).collect();
        assert_eq!(usable, [1, 5], "which CPUs are usable is never old");
        made_up.write("sys/devices/system/cpu/online", "0-3,8");
        let fewer = Topology::refresh(&mut last, &files, &[]);
        assert_eq!(fewer, Topology::read(&files, &[]));
        assert_eq!((fewer.cpus.len(), fewer.cpus[0].core), (5, 77));
    }

    #[test]
    fn this_host_has_a_cpu_for_us() {
        let topology = Topology::host();
        assert!(topology.usable().count() >= 1);
        assert!(topology.cores() <= topology.cpus.len());
        let first = topology.usable().next().unwrap();
        assert_eq!(cache_domain_of(first.cpu), first.cache_domain);
    }
}
