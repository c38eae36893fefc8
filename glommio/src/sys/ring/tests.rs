//! Tests of the ring against the kernel, with enter calls that fail: what was submitted only
//! in part, or not at all, stays owned until its completion.

use std::{
    cell::{Cell, RefCell},
    os::{
        fd::{AsRawFd, IntoRawFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use io_uring::{opcode, squeue, types};

use super::{Fault, Ring, Wait};
use crate::sys::{
    eventfd::EventFd,
    features::{Features, Rung, features},
    inflight::Key,
    op::{Class, Completion, Operation, poll::WatchEventFd},
};

/// What became of the probes of a test.
#[derive(Default)]
struct Record {
    /// Completions that arrived for nobody.
    reclaimed: Cell<usize>,
    dropped: Cell<usize>,
}

/// Does nothing, and tells when it ends.
struct Probe(Rc<Record>);

// SAFETY: a NOP points to nothing.
unsafe impl Operation for Probe {
    /// Not bounded by the ring's depth: the queues themselves are to fill up.
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        opcode::Nop::new().build()
    }

    fn reclaim(self, completion: Completion) {
        // Some kernels refuse a NOP on a ring that polls.
        assert!([0, -libc::EINVAL].contains(&completion.result));
        self.0.reclaimed.set(self.0.reclaimed.get() + 1);
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.dropped.set(self.0.dropped.get() + 1);
    }
}

/// Completes while it is submitted.
struct AtOnce(Probe);

// SAFETY: a NOP points to nothing.
unsafe impl Operation for AtOnce {
    fn class(&self) -> Class {
        Class::Inline
    }

    fn entry(&mut self) -> squeue::Entry {
        self.0.entry()
    }
}

/// Reads what never comes, into memory of its own.
struct Stuck {
    socket: UnixStream,
    memory: Box<[u8; 64]>,
    probe: Probe,
}

// SAFETY: the memory is boxed.
unsafe impl Operation for Stuck {
    fn class(&self) -> Class {
        Class::Wait
    }

    fn entry(&mut self) -> squeue::Entry {
        let _ = &self.probe;
        let fd = types::Fd(self.socket.as_raw_fd());
        opcode::Read::new(fd, self.memory.as_mut_ptr(), 64).build()
    }
}

fn ring() -> Rc<Ring> {
    ring_with(features().unwrap())
}

fn ring_with(features: Features) -> Rc<Ring> {
    Ring::new(8, features).unwrap()
}

/// A ring of each kind that this kernel has.
fn rings() -> Vec<Rc<Ring>> {
    let features = features().unwrap();
    let polled = features.has(Rung::IoPoll);
    let polled = polled.then(|| Ring::new_polled(8, features).unwrap());
    [ring()].into_iter().chain(polled).collect()
}

fn submit(ring: &Ring, record: &Rc<Record>, count: usize) -> Vec<Key> {
    (0..count)
        .map(|_| ring.submit(Probe(record.clone())))
        .collect()
}

/// Turns until nothing is in flight.
fn settle(ring: &Ring) {
    let start = Instant::now();
    while ring.counters().in_flight > 0 {
        assert!(start.elapsed() < Duration::from_secs(30));
        ring.enter(Wait::For(Duration::from_millis(10))).unwrap();
        ring.dispatch(|_| ());
    }
}

#[test]
fn a_refused_submission_frees_nothing_and_is_made_up_for() {
    for errno in [libc::EAGAIN, libc::EBUSY, libc::ENOMEM] {
        for ring in rings() {
            let record = Rc::<Record>::default();
            let keys = submit(&ring, &record, 5);
            ring.inject([Fault::Refuse(errno)]);
            assert_eq!(ring.enter(Wait::No).is_err(), errno == libc::ENOMEM);
            // Their futures are dropped: the kernel has not seen them and will yet.
            keys.into_iter().for_each(|key| ring.orphan(key));
            assert_eq!(record.dropped.get(), 0, "the queue still names them");
            settle(&ring);
            assert_eq!((record.reclaimed.get(), record.dropped.get()), (5, 5));
        }
    }
}

#[test]
fn a_partial_submission_loses_and_repeats_nothing() {
    for taken in 0..6 {
        for ring in rings() {
            let record = Rc::<Record>::default();
            let keys = submit(&ring, &record, 5);
            ring.inject([Fault::TakeOnly(taken)]);
            ring.enter(Wait::Forever).unwrap();
            ring.dispatch(|_| ());
            keys.into_iter().for_each(|key| ring.orphan(key));
            settle(&ring);
            assert_eq!(record.dropped.get(), 5, "{taken} of 5 were taken at first");
            let counters = ring.counters();
            assert!(counters.completed >= 5 && counters.submitted >= 5);
        }
    }
}

#[test]
fn what_completes_at_once_is_news_if_it_was_put_off() {
    for fault in [Fault::BUSY, Fault::Refuse(libc::EAGAIN), Fault::TakeOnly(0)] {
        let ring = ring();
        let record = Rc::<Record>::default();
        ring.submit(AtOnce(Probe(record.clone())));
        ring.inject([fault]);
        ring.enter(Wait::No).unwrap();
        // Somebody begins to wait for it now.
        let start = Instant::now();
        ring.enter(Wait::For(Duration::from_secs(60))).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30), "{fault:?}");
        ring.dispatch(|_| ());
        assert_eq!(ring.counters().in_flight, 0);
    }
}

#[test]
fn full_queues_delay_and_lose_nothing() {
    // More than the submission queue (8) and the completion queue (1,024, or 16) hold.
    const COUNT: usize = 5_000;
    for ring in rings() {
        let record = Rc::<Record>::default();
        let keys = submit(&ring, &record, COUNT);
        ring.inject((0..20).map(|i| match i % 3 {
            0 => Fault::Refuse(libc::EBUSY),
            1 => Fault::TakeOnly(3),
            _ => Fault::Refuse(libc::EAGAIN),
        }));
        for _ in 0..20 {
            // No completion is taken meanwhile.
            ring.enter(Wait::No).unwrap();
        }
        keys.into_iter().for_each(|key| ring.orphan(key));
        settle(&ring);
        assert_eq!(record.dropped.get(), COUNT);
    }
}

#[test]
fn the_ring_goes_down_before_the_memory_whatever_the_kernel_refuses() {
    let faults: [&[Fault]; 4] = [
        &[],
        &[Fault::Refuse(libc::EAGAIN); 3],
        &[Fault::TakeOnly(0), Fault::TakeOnly(1)],
        &[Fault::Refuse(libc::EBUSY), Fault::TakeOnly(1)],
    ];
    for (faults, ring) in faults
        .into_iter()
        .flat_map(|f| rings().into_iter().map(move |r| (f, r)))
    {
        let record = Rc::<Record>::default();
        let (socket, _silent) = UnixStream::pair().unwrap();
        ring.submit(Stuck {
            socket,
            memory: Box::new([0; 64]),
            probe: Probe(record.clone()),
        });
        submit(&ring, &record, 3);
        ring.inject(faults.iter().copied());
        ring.shutdown(|_| ());
        assert!(ring.is_closed());
        assert_eq!(record.dropped.get(), 4, "{faults:?}");
    }
}

#[test]
fn memory_that_the_kernel_does_not_give_back_is_leaked_and_not_freed() {
    for ring in rings() {
        let record = Rc::<Record>::default();
        submit(&ring, &record, 2);
        ring.inject([Fault::Refuse(libc::ENOMEM); 8]);
        let start = Instant::now();
        ring.shutdown(|_| ());
        assert!(ring.is_closed() && start.elapsed() < Duration::from_secs(60));
        assert_eq!(record.dropped.get(), 0);
    }
}

#[test]
fn a_descriptor_that_is_closed_while_submissions_fail_is_closed_all_the_same() {
    let faults: [&[Fault]; 3] = [
        &[],
        &[Fault::Refuse(libc::EBUSY); 2],
        &[Fault::TakeOnly(2); 3],
    ];
    for faults in faults {
        let ring = ring();
        // Whether a descriptor is closed is asked of its peer: other tests may reuse the number.
        let mut peers = Vec::new();
        for _ in 0..40 {
            let (socket, peer) = UnixStream::pair().unwrap();
            ring.close_fd(socket.into_raw_fd(), None);
            peers.push(peer);
        }
        ring.inject(faults.iter().copied());
        ring.shutdown(|_| ());
        for peer in &mut peers {
            let start = Instant::now();
            while std::io::Write::write(peer, b"x").is_ok() {
                assert!(start.elapsed() < Duration::from_secs(10), "{faults:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

#[test]
fn a_timeout_entry_that_was_put_off_still_ends_a_wait() {
    let ring = ring_with(features().unwrap().without(Rung::ExtArg));
    let record = Rc::<Record>::default();
    let limit = Wait::For(Duration::from_millis(5));
    // Refused with the timeout in the queue; then taken without it; then all of it.
    ring.inject([Fault::Refuse(libc::EAGAIN), Fault::TakeOnly(1)]);
    let keys = submit(&ring, &record, 1);
    for _ in 0..3 {
        ring.enter(limit).unwrap();
        ring.dispatch(|_| ());
    }
    keys.into_iter().for_each(|key| ring.orphan(key));
    let seen = RefCell::new(Vec::new());
    for _ in 0..5 {
        let start = Instant::now();
        ring.enter(limit).unwrap();
        ring.dispatch(|_| ());
        seen.borrow_mut().push(start.elapsed());
    }
    let longest = seen.borrow().iter().max().copied();
    assert!(longest < Some(Duration::from_secs(10)), "{seen:?}");
    assert!(ring.counters().timeouts >= 1);
}

#[test]
fn the_watch_of_an_eventfd_survives_whatever_ends_it() {
    for multishot in [true, false] {
        if multishot && !features().unwrap().has(Rung::MultishotPoll) {
            continue;
        }
        let ring = ring();
        let eventfd = Arc::new(EventFd::new().unwrap());
        let watch = ring.submit_driven(WatchEventFd::new(eventfd.clone(), multishot));
        ring.enter(Wait::No).unwrap();
        // As a kernel does that had no room for a completion of a multishot poll.
        ring.cancel(watch);
        let start = Instant::now();
        while !ring.has_deferred() {
            assert!(start.elapsed() < Duration::from_secs(30), "not cancelled");
            ring.enter(Wait::For(Duration::from_millis(10))).unwrap();
            ring.dispatch(|_| ());
        }
        ring.enter(Wait::No).unwrap();
        ring.dispatch(|_| ());
        eventfd.notify();
        let before = ring.counters().completed;
        let start = Instant::now();
        while ring.counters().completed == before {
            assert!(start.elapsed() < Duration::from_secs(30), "deaf");
            ring.enter(Wait::For(Duration::from_secs(1))).unwrap();
            ring.dispatch(|_| ());
        }
        assert_eq!(ring.counters().in_flight, u64::from(multishot));
        ring.shutdown(|_| ());
        assert_eq!(Arc::strong_count(&eventfd), 1);
    }
}

#[test]
fn tear_down_reports_the_messages_that_were_not_delivered() {
    if !features().unwrap().has(Rung::MsgRing) {
        return;
    }
    let ring = ring();
    let (not_a_ring, _) = UnixStream::pair().unwrap();
    for target in 0..3 {
        ring.send_message(not_a_ring.as_raw_fd(), target);
    }
    ring.inject([Fault::TakeOnly(1)]);
    let mut undelivered = Vec::new();
    assert!(ring.shutdown(|target| undelivered.push(target)));
    assert_eq!(undelivered, [0, 1, 2]);
}
