//! The lists of an executor's live tasks, one for each task queue: doubly linked through their headers.
//!
//! A list is a ring that runs through a sentinel, so that a task can leave it without knowing
//! whose list it is in. Being in the list is one of the references that `local` counts, but the
//! list itself moves no count: that is for those who put tasks in and take them out.

use core::{alloc::Layout, cell::RefCell, ptr::NonNull};

use super::{
    blocks::Shape,
    header::{Header, Polled, TaskPtr, VTable},
    id::ExecutorId,
    payload::Payload,
    state::State,
};

/// The sentinel is a header without a future. Nothing ever runs it.
static SENTINEL: VTable = VTable {
    poll: |_| Polled::Pending,
    drop_future: |_| Ok::<(), Payload>(()),
    drop_output: |_| Ok::<(), Payload>(()),
    shape: Shape::of(Layout::new::<Header>(), 0),
    #[cfg(feature = "debugging")]
    type_name: || "",
};

/// The tasks of the list that this sentinel is of.
fn tasks_behind(sentinel: TaskPtr) -> impl Iterator<Item = TaskPtr> {
    let next = move |task: TaskPtr| task.owned_next.get().filter(|next| *next != sentinel);
    core::iter::successors(next(sentinel), move |task| next(*task))
}

/// A list of tasks, in the order in which they were added.
pub(super) struct OwnedList {
    sentinel: TaskPtr,
}

impl OwnedList {
    pub(super) fn new(executor: ExecutorId) -> OwnedList {
        let header = Header::new(&SENTINEL, executor, 0, State::newborn(), 1);
        // Kept as a raw pointer: the box may not be moved while tasks point to it.
        let header = NonNull::from(Box::leak(Box::new(header)));
        // SAFETY: the list owns the header, and only `Drop` frees it.
        let sentinel = unsafe { TaskPtr::new(header) };
        sentinel.owned_next.set(Some(sentinel));
        sentinel.owned_prev.set(Some(sentinel));
        OwnedList { sentinel }
    }

    /// Adds a task that is in no list. The caller keeps it alive until it leaves.
    #[inline]
    pub(super) fn push_back(&self, task: TaskPtr) {
        debug_assert!(task.owned_next.get().is_none());
        let last = self.sentinel.owned_prev.replace(Some(task));
        task.owned_prev.set(last);
        task.owned_next.set(Some(self.sentinel));
        if let Some(last) = last {
            last.owned_next.set(Some(task));
        }
    }

    /// The task that was added first.
    pub(super) fn front(&self) -> Option<TaskPtr> {
        self.iter().next()
    }

    /// All tasks, oldest first. The list must not change meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = TaskPtr> {
        tasks_behind(self.sentinel)
    }

    /// Moves all tasks of another list to the end of this one.
    fn append(&self, other: &OwnedList) {
        let (Some(first), Some(last)) = (
            other.sentinel.owned_next.get(),
            other.sentinel.owned_prev.get(),
        ) else {
            return;
        };
        if first == other.sentinel {
            return;
        }
        other.sentinel.owned_next.set(Some(other.sentinel));
        other.sentinel.owned_prev.set(Some(other.sentinel));
        let before = self.sentinel.owned_prev.replace(Some(last));
        last.owned_next.set(Some(self.sentinel));
        first.owned_prev.set(before);
        if let Some(before) = before {
            before.owned_next.set(Some(first));
        }
    }
}

/// The tasks of all queues: of queue 0, which always exists, and of others that have had tasks.
pub(super) struct OwnedLists {
    executor: ExecutorId,
    first: OwnedList,
    others: RefCell<Vec<Option<OwnedList>>>,
}

impl OwnedLists {
    pub(super) fn new(executor: ExecutorId) -> OwnedLists {
        OwnedLists {
            executor,
            first: OwnedList::new(executor),
            others: RefCell::default(),
        }
    }

    /// Adds a task that is in no list to the list of its queue. The caller keeps it alive until it
    /// leaves.
    #[inline]
    pub(super) fn push_back(&self, task: TaskPtr) {
        if task.queue == 0 {
            self.first.push_back(task);
        } else {
            self.push_back_other(task);
        }
    }

    fn push_back_other(&self, task: TaskPtr) {
        let index = task.queue as usize;
        let mut others = self.others.borrow_mut();
        if others.len() <= index {
            others.resize_with(index + 1, || None);
        }
        others[index]
            .get_or_insert_with(|| OwnedList::new(self.executor))
            .push_back(task);
    }

    /// The list of queue 0.
    pub(super) fn first(&self) -> &OwnedList {
        &self.first
    }

    /// Frees the list of a queue other than 0; `false`, and nothing is done, if it has tasks.
    pub(super) fn forget_queue(&self, queue: u32) -> bool {
        debug_assert_ne!(queue, 0, "queue 0 is never removed");
        let mut others = self.others.borrow_mut();
        let Some(place) = others.get_mut(queue as usize) else {
            return true;
        };
        if place.as_ref().is_some_and(|list| list.front().is_some()) {
            return false;
        }
        *place = None;
        while let Some(None) = others.last() {
            others.pop();
        }
        if others.capacity() >= 64 && others.len() < others.capacity() / 4 {
            let len = others.len();
            others.shrink_to(len);
        }
        true
    }

    /// All tasks: queue by queue, the oldest of each first. The lists must not change meanwhile.
    pub(super) fn iter(&self) -> impl Iterator<Item = TaskPtr> {
        let others = self.others.borrow();
        let sentinels: Vec<TaskPtr> = others.iter().flatten().map(|list| list.sentinel).collect();
        let others = sentinels.into_iter().flat_map(tasks_behind);
        self.first.iter().chain(others)
    }

    /// Puts all tasks into one list, that of queue 0.
    pub(super) fn unite(&self) {
        for list in self.others.take().iter().flatten() {
            self.first.append(list);
        }
    }
}

impl Drop for OwnedList {
    fn drop(&mut self) {
        // A task still in here would be left with a dangling link. Letting go of it instead leaks
        // it, which `Tasks` has to prevent: it closes first.
        while let Some(task) = self.front() {
            debug_assert!(false, "the list of an executor is dropped with tasks in it");
            task.unlink();
        }
        // SAFETY: the header came from a box, and no task points to it any more.
        drop(unsafe { Box::from_raw(self.sentinel.as_non_null().as_ptr()) });
    }
}

impl TaskPtr {
    /// Leaves the owned list, if the task is in one.
    #[inline(always)]
    pub(super) fn unlink(self) {
        if let (Some(next), Some(prev)) = (self.owned_next.take(), self.owned_prev.take()) {
            next.owned_prev.set(Some(prev));
            prev.owned_next.set(Some(next));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Tasks;

    /// Tasks that wait, in these queues, and what is to be done with them.
    fn with_tasks(queues: &[u32], f: impl FnOnce(&OwnedLists, &[TaskPtr])) {
        let registered = Tasks::new().unwrap();
        let lists = OwnedLists::new(registered.id());
        let tasks: Vec<TaskPtr> = queues
            .iter()
            .map(|queue| {
                let header = Header::new(&SENTINEL, registered.id(), *queue, State::newborn(), 1);
                // SAFETY: the header is freed below, when no list has it any more.
                unsafe { TaskPtr::new(NonNull::from(Box::leak(Box::new(header)))) }
            })
            .collect();
        for task in &tasks {
            lists.push_back(*task);
        }
        f(&lists, &tasks);
        for task in tasks {
            task.unlink();
            // SAFETY: it came from a box, and is in no list.
            drop(unsafe { Box::from_raw(task.as_non_null().as_ptr()) });
        }
    }

    fn queues(tasks: impl Iterator<Item = TaskPtr>) -> Vec<u32> {
        tasks.map(|task| task.queue).collect()
    }

    #[test]
    fn a_queue_is_forgotten_once_its_last_task_has_left() {
        with_tasks(&[0, 3, 1, 3], |lists, tasks| {
            assert_eq!(queues(lists.iter()), [0, 1, 3, 3]);
            assert!(lists.forget_queue(2) && lists.forget_queue(7));
            tasks[1].unlink();
            assert!(!lists.forget_queue(3));
            tasks[3].unlink();
            assert!(lists.forget_queue(3) && lists.forget_queue(3));
            assert_eq!(lists.others.borrow().len(), 2);
            lists.push_back(tasks[1]);
            assert_eq!(queues(lists.iter()), [0, 1, 3]);
        });
    }

    #[test]
    fn the_end_finds_the_tasks_of_all_queues_in_one_list() {
        with_tasks(&[2, 0, 5, 2], |lists, tasks| {
            lists.unite();
            assert_eq!(queues(lists.first().iter()), [0, 2, 2, 5]);
            lists.first().push_back({
                tasks[3].unlink();
                tasks[3]
            });
            assert_eq!(queues(lists.first().iter()), [0, 2, 5, 2]);
            lists.unite();
            assert_eq!(lists.iter().count(), 4);
        });
    }
}
