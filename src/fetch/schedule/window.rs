//! The sliding window of one reader: a range of a file as requests, and the answers in order.
//!
//! Read <https://core.telegram.org/api/files>, "Downloading files". The server's rules: offset and limit are multiples of
//! 4 KB, the limit divides 1 MB, and no request crosses a boundary of 1 MB. They hold by construction: every limit is a power
//! of two, and every offset a multiple of its limit.
//!
//! Promise: the window spans at most [`MAX_AHEAD`] bytes, from the reader's next byte to the last one requested. This is the
//! memory that one reader takes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bytes from the reader's next byte to the last one requested: 2 MiB per reader.
pub(crate) const MAX_AHEAD: u64 = 2 << 20;
/// Bytes of the first request, small for a quick first byte. Each further one may have twice the bytes of the one before.
pub(crate) const INITIAL_PART: u32 = 64 << 10;
/// Upper bound of one request.
pub(crate) const MAX_PART: u32 = 512 << 10;
/// Offsets and limits are multiples of this.
const GRAIN: u32 = 4 << 10;

/// A request for a part of a file. The last part has fewer bytes than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartRequest {
    /// The first byte.
    pub(crate) offset: u64,
    /// The number of bytes.
    pub(crate) limit: u32,
}

impl PartRequest {
    fn end(self) -> u64 {
        self.offset + u64::from(self.limit)
    }
}

/// The answer has more or fewer bytes than the file has in that part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WrongLength;

/// The window of one reader.
///
/// Calling order: [`Window::poll_request`] gives a request; its outcome goes to [`Window::handle_part`] or
/// [`Window::handle_failed`]; [`Window::poll_bytes`] gives the bytes in order.
#[derive(Debug)]
pub(crate) struct Window {
    /// Bytes of the whole file.
    size: u64,
    range: Range<u64>,
    /// Offset of the part that the reader gets next.
    next: u64,
    /// Offset of the next request.
    cut: u64,
    /// Upper bound of the next request. It doubles with each one.
    part: u32,
    /// Upper bound for this number of connections.
    largest: u32,
    /// Requests in flight, and how many copies of each: 2 if it is hedged.
    in_flight: BTreeMap<PartRequest, u8>,
    /// Requests that failed.
    again: BTreeSet<PartRequest>,
    /// Parts that arrived ahead of their turn.
    ready: BTreeMap<u64, Vec<u8>>,
}

impl Window {
    /// A window for `range` of a file of `size` bytes.
    pub(crate) fn new(size: u64, range: Range<u64>) -> Window {
        let range = range.start.min(size)..range.end.min(size);
        let len = range.end.saturating_sub(range.start);
        let unit = len
            .next_power_of_two()
            .clamp(u64::from(GRAIN), u64::from(INITIAL_PART));
        let cut = range.start / unit * unit;
        Window {
            size,
            next: cut,
            cut,
            part: INITIAL_PART,
            largest: MAX_PART,
            in_flight: BTreeMap::new(),
            again: BTreeSet::new(),
            ready: BTreeMap::new(),
            range,
        }
    }

    /// Fits the parts to the number of connections `n`: each should have `n` parts in the window. The more connections, the more
    /// often one of them is late with the part that the reader waits for, and the others need parts for that time.
    pub(crate) fn set_connections(&mut self, connections: usize) {
        let share = MAX_AHEAD / (connections.max(1) as u64).saturating_pow(2);
        let share = u32::try_from(share).unwrap_or(MAX_PART);
        // Rounded down to a power of two, as the server demands.
        self.largest = (1 << share.max(1).ilog2()).clamp(INITIAL_PART, MAX_PART);
    }

    /// Whether [`Window::poll_request`] would give a request.
    pub(crate) fn has_request(&self) -> bool {
        !self.again.is_empty() || self.fresh().is_some()
    }

    /// The next request, lowest offset first. `None` while the window is full or everything is in flight.
    pub(crate) fn poll_request(&mut self) -> Option<PartRequest> {
        let request = match self.again.pop_first() {
            Some(request) => request,
            None => {
                let request = self.fresh()?;
                self.cut = request.end();
                self.part = self.part.saturating_mul(2).min(MAX_PART);
                request
            }
        };
        *self.in_flight.entry(request).or_default() += 1;
        Some(request)
    }

    /// The request in flight that the reader waits for, unless it is hedged already.
    pub(crate) fn awaited(&self) -> Option<PartRequest> {
        let (request, copies) = self.in_flight.iter().next()?;
        (*copies == 1 && request.offset == self.next).then_some(*request)
    }

    /// The hedged request: the awaited part a second time, for another connection.
    pub(crate) fn poll_hedged(&mut self) -> Option<PartRequest> {
        let request = self.awaited()?;
        *self.in_flight.entry(request).or_default() += 1;
        Some(request)
    }

    /// A request was answered.
    ///
    /// # Errors
    /// The answer has the wrong length. The request will be repeated.
    pub(crate) fn handle_part(&mut self, request: PartRequest, bytes: Vec<u8>) -> Result<(), WrongLength> {
        let expected = self
            .size
            .saturating_sub(request.offset)
            .min(u64::from(request.limit));
        if bytes.len() as u64 != expected {
            self.handle_failed(request);
            return Err(WrongLength);
        }
        // Of two copies the first answer counts. The second one finds no request.
        if self.in_flight.remove(&request).is_some() {
            self.again.remove(&request);
            self.ready.insert(request.offset, bytes);
        }
        Ok(())
    }

    /// A request failed or was withdrawn. It is repeated unless its copy is in flight.
    pub(crate) fn handle_failed(&mut self, request: PartRequest) {
        match self.in_flight.get_mut(&request) {
            Some(copies) if *copies > 1 => *copies -= 1,
            Some(_) => {
                self.in_flight.remove(&request);
                self.again.insert(request);
            }
            None => {}
        }
    }

    /// The reader's next bytes, if they have arrived.
    pub(crate) fn poll_bytes(&mut self) -> Option<Vec<u8>> {
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

    /// Whether the reader has all bytes of the range.
    pub(crate) fn is_done(&self) -> bool {
        self.range.is_empty() || self.next >= self.range.end
    }

    /// Bytes that have arrived ahead of the reader.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.ready.values().map(Vec::len).sum()
    }

    fn fresh(&self) -> Option<PartRequest> {
        let left = self.range.end.checked_sub(self.cut).filter(|left| *left > 0)?;
        if self.range.is_empty() {
            return None;
        }
        let aligned = if self.cut == 0 {
            u64::from(MAX_PART)
        } else {
            1 << self.cut.trailing_zeros()
        };
        let useful = left
            .checked_next_power_of_two()
            .unwrap_or(u64::MAX)
            .max(u64::from(GRAIN));
        let limit = u64::from(self.part.min(self.largest)).min(aligned).min(useful);
        let request = PartRequest {
            offset: self.cut,
            limit: limit as u32,
        };
        (request.end() - self.next <= MAX_AHEAD).then_some(request)
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

    fn bytes(request: PartRequest, size: u64) -> Vec<u8> {
        (request.offset..request.end().min(size)).map(byte).collect()
    }

    fn obeys(request: PartRequest) -> bool {
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
        let mut in_flight = Vec::new();
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
                        in_flight.push(request);
                        asked += u64::from(request.limit);
                    }
                }
                2 if draw.below(4) == 0 => in_flight.extend(window.poll_hedged()),
                2 | 3 if !in_flight.is_empty() => {
                    let request = in_flight.swap_remove(draw.below(in_flight.len() as u64) as usize);
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
            assert!(window.held() as u64 <= MAX_AHEAD, "{case}");
            assert!(window.cut.saturating_sub(window.next) <= MAX_AHEAD, "{case}");
        }
        assert_eq!(at, range.end.max(range.start), "{case}");
        assert!(
            window.poll_request().is_none() && window.poll_bytes().is_none(),
            "{case}"
        );
        let waste = (INITIAL_PART as u64) * 2 + (20 + 64) * u64::from(MAX_PART);
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
            assert!(asked <= MAX_AHEAD && (asked > MAX_AHEAD / 2 || requests.last().unwrap().end() >= size));
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
            PartRequest {
                offset: 4_997_120,
                limit: 4096
            }
        );
        assert!(window.poll_request().is_none());
    }

    #[test]
    fn a_full_window_requests_nothing_more() {
        let mut window = Window::new(1 << 30, 0..1 << 30);
        let requests: Vec<PartRequest> = std::iter::from_fn(|| window.poll_request()).collect();
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
    fn only_the_part_that_the_reader_waits_for_is_hedged() {
        let mut window = Window::new(1 << 20, 0..1 << 20);
        assert_eq!(window.poll_hedged(), None);
        let first = window.poll_request().unwrap();
        let second = window.poll_request().unwrap();
        assert_eq!(window.poll_hedged(), Some(first));
        assert_eq!(window.poll_hedged(), None);
        window.handle_failed(first);
        assert!(!window.again.contains(&first), "its copy is in flight");
        window.handle_part(first, bytes(first, 1 << 20)).unwrap();
        window.handle_failed(first);
        assert!(window.poll_bytes().is_some());
        assert_eq!(window.poll_hedged(), Some(second));
    }
}
