//! What one row of truth says: patterns of addresses, ports and protocols, and a window of time.

use std::net::IpAddr;

use tapline_record::protocol;

use crate::NAME_MAX_BYTES;

/// Numbers of the protocols whose flows have ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [protocol::TCP, protocol::UDP, 33, protocol::SCTP, 136];

/// A row, ready to be compared. Which names it gives stands in its entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) source: Addresses,
    pub(crate) destination: Addresses,
    pub(crate) source_port: Ports,
    pub(crate) destination_port: Ports,
    /// `None` for any.
    pub(crate) protocol: Option<u8>,
    /// First microsecond; `i64::MIN` if unbounded.
    pub(crate) start_us: i64,
    /// Last microsecond; `i64::MAX` if unbounded.
    pub(crate) end_us: i64,
    /// The row that it comes from.
    pub(crate) entry: u32,
}

/// An address, a network, or any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    Any,
    Network { address: Address, prefix: u8 },
}

/// An address as a number. IPv4 stands as `::ffff:a.b.c.d`, whichever way it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Address(pub(crate) u128);

impl Address {
    pub(crate) fn of(ip: IpAddr) -> Self {
        Self(match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
            IpAddr::V6(v6) => v6.to_bits(),
        })
    }

    const fn is_v4(self) -> bool {
        self.0 >> 32 == 0xffff
    }

    const fn bits(self) -> u8 {
        if self.is_v4() { 32 } else { 128 }
    }
}

impl Addresses {
    /// "10.0.0.1", "10.0.0.0/8", "2001:db8::/32", "*" or nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "*" {
            return Ok(Self::Any);
        }
        let wrong = || format!("{text:?} is no address; write 10.0.0.1, 10.0.0.0/8, 2001:db8::/32 or *");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address = Address::of(address.parse::<IpAddr>().map_err(|_| wrong())?);
        let bits = address.bits();
        let prefix = match prefix {
            Some(digits) => decimal(digits).filter(|n| *n <= u32::from(bits)).ok_or_else(wrong)? as u8,
            None => bits,
        };
        if address.0 & !mask(bits, prefix) & mask_of_family(bits) != 0 {
            return Err(format!("{text:?} has bits behind its prefix; write the network's first address"));
        }
        Ok(Self::Network { address, prefix })
    }

    pub(crate) fn contain(self, other: Address) -> bool {
        match self {
            Self::Any => true,
            Self::Network { address, prefix } => {
                address.is_v4() == other.is_v4() && (address.0 ^ other.0) & mask(address.bits(), prefix) == 0
            }
        }
    }

    /// The only address, if there is one only.
    pub(crate) fn exact(self) -> Option<Address> {
        match self {
            Self::Network { address, prefix } if prefix == address.bits() => Some(address),
            _ => None,
        }
    }

    /// Bits that are given.
    pub(crate) const fn prefix(self) -> u16 {
        match self {
            Self::Any => 0,
            Self::Network { prefix, .. } => prefix as u16,
        }
    }
}

/// The upper `prefix` of the `bits` that belong to the family.
const fn mask(bits: u8, prefix: u8) -> u128 {
    match bits - prefix {
        128 => 0,
        host => u128::MAX << host,
    }
}

const fn mask_of_family(bits: u8) -> u128 {
    if bits == 32 { 0xffff_ffff } else { u128::MAX }
}

/// A range of ports; all of them if none was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) low: u16,
    pub(crate) high: u16,
    /// Whether any were given: a rule with ports is not about protocols without.
    pub(crate) given: bool,
}

impl Ports {
    pub(crate) const ANY: Self = Self { low: 0, high: u16::MAX, given: false };

    /// "80", "1024-65535", "*" or nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "*" {
            return Ok(Self::ANY);
        }
        let wrong = || format!("{text:?} is no port; write 80, 1024-65535 or *");
        let port = |digits| decimal(digits).and_then(|n| u16::try_from(n).ok()).ok_or_else(wrong);
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (port(low)?, port(high)?),
            None => (port(text)?, port(text)?),
        };
        if low > high {
            return Err(wrong());
        }
        Ok(Self { low, high, given: true })
    }

    pub(crate) const fn contain(self, port: u16) -> bool {
        self.low <= port && port <= self.high
    }

    pub(crate) fn exact(self) -> Option<u16> {
        (self.low == self.high).then_some(self.low)
    }

    /// How many ports.
    pub(crate) const fn width(self) -> u32 {
        self.high as u32 - self.low as u32 + 1
    }
}

/// "tcp", "udp", "icmp", "icmp6", "sctp", a number, "*" or nothing.
pub(crate) fn parse_protocol(text: &str) -> Result<Option<u8>, String> {
    Ok(Some(match text {
        "" | "*" => return Ok(None),
        "tcp" => protocol::TCP,
        "udp" => protocol::UDP,
        "icmp" => protocol::ICMP,
        "icmp6" => protocol::ICMPV6,
        "sctp" => protocol::SCTP,
        number => decimal(number).and_then(|n| u8::try_from(n).ok()).ok_or_else(|| {
            format!("{text:?} is no protocol; write tcp, udp, icmp, icmp6, sctp, 0 to 255 or *")
        })?,
    }))
}

/// Whether flows of this protocol have ports that can be compared.
pub(crate) fn has_ports(protocol: u8) -> bool {
    WITH_PORTS.contains(&protocol)
}

/// Digits only: `str::parse` takes a sign too.
fn decimal(digits: &str) -> Option<u32> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Ports of a rule whose protocol has none: 0 means that there is none to give.
pub(crate) fn check_ports(ports: Ports, protocol: Option<u8>) -> Result<Ports, String> {
    match protocol {
        Some(protocol) if ports.given && !has_ports(protocol) => match ports.exact() {
            Some(0) => Ok(Ports::ANY),
            _ => Err(format!("protocol {protocol} has no ports; leave the port empty")),
        },
        _ => Ok(ports),
    }
}

/// Names go into text cells, which are short.
pub(crate) fn check_name(text: &str) -> Result<(), String> {
    if text.len() > NAME_MAX_BYTES {
        return Err(format!("{text:?} has {} bytes; at most {NAME_MAX_BYTES} fit a cell", text.len()));
    }
    if text.bytes().any(|byte| !(b' '..=b'~').contains(&byte)) {
        return Err(format!("{text:?} is not printable ASCII"));
    }
    Ok(())
}

/// "T1110", "T1110.001" or nothing.
pub(crate) fn check_technique(text: &str) -> Result<(), String> {
    let digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    let good = text.is_empty()
        || text.strip_prefix('T').is_some_and(|rest| match rest.split_once('.') {
            Some((technique, part)) => digits(technique, 4) && digits(part, 3),
            None => digits(rest, 4),
        });
    if good {
        Ok(())
    } else {
        Err(format!("{text:?} is no ATT&CK technique; write T1110, T1110.001 or nothing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::of(text.parse().unwrap())
    }

    #[test]
    fn networks_contain_their_own_family() {
        let parse = |text| Addresses::parse(text).unwrap();
        assert!(parse("*").contain(address("10.0.0.1")) && parse("").contain(address("::1")));
        assert!(parse("10.0.0.0/8").contain(address("10.255.0.1")));
        assert!(!parse("10.0.0.0/8").contain(address("11.0.0.1")));
        assert!(parse("0.0.0.0/0").contain(address("1.2.3.4")));
        assert!(!parse("0.0.0.0/0").contain(address("2001:db8::1")));
        assert!(!parse("::/0").contain(address("1.2.3.4")));
        assert!(parse("2001:db8::/32").contain(address("2001:db8:1::1")));
        assert!(parse("10.0.0.1").contain(address("::ffff:10.0.0.1")));
        assert_eq!(parse("10.0.0.1/32").exact(), Some(address("10.0.0.1")));
        assert_eq!(parse("10.0.0.0/31").exact(), None);
        for wrong in
            ["10.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.1/8", "host", "::/129", "::1/64"]
        {
            assert!(Addresses::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_and_protocols() {
        assert_eq!(Ports::parse("80").unwrap().exact(), Some(80));
        assert_eq!(Ports::parse("80-80").unwrap().exact(), Some(80));
        assert_eq!(Ports::parse("0-65535").unwrap().width(), 65_536);
        assert_eq!(Ports::parse("*"), Ok(Ports::ANY));
        for wrong in ["-1", "65536", "9-8", "1-", "http", "+1"] {
            assert!(Ports::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_protocol("icmp6"), Ok(Some(58)));
        assert_eq!(parse_protocol("255"), Ok(Some(255)));
        assert_eq!(parse_protocol("*"), Ok(None));
        for wrong in ["256", "TCP", "-1"] {
            assert!(parse_protocol(wrong).is_err(), "{wrong}");
        }
        assert_eq!(check_ports(Ports::parse("0").unwrap(), Some(1)), Ok(Ports::ANY));
        assert!(check_ports(Ports::parse("8").unwrap(), Some(1)).is_err());
        assert!(check_ports(Ports::parse("8").unwrap(), None).is_ok());
    }

    /// The bound is that of the cell that the name goes into.
    #[test]
    fn names_fit_their_cell() {
        let long = "x".repeat(NAME_MAX_BYTES);
        let mut cell = tapline_record::ShortText::new();
        cell.push_ascii(long.as_bytes());
        assert_eq!(cell.as_str(), long);
        assert!(check_name(&long).is_ok());
        assert!(check_name(&format!("{long}x")).is_err());
        assert!(check_name("grün").is_err() && check_name("a\tb").is_err());
    }

    #[test]
    fn techniques() {
        for good in ["", "T1110", "T1110.001"] {
            assert!(check_technique(good).is_ok(), "{good}");
        }
        for wrong in ["1110", "T111", "T1110.", "T1110.01", "T1110.0011", "t1110"] {
            assert!(check_technique(wrong).is_err(), "{wrong}");
        }
    }
}
