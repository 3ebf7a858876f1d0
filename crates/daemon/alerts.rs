//! Alerts: incidents that somebody should look at, as lines of JSON and as a table.
//!
//! In: what is told about an incident, in the order of packet time. Out: `--alerts`, one whole line per event, written at
//! once, or an [`AlertPost`] that passes it on; and an [`AlertSummary`] for standard error.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};

use serde::Serialize;
use tapline_export::time_text;
use tapline_features::community_id::community_id;
use tapline_record::{FlowHead, Timestamp};
use tapline_score::distinct::Distinct;
use tapline_score::incident::By;
use tapline_score::{Event, Incident, Manifest};

use crate::exit::{Code, Failure};
use crate::row_tail::significant;

/// Alerts that the summary keeps and compares with the truth; the strongest of them are printed.
const KEPT_MAX: usize = 4_096;
/// Sources and classes that are compared with the truth, and as many targets; alerts of others are counted as not compared.
const COMPARED_MAX: usize = 65_536;
/// Alerts that the summary prints.
const PRINTED_MAX: usize = 20;

/// Writes alerts, and remembers them for the summary.
pub(crate) struct Alerts {
    out: AlertOut,
    line: Vec<u8>,
    failed: Option<io::Error>,
    /// Alerts of models before this one.
    before: u64,
    /// By how much the times that are told are ahead of packet time.
    ahead_us: i64,
    model: String,
    /// Name and ATT&CK technique of each class.
    classes: Vec<(String, Option<String>)>,
    summary: AlertSummary,
}

/// Where alerts go.
pub(crate) enum AlertOut {
    /// Nowhere: the summary counts them.
    None,
    /// To a file, whose failure ends the run.
    File(PathBuf, Box<dyn Write + Send>),
    /// To somebody who does not fail.
    Post(Box<dyn AlertPost>),
}

/// Takes alerts.
pub(crate) trait AlertPost: Send {
    /// Something happened to an alert.
    fn post(&mut self, told: &Told<'_>);
}

/// What happened to an alert.
pub(crate) struct Told<'a> {
    pub(crate) event: Event,
    /// Of the alert, from 1 in the order of raising, whatever model raised it.
    pub(crate) number: u64,
    pub(crate) incident: &'a Incident<FlowHead, Why>,
    pub(crate) class: &'a str,
    pub(crate) attack_id: Option<&'a str>,
    pub(crate) model: &'a str,
    /// When it was certain.
    pub(crate) now_us: i64,
    /// All of it as a line of JSON, ended.
    pub(crate) line: &'a [u8],
}

/// What the summary says about alerts.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertSummary {
    pub(crate) alerts: u64,
    /// The first of them.
    kept: Vec<Kept>,
    /// Of those that are kept and have flows with a label, how many are true and how many are not.
    pub(crate) true_and_false: Option<(u64, u64)>,
}

/// What the truth says about flows that were taken for hostile, by source and class and by target and class.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    /// Flows that are hostile, and those that are not.
    sources: HashMap<(By, u8), (u64, u64)>,
    targets: HashMap<(By, u8), (u64, u64)>,
}

/// An alert that has ended.
#[derive(Clone, Debug)]
struct Kept {
    start_us: i64,
    by: By,
    class_number: u8,
    class: String,
    attack_id: Option<String>,
    flows: u64,
    evidence: f64,
    sources: Several<IpAddr>,
    targets: Several<IpAddr>,
    reason: Option<String>,
}

/// Why a flow scored as it did.
#[derive(Clone, Debug)]
pub(crate) struct Why {
    /// What raised its score most, the greatest first.
    pub(crate) reasons: Vec<Reason>,
    /// Flows of its window that the model attended to most, and how much of its attention they got.
    pub(crate) attention: Vec<(FlowHead, f32)>,
}

/// An input that raised a score, in words.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Reason {
    pub(crate) input: &'static str,
    /// As the model's inputs have it: mostly on a logarithmic scale.
    pub(crate) value: f32,
    pub(crate) log_odds: f32,
    pub(crate) text: String,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    /// When it was certain, in packet time.
    time: String,
    event: &'static str,
    /// Number of the alert; all its events carry it.
    alert: u64,
    by: &'static str,
    /// By source.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    /// By target.
    #[serde(skip_serializing_if = "Option::is_none")]
    sources: Option<Several<IpAddr>>,
    class: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attack_id: Option<&'a str>,
    probability: f64,
    score: f64,
    p_value: f64,
    evidence: f64,
    flows: u64,
    first: String,
    last: String,
    targets: Several<IpAddr>,
    ports: Several<u16>,
    reasons: &'a [Reason],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attention: Vec<Attended>,
    example_flows: Vec<ExampleFlow>,
    model: &'a str,
}

/// How many different ones there were, and which; the number is an estimate where it is not exact.
#[derive(Clone, Debug, Serialize)]
struct Several<T> {
    count: u64,
    exact: bool,
    examples: Vec<T>,
}

#[derive(Serialize)]
struct Attended {
    weight: f64,
    flow: ExampleFlow,
}

#[derive(Serialize)]
struct ExampleFlow {
    community_id: String,
    start: String,
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
    protocol: u8,
}

impl Alerts {
    /// Alerts of this model, to a file if there is one.
    ///
    /// # Errors
    ///
    /// If the file cannot be created.
    pub(crate) fn open(manifest: &Manifest, path: Option<&Path>) -> Result<Self, Failure> {
        let out = match path {
            None => AlertOut::None,
            Some(path) if path == Path::new("-") => AlertOut::File(path.to_owned(), Box::new(io::stdout())),
            Some(path) => {
                let file = File::create(path).map_err(|error| {
                    Failure::new(
                        Code::CantCreate,
                        anyhow::Error::new(error).context(format!("creating alerts {}", path.display())),
                    )
                })?;
                AlertOut::File(path.to_owned(), Box::new(file))
            }
        };
        Ok(Self::to(out, manifest))
    }

    /// Alerts of this model, to somebody who does not fail.
    pub(crate) fn post(manifest: &Manifest, post: Box<dyn AlertPost>) -> Self {
        Self::to(AlertOut::Post(post), manifest)
    }

    fn to(out: AlertOut, manifest: &Manifest) -> Self {
        let mut alerts = Self {
            out,
            line: Vec::new(),
            failed: None,
            before: 0,
            ahead_us: 0,
            model: String::new(),
            classes: Vec::new(),
            summary: AlertSummary::default(),
        };
        alerts.speak_for(manifest, 0);
        alerts
    }

    /// From now on alerts are those of this model; there were so many by the one before.
    pub(crate) fn speak_for(&mut self, manifest: &Manifest, before: u64) {
        self.before += before;
        let attack_id = |class: &String| manifest.attack_ids.get(class).cloned();
        self.model.clone_from(&manifest.id);
        self.classes = manifest.classes.iter().map(|class| (class.clone(), attack_id(class))).collect();
    }

    /// From now on the times that are told are so much ahead of packet time: the clock was set back.
    pub(crate) fn set_ahead(&mut self, ahead_us: i64) {
        self.ahead_us = ahead_us;
    }

    /// Tells what happened to an alert at packet time `now_us`. After a failed write nothing is written;
    /// [`check`](Self::check) says so.
    pub(crate) fn tell(&mut self, event: Event, incident: &Incident<FlowHead, Why>, now_us: i64) {
        let (class, attack_id) = &self.classes[usize::from(incident.class)];
        if event == Event::Ended {
            self.summary.add(incident, class, attack_id.as_ref());
        }
        if self.failed.is_some() || matches!(self.out, AlertOut::None) {
            return;
        }
        let now_us = now_us.saturating_sub(self.ahead_us);
        let why = incident.explanation.as_ref();
        let (sources, targets) = ends(incident);
        let (by, source, sources) = match incident.by {
            By::Source(source) => ("source", Some(address(source)), None),
            By::Target(..) => ("target", None, Some(sources)),
        };
        let line = Line {
            time: time(now_us),
            event: event.name(),
            alert: self.before + incident.alert,
            by,
            source,
            sources,
            class,
            attack_id: attack_id.as_deref(),
            probability: significant(f64::from(incident.probability)),
            score: significant(f64::from(incident.score)),
            p_value: significant(incident.p_value),
            evidence: significant(incident.evidence),
            flows: incident.flows,
            first: time(incident.start_us),
            last: time(incident.end_us),
            targets,
            ports: several(&incident.ports, incident.flows, |port| port),
            reasons: why.map_or(&[], |why| &why.reasons),
            attention: why.map_or_else(Vec::new, attended),
            example_flows: examples(incident),
            model: &self.model,
        };
        self.line.clear();
        let rendered = serde_json::to_writer(&mut self.line, &line).map_err(io::Error::from);
        self.line.push(b'\n');
        let written = rendered.and_then(|()| match &mut self.out {
            AlertOut::None => Ok(()),
            AlertOut::File(_, out) => {
                // One call per line: whoever follows the file sees whole lines.
                out.write_all(&self.line)?;
                out.flush()
            }
            AlertOut::Post(post) => {
                post.post(&Told {
                    event,
                    number: self.before + incident.alert,
                    incident,
                    class,
                    attack_id: attack_id.as_deref(),
                    model: &self.model,
                    now_us,
                    line: &self.line,
                });
                Ok(())
            }
        });
        self.failed = written.err();
    }

    /// Whether all was written.
    ///
    /// # Errors
    ///
    /// An [`AlertsNotWritten`].
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        match (self.failed.take(), &self.out) {
            (Some(source), AlertOut::File(path, _)) => {
                Err(AlertsNotWritten { path: path.clone(), source }.into())
            }
            _ => Ok(()),
        }
    }

    /// What the summary says.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub(crate) fn finish(mut self, truth: &Truth) -> anyhow::Result<AlertSummary> {
        self.check()?;
        self.summary.compare(truth);
        Ok(self.summary)
    }
}

/// A line of alerts could not be written.
#[derive(Debug, thiserror::Error)]
#[error("writing alerts to {}: {source}", path.display())]
pub(crate) struct AlertsNotWritten {
    path: PathBuf,
    source: io::Error,
}

impl Truth {
    /// Notes a flow.
    pub(crate) fn add(&mut self, head: &FlowHead, class: u8, hostile: bool) {
        let [initiator, responder] =
            [head.initiator(), head.responder()].map(|end| (u128::from_be_bytes(end.addr), end.port));
        let target = By::Target(responder.0, responder.1);
        for (flows, by) in [(&mut self.sources, By::Source(initiator.0)), (&mut self.targets, target)] {
            if flows.len() == COMPARED_MAX && !flows.contains_key(&(by, class)) {
                continue;
            }
            let (hostile_flows, other_flows) = flows.entry((by, class)).or_default();
            *if hostile { hostile_flows } else { other_flows } += 1;
        }
    }

    fn of(&self, alert: &Kept) -> Option<&(u64, u64)> {
        let flows = if matches!(alert.by, By::Source(_)) { &self.sources } else { &self.targets };
        flows.get(&(alert.by, alert.class_number))
    }
}

impl AlertSummary {
    /// Counts the alerts most of whose flows are hostile by the truth, whatever class it gives them.
    fn compare(&mut self, truth: &Truth) {
        let known = self.kept.iter().filter_map(|alert| truth.of(alert));
        let (mut right, mut wrong) = (0, 0);
        known.for_each(|(hostile, other)| *if hostile > other { &mut right } else { &mut wrong } += 1);
        self.true_and_false = (right + wrong > 0).then_some((right, wrong));
    }

    fn add(&mut self, incident: &Incident<FlowHead, Why>, class: &str, attack_id: Option<&String>) {
        self.alerts += 1;
        if self.kept.len() == KEPT_MAX {
            return;
        }
        let reason = incident.explanation.as_ref().and_then(|why| why.reasons.first());
        let (sources, targets) = ends(incident);
        self.kept.push(Kept {
            start_us: incident.start_us,
            by: incident.by,
            class_number: incident.class,
            class: class.to_owned(),
            attack_id: attack_id.cloned(),
            flows: incident.flows,
            evidence: incident.evidence,
            sources,
            targets,
            reason: reason.map(|reason| reason.text.clone()),
        });
    }

    /// The table of the summary, lines ended: the alerts with most evidence, in the order in which they began.
    pub(crate) fn text(&self) -> String {
        let mut strongest: Vec<&Kept> = self.kept.iter().collect();
        strongest.sort_by(|a, b| b.evidence.total_cmp(&a.evidence));
        strongest.truncate(PRINTED_MAX);
        strongest.sort_by_key(|alert| alert.start_us);
        let mut out = String::new();
        let mut line = |mark: &str, cells: [&str; 7]| {
            let [time, source, class, attack_id, flows, targets, reason] = cells;
            let _ = writeln!(
                out,
                "{mark:<8} {time:<20} {source:<15} {class:<12} {attack_id:<9} {flows:>7} {targets:>7}  {reason}"
            );
        };
        if !strongest.is_empty() {
            line("alerts", ["first flow", "source", "class", "ATT&CK", "flows", "targets", "why"]);
        }
        for alert in strongest {
            // Whole seconds.
            let time = format!("{}Z", &time(alert.start_us)[..19]);
            let source = match alert.by {
                By::Source(source) => address(source).to_string(),
                By::Target(..) => format!("{} sources", alert.sources.number()),
            };
            let cells = [
                &time,
                &source,
                &alert.class,
                alert.attack_id.as_deref().unwrap_or("-"),
                &alert.flows.to_string(),
                &alert.targets.number(),
                alert.reason.as_deref().unwrap_or("-"),
            ];
            line("", cells);
        }
        if let Some((right, wrong)) = self.true_and_false {
            let _ = write!(out, "         by the truth {right} of them are true and {wrong} are not");
            let rest = self.alerts.saturating_sub(right + wrong);
            if rest > 0 {
                let _ = write!(
                    out,
                    "; {rest} were not compared: no flow of theirs has a label, or there are too many"
                );
            }
            out.push('\n');
        }
        let more = self.alerts.saturating_sub(PRINTED_MAX as u64);
        if more > 0 {
            let _ = writeln!(out, "         and {more} more alerts, all of them in --alerts");
        }
        out
    }
}

impl<T> Several<T> {
    /// As the summary prints it.
    fn number(&self) -> String {
        format!("{}{}", if self.exact { "" } else { "~" }, self.count)
    }
}

/// The hosts that opened the flows of an incident, and those that they went to.
fn ends(incident: &Incident<FlowHead, Why>) -> (Several<IpAddr>, Several<IpAddr>) {
    let one = |host| Several { count: 1, exact: true, examples: vec![address(host)] };
    let others = several(&incident.others, incident.flows, address);
    match incident.by {
        By::Source(source) => (one(source), others),
        By::Target(target, _) => (others, one(target)),
    }
}

/// An estimate does not exceed the number of flows.
fn several<T: Copy + Default + PartialEq + Into<u128>, E>(
    distinct: &Distinct<T>,
    flows: u64,
    each: impl Fn(T) -> E,
) -> Several<E> {
    Several {
        count: distinct.count().min(flows),
        exact: distinct.is_exact(),
        examples: distinct.examples().iter().map(|value| each(*value)).collect(),
    }
}

/// The flow that raised the alert, the one with the highest score and the first one, each once.
fn examples(incident: &Incident<FlowHead, Why>) -> Vec<ExampleFlow> {
    let mut heads: Vec<&FlowHead> = Vec::new();
    for head in incident.raised_by.iter().chain([&incident.best, &incident.first]) {
        if !heads.iter().any(|other| other.first_ordinal == head.first_ordinal && other.key == head.key) {
            heads.push(head);
        }
    }
    heads.into_iter().map(ExampleFlow::from).collect()
}

fn attended(why: &Why) -> Vec<Attended> {
    let attended = |(head, weight): &(FlowHead, f32)| Attended {
        weight: significant(f64::from(*weight)),
        flow: ExampleFlow::from(head),
    };
    why.attention.iter().map(attended).collect()
}

impl From<&FlowHead> for ExampleFlow {
    fn from(head: &FlowHead) -> Self {
        Self {
            community_id: community_id(head).as_str().to_owned(),
            start: time_text(head.start),
            source: head.initiator().ip(head.key.ip_version),
            source_port: head.initiator().port,
            destination: head.responder().ip(head.key.ip_version),
            destination_port: head.responder().port,
            protocol: head.key.protocol,
        }
    }
}

fn time(micros: i64) -> String {
    time_text(Timestamp::from_micros(micros))
}

/// An address of a flow key: IPv4 stands in it as `::ffff:a.b.c.d`.
pub(crate) fn address(bits: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(bits)).to_canonical()
}
