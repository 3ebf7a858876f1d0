//! The second stage: the flow tables of one worker.
//!
//! A worker owns every `workers`-th shard, one table each. In: packets and ticks. Out: at each tick, the flows that
//! have ended since the last one, in the order of rows ([`SortKey`]).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use tapline_flow::{Ended, FlowTable, HashSeed, Rules, SHARDS, SortKey, TableCounters};
use tapline_record::{PacketRecord, Timestamp, Tracker};

pub(crate) struct FlowWorker<T: Tracker> {
    tables: Vec<FlowTable<T>>,
    workers: usize,
    /// Scratch of [`FlowWorker::drain`]: the first flow not yet emitted of each table, the table, and its place there.
    heads: BinaryHeap<Reverse<(SortKey, usize, usize)>>,
}

/// What a worker did, for the accounts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WorkerReport {
    pub(crate) counters: TableCounters,
    pub(crate) live_flows: u64,
    pub(crate) live_packets: u64,
}

impl<T: Tracker + Copy> FlowWorker<T> {
    /// The worker with number `index` of `workers`. The share of `flows_max` that a shard may hold does not depend on
    /// the number of workers.
    pub(crate) fn new(
        index: usize,
        workers: usize,
        rules: Rules,
        tracker: T,
        flows_max: usize,
        seed: HashSeed,
    ) -> Self {
        let share = flows_max.div_ceil(SHARDS);
        let tables = (index..SHARDS).step_by(workers);
        Self {
            tables: tables.map(|_| FlowTable::new(rules, tracker, share, seed)).collect(),
            workers,
            heads: BinaryHeap::with_capacity(SHARDS),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, packet: &PacketRecord, shard: u8) {
        self.tables[usize::from(shard) / self.workers].push(packet);
    }

    pub(crate) fn tick(&mut self, now: Timestamp) {
        for table in &mut self.tables {
            table.tick(now);
        }
    }

    pub(crate) fn finish(&mut self) {
        for table in &mut self.tables {
            table.finish();
        }
    }

    /// Hands over the flows that have ended, in the order of rows; stops at the first error. `emit` gets the table that
    /// still holds the flow, and takes or releases it.
    pub(crate) fn drain<E>(
        &mut self,
        mut emit: impl FnMut(&Ended, &mut FlowTable<T>) -> Result<(), E>,
    ) -> Result<(), E> {
        // Each table's list is sorted in its place, then the lists are merged: no flow is moved, nothing is copied.
        self.heads.clear();
        for (index, table) in self.tables.iter_mut().enumerate() {
            let ended = table.ended();
            ended.sort_unstable_by_key(|ended| ended.order);
            if let Some(first) = ended.first() {
                self.heads.push(Reverse((first.order, index, 0)));
            }
        }
        while let Some(mut head) = self.heads.peek_mut() {
            let Reverse((order, index, at)) = &mut *head;
            let table = &mut self.tables[*index];
            let ended = table.ended()[*at];
            emit(&ended, table)?;
            *at += 1;
            match table.ended().get(*at) {
                Some(next) => *order = next.order,
                None => {
                    table.ended().clear();
                    PeekMut::pop(head);
                }
            }
        }
        Ok(())
    }

    pub(crate) fn report(&self) -> WorkerReport {
        let mut report = WorkerReport::default();
        for table in &self.tables {
            report.counters.add(table.counters());
            report.live_flows += table.live_flows() as u64;
            report.live_packets += table.live_packets();
        }
        report
    }
}
