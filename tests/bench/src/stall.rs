//! Readers that stall: what they cost the relay and the kernel, what they take from the others, and that all arrives.

use crate::load::{Pump, download_bytes, session};
use crate::subject::Subject;
use crate::{SMALL_PIPE, median, meter};
use mtrelay_test_support::Mode;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const READERS: usize = 64;
const EACH: usize = 256 << 20;
const OTHERS: usize = 4;
/// How often the others' speed is measured, in turns with that of a relay on which nobody stalls.
const ROUNDS: usize = 5;

/// Bytes a second of a few sessions that do read.
fn speed_of_others(subject: &Subject) -> f64 {
    let sessions = (0..OTHERS).map(|_| session(subject.addr, &subject.dc, &subject.opening));
    let (clients, servers) = sessions.unzip();
    let (_source, sink) = (Pump::source(servers, download_bytes()), Pump::sink(clients));
    thread::sleep(Duration::from_millis(300));
    let (before, begun) = (sink.moved(), Instant::now());
    thread::sleep(Duration::from_millis(700));
    (sink.moved() - before) as f64 / begun.elapsed().as_secs_f64()
}

fn send_all(mut server: TcpStream) -> JoinHandle<()> {
    thread::spawn(move || {
        server.set_write_timeout(None).expect("none is allowed");
        let chunk = download_bytes();
        let whole = (0..EACH / chunk.len()).all(|_| server.write_all(&chunk).is_ok());
        assert!(whole, "the relay closed");
        let _ = server.shutdown(Shutdown::Write);
    })
}

fn read_all(mut client: TcpStream) -> u64 {
    let (mut buffer, mut came) = (vec![0; 1 << 20], 0);
    while let Ok(len @ 1..) = client.read(&mut buffer) {
        came += len as u64;
    }
    came
}

pub(crate) fn stalled_readers(mtrelay: &str) {
    println!(
        "{READERS} readers of {} MB each\n\n| | RSS grows by KiB | sockets KiB a reader, 2 s into the stall | others' speed | all arrived |",
        EACH >> 20
    );
    println!("|---|---|---|---|---|");
    let kinds: [&dyn Fn() -> Subject; 5] = [
        &|| Subject::plain(crate::plain::Way::Copy),
        &|| Subject::plain(crate::plain::Way::Splice(SMALL_PIPE)),
        &|| Subject::mtrelay(mtrelay, Mode::Dd, true, &[]),
        &|| Subject::mtrelay(mtrelay, Mode::ee("example.org"), true, &[]),
        &|| Subject::mtrelay(mtrelay, Mode::Dd, false, &[]),
    ];
    for kind in kinds {
        let (subject, unburdened) = (kind(), kind());
        // What the first busy sessions leave allocated is no reader's.
        speed_of_others(&subject);
        thread::sleep(Duration::from_millis(1500));
        let empty = meter::rss_kib(subject.pid);
        let (clients, servers): (Vec<_>, Vec<_>) = (0..READERS)
            .map(|_| session(subject.addr, &subject.dc, &subject.opening))
            .unzip();
        let senders: Vec<_> = servers.into_iter().map(send_all).collect();
        thread::sleep(Duration::from_secs(2));
        let sockets = meter::socket_memory(subject.addr.port(), subject.dc_port());
        let grown = meter::rss_kib(subject.pid) as i64 - empty as i64;
        let (mut beside, mut usual) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            beside.push(speed_of_others(&subject));
            usual.push(speed_of_others(&unburdened));
        }
        let readers: Vec<_> = clients
            .into_iter()
            .map(|client| thread::spawn(move || read_all(client)))
            .collect();
        let came = readers.into_iter().map(|reader| reader.join().unwrap_or(0));
        let whole = came.filter(|came| *came >= EACH as u64).count();
        senders.into_iter().for_each(|sender| drop(sender.join()));
        let sockets = sockets.map_or("ss is not there".into(), |bytes| {
            format!("{:.0}", bytes as f64 / 1024.0 / READERS as f64)
        });
        println!(
            "| {} | {grown} | {sockets} | {:.0} % | {whole} of {READERS} |",
            subject.name,
            100.0 * median(beside) / median(usual)
        );
    }
}
