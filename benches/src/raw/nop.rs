//! NOP round trips.

use std::io;

use io_uring::opcode;

use crate::raw::Ring;
use crate::{Sample, Stopwatch};

/// Sends `n` NOPs through a ring, each after the answer to the one before.
///
/// # Errors
///
/// If the ring cannot be set up or entered.
pub fn nops(n: u64) -> io::Result<Sample> {
    let mut ring = Ring::new(8)?;
    let watch = Stopwatch::start();
    for i in 0..n {
        // SAFETY: a NOP points to no memory.
        unsafe { ring.push(&opcode::Nop::new().build().user_data(i))? };
        ring.enter(1)?;
        let answer = ring
            .take()
            .expect("the ring was entered to wait for one completion");
        assert_eq!(answer.user_data(), i);
    }
    let sample = watch.stop(n);
    assert_eq!(ring.enters(), n);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    #[test]
    fn one_enter_per_nop() {
        assert_eq!(super::nops(100).unwrap().ops, 100);
    }
}
