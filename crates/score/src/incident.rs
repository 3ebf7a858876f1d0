//! What one host does of one kind, folded into one incident.
//!
//! In: flows that scored high enough to count as evidence. Out: incidents that became alerts, each told when it is raised,
//! when it has grown ten and a hundred times, and when it has ended. An operator reads incidents; per flow even a rate of
//! one false alarm in a million would bury him.
//!
//! An incident is a source host and a class. Every flow adds its evidence, `-log10` of its p-value. It becomes an
//! alert when the evidence suffices, the flows are as many as the class needs, and at least one of them reached the threshold
//! for detection. A gap without such flows ends it.
//!
//! The table has a bound. At the bound the incident that has been quiet longest is ended early, one that never became an
//! alert before one that did: a flood of suspicious sources does not push out what was told already.

use std::collections::HashMap;

use crate::distinct::Distinct;
use crate::manifest::Manifest;

/// Explanations of one incident at most: of the flow that raised it, and of better ones.
const EXPLANATIONS: u8 = 4;

/// How much better than the last explained one a flow must score to be explained as well.
const BETTER: f32 = 3.0;

/// All incidents that have not ended.
#[derive(Debug)]
pub struct Incidents<F, E> {
    rules: Rules,
    incidents_max: usize,
    /// Never iterated: its order is that of a random hash.
    index: HashMap<(u128, u8), u32>,
    slots: Vec<Slot<F, E>>,
    vacant: Vec<u32>,
    /// Incidents that are no alerts, and those that are, by their latest flow.
    lists: [List; 2],
    alerts: u64,
    counters: IncidentCounters,
}

/// One incident. `F` is what the caller needs to name a flow, `E` what it makes of an explanation.
#[derive(Clone, Debug)]
pub struct Incident<F, E> {
    /// The number of the alert, from 1 in the order of raising; 0 while it is none.
    pub alert: u64,
    /// The host that opened the flows.
    pub source: u128,
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
    /// Hosts that answered, or should have.
    pub targets: Distinct<u128>,
    /// Their ports.
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
    /// What is to be told.
    pub event: Option<Event>,
    /// Whether this flow should be explained: [`Incidents::explain`].
    pub explain: bool,
}

/// A place in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncidentId(u32);

/// What a table of incidents has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IncidentCounters {
    /// Incidents opened.
    pub opened: u64,
    /// Those that became alerts.
    pub alerts: u64,
    /// Incidents ended early, because the table was full.
    pub ended_early: u64,
}

#[derive(Clone, Debug)]
struct Rules {
    detect: f32,
    alert_evidence: f64,
    /// By class.
    alert_flows: Vec<u64>,
    gap_us: i64,
}

#[derive(Debug)]
struct Slot<F, E> {
    incident: Incident<F, E>,
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
    /// No incidents, by the thresholds of a manifest; at most `incidents_max` (at least 1) at once.
    #[must_use]
    pub fn new(manifest: &Manifest, incidents_max: usize) -> Self {
        let thresholds = &manifest.thresholds;
        let flows = |class| u64::from(thresholds.alert_flows.get(class).copied().unwrap_or(1));
        Self {
            rules: Rules {
                detect: thresholds.detect,
                alert_evidence: f64::from(thresholds.alert_evidence),
                alert_flows: manifest.classes.iter().map(flows).collect(),
                gap_us: i64::try_from(thresholds.incident_gap_us).unwrap_or(i64::MAX),
            },
            incidents_max: incidents_max.clamp(1, NONE as usize - 1),
            index: HashMap::new(),
            slots: Vec::new(),
            vacant: Vec::new(),
            lists: [List { first: NONE, last: NONE }; 2],
            alerts: 0,
            counters: IncidentCounters::default(),
        }
    }

    /// Adds a flow to its incident. Alerts that this ends are told to `ended` first.
    pub fn fold(&mut self, flow: &Evidence<F>, ended: &mut impl FnMut(&Incident<F, E>)) -> Folded {
        let key = (flow.source, flow.class);
        if let Some(&at) = self.index.get(&key)
            && flow.time_us.saturating_sub(self.slots[at as usize].incident.time_us) > self.rules.gap_us
        {
            self.end(at, ended);
        }
        let at = match self.index.get(&key) {
            Some(&at) => {
                self.unlink(at);
                self.slots[at as usize].incident.add(flow);
                at
            }
            None => self.open(flow, ended),
        };

        let Slot { incident, grown_at, .. } = &mut self.slots[at as usize];
        let mut event = None;
        if incident.alert == 0 {
            let flows_min = self.rules.alert_flows.get(usize::from(flow.class)).copied().unwrap_or(1);
            if incident.evidence >= self.rules.alert_evidence
                && incident.flows >= flows_min
                && incident.score >= self.rules.detect
            {
                self.alerts += 1;
                self.counters.alerts += 1;
                incident.alert = self.alerts;
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
        self.link(at);
        Folded { at: IncidentId(at), event, explain }
    }

    /// Keeps why the flow that was folded last scored as it did.
    pub fn explain(&mut self, at: IncidentId, score: f32, explanation: E) {
        let incident = &mut self.slots[at.0 as usize].incident;
        incident.explanations += 1;
        incident.explained_score = score;
        incident.explanation = Some(explanation);
    }

    /// An incident that was folded into just now.
    #[must_use]
    pub fn get(&self, at: IncidentId) -> &Incident<F, E> {
        &self.slots[at.0 as usize].incident
    }

    /// Ends what has been quiet for longer than the gap. No flow may be folded afterwards whose time is before
    /// `horizon_us`: an incident that it belongs to may be gone.
    pub fn expire(&mut self, horizon_us: i64, ended: &mut impl FnMut(&Incident<F, E>)) {
        for list in 0..self.lists.len() {
            loop {
                let at = self.lists[list].first;
                if at == NONE
                    || horizon_us.saturating_sub(self.slots[at as usize].incident.time_us)
                        <= self.rules.gap_us
                {
                    break;
                }
                self.end(at, ended);
            }
        }
    }

    /// Ends everything: the input is over. Alerts in the order of their latest flow.
    pub fn finish(&mut self, ended: &mut impl FnMut(&Incident<F, E>)) {
        for list in 0..self.lists.len() {
            while self.lists[list].first != NONE {
                self.end(self.lists[list].first, ended);
            }
        }
    }

    /// Incidents that have not ended.
    #[must_use]
    pub fn open_incidents(&self) -> usize {
        self.index.len()
    }

    /// What has been done so far.
    #[must_use]
    pub const fn counters(&self) -> &IncidentCounters {
        &self.counters
    }

    fn open(&mut self, flow: &Evidence<F>, ended: &mut impl FnMut(&Incident<F, E>)) -> u32 {
        if self.index.len() >= self.incidents_max {
            let [suspicions, alerts] = self.lists;
            let longest_quiet = if suspicions.first == NONE { alerts.first } else { suspicions.first };
            self.counters.ended_early += 1;
            self.end(longest_quiet, ended);
        }
        self.counters.opened += 1;
        let slot = Slot { incident: Incident::new(flow), grown_at: 0, previous: NONE, next: NONE };
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
        self.index.insert((flow.source, flow.class), at);
        at
    }

    fn end(&mut self, at: u32, ended: &mut impl FnMut(&Incident<F, E>)) {
        self.unlink(at);
        let incident = &mut self.slots[at as usize].incident;
        self.index.remove(&(incident.source, incident.class));
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

impl<F: Clone, E> Incident<F, E> {
    fn new(flow: &Evidence<F>) -> Self {
        let mut incident = Self {
            alert: 0,
            source: flow.source,
            class: flow.class,
            flows: 0,
            evidence: 0.0,
            score: f32::NEG_INFINITY,
            probability: 0.0,
            p_value: 1.0,
            start_us: i64::MAX,
            end_us: i64::MIN,
            time_us: i64::MIN,
            targets: Distinct::new(),
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
        self.targets.add(flow.target);
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
    use super::*;
    use crate::example::{manifest, window};

    fn incidents(incidents_max: usize) -> Incidents<u64, &'static str> {
        Incidents::new(&manifest(window(4, 1, 0, 1)), incidents_max)
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
            target: time_us as u128,
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
        assert_eq!(*table.counters(), IncidentCounters { opened: 3, alerts: 3, ended_early: 0 });
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
        assert_eq!((incident.alert, incident.source, incident.class, incident.flows), (1, 1, 1, 3_000));
        assert_eq!((incident.start_us, incident.end_us, incident.time_us), (-50, 2_989, 2_999));
        assert_eq!((incident.first, incident.raised_by, incident.best), (0, Some(2), 0));
        assert!((incident.evidence - 6_000.0).abs() < 1e-6);
        assert!((2_000..4_000).contains(&incident.targets.count()));
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
}
