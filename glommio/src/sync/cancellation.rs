//! Telling a tree of tasks to stop.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    pin::Pin,
    rc::{Rc, Weak},
    sync::{self, Arc},
    task::{Context, Poll},
};

use super::{signal::Signal, weak_list::WeakList};
use crate::waiters::{Key, Slab, WaiterCell, Waiters, poll_verdict, wake_settled};

/// Tells the tasks of an executor to stop, in a hierarchy.
///
/// Cancelling a token cancels its [children](Self::child_token) and what is below them; cancelling a
/// child leaves its parent alone. It is for the tasks to look ([`is_cancelled`](Self::is_cancelled))
/// or to wait ([`cancelled`](Self::cancelled)), and to stop in good order.
///
/// A clone is the same token. Dropping tokens cancels nothing, and breaks no chain: a child of a
/// token that is gone is still cancelled by its grandparent. A token that is dropped leaves nothing
/// behind in its parent, so a parent may have any number of short-lived children.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, spawn_local, sync::CancellationToken};
///
/// LocalExecutor::default().run(async {
///     let shutdown = CancellationToken::new();
///     let worker = spawn_local({
///         let token = shutdown.child_token();
///         async move {
///             token.cancelled().await;
///             "stopped"
///         }
///     });
///     shutdown.cancel();
///     assert_eq!(worker.await, "stopped");
/// });
/// ```
#[derive(Clone)]
pub struct CancellationToken {
    node: Rc<Node>,
}

struct Node {
    /// This node, or one above it on this thread, was cancelled.
    cancelled: Cell<bool>,
    /// The cancellation of another thread that this node's topmost ancestor is attached to.
    source: Option<Arc<Signal>>,
    parent: Option<Parent>,
    below: RefCell<Below>,
}

/// A child keeps its ancestors, so that a cancellation from far above passes through them.
struct Parent {
    node: Rc<Node>,
    key: Key,
}

struct Below {
    waiters: Waiters<(), ()>,
    children: Slab<Weak<Node>>,
    foreign: WeakList<sync::Weak<Signal>>,
}

impl WaiterCell for Node {
    type Request = ();
    type Verdict = ();

    fn with_waiters<R>(&self, f: impl FnOnce(&mut Waiters<(), ()>) -> R) -> R {
        f(&mut self.below.borrow_mut().waiters)
    }
}

impl Node {
    fn new(cancelled: bool, source: Option<Arc<Signal>>, parent: Option<Parent>) -> Self {
        Node {
            cancelled: Cell::new(cancelled),
            source,
            parent,
            below: RefCell::new(Below {
                waiters: Waiters::new(),
                children: Slab::new(),
                foreign: WeakList::new(),
            }),
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.get()
            || self
                .source
                .as_ref()
                .is_some_and(|source| source.is_cancelled())
    }

    /// Marks this node and those below it, without calling anyone, and returns those that were not
    /// marked before.
    fn mark(self: &Rc<Self>) -> Vec<Rc<Node>> {
        let mut marked = Vec::new();
        if !self.cancelled.replace(true) {
            marked.push(self.clone());
        }
        let mut next = 0;
        while let Some(node) = marked.get(next).cloned() {
            let below = node.below.borrow();
            let children = below.children.iter().filter_map(Weak::upgrade);
            marked.extend(children.filter(|child| !child.cancelled.replace(true)));
            next += 1;
        }
        marked
    }

    /// Takes a node that is going away out of its parent, and hands its foreign children on to it.
    ///
    /// Returns the parent, which may have been kept by this node alone.
    fn detach(&mut self) -> Option<Rc<Node>> {
        let Parent { node: parent, key } = self.parent.take()?;
        let foreign = self.below.get_mut().foreign.take();
        let mut below = parent.below.borrow_mut();
        let child = below.children.remove(key);
        if !self.cancelled.get() {
            for signal in foreign {
                below.foreign.add(signal);
            }
        }
        drop(below);
        drop(child);
        Some(parent)
    }
}

impl Drop for Node {
    /// A chain of ancestors may be of any length, so this is a loop and not a recursion.
    fn drop(&mut self) {
        let mut parent = self.detach();
        while let Some(mut node) = parent.and_then(Rc::into_inner) {
            parent = node.detach();
        }
    }
}

impl CancellationToken {
    /// A token that is not cancelled, without a parent.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = glommio::sync::CancellationToken::new();
    /// assert!(!token.is_cancelled());
    /// ```
    pub fn new() -> Self {
        CancellationToken {
            node: Rc::new(Node::new(false, None, None)),
        }
    }

    /// A token that is cancelled along with this one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::sync::CancellationToken;
    ///
    /// let server = CancellationToken::new();
    /// let (one, other) = (server.child_token(), server.child_token());
    /// one.cancel();
    /// assert!(!server.is_cancelled() && !other.is_cancelled());
    /// server.cancel();
    /// assert!(other.is_cancelled());
    /// ```
    pub fn child_token(&self) -> Self {
        let source = self.node.source.clone();
        if self.is_cancelled() {
            return CancellationToken {
                node: Rc::new(Node::new(true, source, None)),
            };
        }
        let node = Rc::new_cyclic(|child: &Weak<Node>| {
            let key = self.node.below.borrow_mut().children.insert(child.clone());
            let parent = Parent {
                node: self.node.clone(),
                key,
            };
            Node::new(false, source, Some(parent))
        });
        CancellationToken { node }
    }

    /// A child for other threads: it is cancelled along with this token, and can be sent anywhere
    /// and [attached](ForeignCancellation::attach) there.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, LocalExecutorBuilder, sync::CancellationToken};
    ///
    /// let token = CancellationToken::new();
    /// let foreign = token.foreign_child();
    /// let other = LocalExecutorBuilder::default()
    ///     .spawn(move || async move { foreign.attach().cancelled().await })
    ///     .unwrap();
    /// token.cancel();
    /// other.join().unwrap();
    /// ```
    pub fn foreign_child(&self) -> ForeignCancellation {
        let signal = Arc::new(Signal::new());
        if let Some(source) = &self.node.source {
            source.add_child(&signal);
        }
        if self.is_cancelled() {
            signal.cancel();
        } else {
            let mut below = self.node.below.borrow_mut();
            below.foreign.add(Arc::downgrade(&signal));
        }
        ForeignCancellation { signal }
    }

    /// Cancels this token and everything below it, and wakes those who wait.
    ///
    /// When this returns, every token and foreign cancellation below says so. Cancelling again does
    /// nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = glommio::sync::CancellationToken::new();
    /// token.cancel();
    /// assert!(token.is_cancelled());
    /// ```
    pub fn cancel(&self) {
        let marked = self.node.mark();
        let mut foreign = Vec::new();
        for node in &marked {
            let mut below = node.below.borrow_mut();
            below.waiters.settle_all(());
            foreign.extend(below.foreign.take());
        }
        // Everything is decided; from here on foreign code runs.
        for signal in foreign.iter().filter_map(sync::Weak::upgrade) {
            signal.cancel();
        }
        for node in &marked {
            wake_settled(&**node);
        }
    }

    /// Whether this token, or one above it, was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = glommio::sync::CancellationToken::new();
    /// let child = token.child_token();
    /// token.cancel();
    /// assert!(child.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.node.is_cancelled()
    }

    /// A future that completes when the token is cancelled.
    ///
    /// # Cancel safety
    ///
    /// It can be dropped and asked for again at any time.
    ///
    /// # Examples
    ///
    /// ```
    /// use futures_lite::future;
    /// use glommio::{LocalExecutor, sync::CancellationToken};
    ///
    /// LocalExecutor::default().run(async {
    ///     let token = CancellationToken::new();
    ///     let stop = async {
    ///         token.cancelled().await;
    ///         "stopped"
    ///     };
    ///     let work = async {
    ///         token.cancel();
    ///         future::pending().await
    ///     };
    ///     assert_eq!(future::or(stop, work).await, "stopped");
    /// });
    /// ```
    pub fn cancelled(&self) -> Cancelled<'_> {
        Cancelled {
            node: &self.node,
            local: None,
            foreign: None,
        }
    }
}

impl Default for CancellationToken {
    fn default() -> Self {
        CancellationToken::new()
    }
}

impl fmt::Debug for CancellationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = self.node.below.borrow();
        f.debug_struct("CancellationToken")
            .field("cancelled", &self.is_cancelled())
            .field("children", &below.children.len())
            .field("waiting", &below.waiters.len())
            .finish()
    }
}

/// The wait for a cancellation; see [`CancellationToken::cancelled`].
///
/// # Cancel safety
///
/// It can be dropped at any time.
#[must_use = "futures do nothing unless awaited"]
pub struct Cancelled<'a> {
    node: &'a Node,
    /// Its place among the waiters of the node, and of the node's source.
    local: Option<Key>,
    foreign: Option<Key>,
}

impl Cancelled<'_> {
    fn forget(&mut self) {
        if let Some(key) = self.local.take() {
            let removed = self.node.with_waiters(|waiters| waiters.remove(key));
            drop(removed);
        }
        if let Some(source) = &self.node.source {
            source.forget(&mut self.foreign);
        }
    }
}

impl Future for Cancelled<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let node = self.node;
        if !node.is_cancelled() && self.local.is_none() {
            let waker = context.waker().clone();
            // Cloning is foreign code, and may have cancelled the token.
            if !node.is_cancelled() {
                self.local = Some(node.with_waiters(|waiters| waiters.push((), waker)));
            }
        }
        let here = match self.local {
            Some(key) => poll_verdict(node, key, context),
            None => Poll::Ready(()),
        };
        if here.is_ready() {
            self.local = None;
        }
        let there = match &node.source {
            Some(source) if here.is_pending() => source.poll_cancelled(&mut self.foreign, context),
            _ => Poll::Pending,
        };
        if here.is_pending() && there.is_pending() {
            return Poll::Pending;
        }
        self.forget();
        Poll::Ready(())
    }
}

impl Drop for Cancelled<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl fmt::Debug for Cancelled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cancelled")
            .field("cancelled", &self.node.is_cancelled())
            .finish()
    }
}

/// A [`CancellationToken`]'s child for other threads; see [`CancellationToken::foreign_child`].
///
/// Clones are the same. Dropping it cancels nothing.
///
/// # Examples
///
/// ```
/// let token = glommio::sync::CancellationToken::new();
/// let foreign = token.foreign_child();
/// let thread = std::thread::spawn(move || while !foreign.is_cancelled() {
///     std::thread::yield_now();
/// });
/// token.cancel();
/// thread.join().unwrap();
/// ```
#[derive(Clone)]
pub struct ForeignCancellation {
    signal: Arc<Signal>,
}

impl ForeignCancellation {
    /// A token for the current thread that is cancelled along with the one that this comes from.
    ///
    /// Cancelling it cancels its own children, and nothing on the other thread. The token works with
    /// any executor and with none.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = glommio::sync::CancellationToken::new();
    /// let foreign = token.foreign_child();
    /// let attached = foreign.attach();
    /// attached.cancel();
    /// assert!(!token.is_cancelled() && !foreign.is_cancelled());
    /// ```
    pub fn attach(&self) -> CancellationToken {
        CancellationToken {
            node: Rc::new(Node::new(false, Some(self.signal.clone()), None)),
        }
    }

    /// Whether the token that this comes from, or one above it, was cancelled.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = glommio::sync::CancellationToken::new();
    /// let foreign = token.foreign_child();
    /// token.cancel();
    /// assert!(foreign.is_cancelled());
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.signal.is_cancelled()
    }
}

impl fmt::Debug for ForeignCancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignCancellation")
            .field("cancelled", &self.is_cancelled())
            .finish()
    }
}
