//! What callers on ubus wait for, and cost, while downloads run.

use crate::load::{Pump, download_bytes, session};
use crate::subject::Subject;
use crate::{median, table};
use mtrelay_test_support::{FakeUbusd, Mode, Value};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
const DOWNLOADS: usize = 32;
const WINDOW: Duration = Duration::from_secs(1);
/// 50 calls a second.
const PERIOD: Duration = Duration::from_millis(20);

pub(crate) fn calls_beside_downloads(mtrelay: &str) {
    let bus = FakeUbusd::start();
    let socket = bus.path().display().to_string();
    let options = [("ubus_socket", socket.as_str())];
    let subject = Subject::mtrelay(mtrelay, Mode::Dd, true, &options);
    bus.wait_object("mtrelay");
    let (clients, servers) = (0..DOWNLOADS)
        .map(|_| session(subject.addr, &subject.dc, &subject.opening))
        .unzip();
    let sink = Pump::sink(clients);
    let _source = Pump::source(servers, download_bytes());

    let mut caller = bus.client();
    let (mut quiet, mut called, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..2 * ROUNDS {
        let (begun, before) = (Instant::now(), sink.moved());
        if round % 2 == 0 {
            thread::sleep(WINDOW);
        }
        for call in 0..(WINDOW.as_millis() / PERIOD.as_millis()) as u32 * (round as u32 % 2) {
            thread::sleep((begun + PERIOD * call).saturating_duration_since(Instant::now()));
            let asked = Instant::now();
            caller.call("mtrelay", "status", &Value::table([])).good();
            waits.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        let rate = (sink.moved() - before) as f64 / begun.elapsed().as_secs_f64() / f64::from(1 << 20);
        if round % 2 == 0 { &mut quiet } else { &mut called }.push(rate);
    }
    waits.sort_by(f64::total_cmp);
    let at = |part: f64| waits[((waits.len() - 1) as f64 * part) as usize];
    let rows =
        [("p50", 0.5), ("p99", 0.99), ("longest", 1.0)].map(|(name, part)| (name.to_string(), at(part)));
    table(
        &format!("ms until `status` is answered, beside {DOWNLOADS} downloads"),
        &rows,
        1,
    );
    println!();
    let rows = [
        ("nobody calls", median(quiet)),
        ("50 calls a second", median(called)),
    ];
    let rows = rows.map(|(name, rate)| (name.to_string(), rate));
    table("MiB/s of all downloads", &rows, 0);
}
