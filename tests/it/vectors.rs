//! The wire against bytes that our own encoder did not make: every file of `tests/vectors`, whole and byte by byte.
//!
//! Read `tests/vectors/README.md` first: it says what the fields mean and what must come of them.

use mtrelay_core::dc::{DcId, Table};
use mtrelay_test_support::faketls;
use mtrelay_test_support::rng::Rng;
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use wire::accept::{Acceptor, ApparentProtocol, Clock, Handshake, Policy, Progress, RejectReason, Rejection};
use wire::cipher::{Stream, StreamKey};
use wire::faketls::client_hello::ClientHello;
use wire::faketls::{server_hello, x25519};
use wire::obfuscated2::{ClientInit, DcInit, HEADER_LEN, Tag};
use wire::secret::Secret;
use wire::{Mode, Modes};

/// How many files of each kind there are at least: a folder that was half checked out proves nothing.
const EXPECTED: [(&str, usize); 5] = [
    ("obfuscated2", 39),
    ("dc-header", 4),
    ("client-hello", 58),
    ("server-answer", 2),
    ("client-stream", 16),
];
/// Where the answer's HMAC stands, and where a hello's.
const RANDOM: Range<usize> = 11..43;
const FLIGHT_LEN: usize = 2000;

struct Vector {
    name: String,
    fields: BTreeMap<String, String>,
}

impl Vector {
    fn load(path: &Path) -> Vector {
        let name = path
            .file_stem()
            .expect("a file has a name")
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(path).expect("vectors are readable text");
        let mut fields = BTreeMap::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let (key, value) = line
                .split_once(':')
                .unwrap_or_else(|| panic!("{name}: no field: {line}"));
            let old = fields.insert(key.to_string(), value.trim().to_string());
            assert_eq!(old, None, "{name}: {key} comes twice");
        }
        Vector { name, fields }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.fields.get(key).map(String::as_str)
    }

    fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    fn bytes(&self, key: &str) -> Vec<u8> {
        let text = self.text(key);
        assert_eq!(text.len() % 2, 0, "{}: {key} is no hex", self.name);
        let digits = (0..text.len()).step_by(2).map(|at| &text[at..at + 2]);
        digits
            .map(|pair| u8::from_str_radix(pair, 16).expect("fields of bytes are hex"))
            .collect()
    }

    fn array<const N: usize>(&self, key: &str) -> [u8; N] {
        let bytes = self.bytes(key);
        bytes
            .try_into()
            .unwrap_or_else(|bytes: Vec<u8>| panic!("{}: {key} has {} bytes", self.name, bytes.len()))
    }

    fn number(&self, key: &str) -> i64 {
        self.text(key).parse().expect("fields of numbers are decimal")
    }

    fn words(&self, key: &str) -> Vec<u16> {
        let words = self.text(key).split_whitespace();
        words
            .map(|word| u16::from_str_radix(word, 16).expect("groups and ciphers are four hex digits"))
            .collect()
    }

    fn secret(&self) -> Secret {
        Secret::from_bytes(self.array("secret"))
    }

    fn stream_key(&self, direction: &str) -> StreamKey {
        StreamKey {
            key: self.array(&format!("{direction}_key")),
            iv: self.array(&format!("{direction}_iv")),
        }
    }

    fn clock(&self) -> Clock {
        if self.get("synced") != Some("1") {
            return Clock::Unknown;
        }
        Clock::Known {
            now: u32::try_from(self.number("now")).expect("a unix time"),
            behind: 1200,
            ahead: 600,
        }
    }

    fn modes(&self) -> Modes {
        let Some(modes) = self.get("modes") else {
            return Modes::ALL;
        };
        let has = |mode| modes.split_whitespace().any(|word| word == mode);
        Modes {
            plain: has("plain"),
            dd: has("dd"),
            ee: has("ee"),
        }
    }

    fn tag(&self) -> Tag {
        let tags = [Tag::Abridged, Tag::Intermediate, Tag::Padded];
        let bytes: [u8; 4] = self.array("tag");
        tags.into_iter()
            .find(|tag| tag.bytes() == bytes)
            .expect("one of the three tags")
    }
}

/// What came of an opening, in the words of the files.
#[derive(Debug)]
enum Outcome {
    Incomplete,
    Refused(Rejection),
    Answered(wire::obfuscated2::ReplayKey),
    Ready(Box<Handshake>),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Outcome::Incomplete => "incomplete",
            Outcome::Answered(_) => "ready",
            Outcome::Ready(opening) if Table::built_in().lookup(DcId::from_wire(opening.dc)).is_none() => {
                "unknown_dc"
            }
            Outcome::Ready(_) => "ready",
            Outcome::Refused(rejection) => match rejection.reason {
                RejectReason::BadSecret => "bad_secret",
                RejectReason::BadTag => "bad_tag",
                RejectReason::ClockSkew(_) => "clock_skew",
                RejectReason::Malformed => "malformed",
                RejectReason::ModeDisabled => "mode_disabled",
                RejectReason::BadServerName => "bad_sni",
            },
        }
    }
}

/// Gives the acceptor what it wants, in pieces of at most `piece`, and takes that away from `bytes`.
fn feed(acceptor: &mut Acceptor, bytes: &mut &[u8], piece: usize, policy: &Policy<'_>) -> Outcome {
    while !bytes.is_empty() {
        let wanted = acceptor.wanted();
        assert!(wanted > 0, "an opening that goes on wants bytes");
        let (now, later) = bytes.split_at(wanted.min(piece).min(bytes.len()));
        *bytes = later;
        match acceptor.handle_input(&mut now.to_vec(), policy) {
            Progress::NeedMore => {}
            Progress::Answer { replay_key, .. } => return Outcome::Answered(replay_key),
            Progress::Ready(opening) => return Outcome::Ready(opening),
            Progress::Rejected(rejection) => return Outcome::Refused(rejection),
        }
    }
    Outcome::Incomplete
}

/// The policy of a relay that has this file's secret among others, and the user's place.
fn with_policy<T>(vector: &Vector, check: impl FnOnce(&Policy<'_>, usize) -> T) -> T {
    let secrets = [
        Secret::from_bytes([0; 16]),
        vector.secret(),
        Secret::from_bytes([0xff; 16]),
    ];
    let policy = Policy {
        secrets: &secrets,
        modes: vector.modes(),
        front_domain: vector.get("front_domain"),
        clock: vector.clock(),
        only_tls: false,
    };
    check(&policy, 1)
}

fn applied(mut stream: Stream, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    stream.apply(&mut bytes);
    bytes
}

/// Other bytes on every call: the encoder draws again until it has a point of the curve.
fn fill(bytes: &mut [u8]) {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let drawn = Rng::new(CALLS.fetch_add(1, Ordering::Relaxed)).array::<32>();
    for (byte, drawn) in bytes.iter_mut().zip(drawn.into_iter().cycle()) {
        *byte = drawn;
    }
}

/// What a header said, against the file.
fn check_header(vector: &Vector, tag: Tag, dc: i16, up: Stream, down: StreamKey) {
    let name = &vector.name;
    assert_eq!(
        (tag, i64::from(dc)),
        (vector.tag(), vector.number("dc")),
        "{name}"
    );
    let up_wire = vector.bytes("up_wire");
    assert_eq!(
        applied(Stream::at(&vector.stream_key("up"), HEADER_LEN as u64), &up_wire),
        vector.bytes("up_plain"),
        "{name}: up_key"
    );
    assert_eq!(applied(up, &up_wire), vector.bytes("up_plain"), "{name}: up");
    assert!(down == vector.stream_key("down"), "{name}: down_key");
    if vector.get("down_wire").is_some() {
        let plain = applied(Stream::new(&down), &vector.bytes("down_wire"));
        assert_eq!(plain, vector.bytes("down_plain"), "{name}: down");
    }
    if vector.get("fast_8_56").is_some() {
        let header = DcInit::fast(tag, dc, &down, &mut fill).header;
        assert_eq!(header[8..56], vector.bytes("fast_8_56"), "{name}: fast_8_56");
    }
}

fn check_obfuscated2(vector: &Vector) {
    let (name, expect) = (&vector.name, vector.text("expect"));
    let sent = vector.bytes("header");
    if let (Ok(header), "ready") = (<&[u8; HEADER_LEN]>::try_from(&sent[..]), expect) {
        let init = ClientInit::parse(header, &vector.secret());
        let init = init.unwrap_or_else(|| panic!("{name}: not read"));
        assert_eq!(init.replay_key, header[8..24], "{name}");
        check_header(vector, init.tag, init.dc, init.up, init.down);
    }
    if vector.get("inside") == Some("tls") {
        return;
    }
    for piece in [1, 7, usize::MAX] {
        with_policy(vector, |policy, user| {
            let outcome = feed(&mut Acceptor::new(), &mut &sent[..], piece, policy);
            assert_eq!(outcome.word(), expect, "{name} in pieces of {piece}");
            if let Outcome::Ready(opening) = outcome
                && expect == "ready"
            {
                let mode = if opening.tag == Tag::Padded {
                    Mode::Dd
                } else {
                    Mode::Plain
                };
                assert_eq!((opening.user, opening.mode), (user, mode), "{name}");
                assert!(opening.records.is_none(), "{name}: records");
                check_header(vector, opening.tag, opening.dc, opening.up, opening.down);
            }
        });
    }
}

fn check_dc_header(vector: &Vector) {
    let name = &vector.name;
    let plain: [u8; HEADER_LEN] = vector.array("plain");
    // Whatever order the encoder draws in, the pieces have different lengths.
    let mut draw = |bytes: &mut [u8]| {
        let from = match bytes.len() {
            8 => 0..8,
            48 => 8..56,
            2 => 62..64,
            len => panic!("{name}: nothing in a header has {len} bytes"),
        };
        bytes.copy_from_slice(&plain[from]);
    };
    let dc = i16::try_from(vector.number("dc")).expect("a DC id");
    let init = DcInit::new(vector.tag(), dc, &mut draw);
    assert_eq!(init.header[..], vector.bytes("header"), "{name}");
    assert_eq!(
        applied(init.up, &vector.bytes("up_plain")),
        vector.bytes("up_wire"),
        "{name}"
    );
    assert!(init.down == vector.stream_key("down"), "{name}: down_key");
    assert_eq!(
        applied(Stream::new(&init.down), &vector.bytes("down_wire")),
        vector.bytes("down_plain"),
        "{name}"
    );
    let up = Stream::at(&vector.stream_key("up"), HEADER_LEN as u64);
    assert_eq!(
        applied(up, &vector.bytes("up_plain")),
        vector.bytes("up_wire"),
        "{name}: up_key"
    );
}

/// What our reader sees in a hello, against the file.
fn check_hello_fields(vector: &Vector, record: &[u8]) {
    let name = &vector.name;
    let hello = ClientHello::parse(record).unwrap_or_else(|| panic!("{name}: not read"));
    assert_eq!(hello.server_name, Some(vector.text("domain")), "{name}");
    assert_eq!(hello.session_id, vector.bytes("session_id"), "{name}");
    assert_eq!(vec![hello.cipher_suite], vector.words("cipher"), "{name}");
    assert_eq!(Some(&hello.group), vector.words("groups").first(), "{name}");
    assert_eq!(hello.random()[..], record[RANDOM], "{name}");
    let verified = hello
        .verify(&vector.secret())
        .unwrap_or_else(|| panic!("{name}: not verified"));
    assert_eq!(i64::from(verified.time), vector.number("time"), "{name}");
    if vector.get("digest").is_some() {
        assert_eq!(verified.replay_key, vector.bytes("digest")[..16], "{name}");
    }
}

/// That the answer is signed for this hello.
fn check_answer_signature(vector: &Vector, hello: &[u8], answer: &[u8]) {
    let mut zeroed = answer.to_vec();
    zeroed[RANDOM].fill(0);
    let digest = faketls::mac(&vector.array("secret"), &[&hello[RANDOM], &zeroed]);
    assert_eq!(digest, answer[RANDOM], "{}: the answer's digest", vector.name);
}

fn check_client_hello(vector: &Vector) {
    let (name, expect) = (&vector.name, vector.text("expect"));
    let record = vector.bytes("record");
    if matches!(expect, "ready" | "clock_skew" | "bad_sni" | "mode_disabled") {
        check_hello_fields(vector, &record);
    }
    for piece in [1, 7, usize::MAX] {
        with_policy(vector, |policy, _| {
            let mut acceptor = Acceptor::new();
            let mut rest = &record[..];
            let outcome = feed(&mut acceptor, &mut rest, piece, policy);
            assert_eq!(outcome.word(), expect, "{name} in pieces of {piece}");
            match outcome {
                Outcome::Refused(Rejection {
                    reason: RejectReason::ClockSkew(offset),
                    ..
                }) => {
                    assert_eq!(offset, vector.number("time") - vector.number("now"), "{name}");
                }
                Outcome::Refused(Rejection { reason, protocol, .. }) => {
                    // A stranger's hello goes to the front, so it has to be known as one.
                    let tls = matches!(reason, RejectReason::ModeDisabled | RejectReason::BadServerName);
                    assert!(!tls || protocol == ApparentProtocol::Tls, "{name}: {protocol:?}");
                }
                Outcome::Answered(key) => {
                    assert!(rest.is_empty(), "{name}: {} bytes left", rest.len());
                    assert_eq!(key, record[RANDOM][..16], "{name}");
                    let answer = acceptor
                        .answer(policy, FLIGHT_LEN, &x25519::key_share(&mut fill), &mut fill)
                        .expect("it is answered");
                    check_answer_signature(vector, &record, &answer);
                }
                Outcome::Incomplete | Outcome::Ready(_) => {}
            }
        });
    }
}

fn check_server_answer(vector: &Vector) {
    let name = &vector.name;
    let (hello, expected) = (vector.bytes("hello"), vector.bytes("answer"));
    let (share, zeroed) = (vector.bytes("share"), vector.bytes("answer_zeroed"));
    let random = faketls::mac(
        &vector.array("secret"),
        &[&vector.bytes("client_random"), &zeroed],
    );
    assert_eq!(random[..], expected[RANDOM], "{name}: the file's own digest");
    assert_eq!(hello[RANDOM], vector.bytes("client_random"), "{name}");

    let share_at = expected
        .windows(share.len())
        .position(|window| window == share)
        .unwrap_or_else(|| panic!("{name}: the share is not in the answer"));
    let hello_end = 5 + usize::from(u16::from_be_bytes([expected[3], expected[4]]));
    // ServerHello, the six bytes of a ChangeCipherSpec, and the header of the record that nobody can read.
    let flight_at = hello_end + 6 + 5;
    let parsed = ClientHello::parse(&hello).unwrap_or_else(|| panic!("{name}: not read"));
    assert_eq!(vec![parsed.cipher_suite], vector.words("cipher"), "{name}");
    assert_eq!(vec![parsed.group], vector.words("group"), "{name}");
    assert_eq!(parsed.session_id, vector.bytes("session_id"), "{name}");

    let drawn = x25519::key_share(&mut fill);
    let flight_len = expected.len() - flight_at;
    let mut ours = server_hello::answer(&parsed, &vector.secret(), flight_len, &drawn, &mut fill);
    check_answer_signature(vector, &hello, &ours);
    assert_eq!(ours.len(), expected.len(), "{name}");
    // Byte for byte, but for what is drawn at random.
    for drawn in [
        RANDOM,
        share_at..share_at + share.len(),
        flight_at..expected.len(),
    ] {
        ours[drawn.clone()].copy_from_slice(&expected[drawn]);
    }
    assert_eq!(ours, expected, "{name}");
}

fn check_client_stream(vector: &Vector) {
    let (name, expect) = (&vector.name, vector.text("expect"));
    let (hello, after) = (vector.bytes("hello"), vector.bytes("after_hello"));
    if vector.get("domain").is_some() {
        check_hello_fields(vector, &hello);
    }
    for piece in [1, 7, usize::MAX] {
        with_policy(vector, |policy, user| {
            let mut acceptor = Acceptor::new();
            let answered = feed(&mut acceptor, &mut &hello[..], piece, policy);
            assert!(matches!(answered, Outcome::Answered(_)), "{name}: {answered:?}");
            let answer = acceptor
                .answer(policy, FLIGHT_LEN, &x25519::key_share(&mut fill), &mut fill)
                .expect("it is answered");
            check_answer_signature(vector, &hello, &answer);

            let mut rest = &after[..];
            let outcome = feed(&mut acceptor, &mut rest, piece, policy);
            assert_eq!(outcome.word(), expect, "{name} in pieces of {piece}");
            if let (Outcome::Ready(mut opening), "ready") = (outcome, expect) {
                assert_eq!((opening.user, opening.mode), (user, Mode::Ee), "{name}");
                let said = (opening.tag, i64::from(opening.dc));
                assert_eq!(said, (vector.tag(), vector.number("dc")), "{name}");
                assert_eq!(opening.replay_key, vector.bytes("header")[8..24], "{name}");
                let mut records = opening.records.expect("fake TLS has records");
                let mut plain = Vec::new();
                for bytes in rest.chunks(piece.min(rest.len().max(1))) {
                    let mut bytes = bytes.to_vec();
                    let payload = records.unwrap_in_place(&mut bytes).expect("good records");
                    opening.up.apply(&mut bytes[payload.clone()]);
                    plain.extend_from_slice(&bytes[payload]);
                }
                assert_eq!(plain, vector.bytes("up_plain"), "{name}");
            }
        });
    }
}

#[test]
fn every_vector_is_read_as_it_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .expect("the vectors are there")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for path in &paths {
        let vector = Vector::load(path);
        let (kind, ready) = (vector.text("kind"), vector.text("expect") == "ready");
        assert_eq!(vector.name.starts_with("ok-"), ready, "{}", vector.name);
        assert_eq!(vector.name.starts_with("bad-"), !ready, "{}", vector.name);
        match kind {
            "obfuscated2" => check_obfuscated2(&vector),
            "dc-header" => check_dc_header(&vector),
            "client-hello" => check_client_hello(&vector),
            "server-answer" => check_server_answer(&vector),
            "client-stream" => check_client_stream(&vector),
            kind => panic!("{}: nobody here knows the kind {kind}", vector.name),
        }
        *counts.entry(kind.to_string()).or_default() += 1;
    }
    for (kind, expected) in EXPECTED {
        let found = counts.get(kind).copied().unwrap_or_default();
        assert!(
            found >= expected,
            "{found} files of kind {kind}, {expected} expected"
        );
    }
}
