//! IPv4 and IPv6 headers: addresses, lengths, extension headers, fragmentation.

use crate::counters::DecodeCounters;
use crate::decoder::MAX_LAYERS;
use crate::fragment::{Fragment, FragmentId};
use crate::skip::Skip;
use crate::view::{View, be16, be32, field};

/// Which IP a header belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IpVersion {
    V4 = 4,
    V6 = 6,
}

impl IpVersion {
    /// The version that the first nibble names, where nothing else tells.
    pub(crate) fn of(packet: View<'_>) -> Result<Self, Skip> {
        match packet.nibble() {
            Some(4) => Ok(Self::V4),
            Some(6) => Ok(Self::V6),
            Some(_) => Err(Skip::MalformedIp),
            None => Err(Skip::TruncatedIp),
        }
    }
}

/// What the IP headers say.
///
/// Addresses are integers: arrays would be carried byte by byte from the branches of the decoder to where they meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ip<'a> {
    pub(crate) version: IpVersion,
    pub(crate) src: u128,
    pub(crate) dst: u128,
    pub(crate) ttl: u8,
    /// Of the layer above, behind the extension headers.
    pub(crate) protocol: u8,
    /// The IP packet, bounded by what the wire carried.
    pub(crate) ip_bytes: u32,
    /// What follows the headers, up to the end of the IP packet (so that padding is left out).
    pub(crate) payload: View<'a>,
    pub(crate) fragment: Fragment,
}

/// Reads an IPv4 header (RFC 791) with its options, and an authentication header behind it.
#[inline(always)]
pub(crate) fn read_v4<'a>(packet: View<'a>, counters: &mut DecodeCounters) -> Result<Ip<'a>, Skip> {
    let Some((header, rest)) = packet.bytes.split_first_chunk::<V4_HEADER>() else {
        return Err(Skip::TruncatedIp);
    };
    let mut bytes = rest;
    let mut header_bytes = V4_HEADER as u32;
    if header[VERSION] != V4_WITHOUT_OPTIONS {
        let options = v4_options(header, rest.len())?;
        bytes = rest.get(options..).unwrap_or_default();
        header_bytes += options as u32;
    }
    let mut ip_bytes = u32::from(be16::<V4_TOTAL_LENGTH, _>(header));
    if ip_bytes < header_bytes || ip_bytes > packet.wire {
        ip_bytes = v4_odd_length(ip_bytes, packet.wire, counters)?;
    }
    let payload_bytes = ip_bytes.saturating_sub(header_bytes);
    let mut payload = View { bytes, wire: payload_bytes }.limit(payload_bytes);
    let mut protocol = header[V4_PROTOCOL];
    let fragment = v4_fragment(header);
    if protocol == AUTHENTICATION && !matches!(fragment, Fragment::Later(_)) {
        // A damaged one stays protocol 51, by number.
        if let Ok((next, after)) = authentication_header(payload) {
            protocol = next;
            payload = after;
        }
    }
    Ok(Ip {
        version: IpVersion::V4,
        src: mapped(be32::<V4_SRC, _>(header)),
        dst: mapped(be32::<V4_DST, _>(header)),
        ttl: header[V4_TTL],
        protocol,
        ip_bytes,
        payload,
        fragment,
    })
}

/// Reads an IPv6 header (RFC 8200) and its extension headers.
#[inline(always)]
pub(crate) fn read_v6<'a>(packet: View<'a>, counters: &mut DecodeCounters) -> Result<Ip<'a>, Skip> {
    let Some((header, rest)) = packet.bytes.split_first_chunk::<V6_HEADER>() else {
        return Err(if matches!(packet.nibble(), Some(6) | None) {
            Skip::TruncatedIp
        } else {
            Skip::MalformedIp
        });
    };
    if header[VERSION] >> 4 != 6 {
        return Err(Skip::MalformedIp);
    }
    let mut ip_bytes = V6_HEADER as u32 + u32::from(be16::<V6_PAYLOAD_LENGTH, _>(header));
    if ip_bytes == V6_HEADER as u32 || ip_bytes > packet.wire {
        ip_bytes = v6_odd_length(header[V6_NEXT_HEADER], rest, ip_bytes, packet.wire, counters);
    }
    let payload_bytes = ip_bytes.saturating_sub(V6_HEADER as u32);
    let mut payload = View { bytes: rest, wire: payload_bytes }.limit(payload_bytes);
    let mut protocol = header[V6_NEXT_HEADER];
    let mut fragment = Fragment::Whole;
    if let HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION = protocol {
        let chain = extension_headers(protocol, payload)?;
        protocol = chain.protocol;
        payload = chain.payload;
        fragment = chain.fragment;
    }
    Ok(Ip {
        version: IpVersion::V6,
        src: u128::from_be_bytes(field::<V6_SRC, 16, _>(header)),
        dst: u128::from_be_bytes(field::<V6_DST, 16, _>(header)),
        ttl: header[V6_HOP_LIMIT],
        protocol,
        ip_bytes,
        payload,
        fragment,
    })
}

/// IPv4 in 16 bytes, as `::ffff:a.b.c.d`.
#[inline(always)]
pub(crate) fn mapped(addr: u32) -> u128 {
    0xffff_0000_0000 | u128::from(addr)
}

/// Bytes of IPv4 options, where the first byte is not that of a plain header.
#[cold]
#[inline(never)]
fn v4_options(header: &[u8; V4_HEADER], captured: usize) -> Result<usize, Skip> {
    let header_bytes = usize::from(header[VERSION] & 0x0f) * 4;
    if header[VERSION] >> 4 != 4 || header_bytes < V4_HEADER {
        return Err(Skip::MalformedIp);
    }
    let options = header_bytes - V4_HEADER;
    if options > captured { Err(Skip::TruncatedIp) } else { Ok(options) }
}

/// Segmentation offload leaves the length at 0; a claim beyond the wire is bounded by it.
#[cold]
#[inline(never)]
fn v4_odd_length(claimed: u32, wire: u32, counters: &mut DecodeCounters) -> Result<u32, Skip> {
    if claimed == 0 {
        counters.ip_length_zero += 1;
        Ok(wire)
    } else if claimed > wire {
        counters.ip_length_clipped += 1;
        Ok(wire)
    } else {
        Err(Skip::MalformedIp)
    }
}

/// A payload length of 0 is a jumbogram's (RFC 2675), segmentation offload's, or that of a packet of nothing.
#[cold]
#[inline(never)]
fn v6_odd_length(next: u8, rest: &[u8], claimed: u32, wire: u32, counters: &mut DecodeCounters) -> u32 {
    let mut claimed = claimed;
    if claimed == V6_HEADER as u32 {
        let jumbo = if next == HOP_BY_HOP { jumbo_payload(rest) } else { None };
        claimed = match jumbo {
            Some(payload) => payload.saturating_add(V6_HEADER as u32),
            None if next == NO_NEXT_HEADER => claimed,
            None => {
                counters.ip_length_zero += 1;
                wire
            }
        };
    }
    if claimed > wire {
        counters.ip_length_clipped += 1;
    }
    claimed.min(wire)
}

/// The payload length in a hop-by-hop header's jumbo option.
fn jumbo_payload(hop_by_hop: &[u8]) -> Option<u32> {
    const PAD1: u8 = 0;
    const JUMBO: u8 = 0xc2;

    let (&[_, units], options) = hop_by_hop.split_first_chunk()?;
    let mut options = options.get(..usize::from(units) * 8 + 6)?;
    while let Some((&kind, rest)) = options.split_first() {
        options = rest;
        if kind == PAD1 {
            continue;
        }
        let (&length, rest) = rest.split_first()?;
        if kind == JUMBO && length == 4 {
            return rest.first_chunk().map(|value| u32::from_be_bytes(*value));
        }
        options = rest.get(usize::from(length)..)?;
    }
    None
}

#[inline(always)]
fn v4_fragment(header: &[u8; V4_HEADER]) -> Fragment {
    const MORE: u16 = 0x2000;
    const OFFSET: u16 = 0x1fff;

    let word = be16::<V4_FRAGMENT, _>(header);
    if word & (MORE | OFFSET) == 0 {
        return Fragment::Whole;
    }
    let id = FragmentId {
        identification: u32::from(be16::<V4_IDENTIFICATION, _>(header)),
        protocol: header[V4_PROTOCOL],
    };
    if word & OFFSET == 0 { Fragment::First(id) } else { Fragment::Later(id) }
}

struct Chain<'a> {
    protocol: u8,
    payload: View<'a>,
    fragment: Fragment,
}

/// Walks the extension headers up to the first header that is none, or to the end of what a later fragment tells.
#[cold]
#[inline(never)]
fn extension_headers(first: u8, payload: View<'_>) -> Result<Chain<'_>, Skip> {
    let mut chain = Chain { protocol: first, payload, fragment: Fragment::Whole };
    for _ in 0..=MAX_LAYERS {
        match chain.protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => {
                let (&[next, units], _) = chain.payload.split().ok_or_else(|| ends_in(chain.payload, 2))?;
                chain.payload = take(chain.payload, (usize::from(units) + 1) * 8)?;
                chain.protocol = next;
            }
            AUTHENTICATION => (chain.protocol, chain.payload) = authentication_header(chain.payload)?,
            FRAGMENT => {
                let (header, after) = chain.payload.split::<8>().ok_or_else(|| ends_in(chain.payload, 8))?;
                chain.payload = after;
                chain.protocol = header[0];
                let word = be16::<2, _>(header);
                let id = FragmentId { identification: be32::<4, _>(header), protocol: 0 };
                match (word >> 3, word & 1) {
                    (0, 0) => {} // An atomic fragment is a whole packet (RFC 6946).
                    (0, _) => chain.fragment = Fragment::First(id),
                    _ => {
                        chain.fragment = Fragment::Later(id);
                        return Ok(chain);
                    }
                }
            }
            _ => return Ok(chain),
        }
    }
    Err(Skip::NestedTooDeep)
}

/// Next header and rest of an authentication header (RFC 4302): its length is in units of 4 bytes, less 2.
#[cold]
#[inline(never)]
fn authentication_header(payload: View<'_>) -> Result<(u8, View<'_>), Skip> {
    let (&[next, units], _) = payload.split().ok_or_else(|| ends_in(payload, 2))?;
    Ok((next, take(payload, (usize::from(units) + 2) * 4)?))
}

fn take(payload: View<'_>, count: usize) -> Result<View<'_>, Skip> {
    payload.skip(count).ok_or_else(|| ends_in(payload, count))
}

/// Whether it is the capture or the packet itself that ends before `count` bytes.
fn ends_in(payload: View<'_>, count: usize) -> Skip {
    if (payload.wire as usize) < count { Skip::MalformedIp } else { Skip::TruncatedIp }
}

pub(crate) const V4_HEADER: usize = 20;
pub(crate) const V6_HEADER: usize = 40;

/// Version 4, five words of header.
const V4_WITHOUT_OPTIONS: u8 = 0x45;

const VERSION: usize = 0;
pub(crate) const V4_TOTAL_LENGTH: usize = 2;
const V4_IDENTIFICATION: usize = 4;
pub(crate) const V4_FRAGMENT: usize = 6;
pub(crate) const V4_TTL: usize = 8;
pub(crate) const V4_PROTOCOL: usize = 9;
pub(crate) const V4_SRC: usize = 12;
pub(crate) const V4_DST: usize = 16;

const V6_PAYLOAD_LENGTH: usize = 4;
const V6_NEXT_HEADER: usize = 6;
const V6_HOP_LIMIT: usize = 7;
const V6_SRC: usize = 8;
const V6_DST: usize = 24;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
const NO_NEXT_HEADER: u8 = 59;
const DESTINATION: u8 = 60;
