//! Who waits for one direction of a stream.

use std::{
    sync::Arc,
    task::{Wake, Waker},
};

/// The wakers of those who wait: of the one who reads or writes, and of any number who share the stream,
/// to peek or to shut it down.
#[derive(Default)]
pub(crate) struct Waiting {
    owner: Option<Waker>,
    others: Vec<Waker>,
}

impl Waiting {
    pub(crate) fn is_empty(&self) -> bool {
        self.owner.is_none() && self.others.is_empty()
    }

    /// Leaves the waker of the one who reads or writes; gives back the one it replaces, to be dropped
    /// outside of any borrow.
    pub(crate) fn set_owner(&mut self, waker: &Waker) -> Option<Waker> {
        match &mut self.owner {
            Some(old) if old.will_wake(waker) => None,
            place => place.replace(waker.clone()),
        }
    }

    /// Adds the waker of somebody else, unless it is there; gives it back then.
    pub(crate) fn join(&mut self, waker: Waker) -> Option<Waker> {
        if self.others.iter().any(|other| other.will_wake(&waker)) {
            return Some(waker);
        }
        self.others.push(waker);
        None
    }

    /// Takes all of them, as one that wakes all.
    #[inline]
    pub(crate) fn take(&mut self) -> Option<Waker> {
        if self.others.is_empty() {
            return self.owner.take();
        }
        self.take_all()
    }

    #[cold]
    fn take_all(&mut self) -> Option<Waker> {
        match (self.owner.take(), self.others.len()) {
            (None, 1) => self.others.pop(),
            (owner, _) => {
                let all = self.others.drain(..).chain(owner).collect();
                Some(Waker::from(Arc::new(All(all))))
            }
        }
    }
}

struct All(Vec<Waker>);

impl Wake for All {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.iter().for_each(Waker::wake_by_ref);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicU32);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Count {
        fn waker(self: &Arc<Self>) -> Waker {
            Waker::from(self.clone())
        }

        fn get(&self) -> u32 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn whoever_waits_is_woken_once() {
        let counts = [(); 3].map(|()| Arc::<Count>::default());
        let mut waiting = Waiting::default();
        assert!(waiting.is_empty() && waiting.take().is_none());
        for _ in 0..2 {
            waiting.set_owner(&counts[0].waker());
            drop(waiting.join(counts[1].waker()));
            drop(waiting.join(counts[2].waker()));
        }
        assert_eq!(waiting.others.len(), 2, "none of them twice");
        assert!(!waiting.is_empty());
        waiting.take().unwrap().wake();
        assert!(waiting.is_empty() && waiting.take().is_none());
        assert_eq!(counts.each_ref().map(|count| count.get()), [1, 1, 1]);
    }

    #[test]
    fn one_alone_is_woken_without_detour() {
        let count = Arc::<Count>::default();
        let mut waiting = Waiting::default();
        assert!(waiting.set_owner(&count.waker()).is_none());
        assert!(waiting.take().unwrap().will_wake(&count.waker()));
        assert!(waiting.join(count.waker()).is_none());
        assert!(waiting.take().unwrap().will_wake(&count.waker()));
        assert_eq!(count.get(), 0);
    }
}
