//! Community ID v1: the flow identifier that Zeek, Suricata and others share.
//!
//! SHA-1 over seed, ordered endpoints, protocol and ports, in base64 behind `1:`
//! (<https://github.com/corelight/community-id-spec>).

use sha1::{Digest, Sha1};
use tapline_record::{FlowHead, ShortText, protocol};

/// The Community ID of a flow, seed 0.
///
/// ICMP puts type and code in place of the ports; the flow key already does so, counterparts included.
#[must_use]
pub fn community_id(head: &FlowHead) -> ShortText {
    let key = &head.key;
    let one_way_icmp = matches!(key.protocol, protocol::ICMP | protocol::ICMPV6) && !is_two_way(head);
    // Endpoints are in order already, but for one-way ICMP, where direction is kept.
    let (first, second) =
        if one_way_icmp { (head.initiator(), head.responder()) } else { (&key.lo, &key.hi) };
    let mut input = [0; 40];
    let mut at = 2;
    for endpoint in [first, second] {
        let addr = if key.ip_version == 4 { &endpoint.addr[12..] } else { &endpoint.addr[..] };
        input[at..at + addr.len()].copy_from_slice(addr);
        at += addr.len();
    }
    input[at] = key.protocol;
    at += 2;
    if HAS_PORTS.contains(&key.protocol) {
        for endpoint in [first, second] {
            input[at..at + 2].copy_from_slice(&endpoint.port.to_be_bytes());
            at += 2;
        }
    }
    let digest = Sha1::digest(&input[..at]);
    let mut text = ShortText::new();
    text.push_ascii(b"1:");
    for group in digest.chunks(3) {
        text.push_ascii(&base64(group));
    }
    text
}

const HAS_PORTS: [u8; 5] = [protocol::ICMP, protocol::TCP, protocol::UDP, protocol::ICMPV6, protocol::SCTP];

/// Whether the ports of an ICMP key are a type and its counterpart's type.
fn is_two_way(head: &FlowHead) -> bool {
    const ICMP: [u16; 10] = [0, 8, 9, 10, 13, 14, 15, 16, 17, 18];
    const ICMPV6: [u16; 12] = [128, 129, 130, 131, 133, 134, 135, 136, 139, 140, 144, 145];
    let kind = head.initiator().port;
    if head.key.protocol == protocol::ICMP { ICMP.contains(&kind) } else { ICMPV6.contains(&kind) }
}

/// One to three bytes as four characters (RFC 4648).
fn base64(group: &[u8]) -> [u8; 4] {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or_default());
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    let digit = |shift: u32| ALPHABET[(bits >> shift & 0x3f) as usize];
    [
        digit(18),
        digit(12),
        if group.len() > 1 { digit(6) } else { b'=' },
        if group.len() > 2 { digit(0) } else { b'=' },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use tapline_record::{Endpoint, FlowKey, KeyRules, PacketRecord, Timestamp, TunnelKind};

    fn packet(src: &str, dst: &str, protocol: u8, a: u16, b: u16) -> PacketRecord {
        let bytes = |text: &str| match text.parse::<IpAddr>().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let icmp = matches!(protocol, 1 | 58);
        PacketRecord {
            ts: Timestamp::default(),
            ordinal: 0,
            src: bytes(src),
            dst: bytes(dst),
            seq: 0,
            ack: 0,
            payload_bytes: 0,
            ip_bytes: 0,
            wire_bytes: 0,
            tunnel_id: 0,
            src_port: if icmp { 0 } else { a },
            dst_port: if icmp { 0 } else { b },
            vlan: [0; 2],
            window: 0,
            l4_header_bytes: 0,
            protocol,
            tcp_flags: 0,
            icmp_type: if icmp { a as u8 } else { 0 },
            icmp_code: if icmp { b as u8 } else { 0 },
            ip_version: if src.contains(':') { 6 } else { 4 },
            ttl: 64,
            tunnel_kind: TunnelKind::None,
            later_fragment: false,
        }
    }

    #[track_caller]
    fn check(src: &str, dst: &str, protocol: u8, a: u16, b: u16, expect: &str) {
        let packet = packet(src, dst, protocol, a, b);
        let (key, src_is_lo) = FlowKey::of(&packet, KeyRules::Tapline { vlan: true });
        let _: &Endpoint = &key.lo;
        let head = FlowHead {
            key,
            start: packet.ts,
            last: packet.ts,
            first_ordinal: 0,
            packets: 1,
            initiator_is_lo: src_is_lo,
            id_is_lo: src_is_lo,
            end_reason: tapline_record::EndReason::Idle,
        };
        assert_eq!(community_id(&head).as_str(), expect);
    }

    /// The test vectors of the specification's baseline.
    #[test]
    fn specification_vectors() {
        check("128.232.110.120", "66.35.250.204", 6, 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        check("66.35.250.204", "128.232.110.120", 6, 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=");
        check("192.168.1.52", "8.8.8.8", 17, 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=");
        check("192.168.0.89", "192.168.0.1", 1, 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
        check("192.168.0.1", "192.168.0.89", 1, 0, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=");
    }
}
