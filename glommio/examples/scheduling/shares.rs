//! Three queues that compete, one of which sleeps for a while.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use glommio::{
    GlommioError, Latency, LocalExecutorBuilder, Shares, executor, spawn_local_into, timer::sleep,
};

use crate::{
    step,
    svg::{COLOURS, Chart, Scale},
    used_ms,
};

const QUEUES: [(&str, usize); 3] = [("requests", 600), ("queries", 300), ("batch", 100)];
const SLEEPER: usize = 1;
/// In milliseconds of CPU time that the three have used together.
const SLEEPS_AT: f64 = 400.0;
const WAKES_AT: f64 = 700.0;
const END: f64 = 1_100.0;
/// How much of the beginning is drawn turn by turn.
const TURNS_UNTIL: f64 = 110.0;

/// What each queue has seen, in milliseconds.
#[derive(Default)]
struct Seen {
    /// CPU time of all, and of this queue.
    used: Vec<(f64, f64)>,
    /// From when to when it had the CPU.
    turns: Vec<(f64, f64)>,
}

pub struct Run {
    seen: Vec<Seen>,
}

/// Lets the queues compete.
pub fn run() -> Result<Run, GlommioError<()>> {
    let executor_of_three = LocalExecutorBuilder::default().make()?;
    let seen = executor_of_three.run(async {
        let handles = QUEUES.map(|(name, shares)| {
            executor().create_task_queue(Shares::Static(shares), Latency::NotImportant, name)
        });
        let total = move || handles.iter().map(|queue| used_ms(*queue)).sum::<f64>();
        let start = Instant::now();
        let mut tasks = Vec::new();
        for (number, queue) in handles.into_iter().enumerate() {
            let seen = Rc::new(RefCell::new(Seen::default()));
            let notes = seen.clone();
            let work = async move {
                let mut slept = false;
                while total() < END {
                    let from = start.elapsed().as_secs_f64() * 1e3;
                    while !executor().need_preempt() {
                        step();
                    }
                    let to = start.elapsed().as_secs_f64() * 1e3;
                    executor().yield_if_needed().await;
                    notes.borrow_mut().turns.push((from, to));
                    notes.borrow_mut().used.push((total(), used_ms(queue)));
                    if number == SLEEPER && !slept && total() >= SLEEPS_AT {
                        slept = true;
                        while total() < WAKES_AT {
                            sleep(Duration::from_millis(1)).await;
                        }
                    }
                }
            };
            tasks.push((spawn_local_into(work, queue)?, seen));
        }
        let mut all = Vec::new();
        for (task, seen) in tasks {
            task.await;
            all.push(seen.take());
        }
        Ok::<_, GlommioError<()>>(all)
    })?;
    Ok(Run { seen })
}

impl Run {
    /// CPU time of each queue over that of all.
    pub fn cpu_time(&self) -> String {
        let mut chart = Chart::new(
            "CPU time of three queues; “queries” sleeps in between",
            400.0,
            (0.0, END, Scale::Linear),
            (0.0, 800.0),
        );
        let ticks: Vec<f64> = (0..=5).map(|n| f64::from(n) * 200.0).collect();
        chart.x_axis(&ticks, "CPU time used by all three, in ms");
        chart.y_axis(&[0.0, 200.0, 400.0, 600.0, 800.0], " ms");
        for (((name, shares), seen), colour) in QUEUES.iter().zip(&self.seen).zip(COLOURS) {
            chart.curve(&seen.used, colour, &format!("{name}: {shares}"));
        }
        for at in [SLEEPS_AT, WAKES_AT] {
            let x = chart.x(at);
            chart.line((x, chart.y(0.0)), (x, chart.y(800.0)), "mark");
        }
        chart.finish()
    }

    /// The first turns, one after another.
    pub fn turns(&self) -> String {
        let mut chart = Chart::new(
            "Who has the CPU: a turn each per round of 25 ms, as long as the shares say",
            220.0,
            (0.0, TURNS_UNTIL, Scale::Linear),
            (0.0, 3.0),
        );
        chart.x_axis(&[0.0, 25.0, 50.0, 75.0, 100.0], "ms since the start");
        for (number, ((name, shares), seen)) in QUEUES.iter().zip(&self.seen).enumerate() {
            let lane = 2.5 - number as f64;
            for turn in seen.turns.iter().filter(|turn| turn.0 < TURNS_UNTIL) {
                chart.bar(*turn, lane, 24.0, COLOURS[number]);
            }
            chart.lane(lane, &format!("{name}: {shares}"));
        }
        chart.finish()
    }
}
