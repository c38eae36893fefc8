//! References to things that may go away without saying so.

/// A weak reference.
pub(super) trait Upgrade {
    /// What it leads to.
    type Strong;

    fn strong(&self) -> Option<Self::Strong>;

    fn is_alive(&self) -> bool;
}

/// Weak references, swept now and then.
///
/// Adding sweeps out the dead ones whenever the list has doubled since the last sweep, so that it is
/// never longer than twice the number of living ones at a sweep, plus [`SLACK`], and adding takes
/// constant time on average.
pub(super) struct WeakList<W> {
    references: Vec<W>,
    sweep_at: usize,
}

/// So long a list is not worth a sweep.
const SLACK: usize = 8;

impl<W: Upgrade> WeakList<W> {
    pub(super) const fn new() -> Self {
        WeakList {
            references: Vec::new(),
            sweep_at: SLACK,
        }
    }

    pub(super) fn add(&mut self, reference: W) {
        if self.references.len() >= self.sweep_at {
            self.references.retain(Upgrade::is_alive);
            self.sweep_at = self.references.len() * 2 + SLACK;
        }
        self.references.push(reference);
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> Vec<W> {
        self.sweep_at = SLACK;
        std::mem::take(&mut self.references)
    }
}

#[cfg(test)]
mod tests {
    use std::rc::{Rc, Weak};

    use super::*;

    impl Upgrade for Weak<u32> {
        type Strong = Rc<u32>;

        fn strong(&self) -> Option<Rc<u32>> {
            self.upgrade()
        }

        fn is_alive(&self) -> bool {
            self.strong_count() > 0
        }
    }

    #[test]
    fn the_living_stay_and_the_dead_take_bounded_room() {
        let mut list = WeakList::new();
        let living: Vec<_> = (0..20).map(Rc::new).collect();
        for one in &living {
            list.add(Rc::downgrade(one));
            for dead in 0..1_000 {
                list.add(Rc::downgrade(&Rc::new(dead)));
                assert!(list.references.len() <= 2 * living.len() + SLACK);
            }
        }
        let alive: Vec<u32> = list
            .take()
            .iter()
            .filter_map(Upgrade::strong)
            .map(|rc| *rc)
            .collect();
        assert_eq!(alive, (0..20).collect::<Vec<_>>());
        assert!(list.take().is_empty());
    }
}
