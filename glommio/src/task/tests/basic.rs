//! Spawning, waking, joining, cancelling and tear-down.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, RawWaker, RawWakerVTable, Waker},
    thread,
};

use super::{
    super::{RunOutcome, spawn, take_turn},
    toy::{Toy, forever, message, poll_once, yield_now},
};

/// Counts its drops.
struct Counted(Rc<Cell<usize>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// A future that never completes, counts its drops and leaves its waker.
fn waiting(
    drops: &Rc<Cell<usize>>,
    waker: &Rc<RefCell<Option<Waker>>>,
) -> impl Future<Output = ()> + use<> {
    let counted = Counted(drops.clone());
    let waker = waker.clone();
    poll_fn(move |cx| {
        let _held = &counted;
        waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    })
}

#[test]
fn a_spawned_task_runs_and_its_handle_gives_the_output() {
    let toy = Toy::new();
    let task = toy.spawn(async { 7 });
    assert_eq!(toy.block_on(task), 7);
}

#[test]
fn a_task_runs_once_however_often_it_was_woken() {
    let toy = Toy::new();
    let polls = Rc::new(Cell::new(0));
    let waker: Rc<RefCell<Option<Waker>>> = Rc::default();
    let task = toy.spawn(poll_fn({
        let (polls, waker) = (polls.clone(), waker.clone());
        move |cx| {
            polls.set(polls.get() + 1);
            waker.replace(Some(cx.waker().clone()));
            Poll::<()>::Pending
        }
    }));
    toy.settle();
    assert_eq!(polls.get(), 1);
    toy.enter(|| (0..5).for_each(|_| waker.borrow().as_ref().unwrap().wake_by_ref()));
    toy.settle();
    assert_eq!(polls.get(), 2);
    drop(task);
}

#[test]
fn a_wake_during_the_poll_is_not_lost() {
    let toy = Toy::new();
    let task = toy.spawn(async {
        for _ in 0..10 {
            yield_now().await;
        }
        "done"
    });
    assert_eq!(toy.block_on(task), "done");
}

#[test]
fn a_wake_from_another_thread_goes_through_the_inbox() {
    let toy = Toy::new();
    let (send, receive) = std::sync::mpsc::channel::<Waker>();
    let woken = thread::spawn(move || receive.recv().unwrap().wake());
    let task = toy.spawn(async move {
        let mut sent = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut sent, true) {
                return Poll::Ready(());
            }
            send.send(cx.waker().clone()).unwrap();
            Poll::Pending
        })
        .await;
    });
    toy.block_on(task);
    woken.join().unwrap();
}

#[test]
fn dropping_the_handle_cancels_and_detaching_does_not() {
    let toy = Toy::new();
    let (drops, waker) = (Rc::new(Cell::new(0)), Rc::default());
    let cancelled = toy.spawn(waiting(&drops, &waker));
    toy.settle();
    toy.enter(|| drop(cancelled));
    toy.settle();
    assert_eq!((drops.get(), toy.scheduler.cancelled.get()), (1, 1));

    let ran = Rc::new(Cell::new(false));
    let flag = ran.clone();
    let handle = toy.spawn(async move { flag.set(true) }).detach();
    drop(handle);
    toy.settle();
    assert!(ran.get());
}

#[test]
fn cancel_gives_nothing_only_after_the_future_is_gone() {
    let toy = Toy::new();
    let (drops, waker) = (Rc::new(Cell::new(0)), Rc::default());
    let task = toy.spawn(waiting(&drops, &waker));
    toy.settle();
    assert!(toy.block_on(task.cancel()).is_none());
    assert_eq!(drops.get(), 1);
    let done = toy.spawn(async { 5 });
    toy.settle();
    assert_eq!(toy.block_on(done.cancel()), Some(5));
}

#[test]
fn a_join_handle_tells_cancelled_from_completed() {
    let toy = Toy::new();
    let completed = toy.spawn(async { 1 }).detach();
    assert_eq!(toy.block_on(completed), Some(1));
    let cancelled = toy.spawn(forever()).detach();
    toy.enter(|| cancelled.cancel());
    assert_eq!(toy.block_on(cancelled), None);
}

#[test]
fn a_panic_resumes_at_the_await_or_goes_to_the_executor() {
    let toy = Toy::new();
    let task = toy.spawn(async { panic!("awaited") });
    let payload = catch_unwind(AssertUnwindSafe(|| toy.block_on(task))).unwrap_err();
    assert_eq!(message(&payload), "awaited");
    assert!(toy.panic_messages().is_empty());

    drop(toy.spawn(async { panic!("detached") }).detach());
    toy.settle();
    assert_eq!(toy.panic_messages(), ["detached"]);
}

#[test]
fn a_panic_ends_a_batch_and_the_tasks_behind_it_stay_queued() {
    let toy = Toy::new();
    drop(toy.spawn(async {}).detach());
    drop(toy.spawn(async { panic!("in a batch") }).detach());
    drop(toy.spawn(async {}).detach());
    toy.enter(|| {
        let told = Cell::new(0);
        let run = || {
            toy.scheduler.queue.run(|outcome| {
                assert!(matches!(outcome, RunOutcome::Done));
                told.set(told.get() + 1);
                true
            })
        };
        let Some(RunOutcome::Panicked(payload)) = run() else {
            panic!("the panic is not the outcome");
        };
        assert_eq!((message(&payload).as_str(), told.get()), ("in a batch", 1));
        assert!(run().is_none());
        assert_eq!((told.get(), toy.tasks.len()), (2, 0));
    });
}

#[test]
fn what_a_turn_wakes_and_spawns_goes_straight_to_its_queue() {
    let toy = Toy::new();
    let run_turn = || {
        toy.enter(|| take_turn(0, &toy.scheduler.queue, || while toy.step() {}));
    };
    let ran = Rc::new(Cell::new(0));
    let count = ran.clone();
    drop(
        toy.spawn(async move {
            spawn(async {}).await;
            count.set(count.get() + 1);
        })
        .detach(),
    );
    let scheduled = toy.scheduler.scheduled.get();
    run_turn();
    assert_eq!((ran.get(), toy.tasks.len()), (1, 0));
    assert_eq!(
        toy.scheduler.scheduled.get(),
        scheduled,
        "asked the executor"
    );

    // Of another queue, and out of a turn, the executor decides.
    toy.enter(|| {
        drop(toy.tasks.spawn(1, async {}).detach());
        take_turn(0, &toy.scheduler.queue, || {
            drop(toy.tasks.spawn(1, async {}).detach());
        });
    });
    assert_eq!(toy.scheduler.scheduled.get(), scheduled + 2);
    toy.settle();
    assert_eq!(toy.tasks.len(), 0);
}

/// A waker whose clone ends the executor of the task that it is to be woken by.
struct Ender {
    toy: Toy,
    woken: Cell<u32>,
}

static ENDER: RawWakerVTable = RawWakerVTable::new(
    |data| {
        ender(data).toy.close();
        RawWaker::new(data, &ENDER)
    },
    |data| ender(data).woken.set(ender(data).woken.get() + 1),
    |data| ender(data).woken.set(ender(data).woken.get() + 1),
    |_| (),
);

fn ender<'a>(data: *const ()) -> &'a Ender {
    // SAFETY: the only waker with this table is made of a reference to an `Ender` that outlives it.
    unsafe { &*data.cast() }
}

#[test]
fn a_task_that_ends_while_its_handle_registers_wakes_it() {
    let ender = Ender {
        toy: Toy::new(),
        woken: Cell::new(0),
    };
    let mut handle = ender.toy.spawn(forever()).detach();
    let data = (&raw const ender).cast();
    // SAFETY: the functions do what a waker's must, on the one thread that has it.
    let waker = unsafe { Waker::from_raw(RawWaker::new(data, &ENDER)) };
    let mut poll = || Pin::new(&mut handle).poll(&mut Context::from_waker(&waker));
    assert!(poll().is_pending());
    assert_eq!(ender.woken.get(), 1);
    assert_eq!(poll(), Poll::Ready(None));
}

#[test]
fn tear_down_drops_every_future_whatever_it_waits_for() {
    let toy = Toy::new();
    let (drops, waker) = (Rc::new(Cell::new(0)), Rc::default());
    let held = toy.spawn(waiting(&drops, &waker));
    let detached = toy.spawn(waiting(&drops, &waker)).detach();
    toy.settle();
    // Not polled even once.
    drop(toy.spawn(waiting(&drops, &waker)).detach());
    let report = toy.close();
    assert_eq!((report.dropped, drops.get()), (3, 3));
    assert!(toy.panic_messages().is_empty());
    assert!(poll_once(&mut { detached }).is_ready());
    drop(held);
}

#[test]
fn late_wakers_after_the_executor_is_gone_are_noops_from_any_thread() {
    let toy = Toy::new();
    let (drops, waker) = (
        Rc::new(Cell::new(0)),
        Rc::<RefCell<Option<Waker>>>::default(),
    );
    let handle = toy.spawn(waiting(&drops, &waker)).detach();
    toy.settle();
    drop(toy);
    assert_eq!(drops.get(), 1);
    let waker = waker.take().unwrap();
    let clone = waker.clone();
    thread::spawn(move || {
        clone.wake_by_ref();
        let second = clone.clone();
        second.wake();
        drop(clone);
    })
    .join()
    .unwrap();
    waker.wake_by_ref();
    waker.wake();
    drop(handle);
}

#[test]
fn a_task_woken_from_afar_and_then_torn_down_is_freed_once() {
    let toy = Toy::new();
    let (drops, waker) = (
        Rc::new(Cell::new(0)),
        Rc::<RefCell<Option<Waker>>>::default(),
    );
    drop(toy.spawn(waiting(&drops, &waker)).detach());
    toy.settle();
    let waker = waker.take().unwrap();
    // In the inbox while the executor goes away.
    thread::spawn(move || waker.wake()).join().unwrap();
    assert!(!toy.tasks.inbox_is_empty());
    drop(toy);
    assert_eq!(drops.get(), 1);
}

#[test]
fn panicking_destructors_are_reported_and_stop_nothing() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let toy = Toy::new();
    for _ in 0..3 {
        let bomb = Bomb;
        drop(
            toy.spawn(async move {
                let _bomb = bomb;
                forever().await;
            })
            .detach(),
        );
    }
    toy.settle();
    let report = toy.close();
    assert_eq!(report.dropped, 3);
    assert_eq!(toy.panic_messages(), ["in a destructor"; 3]);
}

#[test]
fn a_destructor_that_spawns_while_the_executor_ends_leaves_nothing_behind() {
    let toy = Rc::new(Toy::new());
    let drops = Rc::new(Cell::new(0));
    struct Spawner(Rc<Toy>, Rc<Cell<usize>>);
    impl Drop for Spawner {
        fn drop(&mut self) {
            let counted = Counted(self.1.clone());
            drop(
                self.0
                    .tasks
                    .spawn(0, async move {
                        let _counted = counted;
                        forever().await;
                    })
                    .detach(),
            );
        }
    }
    let spawner = Spawner(toy.clone(), drops.clone());
    drop(
        toy.spawn(async move {
            let _spawner = spawner;
            forever().await;
        })
        .detach(),
    );
    toy.settle();
    let report = toy.close();
    assert_eq!((report.forgotten, drops.get()), (0, 1));
}

#[test]
fn a_scoped_task_may_borrow_and_is_gone_with_its_handle() {
    let toy = Toy::new();
    let text = String::from("borrowed");
    // SAFETY: the handle is awaited in this frame, before `text` goes.
    let task = unsafe { toy.spawn_scoped(async { text.len() }) };
    assert_eq!(toy.block_on(task), 8);
}
