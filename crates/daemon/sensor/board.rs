//! The board: where the threads of a sensor leave what they have counted, for whoever looks.
//!
//! In: at each tick, not at each packet, a thread copies its counters to its own place. Out: metrics, health, the watchdog and
//! `top` read all of it ([`snapshot`](super::snapshot)). Nothing here is waited for but a lock that is held for a copy.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering};

use tapline_capture::live::CaptureStatistics;
use tapline_flow::TableCounters;
use tapline_packet::Skip;
use tapline_record::Timestamp;

use crate::exporter::ExportBoard;
use crate::pipeline::Tick;
use crate::place::Place;
use crate::scoring::ScoringDesk;

/// The thread of the sinks. It alone may stand still without the sensor being unwell.
pub(crate) const SINKS: &str = "sinks";

/// What the threads share.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) readers: Vec<ReaderPlace>,
    pub(crate) workers: Vec<WorkerPlace>,
    pub(crate) export: Arc<ExportBoard>,
    /// With a model.
    pub(crate) desk: Option<Arc<ScoringDesk>>,
    /// Grows while the thread of the sinks moves.
    pub(crate) sinks_moved: AtomicU64,
    pub(crate) emergency: EmergencyRules,
    /// Ticks of all readers, so that each has a number greater than those before.
    pub(crate) ticks: AtomicU64,
    /// Readers let no more in.
    pub(crate) stopping: Arc<AtomicBool>,
}

/// When workers hurry. May change while they run.
#[derive(Debug, Default)]
pub(crate) struct EmergencyRules {
    /// The idle timeout while it lasts.
    pub(crate) idle_us: AtomicI64,
    pub(crate) enter_percent: AtomicU8,
    pub(crate) leave_percent: AtomicU8,
}

/// A reader's place.
#[derive(Debug, Default)]
pub(crate) struct ReaderPlace {
    /// Of the configuration's interfaces.
    pub(crate) interface: usize,
    pub(crate) moved: AtomicU64,
    now: Place<ReaderNow>,
}

/// What a reader has come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReaderNow {
    pub(crate) capture: CaptureStatistics,
    pub(crate) bytes: u64,
    pub(crate) filtered_out: u64,
    pub(crate) duplicates: u64,
    pub(crate) undecodable: [u64; Skip::ALL.len()],
    pub(crate) ring_dropped: u64,
    pub(crate) up: bool,
    pub(crate) trouble: Option<String>,
}

/// A flow worker's place.
#[derive(Debug, Default)]
pub(crate) struct WorkerPlace {
    pub(crate) moved: AtomicU64,
    now: Place<WorkerNow>,
}

/// What a worker has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerNow {
    pub(crate) counters: TableCounters,
    pub(crate) ring_filled_percent: u8,
    pub(crate) emergency: bool,
    pub(crate) emergencies_entered: u64,
    pub(crate) emergencies_left: u64,
}

impl Board {
    /// Places for readers, each of an interface, and workers.
    pub(crate) fn new(interfaces_of_readers: &[usize], workers: usize) -> Self {
        let reader = |interface: &usize| ReaderPlace { interface: *interface, ..ReaderPlace::default() };
        Self {
            readers: interfaces_of_readers.iter().map(reader).collect(),
            workers: (0..workers).map(|_| WorkerPlace::default()).collect(),
            ..Self::default()
        }
    }

    /// A tick at packet time `now`.
    pub(crate) fn tick(&self, now: Timestamp) -> Tick {
        Tick { number: self.ticks.fetch_add(1, Ordering::Relaxed) + 1, now }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// How far each thread that is to move has moved, by name; that of the sinks is the last.
    pub(crate) fn moves(&self) -> Vec<(String, u64)> {
        let numbered = |name: &str, places: Vec<&AtomicU64>| {
            let named = |(index, moved): (usize, &&AtomicU64)| {
                (format!("{name}-{index}"), moved.load(Ordering::Relaxed))
            };
            places.iter().enumerate().map(named).collect::<Vec<_>>()
        };
        let mut moves = numbered("read", self.readers.iter().map(|place| &place.moved).collect());
        moves.extend(numbered("flow", self.workers.iter().map(|place| &place.moved).collect()));
        moves.push(("export".to_owned(), self.export.moved.load(Ordering::Relaxed)));
        moves.push((SINKS.to_owned(), self.sinks_moved.load(Ordering::Relaxed)));
        moves
    }
}

impl ReaderPlace {
    pub(crate) fn note(&self, now: ReaderNow) {
        *self.now.lock() = now;
    }

    pub(crate) fn now(&self) -> ReaderNow {
        self.now.lock().clone()
    }
}

impl WorkerPlace {
    pub(crate) fn note(&self, now: WorkerNow) {
        *self.now.lock() = now;
    }

    pub(crate) fn now(&self) -> WorkerNow {
        *self.now.lock()
    }
}

impl EmergencyRules {
    /// Other rules, from the next tick on.
    pub(crate) fn set(&self, idle_us: i64, enter_percent: u8, leave_percent: u8) {
        self.idle_us.store(idle_us, Ordering::Relaxed);
        self.enter_percent.store(enter_percent, Ordering::Relaxed);
        self.leave_percent.store(leave_percent, Ordering::Relaxed);
    }
}
