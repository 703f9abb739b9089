//! The replay window: the marks of the last authenticated handshakes.
//!
//! A ring of fixed capacity with a hash table: the newest mark replaces the oldest, and insertion takes constant time. A mark takes 24
//! bytes, so the default of 16,384 marks takes 384 KiB, of which only the pages in use are resident.

use std::hash::{BuildHasher as _, RandomState};

/// The mark of a handshake: 16 bytes that a replay cannot change.
pub type Mark = [u8; 16];

/// The end of a chain.
const NONE: u32 = u32::MAX;
/// Limit of the capacity: 16 million marks are 400 MB.
const MAX_CAPACITY: usize = 1 << 24;

/// The window: a ring of marks, and a chained hash table over it.
pub struct ReplayWindow {
    marks: Vec<Mark>,
    /// For each mark, the index of the next one in its chain.
    next: Vec<u32>,
    /// For each place of the hash table, the index of its newest mark.
    heads: Vec<u32>,
    /// Index of the oldest mark, which the next one replaces once the ring is full.
    oldest: usize,
    capacity: usize,
    /// Keyed at random, so that a peer cannot direct many marks to one place.
    hasher: RandomState,
}

impl ReplayWindow {
    /// A window over the last `capacity` marks. With zero, no mark is kept.
    #[must_use]
    pub fn new(capacity: usize) -> ReplayWindow {
        let capacity = capacity.min(MAX_CAPACITY);
        ReplayWindow {
            marks: Vec::with_capacity(capacity),
            next: Vec::with_capacity(capacity),
            heads: vec![NONE; capacity.next_power_of_two()],
            oldest: 0,
            capacity,
            hasher: RandomState::new(),
        }
    }

    /// Inserts `mark`; `false` if the window has it already.
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
            self.next.push(NONE);
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

    /// A window of another capacity with the newest of these marks.
    #[must_use]
    pub fn resized(&self, capacity: usize) -> ReplayWindow {
        let mut window = ReplayWindow::new(capacity);
        for mark in self.marks() {
            window.insert(*mark);
        }
        window
    }

    /// The marks, the oldest first.
    pub fn marks(&self) -> impl Iterator<Item = &Mark> {
        let (newer, older) = self.marks.split_at(self.oldest);
        older.iter().chain(newer)
    }

    /// The number of marks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// The limit of marks.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    fn place(&self, mark: &Mark) -> usize {
        self.hasher.hash_one(mark) as usize & (self.heads.len() - 1)
    }

    fn chain(&self, place: usize) -> impl Iterator<Item = usize> + '_ {
        let slot = |index: u32| (index != NONE).then_some(index as usize);
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
