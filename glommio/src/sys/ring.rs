//! The ring of one executor: submission, the one enter call, completions, tear-down.
//!
//! Everything goes through `&self` on the executor's thread. No waker is woken, no operation dropped
//! and no user code run while the ring's state is borrowed, so whatever a waker or a destructor does
//! with the ring is safe.
//!
//! # The one enter
//!
//! [`Ring::submit`] only writes to the submission queue. [`Ring::enter`] is the single place that
//! calls the kernel: it submits all that is queued and, when the executor is idle, waits in the same
//! call. A send on a socket that takes its data at once posts its completion during submission;
//! unless a task waits for that completion it is no news, so a waiting enter asks for one more
//! completion than there are such *inline* operations. They are certain to arrive (see
//! [`Class::Inline`]), which keeps this exact: it can never wait for a completion that does not come.
//! Whether somebody waits is asked when the entry is filled, which for these operations is in the
//! enter call itself: they are deferred or resubmitted, and both wait for the next enter.
//!
//! # Tear-down
//!
//! [`Ring::shutdown`] cancels everything that the kernel knows, waits for the last completion, and
//! only then closes the ring and frees the memory. The wait is bounded; memory of an operation that
//! the kernel does not give back in time is leaked and logged, never freed under the kernel's feet.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::VecDeque,
    io, mem,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd},
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue, types};

use super::{
    buffers::Registrar,
    features::{Features, Rung},
    inflight::{Erased, Filed, INTERNAL_TAG, InFlight, Key, Orphaned},
    op::{Class, Completion, Driven, Operation},
    startup,
};
use crate::error::Result;

/// A completion that needs no action.
const IGNORED: u64 = INTERNAL_TAG;
/// Another executor's wake-up message.
const MESSAGE: u64 = INTERNAL_TAG | 1 << 32;
/// A wake-up message of ours that could not be delivered; the low half names its target slot.
const UNDELIVERED: u64 = INTERNAL_TAG | 2 << 32;
const KIND_MASK: u64 = !0 << 32;

/// How long [`Ring::shutdown`] waits for the kernel to let go of memory.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(5);

/// How long an enter call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Do not wait: submit, and let the kernel run completion work.
    No,
    /// Until a completion arrives.
    Forever,
    /// Until a completion arrives or the duration is over.
    For(Duration),
}

/// What a ring has done so far. Counts for tests and benchmarks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingCounters {
    /// Calls of `io_uring_enter`.
    pub enters: u64,
    /// Those that were allowed to sleep.
    pub waits: u64,
    /// Entries handed to the kernel.
    pub submitted: u64,
    /// Completions taken from the kernel.
    pub completed: u64,
    /// Timeout entries (only on kernels that cannot pass a timeout to the enter call).
    pub timeouts: u64,
    /// Wake-up messages sent to other rings.
    pub messages: u64,
    /// Operations that are in flight now.
    pub in_flight: u64,
}

struct State {
    /// `None` after the ring was shut down.
    uring: Option<IoUring>,
    table: InFlight,
    /// Entries that found the submission queue full, in order.
    overflow: VecDeque<squeue::Entry>,
    /// Operations that wait for room below the ring's depth, in order.
    backlog: VecDeque<Key>,
    /// Operations whose entry is filled at the next enter.
    deferred: Vec<Key>,
    depth: usize,
    /// The earliest timeout entry in flight (kernels without EXT_ARG).
    timeout_until: Option<Instant>,
    counters: RingCounters,
    /// Reused by `dispatch`, so that it allocates nothing once warm.
    wakers: Vec<Waker>,
    ended: Vec<(Erased, Option<Completion>)>,
    undelivered: Vec<u32>,
    /// Memory that the kernel knows by registration: freed after the ring is closed.
    kept: Vec<Rc<dyn Any>>,
}

/// See the module's documentation.
pub(crate) struct Ring {
    state: RefCell<State>,
    features: Features,
    raw: Cell<RawFd>,
}

impl Ring {
    /// Sets up a ring for at least `depth` operations of class `Work` at a time.
    ///
    /// # Errors
    ///
    /// When the kernel refuses: the error names the cause and the cure.
    pub(crate) fn new(depth: usize, features: Features) -> Result<Rc<Ring>, ()> {
        let entries = u32::try_from(depth.clamp(8, 32_768))
            .expect("clamped")
            .next_power_of_two();
        let uring = set_up(entries, &features)?;
        let raw = uring.as_raw_fd();
        Ok(Rc::new(Ring {
            state: RefCell::new(State {
                uring: Some(uring),
                table: InFlight::default(),
                overflow: VecDeque::new(),
                backlog: VecDeque::new(),
                deferred: Vec::new(),
                depth: depth.max(1),
                timeout_until: None,
                counters: RingCounters::default(),
                wakers: Vec::new(),
                ended: Vec::new(),
                undelivered: Vec::new(),
                kept: Vec::new(),
            }),
            features,
            raw: Cell::new(raw),
        }))
    }

    pub(crate) fn features(&self) -> &Features {
        &self.features
    }

    /// The ring's descriptor, or `None` after shutdown.
    pub(crate) fn raw_fd(&self) -> Option<RawFd> {
        let raw = self.raw.get();
        (raw >= 0).then_some(raw)
    }

    /// Whether the ring was shut down.
    pub(crate) fn is_closed(&self) -> bool {
        self.raw.get() < 0
    }

    pub(crate) fn counters(&self) -> RingCounters {
        let state = self.state.borrow();
        RingCounters {
            in_flight: state.table.submitted() as u64,
            ..state.counters
        }
    }

    /// Calls `f` with the submitter, for registrations.
    pub(crate) fn with_submitter<R>(
        &self,
        f: impl FnOnce(&io_uring::Submitter<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        match &self.state.borrow().uring {
            Some(uring) => f(&uring.submitter()),
            None => Err(closed()),
        }
    }

    /// Keeps registered memory alive until the ring is closed.
    pub(crate) fn keep(&self, memory: Rc<dyn Any>) {
        self.state.borrow_mut().kept.push(memory);
    }

    /// Queues a plain operation. The caller must [`Ring::poll`] or [`Ring::orphan`] the key.
    pub(crate) fn submit<O: Operation>(&self, op: O) -> Key {
        self.state.borrow_mut().start(Erased::plain(op), false)
    }

    /// Queues a plain operation whose result nobody waits for.
    pub(crate) fn submit_detached<O: Operation>(&self, op: O) {
        self.state.borrow_mut().start(Erased::plain(op), true);
    }

    /// Queues a driven operation.
    pub(crate) fn submit_driven<O: Operation + Driven>(&self, op: O) -> Key {
        self.state.borrow_mut().start(Erased::driven(op), false)
    }

    /// Takes a driven operation whose entry is filled only at the next enter, so that it carries
    /// all that its owner collects until then.
    pub(crate) fn submit_deferred<O: Operation + Driven>(&self, op: O) -> Key {
        let mut state = self.state.borrow_mut();
        let key = state.table.insert(Erased::driven(op), false);
        state.deferred.push(key);
        key
    }

    /// Fetches the result of a plain operation or leaves the waker to be told.
    ///
    /// # Safety
    ///
    /// `key` came from [`Ring::submit`] with an operation of type `O`.
    pub(crate) unsafe fn poll<O: Operation>(
        &self,
        key: Key,
        cx: &mut Context<'_>,
    ) -> Poll<(O, Completion)> {
        // SAFETY: the caller vouches for the type.
        let result = unsafe { self.state.borrow_mut().table.poll::<O>(key, cx.waker()) };
        match result {
            Ok(done) => Poll::Ready(done),
            Err(_replaced) => Poll::Pending,
        }
    }

    /// Gives up on an operation: if the kernel works on it, it is asked to stop, and the memory
    /// stays with the ring until the kernel answers.
    pub(crate) fn orphan(&self, key: Key) {
        let orphaned = self.state.borrow_mut().orphan(key);
        match orphaned {
            Orphaned::End(op, Some(completion), _waker) => op.reclaim(completion),
            Orphaned::End(..) | Orphaned::Cancel(_) | Orphaned::Gone => {}
        }
    }

    /// Asks the kernel to stop a driven operation; its owner sees the last completion.
    pub(crate) fn cancel(&self, key: Key) {
        self.state.borrow_mut().push_cancel(key);
    }

    /// Closes a descriptor without anybody waiting for it.
    pub(crate) fn close_fd(&self, fd: RawFd) {
        let mut state = self.state.borrow_mut();
        if state.uring.is_none() {
            drop(state);
            super::fd::close_now(fd);
            return;
        }
        let entry = self.quiet(opcode::Close::new(types::Fd(fd)).build());
        state.push(entry.user_data(IGNORED));
    }

    /// Queues a wake-up message to another ring; `target` comes back from [`Ring::dispatch`] if it
    /// cannot be delivered.
    pub(crate) fn send_message(&self, ring: RawFd, target: u32) {
        let entry = opcode::MsgRingData::new(types::Fd(ring), 0, MESSAGE, None).build();
        let entry = self.quiet(entry).user_data(UNDELIVERED | u64::from(target));
        let mut state = self.state.borrow_mut();
        state.counters.messages += 1;
        state.push(entry);
    }

    /// Lets a successful entry pass without completion where the kernel can.
    fn quiet(&self, entry: squeue::Entry) -> squeue::Entry {
        if self.features.has(Rung::CqeSkip) {
            entry.flags(squeue::Flags::SKIP_SUCCESS)
        } else {
            entry
        }
    }

    /// A second descriptor of the ring.
    pub(crate) fn duplicate_fd(&self) -> io::Result<OwnedFd> {
        let raw = self.raw_fd().ok_or_else(closed)?;
        // SAFETY: the ring is open, so its descriptor is.
        unsafe { BorrowedFd::borrow_raw(raw) }.try_clone_to_owned()
    }

    /// Whether completions can be had without a system call.
    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        let mut state = self.state.borrow_mut();
        state
            .uring
            .as_mut()
            .is_some_and(|u| !u.completion().is_empty())
    }

    /// Whether an enter or a dispatch would do something: entries are queued, completions wait, or
    /// the kernel holds completion work or overflowed completions. Loads only.
    #[inline]
    pub(crate) fn wants_enter(&self) -> bool {
        let mut state = self.state.borrow_mut();
        if !state.deferred.is_empty() || !state.overflow.is_empty() {
            return true;
        }
        state.uring.as_mut().is_some_and(|uring| {
            if !uring.completion().is_empty() {
                return true;
            }
            let sq = uring.submission();
            !sq.is_empty() || sq.taskrun() || sq.cq_overflow()
        })
    }

    /// Submits what is queued and waits as told. An interrupted or timed-out wait is a success.
    ///
    /// # Errors
    ///
    /// Only what no retry can mend. A kernel that is short of memory for requests (`EAGAIN`) or of
    /// room for completions (`EBUSY`) keeps the entries queued for the next call.
    pub(crate) fn enter(&self, wait: Wait) -> io::Result<()> {
        let mut guard = self.state.borrow_mut();
        let state = &mut *guard;
        state.fill_deferred();
        state.fill_backlog();
        while !state.overflow.is_empty() {
            state.drain_overflow();
            if !state.overflow.is_empty() && !state.call(&self.features, Wait::No)? {
                return Ok(());
            }
        }
        if wait == Wait::No {
            let uring = state.uring.as_mut().ok_or_else(closed)?;
            let sq = uring.submission();
            let wanted = !sq.is_empty() || sq.taskrun() || sq.cq_overflow();
            drop(sq);
            if !wanted {
                return Ok(());
            }
        }
        state.call(&self.features, wait).map(drop)
    }

    /// Takes all completions that have arrived and wakes whoever waits for them. Returns how many
    /// there were; `undelivered` is told the targets of wake-up messages that did not arrive.
    pub(crate) fn dispatch(&self, mut undelivered: impl FnMut(u32)) -> usize {
        let mut state = self.state.borrow_mut();
        let count = state.collect();
        if count == 0 {
            return 0;
        }
        let mut wakers = mem::take(&mut state.wakers);
        let mut ended = mem::take(&mut state.ended);
        let mut lost = mem::take(&mut state.undelivered);
        drop(state);

        for (op, completion) in ended.drain(..) {
            match completion {
                Some(completion) => op.reclaim(completion),
                None => drop(op),
            }
        }
        for target in lost.drain(..) {
            undelivered(target);
        }
        for waker in wakers.drain(..) {
            waker.wake();
        }

        let mut state = self.state.borrow_mut();
        // A waker may have dispatched in turn: keep the larger of the two buffers.
        if state.wakers.capacity() < wakers.capacity() {
            wakers.append(&mut state.wakers);
            state.wakers = wakers;
        }
        if state.ended.capacity() < ended.capacity() {
            ended.append(&mut state.ended);
            state.ended = ended;
        }
        if state.undelivered.capacity() < lost.capacity() {
            lost.append(&mut state.undelivered);
            state.undelivered = lost;
        }
        count
    }

    /// Cancels everything, waits until the kernel has let go of all memory, and closes the ring.
    /// Later calls do nothing.
    pub(crate) fn shutdown(&self) {
        if self.is_closed() {
            return;
        }
        let deadline = Instant::now() + SHUTDOWN_LIMIT;
        // Submit what was accepted (sends of dropped streams, closes of dropped files) before the
        // cancellations.
        let _ = self.enter(Wait::No);
        self.dispatch(|_| ());
        let mut cancelled_all = false;
        // Their wakers are dropped outside the borrow.
        let mut orphans = Vec::new();
        loop {
            // What the kernel does not know (any more) needs no waiting for; its destructors may
            // queue more.
            let idle = self.state.borrow().table.idle_keys();
            for key in idle {
                self.orphan(key);
            }
            {
                let mut state = self.state.borrow_mut();
                if state.table.submitted() == 0 && state.table.idle_keys().is_empty() {
                    break;
                }
                for key in state.table.submitted_keys() {
                    orphans.push(state.table.orphan(key));
                    if !cancelled_all {
                        state.push_cancel(key);
                    }
                }
                cancelled_all = true;
            }
            orphans.clear();
            let now = Instant::now();
            if now >= deadline {
                break;
            }
            // Something new may have been submitted by a destructor: look again now and then.
            let step = (deadline - now).min(Duration::from_millis(100));
            if self.enter(Wait::For(step)).is_err() {
                break;
            }
            if self.dispatch(|_| ()) == 0 {
                cancelled_all = false;
            }
        }
        // Closes of descriptors that the last destructors queued.
        let _ = self.enter(Wait::No);

        let mut state = self.state.borrow_mut();
        let uring = state.uring.take();
        self.raw.set(-1);
        let left = state.table.submitted();
        let table = mem::take(&mut state.table);
        let kept = mem::take(&mut state.kept);
        drop(state);
        drop(uring);
        if left == 0 {
            drop((table, kept));
        } else {
            tracing::error!(
                target: "glommio::sys",
                operations = left,
                "the kernel did not finish operations within {SHUTDOWN_LIMIT:?} of their \
                 cancellation; their memory is leaked"
            );
            mem::forget((table, kept));
        }
    }
}

/// Slots in the table of registered buffers; each costs the kernel a pointer.
const BUFFER_TABLE_SLOTS: u16 = 256;

impl Registrar for Ring {
    fn register_chunk(&self, index: u16, ptr: *mut u8, len: usize) -> io::Result<()> {
        self.with_submitter(|submitter| {
            if index == 0 {
                match submitter.register_buffers_sparse(u32::from(BUFFER_TABLE_SLOTS)) {
                    // Registered by an earlier try whose chunk was too large for memlock.
                    Err(e) if e.raw_os_error() == Some(libc::EBUSY) => {}
                    other => other?,
                }
            }
            let chunk = libc::iovec {
                iov_base: ptr.cast(),
                iov_len: len,
            };
            // SAFETY: the arena keeps the chunk mapped while a block of it exists, and only
            // operations that own a block name the slot.
            unsafe { submitter.register_buffers_update(u32::from(index), &[chunk], None) }
        })
    }

    fn table_size(&self) -> u16 {
        if self.features.has(Rung::SparseBuffers) {
            BUFFER_TABLE_SLOTS
        } else {
            0
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        self.shutdown();
    }
}

impl State {
    fn start(&mut self, op: Erased, orphaned: bool) -> Key {
        let work = op.class() == Class::Work;
        let key = self.table.insert(op, orphaned);
        if work && (self.table.working() >= self.depth || !self.backlog.is_empty()) {
            self.backlog.push_back(key);
        } else {
            self.queue(key);
        }
        key
    }

    /// Fills the entry of a tenant and queues it.
    fn queue(&mut self, key: Key) {
        if let Some((entry, _class)) = self.table.submit(key) {
            self.push(entry);
        }
    }

    /// Queues an entry. Its memory is owned by the in-flight table, or it needs none.
    fn push(&mut self, entry: squeue::Entry) {
        if self.overflow.is_empty() {
            if let Some(uring) = &mut self.uring {
                // SAFETY: the entry points only to memory owned by an operation in the in-flight
                // table (contract of `Operation`), which frees nothing before the last completion;
                // entries outside the table (close, cancel, message, timeout) point to nothing
                // that the kernel reads after submission.
                if unsafe { uring.submission().push(&entry) }.is_ok() {
                    return;
                }
            }
        }
        self.overflow.push_back(entry);
    }

    fn drain_overflow(&mut self) {
        let Some(uring) = &mut self.uring else {
            self.overflow.clear();
            return;
        };
        let mut sq = uring.submission();
        while let Some(entry) = self.overflow.front() {
            // SAFETY: as in `push`.
            if unsafe { sq.push(entry) }.is_err() {
                return;
            }
            self.overflow.pop_front();
        }
    }

    fn fill_deferred(&mut self) {
        if self.deferred.is_empty() {
            return;
        }
        let mut deferred = mem::take(&mut self.deferred);
        for key in deferred.drain(..) {
            self.queue(key);
        }
        self.deferred = deferred;
    }

    fn fill_backlog(&mut self) {
        while self.table.working() < self.depth {
            match self.backlog.pop_front() {
                Some(key) => self.queue(key),
                None => return,
            }
        }
    }

    fn orphan(&mut self, key: Key) -> Orphaned {
        let orphaned = self.table.orphan(key);
        if matches!(orphaned, Orphaned::Cancel(_)) {
            self.push_cancel(key);
        }
        orphaned
    }

    fn push_cancel(&mut self, key: Key) {
        if self.uring.is_some() {
            let cancel = opcode::AsyncCancel::new(key.user_data()).build();
            self.push(cancel.user_data(IGNORED));
        }
    }

    /// One `io_uring_enter`. `Ok(false)`: the kernel is short of something and took nothing new;
    /// completions must be reaped first.
    fn call(&mut self, features: &Features, wait: Wait) -> io::Result<bool> {
        if let Wait::For(limit) = wait {
            if !features.has(Rung::ExtArg) {
                self.arm_timeout(limit);
            }
        }
        // Certain to be among the completions when the submission is done: not news.
        let inline = self.table.inline();
        let Some(uring) = &mut self.uring else {
            return Err(closed());
        };
        let mut sq = uring.submission();
        sq.sync();
        let to_submit = sq.len() as u32;
        drop(sq);

        let mut flags = EnterFlags::GETEVENTS;
        let mut min_complete = 0;
        if wait != Wait::No {
            min_complete = 1 + inline as u32;
            self.counters.waits += 1;
            if features.has(Rung::NoIowait) {
                flags |= EnterFlags::NO_IOWAIT;
            }
        }
        self.counters.enters += 1;
        let submitter = uring.submitter();
        let result = match wait {
            Wait::For(limit) if features.has(Rung::ExtArg) => {
                let limit = types::Timespec::from(limit);
                let args = types::SubmitArgs::new().timespec(&limit);
                flags |= EnterFlags::EXT_ARG;
                // SAFETY: `args` is what EXT_ARG asks for and lives across the call.
                unsafe { submitter.enter(to_submit, min_complete, flags.bits(), Some(&args)) }
            }
            // SAFETY: without EXT_ARG the argument is a signal mask, and none is given.
            _ => unsafe {
                submitter.enter::<libc::sigset_t>(to_submit, min_complete, flags.bits(), None)
            },
        };
        // Whatever the call returned, the queue's head tells what the kernel took.
        let left = uring.submission().len() as u32;
        self.counters.submitted += u64::from(to_submit.saturating_sub(left));
        match result {
            Ok(_) => Ok(true),
            Err(error) => match error.raw_os_error() {
                // Time over, or a signal: both end a wait.
                Some(libc::ETIME | libc::EINTR) => Ok(true),
                Some(libc::EAGAIN | libc::EBUSY) => Ok(false),
                _ => Err(error),
            },
        }
    }

    /// Makes sure that a timeout entry ends the wait, for kernels without EXT_ARG. One that ends it
    /// too early is harmless, so an earlier one still in flight is good enough.
    fn arm_timeout(&mut self, limit: Duration) {
        let now = Instant::now();
        let until = now + limit;
        if self
            .timeout_until
            .is_some_and(|armed| now < armed && armed <= until)
        {
            return;
        }
        self.timeout_until = Some(until);
        self.counters.timeouts += 1;
        let timespec = types::Timespec::from(limit);
        let entry = opcode::Timeout::new(&timespec).build().user_data(IGNORED);
        self.push(entry);
        self.drain_overflow();
        // The entry points to `timespec`, which the kernel copies while it takes the entry: hand
        // it over now, before this frame ends. The call that follows waits.
        if let Some(uring) = &mut self.uring {
            self.counters.enters += 1;
            let _ = uring.submit();
        }
    }

    /// Moves completions from the ring to the lists of consequences.
    fn collect(&mut self) -> usize {
        let State {
            uring: Some(uring),
            table,
            wakers,
            ended,
            undelivered,
            ..
        } = self
        else {
            return 0;
        };
        let mut again = Vec::new();
        let mut count = 0;
        for cqe in uring.completion() {
            count += 1;
            file(table, &cqe, wakers, ended, undelivered, &mut again);
        }
        self.counters.completed += count as u64;
        for (key, stop) in again {
            if stop {
                self.push_cancel(key);
            } else {
                // At the next enter: only then is it known whether somebody waits for it.
                self.deferred.push(key);
            }
        }
        if !self.backlog.is_empty() {
            self.fill_backlog();
        }
        count
    }
}

/// Files one completion.
#[inline]
fn file(
    table: &mut InFlight,
    cqe: &cqueue::Entry,
    wakers: &mut Vec<Waker>,
    ended: &mut Vec<(Erased, Option<Completion>)>,
    undelivered: &mut Vec<u32>,
    again: &mut Vec<(Key, bool)>,
) {
    let user_data = cqe.user_data();
    if user_data & INTERNAL_TAG != 0 {
        if user_data & KIND_MASK == UNDELIVERED && cqe.result() < 0 {
            undelivered.push(user_data as u32);
        }
        return;
    }
    let completion = Completion {
        result: cqe.result(),
        flags: cqe.flags(),
    };
    match table.complete(Key::from_user_data(user_data), completion) {
        Filed::Wake(waker) => wakers.extend(waker),
        Filed::Over(op, completion, waker) => {
            ended.push((op, completion));
            wakers.extend(waker);
        }
        Filed::Again(key, waker) => {
            again.push((key, false));
            wakers.extend(waker);
        }
        Filed::Stop(key, waker) => {
            again.push((key, true));
            wakers.extend(waker);
        }
        Filed::Unknown => debug_assert!(false, "a completion for no operation: {user_data:#x}"),
    }
}

fn closed() -> io::Error {
    io::Error::other("the executor of this resource is gone, and its ring with it")
}

/// Creates the ring with every flag of the ladder; a ring that does not fit below the memlock limit
/// (kernels before 5.12 count ring memory) is made smaller.
fn set_up(entries: u32, features: &Features) -> Result<IoUring, ()> {
    let mut entries = entries;
    loop {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_clamp()
            .setup_cqsize((entries * 4).max(1024));
        if features.has(Rung::SingleIssuer) {
            builder.setup_single_issuer();
        }
        if features.has(Rung::DeferTaskrun) && features.has(Rung::SingleIssuer) {
            builder.setup_defer_taskrun().setup_taskrun_flag();
        } else if features.has(Rung::CoopTaskrun) {
            builder.setup_coop_taskrun().setup_taskrun_flag();
        }
        if features.has(Rung::NoSqArray) {
            builder.setup_no_sqarray();
        }
        match builder.build(entries) {
            Ok(uring) => return Ok(uring),
            Err(e) if e.raw_os_error() == Some(libc::ENOMEM) && entries > 8 => entries /= 2,
            Err(e) => return Err(startup::ring_refused(&e, entries)),
        }
    }
}
