//! Signals as something to read instead of something that interrupts.
//!
//! A signal is *held* once it is blocked, so that it waits in the process until somebody reads it
//! from a signalfd. The mask that blocks belongs to a thread, and a signal for the process is
//! delivered to any thread that lets it through. A thread that was started before, or by somebody
//! else, would so end the process by the default action. Therefore a held signal also has a handler,
//! [`pass_on`], which blocks it in the thread that it has run into and sends it again. Each thread
//! is interrupted at most once per signal; when none is left, the signal waits to be read.
//!
//! ```text
//!  kill ──► a thread that blocks it? ── yes, all do ──► pending ──► signalfd
//!                     │ no                                 ▲
//!                     └─► pass_on: blocks it here, ─► kill ┘
//! ```
//!
//! A process that is started inherits the mask of the thread that starts it, which would make it deaf.
//! That thread lets held signals through meanwhile ([`letting_through`]); those that arrive there are
//! sent again afterwards.
//!
//! Holding is for good: nobody can tell when the last one who counts on it is gone.

use std::{
    cell::Cell,
    ffi::{c_int, c_void},
    fmt, io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering, compiler_fence},
    },
};

use super::{fd::Fd, signal_claim};

/// Interrupt from the terminal.
pub(crate) const INTERRUPT: c_int = libc::SIGINT;

/// `POLLIN`: a signal waits to be read.
pub(crate) const READABLE: i16 = libc::POLLIN;

/// The signals that are held. Only ever grows.
static HELD: AtomicU64 = AtomicU64::new(0);

/// Those of them that [`pass_on`] handles.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// Those of them that the program ignored before, and that its children ignore.
static IGNORED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static STARTING: Starting = const {
        Starting {
            in_process: Cell::new(0),
            arrived: [const { Cell::new(0) }; 64],
        }
    };
}

/// What a thread knows while it starts a process. For its handler too, so without a destructor.
struct Starting {
    /// The process that the thread belongs to, or 0.
    in_process: Cell<libc::pid_t>,
    /// How many of each signal have arrived meanwhile.
    arrived: [Cell<u32>; 64],
}

/// Held while handlers are changed.
static CHANGING: Mutex<()> = Mutex::new(());

/// Signals, each of which can be waited for. Bit `n - 1` is signal `n`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalSet(u64);

impl SignalSet {
    /// # Errors
    ///
    /// `InvalidInput`, if a number is no signal, or one that cannot be held.
    pub(crate) fn new(signals: &[c_int]) -> io::Result<SignalSet> {
        let mut set = 0;
        for &signal in signals {
            check(signal)?;
            set |= bit(signal);
        }
        Ok(SignalSet(set))
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn signals(self) -> impl Iterator<Item = c_int> {
        (1..=64).filter(move |&signal| self.0 & bit(signal) != 0)
    }

    fn to_sigset(self) -> libc::sigset_t {
        let mut set = MaybeUninit::uninit();
        // SAFETY: `sigemptyset` initialises the set; the numbers were checked to be signals.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in self.signals() {
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            set.assume_init()
        }
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.signals()).finish()
    }
}

fn bit(signal: c_int) -> u64 {
    1 << (signal - 1)
}

fn invalid(why: String) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, why))
}

/// Refuses what is no signal.
pub(crate) fn check_number(signal: c_int) -> io::Result<()> {
    let max = libc::SIGRTMAX();
    if (1..=max).contains(&signal) {
        return Ok(());
    }
    invalid(format!(
        "signal {signal} does not exist: signals are 1 to {max}"
    ))
}

/// Refuses what is no signal, and what cannot be held.
fn check(signal: c_int) -> io::Result<()> {
    check_number(signal)?;
    match signal {
        libc::SIGKILL | libc::SIGSTOP => invalid(format!(
            "signal {signal} (SIGKILL or SIGSTOP) cannot be blocked: the kernel acts on it by itself"
        )),
        libc::SIGSEGV
        | libc::SIGBUS
        | libc::SIGFPE
        | libc::SIGILL
        | libc::SIGTRAP
        | libc::SIGSYS
        | libc::SIGABRT => invalid(format!(
            "signal {signal} reports a fault of the running code, which cannot go on until the \
             signal is read"
        )),
        _ if signal > 31 && signal < libc::SIGRTMIN() => invalid(format!(
            "signal {signal} is used by the C library itself; real-time signals are {} to {}",
            libc::SIGRTMIN(),
            libc::SIGRTMAX()
        )),
        _ => Ok(()),
    }
}

/// Holds the signals of `set` from now on: blocks them in the calling thread, and keeps them from
/// acting on the process in any other one.
///
/// # Errors
///
/// `ResourceBusy`, if the stall detector uses one of them. Nothing has changed then.
pub(crate) fn hold(set: SignalSet) -> io::Result<()> {
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(signal) = set
        .signals()
        .find(|&signal| signal_claim::is_claimed(signal))
    {
        return Err(io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!(
                "signal {signal} is the stall detector's; give the detector another one \
                 (StallDetectionHandler::signal), or wait for another one"
            ),
        ));
    }
    block(set);
    for signal in set.signals() {
        catch(signal)?;
    }
    HELD.fetch_or(set.0, Ordering::SeqCst);
    Ok(())
}

/// Blocks the signals that are held in the calling thread, which has just been started.
pub(crate) fn block_held() {
    let held = SignalSet(HELD.load(Ordering::SeqCst));
    if !held.is_empty() {
        block(held);
    }
}

/// Blocks every signal in the calling thread, which serves others and starts no process.
pub(crate) fn block_all() {
    let mut all = MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set, and the call changes the calling thread's mask only.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), ptr::null_mut());
    }
}

fn block(set: SignalSet) {
    let set = set.to_sigset();
    // SAFETY: the set is initialised, and the call changes the calling thread's mask only.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, ptr::null_mut()) };
}

/// Starts a process with `start`, in a thread that lets held signals through: the process inherits
/// that. It takes no fork(2), which copies the page tables and keeps this process's other threads from
/// their memory for so long (0.3 s for 512 MiB, seen on a busy machine).
pub(super) fn letting_through<R>(start: impl FnOnce() -> R) -> R {
    let caught = SignalSet(CAUGHT.load(Ordering::SeqCst));
    if caught.is_empty() {
        return start();
    }
    let _until_started = LetThrough::new(caught);
    start()
}

struct LetThrough {
    caught: SignalSet,
    before: libc::sigset_t,
}

impl LetThrough {
    fn new(caught: SignalSet) -> LetThrough {
        STARTING.with(|starting| starting.in_process.set(std::process::id() as libc::pid_t));
        compiler_fence(Ordering::SeqCst);
        let set = caught.to_sigset();
        let mut before = MaybeUninit::uninit();
        // SAFETY: the set is initialised, and the call writes the former mask. What arrives is
        // handled by `pass_on`.
        let before = unsafe {
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, before.as_mut_ptr());
            before.assume_init()
        };
        LetThrough { caught, before }
    }
}

impl Drop for LetThrough {
    fn drop(&mut self) {
        // SAFETY: `before` was this thread's mask.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.before, ptr::null_mut()) };
        compiler_fence(Ordering::SeqCst);
        STARTING.with(|starting| {
            starting.in_process.set(0);
            for signal in self.caught.signals() {
                for _ in 0..starting.arrived[signal as usize - 1].take() {
                    // SAFETY: no preconditions; the signal is held.
                    unsafe { libc::kill(libc::getpid(), signal) };
                }
            }
        });
    }
}

/// Whether letting signals through is not enough, and a new process has to
/// [release](release_in_new_process) them itself: the program ignored one, or has a handler of its own.
pub(crate) fn must_be_released() -> bool {
    let held = HELD.load(Ordering::SeqCst);
    IGNORED.load(Ordering::SeqCst) != 0 || held & !CAUGHT.load(Ordering::SeqCst) != 0
}

/// Gives held signals back their former action and lets them through, in a process that was forked
/// and is about to execute a program. Async-signal-safe.
pub(super) fn release_in_new_process() {
    let held = SignalSet(HELD.load(Ordering::SeqCst));
    let ignored = IGNORED.load(Ordering::SeqCst);
    for signal in held.signals() {
        let action = match ignored & bit(signal) {
            0 => libc::SIG_DFL,
            _ => libc::SIG_IGN,
        };
        // SAFETY: async-signal-safe. The handler goes before the signal is let through: it would
        // block it for the program to come.
        unsafe { libc::signal(signal, action) };
    }
    let set = held.to_sigset();
    // SAFETY: changes the mask of this process's only thread; async-signal-safe.
    unsafe { libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut()) };
}

/// Installs [`pass_on`], unless the program has a handler of its own. A signal that is ignored is
/// caught as well: the kernel would throw it away in threads that do not block it.
fn catch(signal: c_int) -> io::Result<()> {
    match signal_claim::current_action(signal)?.sa_sigaction {
        libc::SIG_DFL => {}
        // Rust's runtime ignores SIGPIPE for this process alone.
        libc::SIG_IGN if signal == libc::SIGPIPE => {}
        libc::SIG_IGN => {
            IGNORED.fetch_or(bit(signal), Ordering::SeqCst);
        }
        _ => return Ok(()),
    }
    // SAFETY: all-zero bytes are a valid `sigaction`, with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: signal_claim::Handler = pass_on;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the structure is live; the handler has the signature that SA_SIGINFO asks for and may
    // run anywhere.
    if unsafe { libc::sigaction(signal, &action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    CAUGHT.fetch_or(bit(signal), Ordering::SeqCst);
    Ok(())
}

/// The handler of held signals. It runs in a thread that does not block one of them.
extern "C" fn pass_on(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands a handler with SA_SIGINFO the context that it resumes the thread
    // with, its mask included; nobody else has it. `sigaddset`, `signal`, `kill` and `getpid`
    // are async-signal-safe, the thread-local is there from the thread's start to its end, and `errno`
    // is put back.
    unsafe {
        let errno = *libc::__errno_location();
        let process = libc::getpid();
        match STARTING.with(|starting| starting.in_process.get()) {
            0 => {}
            here if here == process => {
                STARTING.with(|starting| {
                    let arrived = &starting.arrived[signal as usize - 1];
                    arrived.set(arrived.get() + 1);
                });
                return;
            }
            // The process that is being started, before it executes its program: as if it had done so.
            _ => {
                libc::signal(signal, libc::SIG_DFL);
                libc::kill(process, signal);
                *libc::__errno_location() = errno;
                return;
            }
        }
        let context = context.cast::<libc::ucontext_t>();
        libc::sigaddset(&raw mut (*context).uc_sigmask, signal);
        // Blocked here while the handler runs, so it goes to another thread, or waits.
        libc::kill(process, signal);
        *libc::__errno_location() = errno;
    }
}

/// A descriptor from which signals of a set are read. To be had only with the signals held.
pub(crate) fn descriptor(set: SignalSet) -> io::Result<OwnedFd> {
    let mask = set.to_sigset();
    // SAFETY: the set is initialised; with -1 the call makes a descriptor.
    let fd = unsafe { libc::signalfd(-1, &mask, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes one signal, if one waits.
///
/// Reads in the calling thread and not on the ring: a signal that was sent to a thread is only
/// there for a read of that thread, and a read in flight would take signals that nobody asks for
/// any more.
pub(crate) fn take(fd: &Fd) -> io::Result<Option<c_int>> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    loop {
        // SAFETY: `info` is writable for its size.
        let n = unsafe { libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if n == size as isize {
            // SAFETY: the kernel has written all of it.
            return Ok(Some(unsafe { info.assume_init() }.ssi_signo as c_int));
        }
        if n >= 0 {
            // signalfd(2) reads whole structures.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(None),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::signal_claim::testing::{action, is_pending, unblock};
    use super::*;
    use std::sync::mpsc;

    fn refusal(signal: c_int) -> String {
        let error = SignalSet::new(&[signal]).expect_err("the signal is refused");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        error.to_string()
    }

    #[test]
    fn what_is_no_signal_or_cannot_be_held_is_refused_with_the_reason() {
        for signal in [-1, 0, 65, i32::MAX, i32::MIN] {
            assert!(refusal(signal).contains("does not exist"));
        }
        for signal in [libc::SIGKILL, libc::SIGSTOP] {
            assert!(refusal(signal).contains("cannot be blocked"));
        }
        assert!(refusal(libc::SIGSEGV).contains("fault"));
        assert!(refusal(32).contains("C library"));
    }

    #[test]
    fn a_set_has_the_signals_that_it_was_made_of() {
        let set = SignalSet::new(&[libc::SIGTERM, libc::SIGHUP, 64, libc::SIGHUP]).unwrap();
        let signals: Vec<c_int> = set.signals().collect();
        assert_eq!(signals, [libc::SIGHUP, libc::SIGTERM, 64]);
        assert!(SignalSet::new(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_thread_that_does_not_block_a_held_signal_passes_it_on() {
        let signal = 60;
        let (ready, is_ready) = mpsc::channel();
        let (end, until_end) = mpsc::channel::<()>();
        // Started before, so it does not inherit the mask.
        let other = std::thread::spawn(move || {
            unblock(signal);
            ready.send(()).unwrap();
            let _ = until_end.recv();
        });
        is_ready.recv().unwrap();
        let set = SignalSet::new(&[signal]).unwrap();
        hold(set).unwrap();
        // SAFETY: no preconditions; the signal has a handler.
        assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
        // The threads of the test harness do not block it either, and pass it on as well.
        while !is_pending(signal) {
            std::thread::yield_now();
        }
        drop(end);
        other.join().unwrap();
    }

    #[test]
    fn a_handler_of_the_program_stays() {
        extern "C" fn theirs(_: c_int) {}
        let signal = 61;
        let handler = theirs as extern "C" fn(c_int) as *const () as usize;
        // SAFETY: the handler does nothing.
        unsafe { libc::signal(signal, handler) };
        hold(SignalSet::new(&[signal]).unwrap()).unwrap();
        assert_eq!(action(signal), handler);
    }

    #[test]
    fn the_signal_of_the_stall_detector_is_refused() {
        extern "C" fn ours(_: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {}
        let signal = 62;
        // SAFETY: the handler does nothing.
        let claim = unsafe { signal_claim::SignalClaim::new(signal, ours) }.unwrap();
        let error = hold(SignalSet::new(&[signal]).unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ResourceBusy);
        assert!(error.to_string().contains("stall detector"), "{error}");
        drop(claim);
        hold(SignalSet::new(&[signal]).unwrap()).unwrap();
    }
}
