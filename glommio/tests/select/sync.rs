//! The primitives of `sync`.

use std::{
    cell::Cell,
    future::poll_fn,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task::Poll,
};

use glommio::{
    executor,
    sync::{
        Barrier, CancellationToken, Gate, Mutex, Notify, OnceCell, RwLock, Semaphore, StaticPermit,
    },
};

use super::harness::{
    Count, Wait, check_hand_over, check_reentrancy, executor_free_yield, give_up_after, poll,
    poll_treacherously, polled_by_its_waker, stress, treacherous,
};

#[test]
fn a_semaphore_hands_over_what_a_dropped_wait_had() {
    let semaphore = Semaphore::new(0);
    let wait = || -> Wait<'_> { Box::pin(async { semaphore.acquire(1).await.unwrap() }) };
    check_hand_over(&wait, &|| semaphore.signal(1));
    assert_eq!(semaphore.available(), 0);
}

#[test]
fn a_notification_goes_to_the_next_if_the_chosen_one_is_dropped() {
    let notify = Notify::new();
    let wait = || -> Wait<'_> { Box::pin(notify.notified()) };
    check_hand_over(&wait, &|| notify.notify_one());

    // And is remembered if there is no next.
    let count = Arc::default();
    let mut only = wait();
    assert!(poll(&mut only, 1, &count).is_pending());
    notify.notify_one();
    drop(only);
    assert!(poll(&mut wait(), 1, &count).is_ready());
    assert!(poll(&mut wait(), 1, &count).is_pending());
}

#[test]
fn a_mutex_hands_over_what_a_dropped_wait_had() {
    for victim in 0..3 {
        for served_before in [false, true] {
            let mutex = Mutex::new(0);
            let guard = mutex.try_lock().unwrap();
            let counts: [Arc<Count>; 3] = Default::default();
            let mut waits: Vec<Option<Wait<'_>>> = (0..3)
                .map(|_| -> Option<Wait<'_>> {
                    Some(Box::pin(async { *mutex.lock().await.unwrap() += 1 }))
                })
                .collect();
            for (wait, count) in waits.iter_mut().flatten().zip(&counts) {
                assert!(poll(wait, 2, count).is_pending());
            }
            if served_before {
                drop(guard);
                drop(waits[victim].take());
            } else {
                drop(waits[victim].take());
                drop(guard);
            }
            for (wait, count) in waits.iter_mut().zip(&counts) {
                let Some(wait) = wait else { continue };
                assert_eq!(count.0.load(Ordering::Relaxed), 1);
                assert!(poll(wait, 1, count).is_ready());
            }
            assert_eq!(*mutex.try_lock().unwrap(), 2);
        }
    }
}

#[test]
fn readers_behind_a_dropped_writer_go_ahead() {
    let lock = RwLock::new(0);
    let reading = lock.try_read().unwrap();
    let counts: [Arc<Count>; 3] = Default::default();
    let mut writer: Wait<'_> = Box::pin(async { drop(lock.write().await.unwrap()) });
    let mut readers: [Wait<'_>; 2] = std::array::from_fn(|_| -> Wait<'_> {
        Box::pin(async { drop(lock.read().await.unwrap()) })
    });
    assert!(poll(&mut writer, 1, &counts[0]).is_pending());
    for (reader, count) in readers.iter_mut().zip(&counts[1..]) {
        assert!(
            poll(reader, 1, count).is_pending(),
            "it would starve the writer"
        );
    }
    assert!(lock.try_read().is_err());
    drop(writer);
    for (reader, count) in readers.iter_mut().zip(&counts[1..]) {
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(poll(reader, 1, count).is_ready());
    }
    drop(reading);
    assert!(lock.try_write().is_ok());
}

#[test]
fn an_initialiser_that_is_dropped_leaves_its_turn_to_the_next() {
    for polls in 1..4 {
        let cell = OnceCell::new();
        let counts: [Arc<Count>; 3] = Default::default();
        let mut waits: Vec<Wait<'_>> = (0..3)
            .map(|i| -> Wait<'_> {
                let cell = &cell;
                Box::pin(async move {
                    let pause = poll_fn(move |_| match i {
                        2 => Poll::Ready(()),
                        _ => Poll::Pending,
                    });
                    cell.get_or_init(|| async {
                        pause.await;
                        i
                    })
                    .await;
                })
            })
            .collect();
        for (wait, count) in waits.iter_mut().zip(&counts) {
            assert!(poll(wait, polls, count).is_pending());
        }
        drop(waits.remove(0)); // while it initialises: the turn goes to 1
        assert_eq!(counts[1].0.load(Ordering::Relaxed), 1);
        drop(waits.remove(0)); // before it has taken its turn: the turn goes to 2
        assert_eq!(counts[2].0.load(Ordering::Relaxed), 1);
        assert!(poll(&mut waits[0], 1, &counts[2]).is_ready());
        assert_eq!(cell.get(), Some(&2));
    }
}

#[test]
fn an_arrival_that_is_dropped_does_not_count() {
    let barrier = Barrier::new(2);
    let count = Arc::default();
    let wait = || -> Wait<'_> { Box::pin(async { _ = barrier.wait().await }) };
    let (mut first, mut second, mut third) = (wait(), wait(), wait());
    assert!(poll(&mut first, 3, &count).is_pending());
    drop(first);
    assert!(poll(&mut second, 3, &count).is_pending());
    assert!(poll(&mut third, 1, &count).is_ready());
    drop(third);
    // The second was released, so that dropping it changes nothing for the next round.
    drop(second);
    let (mut fourth, mut fifth) = (wait(), wait());
    assert!(poll(&mut fourth, 1, &count).is_pending());
    assert!(poll(&mut fifth, 1, &count).is_ready());
    assert!(poll(&mut fourth, 1, &count).is_ready());
}

#[test]
fn closing_a_gate_can_be_given_up_and_taken_up_again() {
    let gate = Gate::new();
    let pass = gate.enter().unwrap();
    let counts: [Arc<Count>; 2] = Default::default();
    let close = || -> Wait<'_> {
        let closing = gate.close();
        Box::pin(async { closing.await.unwrap() })
    };
    let (mut one, mut other) = (close(), close());
    assert!(poll(&mut one, 2, &counts[0]).is_pending());
    assert!(poll(&mut other, 2, &counts[1]).is_pending());
    drop(one);
    assert!(gate.enter().is_err());
    drop(pass);
    assert_eq!(counts[0].0.load(Ordering::Relaxed), 0);
    assert_eq!(counts[1].0.load(Ordering::Relaxed), 1);
    assert!(poll(&mut other, 1, &counts[1]).is_ready());
    assert!(poll(&mut close(), 1, &counts[0]).is_ready());
}

#[test]
fn waiting_for_a_cancellation_can_be_given_up_and_taken_up_again() {
    let token = CancellationToken::new();
    let attached = token.foreign_child().attach();
    for token in [&token, &attached] {
        let count: Arc<Count> = Arc::default();
        for polls in 1..4 {
            let mut wait: Wait<'_> = Box::pin(token.cancelled());
            assert!(poll(&mut wait, polls, &count).is_pending());
        }
        assert_eq!(
            Arc::strong_count(&count),
            1,
            "a dropped wait keeps no waker"
        );
    }
    let counts: [Arc<Count>; 2] = Default::default();
    let mut waits: [Wait<'_>; 2] = [Box::pin(token.cancelled()), Box::pin(attached.cancelled())];
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert!(poll(wait, 1, count).is_pending());
    }
    token.cancel();
    for (wait, count) in waits.iter_mut().zip(&counts) {
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(poll(wait, 1, count).is_ready());
    }
}

#[test]
fn a_semaphore_survives_tasks_that_give_up() {
    let semaphore = stress(
        Semaphore::new(3),
        async |semaphore| {
            let _permit = semaphore.acquire_permit(2).await.unwrap();
            executor().yield_now().await;
        },
        async |semaphore, polls| {
            if let Some(permit) = give_up_after(polls, semaphore.acquire_permit(1)).await {
                executor().yield_now().await;
                drop(permit);
            }
        },
    );
    assert_eq!(semaphore.available(), 3);
}

#[test]
fn a_lock_survives_tasks_that_give_up() {
    let lock = stress(
        RwLock::new(0),
        async |lock| {
            let mut guard = lock.write().await.unwrap();
            let before = *guard;
            executor().yield_now().await;
            *guard = before + 1;
        },
        async |lock, polls| {
            if polls % 2 == 0 {
                drop(give_up_after(polls, lock.read()).await);
            } else if let Some(guard) = give_up_after(polls, lock.write()).await {
                executor().yield_now().await;
                drop(guard);
            }
        },
    );
    assert_eq!(*lock.try_write().unwrap(), 5 * 500);
}

#[test]
fn a_notification_survives_tasks_that_give_up() {
    let state = stress(
        (Notify::new(), Cell::new(0_u32)),
        async |(notify, tokens)| {
            // Gives a token and takes one: the number of tokens never stays below what is needed.
            tokens.set(tokens.get() + 1);
            notify.notify_one();
            while tokens.get() == 0 {
                notify.notified().await;
            }
            tokens.set(tokens.get() - 1);
            if tokens.get() > 0 {
                notify.notify_one();
            }
            executor().yield_now().await;
        },
        async |(notify, tokens), polls| {
            if give_up_after(polls, notify.notified()).await.is_some() && tokens.get() > 0 {
                notify.notify_one(); // received and not needed: passed on
            }
        },
    );
    assert_eq!(state.1.get(), 0);
}

#[test]
fn wakers_may_use_the_semaphore_that_calls_them() {
    check_reentrancy(
        Semaphore::new(0),
        |semaphore| {
            drop(semaphore.try_acquire_permit(1));
            let mut wait: Wait<'_> = Box::pin(async { drop(semaphore.acquire(2).await) });
            let _ = poll(&mut wait, 1, &Arc::default());
            drop(wait);
            semaphore.signal(1);
            let _ = format!("{semaphore:?}");
        },
        |semaphore| Box::pin(async { drop(semaphore.acquire(1).await) }),
        |semaphore| semaphore.signal(1),
    );
}

#[test]
fn wakers_may_use_the_lock_that_calls_them() {
    check_reentrancy(
        RwLock::new(0),
        |lock| {
            drop(lock.try_write());
            drop(lock.try_read());
            let mut wait: Wait<'_> = Box::pin(async { drop(lock.read().await) });
            let _ = poll(&mut wait, 1, &Arc::default());
            let _ = format!("{lock:?}");
        },
        |lock| {
            Box::pin(async {
                let _guard = lock.write().await;
                let mut first = true;
                poll_fn(|_| match std::mem::take(&mut first) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                })
                .await;
            })
        },
        |_| {},
    );
}

#[test]
fn wakers_may_use_the_others_that_call_them() {
    check_reentrancy(
        Notify::new(),
        |notify| {
            let mut wait: Wait<'_> = Box::pin(notify.notified());
            let _ = poll(&mut wait, 1, &Arc::default());
            notify.notify_one();
        },
        |notify| Box::pin(notify.notified()),
        |notify| notify.notify_waiters(),
    );
    check_reentrancy(
        Barrier::new(2),
        |barrier| {
            let mut wait: Wait<'_> = Box::pin(async { _ = barrier.wait().await });
            let _ = poll(&mut wait, 1, &Arc::default());
        },
        |barrier| Box::pin(async { _ = barrier.wait().await }),
        |_| {},
    );
    check_reentrancy(
        Gate::new(),
        |gate| {
            let _ = gate.enter();
            drop(gate.close());
        },
        |gate| {
            Box::pin(async {
                let _pass = gate.enter();
                let closing = gate.close();
                drop(closing.await);
            })
        },
        |_| {},
    );
    check_reentrancy(
        OnceCell::<u32>::new(),
        |cell| {
            let mut wait: Wait<'_> =
                Box::pin(async { _ = cell.get_or_try_init(|| async { Err(()) }).await });
            let _ = poll(&mut wait, 1, &Arc::default());
            let _ = cell.get();
        },
        |cell| {
            Box::pin(async {
                let init = || async {
                    executor_free_yield().await;
                    Err(())
                };
                _ = cell.get_or_try_init(init).await;
            })
        },
        |_| {},
    );
    check_reentrancy(
        CancellationToken::new(),
        |token| {
            let child = token.child_token();
            let mut wait: Wait<'_> = Box::pin(child.cancelled());
            let _ = poll(&mut wait, 1, &Arc::default());
            child.cancel();
        },
        |token| Box::pin(token.cancelled()),
        |_| {},
    );
}

#[test]
fn a_verdict_that_comes_while_the_waker_is_cloned_is_not_missed() {
    // The second poll's clone serves the wait, which wakes the waker of the first poll.
    let semaphore = Rc::new(Semaphore::new(0));
    let theirs = semaphore.clone();
    let mut wait: Wait<'_> = Box::pin(async { semaphore.acquire(1).await.unwrap() });
    assert!(poll(&mut wait, 1, &Arc::default()).is_pending());
    treacherous::with(
        move || theirs.signal(1),
        || assert!(poll_treacherously(&mut wait).is_ready()),
    );
}

#[test]
fn a_permit_may_be_dropped_inside_of_a_waker() {
    let semaphore = Rc::new(Semaphore::new(1));
    let held: Rc<Cell<Option<StaticPermit>>> = Rc::default();
    held.set(semaphore.try_acquire_static_permit(1).ok());
    let theirs = held.clone();
    let mut wait: Wait<'_> = Box::pin(async { semaphore.acquire(1).await.unwrap() });
    treacherous::with(
        move || drop(theirs.take()),
        || assert!(poll_treacherously(&mut wait).is_ready()),
    );
}

#[test]
fn a_guard_ends_its_borrow_before_it_wakes() {
    // Leaked, so that the waits may stand in a thread-local.
    let lock: &RwLock<u32> = Box::leak(Box::new(RwLock::new(0)));
    let mutex: &Mutex<u32> = Box::leak(Box::new(Mutex::new(0)));
    let write = || -> Wait<'static> { Box::pin(async { drop(lock.write().await.unwrap()) }) };
    let held = lock.try_read().unwrap();
    polled_by_its_waker(write(), || drop(held));
    let held = lock.try_write().unwrap();
    polled_by_its_waker(write(), || drop(held));
    let held = mutex.try_lock().unwrap();
    let again = Box::pin(async { drop(mutex.lock().await.unwrap()) });
    polled_by_its_waker(again, || drop(held));
}
