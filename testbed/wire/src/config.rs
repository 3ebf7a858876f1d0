//! What a wire is told: ports, prefixes, delays.
//!
//! Owns the shape of the JSON file and every check on it. In goes the text of a config file; out comes a [`Config`] of
//! which the rest of the crate believes everything. It never opens a device and never guesses: a value that makes no
//! sense is refused with the name of the port and of the key.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;

/// A whole config file, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the span file is written; an existing file is replaced.
    pub span: PathBuf,
    /// Octets kept of each recorded frame; 0 keeps the whole frame.
    #[serde(default)]
    pub snaplen: u32,
    /// Seed of all random delays and losses.
    #[serde(default)]
    pub seed: u64,
    /// The layer-2 address behind which routing happens.
    pub gateway_mac: Mac,
    /// The addresses that belong to this site, whether a port owns them or not.
    #[serde(default)]
    pub lan: Vec<Prefix>,
    /// The devices to create, at most [`MAX_PORTS`].
    pub ports: Vec<Port>,
}

impl Config {
    /// Reads and checks a config file.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not the JSON that is expected, or asks for something that makes no sense.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text =
            fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text).map_err(|source| ConfigError::Invalid { path: path.to_owned(), source })
    }

    /// Checks the text of a config file.
    ///
    /// # Errors
    ///
    /// The text is not the JSON that is expected, or asks for something that makes no sense.
    pub fn parse(text: &str) -> Result<Self, InvalidConfig> {
        let config: Self = serde_json::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), InvalidConfig> {
        if self.ports.is_empty() || self.ports.len() > MAX_PORTS {
            return Err(InvalidConfig::PortCount { count: self.ports.len() });
        }
        if self.snaplen != 0 && !(MIN_SNAPLEN..=MAX_SNAPLEN).contains(&self.snaplen) {
            return Err(InvalidConfig::Snaplen { snaplen: self.snaplen });
        }
        if self.gateway_mac.is_multicast() {
            return Err(InvalidConfig::MulticastGateway { mac: self.gateway_mac });
        }
        let mut taps = HashMap::new();
        let mut macs = HashMap::from([(self.gateway_mac, "the gateway")]);
        let mut prefixes: HashMap<Prefix, &str> = HashMap::new();
        for port in &self.ports {
            let refuse = |problem| Err(InvalidConfig::Port { tap: port.tap.clone(), problem });
            if let Err(problem) = port.check() {
                return refuse(problem);
            }
            if taps.insert(port.tap.as_str(), ()).is_some() {
                return refuse(Problem::TapTwice);
            }
            if let Some(owner) = macs.insert(port.mac, &port.tap) {
                return refuse(Problem::MacTwice { mac: port.mac, owner: owner.to_owned() });
            }
            for &prefix in &port.prefixes {
                if let Some(owner) = prefixes.insert(prefix, &port.tap) {
                    return refuse(Problem::PrefixTwice { prefix, owner: owner.to_owned() });
                }
            }
        }
        Ok(())
    }
}

/// One TAP device, and how far away the host behind it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Name of the device, 1 to 15 octets.
    pub tap: String,
    /// The address the host uses on it; routed frames are sent there.
    pub mac: Mac,
    /// On which side of the gateway the host is.
    pub zone: Zone,
    /// Destinations that are routed to this port.
    #[serde(default)]
    pub prefixes: Vec<Prefix>,
    /// Routers between the gateway and the host; counts for [`Zone::Wan`] only.
    #[serde(default)]
    pub hops: u8,
    /// The 802.1Q id its frames carry in the recording, and there alone; 0 for none.
    #[serde(default)]
    pub vlan: u16,
    /// From the host to the switch.
    #[serde(default)]
    pub up: Link,
    /// From the switch to the host.
    #[serde(default)]
    pub down: Link,
}

impl Port {
    fn check(&self) -> Result<(), Problem> {
        // The kernel takes `%d` in a name for a template, and ':' for an alias.
        let odd = |byte: u8| !byte.is_ascii_graphic() || matches!(byte, b'/' | b'%' | b':');
        if self.tap.is_empty()
            || self.tap.len() > 15
            || self.tap.bytes().any(odd)
            || self.tap == "."
            || self.tap == ".."
        {
            return Err(Problem::TapName);
        }
        if self.mac.is_multicast() {
            return Err(Problem::MulticastMac { mac: self.mac });
        }
        if self.vlan > 4094 {
            return Err(Problem::Vlan { vlan: self.vlan });
        }
        self.up.check("up")?;
        self.down.check("down")
    }
}

/// One direction between a host and the switch. The default is a perfect cable.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Link {
    /// Delay of every frame.
    pub delay_us: u64,
    /// Upper bound of the random delay on top, which is right-skewed: a quarter of the bound in the mean.
    pub jitter_us: u64,
    /// Probability that a frame is lost.
    pub loss: f64,
    /// Probability that a frame is held back so that later ones can pass it.
    pub reorder: f64,
    /// Rate of the link; 0 is without limit.
    pub rate_kbps: u64,
    /// How long a frame may wait for the link before it is dropped instead.
    pub queue_ms: u64,
}

impl Link {
    fn check(&self, direction: &'static str) -> Result<(), Problem> {
        for (key, value) in [("loss", self.loss), ("reorder", self.reorder)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(Problem::Probability { direction, key, value });
            }
        }
        let limits = [
            ("delay_us", self.delay_us, MAX_DELAY_US),
            ("jitter_us", self.jitter_us, MAX_DELAY_US),
            ("queue_ms", self.queue_ms, MAX_DELAY_US / 1000),
            ("rate_kbps", self.rate_kbps, MAX_RATE_KBPS),
        ];
        for (key, value, limit) in limits {
            if value > limit {
                return Err(Problem::TooLarge { direction, key, value, limit });
            }
        }
        Ok(())
    }
}

/// A side of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Zone {
    /// The site whose traffic is recorded.
    Lan,
    /// Everything else; reached through the gateway only.
    Wan,
}

/// A layer-2 address, written `02:00:00:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Whether it names a group of stations, broadcast included.
    #[must_use]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl FromStr for Mac {
    type Err = InvalidMac;

    fn from_str(text: &str) -> Result<Self, InvalidMac> {
        let invalid = || InvalidMac { text: text.to_owned() };
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(invalid)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid())?;
        }
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(Self(octets))
    }
}

impl TryFrom<String> for Mac {
    type Error = InvalidMac;

    fn try_from(text: String) -> Result<Self, InvalidMac> {
        text.parse()
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A range of addresses, written `10.7.0.0/16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Prefix {
    /// The first address of the range.
    pub address: IpAddr,
    /// How many of its leading bits are fixed.
    pub bits: u8,
}

impl FromStr for Prefix {
    type Err = InvalidPrefix;

    fn from_str(text: &str) -> Result<Self, InvalidPrefix> {
        let invalid = || InvalidPrefix::Shape { text: text.to_owned() };
        let (address, bits) = text.split_once('/').ok_or_else(invalid)?;
        let address: IpAddr = address.parse().map_err(|_| invalid())?;
        let bits: u8 = bits.parse().map_err(|_| invalid())?;
        let (width, value) = match address {
            IpAddr::V4(v4) => (32, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (128, v6.to_bits()),
        };
        if bits > width {
            return Err(invalid());
        }
        let host_bits = u32::from(width - bits);
        let host_mask = 1_u128.checked_shl(host_bits).map_or(u128::MAX, |bit| bit - 1);
        if value & host_mask != 0 {
            return Err(InvalidPrefix::HostBits { text: text.to_owned() });
        }
        Ok(Self { address, bits })
    }
}

impl TryFrom<String> for Prefix {
    type Error = InvalidPrefix;

    fn try_from(text: String) -> Result<Self, InvalidPrefix> {
        text.parse()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read config `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read, and refused.
    #[error("config `{}` is refused", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidConfig,
    },
}

/// What is wrong with a config.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// Not JSON, a key is missing, unknown, or of the wrong type.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No port, or too many.
    #[error("`ports` has {count} entries: give 1 to {MAX_PORTS}")]
    PortCount {
        /// How many there are.
        count: usize,
    },
    /// A snap length that would cut the layer-2 header, or is longer than any frame.
    #[error("`snaplen` is {snaplen}: give 0 for whole frames, or {MIN_SNAPLEN} to {MAX_SNAPLEN}")]
    Snaplen {
        /// The value given.
        snaplen: u32,
    },
    /// The gateway has a group address.
    #[error("`gateway_mac` {mac} is a group address: the lowest bit of its first octet must be 0")]
    MulticastGateway {
        /// The value given.
        mac: Mac,
    },
    /// One port is wrong.
    #[error("port `{tap}`: {problem}")]
    Port {
        /// Its device.
        tap: String,
        /// What is wrong with it.
        problem: Problem,
    },
}

/// What is wrong with a port.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The kernel would not take the name as it is.
    #[error("not a device name: give 1 to 15 printable characters without `/`, `%` and `:`")]
    TapName,
    /// Two ports share a device.
    #[error("an earlier port has the same `tap`")]
    TapTwice,
    /// Two stations share an address.
    #[error("`mac` {mac} belongs to {owner} already")]
    MacTwice {
        /// The address.
        mac: Mac,
        /// Who has it.
        owner: String,
    },
    /// A host with a group address.
    #[error("`mac` {mac} is a group address: the lowest bit of its first octet must be 0")]
    MulticastMac {
        /// The address.
        mac: Mac,
    },
    /// Two ports own the same addresses.
    #[error("prefix {prefix} belongs to {owner} already")]
    PrefixTwice {
        /// The range.
        prefix: Prefix,
        /// Who has it.
        owner: String,
    },
    /// No VLAN has this number.
    #[error("`vlan` is {vlan}: give 0 for none, or 1 to 4094")]
    Vlan {
        /// The value given.
        vlan: u16,
    },
    /// Not a probability.
    #[error("`{direction}.{key}` is {value}: give a probability from 0 to 1")]
    Probability {
        /// `up` or `down`.
        direction: &'static str,
        /// The key.
        key: &'static str,
        /// The value given.
        value: f64,
    },
    /// Larger than the arithmetic is made for.
    #[error("`{direction}.{key}` is {value}: give at most {limit}")]
    TooLarge {
        /// `up` or `down`.
        direction: &'static str,
        /// The key.
        key: &'static str,
        /// The value given.
        value: u64,
        /// The largest value allowed.
        limit: u64,
    },
}

/// Not a layer-2 address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no MAC address: write it like 02:00:00:00:00:01")]
pub struct InvalidMac {
    text: String,
}

/// Not a range of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPrefix {
    /// Not `address/bits`.
    #[error("`{text}` is no prefix: write it like 10.7.0.0/16 or 2001:db8::/32")]
    Shape {
        /// The text given.
        text: String,
    },
    /// The address is not the first one of the range.
    #[error("`{text}` has bits set behind its length: give the first address of the range")]
    HostBits {
        /// The text given.
        text: String,
    },
}

/// More ports than this are refused.
pub const MAX_PORTS: usize = 128;

/// A minute: longer delays are a typing error.
const MAX_DELAY_US: u64 = 60_000_000;

/// 10 Tbit/s.
const MAX_RATE_KBPS: u64 = 10_000_000_000;

/// The Ethernet header.
const MIN_SNAPLEN: u32 = 14;

/// What readers of pcap files allow.
pub(crate) const MAX_SNAPLEN: u32 = 262_144;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"span":"out.pcap","snaplen":96,"seed":7,"gateway_mac":"02:00:00:00:00:01",
        "lan":["10.7.0.0/16","2001:db8:7::/48"],"ports":[
        {"tap":"a01","mac":"02:00:00:00:01:01","zone":"lan","prefixes":["10.7.1.5/32"],"hops":0,"vlan":12,
         "up":{"delay_us":200,"jitter_us":50,"loss":0.0,"reorder":0.0,"rate_kbps":100000,"queue_ms":200},
         "down":{"delay_us":200,"jitter_us":50,"loss":0.01,"reorder":0.0,"rate_kbps":100000,"queue_ms":200}},
        {"tap":"w01","mac":"02:00:00:00:02:01","zone":"wan","prefixes":["0.0.0.0/0","::/0"],"hops":7}]}"#;

    #[test]
    fn a_good_config_is_taken() {
        let config = Config::parse(GOOD).unwrap();
        assert_eq!(config.ports.len(), 2);
        assert_eq!(config.ports[0].vlan, 12);
        assert_eq!(config.ports[1].zone, Zone::Wan);
        assert_eq!(config.ports[1].up.delay_us, 0);
        assert_eq!(config.lan[1].to_string(), "2001:db8:7::/48");
        assert_eq!(config.gateway_mac.to_string(), "02:00:00:00:00:01");
    }

    #[test]
    fn refusals_name_the_place_and_the_cure() {
        for (from, to, message) in [
            ("\"seed\":7", "\"sead\":7", "unknown field `sead`"),
            ("\"hops\":7", "\"hopps\":7", "unknown field `hopps`"),
            ("\"delay_us\":200", "\"delay\":200", "unknown field `delay`"),
            ("\"snaplen\":96", "\"snaplen\":5", "give 0 for whole frames, or 14 to"),
            ("\"lan\",\"prefixes\"", "\"dmz\",\"prefixes\"", "unknown variant `dmz`"),
            ("10.7.0.0/16", "10.7.0.0/33", "is no prefix"),
            ("10.7.0.0/16", "10.7.0.1/16", "has bits set behind its length"),
            ("02:00:00:00:01:01", "02:00:00:00:01", "is no MAC address"),
            (
                "02:00:00:00:01:01",
                "03:00:00:00:01:01",
                "port `a01`: `mac` 03:00:00:00:01:01 is a group address",
            ),
            ("02:00:00:00:02:01", "02:00:00:00:01:01", "port `w01`: `mac` 02:00:00:00:01:01 belongs to a01"),
            ("02:00:00:00:02:01", "02:00:00:00:00:01", "belongs to the gateway already"),
            ("02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff", "`gateway_mac` ff:ff:ff:ff:ff:ff is a group address"),
            ("w01", "a01", "port `a01`: an earlier port has the same `tap`"),
            ("\"w01\"", "\"w%d\"", "port `w%d`: not a device name"),
            ("\"w01\"", "\"w012345678901234\"", "not a device name"),
            ("0.0.0.0/0", "10.7.1.5/32", "port `w01`: prefix 10.7.1.5/32 belongs to a01 already"),
            ("\"vlan\":12", "\"vlan\":4095", "port `a01`: `vlan` is 4095"),
            (
                "\"loss\":0.01",
                "\"loss\":1.5",
                "port `a01`: `down.loss` is 1.5: give a probability from 0 to 1",
            ),
            ("\"queue_ms\":200", "\"queue_ms\":90000", "`up.queue_ms` is 90000: give at most 60000"),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let error = Config::parse(&GOOD.replace(from, to)).expect_err(to).to_string();
            assert!(error.contains(message), "{to}: {error}");
        }
    }

    #[test]
    fn no_port_or_too_many_are_refused() {
        let port = |i: usize| format!(r#"{{"tap":"p{i}","mac":"02:00:00:00:01:{i:02x}","zone":"lan"}}"#);
        for (count, good) in [(0, false), (1, true), (128, true), (129, false)] {
            let ports: Vec<String> = (0..count).map(port).collect();
            let text =
                format!(r#"{{"span":"x","gateway_mac":"02:00:00:00:00:01","ports":[{}]}}"#, ports.join(","));
            assert_eq!(Config::parse(&text).is_ok(), good, "{count}");
        }
    }

    #[test]
    fn a_whole_address_space_is_a_prefix() {
        assert_eq!("::/0".parse::<Prefix>().unwrap().bits, 0);
        assert_eq!("::1/128".parse::<Prefix>().unwrap().bits, 128);
        assert!("1.0.0.0/0".parse::<Prefix>().is_err());
    }
}
