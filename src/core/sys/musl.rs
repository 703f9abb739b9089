//! Small replacements of C library functions: the linker prefers them, which makes a router's binary 20 KB smaller.
#![cfg(target_env = "musl")]
#![expect(unsafe_code, reason = "C calls them by their names")]

use libc::{c_char, c_int, c_void, size_t};

/// Names the calling thread. musl's version formats a path in `/proc` for other threads, which links all of `printf`; the standard
/// library names only the calling thread.
#[unsafe(no_mangle)]
extern "C" fn pthread_setname_np(_: libc::pthread_t, name: *const c_char) -> c_int {
    // SAFETY: the caller gives a C string, of which the kernel copies at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name) }
}

/// Insertion sort. The only caller is musl's name resolution, which sorts at most 48 addresses.
#[unsafe(no_mangle)]
unsafe extern "C" fn qsort(
    base: *mut c_void,
    count: size_t,
    size: size_t,
    compare: extern "C" fn(*const c_void, *const c_void) -> c_int,
) {
    for sorted in 1..count {
        for at in (1..=sorted).rev() {
            // SAFETY: the caller gives `count` elements of `size` bytes; these are two neighbours among them.
            unsafe {
                let upper = base.byte_add(at * size);
                let lower = upper.byte_sub(size);
                if compare(lower, upper) <= 0 {
                    break;
                }
                std::ptr::swap_nonoverlapping(lower.cast::<u8>(), upper.cast::<u8>(), size);
            }
        }
    }
}
