//! A heap whose members are known by a small number, so that any of them can be taken out.
//!
//! A queue that runs leaves every order it stood in. With a plain heap its entries would stay
//! behind until they came up, and pile up behind one that does not.

/// Not in the heap.
const NOWHERE: u32 = u32::MAX;

/// A binary heap, smallest key first, of slots that are in it at most once.
///
/// `push` and `remove` are O(log n), `peek` is O(1). Memory is proportional to the largest
/// slot seen since the last [`shrink_to`](Self::shrink_to).
#[derive(Debug)]
pub(super) struct SlotHeap<K> {
    entries: Vec<(K, u32)>,
    /// By slot: where its entry is.
    places: Vec<u32>,
}

impl<K> Default for SlotHeap<K> {
    fn default() -> Self {
        SlotHeap {
            entries: Vec::new(),
            places: Vec::new(),
        }
    }
}

impl<K: Ord + Copy> SlotHeap<K> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The smallest key and its slot.
    #[inline]
    pub(super) fn peek(&self) -> Option<(K, u32)> {
        self.entries.first().copied()
    }

    /// Adds a slot that is not in the heap.
    pub(super) fn push(&mut self, slot: u32, key: K) {
        let needed = slot as usize + 1;
        if self.places.len() < needed {
            self.places.resize(needed, NOWHERE);
        }
        debug_assert_eq!(self.places[slot as usize], NOWHERE, "in the heap already");
        self.entries.push((key, slot));
        self.rise(self.entries.len() - 1);
    }

    /// Takes a slot out. Returns whether it was in.
    pub(super) fn remove(&mut self, slot: u32) -> bool {
        let place = match self.places.get(slot as usize) {
            None | Some(&NOWHERE) => return false,
            Some(&place) => place as usize,
        };
        self.places[slot as usize] = NOWHERE;
        self.entries.swap_remove(place);
        if place < self.entries.len() {
            // The entry that came from the end may belong further up or further down.
            let moved = self.entries[place].1 as usize;
            self.rise(place);
            self.sink(self.places[moved] as usize);
        }
        true
    }

    /// Gives memory back: no slot from `slots` on is in the heap.
    pub(super) fn shrink_to(&mut self, slots: usize) {
        debug_assert!(self.entries.iter().all(|entry| (entry.1 as usize) < slots));
        self.places.truncate(slots);
        self.places.shrink_to(slots);
        self.entries.shrink_to(slots);
    }

    fn rise(&mut self, mut place: usize) {
        let entry = self.entries[place];
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.entries[parent].0 <= entry.0 {
                break;
            }
            self.put(place, self.entries[parent]);
            place = parent;
        }
        self.put(place, entry);
    }

    fn sink(&mut self, mut place: usize) {
        let entry = self.entries[place];
        loop {
            let left = 2 * place + 1;
            let Some(mut child) = self.entries.get(left) else {
                break;
            };
            let mut next = left;
            if let Some(right) = self.entries.get(left + 1) {
                if right.0 < child.0 {
                    (next, child) = (left + 1, right);
                }
            }
            if entry.0 <= child.0 {
                break;
            }
            self.put(place, *child);
            place = next;
        }
        self.put(place, entry);
    }

    fn put(&mut self, place: usize, entry: (K, u32)) {
        self.entries[place] = entry;
        self.places[entry.1 as usize] = place as u32;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn memory_is_given_back() {
        let mut heap = SlotHeap::default();
        for slot in 0..10_000u32 {
            heap.push(slot, 10_000 - slot);
        }
        for slot in 1..10_000 {
            assert!(heap.remove(slot));
        }
        heap.shrink_to(1);
        assert_eq!(heap.peek(), Some((10_000, 0)));
        assert!(heap.places.capacity() < 100 && heap.entries.capacity() < 100);
    }

    proptest! {
        #![proptest_config(crate::test_cases::cases(256))]

        #[test]
        fn it_agrees_with_an_ordered_set(
            steps in prop::collection::vec((0u32..32, 0u8..20, prop::bool::ANY), 0..400)
        ) {
            let mut heap = SlotHeap::default();
            let mut model: BTreeSet<(u8, u32)> = BTreeSet::new();
            for (slot, key, add) in steps {
                let held = model.iter().find(|entry| entry.1 == slot).copied();
                match (add, held) {
                    (true, None) => {
                        heap.push(slot, (key, slot));
                        model.insert((key, slot));
                    }
                    _ => {
                        prop_assert_eq!(heap.remove(slot), held.is_some());
                        held.map(|entry| model.remove(&entry));
                    }
                }
                prop_assert_eq!(heap.len(), model.len());
                prop_assert_eq!(heap.peek().map(|top| top.0), model.first().copied());
            }
            while let Some(first) = model.pop_first() {
                prop_assert_eq!(heap.peek(), Some((first, first.1)));
                prop_assert!(heap.remove(first.1));
            }
            prop_assert_eq!(heap.len(), 0);
        }
    }
}
