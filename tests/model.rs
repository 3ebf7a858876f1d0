//! A second, simple reading of schema `tapline-1`: whole packet lists, two-pass statistics, no timers. Random sequences
//! go through it and through the program; the rows must say the same.

use std::net::Ipv4Addr;

use crate::support::generator::{Random, Shape, sequence};
use crate::support::packets::{Packet, pcap};
use crate::support::program::{column, rows};

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

const IDLE_US: i64 = 120_000_000;
const ACTIVE_US: i64 = 1_800_000_000;
const LINGER_US: i64 = 5_000_000;

#[test]
fn random_sequences_agree_with_the_simple_reading() {
    let mut compared = 0;
    for seed in 0..150 {
        let mut random = Random(seed ^ 0xfeed);
        let shape = Shape {
            packets: 20 + random.below(500) as usize,
            out_of_order: random.one_of(&[0, 0, 5, 20]),
            loopback: random.chance(20),
        };
        let mut packets = sequence(seed + 1_000, shape);
        // Between an end and itself there are no directions to agree on.
        packets.retain(|packet| ends(packet).0 != ends(packet).1);
        let expected = flows(&packets);
        let workers = random.one_of(&["1", "2", "5"]);
        let csv = rows(&["--workers", workers], &pcap(&packets));
        assert_eq!(csv.lines().count() - 1, expected.len(), "seed {seed}: number of flows");
        for (name, value) in COLUMNS {
            for (row, (cell, flow)) in column(&csv, name).into_iter().zip(&expected).enumerate() {
                let ours: f64 = cell.parse().unwrap_or_else(|_| panic!("{name} is {cell:?}"));
                let theirs = value(flow);
                let close = (ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0);
                assert!(close, "seed {seed}, row {row}, {name}: {ours}, expected {theirs}");
            }
        }
        for (name, text) in TEXTS {
            for (row, (cell, flow)) in column(&csv, name).into_iter().zip(&expected).enumerate() {
                assert_eq!(cell, text(flow), "seed {seed}, row {row}, {name}");
            }
        }
        compared += expected.len();
    }
    assert!(compared > 5_000, "only {compared} flows were compared");
}

struct Flow {
    initiator: (Ipv4Addr, u16),
    responder: (Ipv4Addr, u16),
    /// Times as the flow sees them: never running backwards.
    packets: Vec<(i64, bool, Packet)>,
    reason: &'static str,
    decided_us: i64,
    first: usize,
    closing: Option<&'static str>,
    fins: [bool; 2],
    isn: [Option<u32>; 2],
}

/// Column and its value, straight from the packets.
type Value = fn(&Flow) -> f64;

const COLUMNS: &[(&str, Value)] = &[
    ("src_port", |f| f64::from(if f.packets[0].2.protocol == 1 { 0 } else { f.initiator.1 })),
    ("dst_port", |f| f64::from(if f.packets[0].2.protocol == 1 { 0 } else { f.responder.1 })),
    ("protocol", |f| f64::from(f.packets[0].2.protocol)),
    ("duration_us", |f| (f.last() - f.start()) as f64),
    ("fwd_pkts", |f| f.side(true).count() as f64),
    ("bwd_pkts", |f| f.side(false).count() as f64),
    ("fwd_payload_bytes", |f| f.payloads(true).iter().sum()),
    ("bwd_payload_bytes", |f| f.payloads(false).iter().sum()),
    ("fwd_ip_bytes", |f| f.side(true).map(|(_, p)| f64::from(p.ip_bytes())).sum()),
    ("bwd_ip_bytes", |f| f.side(false).map(|(_, p)| f64::from(p.ip_bytes())).sum()),
    ("fwd_header_bytes", |f| f.side(true).map(|(_, p)| f64::from(p.header())).sum()),
    ("fwd_payload_max_bytes", |f| max(&f.payloads(true))),
    ("fwd_payload_min_bytes", |f| min(&f.payloads(true))),
    ("fwd_payload_mean_bytes", |f| mean(&f.payloads(true))),
    ("fwd_payload_std_bytes", |f| std(&f.payloads(true))),
    ("bwd_payload_max_bytes", |f| max(&f.payloads(false))),
    ("bwd_payload_min_bytes", |f| min(&f.payloads(false))),
    ("bwd_payload_mean_bytes", |f| mean(&f.payloads(false))),
    ("bwd_payload_std_bytes", |f| std(&f.payloads(false))),
    ("payload_max_bytes", |f| max(&f.all_payloads())),
    ("payload_min_bytes", |f| min(&f.all_payloads())),
    ("payload_mean_bytes", |f| mean(&f.all_payloads())),
    ("payload_std_bytes", |f| std(&f.all_payloads())),
    ("payload_bytes_per_s", |f| f.per_s(f.all_payloads().iter().sum())),
    ("pkts_per_s", |f| f.per_s(f.packets.len() as f64)),
    ("fwd_pkts_per_s", |f| f.per_s(f.side(true).count() as f64)),
    ("bwd_pkts_per_s", |f| f.per_s(f.side(false).count() as f64)),
    ("iat_mean_us", |f| mean(&gaps(&f.times()))),
    ("iat_std_us", |f| std(&gaps(&f.times()))),
    ("iat_max_us", |f| max(&gaps(&f.times()))),
    ("iat_min_us", |f| min(&gaps(&f.times()))),
    ("fwd_iat_total_us", |f| gaps(&f.side_times(true)).iter().sum()),
    ("fwd_iat_mean_us", |f| mean(&gaps(&f.side_times(true)))),
    ("fwd_iat_std_us", |f| std(&gaps(&f.side_times(true)))),
    ("fwd_iat_max_us", |f| max(&gaps(&f.side_times(true)))),
    ("fwd_iat_min_us", |f| min(&gaps(&f.side_times(true)))),
    ("bwd_iat_total_us", |f| gaps(&f.side_times(false)).iter().sum()),
    ("bwd_iat_mean_us", |f| mean(&gaps(&f.side_times(false)))),
    ("bwd_iat_std_us", |f| std(&gaps(&f.side_times(false)))),
    ("fwd_syn_pkts", |f| f.flagged(true, SYN)),
    ("bwd_rst_pkts", |f| f.flagged(false, RST)),
    ("fwd_psh_pkts", |f| f.flagged(true, 8)),
    ("fin_pkts", |f| f.flagged(true, FIN) + f.flagged(false, FIN)),
    ("ack_pkts", |f| f.flagged(true, ACK) + f.flagged(false, ACK)),
    ("urg_pkts", |f| f.flagged(true, 32) + f.flagged(false, 32)),
    ("ece_pkts", |f| f.flagged(true, 64) + f.flagged(false, 64)),
    ("cwr_pkts", |f| f.flagged(true, 128) + f.flagged(false, 128)),
    ("down_up_ratio", |f| ratio(f.side(false).count() as f64, f.side(true).count() as f64)),
    ("fwd_bulks", |f| f.bulks(true).len() as f64),
    ("bwd_bulks", |f| f.bulks(false).len() as f64),
    ("fwd_bulk_mean_bytes", |f| mean(&f.bulks(true).iter().map(|b| b.0).collect::<Vec<_>>())),
    ("bwd_bulk_mean_bytes", |f| mean(&f.bulks(false).iter().map(|b| b.0).collect::<Vec<_>>())),
    ("fwd_bulk_mean_pkts", |f| mean(&f.bulks(true).iter().map(|b| b.1).collect::<Vec<_>>())),
    ("fwd_bulk_bytes_per_s", |f| f.bulk_rate(true)),
    ("bwd_bulk_bytes_per_s", |f| f.bulk_rate(false)),
    ("subflows", |f| f.subflows()),
    ("subflow_fwd_pkts", |f| f.side(true).count() as f64 / f.subflows()),
    ("subflow_bwd_payload_bytes", |f| f.payloads(false).iter().sum::<f64>() / f.subflows()),
    ("fwd_data_pkts", |f| f.payloads(true).iter().filter(|p| **p > 0.0).count() as f64),
    ("bwd_data_pkts", |f| f.payloads(false).iter().filter(|p| **p > 0.0).count() as f64),
    ("fwd_header_min_bytes", |f| min(&f.headers(true))),
    ("bwd_header_min_bytes", |f| min(&f.headers(false))),
    ("active_mean_us", |f| mean(&f.active())),
    ("active_std_us", |f| std(&f.active())),
    ("active_max_us", |f| max(&f.active())),
    ("active_min_us", |f| min(&f.active())),
    ("idle_mean_us", |f| mean(&f.idle())),
    ("idle_std_us", |f| std(&f.idle())),
    ("idle_max_us", |f| max(&f.idle())),
    ("idle_min_us", |f| min(&f.idle())),
];

/// Column and its text.
type Text = fn(&Flow) -> String;

const TEXTS: &[(&str, Text)] = &[
    ("src_ip", |f| f.initiator.0.to_string()),
    ("dst_ip", |f| f.responder.0.to_string()),
    ("end_reason", |f| f.reason.to_owned()),
    ("fwd_init_window_bytes", |f| f.window(true)),
    ("bwd_init_window_bytes", |f| f.window(false)),
    ("early_payload_bytes", |f| {
        f.early(|_, forward, p| if forward { i64::from(p.payload) } else { -i64::from(p.payload) })
    }),
    ("early_gap_us", |f| f.early(|gap, _, _| gap)),
    ("early_tcp_flags", |f| f.early(|_, _, p| i64::from(p.flags))),
    ("early_direction", |f| f.early(|_, forward, _| if forward { 1 } else { -1 })),
];

/// The flows of a sequence in the order of rows.
fn flows(packets: &[Packet]) -> Vec<Flow> {
    let mut live: Vec<Flow> = Vec::new();
    let mut ended: Vec<Flow> = Vec::new();
    let (mut now_us, mut ticked_us) = (i64::MIN, i64::MIN);
    for (ordinal, packet) in packets.iter().enumerate() {
        push(&mut live, &mut ended, ordinal, packet, ticked_us);
        // A tick follows the packet that enters a new second: who has been quiet too long by then, ends.
        if packet.ts_us > now_us {
            let ticks = now_us == i64::MIN || packet.ts_us / 1_000_000 != now_us / 1_000_000;
            now_us = packet.ts_us;
            if ticks {
                for mut flow in live.extract_if(.., |flow| flow.deadline_us() <= now_us) {
                    flow.end(
                        flow.closing.unwrap_or("idle"),
                        flow.deadline_us().max(ticked_us.saturating_add(1)),
                    );
                    ended.push(flow);
                }
                ticked_us = now_us;
            }
        }
    }
    for mut flow in live {
        flow.end("end_of_input", i64::MAX / 2 + flow.last());
        ended.push(flow);
    }
    ended.sort_by_key(|flow| (flow.decided_us, flow.start(), flow.first));
    ended
}

fn push(live: &mut Vec<Flow>, ended: &mut Vec<Flow>, ordinal: usize, packet: &Packet, ticked_us: i64) {
    let (src, dst) = ends(packet);
    let found = live.iter().position(|flow| {
        flow.packets[0].2.protocol == packet.protocol
            && ((flow.initiator, flow.responder) == (src, dst)
                || (flow.responder, flow.initiator) == (src, dst))
    });
    let Some(at) = found else {
        return live.push(Flow::open(ordinal, packet, None));
    };
    let flow = &live[at];
    let (reason, decided_us) = if packet.ts_us > flow.deadline_us() {
        (flow.closing.unwrap_or("idle"), flow.deadline_us())
    } else if packet.ts_us - flow.start() > ACTIVE_US {
        ("active", packet.ts_us)
    } else if packet.protocol == 6 && flow.reopened_by(packet) {
        (flow.closing.unwrap_or("replaced"), packet.ts_us)
    } else {
        return live[at].book(packet);
    };
    let mut flow = live.remove(at);
    // A row decided by a late packet comes after those that are out.
    flow.end(reason, decided_us.max(ticked_us.saturating_add(1)));
    live.push(Flow::open(ordinal, packet, (reason == "active").then_some(&flow)));
    ended.push(flow);
}

fn ends(packet: &Packet) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let (a, b) = match (packet.protocol, packet.sport) {
        (1, 0) => (0, 8),
        (1, 8) => (8, 0),
        (6 | 17 | 1, _) => (packet.sport, packet.dport),
        _ => (0, 0),
    };
    ((packet.src, a), (packet.dst, b))
}

impl Flow {
    fn open(ordinal: usize, packet: &Packet, continues: Option<&Self>) -> Self {
        let (src, dst) = ends(packet);
        let syn_ack = packet.protocol == 6 && packet.flags & (SYN | ACK) == SYN | ACK;
        let (initiator, responder) = match continues {
            Some(before) => (before.initiator, before.responder),
            None if syn_ack => (dst, src),
            None => (src, dst),
        };
        let mut flow = Self {
            initiator,
            responder,
            packets: Vec::new(),
            reason: "",
            decided_us: 0,
            first: ordinal,
            closing: continues.and_then(|before| before.closing),
            fins: continues.map(|before| before.fins).unwrap_or_default(),
            isn: continues.map(|before| before.isn).unwrap_or_default(),
        };
        flow.book(packet);
        flow
    }

    fn is_forward(&self, packet: &Packet) -> bool {
        let (src, dst) = ends(packet);
        (src, dst) == (self.initiator, self.responder)
    }

    fn book(&mut self, packet: &Packet) {
        let forward = self.is_forward(packet);
        let at_us = self.packets.last().map_or(packet.ts_us, |(last, ..)| packet.ts_us.max(*last));
        self.packets.push((at_us, forward, packet.clone()));
        if packet.protocol != 6 {
            return;
        }
        let (side, other) = if forward { (0, 1) } else { (1, 0) };
        if packet.flags & SYN != 0 && self.isn[side].is_none() {
            self.isn[side] = Some(packet.seq);
            if packet.flags & ACK != 0 && self.isn[other].is_none() {
                self.isn[other] = Some(packet.ack.wrapping_sub(1));
            }
        }
        if self.closing.is_none() {
            if packet.flags & RST != 0 {
                self.closing = Some("rst");
            } else if packet.flags & FIN != 0 {
                self.fins[side] = true;
                if self.fins == [true, true] {
                    self.closing = Some("fin");
                }
            }
        }
    }

    fn reopened_by(&self, packet: &Packet) -> bool {
        if packet.flags & SYN == 0 || packet.flags & RST != 0 {
            return false;
        }
        let forward = self.is_forward(packet);
        let isn = self.isn[usize::from(!forward)];
        if packet.flags & ACK != 0 {
            return self.closing.is_some() && isn.is_some_and(|isn| isn != packet.seq);
        }
        match isn {
            Some(isn) => isn != packet.seq,
            None => forward || self.closing.is_some(),
        }
    }

    fn end(&mut self, reason: &'static str, decided_us: i64) {
        self.reason = reason;
        self.decided_us = decided_us;
    }

    fn deadline_us(&self) -> i64 {
        self.last() + if self.closing.is_some() { LINGER_US } else { IDLE_US }
    }

    fn start(&self) -> i64 {
        self.packets[0].0
    }

    fn last(&self) -> i64 {
        self.packets[self.packets.len() - 1].0
    }

    fn side(&self, forward: bool) -> impl Iterator<Item = (i64, &Packet)> {
        self.packets.iter().filter(move |(_, f, _)| *f == forward).map(|(at, _, packet)| (*at, packet))
    }

    fn payloads(&self, forward: bool) -> Vec<f64> {
        self.side(forward).map(|(_, packet)| f64::from(packet.payload)).collect()
    }

    fn all_payloads(&self) -> Vec<f64> {
        self.packets.iter().map(|(.., packet)| f64::from(packet.payload)).collect()
    }

    fn headers(&self, forward: bool) -> Vec<f64> {
        self.side(forward).map(|(_, packet)| f64::from(packet.header())).collect()
    }

    fn times(&self) -> Vec<i64> {
        self.packets.iter().map(|(at, ..)| *at).collect()
    }

    fn side_times(&self, forward: bool) -> Vec<i64> {
        self.side(forward).map(|(at, _)| at).collect()
    }

    fn per_s(&self, amount: f64) -> f64 {
        ratio(amount, (self.last() - self.start()) as f64 / 1e6)
    }

    fn flagged(&self, forward: bool, flag: u8) -> f64 {
        self.side(forward).filter(|(_, packet)| packet.flags & flag != 0).count() as f64
    }

    fn window(&self, forward: bool) -> String {
        let first = self.side(forward).next().filter(|(_, packet)| packet.protocol == 6);
        first.map(|(_, packet)| packet.window.to_string()).unwrap_or_default()
    }

    fn subflows(&self) -> f64 {
        1.0 + gaps(&self.times()).iter().filter(|gap| **gap > 1e6).count() as f64
    }

    fn idle(&self) -> Vec<f64> {
        gaps(&self.times()).into_iter().filter(|gap| *gap > 5e6).collect()
    }

    fn active(&self) -> Vec<f64> {
        self.times()
            .chunk_by(|a, b| b - a <= 5_000_000)
            .map(|stretch| (stretch[stretch.len() - 1] - stretch[0]) as f64)
            .filter(|length| *length > 0.0)
            .collect()
    }

    /// Bytes, packets and duration of each bulk: runs of data packets of one side that neither a gap of more than a
    /// second nor data of the other side breaks.
    fn bulks(&self, forward: bool) -> Vec<(f64, f64, f64)> {
        let data: Vec<_> = self.packets.iter().filter(|(.., packet)| packet.payload > 0).collect();
        let mut runs: Vec<Vec<(i64, f64)>> = Vec::new();
        let mut broken = true;
        for (at, side, packet) in data {
            if *side != forward {
                broken = true;
                continue;
            }
            let late = runs.last().and_then(|run| run.last()).is_some_and(|(last, _)| at - last > 1_000_000);
            if broken || late {
                runs.push(Vec::new());
            }
            broken = false;
            runs.last_mut().unwrap().push((*at, f64::from(packet.payload)));
        }
        runs.into_iter()
            .filter(|run| run.len() >= 4)
            .map(|run| {
                let bytes = run.iter().map(|(_, payload)| payload).sum();
                (bytes, run.len() as f64, (run[run.len() - 1].0 - run[0].0) as f64)
            })
            .collect()
    }

    fn bulk_rate(&self, forward: bool) -> f64 {
        let bulks = self.bulks(forward);
        ratio(bulks.iter().map(|b| b.0).sum(), bulks.iter().map(|b| b.2).sum::<f64>() / 1e6)
    }

    fn early(&self, value: fn(i64, bool, &Packet) -> i64) -> String {
        let mut previous = self.start();
        let mut values = Vec::new();
        for (at, forward, packet) in self.packets.iter().take(16) {
            values.push(value(at - previous, *forward, packet).to_string());
            previous = *at;
        }
        values.join(" ")
    }
}

fn gaps(times: &[i64]) -> Vec<f64> {
    times.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect()
}

fn mean(values: &[f64]) -> f64 {
    ratio(values.iter().sum(), values.len() as f64)
}

fn std(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

fn max(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

fn min(values: &[f64]) -> f64 {
    values.iter().copied().reduce(f64::min).unwrap_or(0.0)
}

fn ratio(of: f64, to: f64) -> f64 {
    if to.abs() < f64::EPSILON { 0.0 } else { of / to }
}
