//! The seam between the flow table and the features that grow inside its entries.
//!
//! The table decides which flow a packet belongs to, in which direction, and when the flow ends. A [`Tracker`] turns
//! the packets of one flow into its feature state. Neither crate names the other; the daemon brings them together.

use crate::{Direction, FlowHead, PacketRecord};

/// Makes and updates the feature state of flows.
pub trait Tracker {
    /// What is kept per flow. Constant size under Tapline's schema. Cloned for early records of flows that go on.
    type State: Clone;

    /// The state of a flow after its first packet.
    fn open(&self, opening: Opening<'_, Self::State>) -> Self::State;

    /// Books a further packet. `head` still holds the flow as it was before the packet: `head.last` is the previous
    /// packet's time.
    fn add(
        &self,
        head: &FlowHead,
        state: &mut Self::State,
        packet: &PacketRecord,
        direction: Direction,
        activity: Activity,
    );
}

/// How a flow begins.
#[derive(Debug)]
pub struct Opening<'a, S> {
    /// The flow's head, complete for its first packet.
    pub head: &'a FlowHead,
    /// The first packet.
    pub packet: &'a PacketRecord,
    /// The direction that the first packet is booked in.
    pub direction: Direction,
    /// The flow on the same tuple that this one goes on from after a timeout: its head and its state, which may be
    /// plundered.
    pub continues: Option<(&'a FlowHead, &'a mut S)>,
}

/// Whether a packet counts for the active and idle periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// It does.
    Counted,
    /// It does not: CICFlowMeter forgets to, for the packets that end a flow.
    Skipped,
}
