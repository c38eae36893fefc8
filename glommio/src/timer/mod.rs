//! Timers: waiting, doing something later or again and again, giving up after a while.
//!
//! A timer is an entry of the executor's timer wheel, with no kernel object of its own: arming and
//! dropping one costs a few dozen nanoseconds, and a million of them can be pending. It never fires
//! early. On an idle executor it fires within half a millisecond; on a busy one, when the executor
//! next looks, see [Latency](crate::Latency).
//!
//! - [`sleep`](sleep()), [`sleep_until`], [`Timer`]: waiting for a time
//! - [`timeout`](timeout()): giving up on a future after a time
//! - [`interval`](interval()), [`Interval`]: waiting for one time after the other
//! - [`TimerActionOnce`], [`TimerActionRepeat`]: doing something later, in a task of its own
//! - [`timing_wheel`], [`staged_wheel`]: the structure behind it, for event loops of one's own

mod action;
mod interval;
mod sleep;
pub mod staged_wheel;
mod timeout;
pub mod timer_id;
pub mod timing_wheel;

pub use action::{TimerActionOnce, TimerActionRepeat};
pub use interval::{Interval, MissedTickBehavior, Tick, interval, interval_at};
pub use sleep::{Timer, sleep, sleep_until};
pub use timeout::{timeout, try_timeout};

pub(crate) use timeout::within;
