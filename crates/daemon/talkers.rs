//! Who sent the most: initiators by packets of their flows, in bounded memory.

use std::collections::HashMap;
use std::net::IpAddr;

use tapline_record::FlowHead;

/// Addresses ranked at once. When it is reached the lighter half is forgotten: a flood of spoofed sources does not push
/// out those that really talk, but counts of addresses that were forgotten in between are too low.
const ADDRESSES_MAX: usize = 8_192;

#[derive(Debug, Default)]
pub(crate) struct Talkers {
    by_address: HashMap<([u8; 16], u8), Talk>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Talk {
    pub(crate) flows: u64,
    pub(crate) packets: u64,
}

impl Talkers {
    #[inline]
    pub(crate) fn add(&mut self, head: &FlowHead) {
        let talk = self.by_address.entry((head.initiator().addr, head.key.ip_version)).or_default();
        talk.flows += 1;
        talk.packets += u64::from(head.packets);
        if self.by_address.len() >= ADDRESSES_MAX {
            self.forget_lighter_half();
        }
    }

    /// The `n` heaviest, heaviest first.
    pub(crate) fn top(&self, n: usize) -> Vec<(IpAddr, Talk)> {
        let mut all: Vec<_> = self.by_address.iter().map(|(address, talk)| (*address, *talk)).collect();
        all.sort_by_key(|(address, talk)| (std::cmp::Reverse(talk.packets), *address));
        all.truncate(n);
        all.into_iter()
            .map(|((addr, ip_version), talk)| {
                (tapline_record::Endpoint { addr, port: 0 }.ip(ip_version), talk)
            })
            .collect()
    }

    #[cold]
    fn forget_lighter_half(&mut self) {
        let mut packets: Vec<u64> = self.by_address.values().map(|talk| talk.packets).collect();
        let middle = packets.len() / 2;
        let (_, median, _) = packets.select_nth_unstable(middle);
        let median = *median;
        let mut room = ADDRESSES_MAX / 2;
        // Many may weigh exactly the median: of those only as many stay as there is room for.
        self.by_address.retain(|_, talk| {
            let stays = talk.packets > median || (talk.packets == median && room > 0);
            room = room.saturating_sub(usize::from(stays));
            stays
        });
    }
}
