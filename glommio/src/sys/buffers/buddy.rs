//! A buddy allocator over page numbers.
//!
//! The pages form chunks of [`CHUNK_PAGES`]; a block is `2^order` pages, aligned to its own size
//! within its chunk, so the block it was split from (and merges back into) is found by flipping one
//! bit of its page number. Free blocks of one order are linked through the pages' own records:
//! splitting and merging a block take at most [`ORDERS`] steps however many chunks there are, touch
//! no memory but these records, and allocate only when a chunk is added.
//!
//! A block that is freed is likely to be asked for again at once, by the next read. So a few freed
//! blocks of each order are set aside as they are ([`KEPT`]) and go out first, the one freed last
//! before all others, because its memory is most likely still cached. They are merged when nothing
//! else can serve a request.
//!
//! Chunks come in two classes ([`Class`]); blocks of the better class are handed out first.
//!
//! This file knows page numbers only, never addresses: it contains no `unsafe`.

/// Bytes in one page, the smallest block and the alignment of every block.
pub(super) const PAGE_BYTES: usize = 4096;

/// Number of block sizes: `2^0..=2^8` pages, 4 KiB to 1 MiB.
pub(super) const ORDERS: usize = 9;

/// Pages in a full chunk, which is also the largest block.
pub(super) const CHUNK_PAGES: u32 = 1 << (ORDERS - 1);

/// Chunks that fit in a page number, minus one so that [`NIL`] is never a page.
pub(super) const MAX_CHUNKS: usize = (u32::MAX / CHUNK_PAGES) as usize;

/// Freed blocks of one class and order that are set aside unmerged, at most.
const KEPT: u32 = 32;

/// "No page": ends a free list.
const NIL: u32 = u32::MAX;

/// Whether a chunk is registered with the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The kernel holds the chunk's pages: I/O skips pinning them. Handed out first.
    Registered = 0,
    /// Ordinary memory.
    Plain = 1,
}

const CLASSES: [Class; 2] = [Class::Registered, Class::Plain];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not the first page of a block, or beyond the end of a short chunk.
    Interior,
    /// First page of a block in the free list of its order.
    Free,
    /// First page of a freed block that is set aside; its buddy does not merge with it.
    Kept,
    /// First page of a block somebody holds.
    Used,
}

/// What is known about one page. Everything but `class` is meaningful in a block's first page only.
#[derive(Clone, Copy, Debug)]
struct Page {
    /// Neighbours in the free list: both in `State::Free`, the next one in `State::Kept`.
    prev: u32,
    next: u32,
    /// Owners of the block; at least 1 in `State::Used`, 0 otherwise.
    refs: u32,
    order: u8,
    state: State,
    class: Class,
}

/// The free lists and the page records of one arena.
#[derive(Debug, Default)]
pub(super) struct Buddy {
    pages: Vec<Page>,
    /// First block of each free list, one list per class and order.
    heads: [[Head; ORDERS]; 2],
    /// The blocks set aside, one stack per class and order.
    kept: [[Kept; ORDERS]; 2],
    /// Bit `order` is set exactly when that list has a block.
    nonempty: [u16; 2],
}

#[derive(Clone, Copy, Debug)]
struct Head(u32);

/// A stack of blocks, linked by `Page::next`.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    top: Head,
    blocks: u32,
}

impl Default for Head {
    fn default() -> Self {
        Head(NIL)
    }
}

/// The smallest order whose blocks hold `bytes`, or `None` where that is more than a chunk.
pub(super) fn order_for(bytes: usize) -> Option<u8> {
    let pages = bytes.div_ceil(PAGE_BYTES).max(1);
    if pages > CHUNK_PAGES as usize {
        return None;
    }
    Some(pages.next_power_of_two().trailing_zeros() as u8)
}

/// Bytes in a block of `order`.
pub(super) fn block_bytes(order: u8) -> usize {
    PAGE_BYTES << order
}

impl Buddy {
    /// Number of chunks added so far.
    pub(super) fn chunks(&self) -> usize {
        self.pages.len() / CHUNK_PAGES as usize
    }

    /// Adds a chunk whose first `pages` pages exist (the rest of its numbers stay unused) and
    /// returns its index. The chunk's first page number is its index times [`CHUNK_PAGES`].
    pub(super) fn add_chunk(&mut self, pages: u32, class: Class) -> usize {
        assert!(
            (1..=CHUNK_PAGES).contains(&pages),
            "a chunk of {pages} pages"
        );
        let index = self.chunks();
        assert!(index < MAX_CHUNKS, "more chunks than page numbers");
        let empty = Page {
            prev: NIL,
            next: NIL,
            refs: 0,
            order: 0,
            state: State::Interior,
            class,
        };
        self.pages
            .resize(self.pages.len() + CHUNK_PAGES as usize, empty);
        let first = index as u32 * CHUNK_PAGES;

        // Cover the pages with the largest blocks that are aligned and still fit; because the
        // blocks only get smaller from left to right, each is aligned to its own size.
        let mut at = 0;
        while at < pages {
            let order = (pages - at).ilog2() as u8;
            self.push(first + at, order);
            at += 1 << order;
        }
        index
    }

    /// Takes a block of `order`, with one owner, and returns its first page.
    pub(super) fn allocate(&mut self, order: u8) -> Option<u32> {
        assert!((order as usize) < ORDERS);
        let page = self.find(order).or_else(|| {
            self.merge_kept();
            self.find(order)
        })?;
        let record = &mut self.pages[page as usize];
        record.order = order;
        record.state = State::Used;
        record.refs = 1;
        Some(page)
    }

    /// Takes a block of `order` out of what is free; the caller sets its record.
    fn find(&mut self, order: u8) -> Option<u32> {
        for class in CLASSES {
            if let Some(page) = self.pop_kept(class, order) {
                return Some(page);
            }
            let fitting = self.nonempty[class as usize] >> order;
            if fitting == 0 {
                continue;
            }
            let mut have = order + fitting.trailing_zeros() as u8;
            let page = self.heads[class as usize][have as usize].0;
            self.unlink(page);
            while have > order {
                have -= 1;
                self.push(page + (1 << have), have);
            }
            return Some(page);
        }
        None
    }

    /// Adds an owner to the block at `page`.
    pub(super) fn retain(&mut self, page: u32) {
        let record = &mut self.pages[page as usize];
        assert_eq!(record.state, State::Used, "retain of a block nobody owns");
        // Only reachable by forgetting four billion clones; going on would free a block in use.
        record.refs = record
            .refs
            .checked_add(1)
            .expect("too many owners of one DMA block");
    }

    /// Removes an owner of the block at `page`; the last one frees it. Returns whether it was freed.
    pub(super) fn release(&mut self, page: u32) -> bool {
        let record = &mut self.pages[page as usize];
        assert_eq!(record.state, State::Used, "release of a block nobody owns");
        record.refs -= 1;
        if record.refs > 0 {
            return false;
        }
        let Page { order, class, .. } = *record;
        let kept = &mut self.kept[class as usize][order as usize];
        if kept.blocks == KEPT {
            self.merge(page);
            return true;
        }
        record.state = State::Kept;
        record.next = kept.top.0;
        kept.top = Head(page);
        kept.blocks += 1;
        true
    }

    fn pop_kept(&mut self, class: Class, order: u8) -> Option<u32> {
        let kept = &mut self.kept[class as usize][order as usize];
        if kept.blocks == 0 {
            return None;
        }
        let page = kept.top.0;
        kept.top = Head(self.pages[page as usize].next);
        kept.blocks -= 1;
        Some(page)
    }

    /// Merges the blocks set aside.
    fn merge_kept(&mut self) {
        for class in CLASSES {
            for order in 0..ORDERS as u8 {
                while let Some(page) = self.pop_kept(class, order) {
                    self.merge(page);
                }
            }
        }
    }

    /// Puts a block that nobody owns into a free list, merged with its buddies as far as they are
    /// free.
    fn merge(&mut self, page: u32) {
        let mut order = self.pages[page as usize].order;
        let mut block = page;
        self.pages[page as usize].state = State::Interior;
        while (order as usize) < ORDERS - 1 {
            let buddy = block ^ (1 << order);
            let other = &self.pages[buddy as usize];
            if other.state != State::Free || other.order != order {
                break;
            }
            self.unlink(buddy);
            self.pages[buddy as usize].state = State::Interior;
            block = block.min(buddy);
            order += 1;
        }
        self.push(block, order);
    }

    /// Number of owners of the block at `page`.
    pub(super) fn owners(&self, page: u32) -> u32 {
        self.pages[page as usize].refs
    }

    fn push(&mut self, page: u32, order: u8) {
        let class = self.pages[page as usize].class as usize;
        let next = self.heads[class][order as usize].0;
        let record = &mut self.pages[page as usize];
        record.prev = NIL;
        record.next = next;
        record.order = order;
        record.state = State::Free;
        if next != NIL {
            self.pages[next as usize].prev = page;
        }
        self.heads[class][order as usize] = Head(page);
        self.nonempty[class] |= 1 << order;
    }

    /// Takes a free block out of its list; the caller sets its new state.
    fn unlink(&mut self, page: u32) {
        let Page {
            prev,
            next,
            order,
            class,
            ..
        } = self.pages[page as usize];
        let class = class as usize;
        if next != NIL {
            self.pages[next as usize].prev = prev;
        }
        if prev != NIL {
            self.pages[prev as usize].next = next;
            return;
        }
        self.heads[class][order as usize] = Head(next);
        if next == NIL {
            self.nonempty[class] &= !(1 << order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Free pages, counted by walking the lists and checking every link on the way.
    fn free_pages(buddy: &Buddy) -> usize {
        let mut pages = 0;
        for class in CLASSES {
            for order in 0..ORDERS {
                let kept = buddy.kept[class as usize][order];
                let (mut at, mut blocks) = (kept.top.0, 0);
                while at != NIL {
                    let page = &buddy.pages[at as usize];
                    assert_eq!(
                        (page.state, page.order as usize, page.class, page.refs),
                        (State::Kept, order, class, 0)
                    );
                    (at, blocks) = (page.next, blocks + 1);
                }
                assert!(blocks == kept.blocks && blocks <= KEPT);
                pages += (blocks as usize) << order;

                let (mut prev, mut at) = (NIL, buddy.heads[class as usize][order].0);
                assert_eq!(at != NIL, buddy.nonempty[class as usize] >> order & 1 == 1);
                while at != NIL {
                    let page = &buddy.pages[at as usize];
                    assert_eq!((page.state, page.order as usize), (State::Free, order));
                    assert_eq!((page.class, page.prev, page.refs), (class, prev, 0));
                    pages += 1 << order;
                    (prev, at) = (at, page.next);
                }
            }
        }
        pages
    }

    #[test]
    fn sizes_round_up_to_the_next_block() {
        assert_eq!(order_for(0), Some(0));
        assert_eq!(order_for(1), Some(0));
        assert_eq!(order_for(4096), Some(0));
        assert_eq!(order_for(4097), Some(1));
        assert_eq!(order_for(8192), Some(1));
        assert_eq!(order_for(12 << 10), Some(2));
        assert_eq!(order_for(1 << 20), Some(8));
        assert_eq!(order_for((1 << 20) + 1), None);
        assert_eq!(order_for(usize::MAX), None);
        for order in 0..ORDERS as u8 {
            assert_eq!(order_for(block_bytes(order)), Some(order));
        }
    }

    #[test]
    fn every_chunk_length_is_handed_out_page_by_page_and_merges_back() {
        for pages in 1..=CHUNK_PAGES {
            let mut buddy = Buddy::default();
            buddy.add_chunk(pages, Class::Plain);
            let before = buddy.nonempty;
            let mut taken: Vec<u32> = std::iter::from_fn(|| buddy.allocate(0)).collect();
            taken.sort_unstable();
            assert_eq!(taken, (0..pages).collect::<Vec<_>>());
            assert_eq!(free_pages(&buddy), 0);
            for page in taken {
                assert!(buddy.release(page));
            }
            assert_eq!(free_pages(&buddy), pages as usize);
            buddy.merge_kept();
            assert_eq!(free_pages(&buddy), pages as usize);
            assert_eq!(buddy.nonempty, before, "{pages} pages did not merge back");
        }
    }

    #[test]
    fn registered_blocks_go_out_before_plain_ones() {
        let mut buddy = Buddy::default();
        buddy.add_chunk(CHUNK_PAGES, Class::Plain);
        buddy.add_chunk(64, Class::Registered);
        assert_eq!(buddy.allocate(6), Some(CHUNK_PAGES));
        assert!(buddy.allocate(6).unwrap() < CHUNK_PAGES);
        // Too large for the registered chunk even when that is free.
        assert!(buddy.release(CHUNK_PAGES));
        assert!(buddy.allocate(7).unwrap() < CHUNK_PAGES);
    }

    #[test]
    fn the_block_freed_last_goes_out_first_unless_it_must_be_merged() {
        let mut buddy = Buddy::default();
        buddy.add_chunk(CHUNK_PAGES, Class::Plain);
        let blocks: Vec<u32> = (0..CHUNK_PAGES)
            .map(|_| buddy.allocate(0).unwrap())
            .collect();
        assert!(blocks.iter().all(|block| buddy.release(*block)));
        assert_eq!(buddy.allocate(0), Some(blocks[KEPT as usize - 1]));
        assert_eq!(buddy.allocate(0), Some(blocks[KEPT as usize - 2]));
        buddy.release(blocks[KEPT as usize - 1]);
        buddy.release(blocks[KEPT as usize - 2]);
        assert_eq!(
            buddy.allocate(8),
            Some(0),
            "kept blocks stood in the way of a large one"
        );
    }

    #[test]
    fn a_block_is_freed_by_its_last_owner() {
        let mut buddy = Buddy::default();
        buddy.add_chunk(4, Class::Plain);
        let page = buddy.allocate(2).unwrap();
        buddy.retain(page);
        assert_eq!(buddy.owners(page), 2);
        assert!(!buddy.release(page));
        assert_eq!(buddy.allocate(0), None);
        assert!(buddy.release(page));
        assert_eq!(buddy.owners(page), 0);
        assert_eq!(free_pages(&buddy), 4);
    }

    #[test]
    #[should_panic(expected = "nobody owns")]
    fn releasing_a_free_block_is_caught() {
        let mut buddy = Buddy::default();
        buddy.add_chunk(4, Class::Plain);
        let page = buddy.allocate(0).unwrap();
        buddy.release(page);
        buddy.release(page);
    }

    #[derive(Clone, Debug)]
    enum Step {
        AddChunk(u32, bool),
        Allocate(u8),
        Retain(usize),
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            1 => (1..=CHUNK_PAGES, any::<bool>()).prop_map(|(n, r)| Step::AddChunk(n, r)),
            12 => (0..ORDERS as u8).prop_map(Step::Allocate),
            3 => any::<usize>().prop_map(Step::Retain),
            12 => any::<usize>().prop_map(Step::Release),
        ]
    }

    proptest! {
        #![proptest_config(crate::test_cases::cases(256))]

        #[test]
        fn blocks_never_overlap_and_all_pages_return(
            steps in proptest::collection::vec(step(), 1..400)
        ) {
            let mut buddy = Buddy::default();
            // The model: which existing page belongs to a held block, and each holder's block.
            let mut owned: Vec<Option<bool>> = Vec::new();
            let mut holders: Vec<(u32, u8)> = Vec::new();
            for step in steps {
                match step {
                    Step::AddChunk(pages, registered) if buddy.chunks() < 6 => {
                        let class = if registered { Class::Registered } else { Class::Plain };
                        buddy.add_chunk(pages, class);
                        owned.resize(owned.len() + pages as usize, Some(false));
                        owned.resize(buddy.pages.len(), None);
                    }
                    Step::AddChunk(..) => {}
                    Step::Allocate(order) => match buddy.allocate(order) {
                        Some(page) => {
                            prop_assert_eq!(page % (1 << order), 0);
                            for at in page..page + (1 << order) {
                                prop_assert_eq!(owned[at as usize], Some(false));
                                owned[at as usize] = Some(true);
                            }
                            holders.push((page, order));
                        }
                        None => {
                            let run_is_free = owned
                                .chunks(1 << order)
                                .any(|run| run.iter().all(|page| *page == Some(false)));
                            prop_assert!(!run_is_free, "an aligned free run was not found");
                        }
                    },
                    Step::Retain(pick) if !holders.is_empty() => {
                        let block = holders[pick % holders.len()];
                        buddy.retain(block.0);
                        holders.push(block);
                    }
                    Step::Release(pick) if !holders.is_empty() => {
                        let block = holders.swap_remove(pick % holders.len());
                        let last = !holders.contains(&block);
                        prop_assert_eq!(buddy.release(block.0), last);
                        if last {
                            for at in block.0..block.0 + (1 << block.1) {
                                owned[at as usize] = Some(false);
                            }
                        }
                    }
                    Step::Retain(_) | Step::Release(_) => {}
                }
                let free = owned.iter().filter(|page| **page == Some(false)).count();
                prop_assert_eq!(free_pages(&buddy), free);
            }
            for (page, _) in holders {
                buddy.release(page);
            }
            prop_assert_eq!(free_pages(&buddy), owned.iter().flatten().count());
        }
    }
}
