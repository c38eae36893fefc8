//! Spans of `tracing` around what an executor and its queues run.
//!
//! An executor's span is open while it runs, the span of a queue inside of it while the queue has its
//! turn. An event of a task then says where it came from. Both have the target
//! `glommio::executor`; the executor's is at level `DEBUG`, a queue's at `TRACE`, because it is entered
//! and left with every turn.
//!
//! A queue's span is made when the queue first runs while somebody listens, and is entered again
//! from then on. Spans belong to the subscriber that was there when they were made, so they are
//! forgotten at the end of each run. While nobody listens at level `TRACE`, a turn pays one load and a
//! compare.

use std::{cell::RefCell, rc::Rc};

use tracing::{Level, Span};

use super::queue::{TaskQueue, TaskQueueHandle};

/// The span of an executor, to be entered while it runs.
pub(super) fn of_executor(id: usize, name: &str) -> Span {
    tracing::debug_span!(target: "glommio::executor", "executor", id, name)
}

/// The spans of an executor's queues during one run.
#[derive(Default)]
pub(super) struct QueueSpans {
    /// By slot of the queue.
    spans: RefCell<Vec<Option<Rc<Span>>>>,
}

impl QueueSpans {
    /// The span of a queue, if somebody listens.
    #[inline]
    pub(super) fn of(&self, queue: &TaskQueue) -> Option<Rc<Span>> {
        if tracing::span_enabled!(target: "glommio::executor", Level::TRACE) {
            Some(self.get_or_make(queue))
        } else {
            None
        }
    }

    #[cold]
    fn get_or_make(&self, queue: &TaskQueue) -> Rc<Span> {
        let slot = queue.slot() as usize;
        let known = self.spans.borrow().get(slot).cloned().flatten();
        if let Some(span) = known {
            return span;
        }
        // Outside the borrow: a subscriber is code of others.
        let span = Rc::new(tracing::trace_span!(
            target: "glommio::executor",
            "queue",
            index = queue.handle.index(),
            name = queue.name.as_str(),
        ));
        let mut spans = self.spans.borrow_mut();
        if spans.len() <= slot {
            spans.resize(slot + 1, None);
        }
        spans[slot] = Some(span.clone());
        span
    }

    /// A queue was removed: closes its span.
    pub(super) fn forget(&self, queue: TaskQueueHandle) {
        let mut spans = self.spans.borrow_mut();
        let span = spans.get_mut(queue.slot() as usize).and_then(Option::take);
        drop(spans);
        drop(span);
    }

    /// Ends the run: closes all spans.
    pub(super) fn clear(&self) {
        let spans = self.spans.take();
        drop(spans);
    }
}
