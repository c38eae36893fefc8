//! Children.

use io_uring::{opcode, squeue};

use super::{Class, Operation};

/// Waits until a child has ended (IORING_OP_WAITID, 6.7). Its status stays to be taken.
pub(crate) struct WaitForExit {
    pub(crate) pid: u32,
}

// SAFETY: there is no `siginfo_t` to be filled, so it points to nothing.
unsafe impl Operation for WaitForExit {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let options = libc::WEXITED | libc::WNOWAIT;
        opcode::WaitId::new(libc::P_PID, self.pid, options).build()
    }
}
