//! Events as Suricata writes them: EVE JSON, `flow`, `alert` and `stats`.
//!
//! In: a flow's head, its [`EveTraffic`], and what the model says of it. Out: one line each, without its end, for a
//! [`RotatingFile`](crate::RotatingFile). Every line is valid under Suricata's own schema, which allows no fields but its own;
//! scores stand where it lets rules put theirs: in `alert.metadata` and `metadata.flowvars`, under names that begin with
//! `ml_`.
//!
//! * `flow_id` is 51 bits of a hash over Community ID and start: the same for the flow and for an alert about it, in every
//!   run, whatever the number of workers.
//! * Bytes are those of IP packets; Suricata adds the link layer.
//! * `app_proto` is `failed`: payloads are not looked into, and ports prove nothing.
//! * Instants before the year 0 and after 9999 are written as the first and the last that the schema can.

use std::io::Write;
use std::net::IpAddr;

use tapline_record::{Cell, Column, EndReason, Endpoint, FlowHead, Timestamp, protocol, tcp_flag};

use crate::cell_text::push_time;
use crate::json_text::{JsonObject, push_string};

/// Writes events. What stands here is the same in all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Eve {
    /// The sensor's name, `host`.
    pub host: Option<String>,
    /// The interface, where there is only one.
    pub in_iface: Option<String>,
}

/// A flow that has ended.
#[derive(Clone, Copy, Debug)]
pub struct EveFlow<'a> {
    /// Its key, its times and why it ended.
    pub head: &'a FlowHead,
    /// Community ID v1.
    pub community_id: &'a str,
    /// What it carried; not known for an alert's example.
    pub traffic: Option<EveTraffic>,
    /// What the model says.
    pub verdict: Option<EveVerdict<'a>>,
    /// Whether an alert rests on it.
    pub alerted: bool,
}

/// What a flow carried: from the initiator, and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EveTraffic {
    /// Packets.
    pub packets: [u64; 2],
    /// IP bytes.
    pub ip_bytes: [u64; 2],
    /// TCP flags of all packets, or-ed: see [`tcp_flag`].
    pub tcp_flags: [u8; 2],
    /// Type and code of the first ICMP packet.
    pub icmp: Option<(u8, u8)>,
}

/// What the model says of a flow.
#[derive(Clone, Copy, Debug)]
pub struct EveVerdict<'a> {
    /// The class.
    pub class: &'a str,
    /// Log-odds of being hostile.
    pub score: f64,
    /// Probability of the class.
    pub probability: f64,
    /// Share of benign flows that score at least so high.
    pub p_value: f64,
    /// What raised the score, in words or as names of inputs; may be empty.
    pub reasons: &'a [&'a str],
    /// Which model.
    pub model: &'a str,
}

/// An incident that somebody should look at.
#[derive(Clone, Copy, Debug)]
pub struct EveAlert<'a> {
    /// Number of the alert; all its events carry it.
    pub alert: u64,
    /// What happened to it: `raised`, `grown`, `ended`.
    pub event: &'a str,
    /// An example: the flow that raised it. Its verdict, with the class, is the alert's.
    pub flow: EveFlow<'a>,
    /// ATT&CK technique of the class.
    pub attack_id: Option<&'a str>,
    /// 1 is the most severe, as in Suricata's rules.
    pub severity: u8,
    /// Flows of the incident.
    pub flows: u64,
    /// Sum of -log10 p over them.
    pub evidence: f64,
}

/// What the sensor has done. What is `None` is not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EveStats {
    /// Seconds since the start.
    pub uptime_s: u64,
    /// `capture.kernel_packets`: seen by the kernel, drops included.
    pub kernel_packets: Option<u64>,
    /// `capture.kernel_drops`.
    pub kernel_drops: Option<u64>,
    /// `capture.kernel_ifdrops`.
    pub interface_drops: Option<u64>,
    /// `capture.errors`.
    pub capture_errors: Option<u64>,
    /// `decoder.pkts`.
    pub decoded_packets: Option<u64>,
    /// `decoder.bytes`.
    pub decoded_bytes: Option<u64>,
    /// `decoder.invalid`: undecodable.
    pub undecodable_packets: Option<u64>,
    /// `decoder.ipv4`.
    pub ipv4_packets: Option<u64>,
    /// `decoder.ipv6`.
    pub ipv6_packets: Option<u64>,
    /// `decoder.tcp`.
    pub tcp_packets: Option<u64>,
    /// `decoder.udp`.
    pub udp_packets: Option<u64>,
    /// `flow.total`.
    pub flows: Option<u64>,
    /// `flow.active`: alive now.
    pub live_flows: Option<u64>,
    /// `flow.memuse`, in bytes.
    pub flow_memory_bytes: Option<u64>,
    /// `flow.emerg_mode_entered`.
    pub emergencies_entered: Option<u64>,
    /// `flow.emerg_mode_over`.
    pub emergencies_over: Option<u64>,
    /// `detect.alert`.
    pub alerts: Option<u64>,
}

impl Eve {
    /// Appends a `flow` event, told at `at`.
    pub fn push_flow(&self, out: &mut Vec<u8>, at: Timestamp, flow: &EveFlow<'_>) {
        JsonObject::push(out, |line| {
            self.push_begin(line, at, "flow", Some(flow));
            line.object("flow", |object| push_flow_object(object, flow, true));
            if let Some(verdict) = &flow.verdict {
                push_flowvars(line, verdict);
            }
            push_tcp(line, flow);
        });
    }

    /// Appends an `alert` event, told at `at`.
    pub fn push_alert(&self, out: &mut Vec<u8>, at: Timestamp, alert: &EveAlert<'_>) {
        let flow = &alert.flow;
        let head = flow.head;
        let verdict = flow.verdict.as_ref();
        let class = verdict.map_or("anomaly", |verdict| verdict.class);
        JsonObject::push(out, |line| {
            self.push_begin(line, at, "alert", Some(flow));
            line.object("alert", |object| {
                object.text("action", "allowed");
                object.int("gid", 1);
                object.int("signature_id", signature_id(class));
                object.int("rev", 1);
                object.plain("signature", |out| {
                    out.extend_from_slice(b"Tapline ");
                    push_escaped(out, class);
                });
                object.text("category", class);
                object.int("severity", alert.severity);
                for (key, endpoint) in [("source", head.initiator()), ("target", head.responder())] {
                    object.object(key, |object| {
                        object.ip("ip", ip_of(head, endpoint));
                        if has_ports(head) {
                            object.int("port", endpoint.port);
                        }
                    });
                }
                object.object("metadata", |metadata| {
                    metadata.count("ml_alert", alert.alert);
                    metadata.text("ml_event", alert.event);
                    if let Some(verdict) = verdict {
                        metadata.text("ml_class", verdict.class);
                        metadata.float("ml_score", verdict.score);
                        metadata.float("ml_probability", verdict.probability);
                        metadata.float("ml_p_value", verdict.p_value);
                        metadata.text("ml_model", verdict.model);
                        metadata.array("ml_reasons", verdict.reasons, |out, reason| push_string(out, reason));
                    }
                    metadata.float("ml_evidence", alert.evidence);
                    metadata.count("ml_flows", alert.flows);
                    if let Some(technique) = alert.attack_id {
                        // As rules of Emerging Threats have it.
                        metadata.array("mitre_technique_id", [technique], push_string);
                    }
                });
            });
            line.object("flow", |object| push_flow_object(object, flow, false));
            if let Some(verdict) = verdict {
                push_flowvars(line, verdict);
            }
        });
    }

    /// Appends a `stats` event.
    pub fn push_stats(&self, out: &mut Vec<u8>, at: Timestamp, stats: &EveStats) {
        let groups: [(&str, Counts<'_>); 4] = [
            (
                "capture",
                &[
                    ("kernel_packets", stats.kernel_packets),
                    ("kernel_drops", stats.kernel_drops),
                    ("kernel_ifdrops", stats.interface_drops),
                    ("errors", stats.capture_errors),
                ],
            ),
            (
                "decoder",
                &[
                    ("pkts", stats.decoded_packets),
                    ("bytes", stats.decoded_bytes),
                    ("invalid", stats.undecodable_packets),
                    ("ipv4", stats.ipv4_packets),
                    ("ipv6", stats.ipv6_packets),
                    ("tcp", stats.tcp_packets),
                    ("udp", stats.udp_packets),
                ],
            ),
            (
                "flow",
                &[
                    ("total", stats.flows),
                    ("active", stats.live_flows),
                    ("memuse", stats.flow_memory_bytes),
                    ("emerg_mode_entered", stats.emergencies_entered),
                    ("emerg_mode_over", stats.emergencies_over),
                ],
            ),
            ("detect", &[("alert", stats.alerts)]),
        ];
        JsonObject::push(out, |line| {
            self.push_begin(line, at, "stats", None);
            line.object("stats", |object| {
                object.count("uptime", stats.uptime_s);
                for (group, counts) in groups {
                    if counts.iter().any(|(_, count)| count.is_some()) {
                        object.object(group, |object| {
                            for (key, count) in counts {
                                if let Some(count) = count {
                                    object.count(key, *count);
                                }
                            }
                        });
                    }
                }
            });
        });
    }

    /// What all events begin with.
    fn push_begin(
        &self,
        line: &mut JsonObject<'_>,
        at: Timestamp,
        event_type: &str,
        flow: Option<&EveFlow<'_>>,
    ) {
        push_instant(line, "timestamp", at);
        if let Some(flow) = flow {
            line.int("flow_id", flow_id(flow.community_id, flow.head.start));
        }
        if let Some(interface) = &self.in_iface {
            line.text("in_iface", interface);
        }
        line.text("event_type", event_type);
        if let Some(flow) = flow {
            push_endpoints(line, flow);
            line.text("community_id", flow.community_id);
        }
        if let Some(host) = &self.host {
            line.text("host", host);
        }
    }
}

fn push_endpoints(line: &mut JsonObject<'_>, flow: &EveFlow<'_>) {
    let head = flow.head;
    let vlan = head.key.vlan;
    if vlan != [0; 2] {
        let known = vlan.into_iter().filter(|id| *id != 0);
        line.array("vlan", known, |out, id| out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes()));
    }
    line.ip("src_ip", ip_of(head, head.initiator()));
    if has_ports(head) {
        line.int("src_port", head.initiator().port);
    }
    line.ip("dest_ip", ip_of(head, head.responder()));
    if has_ports(head) {
        line.int("dest_port", head.responder().port);
    }
    line.int("ip_v", head.key.ip_version);
    line.plain("proto", |out| match head.key.protocol {
        protocol::ICMP => out.extend_from_slice(b"ICMP"),
        protocol::IGMP => out.extend_from_slice(b"IGMP"),
        protocol::TCP => out.extend_from_slice(b"TCP"),
        protocol::UDP => out.extend_from_slice(b"UDP"),
        protocol::ICMPV6 => out.extend_from_slice(b"IPv6-ICMP"),
        protocol::SCTP => out.extend_from_slice(b"SCTP"),
        // Writing into a Vec cannot fail.
        other => drop(write!(out, "{other:03}")),
    });
    if let Some((kind, code)) = flow.traffic.and_then(|traffic| traffic.icmp) {
        line.int("icmp_type", kind);
        line.int("icmp_code", code);
    }
    if matches!(head.key.protocol, protocol::TCP | protocol::UDP) {
        line.text("app_proto", "failed");
    }
}

/// `ended`: whether this is said of a flow that is over, and not of an example.
fn push_flow_object(object: &mut JsonObject<'_>, flow: &EveFlow<'_>, ended: bool) {
    let head = flow.head;
    if let Some(traffic) = flow.traffic {
        let [to_server, to_client] = traffic.packets;
        object.count("pkts_toserver", to_server);
        object.count("pkts_toclient", to_client);
        let [to_server, to_client] = traffic.ip_bytes;
        object.count("bytes_toserver", to_server);
        object.count("bytes_toclient", to_client);
    }
    push_instant(object, "start", head.start);
    if ended {
        push_instant(object, "end", head.last);
        object.int("age", head.duration_us().max(0) / 1_000_000);
        object.text("state", state(flow));
        object.text("reason", reason(head.end_reason));
        object.bool("alerted", flow.alerted);
    }
}

fn push_flowvars(line: &mut JsonObject<'_>, verdict: &EveVerdict<'_>) {
    line.object("metadata", |metadata| {
        // One object a variable, as Suricata has it.
        metadata.array("flowvars", 0..5, |out, at| {
            JsonObject::push(out, |object| match at {
                0 => object.text("ml_class", verdict.class),
                1 => object.float("ml_score", verdict.score),
                2 => object.float("ml_probability", verdict.probability),
                3 => object.float("ml_p_value", verdict.p_value),
                _ => object.text("ml_model", verdict.model),
            });
        });
    });
}

fn push_tcp(line: &mut JsonObject<'_>, flow: &EveFlow<'_>) {
    let Some(traffic) = flow.traffic.filter(|_| flow.head.key.protocol == protocol::TCP) else { return };
    let [to_server, to_client] = traffic.tcp_flags;
    let both = to_server | to_client;
    line.object("tcp", |tcp| {
        for (key, flags) in [("tcp_flags", both), ("tcp_flags_ts", to_server), ("tcp_flags_tc", to_client)] {
            tcp.plain(key, |out| drop(write!(out, "{flags:02x}")));
        }
        for (key, flag) in TCP_FLAGS {
            if both & flag != 0 {
                tcp.bool(key, true);
            }
        }
        if let Some(state) = tcp_state(flow.head.end_reason, traffic.tcp_flags) {
            tcp.text("state", state);
        }
    });
}

const TCP_FLAGS: [(&str, u8); 8] = [
    ("syn", tcp_flag::SYN),
    ("fin", tcp_flag::FIN),
    ("rst", tcp_flag::RST),
    ("psh", tcp_flag::PSH),
    ("ack", tcp_flag::ACK),
    ("urg", tcp_flag::URG),
    ("ecn", tcp_flag::ECE),
    ("cwr", tcp_flag::CWR),
];

/// As far as flags can tell; nothing of a connection whose beginning was not seen.
const fn tcp_state(reason: EndReason, [to_server, to_client]: [u8; 2]) -> Option<&'static str> {
    let opened = to_server & tcp_flag::SYN != 0;
    let answered = to_client & tcp_flag::SYN != 0;
    match reason {
        EndReason::Fin | EndReason::Rst => Some("closed"),
        _ if opened && answered && to_server & tcp_flag::ACK != 0 => Some("established"),
        _ if opened && answered => Some("syn_recv"),
        _ if opened && to_client == 0 => Some("syn_sent"),
        _ => None,
    }
}

fn state(flow: &EveFlow<'_>) -> &'static str {
    match (flow.head.end_reason, flow.traffic) {
        (EndReason::Fin | EndReason::Rst, _) => "closed",
        (_, Some(EveTraffic { packets: [_, 0], .. })) => "new",
        _ => "established",
    }
}

const fn reason(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Idle | EndReason::Active | EndReason::Fin | EndReason::Rst => "timeout",
        EndReason::Replaced => "tcp_reuse",
        // EVE knows no early records; the daemon writes none there.
        EndReason::Evicted | EndReason::Partial => "forced",
        EndReason::EndOfInput => "shutdown",
    }
}

/// Names of counters, and those that are known.
type Counts<'a> = &'a [(&'a str, Option<u64>)];

/// FNV-1a, of which 51 bits are kept: Suricata's own are no longer, for readers that know doubles only.
fn flow_id(community_id: &str, start: Timestamp) -> i64 {
    let start = start.micros.to_le_bytes();
    let hash = fnv(community_id.bytes().chain(start));
    // The low bits of FNV-1a are its weakest.
    ((hash ^ hash >> 51) & ((1 << 51) - 1)) as i64
}

/// Rules of one's own begin at a million; a class has the same number with every model.
fn signature_id(class: &str) -> i64 {
    1_900_000 + (fnv(class.bytes()) % 99_991) as i64
}

fn fnv(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// `2026-11-23T09:38:36.123456+0000`: the schema takes neither `Z` nor a colon.
fn push_instant(line: &mut JsonObject<'_>, key: &str, at: Timestamp) {
    let at = Timestamp::from_micros(at.micros.clamp(FIRST_US, LAST_US));
    line.plain(key, |out| {
        push_time(out, at);
        out.pop();
        out.extend_from_slice(b"+0000");
    });
}

/// 0000-01-01T00:00:00Z and the end of 9999.
const FIRST_US: i64 = -62_167_219_200_000_000;
const LAST_US: i64 = 253_402_300_799_999_999;

/// Appends the inside of a string.
fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let start = out.len();
    push_string(out, text);
    out.pop();
    out.remove(start);
}

fn ip_of(head: &FlowHead, endpoint: &Endpoint) -> IpAddr {
    endpoint.ip(head.key.ip_version)
}

const fn has_ports(head: &FlowHead) -> bool {
    matches!(head.key.protocol, protocol::TCP | protocol::UDP | protocol::SCTP)
}

/// Reads the [`EveTraffic`] of rows by the names of their columns: those of `tapline-1`.
#[derive(Clone, Copy, Debug)]
pub struct EveColumns<R: 'static> {
    packets: [Accessor<R>; 2],
    ip_bytes: [Accessor<R>; 2],
    /// By the bit of the flag.
    flags: [[Accessor<R>; 8]; 2],
    icmp: [Accessor<R>; 2],
}

type Accessor<R> = fn(&R) -> Cell;

/// A schema lacks a column that EVE JSON needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("EVE JSON needs column {name:?}, which this schema does not have")]
pub struct MissingColumn {
    /// Its name.
    pub name: String,
}

impl<R: 'static> EveColumns<R> {
    /// Finds the columns.
    ///
    /// # Errors
    ///
    /// The first [`MissingColumn`].
    pub fn find(columns: &'static [Column<R>]) -> Result<Self, MissingColumn> {
        let find = |name: String| {
            let column = columns.iter().find(|column| column.name == name);
            column.map(|column| column.cell).ok_or(MissingColumn { name })
        };
        let both = |what: &str| Ok([find(format!("fwd_{what}"))?, find(format!("bwd_{what}"))?]);
        let nothing: Accessor<R> = |_| Cell::Null;
        let mut flags = [[nothing; 8]; 2];
        for (bit, flag) in ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"].into_iter().enumerate() {
            let [forward, backward] = both(&format!("{flag}_pkts"))?;
            flags[0][bit] = forward;
            flags[1][bit] = backward;
        }
        Ok(Self {
            packets: both("pkts")?,
            ip_bytes: both("ip_bytes")?,
            flags,
            icmp: [find("icmp_type".to_owned())?, find("icmp_code".to_owned())?],
        })
    }

    /// What a row carried.
    #[must_use]
    pub fn traffic(&self, row: &R) -> EveTraffic {
        let count = |cell: &Accessor<R>| match cell(row) {
            Cell::Int(value) => u64::try_from(value).unwrap_or_default(),
            _ => 0,
        };
        let small = |cell: &Accessor<R>| match cell(row) {
            Cell::Int(value) => u8::try_from(value).ok(),
            _ => None,
        };
        let [kind, code] = &self.icmp;
        EveTraffic {
            packets: self.packets.each_ref().map(count),
            ip_bytes: self.ip_bytes.each_ref().map(count),
            tcp_flags: self.flags.each_ref().map(|side| {
                side.iter().enumerate().fold(0, |flags, (bit, cell)| flags | u8::from(count(cell) > 0) << bit)
            }),
            icmp: small(kind).zip(small(code)),
        }
    }
}

#[cfg(test)]
mod tests {
    use tapline_record::column::Kind;
    use tapline_record::{FlowKey, TunnelKind};

    use super::*;

    fn head() -> FlowHead {
        let endpoint = |last, port| Endpoint {
            addr: std::net::Ipv4Addr::new(10, 0, 0, last).to_ipv6_mapped().octets(),
            port,
        };
        FlowHead {
            key: FlowKey {
                lo: endpoint(1, 40_000),
                hi: endpoint(2, 443),
                vlan: [7, 0],
                tunnel_id: 0,
                tunnel_kind: TunnelKind::None,
                protocol: protocol::TCP,
                ip_version: 4,
            },
            start: Timestamp::from_micros(1_700_000_000_123_456),
            last: Timestamp::from_micros(1_700_000_002_000_000),
            first_ordinal: 0,
            packets: 5,
            initiator_is_lo: true,
            id_is_lo: true,
            end_reason: EndReason::Fin,
        }
    }

    #[test]
    fn a_flow() {
        let head = head();
        let flow = EveFlow {
            head: &head,
            community_id: "1:LQU9qZlK+B5F3KDmev6m5PMibrg=",
            traffic: Some(EveTraffic {
                packets: [3, 2],
                ip_bytes: [300, 2_000],
                tcp_flags: [0x1b, 0x53],
                icmp: None,
            }),
            verdict: Some(EveVerdict {
                class: "c2",
                score: 4.25,
                probability: 0.5,
                p_value: 1e-5,
                reasons: &[],
                model: "first",
            }),
            alerted: true,
        };
        let mut out = Vec::new();
        let eve = Eve { host: Some("gate \"1\"".to_owned()), in_iface: Some("eth0".to_owned()) };
        eve.push_flow(&mut out, head.last, &flow);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"timestamp":"2023-11-14T22:13:22.000000+0000","flow_id":68838196428702,"in_iface":"eth0","#,
                r#""event_type":"flow","vlan":[7],"src_ip":"10.0.0.1","src_port":40000,"dest_ip":"10.0.0.2","#,
                r#""dest_port":443,"ip_v":4,"proto":"TCP","app_proto":"failed","#,
                r#""community_id":"1:LQU9qZlK+B5F3KDmev6m5PMibrg=","host":"gate \"1\"","#,
                r#""flow":{"pkts_toserver":3,"pkts_toclient":2,"bytes_toserver":300,"bytes_toclient":2000,"#,
                r#""start":"2023-11-14T22:13:20.123456+0000","end":"2023-11-14T22:13:22.000000+0000","age":1,"#,
                r#""state":"closed","reason":"timeout","alerted":true},"#,
                r#""metadata":{"flowvars":[{"ml_class":"c2"},{"ml_score":4.25},{"ml_probability":0.5},"#,
                r#"{"ml_p_value":0.00001},{"ml_model":"first"}]},"#,
                r#""tcp":{"tcp_flags":"5b","tcp_flags_ts":"1b","tcp_flags_tc":"53","syn":true,"fin":true,"#,
                r#""psh":true,"ack":true,"ecn":true,"state":"closed"}}"#
            )
        );
    }

    #[test]
    fn flow_ids_tell_flows_of_a_tuple_apart() {
        let id = |micros| flow_id("1:LQU9qZlK+B5F3KDmev6m5PMibrg=", Timestamp::from_micros(micros));
        let mut ids: Vec<i64> = (0..100_000).map(id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 100_000);
        assert!(ids.iter().all(|id| (0..1 << 51).contains(id)));
    }

    #[test]
    fn instants_stay_within_the_schema() {
        for (micros, expect) in [
            (i64::MIN, r#"{"t":"0000-01-01T00:00:00.000000+0000"}"#),
            (i64::MAX, r#"{"t":"9999-12-31T23:59:59.999999+0000"}"#),
        ] {
            let mut out = Vec::new();
            JsonObject::push(&mut out, |line| push_instant(line, "t", Timestamp::from_micros(micros)));
            assert_eq!(String::from_utf8(out).unwrap(), expect);
        }
    }

    #[test]
    fn a_schema_without_the_columns_is_refused() {
        const COLUMNS: &[Column<()>] =
            &[Column { name: "fwd_pkts", kind: Kind::Int, unit: "", definition: "", cell: |()| Cell::Null }];
        let error = EveColumns::find(COLUMNS).unwrap_err();
        assert_eq!(
            error.to_string(),
            "EVE JSON needs column \"fwd_fin_pkts\", which this schema does not have"
        );
    }
}
