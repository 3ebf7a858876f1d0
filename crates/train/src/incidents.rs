//! Incidents that a model would have raised over the flows of a table.
//!
//! In: the model's word on the flows, its manifest. The flows are told in the order in which their ends were certain, run by
//! run, to the very code that raises alerts on a live network. Out: [`IncidentFigures`]: which attacks raised an alert, how
//! soon, under which name; and how many alerts nobody attacked for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use tapline_score::Manifest;
use tapline_score::incident::{By, Event, Evidence, IncidentId, Incidents};

use crate::episodes::{Episode, WORTH_AN_INCIDENT};
use crate::evaluation::{hours, quantile};
use crate::opinion::Opinion;
use crate::{CLASSES, Table};

/// What became of attacks, and what was raised for nothing.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IncidentFigures {
    /// Alerts.
    pub alerts: usize,
    /// Alerts to which no hostile flow contributed.
    pub false_alerts: usize,
    /// Per hour of the runs.
    pub false_alerts_per_hour: f64,
    /// Hours that the runs lasted; pauses count for ten minutes at most.
    pub hours: f64,
    /// What caused false alerts: benign behaviour of the flow that raised them, and how many.
    pub false_alerts_by_behaviour: Vec<(String, usize)>,
    /// Episodes of at least [`WORTH_AN_INCIDENT`] flows: all, and by class.
    pub large: Vec<EpisodeAlerts>,
    /// Smaller episodes: all, and by class.
    pub small: Vec<EpisodeAlerts>,
    /// Episodes of at least [`WORTH_AN_INCIDENT`] flows that raised no alert.
    pub missed: Vec<MissedEpisode>,
    /// The same with other evidence thresholds.
    pub by_evidence: Vec<EvidencePoint>,
}

/// Episodes of one class that raised alerts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EpisodeAlerts {
    /// `all`, or the class.
    pub class: String,
    /// Episodes.
    pub episodes: usize,
    /// Those that contributed to an alert.
    pub alerted: usize,
    /// Those that contributed to an alert of their own class.
    pub named: usize,
    /// Half of the alerted ones within so many seconds from their first packet.
    pub median_s: Option<f64>,
}

/// An episode that nobody would have heard of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissedEpisode {
    /// Its behaviour.
    pub behaviour: String,
    /// Its class.
    pub class: String,
    /// Its network.
    pub source: String,
    /// Its flows.
    pub flows: usize,
}

/// What an evidence threshold would buy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EvidencePoint {
    /// The threshold.
    pub alert_evidence: f32,
    /// Alerts that nobody attacked for, per hour.
    pub false_alerts_per_hour: f64,
    /// Share of the episodes of at least [`WORTH_AN_INCIDENT`] flows that raise an alert; `None` without any.
    pub alerted: Option<f64>,
}

/// Raises what the model would have raised over `rows`.
#[must_use]
pub fn incidents(table: &Table, rows: &[u32], opinion: &Opinion, manifest: &Manifest) -> IncidentFigures {
    let play = Play::new(table, rows, opinion, manifest);
    let raised = play.raise(manifest);
    let mut figures = play.figures(&raised);
    for factor in EVIDENCE_FACTORS {
        let mut manifest = manifest.clone();
        manifest.thresholds.alert_evidence *= factor;
        let other = play.figures(&play.raise(&manifest));
        let all = &other.large[0];
        figures.by_evidence.push(EvidencePoint {
            alert_evidence: manifest.thresholds.alert_evidence,
            false_alerts_per_hour: other.false_alerts_per_hour,
            alerted: (all.episodes > 0).then(|| all.alerted as f64 / all.episodes as f64),
        });
    }
    figures
}

/// Evidence thresholds that are tried, as multiples of the model's own.
const EVIDENCE_FACTORS: [f32; 8] = [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

/// Incidents at once: more than any run has.
const INCIDENTS_MAX: usize = 1 << 20;

/// Flows that count as evidence, in the order in which they are told.
struct Play<'a> {
    table: &'a Table,
    rows: &'a [u32],
    episodes: Vec<Episode>,
    /// Episode of each flow, as a place in `episodes`.
    episode_of: HashMap<u32, u32>,
    /// By run, in order of time.
    runs: BTreeMap<u32, Vec<Evidence<u32>>>,
    hours: f64,
}

/// An alert.
#[derive(Default)]
struct Alert {
    hostile: bool,
    /// Behaviour of the flow that raised it.
    behaviour: u32,
}

/// All alerts of a play, and when each episode first contributed to one: of any class, of its own.
#[derive(Default)]
struct Raised {
    alerts: Vec<Alert>,
    alerted_us: HashMap<u32, i64>,
    named: BTreeSet<u32>,
}

/// What contributed to an incident that has not ended, or to a target that may become one.
#[derive(Default)]
struct Open {
    hostile: bool,
    episodes: BTreeSet<u32>,
    /// Its place among the alerts.
    alert: Option<usize>,
}

impl<'a> Play<'a> {
    fn new(table: &'a Table, rows: &'a [u32], opinion: &Opinion, manifest: &Manifest) -> Self {
        let episodes = Episode::of(table, rows);
        let numbered = episodes.iter().zip(0u32..);
        let episode_of =
            numbered.flat_map(|(episode, number)| episode.flows.iter().map(move |flow| (*flow, number)));
        let mut runs: BTreeMap<u32, Vec<Evidence<u32>>> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            let row = *row as usize;
            let run = table.run.id(row);
            let (start_us, time_us) = (table.start_us[row], table.decided_us[row]);
            let score = opinion.scores[place];
            let class = opinion.called(place, manifest.thresholds.investigate);
            if class > 0 {
                runs.entry(run).or_default().push(Evidence {
                    source: u128::from(table.host.id(row)),
                    class,
                    score,
                    probability: 0.0,
                    p_value: manifest.calibration.p_value(score),
                    time_us,
                    start_us,
                    end_us: time_us,
                    target: u128::from(table.target.id(row)),
                    port: table.target_port[row],
                    flow: place as u32,
                });
            }
        }
        for flows in runs.values_mut() {
            flows.sort_by_key(|flow| (flow.time_us, flow.flow));
        }
        let hours = hours(table, rows.iter().map(|row| *row as usize));
        Self { table, rows, episode_of: episode_of.collect(), episodes, runs, hours }
    }

    fn row(&self, place: u32) -> usize {
        self.rows[place as usize] as usize
    }

    fn raise(&self, manifest: &Manifest) -> Raised {
        let mut raised = Raised::default();
        for flows in self.runs.values() {
            let mut incidents: Incidents<u32, ()> = Incidents::new(manifest, INCIDENTS_MAX, INCIDENTS_MAX);
            let mut open: HashMap<(By, u8), Open> = HashMap::new();
            for flow in flows {
                let folded = incidents.fold(flow, &mut |_| {});
                let row = self.row(flow.flow);
                let mut contribute = |at: IncidentId| {
                    let incident = incidents.get(at);
                    let track = open.entry((incident.by, incident.class)).or_default();
                    if incident.first == flow.flow {
                        // An incident that ended is followed by another.
                        *track = Open::default();
                    }
                    track.hostile |= self.table.hostile[row];
                    track.episodes.extend(self.episode_of.get(&flow.flow));
                };
                contribute(folded.at);
                if let Some(target) = folded.target.filter(|target| *target != folded.at) {
                    contribute(target);
                }
                let by = incidents.get(folded.at).by;
                let track = open.entry((by, flow.class)).or_default();
                if folded.event == Some(Event::Raised) {
                    track.alert = Some(raised.alerts.len());
                    raised.alerts.push(Alert { hostile: false, behaviour: self.table.behaviour.id(row) });
                }
                if let Some(alert) = track.alert {
                    raised.alerts[alert].hostile |= track.hostile;
                    for episode in std::mem::take(&mut track.episodes) {
                        raised.alerted_us.entry(episode).or_insert(flow.time_us);
                        if self.episodes[episode as usize].class == flow.class {
                            raised.named.insert(episode);
                        }
                    }
                }
            }
        }
        raised
    }

    fn figures(&self, raised: &Raised) -> IncidentFigures {
        let mut by_behaviour: BTreeMap<u32, usize> = BTreeMap::new();
        for alert in raised.alerts.iter().filter(|alert| !alert.hostile) {
            *by_behaviour.entry(alert.behaviour).or_default() += 1;
        }
        let false_alerts = by_behaviour.values().sum();
        let mut by_behaviour: Vec<(String, usize)> = by_behaviour
            .into_iter()
            .map(|(behaviour, alerts)| (self.table.behaviour.all()[behaviour as usize].clone(), alerts))
            .collect();
        by_behaviour.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));

        let is_large = |episode: &Episode| episode.flows.len() >= WORTH_AN_INCIDENT;
        let missed = self
            .episodes
            .iter()
            .zip(0u32..)
            .filter(|(episode, number)| is_large(episode) && !raised.alerted_us.contains_key(number))
            .map(|(episode, _)| MissedEpisode {
                behaviour: self.table.behaviour.all()[episode.behaviour as usize].clone(),
                class: CLASSES[usize::from(episode.class)].to_owned(),
                source: self.table.source.name(self.row(episode.flows[0])).to_owned(),
                flows: episode.flows.len(),
            });
        IncidentFigures {
            alerts: raised.alerts.len(),
            false_alerts,
            false_alerts_per_hour: false_alerts as f64 / self.hours.max(1.0 / 3600.0),
            hours: self.hours,
            false_alerts_by_behaviour: by_behaviour,
            large: self.episode_alerts(raised, is_large),
            small: self.episode_alerts(raised, |episode| !is_large(episode)),
            missed: missed.collect(),
            by_evidence: Vec::new(),
        }
    }

    /// All episodes for which `keep` holds, then each class that occurs.
    fn episode_alerts(&self, raised: &Raised, keep: impl Fn(&Episode) -> bool) -> Vec<EpisodeAlerts> {
        let of = |name: &str, class: Option<u8>| {
            let mut alerts = EpisodeAlerts { class: name.to_owned(), ..EpisodeAlerts::default() };
            let mut after_s = Vec::new();
            for (episode, number) in self.episodes.iter().zip(0u32..) {
                if !keep(episode) || class.is_some_and(|class| class != episode.class) {
                    continue;
                }
                alerts.episodes += 1;
                if let Some(at_us) = raised.alerted_us.get(&number) {
                    alerts.alerted += 1;
                    alerts.named += usize::from(raised.named.contains(&number));
                    after_s.push((at_us - episode.start_us).max(0) as f64 / 1e6);
                }
            }
            alerts.median_s = quantile(&mut after_s, 0.5);
            alerts
        };
        let classes = (1..CLASSES.len()).map(|class| of(CLASSES[class], Some(class as u8)));
        std::iter::once(of("all", None)).chain(classes.filter(|alerts| alerts.episodes > 0)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::BenignEvidence;
    use crate::test_opinions::{Flow, manifest, opinion, table};

    /// A sweep of 30 flows, of which each second scores 3; a beacon of 25 that scores 1; a guess of 2 flows that score 9;
    /// a poller that scores 3 four times, every quarter of an hour.
    fn play() -> (Table, Vec<u32>, Opinion) {
        let mut flows = Vec::new();
        for at in 0..30 {
            flows.push((Flow::hostile("scan", "sweep", "a", "a-1", "10.0.0.9", at), (at % 2) as f32 * 3.0));
        }
        for at in 0..25 {
            flows.push((Flow::hostile("c2", "beacon", "a", "a-1", "10.0.0.8", at), 1.0));
        }
        for at in 0..2 {
            flows.push((Flow::hostile("brute-force", "guess", "a", "a-1", "10.0.0.7", at), 9.0));
        }
        for at in 0..4 {
            flows.push((Flow::benign("polling", "a", "a-1", "10.0.0.1", at * 900), 3.0));
        }
        for at in (0..6900).step_by(300).chain([7199]) {
            flows.push((Flow::benign("web", "a", "a-1", "10.0.0.1", at), -5.0));
        }
        let (flows, scores): (Vec<Flow>, Vec<f32>) = flows.into_iter().unzip();
        let rows = (0..flows.len() as u32).collect();
        (table(&flows), rows, opinion("ensemble", scores, 1))
    }

    fn alerts(
        class: &str,
        episodes: usize,
        alerted: usize,
        named: usize,
        median_s: Option<f64>,
    ) -> EpisodeAlerts {
        EpisodeAlerts { class: class.to_owned(), episodes, alerted, named, median_s }
    }

    #[test]
    fn an_attack_from_many_sources_is_one_alert() {
        const SOURCES: [&str; 6] = ["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5", "10.9.0.6"];
        let mut flows = Vec::new();
        for at in 0..12 {
            let source = SOURCES[at as usize % 6];
            let flow = Flow::hostile("dos", "flood", "a", "a-1", source, at);
            flows.push(Flow { target: "10.0.0.80", ..flow });
        }
        let scores = vec![3.0; flows.len()];
        let (table, rows) = (table(&flows), (0..12).collect::<Vec<u32>>());
        let opinion = opinion("ensemble", scores, 3);
        // Evidence is 3 a flow, so no source comes to 8 with its two flows; the target needs four times that, in eleven flows.
        let manifest = manifest(2.0, 2.5, 8.0);
        let figures = incidents(&table, &rows, &opinion, &manifest);
        assert_eq!((figures.alerts, figures.false_alerts), (1, 0));
        // An episode is one host's; all of them contributed, though five were told of before the alert.
        let after_s = Some(9.0);
        assert_eq!(figures.small, [alerts("all", 6, 6, 6, after_s), alerts("dos", 6, 6, 6, after_s)]);
        let benign = BenignEvidence::of(
            &table,
            &rows,
            &rows.iter().flat_map(|_| [0.0, -9.0, -9.0, 3.0]).collect::<Vec<f32>>(),
            &Manifest { classes: manifest.classes[..4].to_vec(), ..manifest.clone() },
        );
        assert!(benign.alerts_per_day(&manifest, 8.0) > 0.0);
        assert!(benign.alerts_per_day(&manifest, 9.5) <= 0.0);
    }

    #[test]
    fn attacks_and_false_alerts_are_told_apart() {
        let (table, rows, opinion) = play();
        // A score of 3 is a p-value of 1 in 1,001: evidence 3. An alert needs 6 and one flow at 2.5.
        let mut manifest = manifest(2.0, 2.5, 6.0);
        manifest.thresholds.incident_gap_us = 600_000_000;
        let figures = incidents(&table, &rows, &opinion, &manifest);
        // The second flow of the sweep at 3 is the one that began in second 3 and ended in second 4. The beacon is below.
        assert_eq!(
            figures.large,
            [
                alerts("all", 2, 1, 1, Some(4.0)),
                alerts("scan", 1, 1, 1, Some(4.0)),
                alerts("c2", 1, 0, 0, None),
            ]
        );
        // Everything is called a scan, so the guess is heard of, but under a wrong name.
        assert_eq!(
            figures.small,
            [alerts("all", 1, 1, 0, Some(2.0)), alerts("brute-force", 1, 1, 0, Some(2.0)),]
        );
        let missed: Vec<&str> = figures.missed.iter().map(|missed| missed.behaviour.as_str()).collect();
        assert_eq!(missed, ["beacon"]);
        // The poller is quiet for longer than the gap each time: evidence 3 never grows.
        assert_eq!((figures.alerts, figures.false_alerts), (2, 0));
        assert!((figures.hours - 2.0).abs() < 1e-9);

        // With a longer gap it adds up, and nobody attacked.
        manifest.thresholds.incident_gap_us = 3_600_000_000;
        let figures = incidents(&table, &rows, &opinion, &manifest);
        assert_eq!((figures.alerts, figures.false_alerts), (3, 1));
        assert_eq!(figures.false_alerts_by_behaviour, [("polling".to_owned(), 1)]);
        assert!((figures.false_alerts_per_hour - 0.5).abs() < 1e-9);

        // Four times the evidence is 24: the poller's 12 no longer suffice, the sweep's 45 do.
        let four = figures.by_evidence[4];
        assert_eq!(
            four,
            EvidencePoint { alert_evidence: 24.0, false_alerts_per_hour: 0.0, alerted: Some(0.5) }
        );
    }
}
