//! The second stage: the flow table of one worker.
//!
//! A worker owns every `workers`-th shard. In: packets and ticks. Out: at each tick, the flows that have ended since the
//! last one, in the order of rows.

use tapline_flow::{EndedFlow, FlowTable, HashSeed, Rules, SHARDS, TableCounters};
use tapline_record::{PacketRecord, Timestamp, Tracker};

use crate::huge_pages;

/// How flows are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tables {
    pub(crate) rules: Rules,
    pub(crate) flows_max: usize,
    pub(crate) seed: HashSeed,
}

pub(crate) struct FlowWorker<T: Tracker> {
    table: FlowTable<T>,
    workers: usize,
}

/// What a worker did, for the accounts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerReport {
    pub(crate) counters: TableCounters,
    pub(crate) live_packets: u64,
}

impl<T: Tracker> FlowWorker<T> {
    /// The worker with number `index` of `workers`. What a shard may hold does not depend on the number of workers.
    pub(crate) fn new(index: usize, workers: usize, tables: Tables, tracker: T) -> Self {
        let Tables { rules, flows_max, seed } = tables;
        let shards = (index..SHARDS).step_by(workers).count();
        let share = flows_max.div_ceil(SHARDS);
        Self { table: FlowTable::new(rules, tracker, shards, share, seed, huge_pages::advise), workers }
    }

    #[inline]
    pub(crate) fn push(&mut self, packet: &PacketRecord, shard: u8) {
        self.table.push(usize::from(shard) / self.workers, packet);
    }

    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.table.tick(now);
    }

    /// As [`tick`](Self::tick), with flows ending `hurry_us` earlier than their timeouts say.
    pub(crate) fn tick_hurried(&mut self, now: Timestamp, hurry_us: i64) {
        self.table.tick_hurried(now, hurry_us);
    }

    /// What the table has done so far.
    pub(crate) fn counters(&self) -> &TableCounters {
        self.table.counters()
    }

    pub(crate) fn finish(&mut self) {
        self.table.finish();
    }

    /// Hands over the flows that have ended, in the order of rows; stops at the first error.
    pub(crate) fn drain<E>(
        &mut self,
        emit: impl FnMut(EndedFlow<'_, T::State>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.table.drain(emit)
    }

    pub(crate) fn report(&self) -> WorkerReport {
        WorkerReport { counters: *self.table.counters(), live_packets: self.table.live_packets() }
    }
}
