//! One download over a long road: the window has to grow as it does without a relay between.
//!
//! Two network namespaces, and between them a process that keeps each packet for half of the round trip (`road`): the load's
//! kernel need not have netem. It takes root, iproute2 and Python; where one is missing, that is said.

use crate::load::{download_bytes, session};
use crate::plain::Way;
use crate::subject::{Place, Subject};
use crate::{median, table};
use mtrelay_test_support::Mode;
use mtrelay_test_support::netns::{Host, on_own_host};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Instant;

const ROUND_TRIP_MS: u32 = 60;
const EACH: usize = 64 << 20;
const ROUNDS: usize = 5;
const NEAR: &str = "10.255.1.1";
const FAR: &str = "10.255.1.2";

/// Something to be done at the other end.
type Job = Box<dyn FnOnce() + Send>;

/// The process between; it ends with its standard input.
struct Road(Child);

impl Road {
    /// From here to that namespace.
    fn to(namespace: &str) -> Road {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/road");
        let mut child = Command::new(script)
            .args([&(ROUND_TRIP_MS / 2).to_string(), "many", namespace])
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
                    let _road = Road::to(&namespace);
                    join_road(host, FAR);
                    // Who waits for it has not gone.
                    let _ = is_ready.send(());
                    jobs.into_iter().for_each(|job| job());
                })
            });
            if ready.recv().is_ok() {
                join_road(near, NEAR);
                far_data_centre(mtrelay, &far);
                far_client(mtrelay, &far);
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
    compare("the DC", &subjects, |subject| {
        session(subject.addr, &subject.dc, &subject.opening)
    });
}

fn far_client(mtrelay: &str, far: &Sender<Job>) {
    let dc = || TcpListener::bind((NEAR, 0)).expect("a port is free");
    let subjects = subjects(mtrelay, dc);
    compare("the client", &subjects, |subject| {
        let (addr, opening) = (subject.addr, subject.opening.clone());
        let dc = subject.dc.try_clone().expect("a descriptor is left");
        at_far_end(far, move || session(addr, &dc, &opening))
    });
}

fn compare(who: &str, subjects: &[Subject], open: impl Fn(&Subject) -> (TcpStream, TcpStream)) {
    let mut rates = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, rates) in subjects.iter().zip(&mut rates) {
            let (client, server) = open(subject);
            rates.push(download(client, server));
        }
    }
    let rows: Vec<_> = subjects
        .iter()
        .zip(rates)
        .map(|(subject, rates)| (subject.name.clone(), median(rates)))
        .collect();
    let unit = format!("MB/s, {} MiB, {who} {ROUND_TRIP_MS} ms away", EACH >> 20);
    table(&unit, &rows, 1);
    println!();
}

/// MB a second of a whole download, the growing of its window included.
fn download(mut client: TcpStream, mut server: TcpStream) -> f64 {
    let begun = Instant::now();
    let sender = thread::spawn(move || {
        let chunk = download_bytes();
        let whole = (0..EACH / chunk.len()).all(|_| server.write_all(&chunk).is_ok());
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
    assert!(came >= EACH, "only {came} bytes came");
    EACH as f64 / 1e6 / elapsed.as_secs_f64()
}
