//! What TCP sequence numbers tell: retransmissions, and the round trips of the handshake.

use tapline_record::{Direction, PacketRecord, tcp_flag};

/// One direction's sequence numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpStream {
    /// Segments that brought nothing new: every byte of theirs ends at or before the highest seen.
    pub retransmitted: u32,
    next_seq: u32,
}

impl TcpStream {
    /// Nothing seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { retransmitted: 0, next_seq: 0 }
    }

    /// The stream as the next flow of the tuple goes on with it: its position, but none of its counts.
    #[must_use]
    pub const fn continued(&self) -> Self {
        Self { retransmitted: 0, next_seq: self.next_seq }
    }

    /// Takes in a segment; `first` if none that carried anything came before. Returns whether this one does. Keep-alive
    /// probes (one byte, just before the next expected) do not count as retransmitted.
    #[inline]
    pub fn add(&mut self, packet: &PacketRecord, first: bool) -> bool {
        let syn_fin = u32::from(packet.tcp_flags & tcp_flag::SYN != 0)
            + u32::from(packet.tcp_flags & tcp_flag::FIN != 0);
        let length = packet.payload_bytes.wrapping_add(syn_fin);
        if length == 0 || packet.tcp_flags & tcp_flag::RST != 0 {
            return false;
        }
        let end = packet.seq.wrapping_add(length);
        if first || is_after(end, self.next_seq) {
            self.next_seq = end;
            return true;
        }
        let keep_alive = syn_fin == 0 && length == 1 && end == self.next_seq;
        if !keep_alive {
            self.retransmitted = self.retransmitted.saturating_add(1);
        }
        true
    }
}

/// The three packets of a TCP handshake, as offsets from the start of the flow.
#[derive(Clone, Copy, Debug)]
pub struct Handshake {
    syn_us: u32,
    syn_ack_us: u32,
    ack_us: u32,
}

impl Handshake {
    const NOT_SEEN: u32 = u32::MAX;

    /// Nothing seen.
    #[must_use]
    pub const fn new() -> Self {
        Self { syn_us: Self::NOT_SEEN, syn_ack_us: Self::NOT_SEEN, ack_us: Self::NOT_SEEN }
    }

    /// Takes in a TCP packet.
    #[inline]
    pub fn add(&mut self, at_us: u32, flags: u8, direction: Direction) {
        if self.ack_us != Self::NOT_SEEN {
            return;
        }
        let syn = flags & tcp_flag::SYN != 0;
        let ack = flags & tcp_flag::ACK != 0;
        match direction {
            // A repeated SYN: the answer may be to either; the latest one gives the shortest honest round trip.
            Direction::Forward if syn && !ack && self.syn_ack_us == Self::NOT_SEEN => self.syn_us = at_us,
            Direction::Backward if syn && ack && self.syn_ack_us == Self::NOT_SEEN => self.syn_ack_us = at_us,
            Direction::Forward if ack && !syn && self.syn_ack_us != Self::NOT_SEEN => self.ack_us = at_us,
            _ => {}
        }
    }

    /// From the SYN to the SYN-ACK: the round trip between the tap and the responder.
    #[must_use]
    pub fn responder_rtt_us(&self) -> Option<u32> {
        between(self.syn_us, self.syn_ack_us)
    }

    /// From the SYN-ACK to the ACK: the round trip between the tap and the initiator.
    #[must_use]
    pub fn initiator_rtt_us(&self) -> Option<u32> {
        between(self.syn_ack_us, self.ack_us)
    }
}

impl Default for Handshake {
    fn default() -> Self {
        Self::new()
    }
}

fn between(from_us: u32, to_us: u32) -> Option<u32> {
    let seen = from_us != Handshake::NOT_SEEN && to_us != Handshake::NOT_SEEN;
    seen.then(|| to_us.saturating_sub(from_us))
}

/// Serial number comparison (RFC 1982): whether `a` lies in the half of the circle after `b`.
#[inline]
const fn is_after(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handshake_round_trips() {
        let mut handshake = Handshake::new();
        handshake.add(0, tcp_flag::SYN, Direction::Forward);
        handshake.add(1_000, tcp_flag::SYN, Direction::Forward);
        handshake.add(1_300, tcp_flag::SYN | tcp_flag::ACK, Direction::Backward);
        handshake.add(1_350, tcp_flag::ACK, Direction::Forward);
        handshake.add(9_999, tcp_flag::ACK, Direction::Forward);
        assert_eq!(handshake.responder_rtt_us(), Some(300));
        assert_eq!(handshake.initiator_rtt_us(), Some(50));
        assert_eq!(Handshake::new().responder_rtt_us(), None);
    }

    #[test]
    fn serial_numbers_wrap() {
        assert!(is_after(5, u32::MAX - 5));
        assert!(!is_after(u32::MAX - 5, 5));
        assert!(!is_after(7, 7));
    }
}
