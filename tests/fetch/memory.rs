//! Memory while a player pauses, and after many downloads. The client is a process of its own here.

use crate::client::{Setup, digest, find, logged_in, ms, run, world};
use mtfetch::route::Route;
use mtfetch::source::{MediaReader as _, Source as _};
use mtproto_test_dc::Cluster;
use mtproto_test_dc::world::File;
use mtrelay_core::dc::{DcId, Table};
use mtrelay_core::reactor::Timer;
use mtrelay_test_support::relay::TempDir;
use std::net::SocketAddr;
use std::process::Command;

const MIB: u64 = 1 << 20;
/// The environment variable with the addresses of data centres 1 to 5.
const ADDRESSES: &str = "MTFETCH_TEST_DCS";

/// Anonymous memory of a process. Its file pages are not counted: the kernel drops them as it likes.
pub(crate) fn anonymous_kib_of(process: &str) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).expect("Linux has it");
    let line = rollup.lines().find(|line| line.starts_with("Anonymous:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.expect("a number of KiB")
}

fn anonymous_kib() -> u64 {
    anonymous_kib_of("self")
}

/// Runs the ignored test of this name in a process of its own.
fn in_child(cluster: &Cluster, name: &str) {
    let addresses: Vec<String> = cluster.addrs().values().map(ToString::to_string).collect();
    let output = Command::new(std::env::current_exe().expect("this is a program"))
        .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
        .env(ADDRESSES, addresses.join(" "))
        .output()
        .expect("this program can be started again");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("1 passed"), "it was run: {said}");
}

/// In the child process: a client of the parent's data centres. `None` without a parent.
fn child_setup() -> Option<Setup> {
    let addresses = std::env::var(ADDRESSES).ok()?;
    let mut table = Table::built_in();
    for (dc, address) in (1..).zip(addresses.split(' ')) {
        let address: SocketAddr = address.parse().ok()?;
        table.set(DcId::new(dc)?, vec![address]);
    }
    // Key and application are the same in every cluster.
    let any = Cluster::start(mtproto_test_dc::World::new());
    Some(Setup::new(&any, Route::Direct(table), 4))
}

#[test]
fn a_pause_takes_no_more_than_the_window_and_a_little() {
    let cluster = Cluster::start(world([File::document(1, 4, 64 * MIB), File::document(2, 4, MIB)]));
    in_child(&cluster, "memory::child_that_pauses");
}

#[test]
#[ignore = "runs as the child of a_pause_takes_no_more_than_the_window_and_a_little"]
fn child_that_pauses() {
    let Some(setup) = child_setup() else { return };
    let dir = TempDir::new();
    run(setup, &dir.path().join("account"), async |telegram| {
        telegram
            .login_bot(crate::client::TOKEN)
            .await
            .expect("the bot is known");
        let small = find(&telegram, 2).await;
        let media = find(&telegram, 1).await;
        digest(&telegram, &small, 0..small.size).await.expect("it comes");
        let before = anonymous_kib();
        let mut reader = telegram.open(&media, 0..media.size);
        let mut taken = 0;
        while taken < 20 * MIB {
            let bytes = reader.next().await.expect("it comes").expect("there is more");
            taken += bytes.len() as u64;
        }
        // The window fills within milliseconds. Memory is watched for 1.5 s, in which it must stay.
        for _ in 0..30 {
            Timer::after(ms(50)).await;
            let grown = anonymous_kib().saturating_sub(before);
            assert!(grown <= (2 + 4) * 1024, "{grown} KiB more than {before}");
        }
    });
}

#[test]
fn a_hundred_downloads_leave_nothing_behind() {
    let cluster = Cluster::start(world([File::document(1, 4, 2 * MIB)]));
    in_child(&cluster, "memory::child_that_downloads");
    assert!(cluster.counters().file_bytes >= 120 * 2 * MIB);
}

#[test]
#[ignore = "runs as the child of a_hundred_downloads_leave_nothing_behind"]
fn child_that_downloads() {
    let Some(setup) = child_setup() else { return };
    logged_in(setup, async |telegram| {
        let download = async |times: u32| {
            for _ in 0..times {
                let media = find(&telegram, 1).await;
                digest(&telegram, &media, 0..media.size).await.expect("it comes");
            }
            anonymous_kib()
        };
        // The allocator may take a large piece once; a leak grows with every download.
        let first = download(20).await;
        let second = download(100).await;
        let last = if second <= first + 1024 {
            second
        } else {
            download(100).await
        };
        let grown = last.saturating_sub(second.max(first));
        assert!(grown <= 1024, "{first} KiB, then {second}, then {last}");
    });
}
