//! A bounded lock-free queue between one producer and one consumer, on any two threads.
//!
//! [`make`] returns the two halves. Neither waits: a full queue hands the item back, an empty one
//! answers `None`; waiting and waking are the business of the channels built on top. Both
//! operations are wait-free, and the items never move between being pushed and being popped.
//!
//! # Algorithm
//!
//! The items live in a ring of slots. Two positions count, modulo 2^64, the items ever popped
//! (*head*) and ever pushed (*tail*). The number of slots is a power of two, so it divides 2^64
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
//! - *Destruction* happens after both halves are gone; the reference count of the ring orders it
//!   after all they did, so relaxed loads suffice there.
//!
//! No operation needs sequential consistency. A channel that puts one side to sleep needs a fence
//! between its flag and the position of the queue, as any protocol of that kind does.
//!
//! The crate's tests check this file against a model of the memory model (loom), in every
//! interleaving of small cases.

use super::atomic::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};
use std::{
    cell::Cell,
    fmt,
    mem::MaybeUninit,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    thread,
};

/// Keeps what two threads write apart: two lines, as those are fetched in pairs.
#[repr(align(128))]
struct CachePadded<T>(T);

struct Ring<T> {
    /// Published by the consumer.
    head: CachePadded<AtomicUsize>,
    /// Published by the producer.
    tail: CachePadded<AtomicUsize>,
    shared: CachePadded<Shared<T>>,
}

/// What both halves read and hardly anybody writes.
struct Shared<T> {
    producer_gone: AtomicBool,
    consumer_gone: AtomicBool,
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
        &slots[position & mask]
    }
}

impl<T> Drop for Ring<T> {
    /// Drops the items that nobody popped: all of them, even if destructors panic. The first such
    /// panic goes on to the caller, unless the thread is already unwinding from another one.
    fn drop(&mut self) {
        let mut head = self.head.0.load(Ordering::Relaxed);
        let tail = self.tail.0.load(Ordering::Relaxed);
        let mut first_panic = None;
        while head != tail {
            let slot = self.slot(head);
            head = head.wrapping_add(1);
            // SAFETY: the position is in `head..tail`, so the slot holds an item (invariant 1).
            // `head` has moved past it before its destructor runs, so it is dropped once; nobody
            // else can reach the ring any more.
            let drop_item = || slot.with_mut(|item| unsafe { (*item).assume_init_drop() });
            if let Err(panic) = catch_unwind(AssertUnwindSafe(drop_item)) {
                first_panic.get_or_insert(panic);
            }
        }
        match first_panic {
            Some(panic) if !thread::panicking() => resume_unwind(panic),
            _ => {}
        }
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
        .expect("the capacity exceeds any memory");
    let ring = Arc::new(Ring {
        head: CachePadded(AtomicUsize::new(start)),
        tail: CachePadded(AtomicUsize::new(start)),
        shared: CachePadded(Shared {
            producer_gone: AtomicBool::new(false),
            consumer_gone: AtomicBool::new(false),
            capacity,
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
        let shared = &self.ring.shared.0;
        // Relaxed: this half itself sets the first flag, and nothing is read on the strength of
        // the second.
        if shared.consumer_gone.load(Ordering::Relaxed)
            || shared.producer_gone.load(Ordering::Relaxed)
        {
            return Some(item);
        }
        let tail = self.tail.get();
        if tail.wrapping_sub(self.head_seen.get()) >= shared.capacity && self.free_space() == 0 {
            return Some(item);
        }
        self.ring.slot(tail).with_mut(|slot| {
            // SAFETY: `tail - head_seen < capacity <= slots`, and `head_seen` was loaded with
            // `Acquire`: the slot of `tail` is free and the consumer is done with it. It belongs
            // to this half (invariant 2), of which there is one, not `Sync` (invariant 3).
            unsafe { (*slot).write(item) };
        });
        self.tail.set(tail.wrapping_add(1));
        self.ring.tail.0.store(self.tail.get(), Ordering::Release);
        None
    }

    /// How many items can be pushed before the queue is full; more, if the consumer goes on
    /// popping.
    pub fn free_space(&self) -> usize {
        self.head_seen.set(self.ring.head.0.load(Ordering::Acquire));
        self.ring.shared.0.capacity - self.tail.get().wrapping_sub(self.head_seen.get())
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

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl<T> fmt::Debug for Producer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("capacity", &self.ring.shared.0.capacity)
            .field("pushed", &self.tail.get())
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
        let head = self.head.get();
        if head == self.tail_seen.get() {
            self.tail_seen.set(self.ring.tail.0.load(Ordering::Acquire));
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
        self.head.set(head.wrapping_add(1));
        self.ring.head.0.store(self.head.get(), Ordering::Release);
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

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.disconnect();
    }
}

impl<T> fmt::Debug for Consumer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("capacity", &self.ring.shared.0.capacity)
            .field("popped", &self.head.get())
            .field("producer_disconnected", &self.producer_disconnected())
            .finish_non_exhaustive()
    }
}
