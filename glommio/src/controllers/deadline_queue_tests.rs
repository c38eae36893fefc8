//! The queue, with a clock that the tests make.

use super::*;

const PERIOD: Duration = Duration::from_millis(250);
const SECOND: Duration = Duration::from_secs(1);

/// Work whose progress the test makes.
struct Units {
    time: Duration,
    total: Cell<u64>,
    processed: Cell<u64>,
}

impl Units {
    fn new(total: u64, time: Duration) -> Rc<Units> {
        Rc::new(Units {
            time,
            total: Cell::new(total),
            processed: Cell::new(0),
        })
    }

    fn is_done(&self) -> bool {
        self.processed.get() >= self.total.get()
    }
}

impl DeadlineSource for Units {
    type Output = ();

    fn expected_duration(&self) -> Duration {
        self.time
    }

    fn action(self: Rc<Self>) -> Pin<Box<dyn Future<Output = ()> + 'static>> {
        Box::pin(async {})
    }

    fn total_units(&self) -> u64 {
        self.total.get()
    }

    fn processed_units(&self) -> u64 {
        self.processed.get()
    }
}

/// A queue in a world whose time the test makes: it competes with rivals, and its sources are
/// worked off in order.
struct World {
    control: Rc<Control<()>>,
    start: Instant,
    now: Instant,
    /// Units per second with the whole CPU.
    alone: f64,
    rivals: f64,
    left_over: f64,
    sources: VecDeque<(Rc<Units>, Place<()>)>,
    /// The shares of every period so far.
    shares: Vec<usize>,
}

impl World {
    fn new(alone: f64, rivals: f64) -> World {
        let start = Instant::now();
        World {
            control: Rc::new(Control::new(PERIOD)),
            start,
            now: start,
            alone,
            rivals,
            left_over: 0.0,
            sources: VecDeque::new(),
            shares: Vec::new(),
        }
    }

    fn push(&mut self, source: Rc<Units>) -> io::Result<()> {
        let place = Control::admit(&self.control, source.clone(), self.now)?;
        self.sources.push_back((source, place));
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    /// One adjustment period; how many sources got done in it.
    fn period(&mut self) -> usize {
        let shares = self.control.shares_at(self.now);
        self.shares.push(shares);
        let part = shares as f64 / (shares as f64 + self.rivals);
        self.now += PERIOD;
        let mut units = self.left_over + self.alone * part * PERIOD.as_secs_f64();
        let mut done = 0;
        while let Some((source, _)) = self.sources.front() {
            let left = source.total.get() - source.processed.get();
            let now = left.min(units as u64);
            source.processed.set(source.processed.get() + now);
            units -= now as f64;
            if !source.is_done() {
                break;
            }
            self.sources.pop_front();
            done += 1;
        }
        self.left_over = if self.sources.is_empty() { 0.0 } else { units };
        done
    }

    /// Until all sources are done; how long it took.
    fn finish(&mut self) -> Duration {
        while !self.sources.is_empty() {
            self.period();
            assert!(self.elapsed() < SECOND * 3600, "it never ends");
        }
        self.elapsed()
    }

    fn mean_shares(&self) -> f64 {
        self.shares.iter().sum::<usize>() as f64 / self.shares.len() as f64
    }
}

fn expect_in_time(took: Duration, deadline: Duration) {
    let part = took.as_secs_f64() / deadline.as_secs_f64();
    assert!((0.85..=1.0).contains(&part), "{took:?} of {deadline:?}");
}

#[test]
fn work_is_done_shortly_before_its_deadline_with_no_more_shares_than_that_takes() {
    for (part_of_cpu, rivals) in [(0.02, 100.0), (0.1, 1000.0), (0.3, 1000.0), (0.45, 500.0)] {
        let mut world = World::new(1e6, rivals);
        let deadline = SECOND * 60;
        let total = (1e6 * part_of_cpu * deadline.as_secs_f64()) as u64;
        world.push(Units::new(total, deadline)).unwrap();
        expect_in_time(world.finish(), deadline);
        // That many would do it at a steady pace.
        let fair = rivals * part_of_cpu / (1.0 - part_of_cpu);
        let mean = world.mean_shares();
        assert!(
            (fair * 0.7..fair * 1.6).contains(&mean),
            "{mean}, not {fair}"
        );
    }
}

#[test]
fn shares_follow_the_competition() {
    let mut world = World::new(1e6, 0.001);
    let deadline = SECOND * 120;
    world.push(Units::new(12_000_000, deadline)).unwrap();
    let mut means = Vec::new();
    for rivals in [1000.0, 100.0, 1000.0] {
        world.rivals = rivals;
        world.shares.clear();
        for _ in 0..120 {
            world.period();
        }
        means.push(world.shares[60..].iter().sum::<usize>() as f64 / 60.0);
    }
    assert!(means[0] > 60.0 && means[2] > 60.0, "{means:?}");
    assert!(means[1] < 30.0, "{means:?}");
    expect_in_time(world.finish(), deadline);
}

#[test]
fn work_that_has_the_cpu_to_itself_keeps_the_smallest_share() {
    let mut world = World::new(1e6, 0.0);
    world.push(Units::new(10_000_000, SECOND * 60)).unwrap();
    assert!(world.finish() < SECOND * 11);
    assert!(world.shares.iter().all(|&shares| shares == 1));
}

#[test]
fn work_that_is_too_late_or_too_much_gets_everything() {
    let mut world = World::new(1e6, 1000.0);
    world.push(Units::new(100_000_000, SECOND * 20)).unwrap();
    for _ in 0..60 {
        world.period();
    }
    assert_eq!(world.shares.last(), Some(&1000), "too much for 20 s");
    world.now += SECOND * 60;
    world.period();
    assert_eq!(world.shares.last(), Some(&1000), "too late");
    let late = Control::<()>::new(PERIOD);
    let late = Rc::new(late);
    let now = Instant::now();
    let _place = Control::admit(&late, Units::new(5, Duration::ZERO), now).unwrap();
    assert_eq!(late.shares_at(now + PERIOD), 1000);
}

#[test]
fn several_sources_are_all_done_in_time() {
    let mut world = World::new(1e6, 1000.0);
    let deadline = SECOND * 60;
    // Together they need 0.3 of the CPU.
    for _ in 0..6 {
        world.push(Units::new(3_000_000, deadline)).unwrap();
    }
    expect_in_time(world.finish(), deadline);

    // A stream of them, 0.25 of the CPU each while it lasts, one every five seconds.
    let mut world = World::new(1e6, 1000.0);
    let mut deadlines = VecDeque::new();
    for period in 0..1200 {
        if period % 20 == 0 && period < 1000 {
            world.push(Units::new(1_250_000, SECOND * 20)).unwrap();
            deadlines.push_back(world.now + SECOND * 20);
        }
        for _ in 0..world.period() {
            let deadline = deadlines.pop_front().unwrap();
            assert!(
                world.now <= deadline + PERIOD,
                "late at {:?}",
                world.elapsed()
            );
        }
    }
    assert!(deadlines.is_empty());
}

#[test]
fn work_that_grows_while_it_is_done_is_done_in_time() {
    let mut world = World::new(1e6, 1000.0);
    let deadline = SECOND * 60;
    let source = Units::new(1_000_000, deadline);
    world.push(source.clone()).unwrap();
    for _ in 0..100 {
        source.total.set(source.total.get() + 90_000);
        world.period();
    }
    expect_in_time(world.finish(), deadline);
    assert_eq!(source.processed.get(), 10_000_000);
}

#[test]
fn deadlines_must_not_decrease_among_the_sources_in_the_queue() {
    let mut world = World::new(1e6, 0.0);
    world.push(Units::new(10, SECOND * 10)).unwrap();
    world.push(Units::new(10, SECOND * 10)).unwrap();
    let error = world.push(Units::new(10, SECOND * 9)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert!(error.to_string().contains("1s before one"), "{error}");
    assert_eq!(world.control.items.borrow().len(), 2, "it was not taken");
    world.push(Units::new(10, SECOND * 11)).unwrap();
    world.push(Units::new(10, Duration::MAX)).unwrap();
    assert!(world.push(Units::new(10, SECOND * 500)).is_err());
    // Those that are done do not count.
    world.finish();
    world.push(Units::new(10, SECOND)).unwrap();
}

#[test]
fn a_source_that_is_gone_is_asked_no_more() {
    let mut world = World::new(1e6, 1000.0);
    let source = Units::new(1_000_000_000, SECOND * 10);
    world.push(source.clone()).unwrap();
    for _ in 0..20 {
        world.period();
    }
    assert!(world.shares.last() > Some(&100));
    world.sources.clear();
    assert_eq!(Rc::strong_count(&source), 1);
    assert_eq!(world.control.shares_at(world.now), 1);
}

#[test]
fn fixed_shares_are_as_they_were_fixed_and_a_bump_is_a_lower_bound() {
    let control = Rc::new(Control::<()>::new(PERIOD));
    let now = Instant::now();
    assert_eq!(control.shares_at(now), 1);
    let bumps = [(); 2].map(|()| PriorityBump::<()>::new(control.bumps.clone()));
    assert_eq!(control.shares_at(now), 250);
    for (fixed, bumped) in [(10, 250), (700, 700)] {
        control.status.set(ControllerStatus::Disabled(fixed));
        assert_eq!(control.shares_at(now), bumped);
    }
    let [first, second] = bumps;
    drop(first);
    assert_eq!(control.shares_at(now), 700);
    control.status.set(ControllerStatus::Disabled(10));
    assert_eq!(control.shares_at(now), 250);
    drop(second);
    assert_eq!(control.shares_at(now), 10);
}

#[test]
fn who_asks_often_does_not_change_the_answer() {
    let (mut often, mut seldom) = (World::new(1e6, 1000.0), World::new(1e6, 1000.0));
    for world in [&mut often, &mut seldom] {
        world.push(Units::new(6_000_000, SECOND * 60)).unwrap();
    }
    for _ in 0..100 {
        often.period();
        seldom.period();
        for ms in 1..50 {
            often
                .control
                .shares_at(often.now - PERIOD + Duration::from_millis(ms));
        }
    }
    assert_eq!(often.shares, seldom.shares);
}
