//! Sets of CPUs, and where each CPU lies.

use std::{
    collections::{
        HashSet,
        hash_set::{self, Difference, Intersection, SymmetricDifference, Union},
    },
    hash::{Hash, Hasher, RandomState},
};

use crate::{
    error::{BuilderErrorKind, GlommioError, Result},
    sys::topology::{LogicalCpu, Topology, cache_domain_of},
};

/// Where a CPU lies in the machine.
///
/// # Examples
///
/// ```
/// use glommio::CpuSet;
///
/// for location in CpuSet::online()? {
///     println!("CPU {} is of core {}", location.cpu, location.core);
/// }
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CpuLocation {
    /// The number of the CPU. Each hardware thread of a core is one.
    pub cpu: usize,
    /// The number of the core that the CPU belongs to. Numbers of cores may
    /// start over in each package.
    pub core: usize,
    /// The number of the package, or socket, that the CPU belongs to.
    pub package: usize,
    /// The number of the NUMA node that the CPU belongs to.
    pub numa_node: usize,
}

impl CpuLocation {
    /// The group of CPUs that share this CPU's last-level cache, named after
    /// the lowest CPU in it.
    ///
    /// Asks the host each time. A CPU whose caches are not known is a group of
    /// its own.
    ///
    /// ```
    /// use glommio::CpuSet;
    ///
    /// let first = CpuSet::online()?.into_iter().map(|l| l.cache_domain()).min();
    /// let sharing = CpuSet::online()?.filter(|l| Some(l.cache_domain()) == first);
    /// assert!(!sharing.is_empty());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn cache_domain(&self) -> usize {
        cache_domain_of(self.cpu)
    }
}

impl From<&LogicalCpu> for CpuLocation {
    fn from(cpu: &LogicalCpu) -> Self {
        CpuLocation {
            cpu: cpu.cpu,
            core: cpu.core,
            package: cpu.package,
            numa_node: cpu.numa_node,
        }
    }
}

/// A set of CPUs for executors to run on.
///
/// Start from [`CpuSet::online`] and narrow it with [`filter`](Self::filter);
/// what the set means then is up to the variant of
/// [`Placement`](crate::Placement) or [`PoolPlacement`](crate::PoolPlacement)
/// that it goes into.
///
/// ```
/// use glommio::CpuSet;
///
/// let near = CpuSet::online()?.filter(|location| location.numa_node == 0);
/// println!("{} CPUs on the first NUMA node", near.len());
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CpuSet(HashSet<CpuLocation>);

impl CpuSet {
    /// The CPUs that are online and that this process may use: a cpuset, as
    /// containers have, and an affinity that the process was started with, as
    /// by `taskset`, limit them.
    ///
    /// # Errors
    ///
    /// When the host does not tell of any CPU.
    pub fn online() -> Result<Self, ()> {
        CpuSet::usable(&Topology::host())
    }

    pub(super) fn usable(topology: &Topology) -> Result<Self, ()> {
        let cpus: CpuSet = topology.usable().map(CpuLocation::from).collect();
        if cpus.is_empty() {
            return Err(GlommioError::BuilderError(
                BuilderErrorKind::InsufficientCpus {
                    required: 1,
                    available: 0,
                },
            ));
        }
        Ok(cpus)
    }

    /// Keeps the CPUs for which the closure returns `true`.
    ///
    /// Filters add up: a second one sees what the first one kept.
    #[must_use = "returns the smaller set"]
    pub fn filter<F>(mut self, mut f: F) -> Self
    where
        F: FnMut(&CpuLocation) -> bool,
    {
        self.0.retain(|location| f(location));
        self
    }

    /// Whether the set has no CPU.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::CpuSet;
    ///
    /// let none = CpuSet::online()?.filter(|_| false);
    /// assert!(none.is_empty());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many CPUs the set has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set has this CPU at this location.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::CpuSet;
    ///
    /// let online = CpuSet::online()?;
    /// assert!(online.iter().all(|location| online.contains(location)));
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn contains(&self, location: &CpuLocation) -> bool {
        self.0.contains(location)
    }

    /// The CPUs of the set, in no particular order.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::CpuSet;
    ///
    /// let online = CpuSet::online()?;
    /// assert_eq!(online.iter().count(), online.len());
    /// # Ok::<(), glommio::GlommioError<()>>(())
    /// ```
    pub fn iter(&self) -> hash_set::Iter<'_, CpuLocation> {
        self.0.iter()
    }

    /// Whether the sets have no CPU in common.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// assert!(set(0..2).is_disjoint(&set(2..4)));
    /// assert!(!set(0..3).is_disjoint(&set(2..4)));
    /// ```
    pub fn is_disjoint(&self, other: &Self) -> bool {
        self.0.is_disjoint(&other.0)
    }

    /// Whether the other set has every CPU of this one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// assert!(set(1..2).is_subset(&set(0..4)));
    /// ```
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// Whether this set has every CPU of the other one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// assert!(set(0..4).is_superset(&set(1..2)));
    /// ```
    pub fn is_superset(&self, other: &Self) -> bool {
        self.0.is_superset(&other.0)
    }

    /// The CPUs of this set that the other one lacks.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// assert_eq!(set(0..4).difference(&set(1..9)).count(), 1);
    /// ```
    pub fn difference<'a>(&'a self, other: &'a Self) -> Difference<'a, CpuLocation, RandomState> {
        self.0.difference(&other.0)
    }

    /// The CPUs that are in exactly one of the sets.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// assert_eq!(set(0..4).symmetric_difference(&set(2..6)).count(), 4);
    /// ```
    pub fn symmetric_difference<'a>(
        &'a self,
        other: &'a Self,
    ) -> SymmetricDifference<'a, CpuLocation, RandomState> {
        self.0.symmetric_difference(&other.0)
    }

    /// The CPUs that are in both sets.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// let (low, high) = (set(0..4), set(2..6));
    /// assert!(low.intersection(&high).all(|location| [2, 3].contains(&location.cpu)));
    /// ```
    pub fn intersection<'a>(
        &'a self,
        other: &'a Self,
    ) -> Intersection<'a, CpuLocation, RandomState> {
        self.0.intersection(&other.0)
    }

    /// The CPUs that are in either set, each of them once.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{CpuLocation, CpuSet};
    ///
    /// let set = |cpus: std::ops::Range<usize>| -> CpuSet {
    ///     let at = |cpu| CpuLocation { cpu, core: cpu, package: 0, numa_node: 0 };
    ///     cpus.map(at).collect()
    /// };
    /// assert_eq!(set(0..4).union(&set(2..6)).count(), 6);
    /// ```
    pub fn union<'a>(&'a self, other: &'a Self) -> Union<'a, CpuLocation, RandomState> {
        self.0.union(&other.0)
    }

    /// The CPUs in the order of their numbers.
    pub(super) fn sorted(&self) -> Vec<CpuLocation> {
        let mut cpus: Vec<CpuLocation> = self.iter().cloned().collect();
        cpus.sort_unstable_by_key(|at| (at.cpu, at.core, at.package, at.numa_node));
        cpus
    }
}

impl PartialEq for CpuSet {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for CpuSet {}

/// Equal sets hash alike, whatever the order of their tables.
impl Hash for CpuSet {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.sorted().hash(state);
    }
}

impl FromIterator<CpuLocation> for CpuSet {
    fn from_iter<I: IntoIterator<Item = CpuLocation>>(cpus: I) -> Self {
        CpuSet(HashSet::from_iter(cpus))
    }
}

impl IntoIterator for CpuSet {
    type Item = CpuLocation;
    type IntoIter = hash_set::IntoIter<CpuLocation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a CpuSet {
    type Item = &'a CpuLocation;
    type IntoIter = hash_set::Iter<'a, CpuLocation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, DefaultHasher};

    use super::*;
    use crate::sys::topology::made_up::Regular;

    fn at(cpu: usize) -> CpuLocation {
        CpuLocation {
            cpu,
            core: cpu / 2,
            package: cpu / 4,
            numa_node: cpu / 8,
        }
    }

    fn set(cpus: std::ops::Range<usize>) -> CpuSet {
        cpus.map(at).collect()
    }

    #[test]
    fn online_cpus_are_the_ones_we_may_use() {
        let host = Regular {
            packages: 2,
            nodes_per_package: 1,
            caches_per_node: 1,
            cores_per_cache: 2,
            threads_per_core: 1,
        };
        let online = CpuSet::usable(&host.topology(&[1, 2])).unwrap();
        assert_eq!(
            online.sorted(),
            [
                CpuLocation {
                    cpu: 1,
                    core: 1,
                    package: 0,
                    numa_node: 0
                },
                CpuLocation {
                    cpu: 2,
                    core: 0,
                    package: 1,
                    numa_node: 1
                },
            ]
        );
        assert!(matches!(
            CpuSet::usable(&host.topology(&[9])),
            Err(GlommioError::BuilderError(
                BuilderErrorKind::InsufficientCpus {
                    required: 1,
                    available: 0
                }
            ))
        ));
        assert!(!CpuSet::online().unwrap().is_empty());
    }

    #[test]
    fn filters_add_up() {
        let kept = set(0..16)
            .filter(|l| l.numa_node == 1)
            .filter(|l| l.package == 3);
        assert_eq!(kept, set(12..16));
        assert_eq!(kept.len(), 4);
        assert!(kept.filter(|_| false).is_empty());
    }

    #[test]
    fn set_algebra() {
        let (low, high) = (set(0..6), set(4..8));
        let sorted = |cpus: Vec<&CpuLocation>| {
            let mut cpus: Vec<usize> = cpus.iter().map(|l| l.cpu).collect();
            cpus.sort_unstable();
            cpus
        };
        assert_eq!(sorted(low.intersection(&high).collect()), [4, 5]);
        assert_eq!(sorted(low.difference(&high).collect()), [0, 1, 2, 3]);
        assert_eq!(
            sorted(low.symmetric_difference(&high).collect()),
            [0, 1, 2, 3, 6, 7]
        );
        assert_eq!(low.union(&high).count(), 8);
        assert!(!low.is_disjoint(&high) && low.is_disjoint(&set(6..8)));
        assert!(set(4..6).is_subset(&low) && low.is_superset(&set(4..6)));
        assert!(!high.is_subset(&low) && !low.is_superset(&high));
    }

    #[test]
    fn membership_is_of_the_whole_location() {
        let cpus = set(0..4);
        assert!(cpus.contains(&at(3)));
        let elsewhere = CpuLocation {
            numa_node: 7,
            ..at(3)
        };
        assert!(!cpus.contains(&elsewhere));
    }

    #[test]
    fn equal_sets_hash_alike() {
        let hasher = std::hash::BuildHasherDefault::<DefaultHasher>::default();
        let backwards: CpuSet = (0..64).rev().map(at).collect();
        assert_eq!(backwards, set(0..64));
        assert_eq!(hasher.hash_one(&backwards), hasher.hash_one(set(0..64)));
        assert_ne!(hasher.hash_one(&backwards), hasher.hash_one(set(0..63)));
    }

    #[test]
    fn sets_are_iterable_by_value_and_by_reference() {
        let cpus = set(0..3);
        assert_eq!((&cpus).into_iter().count(), 3);
        assert_eq!(cpus.iter().count(), 3);
        assert_eq!(cpus.into_iter().map(|l| l.cpu).sum::<usize>(), 3);
    }

    #[test]
    fn unknown_cpu_is_a_cache_domain_of_its_own() {
        assert_eq!(at(60_000).cache_domain(), 60_000);
    }
}
