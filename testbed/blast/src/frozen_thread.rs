//! One thread of another process, stopped while the others go on: what a stuck worker looks like from outside.
//!
//! SIGSTOP stops whole processes; ptrace(2) stops threads. Like the packet socket, system calls without a safe wrapper.

#![expect(unsafe_code, reason = "ptrace has no safe wrapper")]

use std::io;
use std::marker::PhantomData;
use std::ptr;

use libc::{c_int, c_void, pid_t};

/// A thread that does not run while this lives. Only who froze it can let it go, therefore it stays in its thread.
#[derive(Debug)]
pub struct FrozenThread {
    thread: pid_t,
    _here: PhantomData<*const ()>,
}

impl FrozenThread {
    /// Stops a thread of a process, and waits until it stands.
    ///
    /// # Errors
    ///
    /// If the process may not trace it: it must be its child, or the caller privileged.
    pub fn freeze(process: u32, thread: u32) -> io::Result<Self> {
        if !std::path::Path::new(&format!("/proc/{process}/task/{thread}")).exists() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let thread = pid_t::try_from(thread).map_err(|_| io::ErrorKind::InvalidInput)?;
        request(libc::PTRACE_SEIZE, thread)?;
        let frozen = Self { thread, _here: PhantomData };
        request(libc::PTRACE_INTERRUPT, thread)?;
        if wait(thread, 0).is_some_and(|status| libc::WIFSTOPPED(status)) {
            Ok(frozen)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

impl Drop for FrozenThread {
    fn drop(&mut self) {
        if request(libc::PTRACE_DETACH, self.thread).is_err() {
            // It was killed with its process, which cannot be waited for until the tracer has seen that.
            wait(self.thread, libc::WNOHANG);
        }
    }
}

/// What became of a traced thread, if anything did.
fn wait(thread: pid_t, options: c_int) -> Option<c_int> {
    let mut status: c_int = 0;
    // SAFETY: the kernel writes an int to a live one.
    let waited = unsafe { libc::waitpid(thread, &mut status, libc::__WALL | options) };
    (waited == thread).then_some(status)
}

fn request(what: libc::c_uint, thread: pid_t) -> io::Result<()> {
    // SAFETY: these three requests read no memory: address and data are 0 (no options, no signal).
    let done = unsafe { libc::ptrace(what, thread, ptr::null_mut::<c_void>(), ptr::null_mut::<c_void>()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_frozen_thread_stands_until_it_is_let_go() {
        let mut child = Command::new("sleep").arg("0.05").spawn().unwrap();
        let frozen = FrozenThread::freeze(child.id(), child.id()).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(200));
        let state = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        assert!(state.contains(") t "), "{state}");
        drop(frozen);
        assert!(child.wait().unwrap().success());
    }
}
