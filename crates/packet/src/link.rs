//! Link headers: from the first byte of a frame to an ethertype.

use tapline_record::{Frame, LinkType};

use crate::ethernet::{self, ethertype};
use crate::ip::IpVersion;
use crate::skip::Skip;
use crate::view::{View, be16};
use crate::{ieee802_11, ppp};

/// Takes the link header off: the ethertype of what follows, and what follows.
#[inline(always)]
pub(crate) fn open<'a>(frame: &Frame<'a>) -> Result<(u16, View<'a>), Skip> {
    let view = View::of_frame(frame.bytes, frame.wire_bytes);
    if frame.link == LinkType::ETHERNET {
        return ethernet::open(view);
    }
    let (ethertype, rest) = open_other(frame.link, view)?;
    Ok((ethertype, rest))
}

#[inline(never)]
fn open_other(link: LinkType, frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    match link {
        LinkType::RAW | LinkType::RAW_BSD | LinkType::RAW_OPENBSD => match IpVersion::of(frame)? {
            IpVersion::V4 => Ok((ethertype::IPV4, frame)),
            IpVersion::V6 => Ok((ethertype::IPV6, frame)),
        },
        LinkType::IPV4 => Ok((ethertype::IPV4, frame)),
        LinkType::IPV6 => Ok((ethertype::IPV6, frame)),
        LinkType::LINUX_SLL => {
            let (header, rest) = frame.split::<16>().ok_or(Skip::TruncatedLink)?;
            Ok((be16::<14, _>(header), rest))
        }
        LinkType::LINUX_SLL2 => {
            let (header, rest) = frame.split::<20>().ok_or(Skip::TruncatedLink)?;
            Ok((be16::<0, _>(header), rest))
        }
        LinkType::NULL | LinkType::LOOP => open_loopback(frame),
        LinkType::PPP => ppp::open(frame),
        LinkType::PPP_HDLC => ppp::open_hdlc(frame),
        LinkType::PPP_ETHER => ppp::open_pppoe(frame),
        LinkType::IEEE802_11 => ieee802_11::open(frame),
        LinkType::IEEE802_11_RADIOTAP => ieee802_11::open_radiotap(frame),
        _ => Err(Skip::UnsupportedLinkType),
    }
}

/// The address family in the writer's byte order, and with the writer's number for IPv6.
fn open_loopback(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    let (family, rest) = frame.split::<4>().ok_or(Skip::TruncatedLink)?;
    let ([0, 0, 0, family] | [family, 0, 0, 0]) = *family else {
        return Err(Skip::OtherEthertype);
    };
    match family {
        2 => Ok((ethertype::IPV4, rest)),
        10 | 24 | 28 | 30 => Ok((ethertype::IPV6, rest)), // Linux, NetBSD and OpenBSD, FreeBSD, macOS.
        _ => Err(Skip::OtherEthertype),
    }
}
