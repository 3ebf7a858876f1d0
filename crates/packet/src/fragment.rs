//! The memory of first fragments, so that later ones join the flow of their first.
//!
//! Only a first fragment carries ports. The table keeps, for a bounded number of packets in pieces, what its first
//! fragment said. It is a 4-way set-associative cache: fixed memory from the start, the oldest of a set gives way, and
//! its content depends on nothing but the packets seen, so a replay gives the same rows.

use tapline_record::{PacketRecord, Timestamp};

use crate::counters::DecodeCounters;

/// What an IP header says about fragmentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fragment {
    /// The packet is whole.
    Whole,
    /// Offset 0, more to come.
    First(FragmentId),
    /// Offset above 0: no transport header.
    Later(FragmentId),
}

/// What the fragments of one packet share besides their addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentId {
    /// IPv4: 16 bits (RFC 791), IPv6: 32 bits (RFC 8200).
    pub(crate) identification: u32,
    /// IPv4: the header's protocol. IPv6: 0, as a later fragment may name another next header than the first.
    pub(crate) protocol: u8,
}

/// First fragments, by what identifies their packet. A train is a packet in pieces.
#[derive(Debug)]
pub(crate) struct FragmentTable {
    sets: Box<[Set]>,
}

#[derive(Clone, Debug, Default)]
struct Set {
    ways: [Option<Train>; WAYS],
    /// The way that is written next: the oldest one.
    next: usize,
}

#[derive(Clone, Copy, Debug)]
struct Train {
    key: Key,
    first_seen: Timestamp,
    src_port: u16,
    dst_port: u16,
    protocol: u8,
    icmp_type: u8,
    icmp_code: u8,
}

/// Equal addresses in two tenants' networks are two packets, hence the tunnel and the VLANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    src: [u8; 16],
    dst: [u8; 16],
    id: FragmentId,
    tunnel_id: u32,
    vlan: [u16; 2],
}

impl FragmentTable {
    /// Room for `max_trains` packets in pieces, rounded up to whole sets; 0 remembers none.
    pub(crate) fn new(max_trains: usize) -> Self {
        Self { sets: vec![Set::default(); max_trains.div_ceil(WAYS)].into_boxed_slice() }
    }

    /// Keeps what a decoded first fragment says.
    pub(crate) fn remember(&mut self, id: FragmentId, first: &PacketRecord, counters: &mut DecodeCounters) {
        counters.fragments_first += 1;
        let key = Key::of(id, first);
        let at = key.set(self.sets.len());
        let Some(set) = self.sets.get_mut(at) else { return };
        let train = Train {
            key,
            first_seen: first.ts,
            src_port: first.src_port,
            dst_port: first.dst_port,
            protocol: first.protocol,
            icmp_type: first.icmp_type,
            icmp_code: first.icmp_code,
        };
        if let Some(same) = set.ways.iter_mut().flatten().find(|train| train.key == key) {
            *same = train;
            return;
        }
        let slot = &mut set.ways[set.next % WAYS];
        if slot.is_some_and(|old| old.is_live(first.ts)) {
            counters.fragment_evictions += 1;
        }
        *slot = Some(train);
        set.next = (set.next + 1) % WAYS;
    }

    /// Gives a later fragment what its first said, if that is known.
    pub(crate) fn join(&self, id: FragmentId, later: &mut PacketRecord, counters: &mut DecodeCounters) {
        let key = Key::of(id, later);
        let train = self.sets.get(key.set(self.sets.len())).and_then(|set| {
            set.ways.iter().flatten().find(|train| train.key == key && train.is_live(later.ts))
        });
        let Some(train) = train else {
            counters.fragments_orphan += 1;
            return;
        };
        counters.fragments_joined += 1;
        later.src_port = train.src_port;
        later.dst_port = train.dst_port;
        later.protocol = train.protocol;
        later.icmp_type = train.icmp_type;
        later.icmp_code = train.icmp_code;
    }
}

impl Train {
    /// Identifications are reused. The distance counts both ways, as the packets of two taps may be out of order.
    fn is_live(&self, now: Timestamp) -> bool {
        now.micros_since(self.first_seen).unsigned_abs() <= LIFETIME_US
    }
}

impl Key {
    fn of(id: FragmentId, packet: &PacketRecord) -> Self {
        Self { src: packet.src, dst: packet.dst, id, tunnel_id: packet.tunnel_id, vlan: packet.vlan }
    }

    /// Multiply and fold, then the upper part of a product: cheap, spread out, the same on every run. Whoever aims at
    /// one set can empty that set and no more.
    fn set(&self, sets: usize) -> usize {
        let mut hash = u64::from(self.id.identification) << 32
            | u64::from(self.vlan[0]) << 16
            | u64::from(self.id.protocol);
        let [src, dst] = [self.src, self.dst].map(u128::from_be_bytes);
        for word in
            [src as u64, (src >> 64) as u64, dst as u64, (dst >> 64) as u64, u64::from(self.tunnel_id)]
        {
            hash = (hash ^ word).wrapping_mul(ODD);
            hash ^= hash >> 29;
        }
        ((u128::from(hash) * sets as u128) >> 64) as usize
    }
}

const WAYS: usize = 4;

/// Linux keeps fragments for 30 seconds, RFC 8200 for 60; a first fragment rarely waits a second.
const LIFETIME_US: u64 = 30_000_000;

/// 2^64 over the golden ratio.
const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use tapline_record::{Frame, LinkType};

    use super::*;
    use crate::decoder::{DecodeOptions, Decoder};

    fn packet(id: u32, at_us: i64) -> (FragmentId, PacketRecord) {
        let frame = Frame {
            ts: Timestamp::from_micros(at_us),
            link: LinkType::RAW,
            wire_bytes: 28,
            bytes: &[
                0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        };
        let mut record = Decoder::new(DecodeOptions::default()).decode(&frame, 0).unwrap();
        record.src_port = 1_000 + id as u16;
        (FragmentId { identification: id, protocol: 17 }, record)
    }

    fn port_after_join(table: &FragmentTable, id: u32, at_us: i64, counters: &mut DecodeCounters) -> u16 {
        let (id, mut later) = packet(id, at_us);
        later.src_port = 0;
        table.join(id, &mut later, counters);
        later.src_port
    }

    #[test]
    fn a_train_lives_for_thirty_seconds() {
        let mut counters = DecodeCounters::default();
        let mut table = FragmentTable::new(16);
        let (id, first) = packet(7, 0);
        table.remember(id, &first, &mut counters);
        assert_eq!(port_after_join(&table, 7, 30_000_000, &mut counters), 1_007);
        assert_eq!(port_after_join(&table, 7, 30_000_001, &mut counters), 0);
        assert_eq!(port_after_join(&table, 8, 0, &mut counters), 0);
        assert_eq!((counters.fragments_joined, counters.fragments_orphan), (1, 2));
    }

    #[test]
    fn the_oldest_of_a_set_gives_way() {
        let mut counters = DecodeCounters::default();
        let mut table = FragmentTable::new(4);
        for n in 0..5 {
            let (id, first) = packet(n, i64::from(n));
            table.remember(id, &first, &mut counters);
        }
        assert_eq!(counters.fragment_evictions, 1);
        assert_eq!(port_after_join(&table, 0, 5, &mut counters), 0);
        for n in 1..5 {
            assert_eq!(port_after_join(&table, n, 5, &mut counters), 1_000 + n as u16);
        }
        // The same packet again takes its own place.
        let (id, first) = packet(3, 6);
        table.remember(id, &first, &mut counters);
        assert_eq!(counters.fragment_evictions, 1);
    }

    #[test]
    fn a_table_of_nothing_joins_nothing() {
        let mut counters = DecodeCounters::default();
        let mut table = FragmentTable::new(0);
        let (id, first) = packet(1, 0);
        table.remember(id, &first, &mut counters);
        assert_eq!(port_after_join(&table, 1, 0, &mut counters), 0);
    }

    #[test]
    fn sets_fill_evenly() {
        let mut counters = DecodeCounters::default();
        let mut table = FragmentTable::new(4_096);
        for n in 0..2_048 {
            let (id, first) = packet(n, 0);
            table.remember(id, &first, &mut counters);
        }
        assert!(counters.fragment_evictions < 150, "{} evictions at half load", counters.fragment_evictions);
    }
}
