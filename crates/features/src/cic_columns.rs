//! The columns of the CICFlowMeter schemas: names and order of each version's header.
//!
//! The three tables share definitions and accessors; the columns differ in name (cic-2018) or are there only in
//! cic-gints. Where versions compute differently, the definition says so and the accessor asks the state's version.

use tapline_record::column::Kind;
use tapline_record::{Cell, CicVersion, Column, FlowRecord, ShortText, protocol, tcp_flag};

use crate::cic_state::CicState;
use crate::summary_statistics::SummaryStatistics;

type Flow = FlowRecord<CicState>;

/// One definition under the names that the versions give it; `name_2018` is `None` where only cic-gints has the column.
struct Definition {
    name_2018: Option<&'static str>,
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    definition: &'static str,
    cell: fn(&Flow) -> Cell,
}

/// Every column of any version, in the order of cic-gints.
const DEFINITIONS: [Definition; 94] = [
    Definition {
        name_2018: Some("Flow ID"),
        name: "Flow ID",
        kind: Kind::Text,
        unit: "",
        definition: "Addresses, ports and protocol joined by dashes: of the first packet's direction (cic-2018: the address that is smaller as signed bytes first)",
        cell: |f| Cell::Text(flow_id(f)),
    },
    Definition {
        name_2018: Some("Src IP"),
        name: "Src IP",
        kind: Kind::Ip,
        unit: "",
        definition: "Source of the first packet; after a timeout that of the flow before; cic-gints: destination of a SYN-ACK that came first",
        cell: |f| Cell::Ip(f.head.initiator().ip(4)),
    },
    Definition {
        name_2018: Some("Src Port"),
        name: "Src Port",
        kind: Kind::Int,
        unit: "",
        definition: "Its port; 0 unless TCP or UDP",
        cell: |f| Cell::Int(i64::from(f.head.initiator().port)),
    },
    Definition {
        name_2018: Some("Dst IP"),
        name: "Dst IP",
        kind: Kind::Ip,
        unit: "",
        definition: "The other address",
        cell: |f| Cell::Ip(f.head.responder().ip(4)),
    },
    Definition {
        name_2018: Some("Dst Port"),
        name: "Dst Port",
        kind: Kind::Int,
        unit: "",
        definition: "Its port; 0 unless TCP or UDP",
        cell: |f| Cell::Int(i64::from(f.head.responder().port)),
    },
    Definition {
        name_2018: Some("Protocol"),
        name: "Protocol",
        kind: Kind::Int,
        unit: "",
        definition: "6, 17, else 0; cic-gints also 1, 2 and 132",
        cell: |f| Cell::Int(i64::from(f.head.key.protocol)),
    },
    Definition {
        name_2018: Some("Timestamp"),
        name: "Timestamp",
        kind: Kind::Text,
        unit: "",
        definition: "First packet, UTC: dd/MM/yyyy hh:mm:ss on the 12-hour clock (cic-2018), with AM or PM (cic-head), yyyy-MM-dd HH:mm:ss with 0, 3 or 6 fraction digits (cic-gints)",
        cell: |f| Cell::Text(timestamp(f)),
    },
    Definition {
        name_2018: Some("Flow Duration"),
        name: "Flow Duration",
        kind: Kind::Int,
        unit: "us",
        definition: "Last packet to arrive minus first; negative when packets are out of order",
        cell: |f| Cell::Int(f.head.duration_us()),
    },
    Definition {
        name_2018: Some("Tot Fwd Pkts"),
        name: "Total Fwd Packet",
        kind: Kind::Int,
        unit: "packets",
        definition: "Forward packets",
        cell: |f| Cell::count(f.state.sides[0].payload.n()),
    },
    Definition {
        name_2018: Some("Tot Bwd Pkts"),
        name: "Total Bwd packets",
        kind: Kind::Int,
        unit: "packets",
        definition: "Backward packets",
        cell: |f| Cell::count(f.state.sides[1].payload.n()),
    },
    Definition {
        name_2018: Some("TotLen Fwd Pkts"),
        name: "Total Length of Fwd Packet",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Forward layer-4 payload (not packet length)",
        cell: |f| Cell::Float(f.state.sides[0].payload.sum()),
    },
    Definition {
        name_2018: Some("TotLen Bwd Pkts"),
        name: "Total Length of Bwd Packet",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Backward layer-4 payload (not packet length)",
        cell: |f| Cell::Float(f.state.sides[1].payload.sum()),
    },
    Definition {
        name_2018: Some("Fwd Pkt Len Max"),
        name: "Fwd Packet Length Max",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Largest payload of forward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[0].payload, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Fwd Pkt Len Min"),
        name: "Fwd Packet Length Min",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Smallest payload of forward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[0].payload, SummaryStatistics::min),
    },
    Definition {
        name_2018: Some("Fwd Pkt Len Mean"),
        name: "Fwd Packet Length Mean",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Mean payload of forward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[0].payload, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Fwd Pkt Len Std"),
        name: "Fwd Packet Length Std",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Sample standard deviation of the payload of forward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[0].payload, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Bwd Pkt Len Max"),
        name: "Bwd Packet Length Max",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Largest payload of backward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[1].payload, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Bwd Pkt Len Min"),
        name: "Bwd Packet Length Min",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Smallest payload of backward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[1].payload, SummaryStatistics::min),
    },
    Definition {
        name_2018: Some("Bwd Pkt Len Mean"),
        name: "Bwd Packet Length Mean",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Mean payload of backward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[1].payload, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Bwd Pkt Len Std"),
        name: "Bwd Packet Length Std",
        kind: Kind::FloatOrZero,
        unit: "bytes",
        definition: "Sample standard deviation of the payload of backward packets; integer 0 without any",
        cell: |f| of(&f.state.sides[1].payload, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Flow Byts/s"),
        name: "Flow Bytes/s",
        kind: Kind::Float,
        unit: "bytes/s",
        definition: "Payload over the duration; of duration 0 Infinity or NaN, cic-gints -1",
        cell: |f| rate(f, f.state.sides[0].payload.sum() + f.state.sides[1].payload.sum()),
    },
    Definition {
        name_2018: Some("Flow Pkts/s"),
        name: "Flow Packets/s",
        kind: Kind::Float,
        unit: "packets/s",
        definition: "Packets over the duration; of duration 0 Infinity, cic-gints -1",
        cell: |f| rate(f, packets(f) as f64),
    },
    Definition {
        name_2018: Some("Flow IAT Mean"),
        name: "Flow IAT Mean",
        kind: Kind::Float,
        unit: "us",
        definition: "Mean gap between consecutive packets; of one packet NaN, cic-gints 0.0",
        cell: |f| flow_gap(f, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Flow IAT Std"),
        name: "Flow IAT Std",
        kind: Kind::Float,
        unit: "us",
        definition: "Sample standard deviation of the gap between consecutive packets; of one packet NaN, cic-gints 0.0",
        cell: |f| flow_gap(f, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Flow IAT Max"),
        name: "Flow IAT Max",
        kind: Kind::Float,
        unit: "us",
        definition: "Largest gap between consecutive packets; of one packet NaN, cic-gints 0.0",
        cell: |f| flow_gap(f, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Flow IAT Min"),
        name: "Flow IAT Min",
        kind: Kind::Float,
        unit: "us",
        definition: "Smallest gap between consecutive packets; of one packet NaN, cic-gints 0.0",
        cell: |f| flow_gap(f, SummaryStatistics::min),
    },
    Definition {
        name_2018: Some("Fwd IAT Tot"),
        name: "Fwd IAT Total",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Sum of the gaps between forward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 0, SummaryStatistics::sum),
    },
    Definition {
        name_2018: Some("Fwd IAT Mean"),
        name: "Fwd IAT Mean",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Mean gap between forward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 0, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Fwd IAT Std"),
        name: "Fwd IAT Std",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Sample standard deviation of the gap between forward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 0, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Fwd IAT Max"),
        name: "Fwd IAT Max",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Largest gap between forward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 0, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Fwd IAT Min"),
        name: "Fwd IAT Min",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Smallest gap between forward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 0, SummaryStatistics::min),
    },
    Definition {
        name_2018: Some("Bwd IAT Tot"),
        name: "Bwd IAT Total",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Sum of the gaps between backward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 1, SummaryStatistics::sum),
    },
    Definition {
        name_2018: Some("Bwd IAT Mean"),
        name: "Bwd IAT Mean",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Mean gap between backward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 1, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Bwd IAT Std"),
        name: "Bwd IAT Std",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Sample standard deviation of the gap between backward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 1, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Bwd IAT Max"),
        name: "Bwd IAT Max",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Largest gap between backward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 1, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Bwd IAT Min"),
        name: "Bwd IAT Min",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Smallest gap between backward packets; integer 0 with fewer than two",
        cell: |f| gap(f, 1, SummaryStatistics::min),
    },
    Definition {
        name_2018: Some("Fwd PSH Flags"),
        name: "Fwd PSH Flags",
        kind: Kind::Int,
        unit: "packets",
        definition: "Forward packets with PSH; cic-2018 and cic-head look at the first packet of the flow only",
        cell: |f| Cell::count(f.state.sides[0].psh),
    },
    Definition {
        name_2018: Some("Bwd PSH Flags"),
        name: "Bwd PSH Flags",
        kind: Kind::Int,
        unit: "packets",
        definition: "Backward packets with PSH; cic-2018 and cic-head look at the first packet of the flow only",
        cell: |f| Cell::count(f.state.sides[1].psh),
    },
    Definition {
        name_2018: Some("Fwd URG Flags"),
        name: "Fwd URG Flags",
        kind: Kind::Int,
        unit: "packets",
        definition: "Forward packets with URG; cic-2018 and cic-head look at the first packet of the flow only",
        cell: |f| Cell::count(f.state.sides[0].urg),
    },
    Definition {
        name_2018: Some("Bwd URG Flags"),
        name: "Bwd URG Flags",
        kind: Kind::Int,
        unit: "packets",
        definition: "Backward packets with URG; cic-2018 and cic-head look at the first packet of the flow only",
        cell: |f| Cell::count(f.state.sides[1].urg),
    },
    Definition {
        name_2018: None,
        name: "Fwd RST Flags",
        kind: Kind::Int,
        unit: "packets",
        definition: "Forward packets with RST; cic-2018 and cic-head look at the first packet of the flow only",
        cell: |f| Cell::count(f.state.sides[0].rst),
    },
    Definition {
        name_2018: None,
        name: "Bwd RST Flags",
        kind: Kind::Int,
        unit: "packets",
        definition: "Backward packets with RST; cic-2018 and cic-head look at the first packet of the flow only",
        cell: |f| Cell::count(f.state.sides[1].rst),
    },
    Definition {
        name_2018: Some("Fwd Header Len"),
        name: "Fwd Header Length",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Sum of forward layer-4 headers: TCP with options, UDP 8, others 0",
        cell: |f| Cell::count(f.state.sides[0].header_bytes),
    },
    Definition {
        name_2018: Some("Bwd Header Len"),
        name: "Bwd Header Length",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Sum of backward layer-4 headers: TCP with options, UDP 8, others 0",
        cell: |f| Cell::count(f.state.sides[1].header_bytes),
    },
    Definition {
        name_2018: Some("Fwd Pkts/s"),
        name: "Fwd Packets/s",
        kind: Kind::Float,
        unit: "packets/s",
        definition: "Forward packets over the duration; 0.0 if that is not positive",
        cell: |f| Cell::Float(packets_per_s(f, 0)),
    },
    Definition {
        name_2018: Some("Bwd Pkts/s"),
        name: "Bwd Packets/s",
        kind: Kind::Float,
        unit: "packets/s",
        definition: "Backward packets over the duration; 0.0 if that is not positive",
        cell: |f| Cell::Float(packets_per_s(f, 1)),
    },
    Definition {
        name_2018: Some("Pkt Len Min"),
        name: "Packet Length Min",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Smallest payload over all packets; cic-2018 and cic-head count the first packet twice",
        cell: |f| Cell::Float(f.state.payload.min()),
    },
    Definition {
        name_2018: Some("Pkt Len Max"),
        name: "Packet Length Max",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Largest payload over all packets; cic-2018 and cic-head count the first packet twice",
        cell: |f| Cell::Float(f.state.payload.max()),
    },
    Definition {
        name_2018: Some("Pkt Len Mean"),
        name: "Packet Length Mean",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Mean payload over all packets; cic-2018 and cic-head count the first packet twice",
        cell: |f| Cell::Float(f.state.payload.mean()),
    },
    Definition {
        name_2018: Some("Pkt Len Std"),
        name: "Packet Length Std",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Sample standard deviation of the payload over all packets; cic-2018 and cic-head count the first packet twice",
        cell: |f| Cell::Float(f.state.payload.std()),
    },
    Definition {
        name_2018: Some("Pkt Len Var"),
        name: "Packet Length Variance",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Sample variance of the payload over all packets; cic-2018 and cic-head count the first packet twice",
        cell: |f| Cell::Float(f.state.payload.variance()),
    },
    Definition {
        name_2018: Some("FIN Flag Cnt"),
        name: "FIN Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with FIN; cic-2018 looks at the first packet only and prints RST here",
        cell: |f| flag(f, tcp_flag::FIN, tcp_flag::RST),
    },
    Definition {
        name_2018: Some("SYN Flag Cnt"),
        name: "SYN Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with SYN; cic-2018 looks at the first packet only and prints PSH here",
        cell: |f| flag(f, tcp_flag::SYN, tcp_flag::PSH),
    },
    Definition {
        name_2018: Some("RST Flag Cnt"),
        name: "RST Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with RST; cic-2018 looks at the first packet only and prints ECE here",
        cell: |f| flag(f, tcp_flag::RST, tcp_flag::ECE),
    },
    Definition {
        name_2018: Some("PSH Flag Cnt"),
        name: "PSH Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with PSH; cic-2018 looks at the first packet only and prints SYN here",
        cell: |f| flag(f, tcp_flag::PSH, tcp_flag::SYN),
    },
    Definition {
        name_2018: Some("ACK Flag Cnt"),
        name: "ACK Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with ACK; cic-2018 looks at the first packet only and prints ACK here",
        cell: |f| flag(f, tcp_flag::ACK, tcp_flag::ACK),
    },
    Definition {
        name_2018: Some("URG Flag Cnt"),
        name: "URG Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with URG; cic-2018 looks at the first packet only and prints FIN here",
        cell: |f| flag(f, tcp_flag::URG, tcp_flag::FIN),
    },
    Definition {
        name_2018: Some("CWE Flag Count"),
        name: "CWR Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with CWR; cic-2018 looks at the first packet only and prints URG here",
        cell: |f| flag(f, tcp_flag::CWR, tcp_flag::URG),
    },
    Definition {
        name_2018: Some("ECE Flag Cnt"),
        name: "ECE Flag Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Packets with ECE; cic-2018 looks at the first packet only and prints CWR here",
        cell: |f| flag(f, tcp_flag::ECE, tcp_flag::CWR),
    },
    Definition {
        name_2018: Some("Down/Up Ratio"),
        name: "Down/Up Ratio",
        kind: Kind::Float,
        unit: "",
        definition: "Backward per forward packet; an integer division but in cic-gints",
        cell: |f| Cell::Float(down_up(f)),
    },
    Definition {
        name_2018: Some("Pkt Size Avg"),
        name: "Average Packet Size",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Payload per packet; cic-2018 and cic-head add the first packet's payload twice",
        cell: |f| Cell::Float(f.state.payload.sum() / packets(f) as f64),
    },
    Definition {
        name_2018: Some("Fwd Seg Size Avg"),
        name: "Fwd Segment Size Avg",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Forward payload per packet",
        cell: |f| Cell::Float(segment_mean(f, 0)),
    },
    Definition {
        name_2018: Some("Bwd Seg Size Avg"),
        name: "Bwd Segment Size Avg",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Backward payload per packet",
        cell: |f| Cell::Float(segment_mean(f, 1)),
    },
    Definition {
        name_2018: Some("Fwd Byts/b Avg"),
        name: "Fwd Bytes/Bulk Avg",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Payload per forward bulk; cic-2018: 0; cic-head: forward 0, backward both directions mixed; integers there",
        cell: |f| bulk_bytes(f, 0),
    },
    Definition {
        name_2018: Some("Fwd Pkts/b Avg"),
        name: "Fwd Packet/Bulk Avg",
        kind: Kind::Float,
        unit: "packets",
        definition: "Packets per forward bulk; same remarks as for bytes",
        cell: |f| bulk_packets(f, 0),
    },
    Definition {
        name_2018: Some("Fwd Blk Rate Avg"),
        name: "Fwd Bulk Rate Avg",
        kind: Kind::Float,
        unit: "bytes/s",
        definition: "Payload rate within forward bulks; same remarks as for bytes",
        cell: |f| bulk_rate(f, 0),
    },
    Definition {
        name_2018: Some("Bwd Byts/b Avg"),
        name: "Bwd Bytes/Bulk Avg",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Payload per backward bulk; cic-2018: 0; cic-head: forward 0, backward both directions mixed; integers there",
        cell: |f| bulk_bytes(f, 1),
    },
    Definition {
        name_2018: Some("Bwd Pkts/b Avg"),
        name: "Bwd Packet/Bulk Avg",
        kind: Kind::Float,
        unit: "packets",
        definition: "Packets per backward bulk; same remarks as for bytes",
        cell: |f| bulk_packets(f, 1),
    },
    Definition {
        name_2018: Some("Bwd Blk Rate Avg"),
        name: "Bwd Bulk Rate Avg",
        kind: Kind::Float,
        unit: "bytes/s",
        definition: "Payload rate within backward bulks; same remarks as for bytes",
        cell: |f| bulk_rate(f, 1),
    },
    Definition {
        name_2018: Some("Subflow Fwd Pkts"),
        name: "Subflow Fwd Packets",
        kind: Kind::Float,
        unit: "packets",
        definition: "Forward packets per gap of more than 1 s; 0 without gaps; cic-2018: all forward packets; an integer but in cic-gints",
        cell: |f| subflow(f, f.state.sides[0].payload.n()),
    },
    Definition {
        name_2018: Some("Subflow Fwd Byts"),
        name: "Subflow Fwd Bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Forward payload per gap of more than 1 s; same remarks as for packets",
        cell: |f| subflow(f, f.state.sides[0].payload.sum() as u64),
    },
    Definition {
        name_2018: Some("Subflow Bwd Pkts"),
        name: "Subflow Bwd Packets",
        kind: Kind::Float,
        unit: "packets",
        definition: "Backward packets per gap of more than 1 s; 0 without gaps; cic-2018: all backward packets; an integer but in cic-gints",
        cell: |f| subflow(f, f.state.sides[1].payload.n()),
    },
    Definition {
        name_2018: Some("Subflow Bwd Byts"),
        name: "Subflow Bwd Bytes",
        kind: Kind::Float,
        unit: "bytes",
        definition: "Backward payload per gap of more than 1 s; same remarks as for packets",
        cell: |f| subflow(f, f.state.sides[1].payload.sum() as u64),
    },
    Definition {
        name_2018: Some("Init Fwd Win Byts"),
        name: "FWD Init Win Bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "TCP window of the flow's first packet; not TCP: 0, cic-2018 -1",
        cell: |f| Cell::Int(f.state.sides[0].window),
    },
    Definition {
        name_2018: Some("Init Bwd Win Byts"),
        name: "Bwd Init Win Bytes",
        kind: Kind::Int,
        unit: "bytes",
        definition: "TCP window of the last backward packet; cic-gints: of the first that is not 0",
        cell: |f| Cell::Int(f.state.sides[1].window),
    },
    Definition {
        name_2018: Some("Fwd Act Data Pkts"),
        name: "Fwd Act Data Pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "Forward packets with payload; cic-2018 and cic-head leave out the first",
        cell: |f| Cell::count(f.state.sides[0].data_packets),
    },
    Definition {
        name_2018: None,
        name: "Bwd Act Data Pkts",
        kind: Kind::Int,
        unit: "packets",
        definition: "Backward packets with payload",
        cell: |f| Cell::count(f.state.sides[1].data_packets),
    },
    Definition {
        name_2018: Some("Fwd Seg Size Min"),
        name: "Fwd Seg Size Min",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest forward layer-4 header (not a segment size)",
        cell: |f| Cell::Int(i64::from(f.state.sides[0].header_min_bytes)),
    },
    Definition {
        name_2018: None,
        name: "Bwd Seg Size Min",
        kind: Kind::Int,
        unit: "bytes",
        definition: "Smallest backward layer-4 header, but 0 unless the first packet was backward",
        cell: |f| Cell::Int(i64::from(f.state.sides[1].header_min_bytes)),
    },
    Definition {
        name_2018: Some("Active Mean"),
        name: "Active Mean",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Mean active period (the last one is never counted); integer 0 without any",
        cell: |f| of(&f.state.active, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Active Std"),
        name: "Active Std",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Sample standard deviation of the active period (the last one is never counted); integer 0 without any",
        cell: |f| of(&f.state.active, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Active Max"),
        name: "Active Max",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Longest active period (the last one is never counted); integer 0 without any",
        cell: |f| of(&f.state.active, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Active Min"),
        name: "Active Min",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Shortest active period (the last one is never counted); integer 0 without any",
        cell: |f| of(&f.state.active, SummaryStatistics::min),
    },
    Definition {
        name_2018: Some("Idle Mean"),
        name: "Idle Mean",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Mean gap of more than 5 s; integer 0 without any",
        cell: |f| of(&f.state.idle, SummaryStatistics::mean),
    },
    Definition {
        name_2018: Some("Idle Std"),
        name: "Idle Std",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Sample standard deviation of the gap of more than 5 s; integer 0 without any",
        cell: |f| of(&f.state.idle, SummaryStatistics::std),
    },
    Definition {
        name_2018: Some("Idle Max"),
        name: "Idle Max",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Longest gap of more than 5 s; integer 0 without any",
        cell: |f| of(&f.state.idle, SummaryStatistics::max),
    },
    Definition {
        name_2018: Some("Idle Min"),
        name: "Idle Min",
        kind: Kind::FloatOrZero,
        unit: "us",
        definition: "Shortest gap of more than 5 s; integer 0 without any",
        cell: |f| of(&f.state.idle, SummaryStatistics::min),
    },
    Definition {
        name_2018: None,
        name: "ICMP Code",
        kind: Kind::Int,
        unit: "",
        definition: "Code of the first packet; -1 unless ICMP",
        cell: |f| Cell::Int(f.state.icmp_code),
    },
    Definition {
        name_2018: None,
        name: "ICMP Type",
        kind: Kind::Int,
        unit: "",
        definition: "Type of the first packet; -1 unless ICMP",
        cell: |f| Cell::Int(f.state.icmp_type),
    },
    Definition {
        name_2018: None,
        name: "Fwd TCP Retrans. Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Forward TCP packets equal to an earlier one in sequence, acknowledgement, payload size and window",
        cell: |f| Cell::count(f.state.sides[0].retransmitted),
    },
    Definition {
        name_2018: None,
        name: "Bwd TCP Retrans. Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Backward TCP packets equal to an earlier one in sequence, acknowledgement, payload size and window",
        cell: |f| Cell::count(f.state.sides[1].retransmitted),
    },
    Definition {
        name_2018: None,
        name: "Total TCP Retrans. Count",
        kind: Kind::Int,
        unit: "packets",
        definition: "Both directions together",
        cell: |f| Cell::count(f.state.sides[0].retransmitted + f.state.sides[1].retransmitted),
    },
    Definition {
        name_2018: None,
        name: "Total Connection Flow Time",
        kind: Kind::Int,
        unit: "us",
        definition: "TCP and UDP: duration, summed over the flows of a tuple that timeouts cut; else 0",
        cell: |f| Cell::Int(connection_time_us(f)),
    },
    Definition {
        name_2018: Some("Label"),
        name: "Label",
        kind: Kind::Text,
        unit: "",
        definition: "A constant: nothing is labelled by the meter",
        cell: |f| Cell::Name(label(f)),
    },
];

/// The columns of `cic-2018`: 84, names of the CSE-CIC-IDS2018 tables.
pub const CIC_2018: &[Column<Flow>] = &select::<84>(CicVersion::V2018);

/// The columns of `cic-head`: 84.
pub const CIC_HEAD: &[Column<Flow>] = &select::<84>(CicVersion::Head);

/// The columns of `cic-gints`: 94.
pub const CIC_GINTS: &[Column<Flow>] = &select::<94>(CicVersion::Gints);

const fn select<const N: usize>(version: CicVersion) -> [Column<Flow>; N] {
    let mut columns = [const {
        Column { name: "", kind: Kind::Int, unit: "", definition: "", cell: |_: &Flow| Cell::Null }
    }; N];
    let (mut from, mut to) = (0, 0);
    while from < DEFINITIONS.len() {
        let Definition { name_2018, name, kind, unit, definition, cell } = DEFINITIONS[from];
        let name = match (version, name_2018) {
            (CicVersion::V2018, name_2018) => name_2018,
            (CicVersion::Head, None) => None,
            (CicVersion::Head | CicVersion::Gints, _) => Some(name),
        };
        if let Some(name) = name {
            columns[to] = Column { name, kind, unit, definition, cell };
            to += 1;
        }
        from += 1;
    }
    assert!(to == N, "the number of columns of this version");
    columns
}

fn packets(f: &Flow) -> u64 {
    f.state.sides[0].payload.n() + f.state.sides[1].payload.n()
}

fn is_gints(f: &Flow) -> bool {
    f.state.version == CicVersion::Gints
}

/// A statistic, or CICFlowMeter's integer 0 where there is no data.
fn of(statistics: &SummaryStatistics, read: fn(&SummaryStatistics) -> f64) -> Cell {
    if statistics.n() == 0 { Cell::Int(0) } else { Cell::Float(read(statistics)) }
}

fn gap(f: &Flow, side: usize, read: fn(&SummaryStatistics) -> f64) -> Cell {
    let side = &f.state.sides[side];
    if side.payload.n() > 1 { Cell::Float(read(&side.gap)) } else { Cell::Int(0) }
}

fn flow_gap(f: &Flow, read: fn(&SummaryStatistics) -> f64) -> Cell {
    let value = read(&f.state.gap);
    Cell::Float(if is_gints(f) && value.is_nan() { 0.0 } else { value })
}

fn rate(f: &Flow, amount: f64) -> Cell {
    let duration_us = f.head.duration_us();
    if is_gints(f) && duration_us == 0 {
        return Cell::Int(-1);
    }
    // Of duration 0 this is Infinity, or NaN where the amount is 0 too: as in Java. Nothing over a negative duration is
    // a negative zero, which the golden rows print without its sign: hence the sum.
    Cell::Float(amount / (duration_us as f64 / 1_000_000.0) + 0.0)
}

fn packets_per_s(f: &Flow, side: usize) -> f64 {
    let duration_us = f.head.duration_us();
    if duration_us > 0 {
        f.state.sides[side].payload.n() as f64 / (duration_us as f64 / 1_000_000.0)
    } else {
        0.0
    }
}

fn segment_mean(f: &Flow, side: usize) -> f64 {
    let payload = &f.state.sides[side].payload;
    if payload.n() == 0 { 0.0 } else { payload.sum() / payload.n() as f64 }
}

fn down_up(f: &Flow) -> f64 {
    let (forward, backward) = (f.state.sides[0].payload.n(), f.state.sides[1].payload.n());
    match (forward, is_gints(f)) {
        (0, _) => 0.0,
        (_, true) => backward as f64 / forward as f64,
        (_, false) => (backward / forward) as f64,
    }
}

fn flag(f: &Flow, flag: u8, printed_by_2018: u8) -> Cell {
    let flag = if f.state.version == CicVersion::V2018 { printed_by_2018 } else { flag };
    Cell::count(f.state.flags[flag.trailing_zeros() as usize])
}

fn bulk_bytes(f: &Flow, side: usize) -> Cell {
    let bulk = &f.state.sides[side].bulk;
    quotient(f, bulk.bytes, bulk.bulks)
}

fn bulk_packets(f: &Flow, side: usize) -> Cell {
    let bulk = &f.state.sides[side].bulk;
    quotient(f, bulk.packets, bulk.bulks)
}

fn bulk_rate(f: &Flow, side: usize) -> Cell {
    let bulk = &f.state.sides[side].bulk;
    let rate = if bulk.duration_us == 0 { 0.0 } else { bulk.bytes as f64 / (bulk.duration_us as f64 / 1e6) };
    if is_gints(f) { Cell::Float(rate) } else { Cell::Int(rate as i64) }
}

fn subflow(f: &Flow, amount: u64) -> Cell {
    quotient(f, amount, f.state.subflows)
}

/// `of / by`, 0 if `by` is 0: a double in cic-gints, an integer elsewhere.
fn quotient(f: &Flow, of: u64, by: u64) -> Cell {
    match (by, is_gints(f)) {
        (0, true) => Cell::Float(0.0),
        (0, false) => Cell::Int(0),
        (_, true) => Cell::Float(of as f64 / by as f64),
        (_, false) => Cell::count(of / by),
    }
}

fn connection_time_us(f: &Flow) -> i64 {
    match f.head.key.protocol {
        protocol::TCP | protocol::UDP => f.state.connection_time_us.saturating_add(f.head.duration_us()),
        _ => 0,
    }
}

fn label(f: &Flow) -> &'static str {
    if f.state.version == CicVersion::V2018 { "No Label" } else { "NeedManualLabel" }
}

fn flow_id(f: &Flow) -> ShortText {
    let (lo, hi) = (&f.head.key.lo, &f.head.key.hi);
    let lo_first = match f.state.version {
        // Java compares signed bytes: 188.x stands before 10.x.
        CicVersion::V2018 => signed(lo.addr) <= signed(hi.addr),
        CicVersion::Head | CicVersion::Gints => f.head.id_is_lo,
    };
    let (first, second) = if lo_first { (lo, hi) } else { (hi, lo) };
    let mut text = ShortText::new();
    for endpoint in [first, second] {
        let [.., a, b, c, d] = endpoint.addr;
        for (byte, end) in [(a, b"."), (b, b"."), (c, b"."), (d, b"-")] {
            text.push_number(u32::from(byte));
            text.push_ascii(end);
        }
    }
    for port in [first.port, second.port] {
        text.push_number(u32::from(port));
        text.push_ascii(b"-");
    }
    text.push_number(u32::from(f.head.key.protocol));
    text
}

fn signed(addr: [u8; 16]) -> [i8; 4] {
    let [.., a, b, c, d] = addr;
    [a, b, c, d].map(|byte| byte as i8)
}

fn timestamp(f: &Flow) -> ShortText {
    let civil = f.head.start.civil();
    let year = civil.year.clamp(0, 9999) as u32;
    let (month, day) = (u32::from(civil.month), u32::from(civil.day));
    let (hour, minute, second) = (u32::from(civil.hour), u32::from(civil.minute), u32::from(civil.second));
    let mut text = ShortText::new();
    let mut put = |separator: &[u8], value: u32, width: usize| {
        text.push_ascii(separator);
        text.push_padded(value, width);
    };
    if is_gints(f) {
        put(b"", year, 4);
        put(b"-", month, 2);
        put(b"-", day, 2);
        put(b" ", hour, 2);
        put(b":", minute, 2);
        put(b":", second, 2);
        match civil.micros {
            0 => {}
            micros if micros % 1_000 == 0 => put(b".", micros / 1_000, 3),
            micros => put(b".", micros, 6),
        }
        return text;
    }
    put(b"", day, 2);
    put(b"/", month, 2);
    put(b"/", year, 4);
    put(b" ", (hour + 11) % 12 + 1, 2);
    put(b":", minute, 2);
    put(b":", second, 2);
    if f.state.version == CicVersion::Head {
        text.push_ascii(if hour < 12 { b" AM" } else { b" PM" });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(columns: &[Column<Flow>]) -> String {
        columns.iter().map(|column| column.name).collect::<Vec<_>>().join(",")
    }

    /// The header lines as the tools write them.
    #[test]
    fn headers() {
        assert_eq!(header(CIC_HEAD), HEAD);
        assert_eq!(header(CIC_2018), V2018);
        assert_eq!(header(CIC_GINTS), GINTS);
    }

    const HEAD: &str = "Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Total Fwd Packet,Total Bwd packets,Total Length of Fwd Packet,Total Length of Bwd Packet,Fwd Packet Length Max,Fwd Packet Length Min,Fwd Packet Length Mean,Fwd Packet Length Std,Bwd Packet Length Max,Bwd Packet Length Min,Bwd Packet Length Mean,Bwd Packet Length Std,Flow Bytes/s,Flow Packets/s,Flow IAT Mean,Flow IAT Std,Flow IAT Max,Flow IAT Min,Fwd IAT Total,Fwd IAT Mean,Fwd IAT Std,Fwd IAT Max,Fwd IAT Min,Bwd IAT Total,Bwd IAT Mean,Bwd IAT Std,Bwd IAT Max,Bwd IAT Min,Fwd PSH Flags,Bwd PSH Flags,Fwd URG Flags,Bwd URG Flags,Fwd Header Length,Bwd Header Length,Fwd Packets/s,Bwd Packets/s,Packet Length Min,Packet Length Max,Packet Length Mean,Packet Length Std,Packet Length Variance,FIN Flag Count,SYN Flag Count,RST Flag Count,PSH Flag Count,ACK Flag Count,URG Flag Count,CWR Flag Count,ECE Flag Count,Down/Up Ratio,Average Packet Size,Fwd Segment Size Avg,Bwd Segment Size Avg,Fwd Bytes/Bulk Avg,Fwd Packet/Bulk Avg,Fwd Bulk Rate Avg,Bwd Bytes/Bulk Avg,Bwd Packet/Bulk Avg,Bwd Bulk Rate Avg,Subflow Fwd Packets,Subflow Fwd Bytes,Subflow Bwd Packets,Subflow Bwd Bytes,FWD Init Win Bytes,Bwd Init Win Bytes,Fwd Act Data Pkts,Fwd Seg Size Min,Active Mean,Active Std,Active Max,Active Min,Idle Mean,Idle Std,Idle Max,Idle Min,Label";
    const V2018: &str = "Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,Tot Bwd Pkts,TotLen Fwd Pkts,TotLen Bwd Pkts,Fwd Pkt Len Max,Fwd Pkt Len Min,Fwd Pkt Len Mean,Fwd Pkt Len Std,Bwd Pkt Len Max,Bwd Pkt Len Min,Bwd Pkt Len Mean,Bwd Pkt Len Std,Flow Byts/s,Flow Pkts/s,Flow IAT Mean,Flow IAT Std,Flow IAT Max,Flow IAT Min,Fwd IAT Tot,Fwd IAT Mean,Fwd IAT Std,Fwd IAT Max,Fwd IAT Min,Bwd IAT Tot,Bwd IAT Mean,Bwd IAT Std,Bwd IAT Max,Bwd IAT Min,Fwd PSH Flags,Bwd PSH Flags,Fwd URG Flags,Bwd URG Flags,Fwd Header Len,Bwd Header Len,Fwd Pkts/s,Bwd Pkts/s,Pkt Len Min,Pkt Len Max,Pkt Len Mean,Pkt Len Std,Pkt Len Var,FIN Flag Cnt,SYN Flag Cnt,RST Flag Cnt,PSH Flag Cnt,ACK Flag Cnt,URG Flag Cnt,CWE Flag Count,ECE Flag Cnt,Down/Up Ratio,Pkt Size Avg,Fwd Seg Size Avg,Bwd Seg Size Avg,Fwd Byts/b Avg,Fwd Pkts/b Avg,Fwd Blk Rate Avg,Bwd Byts/b Avg,Bwd Pkts/b Avg,Bwd Blk Rate Avg,Subflow Fwd Pkts,Subflow Fwd Byts,Subflow Bwd Pkts,Subflow Bwd Byts,Init Fwd Win Byts,Init Bwd Win Byts,Fwd Act Data Pkts,Fwd Seg Size Min,Active Mean,Active Std,Active Max,Active Min,Idle Mean,Idle Std,Idle Max,Idle Min,Label";
    const GINTS: &str = "Flow ID,Src IP,Src Port,Dst IP,Dst Port,Protocol,Timestamp,Flow Duration,Total Fwd Packet,Total Bwd packets,Total Length of Fwd Packet,Total Length of Bwd Packet,Fwd Packet Length Max,Fwd Packet Length Min,Fwd Packet Length Mean,Fwd Packet Length Std,Bwd Packet Length Max,Bwd Packet Length Min,Bwd Packet Length Mean,Bwd Packet Length Std,Flow Bytes/s,Flow Packets/s,Flow IAT Mean,Flow IAT Std,Flow IAT Max,Flow IAT Min,Fwd IAT Total,Fwd IAT Mean,Fwd IAT Std,Fwd IAT Max,Fwd IAT Min,Bwd IAT Total,Bwd IAT Mean,Bwd IAT Std,Bwd IAT Max,Bwd IAT Min,Fwd PSH Flags,Bwd PSH Flags,Fwd URG Flags,Bwd URG Flags,Fwd RST Flags,Bwd RST Flags,Fwd Header Length,Bwd Header Length,Fwd Packets/s,Bwd Packets/s,Packet Length Min,Packet Length Max,Packet Length Mean,Packet Length Std,Packet Length Variance,FIN Flag Count,SYN Flag Count,RST Flag Count,PSH Flag Count,ACK Flag Count,URG Flag Count,CWR Flag Count,ECE Flag Count,Down/Up Ratio,Average Packet Size,Fwd Segment Size Avg,Bwd Segment Size Avg,Fwd Bytes/Bulk Avg,Fwd Packet/Bulk Avg,Fwd Bulk Rate Avg,Bwd Bytes/Bulk Avg,Bwd Packet/Bulk Avg,Bwd Bulk Rate Avg,Subflow Fwd Packets,Subflow Fwd Bytes,Subflow Bwd Packets,Subflow Bwd Bytes,FWD Init Win Bytes,Bwd Init Win Bytes,Fwd Act Data Pkts,Bwd Act Data Pkts,Fwd Seg Size Min,Bwd Seg Size Min,Active Mean,Active Std,Active Max,Active Min,Idle Mean,Idle Std,Idle Max,Idle Min,ICMP Code,ICMP Type,Fwd TCP Retrans. Count,Bwd TCP Retrans. Count,Total TCP Retrans. Count,Total Connection Flow Time,Label";
}
