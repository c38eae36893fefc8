//! Making and dropping the thing that drives everything.

use std::hint::black_box;
use std::io;

use crate::raw::Ring;
use crate::{Sample, Stopwatch};

/// Sets up a ring of 256 entries and drops it, `n` times.
///
/// # Errors
///
/// If a ring cannot be set up.
pub fn make_and_drop(n: u64) -> io::Result<Sample> {
    let watch = Stopwatch::start();
    for _ in 0..n {
        drop(black_box(Ring::new(256)?));
    }
    Ok(watch.stop(n))
}
