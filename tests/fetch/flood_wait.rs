//! FLOOD_WAIT: no request leaves for that data centre until the wait is over, on any connection; other data centres go on.

use crate::client::{Setup, assert_no_violations, digest, direct, fetch_whole, find, logged_in, world};
use mtproto_test_dc::world::File;
use mtproto_test_dc::{Cluster, Flood};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

fn waited(connections: usize, premium: bool) {
    let file = File::document(1, 4, 8 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(
        Setup::new(&cluster, direct(&cluster), connections),
        async |telegram| {
            let media = find(&telegram, 1).await;
            cluster.faults(|faults| {
                let flood = Flood {
                    premium,
                    quiet: Duration::from_secs(1),
                    ..Flood::new(4, 5, 2)
                };
                faults.floods.push(flood);
            });
            let begun = Instant::now();
            let fetched = digest(&telegram, &media, 0..file.size).await;
            assert_eq!(fetched, Ok((file.size, file.sha256())));
            assert!(begun.elapsed() >= Duration::from_secs(2), "it was waited");
        },
    );
    let counters = cluster.counters();
    assert_eq!(counters.waits, 1);
    assert_eq!(counters.during_wait, 0, "nothing left during the wait");
    assert_no_violations(&cluster);
}

#[test]
fn nothing_leaves_during_a_wait() {
    waited(4, false);
}

#[test]
fn nothing_leaves_during_a_premium_wait() {
    waited(3, true);
}

#[test]
fn one_connection_waits_and_goes_on() {
    waited(1, false);
}

#[test]
fn another_data_centre_goes_on_during_a_wait() {
    let (here, there) = (File::document(1, 4, 4 * MIB), File::document(2, 2, 4 * MIB));
    let cluster = Cluster::start(world([here.clone(), there.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        fetch_whole(&telegram, &there).await;
        let media = find(&telegram, 1).await;
        // Longer than the test may take: the client must not wait.
        cluster.faults(|faults| faults.floods.push(Flood::new(4, 0, 50)));
        let executor = smol::LocalExecutor::new();
        let waiting = executor.spawn(digest(&telegram, &media, 0..here.size));
        executor
            .run(async {
                while cluster.counters().waits == 0 {
                    mtrelay_core::reactor::Timer::after(Duration::from_millis(5)).await;
                }
                fetch_whole(&telegram, &there).await;
            })
            .await;
        assert!(!waiting.is_finished());
    });
    assert_eq!(cluster.counters().during_wait, 0);
}
