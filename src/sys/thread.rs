//! What the standard library wants of threads and musl makes expensive.

/// In place of musl's, which formats a path into `/proc` for threads other than the caller's, and with that brings all of
/// `printf` into the program. The standard library names only the thread that runs.
#[cfg(target_env = "musl")]
#[expect(unsafe_code, reason = "the standard library calls it by this name")]
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_: libc::pthread_t, name: *const libc::c_char) -> libc::c_int {
    // SAFETY: the caller gives a C string, of which the kernel copies at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name) }
}
