//! The calls to the kernel that no safe wrapper covers: asking for Landlock's version without restricting anything, and an
//! adapter's ring sizes. Each function is one system call on values of its own.

#![expect(
    unsafe_code,
    reason = "the landlock crate tells the version only to who is restricted, and rustix knows no ethtool"
)]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::Errno;

use crate::diagnosis::RingSizes;

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

/// The receive ring of an interface. `socket` may be any of the namespace.
pub(crate) fn ring_sizes(socket: BorrowedFd<'_>, interface: &str) -> Result<RingSizes, Errno> {
    let mut request = Request { name: [0; libc::IFNAMSIZ], argument: [0; 24] };
    match request.name.get_mut(..interface.len()) {
        Some(room) if interface.len() < libc::IFNAMSIZ => room.copy_from_slice(interface.as_bytes()),
        _ => return Err(Errno::NODEV),
    }
    // `struct ethtool_ringparam`: the command, four maxima (receive, mini, jumbo, send), and the four sizes.
    let mut ring = [0u32; 9];
    ring[0] = ETHTOOL_GRINGPARAM;
    let at = ring.as_mut_ptr();
    request.argument[..size_of::<usize>()].copy_from_slice(&at.expose_provenance().to_ne_bytes());
    // SAFETY: SIOCETHTOOL reads a `struct ifreq`, whose size and layout `Request` has: the name, then a union, here a
    // pointer to the command's structure. That is exclusively borrowed for the call and as large as the kernel makes the
    // answer; any bits are a u32. The kernel keeps no pointer.
    let result =
        unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut request)) };
    if result == 0 { Ok(RingSizes { now: ring[5], most: ring[1] }) } else { Err(last_errno()) }
}

/// `struct ifreq`: the name, and a union of 24 bytes (16 where pointers are 32 bits wide).
#[repr(C, align(8))]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    argument: [u8; 24],
}

const _: () = assert!(size_of::<Request>() >= size_of::<libc::ifreq>(), "the kernel reads a whole ifreq");
const _: () = assert!(align_of::<Request>() >= align_of::<libc::ifreq>(), "an ifreq is aligned");

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// linux/landlock.h
const CREATE_RULESET_VERSION: u32 = 1;
/// linux/ethtool.h
const ETHTOOL_GRINGPARAM: u32 = 0x10;
