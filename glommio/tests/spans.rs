//! The spans that a subscriber of `tracing` sees.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use glommio::{Latency, LocalExecutorBuilder, Shares, executor, spawn_local, spawn_local_into};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

/// Notes the spans that events happen in.
#[derive(Clone)]
struct Notes {
    level: Level,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    next: AtomicU64,
    /// Name and fields of each span, by number less one.
    spans: Mutex<Vec<String>>,
    /// What is entered now, innermost last. The executor and its test share a thread.
    stack: Mutex<Vec<u64>>,
    /// For each event of the test, its stack.
    events: Mutex<Vec<Vec<String>>>,
}

/// Runs `f` with a subscriber, one test at a time: where a span or an event is met for the first time
/// while another subscriber is made, `tracing` may remember that nobody is interested.
fn with_default<T>(notes: Notes, f: impl FnOnce() -> T) -> T {
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    tracing::subscriber::with_default(notes, f)
}

impl Notes {
    fn new(level: Level) -> Notes {
        Notes {
            level,
            shared: Arc::default(),
        }
    }

    fn events(&self) -> Vec<Vec<String>> {
        self.shared.events.lock().unwrap().clone()
    }

    fn spans(&self) -> Vec<String> {
        self.shared.spans.lock().unwrap().clone()
    }

    fn depth(&self) -> usize {
        self.shared.stack.lock().unwrap().len()
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl Subscriber for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level.into())
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let metadata = attributes.metadata();
        let mut text = format!("{} {}", metadata.target(), metadata.name());
        attributes.record(&mut Fields(&mut text));
        self.shared.spans.lock().unwrap().push(text);
        span::Id::from_u64(self.shared.next.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != module_path!() {
            return;
        }
        let spans = self.spans();
        let stack = self.shared.stack.lock().unwrap();
        let names = stack.iter().map(|id| spans[*id as usize - 1].clone());
        self.shared.events.lock().unwrap().push(names.collect());
    }

    fn enter(&self, span: &span::Id) {
        self.shared.stack.lock().unwrap().push(span.into_u64());
    }

    fn exit(&self, span: &span::Id) {
        let left = self.shared.stack.lock().unwrap().pop();
        assert_eq!(left, Some(span.into_u64()), "spans are left in order");
    }
}

/// An event in the first queue, in another one, and in the first one again.
fn run() -> usize {
    let builder = LocalExecutorBuilder::default().name("worker");
    builder.make().unwrap().run(async {
        let queue =
            executor().create_task_queue(Shares::Static(7), Latency::NotImportant, "background");
        tracing::info!("in the first queue");
        let task = spawn_local_into(
            async {
                tracing::info!("in the other queue");
                executor().yield_task_queue_now().await;
            },
            queue,
        );
        task.unwrap().await;
        tracing::info!("back in the first queue");
        executor().id()
    })
}

#[test]
fn an_event_of_a_task_is_inside_the_spans_of_its_executor_and_queue() {
    let notes = Notes::new(Level::TRACE);
    let id = with_default(notes.clone(), run);
    let executor = format!("glommio::executor executor id={id} name=\"worker\"");
    let first = "glommio::executor queue index=0 name=\"default\"".to_owned();
    let other = "glommio::executor queue index=1 name=\"background\"".to_owned();
    assert_eq!(
        notes.events(),
        [
            [executor.clone(), first.clone()],
            [executor.clone(), other],
            [executor, first],
        ]
    );
    assert_eq!(notes.depth(), 0, "everything entered was left");
}

#[test]
fn a_queue_has_one_span_per_run_however_many_turns_it_has() {
    let notes = Notes::new(Level::TRACE);
    with_default(notes.clone(), run);
    let queues = notes
        .spans()
        .iter()
        .filter(|s| s.contains(" queue "))
        .count();
    assert_eq!(queues, 2);
}

#[test]
fn at_level_debug_there_is_the_span_of_the_executor_alone() {
    let notes = Notes::new(Level::DEBUG);
    with_default(notes.clone(), run);
    for stack in notes.events() {
        assert_eq!(stack.len(), 1);
        assert!(stack[0].contains(" executor "), "{stack:?}");
    }
}

#[test]
fn at_level_info_there_is_none() {
    let notes = Notes::new(Level::INFO);
    with_default(notes.clone(), run);
    assert_eq!(notes.events(), [[""; 0]; 3]);
    assert!(notes.spans().is_empty());
}

#[test]
fn a_run_takes_its_spans_to_the_subscriber_of_its_time() {
    let executor = LocalExecutorBuilder::default().make().unwrap();
    let run = || executor.run(async { tracing::info!("now") });
    let first = Notes::new(Level::TRACE);
    with_default(first.clone(), run);
    let second = Notes::new(Level::TRACE);
    with_default(second.clone(), run);
    for notes in [&first, &second] {
        assert_eq!(notes.events().len(), 1);
        assert_eq!(notes.events()[0].len(), 2);
        assert_eq!(notes.depth(), 0);
    }
}

#[test]
fn a_panic_leaves_the_spans() {
    let notes = Notes::new(Level::TRACE);
    with_default(notes.clone(), || {
        let executor = LocalExecutorBuilder::default().make().unwrap();
        executor.run(async {
            spawn_local(async { panic!("on purpose") }).detach();
            executor_turn().await;
            tracing::info!("after the task's panic");
        });
        let panicking = std::panic::AssertUnwindSafe(|| {
            executor.run::<()>(async { panic!("on purpose") });
        });
        assert!(std::panic::catch_unwind(panicking).is_err());
    });
    assert_eq!(notes.events()[0].len(), 2);
    assert_eq!(notes.depth(), 0);
}

async fn executor_turn() {
    executor().yield_task_queue_now().await;
}
