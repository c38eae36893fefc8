//! Getting a sleeping executor out of its sleep: by a message of the ring that the calling thread has,
//! or else by an eventfd.

use std::{rc::Rc, sync::Arc};

use super::{
    config::ReactorConfig,
    current::current_reactor,
    driver::Reactor,
    wake::{self, Target},
};
use crate::{
    error::Result,
    task::{self, ExecutorId},
};

/// Sets the reactor of the executor `id` up, and lets other executors wake this one.
///
/// # Errors
///
/// When io_uring or a descriptor cannot be had; the error names cause and cure.
pub(crate) fn start(id: ExecutorId, config: ReactorConfig) -> Result<Rc<Reactor>, ()> {
    task::set_notifier(notify);
    Reactor::new(id, config)
}

/// Gets `id` out of its sleep, if it sleeps. Called on any thread after something was put into the
/// executor's inbox.
fn notify(id: ExecutorId) {
    let index = id.slot();
    let slot = wake::slot(index);
    if !slot.park.should_notify() {
        return;
    }
    let Some(target) = slot.target() else {
        return;
    };
    if target.ring.is_some() && try_message(index, &target) {
        return;
    }
    target.eventfd.notify();
}

/// Wakes through the current thread's ring. Does nothing where there is none.
fn try_message(index: usize, target: &Arc<Target>) -> bool {
    current_reactor(|reactor| match reactor {
        Some(reactor) => reactor.message(index, target),
        None => false,
    })
}

/// Sends the messages that the executor of this thread has queued, if there is one: to be called
/// before the thread blocks.
pub(crate) fn flush_messages() {
    let reactor = current_reactor(|reactor| reactor.cloned());
    if let Some(reactor) = reactor.filter(|reactor| reactor.has_messages()) {
        reactor.flush();
    }
}
