//! Finding tasks that do not get on: the task debugger.
//!
//! With the cargo feature `debugging`, every task keeps a name, a count of its polls and the times of
//! its last poll and wake-up, at the price of a clock reading per poll and per wake-up. Without the feature none
//! of it exists.
//!
//! # Examples
//!
//! A watchdog that names tasks which have not been polled for ten seconds, and those which never will
//! be:
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use glommio::{LocalExecutor, spawn_local, task::debugging::TaskDebugger, timer::sleep};
//!
//! LocalExecutor::default().run(async {
//!     spawn_local(async {
//!         TaskDebugger::name_current_task("watchdog");
//!         loop {
//!             sleep(Duration::from_secs(10)).await;
//!             for report in [
//!                 TaskDebugger::stuck(Duration::from_secs(10)),
//!                 TaskDebugger::leaked(),
//!             ] {
//!                 if !report.is_empty() {
//!                     eprintln!("{report}");
//!                 }
//!             }
//!         }
//!     })
//!     .detach();
//!     // …
//! });
//! ```

use core::{fmt, slice};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use super::{
    context,
    header::TaskPtr,
    join::{JoinHandle, ScopedTask, Task},
    live::LiveTasks,
    polling::polling,
    state::{CLOSED, COMPLETED, HANDLE, RUNNING, SCHEDULED},
};

/// Looks at the live tasks of the executor that runs on this thread.
///
/// A task is live from its spawning until its future is dropped. What [`LocalExecutor::run`] runs is
/// a task, too.
///
/// [`LocalExecutor::run`]: crate::LocalExecutor::run
///
/// # Examples
///
/// ```
/// use std::{future::pending, time::Duration};
///
/// use glommio::{LocalExecutor, spawn_local, task::debugging::TaskDebugger};
///
/// LocalExecutor::default().run(async {
///     let task = spawn_local(async {
///         TaskDebugger::name_current_task("forgotten");
///         pending::<()>().await
///     });
///     drop(task.detach());
///     glommio::executor().yield_now().await;
///     assert_eq!(TaskDebugger::tasks().len(), 2);
///     assert!(TaskDebugger::leaked().named("forgotten").is_some());
///     assert!(TaskDebugger::stuck(Duration::from_secs(60)).is_empty());
/// });
/// ```
#[derive(Debug)]
pub struct TaskDebugger(());

impl TaskDebugger {
    /// Names the task that is being polled. Returns whether there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// use glommio::{LocalExecutor, task::debugging::TaskDebugger};
    ///
    /// LocalExecutor::default().run(async {
    ///     assert!(TaskDebugger::name_current_task("main"));
    ///     assert_eq!(TaskDebugger::tasks().tasks()[0].name, "main");
    /// });
    /// assert!(!TaskDebugger::name_current_task("no task is running"));
    /// ```
    pub fn name_current_task(name: &str) -> bool {
        let task = polling();
        if let Some(task) = task {
            task.trace.set_name(name);
        }
        task.is_some()
    }

    /// Names the task of a handle. A task that has ended keeps no name.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::future::pending;
    ///
    /// use glommio::{LocalExecutor, spawn_local, task::debugging::TaskDebugger};
    ///
    /// LocalExecutor::default().run(async {
    ///     let task = spawn_local(pending::<()>());
    ///     TaskDebugger::name_task(&task, "forever");
    ///     assert!(TaskDebugger::tasks().named("forever").is_some());
    /// });
    /// ```
    pub fn name_task(handle: &impl TaskHandle, name: &str) {
        handle.set_name(name);
    }

    /// All live tasks, in the order in which they were spawned.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    #[track_caller]
    pub fn tasks() -> TaskReport {
        match snapshot() {
            Some(report) => report,
            None => panic!(
                "the task debugger needs a running glommio executor on the current thread; call it \
                 from a future that LocalExecutor::run or LocalExecutorBuilder::spawn drives"
            ),
        }
    }

    /// The tasks that have not been polled for longer than `duration`, or never since they were
    /// spawned before that.
    ///
    /// That is no fault in itself: a task that waits for a rare event looks the same as one whose
    /// event was forgotten. What the task was expected to do tells them apart.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    #[track_caller]
    pub fn stuck(duration: Duration) -> TaskReport {
        TaskDebugger::tasks().filtered(|task| task.since_poll.unwrap_or(task.age) > duration)
    }

    /// The tasks that can never run again, because nobody is left who could wake them.
    ///
    /// Such a task is idle; no waker of it exists; it awaits no task but leaked ones; and its handle
    /// is dropped, or another leaked task is awaiting it. It is a fault in any case: its memory, and
    /// what it holds, stay until the executor ends.
    ///
    /// Not every leak shows: a waker that is itself stored in leaked memory still counts as one, and
    /// so does a handle that is stored without being awaited. [`stuck`](Self::stuck) has those too.
    ///
    /// # Panics
    ///
    /// Outside of an executor.
    #[track_caller]
    pub fn leaked() -> TaskReport {
        TaskDebugger::tasks().filtered(|task| task.leaked)
    }
}

/// A handle whose task can be named: [`Task`], [`ScopedTask`] or [`JoinHandle`].
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, spawn_local, task::debugging::TaskDebugger};
///
/// LocalExecutor::default().run(async {
///     let handle = spawn_local(async {}).detach();
///     TaskDebugger::name_task(&handle, "detached");
///     assert!(TaskDebugger::tasks().named("detached").is_some());
/// });
/// ```
pub trait TaskHandle: sealed::SetName {}

impl<T> TaskHandle for Task<T> {}
impl<T> TaskHandle for ScopedTask<'_, T> {}
impl<T> TaskHandle for JoinHandle<T> {}

mod sealed {
    pub trait SetName {
        fn set_name(&self, name: &str);
    }
}

impl<T> sealed::SetName for Task<T> {
    fn set_name(&self, name: &str) {
        name_unless_ended(self.handle.task(), name);
    }
}

impl<T> sealed::SetName for ScopedTask<'_, T> {
    fn set_name(&self, name: &str) {
        name_unless_ended(self.handle.task(), name);
    }
}

impl<T> sealed::SetName for JoinHandle<T> {
    fn set_name(&self, name: &str) {
        name_unless_ended(self.handle.task(), name);
    }
}

/// The header of a task that has ended is freed without a destructor: the name would leak.
fn name_unless_ended(task: TaskPtr, name: &str) {
    if !task.state.any(COMPLETED) {
        task.trace.set_name(name);
    }
}

/// What a live task is doing.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, task::debugging::{TaskDebugger, TaskState}};
///
/// LocalExecutor::default().run(async {
///     assert_eq!(TaskDebugger::tasks().tasks()[0].state, TaskState::Running);
/// });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TaskState {
    /// Waits for its turn.
    Scheduled,
    /// Is being polled, or its future is being dropped.
    Running,
    /// Waits to be woken.
    Idle,
    /// Waits for its future to be dropped.
    Cancelling,
}

impl TaskState {
    fn of(task: TaskPtr) -> TaskState {
        match task.state.get() {
            flags if flags & RUNNING != 0 => TaskState::Running,
            flags if flags & CLOSED != 0 => TaskState::Cancelling,
            flags if flags & SCHEDULED != 0 => TaskState::Scheduled,
            _ => TaskState::Idle,
        }
    }
}

impl fmt::Display for TaskState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            TaskState::Scheduled => "scheduled",
            TaskState::Running => "running",
            TaskState::Idle => "idle",
            TaskState::Cancelling => "cancelling",
        })
    }
}

/// One live task, at the moment of the report.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, task::debugging::TaskDebugger};
///
/// LocalExecutor::default().run(async {
///     for task in &TaskDebugger::tasks() {
///         println!("{} of queue {}: {}, {} polls", task.name, task.queue, task.state, task.polls);
///     }
/// });
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TaskInfo {
    /// The number of the task, unique within the process.
    pub id: u64,
    /// The name that it was given, or else the type of its future.
    pub name: String,
    /// The index of the queue that it was spawned into.
    pub queue: usize,
    /// What it is doing.
    pub state: TaskState,
    /// How often it was polled, a poll that is going on included.
    pub polls: u64,
    /// The time since it was spawned.
    pub age: Duration,
    /// The time since its last poll began; `None` if it was never polled.
    pub since_poll: Option<Duration>,
    /// The time since it was last made runnable, be it by its spawning.
    pub since_wake: Duration,
    /// Whether a handle of it exists.
    pub has_handle: bool,
    /// Whether it can never run again; see [`TaskDebugger::leaked`].
    pub leaked: bool,
}

/// Live tasks of one executor. Displays as a table.
///
/// # Examples
///
/// ```
/// use glommio::{LocalExecutor, executor, task::debugging::TaskDebugger};
///
/// LocalExecutor::default().run(async {
///     TaskDebugger::name_current_task("main");
///     let report = TaskDebugger::tasks();
///     assert_eq!((report.len(), report.is_empty()), (1, false));
///     assert_eq!(report.executor(), executor().id());
///     assert_eq!(report.named("main").unwrap().id, report.tasks()[0].id);
///     print!("{report}");
/// });
/// ```
#[derive(Clone, Debug)]
#[must_use = "a report is there to be read"]
pub struct TaskReport {
    executor: usize,
    tasks: Vec<TaskInfo>,
}

impl TaskReport {
    /// The number of the executor.
    pub fn executor(&self) -> usize {
        self.executor
    }

    /// The tasks, in the order in which they were spawned.
    pub fn tasks(&self) -> &[TaskInfo] {
        &self.tasks
    }

    /// The number of tasks.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether there is no task.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// The first task of that name.
    pub fn named(&self, name: &str) -> Option<&TaskInfo> {
        self.tasks.iter().find(|task| task.name == name)
    }

    fn filtered(mut self, wanted: impl Fn(&TaskInfo) -> bool) -> TaskReport {
        self.tasks.retain(wanted);
        self
    }
}

impl<'a> IntoIterator for &'a TaskReport {
    type Item = &'a TaskInfo;
    type IntoIter = slice::Iter<'a, TaskInfo>;

    fn into_iter(self) -> Self::IntoIter {
        self.tasks.iter()
    }
}

impl fmt::Display for TaskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tasks of executor {}: {}", self.executor, self.len())?;
        if self.is_empty() {
            return Ok(());
        }
        write!(
            f,
            "\n{:>8} {:>5} {:<10} {:>8} {:>9} {:>9} {:>9}  name",
            "id", "queue", "state", "polls", "age", "poll", "wake"
        )?;
        for task in self {
            let polled = task.since_poll.map_or_else(|| "never".to_owned(), short);
            write!(
                f,
                "\n{:>8} {:>5} {:<10} {:>8} {:>9} {:>9} {:>9}  {}{}",
                task.id,
                task.queue,
                task.state,
                task.polls,
                short(task.age),
                polled,
                short(task.since_wake),
                task.name,
                if task.leaked { " (leaked)" } else { "" },
            )?;
        }
        Ok(())
    }
}

fn short(duration: Duration) -> String {
    format!("{duration:.1?}")
}

/// All live tasks of the current executor, if the thread is inside of one.
fn snapshot() -> Option<TaskReport> {
    let id = context::current_id()?;
    context::with_inside(|inside| {
        let (tasks, scheduler) = inside?;
        Some(TaskReport {
            executor: id.as_usize(),
            tasks: describe(tasks, |queue| scheduler.queue_index(queue)),
        })
    })
}

fn describe(tasks: &LiveTasks, queue_index: impl Fn(u32) -> usize) -> Vec<TaskInfo> {
    let now = Instant::now();
    // Nothing in here runs code of others, so the list stays as it is.
    let mut live: Vec<TaskPtr> = tasks.iter().collect();
    live.sort_unstable_by_key(|task| task.trace.id);
    let leaked = find_leaked(&facts(&live));
    let describe = |(task, leaked): (&TaskPtr, bool)| TaskInfo {
        id: task.trace.id,
        name: match task.trace.name() {
            Some(name) => name.into(),
            None => (task.vtable.type_name)().to_owned(),
        },
        queue: queue_index(task.queue),
        state: TaskState::of(*task),
        polls: task.trace.polls.get(),
        age: now.duration_since(task.trace.spawned),
        since_poll: task.trace.polled.get().map(|at| now.duration_since(at)),
        since_wake: now.duration_since(task.trace.woken.get()),
        has_handle: task.state.any(HANDLE),
        leaked,
    };
    live.iter().zip(leaked).map(describe).collect()
}

/// What decides whether a task is leaked.
#[derive(Clone, Copy, Debug)]
struct Facts {
    /// It is idle, and no waker of it exists. Only the end of a task that it awaits can wake it.
    unwakeable: bool,
    has_handle: bool,
    /// The place of the task that awaits it, if that is a task of the same executor.
    awaited_by: Option<usize>,
}

fn facts(live: &[TaskPtr]) -> Vec<Facts> {
    let places: HashMap<_, usize> = live
        .iter()
        .enumerate()
        .map(|(place, task)| (task.as_non_null(), place))
        .collect();
    let facts = |task: &TaskPtr| Facts {
        unwakeable: TaskState::of(*task) == TaskState::Idle && task.shared.is_unique(),
        has_handle: task.state.any(HANDLE),
        awaited_by: task.awaiting_task().and_then(|awaiter| {
            let place = places.get(&awaiter.as_non_null());
            place.copied()
        }),
    };
    live.iter().map(facts).collect()
}

/// Which tasks are leaked. Linear in their number.
fn find_leaked(tasks: &[Facts]) -> Vec<bool> {
    // A task that can still run wakes, at its end, the one that awaits it.
    let mut dead: Vec<bool> = tasks.iter().map(|task| task.unwakeable).collect();
    let mut alive: Vec<usize> = (0..tasks.len()).filter(|&place| !dead[place]).collect();
    while let Some(place) = alive.pop() {
        if let Some(awaiter) = tasks[place].awaited_by {
            if dead[awaiter] {
                dead[awaiter] = false;
                alive.push(awaiter);
            }
        }
    }
    // A dead task whose handle somebody holds can still be cancelled, unless the holder is a task
    // that is leaked itself.
    let mut awaits: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (place, task) in tasks.iter().enumerate() {
        if let Some(awaiter) = task.awaited_by {
            awaits[awaiter].push(place);
        }
    }
    let mut leaked: Vec<bool> = tasks
        .iter()
        .zip(&dead)
        .map(|(task, &dead)| dead && !task.has_handle)
        .collect();
    let mut roots: Vec<usize> = (0..tasks.len()).filter(|&place| leaked[place]).collect();
    while let Some(place) = roots.pop() {
        for &awaited in &awaits[place] {
            if dead[awaited] && !leaked[awaited] {
                leaked[awaited] = true;
                roots.push(awaited);
            }
        }
    }
    leaked
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEAD: Facts = Facts {
        unwakeable: true,
        has_handle: false,
        awaited_by: None,
    };

    fn awaited(awaiter: usize, unwakeable: bool) -> Facts {
        Facts {
            unwakeable,
            has_handle: true,
            awaited_by: Some(awaiter),
        }
    }

    #[test]
    fn no_tasks_no_leaks() {
        assert!(find_leaked(&[]).is_empty());
    }

    #[test]
    fn a_handle_saves_a_task_that_nobody_wakes() {
        let held = Facts {
            has_handle: true,
            ..DEAD
        };
        assert_eq!(find_leaked(&[DEAD, held]), [true, false]);
    }

    #[test]
    fn a_chain_is_leaked_when_its_far_end_is_dead() {
        assert_eq!(
            find_leaked(&[DEAD, awaited(0, true), awaited(1, true)]),
            [true; 3]
        );
    }

    #[test]
    fn a_chain_lives_when_its_far_end_can_be_woken() {
        assert_eq!(
            find_leaked(&[DEAD, awaited(0, true), awaited(1, false)]),
            [false; 3]
        );
    }

    #[test]
    fn one_of_several_awaited_tasks_is_enough() {
        let tasks = [DEAD, awaited(0, true), awaited(0, false)];
        assert_eq!(find_leaked(&tasks), [false; 3]);
    }

    #[test]
    fn a_task_that_can_be_woken_holds_the_handles_of_those_that_it_awaits() {
        let alive = Facts {
            unwakeable: false,
            ..DEAD
        };
        assert_eq!(find_leaked(&[alive, awaited(0, true)]), [false, false]);
    }

    #[test]
    fn a_ring_of_tasks_ends() {
        assert_eq!(
            find_leaked(&[awaited(1, true), awaited(0, true), DEAD]),
            [false, false, true]
        );
    }

    #[test]
    fn an_empty_report_says_so() {
        let report = TaskReport {
            executor: 3,
            tasks: Vec::new(),
        };
        assert_eq!(report.to_string(), "tasks of executor 3: 0");
    }

    #[test]
    fn a_report_is_a_table() {
        let report = TaskReport {
            executor: 3,
            tasks: vec![TaskInfo {
                id: 12,
                name: "acceptor".to_owned(),
                queue: 1,
                state: TaskState::Idle,
                polls: 7,
                age: Duration::from_millis(1500),
                since_poll: None,
                since_wake: Duration::from_micros(20),
                has_handle: false,
                leaked: true,
            }],
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "tasks of executor 3: 1",
                "      id queue state         polls       age      poll      wake  name",
                "      12     1 idle              7      1.5s     never    20.0µs  acceptor (leaked)",
            ]
        );
    }
}
