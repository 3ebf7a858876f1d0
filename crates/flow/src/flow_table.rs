//! The table itself: find, open, book, end, evict, drain.
//!
//! In: [`PacketRecord`]s in capture order, and ticks of packet time. Out: [`EndedFlow`]s, each once. A flow that ended
//! stays in the slab, out of the index, until it is drained; so a drain can sort without moving flows.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;
use tapline_record::{
    Activity, Direction, EndReason, FlowHead, FlowKey, FlowRecord, Opening, PacketRecord, Timestamp, Tracker,
};

use crate::counters::{NonFlow, TableCounters};
use crate::lifetime::{Lifetime, Next, Rules, Step, Timeouts};
use crate::slab::{ChunkHook, Slab};
use crate::timer_wheel::{Armed, Links, TimerWheel};
use crate::{lifetime_cic, lifetime_tapline};

/// The live flows of several shards.
///
/// The shards share memory and nothing else: what one sees, holds and evicts does not depend on which others are there.
pub struct FlowTable<T: Tracker> {
    rules: Rules,
    tracker: T,
    hasher: SipHasher13,
    flows_max: usize,
    slab: Slab<Entry<T::State>>,
    shards: Vec<Shard>,
    /// Scratch of [`FlowTable::drain`]: of each shard the first flow not yet handed over, the shard, its place there.
    heads: BinaryHeap<Reverse<(SortKey, usize, usize)>>,
    /// Scratch of [`FlowTable::tick`].
    postponed: Vec<u32>,
    counters: TableCounters,
}

/// One shard: how its flows are found, when they are due, and which have ended.
struct Shard {
    index: HashTable<Slot>,
    wheel: TimerWheel,
    ended: Vec<Ended>,
    /// The last tick, a floor under [`SortKey`]s: a packet that comes late must not put a row before rows that are out
    /// already, all of which were decided by then.
    ticked_us: i64,
}

/// The key of the table's hash: random per process, so that nobody outside can make keys collide.
#[derive(Clone, Copy, Debug)]
pub struct HashSeed(pub u64, pub u64);

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

/// Packets may come late; time that is further back than this means that a clock was set, in microseconds.
pub const CLOCK_SET_BACK_US: i64 = 3_600_000_000;
const CLOCK_SET_BACK_S: i64 = CLOCK_SET_BACK_US / 1_000_000;

/// Added to the last packet's time of flows that the input's end cut, so that they come after all others.
const AFTER_ALL: i64 = i64::MAX / 2;

impl SortKey {
    /// Under Tapline's rules: when the flow's end was certain, in microseconds since the epoch. A flow that the input's
    /// end cut counts as having waited for its idle timeout of `idle_us`, so that the distances between flows are those
    /// they would have had, had the input gone on.
    #[must_use]
    pub const fn decided_us(&self, idle_us: i64) -> i64 {
        if self.decided >= AFTER_ALL { self.decided - AFTER_ALL + idle_us } else { self.decided }
    }
}

/// A flow that has ended and waits in the slab to be drained.
#[derive(Clone, Copy)]
struct Ended {
    order: SortKey,
    id: u32,
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
    /// An empty table of `shards` shards, each of which holds at most `flows_max` (at least 1) live flows.
    pub fn new(
        rules: Rules,
        tracker: T,
        shards: usize,
        flows_max: usize,
        seed: HashSeed,
        hook: ChunkHook,
    ) -> Self {
        Self {
            rules,
            tracker,
            hasher: SipHasher13::new_with_keys(seed.0, seed.1),
            flows_max: flows_max.max(1),
            slab: Slab::new(hook),
            shards: (0..shards).map(|_| Shard::new()).collect(),
            heads: BinaryHeap::with_capacity(shards),
            postponed: Vec::new(),
            counters: TableCounters::default(),
        }
    }

    /// Books a packet that belongs to `shard`.
    #[inline]
    pub fn push(&mut self, shard: usize, packet: &PacketRecord) {
        self.counters.packets += 1;
        let (key, src_is_lo) = FlowKey::of(packet, self.rules.key_rules());
        let hash = hash(&self.hasher, &key);
        let found = self.shards[shard]
            .index
            .find(spread(hash), |slot| slot.hash == hash && self.slab.get(slot.id).flow.head.key == key)
            .map(|slot| slot.id);
        let Some(id) = found else {
            return self.open_fresh(shard, key, src_is_lo, hash, packet, None);
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
                if self.gets_partial(id, packet) {
                    self.record_partial(shard, id, packet);
                }
                let entry = self.slab.get_mut(id);
                book(&self.tracker, &self.rules, entry, packet, direction, activity);
                if entry.life.closing != closing {
                    let second = deadline_second(&self.rules, &entry.flow.head, &entry.life);
                    self.shards[shard].wheel.rearm(&mut self.slab, id, second);
                }
            }
            Step::JoinAndEnd(activity, reason) => {
                book(&self.tracker, &self.rules, entry, packet, direction, activity);
                self.end(shard, id, reason, self.decided(packet.ts.micros, packet));
            }
            Step::EndAndOpen { reason, decided_us, next } => {
                let decided = self.decided(decided_us, packet);
                self.end_and_open(shard, id, reason, decided, next, src_is_lo, packet);
            }
            Step::Discard(why) => self.counters.non_flow[why as usize] += 1,
        }
    }

    /// Ends every flow whose deadline has passed at packet time `now`. CICFlowMeter's rules know no such thing. Time may
    /// fall back by more than an hour, when a clock was wrong: flows from before end then, as if they were too old.
    pub fn tick(&mut self, now: Timestamp) {
        self.tick_hurried(now, 0);
    }

    /// As [`tick`](Self::tick), but every flow ends `hurry_us` earlier than its timeouts say, to the second: room is
    /// short.
    pub fn tick_hurried(&mut self, now: Timestamp, hurry_us: i64) {
        let Rules::Tapline { timeouts, .. } = self.rules else { return };
        let due = Timestamp::from_micros(now.micros.saturating_add(hurry_us));
        for shard in 0..self.shards.len() {
            if self.shards[shard].wheel.is_ahead(now.second(), CLOCK_SET_BACK_S) {
                self.rewind(shard, now);
            }
            // Slots of seconds gone by: whatever is in them is due, or its deadline has moved on. The latter wait until
            // the wheel stands at the present, for it may have years to go: captures are merged, clocks are set.
            while let Some((id, second)) = self.shards[shard].wheel.earliest() {
                if second >= due.second() {
                    break;
                }
                if !self.end_if_due(shard, &timeouts, id, due, now) {
                    self.shards[shard].wheel.disarm(&mut self.slab, id);
                    self.postponed.push(id);
                }
            }
            self.shards[shard].wheel.advance(now.second());
            for id in self.postponed.drain(..) {
                let entry = self.slab.get(id);
                let second = deadline_second(&self.rules, &entry.flow.head, &entry.life);
                self.shards[shard].wheel.arm(&mut self.slab, id, second);
            }
            // The slot of the running second: some of it is due already.
            let mut following = self.shards[shard].wheel.first_in_current_slot();
            while let Some(id) = following {
                following = self.slab.get(id).links.next();
                self.end_if_due(shard, &timeouts, id, due, now);
            }
            let ticked_us = &mut self.shards[shard].ticked_us;
            *ticked_us = now.micros.max(*ticked_us);
        }
    }

    /// Ends every flow: the input is over. Index and wheel are given up whole, which is faster than flow by flow.
    pub fn finish(&mut self) {
        let tapline = matches!(self.rules, Rules::Tapline { .. });
        for shard in &mut self.shards {
            let index = std::mem::replace(&mut shard.index, HashTable::new());
            shard.wheel = TimerWheel::new();
            shard.ended.reserve_exact(index.len());
            self.counters.flows_live -= index.len() as u64;
            for Slot { id, .. } in index {
                let head = &mut self.slab.get_mut(id).flow.head;
                head.end_reason = EndReason::EndOfInput;
                if head.packets < self.rules.packets_min() {
                    self.counters.non_flow[NonFlow::OnePacketFlow as usize] += u64::from(head.packets);
                    self.slab.release(id);
                    continue;
                }
                self.counters.packets_ended += u64::from(head.packets);
                // After everything that was decided before.
                let decided = if tapline { AFTER_ALL.saturating_add(head.last.micros) } else { i64::MAX };
                shard.ended.push(Ended { order: SortKey::of(decided, head), id });
            }
        }
    }

    /// Hands over the flows that have ended since the last time, in the order of rows; stops at the first error.
    ///
    /// Each shard's list is sorted in its place, then the lists are merged: nothing is copied but what `emit` takes.
    ///
    /// # Errors
    ///
    /// Those of `emit`; the table must not be used after one.
    pub fn drain<E>(
        &mut self,
        mut emit: impl FnMut(EndedFlow<'_, T::State>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.heads.clear();
        for (index, shard) in self.shards.iter_mut().enumerate() {
            shard.ended.sort_unstable_by_key(|ended| ended.order);
            if let Some(first) = shard.ended.first() {
                self.heads.push(Reverse((first.order, index, 0)));
            }
        }
        while let Some(mut head) = self.heads.peek_mut() {
            let Reverse((order, shard, at)) = &mut *head;
            let ended = &mut self.shards[*shard].ended;
            let Ended { id, .. } = ended[*at];
            emit(EndedFlow { order: *order, id, slab: &mut self.slab, taken: false })?;
            *at += 1;
            if let Some(next) = ended.get(*at) {
                *order = next.order;
            } else {
                ended.clear();
                PeekMut::pop(head);
            }
        }
        Ok(())
    }

    /// Flows that are live now.
    #[must_use]
    pub fn live_flows(&self) -> usize {
        self.shards.iter().map(|shard| shard.index.len()).sum()
    }

    /// Packets in live flows, counted from the flows themselves.
    #[must_use]
    pub fn live_packets(&self) -> u64 {
        let live = self.shards.iter().flat_map(|shard| shard.index.iter());
        live.map(|slot| u64::from(self.slab.get(slot.id).flow.head.packets)).sum()
    }

    /// What the table has done so far.
    #[must_use]
    pub const fn counters(&self) -> &TableCounters {
        &self.counters
    }

    /// Ends a flow whose deadline has passed; says whether it has.
    fn end_if_due(
        &mut self,
        shard: usize,
        timeouts: &Timeouts,
        id: u32,
        due: Timestamp,
        now: Timestamp,
    ) -> bool {
        let entry = self.slab.get(id);
        let deadline_us = lifetime_tapline::deadline_us(timeouts, &entry.flow.head, &entry.life);
        let is_due = deadline_us <= due.micros;
        if is_due {
            let reason = lifetime_tapline::quiet_reason(&entry.life);
            self.end(shard, id, reason, deadline_us.min(now.micros));
        }
        is_due
    }

    /// The clock was set back. Flows from before would stay until it is there again, and in a wheel that stands still every
    /// tick would look through all flows.
    #[cold]
    fn rewind(&mut self, shard: usize, now: Timestamp) {
        while let Some((id, _)) = self.shards[shard].wheel.earliest() {
            if self.slab.get(id).flow.head.last.second() > now.second() + CLOCK_SET_BACK_S {
                self.end(shard, id, EndReason::Active, now.micros);
            } else {
                self.shards[shard].wheel.disarm(&mut self.slab, id);
                self.postponed.push(id);
            }
        }
        self.shards[shard].wheel.rewind(now.second());
        for id in self.postponed.drain(..) {
            let entry = self.slab.get(id);
            let second = deadline_second(&self.rules, &entry.flow.head, &entry.life);
            self.shards[shard].wheel.arm(&mut self.slab, id, second);
        }
    }

    /// When a flow's end was certain, in the unit of this table's [`SortKey`]s.
    #[inline]
    const fn decided(&self, decided_us: i64, packet: &PacketRecord) -> i64 {
        match self.rules {
            Rules::Tapline { .. } => decided_us,
            Rules::Cic { .. } => packet.ordinal as i64,
        }
    }

    /// Whether a flow is to be recorded before `packet` joins it.
    #[inline]
    fn gets_partial(&mut self, id: u32, packet: &PacketRecord) -> bool {
        let Rules::Tapline { timeouts, .. } = &self.rules else { return false };
        let entry = self.slab.get_mut(id);
        lifetime_tapline::becomes_partial(timeouts, &entry.flow.head, &mut entry.life, packet.ts)
    }

    /// Records a flow as it is, and lets it go on.
    #[cold]
    fn record_partial(&mut self, shard: usize, id: u32, packet: &PacketRecord) {
        self.counters.flows_partial += 1;
        let mut flow = self.slab.get(id).flow.clone();
        flow.head.end_reason = EndReason::Partial;
        let floor_us = self.shards[shard].ticked_us.saturating_add(1);
        let order = SortKey::of(self.decided(packet.ts.micros, packet).max(floor_us), &flow.head);
        let id = self.slab.insert(Entry { links: Links::unarmed(), life: Lifetime::default(), flow });
        self.shards[shard].ended.push(Ended { order, id });
    }

    fn open_fresh(
        &mut self,
        shard: usize,
        key: FlowKey,
        src_is_lo: bool,
        hash: u32,
        packet: &PacketRecord,
        id_is_lo: Option<bool>,
    ) {
        if self.shards[shard].index.len() >= self.flows_max {
            self.evict(shard, packet);
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
        self.insert(shard, FlowRecord { head, state }, Lifetime::default(), hash, packet, direction);
    }

    #[cold]
    #[expect(clippy::too_many_arguments, reason = "the parts of one step, passed on")]
    fn end_and_open(
        &mut self,
        shard: usize,
        id: u32,
        reason: EndReason,
        decided: i64,
        next: Next,
        src_is_lo: bool,
        packet: &PacketRecord,
    ) {
        let old = self.slab.get(id);
        let (old_head, old_life) = (old.flow.head, old.life);
        let hash = hash(&self.hasher, &old_head.key);
        let continued = match next {
            Next::Fresh | Next::FreshSameId => None,
            Next::Continue => Some(self.rules.direction(&old_head, packet, src_is_lo)),
            Next::ContinueForward => Some(Direction::Forward),
        };
        let Some(direction) = continued else {
            self.end(shard, id, reason, decided);
            let id_is_lo = (next == Next::FreshSameId).then_some(old_head.id_is_lo);
            return self.open_fresh(shard, old_head.key, src_is_lo, hash, packet, id_is_lo);
        };

        // The next flow takes over from the old one's state, before that goes its way.
        let head = FlowHead {
            start: packet.ts,
            last: packet.ts,
            first_ordinal: packet.ordinal,
            packets: 1,
            ..old_head
        };
        let continues = Some((&old_head, &mut self.slab.get_mut(id).flow.state));
        let state = self.tracker.open(Opening { head: &head, packet, direction, continues });
        let life = match self.rules {
            Rules::Tapline { .. } => Lifetime { partials: 0, ..old_life },
            Rules::Cic { .. } => Lifetime::default(),
        };
        self.end(shard, id, reason, decided);
        self.insert(shard, FlowRecord { head, state }, life, hash, packet, direction);
    }

    fn insert(
        &mut self,
        shard: usize,
        flow: FlowRecord<T::State>,
        mut life: Lifetime,
        hash: u32,
        packet: &PacketRecord,
        direction: Direction,
    ) {
        match self.rules {
            Rules::Tapline { .. } => lifetime_tapline::note_flags(&mut life, packet, direction),
            Rules::Cic { version, .. } => {
                lifetime_cic::note_first(version, &mut life, packet, direction);
            }
        }
        let second = deadline_second(&self.rules, &flow.head, &life);
        let id = self.slab.insert(Entry { links: Links::unarmed(), life, flow });
        let Shard { index, wheel, .. } = &mut self.shards[shard];
        wheel.arm(&mut self.slab, id, second);
        index.insert_unique(spread(hash), Slot { hash, id }, |slot| spread(slot.hash));
        self.counters.flows_opened += 1;
        self.counters.flows_live += 1;
        self.counters.flows_peak = self.counters.flows_peak.max(self.counters.flows_live);
    }

    /// Makes room: ends the flow that is nearest to its timeout.
    #[cold]
    fn evict(&mut self, shard: usize, packet: &PacketRecord) {
        while let Some((id, second)) = self.shards[shard].wheel.earliest() {
            let entry = self.slab.get(id);
            let due = deadline_second(&self.rules, &entry.flow.head, &entry.life);
            let wheel = &mut self.shards[shard].wheel;
            if due > second && wheel.can_hold(due, second) {
                wheel.rearm(&mut self.slab, id, due);
                continue;
            }
            self.counters.flows_evicted += 1;
            let decided = self.decided(packet.ts.micros, packet);
            self.end(shard, id, EndReason::Evicted, decided);
            return;
        }
    }

    fn end(&mut self, shard: usize, id: u32, reason: EndReason, decided: i64) {
        let Shard { index, wheel, ended, ticked_us } = &mut self.shards[shard];
        wheel.disarm(&mut self.slab, id);
        let head = &mut self.slab.get_mut(id).flow.head;
        head.end_reason = reason;
        let hash = hash(&self.hasher, &head.key);
        if let Ok(slot) = index.find_entry(spread(hash), |slot| slot.id == id) {
            slot.remove();
        }
        self.counters.flows_live -= 1;
        if head.packets < self.rules.packets_min() {
            self.counters.non_flow[NonFlow::OnePacketFlow as usize] += u64::from(head.packets);
            self.slab.release(id);
        } else {
            self.counters.packets_ended += u64::from(head.packets);
            ended.push(Ended { order: SortKey::of(decided.max(ticked_us.saturating_add(1)), head), id });
        }
    }
}

impl Shard {
    fn new() -> Self {
        Self { index: HashTable::new(), wheel: TimerWheel::new(), ended: Vec::new(), ticked_us: i64::MIN }
    }
}

/// An ended flow in the hands of [`FlowTable::drain`]'s caller: read it where it lies, or take it away.
pub struct EndedFlow<'a, S> {
    order: SortKey,
    id: u32,
    slab: &'a mut Slab<Entry<S>>,
    taken: bool,
}

impl<S> EndedFlow<'_, S> {
    /// Where its row stands among all rows.
    #[must_use]
    pub const fn order(&self) -> SortKey {
        self.order
    }

    /// The flow, in its place.
    #[must_use]
    pub fn record(&self) -> &FlowRecord<S> {
        &self.slab.get(self.id).flow
    }

    /// Takes the flow away.
    #[must_use]
    pub fn take(mut self) -> FlowRecord<S> {
        self.taken = true;
        self.slab.take(self.id).flow
    }
}

impl<S> std::fmt::Debug for EndedFlow<'_, S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EndedFlow").field("order", &self.order).field("head", &self.record().head).finish()
    }
}

impl<S> Drop for EndedFlow<'_, S> {
    fn drop(&mut self) {
        if !self.taken {
            self.slab.release(self.id);
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
fn hash(hasher: &SipHasher13, key: &FlowKey) -> u32 {
    let [_, lo, _, hi, ports, around] = key.words();
    if key.ip_version == 4 {
        // All that differs between IPv4 keys, in half the words.
        return hasher.hash(&bytes_of::<3, 24>([lo << 32 | hi & 0xffff_ffff, ports, around])) as u32;
    }
    hasher.hash(&bytes_of::<6, 48>(key.words())) as u32
}

#[inline]
fn bytes_of<const WORDS: usize, const BYTES: usize>(words: [u64; WORDS]) -> [u8; BYTES] {
    const { assert!(BYTES == 8 * WORDS, "eight bytes a word") };
    let mut bytes = [0; BYTES];
    for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    bytes
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

#[cfg(test)]
mod tests {
    use super::*;
    use tapline_record::{Endpoint, TunnelKind};

    /// Keys that an attacker tries; of these one in 64 is of use to him. (Fewer without optimisation, for time.)
    const TRIED: u32 = if cfg!(debug_assertions) { 1 << 20 } else { 1 << 26 };
    /// An index with as many buckets as it holds keys: a million.
    const BUCKETS: usize = TRIED as usize / 64;

    /// A key that a sender can choose: his address and port are his to make up.
    fn key(number: u32) -> FlowKey {
        let [a, b, c, d] = number.to_be_bytes();
        let address = |last: [u8; 4]| {
            let mut mapped = [0; 16];
            (mapped[10], mapped[11]) = (0xff, 0xff);
            mapped[12..].copy_from_slice(&last);
            mapped
        };
        FlowKey {
            lo: Endpoint { addr: address([10, 0, a, b]), port: u16::from_be_bytes([c, d]) },
            hi: Endpoint { addr: address([192, 0, 2, 1]), port: 443 },
            vlan: [0; 2],
            tunnel_id: 0,
            tunnel_kind: TunnelKind::default(),
            protocol: 17,
            ip_version: 4,
        }
    }

    fn bucket(hasher: &SipHasher13, key: &FlowKey) -> usize {
        spread(hash(hasher, key)) as usize % BUCKETS
    }

    /// The most keys in one bucket, and in one run of 64.
    fn crowd(hasher: &SipHasher13, keys: &[FlowKey]) -> (u32, u32) {
        let mut buckets = vec![0u32; BUCKETS];
        for key in keys {
            buckets[bucket(hasher, key)] += 1;
        }
        let runs = buckets.chunks(64).map(|run| run.iter().sum());
        (buckets.iter().copied().max().unwrap_or(0), runs.max().unwrap_or(0))
    }

    /// Keeps nothing.
    struct Forgetful;

    impl Tracker for Forgetful {
        type State = ();

        fn open(&self, _: Opening<'_, ()>) {}

        fn add(&self, _: &FlowHead, (): &mut (), _: &PacketRecord, _: Direction, _: Activity) {}
    }

    /// A UDP packet of host `number`.
    fn packet(number: u8, second: i64) -> PacketRecord {
        let addr = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 10, 0, 0, last];
        PacketRecord {
            ts: Timestamp::from_micros(second * 1_000_000),
            ordinal: u64::from(number),
            src: addr(number),
            dst: addr(255),
            seq: 0,
            ack: 0,
            payload_bytes: 1,
            ip_bytes: 29,
            wire_bytes: 43,
            tunnel_id: 0,
            src_port: 40_000,
            dst_port: 53,
            vlan: [0; 2],
            window: 0,
            l4_header_bytes: 8,
            protocol: 17,
            tcp_flags: 0,
            icmp_type: 0,
            icmp_code: 0,
            ip_version: 4,
            ttl: 64,
            tunnel_kind: TunnelKind::None,
            later_fragment: false,
        }
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_neither_old_flows_nor_new_ones() {
        let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true };
        let mut table = FlowTable::new(rules, Forgetful, 1, 100, HashSeed(1, 2), |_, _| {});
        let ended = |table: &mut FlowTable<Forgetful>| {
            let mut ended = Vec::new();
            let emit = |flow: EndedFlow<'_, ()>| {
                let head = &flow.record().head;
                ended.push((head.first_ordinal, head.end_reason));
                Ok::<(), ()>(())
            };
            table.drain(emit).unwrap();
            ended
        };
        let day = 86_400;
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000);
        table.push(0, &packet(1, 2 * day));
        table.tick(second(2 * day + 1));
        table.push(0, &packet(2, day));
        table.tick(second(day));
        assert_eq!(ended(&mut table), [(1, EndReason::Active)], "nobody waits for a day");
        for at in 1..=120 {
            assert_eq!(table.live_flows(), 1);
            table.tick(second(day + at));
        }
        assert_eq!(ended(&mut table), [(2, EndReason::Idle)]);
        // What is due later is not looked at in the meantime.
        table.push(0, &packet(3, day + 120));
        table.tick(second(day + 121));
        assert_eq!(table.shards[0].wheel.first_in_current_slot(), None);
        assert_eq!(table.live_flows(), 1);
    }

    #[test]
    fn keys_that_collide_under_a_known_seed_are_strewn_under_another() {
        let known = SipHasher13::new_with_keys(1, 2);
        // Keys that share one 64th of the index, side by side.
        let keys: Vec<FlowKey> =
            (0..TRIED).map(key).filter(|key| bucket(&known, key) < BUCKETS / 64).collect();
        let fair = TRIED as usize / 64;
        assert!(keys.len().abs_diff(fair) < fair / 20, "{} keys", keys.len());

        let (in_bucket, in_run) = crowd(&known, &keys);
        // The same number of keys that nobody chose.
        let (fair_in_bucket, fair_in_run) = crowd(&known, &(0..fair as u32).map(key).collect::<Vec<_>>());
        assert!(in_run > 30 * fair_in_run, "the attack does nothing: {in_bucket} {in_run}");
        for (key_0, key_1) in [(1, 3), (0x1234_5678_9abc_def0, 7), (u64::MAX, u64::MAX)] {
            let live = SipHasher13::new_with_keys(key_0, key_1);
            let (in_bucket, in_run) = crowd(&live, &keys);
            // As random as the fair ones, give or take what the most of a million draws varies by.
            assert!(in_bucket <= fair_in_bucket + 3, "{in_bucket} and {fair_in_bucket} keys in one bucket");
            assert!(in_run <= fair_in_run + fair_in_run / 4 + 3, "{in_run} and {fair_in_run} in 64 buckets");
        }
    }
}
