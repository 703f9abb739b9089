//! Speed: several connections where each is bounded, few round trips before the first byte, less load on a slow connection.

use crate::client::{Setup, assert_no_violations, digest, direct, find, logged_in, ms, world};
use mtfetch::source::{MediaReader as _, Source as _};
use mtproto_test_dc::Cluster;
use mtproto_test_dc::thread::Thread;
use mtproto_test_dc::world::File;
use mtrelay_test_support::require;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const RATE: u32 = 2_000_000;

/// A measured rate.
struct Speed {
    /// Bytes per second.
    rate: f64,
    /// The share of the time in which the client or the data centre waited for a processor.
    starved: f64,
}

/// The rate over this many connections of 60 ms and 2 MB/s each.
fn speed(connections: usize, size: u64) -> Speed {
    let file = File::document(1, 4, size);
    let cluster = Cluster::start(world([file.clone()]));
    let setup = Setup::new(&cluster, direct(&cluster), connections);
    let measured = logged_in(setup, async |telegram| {
        let media = find(&telegram, 1).await;
        digest(&telegram, &media, 0..4096).await.expect("it comes");
        cluster.faults(|faults| {
            faults.latency = ms(60);
            faults.rate = Some(RATE);
        });
        let starved = || Thread::current().starved() + cluster.starved();
        let (begun, starved_before) = (Instant::now(), starved());
        let fetched = digest(&telegram, &media, 0..size).await.expect("the file comes");
        assert_eq!(fetched.0, size);
        let took = begun.elapsed().as_secs_f64();
        let starved = starved().saturating_sub(starved_before);
        Speed {
            rate: size as f64 / took,
            starved: starved.as_secs_f64() / took,
        }
    });
    assert_no_violations(&cluster);
    measured
}

/// The schedule over real sockets. (The unit tests beside the schedule prove the same in simulated time.) A measurement during which
/// the client or the data centre waited for a processor does not count; when all of them did, the test is skipped, and fails in CI.
#[test]
#[ignore = "a measurement that needs a machine without other work: make test-fetch"]
fn four_connections_are_more_than_three_times_as_fast_as_one() {
    let (mut slow, mut spoilt) = (Vec::new(), Vec::new());
    while slow.len() < 3 && spoilt.len() < 4 {
        let (one, four) = (speed(1, 16 * MIB), speed(4, 32 * MIB));
        let times = four.rate / one.rate;
        let of_the_cap = four.rate / (4.0 * f64::from(RATE));
        let starved = four.starved.max(one.starved);
        let seen = format!("{times:.2} times, {of_the_cap:.2} of the cap, {starved:.2} of the time lost");
        if times >= 3.3 && of_the_cap > 0.8 {
            require::report(
                "MEASURED",
                &format!("{seen}; before it {slow:?} and, on a busy machine, {spoilt:?}"),
            );
            return;
        }
        if starved > 0.02 { &mut spoilt } else { &mut slow }.push(seen);
    }
    assert!(slow.len() < 3, "{slow:?}, and on a busy machine {spoilt:?}");
    require::skip(&format!("not measured, the machine is busy: {spoilt:?}"));
}

#[test]
fn first_byte_comes_after_three_round_trips_at_most() {
    let round_trip = ms(200);
    let file = File::document(1, 4, 4 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        // Warm-up: opens a session with the file's data centre.
        let media = find(&telegram, 1).await;
        digest(&telegram, &media, 0..4096).await.expect("it comes");
        cluster.faults(|faults| faults.latency = round_trip);
        let mut best = Duration::MAX;
        for _ in 0..5 {
            let begun = Instant::now();
            let media = find(&telegram, 1).await;
            let mut reader = telegram.open(&media, 0..file.size);
            reader
                .next()
                .await
                .expect("it comes")
                .expect("there is something");
            best = best.min(begun.elapsed());
        }
        assert!(best < round_trip * 3, "{best:?} of {round_trip:?} each");
        assert!(best >= round_trip, "the delay is there: {best:?}");
    });
}

#[test]
fn load_moves_off_a_slow_connection() {
    let file = File::document(1, 4, 12 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 4), async |telegram| {
        let media = find(&telegram, 1).await;
        cluster.faults(|faults| faults.rate = Some(4_000_000));
        digest(&telegram, &media, 0..file.size).await.expect("it comes");
        let before = cluster.counters().parts;
        let busiest = before.iter().max_by_key(|(_, count)| **count);
        let (slow, _) = busiest.expect("there were parts");
        cluster.faults(|faults| faults.slow = Some((*slow, 40_000)));
        let begun = Instant::now();
        let fetched = digest(&telegram, &media, 0..file.size).await;
        assert_eq!(fetched, Ok((file.size, file.sha256())));
        // A quarter of the file over the slow connection would take more than a minute.
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(30), "{took:?}");
    });
    assert_no_violations(&cluster);
}

#[test]
fn a_reader_that_pauses_stops_the_requests() {
    let file = File::document(1, 4, 64 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 4), async |telegram| {
        let media = find(&telegram, 1).await;
        let mut reader = telegram.open(&media, 0..file.size);
        reader
            .next()
            .await
            .expect("it comes")
            .expect("there is something");
        // Until no byte has arrived for a second.
        let (mut seen, mut since) = (0, Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            mtrelay_core::reactor::Timer::after(ms(20)).await;
            let bytes = cluster.counters().file_bytes;
            if bytes != seen {
                (seen, since) = (bytes, Instant::now());
            }
        }
        assert!(seen <= 5 * MIB, "{seen} bytes for a reader who took one piece");
        // Then it continues at the same offset.
        let mut rest = 0;
        while let Some(bytes) = reader.next().await.expect("it comes") {
            rest += bytes.len() as u64;
        }
        assert!(rest > file.size - 2 * MIB);
    });
    assert_no_violations(&cluster);
}

#[test]
fn a_dropped_reader_cancels_its_requests() {
    let file = File::document(1, 4, 64 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        let media = find(&telegram, 1).await;
        for _ in 0..20 {
            let mut reader = telegram.open(&media, 0..file.size);
            reader
                .next()
                .await
                .expect("it comes")
                .expect("there is something");
        }
        crate::client::fetch_whole(&telegram, &file).await;
    });
    let bytes = cluster.counters().file_bytes;
    assert!(bytes < file.size + 20 * 6 * MIB, "{bytes} bytes");
    assert_no_violations(&cluster);
}
