//! The first packets of a flow, one by one: what the model reads as a sequence.

use tapline_record::{Direction, IntList, PacketRecord};

/// How many packets are kept.
pub const EARLY_PACKETS: usize = 16;

/// Size, gap, flags and direction of the first [`EARLY_PACKETS`] packets.
#[derive(Clone, Copy, Debug)]
pub struct Early {
    /// From the second packet on: the first has no gap.
    gap_us: [u32; EARLY_PACKETS - 1],
    payload_bytes: [u16; EARLY_PACKETS],
    tcp_flags: [u8; EARLY_PACKETS],
    backward: u16,
}

impl Early {
    /// Before the first packet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            gap_us: [0; EARLY_PACKETS - 1],
            payload_bytes: [0; EARLY_PACKETS],
            tcp_flags: [0; EARLY_PACKETS],
            backward: 0,
        }
    }

    /// Takes in packet number `index` (from 0) of the flow.
    #[inline]
    pub fn add(&mut self, index: u32, gap_us: u32, packet: &PacketRecord, direction: Direction) {
        let at = index as usize;
        if at >= EARLY_PACKETS {
            return;
        }
        if let Some(before) = at.checked_sub(1) {
            self.gap_us[before] = gap_us;
        }
        self.payload_bytes[at] = u16::try_from(packet.payload_bytes).unwrap_or(u16::MAX);
        self.tcp_flags[at] = packet.tcp_flags;
        self.backward |= (direction.index() as u16) << at;
    }

    /// Payload sizes: forward positive, backward negative, at most 65,535 in size.
    #[must_use]
    pub fn signed_payloads(&self, packets: u32) -> IntList {
        let signs = self.signs();
        IntList::collect(
            self.payload_bytes[..kept(packets)].iter().zip(signs).map(|(size, sign)| i32::from(*size) * sign),
        )
    }

    /// 1 for forward, -1 for backward.
    #[must_use]
    pub fn directions(&self, packets: u32) -> IntList {
        IntList::collect(self.signs().take(kept(packets)))
    }

    /// Gaps to the packet before, at most 2^31 - 1; the first is 0.
    #[must_use]
    pub fn gaps_us(&self, packets: u32) -> IntList {
        let gaps = self.gap_us.iter().map(|gap| i32::try_from(*gap).unwrap_or(i32::MAX));
        IntList::collect(std::iter::once(0).chain(gaps).take(kept(packets)))
    }

    /// TCP flag bytes.
    #[must_use]
    pub fn tcp_flags(&self, packets: u32) -> IntList {
        IntList::collect(self.tcp_flags[..kept(packets)].iter().map(|flags| i32::from(*flags)))
    }

    fn signs(&self) -> impl Iterator<Item = i32> + use<> {
        let backward = self.backward;
        (0..EARLY_PACKETS).map(move |at| if backward >> at & 1 == 0 { 1 } else { -1 })
    }
}

impl Default for Early {
    fn default() -> Self {
        Self::new()
    }
}

fn kept(packets: u32) -> usize {
    (packets as usize).min(EARLY_PACKETS)
}
