//! A timer wheel that is small while it has little to do.

use std::{collections::HashMap, fmt, task::Waker, time::Instant};

use super::timing_wheel::Time;
use crate::reactor::{TimerKey, Wheel};

/// The most timers that are kept in a plain list.
const MAX_INLINE: usize = 16;

/// Wakers by deadline, to the nanosecond: in a short list as long as they are few, in a wheel from
/// then on.
///
/// It behaves as a [`TimingWheel`](super::timing_wheel::TimingWheel), with two differences. Up to 16
/// timers take a list of that length and no more. And its numbers are never used again. Inserting
/// and removing take constant time (amortised, in the wheel).
///
/// # Examples
///
/// ```
/// use std::{task::Waker, time::{Duration, Instant}};
/// use glommio::timer::staged_wheel::StagedWheel;
///
/// let start = Instant::now();
/// let mut wheel = StagedWheel::new_at(start);
/// assert_eq!(wheel.storage_mode(), "inline");
/// for i in 1..=100 {
///     wheel.insert(start + i * Duration::from_secs(1), Waker::noop().clone());
/// }
/// assert_eq!(wheel.storage_mode(), "wheel");
///
/// wheel.advance_to(start + Duration::from_secs(30));
/// assert_eq!(wheel.drain_expired().count(), 30);
/// assert_eq!(wheel.len(), 70);
/// ```
pub struct StagedWheel {
    time: Time,
    next_id: u64,
    stage: Stage,
}

enum Stage {
    /// In the order in which they were inserted.
    Inline(Vec<Pending>),
    Wheel(Box<Indexed>),
}

struct Pending {
    id: u64,
    deadline_ns: u64,
    waker: Waker,
}

/// A wheel, and where in it each timer is.
struct Indexed {
    wheel: Wheel<(u64, Waker)>,
    keys: HashMap<u64, TimerKey, ahash::RandomState>,
}

impl Indexed {
    fn insert(&mut self, timer: Pending) {
        let Pending {
            id,
            deadline_ns,
            waker,
        } = timer;
        let key = self.wheel.arm(deadline_ns, (id, waker));
        self.keys.insert(id, key);
    }

    fn remove(&mut self, id: u64) -> bool {
        let key = self.keys.remove(&id);
        key.and_then(|key| self.wheel.cancel(key)).is_some()
    }

    fn pop_due(&mut self, now_ns: u64) -> Option<(u64, Waker)> {
        let (_, (id, waker)) = self.wheel.pop_due(now_ns)?;
        self.keys.remove(&id);
        Some((id, waker))
    }
}

/// The earliest timer of a list that is due; the first one inserted, of those with one deadline.
fn pop_due(timers: &mut Vec<Pending>, now_ns: u64) -> Option<(u64, Waker)> {
    let due = timers.iter().enumerate();
    let due = due.filter(|(_, timer)| timer.deadline_ns <= now_ns);
    let (place, _) = due.min_by_key(|(_, timer)| timer.deadline_ns)?;
    let Pending { id, waker, .. } = timers.remove(place);
    Some((id, waker))
}

impl StagedWheel {
    /// An empty wheel at the current time.
    pub fn new() -> Self {
        Self::new_at(Instant::now())
    }

    /// An empty wheel at the given time.
    pub fn new_at(start: Instant) -> Self {
        StagedWheel {
            time: Time::starting_at(start),
            next_id: 0,
            stage: Stage::Inline(Vec::new()),
        }
    }

    /// Adds a timer, and gives its number.
    ///
    /// One whose deadline has come, by [`current_time`](Self::current_time), is due at once.
    ///
    /// # Panics
    ///
    /// If 2^32 - 1 timers are there already.
    pub fn insert(&mut self, deadline: Instant, waker: Waker) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let timer = Pending {
            id,
            deadline_ns: self.time.deadline_ns(deadline),
            waker,
        };
        match &mut self.stage {
            Stage::Inline(timers) if timers.len() < MAX_INLINE => timers.push(timer),
            Stage::Inline(timers) => {
                let mut indexed = Indexed {
                    wheel: Wheel::new(0),
                    keys: HashMap::default(),
                };
                for earlier in timers.drain(..) {
                    indexed.insert(earlier);
                }
                indexed.insert(timer);
                self.stage = Stage::Wheel(Box::new(indexed));
            }
            Stage::Wheel(indexed) => indexed.insert(timer),
        }
        id
    }

    /// Removes a timer; `false` if it was removed or handed out before.
    pub fn remove(&mut self, id: u64) -> bool {
        match &mut self.stage {
            Stage::Inline(timers) => {
                let place = timers.iter().position(|timer| timer.id == id);
                place.map(|place| timers.remove(place)).is_some()
            }
            Stage::Wheel(indexed) => indexed.remove(id),
        }
    }

    /// Tells the time. A time before the current one is ignored.
    pub fn advance_to(&mut self, now: Instant) {
        self.time.advance_to(now);
    }

    /// The latest time that the wheel was told.
    pub fn current_time(&self) -> Instant {
        self.time.current()
    }

    /// Takes out the timers that are due: those first that were due when they were inserted, then the
    /// others by deadline; those that are equal in this in the order in which they were inserted.
    ///
    /// Timers that the iterator is not asked for stay.
    pub fn drain_expired(&mut self) -> DrainExpired<'_> {
        let now_ns = self.time.now_ns;
        match &mut self.stage {
            Stage::Inline(timers) => {
                let due = std::iter::from_fn(move || pop_due(timers, now_ns));
                DrainExpired::Inline(Box::new(due))
            }
            Stage::Wheel(indexed) => {
                let due = std::iter::from_fn(move || indexed.pop_due(now_ns));
                DrainExpired::Wheel(Box::new(due))
            }
        }
    }

    /// The number of timers, with those that are due and were not taken out.
    pub fn len(&self) -> usize {
        match &self.stage {
            Stage::Inline(timers) => timers.len(),
            Stage::Wheel(indexed) => indexed.wheel.len(),
        }
    }

    /// Whether there are no timers.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `"inline"` while the timers are in a list, `"wheel"` from the 17th on.
    pub fn storage_mode(&self) -> &'static str {
        match &self.stage {
            Stage::Inline(_) => "inline",
            Stage::Wheel(_) => "wheel",
        }
    }
}

/// At the current time.
impl Default for StagedWheel {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for StagedWheel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedWheel")
            .field("current_time", &self.current_time())
            .field("len", &self.len())
            .field("storage_mode", &self.storage_mode())
            .finish()
    }
}

/// The timers that are due, with their numbers; made by [`StagedWheel::drain_expired`].
///
/// # Examples
///
/// ```
/// use std::{task::Waker, time::Instant};
/// use glommio::timer::staged_wheel::{DrainExpired, StagedWheel};
///
/// let mut wheel = StagedWheel::new();
/// let id = wheel.insert(wheel.current_time(), Waker::noop().clone());
/// let mut expired: DrainExpired<'_> = wheel.drain_expired();
/// assert_eq!(expired.next().map(|(id, _)| id), Some(id));
/// ```
pub enum DrainExpired<'a> {
    /// From the list of few.
    Inline(Box<dyn Iterator<Item = (u64, Waker)> + 'a>),
    /// From the wheel.
    Wheel(Box<dyn Iterator<Item = (u64, Waker)> + 'a>),
}

impl Iterator for DrainExpired<'_> {
    type Item = (u64, Waker);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            DrainExpired::Inline(timers) | DrainExpired::Wheel(timers) => timers.next(),
        }
    }
}

impl fmt::Debug for DrainExpired<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DrainExpired::Inline(_) => "DrainExpired::Inline(..)",
            DrainExpired::Wheel(_) => "DrainExpired::Wheel(..)",
        })
    }
}
