//! Who sent the most: initiators by packets of their flows, in constant memory.

use std::net::IpAddr;

use tapline_record::{Endpoint, FlowHead};

/// Sets of the table.
const SETS: usize = 2_048;
/// Addresses per set. A new address takes the place of the lightest: a flood of spoofed sources does not push out those
/// that really talk. Counts of an address that was pushed out in between are too low.
const WAYS: usize = 4;

#[derive(Debug)]
pub(crate) struct Talkers {
    sets: Box<[[Talk; WAYS]]>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Talk {
    addr: [u8; 16],
    ip_version: u8,
    pub(crate) flows: u64,
    pub(crate) packets: u64,
    /// IP bytes, where they are known.
    pub(crate) bytes: u64,
}

impl Talkers {
    #[inline]
    pub(crate) fn add(&mut self, head: &FlowHead, bytes: u64) {
        let addr = head.initiator().addr;
        let word = u128::from_be_bytes(addr);
        let mixed = ((word >> 64) as u64 ^ word as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = &mut self.sets[(mixed >> 48) as usize % SETS];
        let at = set.iter().position(|talk| talk.addr == addr && talk.ip_version == head.key.ip_version);
        let at = at.unwrap_or_else(|| {
            let lightest = (0..WAYS).min_by_key(|way| set[*way].packets).unwrap_or_default();
            set[lightest] = Talk { addr, ip_version: head.key.ip_version, flows: 0, packets: 0, bytes: 0 };
            lightest
        });
        set[at].flows += 1;
        set[at].packets += u64::from(head.packets);
        set[at].bytes += bytes;
    }

    /// Lets what was long ago weigh less.
    pub(crate) fn halve(&mut self) {
        for talk in self.sets.iter_mut().flatten() {
            talk.flows /= 2;
            talk.packets /= 2;
            talk.bytes /= 2;
        }
    }

    /// The `n` heaviest, heaviest first.
    pub(crate) fn top(&self, n: usize) -> Vec<Talk> {
        let mut all: Vec<Talk> = self.sets.iter().flatten().copied().filter(|talk| talk.flows > 0).collect();
        all.sort_by_key(|talk| (std::cmp::Reverse(talk.packets), talk.addr));
        all.truncate(n);
        all
    }
}

impl Talk {
    pub(crate) fn address(&self) -> IpAddr {
        Endpoint { addr: self.addr, port: 0 }.ip(self.ip_version)
    }
}

impl Default for Talkers {
    fn default() -> Self {
        Self { sets: vec![[Talk::default(); WAYS]; SETS].into() }
    }
}
