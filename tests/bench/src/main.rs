//! What the relay costs, beside two plain relays as limits: `mtrelay-bench MTRELAY [CASE…]`, and beside other builds of itself:
//! `mtrelay-bench compare NAME=MTRELAY NAME=MTRELAY…`.
//!
//! Every comparison is of one run: the relays take turns, and each figure is the median of its rounds. CPU time is the
//! relay's own, from the scheduler; the load's is not in it.
#![allow(clippy::print_stdout, reason = "a table is what it is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "the ban on clocks and raw connects is for the relay; benches are the outside world"
)]

mod bus;
mod compare;
mod load;
mod meter;
mod place;
mod plain;
mod rate;
mod rtt;
mod segments;
mod session;
mod stall;
mod subject;

use compare::Build;
use mtrelay_test_support::{Mode, Tag};
use plain::Way;
use std::process::ExitCode;
use subject::Subject;

/// The pipes of the system's own default, and the largest that any user may have.
const SMALL_PIPE: usize = 64 * 1024;
const LARGE_PIPE: usize = 1 << 20;

const USAGE: &str =
    "usage: mtrelay-bench MTRELAY [CASE…]\n       mtrelay-bench compare NAME=MTRELAY NAME=MTRELAY…";

type Case = (&'static str, fn(&str));

const CASES: [Case; 12] = [
    ("download", rate::downloads),
    ("upload", rate::uploads),
    ("syscalls", rate::syscalls),
    ("setup", session::setup),
    ("echo", session::echo),
    ("busy-echo", session::echo_beside_downloads),
    ("idle", session::idle),
    ("rtt", rtt::far_downloads),
    ("lossy", rtt::lossy_downloads),
    ("segments", segments::small_segments),
    ("stall", stall::stalled_readers),
    ("ubus", bus::calls_beside_downloads),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["plain", "copy", listen, to] => serve(Way::Copy, listen, to),
        ["plain", "splice", size, listen, to] => match size.parse() {
            Ok(size) => serve(Way::Splice(size), listen, to),
            Err(_) => ExitCode::from(2),
        },
        ["compare", builds @ ..] => compare_builds(builds),
        [mtrelay, wanted @ ..] => {
            if let Some(unknown) = wanted
                .iter()
                .find(|name| CASES.iter().all(|(case, _)| case != *name))
            {
                println!("no case {unknown}; there are {:?}", CASES.map(|(name, _)| name));
                return ExitCode::from(2);
            }
            println!("Congestion control: {}.", meter::congestion_control());
            for (name, run) in CASES {
                if wanted.is_empty() || wanted.contains(&name) {
                    println!("\n## {name}\n");
                    run(mtrelay);
                }
            }
            ExitCode::SUCCESS
        }
        [] => {
            println!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn compare_builds(arguments: &[&str]) -> ExitCode {
    let builds: Option<Vec<Build<'_>>> = arguments.iter().map(|argument| Build::parse(argument)).collect();
    match builds {
        Some(builds) if builds.len() > 1 => {
            println!("Congestion control: {}.\n", meter::congestion_control());
            compare::run(&builds);
            ExitCode::SUCCESS
        }
        _ => {
            println!("{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn serve(way: Way, listen: &str, to: &str) -> ExitCode {
    let (Ok(listen), Ok(to)) = (listen.parse(), to.parse()) else {
        return ExitCode::from(2);
    };
    match plain::run(way, listen, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The limits, and the relay in each mode.
fn all_subjects(mtrelay: &str, fast_mode: bool) -> Vec<Subject> {
    let mut subjects = limits();
    for mode in [Mode::Plain(Tag::INTERMEDIATE), Mode::Dd, Mode::ee("example.org")] {
        subjects.push(Subject::mtrelay(mtrelay, mode, fast_mode, &[]));
    }
    subjects
}

fn limits() -> Vec<Subject> {
    vec![
        Subject::plain(Way::Copy),
        Subject::plain(Way::Splice(SMALL_PIPE)),
        Subject::plain(Way::Splice(LARGE_PIPE)),
    ]
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A table with a ratio to each of the first rows, the limits.
fn table(unit: &str, rows: &[(String, f64)], limits: usize) {
    print!("| | {unit} |");
    rows[..limits].iter().for_each(|(name, _)| print!(" ÷ {name} |"));
    println!("\n|---|---|{}", "---|".repeat(limits));
    for (name, figure) in rows {
        print!("| {name} | {figure:.3} |");
        rows[..limits]
            .iter()
            .for_each(|(_, limit)| print!(" {:.2} |", figure / limit));
        println!();
    }
}
