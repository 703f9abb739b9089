//! A range of a file as requests, and their answers in order.
//!
//! Read <https://core.telegram.org/api/files>, "Downloading files". The server's rules: offset and limit are multiples of
//! 4 KB, the limit divides 1 MB, and no request crosses a boundary of 1 MB. They hold by construction: every limit is a power
//! of two, and every offset a multiple of its limit.
//!
//! Promise: from the first byte that the reader does not have yet to the last one that was asked for there are at most
//! [`MOST_AHEAD`] bytes. That is the memory that one reader takes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes between the reader and the last request.
pub const MOST_AHEAD: u64 = 2 << 20;
/// The first request has so many, for a quick beginning; each further one may have twice as many as the one before,
pub const FIRST_PART: u32 = 64 << 10;
/// up to this.
pub const LARGEST_PART: u32 = 512 << 10;
/// The server's unit.
const GRAIN: u32 = 4 << 10;

/// A request for some bytes. At the end of a file there are fewer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// Where they begin.
    pub offset: u64,
    /// How many.
    pub limit: u32,
}

impl Request {
    fn end(self) -> u64 {
        self.offset + u64::from(self.limit)
    }
}

/// The answer has not as many bytes as the file has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongLength;

/// One reader's part of a file.
///
/// [`Window::poll_request`] says what to ask for; the outcome goes to [`Window::handle_part`] or [`Window::handle_failed`];
/// [`Window::poll_bytes`] gives the bytes in order.
#[derive(Debug)]
pub struct Window {
    /// Of the file.
    size: u64,
    range: Range<u64>,
    /// Where the part begins that the reader gets next.
    next: u64,
    /// Where the request begins that is cut next.
    cut: u64,
    /// How long it may be.
    part: u32,
    largest: u32,
    /// How often each request is under way.
    under_way: BTreeMap<Request, u8>,
    again: BTreeSet<Request>,
    ready: BTreeMap<u64, Vec<u8>>,
}

impl Window {
    /// The bytes of `range` of a file of `size` bytes, which contains it.
    #[must_use]
    pub fn new(size: u64, range: Range<u64>) -> Window {
        let range = range.start.min(size)..range.end.min(size);
        let len = range.end.saturating_sub(range.start);
        let unit = len
            .next_power_of_two()
            .clamp(u64::from(GRAIN), u64::from(FIRST_PART));
        let cut = range.start / unit * unit;
        Window {
            size,
            next: cut,
            cut,
            part: FIRST_PART,
            largest: LARGEST_PART,
            under_way: BTreeMap::new(),
            again: BTreeSet::new(),
            ready: BTreeMap::new(),
            range,
        }
    }

    /// So many connections share the window: each should have as many parts in it as there are connections. The more there
    /// are, the more often one of them is late with the part that the reader waits for; then the others must not run dry.
    pub fn set_connections(&mut self, connections: usize) {
        let share = MOST_AHEAD / (connections.max(1) as u64).saturating_pow(2);
        let share = u32::try_from(share).unwrap_or(LARGEST_PART);
        // Rounded down to a power of two.
        self.largest = (1 << share.max(1).ilog2()).clamp(FIRST_PART, LARGEST_PART);
    }

    /// Whether there is something to ask for.
    #[must_use]
    pub fn has_request(&self) -> bool {
        !self.again.is_empty() || self.fresh().is_some()
    }

    /// What to ask for next, the earliest first. Nothing when the reader has to take some first, or all is under way.
    pub fn poll_request(&mut self) -> Option<Request> {
        let request = match self.again.pop_first() {
            Some(request) => request,
            None => {
                let request = self.fresh()?;
                self.cut = request.end();
                self.part = self.part.saturating_mul(2).min(LARGEST_PART);
                request
            }
        };
        *self.under_way.entry(request).or_default() += 1;
        Some(request)
    }

    /// The request for which the reader waits, if it is under way once.
    #[must_use]
    pub fn awaited(&self) -> Option<Request> {
        let (request, copies) = self.under_way.iter().next()?;
        (*copies == 1 && request.offset == self.next).then_some(*request)
    }

    /// The same request a second time: for another connection, when the first one is slow.
    pub fn poll_twin(&mut self) -> Option<Request> {
        let request = self.awaited()?;
        *self.under_way.entry(request).or_default() += 1;
        Some(request)
    }

    /// An answer has come.
    ///
    /// # Errors
    /// It is not the whole of what the file has there; the request is to be made again.
    pub fn handle_part(&mut self, request: Request, bytes: Vec<u8>) -> Result<(), WrongLength> {
        let expected = self
            .size
            .saturating_sub(request.offset)
            .min(u64::from(request.limit));
        if bytes.len() as u64 != expected {
            self.handle_failed(request);
            return Err(WrongLength);
        }
        // The first of two copies is taken. The other one finds nothing under its name any more.
        if self.under_way.remove(&request).is_some() {
            self.again.remove(&request);
            self.ready.insert(request.offset, bytes);
        }
        Ok(())
    }

    /// No answer will come to this one.
    pub fn handle_failed(&mut self, request: Request) {
        match self.under_way.get_mut(&request) {
            Some(copies) if *copies > 1 => *copies -= 1,
            Some(_) => {
                self.under_way.remove(&request);
                self.again.insert(request);
            }
            None => {}
        }
    }

    /// The next bytes for the reader, if they are there.
    pub fn poll_bytes(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.ready.remove(&self.next)?;
        let offset = self.next;
        let end = offset + bytes.len() as u64;
        self.next = if end >= self.range.end {
            self.range.end
        } else {
            end
        };
        bytes.truncate(self.range.end.saturating_sub(offset) as usize);
        let before = self.range.start.saturating_sub(offset).min(bytes.len() as u64);
        bytes.drain(..before as usize);
        Some(bytes)
    }

    /// Whether the reader has all.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.range.is_empty() || self.next >= self.range.end
    }

    /// Bytes that wait for the reader.
    #[must_use]
    pub fn held(&self) -> usize {
        self.ready.values().map(Vec::len).sum()
    }

    fn fresh(&self) -> Option<Request> {
        let left = self.range.end.checked_sub(self.cut).filter(|left| *left > 0)?;
        if self.range.is_empty() {
            return None;
        }
        let aligned = if self.cut == 0 {
            u64::from(LARGEST_PART)
        } else {
            1 << self.cut.trailing_zeros()
        };
        let useful = left
            .checked_next_power_of_two()
            .unwrap_or(u64::MAX)
            .max(u64::from(GRAIN));
        let limit = u64::from(self.part.min(self.largest)).min(aligned).min(useful);
        let request = Request {
            offset: self.cut,
            limit: limit as u32,
        };
        (request.end() - self.next <= MOST_AHEAD).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Draw(u64);

    impl Draw {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % bound.max(1)
        }
    }

    /// The byte that a file has at this place.
    fn byte(at: u64) -> u8 {
        (at.wrapping_mul(0x9e37_79b9) >> 13) as u8
    }

    fn bytes(request: Request, size: u64) -> Vec<u8> {
        (request.offset..request.end().min(size)).map(byte).collect()
    }

    fn obeys(request: Request) -> bool {
        let (offset, limit) = (request.offset, u64::from(request.limit));
        offset.is_multiple_of(4096)
            && limit.is_multiple_of(4096)
            && limit > 0
            && (1_u64 << 20).is_multiple_of(limit)
            && offset >> 20 == (offset + limit - 1) >> 20
            && limit <= 512 << 10
    }

    /// Asks, answers and fails in random order until the reader has all.
    fn run(draw: &mut Draw, size: u64, range: Range<u64>, connections: usize) {
        let case = format!("{range:?} of {size}, {connections} connections");
        let mut window = Window::new(size, range.clone());
        window.set_connections(connections);
        let mut under_way = Vec::new();
        let mut at = range.start;
        let mut asked = 0;
        let mut failures = 20;
        while !window.is_done() {
            match draw.below(5) {
                0 | 1 => {
                    if let Some(request) = window.poll_request() {
                        assert!(obeys(request), "{request:?}: {case}");
                        assert!(
                            request.end() > range.start && request.offset < range.end,
                            "{case}"
                        );
                        under_way.push(request);
                        asked += u64::from(request.limit);
                    }
                }
                2 if draw.below(4) == 0 => under_way.extend(window.poll_twin()),
                2 | 3 if !under_way.is_empty() => {
                    let request = under_way.swap_remove(draw.below(under_way.len() as u64) as usize);
                    let fate = draw.below(6);
                    if failures > 0 && fate == 0 {
                        failures -= 1;
                        window.handle_failed(request);
                    } else if failures > 0 && fate == 1 && request.offset + 1 < size {
                        failures -= 1;
                        let mut short = bytes(request, size);
                        short.pop();
                        assert_eq!(window.handle_part(request, short), Err(WrongLength));
                    } else {
                        assert_eq!(window.handle_part(request, bytes(request, size)), Ok(()));
                    }
                }
                _ => {
                    if let Some(bytes) = window.poll_bytes() {
                        assert!(!bytes.is_empty(), "{case}");
                        assert!(
                            bytes.iter().zip(at..).all(|(found, at)| *found == byte(at)),
                            "{case}"
                        );
                        at += bytes.len() as u64;
                    }
                }
            }
            assert!(window.held() as u64 <= MOST_AHEAD, "{case}");
            assert!(window.cut.saturating_sub(window.next) <= MOST_AHEAD, "{case}");
        }
        assert_eq!(at, range.end.max(range.start), "{case}");
        assert!(
            window.poll_request().is_none() && window.poll_bytes().is_none(),
            "{case}"
        );
        let waste = (FIRST_PART as u64) * 2 + (20 + 64) * u64::from(LARGEST_PART);
        assert!(asked <= (range.end - range.start) * 2 + waste, "{case}: {asked}");
    }

    #[test]
    fn every_request_obeys_the_rules_and_the_bytes_come_in_order() {
        let mut draw = Draw(1);
        let edges = [
            0,
            1,
            4095,
            4096,
            4097,
            65_535,
            65_536,
            65_537,
            1 << 20,
            (1 << 20) + 1,
            (3 << 20) - 1,
        ];
        for size in edges {
            for start in edges.into_iter().filter(|start| *start <= size) {
                for end in edges.into_iter().filter(|end| (start..=size).contains(end)) {
                    run(&mut draw, size, start..end, 2);
                }
            }
        }
        for _ in 0..60 {
            let size = draw.below(4 << 20);
            let start = draw.below(size);
            let end = start + draw.below(size - start + 1);
            let connections = draw.below(9) as usize;
            run(&mut draw, size, start..end, connections);
        }
    }

    #[test]
    fn far_into_a_large_file_the_rules_hold_too() {
        let size = 4 << 30;
        for start in [0, (2 << 30) + 77, size - 1, size - (1 << 20) + 1, 3 << 30] {
            let mut window = Window::new(size, start..size);
            let mut requests = Vec::new();
            while let Some(request) = window.poll_request() {
                assert!(obeys(request), "{request:?}");
                requests.push(request);
            }
            let asked = requests.last().unwrap().end() - requests[0].offset;
            assert!(
                asked <= MOST_AHEAD && (asked > MOST_AHEAD / 2 || requests.last().unwrap().end() >= size)
            );
        }
    }

    #[test]
    fn parts_grow_from_the_first_one() {
        let mut window = Window::new(8 << 20, 0..8 << 20);
        let limits: Vec<u32> = std::iter::from_fn(|| window.poll_request())
            .map(|request| request.limit >> 10)
            .collect();
        assert_eq!(limits, [64, 64, 128, 256, 512, 512, 512]);
        for (connections, largest) in [(1, 512), (2, 512), (3, 128), (4, 128), (5, 64), (8, 64)] {
            window.set_connections(connections);
            assert_eq!(window.largest, largest << 10, "{connections} connections");
        }
    }

    #[test]
    fn a_range_of_a_few_bytes_is_one_small_request() {
        let mut window = Window::new(1 << 30, 5_000_000..5_000_010);
        let request = window.poll_request().unwrap();
        assert_eq!(
            request,
            Request {
                offset: 4_997_120,
                limit: 4096
            }
        );
        assert!(window.poll_request().is_none());
    }

    #[test]
    fn while_nobody_takes_no_more_is_asked_for() {
        let mut window = Window::new(1 << 30, 0..1 << 30);
        let requests: Vec<Request> = std::iter::from_fn(|| window.poll_request()).collect();
        assert!(!window.has_request());
        for request in requests.iter().skip(1) {
            window.handle_part(*request, bytes(*request, 1 << 30)).unwrap();
            assert!(!window.has_request() && window.poll_bytes().is_none());
        }
        window
            .handle_part(requests[0], bytes(requests[0], 1 << 30))
            .unwrap();
        for _ in 0..5 {
            assert!(window.poll_bytes().is_some());
        }
        assert!(window.has_request());
    }

    #[test]
    fn a_twin_is_only_made_of_what_the_reader_waits_for() {
        let mut window = Window::new(1 << 20, 0..1 << 20);
        assert_eq!(window.poll_twin(), None);
        let first = window.poll_request().unwrap();
        let second = window.poll_request().unwrap();
        assert_eq!(window.poll_twin(), Some(first));
        assert_eq!(window.poll_twin(), None);
        window.handle_failed(first);
        assert!(!window.again.contains(&first), "its twin is under way");
        window.handle_part(first, bytes(first, 1 << 20)).unwrap();
        window.handle_failed(first);
        assert!(window.poll_bytes().is_some());
        assert_eq!(window.poll_twin(), Some(second));
    }
}
