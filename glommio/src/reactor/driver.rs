//! One executor's view of the kernel and of time.

use std::{
    io,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    config::ReactorConfig,
    park::ParkState,
    polled::{PolledIo, Step},
    timers::Timers,
    wake::{self, Outbox, Target, WakeSlot},
};
use crate::{
    error::Result,
    sys::{
        buffers::{DmaArena, DmaBuffer, Registrar, socket::SocketBuffers},
        clock::Ticks,
        eventfd::EventFd,
        features::{Rung, features},
        ledger::{Account, Origin, Totals},
        op::{
            Operation,
            poll::{WatchEventFd, WatchOnce},
        },
        ring::{Ring, RingCounters, Wait},
        startup,
        submission::Submission,
    },
    task::ExecutorId,
};

/// The ring, the timers and the wake-ups of one executor.
///
/// Everything here belongs to the executor's thread; other threads reach it through its
/// [`WakeSlot`] only.
pub(crate) struct Reactor {
    ring: Rc<Ring>,
    polled: PolledIo,
    arena: DmaArena,
    sockets: Rc<SocketBuffers>,
    timers: Timers,
    slot: &'static WakeSlot,
    target: Arc<Target>,
    outbox: Outbox,
    spin_before_park: Duration,
}

impl Reactor {
    /// See [`start`](super::start).
    pub(super) fn new(id: ExecutorId, config: ReactorConfig) -> Result<Rc<Reactor>, ()> {
        let features = features()?;
        let ring = Ring::new(config.ring_depth, features)?;
        if config.record_io_latencies {
            ring.record_latencies();
        }
        let refused = |what| move |error| startup::resource_refused(what, error);
        let eventfd = Arc::new(EventFd::new().map_err(refused("the wake-up eventfd"))?);
        let message_fd = if features.has(Rung::MsgRing) {
            let duplicate = ring.duplicate_fd();
            Some(duplicate.map_err(refused("a descriptor for wake-up messages"))?)
        } else {
            None
        };
        let multishot = features.has(Rung::MultishotPoll);
        ring.submit_driven(WatchEventFd::new(eventfd.clone(), multishot));

        let slot = wake::slot(id.slot());
        let target = Arc::new(Target {
            eventfd,
            ring: message_fd,
        });
        slot.set_target(target.clone());
        let registrar: Rc<dyn Registrar> = ring.clone();
        Ok(Rc::new(Reactor {
            arena: DmaArena::new(config.io_memory_bytes, Rc::downgrade(&registrar)),
            sockets: Rc::default(),
            timers: Timers::new(),
            polled: PolledIo::new(&config),
            slot,
            target,
            outbox: Outbox::default(),
            spin_before_park: config.spin_before_park,
            ring,
        }))
    }

    pub(crate) fn ring(&self) -> &Rc<Ring> {
        &self.ring
    }

    /// The memory that the sockets of this executor share.
    pub(crate) fn sockets(&self) -> &Rc<SocketBuffers> {
        &self.sockets
    }

    /// A buffer for direct I/O, registered with the ring where possible.
    pub(crate) fn alloc_dma(&self, bytes: usize) -> io::Result<DmaBuffer> {
        self.arena.allocate(bytes)
    }

    /// The slot of `buffer` in the ring's table, if it is from this reactor's memory and registered.
    pub(crate) fn fixed_index_of(&self, buffer: &DmaBuffer) -> Option<u16> {
        self.arena.fixed_index_of(buffer)
    }

    /// A future that runs `op` on this reactor's ring.
    pub(crate) fn submit<O: Operation>(&self, op: O) -> Submission<O> {
        Submission::new(self.ring.clone(), op)
    }

    pub(crate) fn counters(&self) -> RingCounters {
        self.ring.counters()
    }

    // ---- polled I/O ----

    /// Direct I/O of up to so many bytes on files of the device can be polled for; zero: none can.
    pub(crate) fn largest_polled_transfer(&self, device: (u32, u32)) -> u32 {
        if self.ring.is_closed() {
            return 0;
        }
        self.polled.largest_transfer(device, self.ring.features())
    }

    /// Takes it for granted that a device has poll queues.
    #[cfg(test)]
    pub(crate) fn assume_poll_queues(&self, number: (u32, u32)) {
        self.polled.assume_poll_queues(number);
    }

    /// Behaves as if the kernel had refused the second ring.
    #[cfg(test)]
    pub(crate) fn refuse_polling(&self) {
        self.polled.refuse();
    }

    /// A future that runs `op`, which reads or writes past the page cache, on the ring that polls.
    pub(crate) fn submit_polled<O: Operation>(&self, op: O) -> Submission<O> {
        let ring = self.polled.ring_for(self.ring.origin());
        Submission::new(ring.unwrap_or(&self.ring).clone(), op)
    }

    /// What the ring that polls has done so far; `None` if there is none.
    pub(crate) fn polled_counters(&self) -> Option<RingCounters> {
        self.polled.ring().map(|ring| ring.counters())
    }

    /// Whether devices must be polled: a turn is wanted from time to time.
    #[inline]
    pub(crate) fn is_polling(&self) -> bool {
        self.polled.busy().is_some()
    }

    /// Whether devices must be polled and were not for a while.
    #[inline]
    pub(crate) fn polling_is_due(&self, now: Ticks) -> bool {
        self.polled.is_due(now)
    }

    // ---- accounts ----

    /// Operations that are submitted from now on are `origin`'s.
    #[inline]
    pub(crate) fn set_origin(&self, origin: Origin) {
        self.ring.set_origin(origin);
    }

    /// What all tasks did: on the main ring, and on the one that polls.
    pub(crate) fn io_totals(&self) -> (Totals, Totals) {
        let polled = self.polled.ring().map(|ring| ring.io_totals());
        (self.ring.io_totals(), polled.unwrap_or_default())
    }

    /// What the tasks of a queue did: on the main ring, and on the one that polls.
    pub(crate) fn io_of_queue(&self, queue: Origin) -> (Account, Account) {
        let polled = self.polled.ring().map(|ring| ring.io_of_queue(queue));
        (self.ring.io_of_queue(queue), polled.unwrap_or_default())
    }

    /// Forgets a queue; what it did stays in the totals.
    pub(crate) fn forget_queue(&self, queue: Origin) {
        self.ring.forget_queue(queue);
        if let Some(ring) = self.polled.ring() {
            ring.forget_queue(queue);
        }
    }

    /// The timers of this executor.
    #[inline]
    pub(crate) fn timers(&self) -> &Timers {
        &self.timers
    }

    // ---- wake-ups ----

    /// Queues a wake-up message to another executor.
    pub(super) fn message(&self, index: usize, target: &Arc<Target>) -> bool {
        if self.ring.is_closed() || !self.ring.features().has(Rung::MsgRing) {
            return false;
        }
        match self.outbox.hold(target) {
            Some(raw) => {
                self.ring.send_message(raw, index as u32);
                true
            }
            None => false,
        }
    }

    /// Whether another executor waits for a message that has not left yet. The executor flushes it
    /// (see [`Reactor::flush`]) before it goes on with other work.
    #[inline]
    pub(crate) fn has_messages(&self) -> bool {
        self.outbox.has_fresh()
    }

    /// Wakes `waker` once `eventfd` has been notified, which may have happened already, or when the
    /// ring goes down. Costs one submission; the descriptor is not read.
    pub(crate) fn watch(&self, eventfd: Arc<EventFd>, waker: Waker) {
        if !self.ring.is_closed() {
            self.ring.submit_driven(WatchOnce::new(eventfd, waker));
        }
    }

    fn park(&self) -> &ParkState {
        &self.slot.park
    }

    // ---- the turn ----

    /// Whether a turn would find something to do. Loads only, no system call.
    #[inline]
    pub(crate) fn wants_turn(&self) -> bool {
        self.ring.wants_enter() || self.polled.ring().is_some_and(|ring| ring.wants_enter())
    }

    /// Submits what is queued, without waiting. Whoever a queued message was to wake is awake then.
    pub(crate) fn flush(&self) {
        let has_messages = self.has_messages();
        self.enter(Wait::No);
        if has_messages {
            // Some may be back: who knows when the next turn is.
            self.ring.dispatch(wake::undelivered);
        }
        if let Some(ring) = self.polled.busy() {
            report(ring.enter(Wait::No));
        }
    }

    /// Takes completions until `is_done`, which asks the kernel for what it waits for each time. Runs no
    /// task: only for what the kernel does soon, such as a cancellation.
    pub(crate) fn settle(&self, mut is_done: impl FnMut() -> bool) {
        let mut rounds = 0_u32;
        while !is_done() {
            // The first rounds do for whatever need not be interrupted on another thread.
            self.enter(match rounds {
                0..4 => Wait::No,
                _ => Wait::For(Duration::from_millis(1)),
            });
            self.ring.dispatch(wake::undelivered);
            rounds = rounds.saturating_add(1);
        }
    }

    /// One turn: fires due timers, submits what is queued, takes completions. With `idle`, sleeps
    /// until there is news (or polls, while devices must be polled), unless something is due or `has_work` (asked after the decision to sleep
    /// was announced to other threads) says otherwise.
    pub(crate) fn turn(&self, idle: bool, has_work: impl Fn() -> bool) {
        let fired = self.timers.fire();
        let idle = idle && fired == 0 && !self.ring.has_completions();
        if let Some(ring) = self.polled.busy() {
            self.poll(ring, idle, &has_work);
        } else if !idle {
            self.enter(Wait::No);
        } else if !self.spin(&has_work) {
            self.sleep(&has_work, None);
        }
        self.ring.dispatch(wake::undelivered);
        self.timers.fire();
    }

    /// Submits what is queued and polls devices: once, or if `idle` until there is news of any kind,
    /// with naps where it takes long.
    #[cold]
    fn poll(&self, ring: &Ring, idle: bool, has_work: &impl Fn() -> bool) {
        self.enter(Wait::No);
        loop {
            report(ring.enter(Wait::No));
            let answers = ring.dispatch(|_| ());
            self.polled.asked(answers);
            let news =
                answers > 0 || self.ring.has_completions() || self.timers.are_due() || has_work();
            if !idle || news {
                return;
            }
            match self.polled.next_step() {
                Step::Nap(limit) => return self.sleep(has_work, Some(limit)),
                Step::Ask if self.ring.wants_enter() => self.enter(Wait::No),
                Step::Ask => std::hint::spin_loop(),
            }
        }
    }

    /// Sleeps until there is news, or for `limit`.
    fn sleep(&self, has_work: &impl Fn() -> bool, limit: Option<Duration>) {
        if !self.park().prepare_park(|| !has_work()) {
            self.enter(Wait::No);
            return;
        }
        let limits = [self.timers.next_in(), limit];
        let wait = match limits.into_iter().flatten().min() {
            None => Wait::Forever,
            Some(Duration::ZERO) => Wait::No,
            Some(time) => Wait::For(time),
        };
        self.enter(wait);
        self.park().unpark();
        self.polled.slept();
    }

    /// Spins for a while if so configured. Returns whether there is news.
    fn spin(&self, has_work: &impl Fn() -> bool) -> bool {
        if self.spin_before_park.is_zero() {
            return false;
        }
        self.enter(Wait::No);
        let start = Instant::now();
        loop {
            if self.ring.has_completions() || has_work() || self.timers.are_due() {
                return true;
            }
            if self.ring.wants_enter() {
                self.enter(Wait::No);
                continue;
            }
            if start.elapsed() >= self.spin_before_park {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    fn enter(&self, wait: Wait) {
        report(self.ring.enter(wait));
        if !self.outbox.is_empty() {
            self.outbox.submitted(self.ring.is_drained());
        }
    }

    /// Takes the executor off the map of other threads, disarms all timers and shuts the rings down.
    pub(crate) fn shutdown(&self) {
        self.slot.remove_target(&self.target);
        if let Some(ring) = self.polled.ring() {
            // First: descriptors of its operations are closed on the main ring.
            ring.shutdown(|_| ());
        }
        let all_taken = self.ring.shutdown(wake::undelivered);
        self.outbox.submitted(all_taken);
        self.timers.clear();
    }
}

/// Reports what no retry mends at once, and does not spin on it.
fn report(entered: io::Result<()>) {
    if let Err(error) = entered {
        tracing::error!(target: "glommio::reactor", %error, "io_uring_enter failed");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.shutdown();
    }
}
