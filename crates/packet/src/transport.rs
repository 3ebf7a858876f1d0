//! The transport header: ports, flags, sequence numbers, and what is left for the payload.

use tapline_record::{PacketRecord, protocol};

use crate::skip::Skip;
use crate::view::{View, be16, be32};

/// Reads the header of `packet.protocol` at the start of `payload`, which is what follows the IP headers and ends with
/// the IP packet.
#[inline(always)]
pub(crate) fn read(payload: View<'_>, packet: &mut PacketRecord) -> Result<(), Skip> {
    match packet.protocol {
        protocol::TCP => {
            let Some(header) = payload.bytes.first_chunk() else { return Err(Skip::TruncatedTransport) };
            tcp_fields(header, packet);
            // An offset below 5 is nonsense (RFC 9293); the fixed header is there all the same.
            let header_bytes =
                tcp_header_bytes(header).max(TCP_HEADER as u16).min(saturating_u16(payload.wire));
            packet.l4_header_bytes = header_bytes;
            packet.payload_bytes = payload.wire - u32::from(header_bytes);
        }
        protocol::UDP => {
            let Some(header) = payload.bytes.first_chunk() else { return Err(Skip::TruncatedTransport) };
            udp_fields(header, packet);
            packet.l4_header_bytes = UDP_HEADER as u16;
            // Not from UDP's own length field: it may be 0 (jumbograms, offload) or a lie.
            packet.payload_bytes = payload.wire.saturating_sub(UDP_HEADER as u32);
        }
        _ => *packet = read_other(payload, *packet)?,
    }
    Ok(())
}

/// By value, so that the common record can stay in registers.
#[inline(never)]
fn read_other(payload: View<'_>, mut packet: PacketRecord) -> Result<PacketRecord, Skip> {
    let header_bytes = match packet.protocol {
        protocol::ICMP | protocol::ICMPV6 => {
            let Some(&[kind, code, _, _]) = payload.bytes.first_chunk() else {
                return Err(Skip::TruncatedTransport);
            };
            packet.icmp_type = kind;
            packet.icmp_code = code;
            ICMP_HEADER.min(payload.wire)
        }
        protocol::SCTP => {
            let Some(header) = payload.bytes.first_chunk::<SCTP_HEADER>() else {
                return Err(Skip::TruncatedTransport);
            };
            packet.src_port = be16::<SRC_PORT, _>(header);
            packet.dst_port = be16::<DST_PORT, _>(header);
            SCTP_HEADER as u32
        }
        _ => 0,
    };
    packet.l4_header_bytes = header_bytes as u16;
    packet.payload_bytes = payload.wire.saturating_sub(header_bytes);
    Ok(packet)
}

/// Ports, numbers, flags and window of a TCP header (RFC 9293).
#[inline(always)]
pub(crate) fn tcp_fields(header: &[u8; TCP_HEADER], packet: &mut PacketRecord) {
    packet.src_port = be16::<SRC_PORT, _>(header);
    packet.dst_port = be16::<DST_PORT, _>(header);
    packet.seq = be32::<TCP_SEQ, _>(header);
    packet.ack = be32::<TCP_ACK, _>(header);
    packet.tcp_flags = header[TCP_FLAGS];
    packet.window = be16::<TCP_WINDOW, _>(header);
}

/// The data offset in bytes, 0 to 60, unchecked.
#[inline(always)]
pub(crate) fn tcp_header_bytes(header: &[u8; TCP_HEADER]) -> u16 {
    u16::from(header[TCP_DATA_OFFSET] >> 4) * 4
}

/// Ports of a UDP header (RFC 768).
#[inline(always)]
pub(crate) fn udp_fields(header: &[u8; UDP_HEADER], packet: &mut PacketRecord) {
    packet.src_port = be16::<SRC_PORT, _>(header);
    packet.dst_port = be16::<DST_PORT, _>(header);
}

#[inline]
fn saturating_u16(count: u32) -> u16 {
    u16::try_from(count).unwrap_or(u16::MAX)
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
