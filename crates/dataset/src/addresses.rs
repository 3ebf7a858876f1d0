//! What an address says about where it is.

use std::net::IpAddr;

/// Whether an address is one of the public Internet: neither private, local, shared, multicast nor reserved.
#[must_use]
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            let benchmark = a == 198 && b & 0xfe == 18;
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_documentation()
                || shared
                || benchmark
                || a == 0
                || a >= 224)
        }
        IpAddr::V6(v6) => v6.segments()[0] & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses() {
        for (text, expect) in [
            ("8.8.8.8", true),
            ("172.15.0.1", true),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("100.64.0.1", false),
            ("169.254.0.1", false),
            ("224.0.0.251", false),
            ("255.255.255.255", false),
            ("0.0.0.0", false),
            ("2001:4860::1", true),
            ("fe80::1", false),
            ("ff02::fb", false),
            ("fd00::1", false),
        ] {
            assert_eq!(is_public(text.parse().unwrap()), expect, "{text}");
        }
    }
}
