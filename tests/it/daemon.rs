//! The daemon among its owner's commands: reload, drain, start and refusal to start, and the other subcommands.

use crate::{SECRET, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::relay::{Signal, TempDir, command};
use mtrelay_test_support::{Client, FakeDc, Mode, Relay, RelayConfig, Script};
use std::net::TcpListener;
use std::process::Output;

const BIN: &str = env!("CARGO_BIN_EXE_mtrelay");
const OTHER_SECRET: [u8; 16] = *b"\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01";

fn run(arguments: &[&str]) -> Output {
    command(BIN).args(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn echoes(client: &mut Client) {
    client.send(b"still there?").expect("it goes out");
    assert_eq!(client.recv_exact(12).expect("it comes back"), b"still there?");
}

#[test]
fn a_good_reload_drops_no_session() {
    let (dc, other_dc) = (FakeDc::start(Script::Echo), FakeDc::start(Script::Echo));
    let config = RelayConfig::simple(SECRET, dc.addr());
    let relay = start(&config);
    let mut old = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut old);
    relay.rewrite_config(&config.clone().user("new", OTHER_SECRET).dc(2, &[other_dc.addr()]));
    relay.signal(Signal::HUP);
    relay.wait_stat("config_reloads", |reloads| reloads == 1);
    echoes(&mut old);
    let mut new = Client::connect(Mode::ee("example.org"), relay.addr(), OTHER_SECRET, 2);
    echoes(&mut new);
    assert_eq!(
        (dc.count(), other_dc.count()),
        (1, 1),
        "the new table is for new sessions"
    );
}

#[test]
fn a_reload_forgets_that_addresses_were_in_trouble() {
    let refused = mtrelay_test_support::tcp::RefusedPort::new();
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()).dc(2, &[refused.addr(), dc.addr()]));
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    let cooling = |relay: &Relay| relay.get("/status").1.contains(r#""state":"cooling""#);
    assert!(cooling(&relay));
    relay.signal(Signal::HUP);
    relay.wait_stat("config_reloads", |reloads| reloads == 1);
    assert!(!cooling(&relay));
}

#[test]
fn a_bad_reload_is_refused_whole() {
    let dc = FakeDc::start(Script::Echo);
    let config = RelayConfig::simple(SECRET, dc.addr());
    let relay = start(&config);
    let mut old = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut old);
    relay.rewrite_config(&config.user("new", OTHER_SECRET).option("buffers", "many"));
    relay.signal(Signal::HUP);
    relay.wait_stat("config_rejected", |rejected| rejected == 1);
    let line = relay.wait_log("buffers");
    let path = relay.config_path().display().to_string();
    assert!(line.starts_with("error ") && line.contains(&path), "{line}");
    echoes(&mut old);
    echoes(&mut Client::connect(Mode::Dd, relay.addr(), SECRET, 2));
    let stranger = Client::connect(Mode::Dd, relay.addr(), OTHER_SECRET, 2);
    relay.wait_stat("rejects_bad_secret", |rejects| rejects == 1);
    drop(stranger);
}

#[test]
fn a_drain_ends_with_the_last_session() {
    let dc = FakeDc::start(Script::Echo);
    let mut relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("drain_timeout", 60));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut client);
    relay.signal(Signal::TERM);
    relay.wait_log("draining 1 session");
    assert!(
        std::net::TcpStream::connect(relay.addr()).is_err(),
        "nobody else comes in"
    );
    echoes(&mut client);
    client.finish().expect("the end goes out");
    assert_eq!(client.recv_to_end().1, End::Eof);
    assert_eq!(relay.wait_exit().code(), Some(0));
    assert_eq!(relay.close_lines()[0].reason, "client_closed");
}

#[test]
fn a_drain_ends_after_its_timeout() {
    let dc = FakeDc::start(Script::Echo);
    let mut relay = start(&RelayConfig::simple(SECRET, dc.addr()).option("drain_timeout", 1));
    let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, 2);
    echoes(&mut client);
    relay.signal(Signal::TERM);
    assert_eq!(relay.wait_exit().code(), Some(0));
    let close = relay.wait_closes(1).remove(0);
    assert_eq!((close.reason.as_str(), close.by.as_str()), ("shutdown", "relay"));
}

#[test]
fn every_counter_adds_up() {
    let dc = FakeDc::start(Script::Echo);
    let relay = start(&RelayConfig::simple(SECRET, dc.addr()));
    for id in [2, -2, 4] {
        let mut client = Client::connect(Mode::Dd, relay.addr(), SECRET, id);
        echoes(&mut client);
        client.finish().expect("the end goes out");
        client.recv_to_end();
    }
    let mut live = Client::connect(Mode::Dd, relay.addr(), SECRET, 5);
    echoes(&mut live);
    assert_eq!(relay.wait_closes(3).len(), 3);
    let stats = ["created", "active", "client_closed"];
    let stats = stats.map(|name| relay.stat(&format!("direct_dc_connections_{name}")));
    assert_eq!(stats, [4, 1, 3]);
    assert_eq!((relay.stat("bytes_up"), relay.stat("bytes_down")), (48, 48));
    let (code, metrics) = relay.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        "mtrelay_direct_dc_connections_created_total{dc=\"-2\",media=\"true\"} 1",
        "mtrelay_closes_total{reason=\"client_closed\"} 3",
    ] {
        assert!(
            metrics.lines().any(|have| have == line),
            "{line} is missing in\n{metrics}"
        );
    }
    let (code, status) = relay.get("/status");
    assert!(code == 200 && status.contains("\"client_closed\":3"), "{status}");
    assert_eq!(relay.get("/nothing").0, 404);
}

#[test]
fn what_cannot_start_says_why() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = taken.local_addr().expect("it is bound").to_string();
    let config = RelayConfig::new().user("test", SECRET).listen(&[&address]);
    let mut busy = Relay::spawn(BIN, &config.to_uci(), &[]);
    assert_eq!(busy.wait_exit().code(), Some(1));
    busy.wait_log(&format!("cannot listen on {address}"));

    let missing = run(&["run", "-c", "/nonexistent/mtrelay"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(
        text(&missing.stderr).starts_with("mtrelay: /nonexistent/mtrelay:"),
        "{}",
        text(&missing.stderr)
    );

    let dir = TempDir::new();
    let bad = "config relay 'main'\n\toption modes 'xx'\n\toption idle_timeout '-1'\n";
    let bad = dir.write("bad.uci", bad).display().to_string();
    for subcommand in ["run", "check"] {
        let refused = run(&[subcommand, "-c", &bad]);
        assert_eq!(refused.status.code(), Some(2), "{subcommand}");
        for line in [2, 3] {
            let named = format!("mtrelay: {bad}:{line}: ");
            assert!(
                text(&refused.stderr).contains(&named),
                "{}",
                text(&refused.stderr)
            );
        }
    }
}

#[test]
fn the_other_subcommands_answer() {
    let dir = TempDir::new();
    let good = RelayConfig::simple(SECRET, "127.0.0.1:9".parse().expect("an address"));
    let good = good
        .listen(&["127.0.0.1:8443"])
        .option("front_domain", "example.org");
    let good = dir.write("good.uci", &good.to_uci()).display().to_string();

    assert_eq!(run(&["check", "-c", &good]).status.code(), Some(0));
    let version = run(&["--version"]);
    assert_eq!(text(&version.stdout).trim(), env!("CARGO_PKG_VERSION"));
    assert_eq!(run(&["--help"]).status.code(), Some(0));
    assert_eq!(run(&["--nonsense"]).status.code(), Some(2));

    let link = run(&["link", "-c", &good, "--host", "relay.example"]);
    let links = text(&link.stdout);
    let hex = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
    for secret in [
        hex.to_owned(),
        format!("dd{hex}"),
        format!("ee{hex}6578616d706c652e6f7267"),
    ] {
        for start in ["tg://proxy", "https://t.me/proxy"] {
            let line = format!("{start}?server=relay.example&port=8443&secret={secret}");
            assert!(
                links.lines().any(|have| have == line),
                "{line} is missing in\n{links}"
            );
        }
    }
    assert_eq!(
        run(&["link", "-c", &good, "--user", "nobody"]).status.code(),
        Some(1)
    );

    let secrets = [run(&["secret"]), run(&["secret", "--tls", "example.org"])].map(|run| text(&run.stdout));
    assert!(secrets[0].trim().len() == 32, "{}", secrets[0]);
    assert!(secrets[1].starts_with("ee") && secrets[1].trim().ends_with("6578616d706c652e6f7267"));

    assert_eq!(
        run(&["status", "-c", &good]).status.code(),
        Some(1),
        "nothing runs there"
    );
}
