//! What the sensor knows of itself, gathered from the board.
//!
//! In: what the threads left there, and the meters of the sinks. Out: a [`Snapshot`], and at the end the terms of the accounts.
//! The threads' counters are of slightly different moments: what one has handed on and the next has not taken is in flight, and
//! can be no more than the rings hold.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use tapline_config::Config;
use tapline_config::config::InterfaceConfig;
use tapline_control::{
    Accounts, ConfigView, Counts, EmergencyView, FlowsView, InterfaceView, MemoryView, ModelView, NicView,
    ScoringView, SensorView, SinkView, Snapshot, State, TalkerView, WorkerView,
};
use tapline_export::{DropCause, SinkMeter};
use tapline_features::SchemaId;
use tapline_flow::{NonFlow, TableCounters};
use tapline_packet::Skip;
use tapline_record::EndReason;

use crate::pipeline::PACKETS_PER_BATCH;
use crate::sensor::board::{Board, ReaderNow};
use crate::sensor::budget::{Budget, PACKET_BATCHES};
use crate::sensor::sinks::Meters;
use crate::sensor::wire_reader::wall_us;

/// A disk that is full says so every second, for as long as it is.
const SAME_ERROR_EVERY: Duration = Duration::from_secs(60);

/// How long an error that has not come again is shown: what is over is no warning for months.
const ERROR_SHOWN: Duration = Duration::from_secs(600);

/// What does not change, or is changed by the control loop.
pub(crate) struct Portrait {
    pub(crate) name: String,
    pub(crate) started_us: i64,
    pub(crate) model: Option<ModelView>,
    pub(crate) config: Config,
    pub(crate) loaded: ConfigView,
    pub(crate) budget: Budget,
    pub(crate) meters: Meters,
    pub(crate) state: State,
    /// The latest failure of each sink, and when it was last worth a line.
    last_errors: BTreeMap<&'static str, (String, Instant)>,
    /// Those that nobody has asked about.
    fresh_errors: BTreeMap<&'static str, String>,
    /// When the present emergency began.
    emergency_since_us: Option<i64>,
    /// Of each worker, how often it had moved, and since when.
    moves: Vec<(u64, i64)>,
}

impl Portrait {
    pub(crate) fn new(
        name: String,
        config: Config,
        budget: Budget,
        meters: Meters,
        model: Option<ModelView>,
    ) -> Self {
        let now_us = wall_us();
        Self {
            name,
            started_us: now_us,
            model,
            config,
            loaded: ConfigView { loaded_us: now_us, ..ConfigView::default() },
            budget,
            meters,
            state: State::Starting,
            last_errors: BTreeMap::new(),
            fresh_errors: BTreeMap::new(),
            emergency_since_us: None,
            moves: Vec::new(),
        }
    }

    /// What went wrong with a sink since it was asked last.
    pub(crate) fn new_error(&mut self, sink: &str) -> Option<String> {
        self.fresh_errors.remove(sink)
    }

    /// Rows that sinks did not write, so far.
    pub(crate) fn rows_lost(&self) -> u64 {
        let files = self.meters.iter().filter(|(name, _)| ["rows", "eve", "alerts"].contains(name));
        files.map(|(_, meter)| meter.read().dropped_rows()).sum()
    }

    /// The sensor as it is now.
    pub(crate) fn take(&mut self, board: &Board) -> Snapshot {
        let now_us = wall_us();
        // From the end of the pipeline to its beginning: so nothing is handed on twice between two looks.
        let exported = board.export.now();
        let workers: Vec<_> = board.workers.iter().map(|place| place.now()).collect();
        let readers: Vec<ReaderNow> = board.readers.iter().map(|place| place.now()).collect();

        let mut tables = TableCounters::default();
        workers.iter().for_each(|worker| tables.add(&worker.counters));
        let scoring = board.desk.as_ref().map(|desk| desk.now());
        let emergency = workers.iter().any(|worker| worker.emergency);
        self.emergency_since_us = emergency.then(|| self.emergency_since_us.unwrap_or(now_us));
        let shedding = scoring.as_ref().is_some_and(|scoring| scoring.shedding);
        let state = match self.state {
            State::Running if emergency => State::Emergency,
            State::Running if shedding => State::Shedding,
            state => state,
        };

        Snapshot {
            sensor: SensorView {
                name: self.name.clone(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                pid: std::process::id(),
                schema: SchemaId::Tapline1.name().to_owned(),
                started_us: self.started_us,
                now_us,
                model: self.model.clone(),
                state,
            },
            interfaces: self.interfaces(board, &readers),
            packets: accounts(&readers, &tables, exported.packets, self.in_flight_max(board)),
            flows: FlowsView {
                live: tables.flows_live,
                live_max: self.budget.flows_max,
                opened: tables.flows_opened,
                emitted: exported.flows,
                evicted: tables.flows_evicted,
                partial: tables.flows_partial,
                by_end_reason: by_name(EndReason::ALL.iter().map(|why| why.name()), &exported.by_reason),
            },
            workers: workers
                .iter()
                .enumerate()
                .map(|(index, worker)| WorkerView {
                    index: index as u32,
                    live_flows: worker.counters.flows_live,
                    emergency: worker.emergency,
                    ring_fill_percent: f64::from(worker.ring_filled_percent),
                    since_moved_us: self.since_moved_us(board, index, now_us),
                })
                .collect(),
            scoring: scoring.map(|scoring| ScoringView {
                model: scoring.model,
                scored_flows: scoring.verdicts.values().sum(),
                shed_flows: scoring.shed,
                shedding: scoring.shedding,
                held_flows: scoring.held as u64,
                verdicts: scoring.verdicts,
                incidents: scoring.incidents,
                alerts: scoring.alerts,
                windows: scoring.windows,
                drift_shifted_inputs: scoring.shifted_inputs,
            }),
            sinks: self.sinks(),
            memory: MemoryView {
                budget_bytes: self.config.sensor.memory_bytes,
                resident_bytes: resident_bytes().unwrap_or(0),
            },
            cpu_seconds: cpu_seconds(),
            emergencies: EmergencyView {
                entered: workers.iter().map(|worker| worker.emergencies_entered).sum(),
                left: workers.iter().map(|worker| worker.emergencies_left).sum(),
                since_us: self.emergency_since_us,
            },
            config: self.loaded.clone(),
            control: tapline_control::ControlView::default(),
            talkers: exported
                .talkers
                .iter()
                .map(|talk| TalkerView {
                    address: talk.address().to_string(),
                    pkts: talk.packets,
                    bytes: talk.bytes,
                    flows: talk.flows,
                })
                .collect(),
            incidents: Vec::new(),
        }
    }

    fn interfaces(&self, board: &Board, readers: &[ReaderNow]) -> Vec<InterfaceView> {
        let of = |index: usize| {
            board
                .readers
                .iter()
                .zip(readers)
                .filter(move |(place, _)| place.interface == index)
                .map(|(_, now)| now)
        };
        let view = |(index, interface): (usize, &InterfaceConfig)| {
            let sum = |pick: fn(&ReaderNow) -> u64| of(index).map(pick).sum::<u64>();
            InterfaceView {
                name: interface.name.clone(),
                readers: u32::from(interface.readers),
                up: of(index).all(|reader| reader.up),
                trouble: of(index).find_map(|reader| reader.trouble.clone()),
                seen_pkts: sum(|reader| reader.capture.seen),
                seen_bytes: sum(|reader| reader.bytes),
                kernel_dropped_pkts: sum(|reader| reader.capture.kernel_dropped),
                reopened: of(index).map(|reader| reader.capture.reopened).max().unwrap_or(0),
                // All handles of an interface see the same adapter.
                nic: of(index).next().map(|reader| {
                    let counters = &reader.capture.interface;
                    NicView {
                        rx_packets: counters.packets,
                        rx_dropped: counters.dropped,
                        rx_missed: counters.missed + counters.fifo_errors,
                        rx_errors: counters.errors,
                    }
                }),
            }
        };
        self.config.interfaces.iter().enumerate().map(view).collect()
    }

    /// Where rows and alerts stay.
    pub(crate) fn sinks(&mut self) -> Vec<SinkView> {
        let (last_errors, fresh_errors) = (&mut self.last_errors, &mut self.fresh_errors);
        let mut view = |(name, meter): &(&'static str, SinkMeter)| {
            if let Some(error) = meter.take_error() {
                let known = last_errors.get(name);
                if known.is_none_or(|(last, at)| *last != error || at.elapsed() >= SAME_ERROR_EVERY) {
                    fresh_errors.insert(name, error.clone());
                    last_errors.insert(name, (error, Instant::now()));
                }
            }
            let counters = meter.read();
            SinkView {
                name: (*name).to_owned(),
                written_rows: counters.written_rows,
                written_bytes: counters.written_bytes,
                dropped_rows: by_name(DropCause::ALL.iter().map(|cause| cause.name()), &counters.dropped),
                errors: counters.errors,
                last_error: last_errors
                    .get(name)
                    .filter(|(_, at)| at.elapsed() < ERROR_SHOWN)
                    .map(|(error, _)| error.clone()),
                rotated: counters.rotated,
                compressed: counters.compressed,
                removed: counters.removed,
            }
        };
        self.meters.iter().map(&mut view).collect()
    }

    fn since_moved_us(&mut self, board: &Board, index: usize, now_us: i64) -> u64 {
        let moved = board.workers[index].moved.load(std::sync::atomic::Ordering::Relaxed);
        self.moves.resize(board.workers.len(), (u64::MAX, now_us));
        let (known, since_us) = &mut self.moves[index];
        if *known != moved {
            (*known, *since_us) = (moved, now_us);
        }
        u64::try_from(now_us - *since_us).unwrap_or(0)
    }

    /// Packets that the rings and the batches being filled and emptied can hold; and what comes between two ticks, since the
    /// counters are of the last one.
    fn in_flight_max(&self, board: &Board) -> u64 {
        let lanes = board.readers.len() * board.workers.len();
        (lanes * (PACKET_BATCHES + 2) * PACKETS_PER_BATCH) as u64
            + BETWEEN_TICKS_PKTS * board.readers.len() as u64
    }
}

/// Packets of one reader between the last note of a reader and that of a worker, at most; 0.4 s at 10 million a second.
const BETWEEN_TICKS_PKTS: u64 = 4_000_000;

/// The accounts; what is read and not booked is in flight as far as it can be.
pub(crate) fn accounts(
    readers: &[ReaderNow],
    tables: &TableCounters,
    in_emitted_flows: u64,
    in_flight_max: u64,
) -> Accounts {
    let sum = |pick: fn(&ReaderNow) -> u64| readers.iter().map(pick).sum::<u64>();
    let mut undecodable = [0; Skip::ALL.len()];
    for reader in readers {
        undecodable.iter_mut().zip(reader.undecodable).for_each(|(sum, more)| *sum += more);
    }
    let mut accounts = Accounts {
        seen: sum(|reader| reader.capture.seen),
        processed: tables.packets,
        kernel_dropped: sum(|reader| reader.capture.kernel_dropped),
        ring_dropped: sum(|reader| reader.ring_dropped),
        filtered: Counts::from([
            ("expression".to_owned(), sum(|reader| reader.capture.filtered + reader.filtered_out)),
            ("duplicate".to_owned(), sum(|reader| reader.duplicates)),
        ]),
        shed: 0,
        undecodable: by_name(Skip::ALL.iter().map(|skip| skip.name()), &undecodable),
        in_flight: 0,
        in_emitted_flows,
        // What was emitted since the tables were looked at is not missed.
        in_ended_flows: tables.packets_ended.saturating_sub(in_emitted_flows),
        in_live_flows: tables
            .packets
            .saturating_sub(tables.packets_ended + tables.non_flow.iter().sum::<u64>()),
        non_flow: by_name(NonFlow::ALL.iter().map(|why| why.name()), &tables.non_flow),
    };
    let missing = accounts.missing();
    let waiting: u64 = readers.iter().map(|reader| reader.capture.waiting()).sum();
    accounts.in_flight = within(missing.from_seen, waiting + in_flight_max);
    accounts
}

fn within(difference: i128, max: u64) -> u64 {
    u64::try_from(difference.max(0)).unwrap_or(u64::MAX).min(max)
}

fn by_name(names: impl Iterator<Item = &'static str>, counts: &[u64]) -> Counts {
    names.zip(counts).map(|(name, count)| (name.to_owned(), *count)).collect()
}

/// What the process takes, by `/proc/self/statm`.
pub(crate) fn resident_bytes() -> Option<u64> {
    let statm = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// CPU seconds by thread name, by `/proc/self/task`.
fn cpu_seconds() -> BTreeMap<String, f64> {
    let ticks_per_s = rustix::param::clock_ticks_per_second() as f64;
    let mut seconds = BTreeMap::new();
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return seconds };
    for task in tasks.flatten() {
        let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
        // "pid (name) state ppid ...": the name may hold anything, brackets too.
        let Some((front, back)) = stat.rsplit_once(')') else { continue };
        let name = front.split_once('(').map_or("?", |(_, name)| name);
        let mut fields = back.split_ascii_whitespace().skip(11);
        let mut time = || fields.next().and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        *seconds.entry(name.to_owned()).or_default() += (time() + time()) / ticks_per_s;
    }
    seconds
}

#[cfg(test)]
mod tests {
    use tapline_capture::live::CaptureStatistics;

    use super::*;

    #[test]
    fn what_is_between_two_looks_is_in_flight_and_more_is_missing() {
        let reader = ReaderNow {
            capture: CaptureStatistics { seen: 110, kernel_dropped: 10, delivered: 95, ..Default::default() },
            duplicates: 3,
            ring_dropped: 2,
            ..ReaderNow::default()
        };
        let tables = TableCounters { packets: 80, packets_ended: 57, ..TableCounters::default() };
        let mut accounts = accounts(&[reader], &tables, 50, 1_000);
        assert_eq!((accounts.in_flight, accounts.in_ended_flows, accounts.in_live_flows), (15, 7, 23));
        assert_eq!(accounts.missing().total(), 0);

        accounts = super::accounts(&[ReaderNow::default()], &TableCounters::default(), 1, 1_000);
        assert_eq!(accounts.missing().total(), 1, "emitted and never booked");
    }

    #[test]
    fn this_process_takes_memory_and_time() {
        assert!(resident_bytes().unwrap() > 100_000);
        let mut spun = 0_u64;
        while cpu_seconds().values().sum::<f64>() <= 0.0 && spun < 200_000_000 {
            spun += std::hint::black_box(1);
        }
        assert!(cpu_seconds().values().sum::<f64>() > 0.0);
    }
}
