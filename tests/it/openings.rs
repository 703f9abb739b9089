//! Openings: who gets in, who does not and under which reason that is counted, and what strangers see.
//!
//! Every house has a session that was there before, and which must not notice anything.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::{End, HeaderShape, Shape};
use mtrelay_test_support::clock::{SetOnDrop, patience, unix_time};
use mtrelay_test_support::curve::is_point;
use mtrelay_test_support::fake_front::{Answer, TLS_ALERT};
use mtrelay_test_support::faketls::{
    ClientHello, HelloKind, HelloSpec, X25519, X25519_MLKEM768, client_hello,
};
use mtrelay_test_support::obfuscated2::init_header;
use mtrelay_test_support::rng::{Rng, fresh_seed};
use mtrelay_test_support::tcp::has_ipv6;
use mtrelay_test_support::{Client, FakeDc, FakeFront, Mode, Relay, RelayConfig, Script, Tag, Then};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const OTHER: [u8; 16] = *b"0123456789abcdef";
const DOMAIN: &str = "front.example";

/// A relay, an echoing data centre, and a session that stays healthy.
struct House {
    dc: FakeDc,
    relay: Relay,
    healthy: Client,
    /// The number of rounds that the healthy session has made.
    round: u64,
}

impl House {
    fn new(change: impl FnOnce(RelayConfig) -> RelayConfig) -> House {
        let dc = FakeDc::start(Script::Echo);
        let relay = start(&change(
            RelayConfig::simple(SECRET, dc.addr()).option("handshake_timeout", 2),
        ));
        let healthy = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
        let mut house = House {
            dc,
            relay,
            healthy,
            round: 0,
        };
        house.stays_healthy();
        house
    }

    fn addr(&self) -> SocketAddr {
        self.relay.addr()
    }

    fn stays_healthy(&mut self) {
        self.round += 1;
        echoes(&mut self.healthy, self.round);
    }

    /// Waits for exactly `count` of these rejects; nobody but the healthy session has become a session.
    fn rejected(&mut self, reason: &str, count: u64) {
        let name = format!("reject_{reason}");
        assert_eq!(self.relay.wait_stat(&name, |n| n >= count), count, "{name}");
        self.stays_healthy();
        assert_eq!(self.relay.stat("sessions_total"), 1);
        assert_eq!(self.dc.count(), 1, "the DC saw a stranger");
    }

    /// Each of these is counted under `reason` and gets no byte and no DC.
    fn refuses(&mut self, reason: &str, openings: &[Vec<u8>]) {
        let sockets: Vec<_> = openings.iter().map(|bytes| say(self.addr(), bytes)).collect();
        self.rejected(reason, openings.len() as u64);
        sockets.into_iter().for_each(nothing_comes);
    }
}

/// A connection that has said this.
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
    let name = format!("reject_{reason}");
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
    assert_eq!(came, [], "a stranger got an answer");
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

/// Bytes that are certainly neither a hello nor HTTP.
fn garbage(len: usize) -> Vec<u8> {
    let mut bytes = Rng::new(fresh_seed()).bytes(len);
    bytes[0] = 0x80;
    bytes
}

fn records(kinds: &[[u8; 5]]) -> Vec<Vec<u8>> {
    kinds.iter().map(|head| head.to_vec()).collect()
}

#[test]
fn wrong_secrets_garbage_and_unknown_tags_are_no_users() {
    let mut openings: Vec<_> = Tag::ALL.iter().map(|tag| header(&OTHER, *tag)).collect();
    openings.extend([b"\xab\xab\xab\xab", b"PVrG", &[0; 4]].map(|tag| header(&SECRET, Tag(*tag))));
    openings.extend(
        [HelloKind::Classic, HelloKind::Kem, HelloKind::KemOnly]
            .map(|kind| hello(&OTHER, DOMAIN, kind).bytes),
    );
    openings.extend([64, 65, 10_000].map(garbage));
    House::new(|config| config).refuses("bad_secret", &openings);
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
    House::new(|config| config).refuses("malformed", &openings);
}

#[test]
fn openings_cut_short_are_counted_as_closed_or_as_timeouts() {
    let whole = [
        hello(&SECRET, DOMAIN, HelloKind::Classic).bytes,
        header(&SECRET, Tag::PADDED),
    ];
    let mut cut: Vec<_> = whole
        .iter()
        .flat_map(|bytes| [1, 5, bytes.len() / 2, bytes.len() - 1].map(|len| bytes[..len].to_vec()))
        .collect();
    cut.push(Vec::new());

    let mut house = House::new(|config| config);
    for bytes in &cut {
        let socket = say(house.addr(), bytes);
        socket.shutdown(Shutdown::Write).expect("a connection");
        nothing_comes(socket);
    }
    house.rejected("closed", cut.len() as u64);
    house.refuses("timeout", &cut);
}

#[test]
fn records_that_are_not_application_data_are_malformed() {
    let mut house = House::new(|config| config);
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
        let client = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
            .shape(shape)
            .connect()
            .expect("the hello is good");
        client.raw().write_all(head).expect("the relay reads");
        client.raw().write_all(&[0; 64]).expect("the relay reads");
        house.rejected("malformed", before as u64 + 1);
        clients.push(client);
    }
    clients.iter_mut().for_each(ends_silently);
}

#[test]
fn empty_records_before_the_header_mean_nothing() {
    let mut house = House::new(|config| config);
    for write_size in [1, usize::MAX] {
        let shape = Shape {
            empty_records: true,
            header: HeaderShape::Split(7),
            write_size,
            ..Shape::default()
        };
        let mut client = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
            .shape(shape)
            .connect()
            .expect("the hello is good");
        echoes(&mut client, 1);
    }
    house.stays_healthy();
}

#[test]
fn fake_tls_takes_no_tag_but_the_padded_one() {
    let mut house = House::new(|config| config);
    let mut clients = Vec::new();
    for (before, tag) in [Tag::ABRIDGED, Tag::INTERMEDIATE, Tag(*b"PVrG"), Tag([0; 4])]
        .iter()
        .enumerate()
    {
        let client = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
            .tag(*tag)
            .connect()
            .expect("the hello is good");
        house.rejected("bad_tag", before as u64 + 1);
        clients.push(client);
    }
    clients.iter_mut().for_each(ends_silently);
}

#[test]
fn unknown_dcs_are_told_by_the_close_line() {
    let mut house = House::new(|config| config);
    let mut count = 0;
    for mode in modes() {
        for dc in [0, 77, -77, 204, 9999, i16::MAX] {
            let mut client = Client::connect(mode.clone(), house.addr(), SECRET, dc);
            ends_silently(&mut client);
            count += 1;
            let close = house.relay.wait_closes(count).swap_remove(count - 1);
            assert_eq!(
                (close.reason.as_str(), close.by.as_str(), close.dc),
                ("unknown_dc", "relay", dc),
                "{}",
                close.line
            );
        }
    }
    house.stays_healthy();
    assert_eq!(house.relay.stat("close_unknown_dc"), count as u64);
    assert_eq!(house.dc.count(), 1);
}

#[test]
fn modes_that_are_off_let_nobody_in() {
    let mut house = House::new(|config| config.modes("dd"));
    let openings = [
        header(&SECRET, Tag::ABRIDGED),
        header(&SECRET, Tag::INTERMEDIATE),
        hello(&SECRET, DOMAIN, HelloKind::Classic).bytes,
    ];
    house.refuses("mode_disabled", &openings);

    let dc = FakeDc::start(Script::Echo);
    let relay = start(
        &RelayConfig::simple(SECRET, dc.addr())
            .modes("plain ee")
            .option("handshake_timeout", 2),
    );
    nothing_comes(say(relay.addr(), &header(&SECRET, Tag::PADDED)));
    assert_eq!((relay.stat("reject_mode_disabled"), dc.count()), (1, 0));
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
        assert_eq!(relay.wait_stat("reject_replay", |n| n > 0), 1);
        echoes(&mut client, 2);
        let opening = client.opening.clone();
        drop(client);
        relay.wait_closes(1);
        let second = say(relay.addr(), &opening);
        assert_eq!(relay.wait_stat("reject_replay", |n| n > 1), 2);
        nothing_comes(first);
        nothing_comes(second);
        assert_eq!((relay.stat("sessions_total"), dc.count()), (1, 1));
    }
}

/// A front that says its alert once this many bytes have come, and a house that shows it.
fn fronted(after: usize) -> (FakeFront, House) {
    let front = FakeFront::start(Answer {
        after,
        bytes: TLS_ALERT.to_vec(),
        then: Then::Close,
    });
    let addr = front.addr();
    let house = House::new(|config| {
        config
            .option("front_domain", DOMAIN)
            .option("front_address", addr)
    });
    (front, house)
}

/// The visitor sees what the front said, and the front what the visitor said.
fn visits(front: &FakeFront, house: &mut House, bytes: &[u8], pieces: usize) {
    let before = front.visits().len();
    let mut socket = say(house.addr(), &[]);
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
    house.stays_healthy();
    assert_eq!((house.relay.stat("sessions_total"), house.dc.count()), (1, 1));
}

#[test]
fn strangers_see_the_front_from_their_first_byte() {
    for (kind, pieces) in [
        (HelloKind::Classic, 1),
        (HelloKind::Kem, 3),
        (HelloKind::KemOnly, 5000),
    ] {
        let bytes = hello(&SECRET, "other.example", kind).bytes;
        let (front, mut house) = fronted(bytes.len());
        visits(&front, &mut house, &bytes, pieces);
        house.rejected("bad_sni", 1);
        let bytes = hello(&OTHER, "a.b.c.example", kind).bytes;
        let bytes = [bytes.clone(), garbage(2000)].concat();
        let (front, mut house) = fronted(bytes.len());
        visits(&front, &mut house, &bytes, pieces);
        house.rejected("bad_secret", 1);
    }
}

#[test]
fn http_and_replayed_hellos_see_the_front_too() {
    let request = b"GET /index.html HTTP/1.1\r\nHost: front.example\r\n\r\n";
    let (front, mut house) = fronted(request.len());
    visits(&front, &mut house, request, 1);
    house.rejected("malformed", 1);

    let hello = hello(&SECRET, "FRONT.example", HelloKind::Classic);
    let (front, mut house) = fronted(hello.bytes.len());
    let mut client = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
        .client_hello(hello.clone())
        .connect()
        .expect("names have no case");
    echoes(&mut client, 1);
    assert_eq!(front.visits(), []);
    let mut socket = say(house.addr(), &hello.bytes);
    let mut came = Vec::new();
    socket.read_to_end(&mut came).expect("the front ends in order");
    assert_eq!(came, TLS_ALERT);
    assert_eq!(front.wait_ended(1)[0].bytes, hello.bytes);
    echoes(&mut client, 2);
    house.stays_healthy();
    assert_eq!((house.relay.stat("reject_replay"), house.dc.count()), (1, 2));
}

#[test]
fn a_hello_that_is_never_whole_is_the_site_s_to_judge() {
    let whole = hello(&OTHER, DOMAIN, HelloKind::Kem).bytes;
    for (finish, reason) in [(false, "timeout"), (true, "closed")] {
        let bytes = &whole[..whole.len() / 2];
        let (front, mut house) = fronted(bytes.len());
        let mut socket = say(house.addr(), bytes);
        if finish {
            socket.shutdown(Shutdown::Write).expect("a connection");
        }
        let mut came = Vec::new();
        socket.read_to_end(&mut came).expect("the front ends in order");
        assert_eq!(came, TLS_ALERT);
        assert_eq!(front.wait_ended(1)[0].bytes, bytes);
        house.rejected(reason, 1);
    }
}

#[test]
fn noise_does_not_see_the_front() {
    let (front, mut house) = fronted(1);
    house.refuses("bad_secret", &[header(&OTHER, Tag::PADDED), garbage(64)]);
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
            (stat("total"), stat("active"), stat("bytes_down")),
            (*sessions as u64, 0, bytes),
            "{name}"
        );
        assert!(stat("bytes_up") >= bytes, "{name}");
    }
}

#[test]
fn disabled_users_are_told_by_the_close_line() {
    let mut house = House::new(|config| config.user("off", OTHER).user_option("enabled", 0));
    for (before, mode) in modes().into_iter().enumerate() {
        let mut client = Client::connect(mode, house.addr(), OTHER, 2);
        ends_silently(&mut client);
        let close = house.relay.wait_closes(before + 1).swap_remove(before);
        assert_eq!(
            (close.user.as_str(), close.reason.as_str()),
            ("off", "user_disabled"),
            "{}",
            close.line
        );
    }
    house.stays_healthy();
    assert_eq!(house.dc.count(), 1);
}

#[test]
fn hellos_of_every_size_and_cut_are_answered() {
    let house = House::new(|config| config);
    for (kind, len, group) in [
        (HelloKind::Classic, 517..=517, X25519),
        (HelloKind::Kem, 1700..=2100, X25519_MLKEM768),
        (HelloKind::KemOnly, 1700..=2100, X25519_MLKEM768),
    ] {
        for hello_segments in [1, 2, 5, 5000] {
            let mut client = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
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
fn shares_are_points_every_time() {
    let house = House::new(|config| config);
    for _ in 0..32 {
        let client = Client::connect(Mode::ee(DOMAIN), house.addr(), SECRET, 2);
        let answer = client.answer.expect("fake TLS has an answer");
        assert!(is_point(&answer.point()), "{:02x?}", answer.point());
    }
}

#[test]
fn headers_may_come_in_any_pieces() {
    let house = House::new(|config| config);
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
                let mut client = Client::builder(mode.clone(), house.addr(), SECRET, 2)
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
    let mut house = House::new(|config| config);
    if !has_ipv6() {
        return;
    }
    for mode in modes() {
        echoes(&mut Client::connect(mode, house.relay.addr_v6(), SECRET, 2), 1);
    }
    let closes = house.relay.wait_closes(4);
    assert!(closes.iter().all(|close| close.client == "::1"), "{closes:?}");
    house.stays_healthy();
}

#[test]
fn clocks_that_are_off_are_refused_and_uptimes_are_not() {
    let mut house = House::new(|config| config.option("clock_skew", 120));
    let at = |time: u32| {
        let spec = HelloSpec::new(HelloKind::Classic, DOMAIN, time);
        client_hello(&SECRET, &spec, fresh_seed())
    };
    let now = unix_time();
    let openings = [now - 200, now - 86_400, now + 86_400, now + 200].map(|time| at(time).bytes);
    let mut sockets = Vec::new();
    for (before, opening) in openings.iter().enumerate() {
        sockets.push(say(house.addr(), opening));
        house.rejected("clock_skew", before as u64 + 1);
    }
    sockets.into_iter().for_each(nothing_comes);
    assert_eq!(house.relay.stat("clock_refused"), 4);
    for time in [unix_time() - 90, unix_time() + 90, 5000, 0] {
        let mut client = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
            .client_hello(at(time))
            .connect()
            .unwrap_or_else(|error| panic!("{time}: {error}"));
        echoes(&mut client, 1);
    }
    house.stays_healthy();
}

#[test]
fn handshake_timeout_ends_an_opening_wherever_it_stands() {
    let mut house = House::new(|config| config.option("handshake_timeout", 1));
    let hello = hello(&SECRET, DOMAIN, HelloKind::Kem).bytes;
    let begun = Instant::now();
    let mut openings: Vec<_> = [
        &[],
        &hello[..1],
        &hello[..1000],
        &header(&SECRET, Tag::PADDED)[..63],
    ]
    .map(|bytes| say(house.addr(), bytes))
    .into();
    let shape = Shape {
        header: HeaderShape::WithData,
        ..Shape::default()
    };
    let mut answered = Client::builder(Mode::ee(DOMAIN), house.addr(), SECRET, 2)
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
    house.rejected("timeout", 5);
}

#[test]
fn healthy_sessions_lose_nothing_beside_all_of_that() {
    let mut house = House::new(|config| config);
    let (over, addr) = (AtomicBool::new(false), house.addr());
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
        house.dc.wait_connections(5);
        for _ in 0..40 {
            let openings = [
                header(&OTHER, Tag::PADDED),
                hello(&OTHER, DOMAIN, HelloKind::Kem).bytes,
                garbage(5000),
            ];
            rejects += openings.len() as u64;
            openings.iter().for_each(|bytes| drop(say(addr, bytes)));
        }
        let counted = house.relay.wait_stat("reject_bad_secret", |n| n >= rejects);
        assert_eq!(counted, rejects);
    });
    house.stays_healthy();
    for close in house.relay.wait_closes(4) {
        assert_eq!(close.reason, "client_closed", "{}", close.line);
    }
    assert_eq!(house.dc.count(), 5);
}

#[test]
fn refusals_are_counted_for_the_user_whose_secret_fitted() {
    let dc = FakeDc::start(Script::Echo);
    let relay = start(
        &RelayConfig::simple(SECRET, dc.addr())
            .modes("ee")
            .option("handshake_timeout", 1),
    );
    let refused = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    relay.wait_stat("reject_mode_disabled", |count| count == 1);
    assert_eq!(relay.stat("user_test_rejects"), 1);
    drop(refused);
}
