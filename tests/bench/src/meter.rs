//! What a process costs: from /proc, and from the kernel's socket diagnostics.

use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// CPU time of all its threads, in the scheduler's nanoseconds.
pub(crate) fn cpu(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    let time = tasks.filter_map(|task| {
        let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(time.sum())
}

/// The number of its threads.
pub(crate) fn threads(pid: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    tasks.count()
}

/// Whether a tracer is attached to it.
pub(crate) fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"));
    line.is_some_and(|tracer| tracer.trim() != "0")
}

/// Lets all threads of a process, and those that they begin later, run on these processors only.
pub(crate) fn pin(pid: u32, processors: &[usize]) {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the process lives");
    for task in tasks.flatten() {
        let id = task.file_name().to_str().and_then(|id| id.parse().ok());
        // A thread may have ended meanwhile.
        let _ = sched_setaffinity(id.and_then(Pid::from_raw), &set);
    }
}

/// Those that this thread may run on.
pub(crate) fn processors() -> Vec<usize> {
    let set = sched_getaffinity(None).expect("we run somewhere");
    (0..CpuSet::MAX_CPU)
        .filter(|processor| set.is_set(*processor))
        .collect()
}

/// The algorithm that new sockets use: one that paces, such as BBR, sets a timer for most of what is sent, and that costs more than
/// moving bytes does.
pub(crate) fn congestion_control() -> String {
    let name = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control");
    name.expect("Linux tells").trim().to_string()
}

/// Resident memory in KiB.
pub(crate) fn rss_kib(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok())
        .expect("the kernel says VmRSS")
}

/// System calls by name in `seconds`, if strace is there to count them.
pub(crate) fn syscalls(pid: u32, seconds: u32) -> Option<Vec<(String, u64)>> {
    let output = Command::new("timeout")
        .args([
            "-s",
            "INT",
            &seconds.to_string(),
            "strace",
            "-fcqp",
            &pid.to_string(),
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let rows = text.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (calls, name) = (words.get(3)?.parse().ok()?, words.last()?);
        (*name != "total").then(|| ((*name).to_string(), calls))
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then_some(rows)
}

/// Kernel memory in bytes of the sockets whose local port is `local` or whose peer's port is `peer`: what waits to be
/// read, what waits to be sent, and what is set aside for both.
pub(crate) fn socket_memory(local: u16, peer: u16) -> Option<u64> {
    let filter = format!("( sport = :{local} or dport = :{peer} )");
    let output = Command::new("ss")
        .args(["-Htnm", "state", "established", &filter])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut sum = 0;
    for memory in text.split("skmem:(").skip(1) {
        let fields = memory.split(')').next()?.split(',');
        for field in fields {
            let digits = field.trim_start_matches(|c: char| !c.is_ascii_digit());
            let name = &field[..field.len() - digits.len()];
            if ["r", "w", "f"].contains(&name) {
                sum += digits.parse::<u64>().ok()?;
            }
        }
    }
    Some(sum)
}
