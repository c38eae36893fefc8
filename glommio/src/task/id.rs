//! The names of executors.

use core::{fmt, num::NonZeroU64};

/// How many bits of an identifier are the index of a slot.
pub(super) const SLOT_BITS: u32 = 16;

/// The name of one executor, unique for the life of the process.
///
/// Ordered by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ExecutorId(NonZeroU64);

impl ExecutorId {
    /// `generation` counts executors from 1, so the value is never zero.
    pub(super) fn new(generation: u64, slot: usize) -> ExecutorId {
        debug_assert!(slot < 1 << SLOT_BITS);
        let value = (generation << SLOT_BITS) | slot as u64;
        ExecutorId(NonZeroU64::new(value).expect("generations start at 1"))
    }

    /// The identifier that [`as_u64`](Self::as_u64) gave, or `None` for zero.
    #[inline(always)]
    pub(super) fn from_u64(value: u64) -> Option<ExecutorId> {
        NonZeroU64::new(value).map(ExecutorId)
    }

    /// The number as users see it: 1 for the first executor of the process, and so on.
    pub(crate) fn as_usize(self) -> usize {
        (self.0.get() >> SLOT_BITS) as usize
    }

    /// The whole identifier as one integer, never zero.
    #[inline(always)]
    pub(crate) fn as_u64(self) -> u64 {
        self.0.get()
    }

    /// The index of the executor's slot, below 65,536: unique among living executors, reused
    /// after that. For tables of other layers that run parallel to this one.
    #[inline(always)]
    pub(crate) fn slot(self) -> usize {
        self.0.get() as usize & ((1 << SLOT_BITS) - 1)
    }
}

impl fmt::Debug for ExecutorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExecutorId({}@{})", self.as_usize(), self.slot())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_generation_and_its_slot() {
        let id = ExecutorId::new(7, 65_535);
        assert_eq!(id.as_usize(), 7);
        assert_eq!(id.slot(), 65_535);
        assert_eq!(format!("{id:?}"), "ExecutorId(7@65535)");
    }
}
