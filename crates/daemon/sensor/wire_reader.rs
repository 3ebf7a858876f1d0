//! The first stage of a sensor: one capture handle.
//!
//! In: frames of an interface, whatever happens to it. Out: packets to the workers of their shards, and ticks to all of them:
//! where [`Reader`](crate::reader::Reader) gives them, and when the wire is quiet by the clock. When a worker cannot follow,
//! packets are dropped and counted; the clock and the end always arrive.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tapline_capture::live::{CaptureStatistics, LiveSupervisor, TimestampSource};
use tapline_capture::{CaptureError, Received};
use tapline_packet::DecodeCounters;
use tapline_record::{Frame, Timestamp};
use tracing::{info, warn};

use crate::accounting::{Input, InterfaceStats};
use crate::pipeline::{Lane, Then};
use crate::reader::Intake;
use crate::ring::Abandoned;
use crate::sensor::board::{Board, ReaderNow};

/// Frames taken before anything else is looked at: two batches, so that a worker that is nearly stuck does not keep the reader from
/// its board for longer than a watchdog waits.
const BUDGET: usize = 512;

/// The longest time between two ticks, so that a flow's end is known soon.
const TICK_EVERY: Duration = Duration::from_millis(200);

/// How far behind the clock the ticks of a quiet wire are: a packet waits at most so long in the kernel's ring.
const LAG_US: i64 = 250_000;

pub(crate) struct WireReader {
    index: usize,
    supervisor: LiveSupervisor,
    intake: Intake,
    lanes: Vec<Lane>,
    board: Arc<Board>,
    bytes: u64,
    /// The time of the latest frame.
    latest: Timestamp,
    /// How far the adapter's clock is behind that of the host, where it is not kept with it.
    behind_us: i64,
    trouble: Option<String>,
    ticked: Instant,
    noted: Instant,
}

/// What a reader did.
pub(crate) struct WireReport {
    pub(crate) interface: String,
    pub(crate) capture: CaptureStatistics,
    pub(crate) input: Input,
    pub(crate) decode: DecodeCounters,
    pub(crate) ring_dropped: u64,
}

impl WireReport {
    /// What all readers took in.
    pub(crate) fn sum(reports: Vec<Self>) -> (Input, DecodeCounters) {
        let mut input = Input::default();
        let mut decode = DecodeCounters::default();
        for Self { interface, capture, input: one, decode: counters, ring_dropped } in reports {
            let known = input.interfaces.iter().position(|known| known.name == interface);
            let at = known.unwrap_or_else(|| {
                // All readers of an interface see the same adapter.
                let adapter = &capture.interface;
                input.interfaces.push(InterfaceStats {
                    name: interface,
                    adapter_packets: adapter.packets,
                    adapter_dropped: adapter.dropped,
                    adapter_missed: adapter.missed + adapter.fifo_errors,
                    adapter_errors: adapter.errors,
                    ..InterfaceStats::default()
                });
                input.interfaces.len() - 1
            });
            let stats = &mut input.interfaces[at];
            stats.seen += capture.seen;
            stats.kernel_dropped += capture.kernel_dropped + capture.waiting();
            stats.reopened = stats.reopened.max(capture.reopened);
            input.bytes += one.bytes;
            input.seen += capture.seen;
            // Frames that were in a ring when it had to be given up went with it.
            input.kernel_dropped += capture.kernel_dropped + capture.waiting();
            input.ring_dropped += ring_dropped;
            input.filtered_out += one.filtered_out + capture.filtered;
            input.duplicates += one.duplicates;
            input.decoded += one.decoded;
            input.undecodable.iter_mut().zip(one.undecodable).for_each(|(sum, more)| *sum += more);
            input.unsupported_links.extend(one.unsupported_links);
            input.first = [input.first, one.first].into_iter().flatten().min();
            input.last = input.last.max(one.last);
            input.clock_set_back += one.clock_set_back;
            decode.add(&counters);
        }
        input.unsupported_links.sort_unstable();
        input.unsupported_links.dedup();
        (input, decode)
    }
}

/// Why a reader stopped although nobody told it to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("a flow worker stopped before the readers did")]
    Abandoned,
    #[error("applying the filter")]
    Filter(#[from] CaptureError),
}

impl WireReader {
    pub(crate) fn new(
        index: usize,
        supervisor: LiveSupervisor,
        intake: Intake,
        lanes: Vec<Lane>,
        board: Arc<Board>,
    ) -> Self {
        let now = Instant::now();
        Self {
            index,
            supervisor,
            intake,
            lanes,
            board,
            bytes: 0,
            latest: Timestamp::MIN,
            behind_us: 0,
            trouble: None,
            ticked: now,
            noted: now,
        }
    }

    /// Reads until the sensor stops and all that was in the ring has been read.
    ///
    /// # Errors
    ///
    /// If what it needs has gone; an interface that goes is none.
    pub(crate) fn run(mut self) -> Result<WireReport, ReadError> {
        let mut stopped = false;
        loop {
            if !stopped && self.board.is_stopping() {
                self.supervisor.stop();
                stopped = true;
            }
            // Before it is asked: whatever waited by then comes now, however long this thread is kept waiting meanwhile.
            let asked_us = wall_us();
            let received = self.receive()?;
            match received {
                Received::Frames(_) if self.noted.elapsed() < TICK_EVERY => continue,
                // What is no packet (not IP, a duplicate) is no quiet moment either, but time goes on.
                Received::Frames(_) if self.intake.is_idle() => self.intake.advance(self.latest),
                Received::Frames(_) => {}
                Received::Quiet | Received::Down | Received::Gone => {
                    let now_us = asked_us.saturating_sub(self.behind_us).saturating_sub(LAG_US);
                    self.intake.advance(Timestamp::from_micros(now_us));
                }
                Received::Ended => break,
            }
            if self.ticked.elapsed() >= TICK_EVERY || !matches!(received, Received::Frames(_)) {
                let now = self.intake.tick();
                self.tick(now)?;
            }
            self.note(received);
        }
        self.lanes.iter_mut().try_for_each(|lane| lane.close(Then::Finish))?;
        self.note(Received::Quiet);
        let ring_dropped = self.ring_dropped();
        let capture = self.supervisor.statistics();
        let (mut input, decode) = self.intake.close();
        input.bytes = self.bytes;
        let interface = self.supervisor.config().interface.clone();
        Ok(WireReport { interface, capture, input, decode, ring_dropped })
    }

    /// Takes what is there.
    fn receive(&mut self) -> Result<Received, ReadError> {
        let Self { supervisor, intake, lanes, board, bytes, latest, ticked, .. } = self;
        let mut failed = None;
        let received = supervisor.receive(BUDGET, |frame| {
            *bytes += u64::from(frame.wire_bytes);
            *latest = frame.ts;
            if failed.is_none() {
                failed = take(intake, lanes, board, ticked, &frame).err();
            }
        });
        if matches!(received, Received::Frames(_))
            && self.supervisor.config().timestamp == TimestampSource::AdapterUnsynced
        {
            self.behind_us = wall_us().saturating_sub(self.latest.micros);
        }
        failed.map_or(Ok(received), Err)
    }

    fn tick(&mut self, now: Timestamp) -> Result<(), Abandoned> {
        self.ticked = Instant::now();
        // Before there was a packet or a quiet moment there is no time.
        if now > Timestamp::MIN {
            let tick = self.board.tick(now);
            self.lanes.iter_mut().try_for_each(|lane| lane.close(Then::Tick(tick)))?;
        }
        Ok(())
    }

    /// Leaves on the board what has been done, and says so if something else is wrong with the interface than before.
    fn note(&mut self, received: Received) {
        self.noted = Instant::now();
        let trouble = self.supervisor.trouble().map(ToString::to_string);
        if trouble != self.trouble {
            let interface = &self.supervisor.config().interface;
            match &trouble {
                Some(trouble) => warn!(interface, "{trouble}"),
                None => info!(interface, "capturing again"),
            }
            self.trouble = trouble;
        }
        let place = &self.board.readers[self.index];
        let input = &self.intake.input;
        place.note(ReaderNow {
            capture: self.supervisor.statistics(),
            bytes: self.bytes,
            filtered_out: input.filtered_out,
            duplicates: input.duplicates,
            undecodable: input.undecodable,
            ring_dropped: self.ring_dropped(),
            up: matches!(received, Received::Frames(_) | Received::Quiet),
            trouble: self.trouble.clone(),
        });
        place.moved.fetch_add(1, Ordering::Relaxed);
    }

    fn ring_dropped(&self) -> u64 {
        self.lanes.iter().map(Lane::dropped).sum()
    }
}

/// A frame on its way.
#[inline]
fn take(
    intake: &mut Intake,
    lanes: &mut [Lane],
    board: &Board,
    ticked: &mut Instant,
    frame: &Frame<'_>,
) -> Result<(), ReadError> {
    let Some((packet, shard)) = intake.take(frame)? else { return Ok(()) };
    let workers = lanes.len();
    lanes[usize::from(shard) % workers].push(packet, shard)?;
    if let Some(now) = intake.take_tick() {
        *ticked = Instant::now();
        let tick = board.tick(now);
        lanes.iter_mut().try_for_each(|lane| lane.close(Then::Tick(tick)))?;
    }
    Ok(())
}

impl From<Abandoned> for ReadError {
    fn from(_: Abandoned) -> Self {
        Self::Abandoned
    }
}

/// The time by the clock, in microseconds since the epoch.
pub(crate) fn wall_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
