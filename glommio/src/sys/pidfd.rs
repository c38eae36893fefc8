//! Descriptors of processes (pidfd_open(2), Linux 5.3): readable once the process has ended.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

/// A pidfd of a process that is not reaped meanwhile.
pub(super) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open(2) takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_for_a_process_and_none_for_nobody() {
        match pidfd(std::process::id()) {
            Ok(_) => {}
            // Filtered, as under some emulators.
            Err(error) => {
                let code = error.raw_os_error();
                assert!(matches!(code, Some(libc::ENOSYS | libc::EPERM)), "{error}");
                return;
            }
        }
        // No kernel counts that far.
        let error = pidfd(i32::MAX as u32).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ESRCH));
    }
}
