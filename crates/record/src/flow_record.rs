//! A flow that has ended, as the flow table hands it on.

use serde::{Deserialize, Serialize};

use crate::{Direction, Endpoint, FlowKey, Timestamp};

/// One flow: what the table knows of it, and the feature state that grew inside its entry.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct FlowRecord<S> {
    /// What the table itself keeps.
    pub head: FlowHead,
    /// What the [`Tracker`](crate::Tracker) keeps.
    pub state: S,
}

/// The part of a flow that the table needs for its own rules.
#[derive(Clone, Copy, Debug)]
pub struct FlowHead {
    /// Key, the same for both directions.
    pub key: FlowKey,
    /// First packet.
    pub start: Timestamp,
    /// Latest packet. Never before `start` under Tapline's rules; under CICFlowMeter's it is the last one to arrive.
    pub last: Timestamp,
    /// [`PacketRecord::ordinal`](crate::PacketRecord::ordinal) of the first packet.
    pub first_ordinal: u64,
    /// Packets booked in this flow.
    pub packets: u32,
    /// Whether the initiator is the key's `lo` endpoint.
    pub initiator_is_lo: bool,
    /// Whether the flow's identifier names the `lo` endpoint first. CICFlowMeter keeps the identifier of the first
    /// flow of a tuple when a later one turns round; elsewhere the same as `initiator_is_lo`.
    pub id_is_lo: bool,
    /// Why the flow ended; of no meaning while it lives. (It stands here because the head has a byte to spare.)
    pub end_reason: EndReason,
}

const _: () = assert!(size_of::<FlowHead>() == 80, "640 bytes a live flow");

/// Why a flow ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// No packet for the idle timeout.
    Idle,
    /// Older than the active timeout; packets that follow make the next flow.
    Active,
    /// TCP: both sides sent FIN.
    Fin,
    /// TCP: reset.
    Rst,
    /// A new TCP connection opened on the same tuple.
    Replaced,
    /// The table was full and this was the flow nearest to its timeout.
    Evicted,
    /// The input ended.
    EndOfInput,
    /// It has not: an early record of a flow that goes on.
    Partial,
}

impl EndReason {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 8] = [
        Self::Idle,
        Self::Active,
        Self::Fin,
        Self::Rst,
        Self::Replaced,
        Self::Evicted,
        Self::EndOfInput,
        Self::Partial,
    ];

    /// The name in rows and counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Active => "active",
            Self::Fin => "fin",
            Self::Rst => "rst",
            Self::Replaced => "replaced",
            Self::Evicted => "evicted",
            Self::EndOfInput => "end_of_input",
            Self::Partial => "partial",
        }
    }
}

impl FlowHead {
    /// The endpoint that sent the packet which opened the flow.
    #[must_use]
    #[inline]
    pub const fn initiator(&self) -> &Endpoint {
        if self.initiator_is_lo { &self.key.lo } else { &self.key.hi }
    }

    /// The other endpoint.
    #[must_use]
    #[inline]
    pub const fn responder(&self) -> &Endpoint {
        if self.initiator_is_lo { &self.key.hi } else { &self.key.lo }
    }

    /// The direction of a packet whose source is, or is not, the key's `lo` endpoint.
    #[must_use]
    #[inline]
    pub const fn direction(&self, src_is_lo: bool) -> Direction {
        if src_is_lo == self.initiator_is_lo { Direction::Forward } else { Direction::Backward }
    }

    /// Microseconds from the first packet to the last.
    #[must_use]
    #[inline]
    pub const fn duration_us(&self) -> i64 {
        self.last.micros_since(self.start)
    }
}
