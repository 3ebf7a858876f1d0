//! What is left of a packet once it is decoded: a fixed-size record, the payload gone.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// One decoded packet. `Copy`, fixed size, no pointers: it crosses the ring in batches.
///
/// Addresses are 16 bytes; IPv4 stands in them as `::ffff:a.b.c.d` and `ip_version` tells the two apart. Of an
/// encapsulated packet this is the innermost IP packet; `vlan` and `tunnel_id` remember what was around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct PacketRecord {
    /// When the packet passed the tap.
    pub ts: Timestamp,
    /// Position among the decoded packets of the run, from 0: breaks every tie the same way on every run.
    pub ordinal: u64,
    /// Source address.
    pub src: [u8; 16],
    /// Destination address.
    pub dst: [u8; 16],
    /// TCP sequence number; 0 for other protocols.
    pub seq: u32,
    /// TCP acknowledgement number; 0 for other protocols.
    pub ack: u32,
    /// Layer-4 payload by the lengths in the IP header: padding is never counted, a snap length does not matter.
    pub payload_bytes: u32,
    /// The IP packet, header included, by its own length field.
    pub ip_bytes: u32,
    /// The frame on the wire.
    pub wire_bytes: u32,
    /// VNI, TEID, GRE key or ERSPAN session of the innermost tunnel; 0 if none.
    pub tunnel_id: u32,
    /// Source port (TCP, UDP, SCTP); 0 otherwise.
    pub src_port: u16,
    /// Destination port (TCP, UDP, SCTP); 0 otherwise.
    pub dst_port: u16,
    /// VLAN identifiers, outer then inner; 0 if absent.
    pub vlan: [u16; 2],
    /// TCP window as transmitted, unscaled; 0 for other protocols.
    pub window: u16,
    /// Layer-4 header: 20 to 60 for TCP, 8 for UDP and ICMP, 12 for SCTP, 0 otherwise and in later fragments.
    pub l4_header_bytes: u16,
    /// IP protocol number of the layer above IP (IPv6: after the extension headers).
    pub protocol: u8,
    /// TCP flags, see [`tcp_flag`]; 0 for other protocols.
    pub tcp_flags: u8,
    /// ICMP or ICMPv6 type; 0 for other protocols.
    pub icmp_type: u8,
    /// ICMP or ICMPv6 code; 0 for other protocols.
    pub icmp_code: u8,
    /// 4 or 6.
    pub ip_version: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// The innermost tunnel the packet came through.
    pub tunnel_kind: TunnelKind,
    /// Whether this is a fragment other than the first.
    pub later_fragment: bool,
}

const _: () = assert!(size_of::<PacketRecord>() <= 96, "a packet record must fit 1.5 cache lines");

/// What an inner IP packet was wrapped in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
#[serde(rename_all = "snake_case")]
pub enum TunnelKind {
    /// Not tunnelled.
    #[default]
    None = 0,
    /// IPv4 or IPv6 in IPv4 or IPv6 (RFC 2003, RFC 2473, RFC 4213).
    IpInIp,
    /// GRE and NVGRE (RFC 2784, RFC 2890, RFC 7637).
    Gre,
    /// ERSPAN II or III in GRE.
    Erspan,
    /// VXLAN (RFC 7348).
    Vxlan,
    /// GENEVE (RFC 8926).
    Geneve,
    /// GTP-U (3GPP TS 29.281).
    Gtpu,
    /// Teredo (RFC 4380).
    Teredo,
}

impl TunnelKind {
    /// Lower-case name as it stands in a row; empty for none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::IpInIp => "ipip",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gtpu => "gtpu",
            Self::Teredo => "teredo",
        }
    }
}

/// Bits of the 14th byte of a TCP header (RFC 9293, RFC 3168).
#[expect(missing_docs, reason = "each is the flag of its name")]
pub mod tcp_flag {
    pub const FIN: u8 = 0x01;
    pub const SYN: u8 = 0x02;
    pub const RST: u8 = 0x04;
    pub const PSH: u8 = 0x08;
    pub const ACK: u8 = 0x10;
    pub const URG: u8 = 0x20;
    pub const ECE: u8 = 0x40;
    pub const CWR: u8 = 0x80;
}

/// IP protocol numbers that Tapline treats specially (IANA registry).
#[expect(missing_docs, reason = "each is the protocol of its name")]
pub mod protocol {
    pub const ICMP: u8 = 1;
    pub const IGMP: u8 = 2;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const ICMPV6: u8 = 58;
    pub const SCTP: u8 = 132;
}
