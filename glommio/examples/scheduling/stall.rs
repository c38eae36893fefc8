//! A task that does not yield, and what the detector says of it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use glommio::{
    GlommioError, Latency, LocalExecutorBuilder, Shares, StallDetection, StallDetectionHandler,
    TaskQueueHandle, spawn_local_into,
};

use crate::svg::{COLOURS, Chart, Scale};

const BUDGET: Duration = Duration::from_millis(10);

/// A report, in milliseconds.
#[derive(Debug)]
struct Report {
    name: String,
    budget: f64,
    overage: f64,
    functions: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Keep(Arc<Mutex<Vec<Report>>>);

impl StallDetectionHandler for Keep {
    fn threshold(&self, _: TaskQueueHandle, budget: Duration) -> Option<Duration> {
        Some(budget / 10)
    }

    fn signal(&self) -> u8 {
        10
    }

    fn stall(&self, stall: StallDetection<'_>) {
        let symbols = stall
            .trace
            .frames()
            .iter()
            .flat_map(|frame| frame.symbols());
        let functions = symbols.filter_map(|symbol| Some(format!("{:#}", symbol.name()?)));
        // What reading the clock is made of, and the executor below, would take the whole picture.
        let functions = functions.filter(|name| name.starts_with("scheduling::stall"));
        let report = Report {
            name: stall.queue_name.to_owned(),
            budget: stall.budget.as_secs_f64() * 1e3,
            overage: stall.overage.as_secs_f64() * 1e3,
            functions: functions.take(3).collect(),
        };
        if let Ok(mut all) = self.0.lock() {
            all.push(report);
        }
    }
}

#[inline(never)]
fn multiply_matrices() {
    let start = Instant::now();
    while start.elapsed() < BUDGET * 3 {
        std::hint::spin_loop();
    }
}

#[inline(never)]
fn answer_request() {
    multiply_matrices();
    std::hint::black_box(());
}

/// Draws the first report about the queue that stalls.
pub fn run() -> Result<String, GlommioError<()>> {
    let keep = Keep::default();
    let executor = LocalExecutorBuilder::default()
        .preempt_timer(BUDGET)
        .detect_stalls(Some(Box::new(keep.clone())))
        .make()?;
    let queue = executor.create_task_queue(Shares::default(), Latency::NotImportant, "requests");
    executor.run(async {
        spawn_local_into(async { answer_request() }, queue).map(|task| task.detach())?;
        glommio::executor().yield_task_queue_now().await;
        Ok::<_, GlommioError<()>>(())
    })?;
    let reports = keep.0.lock().unwrap_or_else(PoisonError::into_inner);
    let report = reports.iter().find(|report| report.name == "requests");
    let mut chart = Chart::new(
        "A stall: the queue “requests” runs three times as long as it should",
        260.0,
        (0.0, 40.0, Scale::Linear),
        (0.0, 1.0),
    );
    chart.x_axis(
        &[0.0, 10.0, 20.0, 30.0, 40.0],
        "ms since the queue began to run",
    );
    if let Some(report) = report {
        let (budget, end) = (report.budget, report.budget + report.overage);
        chart.bar((0.0, budget), 0.25, 30.0, COLOURS[2]);
        chart.bar((budget, end), 0.25, 30.0, COLOURS[1]);
        let at = chart.x(budget * 1.1);
        chart.line((at, chart.y(0.0)), (at, chart.y(0.5)), "mark");
        chart.text_at(
            at + 6.0,
            80.0,
            "start",
            13,
            "the signal records the stack, of which:",
        );
        for (line, function) in report.functions.iter().enumerate() {
            chart.text_at(at + 20.0, 98.0 + 17.0 * line as f64, "start", 13, function);
        }
        let (middle, below) = (chart.x(budget / 2.0), chart.y(0.25) + 5.0);
        chart.text_at(middle, below, "middle", 13, "budget");
        let label = format!("overage {:.1} ms", report.overage);
        chart.text_at((at + chart.x(end)) / 2.0, below, "middle", 13, &label);
        let report_at = chart.x(end) + 8.0;
        chart.text_at(report_at, below, "start", 13, "then the handler is told");
    }
    Ok(chart.finish())
}
