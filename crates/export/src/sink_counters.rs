//! What a sink has done: written, dropped and why, and what went wrong.
//!
//! In: the sink counts into its [`SinkMeter`] as it goes, once a batch. Out: anybody who holds a clone of the meter reads
//! [`SinkCounters`] at any time, from any thread.
//!
//! Rows given to a sink are `written_rows`, or in `dropped`, or still waiting in its buffer or queue: never twice, never in
//! none of the three.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Counters of one sink since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SinkCounters {
    /// Rows, lines or messages that reached the output whole. Rows of Parquet count once their file has its name.
    pub written_rows: u64,
    /// Bytes of these, with headers and framing.
    pub written_bytes: u64,
    /// Rows, lines or messages that were lost, by cause: see [`DropCause`].
    pub dropped: [u64; DropCause::ALL.len()],
    /// Refusals by the system or the peer, whether or not a row was lost by them.
    pub errors: u64,
    /// Attempts that followed a failed one: messages sent again, files opened or written again.
    pub retries: u64,
    /// Files or connections opened anew, for a signal or because the old one was gone.
    pub reopened: u64,
    /// Files that were finished and got their final name.
    pub rotated: u64,
    /// Finished files that were compressed.
    pub compressed: u64,
    /// Finished files removed by the rules of retention.
    pub removed: u64,
    /// Torn lines cut off at the start.
    pub repaired_rows: u64,
    /// Bytes of these.
    pub repaired_bytes: u64,
    /// Unfinished files of an earlier run, found at the start and removed or set aside.
    pub leftovers: u64,
}

/// Why a row was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(usize)]
pub enum DropCause {
    /// The disk or the quota is full.
    DiskFull,
    /// Any other refusal by a file: opening, writing, permissions.
    File,
    /// The queue before the sink was full.
    QueueFull,
    /// The message is longer than the transport or the settings allow.
    TooLong,
    /// The peer answered and does not want it.
    Refused,
    /// The peer could not be reached, or failed, as often as it was tried.
    Unreachable,
    /// The peer did not answer in time, as often as it was tried.
    TimedOut,
    /// The sink was stopped before it could be sent.
    Stopped,
}

impl DropCause {
    /// Every cause, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::DiskFull,
        Self::File,
        Self::QueueFull,
        Self::TooLong,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::Stopped,
    ];

    /// The name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DiskFull => "disk_full",
            Self::File => "file",
            Self::QueueFull => "queue_full",
            Self::TooLong => "too_long",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Stopped => "stopped",
        }
    }
}

impl SinkCounters {
    /// Rows lost for `cause`.
    #[must_use]
    pub const fn dropped_by(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    /// Rows lost for any cause.
    #[must_use]
    pub fn dropped_rows(&self) -> u64 {
        self.dropped.iter().sum()
    }
}

/// The counters of one sink while they grow. Clones share them.
#[derive(Clone, Default)]
pub struct SinkMeter(Arc<Cells>);

#[derive(Default)]
struct Cells {
    counts: [AtomicU64; Count::COUNT],
    dropped: [AtomicU64; DropCause::ALL.len()],
    last_error: Mutex<Option<String>>,
}

#[derive(Clone, Copy)]
#[repr(usize)]
pub(crate) enum Count {
    WrittenRows,
    WrittenBytes,
    Errors,
    Retries,
    Reopened,
    Rotated,
    Compressed,
    Removed,
    RepairedRows,
    RepairedBytes,
    Leftovers,
}

impl Count {
    const COUNT: usize = Self::Leftovers as usize + 1;
}

impl SinkMeter {
    /// A meter at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters now.
    #[must_use]
    pub fn read(&self) -> SinkCounters {
        let count = |count: Count| self.0.counts[count as usize].load(Ordering::Relaxed);
        SinkCounters {
            written_rows: count(Count::WrittenRows),
            written_bytes: count(Count::WrittenBytes),
            dropped: std::array::from_fn(|cause| self.0.dropped[cause].load(Ordering::Relaxed)),
            errors: count(Count::Errors),
            retries: count(Count::Retries),
            reopened: count(Count::Reopened),
            rotated: count(Count::Rotated),
            compressed: count(Count::Compressed),
            removed: count(Count::Removed),
            repaired_rows: count(Count::RepairedRows),
            repaired_bytes: count(Count::RepairedBytes),
            leftovers: count(Count::Leftovers),
        }
    }

    /// The latest error since this was last asked, for the log.
    #[must_use]
    pub fn take_error(&self) -> Option<String> {
        self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn add(&self, count: Count, n: u64) {
        self.0.counts[count as usize].fetch_add(n, Ordering::Relaxed);
    }

    /// Counts rows that never came to the sink, or that it lost.
    pub fn add_dropped(&self, cause: DropCause, rows: u64) {
        self.0.dropped[cause as usize].fetch_add(rows, Ordering::Relaxed);
    }

    pub(crate) fn add_error(&self, error: impl fmt::Display) {
        self.add(Count::Errors, 1);
        *self.0.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }
}

impl fmt::Debug for SinkMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SinkMeter").field(&self.read()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_stand_at_their_place() {
        let meter = SinkMeter::new();
        for (at, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(at, cause as usize, "{}", cause.name());
            meter.add_dropped(cause, 1 << at);
        }
        assert_eq!(meter.read().dropped_by(DropCause::QueueFull), 4);
        assert_eq!(meter.read().dropped_rows(), 255);
    }

    #[test]
    fn an_error_is_told_once() {
        let meter = SinkMeter::new();
        let reader = meter.clone();
        meter.add_error("disk on fire");
        assert_eq!(reader.take_error().as_deref(), Some("disk on fire"));
        assert_eq!((meter.take_error(), meter.read().errors), (None, 1));
    }
}
