//! CPU time for each byte, in both directions.

use crate::load::{Pump, download_bytes, session, upload_bytes};
use crate::place::in_each_place;
use crate::subject::Subject;
use crate::{all_subjects, limits, median, meter, table};
use std::thread;
use std::time::{Duration, Instant};

const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(300);
const MEASURED: Duration = Duration::from_millis(800);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Down,
    Up,
}

/// CPU nanoseconds a byte, and bytes a nanosecond.
pub(crate) fn measure(subject: &Subject, direction: Direction, connections: usize) -> (f64, f64) {
    let (_source, sink) = start(subject, direction, connections);
    thread::sleep(WARM_UP);
    let (bytes, cpu, begun) = (sink.moved(), meter::cpu(subject.pid), Instant::now());
    thread::sleep(MEASURED);
    let bytes = (sink.moved() - bytes) as f64;
    let cpu = (meter::cpu(subject.pid) - cpu).as_nanos() as f64;
    (cpu / bytes, bytes / begun.elapsed().as_nanos() as f64)
}

fn start(subject: &Subject, direction: Direction, connections: usize) -> (Pump, Pump) {
    let sessions = (0..connections).map(|_| session(subject.addr, &subject.dc, &subject.opening));
    let (clients, servers) = sessions.unzip();
    match direction {
        Direction::Down => (Pump::source(servers, download_bytes()), Pump::sink(clients)),
        Direction::Up => (
            Pump::source(clients, upload_bytes(&subject.opening)),
            Pump::sink(servers),
        ),
    }
}

pub(crate) fn compare(subjects: &[Subject], direction: Direction, connections: usize, limits: usize) {
    in_each_place(subjects, |place| {
        println!("{direction:?}, {connections} connections, {place}\n");
        compare_here(subjects, direction, connections, limits);
    });
}

fn compare_here(subjects: &[Subject], direction: Direction, connections: usize, limits: usize) {
    let mut figures = vec![(Vec::new(), Vec::new()); subjects.len()];
    for _ in 0..ROUNDS {
        for (subject, (cost, rate)) in subjects.iter().zip(&mut figures) {
            let (cost_now, rate_now) = measure(subject, direction, connections);
            cost.push(cost_now);
            rate.push(rate_now);
        }
    }
    let rows: Vec<_> = subjects
        .iter()
        .zip(figures)
        .map(|(subject, (cost, rate))| {
            let name = format!("{} ({:.2} GB/s)", subject.name, median(rate));
            (name, median(cost))
        })
        .collect();
    table("CPU ns a byte", &rows, limits);
    println!();
}

pub(crate) fn downloads(mtrelay: &str) {
    for fast_mode in [true, false] {
        let subjects = all_subjects(mtrelay, fast_mode);
        for connections in [1, 32] {
            compare(&subjects, Direction::Down, connections, limits().len());
        }
    }
}

pub(crate) fn uploads(mtrelay: &str) {
    let subjects = all_subjects(mtrelay, true);
    for connections in [1, 32] {
        compare(&subjects, Direction::Up, connections, limits().len());
    }
}

pub(crate) fn syscalls(mtrelay: &str) {
    for (direction, fast_mode) in [
        (Direction::Down, true),
        (Direction::Down, false),
        (Direction::Up, true),
    ] {
        println!("{direction:?}, 32 connections\n");
        for subject in all_subjects(mtrelay, fast_mode) {
            let (_source, sink) = start(&subject, direction, 32);
            thread::sleep(WARM_UP);
            let before = sink.moved();
            let Some(calls) = meter::syscalls(subject.pid, 2) else {
                return println!("strace is not there, or may not trace: not counted");
            };
            let mib = (sink.moved() - before) as f64 / f64::from(1 << 20);
            print!("- {}: ", subject.name);
            for (name, count) in calls.iter().filter(|(_, count)| *count as f64 > mib / 20.0) {
                print!("{name} {:.1}, ", *count as f64 / mib);
            }
            let all: u64 = calls.iter().map(|(_, count)| count).sum();
            println!("in all {:.1} a MiB", all as f64 / mib);
        }
        println!();
    }
}
