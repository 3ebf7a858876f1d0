//! The table of truth, and which row a flow gets its label from.
//!
//! A row matches a flow if its addresses, ports and protocol are the flow's, as they stand or reversed, and if its
//! window of time, widened by the [`Slack`], has an instant in common with the flow. Of the rows that match, the most
//! specific one counts. In this order:
//!
//! 1. more exact ports (two, one, none); then the narrower ranges of ports,
//! 2. more bits of addresses given, both sides together,
//! 3. the protocol given,
//! 4. as it stands rather than reversed,
//! 5. the longer time in common with the flow (short of any, the smaller gap), slack aside,
//! 6. the narrower window,
//! 7. the flow's first packet inside the window, slack aside,
//! 8. the earlier row.
//!
//! If rows of different classes are equal up to 4 and have time in common with the flow without any slack, that is a
//! *conflict*: the label is that of a hostile row and says so.
//!
//! Ports are compared for TCP, UDP, DCCP, SCTP and UDP-Lite. A row that gives a port matches no flow of another
//! protocol. So a row of two addresses, protocol `*` and no ports is also about the ICMP errors between them, and finds
//! those that the target sends back as a reversed match.

use std::collections::HashMap;
use std::io::Read;
use std::net::IpAddr;

use tapline_record::{FlowHead, Timestamp};

use crate::class::Class;
use crate::error::TruthError;
use crate::index::Index;
use crate::rule::{Address, Rule, has_ports};
use crate::{ROWS_MAX, rules_toml, truth_csv};

/// What is known about traffic, indexed.
#[derive(Clone, Debug, Default)]
pub struct TruthTable {
    files: Vec<String>,
    names: Names,
    entries: Vec<Entry>,
    rules: Vec<Rule>,
    default: Option<Entry>,
    slack: Slack,
    index: Index,
}

/// A flow as truth sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Address of the initiator.
    pub source: IpAddr,
    /// Port of the initiator; of no meaning for protocols without ports.
    pub source_port: u16,
    /// Address of the responder.
    pub destination: IpAddr,
    /// Port of the responder; of no meaning for protocols without ports.
    pub destination_port: u16,
    /// IP protocol number.
    pub protocol: u8,
    /// First packet.
    pub first: Timestamp,
    /// Last packet; if it is before the first, the two are exchanged.
    pub last: Timestamp,
}

/// What is known about a flow. The texts borrow from the table and are at most
/// [`NAME_MAX_BYTES`](crate::NAME_MAX_BYTES) of printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label<'t> {
    /// What it is.
    pub class: Class,
    /// Whether the class is an attack.
    pub hostile: bool,
    /// What was done, in the words of who did it; may be empty.
    pub behaviour: &'t str,
    /// With which program; may be empty.
    pub tool: &'t str,
    /// ATT&CK technique (`T1110.001`); may be empty.
    pub technique: &'t str,
    /// The run of the experiment; may be empty.
    pub run: &'t str,
    /// Where it was recorded; may be empty.
    pub site: &'t str,
    /// The file that says so.
    pub file: &'t str,
    /// The line of its row or rule; 0 if it is the default class.
    pub row: u64,
    /// Whether the row describes the flow the other way round.
    pub reversed: bool,
    /// Whether an equally specific row says otherwise.
    pub conflict: bool,
    /// The class of that row.
    pub rival: Option<Class>,
    /// Number of the row within the table; `None` for the default class.
    pub(crate) entry: Option<u32>,
}

/// How far a flow may lie outside the window of its row: clocks differ, and a program is done before its last packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slack {
    /// Microseconds before the start.
    pub before_us: i64,
    /// Microseconds after the end.
    pub after_us: i64,
}

impl Default for Slack {
    /// Half a second before, two seconds after.
    fn default() -> Self {
        Self { before_us: 500_000, after_us: 2_000_000 }
    }
}

impl TruthTable {
    /// Reads a truth CSV. `name` is how errors and labels call it.
    ///
    /// # Errors
    ///
    /// [`TruthError`]: another header than [`HEADER`](crate::HEADER), a value that is not as it should be, more than
    /// [`ROWS_MAX`] rows, or a failure to read.
    pub fn from_csv(reader: impl Read, name: &str) -> Result<Self, TruthError> {
        let mut table = Self::of_file(name);
        truth_csv::read(reader, name, &mut table)?;
        table.index = Index::new(&table.rules);
        Ok(table)
    }

    /// Reads a TOML file of rules. `name` is how errors and labels call it.
    ///
    /// # Errors
    ///
    /// [`TruthError`]: broken TOML, an unknown key, a value that is not as it should be, or more than [`ROWS_MAX`]
    /// rules once lists are multiplied out.
    pub fn from_rules(text: &str, name: &str) -> Result<Self, TruthError> {
        let mut table = Self::of_file(name);
        rules_toml::read(text, name, &mut table)?;
        table.index = Index::new(&table.rules);
        Ok(table)
    }

    /// The rows of both, those of `self` first. The slack is that of `self`.
    ///
    /// # Errors
    ///
    /// [`TruthError::SecondDefault`] if both have a default class, [`TruthError::TooMany`] if they do not fit together.
    pub fn join(mut self, other: Self) -> Result<Self, TruthError> {
        if let (Some(mine), Some(theirs)) = (&self.default, &other.default) {
            let file = |table: &Self, entry: &Entry| table.files[usize::from(entry.file)].clone();
            return Err(TruthError::SecondDefault { name: file(&other, theirs), first: file(&self, mine) });
        }
        if self.rules.len() + other.rules.len() > ROWS_MAX {
            let name = other.files.first().cloned().unwrap_or_default();
            return Err(TruthError::TooMany { name, line: 1, max: ROWS_MAX });
        }
        let file_shift = u16::try_from(self.files.len()).unwrap_or(u16::MAX);
        let entry_shift = self.entries.len() as u32;
        let moved: Vec<u32> = other.names.texts.iter().map(|text| self.names.intern(text)).collect();
        let adopt = |entry: &Entry| Entry {
            texts: entry.texts.map(|text| moved[text as usize]),
            file: entry.file.saturating_add(file_shift),
            ..*entry
        };
        self.default = self.default.or_else(|| other.default.as_ref().map(adopt));
        self.entries.extend(other.entries.iter().map(adopt));
        self.rules.extend(other.rules.iter().map(|rule| Rule { entry: rule.entry + entry_shift, ..*rule }));
        self.files.extend(other.files);
        self.index = Index::new(&self.rules);
        Ok(self)
    }

    /// The same table with another slack.
    #[must_use]
    pub fn with_slack(self, slack: Slack) -> Self {
        Self { slack, ..self }
    }

    /// What is known about a flow: the label of the most specific row, else the default class, else nothing.
    #[must_use]
    pub fn label(&self, flow: &Endpoints) -> Option<Label<'_>> {
        let tuple = Tuple::of(flow);
        let window = self.window(&tuple);
        let mut found = Found::default();
        for number in self.index.of_endpoints(&self.rules, &tuple, window) {
            self.compare(number, &tuple, window, &mut found);
        }
        if found.rank.is_none() {
            for number in self.index.of_others(&self.rules, &tuple, window) {
                self.compare(number, &tuple, window, &mut found);
            }
        }
        self.verdict(&found)
    }

    /// Rows and rules, as they stand in their files.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.entries.len()
    }

    /// File and line of a row by its number.
    pub(crate) fn place(&self, entry: usize) -> (&str, u64) {
        let entry = &self.entries[entry];
        (&self.files[usize::from(entry.file)], u64::from(entry.line))
    }

    fn of_file(name: &str) -> Self {
        Self { files: vec![name.to_owned()], ..Self::default() }
    }

    /// Adds a row of the only file so far. Gives its number for [`TruthTable::push_rule`].
    pub(crate) fn push_entry(&mut self, line: u64, class: Class, texts: [&str; 5]) -> u32 {
        let entry = self.entry(line, class, texts);
        self.entries.push(entry);
        self.entries.len() as u32 - 1
    }

    pub(crate) fn set_default(&mut self, class: Class, texts: [&str; 5]) {
        self.default = Some(self.entry(0, class, texts));
    }

    /// Adds what a row says. Gives `false` if there is no room.
    #[must_use]
    pub(crate) fn push_rule(&mut self, rule: Rule) -> bool {
        if self.rules.len() == ROWS_MAX {
            return false;
        }
        self.rules.push(rule);
        true
    }

    fn entry(&mut self, line: u64, class: Class, texts: [&str; 5]) -> Entry {
        let texts = texts.map(|text| self.names.intern(text));
        Entry { texts, line: u32::try_from(line).unwrap_or(u32::MAX), file: 0, class }
    }

    /// The instants that a row's own window must have one of.
    fn window(&self, tuple: &Tuple) -> Window {
        Window {
            from_us: tuple.first_us.saturating_sub(self.slack.after_us),
            to_us: tuple.last_us.saturating_add(self.slack.before_us),
        }
    }

    fn compare(&self, number: u32, tuple: &Tuple, window: Window, found: &mut Found) {
        let rule = &self.rules[number as usize];
        if rule.start_us > window.to_us || rule.end_us < window.from_us {
            return;
        }
        let Some(reversed) = tuple.matches(rule) else { return };
        let class = self.entries[rule.entry as usize].class;
        found.add(Rank::of(rule, reversed), TimeRank::of(rule, tuple), number, class);
    }

    fn verdict(&self, found: &Found) -> Option<Label<'_>> {
        let Some(rank) = found.rank else {
            return self.default.as_ref().map(|entry| self.label_of(entry, None));
        };
        let (winner, rival) = found.winner()?;
        let entry = self.rules[winner as usize].entry;
        let label = self.label_of(&self.entries[entry as usize], Some(entry));
        Some(Label { reversed: !rank.forward, conflict: rival.is_some(), rival, ..label })
    }

    fn label_of(&self, entry: &Entry, number: Option<u32>) -> Label<'_> {
        let [behaviour, tool, technique, run, site] = entry.texts.map(|text| self.names.text(text));
        Label {
            class: entry.class,
            hostile: entry.class.is_hostile(),
            behaviour,
            tool,
            technique,
            run,
            site,
            file: &self.files[usize::from(entry.file)],
            row: u64::from(entry.line),
            reversed: false,
            conflict: false,
            rival: None,
            entry: number,
        }
    }

    /// The same as [`TruthTable::label`] without the index.
    #[cfg(test)]
    fn label_by_scan(&self, flow: &Endpoints) -> Option<Label<'_>> {
        let tuple = Tuple::of(flow);
        let mut found = Found::default();
        for number in 0..self.rules.len() as u32 {
            self.compare(number, &tuple, self.window(&tuple), &mut found);
        }
        self.verdict(&found)
    }
}

impl From<&FlowHead> for Endpoints {
    fn from(head: &FlowHead) -> Self {
        let (from, to) = (head.initiator(), head.responder());
        Self {
            source: from.ip(head.key.ip_version),
            source_port: from.port,
            destination: to.ip(head.key.ip_version),
            destination_port: to.port,
            protocol: head.key.protocol,
            first: head.start,
            last: head.last,
        }
    }
}

/// A row of a file: its names and where it stands.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Behaviour, tool, technique, run, site.
    texts: [u32; 5],
    line: u32,
    file: u16,
    class: Class,
}

/// Every name once.
#[derive(Clone, Debug, Default)]
struct Names {
    texts: Vec<Box<str>>,
    numbers: HashMap<Box<str>, u32>,
}

impl Names {
    fn intern(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u32;
        self.texts.push(text.into());
        self.numbers.insert(text.into(), number);
        number
    }

    fn text(&self, number: u32) -> &str {
        &self.texts[number as usize]
    }
}

/// A flow as it is compared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tuple {
    pub(crate) source: Address,
    pub(crate) source_port: u16,
    pub(crate) destination: Address,
    pub(crate) destination_port: u16,
    protocol: u8,
    first_us: i64,
    last_us: i64,
}

/// Instants from the first to the last, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) from_us: i64,
    pub(crate) to_us: i64,
}

impl Tuple {
    fn of(flow: &Endpoints) -> Self {
        let (first_us, last_us) = (flow.first.micros, flow.last.micros);
        Self {
            source: Address::of(flow.source),
            source_port: flow.source_port,
            destination: Address::of(flow.destination),
            destination_port: flow.destination_port,
            protocol: flow.protocol,
            first_us: first_us.min(last_us),
            last_us: first_us.max(last_us),
        }
    }

    /// Whether the flow is the rule's as it stands (`Some(false)`) or reversed (`Some(true)`), times aside.
    fn matches(&self, rule: &Rule) -> Option<bool> {
        if rule.protocol.is_some_and(|protocol| protocol != self.protocol) {
            return None;
        }
        let ports_given = rule.source_port.given || rule.destination_port.given;
        if ports_given && !has_ports(self.protocol) {
            return None;
        }
        let side = |address: Address, port: u16, of_source: bool| {
            let (addresses, ports) = if of_source {
                (rule.source, rule.source_port)
            } else {
                (rule.destination, rule.destination_port)
            };
            addresses.contain(address) && ports.contain(port)
        };
        if side(self.source, self.source_port, true) && side(self.destination, self.destination_port, false) {
            return Some(false);
        }
        let reversed =
            side(self.destination, self.destination_port, true) && side(self.source, self.source_port, false);
        reversed.then_some(true)
    }
}

/// How specific a rule is, time aside; the greater, the more. Fields are compared from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    exact_ports: u8,
    /// Ports that are not asked for: 131,072 less the width of both ranges.
    ports_left_out: u32,
    address_bits: u16,
    protocol_given: bool,
    forward: bool,
}

impl Rank {
    fn of(rule: &Rule, reversed: bool) -> Self {
        let ports = [rule.source_port, rule.destination_port];
        Self {
            exact_ports: ports.iter().filter(|ports| ports.exact().is_some()).count() as u8,
            ports_left_out: 131_072 - ports.iter().map(|ports| ports.width()).sum::<u32>(),
            address_bits: rule.source.prefix() + rule.destination.prefix(),
            protocol_given: rule.protocol.is_some(),
            forward: !reversed,
        }
    }
}

/// How well a rule's window fits a flow; the greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct TimeRank {
    /// Time in common; the gap, negative, if there is none.
    common_us: i64,
    /// The negative length of the window.
    narrow_us: i64,
    first_inside: bool,
}

impl TimeRank {
    fn of(rule: &Rule, tuple: &Tuple) -> Self {
        let common_us = rule.end_us.min(tuple.last_us).saturating_sub(rule.start_us.max(tuple.first_us));
        Self {
            common_us,
            narrow_us: rule.start_us.saturating_sub(rule.end_us),
            first_inside: rule.start_us <= tuple.first_us && tuple.first_us <= rule.end_us,
        }
    }

    const fn truly_overlaps(&self) -> bool {
        self.common_us >= 0
    }
}

/// The best rule of each class, among the most specific ones seen.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    rank: Option<Rank>,
    by_class: [Option<Candidate>; Class::ALL.len()],
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    time: TimeRank,
    number: u32,
    class: Class,
}

impl Candidate {
    /// Earlier rows are better.
    fn key(&self) -> (TimeRank, std::cmp::Reverse<u32>) {
        (self.time, std::cmp::Reverse(self.number))
    }
}

impl Found {
    fn add(&mut self, rank: Rank, time: TimeRank, number: u32, class: Class) {
        if self.rank.is_some_and(|best| best > rank) {
            return;
        }
        if self.rank != Some(rank) {
            *self = Self { rank: Some(rank), ..Self::default() };
        }
        let candidate = Candidate { time, number, class };
        let best = &mut self.by_class[class as usize];
        if best.is_none_or(|best| best.key() < candidate.key()) {
            *best = Some(candidate);
        }
    }

    /// The rule that counts, and the class of the one that contradicts it.
    fn winner(&self) -> Option<(u32, Option<Class>)> {
        let all = || self.by_class.iter().flatten();
        let true_ones = || all().filter(|candidate| candidate.time.truly_overlaps());
        let hostile = true_ones().filter(|candidate| candidate.class.is_hostile()).max_by_key(|c| c.key());
        match hostile {
            Some(winner) => {
                let rival = true_ones().filter(|c| c.class != winner.class).max_by_key(|c| c.key());
                Some((winner.number, rival.map(|rival| rival.class)))
            }
            None => all().max_by_key(|candidate| candidate.key()).map(|winner| (winner.number, None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::HEADER;
    use crate::counts::LabelCounts;

    const S: i64 = 1_000_000;

    fn table(rows: &str) -> TruthTable {
        TruthTable::from_csv(format!("{HEADER}\n{rows}").as_bytes(), "truth.csv").unwrap()
    }

    /// A flow from 10.0.0.9:40000 to 10.0.0.1:22, in seconds.
    fn flow(first_s: i64, last_s: i64) -> Endpoints {
        Endpoints {
            source: [10, 0, 0, 9].into(),
            source_port: 40_000,
            destination: [10, 0, 0, 1].into(),
            destination_port: 22,
            protocol: 6,
            first: Timestamp::from_micros(first_s * S),
            last: Timestamp::from_micros(last_s * S),
        }
    }

    fn turned(flow: Endpoints) -> Endpoints {
        Endpoints {
            source: flow.destination,
            source_port: flow.destination_port,
            destination: flow.source,
            destination_port: flow.source_port,
            ..flow
        }
    }

    #[track_caller]
    fn row(table: &TruthTable, flow: &Endpoints) -> u64 {
        let label = table.label(flow);
        assert_eq!(label, table.label_by_scan(flow));
        label.map_or(0, |label| label.row)
    }

    #[test]
    fn both_directions_match_and_forward_wins() {
        let both = table(
            "10000000,20000000,10.0.0.9,,10.0.0.1,22,tcp,scan,1,,,,,\n\
             10000000,20000000,10.0.0.1,22,10.0.0.9,,tcp,benign,0,,,,,\n",
        );
        assert_eq!(row(&both, &flow(11, 12)), 2);
        assert_eq!(row(&both, &turned(flow(11, 12))), 3);
        assert!(!both.label(&flow(11, 12)).unwrap().conflict);
        let one = table("10000000,20000000,10.0.0.9,40000,10.0.0.1,22,tcp,scan,1,,,,,\n");
        assert!(!one.label(&flow(11, 12)).unwrap().reversed);
        assert!(one.label(&turned(flow(11, 12))).unwrap().reversed);
        // Addresses reversed, but not the ports.
        let mixed = Endpoints { source_port: 22, destination_port: 40_000, ..flow(11, 12) };
        assert_eq!(row(&one, &mixed), 0);
    }

    #[test]
    fn slack_is_half_a_second_before_and_two_after() {
        let table = table("10000000,20000000,10.0.0.9,,10.0.0.1,22,tcp,scan,1,,,,,\n");
        let at = |table: &TruthTable, micros: i64| {
            let instant = Timestamp::from_micros(micros);
            row(table, &Endpoints { first: instant, last: instant, ..flow(0, 0) })
        };
        assert_eq!((at(&table, 9_499_999), at(&table, 9_500_000)), (0, 2));
        assert_eq!((at(&table, 22_000_000), at(&table, 22_000_001)), (2, 0));
        let exact = table.with_slack(Slack { before_us: 0, after_us: 0 });
        assert_eq!((at(&exact, 9_999_999), at(&exact, 10_000_000)), (0, 2));
        assert_eq!((at(&exact, 20_000_000), at(&exact, 20_000_001)), (2, 0));
        // A flow around the window, and one whose last packet came "before" its first.
        assert_eq!(row(&exact, &flow(0, 30)), 2);
        assert_eq!(row(&exact, &flow(30, 15)), 2);
    }

    /// Each row is more specific than the one before it.
    #[test]
    fn the_most_specific_row_wins() {
        let rows = [
            ",,*,,*,,,benign,0,,,,,",
            ",,*,,*,,tcp,benign,0,,,,,",
            ",,10.0.0.0/8,,*,,tcp,benign,0,,,,,",
            ",,10.0.0.0/8,,10.0.0.0/8,,tcp,benign,0,,,,,",
            ",,10.0.0.9,,10.0.0.1,,,benign,0,,,,,",
            ",,*,30000-50000,*,,,benign,0,,,,,",
            ",,*,39000-41000,*,,,benign,0,,,,,",
            ",,*,,*,22,,benign,0,,,,,",
            ",,10.0.0.0/8,,*,22,,benign,0,,,,,",
            ",,10.0.0.9,,10.0.0.1,22,tcp,benign,0,,,,,",
            ",,10.0.0.9,1024-65535,10.0.0.1,22,tcp,benign,0,,,,,",
            ",,*,40000,*,22,,benign,0,,,,,",
            ",,10.0.0.9,40000,10.0.0.1,22,,benign,0,,,,,",
            ",,10.0.0.1,22,10.0.0.9,40000,tcp,benign,0,,,,,",
            ",,10.0.0.9,40000,10.0.0.1,22,tcp,benign,0,,,,,",
            "19000000,21000000,10.0.0.9,40000,10.0.0.1,22,tcp,benign,0,,,,,",
        ];
        for count in 1..=rows.len() {
            let best = count as u64 + 1;
            assert_eq!(row(&table(&(rows[..count].join("\n") + "\n")), &flow(20, 20)), best);
            let mut backwards: Vec<&str> = rows[..count].to_vec();
            backwards.reverse();
            assert_eq!(row(&table(&(backwards.join("\n") + "\n")), &flow(20, 20)), 2, "{count} rows");
        }
    }

    /// The same tuple used twice within the slack: the row that has more time in common counts.
    #[test]
    fn a_reused_tuple_goes_to_the_nearer_row() {
        let table = table(
            "10000000,11000000,10.0.0.9,40000,10.0.0.1,22,tcp,scan,1,,,,,\n\
             12000000,13000000,10.0.0.9,40000,10.0.0.1,22,tcp,dos,1,,,,,\n",
        );
        assert_eq!(row(&table, &flow(10, 11)), 2);
        assert_eq!(row(&table, &flow(12, 13)), 3);
        // In common with neither: the gap to the second is smaller.
        let between = Timestamp::from_micros(11_600_000);
        assert_eq!(row(&table, &Endpoints { first: between, last: between, ..flow(0, 0) }), 3);
        assert!(!table.label(&flow(12, 13)).unwrap().conflict, "the first is in reach by its slack only");
        assert!(table.label(&flow(10, 13)).unwrap().conflict);
    }

    #[test]
    fn conflicts_go_to_the_hostile_row_and_are_counted() {
        let table = table(
            "10000000,90000000,10.0.0.9,,10.0.0.1,22,tcp,benign,0,admin,,,,\n\
             20000000,30000000,10.0.0.9,,10.0.0.1,22,tcp,brute-force,1,guess,,,,\n\
             80000000,95000000,10.0.0.9,,10.0.0.1,22,tcp,scan,1,,,,,\n",
        );
        let mut counts = LabelCounts::new(&table);
        let alone = table.label(&flow(50, 60)).unwrap();
        assert_eq!((alone.class, alone.conflict, alone.rival), (Class::Benign, false, None));
        // Sixty seconds in common with the benign row, one with the hostile one.
        let both = table.label(&flow(29, 79)).unwrap();
        assert_eq!((both.class, both.conflict, both.rival), (Class::BruteForce, true, Some(Class::Benign)));
        assert_eq!((both.row, both.behaviour), (3, "guess"));
        // One second behind the window of the hostile row: within its slack, which makes no conflict.
        let near = table.label(&flow(31, 40)).unwrap();
        assert_eq!((near.class, near.conflict), (Class::Benign, false));
        counts.add(Some(&alone), 10);
        counts.add(Some(&both), 5);
        counts.add(Some(&both), 1);
        counts.add(None, 3);
        assert_eq!(counts.conflicts().collect::<Vec<_>>(), [(Class::BruteForce, Class::Benign, 2)]);
        assert_eq!(counts.class(Class::BruteForce).packets, 6);
        assert_eq!((counts.labelled_flows(), counts.unlabelled().packets), (3, 3));
        assert_eq!(counts.never_used(&table).collect::<Vec<_>>(), [("truth.csv", 4)]);
        assert_eq!(counts.rows_never_used(), 1);
    }

    #[test]
    fn icmp_is_found_by_rows_without_ports() {
        let unreachable =
            |port| Endpoints { source_port: 3, destination_port: port, protocol: 1, ..turned(flow(15, 15)) };
        let ports = table("10000000,20000000,10.0.0.9,40000,10.0.0.1,1,,scan,1,,,,,\n");
        assert_eq!(row(&ports, &unreachable(1)), 0);
        let any = table("10000000,20000000,10.0.0.9,,10.0.0.1,,*,scan,1,,,,,\n");
        assert_eq!(row(&any, &unreachable(1)), 2);
        assert!(any.label(&unreachable(1)).unwrap().reversed);
        let icmp = table("10000000,20000000,10.0.0.9,0,10.0.0.1,0,icmp,scan,1,,,,,\n");
        assert_eq!(row(&icmp, &unreachable(1)), 2);
        assert_eq!(row(&icmp, &flow(15, 15)), 0);
    }

    #[test]
    fn tables_are_joined() {
        let truth = table("10000000,20000000,10.0.0.9,,10.0.0.1,22,tcp,scan,1,a,b,,c,lab\n");
        let rules = |name| {
            TruthTable::from_rules(
                "site = \"lab\"\n[defaults]\nclass = \"benign\"\n[[rule]]\nclass = \"dos\"\nsource = \"10.0.0.0/24\"\n",
                name,
            )
            .unwrap()
        };
        let joined = truth.join(rules("r.toml")).unwrap();
        assert_eq!(joined.rows(), 2);
        let first = joined.label(&flow(15, 15)).unwrap();
        assert_eq!((first.file, first.row, first.behaviour, first.site), ("truth.csv", 2, "a", "lab"));
        let second = joined.label(&flow(50, 50)).unwrap();
        assert_eq!((second.file, second.row, second.behaviour, second.site), ("r.toml", 4, "", "lab"));
        let other = Endpoints { source: [9, 9, 9, 9].into(), ..flow(1, 1) };
        let other = joined.label(&Endpoints { destination: [9, 9, 9, 8].into(), ..other }).unwrap();
        assert_eq!((other.file, other.row, other.class), ("r.toml", 0, Class::Benign));
        let error = joined.join(rules("s.toml")).unwrap_err();
        assert_eq!(error.to_string(), "s.toml: a second [defaults] class; keep the one of r.toml");
    }

    fn any_row() -> impl Strategy<Value = String> {
        let address = prop_oneof![
            4 => (1..4u8).prop_map(|n| format!("10.0.0.{n}")),
            1 => Just("10.0.0.0/30".to_owned()),
            1 => Just("2001:db8::1".to_owned()),
            1 => Just("*".to_owned()),
        ];
        let port = prop_oneof![
            3 => (1..4u16).prop_map(|n| n.to_string()),
            1 => Just("1-2".to_owned()),
            1 => Just(String::new()),
        ];
        let time = (prop::option::weighted(0.9, 0..60i64), 0..20i64);
        let class = prop::sample::select(&["benign,0", "scan,1", "dos,1"][..]);
        let protocol = prop::sample::select(&["tcp", "", "17"][..]);
        (address.clone(), port.clone(), address, port, time, class, protocol).prop_map(
            |(source, from, destination, to, (start, length), class, protocol)| {
                let time = match start {
                    Some(start) => format!("{},{}", start * S, (start + length) * S),
                    None => ",".to_owned(),
                };
                format!("{time},{source},{from},{destination},{to},{protocol},{class},,,,,\n")
            },
        )
    }

    fn any_flow() -> impl Strategy<Value = Endpoints> {
        let address = prop_oneof![
            6 => (1..4u8).prop_map(|n| IpAddr::from([10, 0, 0, n])),
            1 => Just("2001:db8::1".parse().unwrap()),
        ];
        let protocol = prop::sample::select(&[6u8, 17, 1][..]);
        (address.clone(), 1..4u16, address, 1..4u16, protocol, -2_000_000..80 * S, 0..10 * S).prop_map(
            |(source, source_port, destination, destination_port, protocol, first, length)| Endpoints {
                source,
                source_port,
                destination,
                destination_port,
                protocol,
                first: Timestamp::from_micros(first),
                last: Timestamp::from_micros(first + length),
            },
        )
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_scan_finds(
            rows in prop::collection::vec(any_row(), 0..60),
            flows in prop::collection::vec(any_flow(), 1..40),
        ) {
            let table = table(&rows.concat());
            for flow in &flows {
                prop_assert_eq!(table.label(flow), table.label_by_scan(flow), "{:?}", flow);
            }
        }

        /// Order of rows is only the last of all criteria: without equals, it does not matter.
        #[test]
        fn a_flow_and_its_reverse_find_rows_of_the_same_class_sets(flow in any_flow(), rows in prop::collection::vec(any_row(), 0..20)) {
            let table = table(&rows.concat());
            prop_assert_eq!(table.label(&flow).is_some(), table.label(&turned(flow)).is_some());
        }
    }
}
