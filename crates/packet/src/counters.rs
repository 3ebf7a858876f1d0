//! What the decoder did besides decoding: joined fragments, opened tunnels, mended lengths.

use serde::Serialize;
use tapline_record::TunnelKind;

/// Counts of one [`Decoder`](crate::Decoder) since it was made, in packets. None of them is a loss: every packet
/// counted here has a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DecodeCounters {
    /// First fragments, remembered in the table.
    pub fragments_first: u64,
    /// Later fragments that got the ports of their first.
    pub fragments_joined: u64,
    /// Later fragments whose first was not seen, or not within 30 seconds, or was evicted: ports are 0.
    pub fragments_orphan: u64,
    /// Live entries that gave way to a newer first fragment because the table was full.
    pub fragment_evictions: u64,
    /// Encapsulations taken off, by kind; a packet in two tunnels counts in two.
    pub decapsulated: TunnelCounters,
    /// Encapsulations with something inside that is no decodable IP packet; the outer packet is the record.
    pub inner_undecoded: u64,
    /// Packets in more tunnels than are taken off; the deepest one reached is the record.
    pub tunnels_too_deep: u64,
    /// IP headers whose length field is 0 (segmentation offload); the wire length stands in.
    pub ip_length_zero: u64,
    /// IP headers that claim more bytes than the wire, or the tunnel, carried.
    pub ip_length_clipped: u64,
}

/// One count for each kind of encapsulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TunnelCounters {
    /// IPv4 or IPv6 in IPv4 or IPv6.
    pub ipip: u64,
    /// GRE, NVGRE and PPTP.
    pub gre: u64,
    /// ERSPAN.
    pub erspan: u64,
    /// VXLAN.
    pub vxlan: u64,
    /// GENEVE.
    pub geneve: u64,
    /// GTP-U.
    pub gtpu: u64,
    /// Teredo.
    pub teredo: u64,
}

impl DecodeCounters {
    /// Adds the counts of another decoder.
    pub fn add(&mut self, other: &Self) {
        self.fragments_first += other.fragments_first;
        self.fragments_joined += other.fragments_joined;
        self.fragments_orphan += other.fragments_orphan;
        self.fragment_evictions += other.fragment_evictions;
        self.decapsulated.add(&other.decapsulated);
        self.inner_undecoded += other.inner_undecoded;
        self.tunnels_too_deep += other.tunnels_too_deep;
        self.ip_length_zero += other.ip_length_zero;
        self.ip_length_clipped += other.ip_length_clipped;
    }
}

impl TunnelCounters {
    /// All kinds together.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.ipip + self.gre + self.erspan + self.vxlan + self.geneve + self.gtpu + self.teredo
    }

    pub(crate) fn count(&mut self, kind: TunnelKind) {
        match kind {
            TunnelKind::None => {}
            TunnelKind::IpInIp => self.ipip += 1,
            TunnelKind::Gre => self.gre += 1,
            TunnelKind::Erspan => self.erspan += 1,
            TunnelKind::Vxlan => self.vxlan += 1,
            TunnelKind::Geneve => self.geneve += 1,
            TunnelKind::Gtpu => self.gtpu += 1,
            TunnelKind::Teredo => self.teredo += 1,
        }
    }

    fn add(&mut self, other: &Self) {
        self.ipip += other.ipip;
        self.gre += other.gre;
        self.erspan += other.erspan;
        self.vxlan += other.vxlan;
        self.geneve += other.geneve;
        self.gtpu += other.gtpu;
        self.teredo += other.teredo;
    }
}
