//! CICFlowMeter's view of a frame, defects included.
//!
//! What it sees of a packet depends on jNetPcap: VLAN tags are transparent, IPv6 is not read, nothing is taken out of a
//! tunnel, lengths end with the captured bytes, and whatever is no TCP or UDP (or, in the 2021 version, ICMP, IGMP or
//! SCTP) is "protocol 0" without ports.

use tapline_record::{Frame, PacketRecord, protocol};

use crate::decoder::{Around, Profile, record};
use crate::ethernet::{self, Vlan, ethertype};
use crate::fragment::Fragment;
use crate::ip::{self, Ip, IpVersion, mapped};
use crate::link;
use crate::skip::Skip;
use crate::transport::{self, Segment, TCP_HEADER, UDP_HEADER};
use crate::view::{View, be16, be32};

/// Decodes a frame as `profile` does, which is not Tapline's own.
pub(crate) fn decode(profile: Profile, frame: &Frame<'_>, ordinal: u64) -> Result<PacketRecord, Skip> {
    let (ethertype, packet) = link::open(frame)?;
    let (packet, vlan) = climb(ethertype, packet)?;
    let header = packet.bytes.first_chunk::<{ ip::V4_HEADER }>().ok_or(Skip::TruncatedIp)?;
    let captured = packet.bytes.len();
    let end = match usize::from(be16::<{ ip::V4_TOTAL_LENGTH }, _>(header)) {
        0 => captured,
        total => total.min(captured),
    };
    let later_fragment = be16::<{ ip::V4_FRAGMENT }, _>(header) & 0x1fff != 0;
    let (protocol, segment) = if later_fragment {
        (0, Segment::default())
    } else {
        read_transport(profile, header, packet.bytes, end)?
    };
    let ip = Ip {
        version: IpVersion::V4,
        src: mapped(be32::<{ ip::V4_SRC }, _>(header)),
        dst: mapped(be32::<{ ip::V4_DST }, _>(header)),
        ttl: header[ip::V4_TTL],
        protocol,
        ip_bytes: u32::try_from(end).unwrap_or(u32::MAX),
        payload: packet,
        fragment: Fragment::Whole,
    };
    let around = Around { vlan, ..Around::of(frame, ordinal) };
    Ok(PacketRecord { later_fragment, ..record(&around, &ip, &segment) })
}

/// Protocol number, as the tool prints it, and transport header. `end` is where the IP packet or the capture ends.
#[inline(always)]
fn read_transport(
    profile: Profile,
    header: &[u8; ip::V4_HEADER],
    packet: &[u8],
    end: usize,
) -> Result<(u8, Segment), Skip> {
    // Neither the version nor the header length is checked.
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let to_end = packet.get(header_bytes..end).unwrap_or_default();
    Ok(match header[ip::V4_PROTOCOL] {
        protocol::TCP => match to_end.first_chunk::<TCP_HEADER>() {
            Some(tcp) => {
                let header_bytes = transport::tcp_header_bytes(tcp);
                let payload_bytes = payload_bytes(to_end, usize::from(header_bytes));
                (protocol::TCP, Segment { header_bytes, payload_bytes, ..transport::tcp_segment(tcp) })
            }
            None => (0, Segment::default()),
        },
        protocol::UDP => match to_end.first_chunk::<UDP_HEADER>() {
            Some(udp) => {
                let header_bytes = UDP_HEADER as u16;
                let payload_bytes = payload_bytes(to_end, UDP_HEADER);
                (protocol::UDP, Segment { header_bytes, payload_bytes, ..transport::udp_segment(udp) })
            }
            None => (0, Segment::default()),
        },
        protocol::ICMP if profile == Profile::CicGints => {
            // The captured bytes count here, not the IP length.
            let captured = packet.get(header_bytes..).unwrap_or_default();
            let &[icmp_type, icmp_code] = captured.first_chunk().ok_or(Skip::TruncatedTransport)?;
            (protocol::ICMP, Segment { icmp_type, icmp_code, ..Segment::default() })
        }
        by_number @ (protocol::IGMP | protocol::SCTP) if profile == Profile::CicGints => {
            (by_number, Segment::default())
        }
        _ => (0, Segment::default()),
    })
}

/// VLAN tags and nothing else, up to IPv4.
fn climb(mut ethertype: u16, mut packet: View<'_>) -> Result<(View<'_>, Vlan), Skip> {
    let mut vlan = [0; 2];
    while let ethertype::VLAN | ethertype::QINQ = ethertype {
        let (tag, rest) = packet.split::<4>().ok_or(Skip::TruncatedLink)?;
        ethernet::push_tag(&mut vlan, be16::<0, _>(tag));
        ethertype = be16::<2, _>(tag);
        packet = rest;
    }
    match ethertype {
        ethertype::IPV4 => Ok((packet, vlan)),
        ethertype::IPV6 => Err(Skip::NotIpv4),
        _ => Err(ethernet::classify(ethertype)),
    }
}

fn payload_bytes(segment: &[u8], header_bytes: usize) -> u32 {
    u32::try_from(segment.len().saturating_sub(header_bytes)).unwrap_or(u32::MAX)
}
