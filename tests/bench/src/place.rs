//! Who runs where.
//!
//! A byte that another processor has touched costs twice as much as one that is still in this one's cache, so the scheduler's choice
//! of places would decide every comparison. They are fixed: all on one processor, as on most routers; and the relay on one, what
//! loads it on another.

use crate::meter;
use crate::subject::Subject;

/// Does `work` with all processes on one processor. Threads that begin in it inherit theirs.
pub(crate) fn on_one_processor(subjects: &[Subject], work: impl FnOnce()) {
    let processors = meter::processors();
    let load = std::process::id();
    for pid in subjects.iter().map(|subject| subject.pid).chain([load]) {
        meter::pin(pid, &processors[..1]);
    }
    work();
    meter::pin(load, &processors);
}

/// Does `work` with everybody in one place after the other, and tells it the place. Threads that begin in it inherit theirs.
pub(crate) fn in_each_place(subjects: &[Subject], mut work: impl FnMut(&str)) {
    let processors = meter::processors();
    let (first, last) = (processors[0], processors[processors.len() - 1]);
    subjects
        .iter()
        .for_each(|subject| meter::pin(subject.pid, &[first]));
    let load = std::process::id();
    meter::pin(load, &[first]);
    work("all on one processor");
    meter::pin(load, &[last]);
    if first == last {
        println!("There is no other processor for the load.\n");
    } else {
        work("the relay on a processor of its own");
    }
    meter::pin(load, &processors);
}
