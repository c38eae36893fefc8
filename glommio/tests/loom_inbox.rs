//! Models of the injection queue and of the words that wakers on other threads touch:
//! `task/inbox.rs` and `task/shared.rs`, compiled against loom's primitives. Bounded in preemptions
//! as `loom_park.rs` is.

/// Stands in for `task/atomic.rs`.
mod atomic {
    pub(super) use loom::sync::atomic::{AtomicPtr, AtomicU32, Ordering, fence};
}

#[path = "../src/task/inbox.rs"]
#[allow(dead_code)]
mod inbox;
#[path = "../src/task/shared.rs"]
#[allow(dead_code)]
mod shared;

use std::ptr::NonNull;

use inbox::{Inbox, Node};
use loom::{
    cell::UnsafeCell,
    model::Builder,
    sync::{
        Arc,
        atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed},
    },
    thread,
};
use shared::Shared;

fn model(preemptions: usize, f: impl Fn() + Sync + Send + 'static) {
    let mut model = Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(f);
}

/// A node that carries plain memory: loom complains if the queue does not publish it.
struct Letter {
    link: AtomicPtr<Letter>,
    text: UnsafeCell<u32>,
}

// SAFETY: the field is used for nothing else.
unsafe impl Node for Letter {
    fn inbox_link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

/// Posts a letter that whoever takes it out frees. `false`: the inbox was closed.
fn post(inbox: &Inbox<Letter>, text: u32) -> bool {
    let letter = Box::new(Letter {
        link: AtomicPtr::new(std::ptr::null_mut()),
        text: UnsafeCell::new(0),
    });
    // SAFETY: the letter is still ours alone.
    letter.text.with_mut(|place| unsafe { *place = text });
    let letter = NonNull::from(Box::leak(letter));
    // SAFETY: the letter is in no inbox, and stays alive until `open` or the line below frees it.
    match unsafe { inbox.push(letter) } {
        Ok(()) => true,
        Err(inbox::Closed) => {
            open(letter);
            false
        }
    }
}

fn open(letter: NonNull<Letter>) -> u32 {
    // SAFETY: letters come from a leaked box and are opened once, by the one who has them.
    let letter = unsafe { Box::from_raw(letter.as_ptr()) };
    // SAFETY: as above.
    letter.text.with(|place| unsafe { *place })
}

fn read(mail: inbox::Batch<Letter>) -> Vec<u32> {
    mail.map(open).collect()
}

/// An inbox with letters, and a place where senders and owner meet. loom looks for another
/// interleaving only where a thread's *last* access to a word races, and a push reads the head
/// before it changes it, which hides the race with the owner's read. Both come by here first: a
/// relaxed change of one word, which orders nothing and races always.
struct Post {
    inbox: Inbox<Letter>,
    meeting: AtomicUsize,
}

impl Post {
    fn new() -> Arc<Post> {
        let inbox = Inbox::new_closed();
        inbox.open();
        Arc::new(Post {
            inbox,
            meeting: AtomicUsize::new(0),
        })
    }

    fn send(&self, text: u32) -> bool {
        let sent = post(&self.inbox, text);
        self.meeting.fetch_add(1, Relaxed);
        sent
    }

    fn take(&self) -> Vec<u32> {
        self.meeting.fetch_add(1, Relaxed);
        read(self.inbox.take())
    }

    fn close(&self) -> Vec<u32> {
        self.meeting.fetch_add(1, Relaxed);
        read(self.inbox.close())
    }
}

#[test]
fn letters_of_two_threads_arrive_once_each_and_in_the_order_of_their_sender() {
    let early = std::sync::atomic::AtomicUsize::new(0);
    let early = std::sync::Arc::new(early);
    let seen_early = early.clone();
    model(2, move || {
        let letters = Post::new();
        let senders = [10, 20].map(|first| {
            let letters = letters.clone();
            thread::spawn(move || {
                for text in [first, first + 1] {
                    assert!(letters.send(text));
                }
            })
        });
        let mut got = letters.take();
        seen_early.fetch_max(got.len(), Relaxed);
        got.extend(letters.take());
        for sender in senders {
            sender.join().unwrap();
        }
        got.extend(letters.take());
        assert!(letters.inbox.is_empty());
        for first in [10, 20] {
            let of_one = got.iter().copied().filter(|text| text / 10 == first / 10);
            assert_eq!(of_one.collect::<Vec<_>>(), [first, first + 1]);
        }
        assert_eq!(got.len(), 4);
    });
    assert_eq!(early.load(Relaxed), 4, "the search is too shallow");
}

#[test]
fn a_letter_is_delivered_or_refused_when_the_inbox_closes_and_never_lost() {
    model(2, || {
        let letters = Post::new();
        let senders = [1, 2].map(|text| {
            let letters = letters.clone();
            thread::spawn(move || usize::from(letters.send(text)))
        });
        let mut delivered = letters.take().len();
        delivered += letters.close().len();
        let accepted: usize = senders.into_iter().map(|s| s.join().unwrap()).sum();
        assert_eq!(delivered, accepted);
        assert!(!letters.send(3), "closed is closed");
        assert!(letters.close().is_empty());
    });
}

/// A task as other threads see it. `news` stands for whatever the waking thread wrote before.
struct Task {
    shared: Shared,
    link: AtomicPtr<Task>,
    news: AtomicUsize,
    freed: AtomicUsize,
}

// SAFETY: the field is used for nothing else.
unsafe impl Node for Task {
    fn inbox_link(&self) -> &AtomicPtr<Self> {
        &self.link
    }
}

struct World {
    inbox: Inbox<Task>,
    task: Task,
}

impl World {
    fn new() -> Arc<World> {
        let world = World {
            inbox: Inbox::new_closed(),
            task: Task {
                shared: Shared::new(),
                link: AtomicPtr::new(std::ptr::null_mut()),
                news: AtomicUsize::new(0),
                freed: AtomicUsize::new(0),
            },
        };
        world.inbox.open();
        Arc::new(world)
    }

    fn release(&self) {
        if self.task.shared.release() {
            self.task.freed.fetch_add(1, Relaxed);
        }
    }

    /// What `task/waker.rs` does on a foreign thread, by reference.
    fn wake(&self) {
        self.task.news.fetch_add(1, Relaxed);
        if self.task.shared.begin_injection() {
            self.task.shared.acquire();
            // SAFETY: whoever turned the flag on is the only one to push, and the world outlives
            // the inbox's contents.
            let pushed = unsafe { self.inbox.push(NonNull::from(&self.task)) };
            if pushed.is_err() {
                self.release();
            }
        }
    }

    /// What `Tasks::drain_inbox` does, with a poll that reads the news. `true`: it polled.
    fn drain(&self, mail: inbox::Batch<Task>, seen: &mut usize) {
        for _ in mail {
            self.task.shared.end_injection();
            *seen = (*seen).max(self.task.news.load(Relaxed));
            self.release();
        }
    }
}

/// Threads that wake the task, each with a waker of its own.
fn two_that_wake(world: &Arc<World>) -> [thread::JoinHandle<()>; 2] {
    [(); 2].map(|()| {
        world.task.shared.acquire();
        let world = world.clone();
        thread::spawn(move || {
            world.wake();
            world.release();
        })
    })
}

#[test]
fn the_poll_that_follows_a_wake_sees_what_was_written_before_it() {
    model(3, || {
        let world = World::new();
        let threads = two_that_wake(&world);
        let mut seen = 0;
        world.drain(world.inbox.take(), &mut seen);
        for thread in threads {
            thread.join().unwrap();
        }
        world.drain(world.inbox.take(), &mut seen);
        assert_eq!(seen, 2, "a wake was lost");
        assert!(world.task.shared.is_unique());
        world.release();
        assert_eq!(world.task.freed.load(Relaxed), 1);
    });
}

#[test]
fn a_task_is_freed_once_however_wakes_and_the_end_of_its_executor_fall() {
    model(2, || {
        let world = World::new();
        let threads = two_that_wake(&world);
        // The executor ends: no more wakes, the mail gives its references back, then its own.
        let mut seen = 0;
        world.task.shared.kill();
        world.drain(world.inbox.close(), &mut seen);
        world.release();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(world.task.freed.load(Relaxed), 1);
        assert!(world.inbox.is_empty());
    });
}
