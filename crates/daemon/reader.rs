//! The first stage: frames from the captures become packet records, each with its shard.
//!
//! In: a [`CaptureSet`]. Out: [`Routed`] items, packets and ticks in one sequence. A tick is due whenever packet time
//! enters a new second, and every [`TICK_PACKETS`] packets: both depend on the input alone, so that everything that
//! happens at ticks does too.

use anyhow::Context;
use tapline_capture::{CaptureError, CaptureSet, FrameFilter};
use tapline_flow::shard_of;
use tapline_packet::{DecodeCounters, Decoder, DuplicateWindow, Skip};
use tapline_record::{FlowKey, Frame, KeyRules, LinkType, PacketRecord, Timestamp};

use crate::accounting::Input;
use crate::progress::Progress;

/// The most packets between two ticks: the most flows that the exporter sorts at once, timeouts aside.
const TICK_PACKETS: u32 = 16_384;

/// A packet that is late by more than this is not late: the capture's clock was set back, or was wrong before.
const CLOCK_SET_BACK_US: i64 = 3_600_000_000;

/// Shards of a replay are the same in every run, so that the same capture gives the same bytes, evictions included.
const SHARD_SEED: u64 = 0;

pub(crate) struct Reader {
    captures: CaptureSet,
    filter: Option<FrameFilter>,
    duplicates: Option<DuplicateWindow>,
    decoder: Decoder,
    key_rules: KeyRules,
    progress: Progress,
    input: Input,
    errors: Vec<CaptureError>,
    now: Timestamp,
    packets_since_tick: u32,
    tick_due: bool,
}

/// What the reader hands on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Routed {
    /// A packet for a shard.
    Packet(PacketRecord, u8),
    /// Packet time has come this far: for every shard.
    Tick(Timestamp),
}

impl Reader {
    pub(crate) fn new(
        captures: CaptureSet,
        filter: Option<FrameFilter>,
        duplicates: Option<DuplicateWindow>,
        decoder: Decoder,
        key_rules: KeyRules,
        progress: Progress,
    ) -> Self {
        Self {
            captures,
            filter,
            duplicates,
            decoder,
            key_rules,
            progress,
            input: Input::default(),
            errors: Vec::new(),
            now: Timestamp::MIN,
            packets_since_tick: 0,
            tick_due: false,
        }
    }

    /// The next packet or tick; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// Only such as make going on pointless; what is wrong with one file of several is kept for [`Reader::close`].
    #[inline]
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Routed>> {
        if self.tick_due {
            self.tick_due = false;
            self.packets_since_tick = 0;
            return Ok(Some(Routed::Tick(self.now)));
        }
        loop {
            let frame = match self.captures.next() {
                None => return Ok(None),
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.errors.push(error);
                    continue;
                }
            };
            self.input.seen += 1;
            if let Some(filter) = &mut self.filter
                && !filter.matches(&frame).context("applying --filter")?
            {
                self.input.filtered_out += 1;
                continue;
            }
            if let Some(duplicates) = &mut self.duplicates
                && duplicates.is_duplicate(&frame)
            {
                self.input.duplicates += 1;
                continue;
            }
            let packet = match self.decoder.decode(&frame, self.input.decoded) {
                Ok(packet) => packet,
                Err(skip) => {
                    note_skip(&mut self.input, skip, &frame);
                    continue;
                }
            };
            self.input.decoded += 1;
            if self.input.decoded.is_multiple_of(8_192) {
                self.progress.update(self.captures.bytes_read(), self.input.seen);
            }
            self.packets_since_tick += 1;
            self.note_time(packet.ts);
            let (key, _) = FlowKey::of(&packet, self.key_rules);
            return Ok(Some(Routed::Packet(packet, shard_of(&key, SHARD_SEED) as u8)));
        }
    }

    /// What was read and what was wrong with it.
    pub(crate) fn close(mut self) -> (Input, DecodeCounters, Vec<CaptureError>) {
        self.progress.finish();
        self.input.files = self.captures.files();
        self.input.bytes = self.captures.bytes_read();
        self.input.notices = self.captures.notices().iter().map(ToString::to_string).collect();
        (self.input, *self.decoder.counters(), self.errors)
    }

    #[inline]
    fn note_time(&mut self, ts: Timestamp) {
        if ts > self.now {
            self.tick_due = ts.second() != self.now.second();
            if self.input.first.is_none() {
                self.input.first = Some(ts);
            }
            self.now = ts;
            self.input.last = self.input.last.max(Some(ts));
        } else if self.now.micros_since(ts) > CLOCK_SET_BACK_US {
            // The clock was ahead. To wait until packet time gets there again would end every flow at each tick.
            self.input.clock_set_back += 1;
            self.tick_due = true;
            self.now = ts;
        }
        self.tick_due |= self.packets_since_tick >= TICK_PACKETS;
    }
}

#[cold]
fn note_skip(input: &mut Input, skip: Skip, frame: &Frame<'_>) {
    input.undecodable[skip.index()] += 1;
    if skip == Skip::UnsupportedLinkType {
        let LinkType(number) = frame.link;
        if !input.unsupported_links.contains(&number) && input.unsupported_links.len() < 16 {
            input.unsupported_links.push(number);
        }
    }
}
