//! CICFlowMeter's rules, version by version, with their defects: `FlowGenerator.addPacket` of each.
//!
//! There is no idle timeout and no sweep: a flow older than the timeout ends when its next packet arrives, or with the
//! input. Numbers in brackets are those of the defects that `docs/cic-defects.md` lists.

use tapline_record::{
    Activity, CicVersion, Direction, EndReason, FlowHead, PacketRecord, protocol, tcp_flag,
};

use crate::NonFlow;
use crate::lifetime::{Closing, Lifetime, Next, Step};

/// What `packet` does to the flow it found.
pub fn step(
    version: CicVersion,
    flow_timeout_us: i64,
    head: &FlowHead,
    life: &mut Lifetime,
    packet: &PacketRecord,
    direction: Direction,
) -> Step {
    let too_old = packet.ts.micros_since(head.start) > flow_timeout_us;
    match version {
        CicVersion::V2018 => step_v2018(too_old, packet),
        CicVersion::Head => step_head(too_old, life, packet, direction),
        CicVersion::Gints => step_gints(too_old, flow_timeout_us, head, life, packet, direction),
    }
}

/// The first FIN of either side ends the flow [1]; RST is ignored [2].
fn step_v2018(too_old: bool, packet: &PacketRecord) -> Step {
    if too_old {
        return timed_out(packet, Next::ContinueForward);
    }
    if has(packet, tcp_flag::FIN) {
        return Step::JoinAndEnd(Activity::Skipped, EndReason::Fin);
    }
    Step::Join(Activity::Counted)
}

/// The first backward FIN ends the flow, by a mistyped test for both; a second FIN of a side is lost [3]. RST ends it.
fn step_head(too_old: bool, life: &mut Lifetime, packet: &PacketRecord, direction: Direction) -> Step {
    if too_old {
        return timed_out(packet, Next::ContinueForward);
    }
    if has(packet, tcp_flag::FIN) {
        let side = 1 << direction.index();
        if life.fin_seen & side != 0 {
            return Step::Discard(NonFlow::SecondFin);
        }
        life.fin_seen |= side;
        return match direction {
            Direction::Backward => Step::JoinAndEnd(Activity::Skipped, EndReason::Fin),
            Direction::Forward => Step::Join(Activity::Counted),
        };
    }
    if has(packet, tcp_flag::RST) {
        return Step::JoinAndEnd(Activity::Skipped, EndReason::Rst);
    }
    Step::Join(Activity::Counted)
}

/// A closed flow stays open for stragglers until a SYN, the timeout or the end of the input.
fn step_gints(
    too_old: bool,
    flow_timeout_us: i64,
    head: &FlowHead,
    life: &mut Lifetime,
    packet: &PacketRecord,
    direction: Direction,
) -> Step {
    let closed = life.closing == Closing::Fin;
    let reopened = closed && has(packet, tcp_flag::SYN);
    if too_old || reopened {
        let is_tcp = packet.protocol == protocol::TCP;
        let is_udp = packet.protocol == protocol::UDP;
        let quiet_udp = is_udp && packet.ts.micros_since(head.last) > flow_timeout_us;
        let fresh = reopened || quiet_udp || !(is_tcp || is_udp);
        return timed_out(packet, if fresh { Next::FreshSameId } else { Next::Continue });
    }
    if has(packet, tcp_flag::FIN) {
        note_fin(life, direction);
        if life.closing == Closing::No {
            life.closing = Closing::FirstFin;
        } else if life.closing == Closing::FirstFin && life.fin_seen == 0b11 {
            life.closing = Closing::BothFins;
        }
    } else if has(packet, tcp_flag::RST) || (has(packet, tcp_flag::ACK) && life.closing == Closing::BothFins)
    {
        // "Ready" either way; the tool does not tell them apart.
        life.closing = Closing::Fin;
    } else if packet.protocol == protocol::ICMP
        && !has(packet, tcp_flag::ACK)
        && life.isn[0] != u32::from(packet.icmp_type)
        && life.isn[1] != u32::from(packet.icmp_code)
    {
        return Step::EndAndOpen {
            reason: EndReason::Replaced,
            decided_us: packet.ts.micros,
            next: Next::FreshSameId,
        };
    }
    Step::Join(Activity::Counted)
}

/// Takes in the first packet of a flow; only gints counts its FIN.
pub fn note_first(version: CicVersion, life: &mut Lifetime, packet: &PacketRecord, direction: Direction) {
    if packet.protocol == protocol::ICMP {
        life.isn = [u32::from(packet.icmp_type), u32::from(packet.icmp_code)];
    }
    if version == CicVersion::Gints && has(packet, tcp_flag::FIN) {
        note_fin(life, direction);
    }
}

fn note_fin(life: &mut Lifetime, direction: Direction) {
    life.fin_seen |= 1 << direction.index();
}

const fn timed_out(packet: &PacketRecord, next: Next) -> Step {
    Step::EndAndOpen { reason: EndReason::Active, decided_us: packet.ts.micros, next }
}

const fn has(packet: &PacketRecord, flag: u8) -> bool {
    packet.tcp_flags & flag != 0
}
