//! Why a frame has no record.

use serde::{Deserialize, Serialize};

/// The reason for which a frame yields no [`PacketRecord`](tapline_record::PacketRecord). Counted by the caller, one
/// counter for each; an operator who gets no flows reads here what the tap delivers instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Skip {
    /// The capture's link type is none of those decoded.
    UnsupportedLinkType,
    /// The captured bytes end within the link header, a tag or an encapsulation header.
    TruncatedLink,
    /// The captured bytes end within the IP header or its extensions.
    TruncatedIp,
    /// Fewer captured bytes than the transport's fixed header: TCP 20, UDP 8, SCTP 12, ICMP 4.
    TruncatedTransport,
    /// Version, header length or total length of the IP header contradict each other.
    MalformedIp,
    /// ARP and RARP.
    Arp,
    /// IEEE 802.2 without IP inside: spanning tree, CDP, IS-IS, IPX, NetBEUI.
    Llc,
    /// LLDP (ethertype 0x88cc).
    Lldp,
    /// PPP link and network control, PPPoE discovery.
    PppControl,
    /// IEEE 802.1AE: the rest of the frame is encrypted.
    Macsec,
    /// Fieldbus without IP: PROFINET, EtherCAT, POWERLINK, GOOSE, sampled values, SERCOS.
    IndustrialEthernet,
    /// Another ethertype that does not lead to IP.
    OtherEthertype,
    /// More than [`MAX_LAYERS`](crate::decoder::MAX_LAYERS) tags, encapsulations or IPv6 extension headers.
    NestedTooDeep,
    /// IEEE 802.11 management, control and null frames, and later fragments of a data unit.
    #[serde(rename = "ieee802_11_not_data")]
    Ieee802_11NotData,
    /// IEEE 802.11 data with the protected bit set.
    #[serde(rename = "ieee802_11_encrypted")]
    Ieee802_11Encrypted,
    /// IEEE 802.11 received with a wrong checksum, as radiotap says.
    #[serde(rename = "ieee802_11_bad_fcs")]
    Ieee802_11BadFcs,
    /// An IPv6 packet under a CICFlowMeter profile.
    NotIpv4,
}

impl Skip {
    /// Every reason, in the order of their counters.
    pub const ALL: [Self; 17] = [
        Self::UnsupportedLinkType,
        Self::TruncatedLink,
        Self::TruncatedIp,
        Self::TruncatedTransport,
        Self::MalformedIp,
        Self::Arp,
        Self::Llc,
        Self::Lldp,
        Self::PppControl,
        Self::Macsec,
        Self::IndustrialEthernet,
        Self::OtherEthertype,
        Self::NestedTooDeep,
        Self::Ieee802_11NotData,
        Self::Ieee802_11Encrypted,
        Self::Ieee802_11BadFcs,
        Self::NotIpv4,
    ];

    /// Position in [`Skip::ALL`], for an array of counters.
    #[must_use]
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The name in counters, statistics and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UnsupportedLinkType => "unsupported_link_type",
            Self::TruncatedLink => "truncated_link",
            Self::TruncatedIp => "truncated_ip",
            Self::TruncatedTransport => "truncated_transport",
            Self::MalformedIp => "malformed_ip",
            Self::Arp => "arp",
            Self::Llc => "llc",
            Self::Lldp => "lldp",
            Self::PppControl => "ppp_control",
            Self::Macsec => "macsec",
            Self::IndustrialEthernet => "industrial_ethernet",
            Self::OtherEthertype => "other_ethertype",
            Self::NestedTooDeep => "nested_too_deep",
            Self::Ieee802_11NotData => "ieee802_11_not_data",
            Self::Ieee802_11Encrypted => "ieee802_11_encrypted",
            Self::Ieee802_11BadFcs => "ieee802_11_bad_fcs",
            Self::NotIpv4 => "not_ipv4",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    use super::*;

    #[test]
    fn index_and_names_agree_with_the_list() {
        for (i, skip) in Skip::ALL.into_iter().enumerate() {
            assert_eq!(skip.index(), i);
            let name: StrDeserializer<'_, Error> = skip.name().into_deserializer();
            assert_eq!(Skip::deserialize(name), Ok(skip), "serde's name of {skip:?}");
        }
    }
}
