//! What the data centres saw.

use std::collections::BTreeMap;

/// Counted since the start, over all data centres.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Connections that were accepted.
    pub connections: usize,
    /// Connections that are open now, by data centre.
    pub open: BTreeMap<i32, usize>,
    /// The most that were open at once, by data centre.
    pub peak: BTreeMap<i32, usize>,
    /// Key exchanges that ended well.
    pub keys: usize,
    /// Calls of the API, by data centre and method.
    pub calls: BTreeMap<(i32, &'static str), u64>,
    /// Requests for parts, by connection.
    pub parts: BTreeMap<usize, u64>,
    /// Requests for parts that are unanswered now.
    pub in_flight: usize,
    /// The most requests for parts that were unanswered at once.
    pub peak_in_flight: usize,
    /// Bytes of files that were answered.
    pub file_bytes: u64,
    /// Calls of the API that came while a wait held.
    pub during_wait: u64,
    /// Waits that were imposed.
    pub waits: u64,
    /// Answers that were acknowledged.
    pub acknowledged: u64,
    /// Answers that want to be acknowledged and were not yet.
    pub unacknowledged: u64,
    /// Rules that clients broke, in words.
    pub violations: Vec<String>,
    /// What clients said of themselves in `initConnection`: layer, `api_id`, device, system, version.
    pub clients: Vec<(i32, i32, String, String, String)>,
}

impl Counters {
    /// Calls of one method, at all data centres.
    #[must_use]
    pub fn calls_of(&self, method: &str) -> u64 {
        let of = |((_, name), count): (&(i32, &'static str), &u64)| (*name == method).then_some(*count);
        self.calls.iter().filter_map(of).sum()
    }
}
