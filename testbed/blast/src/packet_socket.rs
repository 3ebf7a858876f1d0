//! The system calls: a packet socket that sends many frames at once, and a socket that makes the kernel stamp packets when
//! they arrive.
//!
//! `unsafe`, because rustix knows neither `sockaddr_ll` nor `sendmmsg` of prepared buffers nor
//! these options. Each function is one or a few system calls on values of its own.

#![expect(unsafe_code, reason = "packet sockets and sendmmsg have no safe wrapper")]

use std::io::{self, IoSlice};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use libc::{c_int, c_void, socklen_t};

/// The most frames of one call.
pub(crate) const BATCH: usize = 256;

/// Sends frames as they are, and receives nothing.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    socket: OwnedFd,
}

impl PacketSocket {
    /// A socket on an interface, past its queueing discipline.
    pub(crate) fn open(interface_index: u32) -> io::Result<Self> {
        // Protocol 0: no packet comes in.
        // SAFETY: plain integers; the result is checked.
        let socket = owned(unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) })?;
        // Older kernels do without.
        let _ = set(&socket, libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, 1);
        set(&socket, libc::SOL_SOCKET, libc::SO_SNDBUF, 4 << 20)?;
        // SAFETY: all bits zero are a sockaddr_ll: it has integers only.
        let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = c_int::try_from(interface_index).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the kernel reads a whole sockaddr_ll from a live one.
        check(unsafe {
            libc::bind(
                socket.as_raw_fd(),
                ptr::from_ref(&address).cast::<libc::sockaddr>(),
                size_of::<libc::sockaddr_ll>() as socklen_t,
            )
        })?;
        Ok(Self { socket })
    }

    /// Sends the first frames of `frames`, at most [`BATCH`], and says how many the kernel accepted: all before the first
    /// that it refused. An error is the first frame's.
    pub(crate) fn send(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut messages: Vec<libc::mmsghdr> = frames.iter().take(BATCH).map(message).collect();
        // SAFETY: as many message headers as said, each with one buffer that `frames` borrows for longer than the call.
        // The kernel writes to their `msg_len` alone.
        let sent = unsafe {
            libc::sendmmsg(self.socket.as_raw_fd(), messages.as_mut_ptr(), messages.len() as u32, 0)
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// A header that points to one frame.
fn message(frame: &IoSlice<'_>) -> libc::mmsghdr {
    // SAFETY: all bits zero are a message header with no name, buffers or ancillary data.
    let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
    // An IoSlice is an iovec, as its documentation promises. The kernel only reads it.
    message.msg_hdr.msg_iov = ptr::from_ref(frame).cast_mut().cast::<libc::iovec>();
    message.msg_hdr.msg_iovlen = 1;
    message
}

/// While it lives, the kernel stamps packets once, when they arrive, for whoever listens; else each packet socket has
/// stamps of its own, some microseconds apart. (It takes the kernel a moment to begin.)
#[derive(Debug)]
pub struct StampedReception {
    _socket: OwnedFd,
}

impl StampedReception {
    /// Asks for it.
    ///
    /// # Errors
    ///
    /// If there can be no socket.
    pub fn ask() -> io::Result<Self> {
        // SAFETY: plain integers; the result is checked.
        let socket = owned(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
        set(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        Ok(Self { _socket: socket })
    }
}

fn owned(descriptor: c_int) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn set(socket: &OwnedFd, level: c_int, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads an int from a live one.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&value).cast::<c_void>(),
            size_of::<c_int>() as socklen_t,
        )
    })
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
