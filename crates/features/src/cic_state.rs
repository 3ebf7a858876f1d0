//! The state of a flow as CICFlowMeter keeps it, operation for operation: `BasicFlow` of three versions.
//!
//! The order of statements in [`CicTracker::open`] and [`CicTracker::add`] is the Java's; several defects are nothing
//! but that order. Bounded where the tool is not: the set that detects retransmissions stops growing at
//! [`SEGMENTS_MAX`].

use std::collections::HashSet;

use tapline_record::{
    Activity, CicVersion, Direction, FlowHead, Opening, PacketRecord, Tracker, protocol, tcp_flag,
};

use crate::summary_statistics::SummaryStatistics;

/// Gap above which CICFlowMeter calls a flow idle.
const IDLE_MIN_US: i64 = 5_000_000;

/// Segments remembered per flow for the retransmission counts of cic-gints. The tool remembers every one of them until
/// memory runs out; beyond this many, new ones are not remembered, and their repetitions not counted.
pub const SEGMENTS_MAX: usize = 1 << 20;

/// Makes and updates [`CicState`]s of one version.
#[derive(Clone, Copy, Debug)]
pub struct CicTracker {
    /// The version.
    pub version: CicVersion,
}

/// Everything that the columns of the CICFlowMeter schemas are computed from.
#[derive(Clone, Debug)]
pub struct CicState {
    pub(crate) version: CicVersion,
    /// Forward, backward.
    pub(crate) sides: [Side; 2],
    /// Payload of all packets; the first is in it twice but in gints.
    pub(crate) payload: SummaryStatistics,
    pub(crate) gap: SummaryStatistics,
    pub(crate) active: SummaryStatistics,
    pub(crate) idle: SummaryStatistics,
    /// Packets with each TCP flag, FIN (bit 0) first.
    pub(crate) flags: [u64; 8],
    /// Gaps of more than a second; cic-2018: always 1.
    pub(crate) subflows: u64,
    /// -1 unless ICMP in cic-gints.
    pub(crate) icmp_type: i64,
    pub(crate) icmp_code: i64,
    /// Time of the flows before, up to the first packet of this one.
    pub(crate) connection_time_us: i64,
    subflow_last_us: i64,
    active_start_us: i64,
    active_end_us: i64,
    segments: HashSet<Segment>,
}

/// One direction of a flow.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    pub(crate) payload: SummaryStatistics,
    pub(crate) gap: SummaryStatistics,
    pub(crate) bulk: Bulk,
    pub(crate) header_bytes: u64,
    pub(crate) psh: u64,
    pub(crate) urg: u64,
    pub(crate) rst: u64,
    pub(crate) data_packets: u64,
    pub(crate) retransmitted: u64,
    pub(crate) window: i64,
    pub(crate) header_min_bytes: u16,
    last_us: i64,
}

/// What makes two TCP packets the same to cic-gints: sender, sequence, acknowledgement, payload size, window.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Segment([u8; 16], u32, u32, u32, u16);

impl Tracker for CicTracker {
    type State = CicState;

    fn open(&self, opening: Opening<'_, CicState>) -> CicState {
        let Opening { head, packet, direction, continues } = opening;
        let gints = self.version == CicVersion::Gints;
        let at_us = packet.ts.micros;
        let mut state = CicState::new(self.version, at_us);
        if gints {
            (state.icmp_type, state.icmp_code) = icmp(packet);
            if let Some((before, old)) = continues {
                state.segments = std::mem::take(&mut old.segments);
                state.connection_time_us = old.connection_time_us
                    + if has_connection_time(packet) { before.duration_us() } else { 0 }
                    + at_us.saturating_sub(before.last.micros);
            }
        }

        state.update_bulk(packet, direction);
        state.count_flags(packet);
        state.payload.add(f64::from(packet.payload_bytes));
        if !gints {
            // The constructor books the first packet's length, and then the method that it calls does so again.
            state.payload.add(f64::from(packet.payload_bytes));
        }

        let booked = if gints { direction } else { Direction::Forward };
        let side = &mut state.sides[booked.index()];
        side.header_min_bytes = packet.l4_header_bytes;
        side.window = window(self.version, packet);
        side.payload.add(f64::from(packet.payload_bytes));
        side.header_bytes = u64::from(packet.l4_header_bytes);
        side.last_us = at_us;
        side.count_flags(packet);
        if gints {
            side.data_packets += u64::from(packet.payload_bytes >= 1);
            state.count_retransmission(head, packet);
        }
        state
    }

    fn add(
        &self,
        head: &FlowHead,
        state: &mut CicState,
        packet: &PacketRecord,
        direction: Direction,
        activity: Activity,
    ) {
        let at_us = packet.ts.micros;
        let gints = self.version == CicVersion::Gints;
        if activity == Activity::Counted {
            state.update_active_idle(at_us);
        }
        if self.version != CicVersion::V2018 {
            state.update_bulk(packet, direction);
            state.update_subflows(at_us);
            state.count_flags(packet);
        }
        if gints {
            state.count_retransmission(head, packet);
        }
        state.payload.add(f64::from(packet.payload_bytes));

        let side = &mut state.sides[direction.index()];
        side.data_packets += u64::from(packet.payload_bytes >= 1);
        side.payload.add(f64::from(packet.payload_bytes));
        side.header_bytes += u64::from(packet.l4_header_bytes);
        if side.payload.n() > 1 {
            side.gap.add(at_us.saturating_sub(side.last_us) as f64);
        }
        side.last_us = at_us;
        side.header_min_bytes = side.header_min_bytes.min(packet.l4_header_bytes);
        if direction == Direction::Backward && (!gints || side.window == 0) {
            side.window = window(self.version, packet);
        }
        if gints {
            side.count_flags(packet);
        }
        state.gap.add(at_us.saturating_sub(head.last.micros) as f64);
    }
}

impl CicState {
    fn new(version: CicVersion, at_us: i64) -> Self {
        let no_window = if version == CicVersion::V2018 { -1 } else { 0 };
        Self {
            version,
            sides: [Side::new(no_window), Side::new(no_window)],
            payload: SummaryStatistics::new(),
            gap: SummaryStatistics::new(),
            active: SummaryStatistics::new(),
            idle: SummaryStatistics::new(),
            flags: [0; 8],
            subflows: u64::from(version == CicVersion::V2018),
            icmp_type: -1,
            icmp_code: -1,
            connection_time_us: 0,
            subflow_last_us: at_us,
            active_start_us: at_us,
            active_end_us: at_us,
            segments: HashSet::new(),
        }
    }

    fn count_flags(&mut self, packet: &PacketRecord) {
        for (bit, count) in self.flags.iter_mut().enumerate() {
            *count += u64::from(packet.tcp_flags >> bit & 1);
        }
    }

    fn update_subflows(&mut self, at_us: i64) {
        if at_us.saturating_sub(self.subflow_last_us) as f64 / 1_000_000.0 > 1.0 {
            self.subflows += 1;
            self.update_active_idle(at_us);
        }
        self.subflow_last_us = at_us;
    }

    fn update_active_idle(&mut self, at_us: i64) {
        if at_us.saturating_sub(self.active_end_us) > IDLE_MIN_US {
            if self.active_end_us > self.active_start_us {
                self.active.add(self.active_end_us.saturating_sub(self.active_start_us) as f64);
            }
            self.idle.add(at_us.saturating_sub(self.active_end_us) as f64);
            self.active_start_us = at_us;
        }
        self.active_end_us = at_us;
    }

    fn update_bulk(&mut self, packet: &PacketRecord, direction: Direction) {
        // The Java compares references of byte arrays: to it, no packet is forward.
        let direction = match self.version {
            CicVersion::V2018 => return,
            CicVersion::Head => Direction::Backward,
            CicVersion::Gints => direction,
        };
        let other_last_us = self.sides[direction.reversed().index()].bulk.last_us;
        self.sides[direction.index()].bulk.add(packet.ts.micros, packet.payload_bytes, other_last_us);
    }

    fn count_retransmission(&mut self, head: &FlowHead, packet: &PacketRecord) {
        if packet.protocol != protocol::TCP {
            return;
        }
        let segment = Segment(packet.src, packet.seq, packet.ack, packet.payload_bytes, packet.window);
        if self.segments.contains(&segment) {
            let forward = packet.src == head.initiator().addr;
            self.sides[usize::from(!forward)].retransmitted += 1;
        } else if self.segments.len() < SEGMENTS_MAX {
            self.segments.insert(segment);
        }
    }
}

impl Side {
    fn new(window: i64) -> Self {
        Self {
            payload: SummaryStatistics::new(),
            gap: SummaryStatistics::new(),
            bulk: Bulk::default(),
            header_bytes: 0,
            psh: 0,
            urg: 0,
            rst: 0,
            data_packets: 0,
            retransmitted: 0,
            window,
            header_min_bytes: 0,
            last_us: 0,
        }
    }

    fn count_flags(&mut self, packet: &PacketRecord) {
        self.psh += u64::from(packet.tcp_flags & tcp_flag::PSH != 0);
        self.urg += u64::from(packet.tcp_flags & tcp_flag::URG != 0);
        self.rst += u64::from(packet.tcp_flags & tcp_flag::RST != 0);
    }
}

/// Bulk transfers of one direction. Zero stands for "no candidate" in `start_us`, as in the Java.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bulk {
    pub(crate) bulks: u64,
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) duration_us: i64,
    start_us: i64,
    last_us: i64,
    candidate_packets: u64,
    candidate_bytes: u64,
}

impl Bulk {
    fn add(&mut self, at_us: i64, payload_bytes: u32, other_last_us: i64) {
        if other_last_us > self.start_us {
            self.start_us = 0;
        }
        if payload_bytes == 0 {
            return;
        }
        let bytes = u64::from(payload_bytes);
        if self.start_us == 0 || at_us.saturating_sub(self.last_us) as f64 / 1_000_000.0 > 1.0 {
            self.start_us = at_us;
            self.last_us = at_us;
            self.candidate_packets = 1;
            self.candidate_bytes = bytes;
            return;
        }
        self.candidate_packets += 1;
        self.candidate_bytes += bytes;
        if self.candidate_packets == 4 {
            self.bulks += 1;
            self.packets += 4;
            self.bytes += self.candidate_bytes;
            self.duration_us = self.duration_us.saturating_add(at_us.saturating_sub(self.start_us));
        } else if self.candidate_packets > 4 {
            self.packets += 1;
            self.bytes += bytes;
            self.duration_us = self.duration_us.saturating_add(at_us.saturating_sub(self.last_us));
        }
        self.last_us = at_us;
    }
}

fn window(version: CicVersion, packet: &PacketRecord) -> i64 {
    match (packet.protocol, version) {
        (protocol::TCP, _) => i64::from(packet.window),
        (_, CicVersion::V2018) => -1,
        _ => 0,
    }
}

fn icmp(packet: &PacketRecord) -> (i64, i64) {
    if packet.protocol == protocol::ICMP {
        (i64::from(packet.icmp_type), i64::from(packet.icmp_code))
    } else {
        (-1, -1)
    }
}

fn has_connection_time(packet: &PacketRecord) -> bool {
    matches!(packet.protocol, protocol::TCP | protocol::UDP)
}
