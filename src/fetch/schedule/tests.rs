//! Pace and window together, over simulated connections of known rates, in simulated time: the duration of a download does not
//! depend on the load of the machine.

use super::pace::{Grant, Pace, Permit};
use super::window::{PartRequest, Window};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const MS: Duration = Duration::from_millis(1);
/// A round trip.
const LATENCY: Duration = Duration::from_millis(60);
/// Bytes per second of a good connection.
const RATE: u64 = 2_000_000;

/// The simulated connections to a data centre.
struct Connections {
    latency: Duration,
    /// Bytes per second of each.
    rates: Vec<u64>,
    /// From this time on, the connection in this slot has this rate; 0 is silence.
    change: Option<(Duration, usize, u64)>,
}

impl Connections {
    fn equal(count: usize) -> Connections {
        Connections {
            latency: LATENCY,
            rates: vec![RATE; count],
            change: None,
        }
    }

    fn rate(&self, slot: usize, at: Duration) -> u64 {
        match self.change {
            Some((from, changed, rate)) if changed == slot && at >= from => rate,
            _ => self.rates[slot],
        }
    }
}

/// A simulated download.
struct Race<'a> {
    connections: &'a Connections,
    begun: Instant,
    now: Instant,
    pace: Pace,
    window: Window,
    open: usize,
    /// When the next connection opens.
    opening: Option<Instant>,
    /// When each connection has sent its answers.
    free: Vec<Instant>,
    /// Answers to come.
    coming: Vec<(Instant, Permit, PartRequest)>,
    in_flight: BTreeMap<PartRequest, (Instant, usize)>,
    asked: u64,
    draw: u64,
}

/// The duration of a download of `size` bytes, and the bytes that were requested.
fn race(connections: &Connections, size: u64) -> (Duration, u64) {
    let begun = mtrelay_core::sys::clock::now();
    let mut window = Window::new(size, 0..size);
    window.set_connections(connections.rates.len());
    let mut race = Race {
        connections,
        begun,
        now: begun,
        pace: Pace::new(connections.rates.len()),
        window,
        open: 0,
        opening: Some(begun),
        free: vec![begun; connections.rates.len()],
        coming: Vec::new(),
        in_flight: BTreeMap::new(),
        asked: 0,
        draw: 1,
    };
    while !race.window.is_done() {
        race.ask();
        race.pass();
        while race.window.poll_bytes().is_some() {}
        assert!(race.now - begun < Duration::from_secs(600), "it does not end");
    }
    (race.now - begun, race.asked)
}

impl Race<'_> {
    fn hedge_at(&self) -> Option<Instant> {
        let request = self.window.awaited()?;
        let (since, slot) = *self.in_flight.get(&request)?;
        self.pace.hedge_at(slot, since, request.limit.into())
    }

    /// Sends the requests that may leave now.
    fn ask(&mut self) {
        loop {
            let hedge = self.hedge_at().is_some_and(|at| at <= self.now);
            let wanted = hedge || self.window.has_request();
            let grant = if wanted {
                self.pace.poll_permit(self.now)
            } else {
                Grant::Wait(None)
            };
            if wanted && self.pace.wants_connection() && self.open < self.connections.rates.len() {
                self.opening.get_or_insert(self.now + self.connections.latency);
            }
            let Grant::Go(permit) = grant else { return };
            let request = if hedge {
                self.window.poll_hedged()
            } else {
                self.window.poll_request()
            };
            let request = request.expect("there is one");
            self.asked += u64::from(request.limit);
            self.in_flight.insert(request, (self.now, permit.slot));
            let due = (self.now + self.connections.latency + self.jitter()).max(self.free[permit.slot]);
            let rate = self.connections.rate(permit.slot, due - self.begun);
            let takes = match rate {
                0 => Duration::from_secs(3600),
                rate => Duration::from_secs_f64(f64::from(request.limit) / rate as f64),
            };
            self.free[permit.slot] = due + takes;
            self.coming.push((due + takes, permit, request));
        }
    }

    /// A random delay of up to a third of the latency.
    fn jitter(&mut self) -> Duration {
        self.draw = self
            .draw
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.connections.latency * (self.draw >> 48) as u32 / (3 << 16)
    }

    /// Advances the time to the next event.
    fn pass(&mut self) {
        let next = self.coming.iter().map(|(at, ..)| *at).min();
        let late = self.hedge_at().filter(|at| *at > self.now);
        let until = next.into_iter().chain(late).chain(self.opening).min();
        self.now = until.expect("something is to come");
        if self.opening == Some(self.now) {
            self.opening = None;
            self.pace.handle_opened(self.open);
            self.open += 1;
        }
        while let Some(at) = self.coming.iter().position(|(at, ..)| *at == self.now) {
            let (_, permit, request) = self.coming.swap_remove(at);
            self.in_flight.remove(&request);
            let len = request.limit as usize;
            self.window.handle_part(request, vec![0; len]).expect("all of it");
            self.pace.handle_answer(&permit, len, self.now);
        }
    }
}

#[test]
fn four_connections_are_almost_four_times_as_fast_as_one() {
    for (latency, rate) in [(60, RATE), (20, 5_000_000), (180, 1_000_000)] {
        let took = |count, size| {
            let connections = Connections {
                latency: latency * MS,
                rates: vec![rate; count],
                change: None,
            };
            race(&connections, size).0.as_secs_f64()
        };
        // Opening four connections takes a larger share of a small file's time.
        for (size, least) in [(16, 3.3), (32, 3.5), (64, 3.7)] {
            let times = took(1, size * MIB) / took(4, size * MIB);
            assert!(times >= least, "{latency} ms, {size} MiB: {times:.2} times");
        }
        let cap = 64.0 * MIB as f64 / (4.0 * rate as f64);
        let of_the_cap = cap / took(4, 64 * MIB);
        assert!(of_the_cap >= 0.93, "{latency} ms: {of_the_cap:.2} of the cap");
    }
}

#[test]
fn no_part_is_requested_twice_without_a_fault() {
    for count in [1, 2, 3, 4, 8] {
        let (_, asked) = race(&Connections::equal(count), 32 * MIB);
        assert_eq!(asked, 32 * MIB, "{count} connections");
    }
}

#[test]
fn a_slow_connection_does_not_hold_up_the_others() {
    // The duration over three connections, and a little.
    let three = race(&Connections::equal(3), 32 * MIB).0;
    for place in [0, 1, 3] {
        for part in [10, 50] {
            let mut connections = Connections::equal(4);
            connections.rates[place] = RATE / part;
            let (took, asked) = race(&connections, 32 * MIB);
            assert!(
                took < three + 1500 * MS,
                "place {place}, 1/{part}: {took:?}, three: {three:?}"
            );
            assert!(asked < 34 * MIB, "{asked}");
        }
    }
}

#[test]
fn a_connection_that_becomes_slow_or_silent_costs_a_second() {
    let three = race(&Connections::equal(3), 32 * MIB).0;
    for rate in [RATE / 10, RATE / 50, 0] {
        let change = Some((1000 * MS, 1, rate));
        let connections = Connections {
            change,
            ..Connections::equal(4)
        };
        let (took, asked) = race(&connections, 32 * MIB);
        assert!(took < three + 1000 * MS, "{rate} B/s: {took:?}, three: {three:?}");
        assert!(asked < 34 * MIB, "{asked}");
    }
}

#[test]
fn connections_of_different_speed_add_up() {
    for slow in [RATE / 2, RATE / 4] {
        let connections = Connections {
            rates: vec![RATE, slow, RATE, RATE],
            ..Connections::equal(4)
        };
        let cap = Duration::from_secs_f64(32.0 * MIB as f64 / (3 * RATE + slow) as f64);
        let took = race(&connections, 32 * MIB).0;
        assert!(took < cap + 1000 * MS, "{slow} B/s: {took:?} of {cap:?}");
    }
}
