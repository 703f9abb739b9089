//! What stands behind the page: the daemon with its configuration file, fake data centres, and clients that use it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use mtrelay_test_support::fake_dc::FakeDc;
use mtrelay_test_support::fake_ubusd::FakeUbusd;
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::rng::{Rng, fresh_seed};
use mtrelay_test_support::{Client, Mode, Relay, Script, Then, ubus};
use serde_json::{Value, json};

use crate::rpc::Outcome;
use crate::uci::Package;

/// Telegram's own addresses, by data centre. Where a namespace of its own has them, the fake data centres listen there and the daemon
/// uses its built-in table: pictures then show what a router shows.
const REAL: [(i16, &[&str]); 6] = [
    (1, &["149.154.175.50:443", "[2001:b28:f23d:f001::a]:443"]),
    (
        2,
        &[
            "149.154.167.51:443",
            "95.161.76.100:443",
            "[2001:67c:4e8:f002::a]:443",
        ],
    ),
    (3, &["149.154.175.100:443", "[2001:b28:f23d:f003::a]:443"]),
    (4, &["149.154.167.91:443", "[2001:67c:4e8:f004::a]:443"]),
    (
        5,
        &[
            "149.154.171.5:443",
            "91.108.56.100:443",
            "[2001:b28:f23f:f005::a]:443",
        ],
    ),
    (203, &["91.105.192.100:443"]),
];

/// The secret of the first user.
pub(crate) const FAMILY: [u8; 16] = *b"\x6a\xb1\xf5\x0c\x3e\x9d\x27\x88\x4f\xd2\xb0\x17\x9c\xe3\x5a\x61";
const WORK: [u8; 16] = *b"\xd1\x0e\x77\x42\xa9\x6b\x35\xfc\x18\xe3\x04\x9f\x5d\xc6\x2a\x80";
const GUEST: [u8; 16] = *b"\x3f\x92\xcb\x60\x15\x8a\xee\x47\xb3\x7d\x21\xf6\x08\x59\xd4\x1c";

/// Everything of one test.
pub(crate) struct World {
    bin: String,
    /// The data centres, and where nobody listens.
    dcs: Vec<FakeDc>,
    bus: FakeUbusd,
    port: u16,
    daemon: Option<Relay>,
    /// The lines of daemons that are gone.
    old_lines: Vec<String>,
    /// Lines that a test added to the system's log.
    pub(crate) foreign_lines: Vec<Value>,
    sessions: BTreeMap<u64, Client>,
    next_session: u64,
    /// The files, by package.
    pub(crate) uci: BTreeMap<String, Package>,
}

/// A port that nobody listens on. Links show it, so it has to be known before the daemon runs; it is taken from below those that the
/// kernel hands out to clients, for between this look and the daemon's own one of them could take it.
fn free_port() -> u16 {
    let mut rng = Rng::new(fresh_seed());
    let tried = std::iter::repeat_with(|| 10_000 + rng.below(20_000) as u16).take(1000);
    let mut free = tried.filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("there is a free port")
}

fn hex(bytes: [u8; 16]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

impl World {
    /// Data centres, a configuration for them, and no daemon yet.
    pub(crate) fn new(bin: &str) -> World {
        let port = free_port();
        let bus = FakeUbusd::start();
        let mut text = format!(
            "config relay 'main'\n\tlist listen '127.0.0.1:{port}'\n\toption front_domain 'www.example.org'\n\
             \toption front_address '127.0.0.1:9'\n\toption link_host 'home.example.net'\n\
             \toption stats_listen '127.0.0.1:0'\n\toption log_level 'debug'\n\toption clock_trusted '1'\n\toption ubus_socket '{}'\n",
            bus.path().display()
        );
        let mut user = |name: &str, secret, more: &str| {
            let secret = hex(secret);
            text.push_str(&format!(
                "\nconfig user\n\toption name '{name}'\n\toption secret '{secret}'\n{more}"
            ));
        };
        user("family", FAMILY, "");
        user(
            "office",
            WORK,
            "\toption max_sessions '32'\n\toption quota_mb '20000'\n\toption quota_reset 'monthly'\n",
        );
        user(
            "guest",
            GUEST,
            "\toption enabled '0'\n\toption expires '2027-01-31'\n",
        );
        let real = |(_, addresses): &(i16, &[&str])| {
            let builder = FakeDc::builder(Script::Echo);
            let listening = addresses
                .iter()
                .filter(|address| TcpListener::bind(address).is_ok());
            let builder = listening.fold(builder, |builder, address| {
                builder.listen(address.parse().expect("it is an address"))
            });
            builder.start().ok()
        };
        let mut dcs = Vec::new();
        if TcpListener::bind(REAL[0].1[0]).is_ok() {
            dcs.extend(REAL.iter().filter_map(real));
        } else {
            for id in 1..=5 {
                let dc = FakeDc::start(Script::Echo);
                text.push_str(&format!(
                    "\nconfig dc\n\toption id '{id}'\n\tlist address '{}'\n",
                    dc.addr()
                ));
                dcs.push(dc);
            }
        }
        let firewall = "config zone\n\toption name 'wan'\n\toption input 'REJECT'\n";
        World {
            bin: bin.to_owned(),
            dcs,
            bus,
            port,
            daemon: None,
            old_lines: Vec::new(),
            foreign_lines: Vec::new(),
            sessions: BTreeMap::new(),
            next_session: 0,
            uci: [
                ("mtrelay".to_owned(), Package::parse(&text)),
                ("firewall".to_owned(), Package::parse(firewall)),
                (
                    "luci".to_owned(),
                    Package::parse("config core 'main'\n\toption lang 'auto'\n"),
                ),
                ("network".to_owned(), Package::parse("")),
                ("wireless".to_owned(), Package::parse("")),
            ]
            .into(),
        }
    }

    /// Starts the daemon, as its init script would.
    pub(crate) fn start(&mut self) {
        if self.daemon.is_none() {
            let mut relay = Relay::spawn(&self.bin, &self.uci["mtrelay"].export(), &[]);
            relay.wait_listening(1, true);
            self.bus.wait_object("mtrelay");
            self.daemon = Some(relay);
        }
    }

    /// Ends the daemon and every session.
    pub(crate) fn stop(&mut self) {
        self.sessions.clear();
        if let Some(mut daemon) = self.daemon.take() {
            daemon.signal(Signal::TERM);
            daemon.wait_exit();
            self.bus.wait_gone("mtrelay");
            self.old_lines.extend(daemon.log_lines());
        }
    }

    /// Ends the data centres as well, so that another world can have their addresses.
    pub(crate) fn end(&mut self) {
        self.stop();
        self.dcs.clear();
    }

    /// The daemon, if it runs.
    pub(crate) fn daemon(&self) -> Option<&Relay> {
        self.daemon.as_ref()
    }

    /// A call on the daemon's object, over the bus, as uhttpd makes it: with the login's id among the arguments.
    pub(crate) fn call(&self, method: &str, args: &Value) -> Outcome {
        let mut client = self.bus.client();
        if client.lookup("mtrelay").is_err() {
            return Outcome::NoObject;
        }
        let mut fields = match to_bus(args) {
            Some(ubus::Value::Table(fields)) => fields,
            _ => Vec::new(),
        };
        fields.push(("ubus_rpc_session".into(), ubus::Value::Str("owner".into())));
        let answer = client.call("mtrelay", method, &ubus::Value::Table(fields));
        match answer.status {
            0 => Outcome::Done(serde_json::from_str(&answer.data.to_string()).expect("it writes JSON")),
            code => Outcome::Code(code),
        }
    }

    /// Writes the saved configuration where the daemon reads it, and tells it: what procd does on Save & Apply.
    pub(crate) fn reload(&self) {
        if let Some(daemon) = &self.daemon {
            let before = answers(daemon);
            daemon.rewrite_file(&self.uci["mtrelay"].export());
            daemon.signal(Signal::HUP);
            daemon.wait_for("an answer to SIGHUP", |daemon| {
                (answers(daemon) > before).then_some(())
            });
        }
    }

    /// Opens a session with this secret or the first user's, and moves these bytes there and back. Its number.
    pub(crate) fn open(&mut self, secret: Option<&str>, dc: i16, bytes: usize) -> Result<u64, String> {
        let session = self.connect(secret, dc)?;
        self.echo(session, bytes)?;
        Ok(session)
    }

    /// Opens a session that sends some bytes and is sent others, as when somebody looks at pictures. Its number.
    pub(crate) fn look(&mut self, dc: i16, up: usize, down: usize) -> Result<u64, String> {
        let source = Script::source(1, down as u64, Then::Stay);
        self.dcs.iter().for_each(|each| each.set_script(source.clone()));
        let session = self.connect(None, dc)?;
        let client = self.sessions.get_mut(&session).expect("it was just opened");
        let moved = client
            .send(&vec![0x5a; up])
            .map_err(|error| error.to_string())
            .and_then(|()| client.recv_exact(down).map_err(|short| format!("{short:?}")));
        self.dcs.iter().for_each(|each| each.set_script(Script::Echo));
        moved.map(|_| session)
    }

    fn connect(&mut self, secret: Option<&str>, dc: i16) -> Result<u64, String> {
        let secret = secret.and_then(unhex).unwrap_or(FAMILY);
        let addr = SocketAddr::from(([127, 0, 0, 1], self.port));
        let client = Client::builder(Mode::Dd, addr, secret, dc).connect();
        self.next_session += 1;
        self.sessions
            .insert(self.next_session, client.map_err(|error| error.to_string())?);
        Ok(self.next_session)
    }

    /// Moves bytes through an open session and back.
    pub(crate) fn echo(&mut self, session: u64, bytes: usize) -> Result<(), String> {
        let client = self.sessions.get_mut(&session).ok_or("no such session")?;
        let sent = vec![0x5a; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            let piece = &sent[..left.min(sent.len())];
            client.send(piece).map_err(|error| error.to_string())?;
            let received = client
                .recv_exact(piece.len())
                .map_err(|short| format!("{short:?}"))?;
            if received != piece {
                return Err("other bytes came back".into());
            }
            left -= piece.len();
        }
        Ok(())
    }

    /// Ends a session.
    pub(crate) fn close(&mut self, session: u64) {
        self.sessions.remove(&session);
    }

    /// What the data centre of this place does from now on.
    pub(crate) fn script(&self, place: usize, script: Script) {
        if let Some(dc) = self.dcs.get(place) {
            dc.set_script(script);
        }
    }

    /// The answer to `log read`: the daemon's lines as logd stores them, and those that a test added.
    pub(crate) fn log(&self) -> Value {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_millis() as u64);
        let fresh = self.daemon.as_ref().map(Relay::log_lines).unwrap_or_default();
        let mut lines = Vec::new();
        for (id, line) in self.old_lines.iter().chain(&fresh).enumerate() {
            let (level, text) = line.split_once(' ').unwrap_or(("info", line));
            let severity = match level {
                "error" => 3,
                "warn" => 4,
                "info" => 6,
                _ => 7,
            };
            lines.push(json!({
                "msg": format!("mtrelay[4711]: {text}"), "id": id, "priority": 24 + severity, "source": 1, "time": now
            }));
        }
        lines.extend(self.foreign_lines.iter().cloned());
        json!({ "log": lines })
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.map(byte).collect::<Option<Vec<u8>>>()?.try_into().ok()
}

/// What a browser sends, as uhttpd puts it on the bus. None: it has no such type.
fn to_bus(value: &Value) -> Option<ubus::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(yes) => ubus::Value::Bool(*yes),
        Value::Number(number) => ubus::Value::Int(number.as_i64()?),
        Value::String(text) => ubus::Value::Str(text.clone()),
        Value::Array(values) => ubus::Value::Array(values.iter().filter_map(to_bus).collect()),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Some((name.clone(), to_bus(value)?));
            ubus::Value::Table(fields.iter().filter_map(field).collect())
        }
    })
}

/// How often the daemon said what became of a SIGHUP.
fn answers(daemon: &Relay) -> usize {
    let lines = daemon.log_lines();
    let is_answer = |line: &&String| line.contains("is in force") || line.contains("reload: refused");
    lines.iter().filter(is_answer).count()
}
