//! The transport header: ports, flags, sequence numbers, and what is left for the payload.

use tapline_record::protocol;

use crate::skip::Skip;
use crate::view::{View, be16, be32};

/// What a transport header says; 0 where it has no such field.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) tcp_flags: u8,
    pub(crate) icmp_type: u8,
    pub(crate) icmp_code: u8,
    pub(crate) header_bytes: u16,
    pub(crate) payload_bytes: u32,
}

/// Reads the header of `protocol` at the start of `payload`, which is what follows the IP headers and ends with the IP
/// packet.
#[inline(always)]
pub(crate) fn read(protocol: u8, payload: View<'_>) -> Result<Segment, Skip> {
    match protocol {
        protocol::TCP => {
            let Some(header) = payload.bytes.first_chunk() else { return Err(Skip::TruncatedTransport) };
            // An offset below 5 is nonsense (RFC 9293); the fixed header is there all the same.
            let header_bytes = u32::from(tcp_header_bytes(header)).max(TCP_HEADER as u32).min(payload.wire);
            let payload_bytes = payload.wire - header_bytes;
            Ok(Segment { header_bytes: header_bytes as u16, payload_bytes, ..tcp_segment(header) })
        }
        protocol::UDP => {
            let Some(header) = payload.bytes.first_chunk() else { return Err(Skip::TruncatedTransport) };
            // Not by UDP's own length field: it may be 0 (jumbograms, offload) or a lie.
            let payload_bytes = payload.wire.saturating_sub(UDP_HEADER as u32);
            Ok(Segment { header_bytes: UDP_HEADER as u16, payload_bytes, ..udp_segment(header) })
        }
        _ => {
            // Not returned as it is: that would keep the common result in memory instead of in registers.
            let segment = read_other(protocol, payload)?;
            Ok(segment)
        }
    }
}

#[inline(never)]
fn read_other(protocol: u8, payload: View<'_>) -> Result<Segment, Skip> {
    let mut segment = Segment::default();
    let header_bytes = match protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            let Some(&[kind, code, _, _]) = payload.bytes.first_chunk() else {
                return Err(Skip::TruncatedTransport);
            };
            segment.icmp_type = kind;
            segment.icmp_code = code;
            ICMP_HEADER.min(payload.wire)
        }
        protocol::SCTP => {
            let Some(header) = payload.bytes.first_chunk::<SCTP_HEADER>() else {
                return Err(Skip::TruncatedTransport);
            };
            segment.src_port = be16::<SRC_PORT, _>(header);
            segment.dst_port = be16::<DST_PORT, _>(header);
            SCTP_HEADER as u32
        }
        _ => 0,
    };
    segment.header_bytes = header_bytes as u16;
    segment.payload_bytes = payload.wire.saturating_sub(header_bytes);
    Ok(segment)
}

/// Ports, numbers, flags and window of a TCP header (RFC 9293); no lengths.
#[inline(always)]
pub(crate) fn tcp_segment(header: &[u8; TCP_HEADER]) -> Segment {
    Segment {
        src_port: be16::<SRC_PORT, _>(header),
        dst_port: be16::<DST_PORT, _>(header),
        seq: be32::<TCP_SEQ, _>(header),
        ack: be32::<TCP_ACK, _>(header),
        tcp_flags: header[TCP_FLAGS],
        window: be16::<TCP_WINDOW, _>(header),
        ..Segment::default()
    }
}

/// Ports of a UDP header (RFC 768); no lengths.
#[inline(always)]
pub(crate) fn udp_segment(header: &[u8; UDP_HEADER]) -> Segment {
    Segment {
        src_port: be16::<SRC_PORT, _>(header),
        dst_port: be16::<DST_PORT, _>(header),
        ..Segment::default()
    }
}

/// The data offset in bytes, 0 to 60, unchecked.
#[inline(always)]
pub(crate) fn tcp_header_bytes(header: &[u8; TCP_HEADER]) -> u16 {
    u16::from(header[TCP_DATA_OFFSET] >> 4) * 4
}

pub(crate) const TCP_HEADER: usize = 20;
pub(crate) const UDP_HEADER: usize = 8;
const SCTP_HEADER: usize = 12;
const ICMP_HEADER: u32 = 8;

const SRC_PORT: usize = 0;
const DST_PORT: usize = 2;
const TCP_SEQ: usize = 4;
const TCP_ACK: usize = 8;
const TCP_DATA_OFFSET: usize = 12;
const TCP_FLAGS: usize = 13;
const TCP_WINDOW: usize = 14;
