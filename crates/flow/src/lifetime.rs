//! The question that every set of rules answers: what does this packet do to the flow that it found?

use tapline_record::{
    Activity, CicVersion, Direction, EndReason, FlowHead, KeyRules, PacketRecord, protocol, tcp_flag,
};

use crate::NonFlow;

/// The rules a table lives by.
#[derive(Clone, Copy, Debug)]
pub enum Rules {
    /// Tapline's own: idle and active timeouts, TCP end states with a linger.
    Tapline {
        /// When flows end.
        timeouts: Timeouts,
        /// Whether VLAN identifiers belong to the key.
        vlan_in_key: bool,
    },
    /// Those of a CICFlowMeter version.
    Cic {
        /// Which one.
        version: CicVersion,
        /// The greatest age of a flow, in microseconds; the tools' default is 120 s.
        flow_timeout_us: i64,
    },
}

/// Tapline's timeouts, all in microseconds of packet time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// A flow without packets for this long has ended.
    pub idle_us: i64,
    /// A flow older than this is cut at its next packet; at most [`Timeouts::ACTIVE_MAX_US`].
    pub active_us: i64,
    /// A closed or reset TCP flow waits this long for stragglers: last ACKs, retransmissions, RST storms.
    pub tcp_linger_us: i64,
    /// Ages, rising, at which a flow that goes on is recorded as it was before; [`Timeouts::NEVER`] fills the rest.
    pub partial_us: [i64; Self::PARTIALS_MAX],
}

impl Timeouts {
    /// One hour: offsets within a flow then fit 32 bits, and sums of squared gaps fit 64.
    pub const ACTIVE_MAX_US: i64 = 3_600_000_000;
    /// The most early records of a flow.
    pub const PARTIALS_MAX: usize = 8;
    /// An age that no flow reaches.
    pub const NEVER: i64 = i64::MAX;
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            idle_us: 120_000_000,
            active_us: 1_800_000_000,
            tcp_linger_us: 5_000_000,
            partial_us: [Self::NEVER; Self::PARTIALS_MAX],
        }
    }
}

/// What a flow's life has come to, as far as the rules care.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lifetime {
    /// TCP: first sequence number seen with SYN, by direction. ICMP under CICFlowMeter's rules: type and code of the
    /// packet that opened the flow.
    pub isn: [u32; 2],
    /// TCP: bit 0 a forward SYN was seen, bit 1 a backward one.
    pub syn_seen: u8,
    /// TCP: bit 0 a forward FIN was seen, bit 1 a backward one.
    pub fin_seen: u8,
    /// How far the flow has closed.
    pub closing: Closing,
    /// Ages of early records that lie behind.
    pub partials: u8,
}

/// TCP end states.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Closing {
    /// Open, or not TCP.
    #[default]
    No,
    /// CICFlowMeter (gints): a FIN was seen.
    FirstFin,
    /// CICFlowMeter (gints): FINs of both sides were seen.
    BothFins,
    /// Closed by FINs (gints: and acknowledged).
    Fin,
    /// Reset.
    Rst,
}

/// What a packet does to the flow that it found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It joins.
    Join(Activity),
    /// It joins, and the flow ends with it.
    JoinAndEnd(Activity, EndReason),
    /// The flow ended before it, at `decided_us`; the packet opens the next one.
    EndAndOpen {
        /// Why.
        reason: EndReason,
        /// When that was certain, microseconds since the epoch.
        decided_us: i64,
        /// How the next flow begins.
        next: Next,
    },
    /// It belongs to no flow.
    Discard(NonFlow),
}

/// How the flow after an ended one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// From the packet alone.
    Fresh,
    /// From the packet, but under the identifier of the ended flow.
    FreshSameId,
    /// As the continuation of the ended flow, in its direction.
    Continue,
    /// The same, but the packet is booked as forward whatever its direction.
    ContinueForward,
}

impl Rules {
    /// How keys are built.
    #[must_use]
    pub const fn key_rules(&self) -> KeyRules {
        match self {
            Self::Tapline { vlan_in_key, .. } => KeyRules::Tapline { vlan: *vlan_in_key },
            Self::Cic { version: CicVersion::V2018, .. } => KeyRules::Cic2018,
            Self::Cic { .. } => KeyRules::Cic,
        }
    }

    /// Whether the packet that opens a flow is its responder's: a SYN-ACK whose SYN was not seen, or came late.
    #[must_use]
    #[inline]
    pub fn opened_by_responder(&self, packet: &PacketRecord) -> bool {
        const SYN_ACK: u8 = tcp_flag::SYN | tcp_flag::ACK;
        let reads_syn_ack = match self {
            Self::Tapline { .. } => packet.protocol == protocol::TCP,
            Self::Cic { version, .. } => *version == CicVersion::Gints,
        };
        reads_syn_ack && packet.tcp_flags & SYN_ACK == SYN_ACK
    }

    /// The fewest packets of a flow that is emitted.
    #[must_use]
    pub const fn packets_min(&self) -> u32 {
        match self {
            Self::Cic { version: CicVersion::V2018 | CicVersion::Head, .. } => 2,
            _ => 1,
        }
    }

    /// The direction of a packet of a known flow. CICFlowMeter compares addresses alone, so that between two ports of
    /// one address everything is forward.
    #[must_use]
    #[inline]
    pub fn direction(&self, head: &FlowHead, packet: &PacketRecord, src_is_lo: bool) -> Direction {
        match self {
            Self::Tapline { .. } => head.direction(src_is_lo),
            Self::Cic { .. } if packet.src == head.initiator().addr => Direction::Forward,
            Self::Cic { .. } => Direction::Backward,
        }
    }
}
