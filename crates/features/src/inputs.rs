//! The table of inputs: what a model may read of a flow and its context, one number each.
//!
//! In: an ended flow and its [`Context`]. Out: a row of `f32`, finite, mostly on logarithmic scales; scaling is the model's
//! business. Left out on purpose, because they carry the network rather than the behaviour: addresses, exact ports, TTL,
//! TCP windows, header sizes, handshake times. A model names the inputs that it reads; [`schema_hash`] is the contract.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use tapline_record::{Direction, FlowRecord, protocol, tcp_flag};

use crate::context::Context;
use crate::lookahead::PAUSE_US;
use crate::moments::Moments;
use crate::tapline_state::{Side, TaplineState};

/// Name of this table.
pub const SCHEMA: &str = "inputs-1";

/// One input.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    /// Name, unique.
    pub name: &'static str,
    /// Unit of the value, with its scale; empty for shares, flags and distances.
    pub unit: &'static str,
    /// What it is.
    pub definition: &'static str,
    value: fn(&View<'_>) -> f32,
}

/// Fills `row` with the inputs of a flow.
///
/// # Panics
///
/// If `row` is not as long as [`INPUTS`].
pub fn fill(flow: &FlowRecord<TaplineState>, context: &Context, row: &mut [f32]) {
    assert_eq!(row.len(), INPUTS.len(), "a row has a place for every input");
    let view = View { flow, context };
    for (place, input) in row.iter_mut().zip(INPUTS) {
        let value = (input.value)(&view);
        *place = if value.is_finite() { value } else { 0.0 };
    }
}

/// SHA-256 over the names and units of all inputs, and the pause before context is read: lower-case hex.
#[must_use]
pub fn schema_hash() -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{SCHEMA}\t{PAUSE_US}"));
    for input in INPUTS {
        hash.update(format!("\n{}\t{}", input.name, input.unit));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A flow and what is known around it.
struct View<'a> {
    flow: &'a FlowRecord<TaplineState>,
    context: &'a Context,
}

/// The inputs, in order: 31 of the flow itself, what is engineered from them, port classes, context.
pub const INPUTS: &[Input] = &[
    input("duration", "ln(1+ms)", "First packet to last", |f| ln(f.flow.head.duration_us() as f64 / 1e3)),
    input("fwd_pkts", "ln(1+packets)", "Packets from the initiator", |f| ln(f64::from(f.forward().packets))),
    input("fwd_payload", "ln(1+bytes)", "Payload from the initiator", |f| {
        ln(f.forward().payload_bytes as f64)
    }),
    input("fwd_payload_max", "ln(1+bytes)", "Largest payload of a packet from the initiator", |f| {
        ln(f64::from(f.forward().payload.max()))
    }),
    input("fwd_payload_mean", "ln(1+bytes)", "Mean payload of a packet from the initiator", |f| {
        ln(f.forward().payloads().mean())
    }),
    input(
        "fwd_payload_std",
        "ln(1+bytes)",
        "Standard deviation of the payload of a packet from the initiator",
        |f| ln(f.forward().payloads().std()),
    ),
    input("fwd_data_pkts", "ln(1+packets)", "Packets with payload from the initiator", |f| {
        ln(f64::from(f.forward().data_packets))
    }),
    input("fwd_iat_mean", "ln(1+ms)", "Mean gap between packets from the initiator", |f| {
        ln(f.forward().gaps().mean() / 1e3)
    }),
    input("fwd_iat_max", "ln(1+ms)", "Largest gap between packets from the initiator", |f| {
        ln(f64::from(f.forward().gaps.max()) / 1e3)
    }),
    input("fwd_rst", "ln(1+packets)", "Packets with RST from the initiator", |f| {
        ln(f.forward().flag(tcp_flag::RST) as f64)
    }),
    input("fwd_fin", "ln(1+packets)", "Packets with FIN from the initiator", |f| {
        ln(f.forward().flag(tcp_flag::FIN) as f64)
    }),
    input("fwd_psh", "ln(1+packets)", "Packets with PSH from the initiator", |f| {
        ln(f.forward().flag(tcp_flag::PSH) as f64)
    }),
    input("bwd_pkts", "ln(1+packets)", "Packets from the responder", |f| ln(f64::from(f.backward().packets))),
    input("bwd_payload", "ln(1+bytes)", "Payload from the responder", |f| {
        ln(f.backward().payload_bytes as f64)
    }),
    input("bwd_payload_max", "ln(1+bytes)", "Largest payload of a packet from the responder", |f| {
        ln(f64::from(f.backward().payload.max()))
    }),
    input("bwd_payload_mean", "ln(1+bytes)", "Mean payload of a packet from the responder", |f| {
        ln(f.backward().payloads().mean())
    }),
    input(
        "bwd_payload_std",
        "ln(1+bytes)",
        "Standard deviation of the payload of a packet from the responder",
        |f| ln(f.backward().payloads().std()),
    ),
    input("bwd_data_pkts", "ln(1+packets)", "Packets with payload from the responder", |f| {
        ln(f64::from(f.backward().data_packets))
    }),
    input("bwd_iat_mean", "ln(1+ms)", "Mean gap between packets from the responder", |f| {
        ln(f.backward().gaps().mean() / 1e3)
    }),
    input("bwd_iat_max", "ln(1+ms)", "Largest gap between packets from the responder", |f| {
        ln(f64::from(f.backward().gaps.max()) / 1e3)
    }),
    input("bwd_rst", "ln(1+packets)", "Packets with RST from the responder", |f| {
        ln(f.backward().flag(tcp_flag::RST) as f64)
    }),
    input("bwd_fin", "ln(1+packets)", "Packets with FIN from the responder", |f| {
        ln(f.backward().flag(tcp_flag::FIN) as f64)
    }),
    input("bwd_psh", "ln(1+packets)", "Packets with PSH from the responder", |f| {
        ln(f.backward().flag(tcp_flag::PSH) as f64)
    }),
    input("fwd_syn", "ln(1+packets)", "Packets with SYN from the initiator", |f| {
        ln(f.forward().flag(tcp_flag::SYN) as f64)
    }),
    input("payload_mean", "ln(1+bytes)", "Mean payload of a packet", |f| ln(f.flow.state.payloads().mean())),
    input("payload_std", "ln(1+bytes)", "Standard deviation of the payload of a packet", |f| {
        ln(f.flow.state.payloads().std())
    }),
    input("iat_mean", "ln(1+ms)", "Mean gap between packets", |f| ln(f.gaps().mean() / 1e3)),
    input("iat_max", "ln(1+ms)", "Largest gap between packets", |f| {
        ln(f64::from(f.flow.state.gaps.max()) / 1e3)
    }),
    input("idle_max", "ln(1+ms)", "Longest gap of more than 5 s", |f| {
        ln(f64::from(f.flow.state.active_idle.idle().extremes().max()) / 1e3)
    }),
    input("subflows", "ln(pieces)", "Pieces between gaps of more than a second", |f| {
        ln(f.flow.state.subflows() - 1.0)
    }),
    input("no_reply", "", "1 if the responder sent nothing", |f| flag(f.backward().packets == 0)),
    input("refused", "", "1 if the responder reset without sending payload", |f| {
        flag(f.backward().flag(tcp_flag::RST) > 0 && f.backward().payload_bytes == 0)
    }),
    input("established", "", "1 if TCP and both sides sent more than a handshake", |f| {
        flag(f.tcp() && f.forward().packets > 2 && f.backward().packets > 1)
    }),
    input("talked", "", "1 if both sides sent payload", |f| {
        flag(f.forward().payload_bytes > 0 && f.backward().payload_bytes > 0)
    }),
    input("tcp", "", "1 if TCP", |f| flag(f.tcp())),
    input("udp", "", "1 if UDP", |f| flag(f.flow.head.key.protocol == protocol::UDP)),
    input("icmp", "", "1 if ICMP or ICMPv6", |f| {
        flag(matches!(f.flow.head.key.protocol, protocol::ICMP | protocol::ICMPV6))
    }),
    input("to_group", "", "1 if the destination is a multicast or broadcast address", |f| flag(f.to_group())),
    input(
        "pkts_ratio",
        "ln",
        "Packets from the responder over packets from the initiator, each plus 1",
        |f| ratio(f64::from(f.backward().packets), f64::from(f.forward().packets)),
    ),
    input(
        "payload_ratio",
        "ln",
        "Payload from the responder over payload from the initiator, each plus 1",
        |f| ratio(f.backward().payload_bytes as f64, f.forward().payload_bytes as f64),
    ),
    input("fwd_bytes_per_pkt", "ln(1+bytes)", "IP bytes per packet from the initiator", |f| {
        ln(per(f.forward().ip_bytes as f64, f64::from(f.forward().packets)))
    }),
    input("bwd_bytes_per_pkt", "ln(1+bytes)", "IP bytes per packet from the responder", |f| {
        ln(per(f.backward().ip_bytes as f64, f64::from(f.backward().packets)))
    }),
    input("fwd_data_share", "", "Share of the initiator's packets with payload", |f| {
        per(f64::from(f.forward().data_packets), f64::from(f.forward().packets)) as f32
    }),
    input("bwd_data_share", "", "Share of the responder's packets with payload", |f| {
        per(f64::from(f.backward().data_packets), f64::from(f.backward().packets)) as f32
    }),
    input("payload_spread", "", "Standard deviation of payloads over their mean", |f| {
        spread(&f.flow.state.payloads())
    }),
    input("iat_spread", "", "Standard deviation of gaps over their mean", |f| spread(&f.gaps())),
    input("fwd_iat_spread", "", "Standard deviation of the initiator's gaps over their mean", |f| {
        spread(&f.forward().gaps())
    }),
    input("bwd_iat_spread", "", "Standard deviation of the responder's gaps over their mean", |f| {
        spread(&f.backward().gaps())
    }),
    input("iat_max_share", "", "Largest gap over the duration", |f| {
        per(f64::from(f.flow.state.gaps.max()), f.flow.head.duration_us() as f64) as f32
    }),
    input("idle_share", "", "Time in gaps of more than 5 s over the duration", |f| {
        per(f.flow.state.active_idle.idle().moments().sum as f64, f.flow.head.duration_us() as f64) as f32
    }),
    input(
        "pkts_per_s",
        "ln(1+packets/s)",
        "Packets of both directions over the duration, at least 1 ms",
        |f| ln(f64::from(f.flow.head.packets) / f.seconds()),
    ),
    input(
        "payload_per_s",
        "ln(1+bytes/s)",
        "Payload of both directions over the duration, at least 1 ms",
        |f| ln(f.flow.state.payloads().sum as f64 / f.seconds()),
    ),
    input(
        "fwd_payload_per_s",
        "ln(1+bytes/s)",
        "Payload from the initiator over the duration, at least 1 ms",
        |f| ln(f.forward().payload_bytes as f64 / f.seconds()),
    ),
    input("payload_per_pkt_x_pkts_per_s", "ln", "Interaction: mean payload times packet rate", |f| {
        ln(f.flow.state.payloads().mean()) * ln(f64::from(f.flow.head.packets) / f.seconds())
    }),
    input("duration_x_pkts", "ln", "Interaction: duration times packets", |f| {
        ln(f.flow.head.duration_us() as f64 / 1e3) * ln(f64::from(f.flow.head.packets))
    }),
    input("duration_x_idle", "ln", "Interaction: duration times idle share", |f| {
        ln(f.flow.head.duration_us() as f64 / 1e3)
            * per(f.flow.state.active_idle.idle().moments().sum as f64, f.flow.head.duration_us() as f64)
                as f32
    }),
    input(
        "size_group_mean",
        "ln(1+bytes)",
        "Mean over the group: largest and mean payload of both directions",
        |f| group(f.size_group()).mean,
    ),
    input(
        "size_group_std",
        "ln(1+bytes)",
        "Std over the group: largest and mean payload of both directions",
        |f| group(f.size_group()).std,
    ),
    input(
        "size_group_max",
        "ln(1+bytes)",
        "Max over the group: largest and mean payload of both directions",
        |f| group(f.size_group()).max,
    ),
    input(
        "size_group_min",
        "ln(1+bytes)",
        "Min over the group: largest and mean payload of both directions",
        |f| group(f.size_group()).min,
    ),
    input(
        "iat_group_mean",
        "ln(1+ms)",
        "Mean over the group: largest and mean gap of both directions",
        |f| group(f.iat_group()).mean,
    ),
    input("iat_group_std", "ln(1+ms)", "Std over the group: largest and mean gap of both directions", |f| {
        group(f.iat_group()).std
    }),
    input("iat_group_max", "ln(1+ms)", "Max over the group: largest and mean gap of both directions", |f| {
        group(f.iat_group()).max
    }),
    input("iat_group_min", "ln(1+ms)", "Min over the group: largest and mean gap of both directions", |f| {
        group(f.iat_group()).min
    }),
    input("fwd_bulk_share", "", "Share of the initiator's payload that went in bulks", |f| {
        per(f.forward().bulk_bytes as f64, f.forward().payload_bytes as f64) as f32
    }),
    input("bwd_bulk_share", "", "Share of the responder's payload that went in bulks", |f| {
        per(f.backward().bulk_bytes as f64, f.backward().payload_bytes as f64) as f32
    }),
    input("retransmitted_share", "", "Share of packets that were retransmitted", |f| f.retransmitted_share()),
    input(
        "data_1",
        "ln(1+bytes)",
        "Payload of data packet 1: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(0),
    ),
    input(
        "data_2",
        "ln(1+bytes)",
        "Payload of data packet 2: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(1),
    ),
    input(
        "data_3",
        "ln(1+bytes)",
        "Payload of data packet 3: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(2),
    ),
    input(
        "data_4",
        "ln(1+bytes)",
        "Payload of data packet 4: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(3),
    ),
    input(
        "data_5",
        "ln(1+bytes)",
        "Payload of data packet 5: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(4),
    ),
    input(
        "data_6",
        "ln(1+bytes)",
        "Payload of data packet 6: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(5),
    ),
    input(
        "data_7",
        "ln(1+bytes)",
        "Payload of data packet 7: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(6),
    ),
    input(
        "data_8",
        "ln(1+bytes)",
        "Payload of data packet 8: positive from the initiator, negative from the responder, 0 if there is none",
        |f| f.early_data(7),
    ),
    input("port_well_known", "", "1 if the destination port is below 1024, TCP and UDP", |f| {
        flag(f.port().is_some_and(|port| port < 1024))
    }),
    input("port_ephemeral", "", "1 if the destination port is 32768 or above, TCP and UDP", |f| {
        flag(f.port().is_some_and(|port| port >= 32_768))
    }),
    input("port_web", "", "1 if the destination port is one of web", |f| {
        flag(f.port().is_some_and(|port| matches!(port, 80 | 443 | 8000 | 8080 | 8443 | 8888)))
    }),
    input("port_dns", "", "1 if the destination port is one of name service", |f| {
        flag(f.port().is_some_and(|port| matches!(port, 53 | 5353 | 5355 | 137)))
    }),
    input("port_shell", "", "1 if the destination port is one of remote login", |f| {
        flag(f.port().is_some_and(|port| matches!(port, 22 | 23 | 3389 | 5900 | 5985 | 5986)))
    }),
    input("port_mail", "", "1 if the destination port is one of mail", |f| {
        flag(f.port().is_some_and(|port| matches!(port, 25 | 110 | 143 | 465 | 587 | 993 | 995)))
    }),
    input("port_files", "", "1 if the destination port is one of file service", |f| {
        flag(f.port().is_some_and(|port| matches!(port, 20 | 21 | 111 | 139 | 445 | 873 | 2049)))
    }),
    input("port_database", "", "1 if the destination port is one of database", |f| {
        flag(
            f.port()
                .is_some_and(|port| matches!(port, 1433 | 1521 | 3306 | 5432 | 6379 | 9200 | 11211 | 27017)),
        )
    }),
    input("port_plant", "", "1 if the destination port is one of industrial control and telemetry", |f| {
        flag(f.port().is_some_and(|port| {
            matches!(port, 102 | 502 | 2404 | 4840 | 20000 | 44818 | 47808 | 1883 | 8883)
        }))
    }),
    input(
        "link_flows_60s",
        "ln(1+flows)",
        "Flows of the same source, destination and port, over 60 s",
        |f| ln_f32(f.context.link.flows[0]),
    ),
    input(
        "link_flows_600s",
        "ln(1+flows)",
        "Flows of the same source, destination and port, over 600 s",
        |f| ln_f32(f.context.link.flows[1]),
    ),
    input(
        "link_flows_3600s",
        "ln(1+flows)",
        "Flows of the same source, destination and port, over 3600 s",
        |f| ln_f32(f.context.link.flows[2]),
    ),
    input("link_gap_mean_60s", "ln(1+s)", "Mean gap between the starts of these flows, over 60 s", |f| {
        ln_f32(f.context.link.gap_mean_s[0])
    }),
    input("link_gap_mean_600s", "ln(1+s)", "Mean gap between the starts of these flows, over 600 s", |f| {
        ln_f32(f.context.link.gap_mean_s[1])
    }),
    input("link_gap_mean_3600s", "ln(1+s)", "Mean gap between the starts of these flows, over 3600 s", |f| {
        ln_f32(f.context.link.gap_mean_s[2])
    }),
    input("link_gap_spread_60s", "", "Standard deviation of these gaps over their mean, over 60 s", |f| {
        f.context.link.gap_spread[0]
    }),
    input("link_gap_spread_600s", "", "Standard deviation of these gaps over their mean, over 600 s", |f| {
        f.context.link.gap_spread[1]
    }),
    input(
        "link_gap_spread_3600s",
        "",
        "Standard deviation of these gaps over their mean, over 3600 s",
        |f| f.context.link.gap_spread[2],
    ),
    input("link_bytes_spread_60s", "", "Standard deviation of ln bytes of these flows, over 60 s", |f| {
        f.context.link.bytes_spread[0]
    }),
    input("link_bytes_spread_600s", "", "Standard deviation of ln bytes of these flows, over 600 s", |f| {
        f.context.link.bytes_spread[1]
    }),
    input("link_bytes_spread_3600s", "", "Standard deviation of ln bytes of these flows, over 3600 s", |f| {
        f.context.link.bytes_spread[2]
    }),
    input("link_failed_share_60s", "", "Share of these flows without reply or refused, over 60 s", |f| {
        f.context.link.failed_share[0]
    }),
    input("link_failed_share_600s", "", "Share of these flows without reply or refused, over 600 s", |f| {
        f.context.link.failed_share[1]
    }),
    input("link_failed_share_3600s", "", "Share of these flows without reply or refused, over 3600 s", |f| {
        f.context.link.failed_share[2]
    }),
    input("link_short_share_60s", "", "Share of these flows of at most four packets, over 60 s", |f| {
        f.context.link.short_share[0]
    }),
    input("link_short_share_600s", "", "Share of these flows of at most four packets, over 600 s", |f| {
        f.context.link.short_share[1]
    }),
    input("link_short_share_3600s", "", "Share of these flows of at most four packets, over 3600 s", |f| {
        f.context.link.short_share[2]
    }),
    input(
        "link_gap",
        "ln(1+s)",
        "Gap to the start of the flow before, same source, destination and port",
        |f| ln_f32(f.context.link.gap_s),
    ),
    input("link_gap_vs_mean", "ln", "This gap over the mean gap of the last hour, each plus 10 ms", |f| {
        ((f.context.link.gap_s + 0.01) / (f.context.link.gap_mean_s[2] + 0.01)).ln()
    }),
    input("src_flows_10s", "ln(1+flows)", "Flows of the source, over 10 s", |f| {
        ln_f32(f.context.source.flows[0])
    }),
    input("src_flows_60s", "ln(1+flows)", "Flows of the source, over 60 s", |f| {
        ln_f32(f.context.source.flows[1])
    }),
    input("src_flows_600s", "ln(1+flows)", "Flows of the source, over 600 s", |f| {
        ln_f32(f.context.source.flows[2])
    }),
    input("src_dsts_10s", "ln(1+hosts)", "Distinct destinations of the source, over 10 s", |f| {
        ln_f32(f.context.source.destinations[0])
    }),
    input("src_dsts_60s", "ln(1+hosts)", "Distinct destinations of the source, over 60 s", |f| {
        ln_f32(f.context.source.destinations[1])
    }),
    input("src_dsts_600s", "ln(1+hosts)", "Distinct destinations of the source, over 600 s", |f| {
        ln_f32(f.context.source.destinations[2])
    }),
    input("src_ports_10s", "ln(1+ports)", "Distinct destination ports of the source, over 10 s", |f| {
        ln_f32(f.context.source.ports[0])
    }),
    input("src_ports_60s", "ln(1+ports)", "Distinct destination ports of the source, over 60 s", |f| {
        ln_f32(f.context.source.ports[1])
    }),
    input("src_ports_600s", "ln(1+ports)", "Distinct destination ports of the source, over 600 s", |f| {
        ln_f32(f.context.source.ports[2])
    }),
    input(
        "src_failed_dsts_share_10s",
        "",
        "Share of the source's distinct destinations that did not answer or refused, over 10 s",
        |f| f.context.source.failed_destinations_share[0],
    ),
    input(
        "src_failed_dsts_share_60s",
        "",
        "Share of the source's distinct destinations that did not answer or refused, over 60 s",
        |f| f.context.source.failed_destinations_share[1],
    ),
    input(
        "src_failed_dsts_share_600s",
        "",
        "Share of the source's distinct destinations that did not answer or refused, over 600 s",
        |f| f.context.source.failed_destinations_share[2],
    ),
    input(
        "src_failed_share_10s",
        "",
        "Share of the source's flows without reply or refused, over 10 s",
        |f| f.context.source.failed_share[0],
    ),
    input(
        "src_failed_share_60s",
        "",
        "Share of the source's flows without reply or refused, over 60 s",
        |f| f.context.source.failed_share[1],
    ),
    input(
        "src_failed_share_600s",
        "",
        "Share of the source's flows without reply or refused, over 600 s",
        |f| f.context.source.failed_share[2],
    ),
    input("src_syn_retries_10s", "ln(1+packets)", "SYNs that the source sent again, over 10 s", |f| {
        ln_f32(f.context.source.syn_retries[0])
    }),
    input("src_syn_retries_60s", "ln(1+packets)", "SYNs that the source sent again, over 60 s", |f| {
        ln_f32(f.context.source.syn_retries[1])
    }),
    input("src_syn_retries_600s", "ln(1+packets)", "SYNs that the source sent again, over 600 s", |f| {
        ln_f32(f.context.source.syn_retries[2])
    }),
    input(
        "src_open_flows_10s",
        "ln(1+flows)",
        "Flows of the source open at once, on average, over 10 s",
        |f| ln_f32(f.context.source.open_flows[0]),
    ),
    input(
        "src_open_flows_60s",
        "ln(1+flows)",
        "Flows of the source open at once, on average, over 60 s",
        |f| ln_f32(f.context.source.open_flows[1]),
    ),
    input(
        "src_open_flows_600s",
        "ln(1+flows)",
        "Flows of the source open at once, on average, over 600 s",
        |f| ln_f32(f.context.source.open_flows[2]),
    ),
    input("src_short_share_10s", "", "Share of the source's flows of at most four packets, over 10 s", |f| {
        f.context.source.short_share[0]
    }),
    input("src_short_share_60s", "", "Share of the source's flows of at most four packets, over 60 s", |f| {
        f.context.source.short_share[1]
    }),
    input(
        "src_short_share_600s",
        "",
        "Share of the source's flows of at most four packets, over 600 s",
        |f| f.context.source.short_share[2],
    ),
    input("src_bytes_10s", "ln(1+bytes)", "Bytes of the source's flows, both directions, over 10 s", |f| {
        ln_f32(f.context.source.bytes[0])
    }),
    input("src_bytes_60s", "ln(1+bytes)", "Bytes of the source's flows, both directions, over 60 s", |f| {
        ln_f32(f.context.source.bytes[1])
    }),
    input("src_bytes_600s", "ln(1+bytes)", "Bytes of the source's flows, both directions, over 600 s", |f| {
        ln_f32(f.context.source.bytes[2])
    }),
    input(
        "src_flows_vs_habit",
        "ln",
        "Flows of the source over the last minute, over those of its usual minute of the last hour",
        |f| f.context.source.flows_vs_habit,
    ),
    input(
        "src_bytes_vs_habit",
        "",
        "Bytes of the flow: distance from the source's usual, in its usual spread",
        |f| f.context.source.bytes_vs_habit,
    ),
    input(
        "src_duration_vs_habit",
        "",
        "Duration of the flow: distance from the source's usual, in its usual spread",
        |f| f.context.source.duration_vs_habit,
    ),
    input("dst_flows_10s", "ln(1+flows)", "Flows to the destination, over 10 s", |f| {
        ln_f32(f.context.destination.flows[0])
    }),
    input("dst_flows_60s", "ln(1+flows)", "Flows to the destination, over 60 s", |f| {
        ln_f32(f.context.destination.flows[1])
    }),
    input("dst_flows_600s", "ln(1+flows)", "Flows to the destination, over 600 s", |f| {
        ln_f32(f.context.destination.flows[2])
    }),
    input("dst_srcs_10s", "ln(1+hosts)", "Distinct sources of the destination, over 10 s", |f| {
        ln_f32(f.context.destination.sources[0])
    }),
    input("dst_srcs_60s", "ln(1+hosts)", "Distinct sources of the destination, over 60 s", |f| {
        ln_f32(f.context.destination.sources[1])
    }),
    input("dst_srcs_600s", "ln(1+hosts)", "Distinct sources of the destination, over 600 s", |f| {
        ln_f32(f.context.destination.sources[2])
    }),
    input("dst_ports_10s", "ln(1+ports)", "Distinct ports asked for at the destination, over 10 s", |f| {
        ln_f32(f.context.destination.ports[0])
    }),
    input("dst_ports_60s", "ln(1+ports)", "Distinct ports asked for at the destination, over 60 s", |f| {
        ln_f32(f.context.destination.ports[1])
    }),
    input("dst_ports_600s", "ln(1+ports)", "Distinct ports asked for at the destination, over 600 s", |f| {
        ln_f32(f.context.destination.ports[2])
    }),
    input(
        "dst_failed_share_10s",
        "",
        "Share of the destination's flows without reply or refused, over 10 s",
        |f| f.context.destination.failed_share[0],
    ),
    input(
        "dst_failed_share_60s",
        "",
        "Share of the destination's flows without reply or refused, over 60 s",
        |f| f.context.destination.failed_share[1],
    ),
    input(
        "dst_failed_share_600s",
        "",
        "Share of the destination's flows without reply or refused, over 600 s",
        |f| f.context.destination.failed_share[2],
    ),
    input(
        "dst_short_share_10s",
        "",
        "Share of the destination's flows of at most four packets, over 10 s",
        |f| f.context.destination.short_share[0],
    ),
    input(
        "dst_short_share_60s",
        "",
        "Share of the destination's flows of at most four packets, over 60 s",
        |f| f.context.destination.short_share[1],
    ),
    input(
        "dst_short_share_600s",
        "",
        "Share of the destination's flows of at most four packets, over 600 s",
        |f| f.context.destination.short_share[2],
    ),
    input(
        "dst_bytes_10s",
        "ln(1+bytes)",
        "Bytes of the destination's flows, both directions, over 10 s",
        |f| ln_f32(f.context.destination.bytes[0]),
    ),
    input(
        "dst_bytes_60s",
        "ln(1+bytes)",
        "Bytes of the destination's flows, both directions, over 60 s",
        |f| ln_f32(f.context.destination.bytes[1]),
    ),
    input(
        "dst_bytes_600s",
        "ln(1+bytes)",
        "Bytes of the destination's flows, both directions, over 600 s",
        |f| ln_f32(f.context.destination.bytes[2]),
    ),
    input(
        "dst_open_flows_10s",
        "ln(1+flows)",
        "Flows to the destination open at once, on average, over 10 s",
        |f| ln_f32(f.context.destination.open_flows[0]),
    ),
    input(
        "dst_open_flows_60s",
        "ln(1+flows)",
        "Flows to the destination open at once, on average, over 60 s",
        |f| ln_f32(f.context.destination.open_flows[1]),
    ),
    input(
        "dst_open_flows_600s",
        "ln(1+flows)",
        "Flows to the destination open at once, on average, over 600 s",
        |f| ln_f32(f.context.destination.open_flows[2]),
    ),
    input("pair_flows_60s", "ln(1+flows)", "Flows of the same source and destination, over 60 s", |f| {
        ln_f32(f.context.pair.flows[0])
    }),
    input("pair_flows_600s", "ln(1+flows)", "Flows of the same source and destination, over 600 s", |f| {
        ln_f32(f.context.pair.flows[1])
    }),
    input("pair_ports_60s", "ln(1+ports)", "Distinct ports between them, over 60 s", |f| {
        ln_f32(f.context.pair.ports[0])
    }),
    input("pair_ports_600s", "ln(1+ports)", "Distinct ports between them, over 600 s", |f| {
        ln_f32(f.context.pair.ports[1])
    }),
    input("pair_failed_share_60s", "", "Share of their flows without reply or refused, over 60 s", |f| {
        f.context.pair.failed_share[0]
    }),
    input("pair_failed_share_600s", "", "Share of their flows without reply or refused, over 600 s", |f| {
        f.context.pair.failed_share[1]
    }),
    input(
        "pair_bytes_ratio_60s",
        "ln",
        "Bytes from the source over bytes to it, each plus 1, over 60 s",
        |f| ratio_f32(f.context.pair.bytes[0][0], f.context.pair.bytes[0][1]),
    ),
    input("pair_fwd_bytes_60s", "ln(1+bytes)", "Bytes from the source to the destination, over 60 s", |f| {
        ln_f32(f.context.pair.bytes[0][0])
    }),
    input(
        "pair_bytes_ratio_600s",
        "ln",
        "Bytes from the source over bytes to it, each plus 1, over 600 s",
        |f| ratio_f32(f.context.pair.bytes[1][0], f.context.pair.bytes[1][1]),
    ),
    input(
        "pair_fwd_bytes_600s",
        "ln(1+bytes)",
        "Bytes from the source to the destination, over 600 s",
        |f| ln_f32(f.context.pair.bytes[1][0]),
    ),
    input(
        "sweep_flows_60s",
        "ln(1+flows)",
        "Flows of the same source and destination port, to anybody, over 60 s",
        |f| ln_f32(f.context.sweep.flows[0]),
    ),
    input(
        "sweep_flows_600s",
        "ln(1+flows)",
        "Flows of the same source and destination port, to anybody, over 600 s",
        |f| ln_f32(f.context.sweep.flows[1]),
    ),
    input("sweep_dsts_60s", "ln(1+hosts)", "Distinct destinations of these flows, over 60 s", |f| {
        ln_f32(f.context.sweep.destinations[0])
    }),
    input("sweep_dsts_600s", "ln(1+hosts)", "Distinct destinations of these flows, over 600 s", |f| {
        ln_f32(f.context.sweep.destinations[1])
    }),
    input("sweep_failed_share_60s", "", "Share of these flows without reply or refused, over 60 s", |f| {
        f.context.sweep.failed_share[0]
    }),
    input("sweep_failed_share_600s", "", "Share of these flows without reply or refused, over 600 s", |f| {
        f.context.sweep.failed_share[1]
    }),
    input(
        "service_flows_60s",
        "ln(1+flows)",
        "Flows to the same destination and port, from anybody, over 60 s",
        |f| ln_f32(f.context.service.flows[0]),
    ),
    input(
        "service_flows_600s",
        "ln(1+flows)",
        "Flows to the same destination and port, from anybody, over 600 s",
        |f| ln_f32(f.context.service.flows[1]),
    ),
    input("service_srcs_60s", "ln(1+hosts)", "Distinct sources of these flows, over 60 s", |f| {
        ln_f32(f.context.service.sources[0])
    }),
    input("service_srcs_600s", "ln(1+hosts)", "Distinct sources of these flows, over 600 s", |f| {
        ln_f32(f.context.service.sources[1])
    }),
    input("service_failed_share_60s", "", "Share of these flows without reply or refused, over 60 s", |f| {
        f.context.service.failed_share[0]
    }),
    input(
        "service_failed_share_600s",
        "",
        "Share of these flows without reply or refused, over 600 s",
        |f| f.context.service.failed_share[1],
    ),
    input("service_short_share_60s", "", "Share of these flows of at most four packets, over 60 s", |f| {
        f.context.service.short_share[0]
    }),
    input("service_short_share_600s", "", "Share of these flows of at most four packets, over 600 s", |f| {
        f.context.service.short_share[1]
    }),
    input("service_open_flows_60s", "ln(1+flows)", "Such flows open at once, on average, over 60 s", |f| {
        ln_f32(f.context.service.open_flows[0])
    }),
    input("service_open_flows_600s", "ln(1+flows)", "Such flows open at once, on average, over 600 s", |f| {
        ln_f32(f.context.service.open_flows[1])
    }),
    input(
        "service_source_share_60s",
        "",
        "Share of these flows that come from the same source, over 60 s",
        |f| f.context.service.source_share[0],
    ),
    input(
        "service_source_share_600s",
        "",
        "Share of these flows that come from the same source, over 600 s",
        |f| f.context.service.source_share[1],
    ),
    input(
        "service_duration_vs_habit",
        "",
        "Duration of the flow: distance from the service's usual, in its usual spread",
        |f| f.context.service.duration_vs_habit,
    ),
    input(
        "service_reply_vs_habit",
        "",
        "Bytes from the responder: distance from the service's usual, in its usual spread",
        |f| f.context.service.reply_bytes_vs_habit,
    ),
    input(
        "service_request_vs_habit",
        "",
        "Bytes from the initiator: distance from the service's usual, in its usual spread",
        |f| f.context.service.request_bytes_vs_habit,
    ),
];

const fn input(
    name: &'static str,
    unit: &'static str,
    definition: &'static str,
    value: fn(&View<'_>) -> f32,
) -> Input {
    Input { name, unit, definition, value }
}

impl View<'_> {
    fn forward(&self) -> &Side {
        self.flow.state.side(Direction::Forward)
    }

    fn backward(&self) -> &Side {
        self.flow.state.side(Direction::Backward)
    }

    fn gaps(&self) -> Moments {
        self.flow.state.gaps(&self.flow.head)
    }

    fn tcp(&self) -> bool {
        self.flow.head.key.protocol == protocol::TCP
    }

    fn port(&self) -> Option<u16> {
        let head = &self.flow.head;
        matches!(head.key.protocol, protocol::TCP | protocol::UDP).then(|| head.responder().port)
    }

    /// Multicast, or ending in 255 as a broadcast address of a /24 or the limited one does.
    fn to_group(&self) -> bool {
        let addr = &self.flow.head.responder().addr;
        match self.flow.head.key.ip_version {
            4 => addr[12] & 0xf0 == 0xe0 || addr[15] == 0xff,
            _ => addr[0] == 0xff,
        }
    }

    fn seconds(&self) -> f64 {
        (self.flow.head.duration_us() as f64 / 1e6).max(1e-3)
    }

    fn retransmitted_share(&self) -> f32 {
        let retransmitted = self.forward().stream.retransmitted + self.backward().stream.retransmitted;
        per(f64::from(retransmitted), f64::from(self.flow.head.packets)) as f32
    }

    fn size_group(&self) -> [f32; 4] {
        let [forward, backward] = [self.forward(), self.backward()];
        [
            ln(f64::from(forward.payload.max())),
            ln(forward.payloads().mean()),
            ln(f64::from(backward.payload.max())),
            ln(backward.payloads().mean()),
        ]
    }

    fn iat_group(&self) -> [f32; 4] {
        let [forward, backward] = [self.forward(), self.backward()];
        [
            ln(f64::from(forward.gaps.max()) / 1e3),
            ln(forward.gaps().mean() / 1e3),
            ln(f64::from(backward.gaps.max()) / 1e3),
            ln(backward.gaps().mean() / 1e3),
        ]
    }

    /// Payload of the early data packet with this number (from 0), signed by direction.
    fn early_data(&self, number: usize) -> f32 {
        let payloads = self.flow.state.early.signed_payloads(self.flow.head.packets);
        let payload = payloads.as_slice().iter().filter(|&&payload| payload != 0).nth(number);
        payload.map_or(0.0, |&payload| ln(f64::from(payload.abs())) * payload.signum() as f32)
    }
}

/// `ln(1 + value)`; of what is below 0, that of 0.
fn ln(value: f64) -> f32 {
    let whole = value as usize;
    match LOGARITHMS.get(whole) {
        Some((of_whole, _)) if whole as f64 >= value => *of_whole,
        _ => value.max(0.0).ln_1p() as f32,
    }
}

/// The same in single precision.
fn ln_f32(value: f32) -> f32 {
    let whole = value as usize;
    match LOGARITHMS.get(whole) {
        Some((_, of_whole)) if whole as f32 >= value => *of_whole,
        _ => value.max(0.0).ln_1p(),
    }
}

/// `ln(1 + n)`, made in double precision and made in single precision, which are not always the same. Most inputs are
/// counts, and most of these are small.
static LOGARITHMS: LazyLock<[(f32, f32); 2_048]> =
    LazyLock::new(|| std::array::from_fn(|whole| ((whole as f64).ln_1p() as f32, (whole as f32).ln_1p())));

fn ratio(upper: f64, lower: f64) -> f32 {
    ((upper + 1.0) / (lower + 1.0)).ln() as f32
}

fn ratio_f32(upper: f32, lower: f32) -> f32 {
    ((upper + 1.0) / (lower + 1.0)).ln()
}

fn per(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

fn spread(moments: &Moments) -> f32 {
    per(moments.std(), moments.mean()) as f32
}

fn flag(is: bool) -> f32 {
    f32::from(is)
}

struct Group {
    mean: f32,
    std: f32,
    max: f32,
    min: f32,
}

fn group(values: [f32; 4]) -> Group {
    let mean = values.iter().sum::<f32>() / 4.0;
    let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 4.0;
    Group {
        mean,
        std: square.sqrt(),
        max: values.iter().copied().fold(f32::MIN, f32::max),
        min: values.iter().copied().fold(f32::MAX, f32::min),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defined() {
        let mut names: Vec<_> = INPUTS.iter().map(|input| input.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), INPUTS.len());
        for input in INPUTS {
            assert!(input.definition.len() > 5, "{}", input.name);
        }
        assert_eq!(schema_hash().len(), 64);
    }
}
