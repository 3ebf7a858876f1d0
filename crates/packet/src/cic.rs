//! CICFlowMeter's view of a frame, defects included.
//!
//! What it sees of a packet depends on jNetPcap: VLAN tags are transparent, IPv6 is not read, nothing is taken out of a
//! tunnel, lengths end with the captured bytes, and whatever is no TCP or UDP (or, in the 2021 version, ICMP, IGMP or
//! SCTP) is "protocol 0" without ports.

use tapline_record::{Frame, PacketRecord, protocol};

use crate::decoder::{Profile, blank_record};
use crate::ethernet::{self, Vlan, ethertype};
use crate::ip::{self, mapped};
use crate::link;
use crate::skip::Skip;
use crate::transport::{self, TCP_HEADER, UDP_HEADER};
use crate::view::{View, be16, field};

/// Decodes a frame as `profile` does, which is not Tapline's own.
pub(crate) fn decode(profile: Profile, frame: &Frame<'_>, ordinal: u64) -> Result<PacketRecord, Skip> {
    let (ethertype, packet) = link::open(frame)?;
    let (packet, vlan) = climb(ethertype, packet)?;
    let mut record = blank_record(frame.ts, ordinal, frame.wire_bytes);
    record.vlan = vlan;

    let header = packet.bytes.first_chunk::<{ ip::V4_HEADER }>().ok_or(Skip::TruncatedIp)?;
    record.ip_version = 4;
    record.src = mapped(field::<{ ip::V4_SRC }, 4, _>(header));
    record.dst = mapped(field::<{ ip::V4_DST }, 4, _>(header));
    record.ttl = header[ip::V4_TTL];
    record.later_fragment = be16::<{ ip::V4_FRAGMENT }, _>(header) & 0x1fff != 0;

    let captured = packet.bytes.len();
    let end = match usize::from(be16::<{ ip::V4_TOTAL_LENGTH }, _>(header)) {
        0 => captured,
        total => total.min(captured),
    };
    record.ip_bytes = u32::try_from(end).unwrap_or(u32::MAX);
    if record.later_fragment {
        return Ok(record);
    }
    // Neither the version nor the header length is checked.
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    let to_end = packet.bytes.get(header_bytes..end).unwrap_or_default();
    match header[ip::V4_PROTOCOL] {
        protocol::ICMP if profile == Profile::CicGints => {
            // The captured bytes count here, not the IP length.
            let captured = packet.bytes.get(header_bytes..).unwrap_or_default();
            let &[kind, code] = captured.first_chunk().ok_or(Skip::TruncatedTransport)?;
            record.protocol = protocol::ICMP;
            record.icmp_type = kind;
            record.icmp_code = code;
        }
        protocol::TCP => {
            if let Some(tcp) = to_end.first_chunk::<TCP_HEADER>() {
                transport::tcp_fields(tcp, &mut record);
                record.protocol = protocol::TCP;
                record.l4_header_bytes = transport::tcp_header_bytes(tcp);
                record.payload_bytes = payload_bytes(to_end, usize::from(record.l4_header_bytes));
            }
        }
        protocol::UDP => {
            if let Some(udp) = to_end.first_chunk::<UDP_HEADER>() {
                transport::udp_fields(udp, &mut record);
                record.protocol = protocol::UDP;
                record.l4_header_bytes = UDP_HEADER as u16;
                record.payload_bytes = payload_bytes(to_end, UDP_HEADER);
            }
        }
        by_number @ (protocol::IGMP | protocol::SCTP) if profile == Profile::CicGints => {
            record.protocol = by_number;
        }
        _ => {}
    }
    Ok(record)
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
