//! Tapline's rules: when a flow ends.
//!
//! * No packet for the idle timeout: `idle`. Decided at the last packet plus the timeout, whenever it is noticed.
//! * Older than the active timeout: `active`, cut at the next packet; the direction is kept (CICFlowMeter forced the
//!   packet forward).
//! * FIN seen both ways, or RST: the flow is closed and lingers, so that last ACKs, retransmissions and RST storms join
//!   it (CICFlowMeter made "TCP appendix" flows of them), then ends as `fin` or `rst`.
//! * A SYN with another initial sequence number: a new connection on the same tuple.
//!
//! A packet that arrives out of order never makes time run backwards: gaps are clamped at zero.

use tapline_record::{Activity, Direction, EndReason, FlowHead, PacketRecord, Timestamp, protocol, tcp_flag};

use crate::lifetime::{Closing, Lifetime, Next, Step, Timeouts};

/// What `packet` does to the flow it found.
#[inline]
pub fn step(
    timeouts: &Timeouts,
    head: &FlowHead,
    life: &mut Lifetime,
    packet: &PacketRecord,
    direction: Direction,
) -> Step {
    let deadline_us = deadline_us(timeouts, head, life);
    if packet.ts.micros > deadline_us {
        return Step::EndAndOpen { reason: quiet_reason(life), decided_us: deadline_us, next: Next::Fresh };
    }
    if packet.ts.micros_since(head.start) > timeouts.active_us || head.packets == u32::MAX {
        return Step::EndAndOpen {
            reason: EndReason::Active,
            decided_us: packet.ts.micros,
            next: Next::Continue,
        };
    }
    if packet.protocol == protocol::TCP && packet.tcp_flags & FLAGS_THAT_MATTER != 0 {
        if reopens(life, packet, direction) {
            let reason = if life.closing == Closing::No { EndReason::Replaced } else { quiet_reason(life) };
            return Step::EndAndOpen { reason, decided_us: packet.ts.micros, next: Next::Fresh };
        }
        note_flags(life, packet, direction);
    }
    Step::Join(Activity::Counted)
}

/// Whether the flow gets an early record before the packet that joins it at `ts`: it has reached the next of its ages. Of
/// several ages reached at once there is one record: nothing lies between them.
#[must_use]
#[inline]
pub fn becomes_partial(timeouts: &Timeouts, head: &FlowHead, life: &mut Lifetime, ts: Timestamp) -> bool {
    let age_us = ts.micros_since(head.start);
    let next = |life: &Lifetime| timeouts.partial_us.get(usize::from(life.partials)).copied();
    let due = next(life).is_some_and(|due_us| age_us >= due_us);
    if due {
        while next(life).is_some_and(|due_us| age_us >= due_us) {
            life.partials += 1;
        }
    }
    due
}

/// Takes in the flags of a packet that is booked in the flow; call for the first packet too.
#[inline]
pub fn note_flags(life: &mut Lifetime, packet: &PacketRecord, direction: Direction) {
    let side = 1 << direction.index();
    if packet.tcp_flags & tcp_flag::SYN != 0 && life.syn_seen & side == 0 {
        life.syn_seen |= side;
        life.isn[direction.index()] = packet.seq;
        // A SYN-ACK names the sequence number that its SYN had, should that SYN come late.
        let other = direction.reversed();
        if packet.tcp_flags & tcp_flag::ACK != 0 && life.syn_seen & (1 << other.index()) == 0 {
            life.syn_seen |= 1 << other.index();
            life.isn[other.index()] = packet.ack.wrapping_sub(1);
        }
    }
    if life.closing == Closing::No {
        if packet.tcp_flags & tcp_flag::RST != 0 {
            life.closing = Closing::Rst;
        } else if packet.tcp_flags & tcp_flag::FIN != 0 {
            life.fin_seen |= side;
            if life.fin_seen == 0b11 {
                life.closing = Closing::Fin;
            }
        }
    }
}

/// When the flow ends if no further packet comes, microseconds since the epoch.
#[must_use]
#[inline]
pub fn deadline_us(timeouts: &Timeouts, head: &FlowHead, life: &Lifetime) -> i64 {
    let quiet_us = if life.closing == Closing::No { timeouts.idle_us } else { timeouts.tcp_linger_us };
    head.last.micros.saturating_add(quiet_us)
}

/// Why the flow ends if no further packet comes.
#[must_use]
#[inline]
pub const fn quiet_reason(life: &Lifetime) -> EndReason {
    match life.closing {
        Closing::Rst => EndReason::Rst,
        Closing::Fin => EndReason::Fin,
        Closing::No | Closing::FirstFin | Closing::BothFins => EndReason::Idle,
    }
}

/// Whether a SYN belongs to a new connection: its sequence number is not the one its side opened with. A SYN-ACK only
/// on a closed flow: before that it may answer a SYN of a simultaneous open.
fn reopens(life: &Lifetime, packet: &PacketRecord, direction: Direction) -> bool {
    if packet.tcp_flags & tcp_flag::SYN == 0 || packet.tcp_flags & tcp_flag::RST != 0 {
        return false;
    }
    let known = life.syn_seen & (1 << direction.index()) != 0;
    let same = known && life.isn[direction.index()] == packet.seq;
    if packet.tcp_flags & tcp_flag::ACK != 0 {
        return life.closing != Closing::No && !same && known;
    }
    // A first SYN of the responder while the initiator's is unanswered is a simultaneous open (RFC 9293, 3.5).
    let simultaneous = !known && direction == Direction::Backward && life.closing == Closing::No;
    !same && !simultaneous
}

const FLAGS_THAT_MATTER: u8 = tcp_flag::SYN | tcp_flag::FIN | tcp_flag::RST;
