//! The thread of the sinks: rows, EVE, alerts, the latest flows.
//!
//! In: batches of rows from the [`outbox`](crate::outbox), alerts from the scoring stage. Out: files that rotate, queues to syslog
//! and webhook, and what the control server shows. It may be slow: rows that find no room before it are dropped and counted,
//! packets never wait for it.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use tapline_config::{Compress, Config, RowFormat};
use tapline_control::{IncidentView, RecentFlows, Snapshot};
use tapline_export::{
    AlertReceiver, AlertSender, Compression, Compressor, Eve, EveAlert, EveColumns, EveFlow, EveStats,
    EveVerdict, FileRules, Format, JsonRows, NumberText, RotatingFile, RotatingRows, SinkMeter, Syslog,
    SyslogSettings, SyslogTarget, TableMeta, Webhook, WebhookSettings, alert_queue,
};
use tapline_features::community_id::community_id;
use tapline_features::{SchemaId, TAPLINE_1, TaplineState};
use tapline_record::{EndReason, FlowRecord, Timestamp};

use crate::exit::{Code, Failure};
use crate::outbox::RowBatch;
use crate::place::Place;
use crate::ring::{LONGEST_NAP, Patience, Receiver};
use crate::row_tail::{RowTail, VerdictCells, tail_columns};
use crate::sensor::alert_mail::AlertMail;
use crate::sensor::board::Board;
use crate::sensor::wire_reader::wall_us;
use crate::version;

/// How often what waits in buffers is written.
const WRITE_EVERY: Duration = Duration::from_millis(200);

/// Alerts that may wait for syslog or the webhook.
const ALERTS_QUEUED: usize = 1_024;

type Row = FlowRecord<TaplineState>;

/// Open sinks.
pub(crate) struct Sinks {
    rows: Option<RotatingRows<Row, RowTail>>,
    eve: Option<EveFile>,
    alerts: Option<RotatingFile>,
    queues: Vec<AlertSender>,
    recent: Option<JsonRows<Row, RowTail>>,
    /// Rows that may still be kept as recent ones in this second.
    recent_room: usize,
    shown: Arc<Shown>,
}

/// EVE JSON.
struct EveFile {
    eve: Eve,
    columns: EveColumns<Row>,
    file: RotatingFile,
    flows: bool,
    stats_every: Option<Duration>,
    stats_written: Instant,
}

/// What runs beside the sinks until they have closed.
pub(crate) struct Helpers {
    pub(crate) compressors: Vec<Compressor>,
    pub(crate) syslog: Option<(Syslog, AlertReceiver)>,
    pub(crate) webhook: Option<(Webhook, AlertReceiver)>,
}

/// What the sinks show to the control server, and it to them.
#[derive(Default)]
pub(crate) struct Shown {
    pub(crate) flows: Place<RecentFlows>,
    pub(crate) incidents: Place<VecDeque<IncidentView>>,
    /// The latest.
    pub(crate) snapshot: Place<Arc<Snapshot>>,
    /// Grows with each wish that files be opened by their names again.
    pub(crate) reopen: AtomicU64,
    /// The directory of the model, if there is one.
    model: Place<Option<PathBuf>>,
}

/// The counters of all sinks, by name. Of `rows` there is always one.
pub(crate) type Meters = Vec<(&'static str, SinkMeter)>;

impl Shown {
    /// The directory of the model, if there is one.
    pub(crate) fn model(&self) -> Option<PathBuf> {
        self.model.lock().clone()
    }

    /// A reload may name another.
    pub(crate) fn set_model(&self, directory: Option<&Path>) {
        *self.model.lock() = directory.map(Path::to_owned);
    }
}

impl Sinks {
    /// Opens what the configuration names. `scored`: rows have verdicts.
    pub(crate) fn open(
        config: &Config,
        sensor: &str,
        scored: bool,
        shown: Arc<Shown>,
    ) -> Result<(Self, Helpers, Meters), Failure> {
        let mut meters: Meters = vec![("rows", SinkMeter::new())];
        let mut helpers = Helpers { compressors: Vec::new(), syslog: None, webhook: None };
        let now = Timestamp::from_micros(wall_us());
        let tail = tail_columns(scored, false);

        let rows = match format(config.rows.format) {
            None => None,
            Some(format) => {
                let rules = rules(config, "flows", format.name());
                let meta = TableMeta {
                    schema_id: SchemaId::Tapline1.name().to_owned(),
                    schema_hash: SchemaId::Tapline1.hash(),
                    producer: version::PRODUCER.to_owned(),
                };
                let meter = meters[0].1.clone();
                let rows = RotatingRows::open(
                    rules,
                    format,
                    TAPLINE_1,
                    tail,
                    NumberText::Shortest,
                    meta,
                    meter,
                    now,
                )
                .context("opening the files of [rows]")
                .map_err(cannot_create)?;
                helpers.compressors.extend(rows.compressor());
                Some(rows)
            }
        };

        let mut lines = |stem: &'static str, extension: &str| -> Result<RotatingFile, Failure> {
            let meter = SinkMeter::new();
            meters.push((stem, meter.clone()));
            let file = RotatingFile::open(rules(config, stem, extension), b"", meter, now)
                .with_context(|| format!("opening {stem}.{extension}"))
                .map_err(cannot_create)?;
            helpers.compressors.extend(file.compressor());
            Ok(file)
        };
        let alerts = (scored && config.alerts.file).then(|| lines("alerts", "ndjson")).transpose()?;
        let eve = if config.eve.enabled {
            let one = (config.interfaces.len() == 1).then(|| config.interfaces[0].name.clone());
            Some(EveFile {
                eve: Eve { host: Some(sensor.to_owned()), in_iface: one },
                columns: EveColumns::find(TAPLINE_1).map_err(|error| Failure::new(Code::Software, error))?,
                file: lines("eve", "json")?,
                flows: config.eve.flows,
                stats_every: config.eve.stats_every_us.map(micros),
                stats_written: Instant::now(),
            })
        } else {
            None
        };

        if scored && alerts.is_none() {
            // There is no file, but still a queue, to syslog and whoever looks.
            meters.push(("alerts", SinkMeter::new()));
        }

        let mut queues = Vec::new();
        if let Some(target) = &config.alerts.syslog {
            let meter = SinkMeter::new();
            meters.push(("syslog", meter.clone()));
            let (sender, receiver) = alert_queue(ALERTS_QUEUED, meter.clone());
            let settings = SyslogSettings::new(syslog_target(target), sensor, std::process::id());
            helpers.syslog = Some((Syslog::new(settings, meter), receiver));
            queues.push(sender);
        }
        if let Some(url) = &config.alerts.webhook {
            let meter = SinkMeter::new();
            meters.push(("webhook", meter.clone()));
            let (sender, receiver) = alert_queue(ALERTS_QUEUED, meter.clone());
            let webhook = Webhook::new(&WebhookSettings::new(url), meter)
                .context("alerts.webhook")
                .map_err(|error| Failure::new(Code::Config, error))?;
            helpers.webhook = Some((webhook, receiver));
            queues.push(sender);
        }
        let watched = config.control.listen.is_some() || config.control.socket.is_some();
        let recent = watched.then(|| JsonRows::new(TAPLINE_1, tail));
        Ok((
            Self { rows, eve, alerts, queues, recent, recent_room: RecentFlows::MAX, shown },
            helpers,
            meters,
        ))
    }

    /// Writes until nothing comes any more, then closes the files.
    pub(crate) fn run(
        mut self,
        mut rows: Receiver<RowBatch<TaplineState>>,
        alerts: &mpsc::Receiver<AlertMail>,
        board: &Board,
    ) {
        let mut patience = Patience::new(LONGEST_NAP);
        let mut written = Instant::now();
        let mut second = Instant::now();
        let mut reopened = 0;
        loop {
            let mut moved = false;
            while let Ok(mail) = alerts.try_recv() {
                moved = true;
                self.alert(&mail);
            }
            if let Some(mut batch) = rows.try_receive() {
                moved = true;
                self.take(&batch);
                batch.clear();
                rows.give_back(batch);
            } else if rows.is_over() && !moved {
                break;
            }
            if written.elapsed() >= WRITE_EVERY {
                written = Instant::now();
                board.sinks_moved.fetch_add(1, Ordering::Relaxed);
                self.write();
                let wishes = self.shown.reopen.load(Ordering::Relaxed);
                if wishes != reopened {
                    reopened = wishes;
                    self.reopen();
                }
            }
            if second.elapsed() >= Duration::from_secs(1) {
                second = Instant::now();
                self.recent_room = RecentFlows::MAX;
            }
            if moved {
                patience = Patience::new(LONGEST_NAP);
            } else {
                patience.wait();
            }
        }
        // The scoring stage has gone: whatever it told is here.
        while let Ok(mail) = alerts.try_recv() {
            self.alert(&mail);
        }
        self.close();
    }

    fn take(&mut self, batch: &RowBatch<TaplineState>) {
        let now = Timestamp::from_micros(wall_us());
        for (flow, tail) in batch {
            if let Some(rows) = &mut self.rows {
                rows.write_with(flow, tail, now);
            }
            if let Some(eve) = &mut self.eve
                && eve.flows
                && flow.head.end_reason != EndReason::Partial
            {
                eve.flow(now, flow, tail.verdict.as_ref());
            }
        }
        let Some(recent) = &mut self.recent else { return };
        // In a flood the last ones of each second do: rendering costs more than writing.
        let some = &batch[batch.len() - batch.len().min(self.recent_room)..];
        self.recent_room -= some.len();
        let mut flows = self.shown.flows.lock();
        for (flow, tail) in some {
            let [initiator, responder] =
                [flow.head.initiator(), flow.head.responder()].map(|end| end.ip(flow.head.key.ip_version));
            let class = tail.verdict.as_ref().map_or("", |verdict| verdict.class.as_str());
            flows.push(initiator, responder, class, recent.render(flow, tail));
        }
    }

    fn alert(&mut self, mail: &AlertMail) {
        let now = Timestamp::from_micros(wall_us());
        if let Some(file) = &mut self.alerts {
            file.line().extend_from_slice(&mail.line);
            file.end_row(now);
            // Somebody may follow the file.
            file.flush(now);
        }
        if let Some(eve) = &mut self.eve {
            eve.alert(now, mail);
        }
        for queue in &self.queues {
            queue.offer(Arc::clone(&mail.message));
        }
        let mut incidents = self.shown.incidents.lock();
        incidents.retain(|known| known.number != mail.view.number);
        incidents.push_front(mail.view.clone());
        incidents.truncate(Snapshot::INCIDENTS_MAX);
    }

    /// Hands over what waits in buffers.
    fn write(&mut self) {
        let now = Timestamp::from_micros(wall_us());
        if let Some(rows) = &mut self.rows {
            rows.tick(now);
        }
        if let Some(alerts) = &mut self.alerts {
            alerts.tick(now);
        }
        if let Some(eve) = &mut self.eve {
            if eve.stats_every.is_some_and(|every| eve.stats_written.elapsed() >= every) {
                let snapshot = Arc::clone(&self.shown.snapshot.lock());
                eve.stats(now, &snapshot);
            }
            eve.file.tick(now);
        }
    }

    fn reopen(&mut self) {
        let now = Timestamp::from_micros(wall_us());
        if let Some(rows) = &mut self.rows {
            rows.reopen(now);
        }
        if let Some(alerts) = &mut self.alerts {
            alerts.reopen(now);
        }
        if let Some(eve) = &mut self.eve {
            eve.file.reopen(now);
        }
    }

    fn close(self) {
        let now = Timestamp::from_micros(wall_us());
        if let Some(rows) = self.rows {
            rows.close(now);
        }
        if let Some(alerts) = self.alerts {
            alerts.close(now);
        }
        if let Some(eve) = self.eve {
            eve.file.close(now);
        }
    }
}

impl EveFile {
    fn flow(&mut self, now: Timestamp, flow: &Row, verdict: Option<&VerdictCells>) {
        let id = community_id(&flow.head);
        let flow = EveFlow {
            head: &flow.head,
            community_id: id.as_str(),
            traffic: Some(self.columns.traffic(flow)),
            verdict: verdict.map(|cells| EveVerdict {
                class: cells.class.as_str(),
                score: cells.score,
                probability: cells.probability,
                p_value: cells.p_value,
                reasons: &[],
                model: cells.model.as_str(),
            }),
            alerted: false,
        };
        self.eve.push_flow(self.file.line(), now, &flow);
        self.file.end_row(now);
    }

    fn alert(&mut self, now: Timestamp, mail: &AlertMail) {
        let id = community_id(&mail.example);
        let reasons: Vec<&str> = mail.reasons.iter().map(String::as_str).collect();
        let alert = EveAlert {
            alert: mail.view.number,
            event: mail.event,
            flow: EveFlow {
                head: &mail.example,
                community_id: id.as_str(),
                traffic: None,
                verdict: Some(EveVerdict {
                    class: &mail.view.class,
                    score: mail.score,
                    probability: mail.probability,
                    p_value: mail.p_value,
                    reasons: &reasons,
                    model: &mail.model,
                }),
                alerted: true,
            },
            attack_id: mail.view.attack_id.as_deref(),
            severity: 1,
            flows: mail.view.flows,
            evidence: mail.view.evidence,
        };
        self.eve.push_alert(self.file.line(), now, &alert);
        self.file.end_row(now);
        self.file.flush(now);
    }

    fn stats(&mut self, now: Timestamp, snapshot: &Snapshot) {
        self.stats_written = Instant::now();
        let nic = |pick: fn(&tapline_control::NicView) -> u64| {
            snapshot.interfaces.iter().filter_map(|interface| interface.nic.as_ref()).map(pick).sum::<u64>()
        };
        let uptime_us = snapshot.sensor.now_us.saturating_sub(snapshot.sensor.started_us).max(0);
        let stats = EveStats {
            uptime_s: uptime_us as u64 / 1_000_000,
            kernel_packets: Some(snapshot.packets.seen),
            kernel_drops: Some(snapshot.packets.kernel_dropped),
            interface_drops: Some(nic(|nic| nic.rx_dropped + nic.rx_missed)),
            capture_errors: Some(nic(|nic| nic.rx_errors)),
            decoded_packets: Some(snapshot.packets.processed + snapshot.packets.in_flight),
            decoded_bytes: Some(snapshot.interfaces.iter().map(|interface| interface.seen_bytes).sum()),
            undecodable_packets: Some(snapshot.packets.undecodable.values().sum()),
            flows: Some(snapshot.flows.opened),
            live_flows: Some(snapshot.flows.live),
            emergencies_entered: Some(snapshot.emergencies.entered),
            emergencies_over: Some(snapshot.emergencies.left),
            alerts: snapshot.scoring.as_ref().map(|scoring| scoring.alerts),
            ..EveStats::default()
        };
        self.eve.push_stats(self.file.line(), now, &stats);
        self.file.end_row(now);
    }
}

impl Helpers {
    /// Starts what is there, each in a thread of its own. Compressors end once `packed` is set; the others when their queues have
    /// gone, and at the latest soon after `stop` is set.
    pub(crate) fn start(
        self,
        packed: &Arc<AtomicBool>,
        stop: &Arc<AtomicBool>,
    ) -> anyhow::Result<Vec<thread::JoinHandle<()>>> {
        let mut threads = Vec::new();
        let mut start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = thread::Builder::new().name(name.to_owned()).spawn(work);
            thread.map(|thread| threads.push(thread)).with_context(|| format!("starting the thread {name}"))
        };
        for compressor in self.compressors {
            let packed = Arc::clone(packed);
            start("pack", Box::new(move || compressor.run(&packed)))?;
        }
        if let Some((syslog, alerts)) = self.syslog {
            let stop = Arc::clone(stop);
            start("syslog", Box::new(move || syslog.run(&alerts, &stop)))?;
        }
        if let Some((webhook, alerts)) = self.webhook {
            let stop = Arc::clone(stop);
            start("webhook", Box::new(move || webhook.run(&alerts, &stop)))?;
        }
        Ok(threads)
    }
}

/// The folder of the files, made if it is not there.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("making the folder {} of [rows]", folder.display()))
        .map_err(cannot_create)
}

fn cannot_create(error: anyhow::Error) -> Failure {
    Failure::new(Code::CantCreate, error)
}

fn rules(config: &Config, stem: &str, extension: &str) -> FileRules {
    let rows = &config.rows;
    FileRules {
        max_bytes: rows.rotate_size_bytes,
        max_age_us: rows.rotate_age_us,
        keep_files: Some(rows.keep_files as usize),
        keep_bytes: Some(rows.keep_size_bytes),
        compression: match rows.compress {
            Compress::None => Compression::None,
            Compress::Gzip => Compression::Gzip,
            Compress::Zstd => Compression::Zstd,
        },
        ..FileRules::new(&rows.folder, stem, extension)
    }
}

/// The format of rows, if there are any.
pub(crate) const fn format(format: RowFormat) -> Option<Format> {
    match format {
        RowFormat::Csv => Some(Format::Csv),
        RowFormat::Ndjson => Some(Format::Ndjson),
        RowFormat::Parquet => Some(Format::Parquet),
        RowFormat::None => None,
    }
}

fn syslog_target(target: &tapline_config::SyslogTarget) -> SyslogTarget {
    match target {
        tapline_config::SyslogTarget::Unix(path) => SyslogTarget::Unix(path.clone()),
        tapline_config::SyslogTarget::Udp(address) => SyslogTarget::Udp(address.clone()),
        tapline_config::SyslogTarget::Tcp(address) => SyslogTarget::Tcp(address.clone()),
    }
}

pub(crate) fn micros(us: i64) -> Duration {
    Duration::from_micros(u64::try_from(us).unwrap_or_default())
}
