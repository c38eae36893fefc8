//! The reactor of the executor that runs on this thread.

use std::{cell::RefCell, mem::ManuallyDrop, rc::Rc};

use super::driver::Reactor;

thread_local! {
    /// Never dropped, so that an executor can run in the destructor of another thread-local. Nothing
    /// is lost by that: [`Entered`] takes out what [`enter`] puts in.
    static CURRENT: ManuallyDrop<RefCell<Option<Rc<Reactor>>>> =
        const { ManuallyDrop::new(RefCell::new(None)) };
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
        let leaving = CURRENT.with(|current| current.replace(former));
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
    CURRENT.with(|current| f(current.borrow().as_ref()))
}
