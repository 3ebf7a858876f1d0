//! `tapline run`: interfaces to rows, verdicts and alerts, for as long as nobody says stop.
//!
//! ```text
//!  eth0 ─► WireReader ══packets, ticks══► WireWorker ══ended flows══► merge ─► [Contexts ══► Scoring] ─► Exporter ══rows══► Sinks ─► files, EVE
//!  eth1 ─► WireReader ══  (drop newest)   (emergency)                          (sheds                (drop     └─alerts─► syslog,
//!                                                                               verdicts)             rows)              webhook
//!  main: Watch ── signals, reload, watchdog, snapshot ◄── Board ◄── counters of all of them ── control server
//! ```
//!
//! The start, in this order: configuration, interfaces, sinks, model, sockets; then all rights but that to capture are dropped;
//! only then are there threads. The end: readers stop, what is in the rings is worked off, all flows end, files are closed, and the
//! accounts are checked.

mod alert_mail;
mod board;
mod budget;
mod log;
mod score_request;
mod sinks;
mod snapshot;
mod watch;
mod wire_reader;
mod wire_worker;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, anyhow};
use tapline_capture::ErrorKind;
use tapline_capture::live::{
    FanoutConfig, FanoutMode, LiveConfig, LiveError, LiveSupervisor, TimestampSource,
};
use tapline_config::config::InterfaceConfig;
use tapline_config::{Config, Fanout, Layers, Timestamp};
use tapline_control::{FlowQuery, Listeners, ModelView, ScoreBody, ScoreRefusal, Sensor, Snapshot};
use tapline_features::{TAPLINE_1, TaplineState, TaplineTracker};
use tapline_flow::{HashSeed, Rules, Timeouts};
use tapline_packet::{DecodeOptions, Decoder, DuplicateWindow};
use tapline_rights::{Grant, Notifier, Paths, Plan, RightsError, TcpConnect, drop_all};
use tracing::{info, warn};

use crate::accounting::{Run, Stats};
use crate::alerts::Alerts;
use crate::contexts::{self, Beside, Contexts};
use crate::decapsulation;
use crate::exit::{Code, Failure};
use crate::exporter::{Exported, Exporter, Rows};
use crate::flow_worker::{FlowWorker, Tables, WorkerReport};
use crate::model::Model;
use crate::outbox::outbox;
use crate::pipeline::{Lane, Stage, Stream, WhenFull, drive_last};
use crate::reader::Intake;
use crate::replay::random_seed;
use crate::ring::{Abandoned, ring};
use crate::scoring::{Judge, Scoring, ScoringDesk};
use crate::sensor::alert_mail::PostBox;
use crate::sensor::board::{Board, EmergencyRules};
use crate::sensor::budget::Budget;
pub(crate) use crate::sensor::sinks::format;
use crate::sensor::sinks::{Meters, Shown, Sinks};
use crate::sensor::snapshot::Portrait;
use crate::sensor::watch::{Signals, Told, Watch};
use crate::sensor::wire_reader::{ReadError, WireReader, WireReport, wall_us};
use crate::sensor::wire_worker::WireWorker;
use crate::sensor_cli::{ConfigArgs, RunArgs};

pub(crate) fn run(args: &RunArgs) -> Result<(), Failure> {
    let started = Instant::now();
    let layers = layers(&args.config);
    let config = load(&layers)?;
    let log = log::start(&config.log);
    let name = config.sensor.name.clone().unwrap_or_else(host_name);
    let signals = Signals::take().map_err(|error| Failure::new(Code::Software, error))?;
    let notifier = Notifier::from_env().unwrap_or_else(|error| {
        warn!("the service manager cannot be told: {error}");
        Notifier::default()
    });

    // What takes rights.
    let wires = open_wires(&config)?;
    sinks::make_folder(&config.rows.folder)?;
    let budget = Budget::of(&config, config.scoring.model.is_some());
    let judge = open_model(&config, &budget)?;
    let shown = Arc::new(Shown::default());
    let (sinks, helpers, meters) = Sinks::open(&config, &name, judge.is_some(), Arc::clone(&shown))?;
    let listeners = Listeners::bind(config.control.listen, config.control.socket.as_deref())
        .map_err(|error| Failure::new(Code::CantCreate, error))?;
    let stats = args.stats.as_deref().map(StatsFile::create).transpose()?;
    drop_rights(args, &config)?;

    // Threads.
    let interfaces: Vec<usize> = wires.iter().map(|wire| wire.interface).collect();
    let mut board = Board::new(&interfaces, usize::from(config.sensor.workers));
    board.desk = judge.is_some().then(Arc::<ScoringDesk>::default);
    let board = Arc::new(board);
    set_emergency(&board.emergency, &config);
    let model = judge.as_ref().map(|judge| ModelView { id: judge.id().to_owned(), loaded_us: wall_us() });
    shown.set_model(config.scoring.model.as_deref());

    let packed = Arc::new(AtomicBool::new(false));
    let helpers_stop = Arc::new(AtomicBool::new(false));
    let helpers =
        helpers.start(&packed, &helpers_stop).map_err(|error| Failure::new(Code::Software, error))?;
    let threads = Threads::start(wires, &config, &budget, judge, sinks, &meters, &board)
        .map_err(|error| Failure::new(Code::Software, error))?;
    let control_stop = Arc::new(AtomicBool::new(false));
    let control = {
        let sensor = Arc::new(Desk { shown: Arc::clone(&shown) });
        let stop = Arc::clone(&control_stop);
        thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || tapline_control::serve(listeners, sensor, stop))
            .context("starting the control server")
            .map_err(|error| Failure::new(Code::Software, error))?
    };

    let mut watch = Watch {
        layers,
        portrait: Portrait::new(name, config, budget, meters, model),
        board: Arc::clone(&board),
        shown,
        notifier,
        signals,
        log,
        told: Told::default(),
    };
    watch.run(|| threads.ended());

    // The end.
    let rows_lost = watch.rows_lost();
    board.stopping.store(true, Ordering::Relaxed);
    watch.stopping();
    let outcome = threads.join();
    helpers_stop.store(true, Ordering::Relaxed);
    packed.store(true, Ordering::Relaxed);
    control_stop.store(true, Ordering::Relaxed);
    for helper in helpers {
        if helper.join().is_err() {
            warn!("a thread beside the sinks has panicked");
        }
    }
    let _ = control.join();
    let (reports, tables, exported) = outcome?;
    let run = Run {
        schema: tapline_features::SchemaId::Tapline1,
        workers: usize::from(watch.portrait.config.sensor.workers),
        errors: Vec::new(),
        wall_s: started.elapsed().as_secs_f64(),
    };
    let (input, decode) = WireReport::sum(reports);
    let mut counted = Stats::new(run, input, decode, &tables, exported);
    counted.sinks = watch.sinks();
    conclude(&counted, stats, watch.rows_lost() - rows_lost)
}

/// What the command line and the environment say.
pub(crate) fn layers(args: &ConfigArgs) -> Layers {
    let environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    Layers { file: args.config.clone(), environment, settings: args.settings.clone() }
}

/// The configuration in force.
///
/// # Errors
///
/// All that is wrong with it.
pub(crate) fn load(layers: &Layers) -> Result<Config, Failure> {
    Config::load(layers).map_err(|error| {
        let code = match &error {
            tapline_config::ConfigError::Read { .. } => Code::NoInput,
            _ => Code::Config,
        };
        Failure::new(code, error)
    })
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "tapline".to_owned() } else { name }
}

/// A capture handle.
struct Wire {
    /// Of the configuration's interfaces.
    interface: usize,
    supervisor: LiveSupervisor,
}

fn open_wires(config: &Config) -> Result<Vec<Wire>, Failure> {
    let mut wires = Vec::new();
    for (index, interface) in config.interfaces.iter().enumerate() {
        let live = live_config(interface, index);
        let opened = if interface.readers == 1 {
            LiveSupervisor::open(&live).map(|one| vec![one])
        } else {
            LiveSupervisor::open_group(&live)
        };
        let supervisors = opened.map_err(|error| of_live(error, &interface.name))?;
        for notice in supervisors.first().map_or(&[][..], |first| first.notices()) {
            warn!(interface = interface.name, "{notice}");
        }
        wires.extend(supervisors.into_iter().map(|supervisor| Wire { interface: index, supervisor }));
    }
    Ok(wires)
}

/// How an interface is captured; `index` is its place in the configuration.
pub(crate) fn live_config(interface: &InterfaceConfig, index: usize) -> LiveConfig {
    let size = |bytes: u64| u32::try_from(bytes).unwrap_or(u32::MAX);
    LiveConfig {
        buffer_bytes: size(interface.buffer_bytes),
        snap_bytes: size(interface.snap_length_bytes),
        promiscuous: interface.promiscuous,
        outgoing: interface.outgoing,
        timestamp: match interface.timestamp {
            Timestamp::Host => TimestampSource::Host,
            Timestamp::Adapter => TimestampSource::Adapter,
            Timestamp::AdapterUnsynced => TimestampSource::AdapterUnsynced,
        },
        filter: interface.filter.clone(),
        fanout: (interface.readers > 1).then(|| FanoutConfig {
            group: fanout_groups().wrapping_add(index as u16),
            size: interface.readers,
            mode: match interface.fanout {
                Fanout::HostPair => FanoutMode::HostPair,
                Fanout::Hash => FanoutMode::Hash,
                Fanout::HashDefragmented => FanoutMode::HashDefragmented,
            },
        }),
        ..LiveConfig::new(interface.name.as_str())
    }
}

/// The first number of this process's fanout groups. Two sensors on one interface must not share its packets; by the number of the
/// process those of two containers would, each being the first of its own.
fn fanout_groups() -> u16 {
    static FIRST: OnceLock<u16> = OnceLock::new();
    *FIRST.get_or_init(|| {
        let HashSeed(word, _) = random_seed();
        word as u16
    })
}

fn of_live(error: LiveError, interface: &str) -> Failure {
    let code = match error.kind() {
        ErrorKind::NoPermission => Code::NoPermission,
        ErrorKind::NoInput => Code::NoInput,
        ErrorKind::Usage => Code::Config,
        ErrorKind::Unavailable => Code::Unavailable,
        _ => Code::Io,
    };
    if code == Code::NoPermission {
        let binary = env::current_exe().unwrap_or_else(|_| PathBuf::from("tapline"));
        let help = tapline_rights::capture_denied_help(&binary, interface);
        return Failure::new(code, anyhow!("no right to capture on {interface}\n{help}"));
    }
    Failure::new(code, error)
}

fn open_model(config: &Config, budget: &Budget) -> Result<Option<Judge>, Failure> {
    let Some(directory) = &config.scoring.model else { return Ok(None) };
    let Model { manifest, detector } = Model::open(directory)?;
    let judge = Judge::new(manifest, detector, &budget.scoring);
    judge.map(Some).map_err(|error| Failure::new(Code::Data, error))
}

/// Gives up what is not needed from here on.
fn drop_rights(args: &RunArgs, config: &Config) -> Result<(), Failure> {
    let mut paths = Paths { write: vec![config.rows.folder.clone()], ..Paths::default() };
    // They are read again at a reload, and may have been replaced by then.
    for file in args.config.config.iter().chain(&config.scoring.model) {
        if paths.reread(file) == Grant::FileOnly && config.rights.landlock {
            info!(path = %file.display(), "can be read again only as long as it is not replaced: its folder is a shared one");
        }
    }
    // The socket's file goes with the sensor.
    paths.write.extend(
        config
            .control
            .socket
            .as_deref()
            .and_then(Path::parent)
            .map(|folder| if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }),
    );
    if config.alerts.webhook.is_some()
        || matches!(config.alerts.syslog, Some(tapline_config::SyslogTarget::Tcp(_)))
    {
        paths.tcp_connect = TcpConnect::Any;
    }
    let plan = Plan {
        keep_net_raw: true,
        landlock: config.rights.landlock.then_some(paths),
        seccomp: config.rights.seccomp,
    };
    let report = drop_all(&plan).map_err(|error| {
        let code = match &error {
            RightsError::Path { .. } | RightsError::NotAFolder { .. } => Code::Config,
            RightsError::NotWritable { .. } => Code::NoPermission,
            _ => Code::Software,
        };
        Failure::new(code, error)
    })?;
    if report.falls_short() {
        warn!("rights: {report}");
    } else {
        info!("rights: {report}");
    }
    Ok(())
}

/// Has the workers hurry when the configuration says.
fn set_emergency(rules: &EmergencyRules, config: &Config) {
    let emergency = &config.emergency;
    rules.set(emergency.idle_timeout_us, emergency.enter_percent, emergency.leave_percent);
}

/// The threads of the pipeline.
struct Threads {
    readers: Vec<JoinHandle<Result<WireReport, ReadError>>>,
    workers: Vec<JoinHandle<Result<WorkerReport, Abandoned>>>,
    last: JoinHandle<anyhow::Result<Exported>>,
    sinks: JoinHandle<()>,
}

impl Threads {
    /// Starts them, the last stage first, so that nothing is sent where nobody takes it.
    fn start(
        wires: Vec<Wire>,
        config: &Config,
        budget: &Budget,
        judge: Option<Judge>,
        sinks: Sinks,
        meters: &Meters,
        board: &Arc<Board>,
    ) -> anyhow::Result<Self> {
        let rules = rules(config);
        let Rules::Tapline { timeouts, .. } = rules else { return Err(anyhow!("the rules are Tapline's")) };
        let workers = usize::from(config.sensor.workers);

        let meter =
            |name: &str| meters.iter().find(|(known, _)| *known == name).map(|(_, meter)| meter.clone());
        let (outbox, rows) =
            outbox::<TaplineState>(meter("rows").unwrap_or_default(), Arc::clone(&board.stopping));
        let (post, alerts) = mpsc::sync_channel(alert_mail::QUEUED);
        let sinks = {
            let board = Arc::clone(board);
            spawn("sinks", move || sinks.run(rows, &alerts, &board))?
        };

        let exporter = Exporter::new(Rows::Outbox(outbox), None).at(Arc::clone(&board.export), TAPLINE_1);
        let mut streams = Vec::new();
        let mut flow_senders = Vec::new();
        for _ in 0..workers {
            let (sender, receiver) = ring(budget::FLOW_BATCHES);
            flow_senders.push(sender);
            streams.push(Stream::new(receiver));
        }
        let last = match (judge, &board.desk) {
            (Some(judge), Some(desk)) => {
                desk.shed_percent.store(config.scoring.shed_percent, Ordering::Relaxed);
                let meter = meter("alerts").unwrap_or_default();
                let post = PostBox::new(post, meter, Arc::clone(&board.stopping));
                let alerts = Alerts::post(judge.manifest(), Box::new(post));
                let limits = &budget.scoring;
                let scoring = Scoring::new(judge, limits, alerts, exporter).at(Arc::clone(desk));
                let judging = Beside::start(contexts::SENSOR_BATCHES, move || Ok(scoring))?;
                let contexts = Contexts::new(limits, timeouts.idle_us, random_seed(), judging);
                spawn_last(contexts.at(Arc::clone(desk)), streams)?
            }
            _ => spawn_last(exporter, streams)?,
        };

        let HashSeed(shard_seed, _) = random_seed();
        let tables = Tables { rules, flows_max: budget.flows_max as usize, seed: random_seed() };
        let mut lanes_of_readers: Vec<Vec<Lane>> = wires.iter().map(|_| Vec::new()).collect();
        let mut worker_threads = Vec::new();
        for (index, flows) in flow_senders.into_iter().enumerate() {
            let mut receivers = Vec::new();
            for lanes in &mut lanes_of_readers {
                let (sender, receiver) = ring(budget::PACKET_BATCHES);
                lanes.push(Lane::new(sender, WhenFull::DropNewest));
                receivers.push(receiver);
            }
            let share = budget.flows_max / workers as u64;
            let worker = WireWorker::new(
                index,
                FlowWorker::new(index, workers, tables, TaplineTracker),
                receivers,
                flows,
                Arc::clone(board),
                share,
                timeouts.idle_us,
            );
            worker_threads.push(spawn(&format!("flow-{index}"), move || worker.run())?);
        }

        let mut readers = Vec::new();
        for ((index, wire), lanes) in wires.into_iter().enumerate().zip(lanes_of_readers) {
            let duplicates = config.flow.dedup_us.map(|window_us| {
                let HashSeed(key_0, key_1) = random_seed();
                DuplicateWindow::new(window_us, (key_0, key_1))
            });
            let decoder = Decoder::new(decode_options(config));
            // The kernel, or the source, applies the filter.
            let intake = Intake::new(None, duplicates, decoder, rules.key_rules(), shard_seed);
            let reader = WireReader::new(index, wire.supervisor, intake, lanes, Arc::clone(board));
            readers.push(spawn(&format!("read-{index}"), move || reader.run())?);
        }
        Ok(Self { readers, workers: worker_threads, last, sinks })
    }

    /// A thread that has ended.
    fn ended(&self) -> Option<&'static str> {
        if self.readers.iter().any(JoinHandle::is_finished) {
            Some("read")
        } else if self.workers.iter().any(JoinHandle::is_finished) {
            Some("flow")
        } else if self.last.is_finished() {
            Some("export")
        } else if self.sinks.is_finished() {
            Some("sinks")
        } else {
            None
        }
    }

    /// Waits for all of them, and says what they did. The cause of a failure is the last stage's, if it failed.
    fn join(self) -> Result<(Vec<WireReport>, WorkerReport, Exported), Failure> {
        let panicked = |thread: &'static str| {
            move |_| Failure::new(Code::Software, anyhow!("the thread {thread} panicked; please report this"))
        };
        let mut failure = None;
        let mut reports = Vec::new();
        for reader in self.readers {
            match reader.join().map_err(panicked("read")) {
                Ok(Ok(report)) => reports.push(report),
                Ok(Err(error)) => failure = Some(Failure::new(Code::Software, error)),
                Err(panic) => failure = Some(panic),
            }
        }
        let mut tables = WorkerReport::default();
        for worker in self.workers {
            match worker.join().map_err(panicked("flow")) {
                Ok(Ok(report)) => {
                    tables.counters.add(&report.counters);
                    tables.live_packets += report.live_packets;
                }
                Ok(Err(Abandoned)) => {
                    let error = anyhow!("the last stage stopped before the flow workers did");
                    failure = Some(Failure::new(Code::Software, error));
                }
                Err(panic) => failure = Some(panic),
            }
        }
        let exported = self.last.join().map_err(panicked("export"));
        self.sinks.join().map_err(panicked("sinks"))?;
        let exported = exported?.map_err(|error| Failure::new(Code::Software, error))?;
        failure.map_or(Ok((reports, tables, exported)), Err)
    }
}

fn spawn<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<JoinHandle<T>> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .with_context(|| format!("starting the thread {name}"))
}

fn spawn_last<L: Stage<TaplineState> + 'static>(
    last: L,
    streams: Vec<Stream<TaplineState>>,
) -> anyhow::Result<JoinHandle<anyhow::Result<Exported>>> {
    spawn("export", move || drive_last(last, streams))
}

fn rules(config: &Config) -> Rules {
    let flow = &config.flow;
    let mut timeouts =
        Timeouts { idle_us: flow.idle_timeout_us, active_us: flow.active_timeout_us, ..Timeouts::default() };
    timeouts.partial_us.iter_mut().zip(&flow.partial_us).for_each(|(place, age_us)| *place = *age_us);
    Rules::Tapline { timeouts, vlan_in_key: flow.vlan_in_key }
}

fn decode_options(config: &Config) -> DecodeOptions {
    let mut options = DecodeOptions::default();
    decapsulation::close(&mut options, &config.flow.no_decapsulate);
    options
}

/// What the control server asks.
struct Desk {
    shown: Arc<Shown>,
}

impl Sensor for Desk {
    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.shown.snapshot.lock())
    }

    fn flows(&self, query: &FlowQuery) -> Vec<String> {
        self.shown.flows.lock().select(query)
    }

    fn score(&self, body: ScoreBody) -> Result<serde_json::Value, ScoreRefusal> {
        let directory = self.shown.model().ok_or(ScoreRefusal::NoModel)?;
        score_request::score(&directory, body)
    }
}

/// The file of `--stats`, opened while files can be.
struct StatsFile {
    path: PathBuf,
    file: fs::File,
}

impl StatsFile {
    fn create(path: &Path) -> Result<Self, Failure> {
        let file = fs::File::create(path)
            .with_context(|| format!("creating {}", path.display()))
            .map_err(|error| Failure::new(Code::CantCreate, error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(&mut self, stats: &Stats) -> Result<(), Failure> {
        use std::io::Write;
        let mut json = serde_json::to_string_pretty(stats)
            .context("rendering statistics")
            .map_err(|error| Failure::new(Code::Software, error))?;
        json.push('\n');
        self.file
            .write_all(json.as_bytes())
            .with_context(|| format!("writing statistics to {}", self.path.display()))
            .map_err(Failure::io)
    }
}

/// Checks the accounts and says the last word. `rows_lost`: while the sensor stopped.
fn conclude(stats: &Stats, stats_file: Option<StatsFile>, rows_lost: u64) -> Result<(), Failure> {
    if let Some(mut file) = stats_file {
        file.write(stats)?;
    }
    let packets = &stats.packets;
    info!(
        seen = packets.seen,
        processed = packets.processed,
        kernel_dropped = packets.kernel_dropped,
        ring_dropped = packets.ring_dropped,
        filtered = packets.filtered,
        undecodable = packets.undecodable,
        unaccounted = %packets.unaccounted,
        flows = stats.flows.emitted,
        "stopped"
    );
    if packets.unaccounted != 0 {
        let message = format!("{} packets are unaccounted for; please report this", packets.unaccounted);
        return Err(Failure::new(Code::Software, anyhow!(message)));
    }
    if rows_lost > 0 {
        let message = format!("{rows_lost} rows were lost while the sensor stopped; its log says why");
        return Err(Failure::io(anyhow!(message)));
    }
    Ok(())
}
