//! Giving way.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use super::core::with_current;

/// What a yielding task gives up.
#[derive(Clone, Copy)]
pub(super) enum Yield {
    /// Its place at the front of its queue.
    Place,
    /// The turn of its queue.
    Turn,
}

/// Pending once, and scheduled again at the end of its queue.
#[must_use = "yielding takes place when the future is awaited"]
pub(super) struct YieldNow(Option<Yield>);

pub(super) fn yield_now(what: Yield) -> YieldNow {
    YieldNow(Some(what))
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.take() {
            None => Poll::Ready(()),
            Some(what) => {
                if let Yield::Turn = what {
                    with_current(|core| {
                        if let Some(core) = core {
                            core.give_up_turn();
                        }
                    });
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }
}
