//! Hostile acts, one after another, each against a relay of its own with a healthy session beside it. Shown are what the relay
//! did, what it held before and after, and that the healthy session lost nothing. `make robustness` writes them into the table
//! of docs/robustness.md.

use crate::{SECRET, modes};
use mtrelay_test_support::client::End;
use mtrelay_test_support::clock::{patience, unix_time};
use mtrelay_test_support::fake_dc::Pace;
use mtrelay_test_support::faketls::{HelloKind, HelloSpec, client_hello};
use mtrelay_test_support::measure::watch;
use mtrelay_test_support::obfuscated2::init_header;
use mtrelay_test_support::relay::{Signal, TempDir};
use mtrelay_test_support::require;
use mtrelay_test_support::rng::{Rng, fresh_seed};
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, Relay, RelayConfig, Script, Tag, Then};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const BIN: &str = env!("CARGO_BIN_EXE_mtrelay");
const OTHER: [u8; 16] = *b"0123456789abcdef";
const DOMAIN: &str = "front.example";
/// The DC of the healthy session, and the DC of all other sessions.
const ECHO: i16 = 2;
const HOSTILE: i16 = 4;

/// A relay, a healthy session on it, and the relay's memory in KiB and descriptors once that session ran.
struct RobustnessFixture {
    relay: Relay,
    config: RelayConfig,
    other_dc: FakeDc,
    _dc: FakeDc,
    healthy: Healthy,
    before: (u64, usize),
}

/// A session that echoes until the act is over.
struct Healthy {
    over: Arc<AtomicBool>,
    /// The slowest answer, in milliseconds.
    slowest: Arc<AtomicU64>,
    thread: JoinHandle<u64>,
}

impl Healthy {
    fn start(mut client: Client) -> Healthy {
        let (over, slowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, noted) = (over.clone(), slowest.clone());
        let thread = std::thread::spawn(move || {
            let (mut rng, mut moved) = (Rng::new(7), 0);
            while !told.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let bytes = rng.bytes(4096);
                client.send(&bytes).expect("the healthy session goes on");
                let came = client
                    .recv_exact(bytes.len())
                    .expect("the healthy session goes on");
                assert!(came == bytes, "the healthy session lost something");
                moved += 2 * bytes.len() as u64;
                noted.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
                // The pace of the session: 100 echoes a second at most. Nothing may come unasked meanwhile.
                let quiet = client.is_silent(Duration::from_millis(10));
                assert!(
                    quiet.expect("the healthy session goes on"),
                    "bytes that were not sent"
                );
            }
            moved
        });
        Healthy {
            over,
            slowest,
            thread,
        }
    }
}

impl RobustnessFixture {
    fn new(change: impl FnOnce(RelayConfig) -> RelayConfig) -> RobustnessFixture {
        RobustnessFixture::after("true", change)
    }

    /// The relay starts where a shell has run this.
    fn after(before: &str, change: impl FnOnce(RelayConfig) -> RelayConfig) -> RobustnessFixture {
        let (dc, other_dc) = (FakeDc::start(Script::Echo), FakeDc::start(Script::Echo));
        let config = RelayConfig::simple(SECRET, dc.addr())
            .dc(HOSTILE, &[other_dc.addr()])
            .option("handshake_timeout", 2)
            .option("log_level", "info");
        let config = change(config);
        let mut relay = Relay::spawn_after(before, BIN, &config.to_uci());
        relay.wait_listening(config.listeners(), true);
        // Once around, so that what only the first sessions cost is not counted as left behind.
        for mode in modes() {
            drop(session(&relay, mode));
        }
        relay.wait_stat("sessions_active", |active| active == 0);
        let healthy = Healthy::start(Client::connect(Mode::Dd, relay.addr(), SECRET, ECHO));
        relay.wait_stat("sessions_active", |active| active == 1);
        relay.wait_stat("openings_active", |active| active == 0);
        let before = (relay.rss_kib(), relay.fd_count());
        RobustnessFixture {
            relay,
            config,
            other_dc,
            _dc: dc,
            healthy,
            before,
        }
    }

    fn addr(&self) -> SocketAddr {
        self.relay.addr()
    }

    /// The row of the table. Waits until the connections of the act are gone.
    #[track_caller]
    fn row(self, act: &str, did: &str) -> String {
        let RobustnessFixture {
            relay,
            healthy,
            before,
            ..
        } = self;
        relay.wait_stat("openings_active", |active| active == 0);
        relay.wait_stat("sessions_active", |active| active == 1);
        relay.wait_for("the descriptors to be back", |relay| {
            (relay.fd_count() <= before.1 + 4).then_some(())
        });
        let after = (relay.rss_kib(), relay.fd_count());
        healthy.over.store(true, Ordering::Relaxed);
        let moved = healthy.thread.join().expect("the healthy session lost nothing");
        let slowest = healthy.slowest.load(Ordering::Relaxed);
        relay.wait_stat("sessions_active", |active| active == 0);
        assert_eq!(
            (relay.stat("panics"), relay.stat("closes_error")),
            (0, 0),
            "{act}"
        );
        assert!(
            after.0 < before.0 + 6 * 1024,
            "{act}: {before:?} KiB and descriptors became {after:?}"
        );
        format!(
            "| {act} | {did} | {} → {} | {} → {} | {} KiB, nothing lost, slowest answer {slowest} ms |",
            before.0,
            after.0,
            before.1,
            after.1,
            moved / 1024
        )
    }
}

fn session(relay: &Relay, mode: Mode) -> Client {
    let mut client = Client::connect(mode, relay.addr(), SECRET, ECHO);
    client.send(b"hello").expect("the relay reads");
    assert_eq!(client.recv_exact(5).expect("an echo"), b"hello");
    client
}

/// How long a new user waits for its first answer.
fn newcomer(relay: &Relay) -> Duration {
    let begun = Instant::now();
    drop(session(relay, Mode::ee(DOMAIN)));
    begun.elapsed()
}

fn say(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(addr).expect("the relay accepts");
    socket
        .set_read_timeout(Some(patience()))
        .expect("a positive time");
    // It may have been closed to make room.
    let _ = socket.write_all(bytes);
    socket
}

/// How many of them receive a byte.
fn answered(sockets: Vec<TcpStream>) -> usize {
    let mut count = 0;
    for mut socket in sockets {
        count += usize::from(matches!(socket.read(&mut [0; 64]), Ok(1..)));
    }
    count
}

fn hello(secret: &[u8; 16], time: u32) -> Vec<u8> {
    let spec = HelloSpec::new(HelloKind::Classic, DOMAIN, time);
    client_hello(secret, &spec, fresh_seed()).bytes
}

fn wrong_secret() -> String {
    let fixture = RobustnessFixture::new(|config| config);
    let mut sockets = Vec::new();
    for _ in 0..250 {
        sockets.push(say(fixture.addr(), &hello(&OTHER, unix_time())));
        sockets.push(say(
            fixture.addr(),
            &init_header(Some(&OTHER), Tag::PADDED, 2, fresh_seed()).bytes,
        ));
    }
    let answers = answered(sockets);
    let refused = fixture.relay.wait_stat("rejects_bad_secret", |n| n >= 400);
    assert_eq!(answers, 0);
    let did = format!("500 openings: {refused} refused as `bad_secret`, no byte of an answer, no DC");
    fixture.row("wrong secret", &did)
}

fn replays(after_reload: bool) -> String {
    let fixture = RobustnessFixture::new(|config| config);
    let mut sockets = Vec::new();
    for mode in modes() {
        let client = session(&fixture.relay, mode);
        sockets.push(client.opening.clone());
    }
    if after_reload {
        fixture.relay.signal(Signal::HUP);
        fixture.relay.wait_stat("config_reloads", |n| n == 1);
    } else {
        let uptime = fixture.relay.stat("uptime");
        fixture.relay.wait_stat("uptime", |now| now > uptime + 1);
    }
    let sockets = sockets
        .iter()
        .map(|opening| say(fixture.addr(), opening))
        .collect();
    assert_eq!(answered(sockets), 0);
    assert_eq!(fixture.relay.wait_stat("rejects_replay", |n| n >= 4), 4);
    let act = if after_reload {
        "replay after a reload"
    } else {
        "replay after 1 s"
    };
    fixture.row(
        act,
        "one of each mode: all 4 refused as `replay`, no byte of an answer, no DC",
    )
}

fn bit_flips() -> String {
    let fixture = RobustnessFixture::new(|config| config.option("clock_skew", 600));
    let good = hello(&SECRET, unix_time());
    let mut sockets = Vec::new();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        sockets.push(say(fixture.addr(), &bytes));
    }
    let total = fixture.relay.stat("sessions_total");
    let answers = answered(sockets);
    let stat = |reason: &str| fixture.relay.stat(&format!("rejects_{reason}"));
    let words = [
        "bad_secret",
        "malformed",
        "timeout",
        "budget",
        "replay",
        "clock_skew",
    ];
    let counts: Vec<String> = words
        .iter()
        .map(|reason| (reason, stat(reason)))
        .filter(|(_, n)| *n > 0)
        .map(|(reason, n)| format!("{n} `{reason}`"))
        .collect();
    // Only the four bytes that carry the time are not under the digest; the first such hello is a new one.
    assert!(answers <= 1, "{answers} changed hellos were answered");
    assert_eq!(fixture.relay.stat("sessions_total"), total);
    let did = format!(
        "{} hellos: {}; {answers} answered (its time is not under the digest), none became a session",
        good.len(),
        counts.join(", ")
    );
    fixture.row("a bit flipped at every offset of a hello", &did)
}

fn slowloris() -> String {
    let fixture = RobustnessFixture::new(|config| config.option("handshake_timeout", 5));
    let bytes = hello(&SECRET, unix_time());
    let mut slow: Vec<_> = (0..500).map(|_| say(fixture.addr(), &bytes[..1])).collect();
    let mut worst = Duration::ZERO;
    let mut newcomers = 0;
    watch(Duration::from_secs(1), Duration::from_millis(50), |_| {
        newcomers += 1;
        // Writing to those that were closed fails; the others get one more byte.
        slow.retain_mut(|socket| socket.write_all(&bytes[newcomers..=newcomers]).is_ok());
        worst = worst.max(newcomer(&fixture.relay));
    });
    assert!(worst < Duration::from_secs(1), "a newcomer took {worst:?}");
    let cut = fixture.relay.wait_stat("openings_active", |active| active == 0);
    assert_eq!(cut, 0);
    let timeouts = fixture.relay.stat("rejects_timeout");
    let did = format!(
        "{newcomers} users meanwhile served within {} ms; {timeouts} cut at `handshake_timeout`",
        worst.as_millis()
    );
    fixture.row("slowloris of 500", &did)
}

fn connect_and_drop() -> String {
    let fixture = RobustnessFixture::new(|config| config);
    let begun = Instant::now();
    for round in 0..10_000_u32 {
        let socket = TcpStream::connect(fixture.addr()).expect("the relay accepts");
        if round % 2 == 0 {
            let _ = (&socket).write_all(&[0x16]);
        }
    }
    let took = begun.elapsed();
    fixture.relay.wait_stat("openings_active", |active| active == 0);
    let closed = fixture.relay.stat("rejects_closed") + fixture.relay.stat("rejects_budget");
    assert!(closed >= 10_000, "{closed}");
    let served = newcomer(&fixture.relay);
    let did = format!(
        "{closed} counted as `closed` within {:.1} s; a newcomer served in {} ms",
        took.as_secs_f32(),
        served.as_millis()
    );
    fixture.row("10,000 connect-and-drop", &did)
}

fn no_descriptors() -> String {
    let fixture = RobustnessFixture::after("ulimit -n 64", |config| config.option("handshake_timeout", 3));
    let mut strangers: Vec<_> = (0..100).map(|_| say(fixture.addr(), b"")).collect();
    let mut users = Vec::new();
    for _ in 0..40 {
        users.push(Client::builder(Mode::Dd, fixture.addr(), SECRET, ECHO).connect());
    }
    fixture.relay.wait_log("waiting until something is free");
    let before = fixture.relay.cpu_ticks();
    let mut cpu = 0;
    watch(Duration::from_secs(1), Duration::from_millis(100), |_| {
        cpu = fixture.relay.cpu_ticks() - before
    });
    assert!(cpu < 50, "{cpu} hundredths of a second");
    fixture.relay.signal(Signal::HUP);
    fixture.relay.wait_log("is in force");
    strangers.clear();
    users.clear();
    fixture.relay.wait_stat("sessions_active", |active| active == 1);
    let served = newcomer(&fixture.relay);
    let did = format!(
        "accepting rests ({cpu} % of a core), a reload goes through, afterwards a newcomer is served in {} ms",
        served.as_millis()
    );
    fixture.row("no descriptors left (`ulimit -n 64`)", &did)
}

fn stalled_readers(count: usize, bytes: u64) -> String {
    let fixture = RobustnessFixture::new(|config| config);
    fixture.other_dc.set_script(Script::Source {
        payload: Payload::new(1, bytes),
        then: Then::Stay,
    });
    let stalled: Vec<_> = modes()
        .into_iter()
        .cycle()
        .take(count)
        .map(|mode| Client::connect(mode, fixture.addr(), SECRET, HOSTILE))
        .collect();
    fixture.other_dc.wait_connections(count);
    let mut peak = 0;
    watch(Duration::from_secs(3), Duration::from_millis(100), |_| {
        peak = peak.max(fixture.relay.rss_kib());
    });
    let served = newcomer(&fixture.relay);
    assert!(served < Duration::from_secs(1), "{served:?}");
    assert!(peak < fixture.before.0 + 6 * 1024, "{peak} KiB at most");
    let held = fixture.relay.stat("buffers_in_use");
    drop(stalled);
    let did = format!(
        "{peak} KiB at most while they stood still for 3 s, {held} of 64 relay blocks held; a newcomer served in {} ms",
        served.as_millis()
    );
    let act = if count == 1 {
        "1 GB to a stalled reader"
    } else {
        "100 stalled readers"
    };
    fixture.row(act, &did)
}

/// A library for LD_PRELOAD: the wall clock is real time plus an offset in seconds that a file holds, synchronised or not.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/timex.h>
#include <time.h>
static long long told(int synced) {
    long long offset = 0, is_synced = 0;
    FILE *file = fopen(getenv("CLOCK_FILE"), "r");
    if (file) { if (fscanf(file, "%lld %lld", &offset, &is_synced) < 1) offset = 0; fclose(file); }
    return synced ? is_synced : offset;
}
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    if (clock == CLOCK_REALTIME) time->tv_sec += told(0);
    return result;
}
int adjtimex(struct timex *timex) {
    timex->status = told(1) ? 0 : STA_UNSYNC;
    return told(1) ? TIME_OK : TIME_ERROR;
}
"#;

fn clock() -> String {
    const ACT: &str = "clock at 1970, then jumping by years";
    let dir = TempDir::new();
    let source = dir.write("clock.c", CLOCK);
    let library = dir.path().join("clock.so");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status();
    let built = built.is_ok_and(|status| status.success());
    if !built {
        require::skip("no C compiler");
    }
    if !built || !require::native("LD_PRELOAD for static programs") {
        return format!("| {ACT} | skipped: no C compiler, or an emulated relay | | | |");
    }
    let year = 365 * 86_400_i64;
    let set = |offset: i64, synced: u8| dir.write("offset", &format!("{offset} {synced}\n"));
    let file = set(-i64::from(unix_time()) + 86_400, 0);
    let before = format!(
        "export LD_PRELOAD={} CLOCK_FILE={}",
        library.display(),
        file.display()
    );
    let fixture = RobustnessFixture::after(&before, |config| {
        config.user("short", OTHER).user_option("expires", "2099-12-31")
    });
    let opens = |secret, offset: i64| {
        let time = (i64::from(unix_time()) + offset) as u32;
        let socket = say(fixture.addr(), &hello(secret, time));
        answered(vec![socket]) == 1
    };
    assert_eq!(fixture.relay.stat("clock_trusted"), 0);
    assert!(
        opens(&SECRET, 0) && opens(&SECRET, -10 * year) && opens(&SECRET, 10 * year),
        "any time at 1970"
    );
    set(0, 1);
    fixture.relay.wait_stat("clock_trusted", |trusted| trusted == 1);
    assert!(opens(&SECRET, 0) && !opens(&SECRET, -year) && !opens(&SECRET, year));
    for jump in [30, -30, 80] {
        set(jump * year, 1);
        // The next sweep sees it.
        fixture
            .relay
            .wait_for("the new time", |_| (!opens(&SECRET, 0)).then_some(()));
        assert!(opens(&SECRET, jump * year), "{jump} years");
    }
    let expired = fixture.relay.wait_for("the end of a user's last day", |relay| {
        let client = Client::builder(Mode::Dd, fixture.addr(), OTHER, ECHO).connect();
        drop(client);
        let expired = relay.stat("closes_expired");
        (expired > 0).then_some(expired)
    });
    assert!(expired > 0);
    set(0, 1);
    fixture
        .relay
        .wait_for("the right time", |_| opens(&SECRET, 0).then_some(()));
    let refused = fixture.relay.stat("clock_refused");
    let did = format!(
        "before the clock is synchronised any hello's time passes; after it {refused} were refused as `clock_skew`, and a \
         user whose last day had come as `expired`; sessions that live noticed nothing"
    );
    fixture.row(ACT, &did)
}

fn dead_dc() -> String {
    let mut fixture = RobustnessFixture::new(|config| config);
    fixture
        .other_dc
        .set_script(Script::source(1, 1 << 40, Then::Close));
    // Little of it stands in the kernel's buffers when the end comes.
    fixture.other_dc.set_pace(Pace {
        write_rate: Some(400_000),
        ..Pace::default()
    });
    let addr = fixture.addr();
    let mut clients: Vec<_> = modes()
        .into_iter()
        .cycle()
        .take(40)
        .map(|mode| Client::connect(mode, addr, SECRET, HOSTILE))
        .collect();
    for client in &mut clients {
        client.recv_exact(100_000).expect("the download runs");
    }
    fixture.other_dc = FakeDc::start(Script::Echo);
    // Everybody sees the end at once, and goes.
    for client in &mut clients {
        let (_, end) = client.recv_to_end();
        assert_ne!(end, End::Timeout);
    }
    drop(clients);
    let closes = fixture.relay.wait_closes(4 + 40);
    let of_dc = closes
        .iter()
        .filter(|close| close.by == "dc" && close.dc == HOSTILE);
    assert_eq!(of_dc.count(), 40);
    let did = "all 40 downloads ended at once as `dc_reset` or `dc_closed`, none as anything else";
    fixture.row("DC killed under load", did)
}

fn near_oom() -> String {
    const ACT: &str = "cgroup of 16 MB";
    let group = Path::new("/sys/fs/cgroup").join(format!("mtrelay-test-{}", std::process::id()));
    // The second version's files, then the first one's place for them.
    let v1 = Path::new("/sys/fs/cgroup/memory").join(format!("mtrelay-test-{}", std::process::id()));
    let limited = [(&group, "memory.max"), (&v1, "memory.limit_in_bytes")]
        .into_iter()
        .find(|(group, limit)| {
            let made = group.parent().is_some_and(Path::is_dir) && std::fs::create_dir(group).is_ok();
            // A folder in which the kernel has put nothing is no group.
            let limit = group.join(limit);
            let limited = made && limit.exists() && std::fs::write(limit, "16777216").is_ok();
            if made && !limited {
                let _ = std::fs::remove_dir(group);
            }
            limited
        });
    let Some((group, _)) = limited else {
        require::skip("no memory cgroup can be made");
        return format!("| {ACT} | skipped: no memory cgroup can be made | | | |");
    };
    let before = format!("echo $$ > {}/cgroup.procs", group.display());
    let fixture = RobustnessFixture::after(&before, |config| config);
    let mut sessions = Vec::new();
    let mut rng = Rng::new(1);
    for mode in modes().into_iter().cycle().take(100) {
        let mut client = session(&fixture.relay, mode);
        let bytes = rng.bytes(50_000);
        client.send(&bytes).expect("the relay reads");
        assert!(client.recv_exact(bytes.len()).expect("an echo") == bytes);
        sessions.push(client);
    }
    let peak = fixture.relay.rss_kib();
    drop(sessions);
    let members = std::fs::read_to_string(group.join("cgroup.procs")).expect("the group is there");
    let pid = fixture.relay.pid().to_string();
    assert!(
        members.lines().any(|member| member == pid),
        "{pid} is not in the group: {members}"
    );
    let did = format!("100 sessions of 100 KB each, all whole; {peak} KiB resident with all of them");
    let row = fixture.row(ACT, &did);
    let _ = std::fs::remove_dir(group);
    row
}

fn storm_of_reloads() -> String {
    let fixture = RobustnessFixture::new(|config| config);
    let mut reloads = 0;
    for round in 0..300 {
        if round % 3 == 0 {
            fixture
                .relay
                .rewrite_file("config relay 'main'\n\toption buffers 'none'\n");
        } else {
            fixture.relay.rewrite_config(&fixture.config);
        }
        fixture.relay.signal(Signal::HUP);
        if round % 10 == 0 {
            reloads += 1;
            drop(session(&fixture.relay, Mode::Dd));
        }
    }
    let (good, bad) = (
        fixture.relay.stat("config_reloads"),
        fixture.relay.stat("config_rejected"),
    );
    assert!(good > 0 && bad > 0);
    let did = format!(
        "300 signals, a third with a broken file: {good} taken over, {bad} refused whole (signals that meet are one); \
         {reloads} newcomers meanwhile all served"
    );
    fixture.row("SIGHUP storm", &did)
}

#[test]
#[ignore = "it takes a minute or two, and its figures want a quiet machine: make robustness"]
fn hostile_acts_leave_no_memory_or_descriptors_behind() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("up to the hard limit it may be raised");
    let rows = [
        wrong_secret(),
        replays(false),
        replays(true),
        bit_flips(),
        slowloris(),
        connect_and_drop(),
        no_descriptors(),
        stalled_readers(1, 1 << 30),
        stalled_readers(100, 1 << 30),
        clock(),
        dead_dc(),
        near_oom(),
        storm_of_reloads(),
    ];
    let Some(document) = std::env::var_os("MTRELAY_TABLE") else {
        return;
    };
    let mut table = String::from(
        "| act | what the relay did | KiB resident, before → after | descriptors | the healthy session beside it |\n\
         |---|---|---|---|---|\n",
    );
    for row in rows {
        let _ = writeln!(table, "{row}");
    }
    let text = std::fs::read_to_string(&document).expect("the document is there");
    let (head, rest) = text.split_once("<!-- table -->\n").expect("a table begins");
    let (_, tail) = rest.split_once("<!-- end -->").expect("and ends");
    let text = format!("{head}<!-- table -->\n{table}<!-- end -->{tail}");
    std::fs::write(document, text).expect("the document can be written");
}
