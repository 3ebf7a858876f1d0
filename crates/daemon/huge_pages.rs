//! Huge pages for the flow tables: the one unsafe call of the daemon.
//!
//! A table of a million flows is 600 MB in 4 kB pages, touched at random and, in a flood, for the first time: without
//! huge pages a third of the time of a flood of new flows goes into page faults (BENCHMARKING.md).

#![expect(unsafe_code, reason = "madvise is a system call on memory; measured above")]

/// Asks the system to back `bytes` bytes from `start` with huge pages. Where it does not, nothing is lost but time.
pub(crate) fn advise(start: *const u8, bytes: usize) {
    let begin = (start as usize).next_multiple_of(PAGE_BYTES);
    let end = (start as usize + bytes) / PAGE_BYTES * PAGE_BYTES;
    if end <= begin {
        return;
    }
    // SAFETY: [begin, end) lies within one allocation of ours, cut to whole pages. MADV_HUGEPAGE changes how the pages
    // are backed, never what they hold, so it is sound whatever the memory is used for.
    unsafe {
        libc::madvise(begin as *mut libc::c_void, end - begin, libc::MADV_HUGEPAGE);
    }
}

/// The smallest page of the systems Tapline runs on; larger ones make the call fail, which is harmless.
const PAGE_BYTES: usize = 4_096;
