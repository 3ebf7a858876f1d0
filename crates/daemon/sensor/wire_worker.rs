//! The second stage of a sensor: one flow table behind several readers.
//!
//! In: packets of the worker's shards and ticks, from every reader. Out: ended flows in the order of rows. The time is that of
//! the reader that is furthest behind; a reader on a quiet or absent interface goes by the clock. When the table is nearly full,
//! flows end earlier than their timeouts say, until there is room again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tapline_record::{Timestamp, Tracker};
use tracing::{info, warn};

use crate::flow_worker::{FlowWorker, WorkerReport};
use crate::pipeline::{FlowBatch, PacketBatch, Then, send_epoch};
use crate::ring::{Abandoned, Patience, Receiver, Sender};
use crate::sensor::board::{Board, WorkerNow};

/// A clock that is further back than this was set.
const CLOCK_SET_BACK_US: i64 = 3_600_000_000;

/// How long it must have been quiet before an emergency is over.
const CALM_US: i64 = 5_000_000;

pub(crate) struct WireWorker<T: Tracker> {
    index: usize,
    worker: FlowWorker<T>,
    lanes: Vec<WireLane>,
    flows: Sender<FlowBatch<T::State>>,
    board: Arc<Board>,
    flows_max: u64,
    idle_us: i64,
    ticked: Timestamp,
    emergency: Emergency,
}

/// A reader's packets.
struct WireLane {
    packets: Receiver<PacketBatch>,
    /// How far the reader's time has come.
    now: Timestamp,
    open: bool,
}

/// Whether room is short.
#[derive(Debug, Default)]
struct Emergency {
    /// Since when there has been room again, while it lasts.
    since: Option<Option<Timestamp>>,
    entered: u64,
    left: u64,
    evicted: u64,
}

impl<T: Tracker + Copy> WireWorker<T> {
    /// A worker whose table holds `flows_max` flows, which otherwise end after `idle_us`.
    pub(crate) fn new(
        index: usize,
        worker: FlowWorker<T>,
        lanes: Vec<Receiver<PacketBatch>>,
        flows: Sender<FlowBatch<T::State>>,
        board: Arc<Board>,
        flows_max: u64,
        idle_us: i64,
    ) -> Self {
        let lane = |packets| WireLane { packets, now: Timestamp::MIN, open: true };
        Self {
            index,
            worker,
            lanes: lanes.into_iter().map(lane).collect(),
            flows,
            board,
            flows_max,
            idle_us,
            ticked: Timestamp::MIN,
            emergency: Emergency::default(),
        }
    }

    /// Works until all readers have finished.
    ///
    /// # Errors
    ///
    /// If the last stage has gone.
    pub(crate) fn run(mut self) -> Result<WorkerReport, Abandoned> {
        let mut ended = FlowBatch::default();
        let mut patience = Patience::default();
        while self.lanes.iter().any(|lane| lane.open) {
            let mut moved = false;
            for index in 0..self.lanes.len() {
                let Some(mut batch) = self.lanes[index].packets.try_receive() else {
                    self.lanes[index].open &= !self.lanes[index].packets.is_over();
                    continue;
                };
                moved = true;
                for (packet, shard) in batch.packets.iter().zip(&batch.shards) {
                    self.worker.push(packet, *shard);
                }
                batch.packets.clear();
                batch.shards.clear();
                let then = batch.then.take();
                let lane = &mut self.lanes[index];
                lane.packets.give_back(batch);
                match then {
                    None => continue,
                    Some(Then::Finish) => lane.open = false,
                    Some(Then::Tick(now)) => lane.now = now,
                }
                if let Some(now) = self.time() {
                    self.tick(now);
                    send_epoch(&mut self.worker, &mut ended, &mut self.flows, Some(now))?;
                }
            }
            if moved {
                patience = Patience::default();
            } else {
                patience.wait();
            }
        }
        self.worker.finish();
        send_epoch(&mut self.worker, &mut ended, &mut self.flows, None)?;
        self.note();
        Ok(self.worker.report())
    }

    /// The time of the reader that is furthest behind, if it is time for a tick. With one reader every tick is one.
    fn time(&self) -> Option<Timestamp> {
        let now = self.lanes.iter().filter(|lane| lane.open).map(|lane| lane.now).min()?;
        let alone = self.lanes.len() == 1;
        let set_back = self.ticked.micros_since(now) > CLOCK_SET_BACK_US;
        (now > Timestamp::MIN && (alone || now > self.ticked || set_back)).then_some(now)
    }

    fn tick(&mut self, now: Timestamp) {
        self.ticked = now;
        let hurry_us = self.hurry_us(now);
        self.worker.tick_hurried(now, hurry_us);
        self.note();
    }

    /// By how much flows are to end earlier than they would.
    fn hurry_us(&mut self, now: Timestamp) -> i64 {
        let counters = self.worker.counters();
        let rules = &self.board.emergency;
        let percent = counters.flows_live * 100 / self.flows_max.max(1);
        let evicted = counters.flows_evicted > self.emergency.evicted;
        self.emergency.evicted = counters.flows_evicted;
        let full = evicted || percent >= u64::from(rules.enter_percent.load(Ordering::Relaxed));
        let index = self.index;
        match &mut self.emergency.since {
            None if full => {
                self.emergency.since = Some(None);
                self.emergency.entered += 1;
                warn!(worker = index, percent, "emergency: the flow table is nearly full, flows end early");
            }
            None => {}
            Some(calm_since) => {
                let calm = !full && percent < u64::from(rules.leave_percent.load(Ordering::Relaxed));
                match calm_since {
                    _ if !calm => *calm_since = None,
                    None => *calm_since = Some(now),
                    Some(since) if now.micros_since(*since) >= CALM_US => {
                        self.emergency.since = None;
                        self.emergency.left += 1;
                        info!(worker = index, percent, "the emergency is over");
                    }
                    Some(_) => {}
                }
            }
        }
        match self.emergency.since {
            None => 0,
            Some(_) => (self.idle_us - rules.idle_us.load(Ordering::Relaxed)).max(0),
        }
    }

    fn note(&self) {
        let place = &self.board.workers[self.index];
        place.note(WorkerNow {
            counters: *self.worker.counters(),
            ring_filled_percent: self
                .lanes
                .iter()
                .map(|lane| lane.packets.filled_percent())
                .max()
                .unwrap_or(0),
            emergency: self.emergency.since.is_some(),
            emergencies_entered: self.emergency.entered,
            emergencies_left: self.emergency.left,
        });
        place.moved.fetch_add(1, Ordering::Relaxed);
    }
}
