//! The object on the bus: what callers are told, what they cannot break, and that it comes back whatever the bus does.

mod recorded;

use crate::{SECRET, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::tcp::RefusedPort;
use mtrelay_test_support::ubus::{Frame, attr, kind, status};
use mtrelay_test_support::{Client, FakeDc, FakeUbusd, Mode, Payload, Relay, RelayConfig, Script, Value};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::thread;

const OBJECT: &str = "mtrelay";

fn none() -> Value {
    Value::table([])
}

fn with_bus(config: RelayConfig, bus: &FakeUbusd) -> RelayConfig {
    config.option("ubus_socket", bus.path().display())
}

/// A relay whose object is on the bus.
fn on_bus(config: RelayConfig) -> (FakeUbusd, Relay) {
    let bus = FakeUbusd::start();
    let relay = start(&with_bus(config, &bus));
    bus.wait_object(OBJECT);
    (bus, relay)
}

fn echoes(client: &mut Client) {
    client.send(b"still there?").expect("it goes out");
    assert_eq!(client.recv_exact(12).expect("it comes back"), b"still there?");
}

/// Without what changes from one moment to the next.
fn settled(mut value: Value) -> Value {
    if let Value::Table(fields) = &mut value {
        fields.retain(|(name, _)| !matches!(name.as_str(), "uptime" | "memory" | "buffers"));
    }
    value
}

#[test]
fn the_object_lists_its_methods_and_their_arguments() {
    let dc = FakeDc::start(Script::Echo);
    let (bus, _relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()));
    let (_, signature) = bus.client().lookup(OBJECT).expect("it is there");
    let (number, text) = (Value::Int(5), Value::Int(3));
    let expected = Value::table([
        ("status", none()),
        ("dcs", none()),
        ("users", none()),
        (
            "sessions",
            Value::table([("limit", number.clone()), ("offset", number.clone())]),
        ),
        ("link", Value::table([("user", text.clone()), ("host", text)])),
        ("check", Value::table([("id", number)])),
        ("reload", none()),
    ]);
    assert_eq!(signature, expected);
}

#[test]
fn status_dcs_and_users_are_the_document_of_the_status_page() {
    let dc = FakeDc::start(Script::Echo);
    let (bus, relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()).user_option("expires", "2099-12-31"));
    let mut session = Client::connect(Mode::Dd, relay.addr(), SECRET, -2);
    echoes(&mut session);
    let mut caller = bus.client();
    let mut fields = Vec::new();
    for method in ["status", "dcs", "users"] {
        let Value::Table(answer) = caller.call(OBJECT, method, &none()).good() else {
            panic!("{method} gave no table");
        };
        fields.extend(answer);
    }
    let (code, page) = relay.get("/status");
    assert_eq!(code, 200);
    let page = Value::parse_json(&page).expect("JSON");
    let bus = Value::Table(fields);
    assert_eq!(
        settled(bus.clone()).to_string(),
        settled(page.clone()).to_string()
    );
    assert_eq!(bus.names(), page.names());
    assert_eq!(bus.at("sessions").at("active").int(), 1);
    assert!(bus.at("memory").at("rss_kib").int() > 0);
    let users = bus.at("users").list();
    assert_eq!(users[0].at("expires").str(), "2099-12-31");
    assert!(!bus.to_string().contains("0f1e2d3c"), "no secret: {bus}");
}

/// The names of all fields, those of counters by reason apart.
fn names(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| names(value, found)),
        Value::Table(fields) => {
            for (name, value) in fields {
                found.insert(name.clone());
                if !matches!(name.as_str(), "closes" | "connect_failures" | "rejects") {
                    names(value, found);
                }
            }
        }
        _ => {}
    }
}

#[test]
fn every_field_is_in_the_documentation() {
    let dc = FakeDc::start(Script::Echo);
    let (bus, relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()).option("link_port", 443));
    let mut session = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut session);
    let mut caller = bus.client();
    let page = concat!(
        include_str!("../../docs/ubus.md"),
        include_str!("../../docs/metrics.md")
    );
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let arguments = Value::table([("user", "test".into()), ("id", 2.into())]);
    for method in ["status", "dcs", "users", "sessions", "link", "check"] {
        let mut found = BTreeSet::new();
        names(&caller.call(OBJECT, method, &arguments).good(), &mut found);
        assert!(!found.is_empty(), "{method}");
        for name in found {
            assert!(
                words.contains(name.as_str()),
                "{method}: docs/ubus.md and docs/metrics.md do not name {name}"
            );
        }
    }
}

#[test]
fn sessions_come_in_bounded_pages() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr()).option("max_sessions", 400);
    let (bus, relay) = on_bus(config);
    let mut clients: Vec<Client> = (0..300)
        .map(|_| Client::connect(Mode::Dd, relay.addr(), SECRET, -3))
        .collect();
    clients.iter_mut().for_each(echoes);
    let mut caller = bus.client();
    let mut page = |arguments: Value| {
        let page = caller.call(OBJECT, "sessions", &arguments).good();
        assert_eq!(
            (page.names(), page.at("total").int()),
            (vec!["sessions", "total"], 300)
        );
        page.at("sessions").list().to_vec()
    };
    assert_eq!(page(none()).len(), 64);
    assert_eq!(page(Value::table([("limit", 1000.into())])).len(), 256);
    assert_eq!(
        page(Value::table([("limit", i64::MAX.into()), ("offset", 290.into())])).len(),
        10
    );
    assert_eq!(page(Value::table([("offset", i64::MAX.into())])).len(), 0);
    assert_eq!(page(Value::table([("limit", 0.into())])).len(), 0);
    let one = page(Value::table([("limit", 1.into()), ("offset", 299.into())])).remove(0);
    let fields = ["user", "client", "dc", "address", "age", "bytes", "route"];
    assert_eq!(one.names(), fields);
    assert_eq!(
        (one.at("user").str(), one.at("client").str(), one.at("dc").int()),
        ("test", "127.0.0.1", -3)
    );
    assert_eq!(one.at("address").str(), dc.addr().to_string());
    assert_eq!(one.at("route").str(), "splice");
    assert_eq!(
        one.at("bytes"),
        &Value::table([("up", 12.into()), ("down", 12.into())])
    );
}

#[test]
fn hundreds_of_users_fit_into_one_answer() {
    let dc = FakeDc::start(Script::Echo);
    let config = (0..200_u8).fold(RelayConfig::simple(SECRET, dc.addr()), |config, user| {
        config.user(
            &format!("somebody with a long name {user}"),
            [
                user.wrapping_mul(77) ^ 0x5a,
                user,
                3,
                4,
                5,
                6,
                7,
                8,
                9,
                1,
                2,
                3,
                4,
                5,
                6,
                7,
            ],
        )
    });
    let (bus, _relay) = on_bus(config);
    let users = bus.client().call(OBJECT, "users", &none()).good();
    assert_eq!(
        (users.at("users").list().len(), users.get("truncated")),
        (201, None)
    );
    assert!(users.to_fields().len() < 100_000, "{}", users.to_fields().len());
}

#[test]
fn arguments_are_checked_and_unknown_ones_are_not() {
    let dc = FakeDc::start(Script::Echo);
    let (bus, _relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()));
    let mut caller = bus.client();
    let session = (
        "ubus_rpc_session",
        Value::from("0123456789abcdef0123456789abcdef"),
    );
    let unknown = (
        "unknown",
        Value::Array(vec![Value::table([("deep", Value::Double(0.5))])]),
    );
    for method in ["status", "dcs", "users", "sessions"] {
        let arguments = Value::table([session.clone(), unknown.clone()]);
        caller.call(OBJECT, method, &arguments).good();
    }
    let long = |value: i64| Value::Raw(4, value.to_be_bytes().into());
    let short = |value: i16| Value::Raw(6, value.to_be_bytes().into());
    for limit in [long(3), short(3), Value::Int(3), Value::Null] {
        caller
            .call(
                OBJECT,
                "sessions",
                &Value::table([("limit", limit), session.clone()]),
            )
            .good();
    }
    let wrong = [
        ("sessions", ("limit", Value::from("3"))),
        ("sessions", ("limit", Value::Bool(true))),
        ("sessions", ("limit", Value::Double(3.0))),
        ("sessions", ("offset", Value::Int(-1))),
        ("sessions", ("offset", Value::Array(Vec::new()))),
        ("link", ("user", Value::Int(1))),
        ("link", ("user", none())),
        ("link", ("host", "somewhere".into())),
        ("link", ("user", Value::Raw(3, vec![0xff, 0]))),
        ("check", ("id", "2".into())),
        ("check", ("id", Value::Int(0))),
        ("check", ("id", Value::Int(1 << 40))),
        ("check", ("unknown", Value::Int(2))),
    ];
    for (method, argument) in wrong {
        let answer = caller.call(OBJECT, method, &Value::table([argument.clone()]));
        assert_eq!(answer.status, status::INVALID_ARGUMENT, "{method} {argument:?}");
    }
    for method in ["nothing", "", "statuS", "status\u{e9}"] {
        assert_eq!(
            caller.call(OBJECT, method, &none()).status,
            status::METHOD_NOT_FOUND,
            "{method}"
        );
    }
    let answer = caller.call(OBJECT, "link", &Value::table([("user", "nobody".into())]));
    assert_eq!(answer.status, status::NOT_FOUND);
    let answer = caller.call(OBJECT, "check", &Value::table([("id", 77.into())]));
    assert_eq!(answer.status, status::NOT_FOUND);
}

#[test]
fn arguments_that_cannot_be_read_are_invalid_and_end_nothing() {
    let dc = FakeDc::start(Script::Echo);
    let (bus, _relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()));
    let mut caller = bus.client();
    let bad: [&[u8]; 7] = [
        &[0],
        &[0, 0, 0, 0],
        &[0x85, 0, 0, 200, 0, 5, b'l', b'i'],
        &[0x83, 0, 0, 12, 0xff, 0xff, 0, 0, 0, 0, 0, 0],
        &[0x03, 0, 0, 8, 0, 0, 0, 0],
        &[0x89, 0, 0, 8, 0, 0, 0, 0],
        &[0xff; 64],
    ];
    for arguments in bad {
        let seq = caller.invoke_raw(OBJECT, "sessions", arguments);
        assert_eq!(
            caller.wait(seq).status,
            status::INVALID_ARGUMENT,
            "{arguments:x?}"
        );
    }
    for len in [8 << 10, 100_000, 1_000_000] {
        let filler = Value::table([("filler", Value::Str("x".repeat(len)))]);
        let answer = caller.call(OBJECT, "status", &filler);
        assert_eq!(answer.status, status::INVALID_ARGUMENT, "{len}");
        caller.call(OBJECT, "status", &none()).good();
    }
    let connections = bus.connections();
    caller.call(OBJECT, "status", &none()).good();
    assert_eq!(bus.connections(), connections, "the relay kept its connection");
    assert_eq!(connections, 2);
}

#[test]
fn links_are_those_of_one_user() {
    let config = RelayConfig::simple(SECRET, "127.0.0.1:9".parse().expect("an address"));
    let config = config
        .option("link_port", 443)
        .option("front_domain", "example.org");
    let (bus, _relay) = on_bus(
        config
            .user(
                "other",
                *b"\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01",
            )
            .user_option("enabled", 0),
    );
    let mut caller = bus.client();
    let ask = |host: &str| Value::table([("user", "test".into()), ("host", host.into())]);
    let links = caller.call(OBJECT, "link", &ask("relay.example")).good();
    let hex = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    let secrets = [
        ("ee", format!("ee{hex}6578616d706c652e6f7267")),
        ("dd", format!("dd{hex}")),
        ("plain", hex.to_string()),
    ];
    let expected = secrets.map(|(mode, secret)| {
        let query = format!("proxy?server=relay.example&port=443&secret={secret}");
        Value::table([
            ("mode", mode.into()),
            ("tg", Value::Str(format!("tg://{query}"))),
            ("https", Value::Str(format!("https://t.me/{query}"))),
        ])
    });
    assert_eq!(links, Value::table([("links", Value::Array(expected.into()))]));
    let own = caller.call(OBJECT, "link", &ask("")).good();
    assert!(own.to_string().contains("server=127.0.0.1&"), "{own}");
    let wrong = caller.call(OBJECT, "link", &ask("not a host"));
    assert_eq!(wrong.status, status::INVALID_ARGUMENT);
    assert!(wrong.data.at("error").str().contains("not a host"));
    let disabled = caller.call(OBJECT, "link", &Value::table([("user", "other".into())]));
    assert_eq!(disabled.status, status::NOT_FOUND);
}

#[test]
fn a_check_is_answered_later_and_everything_else_meanwhile() {
    let (dc, silent) = (FakeDc::start(Script::ResPq), FakeDc::start(Script::Stall));
    let refused = RefusedPort::new();
    let config = RelayConfig::simple(SECRET, dc.addr()).dc(3, &[silent.addr()]);
    let (bus, _relay) = on_bus(config.dc(2, &[dc.addr(), refused.addr()]));
    let mut caller = bus.client();
    let id = |id: i64| Value::table([("id", id.into())]);

    let good = caller.call(OBJECT, "check", &id(2)).good();
    assert_eq!(good.names(), ["addresses", "verdict"]);
    let addresses = good.at("addresses").list();
    assert_eq!(
        addresses[0].names(),
        ["address", "family", "connect_ms", "answer_ms", "error"]
    );
    assert_eq!(addresses[0].at("address").str(), dc.addr().to_string());
    assert!(addresses[0].at("answer_ms").int() >= 0 && *addresses[0].at("error") == Value::Null);
    assert_eq!(
        (addresses[1].at("error").str(), addresses[1].at("connect_ms")),
        ("refused", &Value::Null)
    );
    assert!(good.at("verdict").str().ends_with("works over IPv4"), "{good}");

    let waiting = caller.invoke(OBJECT, "check", &id(3));
    silent.wait_connections(1);
    let mut other = bus.client();
    let busy = other.call(OBJECT, "check", &id(2));
    assert_eq!(
        (busy.status, busy.data.names()),
        (status::UNKNOWN_ERROR, vec!["error"])
    );
    other.call(OBJECT, "status", &none()).good();
    let answer = caller.wait(waiting).good();
    assert_eq!(answer.at("addresses").list()[0].at("error").str(), "silent");
    other.call(OBJECT, "check", &id(-2)).good();
}

#[test]
fn reload_is_what_sighup_is_and_tells_what_is_wrong() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr());
    let (bus, relay) = on_bus(config.clone());
    let config = with_bus(config, &bus);
    let mut listener = bus.client();
    listener.subscribe(OBJECT);
    let mut caller = bus.client();
    relay.rewrite_config(&config.clone().user(
        "new",
        *b"\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01",
    ));
    assert_eq!(caller.call(OBJECT, "reload", &none()).good(), none());
    assert_eq!(relay.stat("config_reloads"), 1);
    relay.rewrite_config(&config.option("buffers", "many"));
    let refused = caller.call(OBJECT, "reload", &none());
    assert_eq!(refused.status, status::UNKNOWN_ERROR);
    assert!(refused.data.at("error").str().contains("buffers"));
    assert_eq!(
        listener.notification(),
        ("config.rejected".to_string(), refused.data.clone())
    );
    relay.signal(Signal::HUP);
    assert_eq!(
        listener.notification(),
        ("config.rejected".to_string(), refused.data)
    );
    assert_eq!(relay.stat("config_rejected"), 2);
}

#[test]
fn subscribers_hear_of_addresses_that_go_and_come_back() {
    let port = RefusedPort::new();
    let addr = port.addr();
    let config = RelayConfig::new().user("test", SECRET).modes("dd");
    let config = [1, 2, 3, 4, 5]
        .iter()
        .fold(config, |config, id| config.dc(*id, &[([127, 0, 0, 1], 1).into()]));
    let (bus, relay) = on_bus(config.dc(2, &[addr]).dc(-4, &[addr]));
    let mut listener = bus.client();
    listener.subscribe(OBJECT);
    let news = |id: i64, error: Value| {
        Value::table([
            ("id", id.into()),
            ("address", Value::Str(addr.to_string())),
            ("error", error),
        ])
    };
    let expect_refused = |relay: &Relay| {
        let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
        assert!(matches!(client.recv_to_end().1, End::Eof | End::Reset));
    };
    expect_refused(&relay);
    for id in [-4, 2] {
        assert_eq!(
            listener.notification(),
            ("dc.down".to_string(), news(id, "refused".into())),
            "{id}"
        );
    }
    // No news: the next notification is that it works.
    expect_refused(&relay);
    drop(port);
    let dc = FakeDc::builder(Script::Echo)
        .listen(addr)
        .start()
        .expect("its port is free again");
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    for id in [-4, 2] {
        assert_eq!(
            listener.notification(),
            ("dc.up".to_string(), news(id, Value::Null)),
            "{id}"
        );
    }
    drop(dc);
}

#[test]
fn the_relay_works_without_a_bus_and_the_object_comes_with_it() {
    let mut bus = FakeUbusd::start();
    bus.stop();
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&with_bus(RelayConfig::simple(SECRET, dc.addr()), &bus));
    relay.wait_log("ubus: no bus at");
    let mut session = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut session);
    for _ in 0..2 {
        bus.start_again();
        bus.wait_object(OBJECT);
        bus.client().call(OBJECT, "status", &none()).good();
        bus.stop();
        echoes(&mut session);
    }
}

#[test]
fn a_refused_object_is_offered_again_with_one_warning() {
    let bus = FakeUbusd::start();
    bus.deny(true);
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&with_bus(RelayConfig::simple(SECRET, dc.addr()), &bus));
    bus.wait_offers(3);
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    bus.deny(false);
    bus.wait_object(OBJECT);
    let warnings: Vec<String> = relay
        .log_lines()
        .into_iter()
        .filter(|line| line.contains("refused (status 2)"))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("warn "), "{warnings:?}");
}

#[test]
fn nonsense_from_the_bus_costs_it_the_connection_and_nothing_else() {
    let dc = FakeDc::start(Script::Echo);
    let bus = FakeUbusd::start();
    bus.greet_with(Some(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()));
    let relay = start(&with_bus(RelayConfig::simple(SECRET, dc.addr()), &bus));
    let mut session = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut session);
    bus.wait_connections(2);
    bus.greet_with(None);
    bus.wait_object(OBJECT);
    let garbage: [&[u8]; 3] = [
        &[1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4],
        &[0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 5, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff],
    ];
    for garbage in garbage {
        let before = bus.connections();
        bus.inject(OBJECT, garbage);
        bus.wait_connections(before + 1);
        bus.wait_object(OBJECT);
        echoes(&mut session);
    }
    // Well-formed, and nothing that this object knows: each is passed over.
    let before = bus.connections();
    for kind in [
        kind::HELLO,
        kind::STATUS,
        kind::DATA,
        kind::LOOKUP,
        kind::NOTIFY,
        11,
        200,
    ] {
        bus.inject(OBJECT, &Frame::new(kind, 9, 9).to_bytes());
        bus.inject(
            OBJECT,
            &Frame::new(kind, 9, 9).with(attr::STATUS, &[1]).to_bytes(),
        );
    }
    let mut caller = bus.client();
    caller.call(OBJECT, "status", &none()).good();
    assert_eq!(bus.connections(), before + 1, "only the caller is new");
}

#[test]
fn a_bus_that_does_not_greet_is_tried_again() {
    let bus = FakeUbusd::start();
    bus.greet_with(Some(Vec::new()));
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&with_bus(RelayConfig::simple(SECRET, dc.addr()), &bus));
    bus.wait_connections(1);
    bus.greet_with(None);
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    bus.wait_object(OBJECT);
    relay.wait_log("cannot connect (timeout)");
}

#[test]
fn a_bus_that_reads_nothing_costs_bounded_memory() {
    let dc = FakeDc::start(Script::Echo);
    let (bus, relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()));
    let mut session = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut session);
    bus.client().call(OBJECT, "dcs", &none()).good();
    let connections = bus.connections();
    bus.stall(true);
    let id = bus.object_id(OBJECT);
    let call = Frame::new(kind::INVOKE, 7, 7)
        .with_u32(attr::OBJID, id)
        .with_str(attr::METHOD, "dcs");
    let before = relay.rss_kib();
    // Answers of more than 10 MiB, if anybody kept them.
    const CALLS: usize = 3000;
    bus.inject(OBJECT, &call.to_bytes().repeat(CALLS));
    relay.signal(Signal::HUP);
    relay.wait_stat("config_reloads", |reloads| reloads == 1);
    // Each takes the relay several turns, of which the bus would have its own.
    for _ in 0..CALLS {
        echoes(&mut session);
    }
    let grown = relay.rss_kib().saturating_sub(before);
    assert!(grown < 4096, "{grown} KiB more");
    bus.stall(false);
    bus.client().call(OBJECT, "status", &none()).good();
    assert_eq!(
        bus.connections(),
        connections + 1,
        "what stood in the queue came whole"
    );
}

#[test]
fn calls_are_answered_while_downloads_run() {
    const DOWNLOADS: u64 = 32;
    const BYTES: u64 = 4 << 20;
    let dc = FakeDc::start(Script::Source {
        payload: Payload::asked(BYTES),
        then: mtrelay_test_support::Then::Close,
    });
    let (bus, relay) = on_bus(RelayConfig::simple(SECRET, dc.addr()));
    let addr: SocketAddr = relay.addr();
    thread::scope(|scope| {
        for seed in 0..DOWNLOADS {
            scope.spawn(move || {
                let (mut reader, mut writer) = Client::connect(Mode::Dd, addr, SECRET, 2).split();
                writer.ask(seed).expect("the seed goes out");
                let mut stream = mtrelay_test_support::rng::Stream::new(seed);
                assert_eq!(reader.stream_to_end(&mut stream).0, BYTES);
            });
        }
        let mut caller = bus.client();
        while caller
            .call(OBJECT, "status", &none())
            .good()
            .at("sessions")
            .at("total")
            .int()
            < DOWNLOADS as i64
        {}
    });
    assert_eq!(relay.wait_closes(DOWNLOADS as usize).len(), DOWNLOADS as usize);
}
