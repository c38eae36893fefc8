//! The right to handle a signal in a process of which we are only a guest.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::{Mutex, PoisonError};

/// A signal handler as the kernel calls it.
pub(super) type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// A share in a signal that nobody else uses; all shares of one signal have the same handler. The
/// last one to go puts back what was there before.
#[derive(Debug)]
pub(super) struct SignalClaim {
    signal: c_int,
}

struct Claimed {
    signal: c_int,
    handler: Handler,
    shares: usize,
    before: libc::sigaction,
}

static CLAIMED: Mutex<Vec<Claimed>> = Mutex::new(Vec::new());

impl SignalClaim {
    /// Installs `handler` for `signal`, or takes another share where it is installed.
    ///
    /// # Errors
    /// - `InvalidInput`: the number is no signal, or one that cannot or must not be handled.
    /// - `ResourceBusy`: the signal is in use: it has another handler, is ignored, or is blocked in
    ///   this thread as it is for `signalfd` and `sigwait`.
    ///
    /// # Safety
    /// `handler` may run between any two instructions of any thread: it calls nothing that is not
    /// async-signal-safe and does not unwind.
    pub(super) unsafe fn new(signal: c_int, handler: Handler) -> io::Result<SignalClaim> {
        check(signal)?;
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        let before = current_action(signal)?;
        if let Some(ours) = claimed.iter_mut().find(|claim| claim.signal == signal) {
            if before.sa_sigaction != address(handler) {
                return Err(busy(signal, "has got another handler in this process"));
            }
            ours.shares += 1;
            return Ok(SignalClaim { signal });
        }
        match before.sa_sigaction {
            libc::SIG_DFL => {}
            libc::SIG_IGN => return Err(busy(signal, "is ignored by this process")),
            _ => return Err(busy(signal, "already has a handler in this process")),
        }
        // SAFETY: all-zero bytes are a valid `sigaction`, with an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = address(handler);
        // On the thread's own stack: alternate ones may be as small as 8 KiB.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
        // SAFETY: the structure is live, its handler has the signature that SA_SIGINFO asks for,
        // and the caller promises that it may run anywhere.
        if unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        claimed.push(Claimed {
            signal,
            handler,
            shares: 1,
            before,
        });
        Ok(SignalClaim { signal })
    }

    /// Takes a timer's signal that this thread has blocked since out of its queue. To be called
    /// when the timer is deleted: delivered after the handler is gone, it would end the process.
    pub(super) fn discard_pending_timer_signal(&self) {
        if !is_blocked(self.signal) {
            // It was delivered when the call that deleted the timer returned.
            return;
        }
        let set = set_of(self.signal);
        let now = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut info = MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: all pointers are to live memory of the right types.
        let taken = unsafe { libc::sigtimedwait(&set, info.as_mut_ptr(), &now) };
        // SAFETY: `info` was written if a signal was taken.
        if taken == self.signal && unsafe { info.assume_init_ref() }.si_code != libc::SI_TIMER {
            // Not a timer's. It is blocked, so it waits again.
            // SAFETY: no preconditions.
            unsafe { libc::kill(libc::getpid(), self.signal) };
        }
    }
}

impl Drop for SignalClaim {
    fn drop(&mut self) {
        let mut claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(at) = claimed.iter().position(|claim| claim.signal == self.signal) else {
            return;
        };
        claimed[at].shares -= 1;
        if claimed[at].shares > 0 {
            return;
        }
        let claim = claimed.swap_remove(at);
        // A handler that somebody has installed over ours stays.
        let now = current_action(claim.signal);
        if now.is_ok_and(|action| action.sa_sigaction == address(claim.handler)) {
            // SAFETY: `before` is what the kernel told us was there.
            unsafe { libc::sigaction(claim.signal, &claim.before, ptr::null_mut()) };
        }
    }
}

/// Refuses numbers that are no signals, signals whose handling would hide crashes, and signals that
/// would not arrive.
fn check(signal: c_int) -> io::Result<()> {
    let invalid = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let max = libc::SIGRTMAX();
    if !(1..=max).contains(&signal) {
        return invalid(format!(
            "signal {signal} is out of range: signals are 1 to {max}"
        ));
    }
    let reserved = [
        libc::SIGKILL,
        libc::SIGSTOP,
        libc::SIGSEGV,
        libc::SIGBUS,
        libc::SIGFPE,
        libc::SIGILL,
        libc::SIGTRAP,
        libc::SIGABRT,
        libc::SIGSYS,
    ];
    if reserved.contains(&signal) {
        return invalid(format!(
            "signal {signal} is reserved by the system; choose another one"
        ));
    }
    if is_blocked(signal) {
        return Err(busy(signal, "is blocked in this thread"));
    }
    Ok(())
}

/// Whether somebody has a share in `signal`.
pub(super) fn is_claimed(signal: c_int) -> bool {
    let claimed = CLAIMED.lock().unwrap_or_else(PoisonError::into_inner);
    claimed.iter().any(|claim| claim.signal == signal)
}

fn busy(signal: c_int, reason: &str) -> io::Error {
    let text = format!("signal {signal} {reason}; choose another one");
    io::Error::new(io::ErrorKind::ResourceBusy, text)
}

fn address(handler: Handler) -> usize {
    handler as *const () as usize
}

pub(super) fn current_action(signal: c_int) -> io::Result<libc::sigaction> {
    let mut action = MaybeUninit::uninit();
    // SAFETY: with no new action, the call only writes the current one to live memory.
    if unsafe { libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) } != 0 {
        // The C library keeps some real-time signals to itself.
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded.
    Ok(unsafe { action.assume_init() })
}

fn set_of(signal: c_int) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set, `sigaddset` changes it.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), signal);
        set.assume_init()
    }
}

fn is_blocked(signal: c_int) -> bool {
    let mut mask = MaybeUninit::uninit();
    // SAFETY: with no new mask, the call only writes the current one, and cannot fail.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
        libc::sigismember(mask.as_ptr(), signal) == 1
    }
}

/// What the tests of signals need. Every test uses a signal of its own: they are the process's.
#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// Blocks `signal` in the calling thread.
    pub(crate) fn block(signal: c_int) {
        let set = set_of(signal);
        // SAFETY: changes the calling thread's mask only.
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
    }

    /// Lets `signal` through to the calling thread.
    pub(crate) fn unblock(signal: c_int) {
        let set = set_of(signal);
        // SAFETY: changes the calling thread's mask only.
        unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
    }

    /// Whether `signal` waits for the calling thread.
    pub(crate) fn is_pending(signal: c_int) -> bool {
        let mut pending = MaybeUninit::uninit();
        // SAFETY: `sigpending` initialises the set.
        unsafe {
            libc::sigpending(pending.as_mut_ptr());
            libc::sigismember(pending.as_ptr(), signal) == 1
        }
    }

    /// The handler of `signal`.
    pub(crate) fn action(signal: c_int) -> usize {
        current_action(signal).unwrap().sa_sigaction
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use testing::{action, block, unblock};

    extern "C" fn ours(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}
    extern "C" fn theirs(_: c_int) {}

    fn claim(signal: c_int) -> io::Result<SignalClaim> {
        // SAFETY: the handler does nothing.
        unsafe { SignalClaim::new(signal, ours) }
    }

    fn install_theirs(signal: c_int) -> usize {
        let handler = theirs as *const () as usize;
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(signal, handler) };
        handler
    }

    fn refusal(signal: c_int) -> (io::ErrorKind, String) {
        let error = claim(signal).expect_err("the signal is refused");
        (error.kind(), error.to_string())
    }

    #[test]
    fn the_last_share_puts_the_signal_back() {
        let signal = 51;
        let first = claim(signal).unwrap();
        let second = claim(signal).unwrap();
        assert_eq!(action(signal), address(ours));
        drop(first);
        assert_eq!(action(signal), address(ours));
        drop(second);
        assert_eq!(action(signal), libc::SIG_DFL);
        drop(claim(signal).unwrap());
        assert_eq!(action(signal), libc::SIG_DFL);
    }

    #[test]
    fn numbers_out_of_range_and_reserved_signals_are_refused() {
        for signal in [-1, 0, 65, 100, 255] {
            let (kind, text) = refusal(signal);
            assert_eq!(kind, io::ErrorKind::InvalidInput);
            assert!(text.contains("out of range"), "{text}");
        }
        for signal in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGABRT] {
            let (kind, text) = refusal(signal);
            assert_eq!(kind, io::ErrorKind::InvalidInput);
            assert!(text.contains("reserved"), "{text}");
        }
        // The C library's own.
        assert_eq!(refusal(32).0, io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_signal_with_a_handler_is_refused_and_left_alone() {
        let signal = 52;
        let handler = install_theirs(signal);
        let (kind, text) = refusal(signal);
        assert_eq!(kind, io::ErrorKind::ResourceBusy);
        assert!(text.contains("already has a handler"), "{text}");
        assert_eq!(action(signal), handler);
    }

    #[test]
    fn an_ignored_signal_is_refused_and_left_alone() {
        // Rust's runtime ignores it.
        let (kind, text) = refusal(libc::SIGPIPE);
        assert_eq!(kind, io::ErrorKind::ResourceBusy);
        assert!(text.contains("is ignored"), "{text}");
        assert_eq!(action(libc::SIGPIPE), libc::SIG_IGN);
    }

    #[test]
    fn a_blocked_signal_is_refused_and_left_alone() {
        let signal = 53;
        block(signal);
        let (kind, text) = refusal(signal);
        assert_eq!(kind, io::ErrorKind::ResourceBusy);
        assert!(text.contains("is blocked"), "{text}");
        assert_eq!(action(signal), libc::SIG_DFL);
        unblock(signal);
        drop(claim(signal).unwrap());
    }

    #[test]
    fn a_handler_installed_over_ours_stays() {
        let signal = 54;
        let share = claim(signal).unwrap();
        let handler = install_theirs(signal);
        assert!(refusal(signal).1.contains("another handler"));
        drop(share);
        assert_eq!(action(signal), handler);
    }

    #[test]
    fn a_pending_signal_of_another_sender_is_not_lost() {
        static HANDLED: AtomicUsize = AtomicUsize::new(0);
        extern "C" fn count(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
            HANDLED.fetch_add(1, Ordering::Relaxed);
        }
        let signal = 55;
        // SAFETY: the handler only counts.
        let share = unsafe { SignalClaim::new(signal, count) }.unwrap();
        block(signal);
        share.discard_pending_timer_signal();
        // SAFETY: the signal has a handler and is blocked in this thread, to which it is sent.
        assert_eq!(unsafe { libc::raise(signal) }, 0);
        assert_eq!(HANDLED.load(Ordering::Relaxed), 0);
        share.discard_pending_timer_signal();
        unblock(signal);
        while HANDLED.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert_eq!(HANDLED.load(Ordering::Relaxed), 1);
    }
}
