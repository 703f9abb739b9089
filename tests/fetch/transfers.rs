//! Downloads carry the bytes of the source: directly and through the relay, over one connection and over several.

use crate::client::{Setup, assert_no_violations, digest, direct, fetch_whole, find, logged_in, world};
use mtfetch::route::Route;
use mtproto_test_dc::Cluster;
use mtproto_test_dc::world::File;
use mtrelay_test_support::rng::{Rng, base_seed};
use mtrelay_test_support::{Relay, RelayConfig};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;
use wire::secret::{Form, Secret, Written};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const SECRET: [u8; 16] = *b"\x1f\x1e\x2d\x3c\x4b\x5a\x69\x78\x87\x96\xa5\xb4\xc3\xd2\xe1\xf0";

/// The relay's binary: another one if the environment says so, or the one beside this test.
fn relay_bin() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("MTRELAY_BIN") {
        return Some(path.into());
    }
    let test = std::env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("mtrelay");
    path.exists().then_some(path)
}

fn relay(cluster: &Cluster) -> Option<Relay> {
    let Some(bin) = relay_bin() else {
        mtrelay_test_support::require::skip("the relay is not built (cargo build)");
        return None;
    };
    let config = RelayConfig::new().user("test", SECRET).modes("plain dd ee");
    let config = cluster
        .addrs()
        .iter()
        .fold(config, |config, (dc, address)| config.dc(*dc as i16, &[*address]));
    Some(Relay::start(&bin.to_string_lossy(), &config))
}

fn proxied(relay: &Relay, form: Form) -> Route {
    let key = Secret::from_bytes(SECRET);
    Route::Proxy(vec![relay.addr()], Written { key, form })
}

/// Fetches the file by this route over this many connections.
fn fetch(cluster: &Cluster, route: Route, connections: usize, file: &File) {
    logged_in(Setup::new(cluster, route, connections), async |telegram| {
        fetch_whole(&telegram, file).await;
    });
    assert_no_violations(cluster);
}

#[test]
fn a_large_file_is_the_same_by_every_route() {
    let file = File::document(1, 4, 256 * MIB);
    let cluster = Cluster::start(world([file.clone()]));
    fetch(&cluster, direct(&cluster), 4, &file);
    let Some(relay) = relay(&cluster) else { return };
    fetch(&cluster, proxied(&relay, Form::Plain), 3, &file);
    fetch(&cluster, proxied(&relay, Form::Dd), 2, &file);
    fetch(
        &cluster,
        proxied(&relay, Form::Ee("www.example.org".into())),
        4,
        &file,
    );
}

#[test]
fn each_number_of_connections_gives_the_same_bytes_by_every_route() {
    let file = File::document(1, 4, 9 * MIB + 4321);
    let cluster = Cluster::start(world([file.clone()]));
    let relay = relay(&cluster);
    for connections in 1..=4 {
        fetch(&cluster, direct(&cluster), connections, &file);
        let Some(relay) = &relay else { continue };
        for form in [Form::Plain, Form::Dd, Form::Ee("www.example.org".into())] {
            fetch(&cluster, proxied(relay, form), connections, &file);
        }
    }
    let peak = cluster.counters().peak;
    assert!(
        peak[&4] <= 8,
        "never more than asked for, and a few that are closing: {peak:?}"
    );
}

#[test]
fn every_size_and_range_is_exact_and_requested_within_the_server_s_rules() {
    let sizes = [
        0,
        1,
        4095,
        4096,
        4097,
        64 * KIB,
        MIB - 1,
        MIB,
        MIB + 1,
        3 * MIB + 5,
        7 * MIB + 4096,
    ];
    let files: Vec<File> = (1..)
        .zip(sizes)
        .map(|(id, size)| File::document(id, 4, size))
        .collect();
    let cluster = Cluster::start(world(files.clone()));
    let seed = base_seed();
    let mut rng = Rng::new(seed);
    logged_in(Setup::new(&cluster, direct(&cluster), 3), async |telegram| {
        for file in &files {
            fetch_whole(&telegram, file).await;
            let media = find(&telegram, file.id as i32).await;
            for _ in 0..12 {
                let (a, b) = (rng.below(file.size + 1), rng.below(file.size + 1));
                let part = a.min(b)..a.max(b);
                let fetched = digest(&telegram, &media, part.clone())
                    .await
                    .expect("the part comes");
                let len = part.end - part.start;
                let expected = Sha256::digest(file.bytes(part.start, len)).into();
                assert_eq!(
                    fetched,
                    (len, expected),
                    "seed {seed}, file {}: {part:?}",
                    file.id
                );
            }
        }
    });
    assert_no_violations(&cluster);
}

#[test]
fn concurrent_readers_get_their_own_bytes() {
    let files: Vec<File> = (1..=6)
        .map(|id| File::document(id, 1 + id as i32 % 5, 3 * MIB + id as u64))
        .collect();
    let cluster = Cluster::start(world(files.clone()));
    logged_in(Setup::new(&cluster, direct(&cluster), 2), async |telegram| {
        let executor = smol::LocalExecutor::new();
        let tasks: Vec<_> = files
            .iter()
            .map(|file| executor.spawn(async { fetch_whole(&telegram, file).await }))
            .collect();
        executor
            .run(async {
                for task in tasks {
                    task.await;
                }
            })
            .await;
    });
    assert_no_violations(&cluster);
}
