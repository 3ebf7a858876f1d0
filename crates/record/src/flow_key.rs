//! What makes two packets members of one flow, whichever way they travel.

use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::packet_record::{PacketRecord, TunnelKind, protocol};

/// The two endpoints of a flow in an order that does not depend on who spoke, and what else tells flows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowKey {
    /// The smaller endpoint (but see [`KeyRules::Cic2018`]).
    pub lo: Endpoint,
    /// The larger endpoint.
    pub hi: Endpoint,
    /// VLAN identifiers, outer then inner; 0 if absent or left out of the key.
    pub vlan: [u16; 2],
    /// Identifier of the innermost tunnel; 0 if none, and for GTP-U, whose identifiers differ by direction.
    pub tunnel_id: u32,
    /// The innermost tunnel.
    pub tunnel_kind: TunnelKind,
    /// IP protocol number.
    pub protocol: u8,
    /// 4 or 6.
    pub ip_version: u8,
}

const _: () = assert!(size_of::<FlowKey>() == 48);

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// 16-byte address; IPv4 as `::ffff:a.b.c.d`.
    pub addr: [u8; 16],
    /// Port, or what stands for it (ICMP), or 0.
    pub port: u16,
}

/// The ways to build a key from a packet: Tapline's own, and those of the CICFlowMeter versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRules {
    /// Addresses, ports, protocol, VLANs, tunnel. ICMP queries and their replies share a key, as in Community ID v1.
    Tapline {
        /// Whether VLAN identifiers belong to the key.
        vlan: bool,
    },
    /// Addresses, ports, protocol. Between two ports of one address each direction is a flow of its own.
    Cic2018,
    /// Addresses, ports, protocol, looked up forward and then reversed.
    Cic,
}

/// Which way a packet travels within its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the initiator.
    Forward,
    /// Towards the initiator.
    Backward,
}

impl FlowKey {
    /// The key of a packet, and whether the packet's source is the key's `lo` endpoint.
    #[must_use]
    #[inline]
    pub fn of(packet: &PacketRecord, rules: KeyRules) -> (Self, bool) {
        let mut src = Endpoint { addr: packet.src, port: packet.src_port };
        let mut dst = Endpoint { addr: packet.dst, port: packet.dst_port };
        let mut vlan = [0; 2];
        let mut tunnel = (0, TunnelKind::None);
        let mut src_is_lo = src.order(&dst) != Ordering::Greater;
        match rules {
            KeyRules::Tapline { vlan: with_vlan } => {
                if with_vlan {
                    vlan = packet.vlan;
                }
                tunnel = match packet.tunnel_kind {
                    // Each direction of a GTP-U tunnel has a TEID of its own, given by its receiver.
                    TunnelKind::Gtpu => (0, TunnelKind::Gtpu),
                    kind => (packet.tunnel_id, kind),
                };
                if packet.protocol == protocol::ICMP || packet.protocol == protocol::ICMPV6 {
                    (src.port, dst.port) = icmp_ports(packet);
                    src_is_lo = src.order(&dst) != Ordering::Greater;
                }
            }
            KeyRules::Cic2018 => src_is_lo |= src.addr == dst.addr,
            KeyRules::Cic => {}
        }
        let (lo, hi) = if src_is_lo { (src, dst) } else { (dst, src) };
        let key = Self {
            lo,
            hi,
            vlan,
            tunnel_id: tunnel.0,
            tunnel_kind: tunnel.1,
            protocol: packet.protocol,
            ip_version: packet.ip_version,
        };
        (key, src_is_lo)
    }

    /// The key as six words, for hashing; equal keys give equal words.
    #[must_use]
    #[inline]
    pub fn words(&self) -> [u64; 6] {
        let [a, b] = self.lo.halves();
        let [c, d] = self.hi.halves();
        let ports = u64::from(self.lo.port) << 48
            | u64::from(self.hi.port) << 32
            | u64::from(self.protocol) << 16
            | u64::from(self.ip_version) << 8
            | self.tunnel_kind as u64;
        let around =
            u64::from(self.tunnel_id) << 32 | u64::from(self.vlan[0]) << 16 | u64::from(self.vlan[1]);
        [a, b, c, d, ports, around]
    }

    /// A total order over keys, for breaking ties between rows.
    #[must_use]
    pub fn order(&self, other: &Self) -> Ordering {
        self.words().cmp(&other.words())
    }
}

impl Endpoint {
    /// The address as the standard library's type.
    #[must_use]
    pub fn ip(&self, ip_version: u8) -> IpAddr {
        if ip_version == 4 {
            let [.., a, b, c, d] = self.addr;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        } else {
            IpAddr::V6(Ipv6Addr::from(self.addr))
        }
    }

    #[inline]
    fn order(&self, other: &Self) -> Ordering {
        self.halves().cmp(&other.halves()).then(self.port.cmp(&other.port))
    }

    #[inline]
    fn halves(&self) -> [u64; 2] {
        let addr = u128::from_be_bytes(self.addr);
        [(addr >> 64) as u64, addr as u64]
    }
}

impl Direction {
    /// 0 for forward, 1 for backward: the index into a pair of per-direction states.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The other way.
    #[must_use]
    #[inline]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Forward => Self::Backward,
            Self::Backward => Self::Forward,
        }
    }
}

/// The ports that stand for an ICMP packet: (type, type of the counterpart) where one exists, so that a query and its
/// reply meet; else (type, code). Community ID v1 reads ICMP the same way.
#[must_use]
#[inline]
pub fn icmp_ports(packet: &PacketRecord) -> (u16, u16) {
    let kind = packet.icmp_type;
    let counterpart = match (packet.protocol, kind) {
        (protocol::ICMP, 0) => Some(8), // echo reply, echo
        (protocol::ICMP, 8) => Some(0),
        (protocol::ICMP, 9) => Some(10), // router advertisement, solicitation
        (protocol::ICMP, 10) => Some(9),
        (protocol::ICMP, 13) => Some(14), // timestamp, reply
        (protocol::ICMP, 14) => Some(13),
        (protocol::ICMP, 15) => Some(16), // information request, reply
        (protocol::ICMP, 16) => Some(15),
        (protocol::ICMP, 17) => Some(18), // address mask request, reply
        (protocol::ICMP, 18) => Some(17),
        (protocol::ICMPV6, 128) => Some(129), // echo, reply
        (protocol::ICMPV6, 129) => Some(128),
        (protocol::ICMPV6, 130) => Some(131), // listener query, report
        (protocol::ICMPV6, 131) => Some(130),
        (protocol::ICMPV6, 133) => Some(134), // router solicitation, advertisement
        (protocol::ICMPV6, 134) => Some(133),
        (protocol::ICMPV6, 135) => Some(136), // neighbour solicitation, advertisement
        (protocol::ICMPV6, 136) => Some(135),
        (protocol::ICMPV6, 139) => Some(140), // node information query, response
        (protocol::ICMPV6, 140) => Some(139),
        (protocol::ICMPV6, 144) => Some(145), // home agent address discovery
        (protocol::ICMPV6, 145) => Some(144),
        _ => None,
    };
    (u16::from(kind), counterpart.unwrap_or_else(|| u16::from(packet.icmp_code)))
}
