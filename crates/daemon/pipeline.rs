//! The page that joins the stages: one thread, or a reader, N flow workers and a last stage over rings.
//!
//! ```text
//!  Reader ══packets, ticks══► FlowWorker k ══ended flows, ticks══► merge ──► [Contexts ══► Scoring ──►] Exporter
//! ```
//!
//! All drivers feed the same stages the same sequence, so they write the same bytes. Between two ticks a worker keeps
//! its ended flows to itself; at the tick it sends them in the order of rows and marks the end of the epoch. The last
//! stage merges the workers' sequences epoch by epoch. Nobody waits in a circle: a tick reaches every worker before any
//! later packet reaches one, so whoever the last stage waits for has what it needs to answer.
//!
//! With one worker there are no rings, but for one behind the worker if flows are scored: that is work for a thread of its own.

use std::panic::resume_unwind;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};
use tapline_flow::SortKey;
use tapline_record::{FlowRecord, PacketRecord, Timestamp, Tracker};

use crate::exporter::Exported;
use crate::flow_worker::{FlowWorker, Tables, WorkerReport};
use crate::reader::{Reader, Routed};
use crate::ring::{Abandoned, CAPACITY, Receiver, Sender, ring};

/// Packets per batch: 24 kB, so that a batch is still in the cache of the core that filled it when it is read.
pub(crate) const PACKETS_PER_BATCH: usize = 256;
/// Flows per batch.
pub(crate) const FLOWS_PER_BATCH: usize = 32;

/// What becomes of ended flows.
pub(crate) trait Stage<S>: Send {
    /// Whether it has more to do than the thread of the only worker should be kept from its packets with.
    const NEEDS_A_THREAD: bool;

    /// The next flow in the order of rows.
    fn flow(&mut self, order: SortKey, flow: &FlowRecord<S>) -> anyhow::Result<()>;

    /// How full the way to this stage is, said once an epoch and once a batch: a stage that can leave work undone may begin
    /// to.
    fn pressed(&mut self, filled_percent: u8) {
        let _ = filled_percent;
    }

    /// All flows that were decided by packet time `now` have come.
    fn tick(&mut self, now: Timestamp) -> anyhow::Result<()>;

    /// The last flow has come.
    fn close(self) -> anyhow::Result<Exported>;
}

/// Runs the pipeline until the input ends or a stage fails.
pub(crate) fn run<T, L>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    workers: usize,
    last: L,
) -> anyhow::Result<(WorkerReport, Exported)>
where
    T: Tracker + Copy + Send + Sync,
    T::State: Send,
    L: Stage<T::State>,
{
    match (workers, L::NEEDS_A_THREAD) {
        (1, false) => run_inline(reader, tables, tracker, last),
        (1, true) => run_beside(reader, tables, tracker, last),
        _ => run_threads(reader, tables, tracker, workers, last),
    }
}

/// Everything in this thread.
fn run_inline<T: Tracker + Copy, L: Stage<T::State>>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    mut last: L,
) -> anyhow::Result<(WorkerReport, Exported)> {
    let mut worker = FlowWorker::new(0, 1, tables, tracker);
    while let Some(routed) = reader.next()? {
        match routed {
            Routed::Packet(packet, shard) => worker.push(&packet, shard),
            Routed::Tick(now) => {
                worker.tick(now);
                worker.drain(|flow| last.flow(flow.order(), flow.record()))?;
                last.tick(now)?;
            }
        }
    }
    worker.finish();
    worker.drain(|flow| last.flow(flow.order(), flow.record()))?;
    Ok((worker.report(), last.close()?))
}

/// The reader and the only worker in this thread, the last stage in another.
fn run_beside<T, L>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    last: L,
) -> anyhow::Result<(WorkerReport, Exported)>
where
    T: Tracker + Copy,
    T::State: Send,
    L: Stage<T::State>,
{
    thread::scope(|scope| {
        let (mut flows, flows_out) = ring(CAPACITY);
        let last = start_last(scope, last, vec![Stream::new(flows_out)])?;

        let mut worker = FlowWorker::new(0, 1, tables, tracker);
        let mut ended = FlowBatch::default();
        let mut ticks = 0;
        let mut drive = || -> anyhow::Result<Result<(), Abandoned>> {
            while let Some(routed) = reader.next()? {
                match routed {
                    Routed::Packet(packet, shard) => worker.push(&packet, shard),
                    Routed::Tick(now) => {
                        worker.tick(now);
                        ticks += 1;
                        let tick = Tick { number: ticks, now };
                        if send_epoch(&mut worker, &mut ended, &mut flows, Some(tick)).is_err() {
                            return Ok(Err(Abandoned));
                        }
                    }
                }
            }
            worker.finish();
            Ok(send_epoch(&mut worker, &mut ended, &mut flows, None))
        };
        let driven = drive();
        drop(flows);

        let exported = last.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        driven?.map_err(|Abandoned| anyhow!("the last stage stopped before the flow worker did"))?;
        Ok((worker.report(), exported))
    })
}

fn run_threads<T, L>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    workers: usize,
    last: L,
) -> anyhow::Result<(WorkerReport, Exported)>
where
    T: Tracker + Copy + Send + Sync,
    T::State: Send,
    L: Stage<T::State>,
{
    thread::scope(|scope| {
        let mut to_workers = Vec::new();
        let mut from_workers = Vec::new();
        let mut threads = Vec::new();
        for index in 0..workers {
            let (packets_in, packets_out) = ring(CAPACITY);
            let (flows_in, flows_out) = ring(CAPACITY);
            to_workers.push(Lane::new(packets_in, WhenFull::Wait));
            from_workers.push(Stream::new(flows_out));
            let worker = FlowWorker::new(index, workers, tables, tracker);
            let thread = thread::Builder::new()
                .name(format!("flow-{index}"))
                .spawn_scoped(scope, move || drive_worker(worker, packets_out, flows_in))
                .context("starting a flow worker")?;
            threads.push(thread);
        }
        let last = start_last(scope, last, from_workers)?;

        let read = drive_reader(reader, to_workers);

        let mut total = WorkerReport::default();
        let mut worker_stopped = false;
        for thread in threads {
            match thread.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                Ok(report) => {
                    total.counters.add(&report.counters);
                    total.live_packets += report.live_packets;
                }
                Err(Abandoned) => worker_stopped = true,
            }
        }
        // The last stage's failure is the cause; that the others were abandoned is its consequence.
        let exported = last.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let Read::ToTheEnd = read? else {
            return Err(anyhow!("a flow worker stopped before the input ended"));
        };
        if worker_stopped {
            return Err(anyhow!("the last stage stopped before the flow workers did"));
        }
        Ok((total, exported))
    })
}

/// Packets of one worker, and the tick that follows them.
#[derive(Default)]
pub(crate) struct PacketBatch {
    pub(crate) packets: Vec<PacketRecord>,
    pub(crate) shards: Vec<u8>,
    pub(crate) then: Option<Then>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Then {
    Tick(Tick),
    Finish,
}

/// Packet time has come so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick {
    /// Greater than that of any tick before, which the time is not when a clock is set back.
    pub(crate) number: u64,
    pub(crate) now: Timestamp,
}

/// A worker that makes no room for so long is stuck. A slow one is waited for: meanwhile the kernel's ring, which is much larger,
/// takes what comes, and what finds no room there costs nothing more.
const STUCK_AFTER: Duration = Duration::from_secs(2);

/// What a reader does when a worker cannot follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Captures can wait.
    Wait,
    /// A wire does not: before a worker that is stuck, packets are dropped by the batch, and counted. Ticks never are.
    DropNewest,
}

/// A reader's way to a worker.
pub(crate) struct Lane {
    sender: Sender<PacketBatch>,
    batch: PacketBatch,
    when_full: WhenFull,
    dropped: u64,
}

enum Read {
    ToTheEnd,
    UntilAbandoned,
}

fn drive_reader(reader: &mut Reader, mut lanes: Vec<Lane>) -> anyhow::Result<Read> {
    let mut ticks = 0;
    while let Some(routed) = reader.next()? {
        let sent = match routed {
            Routed::Packet(packet, shard) => {
                let workers = lanes.len();
                lanes[usize::from(shard) % workers].push(packet, shard)
            }
            Routed::Tick(now) => {
                ticks += 1;
                let tick = Tick { number: ticks, now };
                lanes.iter_mut().try_for_each(|lane| lane.close(Then::Tick(tick)))
            }
        };
        if sent == Err(Abandoned) {
            return Ok(Read::UntilAbandoned);
        }
    }
    match lanes.iter_mut().try_for_each(|lane| lane.close(Then::Finish)) {
        Ok(()) => Ok(Read::ToTheEnd),
        Err(Abandoned) => Ok(Read::UntilAbandoned),
    }
}

impl Lane {
    pub(crate) fn new(sender: Sender<PacketBatch>, when_full: WhenFull) -> Self {
        Self { sender, batch: PacketBatch::default(), when_full, dropped: 0 }
    }

    /// Packets that found no room.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    #[inline]
    pub(crate) fn push(&mut self, packet: PacketRecord, shard: u8) -> Result<(), Abandoned> {
        self.batch.packets.push(packet);
        self.batch.shards.push(shard);
        if self.batch.packets.len() < PACKETS_PER_BATCH {
            return Ok(());
        }
        self.send()
    }

    /// Sends what is at hand, and what follows it. [`Then::Finish`] waits for room whatever the rule is.
    pub(crate) fn close(&mut self, then: Then) -> Result<(), Abandoned> {
        self.batch.then = Some(then);
        match then {
            Then::Tick(_) => self.send(),
            Then::Finish => self.sender.send(&mut self.batch),
        }
    }

    fn send(&mut self) -> Result<(), Abandoned> {
        if self.when_full == WhenFull::Wait {
            return self.sender.send(&mut self.batch);
        }
        if !self.sender.offer(&mut self.batch, STUCK_AFTER)? {
            // The tick, if there is one, goes with the next batch; a later one says all that it says.
            self.dropped += self.batch.packets.len() as u64;
            self.batch.packets.clear();
            self.batch.shards.clear();
        }
        Ok(())
    }
}

fn drive_worker<T: Tracker + Copy>(
    mut worker: FlowWorker<T>,
    mut packets: Receiver<PacketBatch>,
    mut flows: Sender<FlowBatch<T::State>>,
) -> Result<WorkerReport, Abandoned> {
    let mut ended = FlowBatch::default();
    while let Some(mut batch) = packets.receive() {
        for (packet, shard) in batch.packets.iter().zip(&batch.shards) {
            worker.push(packet, *shard);
        }
        batch.packets.clear();
        batch.shards.clear();
        let then = batch.then.take();
        packets.give_back(batch);
        let Some(then) = then else { continue };
        match then {
            Then::Tick(tick) => worker.tick(tick.now),
            Then::Finish => worker.finish(),
        }
        let tick = match then {
            Then::Tick(tick) => Some(tick),
            Then::Finish => None,
        };
        send_epoch(&mut worker, &mut ended, &mut flows, tick)?;
    }
    Ok(worker.report())
}

/// Sends what has ended since the last tick, and `tick`; `None` at the end.
pub(crate) fn send_epoch<T: Tracker + Copy>(
    worker: &mut FlowWorker<T>,
    ended: &mut FlowBatch<T::State>,
    flows: &mut Sender<FlowBatch<T::State>>,
    tick: Option<Tick>,
) -> Result<(), Abandoned> {
    let epoch = tick.map_or(Epoch::End, Epoch::Until);
    ended.epoch = epoch;
    worker.drain(|flow| {
        ended.flows.push((flow.order(), flow.take()));
        if ended.flows.len() < FLOWS_PER_BATCH {
            return Ok(());
        }
        flows.send(ended)?;
        ended.epoch = epoch;
        Ok(())
    })?;
    ended.epoch_ends = true;
    flows.send(ended)
}

/// What lies between two ticks, named by the one at its end. Later ones are greater, also when the clock was set back: else a
/// worker that still has a tick from before would wait until time is there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Epoch {
    Until(Tick),
    /// Up to the end of the input.
    End,
}

/// Ended flows of one worker in the order of rows.
pub(crate) struct FlowBatch<S> {
    flows: Vec<(SortKey, FlowRecord<S>)>,
    epoch: Epoch,
    epoch_ends: bool,
}

impl<S> Default for FlowBatch<S> {
    fn default() -> Self {
        Self { flows: Vec::with_capacity(FLOWS_PER_BATCH), epoch: Epoch::End, epoch_ends: false }
    }
}

/// One worker's flows as the merge sees them.
pub(crate) struct Stream<S> {
    receiver: Receiver<FlowBatch<S>>,
    batch: FlowBatch<S>,
    next: usize,
}

impl<S> Stream<S> {
    pub(crate) fn new(receiver: Receiver<FlowBatch<S>>) -> Self {
        Self { receiver, batch: FlowBatch::default(), next: 0 }
    }

    /// The epoch that comes next, waiting for it; `None` when all is over.
    fn epoch(&mut self) -> Option<Epoch> {
        while self.next == self.batch.flows.len() && !self.batch.epoch_ends {
            let batch = self.receiver.receive()?;
            let mut emptied = std::mem::replace(&mut self.batch, batch);
            emptied.flows.clear();
            self.receiver.give_back(emptied);
            self.next = 0;
        }
        Some(self.batch.epoch)
    }

    /// The next flow of the epoch, waiting for it; `None` when that is over or not this stream's next.
    fn head(&mut self, epoch: Epoch) -> Option<SortKey> {
        (self.epoch()? == epoch).then_some(())?;
        self.batch.flows.get(self.next).map(|(order, _)| *order)
    }

    /// Leaves the epoch behind.
    fn end(&mut self, epoch: Epoch) {
        self.batch.epoch_ends &= self.batch.epoch != epoch;
    }
}

/// Starts the last stage behind these streams.
fn start_last<'scope, S, L>(
    scope: &'scope Scope<'scope, '_>,
    last: L,
    streams: Vec<Stream<S>>,
) -> anyhow::Result<ScopedJoinHandle<'scope, anyhow::Result<Exported>>>
where
    S: Send + 'scope,
    L: Stage<S> + 'scope,
{
    thread::Builder::new()
        .name("export".to_owned())
        .spawn_scoped(scope, move || drive_last(last, streams))
        .context("starting the last stage")
}

/// Merges the streams, epoch by epoch. A stream that has nothing of the earliest epoch waits with what it has.
pub(crate) fn drive_last<S, L: Stage<S>>(
    mut last: L,
    mut streams: Vec<Stream<S>>,
) -> anyhow::Result<Exported> {
    let fill = |streams: &[Stream<S>]| {
        streams.iter().map(|stream| stream.receiver.filled_percent()).max().unwrap_or(0)
    };
    let mut heads: Vec<Option<SortKey>> = Vec::with_capacity(streams.len());
    let mut flows = 0_usize;
    while let Some(epoch) = streams.iter_mut().filter_map(Stream::epoch).min() {
        last.pressed(fill(&streams));
        heads.clear();
        heads.extend(streams.iter_mut().map(|stream| stream.head(epoch)));
        while let Some((index, order)) = earliest(&heads) {
            let stream = &mut streams[index];
            last.flow(order, &stream.batch.flows[stream.next].1)?;
            stream.next += 1;
            heads[index] = stream.head(epoch);
            flows = flows.wrapping_add(1);
            if flows.is_multiple_of(FLOWS_PER_BATCH) {
                last.pressed(fill(&streams));
            }
        }
        streams.iter_mut().for_each(|stream| stream.end(epoch));
        if let Epoch::Until(tick) = epoch {
            last.tick(tick.now)?;
        }
    }
    last.close()
}

fn earliest(heads: &[Option<SortKey>]) -> Option<(usize, SortKey)> {
    heads
        .iter()
        .enumerate()
        .filter_map(|(index, head)| head.map(|order| (index, order)))
        .min_by_key(|(_, order)| *order)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the ticks.
    struct Ticks(std::sync::mpsc::Sender<i64>);

    impl Stage<()> for Ticks {
        const NEEDS_A_THREAD: bool = false;

        fn flow(&mut self, _: SortKey, _: &FlowRecord<()>) -> anyhow::Result<()> {
            Ok(())
        }

        fn tick(&mut self, now: Timestamp) -> anyhow::Result<()> {
            Ok(self.0.send(now.micros)?)
        }

        fn close(self) -> anyhow::Result<Exported> {
            Ok(Exported::default())
        }
    }

    /// A worker's epochs, each with its tick's number and time.
    fn stream(ticks: &[(u64, i64)]) -> Stream<()> {
        let (mut sender, receiver) = ring(CAPACITY);
        for (number, micros) in ticks {
            let tick = Tick { number: *number, now: Timestamp::from_micros(*micros) };
            let epoch = FlowBatch { epoch: Epoch::Until(tick), epoch_ends: true, ..FlowBatch::default() };
            sender.send(&mut { epoch }).unwrap();
        }
        Stream::new(receiver)
    }

    #[test]
    fn a_worker_that_missed_a_tick_before_the_clock_was_set_back_waits_for_nobody() {
        let (sender, told) = std::sync::mpsc::channel();
        let streams = vec![
            stream(&[(1, 9_000), (2, 9_100), (3, 0), (4, 100)]),
            stream(&[(1, 9_000), (3, 0), (4, 100)]),
        ];
        drive_last(Ticks(sender), streams).unwrap();
        assert_eq!(told.iter().collect::<Vec<_>>(), [9_000, 9_100, 0, 100]);
    }
}
