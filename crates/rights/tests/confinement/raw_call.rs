//! System calls as the kernel sees them, and what it answers.

#![expect(
    unsafe_code,
    reason = "calls that are to be refused have no safe wrapper, or one that is never asked for"
)]

use std::io;
use std::ptr;

use libc::{c_int, c_long};

/// The error that a call answers; `None` if it succeeds.
///
/// For calls that must be refused: their arguments are such that nothing comes of them if they are not.
pub(crate) fn errno_of(call: c_long, arguments: [usize; 5]) -> Option<i32> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the callers pass numbers and null pointers only; the kernel refuses null where it wants memory.
    let answer = unsafe { libc::syscall(call, a, b, c, d, e) };
    if answer == -1 { io::Error::last_os_error().raw_os_error() } else { None }
}

/// Maps a page with some protection; the error if it is refused.
pub(crate) fn map_page(protection: c_int) -> Option<i32> {
    // SAFETY: a new private page, which nobody else knows of; it stays until the process ends.
    let page = unsafe {
        libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    };
    if page == libc::MAP_FAILED { io::Error::last_os_error().raw_os_error() } else { None }
}

/// Maps a writable page and asks for it to be run; the error if that is refused.
pub(crate) fn make_page_executable() -> Option<i32> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: as above; the page is changed before anything refers to it.
    let answer = unsafe {
        let page =
            libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(page, libc::MAP_FAILED);
        libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC)
    };
    if answer == -1 { io::Error::last_os_error().raw_os_error() } else { None }
}

/// Forks; the error if that is refused. A child ends at once.
pub(crate) fn fork() -> Option<i32> {
    // SAFETY: the child only ends, which is allowed whatever the threads were doing.
    match unsafe { libc::fork() } {
        -1 => io::Error::last_os_error().raw_os_error(),
        // SAFETY: as above.
        0 => unsafe { libc::_exit(0) },
        _ => None,
    }
}
