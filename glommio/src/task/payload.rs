//! What a panic leaves behind.

use core::{any::Any, mem};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What an unwound stack leaves behind.
pub(crate) type Payload = Box<dyn Any + Send + 'static>;

/// Drops a payload that nobody wants. Payloads are values of any type, so their destructors may
/// panic in turn; what such a one panicked with is dropped if it is a text, as nearly all are, and
/// given up otherwise.
#[cold]
pub(crate) fn discard(payload: Payload) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        if second.is::<&'static str>() || second.is::<String>() {
            return;
        }
        mem::forget(second);
    }
}
