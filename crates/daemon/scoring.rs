//! The stage before the exporter when there is a model: flows get verdicts, verdicts make alerts.
//!
//! In: batches of flows in the order of rows with their inputs, and of ticks ([`contexts`](crate::contexts)). Out: the same flows in the
//! same order, each with its verdict, to the exporter; alerts to their file. A flow is held until its
//! window has been judged and everything before it has left. Held flows have a bound: at the bound the window that has waited longest is
//! closed early. All of it is a function of the sequence of flows and ticks, so rows and alerts do not depend on the number of
//! workers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU8;
use std::time::{Duration, Instant};

use tapline_features::TaplineState;
use tapline_features::context::ContextLimits;
use tapline_features::inputs::INPUTS;
use tapline_features::lookahead::PAUSE_US;
use tapline_record::{FlowHead, FlowRecord, Names, ShortText};
use tapline_score::drift::Reading;
use tapline_score::explain::Contribution;
use tapline_score::scorer::ScoreCounters;
use tapline_score::{
    Batching, Detector, Event, Evidence, Explainer, Incidents, Manifest, ScoreError, Scorer, Verdict,
    WindowLimits, reasons,
};

use tracing::info;

use crate::alerts::{Alerts, Reason, Truth, Why};
use crate::contexts::{Arrival, Batch, Judging, ScoringTick};
use crate::exporter::{Exported, Exporter};
use crate::place::Place;
use crate::row_tail::VerdictCells;
use crate::scoring_report::{Past, ScoringReport};

/// What scoring may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScoringLimits {
    /// Flows that wait for their verdict or for one before them: 1.4 kB each with their inputs.
    pub(crate) held: usize,
    /// Flows that pause for their context: 650 bytes each. More than that within the pause, and the first of them go on early.
    pub(crate) pausing: usize,
    /// Incidents that have not ended: 1.5 kB each.
    pub(crate) incidents: usize,
    /// Targets that are incidents of many sources, or may become one: 1.5 kB each.
    pub(crate) targets: usize,
    /// The tables of context: 87 MB.
    pub(crate) contexts: ContextLimits,
    /// When a batch is run.
    pub(crate) batching: Batching,
}

impl Default for ScoringLimits {
    /// Those of a replay: 470 MB in all. It has no latency to lose: batches may wait for company, within the bound of held flows.
    fn default() -> Self {
        Self {
            held: 65_536,
            pausing: 262_144,
            incidents: 65_536,
            targets: 16_384,
            contexts: ContextLimits::default(),
            batching: Batching { steps: 512, wait_us: 60_000_000 },
        }
    }
}

/// How often those who look at a sensor are told what scoring has come to.
const TELL_EVERY: Duration = Duration::from_millis(200);

/// Inputs named as reasons.
const REASONS: usize = Names::CAPACITY;

/// Flows named that a verdict rests on.
const ATTENDED: usize = 3;

pub(crate) struct Scoring {
    scorer: Scorer,
    /// In a sensor.
    desk: Option<Arc<ScoringDesk>>,
    /// When it was last told what has been done.
    told: Option<Instant>,
    /// Flows that went on without a verdict.
    shed: u64,
    past: Past,
    bench: Bench,
    exporter: Exporter<TaplineState>,
    /// The latest time at which the end of a flow was certain that is past its pause, or the latest tick when none waited.
    decided_us: i64,
    /// Flows held at most.
    held_max: usize,
}

/// How the scoring of a sensor is reached while it runs.
#[derive(Default)]
pub(crate) struct ScoringDesk {
    /// The model that is to follow, ready to judge.
    next: Place<Option<Box<Judge>>>,
    /// How full the way to this stage may be before flows go on without a verdict; half-way from there to full, without being
    /// context for others either.
    pub(crate) shed_percent: AtomicU8,
    now: Place<ScoringNow>,
}

/// What scoring has come to, at its last tick.
#[derive(Clone, Debug, Default)]
pub(crate) struct ScoringNow {
    pub(crate) model: String,
    pub(crate) verdicts: BTreeMap<String, u64>,
    pub(crate) shed: u64,
    pub(crate) shedding: bool,
    /// Flows in the pause or in windows.
    pub(crate) held: usize,
    pub(crate) incidents: u64,
    pub(crate) alerts: u64,
    pub(crate) windows: u64,
    pub(crate) shifted_inputs: u64,
}

/// A model at work, with all that is its own. Another takes its place whole.
pub(crate) struct Judge {
    manifest: Manifest,
    scorer: Scorer,
    incidents: Incidents<FlowHead, Why>,
    classes: Vec<ShortText>,
    model: ShortText,
    columns: Vec<(usize, f32)>,
}

/// Where flows wait for their verdicts, and what verdicts are made into.
struct Bench {
    held: VecDeque<Held>,
    /// Ticket of the first held flow; tickets are given in order.
    first_ticket: u64,
    rows: RowPool,
    incidents: Incidents<FlowHead, Why>,
    alerts: Alerts,
    classes: Vec<ShortText>,
    model: ShortText,
    /// Of each input of the model, its place in the table of inputs and its median.
    columns: Vec<(usize, f32)>,
    truth: Truth,
}

struct Held {
    flow: FlowRecord<TaplineState>,
    decided_us: i64,
    /// Its inputs, in the pool.
    row: u32,
    /// By the verdict; 0 before it.
    class: u8,
    state: HeldState,
}

enum HeldState {
    Waiting,
    Judged(VerdictCells),
    /// It goes on without a verdict, and has no inputs.
    Shed,
}

impl Judge {
    /// A model at work; `detector` is what votes in the manifest's name.
    ///
    /// # Errors
    ///
    /// If the model reads an input that is not in the table of inputs.
    pub(crate) fn new(
        manifest: Manifest,
        detector: Box<dyn Detector>,
        limits: &ScoringLimits,
    ) -> Result<Self, tapline_score::scaler::UnknownInput> {
        let names: Vec<&str> = INPUTS.iter().map(|input| input.name).collect();
        let place = |name: &str| names.iter().position(|known| *known == name).unwrap_or_default();
        let columns = &manifest.inputs.columns;
        Ok(Self {
            scorer: Scorer::new(&manifest, detector, &names, WindowLimits::default(), limits.batching)?,
            incidents: Incidents::new(&manifest, limits.incidents, limits.targets),
            classes: manifest.classes.iter().map(|class| short(class)).collect(),
            model: short(&manifest.id),
            columns: columns.iter().map(|column| (place(&column.name), column.center)).collect(),
            manifest,
        })
    }
}

impl Judge {
    /// What the model calls itself.
    pub(crate) fn id(&self) -> &str {
        &self.manifest.id
    }

    pub(crate) const fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

impl ScoringDesk {
    /// Has `judge` take over at the next tick, within a tenth of a second.
    pub(crate) fn hand_over(&self, judge: Judge) {
        *self.next.lock() = Some(Box::new(judge));
    }

    /// What scoring has come to.
    pub(crate) fn now(&self) -> ScoringNow {
        self.now.lock().clone()
    }
}

impl Scoring {
    /// Scoring by a model.
    pub(crate) fn new(
        judge: Judge,
        limits: &ScoringLimits,
        alerts: Alerts,
        exporter: Exporter<TaplineState>,
    ) -> Self {
        let Judge { scorer, incidents, classes, model, columns, .. } = judge;
        Self {
            scorer,
            desk: None,
            told: None,
            shed: 0,
            past: Past::default(),
            bench: Bench {
                held: VecDeque::new(),
                first_ticket: 0,
                rows: RowPool::new(INPUTS.len()),
                incidents,
                alerts,
                classes,
                model,
                columns,
                truth: Truth::default(),
            },
            exporter,
            decided_us: i64::MIN,
            held_max: limits.held,
        }
    }

    /// Lets this stage be reached while it runs.
    pub(crate) fn at(mut self, desk: Arc<ScoringDesk>) -> Self {
        self.desk = Some(desk);
        self
    }

    /// Takes in a flow whose context is known; `None` for its inputs if it was shed.
    fn arrive(
        &mut self,
        flow: FlowRecord<TaplineState>,
        decided_us: i64,
        row: Option<&[f32]>,
    ) -> anyhow::Result<()> {
        self.decided_us = decided_us.max(self.decided_us);
        while self.bench.held.len() >= self.held_max {
            let Self { scorer, bench, .. } = self;
            scorer.close_early(&mut |verdict, explainer| bench.judge(verdict, explainer))?;
            self.release()?;
        }
        let Self { scorer, bench, decided_us, .. } = self;
        let decided_us = *decided_us;
        let Some(row) = row else {
            self.shed += 1;
            bench.held.push_back(Held { flow, decided_us, row: u32::MAX, class: 0, state: HeldState::Shed });
            return self.release();
        };
        let host = u128::from_be_bytes(flow.head.initiator().addr);
        let ticket = bench.first_ticket + bench.held.len() as u64;
        let place = bench.rows.add(row);
        bench.held.push_back(Held { flow, decided_us, row: place, class: 0, state: HeldState::Waiting });
        let now_us = decided_us.saturating_add(PAUSE_US);
        scorer.push(host, now_us, row, ticket, &mut |verdict, explainer| bench.judge(verdict, explainer))?;
        self.release()
    }

    fn tick(&mut self, tick: &ScoringTick) -> anyhow::Result<()> {
        let ScoringTick { now_us, ahead_us, pausing, .. } = *tick;
        self.bench.alerts.set_ahead(ahead_us);
        let Self { scorer, bench, .. } = self;
        scorer.tick(now_us, &mut |verdict, explainer| bench.judge(verdict, explainer))?;
        self.release()?;
        let Bench { held, incidents, alerts, .. } = &mut self.bench;
        if held.is_empty() && pausing == 0 {
            self.decided_us = self.decided_us.max(now_us);
        }
        // No flow that is still to be judged was decided before the first that is held.
        let horizon_us = held.front().map_or(self.decided_us, |first| first.decided_us);
        incidents.expire(horizon_us, &mut |incident| alerts.tell(Event::Ended, incident, horizon_us));
        alerts.check()?;
        if let Some(desk) = self.desk.clone() {
            self.visit(&desk, tick)?;
        }
        self.exporter.tick();
        Ok(())
    }

    /// Hands on the flows that have been judged, up to the first that has not.
    fn release(&mut self) -> anyhow::Result<()> {
        let bench = &mut self.bench;
        while let Some(Held { flow, row, class, state, .. }) = bench.held.front() {
            let verdict = match state {
                HeldState::Waiting => break,
                HeldState::Judged(verdict) => Some(*verdict),
                HeldState::Shed => None,
            };
            let hostile = self.exporter.write(flow, verdict)?;
            if *class > 0
                && let Some(hostile) = hostile
            {
                bench.truth.add(&flow.head, *class, hostile);
            }
            if verdict.is_some() {
                bench.rows.give_back(*row);
            }
            bench.held.pop_front();
            bench.first_ticket += 1;
        }
        bench.alerts.check()
    }

    /// Judges all that waits, so that another model may follow.
    fn judge_all(&mut self) -> anyhow::Result<()> {
        let Self { scorer, bench, .. } = self;
        scorer.finish(&mut |verdict, explainer| bench.judge(verdict, explainer))?;
        self.release()?;
        let Bench { incidents, alerts, .. } = &mut self.bench;
        let end_us = self.decided_us;
        incidents.finish(&mut |incident| alerts.tell(Event::Ended, incident, end_us));
        Ok(())
    }

    /// Lets another model take over: flows that are judged already stay so, the pause goes on as it was.
    fn succeed(&mut self, judge: Judge) -> anyhow::Result<()> {
        self.judge_all()?;
        let Past { verdicts, incidents, alerts, windows } = &mut self.past;
        add_verdicts(verdicts, &self.bench.classes, &self.scorer.counters());
        *incidents += self.bench.incidents.counters().opened;
        let raised = self.bench.incidents.counters().alerts;
        *alerts += raised;
        *windows += self.scorer.window_counters().windows;
        let Judge { manifest, scorer, incidents, classes, model, columns } = judge;
        self.scorer = scorer;
        self.bench.alerts.speak_for(&manifest, raised);
        self.bench.incidents = incidents;
        self.bench.classes = classes;
        self.bench.model = model;
        self.bench.columns = columns;
        Ok(())
    }

    /// Takes what is on the desk, and leaves there what has been done.
    fn visit(&mut self, desk: &ScoringDesk, tick: &ScoringTick) -> anyhow::Result<()> {
        let next = desk.next.lock().take();
        if let Some(judge) = next {
            let began = Instant::now();
            self.succeed(*judge)?;
            info!(
                model = self.bench.model.as_str(),
                took_us = began.elapsed().as_micros(),
                "the model has taken over"
            );
        }
        // Drift is sought in all inputs, and ticks come by the packet.
        if self.told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        let mut verdicts = self.past.verdicts.clone();
        add_verdicts(&mut verdicts, &self.bench.classes, &self.scorer.counters());
        let counters = self.bench.incidents.counters();
        *desk.now.lock() = ScoringNow {
            model: self.bench.model.as_str().to_owned(),
            verdicts,
            shed: self.shed,
            shedding: tick.shedding,
            held: self.bench.held.len() + tick.pausing,
            incidents: self.past.incidents + counters.opened,
            alerts: self.past.alerts + counters.alerts,
            windows: self.past.windows + self.scorer.window_counters().windows,
            shifted_inputs: self.scorer.drift().count(Reading::Shifted) as u64,
        };
        Ok(())
    }
}

/// Adds verdicts by class to those of models before.
fn add_verdicts(sums: &mut BTreeMap<String, u64>, classes: &[ShortText], scores: &ScoreCounters) {
    for (class, flows) in classes.iter().zip(&scores.verdicts) {
        *sums.entry(class.as_str().to_owned()).or_default() += flows;
    }
}

impl Judging for Scoring {
    fn take(&mut self, batch: &mut Batch) -> anyhow::Result<()> {
        self.exporter.moved();
        let Batch { arrivals, rows } = batch;
        let mut each_row = rows.chunks_exact(INPUTS.len());
        for arrival in arrivals.drain(..) {
            match arrival {
                Arrival::PassesBy { flow, shed } => {
                    self.shed += u64::from(shed);
                    self.exporter.write(&flow, None)?;
                }
                Arrival::Ready { flow, decided_us, judged } => {
                    let row = if judged { each_row.next() } else { None };
                    self.arrive(flow, decided_us, row)?;
                }
                Arrival::Tick(tick) => self.tick(&tick)?,
            }
        }
        rows.clear();
        Ok(())
    }

    fn close(mut self) -> anyhow::Result<Exported> {
        self.judge_all()?;
        let Bench { held, incidents, alerts, classes, model, truth, .. } = self.bench;
        assert!(held.is_empty(), "every flow is judged");
        let mut exported = self.exporter.finish()?;
        exported.scoring = Some(ScoringReport {
            model: model.as_str().to_owned(),
            classes: classes.iter().map(|class| class.as_str().to_owned()).collect(),
            scores: self.scorer.counters(),
            windows: *self.scorer.window_counters(),
            incidents: *incidents.counters(),
            drift: self.scorer.drift(),
            // Where contexts are gathered these are known.
            hurried: 0,
            contexts_evicted: 0,
            shed: self.shed,
            past: self.past,
            alerts: alerts.finish(&truth)?,
        });
        Ok(exported)
    }
}

impl Bench {
    /// Keeps a verdict with its flow, and folds a suspicious flow into its incident.
    fn judge(&mut self, verdict: &Verdict, explainer: &mut Explainer<'_>) -> Result<(), ScoreError> {
        let first_ticket = self.first_ticket;
        let held = &mut self.held[(verdict.ticket - first_ticket) as usize];
        let class = self.classes[usize::from(verdict.class)];
        held.class = verdict.class;
        held.state = HeldState::Judged(VerdictCells::new(verdict, class, self.model));
        if verdict.class == 0 {
            return Ok(());
        }
        let head = &held.flow.head;
        let evidence = Evidence {
            source: u128::from_be_bytes(head.initiator().addr),
            class: verdict.class,
            score: verdict.score,
            probability: verdict.probability,
            p_value: verdict.p_value,
            time_us: held.decided_us,
            start_us: head.start.micros,
            end_us: head.last.micros,
            target: u128::from_be_bytes(head.responder().addr),
            port: head.responder().port,
            flow: *head,
        };
        let Self { incidents, alerts, rows, columns, .. } = self;
        let folded =
            incidents.fold(&evidence, &mut |incident| alerts.tell(Event::Ended, incident, evidence.time_us));
        if folded.explain {
            let explanation = explainer.explain(REASONS)?;
            let row = rows.get(held.row);
            let reason = |contribution: &Contribution| {
                let (place, usual) = columns[contribution.input];
                let input = &INPUTS[place];
                let text = reasons::sentence(input.name, input.unit, input.definition, row[place], usual);
                Reason { input: input.name, value: row[place], log_odds: contribution.log_odds, text }
            };
            let reasons: Vec<Reason> = explanation.contributions.iter().map(reason).collect();
            if let HeldState::Judged(cells) = &mut held.state {
                cells.top_features = Names::collect(reasons.iter().map(|reason| reason.input));
            }
            // Flows of the window that were judged earlier may have left.
            let mut attention: Vec<(FlowHead, f32)> = explanation
                .attention
                .iter()
                .filter_map(|(ticket, weight)| {
                    let place = ticket.checked_sub(first_ticket)?;
                    Some((self.held.get(place as usize)?.flow.head, *weight))
                })
                .collect();
            attention.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            attention.truncate(ATTENDED);
            incidents.explain(folded.at, verdict.score, Why { reasons, attention });
        }
        if let Some(event) = folded.event {
            alerts.tell(event, incidents.get(folded.at), evidence.time_us);
        }
        Ok(())
    }
}

/// Rows of inputs of held flows. A place that was given back last is used first, so that few flows use little memory.
struct RowPool {
    width: usize,
    values: Vec<f32>,
    vacant: Vec<u32>,
}

impl RowPool {
    const fn new(width: usize) -> Self {
        Self { width, values: Vec::new(), vacant: Vec::new() }
    }

    fn add(&mut self, row: &[f32]) -> u32 {
        let Some(at) = self.vacant.pop() else {
            self.values.extend_from_slice(row);
            return (self.values.len() / self.width - 1) as u32;
        };
        let start = at as usize * self.width;
        self.values[start..start + self.width].copy_from_slice(row);
        at
    }

    fn give_back(&mut self, at: u32) {
        self.vacant.push(at);
    }

    fn get(&self, at: u32) -> &[f32] {
        &self.values[at as usize * self.width..][..self.width]
    }
}

/// Names of models and classes are short; what does not fit is cut.
fn short(text: &str) -> ShortText {
    let mut short = ShortText::new();
    short.push_ascii(text.as_bytes());
    short
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::atomic::Ordering;

    use tapline_features::TaplineTracker;
    use tapline_features::inputs;
    use tapline_flow::{FlowTable, HashSeed, Rules, SortKey, Timeouts};
    use tapline_record::{PacketRecord, Timestamp, TunnelKind, protocol, tcp_flag};
    use tapline_score::WindowBatch;
    use tapline_score::manifest::{Calibration, InputColumn, Inputs, Thresholds, Weights, Window};

    use super::*;
    use crate::contexts::{Contexts, Shedding};
    use crate::exporter::Rows;
    use crate::pipeline::Stage;
    use crate::scoring_report::ScoringStats;

    /// Every flow is a scan, and surely so.
    struct Alarmist;

    impl Detector for Alarmist {
        fn classes(&self) -> usize {
            2
        }

        fn logits(&mut self, batch: &WindowBatch, logits: &mut Vec<f32>) -> Result<(), ScoreError> {
            logits.extend((0..batch.steps()).flat_map(|step| [0.0, 9.0 + batch.step(step)[0]]));
            Ok(())
        }
    }

    fn manifest(window: Window) -> Manifest {
        Manifest {
            format: 1,
            id: "alarmist-00000000".to_owned(),
            classes: ["benign", "scan"].map(str::to_owned).to_vec(),
            attack_ids: [("scan".to_owned(), "T1046".to_owned())].into(),
            inputs: Inputs {
                schema: inputs::SCHEMA.to_owned(),
                schema_hash: inputs::schema_hash(),
                columns: vec![InputColumn {
                    name: "src_dsts_60s".to_owned(),
                    center: 0.0,
                    scale: 1.0,
                    clip: 8.0,
                    knots: Vec::new(),
                    marks: Vec::new(),
                    edges: vec![0.0],
                    shares: vec![0.5, 0.5],
                }],
            },
            window,
            detectors: Vec::new(),
            calibration: Calibration {
                temperature: 1.0,
                source: "validation".to_owned(),
                benign_flows: 1,
                benign_span_s: 1.0,
                scores: vec![-1.0],
                ranks: vec![1],
            },
            thresholds: Thresholds {
                investigate: 1.0,
                detect: 2.0,
                block: 3.0,
                alert_evidence: 1.0,
                alert_flows: BTreeMap::new(),
                incident_gap_us: 1_000_000,
                budget: Vec::new(),
            },
            weights: Weights { file: String::new(), sha256: String::new() },
            card: BTreeMap::new(),
        }
    }

    /// Single SYNs of `hosts` hosts in turn, a second apart, to `targets` targets in turn.
    fn flows(count: u32, hosts: u32, targets: u32) -> Vec<(SortKey, FlowRecord<TaplineState>)> {
        let rules = Rules::Tapline { timeouts: Timeouts::default(), vlan_in_key: true };
        let mut table = FlowTable::new(rules, TaplineTracker, 1, 1_000_000, HashSeed(1, 2), |_, _| {});
        for number in 0..count {
            let host = |last: u32| (0xffff_0a00_0000 + u128::from(last)).to_be_bytes();
            let packet = PacketRecord {
                ts: Timestamp::from_micros(i64::from(number) * 1_000_000),
                ordinal: u64::from(number),
                src: host(number % hosts),
                dst: host(0x1000 + number % targets),
                src_port: 40_000 + (number / hosts) as u16,
                dst_port: 22,
                wire_bytes: 60,
                ip_bytes: 40,
                l4_header_bytes: 20,
                protocol: protocol::TCP,
                tcp_flags: tcp_flag::SYN,
                ip_version: 4,
                ttl: 64,
                seq: 0,
                ack: 0,
                payload_bytes: 0,
                tunnel_id: 0,
                vlan: [0; 2],
                window: 1_024,
                icmp_type: 0,
                icmp_code: 0,
                tunnel_kind: TunnelKind::None,
                later_fragment: false,
            };
            table.push(0, &packet);
        }
        table.finish();
        let mut flows = Vec::new();
        let drained = table.drain(|flow| {
            flows.push((flow.order(), flow.take()));
            Ok::<(), ()>(())
        });
        drained.unwrap();
        flows
    }

    fn score(flows: &[(SortKey, FlowRecord<TaplineState>)], window: Window, held_max: usize) -> Exported {
        let manifest = manifest(window);
        let alerts = Alerts::open(&manifest, None).unwrap();
        let exporter = Exporter::new(Rows::None, None);
        let seed = HashSeed(3, 4);
        let limits = ScoringLimits { held: held_max, ..ScoringLimits::default() };
        let judge = Judge::new(manifest, Box::new(Alarmist), &limits).unwrap();
        let scoring = Scoring::new(judge, &limits, alerts, exporter);
        let mut scoring = Contexts::new(&limits, 120_000_000, seed, scoring);
        for (order, flow) in flows {
            scoring.flow(*order, flow).unwrap();
            assert!(scoring.judging.bench.held.len() <= held_max);
        }
        scoring.close().unwrap()
    }

    fn window(stride: usize) -> Window {
        Window {
            steps: 1_000,
            stride,
            deadline_us: u64::MAX,
            computed_at_most: 1,
            padding: "left".to_owned(),
        }
    }

    #[test]
    fn where_too_many_flows_wait_windows_close_early() {
        let flows = flows(500, 7, 500);
        for (held_max, early) in [(1_000, 0), (10, 491), (1, 499)] {
            let exported = score(&flows, window(1_000), held_max);
            assert_eq!(exported.flows, 500);
            assert_eq!(exported.packets, 500);
            let report = exported.scoring.unwrap();
            assert_eq!(report.scores.verdicts, [0, 500]);
            assert!(report.windows.by_bound <= early, "{held_max}: {:?}", report.windows);
            assert_eq!(report.windows.by_bound > 0, early > 0, "{held_max}: {:?}", report.windows);
        }
    }

    #[test]
    fn flows_that_come_after_the_clock_was_set_back_do_not_wait_until_it_is_there_again() {
        let manifest = manifest(Window { deadline_us: 1_000_000, ..window(8) });
        let alerts = Alerts::open(&manifest, None).unwrap();
        let limits =
            ScoringLimits { batching: Batching { steps: 512, wait_us: 500_000 }, ..ScoringLimits::default() };
        let judge = Judge::new(manifest, Box::new(Alarmist), &limits).unwrap();
        let exporter = Exporter::new(Rows::None, None);
        let scoring = Scoring::new(judge, &limits, alerts, exporter);
        let mut scoring = Contexts::new(&limits, 0, HashSeed(3, 4), scoring);
        let second = |second: i64| Timestamp::from_micros(second * 1_000_000);
        scoring.tick(second(1_000_000)).unwrap();
        scoring.tick(second(1_000)).unwrap();
        for (order, flow) in flows(3, 3, 3) {
            scoring.flow(order, &flow).unwrap();
        }
        for after_s in 1_001..1_015 {
            scoring.tick(second(after_s)).unwrap();
        }
        scoring.flush().unwrap();
        assert_eq!((scoring.pausing, scoring.judging.bench.held.len()), (0, 0), "all are judged");
    }

    /// A sensor's scoring of all flows, each at once.
    fn at_a_desk(desk: &Arc<ScoringDesk>) -> Contexts<Scoring> {
        let limits = ScoringLimits::default();
        let manifest = manifest(Window { deadline_us: 0, ..window(1) });
        let alerts = Alerts::open(&manifest, None).unwrap();
        let judge = Judge::new(manifest, Box::new(Alarmist), &limits).unwrap();
        let exporter = Exporter::new(Rows::None, None);
        let scoring = Scoring::new(judge, &limits, alerts, exporter).at(Arc::clone(desk));
        Contexts::new(&limits, 0, HashSeed(3, 4), scoring).at(Arc::clone(desk))
    }

    #[test]
    fn what_cannot_be_judged_in_time_goes_on_without_a_verdict() {
        let desk = Arc::<ScoringDesk>::default();
        desk.shed_percent.store(50, Ordering::Relaxed);
        let mut scoring = at_a_desk(&desk);
        let flows = flows(500, 7, 500);
        for (hundred, filled_percent) in [0, 60, 80, 40, 5].into_iter().enumerate() {
            scoring.pressed(filled_percent);
            for (order, flow) in &flows[hundred * 100..][..100] {
                scoring.flow(*order, flow).unwrap();
            }
        }
        assert_eq!(scoring.shedding, Shedding::Nothing);
        let exported = scoring.close().unwrap();
        let report = exported.scoring.unwrap();
        assert_eq!(exported.flows, 500, "flows are never shed");
        let judged: u64 = report.scores.verdicts.iter().sum();
        assert_eq!(judged + report.shed, 500);
        // At 80 % all pass by; at 60 and 40 % those whose pause of ten seconds is over, ten of the hundred before among them.
        assert_eq!(report.shed, 300);
    }

    #[test]
    fn another_model_takes_over_at_a_tick() {
        let desk = Arc::<ScoringDesk>::default();
        let mut scoring = at_a_desk(&desk);
        let flows = flows(500, 7, 500);
        for (order, flow) in &flows[..250] {
            scoring.flow(*order, flow).unwrap();
        }
        let mut next = manifest(Window { deadline_us: 0, ..window(1) });
        next.id = "alarmist-00000001".to_owned();
        next.classes[1] = "probe".to_owned();
        desk.hand_over(Judge::new(next, Box::new(Alarmist), &ScoringLimits::default()).unwrap());
        scoring.tick(flows[250].1.head.start).unwrap();
        assert_eq!(desk.now().model, "alarmist-00000001");
        for (order, flow) in &flows[250..] {
            scoring.flow(*order, flow).unwrap();
        }
        let exported = scoring.close().unwrap();
        assert_eq!((exported.flows, exported.packets), (500, 500));
        let stats = ScoringStats::from(exported.scoring.unwrap());
        assert_eq!(stats.model, "alarmist-00000001");
        assert_eq!(stats.verdicts.values().sum::<u64>(), 500);
        assert!((200..=250).contains(&stats.verdicts["scan"]), "{:?}", stats.verdicts);
    }

    #[test]
    fn every_host_becomes_one_alert() {
        let exported = score(&flows(500, 7, 500), window(1), 1_000);
        let report = exported.scoring.unwrap();
        // Seven seconds lie between two flows of a host, one second ends an incident; evidence is 0.3 a flow.
        assert_eq!((report.incidents.opened, report.incidents.alerts), (500, 0));

        let close = Window { deadline_us: 0, ..window(1) };
        let mut manifest = manifest(close);
        manifest.thresholds.incident_gap_us = 10_000_000;
        let alerts = Alerts::open(&manifest, None).unwrap();
        let exporter = Exporter::new(Rows::None, None);
        let limits = ScoringLimits::default();
        let judge = Judge::new(manifest, Box::new(Alarmist), &limits).unwrap();
        let scoring = Scoring::new(judge, &limits, alerts, exporter);
        let mut scoring = Contexts::new(&limits, 0, HashSeed(3, 4), scoring);
        for (order, flow) in flows(500, 7, 500) {
            scoring.flow(order, &flow).unwrap();
        }
        let report = scoring.close().unwrap().scoring.unwrap();
        assert_eq!((report.incidents.opened, report.incidents.alerts), (7, 7));
        let text = report.alerts.text();
        assert_eq!(text.lines().count(), 8, "{text}");
        assert!(text.contains("10.0.0.6        scan         T1046"), "{text}");
        assert!(text.contains("distinct destinations of the source, over 60 s"), "{text}");
    }

    #[test]
    fn many_hosts_at_one_target_become_one_alert() {
        let mut manifest = manifest(Window { deadline_us: 0, ..window(1) });
        manifest.thresholds.incident_gap_us = 10_000_000;
        let file = tempfile::NamedTempFile::new().unwrap();
        let alerts = Alerts::open(&manifest, Some(file.path())).unwrap();
        let exporter = Exporter::new(Rows::None, None);
        let limits = ScoringLimits::default();
        let judge = Judge::new(manifest, Box::new(Alarmist), &limits).unwrap();
        let scoring = Scoring::new(judge, &limits, alerts, exporter);
        let mut scoring = Contexts::new(&limits, 0, HashSeed(3, 4), scoring);
        for (order, flow) in flows(500, 8, 1) {
            scoring.flow(order, &flow).unwrap();
        }
        let report = scoring.close().unwrap().scoring.unwrap();
        let counters = report.incidents;
        assert_eq!((counters.alerts, counters.alerts_by_target, counters.targets_forgotten), (1, 1, 0));
        let text = report.alerts.text();
        let row = text.lines().find(|line| line.contains("T1046")).unwrap();
        assert!(row.contains("Z 8 sources "), "{text}");
        assert!(row.contains("    500       1  "), "{text}");

        let lines = std::fs::read_to_string(file.path()).unwrap();
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<&str> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["raised", "grown", "ended"]);
        for line in &lines {
            assert_eq!(line["by"], "target");
            assert!(line.get("source").is_none());
            assert_eq!((&line["sources"]["count"], &line["sources"]["exact"]), (&8.into(), &true.into()));
            assert_eq!(line["sources"]["examples"][0], "10.0.0.0");
            assert_eq!(
                line["targets"],
                serde_json::json!({ "count": 1, "exact": true, "examples": ["10.0.16.0"] })
            );
            assert_eq!(line["ports"], serde_json::json!({ "count": 1, "exact": true, "examples": [22] }));
        }
        // Evidence is 0.3 a flow, and four times 1.0 is needed.
        assert_eq!(lines[0]["flows"], 14);
        assert!(!lines[0]["reasons"].as_array().unwrap().is_empty());
    }
}
