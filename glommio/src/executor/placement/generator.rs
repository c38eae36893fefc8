//! Hands one CPU, or one set of CPUs, to each executor.

use super::{CpuLocation, CpuSet, strategy::CpuOrder};

/// Hands out where executors run, one after the other.
///
/// Comes from [`Placement::generate_cpu_set`] or
/// [`PoolPlacement::generate_cpu_set`]. Whoever asks more often than there are
/// executors starts over from the first answer.
///
/// [`Placement::generate_cpu_set`]: crate::Placement::generate_cpu_set
/// [`PoolPlacement::generate_cpu_set`]: crate::PoolPlacement::generate_cpu_set
///
/// # Examples
///
/// ```
/// use glommio::{CpuSet, PoolPlacement};
///
/// let cpus = CpuSet::online()?;
/// let mut places = PoolPlacement::MaxSpread(cpus.len(), Some(cpus.clone())).generate_cpu_set()?;
/// for shard in 0..cpus.len() {
///     let location = places.next().next().expect("each shard has a CPU of its own");
///     println!("shard {shard} goes on CPU {}", location.cpu);
/// }
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Debug)]
pub enum CpuSetGenerator {
    /// No executor is bound.
    Unbound,
    /// Every executor may run on each CPU of the set.
    Fenced(CpuSet),
    /// Every executor has a CPU to itself, far from the others.
    MaxSpread(CpuOrder),
    /// Every executor has a CPU to itself, close to the others.
    MaxPack(CpuOrder),
    /// Every executor has a set of its own.
    Custom(Vec<CpuSet>),
}

impl CpuSetGenerator {
    /// Where the next executor runs.
    // Named as in the published interface; unlike an iterator it never ends.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> CpuIter {
        match self {
            CpuSetGenerator::Unbound => CpuIter::Unbound,
            CpuSetGenerator::Fenced(cpus) => CpuIter::of(cpus),
            CpuSetGenerator::MaxSpread(order) | CpuSetGenerator::MaxPack(order) => {
                order.next().map_or(CpuIter::Unbound, CpuIter::Single)
            }
            CpuSetGenerator::Custom(sets) => {
                let Some(first) = sets.first().map(CpuIter::of) else {
                    return CpuIter::Unbound;
                };
                sets.rotate_left(1);
                first
            }
        }
    }
}

/// The CPUs that one executor may run on; iterates over those it is bound to.
///
/// # Examples
///
/// ```
/// use glommio::{CpuIter, CpuSet, Placement};
///
/// let cpus = CpuSet::online()?;
/// let mut fenced = Placement::Fenced(cpus.clone()).generate_cpu_set()?;
/// let binding = fenced.next().cpu_binding().expect("a fence binds");
/// assert_eq!(binding.into_iter().count(), cpus.len());
/// assert!(CpuIter::Unbound.cpu_binding().is_none());
/// # Ok::<(), glommio::GlommioError<()>>(())
/// ```
#[derive(Clone, Debug)]
pub enum CpuIter {
    /// All of them: the executor is not bound.
    Unbound,
    /// One.
    Single(CpuLocation),
    /// Several.
    Multi(Vec<CpuLocation>),
}

impl CpuIter {
    fn of(cpus: &CpuSet) -> Self {
        let mut cpus = cpus.sorted();
        match cpus.len() {
            1 => CpuIter::Single(cpus.remove(0)),
            _ => CpuIter::Multi(cpus),
        }
    }

    /// The numbers of the CPUs to bind the executor's thread to, or `None` if
    /// it is not bound.
    pub fn cpu_binding(self) -> Option<impl IntoIterator<Item = usize>> {
        match self {
            CpuIter::Unbound => None,
            bound => Some(bound.map(|location| location.cpu).collect::<Vec<_>>()),
        }
    }
}

impl Iterator for CpuIter {
    type Item = CpuLocation;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            CpuIter::Unbound => None,
            CpuIter::Multi(cpus) => (!cpus.is_empty()).then(|| cpus.remove(0)),
            CpuIter::Single(_) => {
                // What remains of one CPU is none, which is not the same as unbound.
                let CpuIter::Single(cpu) = std::mem::replace(self, CpuIter::Multi(Vec::new()))
                else {
                    return None;
                };
                Some(cpu)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(cpu: usize) -> CpuLocation {
        CpuLocation {
            cpu,
            core: cpu,
            package: 0,
            numa_node: 0,
        }
    }

    fn binding(cpus: CpuIter) -> Option<Vec<usize>> {
        cpus.cpu_binding().map(|cpus| cpus.into_iter().collect())
    }

    #[test]
    fn unbound_binds_to_nothing() {
        let mut generator = CpuSetGenerator::Unbound;
        assert_eq!(binding(generator.next()), None);
        assert_eq!(generator.next().count(), 0);
    }

    #[test]
    fn fence_is_the_same_for_everybody() {
        let mut generator = CpuSetGenerator::Fenced((0..3).map(at).collect());
        for _ in 0..4 {
            assert_eq!(binding(generator.next()), Some(vec![0, 1, 2]));
        }
    }

    #[test]
    fn fence_around_one_cpu_is_that_cpu() {
        let mut generator = CpuSetGenerator::Fenced([at(5)].into_iter().collect());
        assert!(matches!(
            generator.next(),
            CpuIter::Single(CpuLocation { cpu: 5, .. })
        ));
    }

    #[test]
    fn custom_sets_come_in_order_and_start_over() {
        let sets = vec![
            (0..2).map(at).collect(),
            (7..8).map(at).collect(),
            (2..4).map(at).collect(),
        ];
        let mut generator = CpuSetGenerator::Custom(sets);
        let got: Vec<_> = (0..4).map(|_| binding(generator.next()).unwrap()).collect();
        assert_eq!(got, [vec![0, 1], vec![7], vec![2, 3], vec![0, 1]]);
    }

    #[test]
    fn iterator_ends_after_the_last_cpu() {
        for (cpus, count) in [
            (CpuIter::Single(at(5)), 1),
            (CpuIter::Multi(vec![at(5), at(6)]), 2),
        ] {
            let mut cpus = cpus;
            assert_eq!(cpus.next(), Some(at(5)));
            assert_eq!(cpus.by_ref().count(), count - 1);
            assert_eq!(cpus.next(), None);
            assert_eq!(binding(cpus), Some(vec![]), "still not unbound");
        }
    }
}
