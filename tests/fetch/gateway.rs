//! The HTTP gateway with players: time to the first byte, and memory while they pause and after they have left.

use crate::client::{CHANNEL, assert_no_violations, ms, world};
use crate::memory::anonymous_kib_of;
use crate::program_fixture::{ProgramFixture, Running, ask, serve};
use mtproto_test_dc::Cluster;
use mtproto_test_dc::world::{Channel, File, Message};
use mtrelay_test_support::clock::patience;
use mtrelay_test_support::measure::{poll, watch};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Memory that the gateway may take in addition for a player: the window and a little.
const MAX_GROWTH_KIB: u64 = (2 + 4) * 1024;

/// A player that has requested a medium and read its first byte.
struct Player {
    stream: TcpStream,
    /// Bytes of the body that were read.
    got: u64,
}

impl Player {
    fn start(address: &str, target: &str) -> Player {
        let mut stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(patience())).expect("it is a time");
        let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        assert!(
            head.starts_with(b"HTTP/1.1 200 "),
            "{}",
            String::from_utf8_lossy(&head)
        );
        let mut player = Player { stream, got: 0 };
        player.play(1);
        player
    }

    /// Reads up to this many bytes of the body.
    fn play(&mut self, until: u64) {
        let mut bytes = vec![0; 1 << 16];
        while self.got < until {
            let most = (until - self.got).min(bytes.len() as u64) as usize;
            let len = self.stream.read(&mut bytes[..most]).expect("it goes on");
            assert!(len > 0, "it ends after {} bytes", self.got);
            self.got += len as u64;
        }
    }
}

fn kib(gateway: &Running) -> u64 {
    anonymous_kib_of(&gateway.0.id().to_string())
}

/// Waits until the data centres have been idle for a second. Returns the bytes that they have sent.
fn wait_still(cluster: &Cluster) -> u64 {
    let (mut seen, mut since) = (cluster.counters().file_bytes, Instant::now());
    poll("a second without a byte from the data centres", || {
        let counters = cluster.counters();
        if counters.file_bytes != seen || counters.in_flight > 0 {
            (seen, since) = (counters.file_bytes, Instant::now());
        }
        (since.elapsed() >= Duration::from_secs(1)).then_some(seen)
    })
}

#[test]
fn the_first_byte_comes_after_three_round_trips_at_most() {
    // Long enough between two counts for a busy machine.
    let round_trip = ms(400);
    let mut world = world((1..=8).map(|id| File::document(id, 4, 4 * MIB)));
    for number in 0..3 {
        let mut channel = Channel::public(3000 + number, &format!("others{number}"));
        channel.messages.insert(1, Message::with_file(1));
        world.channels.push(channel);
    }
    let cluster = Cluster::start(world);
    let fixture = ProgramFixture::new(&cluster, "");
    fixture.log_in();
    let (_gateway, address) = serve(&fixture);
    // Warm-up: opens a session with the file's data centre.
    ask(&address, &format!("/t.me/{CHANNEL}/1"), "Range: bytes=0-4095\r\n");
    cluster.faults(|faults| faults.latency = round_trip);
    let trips = |target: String| {
        let begun = Instant::now();
        drop(Player::start(&address, &target));
        begun.elapsed().as_secs_f64() / round_trip.as_secs_f64()
    };
    // Three attempts each, of which the best counts: a busy machine delays, but never speeds up.
    let known = [1, 1, 1].map(|message| trips(format!("/t.me/{CHANNEL}/{message}")));
    let other_message = [2, 3, 4].map(|message| trips(format!("/t.me/{CHANNEL}/{message}")));
    let other_chat = [0, 1, 2].map(|number| trips(format!("/t.me/others{number}/1")));
    for (what, seen, most) in [
        ("a known link", known, 1),
        ("another message", other_message, 2),
        ("another chat", other_chat, 3),
    ] {
        let best = seen.into_iter().fold(f64::MAX, f64::min);
        assert!(best >= 1.0, "{what}: the delay is there: {seen:?} round trips");
        assert!(best < f64::from(most) + 0.9, "{what}: {seen:?} round trips");
    }
    assert_no_violations(&cluster);
}

/// A player that reads, pauses for this long, and reads on.
fn pause(length: Duration) {
    let size = 64 * MIB;
    let cluster = Cluster::start(world([File::document(1, 4, size), File::document(2, 4, MIB)]));
    let fixture = ProgramFixture::new(&cluster, "\toption connections '4'");
    fixture.log_in();
    let (gateway, address) = serve(&fixture);
    ask(&address, &format!("/t.me/{CHANNEL}/2"), "");
    let idle = kib(&gateway);
    let mut player = Player::start(&address, &format!("/t.me/{CHANNEL}/1"));
    player.play(20 * MIB);
    let sent = wait_still(&cluster);
    watch(length, ms(500), |elapsed| {
        let grown = kib(&gateway).saturating_sub(idle);
        assert!(
            grown <= MAX_GROWTH_KIB,
            "{grown} KiB more than {idle} after {elapsed:?}"
        );
    });
    assert_eq!(
        cluster.counters().file_bytes,
        sent,
        "no request while the player pauses"
    );
    player.play(size);
    assert_no_violations(&cluster);
}

#[test]
fn a_player_that_pauses_costs_the_window_and_a_little() {
    pause(Duration::ZERO);
}

#[test]
#[ignore = "takes a minute: `make test-fetch`"]
fn a_player_that_pauses_for_a_minute_costs_no_more() {
    pause(Duration::from_secs(60));
}

#[test]
fn a_hundred_downloads_leave_nothing_behind_in_the_gateway() {
    let cluster = Cluster::start(world([File::document(1, 4, 2 * MIB)]));
    let fixture = ProgramFixture::new(&cluster, "");
    fixture.log_in();
    let (gateway, address) = serve(&fixture);
    let download = |times: u32| {
        for _ in 0..times {
            let (head, body) = ask(&address, &format!("/t.me/{CHANNEL}/1"), "");
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert_eq!(body.len() as u64, 2 * MIB);
        }
        kib(&gateway)
    };
    // The allocator may take a large piece once; a leak grows with every download.
    let first = download(20);
    let second = download(100);
    let last = if second <= first + 1024 {
        second
    } else {
        download(100)
    };
    let grown = last.saturating_sub(second.max(first));
    assert!(grown <= 1024, "{first} KiB, then {second}, then {last}");
    assert_no_violations(&cluster);
}
