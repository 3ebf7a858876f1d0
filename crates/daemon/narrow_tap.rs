//! A tap that gets one direction of each conversation, made from one that gets both.
//!
//! In: packets. Out: whether such a tap would see them. Routes are often not the same there and back, and a span port may
//! copy what is received alone: who learns from whole conversations only takes half a one for an attack.

use std::cmp::Reverse;

use tapline_record::PacketRecord;

/// Which direction is seen: all that a client says, or all that it is told. Chance decides client by client, since one
/// host's routes are alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneWay {
    /// Another number, other clients.
    pub(crate) salt: u32,
}

impl OneWay {
    /// Whether the packet is seen.
    pub(crate) fn sees(self, packet: &PacketRecord) -> bool {
        self.hears((packet.src_port, packet.src), (packet.dst_port, packet.dst))
    }

    /// Whether it is seen what one end, a port and an address, says to another. The client is the end with the higher port, or
    /// else with the lower address: nothing is remembered.
    fn hears(self, from: (u16, [u8; 16]), to: (u16, [u8; 16])) -> bool {
        let from_client = (from.0, Reverse(from.1)) > (to.0, Reverse(to.1));
        let client = if from_client { from.1 } else { to.1 };
        from_client == self.hears_client(u128::from_be_bytes(client))
    }

    fn hears_client(self, address: u128) -> bool {
        let folded = (address >> 64) as u64 ^ address as u64 ^ u64::from(self.salt) << 32;
        // Two rounds of a multiplicative hash: its highest bit depends on all bits.
        folded.wrapping_mul(FACTOR).rotate_left(32).wrapping_mul(FACTOR) >> 63 == 0
    }
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
        let tap = OneWay { salt: 7 };
        let mut heard = 0;
        for host in 0..200 {
            let seen = [443, 53, 22].map(|port| {
                let (client, server) =
                    (end(50_000 + u16::from(host), [10, 0, 0, host]), end(port, [192, 0, 2, 1]));
                let (out, back) = (tap.hears(client, server), tap.hears(server, client));
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
        let tap = OneWay { salt: 0 };
        assert_ne!(tap.hears(one, other), tap.hears(other, one));
    }
}
