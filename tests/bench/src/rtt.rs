//! One download over a long road: the window has to grow as it does without a relay between. And over one that loses packets, by
//! which the algorithms for congestion differ.
//!
//! Two network namespaces, and between them a process that keeps each packet for half of the round trip (`road`): the load's
//! kernel need not have netem. It takes root, iproute2 and Python; where one is missing, that is said.

use crate::load::{ANSWER, Opening, ask, download_bytes, hear, read_answer, session};
use crate::plain::Way;
use crate::subject::{Place, Subject};
use crate::{median, table};
use mtrelay_test_support::Mode;
use mtrelay_test_support::netns::{Host, on_own_host};
use rustix::net::{self, AddressFamily, SendFlags, SocketType};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

const ROUND_TRIP_MS: u32 = 60;
const EACH: usize = 64 << 20;
/// Over a road that loses one packet of a hundred.
const EACH_LOSSY: usize = 4 << 20;
const ROUNDS: usize = 5;
const NEAR: &str = "10.255.1.1";
const FAR: &str = "10.255.1.2";

/// As sendto(2) has it and rustix does not.
const MSG_FASTOPEN: SendFlags = SendFlags::from_bits_retain(0x2000_0000);

/// Something to be done at the other end.
type Job = Box<dyn FnOnce() + Send>;

/// The process between; it ends with its standard input.
struct Road(Child);

impl Road {
    /// From here to that namespace.
    fn to(namespace: &str, [segments, lost]: [&str; 2]) -> Road {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/road");
        let mut child = Command::new(script)
            .args([&(ROUND_TRIP_MS / 2).to_string(), segments, namespace, lost])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is there");
        let mut line = String::new();
        let out = child.stdout.take().expect("piped");
        BufReader::new(out)
            .read_line(&mut line)
            .expect("it says that it is ready");
        assert_eq!(line, "ready\n", "there is no /dev/net/tun");
        Road(child)
    }
}

impl Drop for Road {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // Its namespaces go anyway.
        let _ = self.0.wait();
    }
}

fn join_road(host: &Host, address: &str) {
    host.ip(&format!("addr add {address}/24 dev road"));
    host.ip("link set road txqueuelen 10000 up");
}

pub(crate) fn far_downloads(mtrelay: &str) {
    over_a_road(["many", "0"], |far| {
        far_data_centre(mtrelay, far);
        far_client(mtrelay, far);
        far_openings(mtrelay, far);
    });
}

pub(crate) fn lossy_downloads(mtrelay: &str) {
    over_a_road(["1", "0.01"], |far| {
        let place = || Place {
            listen: NEAR.parse().expect("an address"),
            dc: TcpListener::bind((NEAR, 0)).expect("a port is free"),
        };
        let mut subjects = vec![Subject::plain_at(place(), Way::Copy)];
        for name in ["cubic", "bbr"] {
            let options = [("congestion", name)];
            subjects.push(Subject::mtrelay_at(place(), mtrelay, Mode::Dd, true, &options));
        }
        compare("the client", EACH_LOSSY, &subjects, |subject| {
            from_far(far, subject)
        });
    });
}

/// Does `work` with somebody at the other end of a road.
fn over_a_road(road: [&'static str; 2], work: impl FnOnce(&Sender<Job>) + Send) {
    on_own_host(|near| {
        let namespace = format!(
            "/proc/{}/task/{}/ns/net",
            std::process::id(),
            rustix::thread::gettid().as_raw_nonzero()
        );
        let (far, jobs) = channel::<Job>();
        let (is_ready, ready) = channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                on_own_host(|host| {
                    let _road = Road::to(&namespace, road);
                    join_road(host, FAR);
                    // Who waits for it has not gone.
                    let _ = is_ready.send(());
                    jobs.into_iter().for_each(|job| job());
                })
            });
            if ready.recv().is_ok() {
                join_road(near, NEAR);
                work(&far);
            }
            drop(far);
        });
    });
}

/// Does `work` at the other end.
fn at_far_end<T: Send + 'static>(far: &Sender<Job>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let (result, results) = channel();
    // Who waits for it has not gone.
    let job = move || drop(result.send(work()));
    far.send(Box::new(job)).expect("the other end works");
    results.recv().expect("it has not panicked")
}

fn subjects(mtrelay: &str, dc: impl Fn() -> TcpListener) -> Vec<Subject> {
    let place = || Place {
        listen: NEAR.parse().expect("an address"),
        dc: dc(),
    };
    let ours = |mode, fast_mode| Subject::mtrelay_at(place(), mtrelay, mode, fast_mode, &[]);
    vec![
        Subject::plain_at(place(), Way::Copy),
        ours(Mode::Dd, true),
        ours(Mode::Dd, false),
        ours(Mode::ee("example.org"), true),
    ]
}

fn far_data_centre(mtrelay: &str, far: &Sender<Job>) {
    let dc = || at_far_end(far, || TcpListener::bind((FAR, 0)).expect("a port is free"));
    let subjects = subjects(mtrelay, dc);
    compare("the DC", EACH, &subjects, |subject| {
        session(subject.addr, &subject.dc, &subject.opening)
    });
}

fn far_client(mtrelay: &str, far: &Sender<Job>) {
    let dc = || TcpListener::bind((NEAR, 0)).expect("a port is free");
    let subjects = subjects(mtrelay, dc);
    compare("the client", EACH, &subjects, |subject| from_far(far, subject));
}

/// How long a far client waits for its first answer, with its question in the second packet it sends and in the first one (TCP Fast
/// Open, RFC 7413).
fn far_openings(mtrelay: &str, far: &Sender<Job>) {
    let allow = || fs::write("/proc/sys/net/ipv4/tcp_fastopen", "3").expect("it is this namespace's own");
    allow();
    at_far_end(far, allow);
    let subject = Subject::mtrelay_at(
        Place {
            listen: NEAR.parse().expect("an address"),
            dc: TcpListener::bind((NEAR, 0)).expect("a port is free"),
        },
        mtrelay,
        Mode::Dd,
        true,
        &[],
    );
    let rows = [("one packet after the other", false), ("TCP Fast Open", true)].map(|(name, fast_open)| {
        let first_answer = || {
            let dc = subject.dc.try_clone().expect("a descriptor is left");
            let answering = thread::spawn(move || {
                let mut server = hear(&dc);
                server.write_all(&ANSWER).expect("the answer goes out");
                server
            });
            let addr = subject.addr;
            let took = at_far_end(far, move || open(addr, fast_open));
            // A panic over there has printed itself.
            let _ = answering.join();
            took
        };
        // The first one brings the cookie.
        first_answer();
        let times = (0..ROUNDS).map(|_| first_answer().as_secs_f64() * 1e3);
        (name.to_string(), median(times.collect()))
    });
    table(
        &format!("ms until the first answer, {ROUND_TRIP_MS} ms away"),
        &rows,
        1,
    );
    println!();
}

/// Opens a session and waits for the first answer.
fn open(relay: SocketAddr, fast_open: bool) -> Duration {
    let recorder = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let opening = Opening::Telegram(Mode::Dd);
    let client = ask(recorder.local_addr().expect("it is bound"), &opening);
    let _ = client.shutdown(Shutdown::Write);
    let mut words = Vec::new();
    let (mut heard, _) = recorder.accept().expect("a descriptor is left");
    heard.read_to_end(&mut words).expect("the client has finished");

    let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).expect("a descriptor is left");
    let begun = Instant::now();
    let sent = if fast_open {
        net::sendto(&socket, &words, MSG_FASTOPEN, &relay)
    } else {
        net::connect(&socket, &relay).expect("the relay listens");
        net::send(&socket, &words, SendFlags::empty())
    };
    assert_eq!(sent, Ok(words.len()));
    let mut socket = TcpStream::from(socket);
    read_answer(&mut socket, &opening);
    begun.elapsed()
}

/// A session of a client at the other end.
fn from_far(far: &Sender<Job>, subject: &Subject) -> (TcpStream, TcpStream) {
    let (addr, opening) = (subject.addr, subject.opening.clone());
    let dc = subject.dc.try_clone().expect("a descriptor is left");
    at_far_end(far, move || session(addr, &dc, &opening))
}

fn compare(who: &str, each: usize, subjects: &[Subject], open: impl Fn(&Subject) -> (TcpStream, TcpStream)) {
    let mut rates = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, rates) in subjects.iter().zip(&mut rates) {
            let (client, server) = open(subject);
            rates.push(download(client, server, each));
        }
    }
    let rows: Vec<_> = subjects
        .iter()
        .zip(rates)
        .map(|(subject, rates)| (subject.name.clone(), median(rates)))
        .collect();
    let unit = format!("MB/s, {} MiB, {who} {ROUND_TRIP_MS} ms away", each >> 20);
    table(&unit, &rows, 1);
    println!();
}

/// MB a second of a whole download, the growing of its window included.
fn download(mut client: TcpStream, mut server: TcpStream, each: usize) -> f64 {
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        let chunk = download_bytes();
        let whole = (0..each / chunk.len()).all(|_| server.write_all(&chunk).is_ok());
        assert!(whole, "the relay closed");
        // A reset is an end as well.
        let _ = server.shutdown(Shutdown::Write);
    });
    let (mut buffer, mut came) = (vec![0; 1 << 20], 0);
    while let Ok(len @ 1..) = client.read(&mut buffer) {
        came += len;
    }
    let elapsed = begun.elapsed();
    // A panic over there has printed itself.
    let _ = sender.join();
    assert!(came >= each, "only {came} bytes came");
    each as f64 / 1e6 / elapsed.as_secs_f64()
}
