//! Faults of connections and data centres: the downloaded bytes are right nevertheless.

use crate::client::{Setup, assert_no_violations, digest, direct, fetch_whole, find, logged_in, world};
use mtproto_test_dc::world::File;
use mtproto_test_dc::{Cluster, Corruption, Faults};

const MIB: u64 = 1 << 20;

/// Downloads a file with these faults, over one connection and over three.
fn survives(change: impl Fn(&mut Faults)) {
    for connections in [1, 3] {
        let file = File::document(1, 4, 6 * MIB + 777);
        let cluster = Cluster::start(world([file.clone()]));
        logged_in(
            Setup::new(&cluster, direct(&cluster), connections),
            async |telegram| {
                find(&telegram, 1).await;
                cluster.faults(&change);
                fetch_whole(&telegram, &file).await;
            },
        );
        assert_no_violations(&cluster);
    }
}

#[test]
fn connections_that_are_cut_between_parts() {
    survives(|faults| faults.kill_every = Some(4));
}

#[test]
fn connections_that_are_cut_inside_parts() {
    survives(|faults| faults.kill_after_bytes = Some(1_500_000));
}

#[test]
fn parts_that_are_damaged() {
    for how in [
        Corruption::Bit,
        Corruption::Truncated,
        Corruption::Session,
        Corruption::Length,
        Corruption::Key,
        Corruption::ShortPart,
        Corruption::LongPart,
    ] {
        survives(|faults| faults.corrupt_every = Some((5, how)));
    }
}

#[test]
fn references_that_expire_are_asked_for_once_for_all() {
    for connections in [1, 4] {
        let file = File::document(1, 4, 8 * MIB);
        let cluster = Cluster::start(world([file.clone()]));
        logged_in(
            Setup::new(&cluster, direct(&cluster), connections),
            async |telegram| {
                let media = find(&telegram, 1).await;
                let before = cluster.counters().calls_of("channels.getMessages");
                cluster.expire_references();
                let fetched = digest(&telegram, &media, 0..file.size).await;
                assert_eq!(fetched, Ok((file.size, file.sha256())));
                let asked = cluster.counters().calls_of("channels.getMessages") - before;
                assert_eq!(asked, 1, "one question for all that wait");
            },
        );
        assert_no_violations(&cluster);
    }
    survives(|faults| faults.expire_every = Some(7));
}

#[test]
fn answers_that_never_come() {
    survives(|faults| faults.swallow_every = Some(9));
}

#[test]
fn connections_that_fall_silent() {
    survives(|faults| faults.stall_after = Some(10));
}

#[test]
fn answers_that_no_schema_knows() {
    survives(|faults| faults.corrupt_every = Some((11, Corruption::Garbage)));
}

#[test]
fn errors_of_the_servers_own() {
    survives(|faults| faults.errors = Some((3, -503, "Timeout".into())));
    survives(|faults| faults.errors = Some((2, 500, "RPC_CALL_FAIL".into())));
}

#[test]
fn transport_errors() {
    survives(|faults| faults.transport_errors = Some((1, -429)));
    survives(|faults| faults.transport_errors = Some((1, -404)));
}

#[test]
fn compressed_answers_and_other_clocks() {
    survives(|faults| faults.gzip = true);
    for ahead in [-86_400, 86_400, 3600] {
        let file = File::document(1, 4, 2 * MIB);
        let cluster = Cluster::start(world([file.clone()]));
        cluster.faults(|faults| faults.clock_ahead = ahead);
        logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
            fetch_whole(&telegram, &file).await;
        });
        assert_no_violations(&cluster);
    }
}

#[test]
fn salts_that_change_under_way() {
    let file = File::document(1, 4, 4 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        for _ in 0..3 {
            cluster.change_salts();
            fetch_whole(&telegram, &file).await;
        }
    });
    assert_no_violations(&cluster);
}

#[test]
fn connections_that_all_go_between_two_files() {
    for connections in [4, 8] {
        let file = File::document(1, 4, 8 * MIB);
        let cluster = Cluster::start(world([file.clone()]));
        let setup = Setup::new(&cluster, direct(&cluster), connections);
        logged_in(setup, async |telegram| {
            // So slow that all connections open, and are lost together.
            cluster.faults(|faults| faults.rate = Some(2_000_000));
            for _ in 0..4 {
                fetch_whole(&telegram, &file).await;
                cluster.kill_connections();
            }
        });
        assert_no_violations(&cluster);
    }
}

#[test]
fn authorizations_and_keys_that_a_data_centre_forgets() {
    let file = File::document(1, 4, 4 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 3), async |telegram| {
        fetch_whole(&telegram, &file).await;
        cluster.log_everybody_out(4);
        fetch_whole(&telegram, &file).await;
        cluster.forget_keys(4);
        cluster.kill_connections();
        fetch_whole(&telegram, &file).await;
    });
    let counters = cluster.counters();
    assert_eq!(counters.keys, 3, "home, the file's, and the file's once more");
    assert_no_violations(&cluster);
}

#[test]
fn files_that_are_elsewhere_than_said() {
    let file = File {
        said_dc: 2,
        ..File::document(1, 5, 4 * MIB)
    };
    let cluster = Cluster::start(world([file.clone()]));
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        fetch_whole(&telegram, &file).await;
        fetch_whole(&telegram, &file).await;
    });
    let calls = cluster.counters().calls;
    assert!(
        calls[&(2, "upload.getFile")] <= 4,
        "the second time it is known: {calls:?}"
    );
    assert_no_violations(&cluster);
}

#[test]
fn everything_at_once() {
    survives(|faults| {
        faults.kill_every = Some(11);
        faults.corrupt_every = Some((7, Corruption::Bit));
        faults.expire_every = Some(13);
        faults.gzip = true;
    });
}
