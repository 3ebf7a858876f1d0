//! What one host does of one kind, folded into one incident; and what many hosts do to one port of one host.
//!
//! In: flows that scored high enough to count as evidence. Out: incidents that became alerts, each told when it is raised,
//! when it has grown ten and a hundred times, and when it has ended. An operator reads incidents; per flow even a rate of
//! one false alarm in a million would bury him.
//!
//! An incident is a source host and a class. Every flow adds its evidence, `-log10` of its p-value. It becomes an
//! alert when the evidence suffices, the flows are as many as the class needs, and at least one of them reached the threshold
//! for detection. A gap without such flows ends it.
//!
//! Floods, guessing and scans may come from many sources. So flows of these classes ([`BY_TARGET`]) gather by
//! target as well, its host and port. When [`SOURCES_MIN`] sources have been seen within the gap, and their evidence is what as
//! many alerts would have needed, the target becomes an incident of its own and an alert. From then on flows to it are
//! folded there alone: alerts that its sources had already stay as they are and end when they become quiet; later sources
//! raise none.
//!
//! Both tables have a bound. At the bound the incident that has been quiet longest is ended early, one that never became an
//! alert before one that did: a flood of suspicious sources does not push out what was told already. Targets
//! do not push out sources.

use std::collections::HashMap;

use crate::distinct::Distinct;
use crate::manifest::Manifest;

/// Classes whose flows are folded by target when they come from many sources.
pub const BY_TARGET: [&str; 3] = ["scan", "brute-force", "dos"];

/// Sources that are many.
pub const SOURCES_MIN: usize = 4;

/// Explanations of one incident at most: of the flow that raised it, and of better ones.
const EXPLANATIONS: u8 = 4;

/// How much better than the last explained one a flow must score to be explained as well.
const BETTER: f32 = 3.0;

/// All incidents that have not ended.
#[derive(Debug)]
pub struct Incidents<F, E> {
    rules: Rules,
    sources: Table<F, E>,
    /// Targets of many sources, and such as may become one: these are no incidents yet.
    targets: Table<F, E>,
    alerts: u64,
    counters: IncidentCounters,
}

/// What the flows of an incident have in common, besides the class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// The host that opened them.
    Source(u128),
    /// The host and the port that they went to; they came from many.
    Target(u128, u16),
}

/// One incident. `F` is what the caller needs to name a flow, `E` what it makes of an explanation.
#[derive(Clone, Debug)]
pub struct Incident<F, E> {
    /// The number of the alert, from 1 in the order of raising; 0 while it is none.
    pub alert: u64,
    /// Whose it is.
    pub by: By,
    /// The class; never 0.
    pub class: u8,
    /// Flows.
    pub flows: u64,
    /// Sum of `-log10 p` over them.
    pub evidence: f64,
    /// Highest score.
    pub score: f32,
    /// Highest probability of the class.
    pub probability: f32,
    /// Least p-value.
    pub p_value: f64,
    /// Start of the earliest flow.
    pub start_us: i64,
    /// Last packet of the latest flow.
    pub end_us: i64,
    /// When the latest flow's end was certain.
    pub time_us: i64,
    /// The hosts at the other end: targets of a source, sources of a target.
    pub others: Distinct<u128>,
    /// Ports of the targets.
    pub ports: Distinct<u16>,
    /// The first flow.
    pub first: F,
    /// The flow that made it an alert.
    pub raised_by: Option<F>,
    /// The flow with the highest score.
    pub best: F,
    /// Why the best explained flow scored as it did.
    pub explanation: Option<E>,
    explained_score: f32,
    explanations: u8,
}

/// A flow that counts as evidence.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<F> {
    /// The host that opened it.
    pub source: u128,
    /// Its class by the verdict; not 0.
    pub class: u8,
    /// Its score.
    pub score: f32,
    /// Probability of the class.
    pub probability: f32,
    /// Its p-value.
    pub p_value: f64,
    /// When its end was certain: the clock of incidents.
    pub time_us: i64,
    /// First packet.
    pub start_us: i64,
    /// Last packet.
    pub end_us: i64,
    /// The other host.
    pub target: u128,
    /// Its port.
    pub port: u16,
    /// What names the flow.
    pub flow: F,
}

/// What is told about an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It became one.
    Raised,
    /// It has ten, or a hundred, times the flows that it was raised with.
    Grown,
    /// Nothing more was seen, or the input is over.
    Ended,
}

/// What a flow did to its incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// Where the incident stands until the next call that changes the table.
    pub at: IncidentId,
    /// Where flows of this class to the same target gather, if the class is one that may be folded by target. The same as `at`
    /// if that is an alert; if not, it may become one.
    pub target: Option<IncidentId>,
    /// What is to be told.
    pub event: Option<Event>,
    /// Whether this flow should be explained: [`Incidents::explain`].
    pub explain: bool,
}

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentId {
    by_target: bool,
    slot: u32,
}

/// What a table of incidents has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncidentCounters {
    /// Incidents opened.
    pub opened: u64,
    /// Those that became alerts.
    pub alerts: u64,
    /// Of those, alerts by target.
    pub alerts_by_target: u64,
    /// Incidents ended early, because the table was full.
    pub ended_early: u64,
    /// Targets that were no incidents yet and were forgotten, because their table was full.
    pub targets_forgotten: u64,
}

#[derive(Clone, Debug)]
struct Rules {
    detect: f32,
    alert_evidence: f64,
    /// By class.
    alert_flows: Vec<u64>,
    /// By class: whether its flows may be folded by target.
    by_target: Vec<bool>,
    gap_us: i64,
}

/// Incidents of one kind.
#[derive(Debug)]
struct Table<F, E> {
    incidents_max: usize,
    /// Never iterated: its order is that of a random hash.
    index: HashMap<(By, u8), u32>,
    slots: Vec<Slot<F, E>>,
    vacant: Vec<u32>,
    /// Incidents that are no alerts, and those that are, by their latest flow.
    lists: [List; 2],
}

#[derive(Debug)]
struct Slot<F, E> {
    incident: Incident<F, E>,
    recent: RecentSources,
    /// Flows at which it is told next that it has grown.
    grown_at: u64,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

const NONE: u32 = u32::MAX;

impl<F: Clone, E> Incidents<F, E> {
    /// No incidents, by the thresholds of a manifest; at most `incidents_max` sources and `targets_max` targets (at least 1
    /// each) at once.
    #[must_use]
    pub fn new(manifest: &Manifest, incidents_max: usize, targets_max: usize) -> Self {
        let thresholds = &manifest.thresholds;
        let flows = |class| u64::from(thresholds.alert_flows.get(class).copied().unwrap_or(1));
        Self {
            rules: Rules {
                detect: thresholds.detect,
                alert_evidence: f64::from(thresholds.alert_evidence),
                alert_flows: manifest.classes.iter().map(flows).collect(),
                by_target: manifest.classes.iter().map(|class| BY_TARGET.contains(&class.as_str())).collect(),
                gap_us: i64::try_from(thresholds.incident_gap_us).unwrap_or(i64::MAX),
            },
            sources: Table::new(incidents_max),
            targets: Table::new(targets_max),
            alerts: 0,
            counters: IncidentCounters::default(),
        }
    }

    /// Adds a flow to its incident. Alerts that this ends are told to `ended` first.
    pub fn fold(&mut self, flow: &Evidence<F>, ended: &mut impl FnMut(&Incident<F, E>)) -> Folded {
        let mut target = None;
        if self.rules.by_target.get(usize::from(flow.class)).copied().unwrap_or(false) {
            let folded = self.fold_by(By::Target(flow.target, flow.port), flow, ended);
            if self.get(folded.at).alert > 0 {
                return folded;
            }
            target = folded.target;
        }
        Folded { target, ..self.fold_by(By::Source(flow.source), flow, ended) }
    }

    /// Keeps why the flow that was folded last scored as it did.
    pub fn explain(&mut self, at: IncidentId, score: f32, explanation: E) {
        let table = if at.by_target { &mut self.targets } else { &mut self.sources };
        let incident = &mut table.slots[at.slot as usize].incident;
        incident.explanations += 1;
        incident.explained_score = score;
        incident.explanation = Some(explanation);
    }

    /// An incident that was folded into just now.
    #[must_use]
    pub fn get(&self, at: IncidentId) -> &Incident<F, E> {
        let table = if at.by_target { &self.targets } else { &self.sources };
        &table.slots[at.slot as usize].incident
    }

    /// Ends what has been quiet for longer than the gap. No flow may be folded afterwards whose time is before
    /// `horizon_us`: an incident that it belongs to may be gone.
    pub fn expire(&mut self, horizon_us: i64, ended: &mut impl FnMut(&Incident<F, E>)) {
        self.sources.expire(horizon_us, self.rules.gap_us, ended);
        self.targets.expire(horizon_us, self.rules.gap_us, ended);
    }

    /// Ends everything: the input is over. Alerts by source, then those by target, in the order of their latest flow.
    pub fn finish(&mut self, ended: &mut impl FnMut(&Incident<F, E>)) {
        self.sources.finish(ended);
        self.targets.finish(ended);
    }

    /// Sources whose incidents have not ended.
    #[must_use]
    pub fn open_incidents(&self) -> usize {
        self.sources.index.len()
    }

    /// Targets that are incidents, or may become one.
    #[must_use]
    pub fn open_targets(&self) -> usize {
        self.targets.index.len()
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &IncidentCounters {
        &self.counters
    }

    fn fold_by(&mut self, by: By, flow: &Evidence<F>, ended: &mut impl FnMut(&Incident<F, E>)) -> Folded {
        let Self { rules, sources, targets, alerts, counters } = self;
        let by_target = matches!(by, By::Target(..));
        let table = if by_target { targets } else { sources };
        let slot = match table.take(by, flow, rules.gap_us, ended) {
            Some(slot) => {
                table.slots[slot as usize].incident.add(flow);
                slot
            }
            None => {
                if let Some(alert) = table.make_room(ended) {
                    let forgotten = by_target && alert == 0;
                    counters.targets_forgotten += u64::from(forgotten);
                    counters.ended_early += u64::from(!forgotten);
                }
                counters.opened += u64::from(!by_target);
                table.open(by, flow)
            }
        };

        let Slot { incident, recent, grown_at, .. } = &mut table.slots[slot as usize];
        recent.add(flow.source, flow.time_us);
        let mut event = None;
        if incident.alert == 0 {
            let flows_min = rules.alert_flows.get(usize::from(flow.class)).copied().unwrap_or(1);
            let sources_min = if by_target { SOURCES_MIN } else { 1 };
            if incident.evidence >= rules.alert_evidence * sources_min as f64
                && incident.flows >= flows_min
                && incident.score >= rules.detect
                && recent.within(flow.time_us, rules.gap_us) >= sources_min
            {
                *alerts += 1;
                counters.opened += u64::from(by_target);
                counters.alerts += 1;
                counters.alerts_by_target += u64::from(by_target);
                incident.alert = *alerts;
                incident.raised_by = Some(flow.flow.clone());
                *grown_at = incident.flows.saturating_mul(10);
                event = Some(Event::Raised);
            }
        } else if incident.flows == *grown_at {
            *grown_at = grown_at.saturating_mul(10);
            event = Some(Event::Grown);
        }
        let better = incident.explanations > 0
            && incident.explanations < EXPLANATIONS
            && flow.score >= incident.explained_score + BETTER;
        let explain = event == Some(Event::Raised) || better;
        table.link(slot);
        let at = IncidentId { by_target, slot };
        Folded { at, target: by_target.then_some(at), event, explain }
    }
}

/// Incidents that have room from the beginning; with more, their table may grow once more after it was full.
const RESERVED_MAX: usize = 65_536;

impl<F: Clone, E> Table<F, E> {
    fn new(incidents_max: usize) -> Self {
        Self {
            incidents_max: incidents_max.clamp(1, NONE as usize - 1),
            // Twice as many: a table that is half full at most clears away what was removed without growing.
            index: HashMap::with_capacity(2 * incidents_max.min(RESERVED_MAX)),
            slots: Vec::new(),
            vacant: Vec::new(),
            lists: [List { first: NONE, last: NONE }; 2],
        }
    }

    /// The incident that a flow belongs to, out of its list, if there is one. One that was quiet for too long is ended.
    fn take(
        &mut self,
        by: By,
        flow: &Evidence<F>,
        gap_us: i64,
        ended: &mut impl FnMut(&Incident<F, E>),
    ) -> Option<u32> {
        let at = *self.index.get(&(by, flow.class))?;
        if flow.time_us.saturating_sub(self.slots[at as usize].incident.time_us) > gap_us {
            self.end(at, ended);
            return None;
        }
        self.unlink(at);
        Some(at)
    }

    /// A new incident, in no list yet.
    fn open(&mut self, by: By, flow: &Evidence<F>) -> u32 {
        let slot = Slot {
            incident: Incident::new(by, flow),
            recent: RecentSources::new(),
            grown_at: 0,
            previous: NONE,
            next: NONE,
        };
        let at = match self.vacant.pop() {
            Some(at) => {
                self.slots[at as usize] = slot;
                at
            }
            None => {
                self.slots.push(slot);
                (self.slots.len() - 1) as u32
            }
        };
        self.index.insert((by, flow.class), at);
        at
    }

    /// Ends the incident that has been quiet longest if there is no room for another; gives the number of its alert.
    fn make_room(&mut self, ended: &mut impl FnMut(&Incident<F, E>)) -> Option<u64> {
        if self.index.len() < self.incidents_max {
            return None;
        }
        let [suspicions, alerts] = self.lists;
        let longest_quiet = if suspicions.first == NONE { alerts.first } else { suspicions.first };
        self.end(longest_quiet, ended);
        Some(self.slots[longest_quiet as usize].incident.alert)
    }

    fn expire(&mut self, horizon_us: i64, gap_us: i64, ended: &mut impl FnMut(&Incident<F, E>)) {
        for list in 0..self.lists.len() {
            loop {
                let at = self.lists[list].first;
                if at == NONE || horizon_us.saturating_sub(self.slots[at as usize].incident.time_us) <= gap_us
                {
                    break;
                }
                self.end(at, ended);
            }
        }
    }

    fn finish(&mut self, ended: &mut impl FnMut(&Incident<F, E>)) {
        for list in 0..self.lists.len() {
            while self.lists[list].first != NONE {
                self.end(self.lists[list].first, ended);
            }
        }
    }

    fn end(&mut self, at: u32, ended: &mut impl FnMut(&Incident<F, E>)) {
        self.unlink(at);
        let incident = &mut self.slots[at as usize].incident;
        self.index.remove(&(incident.by, incident.class));
        if incident.alert > 0 {
            ended(incident);
        }
        incident.explanation = None;
        self.vacant.push(at);
    }

    fn link(&mut self, at: u32) {
        let list = usize::from(self.slots[at as usize].incident.alert > 0);
        let last = self.lists[list].last;
        self.slots[at as usize].previous = last;
        self.slots[at as usize].next = NONE;
        match last {
            NONE => self.lists[list].first = at,
            last => self.slots[last as usize].next = at,
        }
        self.lists[list].last = at;
    }

    fn unlink(&mut self, at: u32) {
        let Slot { previous, next, .. } = self.slots[at as usize];
        let list = usize::from(self.slots[at as usize].incident.alert > 0);
        match previous {
            NONE => self.lists[list].first = next,
            previous => self.slots[previous as usize].next = next,
        }
        match next {
            NONE => self.lists[list].last = previous,
            next => self.slots[next as usize].previous = previous,
        }
    }
}

/// The sources that were seen last, and when.
#[derive(Clone, Copy, Debug)]
struct RecentSources([(u128, i64); SOURCES_MIN]);

impl RecentSources {
    const fn new() -> Self {
        Self([(0, i64::MIN); SOURCES_MIN])
    }

    /// Notes one; the one seen longest ago gives way.
    fn add(&mut self, source: u128, time_us: i64) {
        let known = self.0.iter().position(|(known, seen_us)| *known == source && *seen_us > i64::MIN);
        let longest_ago = || (0..SOURCES_MIN).min_by_key(|place| self.0[*place].1).unwrap_or(0);
        let place = known.unwrap_or_else(longest_ago);
        self.0[place] = (source, time_us.max(self.0[place].1));
    }

    /// How many of them were seen within the gap.
    fn within(&self, now_us: i64, gap_us: i64) -> usize {
        let seen = self.0.iter().filter(|(_, seen_us)| *seen_us > i64::MIN);
        seen.filter(|(_, seen_us)| now_us.saturating_sub(*seen_us) <= gap_us).count()
    }
}

impl<F: Clone, E> Incident<F, E> {
    fn new(by: By, flow: &Evidence<F>) -> Self {
        let mut incident = Self {
            alert: 0,
            by,
            class: flow.class,
            flows: 0,
            evidence: 0.0,
            score: f32::NEG_INFINITY,
            probability: 0.0,
            p_value: 1.0,
            start_us: i64::MAX,
            end_us: i64::MIN,
            time_us: i64::MIN,
            others: Distinct::new(),
            ports: Distinct::new(),
            first: flow.flow.clone(),
            raised_by: None,
            best: flow.flow.clone(),
            explanation: None,
            explained_score: f32::NEG_INFINITY,
            explanations: 0,
        };
        incident.add(flow);
        incident
    }

    fn add(&mut self, flow: &Evidence<F>) {
        self.flows += 1;
        self.evidence -= flow.p_value.max(f64::MIN_POSITIVE).log10();
        if flow.score > self.score {
            self.score = flow.score;
            self.best = flow.flow.clone();
        }
        self.probability = self.probability.max(flow.probability);
        self.p_value = self.p_value.min(flow.p_value);
        self.start_us = self.start_us.min(flow.start_us);
        self.end_us = self.end_us.max(flow.end_us);
        self.time_us = self.time_us.max(flow.time_us);
        self.others.add(match self.by {
            By::Source(_) => flow.target,
            By::Target(..) => flow.source,
        });
        self.ports.add(flow.port);
    }
}

impl Event {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raised => "raised",
            Self::Grown => "grown",
            Self::Ended => "ended",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::example::{manifest, window};

    fn incidents(incidents_max: usize) -> Incidents<u64, &'static str> {
        Incidents::new(&manifest(window(4, 1, 0, 1)), incidents_max, incidents_max)
    }

    /// A scan flow with a p-value of 1 %: two units of evidence, of five that are needed; and three flows.
    fn flow(source: u128, time_us: i64, score: f32) -> Evidence<u64> {
        Evidence {
            source,
            class: 1,
            score,
            probability: 0.9,
            p_value: 0.01,
            time_us,
            start_us: time_us - 50,
            end_us: time_us - 10,
            target: time_us as u128 * 1_000 + source,
            port: 80,
            flow: time_us as u64,
        }
    }

    /// Folds; what is told, and the alerts that ended.
    fn fold(incidents: &mut Incidents<u64, &'static str>, flow: &Evidence<u64>) -> (Folded, Vec<u64>) {
        let mut ended = Vec::new();
        let folded = incidents.fold(flow, &mut |incident| ended.push(incident.alert));
        (folded, ended)
    }

    #[test]
    fn an_alert_needs_evidence_flows_and_one_that_is_clear() {
        let mut table = incidents(10);
        let events =
            |table: &mut Incidents<u64, &'static str>, flows: &[Evidence<u64>]| -> Vec<Option<Event>> {
                flows.iter().map(|flow| fold(table, flow).0.event).collect()
            };
        // Evidence 6 after three; none reaches the threshold for detection until the fourth.
        let flows = [flow(1, 0, 3.0), flow(1, 1, 3.0), flow(1, 2, 3.0), flow(1, 3, 4.0), flow(1, 4, 9.0)];
        assert_eq!(events(&mut table, &flows), [None, None, None, Some(Event::Raised), None]);
        // Clear, and evidence enough, but too few flows for a scan.
        let sure = Evidence { p_value: 1e-4, ..flow(2, 0, 5.0) };
        assert_eq!(events(&mut table, &[sure, sure, sure]), [None, None, Some(Event::Raised)]);
        // The other class asks for one flow only; too little evidence at first.
        let c2 = Evidence { class: 2, p_value: 1e-3, ..flow(1, 5, 5.0) };
        assert_eq!(events(&mut table, &[c2, c2]), [None, Some(Event::Raised)]);
        assert_eq!(
            *table.counters(),
            IncidentCounters { opened: 3, alerts: 3, ..IncidentCounters::default() }
        );
    }

    #[test]
    fn it_is_told_when_it_grows_and_when_it_ends() {
        let mut table = incidents(10);
        let mut told = Vec::new();
        for time_us in 0..3_000 {
            let (folded, ended) = fold(&mut table, &flow(1, time_us, 5.0));
            assert!(ended.is_empty());
            told.extend(folded.event.map(|event| (event, table.get(folded.at).flows)));
        }
        assert_eq!(
            told,
            [(Event::Raised, 3), (Event::Grown, 30), (Event::Grown, 300), (Event::Grown, 3_000)]
        );

        let mut ended = Vec::new();
        table.expire(1_002_999, &mut |incident| ended.push(incident.clone()));
        assert!(ended.is_empty());
        table.expire(1_003_000, &mut |incident| ended.push(incident.clone()));
        let [incident] = ended.as_slice() else { panic!("{ended:?}") };
        assert_eq!(
            (incident.alert, incident.by, incident.class, incident.flows),
            (1, By::Source(1), 1, 3_000)
        );
        assert_eq!((incident.start_us, incident.end_us, incident.time_us), (-50, 2_989, 2_999));
        assert_eq!((incident.first, incident.raised_by, incident.best), (0, Some(2), 0));
        assert!((incident.evidence - 6_000.0).abs() < 1e-6);
        assert!((2_000..4_000).contains(&incident.others.count()));
        assert_eq!((incident.ports.examples(), incident.ports.count()), (&[80][..], 1));
        assert_eq!(table.open_incidents(), 0);
    }

    #[test]
    fn after_a_quiet_gap_it_is_another_incident() {
        let mut table = incidents(10);
        for time_us in 0..3 {
            fold(&mut table, &flow(1, time_us, 5.0));
        }
        let (folded, ended) = fold(&mut table, &flow(1, 1_000_002, 5.0));
        assert!(ended.is_empty());
        assert_eq!(table.get(folded.at).flows, 4);
        let (folded, ended) = fold(&mut table, &flow(1, 2_000_003, 5.0));
        assert_eq!(ended, [1]);
        assert_eq!((table.get(folded.at).flows, table.get(folded.at).alert), (1, 0));
        // What never was an alert ends in silence.
        table.finish(&mut |_| panic!("no alert"));
        assert_eq!(table.open_incidents(), 0);
    }

    #[test]
    fn at_the_bound_suspicions_go_before_alerts() {
        let mut table = incidents(3);
        for time_us in 0..3 {
            fold(&mut table, &flow(1, time_us, 5.0));
        }
        for source in 2..100 {
            let (_, ended) = fold(&mut table, &flow(source, source as i64, 3.0));
            assert!(ended.is_empty());
            assert!(table.open_incidents() <= 3);
        }
        assert_eq!(table.counters().ended_early, 96);
        let (folded, _) = fold(&mut table, &flow(1, 100, 5.0));
        assert_eq!(table.get(folded.at).flows, 4, "the alert is still there");

        let mut only_alerts = incidents(1);
        for time_us in 0..3 {
            fold(&mut only_alerts, &flow(1, time_us, 5.0));
        }
        assert_eq!(fold(&mut only_alerts, &flow(2, 3, 5.0)).1, [1]);
        let mut ended = 0;
        table.finish(&mut |_| ended += 1);
        assert_eq!(ended, 1);
    }

    #[test]
    fn the_flow_that_raises_it_is_explained_and_a_few_better_ones() {
        let mut table = incidents(10);
        let mut explained = Vec::new();
        for (time_us, score) in
            [5.0, 5.0, 4.5, 7.0, 5.6, 4.0, 9.0, 9.9, 11.0, 12.5, 15.6, 25.0].into_iter().enumerate()
        {
            let (folded, _) = fold(&mut table, &flow(1, time_us as i64, score));
            if folded.explain {
                table.explain(folded.at, score, "because");
                explained.push(score);
            }
        }
        assert_eq!(explained, [4.5, 9.0, 12.5, 15.6]);
    }

    /// A flow to the one target of all.
    fn flood(source: u128, time_us: i64) -> Evidence<u64> {
        Evidence { target: 77, ..flow(source, time_us, 5.0) }
    }

    #[test]
    fn many_sources_of_one_target_are_one_alert() {
        let mut table = incidents(100);
        let mut raised = Vec::new();
        let mut time_us = 0;
        // Four flows of a source in turn; two flows of a source are not enough for a scan, three are.
        for source in 1..=44 {
            for _ in 0..4 {
                time_us += 1;
                let (folded, ended) = fold(&mut table, &flood(source, time_us));
                assert!(ended.is_empty());
                if folded.event == Some(Event::Raised) {
                    assert!(folded.explain);
                    raised.push((time_us, table.get(folded.at).by));
                }
            }
        }
        // The fourth source, and 13 flows with 26 units of evidence: four alerts would need 20.
        assert_eq!(
            raised,
            [(3, By::Source(1)), (7, By::Source(2)), (11, By::Source(3)), (13, By::Target(77, 80))]
        );
        let counters = *table.counters();
        assert_eq!((counters.opened, counters.alerts, counters.alerts_by_target), (4, 4, 1));

        // What a source does elsewhere is its own.
        let (folded, _) = fold(&mut table, &flow(9, time_us, 5.0));
        assert_eq!(table.get(folded.at).by, By::Source(9));
        assert_eq!(table.get(folded.at).flows, 1, "its part of the flood is not counted again");

        let mut ended = Vec::new();
        table.finish(&mut |incident| ended.push(incident.clone()));
        let flows: Vec<(By, u64)> = ended.iter().map(|incident| (incident.by, incident.flows)).collect();
        assert_eq!(
            flows,
            [(By::Source(1), 4), (By::Source(2), 4), (By::Source(3), 4), (By::Target(77, 80), 176)]
        );
        let target = &ended[3];
        assert!((target.evidence - 352.0).abs() < 1e-9);
        assert!((40..=48).contains(&target.others.count()), "{}", target.others.count());
        assert_eq!((target.first, target.raised_by, target.start_us, target.end_us), (1, Some(13), -49, 166));
        assert_eq!(target.others.examples(), [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn sources_are_many_only_within_the_gap() {
        // Always the same target, but never four sources within a second.
        let mut table = incidents(100);
        for turn in 0..40 {
            let (folded, _) = fold(&mut table, &flood(turn % 8, turn as i64 * 400_000));
            assert_eq!(table.get(folded.at).by, By::Source(turn % 8), "{turn}");
        }
        assert_eq!(table.counters().alerts_by_target, 0);
        let mut table = incidents(100);
        let by_target = (0..40).filter(|turn| {
            let (folded, _) = fold(&mut table, &flood(turn % 8, *turn as i64 * 300_000));
            table.get(folded.at).by == By::Target(77, 80)
        });
        assert_eq!(by_target.count(), 31);
        // Other classes are not folded by target.
        let mut table = incidents(100);
        for source in 0..40 {
            let flow = Evidence { class: 2, ..flood(source, source as i64) };
            assert_eq!(fold(&mut table, &flow).0.target, None);
        }
        assert_eq!(table.open_targets(), 0);
    }

    #[test]
    fn targets_have_a_bound_of_their_own() {
        let mut table = incidents(6);
        for turn in 0..12 {
            fold(&mut table, &flood(turn % 6, turn as i64));
        }
        assert_eq!(table.counters().alerts_by_target, 1);
        // A sweep over many targets.
        for time_us in 100..1_000 {
            let (_, ended) = fold(&mut table, &flow(5, time_us, 3.0));
            assert!(ended.is_empty());
            assert!(table.open_targets() <= 6);
        }
        assert_eq!(table.counters().ended_early, 0, "sources are not pushed out");
        assert_eq!(table.counters().targets_forgotten, 900 - 5);
        let (folded, _) = fold(&mut table, &flood(50, 1_000));
        assert_eq!(table.get(folded.at).flows, 13, "the alert is still there");
    }

    /// Incidents word by word: lists of flows.
    #[derive(Default)]
    struct ByDefinition(Vec<(By, u8, Vec<Evidence<u64>>, bool)>);

    impl ByDefinition {
        fn add(&mut self, by: By, flow: &Evidence<u64>) -> (usize, Option<Event>, bool) {
            let sources_min = if matches!(by, By::Target(..)) { 4 } else { 1 };
            let open = self.0.iter().rposition(|(other, class, flows, _)| {
                let latest = flows.iter().map(|flow| flow.time_us).max().unwrap();
                *other == by && *class == flow.class && flow.time_us - latest <= 1_000_000
            });
            let at = open.unwrap_or_else(|| {
                self.0.push((by, flow.class, Vec::new(), false));
                self.0.len() - 1
            });
            let (_, _, flows, alert) = &mut self.0[at];
            flows.push(*flow);
            let recent = flows.iter().filter(|other| flow.time_us - other.time_us <= 1_000_000);
            let sources: std::collections::BTreeSet<u128> = recent.map(|flow| flow.source).collect();
            let flows_min = if flow.class == 1 { 3 } else { 1 };
            let raise = !*alert
                && flows.len() >= flows_min
                && flows.iter().any(|flow| flow.score >= 4.0)
                && flows.len() * 2 >= 5 * sources_min
                && sources.len() >= sources_min;
            *alert |= raise;
            (flows.len(), raise.then_some(Event::Raised), *alert)
        }

        fn fold(&mut self, flow: &Evidence<u64>) -> (By, usize, Option<Event>) {
            if flow.class == 1 {
                let by = By::Target(flow.target, flow.port);
                let (flows, event, alert) = self.add(by, flow);
                if alert {
                    return (by, flows, event);
                }
            }
            let by = By::Source(flow.source);
            let (flows, event, _) = self.add(by, flow);
            (by, flows, event)
        }
    }

    proptest! {
        #[test]
        fn flows_are_folded_as_defined(
            flows in prop::collection::vec((0_u128..7, 0_u128..3, 1_u8..3, 0_i64..400_000, 2.0_f32..5.0), 1..250),
        ) {
            let mut table = incidents(1_000);
            let mut by_definition = ByDefinition::default();
            let mut time_us = 0;
            for (source, target, class, ahead_us, score) in flows {
                // Some gaps end everything.
                time_us += if ahead_us > 390_000 { 1_500_000 } else { ahead_us };
                let flow = Evidence { class, target, ..flow(source, time_us, score) };
                table.expire(time_us, &mut |_| {});
                let folded = fold(&mut table, &flow).0;
                let incident = table.get(folded.at);
                let event = folded.event.filter(|event| *event == Event::Raised);
                prop_assert_eq!((incident.by, incident.flows as usize, event), by_definition.fold(&flow));
                prop_assert_eq!(folded.target.is_some(), class == 1);
            }
        }
    }
}
