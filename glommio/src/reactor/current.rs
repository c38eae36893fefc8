//! The reactor of the executor that runs on this thread.

use std::{cell::RefCell, rc::Rc};

use super::driver::Reactor;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Reactor>>> = const { RefCell::new(None) };
}

/// Makes `reactor` the current one until the guard is dropped.
pub(crate) fn enter(reactor: Rc<Reactor>) -> Entered {
    Entered {
        former: CURRENT.with(|current| current.replace(Some(reactor))),
    }
}

/// See [`enter`].
pub(crate) struct Entered {
    former: Option<Rc<Reactor>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let former = self.former.take();
        // The thread's locals may be gone already if an executor is dropped by another local.
        let leaving = CURRENT.try_with(|current| current.replace(former));
        drop(leaving);
    }
}

/// The current reactor.
///
/// # Panics
///
/// Outside of an executor.
#[track_caller]
pub(crate) fn current() -> Rc<Reactor> {
    match current_reactor(|reactor| reactor.cloned()) {
        Some(reactor) => reactor,
        None => panic!(
            "this needs a running glommio executor on the current thread; run it inside \
             LocalExecutor::run or a task spawned there"
        ),
    }
}

/// Calls `f` with the current reactor, if there is one.
pub(crate) fn current_reactor<R>(f: impl FnOnce(Option<&Rc<Reactor>>) -> R) -> R {
    let mut f = Some(f);
    let result = CURRENT.try_with(|current| {
        let current = current.borrow();
        f.take().map(|f| f(current.as_ref()))
    });
    match result {
        Ok(Some(result)) => result,
        // Thread-local storage is being torn down: no executor runs here.
        _ => f.take().expect("called once")(None),
    }
}
