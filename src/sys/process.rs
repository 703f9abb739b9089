//! What the process may use and who it is: descriptors, memory, user.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::ffi::CString;
use std::io;

/// Raises the soft limit of open descriptors to `wanted`, or as far as the hard limit lets it. Returns what it is then.
#[must_use]
pub fn raise_nofile(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let soft = limit.current.unwrap_or(u64::MAX);
    if soft >= wanted {
        return soft;
    }
    let raised = limit.maximum.map_or(wanted, |hard| hard.min(wanted));
    match setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(raised),
            maximum: limit.maximum,
        },
    ) {
        Ok(()) => raised,
        Err(_) => soft,
    }
}

/// Resident memory in KiB, from /proc/self/statm.
#[must_use]
pub fn rss_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * (rustix::param::page_size() as u64 / 1024)
}

/// Whether a file lives in RAM: on tmpfs or ramfs.
///
/// # Errors
/// As fstatfs(2).
pub fn is_in_memory(file: &std::fs::File) -> io::Result<bool> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    // The field's type differs between architectures, its bits do not.
    let kind = rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff;
    Ok(matches!(kind, TMPFS | RAMFS))
}

/// Gives freed memory back to the system, where the allocator keeps it otherwise.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub fn trim_heap() {
    // SAFETY: malloc_trim takes no pointers and may be called at any time.
    unsafe {
        libc::malloc_trim(64 * 1024);
    }
}

/// Nothing: musl's allocator gives memory back by itself.
#[cfg(not(target_env = "gnu"))]
pub fn trim_heap() {}

/// Whether the process is root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Becomes user `name` for good, with that user's group and no other.
///
/// To be called before any thread exists: each thread has an identity of its own.
///
/// # Errors
/// When there is no such user, or the right to become it is missing.
#[expect(
    unsafe_code,
    reason = "getpwnam and the set*id calls have no safe wrappers for the whole process"
)]
pub fn become_user(name: &str) -> io::Result<()> {
    let no_such_user = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no user '{name}' on this system"),
        )
    };
    let c_name = CString::new(name).map_err(|_| no_such_user())?;
    // SAFETY: the name is a C string; the result is read at once, while no other thread can overwrite it.
    let (uid, gid) = unsafe {
        let entry = libc::getpwnam(c_name.as_ptr());
        if entry.is_null() {
            return Err(no_such_user());
        }
        ((*entry).pw_uid, (*entry).pw_gid)
    };
    // SAFETY: an empty list of groups, and plain numbers. Groups first: afterwards the right is gone.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(gid) == 0 && libc::setuid(uid) == 0
    };
    if done {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// No program that this process may start can gain privileges, and neither can the process itself.
///
/// # Errors
/// When the kernel is older than 3.5.
pub fn forbid_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}
