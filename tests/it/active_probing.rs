//! Active probing: with `modes ee` a probe cannot tell the relay from the front site. The site is a real one (OpenSSL), and
//! each probe visits it twice: directly and through the relay.

use crate::{SECRET, start};
use mtrelay_test_support::clock::patience;
use mtrelay_test_support::fake_front::Answer;
use mtrelay_test_support::faketls::{HelloKind, HelloSpec, answer_len, check_answer, client_hello};
use mtrelay_test_support::measure::attempts;
use mtrelay_test_support::relay::TempDir;
use mtrelay_test_support::require;
use mtrelay_test_support::rng::{Rng, fresh_seed};
use mtrelay_test_support::{Client, FakeDc, FakeFront, Mode, Relay, RelayConfig, Script, Then};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const DOMAIN: &str = "front.example";
/// The site's handshake timeout in seconds, and the relay's, which is longer so that a probe does not see it.
const SITE_PATIENCE_S: &str = "1.5";
const RELAY_PATIENCE_S: u32 = 4;
/// How much later than the site itself the relay may show an end.
const LATE: Duration = Duration::from_millis(700);

/// A site with a certificate of its own.
struct Site {
    child: Child,
    addr: SocketAddr,
    _dir: TempDir,
}

impl Site {
    /// `None` where the programs are missing: the test is skipped.
    fn start() -> Option<Site> {
        if !require::programs(&["openssl", "python3"]) {
            return None;
        }
        let dir = TempDir::new();
        let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        let made = Command::new("openssl")
            .args([
                "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
            ])
            .arg(format!("/CN={DOMAIN}"))
            .args(["-addext", &format!("subjectAltName=DNS:{DOMAIN}")])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&cert)
            .output();
        let made = made.expect("it starts");
        assert!(
            made.status.success(),
            "openssl: {}",
            String::from_utf8_lossy(&made.stderr)
        );
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls_front.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([&cert, &key])
            .arg(SITE_PATIENCE_S)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut port = String::new();
        let stdout = child.stdout.as_mut().expect("it is piped");
        BufReader::new(stdout).read_line(&mut port).expect("a pipe");
        let Ok(port) = port.trim().parse::<u16>() else {
            let _ = child.wait();
            require::skip("this python3 has no ssl");
            return None;
        };
        let addr = ([127, 0, 0, 1], port).into();
        Some(Site {
            child,
            addr,
            _dir: dir,
        })
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fronted(site: &Site, dc: &FakeDc) -> Relay {
    start(
        &RelayConfig::simple(SECRET, dc.addr())
            .modes("ee")
            .option("front_domain", DOMAIN)
            .option("front_address", site.addr)
            .option("front_measure", 1)
            .option("handshake_timeout", RELAY_PATIENCE_S),
    )
}

/// What a probe sends, and whether it then half-closes.
struct Probe {
    name: &'static str,
    bytes: Vec<u8>,
    finish: bool,
}

/// What a probe sees.
#[derive(Debug)]
struct Seen {
    bytes: Vec<u8>,
    end: &'static str,
    after: Duration,
}

fn visit(addr: SocketAddr, probe: &Probe) -> Seen {
    let mut socket = TcpStream::connect(addr).expect("it listens");
    socket
        .set_read_timeout(Some(patience()))
        .expect("a positive time");
    let begun = Instant::now();
    let _ = socket.write_all(&probe.bytes);
    if probe.finish {
        let _ = socket.shutdown(Shutdown::Write);
    }
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let end = loop {
        match socket.read(&mut piece) {
            Ok(0) => break "end",
            Ok(len) => bytes.extend(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break "reset",
            Err(error) => panic!("{}: {error}", probe.name),
        }
    };
    Seen {
        bytes,
        end,
        after: begun.elapsed(),
    }
}

fn probes(opening: &[u8]) -> Vec<Probe> {
    let other_hello = |domain: &str, secret: &[u8; 16]| {
        let spec = HelloSpec::new(HelloKind::Kem, domain, 1_700_000_000);
        client_hello(secret, &spec, fresh_seed()).bytes
    };
    let hello = other_hello(DOMAIN, b"0123456789abcdef");
    let flipped = |at: usize| {
        let mut bytes = hello.clone();
        bytes[at] ^= 0xff;
        bytes
    };
    let mut probes = Vec::new();
    let mut add = |name, bytes: &[u8]| {
        for finish in [false, true] {
            let bytes = bytes.to_vec();
            probes.push(Probe { name, bytes, finish });
        }
    };
    add("nothing", b"");
    add("one byte of TLS", &hello[..1]);
    add("half a hello", &hello[..hello.len() / 2]);
    add("HTTP", b"GET / HTTP/1.1\r\nHost: front.example\r\n\r\n");
    add("half of HTTP", b"GE");
    add("PUT", b"PUT / HTTP/1.1\r\n");
    add("SSH", b"SSH-2.0-OpenSSH_9.2\r\n");
    add("noise", &Rng::new(7).bytes(200));
    add("a short noise", &[0x80, 0x2e, 1, 0, 2]);
    add("an alert", &[0x15, 3, 3, 0, 2, 2, 40]);
    add("a record of nothing", &[0x16, 3, 1, 0, 0]);
    add("a huge record", &[0x16, 3, 1, 0xff, 0xff, 1, 0, 0xff, 0xfb, 3, 3]);
    add("no hello in a handshake", &[0x16, 3, 1, 0, 4, 2, 0, 0, 0]);
    add("a message longer than its record", &flipped(8));
    add("a wrong version within", &flipped(9));
    add("a session id too long", &flipped(43));
    add("TLS 1.0", &[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1]);
    add("a dd client's header", &Rng::new(9).bytes(64));
    add("a replay", opening);
    probes
}

/// Every probe, directly and through the relay at the same time. Both see the same bytes and end; the probes whose end came at
/// another time are returned.
fn too_late(probes: &[Probe], direct: SocketAddr, through: SocketAddr) -> Vec<String> {
    let answers = std::thread::scope(|scope| {
        let visits: Vec<_> = probes
            .iter()
            .map(|probe| {
                let both = [direct, through];
                both.map(|addr| scope.spawn(move || visit(addr, probe)))
            })
            .collect();
        let seen = |visit: std::thread::ScopedJoinHandle<'_, Seen>| visit.join().expect("a visit");
        visits.into_iter().map(|both| both.map(seen)).collect::<Vec<_>>()
    });
    let mut late = Vec::new();
    for (probe, [direct, through]) in probes.iter().zip(&answers) {
        let what = format!(
            "{} (finish: {}): {direct:?} but {through:?}",
            probe.name, probe.finish
        );
        assert_eq!(direct.end, through.end, "{what}");
        // A server's hello is drawn anew for each; an alert is not.
        if direct.bytes.first() == Some(&0x16) {
            assert_eq!(direct.bytes.len(), through.bytes.len(), "{what}");
        } else {
            assert_eq!(direct.bytes, through.bytes, "{what}");
        }
        let earliest = direct.after.saturating_sub(LATE / 7);
        if !(earliest..direct.after + LATE).contains(&through.after) {
            late.push(what);
        }
    }
    late
}

#[test]
fn raw_probes_get_the_site_s_alerts_and_closes_at_the_site_s_time() {
    let Some(site) = Site::start() else { return };
    let dc = FakeDc::start(Script::Echo);
    let relay = fronted(&site, &dc);
    let mut user = Client::connect(Mode::ee(DOMAIN), relay.addr(), SECRET, 2);
    let probes = probes(&user.opening);
    // 38 pairs of visits at once: on a busy machine one of them may be scheduled too late to compare times of milliseconds.
    attempts("ends at the site's time", 4, || {
        let late = too_late(&probes, site.addr, relay.addr());
        if late.is_empty() {
            Ok(())
        } else {
            Err(late.join("; "))
        }
    });
    user.send(b"meanwhile").expect("it goes out");
    assert_eq!(user.recv_exact(9).expect("it comes back"), b"meanwhile");
}

/// What a program prints about a visit, without what is random in each visit.
fn output_of(program: &str, arguments: &[&str], addr: SocketAddr) -> String {
    let address = addr.to_string();
    let port = addr.port().to_string();
    let place = |argument: &&str| argument.replace("ADDRESS", &address).replace("PORT", &port);
    let output = Command::new(program)
        .args(arguments.iter().map(place))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let drawn = [
        "Session-ID",
        "Resumption PSK",
        "Start Time",
        "Master-Key",
        "    0",
        "PORT",
    ];
    let lines = text
        .lines()
        .map(|line| line.replace(&address, "ADDRESS").replace(&port, "PORT"))
        .filter(|line| {
            !drawn
                .iter()
                .any(|drawn| line.trim_start().starts_with(drawn) || line.starts_with(drawn))
        })
        // OpenSSL names the place in its own source, behind a number that changes.
        .map(|line| {
            line.split_once(":error:")
                .map_or(line.clone(), |(_, error)| error.to_owned())
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn tls_clients_get_the_site_s_certificate_and_pages() {
    if !require::programs(&["curl"]) {
        return;
    }
    let Some(site) = Site::start() else { return };
    let dc = FakeDc::start(Script::Echo);
    let relay = fronted(&site, &dc);
    let visits: [(&str, &[&str]); 8] = [
        (
            "openssl",
            &[
                "s_client",
                "-ign_eof",
                "-connect",
                "ADDRESS",
                "-servername",
                DOMAIN,
                "-showcerts",
            ],
        ),
        (
            "openssl",
            &[
                "s_client",
                "-ign_eof",
                "-connect",
                "ADDRESS",
                "-servername",
                "other.example",
                "-showcerts",
            ],
        ),
        (
            "openssl",
            &[
                "s_client",
                "-ign_eof",
                "-connect",
                "ADDRESS",
                "-noservername",
                "-alpn",
                "h2,http/1.1",
            ],
        ),
        (
            "openssl",
            &[
                "s_client",
                "-ign_eof",
                "-connect",
                "ADDRESS",
                "-tls1_2",
                "-servername",
                DOMAIN,
            ],
        ),
        (
            "openssl",
            &[
                "s_client",
                "-ign_eof",
                "-connect",
                "ADDRESS",
                "-tls1_1",
                "-servername",
                DOMAIN,
            ],
        ),
        (
            "openssl",
            &[
                "s_client",
                "-ign_eof",
                "-connect",
                "ADDRESS",
                "-groups",
                "P-256",
                "-servername",
                DOMAIN,
            ],
        ),
        (
            "curl",
            &[
                "-sSik",
                "--max-time",
                "20",
                "--resolve",
                "front.example:PORT:127.0.0.1",
                "https://front.example:PORT/",
            ],
        ),
        ("curl", &["-sSi", "--max-time", "20", "http://ADDRESS/"]),
    ];
    let both = &|(program, arguments): (&str, &[&str])| {
        // The site ends some visits with an alert and a reset. Which of the two the program prints depends on the scheduler,
        // for direct visits too, so two visits that should be alike may differ.
        let direct = attempts(&format!("{program} {arguments:?}"), 6, || {
            let [direct, through] = [site.addr, relay.addr()].map(|addr| output_of(program, arguments, addr));
            if direct == through {
                Ok(direct)
            } else {
                Err(format!("{direct}\nbut through the relay\n{through}"))
            }
        });
        assert!(
            direct.len() > 20,
            "{program} {arguments:?} says nothing: {direct}"
        );
    };
    std::thread::scope(|scope| {
        for visit in visits {
            scope.spawn(move || both(visit));
        }
    });
    let page = output_of("curl", visits[6].1, relay.addr());
    assert!(
        page.contains("200 OK") && page.contains("front.example</html>"),
        "{page}"
    );
    assert_eq!(relay.stat("sessions_total"), 0);
}

#[test]
fn server_hellos_to_users_are_as_long_as_the_site_s() {
    let Some(site) = Site::start() else { return };
    let dc = FakeDc::start(Script::Echo);
    let relay = fronted(&site, &dc);
    relay.wait_log("a flight of");
    let measured = relay.wait_log("a flight of");
    let numbers: Vec<usize> = measured.split(' ').filter_map(|word| word.parse().ok()).collect();
    let &[shortest, longest] = &numbers[..] else {
        panic!("{measured}")
    };
    assert!(
        (900..2000).contains(&shortest) && longest < shortest + 16,
        "{measured}"
    );
    for _ in 0..8 {
        let user = Client::connect(Mode::ee(DOMAIN), relay.addr(), SECRET, 2);
        let answer = user.answer.expect("fake TLS has an answer");
        assert!(
            (shortest..=longest + 4).contains(&answer.data_len),
            "{} {measured}",
            answer.data_len
        );
    }
}

#[test]
fn a_front_name_that_resolves_to_this_relay_is_refused_and_counted() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        free.local_addr().expect("it is bound").port()
    };
    // Names of this machine that the configuration cannot know to be ours; the last one is none, but resolves like one
    // (inet_aton(3)).
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim();
    let resolves = |name: &&&str| {
        let found = std::net::ToSocketAddrs::to_socket_addrs(&(**name, port));
        let is_local = |ip: std::net::IpAddr| std::net::UdpSocket::bind((ip, 0)).is_ok();
        found.is_ok_and(|found| {
            let mut found = found.peekable();
            found.peek().is_some() && found.all(|addr| is_local(addr.ip()))
        })
    };
    let names = [
        own,
        "ip6-localhost",
        "localhost.localdomain",
        "localhost4",
        "127.1",
    ];
    let Some(name) = names.iter().find(resolves) else {
        return require::skip("this system has only one name for itself");
    };
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr())
        .listen(&[&format!("0.0.0.0:{port}"), &format!("[::]:{port}")])
        .option("front_address", format!("{name}:{port}"));
    let relay = start(&config);
    for before in 0..3 {
        let probe = Probe {
            name: "HTTP",
            bytes: b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            finish: false,
        };
        assert_eq!(visit(([127, 0, 0, 1], port).into(), &probe).bytes, []);
        relay.wait_stat("fronted_failed", |n| n == before + 1);
    }
    relay.wait_log("a listener of this relay");
    let warnings = relay.log_lines();
    let warnings = warnings.iter().filter(|line| line.contains("cannot be reached"));
    assert_eq!(warnings.count(), 1, "one warning for any number of clients");
    assert_eq!(
        (relay.stat("rejects_malformed"), relay.stat("fronted_total")),
        (3, 0)
    );
}

#[test]
fn a_user_whose_hello_comes_in_two_segments_is_accepted() {
    let front = FakeFront::start(Answer::alert());
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr())
        .modes("ee")
        .option("front_address", front.addr());
    let relay = start(&config);
    let spec = HelloSpec::new(HelloKind::Kem, DOMAIN, mtrelay_test_support::clock::unix_time());
    let hello = client_hello(&SECRET, &spec, fresh_seed());
    let (first, rest) = hello.bytes.split_at(hello.bytes.len() / 2);
    let mut socket = TcpStream::connect(relay.addr()).expect("the relay accepts");
    socket
        .set_read_timeout(Some(patience()))
        .expect("a positive time");
    socket.write_all(first).expect("it reads");
    // By now the relay has connected to the front, in case the client turns out not to be a user.
    front.wait_visits(1);
    socket.write_all(rest).expect("it reads");
    let mut answer = Vec::new();
    let whole = loop {
        let mut piece = [0; 8192];
        let len = socket.read(&mut piece).expect("an answer");
        assert_ne!(len, 0, "an end after {} bytes", answer.len());
        answer.extend(&piece[..len]);
        match answer_len(&answer) {
            Ok(Some(len)) if answer.len() >= len => break check_answer(&SECRET, &hello, &answer),
            Ok(_) => {}
            Err(bad) => panic!("{bad}"),
        }
    };
    assert!(whole.is_ok(), "{whole:?}");
    drop(socket);
    let visit = front.wait_ended(1).swap_remove(0);
    assert_eq!(visit.bytes, [], "no byte of a user reaches the front");
}

#[test]
fn silent_connections_hold_at_most_64_connections_to_the_front() {
    let front = FakeFront::start(Answer {
        after: 1,
        bytes: b"hello".to_vec(),
        then: Then::Stay,
    });
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr())
        .modes("ee")
        .option("front_address", front.addr())
        .option("handshake_timeout", 60);
    let relay = start(&config);
    let silent: Vec<_> = (0..400)
        .map(|_| TcpStream::connect(relay.addr()).expect("the relay accepts"))
        .collect();
    // Each gets a connection to the front; beyond 64 the oldest is closed for it.
    front.wait_visits(400);
    let open = |front: &FakeFront| {
        front
            .visits()
            .iter()
            .filter(|visit| visit.ended.is_none())
            .count()
    };
    relay.wait_for("all but 64 to go", |_| (open(&front) <= 64).then_some(()));
    let begun = Instant::now();
    let mut user = Client::connect(Mode::ee(DOMAIN), relay.addr(), SECRET, 2);
    user.send(b"hello").expect("the relay reads");
    assert_eq!(user.recv_exact(5).expect("an echo"), b"hello");
    assert!(begun.elapsed() < Duration::from_secs(1));
    drop(silent);
    relay.wait_stat("openings_active", |active| active == 0);
    relay.wait_stat("fronted_active", |active| active == 0);
}

#[test]
fn front_connections_are_bounded_and_the_newest_is_served() {
    let front = FakeFront::start(Answer {
        after: 4,
        bytes: b"hello".to_vec(),
        then: Then::Stay,
    });
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("front_address", front.addr()));
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(relay.addr()).expect("the relay accepts");
        socket
            .set_read_timeout(Some(patience()))
            .expect("a positive time");
        socket.write_all(b"GET /").expect("it reads");
        let mut answer = [0; 5];
        socket.read_exact(&mut answer).expect("the site answers each");
        clients.push(socket);
    }
    relay.wait_stat("fronted_active", |active| active <= 64);
    assert_eq!(relay.stat("fronted_total"), 100);
    drop(clients);
    relay.wait_stat("fronted_active", |active| active == 0);
}
