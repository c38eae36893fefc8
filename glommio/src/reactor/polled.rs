//! Direct I/O whose completions are polled for: the second ring of an executor.
//!
//! The ring exists once a file on a device with poll queues was opened. While nothing is in flight on
//! it, it costs one look per turn, and the executor sleeps as ever. While something is, nobody tells
//! the executor of its completion, so it does not simply sleep:
//!
//! - With tasks to run, the device is asked in every turn of the reactor.
//! - With none, it is asked all the time, as long as it answers soon. A device that has not answered
//!   for [`SPIN_NS`] is slow, or the operation waits for a thread of the kernel, which may need this
//!   very CPU: from then on the executor naps between two questions, in its main ring, where other
//!   news end the nap. Naps grow from [`SHORTEST_NAP`] to [`LONGEST_NAP`] until the device answers.
//! - It naps every [`AWAKE_NS`] in any case: with a real-time priority, an executor that is awake
//!   without end would starve the threads of the kernel that share its CPU.

use std::{
    cell::{Cell, OnceCell, RefCell},
    rc::Rc,
    time::Duration,
};

use super::config::ReactorConfig;
use crate::sys::{
    clock::{Clock, Ticks},
    features::{Features, Rung},
    ledger::Origin,
    ring::Ring,
    storage::BlockDevice,
};

/// How long a device may be silent while it is asked without a pause.
const SPIN_NS: u64 = 200_000;
/// How long an executor may go without any sleep if it has nothing to do but to poll.
const AWAKE_NS: u64 = 10_000_000;
/// How old the last question may be when a task whose latency matters may wait for the answer.
const LOOK_NS: u64 = 50_000;
/// The largest transfer that is polled for. A device takes its time for larger ones, an interrupt
/// more or less is nothing to them, and Linux 6.1 never ends some of those that it has to split.
const LARGEST_BYTES: u32 = 128 << 10;
const SHORTEST_NAP: Duration = Duration::from_micros(50);
const LONGEST_NAP: Duration = Duration::from_millis(1);

/// The second ring, and how it is looked after.
pub(super) struct PolledIo {
    /// `Some(None)`: it was refused.
    ring: OnceCell<Option<Rc<Ring>>>,
    /// The largest transfer that can be polled for, in bytes, by the number of the device; zero where
    /// there are no poll queues. A handful of devices at most.
    devices: RefCell<Vec<((u32, u32), u32)>>,
    depth: usize,
    record_io_latencies: bool,
    clock: Clock,
    pace: Pace,
    asked: Cell<Ticks>,
    look: Ticks,
}

impl PolledIo {
    pub(super) fn new(config: &ReactorConfig) -> PolledIo {
        let clock = Clock::get();
        PolledIo {
            ring: OnceCell::new(),
            devices: RefCell::default(),
            depth: config.ring_depth,
            record_io_latencies: config.record_io_latencies,
            pace: Pace::new(clock),
            asked: Cell::new(0),
            look: clock.ticks(Duration::from_nanos(LOOK_NS)),
            clock,
        }
    }

    /// Direct I/O of up to so many bytes on files of the device goes to the second ring; zero: none
    /// does. Makes the ring when it is the first device with poll queues.
    pub(super) fn largest_transfer(&self, number: (u32, u32), features: &Features) -> u32 {
        if !features.has(Rung::IoPoll) {
            return 0;
        }
        let largest = self.look_up(number, |(major, minor)| {
            BlockDevice::of_number(major, minor).map_or(0, |device| polled_bytes(&device))
        });
        if largest == 0 || self.make_ring(features).is_none() {
            return 0;
        }
        largest
    }

    fn look_up(&self, number: (u32, u32), ask: impl FnOnce((u32, u32)) -> u32) -> u32 {
        let devices = self.devices.borrow();
        let known = devices.iter().find(|device| device.0 == number).copied();
        drop(devices);
        if let Some((_, largest)) = known {
            return largest;
        }
        let largest = ask(number);
        self.devices.borrow_mut().push((number, largest));
        largest
    }

    fn make_ring(&self, features: &Features) -> Option<&Rc<Ring>> {
        let make = || match Ring::new_polled(self.depth, *features) {
            Ok(ring) => {
                if self.record_io_latencies {
                    ring.record_latencies();
                }
                Some(ring)
            }
            Err(error) => {
                tracing::debug!(
                    target: "glommio::reactor",
                    %error,
                    "no ring to poll devices with: their interrupts do as well"
                );
                None
            }
        };
        self.ring.get_or_init(make).as_ref()
    }

    #[cfg(test)]
    pub(super) fn assume_poll_queues(&self, number: (u32, u32)) {
        // Found first, whatever was looked up before.
        self.devices.borrow_mut().insert(0, (number, LARGEST_BYTES));
    }

    #[cfg(test)]
    pub(super) fn refuse(&self) {
        assert!(self.ring.set(None).is_ok(), "there is a ring already");
    }

    /// The ring, if there is one.
    #[inline]
    pub(super) fn ring(&self) -> Option<&Rc<Ring>> {
        self.ring.get()?.as_ref()
    }

    /// The ring, if something is in flight on it.
    #[inline]
    pub(super) fn busy(&self) -> Option<&Rc<Ring>> {
        self.ring().filter(|ring| ring.is_busy())
    }

    /// The ring, if there is one, to submit an operation of `origin` to.
    pub(super) fn ring_for(&self, origin: Origin) -> Option<&Rc<Ring>> {
        let ring = self.ring()?;
        ring.set_origin(origin);
        if !ring.is_busy() {
            let now = self.clock.now();
            self.pace.answered(now);
            self.asked.set(now);
        }
        Some(ring)
    }

    /// Whether something is in flight and was not asked for recently.
    #[inline]
    pub(super) fn is_due(&self, now: Ticks) -> bool {
        self.busy().is_some() && now.wrapping_sub(self.asked.get()) >= self.look
    }

    /// The device was asked; `answers` are the completions that were there.
    pub(super) fn asked(&self, answers: usize) {
        let now = self.clock.now();
        self.asked.set(now);
        if answers > 0 {
            self.pace.answered(now);
        }
    }

    /// What to do now that there is nothing else to do.
    pub(super) fn next_step(&self) -> Step {
        self.pace.next(self.clock.now())
    }

    /// The executor slept.
    #[inline]
    pub(super) fn slept(&self) {
        if self.ring().is_some() {
            self.pace.slept(self.clock.now());
        }
    }
}

/// The largest transfer on a device that can be polled for; zero without poll queues.
fn polled_bytes(device: &BlockDevice) -> u32 {
    if !device.io_poll {
        return 0;
    }
    let one_piece = device.max_transfer.unwrap_or(usize::MAX);
    u32::try_from(one_piece).map_or(LARGEST_BYTES, |bytes| bytes.min(LARGEST_BYTES))
}

/// What an idle executor does while polled I/O is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask again at once.
    Ask,
    /// Sleep for so long at most, then ask again.
    Nap(Duration),
}

/// When to ask and when to nap.
struct Pace {
    spin: Ticks,
    awake: Ticks,
    /// The last answer, or the first operation after a time without any.
    answered: Cell<Ticks>,
    slept: Cell<Ticks>,
    nap: Cell<Duration>,
}

impl Pace {
    fn new(clock: Clock) -> Pace {
        Pace {
            spin: clock.ticks(Duration::from_nanos(SPIN_NS)),
            awake: clock.ticks(Duration::from_nanos(AWAKE_NS)),
            answered: Cell::new(0),
            slept: Cell::new(clock.now()),
            nap: Cell::new(SHORTEST_NAP),
        }
    }

    fn answered(&self, now: Ticks) {
        self.answered.set(now);
        self.nap.set(SHORTEST_NAP);
    }

    fn slept(&self, now: Ticks) {
        self.slept.set(now);
    }

    fn next(&self, now: Ticks) -> Step {
        if now.wrapping_sub(self.answered.get()) >= self.spin {
            let nap = self.nap.get();
            self.nap.set((nap * 2).min(LONGEST_NAP));
            return Step::Nap(nap);
        }
        if now.wrapping_sub(self.slept.get()) >= self.awake {
            return Step::Nap(SHORTEST_NAP);
        }
        Step::Ask
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::features::features;

    const CONFIG: ReactorConfig = ReactorConfig {
        ring_depth: 8,
        io_memory_bytes: 1 << 20,
        spin_before_park: Duration::ZERO,
        record_io_latencies: false,
    };

    #[test]
    fn a_silent_device_is_asked_at_growing_intervals_and_a_prompt_one_at_once() {
        let clock = Clock::get();
        let after = |start: Ticks, ns| start + clock.ticks(Duration::from_nanos(ns));
        let pace = Pace::new(clock);
        let start = pace.slept.get();
        pace.answered(start);
        assert_eq!(pace.next(after(start, SPIN_NS / 2)), Step::Ask);
        let mut naps = Vec::new();
        for _ in 0..8 {
            match pace.next(after(start, SPIN_NS + 1_000)) {
                Step::Nap(nap) => naps.push(nap.as_micros()),
                Step::Ask => panic!("spins on a silent device: {naps:?}"),
            }
        }
        assert_eq!(naps, [50, 100, 200, 400, 800, 1000, 1000, 1000]);
        let answer = after(start, 2 * SPIN_NS);
        pace.answered(answer);
        assert_eq!(pace.next(answer), Step::Ask);
        assert_eq!(
            pace.next(after(answer, SPIN_NS + 1_000)),
            Step::Nap(SHORTEST_NAP)
        );
    }

    #[test]
    fn an_executor_that_only_polls_sleeps_now_and_then_however_prompt_the_device() {
        let clock = Clock::get();
        let pace = Pace::new(clock);
        let tick = clock.ticks(Duration::from_nanos(SPIN_NS / 2));
        let mut now = pace.slept.get();
        let mut naps = 0;
        for _ in 0..1_000 {
            now += tick;
            pace.answered(now);
            match pace.next(now) {
                Step::Ask => {}
                Step::Nap(nap) => {
                    assert_eq!(nap, SHORTEST_NAP);
                    pace.slept(now);
                    naps += 1;
                }
            }
        }
        // 100 ms of polling.
        assert!((9..=10).contains(&naps), "{naps} naps");
    }

    #[test]
    fn a_device_is_looked_up_once() {
        let polled = PolledIo::new(&CONFIG);
        let asked = Cell::new(0);
        for round in 0..3 {
            for (number, largest) in [((259, 0), 4096), ((8, 1), 0)] {
                let answer = polled.look_up(number, |_| {
                    asked.set(asked.get() + 1);
                    largest
                });
                assert_eq!(answer, largest, "round {round}");
            }
        }
        assert_eq!(asked.get(), 2);
    }

    #[test]
    fn a_device_without_poll_queues_and_a_switched_off_rung_make_no_ring() {
        let features = features().unwrap();
        let polled = PolledIo::new(&CONFIG);
        // Device numbers with a major of 0 are no devices.
        assert_eq!(polled.largest_transfer((0, 1), &features), 0);
        assert!(polled.ring().is_none() && polled.busy().is_none());
        polled.assume_poll_queues((259, 0));
        let without = features.without(Rung::IoPoll);
        assert_eq!(polled.largest_transfer((259, 0), &without), 0);
        assert!(polled.ring().is_none());
        assert!(!polled.is_due(Ticks::MAX));
    }

    #[test]
    fn the_first_device_with_poll_queues_makes_the_ring_and_the_second_uses_it() {
        let features = features().unwrap();
        if !features.has(Rung::IoPoll) {
            return;
        }
        let polled = PolledIo::new(&CONFIG);
        let numbers = [(259, 0), (259, 1)];
        for number in numbers {
            polled.assume_poll_queues(number);
        }
        assert_eq!(
            polled.largest_transfer(numbers[0], &features),
            LARGEST_BYTES
        );
        let ring = polled.ring().cloned().unwrap();
        assert_eq!(
            polled.largest_transfer(numbers[1], &features),
            LARGEST_BYTES
        );
        assert!(Rc::ptr_eq(&ring, polled.ring().unwrap()));
        assert!(polled.busy().is_none(), "nothing is in flight");
    }

    #[test]
    fn a_refused_ring_is_asked_for_once() {
        let features = features().unwrap();
        let polled = PolledIo::new(&CONFIG);
        polled.refuse();
        polled.assume_poll_queues((259, 0));
        for _ in 0..2 {
            assert_eq!(polled.largest_transfer((259, 0), &features), 0);
        }
        assert!(polled.ring().is_none() && polled.ring_for(Origin::default()).is_none());
    }
}
