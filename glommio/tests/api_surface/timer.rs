//! `timer`.

use std::{
    fmt::Debug,
    future::{Future, Ready},
    task::Waker,
    time::{Duration, Instant},
};

use futures::Stream;
use glommio::{
    TaskQueueHandle,
    timer::{
        self, Interval, MissedTickBehavior, Tick, Timer, TimerActionOnce, TimerActionRepeat,
        staged_wheel::{DrainExpired, StagedWheel},
        timer_id::TimerId,
        timing_wheel::TimingWheel,
    },
};

use super::{Outcome, typed};

type Once = TimerActionOnce<u8>;
type Pause = Ready<Option<Duration>>;
type Generator = fn() -> Pause;

signatures! {
    Timer::new => fn(Duration) -> Timer;
    Timer::reset => fn(&mut Timer, Duration);
    Timer::rearm => fn(&mut Timer, Duration);

    Once::destroy => fn(&Once);
    Once::rearm_at => fn(&Once, Instant);
    Once::rearm_in => fn(&Once, Duration);
    TimerActionRepeat::destroy => fn(&TimerActionRepeat);
    TimerActionRepeat::repeat::<Generator, Pause> => fn(Generator) -> TimerActionRepeat;
    TimerActionRepeat::repeat_into::<Generator, Pause> =>
        fn(Generator, TaskQueueHandle) -> Outcome<TimerActionRepeat>;

    timer::interval => fn(Duration) -> Interval;
    timer::interval_at => fn(Instant, Duration) -> Interval;
    Interval::missed_tick_behavior => fn(&Interval) -> MissedTickBehavior;
    Interval::period => fn(&Interval) -> Duration;
    Interval::set_missed_tick_behavior => fn(&mut Interval, MissedTickBehavior);
    Interval::tick => for<'a> fn(&'a mut Interval) -> Tick<'a>;

    StagedWheel::advance_to => fn(&mut StagedWheel, Instant);
    StagedWheel::current_time => fn(&StagedWheel) -> Instant;
    StagedWheel::drain_expired => for<'a> fn(&'a mut StagedWheel) -> DrainExpired<'a>;
    StagedWheel::insert => fn(&mut StagedWheel, Instant, Waker) -> u64;
    StagedWheel::is_empty => fn(&StagedWheel) -> bool;
    StagedWheel::len => fn(&StagedWheel) -> usize;
    StagedWheel::new => fn() -> StagedWheel;
    StagedWheel::new_at => fn(Instant) -> StagedWheel;
    StagedWheel::remove => fn(&mut StagedWheel, u64) -> bool;
    StagedWheel::storage_mode => fn(&StagedWheel) -> &'static str;

    TimingWheel::advance_to => fn(&mut TimingWheel, Instant);
    TimingWheel::current_time => fn(&TimingWheel) -> Instant;
    TimingWheel::insert => fn(&mut TimingWheel, Instant, Waker) -> u64;
    TimingWheel::is_empty => fn(&TimingWheel) -> bool;
    TimingWheel::len => fn(&TimingWheel) -> usize;
    TimingWheel::new => fn() -> TimingWheel;
    TimingWheel::new_at => fn(Instant) -> TimingWheel;
    TimingWheel::remove => fn(&mut TimingWheel, u64) -> bool;
}

implements! {
    Timer: Future<Output = Instant>, Debug, Unpin;
    Once: Debug, Unpin;
    TimerActionRepeat: Debug, Unpin;
    Interval: Stream<Item = Instant>, Debug, Unpin;
    Tick<'static>: Future<Output = Instant>, Debug, Unpin;
    MissedTickBehavior: Clone, Copy, Debug, Default, PartialEq, Eq;
    StagedWheel: Default, Debug, Send;
    TimingWheel: Default, Debug, Send, Sync;
    DrainExpired<'static>: Iterator<Item = (u64, Waker)>, Debug;
    TimerId: Clone, Copy, Debug, PartialEq, Eq;
}

// All of them belong to the executor that runs them.
lacks! {
    Timer: Send, Sync;
    Once: Send, Sync;
    TimerActionRepeat: Send, Sync;
    Interval: Send, Sync;
}

/// Functions whose types cannot be written down. Never run.
async fn _functions(
    action: Ready<u8>,
    queue: TaskQueueHandle,
    once: fn() -> Once,
    repeat: fn() -> TimerActionRepeat,
    wheel: &mut TimingWheel,
) {
    let now = Instant::now();
    typed::<Once>(Once::do_at(now, action));
    let action = || std::future::ready(5_u8);
    typed::<Outcome<Once>>(Once::do_at_into(now, action(), queue));
    typed::<Once>(Once::do_in(Duration::ZERO, action()));
    typed::<Outcome<Once>>(Once::do_in_into(Duration::ZERO, action(), queue));
    let () = once().cancel().await;
    let _: Option<u8> = once().join().await;
    let () = repeat().cancel().await;
    let _: Option<()> = repeat().join().await;

    let () = timer::sleep(Duration::ZERO).await;
    let () = timer::sleep_until(now).await;
    let fallible = || std::future::ready(Outcome::Ok(5_u8));
    type Fallible = Ready<Outcome<u8>>;
    let _: Outcome<u8> = timer::timeout::<Fallible, u8>(Duration::ZERO, fallible()).await;
    let _: Outcome<u8> = timer::try_timeout::<Fallible, u8>(Duration::ZERO, fallible()).await;

    let mut expired = wheel.drain_expired();
    typed::<Option<(u64, Waker)>>(expired.next());
}

/// Every variant. Never run.
fn _variants(behavior: MissedTickBehavior, expired: DrainExpired<'_>) {
    match behavior {
        MissedTickBehavior::Burst | MissedTickBehavior::Delay | MissedTickBehavior::Skip => {}
    }
    match expired {
        DrainExpired::Inline(timers) | DrainExpired::Wheel(timers) => {
            typed::<Box<dyn Iterator<Item = (u64, Waker)> + '_>>(timers);
        }
    }
}
