//! The program: command line, files, HTTP responses, exit codes.

use crate::program_fixture::{ProgramFixture, Running, ask, serve};
use mtproto_test_dc::world::File;
use mtproto_test_dc::{Cluster, World};
use mtrelay_test_support::measure::poll;
use rustix::process::Signal;
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

fn file(cluster: &Cluster, id: i64) -> File {
    cluster
        .world(|world| world.file(id).cloned())
        .expect("the world has it")
}

#[test]
fn a_bot_logs_in_fetches_and_logs_out() {
    let cluster = Cluster::start(World::sample());
    let fixture = ProgramFixture::new(&cluster, "");
    fixture.run(&["get", "t.me/media/2"], 5);
    fixture.log_in();
    let account = fs::metadata(fixture.path("account")).expect("it is kept");
    assert_eq!(account.permissions().mode() & 0o777, 0o600);
    fixture.run(&["login"], 1);
    fixture.run(&["get", "https://t.me/media/2", "-o", "film.bin"], 0);
    fixture.assert_is("film.bin", &file(&cluster, 501));
    fixture.run(&["get", "-q", "t.me/media/5", "-o", "empty"], 0);
    fixture.assert_is("empty", &file(&cluster, 505));
    // The media of an album, by number.
    fixture.run(&["get", "t.me/media/10", "-o", "album"], 0);
    for (name, id) in [("album", 503), ("album-2", 504), ("album-3", 506)] {
        fixture.assert_is(name, &file(&cluster, id));
    }
    let out = fixture.run(&["get", "t.me/media/11?single", "-o", "-"], 0).stdout;
    assert_eq!(
        <[u8; 32]>::from(Sha256::digest(&out)),
        file(&cluster, 504).sha256()
    );
    for (words, code) in [
        (["get", "t.me/media/1"], 3),
        (["get", "t.me/media/999"], 3),
        (["get", "t.me/media/30"], 4),
        (["get", "t.me/closed/1"], 4),
        (["get", "t.me/media"], 2),
    ] {
        fixture.run(&words, code);
    }
    let refused = fixture.run(&["get", "t.me/closed/1"], 4).stderr;
    assert!(String::from_utf8_lossy(&refused).contains("noforwards"));
    fixture.run(&["get", "t.me/media/2", "-o", "/dev/full"], 7);
    fixture.run(&["logout"], 0);
    fixture.run(&["get", "t.me/media/2"], 5);
    fixture.run(&["logout"], 1);
    let left: Vec<_> = fs::read_dir(fixture.folder.path())
        .expect("the folder is there")
        .map(|entry| entry.expect("and readable").file_name())
        .filter(|name| name.to_string_lossy().contains("part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_person_answers_the_questions_line_by_line() {
    let cluster = Cluster::start(World::sample());
    let fixture = ProgramFixture::new(&cluster, "");
    let mut command = fixture.command(&["login"]);
    let mut login = Running(command.stdin(Stdio::piped()).spawn().expect("it starts"));
    let mut answers = login.0.stdin.take().expect("it is piped");
    let lines = "+999 662 22 22\n11111\n22222\nbattery staple\ncorrect horse\n";
    answers.write_all(lines.as_bytes()).expect("it reads");
    drop(answers);
    let mut said = String::new();
    login
        .0
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut said)
        .expect("text");
    assert_eq!(login.0.wait().expect("it is ours").code(), Some(0));
    assert_eq!(said, "the account 1002 is logged in\n");
    fixture.run(&["get", "t.me/c/4004/7", "-o", "private"], 0);
    fixture.assert_is("private", &file(&cluster, 506));
}

#[test]
fn an_interrupted_download_is_resumed() {
    let cluster = Cluster::start(World::sample());
    let fixture = ProgramFixture::new(&cluster, "");
    fixture.log_in();
    // Slow enough to be interrupted: the whole file would take more than half a minute.
    cluster.faults(|faults| faults.rate = Some(256 << 10));
    let mut first = Running(
        fixture
            .command(&["get", "t.me/media/3", "-o", "film"])
            .spawn()
            .expect("it starts"),
    );
    let part = fixture.path("film.part");
    poll("1.25 MiB of the file", || {
        let len = fs::metadata(&part).map_or(0, |part| part.len());
        (len >= 5 << 18).then_some(())
    });
    first.stop(Signal::INT, 130);
    assert!(!fixture.path("film").exists());
    // Another program has changed the file.
    let mut bytes = fs::read(&part).expect("it is left");
    bytes[(1 << 20) + 77] ^= 1;
    fs::write(&part, bytes).expect("it can be changed");
    cluster.faults(|faults| faults.rate = None);
    let said = fixture.run(&["get", "t.me/media/3", "-o", "film"], 0).stderr;
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("resuming after 1.0 MB"), "{said}");
    fixture.assert_is("film", &file(&cluster, 502));
    assert!(!part.exists() && !fixture.path("film.part.sums").exists());
}

#[test]
fn the_gateway_serves_what_links_lead_to() {
    let cluster = Cluster::start(World::sample());
    let fixture = ProgramFixture::new(&cluster, "\toption cache '/nonexistent/cache'");
    fixture.log_in();
    let (mut gateway, address) = serve(&fixture);
    let whole = file(&cluster, 501);
    let (head, body) = ask(&address, "/t.me/media/2", "");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&body)), whole.sha256());
    let (head, body) = ask(&address, "/t.me/media/2", "Range: bytes=1000001-1500000\r\n");
    assert!(head.starts_with("HTTP/1.1 206 "), "{head}");
    assert!(body == whole.bytes(1_000_001, 500_000));
    let (head, body) = ask(&address, "/https://t.me/media/2", "Range: bytes=-7\r\n");
    assert!(
        head.contains(&format!("Content-Range: bytes {}-", whole.size - 7)),
        "{head}"
    );
    assert!(body == whole.bytes(whole.size - 7, 7));
    for (target, status) in [
        ("/t.me/media/1", "404"),
        ("/t.me/closed/1", "403"),
        ("/t.me/media", "400"),
    ] {
        let (head, _) = ask(&address, target, "");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{target}: {head}"
        );
    }
    gateway.stop(Signal::TERM, 143);
    let violations = cluster.counters().violations;
    assert!(violations.is_empty(), "{violations:?}");
}

#[test]
fn a_known_link_is_not_asked_for_again_after_a_restart() {
    let cluster = Cluster::start(World::sample());
    let fixture = ProgramFixture::new(&cluster, "");
    let text = fs::read_to_string(&fixture.config).expect("it is there");
    let cache = fixture.path("cache");
    let with_cache = text.replace(
        "config mtfetch 'main'\n",
        &format!("config mtfetch 'main'\n\toption cache '{}'\n", cache.display()),
    );
    fs::write(&fixture.config, with_cache).expect("it can be changed");
    fixture.log_in();
    let asked = || cluster.counters().calls_of("channels.getMessages");
    for restart in 0..2 {
        let (mut gateway, address) = serve(&fixture);
        let (head, body) = ask(&address, "/t.me/media/2", "Range: bytes=0-99\r\n");
        assert!(head.starts_with("HTTP/1.1 206 "), "{restart}: {head}");
        assert!(body == file(&cluster, 501).bytes(0, 100));
        gateway.stop(Signal::TERM, 143);
        assert_eq!(asked(), 1, "after start {restart}");
    }
    assert_eq!(
        fs::metadata(cache).expect("it is kept").permissions().mode() & 0o777,
        0o600
    );
}
