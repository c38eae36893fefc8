//! What users ask for: where executors shall run.

use super::{CpuLocation, CpuSet, CpuSetGenerator, strategy::CpuOrder};
use crate::{
    error::{BuilderErrorKind, GlommioError, Result},
    sys::topology::Topology,
};

/// Where a single executor runs.
///
/// ```
/// use glommio::{CpuSet, Placement};
///
/// let first_node = CpuSet::online()?.filter(|location| location.numa_node == 0);
/// let placement = Placement::Fenced(first_node);
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// Wherever the operating system puts it.
    Unbound,

    /// On whichever CPU of the set the operating system likes.
    ///
    /// # Errors
    ///
    /// Building the executor fails if the set is empty (`InsufficientCpus`), or
    /// names a CPU that is not online or that the process may not use
    /// (`NonExistentCpus`).
    Fenced(CpuSet),

    /// On the CPU of this number.
    ///
    /// # Errors
    ///
    /// Building the executor fails with `NonExistentCpus` if the CPU is not
    /// online, or if the process may not use it.
    Fixed(usize),
}

impl Placement {
    /// Looks the placement up in the topology of this host.
    ///
    /// # Errors
    ///
    /// As described for each variant.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::Placement;
    ///
    /// let mut unbound = Placement::Unbound.generate_cpu_set()?;
    /// assert!(unbound.next().cpu_binding().is_none());
    /// assert!(Placement::Fixed(100_000).generate_cpu_set().is_err());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn generate_cpu_set(self) -> Result<CpuSetGenerator, ()> {
        self.resolve(Topology::host)
    }

    pub(super) fn resolve(
        self,
        topology: impl FnOnce() -> Topology,
    ) -> Result<CpuSetGenerator, ()> {
        match self {
            Placement::Unbound => Ok(CpuSetGenerator::Unbound),
            Placement::Fenced(cpus) => fence(cpus, &topology()),
            Placement::Fixed(cpu) => {
                let topology = topology();
                let location = locate(cpu, &topology).ok_or_else(|| unknown(cpu))?;
                Ok(CpuSetGenerator::Fenced([location].into_iter().collect()))
            }
        }
    }
}

/// How many executors a pool has, and where they run.
///
/// ```
/// use glommio::{CpuSet, PoolPlacement};
///
/// // One executor per CPU of the first NUMA node.
/// let first_node = CpuSet::online()?.filter(|location| location.numa_node == 0);
/// let placement = PoolPlacement::MaxSpread(first_node.len(), Some(first_node));
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
///
/// # Errors
///
/// Building the pool fails with one of these [`BuilderErrorKind`]s:
///
/// - `NrShards` if it has no executor;
/// - `InsufficientCpus` if there are fewer CPUs than executors that want one
///   each, or if a set is empty;
/// - `NonExistentCpus` if a set names a CPU that is not online, or that the
///   process may not use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PoolPlacement {
    /// So many executors, wherever the operating system puts them.
    Unbound(usize),

    /// So many executors, each of them on whichever CPU of the set the
    /// operating system likes.
    Fenced(usize, CpuSet),

    /// So many executors, each on a CPU of its own, as far from each other as
    /// possible: different NUMA nodes and packages first, then different
    /// caches, then different cores; the hardware threads of one core come
    /// last. Without a set, all CPUs that the process may use are candidates.
    MaxSpread(usize, Option<CpuSet>),

    /// So many executors, each on a CPU of its own, as close to each other as
    /// possible: in one core, else around one cache, else in one package and
    /// NUMA node. Without a set, all CPUs that the process may use are
    /// candidates.
    MaxPack(usize, Option<CpuSet>),

    /// One executor for each set, on whichever CPU of it the operating system
    /// likes. Sets may overlap.
    Custom(Vec<CpuSet>),
}

impl PoolPlacement {
    /// How many executors the pool has.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuSet, PoolPlacement};
    ///
    /// assert_eq!(PoolPlacement::Unbound(3).executor_count(), 3);
    /// let sets = vec![CpuSet::online()?, CpuSet::online()?];
    /// assert_eq!(PoolPlacement::Custom(sets).executor_count(), 2);
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn executor_count(&self) -> usize {
        match self {
            PoolPlacement::Unbound(executors)
            | PoolPlacement::Fenced(executors, _)
            | PoolPlacement::MaxSpread(executors, _)
            | PoolPlacement::MaxPack(executors, _) => *executors,
            PoolPlacement::Custom(sets) => sets.len(),
        }
    }

    /// Looks the placement up in the topology of this host.
    ///
    /// # Errors
    ///
    /// As described for the type.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::PoolPlacement;
    ///
    /// let mut packed = PoolPlacement::MaxPack(1, None).generate_cpu_set()?;
    /// assert_eq!(packed.next().count(), 1);
    /// assert!(PoolPlacement::MaxPack(0, None).generate_cpu_set().is_err());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn generate_cpu_set(self) -> Result<CpuSetGenerator, ()> {
        self.resolve(Topology::host)
    }

    pub(super) fn resolve(
        self,
        topology: impl FnOnce() -> Topology,
    ) -> Result<CpuSetGenerator, ()> {
        if self.executor_count() == 0 {
            return Err(GlommioError::BuilderError(BuilderErrorKind::NrShards {
                minimum: 1,
                shards: 0,
            }));
        }
        match self {
            PoolPlacement::Unbound(_) => Ok(CpuSetGenerator::Unbound),
            PoolPlacement::Fenced(_, cpus) => fence(cpus, &topology()),
            PoolPlacement::MaxSpread(executors, cpus) => {
                let candidates = candidates(executors, cpus, topology())?;
                Ok(CpuSetGenerator::MaxSpread(CpuOrder::spread(&candidates)))
            }
            PoolPlacement::MaxPack(executors, cpus) => {
                let candidates = candidates(executors, cpus, topology())?;
                Ok(CpuSetGenerator::MaxPack(CpuOrder::pack(
                    &candidates,
                    executors,
                )))
            }
            PoolPlacement::Custom(sets) => {
                let topology = topology();
                for cpus in &sets {
                    check(cpus, &topology)?;
                }
                Ok(CpuSetGenerator::Custom(sets))
            }
        }
    }
}

/// A pool of one executor.
impl From<Placement> for PoolPlacement {
    fn from(placement: Placement) -> Self {
        match placement {
            Placement::Unbound => PoolPlacement::Unbound(1),
            Placement::Fenced(cpus) => PoolPlacement::Fenced(1, cpus),
            Placement::Fixed(cpu) => {
                // A CPU that does not exist gets a location all the same:
                // building the pool will tell, this conversion cannot.
                let location = locate(cpu, &Topology::host()).unwrap_or(CpuLocation {
                    cpu,
                    core: cpu,
                    package: 0,
                    numa_node: 0,
                });
                PoolPlacement::Fenced(1, [location].into_iter().collect())
            }
        }
    }
}

fn unknown(cpu: usize) -> GlommioError<()> {
    GlommioError::BuilderError(BuilderErrorKind::NonExistentCpus { cpu })
}

fn insufficient(required: usize, available: usize) -> GlommioError<()> {
    GlommioError::BuilderError(BuilderErrorKind::InsufficientCpus {
        required,
        available,
    })
}

fn locate(cpu: usize, topology: &Topology) -> Option<CpuLocation> {
    topology
        .cpus
        .iter()
        .find(|known| known.cpu == cpu)
        .map(CpuLocation::from)
}

/// A set that a user made must have CPUs, all of them online.
///
/// Whether the process may use them is left to the kernel when the thread is
/// bound: an affinity may be widened, and only the kernel knows how far.
fn check(cpus: &CpuSet, topology: &Topology) -> Result<(), ()> {
    if cpus.is_empty() {
        return Err(insufficient(1, 0));
    }
    let missing = cpus
        .iter()
        .map(|location| location.cpu)
        .filter(|cpu| locate(*cpu, topology).is_none())
        .min();
    missing.map_or(Ok(()), |cpu| Err(unknown(cpu)))
}

fn fence(cpus: CpuSet, topology: &Topology) -> Result<CpuSetGenerator, ()> {
    check(&cpus, topology)?;
    Ok(CpuSetGenerator::Fenced(cpus))
}

/// The part of the topology that executors with a CPU of their own may take.
fn candidates(
    executors: usize,
    cpus: Option<CpuSet>,
    mut topology: Topology,
) -> Result<Topology, ()> {
    match cpus {
        None => topology.cpus.retain(|cpu| cpu.usable),
        Some(cpus) if cpus.is_empty() => return Err(insufficient(executors, 0)),
        Some(cpus) => {
            check(&cpus, &topology)?;
            topology
                .cpus
                .retain(|cpu| cpus.iter().any(|wanted| wanted.cpu == cpu.cpu));
        }
    }
    if topology.cpus.len() < executors {
        return Err(insufficient(executors, topology.cpus.len()));
    }
    Ok(topology)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{executor::placement::CpuIter, sys::topology::made_up::Regular};

    /// Two packages of two cores with two threads each: CPUs 0 to 3 are the
    /// first threads, 4 to 7 the second ones.
    const HOST: Regular = Regular {
        packages: 2,
        nodes_per_package: 1,
        caches_per_node: 1,
        cores_per_cache: 2,
        threads_per_core: 2,
    };

    fn set(cpus: impl IntoIterator<Item = usize>) -> CpuSet {
        let host = HOST.direct();
        cpus.into_iter()
            .map(|cpu| locate(cpu, &host).unwrap())
            .collect()
    }

    fn beyond() -> CpuSet {
        [CpuLocation {
            cpu: 99,
            core: 0,
            package: 0,
            numa_node: 0,
        }]
        .into_iter()
        .collect()
    }

    fn bindings(generator: Result<CpuSetGenerator, ()>, count: usize) -> Vec<Vec<usize>> {
        let mut generator = generator.unwrap();
        (0..count)
            .map(|_| generator.next().map(|location| location.cpu).collect())
            .collect()
    }

    fn refusal(generator: Result<CpuSetGenerator, ()>) -> String {
        generator.unwrap_err().to_string()
    }

    #[test]
    fn single_placements() {
        let resolve = |placement: Placement| placement.resolve(|| HOST.direct());
        assert!(matches!(
            resolve(Placement::Unbound).unwrap().next(),
            CpuIter::Unbound
        ));
        assert_eq!(bindings(resolve(Placement::Fixed(6)), 1), [[6]]);
        assert_eq!(bindings(resolve(Placement::Fenced(set(1..3))), 1), [[1, 2]]);
    }

    #[test]
    fn single_placements_that_cannot_be() {
        let resolve = |placement: Placement| refusal(placement.resolve(|| HOST.direct()));
        let missing = "Executor builder error: CPU 99 doesn't exist on the host";
        assert_eq!(resolve(Placement::Fixed(99)), missing);
        assert_eq!(resolve(Placement::Fenced(beyond())), missing);
        assert_eq!(
            resolve(Placement::Fenced(set([]))),
            "Executor builder error: found 0 of 1 required CPUs"
        );
    }

    #[test]
    fn pools_have_as_many_executors_as_asked_for() {
        for (placement, count) in [
            (PoolPlacement::Unbound(3), 3),
            (PoolPlacement::Fenced(4, set(0..2)), 4),
            (PoolPlacement::MaxSpread(5, None), 5),
            (PoolPlacement::MaxPack(6, None), 6),
            (PoolPlacement::Custom(vec![set(0..2), set(3..4)]), 2),
        ] {
            assert_eq!(placement.executor_count(), count, "{placement:?}");
        }
    }

    #[test]
    fn pool_placements() {
        let resolve = |placement: PoolPlacement| placement.resolve(|| HOST.direct());
        assert_eq!(
            bindings(resolve(PoolPlacement::Unbound(2)), 2),
            [[0_usize; 0], []]
        );
        assert_eq!(
            bindings(resolve(PoolPlacement::Fenced(9, set(1..3))), 2),
            [[1, 2], [1, 2]],
            "more executors than CPUs share the fence"
        );
        assert_eq!(
            bindings(resolve(PoolPlacement::MaxSpread(2, None)), 2),
            [[0], [2]]
        );
        assert_eq!(
            bindings(resolve(PoolPlacement::MaxPack(2, None)), 2),
            [[0], [4]]
        );
        assert_eq!(
            bindings(resolve(PoolPlacement::MaxPack(2, Some(set([1, 2, 6])))), 2),
            [[2], [6]]
        );
        assert_eq!(
            bindings(
                resolve(PoolPlacement::Custom(vec![set([1]), set([0, 7])])),
                2
            ),
            [vec![1], vec![0, 7]]
        );
    }

    #[test]
    fn pools_without_executors_are_refused() {
        for placement in [
            PoolPlacement::Unbound(0),
            PoolPlacement::Fenced(0, set(0..2)),
            PoolPlacement::MaxSpread(0, None),
            PoolPlacement::MaxPack(0, None),
            PoolPlacement::Custom(vec![]),
        ] {
            assert!(matches!(
                placement.resolve(|| HOST.direct()),
                Err(GlommioError::BuilderError(BuilderErrorKind::NrShards {
                    minimum: 1,
                    shards: 0
                }))
            ));
        }
    }

    #[test]
    fn pools_with_unknown_cpus_are_refused() {
        for placement in [
            PoolPlacement::Fenced(1, beyond()),
            PoolPlacement::MaxSpread(1, Some(beyond())),
            PoolPlacement::MaxPack(1, Some(beyond())),
            PoolPlacement::Custom(vec![set(0..1), beyond()]),
        ] {
            assert_eq!(
                refusal(placement.resolve(|| HOST.direct())),
                "Executor builder error: CPU 99 doesn't exist on the host"
            );
        }
    }

    #[test]
    fn pools_with_too_few_cpus_are_refused() {
        for (placement, message) in [
            (
                PoolPlacement::MaxSpread(9, None),
                "found 8 of 9 required CPUs",
            ),
            (
                PoolPlacement::MaxPack(3, Some(set(0..2))),
                "found 2 of 3 required CPUs",
            ),
            (
                PoolPlacement::MaxSpread(3, Some(set([]))),
                "found 0 of 3 required CPUs",
            ),
            (
                PoolPlacement::Fenced(3, set([])),
                "found 0 of 1 required CPUs",
            ),
            (
                PoolPlacement::Custom(vec![set(0..1), set([])]),
                "found 0 of 1 required CPUs",
            ),
        ] {
            let refusal = refusal(placement.resolve(|| HOST.direct()));
            assert_eq!(refusal, format!("Executor builder error: {message}"));
        }
    }

    #[test]
    fn cpus_that_we_may_not_use_are_taken_only_by_name() {
        let narrow = || {
            let mut host = HOST.direct();
            for cpu in &mut host.cpus {
                cpu.usable = cpu.cpu < 2;
            }
            host
        };
        assert_eq!(
            refusal(PoolPlacement::MaxSpread(3, None).resolve(narrow)),
            "Executor builder error: found 2 of 3 required CPUs"
        );
        assert_eq!(bindings(Placement::Fixed(5).resolve(narrow), 1), [[5]]);
        let by_name = PoolPlacement::MaxSpread(1, Some(set(5..6)));
        assert_eq!(bindings(by_name.resolve(narrow), 1), [[5]]);
    }

    #[test]
    fn unbound_placements_need_no_topology() {
        let never = || -> Topology { panic!("the topology was read") };
        assert!(Placement::Unbound.resolve(never).is_ok());
        assert!(PoolPlacement::Unbound(7).resolve(never).is_ok());
        assert!(PoolPlacement::MaxPack(0, None).resolve(never).is_err());
    }

    #[test]
    fn placement_becomes_a_pool_of_one() {
        let online = CpuSet::online().unwrap();
        let cpu = online.sorted()[0].cpu;
        assert_eq!(
            PoolPlacement::from(Placement::Unbound),
            PoolPlacement::Unbound(1)
        );
        assert_eq!(
            PoolPlacement::from(Placement::Fenced(online.clone())),
            PoolPlacement::Fenced(1, online.clone())
        );
        let fixed = PoolPlacement::from(Placement::Fixed(cpu));
        assert_eq!(
            fixed,
            PoolPlacement::Fenced(1, online.filter(|location| location.cpu == cpu))
        );
        assert_eq!(bindings(fixed.generate_cpu_set(), 1), [[cpu]]);
        assert_eq!(
            refusal(PoolPlacement::from(Placement::Fixed(60_000)).generate_cpu_set()),
            "Executor builder error: CPU 60000 doesn't exist on the host"
        );
    }

    #[test]
    fn placements_on_this_host() {
        let online = CpuSet::online().unwrap();
        let all = online.len();
        for placement in [
            PoolPlacement::MaxSpread(all, None),
            PoolPlacement::MaxPack(all, Some(online)),
        ] {
            let mut cpus = bindings(placement.generate_cpu_set(), all).concat();
            cpus.sort_unstable();
            cpus.dedup();
            assert_eq!(cpus.len(), all);
        }
    }
}
