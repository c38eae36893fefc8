//! One executor's view of the kernel and of time.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    sync::Arc,
    task::Waker,
    time::{Duration, Instant},
};

use super::{
    park::ParkState,
    wake::{self, Outbox, Target, WakeSlot},
    wheel::{TICK_NS, TimerKey, Wheel},
};
use crate::{
    error::Result,
    sys::{
        buffers::{DmaArena, DmaBuffer, Registrar, socket::SocketBuffers},
        eventfd::EventFd,
        features::{Rung, features},
        op::{Operation, poll::WatchEventFd},
        ring::{Ring, RingCounters, Wait},
        startup,
        submission::Submission,
    },
    task::{self, ExecutorId},
};

/// What a reactor is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReactorConfig {
    /// Operations of class `Work` in flight at a time.
    pub(crate) ring_depth: usize,
    /// The limit of the DMA arena.
    pub(crate) io_memory_bytes: usize,
    /// How long an idle executor spins before it sleeps.
    pub(crate) spin_before_park: Duration,
}

/// The ring, the timers and the wake-ups of one executor.
///
/// Everything here belongs to the executor's thread; other threads reach it through its
/// [`WakeSlot`] only.
pub(crate) struct Reactor {
    ring: Rc<Ring>,
    arena: DmaArena,
    sockets: Rc<SocketBuffers>,
    wheel: RefCell<Wheel<Waker>>,
    /// The wheel counts nanoseconds from here.
    epoch: Instant,
    /// When the wheel wants to be turned next, in its nanoseconds, or earlier; `u64::MAX` without
    /// timers.
    next_timer_ns: Cell<u64>,
    expired: RefCell<Vec<Waker>>,
    slot: &'static WakeSlot,
    outbox: Outbox,
    spin_before_park: Duration,
}

impl Reactor {
    /// Sets the reactor of the executor `id` up.
    ///
    /// # Errors
    ///
    /// When io_uring or a descriptor cannot be had; the error names cause and cure.
    pub(crate) fn new(id: ExecutorId, config: ReactorConfig) -> Result<Rc<Reactor>, ()> {
        task::set_notifier(wake::notify);
        let features = features()?;
        let ring = Ring::new(config.ring_depth, features)?;
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
        slot.set_target(Some(Arc::new(Target {
            eventfd,
            ring: message_fd,
        })));
        let registrar: Rc<dyn Registrar> = ring.clone();
        Ok(Rc::new(Reactor {
            arena: DmaArena::new(config.io_memory_bytes, Rc::downgrade(&registrar)),
            sockets: Rc::default(),
            wheel: RefCell::new(Wheel::new(0)),
            epoch: Instant::now(),
            next_timer_ns: Cell::new(u64::MAX),
            expired: RefCell::default(),
            slot,
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

    // ---- timers ----

    fn now_ns(&self) -> u64 {
        // 584 years fit.
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Wakes `waker` when `deadline` has passed, not before.
    pub(crate) fn arm_timer(&self, deadline: Instant, waker: Waker) -> TimerKey {
        let since = deadline.saturating_duration_since(self.epoch).as_nanos();
        let deadline_ns = u64::try_from(since).unwrap_or(u64::MAX);
        let key = self.wheel.borrow_mut().arm(deadline_ns, waker);
        // The wheel fires at the end of the deadline's tick. Looking too early would be harmless:
        // the turn then asks the wheel.
        let due_ns = deadline_ns
            .div_ceil(TICK_NS)
            .checked_mul(TICK_NS)
            .unwrap_or(u64::MAX - 1);
        self.next_timer_ns.set(self.next_timer_ns.get().min(due_ns));
        key
    }

    /// Disarms a timer. A key that fired or was cancelled is ignored.
    pub(crate) fn cancel_timer(&self, key: TimerKey) {
        let waker = self.wheel.borrow_mut().cancel(key);
        // Dropped outside the borrow: it may run code of others.
        drop(waker);
    }

    /// Whether the timer is still to fire.
    pub(crate) fn timer_is_armed(&self, key: TimerKey) -> bool {
        self.wheel.borrow().is_armed(key)
    }

    /// Replaces the waker of an armed timer; a stale key is ignored.
    pub(crate) fn set_timer_waker(&self, key: TimerKey, waker: &Waker) {
        let old = match self.wheel.borrow_mut().payload_mut(key) {
            Some(old) if !old.will_wake(waker) => Some(std::mem::replace(old, waker.clone())),
            _ => None,
        };
        drop(old);
    }

    /// Whether a timer may be due: a turn would tell.
    pub(crate) fn timer_is_due(&self) -> bool {
        let next = self.next_timer_ns.get();
        next != u64::MAX && self.now_ns() >= next
    }

    fn expire_timers(&self) -> usize {
        if !self.timer_is_due() {
            return 0;
        }
        let mut expired = self.expired.take();
        {
            let mut wheel = self.wheel.borrow_mut();
            wheel.expire(self.now_ns(), &mut expired);
            self.next_timer_ns
                .set(wheel.next_deadline_ns().unwrap_or(u64::MAX));
        }
        let count = expired.len();
        for waker in expired.drain(..) {
            waker.wake();
        }
        if self.expired.borrow().capacity() < expired.capacity() {
            self.expired.replace(expired);
        }
        count
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
        !self.outbox.is_empty()
    }

    fn park(&self) -> &ParkState {
        &self.slot.park
    }

    // ---- the turn ----

    /// Whether a turn would find something to do. Loads only, no system call.
    #[inline]
    pub(crate) fn wants_turn(&self) -> bool {
        self.ring.wants_enter()
    }

    /// Submits what is queued, without waiting.
    pub(crate) fn flush(&self) {
        self.enter(Wait::No);
    }

    /// One turn: fires due timers, submits what is queued, takes completions. With `idle`, sleeps
    /// until there is news, unless something is due or `has_work` (asked after the decision to sleep
    /// was announced to other threads) says otherwise.
    pub(crate) fn turn(&self, idle: bool, has_work: impl Fn() -> bool) {
        let fired = self.expire_timers();
        if !idle || fired > 0 || self.ring.has_completions() {
            self.enter(Wait::No);
        } else if !self.spin(&has_work) {
            self.sleep(&has_work);
        }
        self.ring.dispatch(wake::undelivered);
        self.expire_timers();
    }

    fn sleep(&self, has_work: &impl Fn() -> bool) {
        if !self.park().prepare_park(|| !has_work()) {
            self.enter(Wait::No);
            return;
        }
        let wait = match self.next_timer_ns.get() {
            u64::MAX => Wait::Forever,
            at => match at.saturating_sub(self.now_ns()) {
                0 => Wait::No,
                ns => Wait::For(Duration::from_nanos(ns)),
            },
        };
        self.enter(wait);
        self.park().unpark();
    }

    /// Spins for a while if so configured. Returns whether there is news.
    fn spin(&self, has_work: &impl Fn() -> bool) -> bool {
        if self.spin_before_park.is_zero() {
            return false;
        }
        self.enter(Wait::No);
        let start = Instant::now();
        loop {
            if self.ring.has_completions() || has_work() || self.timer_is_due() {
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
        if let Err(error) = self.ring.enter(wait) {
            // Nothing that a retry mends at once: do not spin on it.
            tracing::error!(target: "glommio::reactor", %error, "io_uring_enter failed");
            std::thread::sleep(Duration::from_millis(1));
        }
        self.outbox.submitted();
    }

    /// Takes the executor off the map of other threads, disarms all timers and shuts the ring down.
    pub(crate) fn shutdown(&self) {
        self.slot.set_target(None);
        self.ring.shutdown();
        self.outbox.submitted();
        self.next_timer_ns.set(u64::MAX);
        let wheel = self.wheel.replace(Wheel::new(0));
        drop(wheel);
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        self.shutdown();
    }
}
