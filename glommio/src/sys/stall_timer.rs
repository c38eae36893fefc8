//! A timer that interrupts its own thread and notes where the thread was.
//!
//! # How it works
//!
//! The kernel timer sends its signal to one thread only (`SIGEV_THREAD_ID`). Its handler walks the
//! stack it has interrupted into memory prepared beforehand; the thread fetches the frames later,
//! when it runs normally again, and only then are they given names.
//!
//! Arming is a store, not a system call. The thread writes down a deadline; the kernel timer is set
//! only if it would not fire by then anyhow. When it fires and the deadline has moved on meanwhile,
//! the handler sets it again. A thread that arms the timer ten thousand times per second for 100 ms
//! each is so interrupted about ten times and makes ten system calls. A disarmed timer is left to
//! fire once and finds nothing to do.
//!
//! # What the handler may do
//!
//! It runs between any two instructions of its thread, so it takes no lock, allocates nothing and
//! cannot panic. Its state is reached through a thread-local without a destructor, which is created
//! before the first signal. `clock_gettime` and `timer_settime` are async-signal-safe by POSIX.
//!
//! Walking the stack is not promised to be by anybody. The unwinder (libgcc's) allocates nothing for
//! code that the linker has laid out; what it sets up on first use is done by one walk when the
//! timer is made. To find the unwind tables it asks the dynamic linker: without a lock since glibc
//! 2.35, under a lock that its own thread may take again before. What remains on older systems is a
//! stall inside `dlopen` itself, whose list of libraries is then read half-way through a change.
//! This is a tool for finding bugs, off unless asked for, and that risk is in its documentation.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, compiler_fence};
use std::time::Duration;

use backtrace::Frame;

use super::signal_claim::SignalClaim;

/// The signal that programs may use as they like, and usually do not.
pub(crate) const SIGUSR1: u8 = libc::SIGUSR1 as u8;

/// Frames kept of one stack, innermost first; deeper stacks lose their outermost frames.
const MAX_FRAMES: usize = 128;

/// A deadline that does not come.
const NEVER: u64 = u64::MAX;

thread_local! {
    /// The state of the timer that was armed last on this thread, for the handler; null if none.
    /// Never dangling: a timer that is dropped takes its pointer back.
    static ARMED: Cell<*const Shared> = const { Cell::new(ptr::null()) };
}

/// The timer of one thread. Stays on the thread that made it.
pub(crate) struct StallTimer {
    shared: Rc<Shared>,
    /// Dropped last: the signal keeps its handler as long as the kernel timer can send it.
    signal: SignalClaim,
    _not_send: PhantomData<*const ()>,
}

impl fmt::Debug for StallTimer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StallTimer")
            .field("signal", &self.signal)
            .finish_non_exhaustive()
    }
}

/// What the thread and its signal handler share.
///
/// They never run at the same time, so relaxed atomics and compiler fences suffice. What they hand
/// over is the right to use `frames` and `interrupted_at`: while `deadline_ns` is not [`NEVER`] it
/// is the handler's, otherwise the thread's.
struct Shared {
    timer: libc::timer_t,
    /// When the thread is overdue, on the monotonic clock; [`NEVER`] while disarmed.
    deadline_ns: AtomicU64,
    /// When the kernel timer will fire; anything in the past, or [`NEVER`]: it will not.
    kernel_ns: AtomicU64,
    /// Whether `frames` holds a stack that nobody has taken.
    captured: AtomicBool,
    /// The interrupted instruction, 0 where the architecture's context is not known.
    interrupted_at: AtomicUsize,
    frames: UnsafeCell<Vec<Frame>>,
}

impl StallTimer {
    /// Makes a timer for the calling thread that uses `signal`.
    ///
    /// # Errors
    /// `InvalidInput` or `ResourceBusy` for a signal that cannot be had (see
    /// [`SignalClaim::new`]), and what `timer_create` fails with, such as `WouldBlock` at the limit
    /// of pending signals.
    pub(crate) fn new(signal: u8) -> io::Result<StallTimer> {
        // SAFETY: `handle` is async-signal-safe as argued at the top, and does not unwind.
        let claim = unsafe { SignalClaim::new(c_int::from(signal), handle)? };
        let mut frames = Vec::with_capacity(MAX_FRAMES);
        // First use of the unwinder: whatever it initialises is not left to the handler.
        record_stack(&mut frames);
        frames.clear();
        ARMED.with(|_| ());

        let mut timer = MaybeUninit::<libc::timer_t>::uninit();
        // SAFETY: all-zero bytes are a valid `sigevent`, a plain C structure.
        let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = c_int::from(signal);
        // SAFETY: no preconditions.
        event.sigev_notify_thread_id = unsafe { libc::gettid() };
        // SAFETY: both pointers are to live memory of the right types.
        let made =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, timer.as_mut_ptr()) };
        if made != 0 {
            return Err(io::Error::last_os_error());
        }
        let shared = Shared {
            // SAFETY: the call succeeded and so has written the timer.
            timer: unsafe { timer.assume_init() },
            deadline_ns: AtomicU64::new(NEVER),
            kernel_ns: AtomicU64::new(NEVER),
            captured: AtomicBool::new(false),
            interrupted_at: AtomicUsize::new(0),
            frames: UnsafeCell::new(frames),
        };
        Ok(StallTimer {
            shared: Rc::new(shared),
            signal: claim,
            _not_send: PhantomData,
        })
    }

    /// Has the stack captured, once, if the timer is neither disarmed nor armed anew for `after`.
    pub(crate) fn arm(&self, after: Duration) {
        let shared = &*self.shared;
        ARMED.set(Rc::as_ptr(&self.shared));
        let now = monotonic_ns();
        let after = u64::try_from(after.as_nanos()).unwrap_or(NEVER);
        // One short of `NEVER`, and not 0, which would disarm the kernel timer.
        let deadline = now.saturating_add(after).clamp(1, NEVER - 1);
        shared.deadline_ns.store(deadline, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);

        // If the handler runs from here on, it sees the deadline and sets the kernel timer for it.
        let kernel = shared.kernel_ns.load(Ordering::Relaxed);
        let fires_in_time = now < kernel && kernel <= deadline;
        if !fires_in_time {
            shared.set_kernel_timer(deadline);
        }
    }

    /// Captures nothing until armed again.
    pub(crate) fn disarm(&self) {
        self.shared.deadline_ns.store(NEVER, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Whether the armed timer has fired and its stack was not taken yet.
    pub(crate) fn has_fired(&self) -> bool {
        self.shared.captured.load(Ordering::Relaxed)
    }

    /// Disarms the timer and returns the stack it captured, innermost frame first, if it fired.
    pub(crate) fn take_trace(&self) -> Option<Vec<Frame>> {
        self.disarm();
        if !self.has_fired() {
            return None;
        }
        self.shared.captured.store(false, Ordering::Relaxed);
        // SAFETY: the timer is disarmed, so the handler does not touch the frames, and no reference
        // to them leaves this function; `StallTimer` does not leave its thread.
        let frames = unsafe { &mut *self.shared.frames.get() };
        // The handler's own frames come first; the stalled code begins where it was interrupted.
        let stalled_at = self.shared.interrupted_at.load(Ordering::Relaxed);
        let handler_frames = frames
            .iter()
            .position(|frame| frame.ip() as usize == stalled_at);
        Some(frames.drain(..).skip(handler_frames.unwrap_or(0)).collect())
    }
}

impl Drop for StallTimer {
    fn drop(&mut self) {
        self.disarm();
        // SAFETY: the timer was made by `new` and is deleted only here.
        unsafe { libc::timer_delete(self.shared.timer) };
        self.signal.discard_pending_timer_signal();
        if ARMED.get() == Rc::as_ptr(&self.shared) {
            ARMED.set(ptr::null());
        }
    }
}

impl Shared {
    /// Lets the kernel timer fire at `deadline` once. Async-signal-safe.
    fn set_kernel_timer(&self, deadline: u64) {
        self.kernel_ns.store(deadline, Ordering::Relaxed);
        let zero = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let it_value = libc::timespec {
            tv_sec: (deadline / 1_000_000_000) as libc::time_t,
            tv_nsec: (deadline % 1_000_000_000) as _,
        };
        let when = libc::itimerspec {
            it_interval: zero,
            it_value,
        };
        // Cannot fail: the timer exists and the time is normalised.
        // SAFETY: the timer is deleted only when its `StallTimer` goes, and `when` is live.
        unsafe { libc::timer_settime(self.timer, libc::TIMER_ABSTIME, &when, ptr::null_mut()) };
    }

    /// The handler's work: capture the stack if the deadline has passed.
    fn on_signal(&self, interrupted_at: usize) {
        let deadline = self.deadline_ns.load(Ordering::Relaxed);
        self.kernel_ns.store(NEVER, Ordering::Relaxed);
        if deadline == NEVER {
            return;
        }
        if monotonic_ns() < deadline {
            self.set_kernel_timer(deadline);
            return;
        }
        // SAFETY: armed, so the frames are the handler's, which does not interrupt itself: a signal
        // is blocked while it is handled.
        let frames = unsafe { &mut *self.frames.get() };
        frames.clear();
        record_stack(frames);
        self.interrupted_at.store(interrupted_at, Ordering::Relaxed);
        self.captured.store(true, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
        self.deadline_ns.store(NEVER, Ordering::Relaxed);
    }
}

/// Appends the calling stack to `frames`, up to [`MAX_FRAMES`]; allocates nothing if that many fit.
fn record_stack(frames: &mut Vec<Frame>) {
    // SAFETY: the synchronised variant only guards the platforms whose unwinder is shared state;
    // on Linux every walk has its own. (And its lock could be held by the interrupted code.)
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            if frames.len() < MAX_FRAMES {
                frames.push(frame.clone());
            }
            frames.len() < MAX_FRAMES
        });
    }
}

/// The signal handler.
extern "C" fn handle(_signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a valid `siginfo` to a handler installed with SA_SIGINFO.
    if unsafe { (*info).si_code } != libc::SI_TIMER {
        // Somebody else sends the signal we claimed: not for us, and not to be obeyed.
        return;
    }
    // SAFETY: the location of this thread's errno is always valid.
    let errno = unsafe { *libc::__errno_location() };
    // SAFETY: either null, or the state of a timer that is alive: `StallTimer::drop` clears it.
    if let Some(shared) = unsafe { ARMED.get().as_ref() } {
        // SAFETY: the kernel passes this thread's `ucontext` as the third argument.
        shared.on_signal(unsafe { instruction_pointer(context) });
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

/// The instruction that a signal interrupted.
///
/// # Safety
/// `context` is the third argument of a signal handler.
unsafe fn instruction_pointer(context: *mut c_void) -> usize {
    let context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    return unsafe { (&(*context).uc_mcontext.gregs)[libc::REG_RIP as usize] as usize };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the caller's promise.
    return unsafe { (*context).uc_mcontext.pc as usize };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = context;
        0
    }
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // Cannot fail: the clock exists on every Linux.
    // SAFETY: `now` is live memory of the right type.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::super::signal_claim::testing;
    use super::*;
    use std::sync::{Barrier, atomic::AtomicPtr};
    use std::thread;
    use std::{hint::black_box, io::Read};

    // Signals are the process's, and tests share one: every test has its own.
    const TRACED: u8 = 36;

    /// The names of all functions in the trace, those inlined into others included.
    fn names(trace: &[Frame]) -> Vec<String> {
        let mut names = Vec::new();
        for frame in trace {
            backtrace::resolve_frame(frame, |symbol| {
                names.extend(symbol.name().map(|name| name.to_string()));
            });
        }
        names
    }

    /// Until a timer fires: long enough that a thread has begun to stall by then, or has disarmed it,
    /// unless the machine takes its CPU away in between.
    const SOON: Duration = Duration::from_millis(100);

    /// Arms and disarms the timer, whose time is not over in between.
    fn arm_and_disarm(timer: &StallTimer) {
        loop {
            timer.arm(SOON);
            timer.disarm();
            if timer.take_trace().is_none() {
                return;
            }
        }
    }

    /// Lets the thread stall until a trace was taken in `stall`, the function of that name.
    fn trace_of(timer: &StallTimer, name: &str, stall: &dyn Fn(&StallTimer)) -> Vec<Frame> {
        for _ in 0..20 {
            timer.arm(SOON);
            stall(timer);
            let trace = timer.take_trace().unwrap();
            if names(&trace).iter().any(|seen| seen.contains(name)) {
                return trace;
            }
        }
        panic!("{name} is in no trace");
    }

    #[inline(never)]
    fn stall_until_fired(timer: &StallTimer) {
        while !timer.has_fired() {
            std::hint::spin_loop();
        }
        black_box(());
    }

    fn action_is_default(signal: u8) -> bool {
        testing::action(c_int::from(signal)) == libc::SIG_DFL
    }

    /// Kernel timers that signal the calling thread.
    fn kernel_timers() -> usize {
        // SAFETY: no preconditions.
        let tid = unsafe { libc::gettid() };
        let notify = format!("notify: signal/tid.{tid}");
        // In one go: between two reads other tests change the list, and the second one goes on at a
        // place of its number.
        let mut timers = [0; 4096];
        let file = std::fs::File::open("/proc/self/timers");
        let length = file.map_or(0, |mut file| file.read(&mut timers).unwrap());
        let timers = std::str::from_utf8(&timers[..length]).unwrap();
        timers.lines().filter(|line| *line == notify).count()
    }

    #[test]
    fn a_stall_is_traced_from_the_function_that_stalls() {
        let timer = StallTimer::new(TRACED).unwrap();
        for _ in 0..3 {
            let names = names(&trace_of(&timer, "stall_until_fired", &stall_until_fired));
            let has = |part| names.iter().any(|name| name.contains(part));
            let handler = [
                "stall_timer::handle",
                "on_signal",
                "record_stack",
                "backtrace::trace",
            ];
            assert!(!handler.into_iter().any(has), "{names:#?}");
            assert!(timer.take_trace().is_none(), "taken twice");
        }
    }

    #[test]
    fn a_timer_that_was_disarmed_in_time_captures_nothing() {
        let timer = StallTimer::new(37).unwrap();
        timer.arm(Duration::from_secs(3600));
        assert!(timer.take_trace().is_none());
        drop(timer);

        let timer = StallTimer::new(37).unwrap();
        arm_and_disarm(&timer);
        // The handler marks the kernel timer as no longer running.
        while timer.shared.kernel_ns.load(Ordering::Relaxed) != NEVER {
            std::hint::spin_loop();
        }
        assert!(!timer.has_fired());
        assert!(timer.take_trace().is_none());
    }

    #[test]
    fn a_later_deadline_is_kept_and_an_earlier_one_moves_the_timer() {
        let timer = StallTimer::new(38).unwrap();
        // The kernel timer is left at the first deadline, fires there, and is set on.
        loop {
            timer.arm(Duration::from_millis(5));
            let begun = monotonic_ns();
            timer.arm(Duration::from_millis(50));
            if timer.take_trace().is_some() {
                // The machine took the CPU away before it was armed anew.
                continue;
            }
            timer.arm(Duration::from_millis(50));
            stall_until_fired(&timer);
            assert!(monotonic_ns() - begun >= 50_000_000, "fired early");
            assert!(timer.take_trace().is_some());
            break;
        }

        timer.arm(Duration::from_secs(3600));
        timer.arm(Duration::from_millis(1));
        stall_until_fired(&timer);
        assert!(timer.take_trace().is_some());
        timer.arm(Duration::MAX);
        timer.arm(Duration::ZERO);
        stall_until_fired(&timer);
        assert!(timer.take_trace().is_some());
    }

    #[test]
    fn arming_for_a_later_deadline_sets_no_kernel_timer() {
        let timer = StallTimer::new(39).unwrap();
        timer.arm(Duration::from_secs(100));
        let kernel = timer.shared.kernel_ns.load(Ordering::Relaxed);
        for _ in 0..1000 {
            timer.arm(Duration::from_secs(100));
            timer.disarm();
        }
        assert_eq!(timer.shared.kernel_ns.load(Ordering::Relaxed), kernel);
    }

    #[test]
    fn a_deep_stack_is_cut_and_allocates_nothing() {
        #[inline(never)]
        fn deep(timer: &StallTimer, levels: usize) -> usize {
            if levels == 0 {
                stall_until_fired(timer);
                return 0;
            }
            black_box(deep(timer, levels - 1) + 1)
        }
        let timer = StallTimer::new(40).unwrap();
        let trace = trace_of(&timer, "stall_until_fired", &|timer| {
            let before = crate::test_alloc::allocations();
            assert_eq!(deep(timer, 1000), 1000);
            assert_eq!(crate::test_alloc::allocations(), before);
        });
        assert!(
            (100..=MAX_FRAMES).contains(&trace.len()),
            "{} frames",
            trace.len()
        );
    }

    #[test]
    fn threads_are_traced_each_by_its_own_timer() {
        // The bodies differ, so that the compiler does not make one function of the two.
        #[inline(never)]
        fn first_stall(timer: &StallTimer) {
            stall_until_fired(timer);
            black_box(1);
        }
        #[inline(never)]
        fn second_stall(timer: &StallTimer) {
            stall_until_fired(timer);
            black_box(2);
        }
        let meeting = Barrier::new(2);
        let run = |name, stall: fn(&StallTimer)| {
            let timer = StallTimer::new(41).unwrap();
            meeting.wait();
            let names = names(&trace_of(&timer, name, &stall));
            // Both timers are alive until here, so the signal was shared.
            meeting.wait();
            names
        };
        let (first, second) = thread::scope(|scope| {
            let first = scope.spawn(|| run("first_stall", first_stall));
            let second = scope.spawn(|| run("second_stall", second_stall));
            (first.join().unwrap(), second.join().unwrap())
        });
        let has = |names: &[String], part| names.iter().any(|name| name.contains(part));
        assert!(
            has(&first, "first_stall") && !has(&first, "second_stall"),
            "{first:#?}"
        );
        assert!(
            has(&second, "second_stall") && !has(&second, "first_stall"),
            "{second:#?}"
        );
        assert!(action_is_default(41));
    }

    #[test]
    fn timers_of_one_thread_do_not_disturb_each_other() {
        let (first, second) = (StallTimer::new(42).unwrap(), StallTimer::new(43).unwrap());
        arm_and_disarm(&first);
        second.arm(SOON * 2);
        stall_until_fired(&second);
        assert!(second.take_trace().is_some() && first.take_trace().is_none());
        drop(second);
        first.arm(SOON);
        stall_until_fired(&first);
        assert!(first.take_trace().is_some());
    }

    #[test]
    fn dropping_the_last_timer_removes_it_and_restores_the_signal() {
        assert_eq!(kernel_timers(), 0);
        let signal = 44;
        let first = StallTimer::new(signal).unwrap();
        let second = StallTimer::new(signal).unwrap();
        if std::path::Path::new("/proc/self/timers").exists() {
            assert_eq!(kernel_timers(), 2);
        }
        drop(first);
        assert!(!action_is_default(signal));
        drop(second);
        assert!(action_is_default(signal));
        assert_eq!(kernel_timers(), 0);
    }

    #[test]
    fn a_signal_blocked_later_does_not_end_the_process_when_the_timer_is_gone() {
        let signal = 45;
        let timer = StallTimer::new(signal).unwrap();
        testing::block(c_int::from(signal));
        timer.arm(Duration::from_millis(1));
        while !testing::is_pending(c_int::from(signal)) {
            thread::yield_now();
        }
        drop(timer);
        assert!(action_is_default(signal) && !testing::is_pending(c_int::from(signal)));
        testing::unblock(c_int::from(signal));
    }

    #[test]
    fn a_signal_that_somebody_sends_is_not_taken_for_the_timer() {
        let timer = StallTimer::new(46).unwrap();
        timer.arm(Duration::from_secs(3600));
        // SAFETY: sends a signal that is handled to this test's thread.
        assert_eq!(unsafe { libc::raise(46) }, 0);
        assert!(!timer.has_fired());
    }

    #[test]
    fn a_thread_that_ends_with_its_timer_armed_hurts_nobody() {
        /// Where leak checkers look.
        static KEPT: AtomicPtr<StallTimer> = AtomicPtr::new(ptr::null_mut());
        let signal = 48;
        let other = StallTimer::new(signal).unwrap();
        thread::spawn(move || {
            let timer = StallTimer::new(signal).unwrap();
            timer.arm(Duration::from_millis(1));
            // Never deleted: it fires for a thread that is gone.
            KEPT.store(Box::leak(Box::new(timer)), Ordering::Relaxed);
        })
        .join()
        .unwrap();
        other.arm(Duration::from_millis(20));
        stall_until_fired(&other);
        assert!(other.take_trace().is_some());
        // The forgotten one keeps its share of the signal, so a late one would not end the process.
        drop(other);
        assert!(!action_is_default(signal));
    }

    #[test]
    fn the_handler_leaves_errno_alone() {
        let timer = StallTimer::new(47).unwrap();
        timer.arm(SOON);
        // SAFETY: the location of this thread's errno is always valid.
        unsafe { *libc::__errno_location() = 12345 };
        stall_until_fired(&timer);
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, 12345);
    }
}
