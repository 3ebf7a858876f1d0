//! The decoder: options, the way through the layers, and what is remembered between packets.

use serde::{Deserialize, Serialize};
use tapline_record::{Frame, LinkType, PacketRecord, Timestamp, TunnelKind};

use crate::counters::DecodeCounters;
use crate::ethernet::{self, Network};
use crate::fragment::{Fragment, FragmentTable};
use crate::ip::{self, IpVersion};
use crate::skip::Skip;
use crate::view::View;
use crate::{cic, link, transport, tunnel};

/// Turns frames into packet records. Owns the fragment table and its counters; keeps nothing else between packets.
#[derive(Debug)]
pub struct Decoder {
    profile: Profile,
    decapsulate: Decapsulate,
    fragments: FragmentTable,
    counters: DecodeCounters,
}

/// What to decode, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeOptions {
    /// Tapline's own reading, or that of a CICFlowMeter version.
    pub profile: Profile,
    /// The encapsulations to take off; the CICFlowMeter profiles take none.
    pub decapsulate: Decapsulate,
    /// Packets in pieces that are remembered at once, about 80 bytes each, allocated at the start; rounded up to a
    /// multiple of 4. The oldest give way.
    pub max_fragment_trains: usize,
}

/// How a frame is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// IPv4 and IPv6, encapsulations, lengths by the IP header.
    #[default]
    Tapline,
    /// CICFlowMeter of February 2018, which made CIC-IDS2017 and 2018.
    #[serde(rename = "cic-2018")]
    Cic2018,
    /// The last CICFlowMeter of its authors.
    CicHead,
    /// The corrected CICFlowMeter of Engelen, Rimmer and Joosen (2021).
    CicGints,
}

/// Which encapsulations are taken off. VLAN tags, MPLS and PPPoE always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Decapsulate {
    /// IPv4 or IPv6 in IPv4 or IPv6 (protocols 4 and 41).
    pub ipip: bool,
    /// GRE, NVGRE and PPTP (protocol 47).
    pub gre: bool,
    /// ERSPAN I, II and III (within GRE).
    pub erspan: bool,
    /// VXLAN (UDP to 4789 and 8472).
    pub vxlan: bool,
    /// GENEVE (UDP to 6081).
    pub geneve: bool,
    /// GTP-U user data (UDP to 2152).
    pub gtpu: bool,
    /// Teredo (UDP from or to 3544).
    pub teredo: bool,
}

impl Decoder {
    /// A decoder with an empty fragment table. The only allocation is here.
    #[must_use]
    pub fn new(options: DecodeOptions) -> Self {
        let DecodeOptions { profile, decapsulate, max_fragment_trains } = options;
        Self {
            profile,
            decapsulate,
            fragments: FragmentTable::new(max_fragment_trains),
            counters: DecodeCounters::default(),
        }
    }

    /// Decodes one frame. `ordinal` is put into the record.
    ///
    /// # Errors
    ///
    /// The reason why the frame has no record.
    pub fn decode(&mut self, frame: &Frame<'_>, ordinal: u64) -> Result<PacketRecord, Skip> {
        if self.profile != Profile::Tapline {
            return cic::decode(self.profile, frame, ordinal);
        }
        let (ethertype, rest) = link::open(frame)?;
        let network = ethernet::climb(ethertype, rest)?;
        let mut record = blank_record(frame.ts, ordinal, frame.wire_bytes);
        record.vlan = network.vlan;
        let payload = self.read_packet(&network, &mut record)?;
        if tunnel::is_likely(&record) && !record.later_fragment {
            record = self.decapsulate(record, payload);
        }
        Ok(record)
    }

    /// What happened since the decoder was made.
    #[must_use]
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    /// Reads IP and transport headers into `record`; returns what follows the IP headers. Whatever is called out of line
    /// gets the record by value: the record of a plain packet then never leaves the registers before it is complete.
    #[inline(always)]
    fn read_packet<'a>(
        &mut self,
        network: &Network<'a>,
        record: &mut PacketRecord,
    ) -> Result<View<'a>, Skip> {
        let ip = match network.version {
            IpVersion::V4 => ip::read_v4(network.packet, record, &mut self.counters)?,
            IpVersion::V6 => ip::read_v6(network.packet, record, &mut self.counters)?,
        };
        match ip.fragment {
            Fragment::Whole => transport::read(ip.payload, record)?,
            Fragment::First(id) => {
                transport::read(ip.payload, record)?;
                self.fragments.remember(id, *record, &mut self.counters);
            }
            Fragment::Later(id) => {
                record.later_fragment = true;
                record.payload_bytes = ip.payload.wire;
                *record = self.fragments.join(id, *record, &mut self.counters);
            }
        }
        Ok(ip.payload)
    }

    /// Replaces `record` by the innermost packet that can be read. A first fragment is opened like a whole packet; the
    /// fragments that follow it stay with the outer addresses, as nothing tells what they carry.
    #[cold]
    #[inline(never)]
    fn decapsulate(&mut self, mut record: PacketRecord, mut payload: View<'_>) -> PacketRecord {
        for _ in 0..MAX_LAYERS {
            if record.later_fragment {
                return record;
            }
            let inner = match tunnel::peel(&record, payload, &self.decapsulate) {
                Ok(Some(inner)) => inner,
                Ok(None) => return record,
                Err(_) => {
                    self.counters.inner_undecoded += 1;
                    return record;
                }
            };
            let mut packet = blank_record(record.ts, record.ordinal, record.wire_bytes);
            packet.vlan = if record.vlan == [0; 2] { inner.network.vlan } else { record.vlan };
            packet.tunnel_kind = inner.kind;
            packet.tunnel_id = inner.id;
            let Ok(after) = self.read_packet(&inner.network, &mut packet) else {
                self.counters.inner_undecoded += 1;
                return record;
            };
            self.counters.decapsulated.count(inner.kind);
            record = packet;
            payload = after;
        }
        if matches!(tunnel::peel(&record, payload, &self.decapsulate), Ok(Some(_))) {
            self.counters.tunnels_too_deep += 1;
        }
        record
    }
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self { profile: Profile::default(), decapsulate: Decapsulate::default(), max_fragment_trains: 4_096 }
    }
}

impl Decapsulate {
    /// No encapsulation is taken off: the outer packets make the flows.
    pub const NONE: Self = Self {
        ipip: false,
        gre: false,
        erspan: false,
        vxlan: false,
        geneve: false,
        gtpu: false,
        teredo: false,
    };
}

impl Default for Decapsulate {
    /// Every encapsulation is taken off.
    fn default() -> Self {
        Self { ipip: true, gre: true, erspan: true, vxlan: true, geneve: true, gtpu: true, teredo: true }
    }
}

/// How many layers of a kind are followed: tags and encapsulations of a link, IPv6 extension headers, tunnels. Traffic
/// has two or three; more is somebody's attempt to keep the decoder busy.
pub const MAX_LAYERS: usize = 8;

/// A record of nothing but time and size.
#[inline]
pub(crate) fn blank_record(ts: Timestamp, ordinal: u64, wire_bytes: u32) -> PacketRecord {
    PacketRecord {
        ts,
        ordinal,
        src: [0; 16],
        dst: [0; 16],
        seq: 0,
        ack: 0,
        payload_bytes: 0,
        ip_bytes: 0,
        wire_bytes,
        tunnel_id: 0,
        src_port: 0,
        dst_port: 0,
        vlan: [0; 2],
        window: 0,
        l4_header_bytes: 0,
        protocol: 0,
        tcp_flags: 0,
        icmp_type: 0,
        icmp_code: 0,
        ip_version: 0,
        ttl: 0,
        tunnel_kind: TunnelKind::None,
        later_fragment: false,
    }
}

/// The body of a fuzz target: the first bytes of `data` choose link type, profile and snap length, the rest is a frame.
/// Never panics, unless a record contradicts itself.
pub fn fuzz_decode(data: &[u8]) {
    const LINK_TYPES: [LinkType; 16] = [
        LinkType::ETHERNET,
        LinkType::NULL,
        LinkType::LOOP,
        LinkType::PPP,
        LinkType::PPP_HDLC,
        LinkType::PPP_ETHER,
        LinkType::RAW,
        LinkType::RAW_BSD,
        LinkType::RAW_OPENBSD,
        LinkType::IPV4,
        LinkType::IPV6,
        LinkType::LINUX_SLL,
        LinkType::LINUX_SLL2,
        LinkType::IEEE802_11,
        LinkType::IEEE802_11_RADIOTAP,
        LinkType(u16::MAX),
    ];
    const PROFILES: [Profile; 4] = [Profile::Tapline, Profile::Cic2018, Profile::CicHead, Profile::CicGints];

    let Some((&[link, mode, cut], bytes)) = data.split_first_chunk() else { return };
    let link = LINK_TYPES[usize::from(link) % LINK_TYPES.len()];
    let profile = PROFILES[usize::from(mode) % PROFILES.len()];
    let wire_bytes = u32::try_from(bytes.len()).unwrap_or(u32::MAX).saturating_add(u32::from(cut));
    let options = DecodeOptions { profile, max_fragment_trains: 8, ..DecodeOptions::default() };
    let mut decoder = Decoder::new(options);
    let frame = Frame { ts: Timestamp::from_micros(0), link, wire_bytes, bytes };
    for ordinal in 0..2 {
        let Ok(packet) = decoder.decode(&frame, ordinal) else { continue };
        assert_eq!(packet.ordinal, ordinal);
        assert!(packet.ip_bytes <= wire_bytes, "more ip bytes than the wire carried");
        if profile == Profile::Tapline {
            let with_header = packet.payload_bytes.saturating_add(u32::from(packet.l4_header_bytes));
            assert!(with_header <= packet.ip_bytes, "more payload than ip bytes");
        }
    }
}
