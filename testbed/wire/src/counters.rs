//! What a wire counts, and the line in which it says so at the end.
//!
//! Owns names and shape only. The books balance: `frames_in` of all ports and `flood_copies` together are `frames_out`
//! and all `dropped_*` of all ports and `in_flight` together. A frame dropped before or at the switch is counted at the
//! port it came from, one dropped behind it at the port it was going to.

use serde::Serialize;

use crate::span::SpanCounters;

/// The last line of a wire's standard output.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// In the order of the config.
    pub ports: Vec<PortReport>,
    /// What was recorded.
    pub span: SpanCounters,
    /// Frames that a flood made beyond the one that came in.
    pub flood_copies: u64,
    /// How often a MAC address was not learned because the table was full.
    pub macs_not_learned: u64,
    /// Frames that were still in flight at the end.
    pub in_flight: u64,
    /// How far the clock of the timestamps was moved ahead in total.
    pub advanced_us: u64,
}

/// What passed one port.
#[derive(Debug, Clone, Serialize)]
pub struct PortReport {
    /// Its device.
    pub tap: String,
    /// What was counted of frames, key by key.
    #[serde(flatten)]
    pub counters: PortCounters,
    /// Failed reads of the device.
    pub read_errors: u64,
}

/// Frames of one port, and where they were lost.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct PortCounters {
    /// Frames read from the device, that is, sent by the host.
    pub frames_in: u64,
    /// Their octets.
    pub bytes_in: u64,
    /// Frames written to the device.
    pub frames_out: u64,
    /// Their octets.
    pub bytes_out: u64,
    /// Lost by the dice on the way to the switch.
    pub dropped_loss_up: u64,
    /// Lost by the dice on the way from the switch.
    pub dropped_loss_down: u64,
    /// Queue of the rate limit full, on the way to the switch.
    pub dropped_queue_up: u64,
    /// Queue of the rate limit full, on the way from the switch.
    pub dropped_queue_down: u64,
    /// Too many frames in flight.
    pub dropped_flight: u64,
    /// To the gateway, with a destination that no port owns.
    pub dropped_unroutable: u64,
    /// To the gateway, with a TTL or hop limit that ended on the way.
    pub dropped_ttl: u64,
    /// Too short, behind the port it came from, with no port to flood to, or from the WAN and not to the gateway.
    pub dropped_not_switched: u64,
    /// The device did not take the frame: it was down, or gone.
    pub dropped_down: u64,
}

impl PortCounters {
    /// All frames that went nowhere.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.dropped_loss_up
            + self.dropped_loss_down
            + self.dropped_queue_up
            + self.dropped_queue_down
            + self.dropped_flight
            + self.dropped_unroutable
            + self.dropped_ttl
            + self.dropped_not_switched
            + self.dropped_down
    }
}
