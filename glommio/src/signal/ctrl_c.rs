//! The interrupt of the terminal, which tells everyone who waits for it.

use std::{
    collections::BTreeMap,
    future::poll_fn,
    mem,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use super::Signals;
use crate::{error::Result, sys::signals::INTERRUPT};

/// Waits for SIGINT, which the terminal sends for Ctrl-C.
///
/// One interrupt completes all futures of this function that wait then, in all executors. From the first
/// poll of the first on, Ctrl-C does not end the process any more, also when nobody waits: an interrupt that
/// nobody waited for completes the next future at once. A [`Signals`] of SIGINT that waits at the
/// same time may get the interrupt in their place.
///
/// # Errors
///
/// As [`Signals::new`].
///
/// # Panics
///
/// The future panics outside of an executor.
///
/// # Cancel safety
///
/// Dropping the future loses no interrupt.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, signal, spawn_local};
///
/// LocalExecutor::default().run(async {
///     let server = spawn_local(async {
///         // Serve.
///     });
///     # spawn_local(async { unsafe { libc::raise(libc::SIGINT) } }).detach();
///     signal::ctrl_c().await?;
///     server.cancel().await;
///     Ok::<(), glommio::GlommioError<()>>(())
/// })
/// # .unwrap();
/// ```
pub async fn ctrl_c() -> Result<(), ()> {
    let signals = Signals::new(&[INTERRUPT])?;
    let waiter = Waiter::new();
    let mut received = pin!(signals.recv());
    poll_fn(|cx| {
        // Told first, and asked for the signal afterwards: none is taken that need not be.
        if waiter.is_told(cx.waker()) {
            return Poll::Ready(Ok(()));
        }
        received.as_mut().poll(cx).map(|result| {
            result?;
            tell_all();
            Ok(())
        })
    })
    .await
}

/// Everyone in this process who waits for an interrupt, until an interrupt takes them out.
static WAITING: Mutex<Waiting> = Mutex::new(Waiting {
    next: 0,
    wakers: BTreeMap::new(),
});

struct Waiting {
    next: u64,
    wakers: BTreeMap<u64, Option<Waker>>,
}

/// No code of others runs under this lock but the cloning of wakers, which leaves the state whole.
fn waiting() -> MutexGuard<'static, Waiting> {
    WAITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn tell_all() {
    let wakers = mem::take(&mut waiting().wakers);
    for waker in wakers.into_values().flatten() {
        waker.wake();
    }
}

/// A place among those who wait.
struct Waiter(u64);

impl Waiter {
    fn new() -> Waiter {
        let mut waiting = waiting();
        let number = waiting.next;
        waiting.next += 1;
        waiting.wakers.insert(number, None);
        Waiter(number)
    }

    /// Whether an interrupt has come; if not, `waker` is woken when it does.
    fn is_told(&self, waker: &Waker) -> bool {
        let new = waker.clone();
        let mut waiting = waiting();
        let Some(place) = waiting.wakers.get_mut(&self.0) else {
            drop(waiting);
            return true;
        };
        let old = place.replace(new);
        drop(waiting);
        drop(old);
        false
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let waker = waiting().wakers.remove(&self.0);
        drop(waker);
    }
}
