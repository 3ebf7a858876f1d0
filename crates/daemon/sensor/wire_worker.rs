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
use crate::pipeline::{FlowBatch, PacketBatch, Then, Tick, send_epoch};
use crate::ring::{Abandoned, LONGEST_NAP, Patience, Receiver, Sender};
use crate::sensor::board::{Board, WorkerNow};

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
    tick: Tick,
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
        let start = Tick { number: 0, now: Timestamp::MIN };
        let lane = |packets| WireLane { packets, tick: start, open: true };
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
        let mut patience = Patience::new(LONGEST_NAP);
        while self.lanes.iter().any(|lane| lane.open) {
            let mut moved = false;
            for index in 0..self.lanes.len() {
                moved |= self.take(index, &mut ended)?;
            }
            if moved {
                patience = Patience::new(LONGEST_NAP);
            } else {
                patience.wait();
            }
        }
        self.worker.finish();
        self.note();
        send_epoch(&mut self.worker, &mut ended, &mut self.flows, None)?;
        Ok(self.worker.report())
    }

    /// Takes the next batch of reader `index`, if there is one.
    fn take(&mut self, index: usize, ended: &mut FlowBatch<T::State>) -> Result<bool, Abandoned> {
        let lane = &mut self.lanes[index];
        let Some(mut batch) = lane.packets.try_receive() else {
            lane.open &= !lane.packets.is_over();
            return Ok(false);
        };
        for (packet, shard) in batch.packets.iter().zip(&batch.shards) {
            self.worker.push(packet, *shard);
        }
        batch.packets.clear();
        batch.shards.clear();
        let then = batch.then.take();
        lane.packets.give_back(batch);
        match then {
            None => return Ok(true),
            Some(Then::Finish) => lane.open = false,
            Some(Then::Tick(tick)) => lane.tick = tick,
        }
        if let Some(tick) = self.time(index) {
            self.tick(tick.now);
            send_epoch(&mut self.worker, ended, &mut self.flows, Some(tick))?;
        }
        Ok(true)
    }

    /// The time of the reader that is furthest behind, if it is time for a tick, now that reader `index` has said something. Its
    /// own ticks always are ticks: while a clock that was set back stands still, the sensor does not.
    fn time(&self, index: usize) -> Option<Tick> {
        let open = || self.lanes.iter().filter(|lane| lane.open).map(|lane| lane.tick);
        let now = open().map(|tick| tick.now).min()?;
        let number = open().map(|tick| tick.number).min()?;
        let hindmost = self.lanes[index].tick.now == now;
        (now > Timestamp::MIN && (hindmost || now > self.ticked)).then_some(Tick { number, now })
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
                    // The clock was set back.
                    Some(since) if now < *since => *since = now,
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

#[cfg(test)]
mod tests {
    use tapline_features::{TaplineState, TaplineTracker};
    use tapline_flow::{HashSeed, Rules, Timeouts};
    use tapline_record::{PacketRecord, TunnelKind, protocol};

    use super::*;
    use crate::flow_worker::Tables;
    use crate::pipeline::{Lane, WhenFull};
    use crate::ring::ring;

    /// The ticks that come of those of two readers, each by reader and second.
    fn ticks(of_readers: &[(usize, i64)]) -> u64 {
        let board = Arc::new(Board::new(&[0, 0], 1));
        let (mut lanes, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (sender, receiver) = ring(64);
            lanes.push(Lane::new(sender, WhenFull::Wait));
            receivers.push(receiver);
        }
        let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true };
        let tables = Tables { rules, flows_max: 64, seed: HashSeed(1, 2) };
        let (flows, received) = ring::<FlowBatch<TaplineState>>(64);
        let table = FlowWorker::new(0, 1, tables, TaplineTracker);
        let mut worker = WireWorker::new(0, table, receivers, flows, Arc::clone(&board), 64, 120_000_000);
        let mut ended = FlowBatch::default();
        for (reader, second) in of_readers {
            let tick = board.tick(Timestamp::from_micros(second * 1_000_000));
            lanes[*reader].close(Then::Tick(tick)).unwrap();
            worker.take(*reader, &mut ended).unwrap();
        }
        drop(received);
        board.workers[0].moved.load(Ordering::Relaxed)
    }

    /// Flows that fill the table more than allowed end when they have been quiet for the emergency's timeout; then all is as before.
    #[test]
    fn an_emergency_ends_flows_early_until_there_is_room() {
        let board = Arc::new(Board::new(&[0], 1));
        board.emergency.set(10_000_000, 90, 70);
        let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true };
        let tables = Tables { rules, flows_max: 6_400, seed: HashSeed(1, 2) };
        let (sender, receiver) = ring(64);
        let mut lane = Lane::new(sender, WhenFull::Wait);
        let (flows, _received) = ring::<FlowBatch<TaplineState>>(4_096);
        let table = FlowWorker::new(0, 1, tables, TaplineTracker);
        let mut worker =
            WireWorker::new(0, table, vec![receiver], flows, Arc::clone(&board), 6_400, 120_000_000);
        let mut ended = FlowBatch::default();
        let mut at = |second: i64, new_flows: std::ops::Range<u16>| {
            for number in new_flows {
                let packet = PacketRecord {
                    ts: Timestamp::from_micros(second * 1_000_000),
                    src_port: number,
                    ..udp()
                };
                lane.push(packet, (number % 64) as u8).unwrap();
                while worker.take(0, &mut ended).unwrap() {}
            }
            lane.close(Then::Tick(board.tick(Timestamp::from_micros(second * 1_000_000)))).unwrap();
            while worker.take(0, &mut ended).unwrap() {}
            let now = board.workers[0].now();
            (now.counters.flows_live, now.emergency, now.emergencies_entered, now.emergencies_left)
        };
        assert_eq!(at(100, 0..3_000), (3_000, false, 0, 0));
        assert_eq!(at(115, 3_000..5_700), (5_700, false, 0, 0));
        assert_eq!(at(116, 5_700..5_800), (2_800, true, 1, 0), "those of second 100 have been quiet for ten");
        assert_eq!(at(117, 0..0), (2_800, true, 1, 0));
        assert_eq!(at(122, 0..0), (2_800, false, 1, 1), "calm for five seconds");
        assert_eq!(at(200, 0..0), (2_800, false, 1, 1));
        assert_eq!(at(240, 0..0), (0, false, 1, 1));
    }

    fn udp() -> PacketRecord {
        PacketRecord {
            ts: Timestamp::MIN,
            ordinal: 0,
            src: [1; 16],
            dst: [2; 16],
            seq: 0,
            ack: 0,
            payload_bytes: 0,
            ip_bytes: 28,
            wire_bytes: 60,
            tunnel_id: 0,
            src_port: 9,
            dst_port: 9,
            vlan: [0; 2],
            window: 0,
            l4_header_bytes: 8,
            protocol: protocol::UDP,
            tcp_flags: 0,
            ip_version: 4,
            ttl: 64,
            icmp_type: 0,
            icmp_code: 0,
            tunnel_kind: TunnelKind::None,
            later_fragment: false,
        }
    }

    #[test]
    fn time_is_that_of_the_reader_that_is_furthest_behind() {
        assert_eq!(ticks(&[(0, 10), (0, 11)]), 0, "the other one has said nothing");
        assert_eq!(ticks(&[(0, 10), (1, 10)]), 1);
        assert_eq!(ticks(&[(0, 10), (1, 12), (1, 13), (0, 11), (1, 14)]), 2);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_worker() {
        // A minute back: until it is there again, the readers say what they last said.
        assert_eq!(ticks(&[(0, 100), (1, 100), (0, 100), (1, 100), (0, 100)]), 4);
        // A day back.
        assert_eq!(ticks(&[(0, 90_000), (1, 90_000), (0, 100), (1, 101), (0, 101)]), 3);
    }
}
