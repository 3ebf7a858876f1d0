//! Taps that get less than a whole network's traffic, made from one that gets it.
//!
//! In: packets. Out: whether such a tap would see them. Routes are often not the same there and back, and a span port may
//! copy what is received alone; and a tap may stand on one segment. Who learns from whole networks only takes half a conversation
//! for an attack, and a host whose neighbours are not seen for a strange one. Nothing is remembered: hashes of addresses decide.

use std::cmp::Reverse;

use tapline_record::PacketRecord;

/// Such a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NarrowTap {
    /// It gets one direction of each conversation: all that a client says, or all that it is told. Chance decides client by client,
    /// since one host's routes are alike.
    OneWay {
        /// Another number, other clients.
        salt: u32,
    },
    /// It gets what goes to or comes from one host in [`HOSTS`].
    Segment {
        /// Another number, other hosts.
        salt: u32,
    },
}

/// Hosts of a network for each on the segment.
const HOSTS: u64 = 6;

impl NarrowTap {
    /// Whether the packet is seen.
    pub(crate) fn sees(self, packet: &PacketRecord) -> bool {
        match self {
            Self::OneWay { salt } => {
                hears(salt, (packet.src_port, packet.src), (packet.dst_port, packet.dst))
            }
            Self::Segment { salt } => is_on_segment(salt, packet.src) || is_on_segment(salt, packet.dst),
        }
    }
}

/// Whether it is seen what one end, a port and an address, says to another. The client is the end with the higher port, or
/// else with the lower address.
fn hears(salt: u32, from: (u16, [u8; 16]), to: (u16, [u8; 16])) -> bool {
    let from_client = (from.0, Reverse(from.1)) > (to.0, Reverse(to.1));
    let client = if from_client { from.1 } else { to.1 };
    from_client == (hash(salt, client) >> 63 == 0)
}

fn is_on_segment(salt: u32, address: [u8; 16]) -> bool {
    ((hash(salt, address) >> 32) * HOSTS) >> 32 == 0
}

/// Two rounds of a multiplicative hash: its highest bits depend on all bits.
fn hash(salt: u32, address: [u8; 16]) -> u64 {
    let address = u128::from_be_bytes(address);
    let folded = (address >> 64) as u64 ^ address as u64 ^ u64::from(salt) << 32;
    folded.wrapping_mul(FACTOR).rotate_left(32).wrapping_mul(FACTOR)
}

/// 2⁶⁴ divided by the golden ratio (Knuth).
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn end(port: u16, host: [u8; 4]) -> (u16, [u8; 16]) {
        (port, Ipv4Addr::from(host).to_ipv6_mapped().octets())
    }

    #[test]
    fn a_conversation_is_seen_from_one_side_and_a_client_always_from_the_same() {
        let mut heard = 0;
        for host in 0..200 {
            let seen = [443, 53, 22].map(|port| {
                let (client, server) =
                    (end(50_000 + u16::from(host), [10, 0, 0, host]), end(port, [192, 0, 2, 1]));
                let (out, back) = (hears(7, client, server), hears(7, server, client));
                assert_ne!(out, back, "{host}");
                out
            });
            assert!(seen.iter().all(|one| *one == seen[0]), "{host}");
            heard += u32::from(seen[0]);
        }
        assert!((70..130).contains(&heard), "{heard} of 200 clients are heard");
    }

    #[test]
    fn packets_without_ports_have_a_side_too() {
        let (one, other) = (end(0, [10, 0, 0, 1]), end(0, [10, 0, 0, 2]));
        assert_ne!(hears(0, one, other), hears(0, other, one));
    }

    #[test]
    fn a_segment_has_one_host_in_six_and_another_number_others() {
        let hosts = || (0..3_000_u16).map(|host| end(0, [10, 0, (host >> 8) as u8, host as u8]).1);
        let on = |salt| hosts().filter(|host| is_on_segment(salt, *host)).count();
        assert!((420..580).contains(&on(1)), "{}", on(1));
        let both = hosts().filter(|host| is_on_segment(1, *host) && is_on_segment(2, *host)).count();
        assert!((50..200).contains(&both), "{both}");
    }
}
