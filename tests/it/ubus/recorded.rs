//! Both codecs, and the daemon itself, against messages recorded from OpenWrt's own programs (tests/vectors/ubus).

use super::{OBJECT, none, with_bus};
use crate::{SECRET, start};
use mtrelay::metrics::Emit;
use mtrelay::ubus::blob::{self, Field};
use mtrelay::ubus::message::{Attributes, Inbox};
use mtrelay::ubus::{Document, blob::Value as Ours};
use mtrelay_test_support::clock::patience;
use mtrelay_test_support::relay::TempDir;
use mtrelay_test_support::ubus::{Frame, attr, kind};
use mtrelay_test_support::{FakeUbusd, RelayConfig, Value};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

struct Vector(BTreeMap<String, String>);

impl Vector {
    fn load(name: &str) -> Vector {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ubus");
        let text =
            std::fs::read_to_string(folder.join(name).with_extension("txt")).expect("the vector is there");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let fields = lines.map(|line| line.split_once(": ").expect("a field"));
        Vector(
            fields
                .map(|(key, value)| (key.to_string(), value.to_string()))
                .collect(),
        )
    }

    /// All of them whose name begins like this.
    fn all(start: &str) -> Vec<(String, Vector)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/ubus");
        let names = std::fs::read_dir(folder).expect("the vectors are there");
        let names = names.map(|entry| entry.expect("readable").file_name().into_string().expect("UTF-8"));
        let mut names: Vec<String> = names
            .filter_map(|name| Some(name.strip_suffix(".txt")?.to_string()))
            .collect();
        names.retain(|name| name.starts_with(start));
        names.sort();
        names
            .into_iter()
            .map(|name| (name.clone(), Vector::load(&name)))
            .collect()
    }

    fn bytes(&self) -> Vec<u8> {
        hex(&self.0["bytes"])
    }

    fn number(&self, key: &str) -> Option<u32> {
        self.0.get(key).map(|text| text.parse().expect("decimal"))
    }

    fn id(&self, key: &str) -> Option<u32> {
        self.0
            .get(key)
            .map(|text| u32::from_str_radix(text, 16).expect("hex"))
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits = text
        .as_bytes()
        .chunks(2)
        .map(|two| std::str::from_utf8(two).expect("ASCII"));
    digits
        .map(|two| u8::from_str_radix(two, 16).expect("hex"))
        .collect()
}

/// What our codec read, as the tests' own value.
fn table(payload: &[u8]) -> Vec<(String, Value)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let field = |field: Result<Field<'_>, _>| {
        let field = field.expect("well-formed");
        let value = match field.value {
            Ours::Null => Value::Null,
            Ours::Bool(value) => Value::Bool(value),
            Ours::Int(value) => Value::Int(value),
            Ours::Double(value) => Value::Double(value),
            Ours::Str(bytes) => Value::Str(text(bytes)),
            Ours::Array(payload) => {
                Value::Array(table(payload).into_iter().map(|(_, value)| value).collect())
            }
            Ours::Table(payload) => Value::Table(table(payload)),
        };
        (text(field.name), value)
    };
    blob::fields(payload).map(field).collect()
}

/// Tells a document what a value is.
fn emit(name: &str, value: &Value, out: &mut Document) {
    match value {
        Value::Null => out.null(name),
        Value::Bool(value) => out.bool(name, *value),
        Value::Int(value) => out.int(name, *value),
        Value::Str(text) => out.str(name, text),
        Value::Array(list) => {
            out.array(name);
            list.iter().for_each(|value| emit("", value, out));
            out.end();
        }
        Value::Table(fields) => {
            out.table(name);
            fields.iter().for_each(|(name, value)| emit(name, value, out));
            out.end();
        }
        Value::Double(_) | Value::Raw(..) => panic!("documents have no {value}"),
    }
}

#[test]
fn both_codecs_read_what_was_recorded() {
    let all = Vector::all("");
    assert!(all.len() >= 25, "{} vectors", all.len());
    for (name, vector) in all {
        let bytes = vector.bytes();
        let mut inbox = Inbox::default();
        for byte in &bytes[..bytes.len() - 1] {
            inbox.feed(&[*byte]);
            assert_eq!(inbox.next_message(), Ok(None), "{name}");
        }
        inbox.feed(&bytes[bytes.len() - 1..]);
        let message = inbox.next_message().expect("a message").expect("a whole one");
        let frame = Frame::read(&mut &bytes[..]).expect("a frame");
        let header = message.header;
        assert_eq!(
            u32::from(header.kind),
            vector.number("type").expect("a type"),
            "{name}"
        );
        assert_eq!(Some(u32::from(header.seq)), vector.number("seq"), "{name}");
        assert_eq!(Some(header.peer), vector.id("peer"), "{name}");
        assert_eq!(
            (frame.kind, frame.seq, frame.peer),
            (header.kind, header.seq, header.peer),
            "{name}"
        );
        assert_eq!(frame.to_bytes(), bytes, "{name}");

        let body = message.body.expect("not too long");
        let attributes = Attributes::parse(&body).expect("attributes");
        assert_eq!(
            (attributes.objid, frame.u32(attr::OBJID)),
            (vector.id("object"), vector.id("object")),
            "{name}"
        );
        assert_eq!(
            (attributes.status, frame.u32(attr::STATUS)),
            (vector.number("status"), vector.number("status")),
            "{name}"
        );
        let method = vector.0.get("method").map(String::as_str);
        assert_eq!(attributes.method, method.map(str::as_bytes), "{name}");
        assert_eq!(frame.str(attr::METHOD), method, "{name}");
        let Some(data) = vector.0.get("data") else {
            assert_eq!(attributes.data, None, "{name}");
            continue;
        };
        let payload = attributes.data.expect("data");
        assert_eq!(&Value::Table(table(payload)).to_string(), data, "{name}");
        assert_eq!(
            &Value::from_fields(payload).expect("blobmsg").to_string(),
            data,
            "{name}"
        );
    }
}

#[test]
fn both_codecs_write_what_was_recorded() {
    for (name, vector) in Vector::all("caller-") {
        let value = Value::parse_json(&vector.0["data"]).expect("JSON");
        let frame = Frame::read(&mut &vector.bytes()[..]).expect("a frame");
        assert_eq!(Some(&value.to_fields()[..]), frame.attr(attr::DATA), "{name}");
    }
    for name in [
        "owner-answer",
        "owner-answer-empty",
        "owner-notify-down",
        "owner-notify-up",
    ] {
        let vector = Vector::load(name);
        let Ok(Value::Table(fields)) = Value::parse_json(&vector.0["data"]) else {
            panic!("{name} is no table");
        };
        let mut document = Document::new();
        fields
            .iter()
            .for_each(|(name, value)| emit(name, value, &mut document));
        let frame = Frame::read(&mut &vector.bytes()[..]).expect("a frame");
        assert_eq!(Some(&document.finish()[..]), frame.attr(attr::DATA), "{name}");
    }
}

/// The daemon's side of a recorded conversation, played by the daemon.
struct Played(UnixStream);

impl Played {
    fn send(&mut self, name: &str) {
        self.0
            .write_all(&Vector::load(name).bytes())
            .expect("the daemon reads");
    }

    /// The next message is this one, byte for byte.
    fn expect(&mut self, name: &str) {
        let expected = Vector::load(name).bytes();
        let mut came = vec![0; expected.len()];
        self.0.read_exact(&mut came).expect("the daemon writes");
        assert_eq!(came, expected, "{name}");
    }
}

#[test]
fn the_daemon_speaks_as_libubus_does_byte_for_byte() {
    let dir = TempDir::new();
    let path = dir.path().join("ubus.sock");
    let bus = UnixListener::bind(&path).expect("a socket");
    let config = RelayConfig::simple(SECRET, "127.0.0.1:9".parse().expect("an address"));
    let relay = start(&config.option("ubus_socket", path.display()));
    let accept = || {
        let (stream, _) = bus.accept().expect("the daemon comes");
        stream.set_read_timeout(Some(patience())).expect("a timeout");
        Played(stream)
    };

    let mut refused = accept();
    refused.send("bus-hello");
    refused.expect("owner-add-object");
    refused.send("bus-denied");
    assert_eq!(
        refused.0.read(&mut [0]).expect("an end"),
        0,
        "it goes, and comes again"
    );
    relay.wait_log("refused (status 2)");

    let mut played = accept();
    played.send("bus-hello");
    played.expect("owner-add-object");
    played.send("bus-object-added");
    played.send("bus-done");
    relay.wait_log("ubus: object 'mtrelay' registered");
    for ignored in ["bus-subscribed", "bus-unsubscribed"] {
        played.send(ignored);
    }
    played.send("bus-invoke-status");
    let answer = Frame::read(&mut played.0).expect("an answer");
    let asked = Vector::load("bus-invoke-status");
    assert_eq!(
        (answer.kind, u32::from(answer.seq)),
        (kind::DATA, asked.number("seq").expect("a number"))
    );
    assert_eq!(
        (Some(answer.peer), answer.u32(attr::OBJID)),
        (asked.id("peer"), asked.id("object"))
    );
    played.expect("owner-end-status");
    played.send("bus-invoke-sessions");
    let answer = Frame::read(&mut played.0).expect("an answer");
    let page = Value::from_fields(answer.attr(attr::DATA).expect("data")).expect("blobmsg");
    assert_eq!(
        page,
        Value::table([("sessions", Value::Array(Vec::new())), ("total", 0.into())])
    );
    played.expect("owner-end-sessions");
    played.send("bus-invoke-link");
    played.expect("owner-end-link");
    played.send("bus-invoke-reload");
    played.expect("owner-answer-empty");
    played.expect("owner-end-reload");
    played.send("bus-invoke-nope");
    played.expect("owner-end-nope");
}

#[test]
fn the_fake_bus_carries_what_the_real_one_carried() {
    let bus = FakeUbusd::start();
    let config = RelayConfig::simple(SECRET, "127.0.0.1:9".parse().expect("an address"));
    let _relay = start(&with_bus(config, &bus));
    bus.wait_object(OBJECT);
    let mut caller = bus.client();
    let (_, signature) = caller.lookup(OBJECT).expect("it is there");
    let offered = Frame::read(&mut &Vector::load("owner-add-object").bytes()[..]).expect("a frame");
    let offered = Value::from_fields(offered.attr(attr::SIGNATURE).expect("a signature"));
    assert_eq!(Ok(signature), offered);
    for (name, vector) in Vector::all("caller-") {
        let arguments = Value::parse_json(&vector.0["data"]).expect("JSON");
        let method = vector.0["method"].as_str();
        let recorded = Vector::load(&format!("owner-end-{method}")).number("status");
        assert_eq!(
            Some(caller.call(OBJECT, method, &arguments).status),
            recorded,
            "{name}"
        );
    }
    caller.call(OBJECT, "status", &none()).good();
}
