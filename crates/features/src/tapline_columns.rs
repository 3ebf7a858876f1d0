//! The columns of schema `tapline-1`: one table, from which everything else is read.
//!
//! Where CICFlowMeter has a column of the same meaning, its known defects are corrected here (`docs/cic-defects.md`
//! lists them one by one). Columns that only repeat another one (averages that equal means, variances) are left out.

use tapline_record::column::Kind;
use tapline_record::{Cell, Column, Direction, Endpoint, FlowHead, FlowRecord, protocol, tcp_flag};

use crate::active_idle::Periods;
use crate::community_id::community_id;
use crate::tapline_state::TaplineState;

type Flow = FlowRecord<TaplineState>;

/// The columns of `tapline-1`, in order.
pub const TAPLINE_1: &[Column<Flow>] = &[
    Column {
        name: "community_id",
        kind: Kind::Text,
        unit: "",
        definition: "Community ID v1, seed 0: the identifier that Zeek and Suricata give the same flow",
        cell: |f| Cell::Text(community_id(&f.head)),
    },
    Column {
        name: "src_ip",
        kind: Kind::Ip,
        unit: "",
        definition: "Address of the initiator: the sender of the first packet, or the receiver of a SYN-ACK that came first",
        cell: |f| Cell::Ip(f.head.initiator().ip(f.head.key.ip_version)),
    },
    Column {
        name: "src_port",
        kind: Kind::Int,
        unit: "",
        definition: "Port of the initiator; 0 for protocols without ports",
        cell: |f| port(f, f.head.initiator()),
    },
    Column {
        name: "dst_ip",
        kind: Kind::Ip,
        unit: "",
        definition: "Address of the responder",
        cell: |f| Cell::Ip(f.head.responder().ip(f.head.key.ip_version)),
    },
    Column {
        name: "dst_port",
        kind: Kind::Int,
        unit: "",
        definition: "Port of the responder; 0 for protocols without ports",
        cell: |f| port(f, f.head.responder()),
    },
    Column {
        name: "protocol",
        kind: Kind::Int,
        unit: "",
        definition: "IP protocol number (IANA); behind IPv6 extension headers",
        cell: |f| Cell::Int(i64::from(f.head.key.protocol)),
    },
    Column {
        name: "ip_version",
        kind: Kind::Int,
        unit: "",
        definition: "4 or 6",
        cell: |f| Cell::Int(i64::from(f.head.key.ip_version)),
    },
    Column {
        name: "vlan",
        kind: Kind::Int,
        unit: "",
        definition: "Outer VLAN identifier; 0 if untagged, or if VLANs are left out of the flow key",
        cell: |f| Cell::Int(i64::from(f.head.key.vlan[0])),
    },
    Column {
        name: "vlan_inner",
        kind: Kind::Int,
        unit: "",
        definition: "Inner VLAN identifier (QinQ); 0 if none, or if VLANs are left out of the flow key",
        cell: |f| Cell::Int(i64::from(f.head.key.vlan[1])),
    },
    Column {
        name: "tunnel",
        kind: Kind::Text,
        unit: "",
        definition: "Innermost encapsulation: ipip, gre, erspan, vxlan, geneve, gtpu, teredo; empty if none",
        cell: |f| Cell::Name(f.head.key.tunnel_kind.name()),
    },
    Column {
        name: "tunnel_id",
        kind: Kind::Int,
        unit: "",
        definition: "VNI, GRE key or ERSPAN session of that encapsulation; 0 if none, and for GTP-U, where it differs by direction",
        cell: |f| Cell::Int(i64::from(f.head.key.tunnel_id)),
    },
    Column {
        name: "icmp_type",
        kind: Kind::Int,
        unit: "",
        definition: "ICMP or ICMPv6 type of the first packet; empty for other protocols",
        cell: |f| icmp(f, f.state.icmp_type),
    },
    Column {
        name: "icmp_code",
        kind: Kind::Int,
        unit: "",
        definition: "ICMP or ICMPv6 code of the first packet; empty for other protocols",
        cell: |f| icmp(f, f.state.icmp_code),
    },
    Column {
        name: "start",
        kind: Kind::Time,
        unit: "",
        definition: "Instant of the first packet, UTC",
        cell: |f| Cell::Time(f.head.start),
    },
    Column {
        name: "end",
        kind: Kind::Time,
        unit: "",
        definition: "Instant of the last packet, UTC",
        cell: |f| Cell::Time(f.head.last),
    },
    Column {
        name: "duration_us",
        kind: Kind::Int,
        unit: "us",
        definition: "From the first packet to the last; never negative, packets that come late count as simultaneous",
        cell: |f| Cell::Int(f.head.duration_us()),
    },
    Column {
        name: "zero_duration",
        kind: Kind::Int,
        unit: "",
        definition: "1 if duration_us is 0: the rates are then 0 because they have no meaning",
        cell: |f| Cell::Int(i64::from(f.head.duration_us() == 0)),
    },
    Column {
        name: "end_reason",
        kind: Kind::Text,
        unit: "",
        definition: "idle, active, fin, rst, replaced (new connection on the tuple), evicted, end_of_input, or partial: an early record of a flow that goes on",
        cell: |f| Cell::Name(f.head.end_reason.name()),
    },
    Column {
        name: "fwd_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets from the initiator",
        cell: |f| int(f.state.side(Direction::Forward).packets),
    },
    Column {
        name: "bwd_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets from the responder",
        cell: |f| int(f.state.side(Direction::Backward).packets),
    },
    Column {
        name: "fwd_payload_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Layer-4 payload from the initiator, by IP lengths: padding and snap length do not matter",
        cell: |f| Cell::count(f.state.side(Direction::Forward).payload_bytes),
    },
    Column {
        name: "bwd_payload_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Layer-4 payload from the responder, by IP lengths: padding and snap length do not matter",
        cell: |f| Cell::count(f.state.side(Direction::Backward).payload_bytes),
    },
    Column {
        name: "fwd_ip_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "IP packets from the initiator, headers included",
        cell: |f| Cell::count(f.state.side(Direction::Forward).ip_bytes),
    },
    Column {
        name: "bwd_ip_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "IP packets from the responder, headers included",
        cell: |f| Cell::count(f.state.side(Direction::Backward).ip_bytes),
    },
    Column {
        name: "fwd_header_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Layer-4 headers from the initiator: TCP with options, UDP 8, ICMP 8, SCTP 12",
        cell: |f| Cell::count(f.state.side(Direction::Forward).header_bytes),
    },
    Column {
        name: "bwd_header_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Layer-4 headers from the responder: TCP with options, UDP 8, ICMP 8, SCTP 12",
        cell: |f| Cell::count(f.state.side(Direction::Backward).header_bytes),
    },
    Column {
        name: "fwd_payload_max_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Largest payload of a packet from the initiator; 0 without packets",
        cell: |f| int(f.state.side(Direction::Forward).payload.max()),
    },
    Column {
        name: "fwd_payload_min_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest payload of a packet from the initiator; 0 without packets",
        cell: |f| int(f.state.side(Direction::Forward).payload.min()),
    },
    Column {
        name: "fwd_payload_mean_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Mean payload of a packet from the initiator; 0 without packets",
        cell: |f| f.state.side(Direction::Forward).payloads().mean_cell(),
    },
    Column {
        name: "fwd_payload_std_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Sample standard deviation of the payload of a packet from the initiator; 0 without packets",
        cell: |f| f.state.side(Direction::Forward).payloads().std_cell(),
    },
    Column {
        name: "bwd_payload_max_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Largest payload of a packet from the responder; 0 without packets",
        cell: |f| int(f.state.side(Direction::Backward).payload.max()),
    },
    Column {
        name: "bwd_payload_min_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest payload of a packet from the responder; 0 without packets",
        cell: |f| int(f.state.side(Direction::Backward).payload.min()),
    },
    Column {
        name: "bwd_payload_mean_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Mean payload of a packet from the responder; 0 without packets",
        cell: |f| f.state.side(Direction::Backward).payloads().mean_cell(),
    },
    Column {
        name: "bwd_payload_std_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Sample standard deviation of the payload of a packet from the responder; 0 without packets",
        cell: |f| f.state.side(Direction::Backward).payloads().std_cell(),
    },
    Column {
        name: "payload_max_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Largest payload of a packet of either direction, each packet counted once",
        cell: |f| {
            int(f
                .state
                .side(Direction::Forward)
                .payload
                .with(f.state.side(Direction::Backward).payload)
                .max())
        },
    },
    Column {
        name: "payload_min_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest payload of a packet of either direction, each packet counted once",
        cell: |f| {
            int(f
                .state
                .side(Direction::Forward)
                .payload
                .with(f.state.side(Direction::Backward).payload)
                .min())
        },
    },
    Column {
        name: "payload_mean_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Mean payload of a packet of either direction, each packet counted once",
        cell: |f| f.state.payloads().mean_cell(),
    },
    Column {
        name: "payload_std_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Sample standard deviation of the payload of a packet of either direction, each packet counted once",
        cell: |f| f.state.payloads().std_cell(),
    },
    Column {
        name: "payload_bytes_per_s",
        kind: Kind::Float,
        unit: "bytes/s",
        definition: "Payload of both directions over the duration; 0 if the duration is 0",
        cell: |f| per_s(f, f.state.payloads().sum),
    },
    Column {
        name: "pkts_per_s",
        kind: Kind::Float,
        unit: "packets/s",
        definition: "Packets of both directions over the duration; 0 if the duration is 0",
        cell: |f| per_s(f, u64::from(f.head.packets)),
    },
    Column {
        name: "fwd_pkts_per_s",
        kind: Kind::Float,
        unit: "packets/s",
        definition: "Forward packets over the duration; 0 if the duration is 0",
        cell: |f| per_s(f, u64::from(f.state.side(Direction::Forward).packets)),
    },
    Column {
        name: "bwd_pkts_per_s",
        kind: Kind::Float,
        unit: "packets/s",
        definition: "Backward packets over the duration; 0 if the duration is 0",
        cell: |f| per_s(f, u64::from(f.state.side(Direction::Backward).packets)),
    },
    Column {
        name: "iat_mean_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Mean gap between consecutive packets of the flow; 0 with fewer than two",
        cell: |f| f.state.gaps(&f.head).mean_cell(),
    },
    Column {
        name: "iat_std_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Sample standard deviation of the gap between consecutive packets of the flow; 0 with fewer than two",
        cell: |f| f.state.gaps(&f.head).std_cell(),
    },
    Column {
        name: "iat_max_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Largest gap between consecutive packets of the flow; 0 with fewer than two",
        cell: |f| int(f.state.gaps.max()),
    },
    Column {
        name: "iat_min_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Smallest gap between consecutive packets of the flow; 0 with fewer than two",
        cell: |f| int(f.state.gaps.min()),
    },
    Column {
        name: "fwd_iat_total_us",
        kind: Kind::Int,
        unit: "us",
        definition: "From the first packet of the initiator to its last",
        cell: |f| Cell::count(f.state.side(Direction::Forward).gaps().sum),
    },
    Column {
        name: "fwd_iat_mean_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Mean gap between consecutive packets of the initiator; 0 with fewer than two",
        cell: |f| f.state.side(Direction::Forward).gaps().mean_cell(),
    },
    Column {
        name: "fwd_iat_std_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Sample standard deviation of the gap between consecutive packets of the initiator; 0 with fewer than two",
        cell: |f| f.state.side(Direction::Forward).gaps().std_cell(),
    },
    Column {
        name: "fwd_iat_max_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Largest gap between consecutive packets of the initiator; 0 with fewer than two",
        cell: |f| int(f.state.side(Direction::Forward).gaps.max()),
    },
    Column {
        name: "fwd_iat_min_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Smallest gap between consecutive packets of the initiator; 0 with fewer than two",
        cell: |f| int(f.state.side(Direction::Forward).gaps.min()),
    },
    Column {
        name: "bwd_iat_total_us",
        kind: Kind::Int,
        unit: "us",
        definition: "From the first packet of the responder to its last",
        cell: |f| Cell::count(f.state.side(Direction::Backward).gaps().sum),
    },
    Column {
        name: "bwd_iat_mean_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Mean gap between consecutive packets of the responder; 0 with fewer than two",
        cell: |f| f.state.side(Direction::Backward).gaps().mean_cell(),
    },
    Column {
        name: "bwd_iat_std_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Sample standard deviation of the gap between consecutive packets of the responder; 0 with fewer than two",
        cell: |f| f.state.side(Direction::Backward).gaps().std_cell(),
    },
    Column {
        name: "bwd_iat_max_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Largest gap between consecutive packets of the responder; 0 with fewer than two",
        cell: |f| int(f.state.side(Direction::Backward).gaps.max()),
    },
    Column {
        name: "bwd_iat_min_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Smallest gap between consecutive packets of the responder; 0 with fewer than two",
        cell: |f| int(f.state.side(Direction::Backward).gaps.min()),
    },
    Column {
        name: "fwd_fin_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with FIN set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::FIN)),
    },
    Column {
        name: "fwd_syn_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with SYN set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::SYN)),
    },
    Column {
        name: "fwd_rst_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with RST set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::RST)),
    },
    Column {
        name: "fwd_psh_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with PSH set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::PSH)),
    },
    Column {
        name: "fwd_ack_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with ACK set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::ACK)),
    },
    Column {
        name: "fwd_urg_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with URG set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::URG)),
    },
    Column {
        name: "fwd_ece_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with ECE set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::ECE)),
    },
    Column {
        name: "fwd_cwr_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the initiator with CWR set",
        cell: |f| Cell::count(f.state.side(Direction::Forward).flag(tcp_flag::CWR)),
    },
    Column {
        name: "bwd_fin_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with FIN set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::FIN)),
    },
    Column {
        name: "bwd_syn_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with SYN set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::SYN)),
    },
    Column {
        name: "bwd_rst_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with RST set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::RST)),
    },
    Column {
        name: "bwd_psh_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with PSH set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::PSH)),
    },
    Column {
        name: "bwd_ack_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with ACK set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::ACK)),
    },
    Column {
        name: "bwd_urg_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with URG set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::URG)),
    },
    Column {
        name: "bwd_ece_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with ECE set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::ECE)),
    },
    Column {
        name: "bwd_cwr_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets from the responder with CWR set",
        cell: |f| Cell::count(f.state.side(Direction::Backward).flag(tcp_flag::CWR)),
    },
    Column {
        name: "fin_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with FIN set",
        cell: |f| Cell::count(f.state.flag_packets(0)),
    },
    Column {
        name: "syn_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with SYN set",
        cell: |f| Cell::count(f.state.flag_packets(1)),
    },
    Column {
        name: "rst_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with RST set",
        cell: |f| Cell::count(f.state.flag_packets(2)),
    },
    Column {
        name: "psh_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with PSH set",
        cell: |f| Cell::count(f.state.flag_packets(3)),
    },
    Column {
        name: "ack_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with ACK set",
        cell: |f| Cell::count(f.state.flag_packets(4)),
    },
    Column {
        name: "urg_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with URG set",
        cell: |f| Cell::count(f.state.flag_packets(5)),
    },
    Column {
        name: "ece_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with ECE set",
        cell: |f| Cell::count(f.state.flag_packets(6)),
    },
    Column {
        name: "cwr_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP packets of either direction with CWR set",
        cell: |f| Cell::count(f.state.flag_packets(7)),
    },
    Column {
        name: "down_up_ratio",
        kind: Kind::Float,
        unit: "",
        definition: "Backward packets per forward packet; 0 without forward packets",
        cell: |f| ratio(f.state.side(Direction::Backward).packets, f.state.side(Direction::Forward).packets),
    },
    Column {
        name: "fwd_bulks",
        kind: Kind::Int,
        unit: "",
        definition: "Bulk transfers of the forward direction: four or more data packets, gaps of at most a second, no data of the other side between",
        cell: |f| int(f.state.side(Direction::Forward).bulk.bulks),
    },
    Column {
        name: "fwd_bulk_mean_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Payload per forward bulk; 0 without bulks",
        cell: |f| {
            let side = f.state.side(Direction::Forward);
            Cell::Float(side.bulk.bytes_mean(side.bulk_bytes))
        },
    },
    Column {
        name: "fwd_bulk_mean_pkts",
        kind: Kind::Float,
        unit: "packets",
        definition: "Packets per forward bulk; 0 without bulks",
        cell: |f| Cell::Float(f.state.side(Direction::Forward).bulk.packets_mean()),
    },
    Column {
        name: "fwd_bulk_bytes_per_s",
        kind: Kind::Float,
        unit: "bytes/s",
        definition: "Payload rate within forward bulks; 0 if they took no time",
        cell: |f| {
            let side = f.state.side(Direction::Forward);
            Cell::Float(side.bulk.bytes_per_s(side.bulk_bytes))
        },
    },
    Column {
        name: "bwd_bulks",
        kind: Kind::Int,
        unit: "",
        definition: "Bulk transfers of the backward direction: four or more data packets, gaps of at most a second, no data of the other side between",
        cell: |f| int(f.state.side(Direction::Backward).bulk.bulks),
    },
    Column {
        name: "bwd_bulk_mean_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Payload per backward bulk; 0 without bulks",
        cell: |f| {
            let side = f.state.side(Direction::Backward);
            Cell::Float(side.bulk.bytes_mean(side.bulk_bytes))
        },
    },
    Column {
        name: "bwd_bulk_mean_pkts",
        kind: Kind::Float,
        unit: "packets",
        definition: "Packets per backward bulk; 0 without bulks",
        cell: |f| Cell::Float(f.state.side(Direction::Backward).bulk.packets_mean()),
    },
    Column {
        name: "bwd_bulk_bytes_per_s",
        kind: Kind::Float,
        unit: "bytes/s",
        definition: "Payload rate within backward bulks; 0 if they took no time",
        cell: |f| {
            let side = f.state.side(Direction::Backward);
            Cell::Float(side.bulk.bytes_per_s(side.bulk_bytes))
        },
    },
    Column {
        name: "subflows",
        kind: Kind::Int,
        unit: "",
        definition: "Pieces of the flow between gaps of more than a second; at least 1",
        cell: |f| Cell::Int(i64::from(f.state.subflow_gaps) + 1),
    },
    Column {
        name: "subflow_fwd_pkts",
        kind: Kind::Float,
        unit: "packets",
        definition: "Forward packets per subflow",
        cell: |f| Cell::Float(f64::from(f.state.side(Direction::Forward).packets) / f.state.subflows()),
    },
    Column {
        name: "subflow_fwd_payload_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Forward payload per subflow",
        cell: |f| Cell::Float(f.state.side(Direction::Forward).payload_bytes as f64 / f.state.subflows()),
    },
    Column {
        name: "subflow_bwd_pkts",
        kind: Kind::Float,
        unit: "packets",
        definition: "Backward packets per subflow",
        cell: |f| Cell::Float(f64::from(f.state.side(Direction::Backward).packets) / f.state.subflows()),
    },
    Column {
        name: "subflow_bwd_payload_bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Backward payload per subflow",
        cell: |f| Cell::Float(f.state.side(Direction::Backward).payload_bytes as f64 / f.state.subflows()),
    },
    Column {
        name: "fwd_init_window_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "TCP window, unscaled, of the first packet of the initiator; empty without one",
        cell: |f| {
            f.state
                .side(Direction::Forward)
                .window()
                .map_or(Cell::Null, |window| Cell::Int(i64::from(window)))
        },
    },
    Column {
        name: "bwd_init_window_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "TCP window, unscaled, of the first packet of the responder; empty without one",
        cell: |f| {
            f.state
                .side(Direction::Backward)
                .window()
                .map_or(Cell::Null, |window| Cell::Int(i64::from(window)))
        },
    },
    Column {
        name: "fwd_data_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets from the initiator that carry payload",
        cell: |f| int(f.state.side(Direction::Forward).data_packets),
    },
    Column {
        name: "bwd_data_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets from the responder that carry payload",
        cell: |f| int(f.state.side(Direction::Backward).data_packets),
    },
    Column {
        name: "fwd_header_min_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest layer-4 header from the initiator; 0 without packets",
        cell: |f| Cell::Int(i64::from(f.state.side(Direction::Forward).header_min_bytes())),
    },
    Column {
        name: "bwd_header_min_bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest layer-4 header from the responder; 0 without packets",
        cell: |f| Cell::Int(i64::from(f.state.side(Direction::Backward).header_min_bytes())),
    },
    Column {
        name: "fwd_retransmitted_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP segments from the initiator that bring no byte beyond the highest seen: retransmitted, or very late; keep-alives do not count",
        cell: |f| int(f.state.side(Direction::Forward).stream.retransmitted),
    },
    Column {
        name: "bwd_retransmitted_pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "TCP segments from the responder that bring no byte beyond the highest seen: retransmitted, or very late; keep-alives do not count",
        cell: |f| int(f.state.side(Direction::Backward).stream.retransmitted),
    },
    Column {
        name: "syn_to_syn_ack_us",
        kind: Kind::Int,
        unit: "us",
        definition: "TCP handshake: from the latest SYN to the SYN-ACK, the round trip between tap and responder; empty if not seen",
        cell: |f| optional(f.state.handshake.responder_rtt_us()),
    },
    Column {
        name: "syn_ack_to_ack_us",
        kind: Kind::Int,
        unit: "us",
        definition: "TCP handshake: from the SYN-ACK to the ACK, the round trip between tap and initiator; empty if not seen",
        cell: |f| optional(f.state.handshake.initiator_rtt_us()),
    },
    Column {
        name: "active_mean_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Mean length of active periods: stretches without a gap of more than 5 s, the last one included; 0 without any",
        cell: |f| f.state.active(&f.head).moments().mean_cell(),
    },
    Column {
        name: "active_std_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Sample standard deviation of the length of active periods: stretches without a gap of more than 5 s, the last one included; 0 without any",
        cell: |f| f.state.active(&f.head).moments().std_cell(),
    },
    Column {
        name: "active_max_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Longest of the active periods: stretches without a gap of more than 5 s, the last one included; 0 without any",
        cell: |f| int(f.state.active(&f.head).extremes().max()),
    },
    Column {
        name: "active_min_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Shortest of the active periods: stretches without a gap of more than 5 s, the last one included; 0 without any",
        cell: |f| int(f.state.active(&f.head).extremes().min()),
    },
    Column {
        name: "idle_mean_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Mean length of idle periods: gaps of more than 5 s; 0 without any",
        cell: |f| f.state.active_idle.idle().moments().mean_cell(),
    },
    Column {
        name: "idle_std_us",
        kind: Kind::Float,
        unit: "us",
        definition: "Sample standard deviation of the length of idle periods: gaps of more than 5 s; 0 without any",
        cell: |f| f.state.active_idle.idle().moments().std_cell(),
    },
    Column {
        name: "idle_max_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Longest of the idle periods: gaps of more than 5 s; 0 without any",
        cell: |f| int(f.state.active_idle.idle().extremes().max()),
    },
    Column {
        name: "idle_min_us",
        kind: Kind::Int,
        unit: "us",
        definition: "Shortest of the idle periods: gaps of more than 5 s; 0 without any",
        cell: |f| int(f.state.active_idle.idle().extremes().min()),
    },
    Column {
        name: "early_payload_bytes",
        kind: Kind::IntList,
        unit: "bytes",
        definition: "Payload of the first 16 packets, one by one: forward positive, backward negative, at most 65,535",
        cell: |f| Cell::IntList(f.state.early.signed_payloads(f.head.packets)),
    },
    Column {
        name: "early_direction",
        kind: Kind::IntList,
        unit: "",
        definition: "Direction of the first 16 packets: 1 forward, -1 backward",
        cell: |f| Cell::IntList(f.state.early.directions(f.head.packets)),
    },
    Column {
        name: "early_gap_us",
        kind: Kind::IntList,
        unit: "us",
        definition: "Gap before each of the first 16 packets; the first is 0",
        cell: |f| Cell::IntList(f.state.early.gaps_us(f.head.packets)),
    },
    Column {
        name: "early_tcp_flags",
        kind: Kind::IntList,
        unit: "",
        definition: "TCP flag byte of the first 16 packets (FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128)",
        cell: |f| Cell::IntList(f.state.early.tcp_flags(f.head.packets)),
    },
];

fn int(value: u32) -> Cell {
    Cell::Int(i64::from(value))
}

fn optional(value: Option<u32>) -> Cell {
    value.map_or(Cell::Null, int)
}

fn is_icmp(flow: &Flow) -> bool {
    matches!(flow.head.key.protocol, protocol::ICMP | protocol::ICMPV6)
}

fn port(flow: &Flow, endpoint: &Endpoint) -> Cell {
    // The key of an ICMP flow has type and code where ports would be.
    Cell::Int(if is_icmp(flow) { 0 } else { i64::from(endpoint.port) })
}

fn icmp(flow: &Flow, value: u8) -> Cell {
    if is_icmp(flow) { Cell::Int(i64::from(value)) } else { Cell::Null }
}

fn per_s(flow: &Flow, amount: u64) -> Cell {
    let duration_us = flow.head.duration_us();
    Cell::Float(if duration_us == 0 { 0.0 } else { amount as f64 / (duration_us as f64 / 1e6) })
}

fn ratio(of: u32, to: u32) -> Cell {
    Cell::Float(if to == 0 { 0.0 } else { f64::from(of) / f64::from(to) })
}

impl TaplineState {
    fn active(&self, head: &FlowHead) -> Periods {
        self.active_idle.active(u32::try_from(head.duration_us()).unwrap_or(u32::MAX))
    }
}
