//! Captures to flows, for tables.
//!
//! In: captures that belong together. Out: each ended flow, and what was wrong with the captures. Also the second look
//! at a capture whose labels are by packet number: it finds out at which key and time each of them stands.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use tapline_capture::{CaptureError, CaptureSet, ReadOptions};
use tapline_packet::{DecodeOptions, Decoder};
use tapline_record::{FlowHead, FlowKey, PacketRecord, Timestamp};

use crate::exit::{Code, Failure};
use crate::narrow_tap::NarrowTap;
use crate::observed_flows::{Observed, Observer, rules};
use crate::progress::Progress;
use crate::reader::{Intake, Reader, Routed, SHARD_SEED};
use crate::replay;

/// Flows held at once, as the default of `tapline replay`.
const LIVE_FLOWS_MAX: usize = 1_000_000;

/// Of captures, what is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Part {
    /// What such a tap sees.
    pub(crate) tap: Option<NarrowTap>,
    /// What comes within a stretch of time.
    pub(crate) stretch: Option<Stretch>,
}

/// A stretch of packet time, counted from the first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    pub(crate) from_us: i64,
    /// Not in it any more.
    pub(crate) until_us: i64,
}

/// What was met beside flows.
#[derive(Debug)]
pub(crate) struct Read {
    /// Whether packets come after the stretch.
    pub(crate) goes_on: bool,
    /// Damage, file by file.
    pub(crate) errors: Vec<CaptureError>,
    /// Time of the first and of the last packet.
    pub(crate) span: Option<(Timestamp, Timestamp)>,
}

/// Hands every flow of `captures`, merged in time order, to `each`, in the order of rows and with its context, until it
/// fails. Of captures, `part` is read.
///
/// # Errors
///
/// Those of `each`, and captures that cannot be opened.
pub(crate) fn flows_of(
    captures: &[PathBuf],
    part: Part,
    mut each: impl FnMut(Observed) -> Result<(), Failure>,
) -> Result<Read, Failure> {
    let set = CaptureSet::open(captures, &ReadOptions::default()).map_err(replay::of_capture)?;
    let decoder = Decoder::new(DecodeOptions::default());
    let intake = Intake::new(None, None, decoder, rules().key_rules(), SHARD_SEED);
    let mut reader = Reader::new(set, intake, Progress::new(None, true));
    let mut observer = Observer::new(LIVE_FLOWS_MAX);
    let (mut began, mut goes_on) = (None, false);
    while let Some(routed) = reader.next().map_err(|error| Failure::new(Code::Software, error))? {
        if let Some(Stretch { from_us, until_us }) = part.stretch {
            let (Routed::Packet(PacketRecord { ts, .. }, _) | Routed::Tick(ts)) = &routed;
            let into_us = ts.micros.saturating_sub(*began.get_or_insert(ts.micros));
            goes_on = into_us >= until_us;
            if goes_on {
                break;
            }
            if into_us < from_us {
                continue;
            }
        }
        if let (Routed::Packet(packet, _), Some(tap)) = (&routed, part.tap)
            && !tap.sees(packet)
        {
            continue;
        }
        observer.take(routed, &mut each)?;
    }
    observer.finish(&mut each)?;
    let (input, _, errors) = reader.close();
    Ok(Read { goes_on, errors, span: input.first.zip(input.last) })
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
