//! The page that joins the stages: one thread, or a reader, N flow workers and an exporter over rings.
//!
//! ```text
//!  Reader ══packets, ticks══► FlowWorker k ══ended flows══► merge ──► Exporter
//! ```
//!
//! Both drivers feed the same stages the same sequence, so they write the same bytes. Between two ticks a worker keeps
//! its ended flows to itself; at the tick it sends them in the order of rows and marks the end of the epoch. The
//! exporter merges the workers' sequences epoch by epoch. Nobody waits in a circle: a tick reaches every worker before
//! any later packet reaches one, so whoever the exporter waits for has what it needs to answer.

use std::panic::resume_unwind;
use std::thread;

use anyhow::{Context, anyhow};
use tapline_export::ExportError;
use tapline_flow::SortKey;
use tapline_record::{FlowRecord, PacketRecord, Timestamp, Tracker};

use crate::exporter::{Exported, Exporter};
use crate::flow_worker::{FlowWorker, Tables, WorkerReport};
use crate::reader::{Reader, Routed};
use crate::ring::{Abandoned, Receiver, Sender, ring};

/// Packets per batch: 24 kB, so that a batch is still in the cache of the core that filled it when it is read.
const PACKETS_PER_BATCH: usize = 256;
/// Flows per batch.
const FLOWS_PER_BATCH: usize = 32;

/// Runs the pipeline until the input ends or a stage fails.
pub(crate) fn run<T>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    workers: usize,
    exporter: Exporter<T::State>,
) -> anyhow::Result<(WorkerReport, Exported)>
where
    T: Tracker + Copy + Send + Sync,
    T::State: Send,
{
    if workers == 1 {
        run_inline(reader, tables, tracker, exporter)
    } else {
        run_threads(reader, tables, tracker, workers, exporter)
    }
}

fn run_inline<T: Tracker + Copy>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    mut exporter: Exporter<T::State>,
) -> anyhow::Result<(WorkerReport, Exported)> {
    let mut worker = FlowWorker::new(0, 1, tables, tracker);
    while let Some(routed) = reader.next()? {
        match routed {
            Routed::Packet(packet, shard) => worker.push(&packet, shard),
            Routed::Tick(now) => {
                worker.tick(now);
                worker.drain(|flow| exporter.write(flow.record()))?;
            }
        }
    }
    worker.finish();
    worker.drain(|flow| exporter.write(flow.record()))?;
    Ok((worker.report(), exporter.close()?))
}

fn run_threads<T>(
    reader: &mut Reader,
    tables: Tables,
    tracker: T,
    workers: usize,
    exporter: Exporter<T::State>,
) -> anyhow::Result<(WorkerReport, Exported)>
where
    T: Tracker + Copy + Send + Sync,
    T::State: Send,
{
    thread::scope(|scope| {
        let mut to_workers = Vec::new();
        let mut from_workers = Vec::new();
        let mut threads = Vec::new();
        for index in 0..workers {
            let (packets_in, packets_out) = ring();
            let (flows_in, flows_out) = ring();
            to_workers.push(Lane { sender: packets_in, batch: PacketBatch::default() });
            from_workers.push(Stream::new(flows_out));
            let worker = FlowWorker::new(index, workers, tables, tracker);
            let thread = thread::Builder::new()
                .name(format!("flow-{index}"))
                .spawn_scoped(scope, move || drive_worker(worker, packets_out, flows_in))
                .context("starting a flow worker")?;
            threads.push(thread);
        }
        let exporting = thread::Builder::new()
            .name("export".to_owned())
            .spawn_scoped(scope, move || drive_exporter(exporter, from_workers))
            .context("starting the exporter")?;

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
        // The exporter's failure is the cause; that the others were abandoned is its consequence.
        let exported = exporting.join().unwrap_or_else(|panic| resume_unwind(panic))?;
        let Read::ToTheEnd = read? else {
            return Err(anyhow!("a flow worker stopped before the input ended"));
        };
        if worker_stopped {
            return Err(anyhow!("the exporter stopped before the flow workers did"));
        }
        Ok((total, exported))
    })
}

/// Packets of one worker, and the tick that follows them.
#[derive(Default)]
struct PacketBatch {
    packets: Vec<PacketRecord>,
    shards: Vec<u8>,
    then: Option<Then>,
}

#[derive(Clone, Copy)]
enum Then {
    Tick(Timestamp),
    Finish,
}

struct Lane {
    sender: Sender<PacketBatch>,
    batch: PacketBatch,
}

enum Read {
    ToTheEnd,
    UntilAbandoned,
}

fn drive_reader(reader: &mut Reader, mut lanes: Vec<Lane>) -> anyhow::Result<Read> {
    while let Some(routed) = reader.next()? {
        let sent = match routed {
            Routed::Packet(packet, shard) => {
                let workers = lanes.len();
                lanes[usize::from(shard) % workers].push(packet, shard)
            }
            Routed::Tick(now) => lanes.iter_mut().try_for_each(|lane| lane.close(Then::Tick(now))),
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
    #[inline]
    fn push(&mut self, packet: PacketRecord, shard: u8) -> Result<(), Abandoned> {
        self.batch.packets.push(packet);
        self.batch.shards.push(shard);
        if self.batch.packets.len() < PACKETS_PER_BATCH {
            return Ok(());
        }
        self.batch.then = None;
        self.sender.send(&mut self.batch)
    }

    fn close(&mut self, then: Then) -> Result<(), Abandoned> {
        self.batch.then = Some(then);
        self.sender.send(&mut self.batch)
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
        match then {
            None => continue,
            Some(Then::Tick(now)) => worker.tick(now),
            Some(Then::Finish) => worker.finish(),
        }
        worker.drain(|flow| {
            ended.flows.push((flow.order(), flow.take()));
            if ended.flows.len() == FLOWS_PER_BATCH { flows.send(&mut ended) } else { Ok(()) }
        })?;
        ended.epoch_ends = true;
        flows.send(&mut ended)?;
    }
    Ok(worker.report())
}

/// Ended flows of one worker in the order of rows.
struct FlowBatch<S> {
    flows: Vec<(SortKey, FlowRecord<S>)>,
    epoch_ends: bool,
}

impl<S> Default for FlowBatch<S> {
    fn default() -> Self {
        Self { flows: Vec::with_capacity(FLOWS_PER_BATCH), epoch_ends: false }
    }
}

/// One worker's flows as the merge sees them.
struct Stream<S> {
    receiver: Receiver<FlowBatch<S>>,
    batch: FlowBatch<S>,
    next: usize,
    open: bool,
}

impl<S> Stream<S> {
    fn new(receiver: Receiver<FlowBatch<S>>) -> Self {
        Self { receiver, batch: FlowBatch::default(), next: 0, open: true }
    }

    /// The next flow of this epoch, waiting for it; `None` when the epoch, or everything, is over.
    fn head(&mut self) -> Option<SortKey> {
        while self.next == self.batch.flows.len() && !self.batch.epoch_ends && self.open {
            match self.receiver.receive() {
                Some(batch) => {
                    let mut emptied = std::mem::replace(&mut self.batch, batch);
                    emptied.flows.clear();
                    emptied.epoch_ends = false;
                    self.receiver.give_back(emptied);
                    self.next = 0;
                }
                None => self.open = false,
            }
        }
        self.batch.flows.get(self.next).map(|(order, _)| *order)
    }

    fn begin_epoch(&mut self) {
        self.batch.epoch_ends = false;
    }
}

fn drive_exporter<S>(
    mut exporter: Exporter<S>,
    mut streams: Vec<Stream<S>>,
) -> Result<Exported, ExportError> {
    while streams.iter().any(|stream| stream.open) {
        let mut heads: Vec<Option<SortKey>> = streams.iter_mut().map(Stream::head).collect();
        while let Some((index, _)) = earliest(&heads) {
            let stream = &mut streams[index];
            exporter.write(&stream.batch.flows[stream.next].1)?;
            stream.next += 1;
            heads[index] = stream.head();
        }
        streams.iter_mut().for_each(Stream::begin_epoch);
    }
    exporter.close()
}

fn earliest(heads: &[Option<SortKey>]) -> Option<(usize, SortKey)> {
    heads
        .iter()
        .enumerate()
        .filter_map(|(index, head)| head.map(|order| (index, order)))
        .min_by_key(|(_, order)| *order)
}
