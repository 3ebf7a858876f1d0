//! What a table has done, in flows and packets.

use serde::Serialize;

/// Counters of one table; sums of several are meaningful.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TableCounters {
    /// Packets pushed.
    pub packets: u64,
    /// Packets of flows that have ended and were, or will be, handed over.
    pub packets_ended: u64,
    /// Flows opened.
    pub flows_opened: u64,
    /// Flows evicted because the table was full; they are emitted.
    pub flows_evicted: u64,
    /// Early records of flows that went on.
    pub flows_partial: u64,
    /// Flows held now.
    pub flows_live: u64,
    /// The most flows held at once.
    pub flows_peak: u64,
    /// Packets that are in no record, by reason.
    pub non_flow: [u64; NonFlow::ALL.len()],
}

impl TableCounters {
    /// Adds the counters of another table.
    pub fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.packets_ended += other.packets_ended;
        self.flows_opened += other.flows_opened;
        self.flows_evicted += other.flows_evicted;
        self.flows_partial += other.flows_partial;
        self.flows_live += other.flows_live;
        self.flows_peak += other.flows_peak;
        for (sum, more) in self.non_flow.iter_mut().zip(other.non_flow) {
            *sum += more;
        }
    }
}

/// Why a decoded packet is in no record. Both reasons are CICFlowMeter's; Tapline's own rules know none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonFlow {
    /// The flow had one packet only, and cic-2018 and cic-head drop such flows.
    OnePacketFlow,
    /// cic-head drops the second FIN of a direction without counting it.
    SecondFin,
}

impl NonFlow {
    /// Every reason, in the order of [`TableCounters::non_flow`].
    pub const ALL: [Self; 2] = [Self::OnePacketFlow, Self::SecondFin];

    /// The name in summaries and stats.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OnePacketFlow => "one_packet_flow_dropped_as_in_cicflowmeter",
            Self::SecondFin => "second_fin_dropped_as_in_cicflowmeter",
        }
    }
}
