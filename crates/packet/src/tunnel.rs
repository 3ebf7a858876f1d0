//! Encapsulations: from an IP payload to the IP packet inside.

use tapline_record::{PacketRecord, TunnelKind, protocol};

use crate::decoder::Decapsulate;
use crate::ethernet::{self, Network};
use crate::ip::IpVersion;
use crate::ppp;
use crate::skip::Skip;
use crate::transport::{Segment, UDP_HEADER};
use crate::view::{View, be16, be32, field};

/// What an encapsulation carried.
#[derive(Debug)]
pub(crate) struct Inner<'a> {
    pub(crate) network: Network<'a>,
    pub(crate) kind: TunnelKind,
    pub(crate) id: u32,
}

/// Whether a packet may be an encapsulation: the cheap question, asked of every packet.
#[inline]
pub(crate) fn is_likely(protocol: u8, segment: &Segment) -> bool {
    match protocol {
        protocol::TCP => false,
        protocol::UDP => {
            matches!(segment.dst_port, VXLAN_PORT | VXLAN_PORT_LINUX | GENEVE_PORT | GTPU_PORT | TEREDO_PORT)
                || segment.src_port == TEREDO_PORT
        }
        IPV4 | IPV6 | GRE => true,
        _ => false,
    }
}

/// Takes one encapsulation off. `payload` follows the IP headers of `outer`. None where there is no encapsulation, or
/// it is not to be taken off; the reason where there is one, and nothing inside that could be read.
pub(crate) fn peel<'a>(
    outer: &PacketRecord,
    payload: View<'a>,
    wanted: &Decapsulate,
) -> Result<Option<Inner<'a>>, Skip> {
    match outer.protocol {
        IPV4 | IPV6 if wanted.ipip => peel_ip(outer.protocol, payload),
        GRE => peel_gre(payload, wanted),
        protocol::UDP => {
            let Some(payload) = payload.skip(UDP_HEADER) else { return Ok(None) };
            match outer.dst_port {
                VXLAN_PORT | VXLAN_PORT_LINUX if wanted.vxlan => peel_vxlan(payload),
                GENEVE_PORT if wanted.geneve => peel_geneve(payload),
                GTPU_PORT if wanted.gtpu => peel_gtpu(payload),
                port if wanted.teredo && (port == TEREDO_PORT || outer.src_port == TEREDO_PORT) => {
                    Ok(peel_teredo(payload))
                }
                _ => Ok(None),
            }
        }
        _ => Ok(None),
    }
}

/// RFC 2003, RFC 2473, RFC 4213.
fn peel_ip<'a>(protocol: u8, packet: View<'a>) -> Result<Option<Inner<'a>>, Skip> {
    let version = if protocol == IPV4 { IpVersion::V4 } else { IpVersion::V6 };
    if IpVersion::of(packet)? != version {
        return Err(Skip::MalformedIp);
    }
    Ok(Some(Inner { network: Network { version, packet, vlan: [0; 2] }, kind: TunnelKind::IpInIp, id: 0 }))
}

/// RFC 2784 with the key and sequence number of RFC 2890; version 1 is PPTP (RFC 2637).
fn peel_gre<'a>(packet: View<'a>, wanted: &Decapsulate) -> Result<Option<Inner<'a>>, Skip> {
    const CHECKSUM: u16 = 0x8000;
    const ROUTING: u16 = 0x4000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGEMENT: u16 = 0x0080;
    const VERSION: u16 = 0x0007;
    const ERSPAN: u16 = 0x88be;
    const ERSPAN_III: u16 = 0x22eb;
    const PPP: u16 = 0x880b;

    let (header, mut rest) = packet.split::<4>().ok_or(Skip::TruncatedLink)?;
    let flags = be16::<0, _>(header);
    let carried = be16::<2, _>(header);
    if flags & ROUTING != 0 {
        return Ok(None); // Source routes: deprecated, and no one knows where they end.
    }
    let mut word = |flag: u16| -> Result<u32, Skip> {
        if flags & flag == 0 {
            return Ok(0);
        }
        let (word, after) = rest.split::<4>().ok_or(Skip::TruncatedLink)?;
        rest = after;
        Ok(be32::<0, _>(word))
    };
    match flags & VERSION {
        0 => {
            word(CHECKSUM)?;
            let key = word(KEY)?;
            word(SEQUENCE)?;
            match carried {
                // Without a sequence number it is type I, which has no header of its own.
                ERSPAN if wanted.erspan && flags & SEQUENCE == 0 => mirrored(0, rest),
                ERSPAN if wanted.erspan => peel_erspan_ii(rest),
                ERSPAN_III if wanted.erspan => peel_erspan_iii(rest),
                ERSPAN | ERSPAN_III => Ok(None),
                _ if !wanted.gre => Ok(None),
                _ => {
                    let network = ethernet::climb(carried, rest)?;
                    Ok(Some(Inner { network, kind: TunnelKind::Gre, id: key }))
                }
            }
        }
        1 if carried == PPP && wanted.gre => {
            // The key holds length and call; a call is numbered by its receiver, so it would part the directions.
            word(KEY)?;
            word(SEQUENCE)?;
            word(ACKNOWLEDGEMENT)?;
            let (ethertype, rest) = ppp::open(rest)?;
            Ok(Some(Inner { network: ethernet::climb(ethertype, rest)?, kind: TunnelKind::Gre, id: 0 }))
        }
        _ => Ok(None),
    }
}

/// draft-foschiano-erspan-03, section 4.2.
fn peel_erspan_ii(packet: View<'_>) -> Result<Option<Inner<'_>>, Skip> {
    let (header, frame) = packet.split::<8>().ok_or(Skip::TruncatedLink)?;
    mirrored(erspan_session(be16::<2, _>(header)), frame)
}

/// draft-foschiano-erspan-03, section 4.3.
fn peel_erspan_iii(packet: View<'_>) -> Result<Option<Inner<'_>>, Skip> {
    const SUBHEADER_FOLLOWS: u8 = 0x01;
    const SUBHEADER: usize = 8;
    const FRAME_TYPE: u16 = 0x7c00;
    const FRAME_TYPE_IP: u16 = 2 << 10;

    let (header, mut frame) = packet.split::<12>().ok_or(Skip::TruncatedLink)?;
    let session = erspan_session(be16::<2, _>(header));
    if header[11] & SUBHEADER_FOLLOWS != 0 {
        frame = frame.skip(SUBHEADER).ok_or(Skip::TruncatedLink)?;
    }
    if be16::<10, _>(header) & FRAME_TYPE == FRAME_TYPE_IP {
        let network = Network { version: IpVersion::of(frame)?, packet: frame, vlan: [0; 2] };
        return Ok(Some(Inner { network, kind: TunnelKind::Erspan, id: session }));
    }
    mirrored(session, frame)
}

fn erspan_session(word: u16) -> u32 {
    u32::from(word & 0x03ff)
}

fn mirrored(session: u32, frame: View<'_>) -> Result<Option<Inner<'_>>, Skip> {
    let (ethertype, rest) = ethernet::open(frame)?;
    Ok(Some(Inner { network: ethernet::climb(ethertype, rest)?, kind: TunnelKind::Erspan, id: session }))
}

/// RFC 7348.
fn peel_vxlan(packet: View<'_>) -> Result<Option<Inner<'_>>, Skip> {
    const VNI_VALID: u8 = 0x08;

    let Some((header, frame)) = packet.split::<8>() else { return Ok(None) };
    if header[0] & VNI_VALID == 0 {
        return Ok(None);
    }
    let (ethertype, rest) = ethernet::open(frame)?;
    let network = ethernet::climb(ethertype, rest)?;
    Ok(Some(Inner { network, kind: TunnelKind::Vxlan, id: be24(field::<4, 3, _>(header)) }))
}

/// RFC 8926.
fn peel_geneve(packet: View<'_>) -> Result<Option<Inner<'_>>, Skip> {
    const VERSION: u8 = 0xc0;
    const OPTIONS: u8 = 0x3f;

    let Some((header, rest)) = packet.split::<8>() else { return Ok(None) };
    if header[0] & VERSION != 0 {
        return Ok(None);
    }
    let rest = rest.skip(usize::from(header[0] & OPTIONS) * 4).ok_or(Skip::TruncatedLink)?;
    let network = ethernet::climb(be16::<2, _>(header), rest)?;
    Ok(Some(Inner { network, kind: TunnelKind::Geneve, id: be24(field::<4, 3, _>(header)) }))
}

/// 3GPP TS 29.281, section 5.
fn peel_gtpu(packet: View<'_>) -> Result<Option<Inner<'_>>, Skip> {
    const VERSION_AND_TYPE: u8 = 0xf0;
    const VERSION_1_GTP: u8 = 0x30;
    const EXTENSION: u8 = 0x04;
    const ANY_OPTIONAL: u8 = 0x07;
    const USER_DATA: u8 = 255;

    let Some((header, mut rest)) = packet.split::<8>() else { return Ok(None) };
    if header[0] & VERSION_AND_TYPE != VERSION_1_GTP || header[1] != USER_DATA {
        return Ok(None);
    }
    if header[0] & ANY_OPTIONAL != 0 {
        let (&[.., mut next], after) = rest.split::<4>().ok_or(Skip::TruncatedLink)?;
        rest = after;
        if header[0] & EXTENSION == 0 {
            next = 0;
        }
        // Each is at least 4 bytes long, so this ends. The last byte names the next.
        while next != 0 {
            let bytes = rest.bytes.first().map_or(0, |units| usize::from(*units) * 4);
            let last = bytes.checked_sub(1).and_then(|last| rest.bytes.get(last));
            next = *last.ok_or(Skip::TruncatedLink)?;
            rest = rest.skip(bytes).ok_or(Skip::TruncatedLink)?;
        }
    }
    let network = Network { version: IpVersion::of(rest)?, packet: rest, vlan: [0; 2] };
    Ok(Some(Inner { network, kind: TunnelKind::Gtpu, id: be32::<4, _>(header) }))
}

/// RFC 4380, section 5.1.1. Others use the port too, so the inner packet has to fit its length (trailers may follow, RFC
/// 6081) and one of its ends must be a Teredo or, while a client qualifies, a link-local address.
fn peel_teredo(mut packet: View<'_>) -> Option<Inner<'_>> {
    const INDICATOR: usize = 2;
    const AUTHENTICATION: [u8; 2] = [0, 1];
    const ORIGIN: [u8; 2] = [0, 0];
    const NONCE_AND_CONFIRMATION: usize = 9;
    const ORIGIN_BYTES: usize = 8;
    const TEREDO: [u8; 4] = [0x20, 0x01, 0, 0];
    const LINK_LOCAL: [u8; 4] = [0xfe, 0x80, 0, 0];

    if let Some((&[a, b, id_bytes, auth_bytes], rest)) = packet.split()
        && [a, b] == AUTHENTICATION
    {
        packet = rest.skip(usize::from(id_bytes) + usize::from(auth_bytes) + NONCE_AND_CONFIRMATION)?;
    }
    if packet.split::<INDICATOR>().is_some_and(|(indicator, _)| *indicator == ORIGIN) {
        packet = packet.skip(ORIGIN_BYTES)?;
    }
    let (header, rest) = packet.split::<40>()?;
    let ends = [field::<8, 4, _>(header), field::<24, 4, _>(header)];
    let fits = u32::from(be16::<4, _>(header)) <= rest.wire;
    if header[0] >> 4 != 6 || !fits || !(ends.contains(&TEREDO) || ends.contains(&LINK_LOCAL)) {
        return None;
    }
    let network = Network { version: IpVersion::V6, packet, vlan: [0; 2] };
    Some(Inner { network, kind: TunnelKind::Teredo, id: 0 })
}

fn be24([a, b, c]: [u8; 3]) -> u32 {
    u32::from_be_bytes([0, a, b, c])
}

const IPV4: u8 = 4;
const IPV6: u8 = 41;
const GRE: u8 = 47;

const VXLAN_PORT: u16 = 4789;
/// Linux's default from before the port was assigned; flannel's and Weave's too.
const VXLAN_PORT_LINUX: u16 = 8472;
const GENEVE_PORT: u16 = 6081;
const GTPU_PORT: u16 = 2152;
const TEREDO_PORT: u16 = 3544;
