//! The calls to the kernel that no safe wrapper covers: options of packet sockets, and requests about interfaces.
//!
//! libpcap opens the socket, but neither it nor rustix sets fanout groups, reads the ring's counters without reading
//! sysfs on the way, or swaps a filter in one step. Each function is one system call on values of its own.

#![expect(unsafe_code, reason = "these options and requests have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, c_void, socklen_t};

use crate::bpf::Instruction;
use crate::live::statistics::KernelReading;

/// Replaces the socket's filter in one step.
pub(crate) fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    set_program(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, program)
}

/// Joins a fanout group; `mode` holds the flags too.
pub(crate) fn join_fanout(socket: BorrowedFd<'_>, group: u16, mode: u16) -> io::Result<()> {
    let argument = u32::from(group) | u32::from(mode) << 16;
    set(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &argument)
}

/// Sets the program of the group that the socket is in.
pub(crate) fn set_fanout_program(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    set_program(socket, libc::SOL_PACKET, libc::PACKET_FANOUT_DATA, program)
}

/// Keeps out what this host sends. (Linux 4.20.)
pub(crate) fn ignore_outgoing(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1u32)
}

/// What the ring counted since the last call: reading sets the kernel's counters to 0.
pub(crate) fn take_statistics(socket: BorrowedFd<'_>) -> io::Result<KernelReading> {
    // An older ring fills only the first two.
    let mut taken = [0u32; 3];
    let mut length = size::<[u32; 3]>();
    // SAFETY: `tpacket_stats_v3` is three unsigned ints, packets, drops, freezes; the kernel writes at most `length`
    // bytes, which is the size of `taken`, and any bits are a u32.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            ptr::from_mut(&mut taken).cast::<c_void>(),
            &mut length,
        )
    };
    check(result)?;
    let [packets, drops, freezes] = taken;
    Ok(KernelReading { packets, drops, freezes })
}

/// The interface's `IFF_` flags. `socket` may be any of the namespace.
pub(crate) fn interface_flags(socket: BorrowedFd<'_>, interface: &str) -> io::Result<u16> {
    let mut request = Request { name: name(interface)?, argument: [0; 24] };
    // SAFETY: SIOCGIFFLAGS reads and writes a `struct ifreq`, whose size and layout `Request` has: the name, then the
    // union, here a short. Any bits are valid for its fields.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, ptr::from_mut(&mut request)) })?;
    Ok(u16::from_ne_bytes([request.argument[0], request.argument[1]]))
}

/// The answer to an ethtool question that is one number.
pub(crate) fn ethtool_value(socket: BorrowedFd<'_>, interface: &str, command: u32) -> io::Result<u32> {
    let mut question = [command, 0];
    ethtool(socket, interface, &mut question)?;
    Ok(question[1])
}

/// What the adapter can stamp: `SOF_TIMESTAMPING_` flags.
pub(crate) fn timestamping(socket: BorrowedFd<'_>, interface: &str) -> io::Result<u32> {
    // `struct ethtool_ts_info`: the command, the flags, and nine words that do not matter here.
    let mut question = [0u32; 11];
    question[0] = ETHTOOL_GET_TS_INFO;
    ethtool(socket, interface, &mut question)?;
    Ok(question[1])
}

/// Asks ethtool; `question` must be as long as the answer of its command.
fn ethtool<const WORDS: usize>(
    socket: BorrowedFd<'_>,
    interface: &str,
    question: &mut [u32; WORDS],
) -> io::Result<()> {
    let mut request = Request { name: name(interface)?, argument: [0; 24] };
    let at = question.as_mut_ptr();
    request.argument[..size_of::<usize>()].copy_from_slice(&at.expose_provenance().to_ne_bytes());
    // SAFETY: SIOCETHTOOL reads a `struct ifreq` (see above) whose union is a pointer to the command's structure. It
    // is exclusively borrowed for the call, and as large as the kernel makes the answer: both callers see to that. The
    // kernel keeps no pointer.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, ptr::from_mut(&mut request)) })
}

fn set_program(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    program: &[Instruction],
) -> io::Result<()> {
    let mut instructions: Vec<_> = program
        .iter()
        .map(|it| libc::sock_filter { code: it.code, jt: it.if_true, jf: it.if_false, k: it.k })
        .collect();
    let len = u16::try_from(instructions.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // The kernel reads the instructions during the call, and copies them.
    let program = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    set(socket, level, option, &program)
}

/// `value` is an integer or the program above: what the option expects.
fn set<T: Copy>(socket: BorrowedFd<'_>, level: c_int, option: c_int, value: &T) -> io::Result<()> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a live `T`, and, of a program, the instructions it points
    // to, which outlive the call in `set_program`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(value).cast::<c_void>(),
            size::<T>(),
        )
    };
    check(result)
}

/// `struct ifreq`: the name, and a union of 24 bytes (16 where pointers are 32 bits wide).
#[repr(C, align(8))]
struct Request {
    name: [u8; libc::IFNAMSIZ],
    argument: [u8; 24],
}

const _: () = assert!(size_of::<Request>() >= size_of::<libc::ifreq>(), "the kernel writes a whole ifreq");
const _: () = assert!(align_of::<Request>() >= align_of::<libc::ifreq>(), "an ifreq is aligned");

/// The name as the kernel wants it, ended by a zero.
fn name(interface: &str) -> io::Result<[u8; libc::IFNAMSIZ]> {
    let mut padded = [0; libc::IFNAMSIZ];
    match padded.get_mut(..interface.len()) {
        Some(room) if interface.len() < libc::IFNAMSIZ => room.copy_from_slice(interface.as_bytes()),
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(padded)
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn size<T>() -> socklen_t {
    size_of::<T>() as socklen_t
}

/// linux/ethtool.h: commands whose answer is one number.
pub(crate) const ETHTOOL_GTSO: u32 = 0x1e;
pub(crate) const ETHTOOL_GGSO: u32 = 0x23;
pub(crate) const ETHTOOL_GFLAGS: u32 = 0x25;
pub(crate) const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_GET_TS_INFO: u32 = 0x41;
