//! The accounts of one ring, and who has which.

use super::{Account, IoKind, Origin, Totals, recorder::Recorder};
use crate::sys::clock::{Clock, Ticks};

/// The account of the queue that was kept in a place last.
struct Place {
    tenant: u32,
    latency_matters: bool,
    /// `None` if the queue is gone. In a box, so that little is left of it then.
    account: Option<Box<Account>>,
}

impl Place {
    fn new(origin: Origin) -> Place {
        Place {
            tenant: origin.tenant,
            latency_matters: origin.latency_matters,
            account: Some(Box::default()),
        }
    }
}

/// The accounts of one ring.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By queue; `None` where none did any I/O yet. Ends with the last one that did.
    places: Vec<Option<Place>>,
    /// What queues did that are gone.
    gone: Totals,
    recorder: Option<Box<Recorder>>,
}

impl Ledger {
    /// From now on, records latencies.
    pub(crate) fn record_latencies(&mut self) {
        self.recorder = Some(Box::new(Recorder::new(Clock::get())));
    }

    #[inline]
    fn account(&mut self, origin: Origin) -> &mut Account {
        let index = origin.queue as usize;
        let known =
            matches!(self.places.get(index), Some(Some(place)) if place.tenant == origin.tenant);
        if !known {
            self.meet(origin);
        }
        match &mut self.places[index] {
            Some(Place {
                tenant,
                account: Some(account),
                ..
            }) if *tenant == origin.tenant => account,
            // Of a queue that is gone: an operation that outlived it.
            _ => self.gone.of(origin.latency_matters),
        }
    }

    /// Opens an account, unless a later queue has one in its place.
    #[cold]
    fn meet(&mut self, origin: Origin) {
        let index = origin.queue as usize;
        if self.places.len() <= index {
            self.places.resize_with(index + 1, || None);
        }
        match &mut self.places[index] {
            Some(place) => {
                let later = origin.tenant.wrapping_sub(place.tenant) as i32 > 0;
                if !later {
                    return;
                }
                let before = std::mem::replace(place, Place::new(origin));
                if let Some(account) = before.account {
                    self.gone.of(before.latency_matters).add(&account);
                }
            }
            vacant => *vacant = Some(Place::new(origin)),
        }
    }

    /// Books what did not go through the table of operations.
    #[inline]
    pub(crate) fn book(&mut self, origin: Origin, kind: IoKind, bytes: u64) {
        self.account(origin).book(kind, bytes);
    }

    /// Books a completion that is not an error.
    #[inline]
    pub(crate) fn completed(&mut self, origin: Origin, kind: IoKind, slot: u32, result: i32) {
        let bytes = if kind.moves_bytes() {
            u64::from(result.unsigned_abs())
        } else {
            0
        };
        self.account(origin).book(kind, bytes);
        if self.recorder.is_some() && kind.is_timed() {
            self.record_completed(origin, slot);
        }
    }

    /// What an operation produced was for nobody: a file is closed again.
    pub(crate) fn unwanted(&mut self, origin: Origin, kind: IoKind) {
        if kind == IoKind::FileOpen {
            self.book(origin, IoKind::FileClose, 0);
        }
    }

    /// Moves the account of a queue that is removed to the totals. Operations of it that are still
    /// in flight are booked there too.
    pub(crate) fn close_account(&mut self, origin: Origin) {
        let place = self.places.get_mut(origin.queue as usize);
        let Some(place) = place.and_then(Option::as_mut) else {
            return;
        };
        if place.tenant != origin.tenant {
            return;
        }
        if let Some(account) = place.account.take() {
            self.gone.of(origin.latency_matters).add(&account);
        }
    }

    /// What a queue did; nothing if it never did any.
    pub(crate) fn of_queue(&self, queue: Origin) -> Account {
        match self.places.get(queue.queue as usize) {
            Some(Some(place)) if place.tenant == queue.tenant => {
                place.account.as_deref().cloned().unwrap_or_default()
            }
            _ => Account::default(),
        }
    }

    /// What all queues did, those that are gone included.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            ordinary: self.gone.ordinary.clone(),
            latency_matters: self.gone.latency_matters.clone(),
        };
        for place in self.places.iter().flatten() {
            if let Some(account) = &place.account {
                totals.of(place.latency_matters).add(account);
            }
        }
        totals
    }

    // ---- latencies ----

    /// Whether latencies are recorded.
    #[inline]
    pub(crate) fn is_recording(&self) -> bool {
        self.recorder.is_some()
    }

    // The callers of what follows look first whether latencies are recorded at all, so that their
    // own paths stay short.

    /// A task submits an operation.
    #[cold]
    pub(crate) fn queued(&mut self, kind: Option<IoKind>, slot: u32) {
        if let Some(recorder) = &mut self.recorder {
            recorder.queued(kind, slot);
        }
    }

    /// The entry of an operation is the last of `waiting` that the kernel has not taken.
    #[cold]
    pub(crate) fn waits(&mut self, kind: Option<IoKind>, slot: u32, waiting: usize) {
        if let Some(recorder) = &mut self.recorder {
            recorder.waits(kind, slot, waiting);
        }
    }

    /// The time, if it is needed.
    #[inline]
    pub(crate) fn time(&self) -> Option<Ticks> {
        self.recorder.as_ref().map(|recorder| recorder.clock.now())
    }

    /// The kernel took the first `count` of the waiting entries at `at`.
    #[cold]
    pub(crate) fn entered(&mut self, count: usize, at: Ticks) {
        if let Some(recorder) = &mut self.recorder {
            recorder.entered(count as u64, at);
        }
    }

    /// Completions are about to be taken.
    #[cold]
    pub(crate) fn looks(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.seen = recorder.clock.now();
        }
    }

    #[cold]
    fn record_completed(&mut self, origin: Origin, slot: u32) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        let seen = recorder.seen;
        let times = recorder.times_mut(slot);
        times.seen = seen;
        let (queued, entered) = (times.queued, times.entered);
        let pre_us = recorder.micros(entered.saturating_sub(queued));
        let io_us = recorder.micros(seen.saturating_sub(entered));
        let latencies = self.account(origin).latencies_mut();
        latencies.pre_reactor.add(pre_us);
        latencies.io.add(io_us);
    }

    /// The task took the result of an operation.
    #[cold]
    pub(crate) fn fetched(&mut self, origin: Origin, kind: Option<IoKind>, slot: u32, result: i32) {
        let Some(recorder) = &mut self.recorder else {
            return;
        };
        if result < 0 || !kind.is_some_and(IoKind::is_timed) {
            return;
        }
        let now = recorder.clock.now();
        let waited = now.saturating_sub(recorder.times_mut(slot).seen);
        let post_us = recorder.micros(waited);
        self.account(origin)
            .latencies_mut()
            .post_reactor
            .add(post_us);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::account::Tally, *};

    const ORDINARY: Origin = Origin {
        queue: 0,
        tenant: 0,
        latency_matters: false,
    };
    const URGENT: Origin = Origin {
        queue: 3,
        tenant: 7,
        latency_matters: true,
    };

    /// A queue that never did anything.
    fn at(queue: u32) -> Origin {
        Origin {
            queue,
            tenant: queue,
            latency_matters: false,
        }
    }

    #[test]
    fn the_next_queue_in_a_place_has_an_account_of_its_own() {
        let mut ledger = Ledger::default();
        let next = Origin {
            tenant: URGENT.tenant + 1,
            latency_matters: false,
            ..URGENT
        };
        ledger.completed(URGENT, IoKind::FileRead, 0, 10);
        ledger.close_account(URGENT);
        ledger.completed(next, IoKind::FileRead, 0, 1);
        // An operation that outlived its queue.
        ledger.completed(URGENT, IoKind::FileRead, 0, 5);
        let bytes = |account: &Account| account.tally(IoKind::FileRead).bytes;
        assert_eq!(bytes(&ledger.of_queue(next)), 1);
        assert_eq!(bytes(&ledger.of_queue(URGENT)), 0);
        let totals = ledger.totals();
        assert_eq!(
            (bytes(&totals.latency_matters), bytes(&totals.ordinary)),
            (15, 1)
        );
    }

    #[test]
    fn each_queue_has_an_account_and_the_totals_have_all() {
        let mut ledger = Ledger::default();
        ledger.completed(ORDINARY, IoKind::FileRead, 0, 4096);
        ledger.completed(ORDINARY, IoKind::FileRead, 0, 512);
        ledger.completed(URGENT, IoKind::FileRead, 0, 100);
        ledger.completed(URGENT, IoKind::FileOpen, 0, 17);
        let read = |account: &Account| account.tally(IoKind::FileRead);
        let tally = |ops, bytes| Tally { ops, bytes };
        assert_eq!(read(&ledger.of_queue(ORDINARY)), tally(2, 4608));
        assert_eq!(read(&ledger.of_queue(at(1))), tally(0, 0));
        assert_eq!(read(&ledger.of_queue(URGENT)), tally(1, 100));
        assert_eq!(read(&ledger.of_queue(at(99))), tally(0, 0));
        let totals = ledger.totals();
        assert_eq!(read(&totals.ordinary), tally(2, 4608));
        assert_eq!(read(&totals.latency_matters), tally(1, 100));
        // A descriptor's number is no number of bytes.
        let opened = totals.latency_matters.tally(IoKind::FileOpen);
        assert_eq!(opened, tally(1, 0));
    }

    #[test]
    fn the_totals_keep_what_removed_queues_did_and_still_do() {
        let mut ledger = Ledger::default();
        ledger.completed(URGENT, IoKind::FileWrite, 0, 10);
        ledger.close_account(URGENT);
        ledger.completed(URGENT, IoKind::FileWrite, 0, 5);
        let written = ledger.totals().latency_matters.tally(IoKind::FileWrite);
        assert_eq!((written.ops, written.bytes), (2, 15));
        assert_eq!(
            ledger.of_queue(URGENT).tally(IoKind::FileWrite),
            Tally::default()
        );
        // Of one that never did anything.
        ledger.close_account(Origin {
            queue: 9,
            tenant: 9,
            latency_matters: false,
        });
        assert_eq!(ledger.totals().ordinary.tally(IoKind::FileWrite).ops, 0);
    }

    #[test]
    fn nothing_is_recorded_unless_it_is_switched_on() {
        let mut ledger = Ledger::default();
        ledger.queued(Some(IoKind::FileRead), 0);
        ledger.waits(Some(IoKind::FileRead), 0, 1);
        assert_eq!(ledger.time(), None);
        ledger.completed(ORDINARY, IoKind::FileRead, 0, 1);
        ledger.fetched(ORDINARY, Some(IoKind::FileRead), 0, 1);
        assert!(ledger.of_queue(ORDINARY).latencies().is_none());
    }

    #[test]
    fn the_three_latencies_add_up_to_the_whole_wait() {
        let mut ledger = Ledger::default();
        ledger.record_latencies();
        let clock = Clock::get();
        let kind = IoKind::FileWrite;
        let before = clock.now();
        ledger.queued(Some(kind), 7);
        ledger.waits(Some(kind), 7, 1);
        let at = ledger.time().expect("switched on");
        ledger.entered(1, at);
        ledger.looks();
        ledger.completed(URGENT, kind, 7, 512);
        ledger.fetched(URGENT, Some(kind), 7, 512);
        let whole_us = clock.nanos(clock.now() - before) as f64 / 1_000.0;
        let totals = ledger.totals();
        let latencies = totals.latency_matters.latencies().expect("recorded");
        let mut sum = 0.0;
        for sketch in [
            &latencies.pre_reactor,
            &latencies.io,
            &latencies.post_reactor,
        ] {
            assert_eq!(sketch.count(), 1);
            sum += sketch.sum().expect("one value");
        }
        assert!(0.0 < sum && sum <= whole_us, "{sum} of {whole_us} µs");
        assert!(totals.ordinary.latencies().is_none());
    }

    #[test]
    fn sockets_are_counted_but_not_timed() {
        let mut ledger = Ledger::default();
        ledger.record_latencies();
        ledger.queued(Some(IoKind::SocketRead), 0);
        ledger.completed(ORDINARY, IoKind::SocketRead, 0, 9);
        ledger.fetched(ORDINARY, Some(IoKind::SocketRead), 0, 9);
        let account = ledger.of_queue(ORDINARY);
        assert_eq!(account.tally(IoKind::SocketRead).bytes, 9);
        assert!(account.latencies().is_none());
    }
}
