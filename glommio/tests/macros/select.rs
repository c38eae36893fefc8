//! `select!`.

use std::{
    cell::{Cell, RefCell},
    future::{Future, IntoFuture, Ready, pending, poll_fn, ready},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use futures_lite::{StreamExt, stream};
use glommio::{LocalExecutor, executor, select, spawn_local, timer::sleep};

/// Ready with a value when it is polled for the `n`-th time, and wakes itself until then.
fn after_polls<T: Unpin>(polls: u32, value: T) -> impl Future<Output = T> {
    let (mut left, mut value) = (polls, Some(value));
    poll_fn(move |context| {
        left -= 1;
        if left == 0 {
            return Poll::Ready(value.take().expect("polled after it was ready"));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
}

#[glommio::test]
async fn the_first_that_is_done_is_the_value() {
    let value = select! {
        never = pending::<u8>() => never,
        two = after_polls(2, 2) => two,
        _ = sleep(Duration::from_secs(600)) => 9,
    };
    assert_eq!(value, 2);
}

#[glommio::test]
async fn it_waits_for_wakes_from_elsewhere() {
    let value = select! {
        job = executor().spawn_blocking(|| 5) => job,
        never = pending() => never,
    };
    assert_eq!(value, 5);
}

#[glommio::test]
async fn one_branch_is_enough() {
    assert_eq!(select!(x = ready(4) => x + 1), 5);
}

/// Notes when it is dropped.
struct Witness<'a, F> {
    name: &'static str,
    log: &'a RefCell<Vec<&'static str>>,
    future: F,
}

impl<F: Future + Unpin> Future for Witness<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.future).poll(context)
    }
}

impl<F> Drop for Witness<'_, F> {
    fn drop(&mut self) {
        self.log.borrow_mut().push(self.name);
    }
}

#[glommio::test]
async fn all_futures_are_gone_when_the_handler_runs() {
    let log = RefCell::new(Vec::new());
    let witness = |name, done: bool| Witness {
        name,
        log: &log,
        future: poll_fn(move |_| if done { Poll::Ready(()) } else { Poll::Pending }),
    };
    select! {
        () = witness("first", false) => unreachable!(),
        () = witness("second", true) => log.borrow_mut().push("handler"),
        () = witness("third", false) => unreachable!(),
    }
    let log = log.into_inner();
    assert_eq!(log.len(), 4);
    assert_eq!(log[3], "handler");
}

#[glommio::test]
async fn futures_borrow_what_handlers_then_use() {
    struct Source(Vec<u8>);
    impl Source {
        async fn next(&mut self) -> Option<u8> {
            glommio::executor().yield_now().await;
            self.0.pop()
        }
    }
    let mut numbers = Source(vec![3, 2, 1]);
    let mut idle = Source(vec![]);
    let mut seen = Vec::new();
    loop {
        select! {
            biased;
            Some(number) = numbers.next() => {
                seen.push(number);
                numbers.0.retain(|n| *n != 2);
                idle.0.clear();
            }
            Some(_) = idle.next() => unreachable!(),
            else => break,
        }
    }
    assert_eq!(seen, [1, 3]);
}

#[glommio::test]
async fn biased_takes_the_first_that_is_written() {
    for _ in 0..100 {
        let which = select! {
            biased;
            _ = pending::<()>() => 0,
            _ = ready(()) => 1,
            _ = ready(()) => 2,
        };
        assert_eq!(which, 1);
    }
}

#[glommio::test]
async fn without_bias_every_branch_gets_its_turn() {
    let mut taken = [0; 4];
    for _ in 0..2_000 {
        let which = select! {
            _ = ready(()) => 0,
            _ = ready(()) => 1,
            _ = ready(()) => 2,
            _ = ready(()) => 3,
        };
        taken[which] += 1;
    }
    // 500 each; the deviation of that is 20.
    assert!(taken.iter().all(|n| (300..700).contains(n)), "{taken:?}");
}

#[glommio::test]
async fn biased_may_also_be_the_name_of_a_variable() {
    let twice = select! { biased = ready(4) => biased * 2 };
    assert_eq!(twice, 8);
}

#[glommio::test]
async fn a_false_condition_disables_its_branch_and_nothing_of_it_is_evaluated() {
    let mut queue: Option<Ready<u8>> = None;
    let value = select! {
        x = queue.as_mut().expect("only evaluated if it is there"), if queue.is_some() => x,
        x = after_polls(3, 3) => x,
    };
    assert_eq!(value, 3);
    let mut queue = Some(ready(7));
    let value = select! {
        x = queue.take().expect("it is there"), if queue.is_some() => x,
        x = pending() => x,
    };
    assert_eq!(value, 7);
}

#[glommio::test]
async fn conditions_see_what_futures_are_about_to_borrow() {
    let mut numbers = vec![1, 2];
    async fn pop(numbers: &mut Vec<u8>) -> Option<u8> {
        numbers.pop()
    }
    let value = select! {
        Some(x) = pop(&mut numbers), if !numbers.is_empty() => x,
        x = pending(), if numbers.len() > 1 => x,
    };
    assert_eq!(value, 2);
}

#[glommio::test]
async fn an_output_that_does_not_fit_disables_its_branch_and_the_others_go_on() {
    let polls = Cell::new(0);
    let unfit = poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Ready(Err::<u8, _>("unfit"))
    });
    let value = select! {
        biased;
        Ok(x) = unfit => x,
        x = after_polls(5, 1) => x,
    };
    assert_eq!((value, polls.get()), (1, 1));
}

#[glommio::test]
async fn an_output_that_does_not_fit_is_dropped_at_once() {
    let token = Rc::new(());
    let theirs = token.clone();
    select! {
        biased;
        (_kept, true) = ready((theirs, false)) => unreachable!(),
        () = async {
            executor().yield_now().await;
            assert_eq!(Rc::strong_count(&token), 1);
        } => {}
    }
}

#[glommio::test]
async fn else_runs_when_all_branches_are_disabled() {
    let value = select! {
        Some(x) = after_polls(2, None::<u8>) => x,
        1 = after_polls(3, 2) => 1,
        x = pending::<u8>(), if false => x,
        else => 77,
    };
    assert_eq!(value, 77);
}

#[glommio::test]
#[should_panic(expected = "all branches of select! are disabled")]
async fn without_else_all_branches_disabled_is_a_panic() {
    select! {
        Some(()) = ready(None) => {}
        () = ready(()), if false => {}
    }
}

#[glommio::test]
async fn blocks_need_no_comma_and_other_handlers_do() {
    let flag = true;
    let value = select! {
        biased;
        x = pending::<u8>() => { x }
        x = pending::<u8>() => if flag { x } else { 0 }
        x = pending::<u8>() => match x { 0 => 1, other => other }
        x = pending::<u8>() => loop { if flag { break x; } }
        Some(x) = ready(Some(3)) => { assert!(flag); x }
        x = ready(9) => x,
        else => { 0 }
    };
    assert_eq!(value, 3);
}

async fn first_line(lines: &[Result<u8, &'static str>]) -> Result<u8, &'static str> {
    let mut lines = stream::iter(lines.to_vec());
    'lines: loop {
        select! {
            Some(line) = lines.next() => {
                let number = line?;
                if number == 0 {
                    continue;
                }
                if number > 9 {
                    break 'lines Ok(number);
                }
                return Ok(number * 2);
            }
            else => return Err("empty"),
        }
    }
}

#[glommio::test]
async fn handlers_leave_the_function_and_the_loop_around_them() {
    assert_eq!(first_line(&[Ok(0), Ok(0), Ok(4)]).await, Ok(8));
    assert_eq!(first_line(&[Ok(0), Ok(10)]).await, Ok(10));
    assert_eq!(first_line(&[Ok(0), Err("bad"), Ok(1)]).await, Err("bad"));
    assert_eq!(first_line(&[Ok(0)]).await, Err("empty"));
}

#[glommio::test]
async fn futures_may_be_made_with_a_question_mark() {
    async fn run(source: Result<Ready<u8>, &str>) -> Result<u8, &str> {
        Ok(select! {
            x = source? => x,
            x = pending() => x,
        })
    }
    assert_eq!(run(Ok(ready(1))).await, Ok(1));
    assert_eq!(run(Err("none")).await, Err("none"));
}

#[glommio::test]
async fn a_future_that_is_lent_goes_on_in_the_next_round() {
    let mut slow = pin!(after_polls(10, "done"));
    let mut rounds = 0;
    let value = loop {
        rounds += 1;
        select! {
            biased;
            value = &mut slow => break value,
            () = after_polls(2, ()) => {}
        }
    };
    assert_eq!((value, rounds), ("done", 5));
    let mut task = spawn_local(async { 5 });
    let value = loop {
        select! {
            x = &mut task => break x,
            () = executor().yield_now() => {}
        }
    };
    assert_eq!(value, 5);
}

#[glommio::test]
#[allow(clippy::await_holding_refcell_ref, reason = "nobody else borrows")]
async fn temporaries_of_a_branch_live_as_long_as_its_future() {
    let numbers = RefCell::new(vec![1, 2]);
    let value = select! {
        Some(x) = stream::iter(numbers.borrow_mut().iter_mut()).map(|x| *x + 1).next() => {
            // The borrow is over.
            numbers.borrow_mut().clear();
            x
        }
        () = executor().yield_now() => 0,
    };
    assert_eq!((value, numbers.into_inner().len()), (2, 0));
}

#[glommio::test]
async fn handlers_may_await_and_select_again() {
    let value = select! {
        x = ready(1) => {
            executor().yield_now().await;
            select! {
                y = ready(x + 1) => select! { z = ready(y + 1) => z, },
                y = pending() => y,
            }
        }
        x = async { select! { x = pending() => x } } => x,
    };
    assert_eq!(value, 3);
}

/// What an output fits is decided without taking it apart, whatever the pattern.
#[glommio::test]
#[allow(clippy::needless_borrowed_reference, reason = "it is one more pattern")]
async fn any_pattern_will_do() {
    const LIMIT: u8 = 9;
    const NAME: &str = "name";
    struct Point {
        x: String,
        y: u8,
    }
    let point = || {
        ready(Point {
            x: String::from("p"),
            y: 4,
        })
    };

    // By value, also of what cannot be copied.
    let Some(name) =
        select!(Some(name) = ready(Some(String::from("n"))) => Some(name), else => None)
    else {
        unreachable!()
    };
    assert_eq!(name, "n");
    assert_eq!(
        select!(Point { x, y: 0..=5 } = point() => x, else => String::new()),
        "p"
    );
    assert_eq!(select!(Point { y: 5.., .. } = point() => 1, else => 0), 0);
    // Constants, variants without fields, literals.
    assert_eq!(select!(LIMIT = ready(9) => 1, else => 0), 1);
    assert_eq!(select!(LIMIT = ready(8) => 1, else => 0), 0);
    assert_eq!(select!(NAME = ready("name") => 1, else => 0), 1);
    assert_eq!(select!("other" = ready("name") => 1, else => 0), 0);
    assert_eq!(select!(None = ready(None::<String>) => 1, else => 0), 1);
    assert_eq!(
        select!(None = ready(Some(String::new())) => 1, else => 0),
        0
    );
    // Alternatives, bindings to subpatterns.
    assert_eq!(select!(Ok(x) | Err(x) = ready(Err::<u8, u8>(3)) => x), 3);
    assert_eq!(select!(| 1 | 2 = ready(2) => 1, else => 0), 1);
    assert_eq!(select!(n @ 1..=3 = ready(2) => n, else => 0), 2);
    // References.
    let numbers = [String::from("1"), String::from("2")];
    assert_eq!(select!([first, ..] = ready(&numbers) => first.len()), 1);
    assert_eq!(
        select!(&[_, ref second] = ready(&numbers) => second.as_str()),
        "2"
    );
    assert_eq!(select!(Some(&x) = ready(Some(&7)) => x, else => 0), 7);
    // Modes of binding.
    assert_eq!(
        select!(mut text = ready(String::from("a")) => { text.push('b'); text }),
        "ab"
    );
    assert_eq!(
        select!(ref text = ready(String::from("abc")) => text.len()),
        3
    );
    let mended = select! {
        Point { ref mut x, .. } = point() => {
            x.push('!');
            x.clone()
        }
    };
    assert_eq!(mended, "p!");
}

#[glommio::test]
async fn whatever_becomes_a_future_will_do() {
    struct Later(u8);
    impl IntoFuture for Later {
        type Output = u8;
        type IntoFuture = Ready<u8>;

        fn into_future(self) -> Ready<u8> {
            ready(self.0)
        }
    }
    let boxed: Pin<Box<dyn Future<Output = u8>>> = Box::pin(pending());
    assert_eq!(select!(x = Later(6) => x, x = boxed => x), 6);
}

#[test]
fn it_works_on_any_executor() {
    let value = futures_lite::future::block_on(async {
        select! { x = after_polls(4, 4) => x, x = pending() => x }
    });
    assert_eq!(value, 4);
    // A future with it may move between threads, if the parts may.
    fn send<T: Send>(value: T) -> T {
        value
    }
    let future = send(async {
        select! { x = ready(1) => x, x = pending() => x }
    });
    let value = std::thread::spawn(|| LocalExecutor::default().run(future)).join();
    assert_eq!(value.unwrap(), 1);
}

macro_rules! ready_or {
    ($future:expr, $otherwise:expr) => {
        select! {
            biased;
            value = $future => value,
            _ = ready(()) => $otherwise,
        }
    };
}

#[glommio::test]
async fn it_may_stand_in_other_macros() {
    assert_eq!(ready_or!(ready(1), 2), 1);
    assert_eq!(ready_or!(pending(), 2), 2);
}

#[glommio::test]
async fn there_is_room_for_64_branches() {
    let mut taken = [false; 64];
    while taken.contains(&false) {
        macro_rules! all {
            ($($number:literal)*) => {
                select! { $(_ = ready(()), if !taken[$number] => taken[$number] = true,)* }
            };
        }
        all!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31
             32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60
             61 62 63);
    }
}
