//! What a session costs: to set up, to answer, to stay.

use crate::load::{self, ANSWER, Opening, Pump, download_bytes, session};
use crate::place::in_each_place;
use crate::plain::Way;
use crate::subject::Subject;
use crate::{SMALL_PIPE, median, meter, table};
use mtrelay_test_support::Mode;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 7;
/// By then a relay that nobody uses has given back what only the start and the first questions needed.
pub(crate) const QUIET: Duration = Duration::from_secs(8);

fn subjects(mtrelay: &str) -> Vec<Subject> {
    vec![
        Subject::plain(Way::Copy),
        Subject::plain(Way::Splice(SMALL_PIPE)),
        Subject::mtrelay(mtrelay, Mode::Dd, true, &[]),
        Subject::mtrelay(mtrelay, Mode::ee("example.org"), true, &[]),
    ]
}

/// A session from its first byte to its last.
pub(crate) fn whole_session(subject: &Subject) {
    let (client, mut server) = session(subject.addr, &subject.dc, &subject.opening);
    drop(client);
    let mut rest = Vec::new();
    // A reset is an end as well.
    let _ = server.read_to_end(&mut rest);
}

pub(crate) fn setup(mtrelay: &str) {
    let subjects = subjects(mtrelay);
    in_each_place(&subjects, |place| {
        println!("{place}\n");
        set_up(&subjects);
    });
}

fn set_up(subjects: &[Subject]) {
    const SESSIONS: u32 = 400;
    let mut cost = vec![Vec::new(); subjects.len()];
    let mut rate = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (at, subject) in subjects.iter().enumerate() {
            let (cpu, begun) = (meter::cpu(subject.pid), Instant::now());
            (0..SESSIONS).for_each(|_| whole_session(subject));
            rate[at].push(f64::from(SESSIONS) / begun.elapsed().as_secs_f64());
            thread::sleep(Duration::from_millis(20));
            cost[at].push((meter::cpu(subject.pid) - cpu).as_nanos() as f64 / 1e3 / f64::from(SESSIONS));
        }
    }
    let rows: Vec<_> = subjects
        .iter()
        .zip(cost.into_iter().zip(rate))
        .map(|(subject, (cost, rate))| {
            (
                format!("{} ({:.0} sessions/s)", subject.name, median(rate)),
                median(cost),
            )
        })
        .collect();
    table("CPU µs a session", &rows, 2);
    println!();
}

/// An echoing pair of ends, and the shape of what goes through it.
pub(crate) struct Echo {
    client: TcpStream,
    server: TcpStream,
    question: Vec<u8>,
    answer_len: usize,
}

impl Echo {
    pub(crate) fn start(subject: &Subject) -> Echo {
        let (client, server) = session(subject.addr, &subject.dc, &subject.opening);
        let mut question = ANSWER.to_vec();
        if subject.opening.is_tls() {
            question.splice(..0, [0x17, 0x03, 0x03, 0x00, ANSWER.len() as u8]);
        }
        Echo {
            client,
            server,
            answer_len: question.len(),
            question,
        }
    }

    /// Sorted round-trip times in µs.
    pub(crate) fn run(mut self, count: usize) -> Vec<f64> {
        let mut server = self.server;
        let echoing = thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok(len @ 1..) = server.read(&mut buffer) {
                if server.write_all(&buffer[..len]).is_err() {
                    break;
                }
            }
        });
        let mut answer = vec![0; self.answer_len];
        let mut times: Vec<f64> = (0..count)
            .map(|_| {
                let begun = Instant::now();
                self.client.write_all(&self.question).expect("it goes out");
                self.client.read_exact(&mut answer).expect("it comes back");
                begun.elapsed().as_nanos() as f64 / 1e3
            })
            .collect();
        drop(self.client);
        // A panic over there has printed itself.
        let _ = echoing.join();
        times.sort_by(f64::total_cmp);
        times
    }
}

fn echo_table(subjects: &[Subject], rounds: &mut [Vec<Vec<f64>>]) {
    for (name, part) in [("p50", 0.5), ("p99", 0.99)] {
        let rows: Vec<_> = subjects
            .iter()
            .zip(rounds.iter())
            .map(|(subject, rounds)| {
                let at = |times: &Vec<f64>| times[(times.len() as f64 * part) as usize];
                (subject.name.clone(), median(rounds.iter().map(at).collect()))
            })
            .collect();
        table(&format!("echo {name} µs"), &rows, 1);
        println!();
    }
}

pub(crate) fn echo(mtrelay: &str) {
    let subjects = subjects(mtrelay);
    let mut rounds = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (at, subject) in subjects.iter().enumerate() {
            rounds[at].push(Echo::start(subject).run(3000));
        }
    }
    echo_table(&subjects, &mut rounds);
}

pub(crate) fn echo_beside_downloads(mtrelay: &str) {
    let subjects = subjects(mtrelay);
    let mut rounds = vec![Vec::new(); subjects.len()];
    for _ in 0..ROUNDS {
        for (at, subject) in subjects.iter().enumerate() {
            let sessions = (0..32).map(|_| session(subject.addr, &subject.dc, &subject.opening));
            let (clients, servers) = sessions.unzip();
            let echo = Echo::start(subject);
            let _downloads = (Pump::source(servers, download_bytes()), Pump::sink(clients));
            thread::sleep(Duration::from_millis(300));
            rounds[at].push(echo.run(150));
        }
    }
    echo_table(&subjects, &mut rounds);
}

pub(crate) fn idle(mtrelay: &str) {
    println!(
        "| | RSS KiB empty | RSS KiB a session at 1000 | at 5000 | 20 s after the last |\n|---|---|---|---|---|"
    );
    for mode in [Mode::Dd, Mode::ee("example.org")] {
        let subject = Subject::mtrelay(mtrelay, mode, true, &[]);
        thread::sleep(QUIET);
        let empty = meter::rss_kib(subject.pid);
        let mut sessions = Vec::new();
        let mut each = Vec::new();
        for count in [1000, 5000] {
            while sessions.len() < count {
                sessions.push(session(subject.addr, &subject.dc, &subject.opening));
            }
            thread::sleep(Duration::from_millis(1500));
            each.push((meter::rss_kib(subject.pid) - empty) as f64 / count as f64);
        }
        drop(sessions);
        thread::sleep(Duration::from_secs(20));
        let after = meter::rss_kib(subject.pid);
        println!(
            "| {} | {empty} | {:.2} | {:.2} | {after} |",
            subject.name, each[0], each[1]
        );
        assert!(
            matches!(subject.opening, Opening::Telegram(_)),
            "only ours is asked"
        );
    }
    let _ = load::QUESTION_LEN;
}
