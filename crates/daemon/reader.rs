//! The first stage: frames from the captures become packet records, each with its shard.
//!
//! In: a [`CaptureSet`], or whatever else hands frames to an [`Intake`]. Out: [`Routed`] items, packets and ticks in one sequence. A tick is due whenever packet time
//! enters a new second, and every [`TICK_PACKETS`] packets: both depend on the input alone, so that everything that
//! happens at ticks does too.

use anyhow::Context;
use tapline_capture::{CaptureError, CaptureSet, FrameFilter};
use tapline_flow::{CLOCK_SET_BACK_US, shard_of};
use tapline_packet::{DecodeCounters, Decoder, DuplicateWindow, Skip};
use tapline_record::{FlowKey, Frame, KeyRules, LinkType, PacketRecord, Timestamp};

use crate::accounting::Input;
use crate::progress::Progress;

/// The most packets between two ticks: the most flows that the exporter sorts at once, timeouts aside.
const TICK_PACKETS: u32 = 16_384;

/// Shards of a replay are the same in every run, so that the same capture gives the same bytes, evictions included.
pub(crate) const SHARD_SEED: u64 = 0;

/// Reads captures.
pub(crate) struct Reader {
    captures: CaptureSet,
    intake: Intake,
    progress: Progress,
    errors: Vec<CaptureError>,
}

/// What becomes of a frame, wherever it comes from: filter, duplicates, record, shard, and the time.
pub(crate) struct Intake {
    filter: Option<FrameFilter>,
    duplicates: Option<DuplicateWindow>,
    decoder: Decoder,
    key_rules: KeyRules,
    shard_seed: u64,
    pub(crate) input: Input,
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
    pub(crate) fn new(captures: CaptureSet, intake: Intake, progress: Progress) -> Self {
        Self { captures, intake, progress, errors: Vec::new() }
    }

    /// The next packet or tick; `None` at the end of the input.
    ///
    /// # Errors
    ///
    /// Only such as make going on pointless; what is wrong with one file of several is kept for [`Reader::close`].
    #[inline]
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Routed>> {
        if let Some(now) = self.intake.take_tick() {
            return Ok(Some(Routed::Tick(now)));
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
            let Some((packet, shard)) = self.intake.take(&frame).context("applying --filter")? else {
                continue;
            };
            if self.intake.input.decoded.is_multiple_of(8_192) {
                self.progress.update(self.captures.bytes_read(), self.intake.input.seen);
            }
            return Ok(Some(Routed::Packet(packet, shard)));
        }
    }

    /// What was read and what was wrong with it.
    pub(crate) fn close(self) -> (Input, DecodeCounters, Vec<CaptureError>) {
        self.progress.finish();
        let (mut input, decode) = self.intake.close();
        input.files = self.captures.files();
        input.bytes = self.captures.bytes_read();
        input.notices = self.captures.notices().iter().map(ToString::to_string).collect();
        (input, decode, self.errors)
    }
}

impl Intake {
    /// `shard_seed` divides the flows among the shards; that of a replay is [`SHARD_SEED`].
    pub(crate) fn new(
        filter: Option<FrameFilter>,
        duplicates: Option<DuplicateWindow>,
        decoder: Decoder,
        key_rules: KeyRules,
        shard_seed: u64,
    ) -> Self {
        Self {
            filter,
            duplicates,
            decoder,
            key_rules,
            shard_seed,
            input: Input::default(),
            now: Timestamp::MIN,
            packets_since_tick: 0,
            tick_due: false,
        }
    }

    /// Takes in a frame; if it becomes a packet, that and its shard.
    ///
    /// # Errors
    ///
    /// If the filter cannot be applied.
    #[inline]
    pub(crate) fn take(&mut self, frame: &Frame<'_>) -> Result<Option<(PacketRecord, u8)>, CaptureError> {
        self.input.seen += 1;
        if let Some(filter) = &mut self.filter
            && !filter.matches(frame)?
        {
            self.input.filtered_out += 1;
            return Ok(None);
        }
        if let Some(duplicates) = &mut self.duplicates
            && duplicates.is_duplicate(frame)
        {
            self.input.duplicates += 1;
            return Ok(None);
        }
        let packet = match self.decoder.decode(frame, self.input.decoded) {
            Ok(packet) => packet,
            Err(skip) => {
                note_skip(&mut self.input, skip, frame);
                return Ok(None);
            }
        };
        self.input.decoded += 1;
        self.packets_since_tick += 1;
        self.note_time(packet.ts);
        let (key, _) = FlowKey::of(&packet, self.key_rules);
        Ok(Some((packet, shard_of(&key, self.shard_seed) as u8)))
    }

    /// A tick that is due after the packet that was taken last.
    #[inline]
    pub(crate) fn take_tick(&mut self) -> Option<Timestamp> {
        self.tick_due.then(|| self.tick())
    }

    /// The time as far as packets, or the clock, have brought it. Counts as a tick.
    pub(crate) fn tick(&mut self) -> Timestamp {
        self.tick_due = false;
        self.packets_since_tick = 0;
        self.now
    }

    /// Whether no packet has come since the last tick, whatever else did.
    pub(crate) const fn is_idle(&self) -> bool {
        self.packets_since_tick == 0
    }

    /// Moves time on while no packets come.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// What was taken in.
    pub(crate) fn close(self) -> (Input, DecodeCounters) {
        (self.input, *self.decoder.counters())
    }

    #[inline]
    fn note_time(&mut self, ts: Timestamp) {
        if ts > self.now {
            self.tick_due = ts.second() != self.now.second();
            self.input.first.get_or_insert(ts);
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
