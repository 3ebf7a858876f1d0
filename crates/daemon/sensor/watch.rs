//! The main thread of a sensor, once it runs: signals, reload, watchdog, what the sensor says of itself.
//!
//! In: signals, and the board. Out: snapshots, log lines, messages to the service manager, a model that takes over. It touches no
//! packet: whatever it waits for, capture goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use tapline_config::{Config, Layers};
use tapline_control::{ModelView, SinkView, Snapshot, State};
use tapline_rights::Notifier;
use tracing::{error, info, warn};

use crate::model::Model;
use crate::scoring::Judge;
use crate::sensor::board::{Board, SINKS};
use crate::sensor::sinks::Shown;
use crate::sensor::snapshot::Portrait;
use crate::sensor::wire_reader::wall_us;
use crate::sensor::{log, set_emergency};

/// How soon a signal is heeded.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How often the sensor looks at itself.
const OBSERVE_EVERY: Duration = Duration::from_secs(1);

/// Signals that were sent.
pub(crate) struct Signals {
    stop: Arc<AtomicBool>,
    /// Which one.
    which: Arc<AtomicUsize>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Takes them from now on. The second one that says stop ends the process at once.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let signals = Self { stop: Arc::default(), which: Arc::default(), reload: Arc::default() };
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first only arms.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&signals.stop))
                .and_then(|_| flag::register(signal, Arc::clone(&signals.stop)))
                .and_then(|_| flag::register_usize(signal, Arc::clone(&signals.which), signal as usize))
                .context("taking signals")?;
        }
        flag::register(SIGHUP, Arc::clone(&signals.reload)).context("taking signals")?;
        Ok(signals)
    }

    fn stop_asked(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

/// What the main thread watches over.
pub(crate) struct Watch {
    pub(crate) layers: Layers,
    pub(crate) portrait: Portrait,
    pub(crate) board: Arc<Board>,
    pub(crate) shown: Arc<Shown>,
    pub(crate) notifier: Notifier,
    pub(crate) signals: Signals,
    pub(crate) log: log::Handle,
    /// How many packets had come and been lost when the last line about it was written.
    pub(crate) told: Told,
}

/// What was said last.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    seen: u64,
    lost: u64,
    flows: u64,
    shedding: bool,
    at: Option<Instant>,
    warned: Option<Instant>,
}

impl Watch {
    /// Watches until a signal says stop, or a thread ends by itself, which none should: `ended` says which.
    pub(crate) fn run(&mut self, ended: impl Fn() -> Option<&'static str>) {
        self.portrait.state = State::Running;
        self.observe();
        self.tell(self.notifier.ready());
        let mut observed = Instant::now();
        let mut pinged: Option<(Instant, Vec<(String, u64)>)> = None;
        let mut stalled: Option<String> = None;
        let mut hanging = false;
        while !self.signals.stop_asked() {
            thread::park_timeout(LOOK_EVERY);
            if let Some(thread) = ended() {
                error!(thread, "a thread has ended by itself; stopping");
                return;
            }
            if observed.elapsed() >= OBSERVE_EVERY {
                observed = Instant::now();
                self.observe();
            }
            let reload = self.signals.reload.swap(false, Ordering::Relaxed);
            let period = self.notifier.watchdog_period().unwrap_or(OBSERVE_EVERY * 5);
            let due = pinged.as_ref().is_none_or(|(at, _)| at.elapsed() >= period);
            // Before a reload too, which may take its time.
            if due || reload {
                let moves = self.board.moves();
                let still = pinged.as_ref().and_then(|(_, before)| {
                    before
                        .iter()
                        .zip(&moves)
                        .find(|(before, now)| before == now && now.0 != SINKS)
                        .map(|(_, (name, _))| name.clone())
                });
                // Their disk may hang: to start again would cure nothing, and lose packets.
                let sinks_hang =
                    due && pinged.as_ref().is_some_and(|(_, before)| before.last() == moves.last());
                if sinks_hang && !hanging {
                    warn!(
                        "the sinks do not move: does a disk hang? Rows are dropped meanwhile, packets are not"
                    );
                }
                hanging = sinks_hang || (hanging && !due);
                match still {
                    // Also when one was late: it is asked again at once, not after another period.
                    None => {
                        self.tell(self.notifier.ping());
                        pinged = Some((Instant::now(), moves));
                        if let Some(name) = stalled.take() {
                            info!(thread = %name, "the thread moves again");
                        }
                    }
                    Some(name) if due && stalled.as_ref() != Some(&name) => {
                        error!(thread = %name, "a thread does not move; the watchdog is not told that all is well");
                        stalled = Some(name);
                    }
                    Some(_) => {}
                }
            }
            if reload {
                self.reload();
            }
        }
        let name =
            if self.signals.which.load(Ordering::Relaxed) == SIGINT as usize { "SIGINT" } else { "SIGTERM" };
        info!("{name}: stopping; a second signal ends at once");
    }

    /// Where rows and alerts stayed.
    pub(crate) fn sinks(&mut self) -> Vec<SinkView> {
        self.portrait.sinks()
    }

    /// Rows that sinks did not write, so far.
    pub(crate) fn rows_lost(&self) -> u64 {
        self.portrait.rows_lost()
    }

    /// Says that the end has begun.
    pub(crate) fn stopping(&mut self) {
        self.portrait.state = State::Stopping;
        self.observe();
        // All of the watchdog's time for the end.
        self.tell(self.notifier.ping());
        self.tell(self.notifier.stopping());
    }

    /// Takes a snapshot, shows it, and says what is worth a line.
    fn observe(&mut self) {
        let mut snapshot = self.portrait.take(&self.board);
        snapshot.incidents = self.shown.incidents.lock().iter().cloned().collect();
        self.say(&snapshot);
        *self.shown.snapshot.lock() = Arc::new(snapshot);
    }

    fn say(&mut self, snapshot: &Snapshot) {
        let shedding = snapshot.scoring.as_ref().is_some_and(|scoring| scoring.shedding);
        if shedding != self.told.shedding {
            let shed_flows = snapshot.scoring.as_ref().map_or(0, |scoring| scoring.shed_flows);
            if shedding {
                warn!(shed_flows, "the scorer cannot follow: flows go on without a verdict");
            } else {
                info!(shed_flows, "flows get verdicts again");
            }
        }
        let seconds = self.told.at.map_or(1.0, |at| at.elapsed().as_secs_f64().max(0.001));
        let lost = snapshot.packets.lost();
        let alerts = snapshot.scoring.as_ref().map_or(0, |scoring| scoring.alerts);
        let per_s = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let (packets, flows) =
            (per_s(snapshot.packets.seen, self.told.seen), per_s(snapshot.flows.emitted, self.told.flows));
        self.tell(self.notifier.status(&format!(
            "{}: {packets:.0} packets/s, {flows:.0} flows/s, {} live flows, {lost} packets lost, {alerts} alerts",
            snapshot.sensor.state.name(),
            snapshot.flows.live,
        )));
        let more = lost.saturating_sub(self.told.lost);
        // One line a minute says it as well as one a second.
        if more > 0 && self.told.warned.is_none_or(|at| at.elapsed() >= Duration::from_secs(60)) {
            self.told.warned = Some(Instant::now());
            warn!(
                kernel_dropped = snapshot.packets.kernel_dropped,
                ring_dropped = snapshot.packets.ring_dropped,
                seen = snapshot.packets.seen,
                "packets are lost; `tapline doctor` says what helps"
            );
        }
        for sink in &snapshot.sinks {
            if let Some(trouble) = self.portrait.new_error(&sink.name) {
                warn!(sink = sink.name, dropped_rows = sink.dropped_rows.values().sum::<u64>(), "{trouble}");
            }
        }
        self.told = Told {
            seen: snapshot.packets.seen,
            lost,
            flows: snapshot.flows.emitted,
            shedding,
            at: Some(Instant::now()),
            ..self.told
        };
    }

    /// Reads the configuration again; one that is not good changes nothing.
    fn reload(&mut self) {
        self.tell(self.notifier.reloading());
        // For logrotate, whatever the configuration says.
        self.shown.reopen.fetch_add(1, Ordering::Relaxed);
        match self.try_reload() {
            Ok(()) => {
                self.portrait.loaded.reloads += 1;
                self.portrait.loaded.loaded_us = wall_us();
                self.portrait.loaded.last_error = None;
            }
            Err(error) => {
                let text = format!("{error:#}");
                error!("reload refused, nothing is changed: {text}");
                self.portrait.loaded.refused += 1;
                self.portrait.loaded.last_error = Some(text);
            }
        }
        self.observe();
        self.tell(self.notifier.ready());
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        let new = Config::load(&self.layers)?;
        let changes = self.portrait.config.changes(&new);
        let judge = self.judge(&new)?;
        // From here on nothing fails.
        set_emergency(&self.board.emergency, &new);
        if let Some(desk) = &self.board.desk {
            desk.shed_percent.store(new.scoring.shed_percent, Ordering::Relaxed);
        }
        self.log.set(new.log.level);
        if let (Some(desk), Some(judge)) = (&self.board.desk, judge) {
            let id = judge.id().to_owned();
            self.portrait.model = Some(ModelView { id, loaded_us: wall_us() });
            desk.hand_over(judge);
        }
        self.shown.set_model(new.scoring.model.as_deref());
        let mut live = self.portrait.config.clone();
        live.emergency = new.emergency;
        live.scoring.clone_from(&new.scoring);
        live.log.level = new.log.level;
        self.portrait.config = live;
        info!(changed = ?changes.live, "reloaded; files are opened again");
        if !changes.restart.is_empty() {
            warn!(keys = ?changes.restart, "these keys have changed and wait for a restart");
        }
        Ok(())
    }

    /// The model of a configuration, if it is another than the one at work.
    fn judge(&self, new: &Config) -> anyhow::Result<Option<Judge>> {
        match (&self.board.desk, &new.scoring.model) {
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => {
                anyhow::bail!(
                    "scoring.model was set or taken away: rows have other columns then; restart the sensor"
                )
            }
            (Some(_), Some(directory)) => {
                let Model { manifest, detector } =
                    Model::open(directory).map_err(|failure| anyhow::anyhow!("{failure}"))?;
                if self.portrait.model.as_ref().is_some_and(|model| model.id == manifest.id) {
                    return Ok(None);
                }
                Ok(Some(Judge::new(manifest, detector, &self.portrait.budget.scoring)?))
            }
        }
    }

    /// Whoever manages the service may have gone.
    fn tell(&self, told: std::io::Result<()>) {
        if let Err(error) = told {
            warn!("telling the service manager: {error}");
        }
    }
}
