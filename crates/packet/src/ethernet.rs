//! From an ethertype up to IP: VLAN tags, MPLS, PPPoE, IEEE 802.2, and Ethernet within these.

use crate::decoder::MAX_LAYERS;
use crate::ip::IpVersion;
use crate::ppp;
use crate::skip::Skip;
use crate::view::{View, be16};

/// An IP packet, and the VLAN tags in front of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network<'a> {
    pub(crate) version: IpVersion,
    pub(crate) packet: View<'a>,
    pub(crate) vlan: Vlan,
}

/// VLAN identifiers, outer then inner. Identifier 0 is a priority and not a VLAN (IEEE 802.1Q), so it is not stored.
pub(crate) type Vlan = [u16; 2];

/// Splits an Ethernet II or IEEE 802.3 header off: ethertype (or 802.3 length) and the rest.
#[inline(always)]
pub(crate) fn open(frame: View<'_>) -> Result<(u16, View<'_>), Skip> {
    let (header, rest) = frame.split::<HEADER>().ok_or(Skip::TruncatedLink)?;
    Ok((be16::<ETHERTYPE, _>(header), rest))
}

/// Climbs from an ethertype to the IP packet.
#[inline(always)]
pub(crate) fn climb(ethertype: u16, packet: View<'_>) -> Result<Network<'_>, Skip> {
    match ethertype {
        ethertype::IPV4 => Ok(Network { version: IpVersion::V4, packet, vlan: [0; 2] }),
        ethertype::IPV6 => Ok(Network { version: IpVersion::V6, packet, vlan: [0; 2] }),
        _ => {
            // Not returned as it is: that would keep the common result in memory instead of in registers.
            let network = climb_within(MAX_LAYERS, ethertype, packet)?;
            Ok(network)
        }
    }
}

#[inline(never)]
fn climb_within(mut layers: usize, mut ethertype: u16, mut packet: View<'_>) -> Result<Network<'_>, Skip> {
    let mut vlan = [0; 2];
    loop {
        match ethertype {
            ethertype::IPV4 => return Ok(Network { version: IpVersion::V4, packet, vlan }),
            ethertype::IPV6 => return Ok(Network { version: IpVersion::V6, packet, vlan }),
            ethertype::VLAN | ethertype::QINQ | ethertype::QINQ_OLD => {
                layers = layers.checked_sub(1).ok_or(Skip::NestedTooDeep)?;
                let (tag, rest) = packet.split::<TAG>().ok_or(Skip::TruncatedLink)?;
                push_tag(&mut vlan, be16::<0, _>(tag));
                ethertype = be16::<2, _>(tag);
                packet = rest;
            }
            _ => {
                let layers = layers.checked_sub(1).ok_or(Skip::NestedTooDeep)?;
                return climb_odd(layers, ethertype, packet, vlan);
            }
        }
    }
}

/// Stores the identifier of a tag where there is room for it.
#[inline(always)]
pub(crate) fn push_tag(vlan: &mut Vlan, control: u16) {
    let id = control & 0x0fff;
    if let Some(slot) = vlan.iter_mut().find(|slot| **slot == 0) {
        *slot = id;
    }
}

#[cold]
#[inline(never)]
fn climb_odd(layers: usize, ethertype: u16, packet: View<'_>, vlan: Vlan) -> Result<Network<'_>, Skip> {
    let mut network = match ethertype {
        0..=MAX_LENGTH => {
            let (ethertype, rest) = open_llc(packet)?;
            climb_within(layers, ethertype, rest)?
        }
        ethertype::MPLS | ethertype::MPLS_MULTICAST => climb_mpls(layers, packet)?,
        ethertype::PPPOE_SESSION => {
            let (ethertype, rest) = ppp::open_pppoe(packet)?;
            climb_within(layers, ethertype, rest)?
        }
        ethertype::ETHERNET => climb_ethernet(layers, packet)?,
        _ => return Err(classify(ethertype)),
    };
    // The tags of the outermost frame tell the networks of the tap apart.
    if vlan != [0; 2] {
        network.vlan = vlan;
    }
    Ok(network)
}

fn climb_ethernet(layers: usize, frame: View<'_>) -> Result<Network<'_>, Skip> {
    let (ethertype, rest) = open(frame)?;
    climb_within(layers, ethertype, rest)
}

/// MPLS does not say what it carries (RFC 3032): the first nibble below the bottom of the stack does, by convention
/// (RFC 4928).
fn climb_mpls(layers: usize, mut packet: View<'_>) -> Result<Network<'_>, Skip> {
    for _ in 0..MAX_LABELS {
        let (label, rest) = packet.split::<LABEL>().ok_or(Skip::TruncatedLink)?;
        packet = rest;
        if label[2] & BOTTOM_OF_STACK == 0 {
            continue;
        }
        return match packet.nibble().ok_or(Skip::TruncatedLink)? {
            4 => Ok(Network { version: IpVersion::V4, packet, vlan: [0; 2] }),
            6 => Ok(Network { version: IpVersion::V6, packet, vlan: [0; 2] }),
            // A control word (RFC 4385), or an Ethernet address that begins like one.
            0 => match packet.skip(CONTROL_WORD) {
                Some(frame) => climb_pseudowire(layers, frame)
                    .or_else(|skip| climb_pseudowire(layers, packet).map_err(|_| skip)),
                None => Err(Skip::TruncatedLink),
            },
            1 => Err(Skip::OtherEthertype), // Associated channel: no user data.
            _ => climb_pseudowire(layers, packet),
        };
    }
    Err(Skip::NestedTooDeep)
}

/// Ethernet in MPLS. As nothing announced it, the IP version has to fit the ethertype. There may be two places to look,
/// so half the layers must do: a frame made for it could otherwise double the work with each of them.
fn climb_pseudowire(layers: usize, frame: View<'_>) -> Result<Network<'_>, Skip> {
    let network = climb_ethernet(layers / 2, frame)?;
    if IpVersion::of(network.packet)? == network.version { Ok(network) } else { Err(Skip::OtherEthertype) }
}

/// IEEE 802.2: the ethertype of a SNAP header, or IP by its own service access point.
pub(crate) fn open_llc(packet: View<'_>) -> Result<(u16, View<'_>), Skip> {
    const SNAP: u8 = 0xaa;
    const IP: u8 = 0x06;
    const UNNUMBERED: u8 = 0x03;

    let (llc, rest) = packet.split::<3>().ok_or(Skip::TruncatedLink)?;
    match *llc {
        [IP, IP, UNNUMBERED] => Ok((ethertype::IPV4, rest)),
        [SNAP, SNAP, UNNUMBERED] => {
            let (&[oui @ .., hi, lo], rest) = rest.split::<5>().ok_or(Skip::TruncatedLink)?;
            match oui {
                // RFC 1042; IEEE 802.1H.
                [0, 0, 0] | [0, 0, 0xf8] => Ok((u16::from_be_bytes([hi, lo]), rest)),
                _ => Err(Skip::Llc),
            }
        }
        _ => Err(Skip::Llc),
    }
}

/// The reason to count for an ethertype that is not followed.
#[cold]
pub(crate) fn classify(ethertype: u16) -> Skip {
    match ethertype {
        0..=MAX_LENGTH => Skip::Llc,
        ethertype::ARP | ethertype::RARP => Skip::Arp,
        ethertype::LLDP => Skip::Lldp,
        ethertype::PPPOE_DISCOVERY => Skip::PppControl,
        ethertype::MACSEC => Skip::Macsec,
        0x8892 | 0x88a4 | 0x88ab | 0x88b8..=0x88ba | 0x88cd => Skip::IndustrialEthernet,
        _ => Skip::OtherEthertype,
    }
}

/// IEEE 802 numbers, as IANA lists them.
pub(crate) mod ethertype {
    pub(crate) const IPV4: u16 = 0x0800;
    pub(crate) const ARP: u16 = 0x0806;
    /// Transparent Ethernet bridging: an Ethernet frame.
    pub(crate) const ETHERNET: u16 = 0x6558;
    pub(crate) const RARP: u16 = 0x8035;
    pub(crate) const VLAN: u16 = 0x8100;
    pub(crate) const IPV6: u16 = 0x86dd;
    pub(crate) const MPLS: u16 = 0x8847;
    pub(crate) const MPLS_MULTICAST: u16 = 0x8848;
    pub(crate) const PPPOE_DISCOVERY: u16 = 0x8863;
    pub(crate) const PPPOE_SESSION: u16 = 0x8864;
    pub(crate) const QINQ: u16 = 0x88a8;
    pub(crate) const LLDP: u16 = 0x88cc;
    pub(crate) const MACSEC: u16 = 0x88e5;
    pub(crate) const QINQ_OLD: u16 = 0x9100;
}

const HEADER: usize = 14;
const ETHERTYPE: usize = 12;
/// Tag control information and the next ethertype.
const TAG: usize = 4;
const LABEL: usize = 4;
const BOTTOM_OF_STACK: u8 = 1;
const CONTROL_WORD: usize = 4;
/// Real stacks have a handful.
const MAX_LABELS: usize = 16;
/// The largest value of the type field that is a length (IEEE 802.3).
const MAX_LENGTH: u16 = 1500;
