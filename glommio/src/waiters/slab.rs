//! Values in one allocation, found by index and generation.

use std::num::NonZeroU32;

/// Names a value of a [`Slab`], and no later tenant of its slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    index: u32,
    // Not zero, so that an `Option<Key>` takes no more room than a key.
    generation: NonZeroU32,
}

/// Values that stay under their key until they are removed.
///
/// Slots are used again before the slab grows: once it has had room for the most values that were
/// there at a time, it allocates no more. It holds at most 2^32 - 1 values.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<Slot<T>>,
    vacant: Option<u32>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Vacant { next: Option<u32> },
    Occupied(T),
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Slab {
            slots: Vec::new(),
            vacant: None,
            len: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// # Panics
    ///
    /// If 2^32 - 1 values are there already.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let index = match self.vacant {
            Some(index) => index,
            None => self.grow(),
        };
        let slot = &mut self.slots[index as usize];
        if let Content::Vacant { next } = slot.content {
            self.vacant = next;
        }
        slot.content = Content::Occupied(value);
        self.len += 1;
        Key {
            index,
            generation: slot.generation,
        }
    }

    #[cold]
    fn grow(&mut self) -> u32 {
        let Ok(index) = u32::try_from(self.slots.len()) else {
            panic!("more than 4294967295 futures or tokens are registered with one primitive");
        };
        self.slots.push(Slot {
            generation: NonZeroU32::MIN,
            content: Content::Vacant { next: None },
        });
        index
    }

    #[inline]
    pub(crate) fn get(&self, key: Key) -> Option<&T> {
        let slot = self.slots.get(key.index as usize)?;
        match &slot.content {
            Content::Occupied(value) if slot.generation == key.generation => Some(value),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.get_mut(key.index as usize)?;
        match &mut slot.content {
            Content::Occupied(value) if slot.generation == key.generation => Some(value),
            _ => None,
        }
    }

    /// Takes a value out; `None` if it was taken out before.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        let slot = &mut self.slots[key.index as usize];
        slot.generation = slot.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let vacant = Content::Vacant { next: self.vacant };
        let content = std::mem::replace(&mut slot.content, vacant);
        self.vacant = Some(key.index);
        self.len -= 1;
        match content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        }
    }

    /// All values, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| match &slot.content {
            Content::Occupied(value) => Some(value),
            Content::Vacant { .. } => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_until_it_is_removed() {
        let mut slab = Slab::new();
        let (a, b) = (slab.insert('a'), slab.insert('b'));
        assert_eq!((slab.get(a), slab.get(b)), (Some(&'a'), Some(&'b')));
        *slab.get_mut(b).unwrap() = 'B';
        assert_eq!(slab.remove(b), Some('B'));
        assert_eq!(slab.get(b), None);
        assert_eq!(slab.remove(b), None);
        assert_eq!(slab.iter().collect::<Vec<_>>(), [&'a']);
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_late_key_does_not_reach_the_next_tenant_of_the_slot() {
        let mut slab = Slab::new();
        let old = slab.insert(1);
        slab.remove(old);
        let new = slab.insert(2);
        assert_eq!(old.index, new.index);
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get(new), Some(&2));
    }

    #[test]
    fn the_last_generation_is_followed_by_the_first() {
        let mut slab = Slab::new();
        let key = slab.insert(1);
        slab.remove(key);
        slab.slots[0].generation = NonZeroU32::MAX;
        let last = slab.insert(2);
        assert_eq!(slab.remove(last), Some(2));
        assert_eq!(slab.insert(3).generation, NonZeroU32::MIN);
        assert_eq!(slab.get(last), None);
    }

    #[test]
    fn slots_are_used_again_before_the_slab_grows() {
        let mut slab = Slab::new();
        for round in 0..100 {
            let keys: Vec<_> = (0..8).map(|i| slab.insert(round * i)).collect();
            for key in keys {
                slab.remove(key);
            }
        }
        assert_eq!((slab.slots.len(), slab.len()), (8, 0));
    }

    #[test]
    fn an_optional_key_takes_no_more_room_than_a_key() {
        assert_eq!(size_of::<Option<Key>>(), size_of::<Key>());
    }
}
