//! Several builds of the relay side by side: another reactor, or yesterday's program and today's.
//!
//! `mtrelay-bench compare NAME=MTRELAY NAME=MTRELAY…`. The builds take turns in every round, all processes are on one processor, as on
//! most routers, and each figure is the median of the rounds. The last columns divide by the first build's figure.

use crate::load::session;
use crate::rate::{self, Direction};
use crate::session::{Echo, QUIET, whole_session};
use crate::subject::Subject;
use crate::{median, meter, place};
use mtrelay_test_support::Mode;
use std::thread;
use std::time::Duration;

const ROUNDS: usize = 9;
/// Sessions whose CPU time is measured together.
const SESSIONS: u32 = 300;
/// Echoes of one connection.
const ECHOES: usize = 3000;
/// Sessions that are open and idle while memory is measured.
const IDLE_SESSIONS: usize = 1000;
/// Sessions whose system calls are counted, and the seconds that they have for it.
const TRACED_SESSIONS: u32 = 300;
const TRACED_SECONDS: u32 = 10;

/// A build: its name in the table and its program.
pub(crate) struct Build<'a> {
    name: &'a str,
    program: &'a str,
}

impl<'a> Build<'a> {
    /// From `NAME=MTRELAY`.
    pub(crate) fn parse(argument: &'a str) -> Option<Build<'a>> {
        let (name, program) = argument.split_once('=')?;
        Some(Build { name, program })
    }
}

/// Measures everything and prints it row by row.
pub(crate) fn run(builds: &[Build<'_>]) {
    print!("| |");
    builds.iter().for_each(|build| print!(" {} |", build.name));
    builds[1..]
        .iter()
        .for_each(|build| print!(" {} ÷ {} |", build.name, builds[0].name));
    println!("\n|---|{}", "---|".repeat(2 * builds.len() - 1));
    row(
        "size of the program, KiB",
        &builds.iter().map(program_kib).collect::<Vec<_>>(),
    );
    for (name, mode) in [("dd", Mode::Dd), ("ee", Mode::ee("example.org"))] {
        let subjects = start(builds, &mode, true);
        place::on_one_processor(&subjects, || {
            sessions(name, &subjects);
            echoes(name, &subjects);
            for connections in [1, 32] {
                bytes(name, &subjects, Direction::Down, connections);
            }
            bytes(name, &subjects, Direction::Up, 32);
        });
        system_calls(name, &subjects);
        drop(subjects);
        let subjects = start(builds, &mode, false);
        place::on_one_processor(&subjects, || {
            bytes(&format!("{name}, fast mode off"), &subjects, Direction::Down, 32);
        });
        drop(subjects);
        idle(name, builds, &mode);
    }
}

fn start(builds: &[Build<'_>], mode: &Mode, fast_mode: bool) -> Vec<Subject> {
    let start = |build: &Build<'_>| Subject::mtrelay(build.program, mode.clone(), fast_mode, &[]);
    builds.iter().map(start).collect()
}

fn row(name: &str, figures: &[f64]) {
    print!("| {name} |");
    figures.iter().for_each(|figure| print!(" {figure:.3} |"));
    figures[1..]
        .iter()
        .for_each(|figure| print!(" {:.2} |", figure / figures[0]));
    println!();
}

/// The median of the rounds for each subject and each of `N` figures. The subjects take turns.
fn in_turns<const N: usize>(
    subjects: &[Subject],
    mut measure: impl FnMut(&Subject) -> [f64; N],
) -> [Vec<f64>; N] {
    let mut rounds = vec![Vec::with_capacity(ROUNDS); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            rounds.push(measure(subject));
        }
    }
    std::array::from_fn(|at| {
        let figures = |rounds: &Vec<[f64; N]>| median(rounds.iter().map(|round| round[at]).collect());
        rounds.iter().map(figures).collect()
    })
}

fn program_kib(build: &Build<'_>) -> f64 {
    std::fs::metadata(build.program)
        .expect("the program is there")
        .len() as f64
        / 1024.0
}

fn sessions(name: &str, subjects: &[Subject]) {
    let [cost] = in_turns(subjects, |subject| {
        let before = meter::cpu(subject.pid);
        (0..SESSIONS).for_each(|_| whole_session(subject));
        // The relay has closed its last sockets by then.
        thread::sleep(Duration::from_millis(20));
        [(meter::cpu(subject.pid) - before).as_nanos() as f64 / 1e3 / f64::from(SESSIONS)]
    });
    row(&format!("{name}: CPU µs a session"), &cost);
}

fn echoes(name: &str, subjects: &[Subject]) {
    let [p50, p99] = in_turns(subjects, |subject| {
        let times = Echo::start(subject).run(ECHOES);
        [0.5, 0.99].map(|part| times[(times.len() as f64 * part) as usize])
    });
    row(&format!("{name}: echo p50 µs"), &p50);
    row(&format!("{name}: echo p99 µs"), &p99);
}

fn bytes(name: &str, subjects: &[Subject], direction: Direction, connections: usize) {
    let [cost, rate] = in_turns(subjects, |subject| {
        rate::measure(subject, direction, connections).into()
    });
    let direction = match direction {
        Direction::Down => "downloaded",
        Direction::Up => "uploaded",
    };
    row(
        &format!("{name}: CPU ns a byte {direction}, {connections} connections"),
        &cost,
    );
    row(
        &format!("{name}: GB/s {direction}, {connections} connections"),
        &rate,
    );
}

/// System calls of a session, and threads once it is over.
fn system_calls(name: &str, subjects: &[Subject]) {
    let counts: Option<Vec<f64>> = subjects.iter().map(calls_per_session).collect();
    match counts {
        Some(counts) => row(&format!("{name}: system calls a session"), &counts),
        None => println!("| {name}: system calls: strace is not there, or may not trace |"),
    }
    let threads: Vec<f64> = subjects
        .iter()
        .map(|subject| meter::threads(subject.pid) as f64)
        .collect();
    row(&format!("{name}: threads"), &threads);
}

fn calls_per_session(subject: &Subject) -> Option<f64> {
    let counts = thread::scope(|scope| {
        let tracing = scope.spawn(|| meter::syscalls(subject.pid, TRACED_SECONDS));
        // Sessions that are not traced would be counted without their calls.
        while !meter::is_traced(subject.pid) && !tracing.is_finished() {
            thread::sleep(Duration::from_millis(1));
        }
        (0..TRACED_SESSIONS).for_each(|_| whole_session(subject));
        assert!(!tracing.is_finished(), "the sessions took too long");
        tracing.join().expect("it does not panic")
    })?;
    let calls: f64 = counts.iter().map(|(_, count)| *count as f64).sum();
    Some(calls / f64::from(TRACED_SESSIONS))
}

fn idle(name: &str, builds: &[Build<'_>], mode: &Mode) {
    let kib = builds.iter().map(|build| {
        let subject = Subject::mtrelay(build.program, mode.clone(), true, &[]);
        thread::sleep(QUIET);
        let empty = meter::rss_kib(subject.pid);
        let open = |_| session(subject.addr, &subject.dc, &subject.opening);
        let sessions: Vec<_> = (0..IDLE_SESSIONS).map(open).collect();
        thread::sleep(Duration::from_millis(1500));
        let each = (meter::rss_kib(subject.pid) - empty) as f64 / sessions.len() as f64;
        (empty as f64, each)
    });
    let (empty, each): (Vec<_>, Vec<_>) = kib.unzip();
    row(&format!("{name}: RSS KiB without sessions"), &empty);
    row(
        &format!("{name}: RSS KiB an idle session, {IDLE_SESSIONS} of them"),
        &each,
    );
}
