//! What detectors are worth on flows that they did not learn from.
//!
//! In: rows of a table, and what each detector says about them ([`Opinion`]); the detectors stand side by side on every line,
//! so that none is praised for what the simplest of them does as well. Out: [`Evaluation`], all figures as data; reports are
//! made from it ([`report_text`](crate::report_text), [`report_html`](crate::report_html), or JSON).
//!
//! Hostile flows are weighed against the benign flows of the same rows: all of them for a class or a behaviour, those of the
//! same network for a network. Intervals come from a [`Bootstrap`] that draws whole groups (run, host, behaviour).

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::bootstrap::{Bootstrap, Interval};
use crate::episodes::{Episode, PAUSE_US, WORTH_AN_INCIDENT};
use crate::incidents::IncidentFigures;
use crate::metrics::{
    Confusion, CurvePoint, FALSE_ALARM_RATES, LEFT_OUT, Ranked, ReliabilityBin, Skill,
    expected_calibration_error, probability, reliability,
};
use crate::opinion::{Opinion, Points};
use crate::table::Names;
use crate::{CLASSES, Table};

/// How the figures are made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds of the bootstrap; 0 for no intervals.
    pub rounds: usize,
    /// The same seed gives the same intervals.
    pub seed: u64,
    /// Threads; figures do not depend on it.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 200, seed: 20_261_123, threads: 1 }
    }
}

/// All figures. Vectors named by detectors are in the order of `detectors`.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// What was judged, for people: model, table, rows, command.
    pub about: BTreeMap<String, String>,
    /// What must be kept in mind when these figures are read.
    pub warnings: Vec<String>,
    /// The detectors.
    pub detectors: Vec<String>,
    /// Class names; the first is benign.
    pub classes: Vec<String>,
    /// The shares of benign flows at which recall is read off.
    pub false_alarm_rates: [f64; FALSE_ALARM_RATES.len()],
    /// Flows judged.
    pub flows: u64,
    /// Benign flows among them.
    pub benign: u64,
    /// Networks, runs and hours that they come from.
    pub extent: Extent,
    /// All hostile flows, by detector.
    pub overall: Vec<Overall>,
    /// Each hostile class that occurs.
    pub by_class: Vec<Line>,
    /// Each network.
    pub by_source: Vec<SourceLine>,
    /// Each hostile behaviour.
    pub by_behaviour: Vec<Line>,
    /// Each benign behaviour, those with the most false alarms first.
    pub benign_behaviours: Vec<BenignLine>,
    /// Attacks as episodes, by detector.
    pub episodes: Vec<EpisodeFigures>,
    /// Incidents that the model as a whole would have raised.
    pub incidents: Option<IncidentFigures>,
    /// What was tried besides: left-out inputs, left-out networks, learning on the spot, sanity.
    pub trials: Vec<Trial>,
}

/// Where flows come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Extent {
    /// Networks.
    pub sources: usize,
    /// Runs.
    pub runs: usize,
    /// Hours that the runs lasted; pauses count for ten minutes at most.
    pub hours: f64,
}

/// A figure and where it would lie with other incidents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figure {
    /// `None` without flows of both kinds.
    pub value: Option<f64>,
    /// `None` without a bootstrap, or if the flows are of one group.
    pub interval: Option<Interval>,
}

/// How well hostile flows are told from benign ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Area under the ROC curve.
    pub auc: Figure,
    /// Average precision.
    pub average_precision: Figure,
    /// Recall at each false-alarm rate.
    pub recall: [Figure; FALSE_ALARM_RATES.len()],
}

impl Figures {
    const COUNT: usize = 2 + FALSE_ALARM_RATES.len();

    fn values(skill: &Skill) -> [Option<f64>; Self::COUNT] {
        let [hundredth, thousandth, ten_thousandth] = skill.recall;
        [skill.auc, skill.average_precision, hundredth, thousandth, ten_thousandth]
    }

    /// The same without intervals: of a single group of flows nothing can be drawn.
    fn without_intervals(mut self) -> Self {
        let Self { auc, average_precision, recall } = &mut self;
        for figure in [auc, average_precision].into_iter().chain(recall) {
            figure.interval = None;
        }
        self
    }

    fn new(skill: &Skill, intervals: &[Option<Interval>]) -> Self {
        let values = Self::values(skill);
        let figure = |at: usize| Figure {
            value: values[at],
            interval: values[at].and_then(|_| intervals.get(at).copied().flatten()),
        };
        Self { auc: figure(0), average_precision: figure(1), recall: [figure(2), figure(3), figure(4)] }
    }
}

/// Figures of one detector over all flows.
#[derive(Clone, Debug, Serialize)]
pub struct Overall {
    /// Hostile against benign.
    pub figures: Figures,
    /// The mean AUC over hostile classes: unlike `figures`, not ruled by the class with the most flows.
    pub mean_class_auc: Option<f64>,
    /// The mean recall over hostile classes, at each false-alarm rate.
    pub mean_class_recall: [Option<f64>; FALSE_ALARM_RATES.len()],
    /// The mean recall over hostile behaviours, at each false-alarm rate.
    pub mean_behaviour_recall: [Option<f64>; FALSE_ALARM_RATES.len()],
    /// The lowest score called hostile at each false-alarm rate, on these very flows.
    pub thresholds: [Option<f32>; FALSE_ALARM_RATES.len()],
    /// The likeliest class of every flow.
    pub by_likeliest: Called,
    /// The detector's own points, chosen on other flows.
    pub by_point: Vec<AtPoint>,
    /// Probabilities against what came true, and the expected calibration error.
    pub reliability: Vec<ReliabilityBin>,
    /// Mean distance between probability and what came true.
    pub calibration_error: f64,
    /// The ROC curve, thinned for drawing.
    pub curve: Vec<CurvePoint>,
    /// Scores of benign and of hostile flows.
    pub histogram: Histogram,
}

/// Flows by what they are called.
#[derive(Clone, Debug, Serialize)]
pub struct Called {
    /// The mean of F1 over classes.
    pub macro_f1: f64,
    /// The mean of recall over classes.
    pub macro_recall: f64,
    /// Precision of "hostile", of whatever kind.
    pub hostile_precision: f64,
    /// Recall of "hostile", of whatever kind.
    pub hostile_recall: f64,
    /// What flows are against what they are called.
    pub confusion: Confusion,
}

impl Called {
    fn of(confusion: Confusion) -> Self {
        let hostile = confusion.binary().class(1);
        Self {
            macro_f1: confusion.macro_f1(),
            macro_recall: confusion.macro_recall(),
            hostile_precision: hostile.precision,
            hostile_recall: hostile.recall,
            confusion,
        }
    }
}

/// A detector at one of its own points.
#[derive(Clone, Debug, Serialize)]
pub struct AtPoint {
    /// `investigate`, `detect` or `block`.
    pub point: &'static str,
    /// Its score.
    pub score: f32,
    /// Share of benign flows called hostile.
    pub false_alarm_rate: Option<f64>,
    /// Benign flows called hostile per day, at the rate at which benign flows came.
    pub false_alarms_per_day: f64,
    /// Flows by what they are called.
    pub called: Called,
}

/// Hostile flows of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Class or behaviour.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Flows.
    pub flows: u64,
    /// Groups of run, host and behaviour: what the intervals rest on.
    pub groups: usize,
    /// By detector.
    pub figures: Vec<Figures>,
}

impl Line {
    fn new(
        name: String,
        class: usize,
        flows: u64,
        groups: usize,
        figures: impl Iterator<Item = Figures>,
    ) -> Self {
        let figures = figures.map(|figures| if groups < 2 { figures.without_intervals() } else { figures });
        Self { name, class: CLASSES[class].to_owned(), flows, groups, figures: figures.collect() }
    }
}

/// A network.
#[derive(Clone, Debug, Serialize)]
pub struct SourceLine {
    /// Its name.
    pub name: String,
    /// Benign flows.
    pub benign: u64,
    /// Hostile flows.
    pub hostile: u64,
    /// Hours that the runs lasted; pauses count for ten minutes at most.
    pub hours: f64,
    /// Benign flows a second while the runs lasted.
    pub benign_flows_per_s: f64,
    /// Hostile against benign flows of this network, by detector.
    pub figures: Vec<Figures>,
    /// The detectors' own points; empty for a detector without.
    pub points: Vec<Vec<SourcePoint>>,
}

/// A detector at one of its own points, in one network.
#[derive(Clone, Debug, Serialize)]
pub struct SourcePoint {
    /// `investigate`, `detect` or `block`.
    pub point: &'static str,
    /// Share of benign flows called hostile.
    pub false_alarm_rate: Option<f64>,
    /// Benign flows called hostile per day.
    pub false_alarms_per_day: f64,
    /// Share of hostile flows called hostile.
    pub recall: Option<f64>,
}

/// Benign flows of one behaviour.
#[derive(Clone, Debug, Serialize)]
pub struct BenignLine {
    /// The behaviour.
    pub name: String,
    /// Flows.
    pub flows: u64,
    /// By detector: how many are called hostile where one benign flow in a hundred, a thousand, ten thousand is.
    pub false_alarms: Vec<[u64; FALSE_ALARM_RATES.len()]>,
}

/// How soon a detector notices episodes, at its point `detect`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EpisodeFigures {
    /// All episodes.
    pub all: Noticing,
    /// Those of at least [`WORTH_AN_INCIDENT`] flows.
    pub large: Noticing,
    /// By class, those classes that occur.
    pub by_class: Vec<(String, Noticing)>,
}

/// How many of some episodes were noticed, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Noticing {
    /// Episodes.
    pub episodes: usize,
    /// Episodes with a flow at or above `detect`.
    pub noticed: usize,
    /// Half of the noticed ones were noticed within so many seconds.
    pub median_s: Option<f64>,
    /// Nine tenths were.
    pub ninth_decile_s: Option<f64>,
    /// Half of the noticed ones were noticed after so many flows.
    pub median_flows_before: Option<f64>,
}

/// Something tried besides: a line of a table of its own.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trial {
    /// The table: `sanity`, `ablation`, `leave one network out`, `learning`.
    pub kind: String,
    /// What was tried.
    pub name: String,
    /// Figures by name.
    pub figures: Vec<(String, Option<f64>)>,
    /// What it says, if it must be said.
    pub remark: Option<String>,
}

impl Trial {
    /// Whether another line belongs into the same table.
    pub(crate) fn same_table(&self, other: &Self) -> bool {
        let names =
            |trial: &Self| -> Vec<String> { trial.figures.iter().map(|(name, _)| name.clone()).collect() };
        self.kind == other.kind && names(self) == names(other)
    }
}

/// Scores in bins of equal width.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// The lowest edge.
    pub low: f32,
    /// The highest edge.
    pub high: f32,
    /// Flows in each bin: benign.
    pub benign: Vec<u64>,
    /// Flows in each bin: hostile.
    pub hostile: Vec<u64>,
}

/// Measures opinions on `rows` of a table. Every opinion speaks of these rows, in their order.
#[must_use]
pub fn evaluate(table: &Table, rows: &[u32], opinions: &[Opinion], options: Options) -> Evaluation {
    let subject = Subject::new(table, rows);
    let classes = CLASSES.map(str::to_owned).to_vec();
    let class_group: Vec<u16> = subject.rows().map(|row| u16::from(table.class[row])).collect();
    let bootstrap = subject.bootstrap(&(0..rows.len()).collect::<Vec<_>>(), options);

    let (behaviours, behaviour_group) = subject.hostile_behaviours();
    let of = |opinion: &Opinion| {
        let ranked = Ranked::new(&opinion.scores);
        let skills = ranked.skill(&class_group, CLASSES.len() - 1, None);
        let (all, by_class) = figures(&ranked, &class_group, CLASSES.len() - 1, &bootstrap, options);
        let (_, by_behaviour) = figures(&ranked, &behaviour_group, behaviours.len(), &bootstrap, options);
        let mut overall =
            subject.overall(opinion, &ranked, &class_group, all, &skills.groups, skills.thresholds);
        overall.mean_behaviour_recall =
            std::array::from_fn(|at| mean(by_behaviour.iter().filter_map(|it| it.recall[at].value)));
        OfDetector {
            overall,
            by_class,
            by_behaviour,
            by_source: subject.of_sources(opinion, options),
            benign_alarms: subject.benign_alarms(opinion, skills.thresholds),
            episodes: subject.episodes(opinion),
        }
    };
    // Each thread takes every n-th opinion; detectors cost about the same.
    let threads = options.threads.clamp(1, opinions.len().max(1));
    let mut detectors: Vec<OfDetector> = std::thread::scope(|scope| {
        let mut running = Vec::with_capacity(threads);
        for thread in 0..threads {
            let of = &of;
            let opinions = opinions.iter().skip(thread).step_by(threads);
            running.push(scope.spawn(move || opinions.map(of).collect::<Vec<_>>()));
        }
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<OfDetector>>| match thread.join() {
            Ok(done) => done.into_iter(),
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let mut done: Vec<_> = running.into_iter().map(join).collect();
        (0..opinions.len()).filter_map(|at| done[at % threads].next()).collect()
    });

    let by_class = (1..CLASSES.len())
        .filter_map(|class| {
            let flows = class_group.iter().filter(|group| usize::from(**group) == class).count() as u64;
            let groups = bootstrap.clusters(class as u16);
            let name = CLASSES[class].to_owned();
            (flows > 0).then(|| {
                Line::new(name, class, flows, groups, detectors.iter().map(|it| it.by_class[class - 1]))
            })
        })
        .collect();
    let by_behaviour = behaviours
        .iter()
        .enumerate()
        .map(|(at, behaviour)| {
            let name = table.behaviour.all()[behaviour.number as usize].clone();
            let figures = detectors.iter().map(|it| it.by_behaviour[at]);
            Line::new(name, usize::from(behaviour.class), behaviour.flows, behaviour.groups, figures)
        })
        .collect();

    let mut evaluation = Evaluation {
        about: BTreeMap::new(),
        warnings: Vec::new(),
        detectors: opinions.iter().map(|opinion| opinion.name.clone()).collect(),
        classes,
        false_alarm_rates: FALSE_ALARM_RATES,
        flows: rows.len() as u64,
        benign: class_group.iter().filter(|group| **group == 0).count() as u64,
        extent: subject.extent(),
        by_class,
        by_source: subject.by_source(&detectors),
        by_behaviour,
        benign_behaviours: subject.benign_behaviours(&detectors),
        episodes: detectors.iter_mut().map(|it| std::mem::take(&mut it.episodes)).collect(),
        overall: detectors.into_iter().map(|it| it.overall).collect(),
        incidents: None,
        trials: Vec::new(),
    };
    evaluation.warn();
    evaluation
}

impl Evaluation {
    /// Says what the numbers of flows do not allow to conclude.
    fn warn(&mut self) {
        for rate in FALSE_ALARM_RATES {
            if (self.benign as f64) * rate < 1.0 {
                self.warnings.push(format!(
                    "{} benign flows are too few for a false-alarm rate of {rate:e}: recall there is recall without any \
                     false alarm",
                    self.benign
                ));
            }
        }
        let thin: Vec<&str> =
            self.by_class.iter().filter(|line| line.groups < 5).map(|line| line.name.as_str()).collect();
        if !thin.is_empty() {
            self.warnings.push(format!(
                "fewer than five groups of run, host and behaviour: {}; their figures say little",
                thin.join(", ")
            ));
        }
        if self.by_source.iter().filter(|source| source.hostile > 0).count() == 1 {
            self.warnings.push(
                "hostile flows of one network only: nothing is said about how far a model travels".to_owned(),
            );
        }
    }
}

/// Figures of all hostile flows and of each group, with intervals.
fn figures(
    ranked: &Ranked,
    group: &[u16],
    groups: usize,
    bootstrap: &Bootstrap,
    options: Options,
) -> (Figures, Vec<Figures>) {
    let skills = ranked.skill(group, groups, None);
    let intervals = if options.rounds == 0 {
        Vec::new()
    } else {
        bootstrap.intervals(|weights| {
            let drawn = ranked.skill(group, groups, Some(weights));
            std::iter::once(&drawn.all).chain(&drawn.groups).flat_map(Figures::values).collect()
        })
    };
    let mut each = std::iter::once(&skills.all).chain(&skills.groups).enumerate().map(|(at, skill)| {
        Figures::new(skill, intervals.get(at * Figures::COUNT..(at + 1) * Figures::COUNT).unwrap_or_default())
    });
    let all = each.next().expect("all flows come first");
    (all, each.collect())
}

/// Everything about one detector.
struct OfDetector {
    overall: Overall,
    by_class: Vec<Figures>,
    by_behaviour: Vec<Figures>,
    by_source: Vec<(Figures, Vec<SourcePoint>)>,
    /// By behaviour of the table.
    benign_alarms: Vec<[u64; FALSE_ALARM_RATES.len()]>,
    episodes: EpisodeFigures,
}

/// Rows of a table that are judged.
struct Subject<'a> {
    table: &'a Table,
    rows: &'a [u32],
}

/// A hostile behaviour that occurs among the rows.
struct Behaviour {
    /// Its number in the table.
    number: u32,
    class: u8,
    flows: u64,
    groups: usize,
}

impl<'a> Subject<'a> {
    const fn new(table: &'a Table, rows: &'a [u32]) -> Self {
        Self { table, rows }
    }

    fn rows(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().map(|row| *row as usize)
    }

    fn row(&self, place: usize) -> usize {
        self.rows[place] as usize
    }

    /// A bootstrap over the flows at `places`: groups of run, host and behaviour within their class.
    fn bootstrap(&self, places: &[usize], options: Options) -> Bootstrap {
        let mut numbers = BTreeMap::new();
        let mut clusters = Vec::with_capacity(places.len());
        let mut strata = Vec::with_capacity(places.len());
        for place in places {
            let row = self.row(*place);
            let key = self.group_of(row);
            let next = numbers.len() as u32;
            clusters.push(*numbers.entry(key).or_insert(next));
            strata.push(u16::from(self.table.class[row]));
        }
        Bootstrap::new(clusters, &strata, options.rounds, options.seed)
    }

    /// Class, run, host, behaviour.
    fn group_of(&self, row: usize) -> (u8, u32, u32, u32) {
        let table = self.table;
        (table.class[row], table.run.id(row), table.host.id(row), table.behaviour.id(row))
    }

    /// Hostile behaviours by class and name, and for each flow the place of its behaviour plus one; 0 for benign.
    fn hostile_behaviours(&self) -> (Vec<Behaviour>, Vec<u16>) {
        let table = self.table;
        let mut found: BTreeMap<(u8, &str), (Behaviour, BTreeSet<_>)> = BTreeMap::new();
        for row in self.rows().filter(|row| table.hostile[*row]) {
            let (class, number) = (table.class[row], table.behaviour.id(row));
            let entry = found
                .entry((class, table.behaviour.name(row)))
                .or_insert_with(|| (Behaviour { number, class, flows: 0, groups: 0 }, BTreeSet::new()));
            entry.0.flows += 1;
            entry.1.insert(self.group_of(row));
        }
        // Groups are 16 bits wide; tables have some hundred behaviours.
        let places: BTreeMap<(u8, u32), u16> = found
            .values()
            .zip(1..LEFT_OUT)
            .map(|((behaviour, _), place)| ((behaviour.class, behaviour.number), place))
            .collect();
        let group = self
            .rows()
            .map(|row| {
                let key = (table.class[row], table.behaviour.id(row));
                if table.hostile[row] { places.get(&key).copied().unwrap_or(LEFT_OUT) } else { 0 }
            })
            .collect();
        let behaviours = found
            .into_values()
            .take(usize::from(LEFT_OUT) - 1)
            .map(|(behaviour, groups)| Behaviour { groups: groups.len(), ..behaviour })
            .collect();
        (behaviours, group)
    }

    fn overall(
        &self,
        opinion: &Opinion,
        ranked: &Ranked,
        group: &[u16],
        figures: Figures,
        classes: &[Skill],
        thresholds: [Option<f32>; FALSE_ALARM_RATES.len()],
    ) -> Overall {
        let truth = || self.rows().map(|row| self.table.class[row]);
        let rate = self.benign_flows_per_s();
        let points = opinion.points.map_or_else(Vec::new, |points| {
            Points::NAMES.into_iter().zip(points.scores()).collect::<Vec<_>>()
        });
        let by_point = points
            .into_iter()
            .map(|(point, score)| {
                let called = truth().enumerate().map(|(at, class)| (class, opinion.called(at, score)));
                let called = Called::of(Confusion::of(CLASSES.len(), called));
                let false_alarm_rate = false_alarm_rate(&called.confusion);
                let false_alarms_per_day = false_alarm_rate.unwrap_or(0.0) * rate * SECONDS_PER_DAY;
                AtPoint { point, score, false_alarm_rate, false_alarms_per_day, called }
            })
            .collect();
        let bins = reliability(
            opinion.scores.iter().zip(truth()).map(|(score, class)| (probability(*score), class > 0)),
        );
        Overall {
            figures,
            mean_class_auc: mean(classes.iter().filter_map(|skill| skill.auc)),
            mean_class_recall: std::array::from_fn(|at| {
                mean(classes.iter().filter_map(|skill| skill.recall[at]))
            }),
            mean_behaviour_recall: [None; FALSE_ALARM_RATES.len()],
            thresholds,
            by_likeliest: Called::of(Confusion::of(
                CLASSES.len(),
                truth().zip(opinion.likeliest.iter().copied()),
            )),
            by_point,
            calibration_error: expected_calibration_error(&bins),
            reliability: bins,
            curve: thinned(&ranked.curve(group, None)),
            histogram: Histogram::of(&opinion.scores, |at| self.table.hostile[self.row(at)]),
        }
    }

    /// Runs, sources, and how long they lasted.
    fn extent(&self) -> Extent {
        let count = |of: &Names| self.rows().map(|row| of.id(row)).collect::<BTreeSet<u32>>().len();
        Extent {
            sources: count(&self.table.source),
            runs: count(&self.table.run),
            hours: hours(self.table, self.rows()),
        }
    }

    /// Benign flows a second, while the runs lasted.
    fn benign_flows_per_s(&self) -> f64 {
        let benign = self.rows().filter(|row| !self.table.hostile[*row]).count();
        per_second(benign as u64, hours(self.table, self.rows()))
    }

    /// Places of the flows of each network, by its name.
    fn sources(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for place in 0..self.rows.len() {
            places.entry(self.table.source.name(self.row(place))).or_default().push(place);
        }
        places
    }

    /// Benign flows at places, and all of them.
    fn benign_of(&self, places: &[usize]) -> (u64, u64) {
        let benign = places.iter().filter(|place| !self.table.hostile[self.row(**place)]).count() as u64;
        (benign, places.len() as u64)
    }

    /// Benign flows a second in the network at `places`, and the hours that its runs lasted.
    fn pace(&self, places: &[usize]) -> (f64, f64) {
        let hours = hours(self.table, places.iter().map(|place| self.row(*place)));
        (per_second(self.benign_of(places).0, hours), hours)
    }

    /// A detector in each network, in the order of [`Subject::sources`].
    fn of_sources(&self, opinion: &Opinion, options: Options) -> Vec<(Figures, Vec<SourcePoint>)> {
        let of = |places: Vec<usize>| {
            let hostile: Vec<u16> =
                places.iter().map(|place| u16::from(self.table.hostile[self.row(*place)])).collect();
            let (benign, all) = self.benign_of(&places);
            let (benign_flows_per_s, _) = self.pace(&places);
            let bootstrap = self.bootstrap(&places, options);
            let scores: Vec<f32> = places.iter().map(|place| opinion.scores[*place]).collect();
            let figures = figures(&Ranked::new(&scores), &hostile, 1, &bootstrap, options).0;
            let at = |(point, score): (&'static str, f32)| {
                let mut called = [0u64; 2];
                for (other, hostile) in scores.iter().zip(&hostile) {
                    called[usize::from(*hostile)] += u64::from(*other >= score);
                }
                let rate = share(called[0], benign);
                SourcePoint {
                    point,
                    false_alarm_rate: rate,
                    false_alarms_per_day: rate.unwrap_or(0.0) * benign_flows_per_s * SECONDS_PER_DAY,
                    recall: share(called[1], all - benign),
                }
            };
            let points =
                opinion.points.iter().flat_map(|points| Points::NAMES.into_iter().zip(points.scores()));
            (figures, points.map(at).collect())
        };
        self.sources().into_values().map(of).collect()
    }

    fn by_source(&self, detectors: &[OfDetector]) -> Vec<SourceLine> {
        let line = |(at, (name, places)): (usize, (&str, Vec<usize>))| {
            let (benign, all) = self.benign_of(&places);
            let (benign_flows_per_s, hours) = self.pace(&places);
            SourceLine {
                name: name.to_owned(),
                benign,
                hostile: all - benign,
                hours,
                benign_flows_per_s,
                figures: detectors.iter().map(|it| it.by_source[at].0).collect(),
                points: detectors.iter().map(|it| it.by_source[at].1.clone()).collect(),
            }
        };
        self.sources().into_iter().enumerate().map(line).collect()
    }

    /// Benign flows called hostile at each threshold, by behaviour of the table.
    fn benign_alarms(
        &self,
        opinion: &Opinion,
        thresholds: [Option<f32>; FALSE_ALARM_RATES.len()],
    ) -> Vec<[u64; FALSE_ALARM_RATES.len()]> {
        let mut alarms = vec![[0; FALSE_ALARM_RATES.len()]; self.table.behaviour.all().len()];
        for (row, score) in self.rows().zip(&opinion.scores).filter(|(row, _)| !self.table.hostile[*row]) {
            let alarms = &mut alarms[self.table.behaviour.id(row) as usize];
            for (alarms, threshold) in alarms.iter_mut().zip(thresholds) {
                *alarms += u64::from(threshold.is_some_and(|threshold| *score >= threshold));
            }
        }
        alarms
    }

    fn benign_behaviours(&self, detectors: &[OfDetector]) -> Vec<BenignLine> {
        let names: &Names = &self.table.behaviour;
        let mut flows = vec![0u64; names.all().len()];
        for row in self.rows().filter(|row| !self.table.hostile[*row]) {
            flows[names.id(row) as usize] += 1;
        }
        let mut lines: Vec<BenignLine> = flows
            .into_iter()
            .enumerate()
            .filter(|(_, flows)| *flows > 0)
            .map(|(number, flows)| BenignLine {
                name: names.all()[number].clone(),
                flows,
                false_alarms: detectors.iter().map(|it| it.benign_alarms[number]).collect(),
            })
            .collect();
        let first = |line: &BenignLine| line.false_alarms.first().copied().unwrap_or_default();
        lines.sort_by(|a, b| {
            let ([_, a_thousandth, _], [_, b_thousandth, _]) = (first(a), first(b));
            (b_thousandth, first(b)[0]).cmp(&(a_thousandth, first(a)[0])).then_with(|| a.name.cmp(&b.name))
        });
        lines
    }

    fn episodes(&self, opinion: &Opinion) -> EpisodeFigures {
        let Some(points) = opinion.points else { return EpisodeFigures::default() };
        let episodes = Episode::of(self.table, self.rows);
        let noticing = |keep: &dyn Fn(&Episode) -> bool| {
            let mut noticing = Noticing::default();
            let (mut after_s, mut flows_before) = (Vec::new(), Vec::new());
            for episode in episodes.iter().filter(|episode| keep(episode)) {
                noticing.episodes += 1;
                let noticed = episode.noticed(self.table, self.rows, &opinion.scores, points.detect);
                if let Some(noticed) = noticed {
                    noticing.noticed += 1;
                    after_s.push(noticed.after_s);
                    flows_before.push(noticed.flows_before as f64);
                }
            }
            noticing.median_s = quantile(&mut after_s, 0.5);
            noticing.ninth_decile_s = quantile(&mut after_s, 0.9);
            noticing.median_flows_before = quantile(&mut flows_before, 0.5);
            noticing
        };
        let by_class = (1..CLASSES.len() as u8).map(|class| {
            (CLASSES[usize::from(class)].to_owned(), noticing(&|episode| episode.class == class))
        });
        EpisodeFigures {
            all: noticing(&|_| true),
            large: noticing(&|episode| episode.flows.len() >= WORTH_AN_INCIDENT),
            by_class: by_class.filter(|(_, noticing)| noticing.episodes > 0).collect(),
        }
    }
}

impl Histogram {
    /// Of scores; those beyond the 0.1 % at either end count into the outer bins.
    #[must_use]
    pub fn of(scores: &[f32], hostile: impl Fn(usize) -> bool) -> Self {
        let mut sorted: Vec<f32> = scores.iter().copied().filter(|score| score.is_finite()).collect();
        if sorted.is_empty() {
            return Self::default();
        }
        sorted.sort_unstable_by(f32::total_cmp);
        let cut = sorted.len() / 1000;
        let (low, high) = (sorted[cut], sorted[sorted.len() - 1 - cut]);
        let high = if high > low { high } else { low + 1.0 };
        let mut histogram =
            Self { low, high, benign: vec![0; HISTOGRAM_BINS], hostile: vec![0; HISTOGRAM_BINS] };
        for (at, score) in scores.iter().enumerate() {
            let place = (score - low) / (high - low) * HISTOGRAM_BINS as f32;
            // Infinite scores are cut like all others.
            let bin = place.clamp(0.0, (HISTOGRAM_BINS - 1) as f32) as usize;
            let bins = if hostile(at) { &mut histogram.hostile } else { &mut histogram.benign };
            bins[bin] += 1;
        }
        histogram
    }
}

/// A share; `None` of nothing.
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn false_alarm_rate(confusion: &Confusion) -> Option<f64> {
    let benign = confusion.flows(0);
    share(benign - confusion.count(0, 0), benign)
}

pub(crate) fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0u32, 0.0), |(count, sum), value| (count + 1, sum + value));
    (count > 0).then(|| sum / f64::from(count))
}

/// The value below which `share` of the others lie, sorted in place; `None` of none.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(values[(last as f64 * share).ceil() as usize])
}

/// How long the runs of some rows lasted. A pause of more than ten minutes counts as ten: public captures are cut
/// together from days far apart.
pub(crate) fn hours(table: &Table, rows: impl Iterator<Item = usize>) -> f64 {
    let mut times: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
    for row in rows {
        times.entry(table.run.id(row)).or_default().extend([table.start_us[row], table.decided_us[row]]);
    }
    let lasted_us = |times: &mut Vec<i64>| {
        times.sort_unstable();
        times.windows(2).map(|pair| (pair[1] - pair[0]).min(PAUSE_US)).sum::<i64>()
    };
    times.values_mut().map(lasted_us).sum::<i64>() as f64 / 3.6e9
}

fn per_second(flows: u64, hours: f64) -> f64 {
    // A run of one flow lasts no time; a second is the least that a rate is taken over.
    flows as f64 / (hours * 3600.0).max(1.0)
}

/// A curve with as many points as can be seen: steps of a 400th of the plot, the horizontal axis being logarithmic.
fn thinned(curve: &[CurvePoint]) -> Vec<CurvePoint> {
    let at = |point: &CurvePoint| (point.false_alarm_rate.max(1e-7).log10() / 7.0, point.recall);
    let mut kept: Vec<CurvePoint> = Vec::new();
    for (place, point) in curve.iter().enumerate() {
        let far = kept.last().is_none_or(|last| {
            let ((x, y), (other_x, other_y)) = (at(point), at(last));
            (x - other_x).abs().max((y - other_y).abs()) >= 1.0 / 400.0
        });
        if far || place + 1 == curve.len() {
            // The corner before a jump belongs to the curve.
            if let Some(before) = place.checked_sub(1).map(|before| curve[before])
                && kept.last().is_some_and(|last| last.threshold > before.threshold)
            {
                kept.push(before);
            }
            kept.push(*point);
        }
    }
    kept
}

const SECONDS_PER_DAY: f64 = 86_400.0;
const HISTOGRAM_BINS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_opinions::{Flow, opinion, sample, table};

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
    }

    /// Two networks of 100 benign flows over 100 s each, and attacks in one of them.
    fn small() -> (Table, Vec<u32>, Vec<Opinion>) {
        let mut flows = Vec::new();
        let mut scores = Vec::new();
        for (site, run) in [("a", "a-1"), ("b", "b-1")] {
            for at in 0..100 {
                let behaviour = if at < 50 { "web" } else { "polling" };
                flows.push(Flow::benign(behaviour, site, run, "10.0.0.1", at));
                scores.push(at as f32 / 100.0 - 2.0);
            }
        }
        for at in 0..10 {
            flows.push(Flow::hostile("scan", "sweep", "b", "b-1", "10.0.0.9", at));
            scores.push(if at < 6 { 1.0 } else { -1.5 });
        }
        let rows = (0..flows.len() as u32).collect();
        let mut opinion = opinion("trees", scores, 1);
        opinion.points = Some(Points { investigate: -1.05, detect: 0.5, block: 2.0 });
        (table(&flows), rows, vec![opinion])
    }

    #[test]
    fn figures_are_those_counted_by_hand() {
        let (table, rows, opinions) = small();
        let evaluation = evaluate(&table, &rows, &opinions, Options { rounds: 0, ..Options::default() });
        assert_eq!((evaluation.flows, evaluation.benign), (210, 200));
        assert_eq!((evaluation.extent.sources, evaluation.extent.runs), (2, 2));

        // Six flows are above all benign ones, four tie with the 51st of each hundred.
        let auc = (6.0 + 4.0 * 0.505) / 10.0;
        let overall = &evaluation.overall[0];
        near(overall.figures.auc.value, auc);
        near(overall.figures.recall[0].value, 0.6);
        assert_eq!(overall.thresholds[0], Some(-1.01));
        assert_eq!(overall.figures.auc.interval, None);
        let [class] = &evaluation.by_class[..] else { panic!("one class") };
        assert_eq!((class.name.as_str(), class.flows, class.groups), ("scan", 10, 1));
        near(class.figures[0].auc.value, auc);
        let [behaviour] = &evaluation.by_behaviour[..] else { panic!("one behaviour") };
        assert_eq!((behaviour.name.as_str(), behaviour.class.as_str()), ("sweep", "scan"));

        // At -1.05 the five highest of each hundred are false alarms: 5 %, at one flow a second.
        let [investigate, detect, block] = &overall.by_point[..] else { panic!("three points") };
        near(investigate.false_alarm_rate, 0.05);
        assert!((investigate.false_alarms_per_day / (0.05 * 86_400.0) - 1.0).abs() < 0.02);
        near(detect.false_alarm_rate, 0.0);
        assert!((detect.called.hostile_recall - 0.6).abs() < 1e-9);
        assert_eq!(detect.called.confusion.count(1, 1), 6);
        assert_eq!(block.called.confusion.count(1, 0), 10);
        // Likeliest: called hostile from 0 on.
        assert_eq!(overall.by_likeliest.confusion.count(1, 1), 6);

        let [a, b] = &evaluation.by_source[..] else { panic!("two networks") };
        assert_eq!((a.benign, a.hostile, b.benign, b.hostile), (100, 0, 100, 10));
        assert_eq!(a.figures[0].auc.value, None);
        near(b.figures[0].auc.value, auc);
        near(a.points[0][0].false_alarm_rate, 0.05);
        assert_eq!(a.points[0][0].recall, None);

        // The two false alarms that a hundredth allows are the highest score of either network, both polling.
        let lines: Vec<(&str, u64, [u64; 3])> = evaluation
            .benign_behaviours
            .iter()
            .map(|line| (line.name.as_str(), line.flows, line.false_alarms[0]))
            .collect();
        assert_eq!(lines, [("polling", 100, [2, 0, 0]), ("web", 100, [0, 0, 0])]);

        // The first flow of the sweep ends a second after it began.
        let episodes = &evaluation.episodes[0];
        assert_eq!((episodes.all.episodes, episodes.all.noticed, episodes.large.episodes), (1, 1, 0));
        assert_eq!((episodes.all.median_s, episodes.all.median_flows_before), (Some(1.0), Some(0.0)));

        assert!(
            evaluation.warnings.iter().any(|warning| warning.contains("1e-3")),
            "{:?}",
            evaluation.warnings
        );
        assert!(evaluation.warnings.iter().any(|warning| warning.contains("one network only")));
    }

    #[test]
    fn intervals_hold_the_figure_and_follow_the_seed() {
        let (table, rows, opinions) = sample();
        let options = Options { rounds: 50, seed: 1, threads: 1 };
        let evaluation = evaluate(&table, &rows, &opinions, options);
        for line in &evaluation.by_class {
            for figures in &line.figures {
                let (auc, interval) = (figures.auc.value.unwrap(), figures.auc.interval.unwrap());
                assert!(interval.low <= auc && auc <= interval.high, "{}: {figures:?}", line.name);
                assert!(interval.high - interval.low < 0.6);
            }
        }
        // The better detector is better on every line, and stands where it stands.
        assert_eq!(evaluation.detectors, ["ensemble", "bilstm-attn", "trees", "logistic", "one-input"]);
        let auc = |detector: usize| evaluation.overall[detector].figures.auc.value;
        assert!(auc(0) > auc(3) && auc(3) > auc(4));
        let again = evaluate(&table, &rows, &opinions, options);
        let text = |evaluation: &Evaluation| serde_json::to_string(evaluation).unwrap();
        assert_eq!(text(&evaluation), text(&again));
        assert_ne!(
            text(&evaluation),
            text(&evaluate(&table, &rows, &opinions, Options { seed: 2, ..options }))
        );
        for threads in [2, 8] {
            assert_eq!(
                text(&evaluation),
                text(&evaluate(&table, &rows, &opinions, Options { threads, ..options }))
            );
        }
    }

    #[test]
    fn long_pauses_hardly_count() {
        let flow = |at| Flow::benign("web", "a", "a-1", "10.0.0.1", at);
        let table = table(&[flow(0), flow(99), flow(400_000_000), flow(400_000_099)]);
        // Twice 100 s, and ten minutes for the years between.
        let hours = hours(&table, 0..4);
        assert!((hours * 3600.0 - 800.0).abs() < 1e-6, "{hours}");
    }

    #[test]
    fn histograms_hold_every_flow() {
        let scores = [f32::NEG_INFINITY, -3.0, 0.0, 2.0, f32::INFINITY];
        let histogram = Histogram::of(&scores, |at| at % 2 == 1);
        assert_eq!((histogram.low, histogram.high), (-3.0, 2.0));
        assert_eq!((histogram.benign.iter().sum::<u64>(), histogram.hostile.iter().sum::<u64>()), (3, 2));
        assert_eq!((histogram.benign[0], histogram.hostile[0], histogram.hostile[59]), (1, 1, 1));
        assert_eq!(Histogram::of(&[1.0; 3], |_| false).benign.iter().sum::<u64>(), 3);
        assert_eq!(Histogram::of(&[], |_| false), Histogram::default());
    }

    #[test]
    fn thinning_keeps_ends_and_corners() {
        let point = |rate: f64, recall: f64| CurvePoint {
            threshold: -(rate + recall) as f32,
            false_alarm_rate: rate,
            recall,
            precision: 0.5,
        };
        let mut curve: Vec<CurvePoint> =
            (0..=10_000).map(|at| point(0.0, f64::from(at) / 20_000.0)).collect();
        curve.extend(
            (1..=1000).map(|at| point(f64::from(at) / 1000.0, f64::midpoint(1.0, f64::from(at) / 1000.0))),
        );
        let thin = thinned(&curve);
        assert!(thin.len() < 1500, "{}", thin.len());
        assert_eq!((thin[0], *thin.last().unwrap()), (curve[0], *curve.last().unwrap()));
        assert!(thin.contains(&curve[10_000]), "the corner");
        assert!(thin.is_sorted_by(|a, b| a.threshold > b.threshold));
    }
}
