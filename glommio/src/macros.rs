//! The macros by example of the crate's root.

/// Converts a [`GlommioError`](crate::GlommioError) into a [`std::io::Error`].
///
/// The long way to write it is `std::io::Error::from(error)`, and `?` does the same. The kind is
/// the one that fits the error; an error of the operating system keeps its number.
///
/// # Examples
///
/// ```
/// use glommio::{GlommioError, to_io_error};
/// use std::{io, time::Duration};
///
/// let error: GlommioError<()> = GlommioError::TimedOut(Duration::from_secs(1));
/// let error = to_io_error!(error);
/// assert_eq!(error.kind(), io::ErrorKind::TimedOut);
/// assert_eq!(error.to_string(), "Operation timed out after 1s");
/// ```
#[macro_export]
macro_rules! to_io_error {
    ($error:expr) => {
        ::std::io::Error::from($error)
    };
}

/// Runs `body` and is its value; `ptr` is evaluated first, and `name` is a remark for readers.
///
/// Kept for code written for 0.9, where it marked what a task under observation was doing. With
/// the feature `debugging` every task is observed, so there is nothing left to mark.
///
/// # Examples
///
/// ```
/// let task = 7;
/// assert_eq!(glommio::dbg_context!(&task, "answer", { 6 * 7 }), 42);
/// ```
#[macro_export]
macro_rules! dbg_context {
    ($ptr:expr, $name:tt, $($body:tt)*) => {{
        let _ = $ptr;
        $($body)*
    }};
}

/// Waits for several futures at once, and goes on with the first that is done.
///
/// ```text
/// select! {
///     biased;                                            // optional
///     <pattern> = <future> => <handler>,
///     <pattern> = <future>, if <condition> => <handler>,
///     else => <handler>,                                 // optional
/// }
/// ```
///
/// It is an expression of an `async` function or block, whose value is that of the handler that
/// runs. There may be up to 64 branches.
///
/// 1. The conditions are evaluated, in the order of the branches. A branch whose condition is false is
///    *disabled*: its future is not even made.
/// 2. The futures of the other branches are made, in order. Anything that is [`IntoFuture`] will do, also
///    `&mut future`. They may borrow local variables; one variable mutably in one branch only.
///    Temporaries of the expression (`executor()` in `executor().yield_now()`) live as long as the
///    future; in a branch with a condition they do not, so bind them before.
/// 3. All of them are polled until one is done. Which is polled first is random each time, so that none
///    starves; with `biased;` it is the one that is written first.
/// 4. An output that does not fit the pattern is dropped and disables its branch, and the others go on.
///    One that fits selects its branch: the futures of *all* branches are dropped, then the handler
///    runs with the variables of the pattern. So handlers may use whatever the futures had borrowed,
///    and `await`, and leave the enclosing function or loop by `?`, `return`, `break` or `continue`.
/// 5. When all branches are disabled, the handler of `else` runs.
///
/// A handler that is a block, or `if`, `match` or a loop, needs no comma after it.
///
/// # Panics
///
/// When all branches are disabled and there is no `else`.
///
/// # Cancel safety
///
/// Futures that lose are dropped wherever they wait. What that loses is up to each of them; to keep
/// one for the next round of a loop, make it before the loop, pin it, and give `&mut future` to the branch.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use glommio::{LocalExecutor, select, spawn_local, timer::sleep};
///
/// LocalExecutor::default().run(async {
///     let mut job = spawn_local(async { 6 * 7 });
///     let answer = select! {
///         answer = &mut job => Some(answer),
///         _ = sleep(Duration::from_secs(60)) => None,
///     };
///     assert_eq!(answer, Some(42));
/// });
/// ```
///
/// A loop that ends when all its streams have ended:
///
/// ```
/// use futures_lite::{StreamExt, stream};
/// use glommio::{LocalExecutor, select};
///
/// let sum = LocalExecutor::default().run(async {
///     let (mut small, mut large) = (stream::iter([1, 2]), stream::iter([100, 200, 300]));
///     let mut sum = 0;
///     loop {
///         select! {
///             Some(number) = small.next() => sum += number,
///             Some(number) = large.next(), if sum >= 3 => {
///                 sum += number;
///             }
///             else => break sum,
///         }
///     }
/// });
/// assert_eq!(sum, 603);
/// ```
#[macro_export]
macro_rules! select {
    ($($branches:tt)*) => {
        $crate::macro_support::expand_select! { $crate $($branches)* }
    };
}
