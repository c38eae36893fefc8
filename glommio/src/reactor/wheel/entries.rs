//! The slab of a wheel's timers, and the keys that name them.

/// The end of the free list, and the head of an empty list.
pub(super) const NIL: u32 = u32::MAX;

/// Names one armed timer; stale as soon as that timer fires or is cancelled.
///
/// The generation tells an entry's successive users apart. It wraps after 2^32 uses of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimerKey {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl TimerKey {
    /// Both parts in one number.
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The reverse of [`to_u64`](Self::to_u64). Any number makes a key, though maybe a stale one.
    pub(crate) fn from_u64(number: u64) -> TimerKey {
        TimerKey {
            index: number as u32,
            generation: (number >> 32) as u32,
        }
    }
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    /// The tick at which the timer fires.
    pub(super) tick: u64,
    /// `None` exactly while the entry is on the free list.
    payload: Option<T>,
    /// Incremented when the entry is freed.
    generation: u32,
    pub(super) prev: u32,
    /// The next entry of the circular list, or of the free list.
    pub(super) next: u32,
    /// The list that holds this entry.
    pub(super) list: u32,
}

/// All timers of a wheel.
#[derive(Debug)]
pub(super) struct Entries<T> {
    slots: Vec<Entry<T>>,
    free: u32,
    len: usize,
}

impl<T> Entries<T> {
    pub(super) const fn new() -> Self {
        Entries {
            slots: Vec::new(),
            free: NIL,
            len: 0,
        }
    }

    /// Number of armed timers.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of timers there is room for.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.slots.len()
    }

    /// Where the timer of a key is, unless it fired or was cancelled.
    #[inline]
    pub(super) fn find(&self, key: TimerKey) -> Option<u32> {
        let entry = self.slots.get(key.index as usize)?;
        let is_armed = entry.generation == key.generation && entry.payload.is_some();
        is_armed.then_some(key.index)
    }

    #[inline]
    pub(super) fn key_of(&self, index: u32) -> TimerKey {
        TimerKey {
            index,
            generation: self.slots[index as usize].generation,
        }
    }

    #[inline]
    pub(super) fn get(&self, index: u32) -> &Entry<T> {
        &self.slots[index as usize]
    }

    #[inline]
    pub(super) fn get_mut(&mut self, index: u32) -> &mut Entry<T> {
        &mut self.slots[index as usize]
    }

    #[inline]
    pub(super) fn payload_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots[index as usize].payload.as_mut()
    }

    /// An entry for the payload, on no list yet.
    ///
    /// # Panics
    ///
    /// If 2^32 - 1 timers are armed already.
    #[inline]
    pub(super) fn insert(&mut self, tick: u64, payload: T) -> u32 {
        self.len += 1;
        let index = self.free;
        if index == NIL {
            return self.grow(tick, payload);
        }
        let entry = &mut self.slots[index as usize];
        self.free = entry.next;
        entry.tick = tick;
        entry.payload = Some(payload);
        index
    }

    #[cold]
    fn grow(&mut self, tick: u64, payload: T) -> u32 {
        let index = self.slots.len();
        assert!(
            index < NIL as usize,
            "more than 2^32 - 2 timers are armed at a time"
        );
        let index = index as u32;
        self.slots.push(Entry {
            tick,
            payload: Some(payload),
            generation: 0,
            prev: index,
            next: index,
            list: 0,
        });
        index
    }

    /// Frees an entry that is on no list.
    #[inline]
    pub(super) fn remove(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.slots[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = std::mem::replace(&mut self.free, index);
        self.len -= 1;
        entry.payload.take()
    }
}
