//! What the process may use and who it is: descriptors, memory, user.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{self, CapabilitySet, CapabilitySets};
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

/// The machine's memory in KiB, from /proc/meminfo; what a small router has, where that cannot be read.
#[must_use]
pub fn memory_kib() -> u64 {
    const SMALL: u64 = 64 * 1024;
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    total.unwrap_or(SMALL)
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

/// Lets go of the pages of code that nobody has used lately, such as all that only the start needs. What is needed again comes
/// from the page cache, or from its file.
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
        // SAFETY: a mapping of a file that is only ever read and run, so each page is the file's, and is read from it again
        // when it is touched. The range is the kernel's own.
        unsafe {
            libc::madvise(
                std::ptr::with_exposed_provenance_mut(start),
                end.saturating_sub(start),
                libc::MADV_DONTNEED,
            );
        }
    }
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

/// Rights that stay with a user who is not root.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// To bind ports below 1024.
    pub low_ports: bool,
    /// To mark connections (SO_MARK).
    pub marks: bool,
}

/// Becomes user `name` for good, with that user's group and no other, and with no rights but `rights`.
///
/// To be called before any thread exists: each thread has an identity of its own.
///
/// # Errors
/// When there is no such user, or the right to become it is missing.
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
    // SAFETY: an empty list of groups, and plain numbers. Groups first: afterwards the right is gone.
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

/// User and group of `/etc/passwd`'s line about `name`: name, password, user, group, and what does not matter here.
/// The C library's reader would bring its lookups by network with it.
fn ids(line: &str, name: &str) -> Option<(libc::uid_t, libc::gid_t)> {
    let mut fields = line.split(':');
    let (found, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    (found == name).then_some((uid.parse().ok()?, gid.parse().ok()?))
}

/// No program that this process may start can gain privileges, and neither can the process itself.
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
