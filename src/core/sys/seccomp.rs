//! The system calls that the running daemon may make (seccomp(2)). All others fail with `EPERM`: an exploited daemon can start no
//! program, mount no file system and signal no other process.
//!
//! On OpenWrt procd installs the same list, from `/etc/seccomp/mtrelay.json`. A test compares the two lists.

use std::fmt;

/// Why no filter was installed.
#[derive(Debug)]
pub struct Unsupported(String);

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Installs the filter for this thread and the threads that it starts, permanently. Call it while the process has one thread.
///
/// # Errors
/// When the architecture or the kernel does not support such a filter. Nothing has changed then.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
pub fn confine() -> Result<(), Unsupported> {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
    let unsupported = |error: &dyn fmt::Display| Unsupported(error.to_string());
    let calls = calls::ALLOWED.iter().chain(calls::OLDER);
    let rules = calls.map(|call| (*call, Vec::new()));
    let denied = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into();
    let arch = arch.map_err(|error: seccompiler::BackendError| unsupported(&error))?;
    let filter = SeccompFilter::new(rules.collect(), denied, SeccompAction::Allow, arch)
        .map_err(|error| unsupported(&error))?;
    let program: BpfProgram = filter
        .try_into()
        .map_err(|error: seccompiler::BackendError| unsupported(&error))?;
    apply_filter(&program).map_err(|error| unsupported(&error))
}

/// Fails: no filter exists for this architecture. On a router procd installs its own.
///
/// # Errors
/// Always.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
pub fn confine() -> Result<(), Unsupported> {
    Err(Unsupported(format!("not built for {}", std::env::consts::ARCH)))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod calls {
    pub(super) const ALLOWED: &[libc::c_long] = &[
        // Files, pipes and the reactor.
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_lseek,
        libc::SYS_close,
        libc::SYS_openat,
        libc::SYS_newfstatat,
        libc::SYS_fstat,
        libc::SYS_statx,
        libc::SYS_fstatfs,
        libc::SYS_getdents64,
        libc::SYS_fcntl,
        libc::SYS_ioctl,
        libc::SYS_ftruncate,
        libc::SYS_pipe2,
        libc::SYS_splice,
        libc::SYS_tee,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_eventfd2,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_signalfd4,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_settime,
        // Sockets.
        libc::SYS_socket,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept4,
        libc::SYS_connect,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_setsockopt,
        libc::SYS_sendto,
        libc::SYS_recvfrom,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvmmsg,
        libc::SYS_shutdown,
        // Memory.
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        // Threads: names are looked up on one of their own.
        libc::SYS_futex,
        libc::SYS_clone,
        libc::SYS_clone3,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_set_tid_address,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_tgkill,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_membarrier,
        // Signals.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        // Clocks.
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_gettimeofday,
        libc::SYS_adjtimex,
        libc::SYS_clock_adjtime,
        // What a program asks of its surroundings.
        libc::SYS_getrandom,
        libc::SYS_uname,
        libc::SYS_sysinfo,
        libc::SYS_prlimit64,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_prctl,
        libc::SYS_readlinkat,
        libc::SYS_faccessat,
    ];

    /// Older forms of the same calls, which this architecture has in addition.
    #[cfg(target_arch = "x86_64")]
    pub(super) const OLDER: &[libc::c_long] = &[
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_poll,
        libc::SYS_epoll_wait,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_pipe,
        libc::SYS_dup2,
        libc::SYS_select,
        libc::SYS_getrlimit,
        libc::SYS_time,
        libc::SYS_arch_prctl,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const OLDER: &[libc::c_long] = &[];
}

#[cfg(test)]
mod tests {
    /// Every call that the source above names.
    fn named() -> Vec<&'static str> {
        let source = include_str!("seccomp.rs");
        let names = source
            .lines()
            .filter_map(|line| line.trim().strip_prefix("libc::SYS_"));
        names.map(|name| name.trim_end_matches(',')).collect()
    }

    #[test]
    fn procd_s_list_has_every_call_of_ours_and_fits_its_jumps() {
        let json = include_str!("../../../openwrt/files/etc/seccomp/mtrelay.json");
        let named = named();
        assert!(named.len() > 90, "{}", named.len());
        for name in named {
            assert!(json.contains(&format!("\"{name}\"")), "{name}");
        }
        // procd's filter jumps over all names of a rule at once, in a byte.
        let names = json.lines().filter(|line| line.starts_with("\t\t\t\t\"")).count();
        assert!((100..250).contains(&names), "{names}");
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn what_is_not_on_the_list_fails_and_the_rest_goes_on() {
        use std::io::ErrorKind::PermissionDenied;
        use std::net::{TcpListener, TcpStream};
        // The filter is this thread's, and ends with it.
        std::thread::spawn(|| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
            if let Err(error) = super::confine() {
                // An emulator of another architecture has no filters.
                assert!(std::env::var_os("MTRELAY_RUNNER").is_some(), "{error}");
                return mtrelay_test_support::require::skip("the emulator has no seccomp filters");
            }
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("files can be read");
            assert!(status.contains("Seccomp:\t2\n"), "{status}");
            let program = std::process::Command::new("/bin/true").status();
            assert_eq!(
                program.map_err(|error| error.kind()).err(),
                Some(PermissionDenied)
            );
            for (name, result) in [
                ("unlink", std::fs::remove_file("/nonexistent")),
                ("mkdir", std::fs::create_dir("/nonexistent/a")),
                ("chroot", std::os::unix::fs::chroot("/nonexistent")),
                (
                    "kill",
                    rustix::process::test_kill_process(rustix::process::getpid()).map_err(Into::into),
                ),
            ] {
                assert_eq!(
                    result.map_err(|error| error.kind()),
                    Err(PermissionDenied),
                    "{name}"
                );
            }
            let address = listener.local_addr().expect("it is bound");
            #[expect(clippy::disallowed_methods, reason = "a test may connect")]
            let connected = TcpStream::connect(address);
            assert!(connected.is_ok() && listener.accept().is_ok());
            assert_eq!(std::thread::spawn(|| 7).join().ok(), Some(7));
        })
        .join()
        .expect("the thread's own assertions hold");
    }
}
