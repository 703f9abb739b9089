//! Handshakes: which are accepted, under which reason the others are counted, and what an unauthenticated client sees.
//!
//! Beside each handshake runs a session that was there before; it must not be disturbed.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::{End, HeaderShape, Shape};
use mtrelay_test_support::clock::{SetOnDrop, patience, unix_time};
use mtrelay_test_support::curve::is_point;
use mtrelay_test_support::fake_front::{Answer, TLS_ALERT};
use mtrelay_test_support::faketls::{
    ClientHello, HelloKind, HelloSpec, X25519, X25519_MLKEM768, client_hello,
};
use mtrelay_test_support::obfuscated2::init_header;
use mtrelay_test_support::require;
use mtrelay_test_support::rng::{Rng, fresh_seed};
use mtrelay_test_support::{Client, FakeDc, FakeFront, Mode, Relay, RelayConfig, Script, Tag, Then};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OTHER: [u8; 16] = *b"0123456789abcdef";
const DOMAIN: &str = "front.example";

/// A relay, an echoing data centre, and a session that must not be disturbed.
struct HandshakeFixture {
    dc: FakeDc,
    relay: Relay,
    healthy: Client,
    /// The number of echoes that the healthy session has had.
    round: u64,
}

impl HandshakeFixture {
    fn new(change: impl FnOnce(RelayConfig) -> RelayConfig) -> HandshakeFixture {
        let dc = FakeDc::start(Script::Echo);
        let relay = start(&change(
            RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 2),
        ));
        let healthy = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
        let mut fixture = HandshakeFixture {
            dc,
            relay,
            healthy,
            round: 0,
        };
        fixture.stays_healthy();
        fixture
    }

    fn addr(&self) -> SocketAddr {
        self.relay.addr()
    }

    fn stays_healthy(&mut self) {
        self.round += 1;
        echoes(&mut self.healthy, self.round);
    }

    /// Waits for exactly `count` of these rejects. The healthy session stays the only one.
    fn rejected(&mut self, reason: &str, count: u64) {
        let name = format!("rejects_{reason}");
        assert_eq!(self.relay.wait_stat(&name, |n| n >= count), count, "{name}");
        self.stays_healthy();
        assert_eq!(self.relay.stat("sessions_total"), 1);
        assert_eq!(self.dc.count(), 1, "an unauthenticated client reached the DC");
    }

    /// Each of these is counted under `reason` and gets no byte and no DC.
    fn refuses(&mut self, reason: &str, openings: &[Vec<u8>]) {
        let sockets: Vec<_> = openings.iter().map(|bytes| say(self.addr(), bytes)).collect();
        self.rejected(reason, openings.len() as u64);
        sockets.into_iter().for_each(nothing_comes);
    }
}

/// A connection that has sent these bytes.
fn say(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).expect("the relay accepts");
    socket.set_nodelay(true).expect("a socket");
    socket
        .set_read_timeout(Some(patience()))
        .expect("a positive time");
    socket.write_all(bytes).expect("the relay reads");
    socket
}

/// This opening is refused under this reason, without a byte.
pub(crate) fn refused_as(relay: &Relay, reason: &str, opening: &[u8]) {
    let name = format!("rejects_{reason}");
    let before = relay.stat(&name);
    let socket = say(relay.addr(), opening);
    relay.wait_stat(&name, |n| n == before + 1);
    nothing_comes(socket);
}

/// The connection ends, in whatever way, without a byte.
fn nothing_comes(mut socket: TcpStream) {
    let mut came = Vec::new();
    let end = socket.read_to_end(&mut came).map_err(End::from);
    assert_ne!(end, Err(End::Timeout), "the connection stays open");
    assert_eq!(came, [], "an unauthenticated client got an answer");
}

/// What a client that was let in and then refused sees: the end, and not a byte.
fn ends_silently(client: &mut Client) {
    let (came, end) = client.recv_to_end();
    assert_eq!(came, []);
    assert_ne!(end, End::Timeout);
}

fn echoes(client: &mut Client, seed: u64) {
    let bytes = Rng::new(seed).bytes(3000);
    client.send(&bytes).expect("the relay reads");
    assert_eq!(client.recv_exact(bytes.len()).expect("an echo"), bytes);
}

fn hello(secret: &[u8; 16], domain: &str, kind: HelloKind) -> ClientHello {
    client_hello(secret, &HelloSpec::new(kind, domain, unix_time()), fresh_seed())
}

fn header(secret: &[u8; 16], tag: Tag) -> Vec<u8> {
    init_header(Some(secret), tag, 2, fresh_seed()).bytes.to_vec()
}

/// Random bytes that are neither a hello nor HTTP.
fn garbage(len: usize) -> Vec<u8> {
    let mut bytes = Rng::new(fresh_seed()).bytes(len);
    bytes[0] = 0x80;
    bytes
}

fn records(kinds: &[[u8; 5]]) -> Vec<Vec<u8>> {
    kinds.iter().map(|head| head.to_vec()).collect()
}

#[test]
fn wrong_secrets_garbage_and_unknown_tags_are_bad_secret() {
    let mut openings: Vec<_> = Tag::ALL.iter().map(|tag| header(&OTHER, *tag)).collect();
    openings.extend([b"\xab\xab\xab\xab", b"PVrG", &[0; 4]].map(|tag| header(&SECRET, Tag(*tag))));
    openings.extend(
        [HelloKind::Classic, HelloKind::Kem, HelloKind::KemOnly]
            .map(|kind| hello(&OTHER, DOMAIN, kind).bytes),
    );
    openings.extend([64, 65, 10_000].map(garbage));
    HandshakeFixture::new(|config| config).refuses("bad_secret", &openings);
}

#[test]
fn http_and_impossible_hellos_are_malformed() {
    let mut openings: Vec<_> = [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\n\r\n",
        "HEAD / HTTP/1.0\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    for len in [[0, 0], [0, 1], [0x40, 0x01], [0xff, 0xff]] {
        openings.push([&[0x16, 0x03, 0x01], &len[..], &[0x01; 100]].concat());
    }
    HandshakeFixture::new(|config| config).refuses("malformed", &openings);
}

#[test]
fn handshakes_cut_short_are_counted_as_closed_or_timeout() {
    let whole = [
        hello(&SECRET, DOMAIN, HelloKind::Classic).bytes,
        header(&SECRET, Tag::PADDED),
    ];
    let mut cut: Vec<_> = whole
        .iter()
        .flat_map(|bytes| [1, 5, bytes.len() / 2, bytes.len() - 1].map(|len| bytes[..len].to_vec()))
        .collect();
    cut.push(Vec::new());

    let mut fixture = HandshakeFixture::new(|config| config);
    for bytes in &cut {
        let socket = say(fixture.addr(), bytes);
        socket.shutdown(Shutdown::Write).expect("a connection");
        nothing_comes(socket);
    }
    fixture.rejected("closed", cut.len() as u64);
    fixture.refuses("timeout", &cut);
}

#[test]
fn records_that_are_not_application_data_are_malformed() {
    let mut fixture = HandshakeFixture::new(|config| config);
    let bad = records(&[
        [0x17, 0x03, 0x03, 0xff, 0xff],
        [0x17, 0x03, 0x03, 0x41, 0x01],
        [0x17, 0x03, 0x01, 0x00, 0x40],
        [0x16, 0x03, 0x03, 0x00, 0x40],
        [0x15, 0x03, 0x03, 0x00, 0x02],
        [0x14, 0x03, 0x03, 0x00, 0x02],
        [0x14, 0x03, 0x03, 0x00, 0x00],
        [0x00; 5],
    ]);
    let shape = Shape {
        header: HeaderShape::WithData,
        ..Shape::default()
    };
    let mut clients = Vec::new();
    for (before, head) in bad.iter().enumerate() {
        let client = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
            .shape(shape)
            .connect()
            .expect("the hello is good");
        client.raw().write_all(head).expect("the relay reads");
        client.raw().write_all(&[0; 64]).expect("the relay reads");
        fixture.rejected("malformed", before as u64 + 1);
        clients.push(client);
    }
    clients.iter_mut().for_each(ends_silently);
}

#[test]
fn empty_records_before_the_header_are_ignored() {
    let mut fixture = HandshakeFixture::new(|config| config);
    for write_size in [1, usize::MAX] {
        let shape = Shape {
            empty_records: true,
            header: HeaderShape::Split(7),
            write_size,
            ..Shape::default()
        };
        let mut client = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
            .shape(shape)
            .connect()
            .expect("the hello is good");
        echoes(&mut client, 1);
    }
    fixture.stays_healthy();
}

#[test]
fn fake_tls_accepts_only_the_padded_tag() {
    let mut fixture = HandshakeFixture::new(|config| config);
    let mut clients = Vec::new();
    for (before, tag) in [Tag::ABRIDGED, Tag::INTERMEDIATE, Tag(*b"PVrG"), Tag([0; 4])]
        .iter()
        .enumerate()
    {
        let client = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
            .tag(*tag)
            .connect()
            .expect("the hello is good");
        fixture.rejected("bad_tag", before as u64 + 1);
        clients.push(client);
    }
    clients.iter_mut().for_each(ends_silently);
}

#[test]
fn unknown_dcs_end_as_unknown_dc() {
    let mut fixture = HandshakeFixture::new(|config| config);
    let mut count = 0;
    for mode in modes() {
        for dc in [0, 77, -77, 204, 9999, i16::MAX] {
            let mut client = Client::connect(mode.clone(), fixture.addr(), SECRET, dc);
            ends_silently(&mut client);
            count += 1;
            let close = fixture.relay.wait_closes(count).swap_remove(count - 1);
            assert_eq!(
                (close.reason.as_str(), close.by.as_str(), close.dc),
                ("unknown_dc", "relay", dc),
                "{}",
                close.line
            );
        }
    }
    fixture.stays_healthy();
    assert_eq!(fixture.relay.stat("closes_unknown_dc"), count as u64);
    assert_eq!(fixture.dc.count(), 1);
}

#[test]
fn disabled_modes_are_refused() {
    let mut fixture = HandshakeFixture::new(|config| config.modes("dd"));
    let openings = [
        header(&SECRET, Tag::ABRIDGED),
        header(&SECRET, Tag::INTERMEDIATE),
        hello(&SECRET, DOMAIN, HelloKind::Classic).bytes,
    ];
    fixture.refuses("mode_disabled", &openings);

    let dc = FakeDc::start(Script::Echo);
    let relay = start(
        &RelayConfig::simple(SECRET, dc.addr())
            .modes("plain ee")
            .option("handshake_timeout", 2),
    );
    nothing_comes(say(relay.addr(), &header(&SECRET, Tag::PADDED)));
    assert_eq!((relay.stat("rejects_mode_disabled"), dc.count()), (1, 0));
    for mode in [
        Mode::Plain(Tag::ABRIDGED),
        Mode::Plain(Tag::INTERMEDIATE),
        Mode::ee(DOMAIN),
    ] {
        echoes(&mut Client::connect(mode, relay.addr(), SECRET, 2), 1);
    }
}

#[test]
fn replays_get_no_answer_and_no_dc() {
    for mode in modes() {
        let dc = FakeDc::start(Script::Echo);
        let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 2));
        let mut client = Client::connect(mode, relay.addr(), SECRET, 2);
        echoes(&mut client, 1);
        // While the session lives, and after it.
        let first = say(relay.addr(), &client.opening);
        assert_eq!(relay.wait_stat("rejects_replay", |n| n > 0), 1);
        echoes(&mut client, 2);
        let opening = client.opening.clone();
        drop(client);
        relay.wait_closes(1);
        let second = say(relay.addr(), &opening);
        assert_eq!(relay.wait_stat("rejects_replay", |n| n > 1), 2);
        nothing_comes(first);
        nothing_comes(second);
        assert_eq!((relay.stat("sessions_total"), dc.count()), (1, 1));
    }
}

/// A front that sends its alert after this many bytes, and a relay that forwards to it.
fn fronted(after: usize) -> (FakeFront, HandshakeFixture) {
    let front = FakeFront::start(Answer {
        after,
        bytes: TLS_ALERT.to_vec(),
        then: Then::Close,
    });
    let addr = front.addr();
    let fixture = HandshakeFixture::new(|config| {
        config
            .option("front_domain", DOMAIN)
            .option("front_address", addr)
    });
    (front, fixture)
}

/// Unauthenticated bytes reach the front, and its answer comes back.
fn visits(front: &FakeFront, fixture: &mut HandshakeFixture, bytes: &[u8], pieces: usize) {
    let before = front.visits().len();
    let mut socket = say(fixture.addr(), &[]);
    for piece in bytes.chunks(bytes.len().div_ceil(pieces)) {
        socket.write_all(piece).expect("the relay reads");
    }
    let mut came = Vec::new();
    socket.read_to_end(&mut came).expect("the front ends in order");
    assert_eq!(came, TLS_ALERT);
    let visit = front.wait_ended(before + 1).swap_remove(before);
    assert!(
        visit.bytes == bytes,
        "{} of {} bytes at the front",
        visit.bytes.len(),
        bytes.len()
    );
    fixture.stays_healthy();
    assert_eq!((fixture.relay.stat("sessions_total"), fixture.dc.count()), (1, 1));
}

#[test]
fn unauthenticated_hellos_reach_the_front_whole() {
    for (kind, pieces) in [
        (HelloKind::Classic, 1),
        (HelloKind::Kem, 3),
        (HelloKind::KemOnly, 5000),
    ] {
        let bytes = hello(&SECRET, "other.example", kind).bytes;
        let (front, mut fixture) = fronted(bytes.len());
        visits(&front, &mut fixture, &bytes, pieces);
        fixture.rejected("bad_sni", 1);
        let bytes = hello(&OTHER, "a.b.c.example", kind).bytes;
        let bytes = [bytes.clone(), garbage(2000)].concat();
        let (front, mut fixture) = fronted(bytes.len());
        visits(&front, &mut fixture, &bytes, pieces);
        fixture.rejected("bad_secret", 1);
    }
}

#[test]
fn http_and_replayed_hellos_reach_the_front() {
    let request = b"GET /index.html HTTP/1.1\r\nHost: front.example\r\n\r\n";
    let (front, mut fixture) = fronted(request.len());
    visits(&front, &mut fixture, request, 1);
    fixture.rejected("malformed", 1);

    let hello = hello(&SECRET, "FRONT.example", HelloKind::Classic);
    let (front, mut fixture) = fronted(hello.bytes.len());
    let mut client = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
        .client_hello(hello.clone())
        .connect()
        .expect("names have no case");
    echoes(&mut client, 1);
    assert_eq!(front.visits(), []);
    let mut socket = say(fixture.addr(), &hello.bytes);
    let mut came = Vec::new();
    socket.read_to_end(&mut came).expect("the front ends in order");
    assert_eq!(came, TLS_ALERT);
    assert_eq!(front.wait_ended(1)[0].bytes, hello.bytes);
    echoes(&mut client, 2);
    fixture.stays_healthy();
    assert_eq!((fixture.relay.stat("rejects_replay"), fixture.dc.count()), (1, 2));
}

#[test]
fn an_incomplete_hello_reaches_the_front() {
    let whole = hello(&OTHER, DOMAIN, HelloKind::Kem).bytes;
    for (finish, reason) in [(false, "timeout"), (true, "closed")] {
        let bytes = &whole[..whole.len() / 2];
        let (front, mut fixture) = fronted(bytes.len());
        let mut socket = say(fixture.addr(), bytes);
        if finish {
            socket.shutdown(Shutdown::Write).expect("a connection");
        }
        let mut came = Vec::new();
        socket.read_to_end(&mut came).expect("the front ends in order");
        assert_eq!(came, TLS_ALERT);
        assert_eq!(front.wait_ended(1)[0].bytes, bytes);
        fixture.rejected(reason, 1);
    }
}

#[test]
fn obfuscated_noise_does_not_reach_the_front() {
    let (front, mut fixture) = fronted(1);
    fixture.refuses("bad_secret", &[header(&OTHER, Tag::PADDED), garbage(64)]);
    assert_eq!(front.visits(), []);
}

#[test]
fn users_are_counted_under_their_names() {
    let dc = FakeDc::start(Script::Echo);
    let users: Vec<_> = (1..=5)
        .map(|n| (format!("user{n}"), [0x10 * n as u8; 16], n))
        .collect();
    let config = users.iter().fold(
        RelayConfig::new().modes("plain dd ee").dc(2, &[dc.addr()]),
        |config, (name, secret, _)| config.user(name, *secret),
    );
    let relay = start(&config);
    for (_, secret, sessions) in &users {
        for mode in modes().into_iter().cycle().take(*sessions) {
            let mut client = Client::connect(mode, relay.addr(), *secret, 2);
            echoes(&mut client, 1);
        }
    }
    let closes = relay.wait_closes(15);
    for (name, _, sessions) in &users {
        assert_eq!(
            closes.iter().filter(|close| close.user == *name).count(),
            *sessions,
            "{name}"
        );
        let stat = |what| relay.stat(&format!("user_{name}_{what}"));
        let bytes = 3000 * *sessions as u64;
        assert_eq!(
            (
                stat("sessions_total"),
                stat("sessions_active"),
                stat("bytes_down")
            ),
            (*sessions as u64, 0, bytes),
            "{name}"
        );
        assert!(stat("bytes_up") >= bytes, "{name}");
    }
}

#[test]
fn disabled_users_end_as_user_disabled() {
    let mut fixture = HandshakeFixture::new(|config| config.user("off", OTHER).user_option("enabled", 0));
    for (before, mode) in modes().into_iter().enumerate() {
        let mut client = Client::connect(mode, fixture.addr(), OTHER, 2);
        ends_silently(&mut client);
        let close = fixture.relay.wait_closes(before + 1).swap_remove(before);
        assert_eq!(
            (close.user.as_str(), close.reason.as_str()),
            ("off", "user_disabled"),
            "{}",
            close.line
        );
    }
    fixture.stays_healthy();
    assert_eq!(fixture.dc.count(), 1);
}

#[test]
fn hellos_of_every_size_and_segmentation_are_answered() {
    let fixture = HandshakeFixture::new(|config| config);
    for (kind, len, group) in [
        (HelloKind::Classic, 517..=517, X25519),
        (HelloKind::Kem, 1700..=2100, X25519_MLKEM768),
        (HelloKind::KemOnly, 1700..=2100, X25519_MLKEM768),
    ] {
        for hello_segments in [1, 2, 5, 5000] {
            let mut client = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
                .hello(kind)
                .shape(Shape {
                    hello_segments,
                    ..Shape::default()
                })
                .connect()
                .unwrap_or_else(|error| panic!("{kind:?} in {hello_segments}: {error}"));
            assert!(len.contains(&client.opening.len()), "{}", client.opening.len());
            echoes(&mut client, 1);
            let answer = client.answer.expect("fake TLS has an answer");
            assert_eq!(answer.group, group, "{kind:?}");
            assert!(is_point(&answer.point()), "{kind:?}: {:02x?}", answer.point());
        }
    }
}

#[test]
fn key_shares_are_points_of_the_curve() {
    let fixture = HandshakeFixture::new(|config| config);
    for _ in 0..32 {
        let client = Client::connect(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2);
        let answer = client.answer.expect("fake TLS has an answer");
        assert!(is_point(&answer.point()), "{:02x?}", answer.point());
    }
}

#[test]
fn headers_in_any_segmentation_are_accepted() {
    let fixture = HandshakeFixture::new(|config| config);
    for mode in modes() {
        for header in [
            HeaderShape::Split(2),
            HeaderShape::Split(64),
            HeaderShape::WithData,
        ] {
            for (record_size, write_size) in [(1, 1), (1, usize::MAX), (63, 7), (16_384, 1)] {
                let shape = Shape {
                    header,
                    record_size,
                    write_size,
                    ..Shape::default()
                };
                let mut client = Client::builder(mode.clone(), fixture.addr(), SECRET, 2)
                    .shape(shape)
                    .connect()
                    .unwrap_or_else(|error| panic!("{mode:?} {shape:?}: {error}"));
                echoes(&mut client, 1);
            }
        }
    }
}

#[test]
fn one_listener_of_each_family_serves_all_modes() {
    let mut fixture = HandshakeFixture::new(|config| config);
    if !require::ipv6() {
        return;
    }
    for mode in modes() {
        echoes(&mut Client::connect(mode, fixture.relay.addr_v6(), SECRET, 2), 1);
    }
    let closes = fixture.relay.wait_closes(4);
    assert!(closes.iter().all(|close| close.client == "::1"), "{closes:?}");
    fixture.stays_healthy();
}

#[test]
fn hellos_outside_clock_skew_are_refused_and_uptime_hellos_are_not() {
    let mut fixture = HandshakeFixture::new(|config| config.option("clock_skew", 120));
    let at = |time: u32| {
        let spec = HelloSpec::new(HelloKind::Classic, DOMAIN, time);
        client_hello(&SECRET, &spec, fresh_seed())
    };
    let now = unix_time();
    let openings = [now - 200, now - 86_400, now + 86_400, now + 200].map(|time| at(time).bytes);
    let mut sockets = Vec::new();
    for (before, opening) in openings.iter().enumerate() {
        sockets.push(say(fixture.addr(), opening));
        fixture.rejected("clock_skew", before as u64 + 1);
    }
    sockets.into_iter().for_each(nothing_comes);
    assert_eq!(fixture.relay.stat("clock_refused"), 4);
    for time in [unix_time() - 90, unix_time() + 90, 5000, 0] {
        let mut client = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
            .client_hello(at(time))
            .connect()
            .unwrap_or_else(|error| panic!("{time}: {error}"));
        echoes(&mut client, 1);
    }
    fixture.stays_healthy();
}

#[test]
fn handshake_timeout_ends_a_handshake_in_every_stage() {
    let mut fixture = HandshakeFixture::new(|config| config.option("handshake_timeout", 1));
    let hello = hello(&SECRET, DOMAIN, HelloKind::Kem).bytes;
    let begun = Instant::now();
    let mut openings: Vec<_> = [
        &[],
        &hello[..1],
        &hello[..1000],
        &header(&SECRET, Tag::PADDED)[..63],
    ]
    .map(|bytes| say(fixture.addr(), bytes))
    .into();
    let shape = Shape {
        header: HeaderShape::WithData,
        ..Shape::default()
    };
    let mut answered = Client::builder(Mode::ee(DOMAIN), fixture.addr(), SECRET, 2)
        .shape(shape)
        .connect()
        .expect("the hello is good");
    openings.drain(..).for_each(nothing_comes);
    ends_silently(&mut answered);
    let took = begun.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(4)).contains(&took),
        "{took:?}"
    );
    fixture.rejected("timeout", 5);
}

#[test]
fn sessions_lose_nothing_beside_rejected_handshakes() {
    let mut fixture = HandshakeFixture::new(|config| config);
    let (over, addr) = (AtomicBool::new(false), fixture.addr());
    let mut rejects = 0;
    thread::scope(|scope| {
        for mode in modes() {
            let over = &over;
            scope.spawn(move || {
                let mut client = Client::connect(mode, addr, SECRET, 2);
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    round += 1;
                    echoes(&mut client, round);
                }
                client.finish().expect("a connection");
                assert_eq!(client.recv_to_end(), (Vec::new(), End::Eof));
            });
        }
        let _over = SetOnDrop(&over);
        fixture.dc.wait_connections(5);
        for _ in 0..40 {
            let openings = [
                header(&OTHER, Tag::PADDED),
                hello(&OTHER, DOMAIN, HelloKind::Kem).bytes,
                garbage(5000),
            ];
            rejects += openings.len() as u64;
            openings.iter().for_each(|bytes| drop(say(addr, bytes)));
        }
        let counted = fixture.relay.wait_stat("rejects_bad_secret", |n| n >= rejects);
        assert_eq!(counted, rejects);
    });
    fixture.stays_healthy();
    for close in fixture.relay.wait_closes(4) {
        assert_eq!(close.reason, "client_closed", "{}", close.line);
    }
    assert_eq!(fixture.dc.count(), 5);
}

#[test]
fn rejects_are_counted_for_the_user_whose_secret_matched() {
    let dc = FakeDc::start(Script::Echo);
    let relay = start(
        &RelayConfig::simple(SECRET, dc.addr())
            .modes("ee")
            .option("handshake_timeout", 1),
    );
    let refused = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    relay.wait_stat("rejects_mode_disabled", |count| count == 1);
    assert_eq!(relay.stat("user_test_rejects"), 1);
    drop(refused);
}
