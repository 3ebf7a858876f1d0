//! The calls to the kernel that no safe wrapper covers: asking for Landlock's version without restricting anything.

#![expect(unsafe_code, reason = "the landlock crate tells the version only to who is restricted")]

use std::ptr;

use rustix::io::Errno;

/// The version of Landlock's interface that the kernel has.
pub(crate) fn landlock_abi() -> Result<u32, Errno> {
    // SAFETY: with this flag the kernel reads neither the pointer nor the size, which must be null and 0; it only answers.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            ptr::null::<libc::c_void>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(answer).map_err(|_| last_errno())
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// linux/landlock.h
const CREATE_RULESET_VERSION: u32 = 1;
