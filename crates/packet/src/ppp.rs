//! PPP and PPPoE headers, translated to ethertypes.

use crate::ethernet::ethertype;
use crate::skip::Skip;
use crate::view::{View, be16};

/// A PPP frame, with or without the address and control bytes of HDLC framing (RFC 1661, RFC 1662).
pub(crate) fn open(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    match frame.split() {
        Some(([HDLC_ALL_STATIONS, HDLC_UNNUMBERED], rest)) => open_protocol(rest),
        _ => open_protocol(frame),
    }
}

/// PPP in HDLC framing, or Cisco's HDLC, which has an ethertype in place of the PPP protocol.
pub(crate) fn open_hdlc(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    match frame.split::<4>() {
        Some((header @ [CISCO_UNICAST | CISCO_MULTICAST, 0, ..], rest)) => Ok((be16::<2, _>(header), rest)),
        _ => open(frame),
    }
}

/// A PPPoE session frame (RFC 2516), from its own header on.
pub(crate) fn open_pppoe(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    const VERSION_1_TYPE_1: u8 = 0x11;
    const SESSION_DATA: u8 = 0;

    let (header, rest) = frame.split::<6>().ok_or(Skip::TruncatedLink)?;
    match *header {
        [VERSION_1_TYPE_1, SESSION_DATA, ..] => open_protocol(rest),
        [VERSION_1_TYPE_1, ..] => Err(Skip::PppControl),
        _ => Err(Skip::OtherEthertype),
    }
}

/// The protocol field: two bytes, or one where the peers agreed to compress it. The last byte is the odd one.
fn open_protocol(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    let (&[first], rest) = frame.split().ok_or(Skip::TruncatedLink)?;
    let (protocol, rest) = if first & 1 == 1 {
        (u16::from(first), rest)
    } else {
        let (protocol, rest) = frame.split::<2>().ok_or(Skip::TruncatedLink)?;
        (be16::<0, _>(protocol), rest)
    };
    match protocol {
        0x0021 => Ok((ethertype::IPV4, rest)),
        0x0057 => Ok((ethertype::IPV6, rest)),
        0x0281 => Ok((ethertype::MPLS, rest)),
        0x0283 => Ok((ethertype::MPLS_MULTICAST, rest)),
        0x8000.. => Err(Skip::PppControl),
        _ => Err(Skip::OtherEthertype), // Compressed or encrypted, among others.
    }
}

const HDLC_ALL_STATIONS: u8 = 0xff;
const HDLC_UNNUMBERED: u8 = 0x03;
const CISCO_UNICAST: u8 = 0x0f;
const CISCO_MULTICAST: u8 = 0x8f;
