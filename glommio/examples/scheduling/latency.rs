//! How late a timer's task runs while another queue works without pause.

use std::time::{Duration, Instant};

use glommio::{
    GlommioError, Latency, LocalExecutor, Shares, executor, spawn_local_into, timer::sleep,
};

use crate::{
    step,
    svg::{COLOURS, Chart, Scale},
};

const SLEEP: Duration = Duration::from_millis(3);
const SLEEPS: usize = 60;

/// How late the task woke up each time, in milliseconds, sorted.
fn delays(latency: Latency) -> Result<Vec<f64>, GlommioError<()>> {
    LocalExecutor::default().run(async {
        let busy =
            executor().create_task_queue(Shares::Static(1000), Latency::NotImportant, "busy");
        let waits = executor().create_task_queue(Shares::Static(1000), latency, "waits");
        let task = async {
            let mut delays = Vec::new();
            for _ in 0..SLEEPS {
                let start = Instant::now();
                sleep(SLEEP).await;
                delays.push((start.elapsed() - SLEEP).as_secs_f64() * 1e3);
            }
            delays.sort_by(f64::total_cmp);
            delays
        };
        let task = spawn_local_into(task, waits)?;
        let hog = async {
            loop {
                step();
                executor().yield_if_needed().await;
            }
        };
        let hog = spawn_local_into(hog, busy)?;
        let delays = task.await;
        drop(hog);
        Ok(delays)
    })
}

/// The share of sleeps that ended within a time, for each latency class.
pub fn run() -> Result<String, GlommioError<()>> {
    let mut chart = Chart::new(
        "How late a task runs after its timer, beside a queue that never pauses",
        400.0,
        (0.1, 200.0, Scale::Log),
        (0.0, 100.0),
    );
    chart.x_axis(&[0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0], "delay in ms");
    chart.y_axis(&[0.0, 25.0, 50.0, 75.0, 100.0], " %");
    let classes = [
        ("Matters(2 ms)", Latency::Matters(Duration::from_millis(2))),
        (
            "Matters(10 ms)",
            Latency::Matters(Duration::from_millis(10)),
        ),
        ("NotImportant", Latency::NotImportant),
    ];
    for (number, ((name, latency), colour)) in classes.into_iter().zip(COLOURS).enumerate() {
        let delays = delays(latency)?;
        let mut points = vec![(delays[0], 0.0)];
        for (rank, delay) in delays.iter().enumerate() {
            points.push((*delay, (rank + 1) as f64 * 100.0 / delays.len() as f64));
        }
        chart.curve(&points, colour, "");
        let (x, y) = (chart.x(200.0) + 8.0, 70.0 + 24.0 * number as f64);
        chart.swatch(x, y - 10.0, colour);
        chart.text_at(x + 18.0, y, "start", 13, name);
    }
    Ok(chart.finish())
}
