//! The accounts: where every packet went, exactly.
//!
//! `seen = processed + kernel_dropped + ring_dropped + filtered + shed + undecodable`, and
//! `processed = in emitted flows + in live flows + non-flow`. Each side is counted at another place of the pipeline, so
//! that the equation can fail: the reader counts frames, the decoder's verdicts are counted by reason, the tables count
//! what they were given, the exporter adds up the flows it wrote.

use std::collections::BTreeMap;

use serde::Serialize;
use tapline_control::SinkView;
use tapline_features::SchemaId;
use tapline_flow::NonFlow;
use tapline_packet::{DecodeCounters, Skip};
use tapline_record::{EndReason, Timestamp};

use crate::exporter::Exported;
use crate::flow_worker::WorkerReport;
use crate::labels::LabelStats;
use crate::scoring_report::ScoringStats;
use crate::version;

/// What an interface gave, over all its readers.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct InterfaceStats {
    pub(crate) name: String,
    pub(crate) seen: u64,
    pub(crate) kernel_dropped: u64,
    pub(crate) reopened: u64,
    pub(crate) adapter_packets: u64,
    pub(crate) adapter_dropped: u64,
    pub(crate) adapter_missed: u64,
    pub(crate) adapter_errors: u64,
}

/// What the reader counted.
#[derive(Debug, Default)]
pub(crate) struct Input {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) interfaces: Vec<InterfaceStats>,
    pub(crate) notices: Vec<String>,
    pub(crate) seen: u64,
    /// Live: for want of room, in the kernel and before a worker.
    pub(crate) kernel_dropped: u64,
    pub(crate) ring_dropped: u64,
    /// Did not match `--filter`.
    pub(crate) filtered_out: u64,
    /// Repeated within `--dedup`.
    pub(crate) duplicates: u64,
    pub(crate) decoded: u64,
    pub(crate) undecodable: [u64; Skip::ALL.len()],
    pub(crate) unsupported_links: Vec<u16>,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
    /// How often packet time fell back by more than an hour.
    pub(crate) clock_set_back: u64,
}

/// Everything that a run counted; `--stats` writes it as JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Stats {
    pub(crate) producer: &'static str,
    pub(crate) schema: &'static str,
    pub(crate) schema_hash: String,
    pub(crate) workers: usize,
    pub(crate) input: InputStats,
    pub(crate) packets: PacketStats,
    pub(crate) decode: DecodeCounters,
    pub(crate) flows: FlowStats,
    /// With `--truth` or `--rules`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<LabelStats>,
    /// With `--model`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) scoring: Option<ScoringStats>,
    /// Live: where rows and alerts stayed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) sinks: Vec<SinkView>,
    pub(crate) wall_s: f64,
}

#[derive(Debug, Serialize)]
pub(crate) struct InputStats {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    pub(crate) first_packet_us: Option<i64>,
    pub(crate) last_packet_us: Option<i64>,
    pub(crate) clock_set_back: u64,
    /// Live: what each interface gave, and what its adapter counted meanwhile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) interfaces: Vec<InterfaceStats>,
    pub(crate) notices: Vec<String>,
    pub(crate) errors: Vec<String>,
}

/// The identity, term by term. `kernel_dropped`, `ring_dropped` and `shed` are what live capture can lose; replay waits
/// instead, so they are 0.
#[derive(Debug, Serialize)]
pub(crate) struct PacketStats {
    pub(crate) seen: u64,
    pub(crate) processed: u64,
    pub(crate) kernel_dropped: u64,
    pub(crate) ring_dropped: u64,
    pub(crate) filtered: u64,
    pub(crate) filtered_by_reason: BTreeMap<&'static str, u64>,
    pub(crate) shed: u64,
    pub(crate) undecodable: u64,
    pub(crate) undecodable_by_reason: BTreeMap<&'static str, u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) unsupported_link_types: Vec<u16>,
    pub(crate) in_emitted_flows: u64,
    pub(crate) in_live_flows: u64,
    pub(crate) non_flow: u64,
    pub(crate) non_flow_by_reason: BTreeMap<&'static str, u64>,
    /// `seen` less all that is accounted for, and `processed` less all that became of it: 0, or Tapline is wrong.
    pub(crate) unaccounted: i128,
}

#[derive(Debug, Serialize)]
pub(crate) struct FlowStats {
    pub(crate) emitted: u64,
    /// Early records of flows that went on.
    pub(crate) partial: u64,
    pub(crate) opened: u64,
    pub(crate) live: u64,
    pub(crate) evicted: u64,
    /// Sum over the workers of the most flows that each held at once.
    pub(crate) peak: u64,
    pub(crate) by_end_reason: BTreeMap<&'static str, u64>,
    pub(crate) output_bytes: u64,
}

/// What is known of a run besides its counts.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) schema: SchemaId,
    pub(crate) workers: usize,
    pub(crate) errors: Vec<String>,
    pub(crate) wall_s: f64,
}

impl Stats {
    pub(crate) fn new(
        run: Run,
        input: Input,
        decode: DecodeCounters,
        tables: &WorkerReport,
        exported: Exported,
    ) -> Self {
        let Run { schema, workers, errors, wall_s } = run;
        let non_flow = by_name(NonFlow::ALL.iter().map(|why| why.name()), &tables.counters.non_flow);
        let mut packets = PacketStats {
            seen: input.seen,
            processed: tables.counters.packets,
            kernel_dropped: input.kernel_dropped,
            ring_dropped: input.ring_dropped,
            filtered: input.filtered_out + input.duplicates,
            filtered_by_reason: by_name(
                ["expression", "duplicate"].into_iter(),
                &[input.filtered_out, input.duplicates],
            ),
            shed: 0,
            undecodable: input.undecodable.iter().sum(),
            undecodable_by_reason: by_name(Skip::ALL.iter().map(|skip| skip.name()), &input.undecodable),
            unsupported_link_types: input.unsupported_links,
            in_emitted_flows: exported.packets,
            in_live_flows: tables.live_packets,
            non_flow: tables.counters.non_flow.iter().sum(),
            non_flow_by_reason: non_flow,
            unaccounted: 0,
        };
        packets.unaccounted = packets.missing_from_seen() + packets.missing_from_processed();
        Self {
            producer: version::PRODUCER,
            schema: schema.name(),
            schema_hash: schema.hash(),
            workers,
            input: InputStats {
                files: input.files,
                bytes: input.bytes,
                first_packet_us: input.first.map(|ts| ts.micros),
                last_packet_us: input.last.map(|ts| ts.micros),
                clock_set_back: input.clock_set_back,
                interfaces: input.interfaces,
                notices: input.notices,
                errors,
            },
            packets,
            decode,
            flows: FlowStats {
                emitted: exported.flows,
                partial: exported.partial,
                opened: tables.counters.flows_opened,
                live: tables.counters.flows_live,
                evicted: tables.counters.flows_evicted,
                peak: tables.counters.flows_peak,
                by_end_reason: by_name(EndReason::ALL.iter().map(|why| why.name()), &exported.by_reason),
                output_bytes: exported.output_bytes,
            },
            labels: exported.labels,
            scoring: exported.scoring.map(ScoringStats::from),
            sinks: Vec::new(),
            wall_s,
        }
    }
}

impl PacketStats {
    /// Packets seen of which nobody says what became of them; both differences in absolute value, lest they cancel.
    fn missing_from_seen(&self) -> i128 {
        let accounted = [
            self.processed,
            self.kernel_dropped,
            self.ring_dropped,
            self.filtered,
            self.shed,
            self.undecodable,
        ];
        (i128::from(self.seen) - accounted.into_iter().map(i128::from).sum::<i128>()).abs()
    }

    fn missing_from_processed(&self) -> i128 {
        let accounted = [self.in_emitted_flows, self.in_live_flows, self.non_flow];
        (i128::from(self.processed) - accounted.into_iter().map(i128::from).sum::<i128>()).abs()
    }
}

fn by_name(names: impl Iterator<Item = &'static str>, counts: &[u64]) -> BTreeMap<&'static str, u64> {
    names.zip(counts).filter(|(_, count)| **count > 0).map(|(name, count)| (name, *count)).collect()
}
