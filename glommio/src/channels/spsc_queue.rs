//! A bounded lock-free queue between one producer and one consumer, on any two threads.
//!
//! [`make`] returns the two halves. Neither waits: a full queue hands the item back, an empty one
//! answers `None`; waiting and waking are the business of the channels built on top. All
//! operations are wait-free, and the items never move between being pushed and being popped.
//! Batches ([`Producer::try_push_batch`], [`Consumer::try_pop_batch`]) publish once for many items.
//!
//! # Algorithm
//!
//! The items live in a ring of slots. Two positions count, modulo 2^63, the items ever popped
//! (*head*) and ever pushed (*tail*). The number of slots is a power of two, so it divides 2^63
//! and the low bits of a position are its slot, even when the position wraps around. The
//! capacity is exactly what was asked for, possibly less than the number of slots.
//!
//! ```text
//!               head            tail
//!                 v               v
//!   | free | free | item | item | free | free |      head <= tail <= head + capacity
//! ```
//!
//! Only the consumer moves the head and only the producer moves the tail. Each half keeps its own
//! position in itself and merely *publishes* it, for the other half to read. It also remembers
//! the other half's position as it last saw it. As positions only grow, the memory is a safe
//! underestimate: of the free slots for the producer, of the items for the consumer. A half reads
//! the other one's published position only when its memory says "full" or "empty". While the
//! queue is neither, a push or pop touches one slot and one cache line of its own, and the line
//! of the other half stays where it is. The published positions are 128 bytes apart, because
//! CPUs prefetch cache lines in pairs.
//!
//! # Waiting
//!
//! A position takes up all bits of its word but the lowest: it counts in steps of two. In the word
//! that a half publishes, the *other* half sets the lowest bit when it is about to sleep until the
//! position moves: the consumer of an empty queue marks the tail, the producer of a full one the
//! head. It does so by a compare-and-swap, which fails if the position has moved already. A half
//! that others wait for publishes by swapping the word, which clears the mark and tells that it was
//! there, so whoever moved the position knows whom to wake, exactly once per sleep. Both are
//! read-modify-writes of one word and thus happen one after the other; there is no store that has
//! to be ordered before a load of something else, and no fence. Disconnecting takes the mark, too.
//!
//! The public operations of the halves publish with a plain store. The channel that is built on
//! top uses those that look at the mark, and only those.
//!
//! # Invariants
//!
//! 1. The slots of positions in `head..tail` hold an initialised item, all others do not.
//! 2. The consumer alone touches the slots of positions in `head..published tail`, the producer
//!    alone the others. A half never passes what it has seen the other publish, hence no slot is
//!    ever accessed by both at a time.
//! 3. There is one producer and one consumer: the halves are not `Clone` and not `Sync`.
//!
//! # Memory orderings
//!
//! - *Tail*: the producer writes the item and then stores the tail with `Release`. The consumer
//!   loads the tail with `Acquire`: when it sees position `t`, it sees the items before `t`.
//! - *Head*: the consumer moves the item out and then stores the head with `Release`. The
//!   producer loads the head with `Acquire`: when it sees position `h`, the reads of the slots
//!   before `h` have happened, and it may overwrite them.
//! - A half's *own position* is a plain `Cell`; nobody else writes it.
//! - *Disconnection flags*: set with `Release` after the half's last push or pop, loaded with
//!   `Acquire`. Who sees that the producer is gone also sees everything that it pushed: one
//!   [`Consumer::try_pop`] *after* [`Consumer::producer_disconnected`] said `true` finds the queue
//!   empty only if it stays so. The flags share a line with nothing that changes, so that
//!   checking one on every push costs a cache hit.
//! - *Marks* are set and taken by `AcqRel` read-modify-writes: who takes one sees what the other half
//!   wrote before it set it, its waker for one; who fails to set one, or sets it after the other half
//!   disconnected, sees what came before.
//! - *Destruction* happens after both halves are gone; the reference count of the ring orders it
//!   after all they did, so relaxed loads suffice there.
//!
//! No operation needs sequential consistency.
//!
//! The crate's tests check this file against a model of the memory model (loom), in every
//! interleaving of small cases.

use super::atomic::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};
use std::{
    cell::Cell,
    fmt, iter,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

/// Keeps what two threads write apart: two lines, as those are fetched in pairs.
#[repr(align(128))]
struct CachePadded<T>(T);

/// By how much a position grows per item.
const STEP: usize = 2;

/// Set in a published position: the other half waits for it to move.
const AWAITED: usize = 1;

/// A position as one half publishes it for the other.
struct Published(AtomicUsize);

impl Published {
    fn get(&self) -> usize {
        self.0.load(Ordering::Acquire) & !AWAITED
    }

    /// Publishes a position of a queue that nobody waits for.
    #[inline]
    fn set(&self, position: usize) {
        self.0.store(position, Ordering::Release);
    }

    /// Publishes a position. Returns whether the other half waited, which is over now.
    #[inline]
    fn advance(&self, position: usize) -> bool {
        self.0.swap(position, Ordering::AcqRel) & AWAITED != 0
    }

    /// Ends the wait of the other half, and returns whether there was one.
    fn end_wait(&self) -> bool {
        self.0.fetch_and(!AWAITED, Ordering::AcqRel) & AWAITED != 0
    }

    /// Has the other half wait until the position is not `position` any more. Returns whether it
    /// still is.
    fn begin_wait(&self, position: usize) -> bool {
        let marked = position | AWAITED;
        match self
            .0
            .compare_exchange(position, marked, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => true,
            Err(actual) => actual == marked,
        }
    }
}

struct Ring<T> {
    /// Published by the consumer.
    head: CachePadded<Published>,
    /// Published by the producer.
    tail: CachePadded<Published>,
    shared: CachePadded<Shared<T>>,
}

/// What both halves read and hardly anybody writes.
struct Shared<T> {
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
    /// In steps, as positions are.
    capacity: usize,
    /// The number of slots, a power of two, less one.
    mask: usize,
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: what makes the ring not `Sync` of itself are its slots. By invariants 2 and 3 of the
// module no slot is accessed by two threads at a time, and accesses by different threads are
// ordered through the published positions; no reference to an item is ever handed out. Items are
// moved from one thread to another, hence `T: Send`.
unsafe impl<T: Send> Sync for Ring<T> {}

impl<T> Ring<T> {
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        let Shared { mask, slots, .. } = &self.shared.0;
        &slots[(position / STEP) & mask]
    }
}

impl<T> Drop for Ring<T> {
    /// Drops the items that nobody popped.
    fn drop(&mut self) {
        let mut head = self.head.0.get();
        let tail = self.tail.0.get();
        drop_each(iter::from_fn(|| {
            if head == tail {
                return None;
            }
            let slot = self.slot(head);
            head = head.wrapping_add(STEP);
            // SAFETY: the position is in `head..tail`, so the slot holds an item (invariant 1).
            // `head` has moved past it, so it is read once; nobody else can reach the ring any more.
            Some(slot.with(|item| unsafe { (*item).assume_init_read() }))
        }));
    }
}

/// Drops all items, even if destructors panic. The first such panic goes on to the caller, unless
/// the thread is already unwinding from another one.
fn drop_each<T>(items: impl Iterator<Item = T>) {
    let mut first_panic = None;
    for item in items {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(item))) {
            first_panic.get_or_insert(panic);
        }
    }
    match first_panic {
        Some(panic) if !thread::panicking() => resume_unwind(panic),
        _ => {}
    }
}

/// Creates a queue that holds up to `capacity` items.
///
/// The memory for all items is reserved at once, rounded up to a power of two of them. A queue of
/// capacity zero is always full.
///
/// # Panics
///
/// If the memory for `capacity` items exceeds what the address space can hold.
///
/// # Examples
///
/// ```
/// use glommio::channels::spsc_queue;
///
/// let (producer, consumer) = spsc_queue::make(2);
/// let thread = std::thread::spawn(move || {
///     assert_eq!(producer.try_push("one"), None);
///     assert_eq!(producer.try_push("two"), None);
///     assert_eq!(producer.try_push("three"), Some("three"));
/// });
/// thread.join().unwrap();
///
/// assert!(consumer.producer_disconnected());
/// assert_eq!(consumer.try_pop(), Some("one"));
/// assert_eq!(consumer.try_pop(), Some("two"));
/// assert_eq!(consumer.try_pop(), None);
/// ```
pub fn make<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    make_at(0, capacity)
}

/// As [`make`], with both positions starting elsewhere: how tests reach the wrap-around.
pub(super) fn make_at<T>(start: usize, capacity: usize) -> (Producer<T>, Consumer<T>) {
    let slots = capacity
        .checked_next_power_of_two()
        .filter(|slots| slots.checked_mul(STEP).is_some())
        .expect("the capacity exceeds any memory");
    let start = start.wrapping_mul(STEP);
    let ring = Arc::new(Ring {
        head: CachePadded(Published(AtomicUsize::new(start))),
        tail: CachePadded(Published(AtomicUsize::new(start))),
        shared: CachePadded(Shared {
            producer_gone: AtomicBool::new(false),
            consumer_gone: AtomicBool::new(false),
            capacity: capacity * STEP,
            mask: slots - 1,
            slots: (0..slots)
                .map(|_| UnsafeCell::new(MaybeUninit::uninit()))
                .collect(),
        }),
    });
    let producer = Producer {
        ring: ring.clone(),
        tail: Cell::new(start),
        head_seen: Cell::new(start),
    };
    let consumer = Consumer {
        ring,
        head: Cell::new(start),
        tail_seen: Cell::new(start),
    };
    (producer, consumer)
}

/// The half of a queue that pushes.
///
/// It can move to another thread, if the items can, but not be shared or cloned. Dropping it
/// disconnects it.
///
/// ```compile_fail,E0599
/// let (producer, consumer) = glommio::channels::spsc_queue::make::<u32>(8);
/// let second = producer.clone();
/// ```
pub struct Producer<T> {
    ring: Arc<Ring<T>>,
    /// The producer's own position; published after every push.
    tail: Cell<usize>,
    /// The head as last seen: at most the published one.
    head_seen: Cell<usize>,
}

impl<T> Producer<T> {
    /// Pushes an item, or hands it back if the queue is full or disconnected on either side.
    #[inline]
    pub fn try_push(&self, item: T) -> Option<T> {
        let refused = self.put(item);
        if refused.is_none() {
            self.ring.tail.0.set(self.tail.get());
        }
        refused
    }

    /// Pushes what `items` yields, until the queue is full or there is nothing more, and returns how
    /// many that were. The rest stays in the iterator.
    ///
    /// The consumer sees all of it at once, when this returns (or when `items` panics), for the price
    /// of one push. Pushes nothing if the queue is disconnected on either side.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::channels::spsc_queue;
    ///
    /// let (mut producer, mut consumer) = spsc_queue::make(3);
    /// let mut numbers = 0..5;
    /// assert_eq!(producer.try_push_batch(&mut numbers), 3);
    /// assert_eq!(numbers, 3..5);
    ///
    /// let mut received = Vec::new();
    /// assert_eq!(consumer.try_pop_batch(&mut received, usize::MAX), 3);
    /// assert_eq!(received, [0, 1, 2]);
    /// ```
    pub fn try_push_batch(&mut self, items: &mut impl Iterator<Item = T>) -> usize {
        /// Publishes also if the iterator panics, for its items are in the slots already.
        struct Publish<'a, T>(&'a Producer<T>);

        impl<T> Drop for Publish<'_, T> {
            fn drop(&mut self) {
                self.0.ring.tail.0.set(self.0.tail.get());
            }
        }

        if self.is_disconnected() {
            return 0;
        }
        let room = self.free_space();
        let publish = Publish(self);
        // Nothing but this pushes: there is room for each.
        items.take(room).map(|item| publish.0.write(item)).count()
    }

    /// Whether either half is disconnected.
    #[inline]
    pub(super) fn is_disconnected(&self) -> bool {
        let shared = &self.ring.shared.0;
        // Relaxed: this half itself sets the first flag, and nothing is read on the strength of
        // the second.
        shared.consumer_gone.load(Ordering::Relaxed) || shared.producer_gone.load(Ordering::Relaxed)
    }

    /// Writes an item to its slot and does not publish it, or hands it back.
    #[inline]
    fn put(&self, item: T) -> Option<T> {
        if self.is_disconnected() {
            return Some(item);
        }
        let used = self.tail.get().wrapping_sub(self.head_seen.get());
        if used >= self.ring.shared.0.capacity && self.free_space() == 0 {
            return Some(item);
        }
        self.write(item);
        None
    }

    /// Writes an item to its slot, which the caller has seen to be free, and does not publish it.
    #[inline]
    fn write(&self, item: T) {
        let tail = self.tail.get();
        let used = tail.wrapping_sub(self.head_seen.get());
        assert!(used < self.ring.shared.0.capacity, "the slot is not free");
        self.ring.slot(tail).with_mut(|slot| {
            // SAFETY: `tail - head_seen < capacity <= slots`, and `head_seen` was loaded with
            // `Acquire`: the slot of `tail` is free and the consumer is done with it. It belongs
            // to this half (invariant 2), of which there is one, not `Sync` (invariant 3).
            unsafe { (*slot).write(item) };
        });
        self.tail.set(tail.wrapping_add(STEP));
    }

    /// How many items can be pushed before the queue is full; more, if the consumer goes on
    /// popping.
    pub fn free_space(&self) -> usize {
        self.head_seen.set(self.ring.head.0.get());
        let used = self.tail.get().wrapping_sub(self.head_seen.get());
        (self.ring.shared.0.capacity - used) / STEP
    }

    /// Tells the consumer that nothing more will be pushed; from now on [`try_push`] hands every
    /// item back. Returns whether this half was disconnected before.
    ///
    /// What was pushed can still be popped.
    ///
    /// [`try_push`]: Self::try_push
    pub fn disconnect(&self) -> bool {
        self.ring
            .shared
            .0
            .producer_gone
            .swap(true, Ordering::Release)
    }

    /// Whether the consumer was disconnected or dropped.
    pub fn consumer_disconnected(&self) -> bool {
        self.ring.shared.0.consumer_gone.load(Ordering::Acquire)
    }
}

// For the channel on top: the same with an eye on who waits.
impl<T> Producer<T> {
    /// Pushes an item and returns whether the consumer waited for it; or hands it back.
    #[inline]
    pub(super) fn push_noticing(&self, item: T) -> Result<bool, T> {
        match self.put(item) {
            Some(item) => Err(item),
            None => Ok(self.ring.tail.0.advance(self.tail.get())),
        }
    }

    /// Whether the queue is still full; if so, the pop that changes it, or the disconnection of the
    /// consumer, will notice that this half waits.
    ///
    /// To be called when the queue was full. Afterwards, look once more whether the consumer is gone.
    pub(super) fn begin_wait(&self) -> bool {
        let full_at = self.tail.get().wrapping_sub(self.ring.shared.0.capacity);
        self.ring.head.0.begin_wait(full_at)
    }

    /// Disconnects this half, and returns whether the consumer waited.
    pub(super) fn disconnect_noticing(&self) -> bool {
        !self.disconnect() && self.ring.tail.0.end_wait()
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &(self.ring.shared.0.capacity / STEP))
            .field("pushed", &(self.tail.get() / STEP))
            .field("consumer_disconnected", &self.consumer_disconnected())
            .finish_non_exhaustive()
    }
}

/// The half of a queue that pops.
///
/// It can move to another thread, if the items can, but not be shared or cloned. Dropping it
/// disconnects it; items left in the queue are dropped together with the later one of the halves.
///
/// ```compile_fail,E0599
/// let (producer, consumer) = glommio::channels::spsc_queue::make::<u32>(8);
/// let second = consumer.clone();
/// ```
pub struct Consumer<T> {
    ring: Arc<Ring<T>>,
    /// The consumer's own position; published after every pop.
    head: Cell<usize>,
    /// The tail as last seen: at most the published one.
    tail_seen: Cell<usize>,
}

impl<T> Consumer<T> {
    /// Pops the oldest item; `None` if the queue is empty.
    ///
    /// `None` is final if [`producer_disconnected`](Self::producer_disconnected) was `true` before
    /// the call.
    #[inline]
    pub fn try_pop(&self) -> Option<T> {
        let item = self.take()?;
        self.ring.head.0.set(self.head.get());
        Some(item)
    }

    /// Pops up to `max` items into `items`, oldest first, and returns how many that were.
    ///
    /// The producer gets the slots back all at once, when this returns, for the price of one pop.
    /// `0` is final in the same way as the `None` of [`try_pop`](Self::try_pop).
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::channels::spsc_queue;
    ///
    /// let (producer, mut consumer) = spsc_queue::make(8);
    /// for number in 0..5 {
    ///     producer.try_push(number);
    /// }
    /// let mut received = Vec::with_capacity(4);
    /// assert_eq!(consumer.try_pop_batch(&mut received, 4), 4);
    /// assert_eq!(received, [0, 1, 2, 3]);
    /// ```
    pub fn try_pop_batch(&mut self, items: &mut impl Extend<T>, max: usize) -> usize {
        /// Yields what is there, and gives the slots back when it is dropped.
        struct Batch<'a, T> {
            consumer: &'a Consumer<T>,
            left: usize,
        }

        impl<T> Iterator for Batch<'_, T> {
            type Item = T;

            fn next(&mut self) -> Option<T> {
                self.left = self.left.checked_sub(1)?;
                self.consumer.take()
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (self.left, Some(self.left))
            }
        }

        impl<T> Drop for Batch<'_, T> {
            fn drop(&mut self) {
                self.consumer.ring.head.0.set(self.consumer.head.get());
            }
        }

        let head = self.head.get();
        self.tail_seen.set(self.ring.tail.0.get());
        let there = self.tail_seen.get().wrapping_sub(head) / STEP;
        items.extend(Batch {
            consumer: self,
            left: there.min(max),
        });
        self.head.get().wrapping_sub(head) / STEP
    }

    /// Takes the oldest item out of its slot and does not publish that.
    #[inline]
    fn take(&self) -> Option<T> {
        let head = self.head.get();
        if head == self.tail_seen.get() {
            self.tail_seen.set(self.ring.tail.0.get());
            if head == self.tail_seen.get() {
                return None;
            }
        }
        let item = self.ring.slot(head).with(|slot| {
            // SAFETY: `head < tail_seen`, and `tail_seen` was loaded with `Acquire`: the slot of
            // `head` holds an item that the producer is done with. It belongs to this half
            // (invariant 2), of which there is one, not `Sync` (invariant 3). The head moves
            // past it right below, so the item is not read a second time.
            unsafe { (*slot).assume_init_read() }
        });
        self.head.set(head.wrapping_add(STEP));
        Some(item)
    }

    /// Tells the producer that nothing more will be popped; from now on [`Producer::try_push`]
    /// hands every item back. Returns whether this half was disconnected before.
    pub fn disconnect(&self) -> bool {
        self.ring
            .shared
            .0
            .consumer_gone
            .swap(true, Ordering::Release)
    }

    /// Whether the producer was disconnected or dropped. Items may be left to pop.
    pub fn producer_disconnected(&self) -> bool {
        self.ring.shared.0.producer_gone.load(Ordering::Acquire)
    }
}

// For the channel on top: the same with an eye on who waits.
impl<T> Consumer<T> {
    /// Pops the oldest item, and returns whether the producer waited for the room.
    #[inline]
    pub(super) fn pop_noticing(&self) -> Option<(T, bool)> {
        let item = self.take()?;
        Some((item, self.ring.head.0.advance(self.head.get())))
    }

    /// Whether the queue is still empty; if so, the push that changes it, or the disconnection of
    /// the producer, will notice that this half waits.
    ///
    /// To be called when the queue was empty. Afterwards, look once more whether the producer is gone.
    pub(super) fn begin_wait(&self) -> bool {
        self.ring.tail.0.begin_wait(self.head.get())
    }

    /// Disconnects this half, and returns whether the producer waited.
    pub(super) fn disconnect_noticing(&self) -> bool {
        !self.disconnect() && self.ring.head.0.end_wait()
    }

    /// Drops the items that are there.
    pub(super) fn clear(&self) {
        drop_each(iter::from_fn(|| Some(self.pop_noticing()?.0)));
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &(self.ring.shared.0.capacity / STEP))
            .field("popped", &(self.head.get() / STEP))
            .field("producer_disconnected", &self.producer_disconnected())
            .finish_non_exhaustive()
    }
}
