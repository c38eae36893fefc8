//! What the tests of this folder poll, drop and wake with.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker},
};

use glommio::{LocalExecutor, executor, spawn_local};

pub(super) type Wait<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

#[derive(Default)]
pub(super) struct Count(pub(super) AtomicU32);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Polls `future`, times over, with a waker of its own.
pub(super) fn poll(future: &mut Wait<'_>, times: u32, count: &Arc<Count>) -> Poll<()> {
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);
    for _ in 0..times {
        if future.as_mut().poll(&mut context).is_ready() {
            return Poll::Ready(());
        }
    }
    Poll::Pending
}

/// One after the other: `wait` makes a wait that has to wait, `serve` serves the one that stands
/// first. Of three in the queue the one at `victim` is polled `polls` times and dropped, before or
/// after the first was served. Whoever is next must be woken and must get it.
pub(super) fn check_hand_over<'a>(wait: &dyn Fn() -> Wait<'a>, serve: &dyn Fn()) {
    for victim in 0..3 {
        for polls in 1..4 {
            for served_before in [false, true] {
                let counts: [Arc<Count>; 3] = Default::default();
                let mut waits: Vec<Option<Wait<'a>>> = (0..3).map(|_| Some(wait())).collect();
                for (wait, count) in waits.iter_mut().flatten().zip(&counts) {
                    assert!(poll(wait, polls, count).is_pending());
                }
                if served_before {
                    serve();
                }
                drop(waits[victim].take());
                if !served_before {
                    serve();
                }
                let next = if victim == 0 { 1 } else { 0 };
                let case = format!("{victim} of 3 dropped, {polls} polls, {served_before}");
                assert_eq!(counts[next].0.load(Ordering::Relaxed), 1, "{case}");
                let mut heir = waits[next].take().unwrap();
                assert!(poll(&mut heir, 1, &counts[next]).is_ready(), "{case}");
                let other = 3 - victim - next;
                let mut other_wait = waits[other].take().unwrap();
                drop(heir);
                if poll(&mut other_wait, 1, &counts[other]).is_pending() {
                    serve();
                    assert!(
                        poll(&mut other_wait, 1, &counts[other]).is_ready(),
                        "{case}"
                    );
                }
                assert_eq!(counts[other].0.load(Ordering::Relaxed), 1, "{case}");
            }
        }
    }
}

/// Polls `future` when the task is woken, at most `polls` times; then drops it.
pub(super) async fn give_up_after<F: Future>(polls: u32, future: F) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let mut left = polls;
    let output = poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => {
                // As if another branch of a select was woken, too.
                context.waker().wake_by_ref();
                Poll::Pending
            }
        }
    });
    output.await
}

/// Tasks that keep giving up, next to tasks that do not. The latter must all get through.
pub(super) fn stress<P: 'static, F, G>(primitive: P, patient: F, impatient: G) -> Rc<P>
where
    F: AsyncFn(&P) + Copy + 'static,
    G: AsyncFn(&P, u32) + Copy + 'static,
{
    let primitive = Rc::new(primitive);
    LocalExecutor::default().run(async {
        let mut random = fastrand::Rng::with_seed(6450);
        let patient_tasks: Vec<_> = (0..5)
            .map(|_| {
                let primitive = primitive.clone();
                spawn_local(async move {
                    for _ in 0..500 {
                        patient(&primitive).await;
                    }
                })
            })
            .collect();
        let impatient_tasks: Vec<_> = (0..10)
            .map(|_| {
                let (primitive, mut random) = (primitive.clone(), random.fork());
                spawn_local(async move {
                    for _ in 0..500 {
                        impatient(&primitive, random.u32(0..5)).await;
                        if random.u8(0..4) == 0 {
                            executor().yield_now().await;
                        }
                    }
                })
            })
            .collect();
        for task in patient_tasks.into_iter().chain(impatient_tasks) {
            task.await;
        }
    });
    primitive
}

/// A waker that runs something when it is cloned, woken or dropped.
pub(super) mod treacherous {
    use super::*;

    thread_local! {
        static ACTION: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
        static CALLS: Cell<u32> = const { Cell::new(0) };
    }

    fn act() {
        // Not while it acts already: cloning in there would go on for ever.
        let action = ACTION
            .try_with(|action| action.borrow_mut().take())
            .ok()
            .flatten();
        if let Some(action) = action {
            CALLS.set(CALLS.get() + 1);
            action();
            ACTION.with(|slot| *slot.borrow_mut() = Some(action));
        }
    }

    const VTABLE: RawWakerVTable = RawWakerVTable::new(
        |data| {
            act();
            RawWaker::new(data, &VTABLE)
        },
        |_| act(),
        |_| act(),
        |_| act(),
    );

    pub(in super::super) fn waker() -> Waker {
        // SAFETY: the functions of the table never look at the pointer.
        unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &VTABLE)) }
    }

    /// Runs `f` while wakers of this kind run `action`; it must have run.
    pub(in super::super) fn with(action: impl Fn() + 'static, f: impl FnOnce()) {
        ACTION.with(|slot| *slot.borrow_mut() = Some(Rc::new(action)));
        CALLS.set(0);
        f();
        ACTION.with(|slot| slot.borrow_mut().take());
        assert!(CALLS.get() > 0, "no waker was used");
    }
}

pub(super) fn poll_treacherously(future: &mut Wait<'_>) -> Poll<()> {
    let waker = treacherous::waker();
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

/// Every step of two waits, with wakers that do `action` to the primitive in all of it.
pub(super) fn check_reentrancy<P: 'static>(
    primitive: P,
    action: impl Fn(&P) + 'static,
    wait: impl for<'a> Fn(&'a P) -> Wait<'a>,
    serve: impl Fn(&P),
) {
    let primitive = Rc::new(primitive);
    let theirs = primitive.clone();
    treacherous::with(
        move || action(&theirs),
        || {
            for rounds in 0..3 {
                let (mut one, mut other) = (wait(&primitive), wait(&primitive));
                let step = |future: &mut Wait<'_>| poll_treacherously(future).is_ready();
                for _ in 0..=rounds {
                    if step(&mut one) {
                        one = wait(&primitive);
                    }
                    if step(&mut other) {
                        other = wait(&primitive);
                    }
                    serve(&primitive);
                }
            }
        },
    );
}

/// Pending once.
pub(super) async fn executor_free_yield() {
    let mut first = true;
    poll_fn(|_| match std::mem::take(&mut first) {
        true => Poll::Pending,
        false => Poll::Ready(()),
    })
    .await;
}

thread_local! {
    static WAIT: RefCell<Option<Wait<'static>>> = const { RefCell::new(None) };
    static SERVED: Cell<bool> = const { Cell::new(false) };
}

/// Polls the wait that it wakes, on the spot.
struct PollAtOnce;

impl Wake for PollAtOnce {
    fn wake(self: Arc<Self>) {
        let Some(mut wait) = WAIT.take() else { return };
        let mut context = Context::from_waker(Waker::noop());
        SERVED.set(wait.as_mut().poll(&mut context).is_ready());
    }
}

/// Lets a wait, which has to wait, be polled by its own waker, in the midst of what `serve` does.
pub(super) fn polled_by_its_waker(mut wait: Wait<'static>, serve: impl FnOnce()) {
    let waker = Waker::from(Arc::new(PollAtOnce));
    let polled = wait.as_mut().poll(&mut Context::from_waker(&waker));
    assert_eq!(polled, Poll::Pending);
    WAIT.set(Some(wait));
    SERVED.set(false);
    serve();
    assert!(SERVED.get());
}
