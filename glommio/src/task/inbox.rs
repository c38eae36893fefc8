//! The injection queue: how other threads hand woken tasks to their executor.
//!
//! A Treiber stack of intrusive nodes with many producers and one consumer. A producer links its
//! node in front of the head with a compare-and-swap; the consumer takes the whole stack with one
//! swap and turns it round, which gives first-in-first-out order. Nodes are never popped one by
//! one, so the ABA problem does not arise: a producer that succeeds has linked to whatever the head
//! is at that moment, and needs to know nothing else about it.
//!
//! # Orderings
//!
//! A push is a `Release` (its link becomes visible with the node) and the take an `Acquire`. Later
//! pushes are read-modify-writes of the same word, so they continue the release sequences of the
//! earlier ones, and one `Acquire` on the newest head covers every node below it. Beyond that, push,
//! [`Inbox::is_empty`] and the owner's "I am about to sleep" flag form a store-load (Dekker)
//! pattern: the producer pushes, then reads the flag; the owner sets the flag, then reads the head.
//! One of the two must see the other, hence `SeqCst` on both head accesses.
//!
//! # Closing
//!
//! The head of an inbox without an owner is a sentinel that is no node. Pushing to it fails, and the
//! producer keeps its reference. An inbox is reopened when its slot serves a new executor.

use super::atomic::{AtomicPtr, Ordering};
use core::ptr::{self, NonNull};

/// Something that can be in an inbox: it has a link for that purpose.
///
/// # Safety
///
/// `inbox_link` always returns the same field of the same node, and nothing else uses that field
/// while the node is in an inbox or in a [`Batch`].
pub(crate) unsafe trait Node: Sized {
    /// The node's link to the next older node.
    fn inbox_link(&self) -> &AtomicPtr<Self>;
}

/// A multiple-producer, single-consumer stack of nodes.
pub(crate) struct Inbox<N> {
    head: AtomicPtr<N>,
}

/// The head of an inbox that nobody reads. Not the address of any node: nodes are aligned.
fn closed<N>() -> *mut N {
    ptr::without_provenance_mut(1)
}

/// The inbox has no owner.
#[derive(Debug)]
pub(crate) struct Closed;

impl<N: Node> Inbox<N> {
    /// An inbox without an owner.
    pub(crate) fn new_closed() -> Inbox<N> {
        Inbox {
            head: AtomicPtr::new(closed()),
        }
    }

    /// Gives the inbox to a new owner. To be called only on a closed inbox.
    pub(crate) fn open(&self) {
        debug_assert_eq!(self.head.load(Ordering::Relaxed), closed());
        self.head.store(ptr::null_mut(), Ordering::Release);
    }

    /// Adds a node.
    ///
    /// # Safety
    ///
    /// The node is in no inbox and no batch, and stays alive until a batch has yielded it. On
    /// failure the inbox keeps nothing.
    pub(crate) unsafe fn push(&self, node: NonNull<N>) -> Result<(), Closed> {
        // SAFETY: the caller keeps the node alive, and until the exchange below succeeds nobody
        // else knows about it.
        let link = unsafe { node.as_ref() }.inbox_link();
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                return Err(Closed);
            }
            link.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(
                head,
                node.as_ptr(),
                Ordering::SeqCst,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(()),
                Err(current) => head = current,
            }
        }
    }

    /// Whether there is nothing to take: the owner's last look before it goes to sleep.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let head = self.head.load(Ordering::SeqCst);
        head.is_null() || head == closed()
    }

    /// Takes everything. For the owner only.
    #[inline]
    pub(crate) fn take(&self) -> Batch<N> {
        let head = self.head.load(Ordering::Relaxed);
        if head.is_null() || head == closed() {
            return Batch::empty();
        }
        // Nobody but the owner closes, so the head cannot become the sentinel in between.
        Batch::from_newest(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Takes everything and refuses whatever comes later. For the owner only.
    pub(crate) fn close(&self) -> Batch<N> {
        let head = self.head.swap(closed(), Ordering::AcqRel);
        if head == closed() {
            return Batch::empty();
        }
        Batch::from_newest(head)
    }
}

/// Nodes taken out of an inbox, oldest first.
pub(crate) struct Batch<N> {
    next: *mut N,
}

impl<N: Node> Batch<N> {
    fn empty() -> Batch<N> {
        Batch {
            next: ptr::null_mut(),
        }
    }

    /// Turns a stack (newest first) round.
    fn from_newest(newest: *mut N) -> Batch<N> {
        let mut node = newest;
        let mut reversed = ptr::null_mut();
        while let Some(current) = NonNull::new(node) {
            // SAFETY: the swap that took the stack acquired every node in it, they are alive as
            // `push` demands, and this thread alone holds them now.
            let link = unsafe { current.as_ref() }.inbox_link();
            node = link.load(Ordering::Relaxed);
            link.store(reversed, Ordering::Relaxed);
            reversed = current.as_ptr();
        }
        Batch { next: reversed }
    }
}

impl<N: Node> Iterator for Batch<N> {
    type Item = NonNull<N>;

    fn next(&mut self) -> Option<NonNull<N>> {
        let node = NonNull::new(self.next)?;
        // The link is read before the node is handed out: its taker may let it be pushed again.
        // SAFETY: nodes of a batch are alive and ours until they are yielded.
        self.next = unsafe { node.as_ref() }
            .inbox_link()
            .load(Ordering::Relaxed);
        Some(node)
    }
}
