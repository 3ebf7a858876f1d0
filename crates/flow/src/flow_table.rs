//! The table itself: find, open, book, end, evict, drain.
//!
//! In: [`PacketRecord`]s in capture order, and ticks of packet time. Out: [`Ended`] flows, each to be taken once. A flow
//! that ended stays in the slab, out of the index, until it is drained; so a drain can sort without moving flows.

use std::collections::HashSet;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use tapline_record::{
    Activity, Direction, EndReason, FlowHead, FlowKey, FlowRecord, Opening, PacketRecord, Timestamp, Tracker,
};

use crate::counters::{NonFlow, TableCounters};
use crate::lifetime::{Lifetime, Next, Rules, Step, Timeouts};
use crate::slab::Slab;
use crate::timer_wheel::{Armed, Links, TimerWheel};
use crate::{lifetime_cic, lifetime_tapline};

/// All live flows of one shard.
pub struct FlowTable<T: Tracker> {
    rules: Rules,
    tracker: T,
    flows_max: usize,
    hasher: SipHasher13,
    index: HashTable<Slot>,
    slab: Slab<Entry<T::State>>,
    wheel: TimerWheel,
    ended: Vec<Ended>,
    /// The last tick, as a floor under [`SortKey`]s: a packet that comes late must not put a row before rows that are
    /// out already.
    ticked_us: i64,
    counters: TableCounters,
}

/// The key of the table's hash: random per process, so that nobody outside can make keys collide.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed(pub u64, pub u64);

/// A flow that has ended and waits in its table to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Where its row stands among all rows.
    pub order: SortKey,
    /// Its number, for [`FlowTable::ended_flow`], [`FlowTable::take`] and [`FlowTable::release`].
    pub id: u32,
}

/// The order of rows. Under Tapline's rules: when the flow's end was certain (last packet plus timeout, the cutting
/// packet, the evicting packet), then first packet; flows that the input's end cut come last, by their last packet. Under
/// CICFlowMeter's: the packet that ended the flow; flows that the input's end cut come last, by their first packet. What
/// is equal in all that is ordered by the ordinal of its first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey {
    decided: i64,
    start: i64,
    first_ordinal: u64,
}

/// A slot of the index: the hash beside the number, so that most misses never touch the entry.
#[derive(Clone, Copy)]
struct Slot {
    hash: u32,
    id: u32,
}

/// In this order, so that what lookup, expiry and eviction touch lies in the first two cache lines.
#[repr(C)]
struct Entry<S> {
    links: Links,
    life: Lifetime,
    flow: FlowRecord<S>,
}

impl<T: Tracker> FlowTable<T> {
    /// An empty table that holds at most `flows_max` (at least 1) live flows.
    pub fn new(rules: Rules, tracker: T, flows_max: usize, seed: HashSeed) -> Self {
        Self {
            rules,
            tracker,
            flows_max: flows_max.max(1),
            hasher: SipHasher13::new_with_keys(seed.0, seed.1),
            index: HashTable::new(),
            slab: Slab::new(),
            wheel: TimerWheel::new(),
            ended: Vec::new(),
            ticked_us: i64::MIN,
            counters: TableCounters::default(),
        }
    }

    /// Books a packet.
    #[inline]
    pub fn push(&mut self, packet: &PacketRecord) {
        self.counters.packets += 1;
        let (key, src_is_lo) = FlowKey::of(packet, self.rules.key_rules());
        let hash = self.hash(&key);
        let found = self
            .index
            .find(spread(hash), |slot| slot.hash == hash && self.slab.get(slot.id).flow.head.key == key)
            .map(|slot| slot.id);
        let Some(id) = found else {
            return self.open_fresh(key, src_is_lo, hash, packet, None);
        };

        let entry = self.slab.get_mut(id);
        let direction = self.rules.direction(&entry.flow.head, packet, src_is_lo);
        let closing = entry.life.closing;
        let step = match &self.rules {
            Rules::Tapline { timeouts, .. } => {
                lifetime_tapline::step(timeouts, &entry.flow.head, &mut entry.life, packet, direction)
            }
            Rules::Cic { version, flow_timeout_us } => lifetime_cic::step(
                *version,
                *flow_timeout_us,
                &entry.flow.head,
                &mut entry.life,
                packet,
                direction,
            ),
        };
        match step {
            Step::Join(activity) => {
                book(&self.tracker, &self.rules, entry, packet, direction, activity);
                if entry.life.closing != closing {
                    self.rearm(id);
                }
            }
            Step::JoinAndEnd(activity, reason) => {
                book(&self.tracker, &self.rules, entry, packet, direction, activity);
                self.end(id, reason, self.decided(packet.ts.micros, packet));
            }
            Step::EndAndOpen { reason, decided_us, next } => {
                self.end_and_open(id, reason, self.decided(decided_us, packet), next, src_is_lo, packet);
            }
            Step::Discard(why) => self.counters.non_flow[why as usize] += 1,
        }
    }

    /// Ends every flow whose deadline has passed at packet time `now`. CICFlowMeter's rules know no such thing.
    pub fn tick(&mut self, now: Timestamp) {
        let Rules::Tapline { timeouts, .. } = self.rules else { return };
        // Slots of seconds gone by: whatever is in them is due, or its deadline has moved on.
        while let Some((id, second)) = self.wheel.earliest() {
            if second >= now.second() {
                break;
            }
            self.wheel.advance(second);
            self.end_if_due(&timeouts, id, now);
        }
        self.wheel.advance(now.second());
        // The slot of the running second: some of it is due already.
        let mut following = self.wheel.first_in_current_slot();
        while let Some(id) = following {
            following = self.slab.get(id).links.next();
            self.end_if_due(&timeouts, id, now);
        }
        self.ticked_us = now.micros;
    }

    /// Ends a flow whose deadline has passed; one whose deadline has moved is armed anew.
    fn end_if_due(&mut self, timeouts: &Timeouts, id: u32, now: Timestamp) {
        let entry = self.slab.get(id);
        let deadline_us = lifetime_tapline::deadline_us(timeouts, &entry.flow.head, &entry.life);
        if deadline_us <= now.micros {
            let reason = lifetime_tapline::quiet_reason(&entry.life);
            self.end(id, reason, deadline_us);
            return;
        }
        let due_second = Timestamp::from_micros(deadline_us).second();
        if !self.wheel.stands_at(due_second) {
            self.wheel.disarm(&mut self.slab, id);
            self.wheel.arm(&mut self.slab, id, due_second);
        }
    }

    /// Ends every flow: the input is over. Index and wheel are given up whole, which is faster than flow by flow.
    pub fn finish(&mut self) {
        self.index = HashTable::new();
        self.wheel = TimerWheel::new();
        let waiting: HashSet<u32> = self.ended.iter().map(|ended| ended.id).collect();
        self.ended.reserve_exact(self.slab.len() - waiting.len());
        let tapline = matches!(self.rules, Rules::Tapline { .. });
        for id in 0..self.slab.end() {
            let Some(entry) = self.slab.get_present(id).filter(|_| !waiting.contains(&id)) else { continue };
            let head = &mut entry.flow.head;
            head.end_reason = EndReason::EndOfInput;
            if head.packets < self.rules.packets_min() {
                self.counters.non_flow[NonFlow::OnePacketFlow as usize] += u64::from(head.packets);
                self.slab.release(id);
                continue;
            }
            // After everything that was decided before.
            let decided = if tapline { (i64::MAX / 2).saturating_add(head.last.micros) } else { i64::MAX };
            self.ended.push(Ended { order: SortKey::of(decided, head), id });
        }
    }

    /// Flows that ended and were not taken yet, in no order. Whoever takes them clears the list.
    pub fn ended(&mut self) -> &mut Vec<Ended> {
        &mut self.ended
    }

    /// An ended flow, in its place.
    #[must_use]
    pub fn ended_flow(&self, ended: &Ended) -> &FlowRecord<T::State> {
        &self.slab.get(ended.id).flow
    }

    /// Takes an ended flow out of the table.
    pub fn take(&mut self, ended: &Ended) -> FlowRecord<T::State> {
        self.slab.take(ended.id).flow
    }

    /// Drops an ended flow.
    pub fn release(&mut self, ended: &Ended) {
        self.slab.release(ended.id);
    }

    /// Flows that are live now.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.index.len()
    }

    /// Packets in live flows, counted from the flows themselves.
    #[must_use]
    pub fn live_packets(&self) -> u64 {
        self.index.iter().map(|slot| u64::from(self.slab.get(slot.id).flow.head.packets)).sum()
    }

    /// What the table has done so far.
    #[must_use]
    pub const fn counters(&self) -> &TableCounters {
        &self.counters
    }

    #[inline]
    fn hash(&self, key: &FlowKey) -> u32 {
        let mut bytes = [0; 48];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(key.words()) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        self.hasher.hash(&bytes) as u32
    }

    /// When a flow's end was certain, in the unit of this table's [`SortKey`]s.
    #[inline]
    const fn decided(&self, decided_us: i64, packet: &PacketRecord) -> i64 {
        match self.rules {
            Rules::Tapline { .. } => decided_us,
            Rules::Cic { .. } => packet.ordinal as i64,
        }
    }

    fn open_fresh(
        &mut self,
        key: FlowKey,
        src_is_lo: bool,
        hash: u32,
        packet: &PacketRecord,
        id_is_lo: Option<bool>,
    ) {
        if self.index.len() >= self.flows_max {
            self.evict(packet);
        }
        let initiator_is_lo = src_is_lo != self.rules.opened_by_responder(packet);
        let head = FlowHead {
            key,
            start: packet.ts,
            last: packet.ts,
            first_ordinal: packet.ordinal,
            packets: 1,
            initiator_is_lo,
            id_is_lo: id_is_lo.unwrap_or(initiator_is_lo),
            end_reason: EndReason::EndOfInput,
        };
        let direction = self.rules.direction(&head, packet, src_is_lo);
        let state = self.tracker.open(Opening { head: &head, packet, direction, continues: None });
        self.insert(head, Lifetime::default(), hash, state, packet, direction);
    }

    #[cold]
    fn end_and_open(
        &mut self,
        id: u32,
        reason: EndReason,
        decided: i64,
        next: Next,
        src_is_lo: bool,
        packet: &PacketRecord,
    ) {
        // The ended flow leaves the index but not yet the slab: the next flow may take over from it.
        let (old_head, old_life, hash) = {
            let old = self.slab.get(id);
            (old.flow.head, old.life, self.hash(&old.flow.head.key))
        };
        self.end(id, reason, decided);
        match next {
            Next::Fresh => self.open_fresh(old_head.key, src_is_lo, hash, packet, None),
            Next::FreshSameId => {
                self.open_fresh(old_head.key, src_is_lo, hash, packet, Some(old_head.id_is_lo));
            }
            Next::Continue | Next::ContinueForward => {
                let head = FlowHead {
                    start: packet.ts,
                    last: packet.ts,
                    first_ordinal: packet.ordinal,
                    packets: 1,
                    ..old_head
                };
                let direction = match next {
                    Next::ContinueForward => Direction::Forward,
                    _ => self.rules.direction(&head, packet, src_is_lo),
                };
                let old = self.slab.get_present(id);
                let state = self.tracker.open(Opening {
                    head: &head,
                    packet,
                    direction,
                    continues: old.map(|old| (&old_head, &mut old.flow.state)),
                });
                let life = match self.rules {
                    Rules::Tapline { .. } => old_life,
                    Rules::Cic { .. } => Lifetime::default(),
                };
                self.insert(head, life, hash, state, packet, direction);
            }
        }
    }

    fn insert(
        &mut self,
        head: FlowHead,
        mut life: Lifetime,
        hash: u32,
        state: T::State,
        packet: &PacketRecord,
        direction: Direction,
    ) {
        match self.rules {
            Rules::Tapline { .. } => lifetime_tapline::note_flags(&mut life, packet, direction),
            Rules::Cic { version, .. } => {
                lifetime_cic::note_first(version, &mut life, packet, direction);
            }
        }
        let deadline_second = deadline_second(&self.rules, &head, &life);
        let id = self.slab.insert(Entry { flow: FlowRecord { head, state }, life, links: Links::unarmed() });
        self.wheel.arm(&mut self.slab, id, deadline_second);
        self.index.insert_unique(spread(hash), Slot { hash, id }, |slot| spread(slot.hash));
        self.counters.flows_opened += 1;
        self.counters.flows_peak = self.counters.flows_peak.max(self.index.len() as u64);
    }

    fn rearm(&mut self, id: u32) {
        let entry = self.slab.get(id);
        let second = deadline_second(&self.rules, &entry.flow.head, &entry.life);
        self.wheel.disarm(&mut self.slab, id);
        self.wheel.arm(&mut self.slab, id, second);
    }

    /// Makes room: ends the flow that is nearest to its timeout.
    #[cold]
    fn evict(&mut self, packet: &PacketRecord) {
        while let Some((id, second)) = self.wheel.earliest() {
            let entry = self.slab.get(id);
            let due = deadline_second(&self.rules, &entry.flow.head, &entry.life);
            if due > second && self.wheel.can_hold(due, second) {
                self.wheel.disarm(&mut self.slab, id);
                self.wheel.arm(&mut self.slab, id, due);
                continue;
            }
            self.counters.flows_evicted += 1;
            let decided = self.decided(packet.ts.micros, packet);
            self.end(id, EndReason::Evicted, decided);
            return;
        }
    }

    fn end(&mut self, id: u32, reason: EndReason, decided: i64) {
        self.wheel.disarm(&mut self.slab, id);
        let head = &mut self.slab.get_mut(id).flow.head;
        head.end_reason = reason;
        let head = *head;
        if let Ok(slot) = self.index.find_entry(spread(self.hash(&head.key)), |slot| slot.id == id) {
            slot.remove();
        }
        if head.packets < self.rules.packets_min() {
            self.counters.non_flow[NonFlow::OnePacketFlow as usize] += u64::from(head.packets);
            self.slab.release(id);
        } else {
            let decided = decided.max(self.ticked_us);
            self.ended.push(Ended { order: SortKey::of(decided, &head), id });
        }
    }
}

impl<T: Tracker> std::fmt::Debug for FlowTable<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FlowTable")
            .field("rules", &self.rules)
            .field("live_flows", &self.live_flows())
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl SortKey {
    const fn of(decided: i64, head: &FlowHead) -> Self {
        Self { decided, start: head.start.micros, first_ordinal: head.first_ordinal }
    }
}

impl<S> Armed for Entry<S> {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }
}

#[inline]
fn book<T: Tracker>(
    tracker: &T,
    rules: &Rules,
    entry: &mut Entry<T::State>,
    packet: &PacketRecord,
    direction: Direction,
    activity: Activity,
) {
    tracker.add(&entry.flow.head, &mut entry.flow.state, packet, direction, activity);
    entry.flow.head.packets = entry.flow.head.packets.saturating_add(1);
    entry.flow.head.last = match rules {
        Rules::Tapline { .. } => entry.flow.head.last.max(packet.ts),
        Rules::Cic { .. } => packet.ts,
    };
}

/// The second in which a flow is due; under CICFlowMeter's rules only eviction asks.
#[inline]
fn deadline_second(rules: &Rules, head: &FlowHead, life: &Lifetime) -> i64 {
    let deadline_us = match rules {
        Rules::Tapline { timeouts, .. } => lifetime_tapline::deadline_us(timeouts, head, life),
        Rules::Cic { flow_timeout_us, .. } => head.last.micros.saturating_add(*flow_timeout_us),
    };
    Timestamp::from_micros(deadline_us).second()
}

/// Spreads a 32-bit hash over the 64 that the index takes its tag and its position from.
#[inline]
const fn spread(hash: u32) -> u64 {
    (hash as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
