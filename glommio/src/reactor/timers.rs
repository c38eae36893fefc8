//! The pending timers of one executor: the wheel, the clock, and when to look at both.

use std::{
    cell::{Cell, RefCell},
    task::Waker,
    time::Duration,
};

use super::wheel::{TimerKey, Wheel};
use crate::{
    sys::{clock::Ticks, recent},
    task::LocalWaker,
};

/// Binary logarithm of [`TICK_NS`].
const TICK_SHIFT: u32 = 18;

/// Length of a tick of the wheel: 262,144 ns. Timers whose deadlines fall into one tick fire in one
/// go, at its end; this is also the greatest lateness that the wheel itself adds.
pub(super) const TICK_NS: u64 = 1 << TICK_SHIFT;

/// The first tick at which a deadline has passed.
fn tick_of_deadline(deadline_ns: u64) -> u64 {
    deadline_ns.div_ceil(TICK_NS)
}

/// The last tick that has fully come.
fn tick_of_now(now_ns: u64) -> u64 {
    now_ns >> TICK_SHIFT
}

/// Times are nanoseconds as [`recent`] counts them.
pub(crate) struct Timers {
    wheel: RefCell<Wheel<LocalWaker>>,
    /// When the wheel is to be looked at, or earlier; `u64::MAX` without timers.
    next_ns: Cell<u64>,
    /// About the same by the cycle counter.
    next_ticks: Cell<Ticks>,
}

impl Timers {
    pub(super) fn new() -> Timers {
        Timers {
            wheel: RefCell::new(Wheel::new(tick_of_now(recent::now_ns()))),
            next_ns: Cell::new(u64::MAX),
            next_ticks: Cell::new(Ticks::MAX),
        }
    }

    /// Wakes `waker` when `deadline_ns` has passed, not before.
    #[inline]
    pub(crate) fn arm(&self, deadline_ns: u64, waker: &Waker) -> TimerKey {
        // Outside the borrow: a waker's clone is code of others.
        let waker = LocalWaker::new(waker);
        let tick = tick_of_deadline(deadline_ns);
        let key = self.wheel.borrow_mut().arm(tick, waker);
        self.look_at(tick);
        key
    }

    /// Moves a timer, whose waker stays; `false` if it has fired.
    pub(crate) fn rearm(&self, key: TimerKey, deadline_ns: u64) -> bool {
        let tick = tick_of_deadline(deadline_ns);
        let is_armed = self.wheel.borrow_mut().rearm(key, tick);
        if is_armed {
            self.look_at(tick);
        }
        is_armed
    }

    /// Disarms a timer. A key that fired or was cancelled is ignored.
    #[inline]
    pub(crate) fn cancel(&self, key: TimerKey) {
        let waker = self.wheel.borrow_mut().cancel(key);
        // Dropped outside the borrow: it may run code of others.
        drop(waker);
    }

    /// Lets an armed timer wake `waker` from now on; `false` if it has fired.
    pub(crate) fn set_waker(&self, key: TimerKey, waker: &Waker) -> bool {
        let known = match self.wheel.borrow_mut().payload_mut(key) {
            Some(known) => known.will_wake(waker),
            None => return false,
        };
        if known {
            return true;
        }
        // Cloning and dropping a waker is code of others: outside the borrow.
        let waker = LocalWaker::new(waker);
        let exchanged = match self.wheel.borrow_mut().payload_mut(key) {
            Some(place) => Ok(std::mem::replace(place, waker)),
            None => Err(waker),
        };
        exchanged.is_ok()
    }

    /// Makes sure that the wheel is looked at when a tick has come.
    #[inline]
    fn look_at(&self, tick: u64) {
        // Looking too early would be harmless: the wheel is asked then.
        let due_ns = tick.saturating_mul(TICK_NS);
        if due_ns < self.next_ns.get() {
            self.set_next(due_ns);
        }
    }

    fn set_next(&self, next_ns: u64) {
        self.next_ns.set(next_ns);
        self.next_ticks.set(match next_ns {
            u64::MAX => Ticks::MAX,
            next_ns => recent::ticks_at(next_ns),
        });
    }

    /// Whether a timer may be due, which [`fire`](Self::fire) would tell.
    pub(crate) fn are_due(&self) -> bool {
        let next = self.next_ns.get();
        next != u64::MAX && recent::now_ns() >= next
    }

    /// The same by a reading of the cycle counter: cheap, and about right.
    #[inline]
    pub(crate) fn seem_due(&self, now: Ticks) -> bool {
        now >= self.next_ticks.get()
    }

    /// How long until a timer may be due; `None` without timers.
    pub(super) fn next_in(&self) -> Option<Duration> {
        match self.next_ns.get() {
            u64::MAX => None,
            next => Some(Duration::from_nanos(next.saturating_sub(recent::now_ns()))),
        }
    }

    /// Wakes everyone whose time has come; returns how many.
    pub(super) fn fire(&self) -> usize {
        let next = self.next_ns.get();
        if next == u64::MAX {
            return 0;
        }
        let now_ns = recent::now_ns();
        if now_ns < next {
            // The counter's idea of it gets better the closer it is.
            self.set_next(next);
            return 0;
        }
        // Who is woken may arm timers that are due at once: they have to wait for the next turn.
        let most = self.wheel.borrow().len();
        let mut fired = 0;
        while fired < most {
            let popped = self.wheel.borrow_mut().pop_due(tick_of_now(now_ns));
            let Some((_, waker)) = popped else {
                break;
            };
            fired += 1;
            // Outside the borrow: it may run code of others.
            waker.wake();
        }
        let next_tick = self.wheel.borrow().next_tick();
        self.set_next(next_tick.map_or(u64::MAX, |tick| tick.saturating_mul(TICK_NS)));
        fired
    }

    /// Disarms all timers.
    pub(super) fn clear(&self) {
        let wakers = self.wheel.borrow_mut().drain();
        self.set_next(u64::MAX);
        drop(wakers);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    #[test]
    fn a_deadline_is_rounded_up_to_its_tick_and_now_is_rounded_down() {
        for (deadline, tick) in [(0, 0), (1, 1), (TICK_NS, 1), (TICK_NS + 1, 2)] {
            assert_eq!(tick_of_deadline(deadline), tick);
        }
        for (now, tick) in [(0, 0), (TICK_NS - 1, 0), (TICK_NS, 1)] {
            assert_eq!(tick_of_now(now), tick);
        }
        assert!(tick_of_deadline(u64::MAX) > tick_of_now(u64::MAX));
    }

    #[test]
    fn nothing_fires_before_its_time_and_everything_at_it() {
        let timers = Timers::new();
        let (count, waker) = counting();
        let start = recent::now_ns();
        timers.arm(start + 3_000_000, &waker);
        timers.arm(start + 3_600_000_000_000, &waker);
        while count.0.load(Ordering::Relaxed) == 0 {
            let before = recent::now_ns();
            let late = before >= start + 3_000_000 + TICK_NS;
            timers.fire();
            let fired = count.0.load(Ordering::Relaxed) == 1;
            assert!(fired || !late);
            assert!(!fired || recent::now_ns() >= start + 3_000_000);
            std::thread::sleep(timers.next_in().unwrap().min(Duration::from_millis(1)));
        }
        assert_eq!(timers.fire(), 0);
        assert!(timers.next_in().unwrap() > Duration::from_secs(3500));
    }

    #[test]
    fn the_next_time_is_that_of_the_earliest_timer_and_never_later() {
        let timers = Timers::new();
        let (_, waker) = counting();
        assert_eq!(timers.next_in(), None);
        assert!(!timers.are_due() && !timers.seem_due(Ticks::MAX - 1));
        let now = recent::now_ns();
        let hour = 3_600_000_000_000;
        timers.arm(u64::MAX, &waker);
        assert_eq!(timers.next_in(), None, "never is never");
        timers.arm(now + hour, &waker);
        let far = timers.next_in().unwrap();
        assert!((Duration::from_secs(3590)..Duration::from_secs(3601)).contains(&far));
        let near = timers.arm(now + 1_000_000_000, &waker);
        assert!(timers.next_in().unwrap() <= Duration::from_secs(1) + Duration::from_millis(1));
        assert!(timers.rearm(near, 0));
        assert!(timers.are_due());
        assert!(timers.seem_due(crate::sys::clock::Clock::get().now() + 10_000_000));
        assert_eq!(timers.fire(), 1);
        assert!(timers.next_in().unwrap() > Duration::from_secs(3500));
    }

    #[test]
    fn a_waker_is_replaced_only_by_another_one_and_survives_a_move() {
        let timers = Timers::new();
        let ((first, one), (second, two)) = (counting(), counting());
        let key = timers.arm(recent::now_ns() + 3_600_000_000_000, &one);
        let references = Arc::strong_count(&first);
        timers.set_waker(key, &one);
        assert_eq!(Arc::strong_count(&first), references);
        timers.set_waker(key, &two);
        assert_eq!(Arc::strong_count(&first), references - 1);
        assert!(timers.rearm(key, 0));
        assert_eq!(timers.fire(), 1);
        assert!(!timers.rearm(key, 0) && !timers.set_waker(key, &one));
        let counts = [&first, &second].map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 1]);
        assert_eq!(Arc::strong_count(&second), 2, "ours and the test's waker");
    }

    /// Arms another timer that is due when it is woken.
    struct Rearm(std::sync::Mutex<usize>);

    impl Wake for Rearm {
        fn wake(self: Arc<Self>) {
            *self.0.lock().unwrap() += 1;
            CURRENT.with(|timers| timers.arm(0, &self.into()));
        }
    }

    thread_local! {
        static CURRENT: Timers = Timers::new();
    }

    #[test]
    fn a_waker_that_arms_a_due_timer_does_not_hold_the_turn_up() {
        let rearm = Arc::new(Rearm(std::sync::Mutex::new(0)));
        CURRENT.with(|timers| {
            timers.arm(0, &rearm.clone().into());
            assert_eq!(timers.fire(), 1);
            assert!(timers.are_due(), "the next turn sees to it");
            assert_eq!(timers.fire(), 1);
            assert_eq!(*rearm.0.lock().unwrap(), 2);
            timers.clear();
            assert_eq!((timers.fire(), timers.next_in()), (0, None));
        });
        assert_eq!(Arc::strong_count(&rearm), 1);
    }
}
