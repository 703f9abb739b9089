//! The replay window: the marks of the openings that were authenticated last.
//!
//! Its size is fixed when it is made; the oldest mark makes room for the newest. Remembering and looking up take the
//! same few steps however full it is. 24 bytes a mark: 16,384 of them are 384 KiB, touched page by page as they fill.

use std::hash::{BuildHasher as _, RandomState};

/// What is remembered of an opening.
pub type Mark = [u8; 16];

const NOBODY: u32 = u32::MAX;
/// More would not fit the indices; a router has no room for as many anyway.
const MAX_CAPACITY: usize = 1 << 24;

/// The window: a ring of marks, and chains through it that start from a table of hashes.
pub struct ReplayWindow {
    marks: Vec<Mark>,
    /// For each mark, the next one whose hash led to the same place.
    next: Vec<u32>,
    /// For each place, the newest mark that it leads to.
    heads: Vec<u32>,
    /// Where the next mark goes, once the ring is full.
    oldest: usize,
    capacity: usize,
    /// Keyed at random, so that nobody can aim many marks at one place.
    hasher: RandomState,
}

impl ReplayWindow {
    /// A window over the last `capacity` marks; none at all with zero.
    #[must_use]
    pub fn new(capacity: usize) -> ReplayWindow {
        let capacity = capacity.min(MAX_CAPACITY);
        ReplayWindow {
            marks: Vec::with_capacity(capacity),
            next: Vec::with_capacity(capacity),
            heads: vec![NOBODY; capacity.next_power_of_two()],
            oldest: 0,
            capacity,
            hasher: RandomState::new(),
        }
    }

    /// Remembers `mark`; `false` if it was there already.
    pub fn insert(&mut self, mark: Mark) -> bool {
        if self.capacity == 0 {
            return true;
        }
        let place = self.place(&mark);
        if self.chain(place).any(|slot| self.marks[slot] == mark) {
            return false;
        }
        let slot = if self.marks.len() < self.capacity {
            self.marks.push(mark);
            self.next.push(NOBODY);
            self.marks.len() - 1
        } else {
            let slot = self.oldest;
            self.oldest = (slot + 1) % self.capacity;
            self.unlink(slot);
            self.marks[slot] = mark;
            slot
        };
        self.next[slot] = self.heads[place];
        self.heads[place] = slot as u32;
        true
    }

    /// The same marks, as many as fit, in a window of another size.
    #[must_use]
    pub fn resized(&self, capacity: usize) -> ReplayWindow {
        let mut window = ReplayWindow::new(capacity);
        for mark in self.marks() {
            window.insert(*mark);
        }
        window
    }

    /// All marks, the oldest first.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        let (newer, older) = self.marks.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// How many marks it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// How many marks it holds at most.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn place(&self, mark: &Mark) -> usize {
        self.hasher.hash_one(mark) as usize & (self.heads.len() - 1)
    }

    fn chain(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let slot = |index: u32| (index != NOBODY).then_some(index as usize);
        std::iter::successors(slot(self.heads[place]), move |at| slot(self.next[*at]))
    }

    fn unlink(&mut self, slot: usize) {
        let place = self.place(&self.marks[slot]);
        let after = self.next[slot];
        let before = self
            .chain(place)
            .find(|before| self.next[*before] as usize == slot);
        match before {
            Some(before) => self.next[before] = after,
            None => self.heads[place] = after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    fn mark(number: u32) -> Mark {
        let mut mark = [0; 16];
        mark[4..8].copy_from_slice(&number.to_le_bytes());
        mark
    }

    #[test]
    fn a_mark_is_known_until_as_many_others_came() {
        let mut window = ReplayWindow::new(3);
        for number in 0..3 {
            assert!(window.insert(mark(number)));
        }
        for number in 0..3 {
            assert!(!window.insert(mark(number)));
        }
        assert!(window.insert(mark(3)));
        assert!(!window.insert(mark(1)));
        assert!(window.insert(mark(0)), "the oldest made room");
    }

    #[test]
    fn it_behaves_as_a_plain_list_does() {
        for capacity in [1, 2, 7, 64] {
            let mut window = ReplayWindow::new(capacity);
            let mut list = VecDeque::new();
            let mut number = 1_u32;
            for _ in 0..5000 {
                number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let mark = mark(number >> 25);
                let fresh = !list.contains(&mark);
                if fresh {
                    list.push_back(mark);
                    if list.len() > capacity {
                        list.pop_front();
                    }
                }
                assert_eq!(window.insert(mark), fresh);
            }
        }
    }

    #[test]
    fn resizing_keeps_the_newest() {
        let mut window = ReplayWindow::new(4);
        for number in 0..6 {
            window.insert(mark(number));
        }
        let mut smaller = window.resized(2);
        assert!(!smaller.insert(mark(5)) && !smaller.insert(mark(4)) && smaller.insert(mark(3)));
        let mut larger = window.resized(8);
        assert!((2..6).all(|number| !larger.insert(mark(number))));
    }

    #[test]
    fn a_window_of_nothing_remembers_nothing() {
        let mut window = ReplayWindow::new(0);
        assert!(window.insert(mark(1)) && window.insert(mark(1)));
    }
}
