//! `check --net` tells what works, by asking; everything it asks is on loopback.

use mtrelay_test_support::tcp::RefusedPort;
use mtrelay_test_support::{FakeDc, FakeFront, Script};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A configuration whose every DC is on loopback. It goes when dropped.
struct File(PathBuf);

impl File {
    /// `dcs` are the addresses of DC 1 to 5 and 203: none may be missing, or the real one would be asked.
    fn new(name: &str, relay: &str, dcs: [&[SocketAddr]; 6]) -> File {
        let mut text = format!("config relay\n{relay}\n");
        for (id, addresses) in [1, 2, 3, 4, 5, 203].into_iter().zip(dcs) {
            assert!(!addresses.is_empty());
            writeln!(text, "config dc\noption id {id}").unwrap();
            for address in addresses {
                assert!(address.ip().is_loopback(), "{address}");
                writeln!(text, "list address '{address}'").unwrap();
            }
        }
        let path = std::env::temp_dir().join(format!("mtrelay-check-net-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("the file is written");
        File(path)
    }

    fn check(&self, more: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_mtrelay"))
            .args(["check", "--net", "-c"])
            .arg(&self.0)
            .args(more)
            .output()
            .expect("the program runs")
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn one_answering_address_of_each_main_dc_is_good() {
    let dc = FakeDc::start(Script::ResPq);
    let refused = RefusedPort::new();
    let front = FakeFront::start(mtrelay_test_support::fake_front::Answer::alert());
    let (good, mixed) = ([dc.addr()], [refused.addr(), dc.addr()]);
    let file = File::new(
        "good",
        &format!(
            "option front_domain example.org\noption front_address {}",
            front.addr()
        ),
        [&good, &mixed, &good, &good, &good, &[refused.addr()]],
    );
    let done = file.check(&[]);
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{out}{}", text(&done.stderr));
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines.len(), 9, "{out}");
    assert!(
        lines[0].starts_with("DC 1: IPv4 ") && lines[0].ends_with(" ms: works over IPv4"),
        "{out}"
    );
    assert!(lines[1].starts_with("DC 2: IPv4 refused, IPv4 "), "{out}");
    assert_eq!(lines[5], "DC 203: IPv4 refused: does not answer");
    assert!(lines[6].starts_with("clock: "), "{out}");
    assert_eq!(lines[7], format!("front: {} answers", front.addr()));

    let mut ids: Vec<i16> = dc
        .wait_headers(5)
        .iter()
        .map(|connection| connection.dc())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3, 4, 5], "each is asked once, by its own id");
}

#[test]
fn a_silent_dc_or_another_answer_is_told_in_time() {
    let (dc, silent) = (FakeDc::start(Script::ResPq), FakeDc::start(Script::Silent));
    let wrong = FakeDc::start(Script::TransportError(-404));
    let refused = RefusedPort::new();
    let good = [dc.addr()];
    let file = File::new(
        "silent",
        &format!(
            "option front_domain example.org\noption front_address {}",
            refused.addr()
        ),
        [
            &good,
            &good,
            &[wrong.addr()],
            &[silent.addr(), refused.addr()],
            &good,
            &good,
        ],
    );
    let begun = Instant::now();
    let done = file.check(&["--json"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let out = text(&done.stdout);
    assert_eq!(done.status.code(), Some(1), "{out}{}", text(&done.stderr));
    let has = |part: &str| assert!(out.contains(part), "no {part} in {out}");
    has(r#""good":false"#);
    has(r#""net":{"dcs":[{"id":1,"addresses":[{"address":"127.0.0.1:"#);
    has(r#""answer_ms":null,"error":"bad_answer"}],"verdict":"DC 3: IPv4 bad answer: does not answer"}"#);
    has(r#""connect_ms":null,"answer_ms":null,"error":"refused"}"#);
    has(r#""verdict":"DC 4: IPv4 silent, IPv4 refused: does not answer"}"#);
    has(&format!(
        r#""front":{{"address":"{}","answers":false,"error":"does not answer (refused)"}}"#,
        refused.addr()
    ));
    assert!(out.ends_with("}}\n"), "{out}");
}
