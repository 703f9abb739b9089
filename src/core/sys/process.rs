//! The process: limit of descriptors, memory, user and capabilities.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
use std::io;

/// Raises the soft limit of open descriptors to `wanted`, or to the hard limit if that is lower. Returns the limit in force.
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

/// Resident memory of the process in KiB, from /proc/self/statm.
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

/// The system's RAM in KiB, from /proc/meminfo, or that of a small router (64 MiB) if the file cannot be read.
#[must_use]
pub fn memory_kib() -> u64 {
    const SMALL: u64 = 64 * 1024;
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    total.unwrap_or(SMALL)
}

/// Whether a file is on tmpfs or ramfs.
///
/// # Errors
/// As fstatfs(2).
pub fn is_in_memory(file: &std::fs::File) -> io::Result<bool> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    // The field's type differs between architectures; its bits are the same.
    let kind = rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff;
    Ok(matches!(kind, TMPFS | RAMFS))
}

/// Drops the process's mapped code pages from its resident memory, such as code that only the start needs. A page that runs again
/// is mapped from the page cache or read from its file.
#[expect(unsafe_code, reason = "madvise has no safe wrapper")]
pub fn forget_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let code = maps
        .lines()
        .filter(|line| line.contains(" r-xp ") && line.contains('/'));
    for line in code {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let Some((start, end)) = range else { continue };
        let ends = (usize::from_str_radix(start, 16), usize::from_str_radix(end, 16));
        let (Ok(start), Ok(end)) = ends else { continue };
        // SAFETY: the range is a mapping of a file, as the kernel reports it, and is only read and executed. Each of its pages is
        // read from the file again at the next access.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                end.saturating_sub(start),
                libc::MADV_DONTNEED,
            );
        }
    }
}

/// Returns freed heap memory to the system. glibc's allocator keeps it otherwise.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "malloc_trim has no safe wrapper")]
pub fn trim_heap() {
    // SAFETY: malloc_trim takes no pointers and may be called at any time.
    unsafe {
        libc::malloc_trim(64 * 1024);
    }
}

/// Does nothing: musl's allocator returns freed memory by itself.
#[cfg(not(target_env = "gnu"))]
pub fn trim_heap() {}

/// Whether the process runs as root.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Capabilities that an unprivileged user keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Bind ports below 1024 (`CAP_NET_BIND_SERVICE`).
    pub low_ports: bool,
    /// Mark connections with SO_MARK (`CAP_NET_ADMIN`).
    pub marks: bool,
}

/// Changes to user `name` permanently, with only that user's group and only the capabilities in `rights`.
///
/// Call it while the process has one thread: each thread has its own identity.
///
/// # Errors
/// When the user does not exist, or the process may not change to it.
#[expect(
    unsafe_code,
    reason = "the set*id calls have no safe wrappers for the whole process"
)]
pub fn become_user(name: &str, rights: Rights) -> io::Result<()> {
    let no_such_user = || {
        io::Error::new(
            io::ErrorKind::NotFound,
            format!("no user '{name}' on this system"),
        )
    };
    let (uid, gid) = std::fs::read_to_string("/etc/passwd")?
        .lines()
        .find_map(|line| ids(line, name))
        .ok_or_else(no_such_user)?;
    let mut kept = CapabilitySet::empty();
    kept.set(CapabilitySet::NET_BIND_SERVICE, rights.low_ports);
    kept.set(CapabilitySet::NET_ADMIN, rights.marks);
    thread::set_keep_capabilities(!kept.is_empty())?;
    // SAFETY: the arguments are an empty list of groups and plain numbers. Groups come first, because setuid gives up the right.
    let done = unsafe {
        libc::setgroups(0, std::ptr::null()) == 0 && libc::setgid(gid) == 0 && libc::setuid(uid) == 0
    };
    if !done {
        return Err(io::Error::last_os_error());
    }
    if uid != 0 {
        let sets = CapabilitySets {
            effective: kept,
            permitted: kept,
            inheritable: CapabilitySet::empty(),
        };
        thread::set_capabilities(None, sets)?;
    }
    Ok(())
}

/// User and group id of a line in `/etc/passwd`, if the line is about `name`.
///
/// The C library's getpwnam(3) would link its lookups over the network.
fn ids(line: &str, name: &str) -> Option<(libc::uid_t, libc::gid_t)> {
    let mut fields = line.split(':');
    let (found, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    (found == name).then_some((uid.parse().ok()?, gid.parse().ok()?))
}

/// Sets `no_new_privs`: neither the process nor a program that it starts can gain privileges.
///
/// # Errors
/// When the kernel is older than 3.5.
pub fn forbid_new_privileges() -> io::Result<()> {
    Ok(rustix::thread::set_no_new_privs(true)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        assert_eq!(
            ids("mtrelay:x:8443:8444:mtrelay:/var/run:/bin/false", "mtrelay"),
            Some((8443, 8444))
        );
        assert_eq!(ids("mtrelay:x:8443:8444", "mtrelay"), Some((8443, 8444)));
        assert_eq!(ids("mtrelay2:x:1:1::/:", "mtrelay"), None);
        assert_eq!(ids("mtrelay:x:one:1::/:", "mtrelay"), None);
        assert_eq!(ids("mtrelay:x:4294967296:1::/:", "mtrelay"), None);
        assert_eq!(ids("mtrelay", "mtrelay"), None);
        assert_eq!(ids("", ""), None);
    }
}
