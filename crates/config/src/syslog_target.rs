//! The address of a syslog server.

use std::fmt;
use std::path::PathBuf;

/// A syslog server: `unix:/dev/log`, `udp://host:514`, `tcp://host:601`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SyslogTarget {
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
    /// `host:port`, an IPv6 address in brackets.
    Udp(String),
    /// `host:port`, an IPv6 address in brackets.
    Tcp(String),
}

impl SyslogTarget {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(path.into()));
        }
        let (scheme, server) = text.split_once("://")?;
        if !is_host_and_port(server) {
            return None;
        }
        match scheme {
            "udp" => Some(Self::Udp(server.to_owned())),
            "tcp" => Some(Self::Tcp(server.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Udp(server) => write!(f, "udp://{server}"),
            Self::Tcp(server) => write!(f, "tcp://{server}"),
        }
    }
}

/// Whether `text` is a name or address, a colon and a port that is not 0. Names are not looked up.
pub(crate) fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    is_port && is_host(host)
}

/// Whether `text` can be a host's name, an IPv4 address, or an IPv6 address in brackets.
pub(crate) fn is_host(text: &str) -> bool {
    if let Some(address) = text.strip_prefix('[') {
        return address
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let is_of_names = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_of_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_and_written_alike() {
        for text in
            ["unix:/dev/log", "udp://10.0.0.1:514", "tcp://[2001:db8::1]:601", "tcp://log-1.example.org:6514"]
        {
            assert_eq!(SyslogTarget::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(SyslogTarget::parse("udp://a:514"), Some(SyslogTarget::Udp("a:514".to_owned())));
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for text in [
            "",
            "/dev/log",
            "unix:",
            "unix:log",
            "udp://",
            "udp://host",
            "udp://host:",
            "udp://host:0",
            "udp://host:+5",
            "udp://host:65536",
            "udp://:514",
            "udp://ho st:514",
            "tcp://2001:db8::1:601",
            "tcp://[::1:601",
            "tcp://host:601/",
            "tls://host:6514",
            "http://host:80",
        ] {
            assert_eq!(SyslogTarget::parse(text), None, "{text:?}");
        }
    }
}
