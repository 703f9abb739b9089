//! Mixed load: downloads, idle sessions and hostile handshakes at once; memory and descriptors must not grow. `make soak
//! DURATION=3600` runs it for an hour; as a test it takes some seconds.

use crate::{SECRET, modes, start};
use mtrelay_test_support::client::End;
use mtrelay_test_support::clock::SetOnDrop;
use mtrelay_test_support::faketls::{HelloKind, HelloSpec, client_hello};
use mtrelay_test_support::measure::watch;
use mtrelay_test_support::relay::Signal;
use mtrelay_test_support::rng::{Rng, Stream, fresh_seed};
use mtrelay_test_support::{Client, FakeDc, Mode, Payload, RelayConfig, Script, Then};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const DEFAULT_SECONDS: u64 = 8;
const DOWNLOAD: u64 = 1 << 20;
const IDLE: usize = 40;

fn download(addr: SocketAddr, mode: Mode, seed: u64) {
    let (mut reader, mut writer) = Client::connect(mode, addr, SECRET, 4).split();
    writer.ask(seed).expect("the seed goes out");
    let (came, end) = reader.stream_to_end(&mut Stream::new(seed));
    assert_eq!((came, end), (DOWNLOAD, End::Eof));
}

/// One of each hostile handshake.
fn hostile(addr: SocketAddr, rng: &mut Rng, replay: &[u8]) {
    let spec = HelloSpec::new(HelloKind::Kem, "front.example", 1_700_000_000);
    let other = client_hello(b"0123456789abcdef", &spec, fresh_seed()).bytes;
    let noise = rng.bytes(300);
    for bytes in [
        &other[..],
        &other[..100],
        b"GET / HTTP/1.1\r\n\r\n",
        replay,
        &noise,
        &[],
    ] {
        let Ok(mut socket) = TcpStream::connect(addr) else {
            continue;
        };
        let _ = socket.write_all(bytes);
        if rng.below(2) == 0 {
            // Some wait for an answer for up to 50 ms, others close at once.
            let _ = socket.set_read_timeout(Some(Duration::from_millis(1 + rng.below(50))));
            let _ = socket.read(&mut [0; 64]);
        }
    }
}

#[test]
fn memory_and_descriptors_stay_flat_under_mixed_load() {
    let duration = std::env::var("MTRELAY_SOAK_SECONDS").ok();
    let duration = duration
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(DEFAULT_SECONDS);
    let duration = Duration::from_secs(duration);
    let (echo, source) = (
        FakeDc::start(Script::Echo),
        FakeDc::start(Script::Source {
            payload: Payload::asked(DOWNLOAD),
            then: Then::HalfClose,
        }),
    );
    let config = RelayConfig::simple(SECRET, echo.addr())
        .dc(4, &[source.addr()])
        .option("handshake_timeout", 1)
        // The idle sessions of a long run must not end.
        .option("idle_timeout", 0)
        .option("log_level", "info");
    let relay = start(&config);
    let addr = relay.addr();
    let mut idle: Vec<_> = modes()
        .into_iter()
        .cycle()
        .take(IDLE)
        .map(|mode| Client::connect(mode, addr, SECRET, 2))
        .collect();
    let replay = idle[3].opening.clone();
    let (over, downloads, acts) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    // (seconds, KiB resident, descriptors)
    let mut samples: Vec<(f32, u64, usize)> = Vec::new();
    std::thread::scope(|scope| {
        for (seed, mode) in modes().into_iter().enumerate() {
            let (over, downloads) = (&over, &downloads);
            scope.spawn(move || {
                let mut seed = seed as u64;
                while !over.load(Ordering::Relaxed) {
                    seed += 4;
                    download(addr, mode.clone(), seed);
                    downloads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for seed in 0..2 {
            let (over, acts, replay) = (&over, &acts, &replay);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                while !over.load(Ordering::Relaxed) {
                    hostile(addr, &mut rng, replay);
                    acts.fetch_add(6, Ordering::Relaxed);
                }
            });
        }
        let _over = SetOnDrop(&over);
        let mut round = 0_usize;
        watch(duration, duration / 60, |elapsed| {
            samples.push((elapsed.as_secs_f32(), relay.rss_kib(), relay.fd_count()));
            let client = &mut idle[round % IDLE];
            client.send(b"still there?").expect("an idle session lives");
            assert_eq!(
                client.recv_exact(12).expect("an idle session lives"),
                b"still there?"
            );
            round += 1;
            if round.is_multiple_of(20) {
                relay.signal(Signal::HUP);
            }
        });
    });
    let third = samples.len() / 3;
    let most = |samples: &[(f32, u64, usize)]| {
        let rss = samples.iter().map(|sample| sample.1).max();
        let fds = samples.iter().map(|sample| sample.2).max();
        (rss.expect("some samples"), fds.expect("some samples"))
    };
    let (first, last) = (most(&samples[..third]), most(&samples[2 * third..]));
    report(&format!(
        "{} downloads of {DOWNLOAD} bytes, {} hostile openings, {IDLE} idle sessions in {} s: {} KiB and {} descriptors at \
         most in the first third, {} KiB and {} in the last",
        downloads.load(Ordering::Relaxed),
        acts.load(Ordering::Relaxed),
        duration.as_secs(),
        first.0,
        first.1,
        last.0,
        last.1
    ));
    assert!(downloads.load(Ordering::Relaxed) > 0);
    assert!(last.0 <= first.0 + 1024, "resident memory grows: {samples:?}");
    // Handshakes in progress differ from sample to sample; a leak would add up to more than 64.
    assert!(last.1 <= first.1 + 64, "descriptors grow: {samples:?}");
    drop(idle);
    relay.wait_stat("sessions_active", |active| active == 0);
    relay.wait_stat("openings_active", |active| active == 0);
    assert_eq!((relay.stat("panics"), relay.stat("closes_error")), (0, 0));
}

#[expect(clippy::print_stderr, reason = "what the test has seen")]
fn report(text: &str) {
    eprintln!("{text}");
}
