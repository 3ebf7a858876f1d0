//! Captures to flows, for tables: the replay pipeline with one worker, whose flows are handed over one by one.
//!
//! In: captures that belong together. Out: each ended flow, and what was wrong with the captures. Also the second look
//! at a capture whose labels are by packet number: it finds out at which key and time each of them stands.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use tapline_capture::{CaptureError, CaptureSet, ReadOptions};
use tapline_features::context::{Context, ContextLimits};
use tapline_features::lookahead::{Lookahead, Ready};
use tapline_features::{TaplineState, TaplineTracker};
use tapline_flow::{Rules, Timeouts};
use tapline_packet::{DecodeOptions, Decoder};
use tapline_record::{FlowHead, FlowKey, FlowRecord, Timestamp};

use crate::exit::{Code, Failure};
use crate::flow_worker::{FlowWorker, Tables};
use crate::progress::Progress;
use crate::reader::{Intake, Reader, Routed, SHARD_SEED};
use crate::replay;

/// A flow with the features of schema `tapline-1`.
pub(crate) type Flow = FlowRecord<TaplineState>;

/// A flow and its context.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) flow: Flow,
    pub(crate) context: Context,
    /// When the flow's end was certain; never goes back within a capture.
    pub(crate) decided_us: i64,
}

/// Flows held at once, as the default of `tapline replay`.
const LIVE_FLOWS_MAX: usize = 1_000_000;

/// As `tapline replay` without options.
fn rules() -> Rules {
    Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true }
}

/// What was met beside flows.
#[derive(Debug)]
pub(crate) struct Read {
    /// Damage, file by file.
    pub(crate) errors: Vec<CaptureError>,
    /// Time of the first and of the last packet.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

/// Hands every flow of `captures`, merged in time order, to `each`, in the order of rows and with its context, until it
/// fails.
///
/// # Errors
///
/// Those of `each`, and captures that cannot be opened.
pub(crate) fn flows_of(
    captures: &[PathBuf],
    mut each: impl FnMut(Observed) -> Result<(), Failure>,
) -> Result<Read, Failure> {
    let set = CaptureSet::open(captures, &ReadOptions::default()).map_err(replay::of_capture)?;
    let decoder = Decoder::new(DecodeOptions::default());
    let intake = Intake::new(None, None, decoder, rules().key_rules(), SHARD_SEED);
    let mut reader = Reader::new(set, intake, Progress::new(None, true));
    let tables = Tables { rules: rules(), flows_max: LIVE_FLOWS_MAX, seed: replay::random_seed() };
    let mut worker = FlowWorker::new(0, 1, tables, TaplineTracker);
    let seed = [tables.seed.0, tables.seed.1];
    let mut lookahead = Lookahead::new(ContextLimits::default(), seed, LIVE_FLOWS_MAX);
    let idle_us = Timeouts::default().idle_us;
    let mut hand_on = |ready: Ready<()>| {
        let Ready { flow, context, decided_us, .. } = ready;
        each(Observed { flow, context, decided_us })
    };
    while let Some(routed) = reader.next().map_err(|error| Failure::new(Code::Software, error))? {
        match routed {
            Routed::Packet(packet, shard) => worker.push(&packet, shard),
            Routed::Tick(now) => {
                worker.tick(now);
                worker.drain(|flow| {
                    let decided_us = flow.order().decided_us(idle_us);
                    lookahead.push(flow.take(), decided_us, ());
                    while let Some(ready) = lookahead.ready() {
                        hand_on(ready)?;
                    }
                    Ok(())
                })?;
                // As in scoring: a pause ends when its time is over, not when the next flow comes.
                lookahead.tick(now.micros);
                while let Some(ready) = lookahead.ready() {
                    hand_on(ready)?;
                }
            }
        }
    }
    worker.finish();
    worker.drain(|flow| {
        let decided_us = flow.order().decided_us(idle_us);
        lookahead.push(flow.take(), decided_us, ());
        while let Some(ready) = lookahead.ready() {
            hand_on(ready)?;
        }
        Ok::<(), Failure>(())
    })?;
    while let Some(ready) = lookahead.pop() {
        hand_on(ready)?;
    }
    let (input, _, errors) = reader.close();
    Ok(Read { errors, span: input.first.zip(input.last) })
}

/// Where the packets of an attack stand: keys and times.
#[derive(Debug, Default)]
pub(crate) struct AttackPackets {
    times: HashMap<[u64; 6], Vec<Timestamp>>,
    /// Attack packets that make no flow: ARP, say.
    pub(crate) without_flow: u64,
}

impl AttackPackets {
    /// Finds the packets with these numbers (from 1) in a capture.
    ///
    /// # Errors
    ///
    /// A capture that cannot be opened, or that is damaged: the numbers would not be true.
    pub(crate) fn find(capture: &Path, numbers: &[u64]) -> Result<Self, Failure> {
        let wanted: HashSet<u64> = numbers.iter().copied().collect();
        let mut set =
            CaptureSet::open(&[capture.to_owned()], &ReadOptions::default()).map_err(replay::of_capture)?;
        let mut decoder = Decoder::new(DecodeOptions::default());
        let mut found = Self::default();
        let mut number = 0;
        while let Some(frame) = set.next() {
            let frame = frame.map_err(replay::of_capture)?;
            number += 1;
            // Every frame is decoded, because later fragments take their ports from the first.
            let decoded = decoder.decode(&frame, number);
            if !wanted.contains(&number) {
                continue;
            }
            match decoded {
                Ok(packet) => {
                    let (key, _) = FlowKey::of(&packet, rules().key_rules());
                    found.times.entry(key.words()).or_default().push(packet.ts);
                }
                Err(_) => found.without_flow += 1,
            }
        }
        Ok(found)
    }

    /// Whether one of them is in this flow.
    pub(crate) fn are_in(&self, flow: &FlowHead) -> bool {
        self.times
            .get(&flow.key.words())
            .is_some_and(|times| times.iter().any(|time| (flow.start..=flow.last).contains(time)))
    }
}
