//! The atomics that the lock-free files of this layer use.
//!
//! [`inbox`](super::inbox) and [`shared`](super::shared) name atomics through this module only, so
//! that a model checker can compile the very same files against its own atomics.

pub(super) use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
