//! The hierarchical timer wheel: pending timers ordered by tick, without a clock of its own.
//!
//! - [`hierarchy`]: the [`Wheel`]
//! - [`entries`]: where its timers live, and the keys that name them
//!
//! A *tick* is whatever its user counts. A timer fires once the wheel is advanced to its tick,
//! never before. The reactor's ticks are a quarter of a millisecond, those of
//! [`timer::timing_wheel`](crate::timer::timing_wheel) a nanosecond.
//!
//! # Structure
//!
//! Level `l` has 64 slots of `64^l` ticks each; one `u64` per level says which slots are occupied.
//! A timer's place follows from its own tick and the wheel's current one: cut both into digits of
//! six bits; the most significant digit in which they differ is the level, and the timer's digit
//! there is the slot. Three facts follow, and everything below rests on them:
//!
//! 1. An occupied slot lies ahead of the current tick's digit on its level (on level zero it may also
//!    be that digit, while its timers are handed out), so slots never wrap around and the lowest set
//!    bit of a level is that level's earliest slot.
//! 2. Every timer on a level is earlier than every timer on the levels above it, so the lowest
//!    occupied level holds the next one.
//! 3. Timers of equal tick share a slot at all times. Lists are first in, first out, hence so are
//!    timers of equal tick.
//!
//! When time enters a slot of a level above zero, the slot's timers are placed anew (they
//! *cascade* into lower levels, each timer at most once per level in its life). When it enters a
//! slot of level zero, which is one tick wide, they fire. A jump of days looks only at occupied
//! slots. There are levels for every `u64`, so no tick is too far.
//!
//! Timers live in a slab and are chained by index in circular lists: arming, moving and cancelling
//! are O(1), and none of them allocates once the slab has grown to the largest number pending at
//! once, and the lists to the highest level in use.

mod entries;
mod hierarchy;
#[cfg(test)]
mod tests;

pub(crate) use entries::TimerKey;
pub(crate) use hierarchy::Wheel;
