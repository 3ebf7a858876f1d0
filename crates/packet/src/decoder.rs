//! The decoder: options, the way through the layers, and what is remembered between packets.

use serde::{Deserialize, Serialize};
use tapline_record::{Frame, LinkType, PacketRecord, Timestamp, TunnelKind};

use crate::counters::DecodeCounters;
use crate::ethernet::{self, Network, Vlan};
use crate::fragment::{Fragment, FragmentTable};
use crate::ip::{self, Ip, IpVersion};
use crate::skip::Skip;
use crate::transport::{self, Segment};
use crate::tunnel::{self, Inner};
use crate::view::View;
use crate::{cic, link};

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
    /// Packets in pieces that are remembered at once, about 70 bytes each, allocated at the start; rounded up to a
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
        let around = Around { vlan: network.vlan, ..Around::of(frame, ordinal) };
        let ip = self.read_ip(&network)?;
        if ip.fragment != Fragment::Whole {
            let (packet, payload) = self.read_fragment(ip, around)?;
            return Ok(self.decapsulate(packet, payload));
        }
        let segment = transport::read(ip.protocol, ip.payload)?;
        if tunnel::is_likely(ip.protocol, &segment) {
            return Ok(self.decapsulate(record(&around, &ip, &segment), ip.payload));
        }
        Ok(record(&around, &ip, &segment))
    }

    /// What happened since the decoder was made.
    #[must_use]
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }

    #[inline(always)]
    fn read_ip<'a>(&mut self, network: &Network<'a>) -> Result<Ip<'a>, Skip> {
        match network.version {
            IpVersion::V4 => ip::read_v4(network.packet, &mut self.counters),
            IpVersion::V6 => ip::read_v6(network.packet, &mut self.counters),
        }
    }

    /// A packet inside another: the record, and what follows the IP headers.
    fn read_inner<'a>(
        &mut self,
        network: &Network<'a>,
        around: Around,
    ) -> Result<(PacketRecord, View<'a>), Skip> {
        let ip = self.read_ip(network)?;
        if ip.fragment != Fragment::Whole {
            return self.read_fragment(ip, around);
        }
        let segment = transport::read(ip.protocol, ip.payload)?;
        Ok((record(&around, &ip, &segment), ip.payload))
    }

    /// By value, like all that leaves the straight line: a reference would force the common case into memory.
    #[cold]
    #[inline(never)]
    fn read_fragment<'a>(&mut self, ip: Ip<'a>, around: Around) -> Result<(PacketRecord, View<'a>), Skip> {
        if let Fragment::Later(id) = ip.fragment {
            let segment = Segment { payload_bytes: ip.payload.wire, ..Segment::default() };
            let mut packet = PacketRecord { later_fragment: true, ..record(&around, &ip, &segment) };
            self.fragments.join(id, &mut packet, &mut self.counters);
            return Ok((packet, ip.payload));
        }
        let packet = record(&around, &ip, &transport::read(ip.protocol, ip.payload)?);
        if let Fragment::First(id) = ip.fragment {
            self.fragments.remember(id, &packet, &mut self.counters);
        }
        Ok((packet, ip.payload))
    }

    /// The innermost packet of `packet` that can be read. A first fragment is opened like a whole packet; the fragments
    /// that follow it stay with the outer addresses, as nothing tells what they carry.
    #[cold]
    #[inline(never)]
    fn decapsulate(&mut self, mut packet: PacketRecord, mut payload: View<'_>) -> PacketRecord {
        for _ in 0..MAX_LAYERS {
            let inner = match self.peel(&packet, payload) {
                Ok(Some(inner)) => inner,
                Ok(None) => return packet,
                Err(_) => {
                    self.counters.inner_undecoded += 1;
                    return packet;
                }
            };
            let around = Around {
                vlan: if packet.vlan == [0; 2] { inner.network.vlan } else { packet.vlan },
                tunnel_kind: inner.kind,
                tunnel_id: inner.id,
                ts: packet.ts,
                ordinal: packet.ordinal,
                wire_bytes: packet.wire_bytes,
            };
            let Ok(inside) = self.read_inner(&inner.network, around) else {
                self.counters.inner_undecoded += 1;
                return packet;
            };
            self.counters.decapsulated.count(inner.kind);
            (packet, payload) = inside;
        }
        if matches!(self.peel(&packet, payload), Ok(Some(_))) {
            self.counters.tunnels_too_deep += 1;
        }
        packet
    }

    fn peel<'a>(&self, packet: &PacketRecord, payload: View<'a>) -> Result<Option<Inner<'a>>, Skip> {
        if packet.later_fragment { Ok(None) } else { tunnel::peel(packet, payload, &self.decapsulate) }
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

/// What a record says of the frame and of all that was around the IP packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    pub(crate) ts: Timestamp,
    pub(crate) ordinal: u64,
    pub(crate) wire_bytes: u32,
    pub(crate) vlan: Vlan,
    pub(crate) tunnel_kind: TunnelKind,
    pub(crate) tunnel_id: u32,
}

impl Around {
    #[inline(always)]
    pub(crate) fn of(frame: &Frame<'_>, ordinal: u64) -> Self {
        Self {
            ts: frame.ts,
            ordinal,
            wire_bytes: frame.wire_bytes,
            vlan: [0; 2],
            tunnel_kind: TunnelKind::None,
            tunnel_id: 0,
        }
    }
}

/// Puts a record together, at the end and in one go: until then the compiler can keep most of it in registers.
#[inline(always)]
pub(crate) fn record(around: &Around, ip: &Ip<'_>, segment: &Segment) -> PacketRecord {
    PacketRecord {
        ts: around.ts,
        ordinal: around.ordinal,
        src: ip.src.to_be_bytes(),
        dst: ip.dst.to_be_bytes(),
        seq: segment.seq,
        ack: segment.ack,
        payload_bytes: segment.payload_bytes,
        ip_bytes: ip.ip_bytes,
        wire_bytes: around.wire_bytes,
        tunnel_id: around.tunnel_id,
        src_port: segment.src_port,
        dst_port: segment.dst_port,
        vlan: around.vlan,
        window: segment.window,
        l4_header_bytes: segment.header_bytes,
        protocol: ip.protocol,
        tcp_flags: segment.tcp_flags,
        icmp_type: segment.icmp_type,
        icmp_code: segment.icmp_code,
        ip_version: ip.version as u8,
        ttl: ip.ttl,
        tunnel_kind: around.tunnel_kind,
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
