//! Flows that were met before, in another capture: collections borrow from one another.
//!
//! Two flows are the same if key, first and last time, packets and bytes are. A copy in two splits would be a question
//! whose answer was in the book.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use tapline_record::FlowHead;

/// Flows that are remembered; later ones are let through and counted.
pub const FLOWS_MAX: usize = 8_000_000;

/// The flows met so far.
#[derive(Debug, Default)]
pub struct Copies {
    hashes: RandomState,
    /// Hash of a flow to the capture that it came from.
    seen: HashMap<u64, u32>,
    unremembered: u64,
}

impl Copies {
    /// Whether this flow was met in another capture. `bytes` are those of each direction.
    #[must_use]
    pub fn is_copy(&mut self, capture: u32, head: &FlowHead, bytes: [i64; 2]) -> bool {
        let same = (head.key.words(), head.start.micros, head.last.micros, head.packets, bytes);
        let hash = self.hashes.hash_one(same);
        if let Some(first) = self.seen.get(&hash) {
            return *first != capture;
        }
        if self.seen.len() == FLOWS_MAX {
            self.unremembered += 1;
        } else {
            self.seen.insert(hash, capture);
        }
        false
    }

    /// Flows that came after the memory was full.
    #[must_use]
    pub const fn unremembered(&self) -> u64 {
        self.unremembered
    }
}

#[cfg(test)]
mod tests {
    use tapline_record::{EndReason, Endpoint, FlowKey, Timestamp, TunnelKind};

    use super::*;

    #[test]
    fn another_capture_makes_a_copy() {
        let end = |port| Endpoint { addr: [1; 16], port };
        let key = FlowKey {
            lo: end(1),
            hi: end(2),
            vlan: [0; 2],
            tunnel_id: 0,
            tunnel_kind: TunnelKind::None,
            protocol: 6,
            ip_version: 4,
        };
        let start = Timestamp::from_micros(5);
        let mut head = FlowHead {
            key,
            start,
            last: start,
            first_ordinal: 0,
            packets: 1,
            initiator_is_lo: true,
            id_is_lo: true,
            end_reason: EndReason::Idle,
        };
        let mut copies = Copies::default();
        assert!(!copies.is_copy(0, &head, [60, 0]));
        assert!(!copies.is_copy(0, &head, [60, 0]));
        assert!(copies.is_copy(1, &head, [60, 0]));
        assert!(!copies.is_copy(1, &head, [61, 0]));
        // Not by where it stood in its capture.
        head.first_ordinal = 9;
        assert!(copies.is_copy(2, &head, [60, 0]));
        head.packets = 2;
        assert!(!copies.is_copy(2, &head, [60, 0]));
    }
}
