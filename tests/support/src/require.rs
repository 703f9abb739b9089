//! What a test needs from the machine: a right, a program, IPv6, a kernel feature.
//!
//! A test that lacks one of them is skipped: it says so on stderr and returns. With `CI=true` a skipped test fails instead,
//! because CI has everything. Python has the same rule in `tests/router/require.py`.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Whether this is CI, where every test has to run.
pub fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Skips the test that calls it: prints the reason, past the capture of the test harness. The caller returns afterwards.
///
/// # Panics
/// In CI.
#[track_caller]
pub fn skip(reason: &str) {
    assert!(!is_ci(), "this test must run in CI: {reason}");
    report("SKIPPED", reason);
}

/// Prints a line about the running test to stderr, past the capture of the test harness: `WORD test: text`.
pub fn report(word: &str, text: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // A closed stderr has no reader.
    let _ = writeln!(std::io::stderr(), "{word} {test}: {text}");
}

/// IPv6 on the loopback interface, or skips.
#[must_use]
#[track_caller]
pub fn ipv6() -> bool {
    available(crate::tcp::has_ipv6(), "IPv6 is off: ::1 cannot be bound")
}

/// Root, or skips.
#[must_use]
#[track_caller]
pub fn root() -> bool {
    available(rustix::process::geteuid().is_root(), "root is needed")
}

/// A native daemon, or skips: an emulator (`MTRELAY_RUNNER`) lacks this feature of the kernel.
#[must_use]
#[track_caller]
pub fn native(feature: &str) -> bool {
    let emulated = std::env::var_os("MTRELAY_RUNNER").is_some();
    available(!emulated, &format!("the emulator has no {feature}"))
}

/// All of these programs in `PATH`, or skips.
#[must_use]
#[track_caller]
pub fn programs(names: &[&str]) -> bool {
    let cannot_start = |name: &&&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_err()
    };
    let missing: Vec<&&str> = names.iter().filter(cannot_start).collect();
    available(missing.is_empty(), &format!("not installed: {missing:?}"))
}

#[track_caller]
fn available(is: bool, reason: &str) -> bool {
    if !is {
        skip(reason);
    }
    is
}
