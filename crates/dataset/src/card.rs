//! The data card: what is in a table, what was left out of it, and what it cannot teach.
//!
//! In: every flow that was met, as a [`Row`] or as a reason for which it was dropped. Out: a [`Card`], plain numbers that
//! `card.json` holds and [`Card::text`] prints. Every flow is counted once: `flows_seen` is `rows` and
//! all that was dropped.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use serde::Serialize;
use tapline_label::Class;

use crate::honesty::Honesty;
use crate::random::Random;
use crate::split::Split;

/// A row as the card sees it.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The network.
    pub site: &'a str,
    /// What it is for.
    pub split: Split,
    /// What it is.
    pub class: Class,
    /// What was done.
    pub behaviour: &'a str,
    /// Whether truth contradicts itself about it.
    pub conflict: bool,
    /// IP protocol number.
    pub protocol: u8,
    /// Port of the responder.
    pub service_port: u16,
    /// Address of the initiator.
    pub initiator: IpAddr,
    /// From first packet to last.
    pub duration_us: i64,
    /// Packets of both directions.
    pub packets: u32,
}

/// Why a flow is no row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dropped {
    /// Truth says nothing about it.
    Unlabelled,
    /// The label of its file cannot be trusted, or is none of our classes.
    FileNotTrusted,
    /// Ordinary traffic of an infected host, which the label of its file does not hold for.
    HostBackground,
    /// Met before in another capture.
    Copy,
    /// Beyond the cap of flows of a file and class.
    FileCap,
    /// Beyond the cap of flows of a run and behaviour.
    BehaviourCap,
    /// Hostile, beyond what the share of benign flows allows.
    BenignShare,
}

impl Dropped {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Unlabelled => "no label",
            Self::FileNotTrusted => "label of the file not trusted, or none of the classes",
            Self::HostBackground => "ordinary traffic of an infected host",
            Self::Copy => "copy of a flow in another capture",
            Self::FileCap => "cap of flows per file and class",
            Self::BehaviourCap => "cap of flows per run and behaviour",
            Self::BenignShare => "hostile, beyond the benign share",
        }
    }
}

/// How the table was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Program and version.
    pub producer: String,
    /// The command line.
    pub command: String,
    /// Schema of the feature columns.
    pub schema: String,
    /// Its hash.
    pub schema_hash: String,
    /// Caps and shares, in words.
    pub caps: String,
    /// Capture files that were read.
    pub captures: u64,
    /// Runs of the testbed among the sources.
    pub runs: u64,
}

/// The card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card {
    /// How the table was made.
    pub made: Made,
    /// Flows met.
    pub flows_seen: u64,
    /// Flows in the table.
    pub rows: u64,
    /// Rows that truth contradicts itself about.
    pub conflicts: u64,
    /// Rows by site, then class.
    pub sites: BTreeMap<String, BTreeMap<&'static str, u64>>,
    /// The split of each site's rows; more than one is a fault of the sources.
    pub splits_of_sites: BTreeMap<String, BTreeSet<&'static str>>,
    /// Rows by class and behaviour.
    pub behaviours: Vec<Behaviour>,
    /// Rows by class, then IP protocol.
    pub class_by_protocol: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Rows by class, then kind of service.
    pub class_by_service: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Rows by class, then split.
    pub class_by_split: BTreeMap<&'static str, BTreeMap<&'static str, u64>>,
    /// Initiators by site.
    pub hosts: BTreeMap<String, Hosts>,
    /// Initiators that were not counted because the table of hosts was full.
    pub hosts_not_counted: u64,
    /// What is no row, and why.
    pub dropped: Vec<DroppedCount>,
    /// What the table cannot teach.
    pub gaps: Vec<String>,
    /// What the makers should look at.
    pub warnings: Vec<String>,
    /// The honesty checks, unless they were skipped.
    pub honesty: Option<Honesty>,
}

/// Rows of one behaviour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Behaviour {
    /// Its class.
    pub class: &'static str,
    /// Its name.
    pub behaviour: String,
    /// Rows.
    pub flows: u64,
    /// Their packets.
    pub packets: u64,
    /// The duration that half of them do not exceed; of a sample where there are more than 5,000.
    pub median_duration_us: i64,
    /// Sites that show it.
    pub sites: usize,
    /// Splits that hold it.
    pub splits: BTreeSet<&'static str>,
}

/// Initiators of a site.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hosts {
    /// With benign rows only.
    pub benign_only: u64,
    /// With hostile rows only: an address that gives the answer away.
    pub hostile_only: u64,
    /// With both.
    pub both: u64,
}

/// Flows dropped for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DroppedCount {
    /// Why.
    pub reason: Dropped,
    /// Of which site.
    pub site: String,
    /// Class, if they had one.
    pub class: Option<&'static str>,
    /// How many.
    pub flows: u64,
}

/// Counts rows and what is dropped.
#[derive(Debug)]
pub struct CardBuilder {
    flows_seen: u64,
    rows: u64,
    conflicts: u64,
    sites: BTreeMap<String, [u64; CLASSES]>,
    splits_of_sites: BTreeMap<String, BTreeSet<&'static str>>,
    behaviours: BTreeMap<(Class, String), BehaviourCount>,
    protocols: BTreeMap<(Class, u8), u64>,
    services: BTreeMap<(Class, &'static str), u64>,
    splits: BTreeMap<(Class, Split), u64>,
    /// Site, by its place in `site_numbers`, and address: 1 benign, 2 hostile.
    hosts: HashMap<(u32, IpAddr), u8>,
    site_numbers: HashMap<String, u32>,
    hosts_not_counted: u64,
    dropped: BTreeMap<(Dropped, String, Option<Class>), u64>,
    warnings: Vec<String>,
    warnings_not_kept: u64,
    random: Random,
}

#[derive(Debug, Default)]
struct BehaviourCount {
    flows: u64,
    packets: u64,
    durations_us: Vec<i64>,
    sites: BTreeSet<String>,
    splits: BTreeSet<&'static str>,
}

const CLASSES: usize = Class::ALL.len();

/// Sites, and behaviours, that have a line of their own; what comes later shares the line [`OTHERS`].
const NAMES_MAX: usize = 1_024;

/// The line of the names that came too late.
const OTHERS: &str = "(others)";

/// Hosts that are told apart.
const HOSTS_MAX: usize = 1_000_000;

/// Durations of a behaviour that are kept for the median.
const DURATIONS_MAX: usize = 5_000;

/// Warnings that are kept.
const WARNINGS_MAX: usize = 100;

impl Default for CardBuilder {
    fn default() -> Self {
        Self {
            flows_seen: 0,
            rows: 0,
            conflicts: 0,
            sites: BTreeMap::new(),
            splits_of_sites: BTreeMap::new(),
            behaviours: BTreeMap::new(),
            protocols: BTreeMap::new(),
            services: BTreeMap::new(),
            splits: BTreeMap::new(),
            hosts: HashMap::new(),
            site_numbers: HashMap::new(),
            hosts_not_counted: 0,
            dropped: BTreeMap::new(),
            warnings: Vec::new(),
            warnings_not_kept: 0,
            random: Random::new(0),
        }
    }
}

impl CardBuilder {
    /// Counts a row.
    pub fn add(&mut self, row: &Row<'_>) {
        self.flows_seen += 1;
        self.rows += 1;
        self.conflicts += u64::from(row.conflict);
        let site = self.site_name(row.site);
        self.sites.entry(site.clone()).or_default()[row.class as usize] += 1;
        self.splits_of_sites.entry(site.clone()).or_default().insert(row.split.name());
        self.add_behaviour(row, &site);
        *self.protocols.entry((row.class, row.protocol)).or_default() += 1;
        *self.services.entry((row.class, service(row.protocol, row.service_port))).or_default() += 1;
        *self.splits.entry((row.class, row.split)).or_default() += 1;
        self.add_host(&site, row);
    }

    /// Counts flows that are no rows.
    pub fn add_dropped(&mut self, reason: Dropped, site: &str, class: Option<Class>, flows: u64) {
        if flows > 0 {
            self.flows_seen += flows;
            let site = self.site_name(site);
            *self.dropped.entry((reason, site, class)).or_default() += flows;
        }
    }

    /// Remembers what the makers should look at.
    pub fn warn(&mut self, warning: String) {
        if self.warnings.len() < WARNINGS_MAX {
            self.warnings.push(warning);
        } else {
            self.warnings_not_kept += 1;
        }
    }

    /// Rows so far.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The card.
    #[must_use]
    pub fn finish(mut self, made: Made, honesty: Option<Honesty>) -> Card {
        if self.warnings_not_kept > 0 {
            self.warnings.push(format!("{} further warnings", self.warnings_not_kept));
        }
        let gaps = self.gaps();
        let mut hosts: BTreeMap<String, Hosts> = BTreeMap::new();
        let names: HashMap<u32, &String> =
            self.site_numbers.iter().map(|(name, number)| (*number, name)).collect();
        for ((site, _), kinds) in &self.hosts {
            let Some(name) = names.get(site) else { continue };
            let of_site = hosts.entry((*name).clone()).or_default();
            *match kinds {
                1 => &mut of_site.benign_only,
                2 => &mut of_site.hostile_only,
                _ => &mut of_site.both,
            } += 1;
        }
        let by_class = |counts: &[u64; CLASSES]| {
            Class::ALL
                .into_iter()
                .map(|class| (class.name(), counts[class as usize]))
                .filter(|(_, count)| *count > 0)
                .collect()
        };
        Card {
            made,
            flows_seen: self.flows_seen,
            rows: self.rows,
            conflicts: self.conflicts,
            sites: self.sites.iter().map(|(site, counts)| (site.clone(), by_class(counts))).collect(),
            splits_of_sites: self.splits_of_sites,
            behaviours: self.behaviours.into_iter().map(behaviour).collect(),
            class_by_protocol: cross(
                self.protocols.iter().map(|((class, protocol), n)| (*class, protocol_name(*protocol), *n)),
            ),
            class_by_service: cross(self.services.iter().map(|((class, service), n)| (*class, *service, *n))),
            class_by_split: cross(self.splits.iter().map(|((class, split), n)| (*class, split.name(), *n))),
            hosts,
            hosts_not_counted: self.hosts_not_counted,
            dropped: self
                .dropped
                .into_iter()
                .map(|((reason, site, class), flows)| DroppedCount {
                    reason,
                    site,
                    class: class.map(Class::name),
                    flows,
                })
                .collect(),
            gaps,
            warnings: self.warnings,
            honesty,
        }
    }

    fn site_name(&mut self, site: &str) -> String {
        if self.site_numbers.contains_key(site) {
            return site.to_owned();
        }
        let number = self.site_numbers.len();
        let name = if number < NAMES_MAX { site } else { OTHERS };
        self.site_numbers.entry(name.to_owned()).or_insert(number as u32);
        name.to_owned()
    }

    fn add_behaviour(&mut self, row: &Row<'_>, site: &str) {
        let mut key = (row.class, row.behaviour.to_owned());
        if self.behaviours.len() >= NAMES_MAX && !self.behaviours.contains_key(&key) {
            OTHERS.clone_into(&mut key.1);
        }
        let count = self.behaviours.entry(key).or_default();
        count.flows += 1;
        count.packets += u64::from(row.packets);
        if !count.sites.contains(site) {
            count.sites.insert(site.to_owned());
        }
        count.splits.insert(row.split.name());
        if count.durations_us.len() < DURATIONS_MAX {
            count.durations_us.push(row.duration_us);
        } else {
            let at = self.random.below(count.flows as usize);
            if let Some(slot) = count.durations_us.get_mut(at) {
                *slot = row.duration_us;
            }
        }
    }

    fn add_host(&mut self, site: &str, row: &Row<'_>) {
        let Some(number) = self.site_numbers.get(site) else { return };
        let key = (*number, row.initiator);
        let kind = 1 << u8::from(row.class.is_hostile());
        if let Some(kinds) = self.hosts.get_mut(&key) {
            *kinds |= kind;
        } else if self.hosts.len() < HOSTS_MAX {
            self.hosts.insert(key, kind);
        } else {
            self.hosts_not_counted += 1;
        }
    }

    fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        let splits: BTreeSet<Split> = self.splits.keys().map(|(_, split)| *split).collect();
        for split in [Split::Train, Split::Validate, Split::Test] {
            if !splits.contains(&split) {
                gaps.push(format!("no flow at all in {split}"));
                continue;
            }
            for class in Class::ALL {
                if !self.splits.contains_key(&(class, split)) {
                    gaps.push(format!("no {class} flow in {split}"));
                }
            }
        }
        for (class, count) in Class::ALL.into_iter().zip(0..CLASSES) {
            let sites: Vec<&String> =
                self.sites.iter().filter(|(_, counts)| counts[count] > 0).map(|(site, _)| site).collect();
            if let [only] = sites[..] {
                gaps.push(format!(
                    "{class} flows of one site only ({only}): nothing can be said about others"
                ));
            }
        }
        for ((class, behaviour), count) in &self.behaviours {
            if count.sites.len() == 1 && self.sites.len() > 1 {
                let site = count.sites.first().map_or("", String::as_str);
                gaps.push(format!("{class}/{behaviour} on one site only ({site})"));
            }
        }
        for (site, splits) in &self.splits_of_sites {
            if splits.len() > 1 {
                let splits: Vec<&str> = splits.iter().copied().collect();
                gaps.push(format!("site {site} is in {}: the splits share a network", splits.join(" and ")));
            }
        }
        gaps
    }
}

fn behaviour(((class, behaviour), mut count): ((Class, String), BehaviourCount)) -> Behaviour {
    count.durations_us.sort_unstable();
    let middle = count.durations_us.len().saturating_sub(1) / 2;
    Behaviour {
        class: class.name(),
        behaviour,
        flows: count.flows,
        packets: count.packets,
        median_duration_us: count.durations_us.get(middle).copied().unwrap_or(0),
        sites: count.sites.len(),
        splits: count.splits,
    }
}

fn cross<K: Ord>(cells: impl Iterator<Item = (Class, K, u64)>) -> BTreeMap<&'static str, BTreeMap<K, u64>> {
    let mut table: BTreeMap<&'static str, BTreeMap<K, u64>> = BTreeMap::new();
    for (class, key, count) in cells {
        *table.entry(class.name()).or_default().entry(key).or_default() += count;
    }
    table
}

fn protocol_name(number: u8) -> &'static str {
    match number {
        1 => "icmp",
        2 => "igmp",
        6 => "tcp",
        17 => "udp",
        58 => "icmp6",
        132 => "sctp",
        _ => "other",
    }
}

/// The kind of service that a responder's port stands for.
#[must_use]
pub fn service(ip_protocol: u8, port: u16) -> &'static str {
    if !matches!(ip_protocol, 6 | 17 | 132) {
        return "no ports";
    }
    match port {
        20 | 21 => "ftp",
        22 => "ssh",
        23 => "telnet",
        25 | 110 | 143 | 465 | 587 | 993 | 995 => "mail",
        53 | 853 | 5353 | 5355 => "names",
        67 | 68 | 123 | 546 | 547 | 1900 => "leases, time, announcements",
        80 | 8000 | 8008 | 8080 | 8888 => "http",
        443 | 8443 => "https",
        88 | 135 | 137..=139 | 389 | 445 | 464 | 636 | 3268 => "windows",
        502 | 102 | 2404 | 4840 | 20_000 | 44_818 | 47_808 => "industrial",
        1433 | 1521 | 3306 | 5432 | 6379 | 27_017 => "database",
        1883 | 8883 | 5683 => "iot",
        3389 | 5900 => "remote desktop",
        0..=1_023 => "other below 1024",
        1_024..=49_151 => "other below 49152",
        49_152.. => "49152 and above",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(site: &'static str, split: Split, class: Class, host: u8) -> Row<'static> {
        Row {
            site,
            split,
            class,
            behaviour: if class.is_hostile() { "probe" } else { "web" },
            conflict: false,
            protocol: 6,
            service_port: 443,
            initiator: [10, 0, 0, host].into(),
            duration_us: i64::from(host) * 100,
            packets: 2,
        }
    }

    #[test]
    fn every_flow_is_counted_once() {
        let mut builder = CardBuilder::default();
        for host in 1..=5 {
            builder.add(&row("a", Split::Train, Class::Benign, host));
        }
        builder.add(&row("a", Split::Train, Class::Scan, 5));
        builder.add(&row("a", Split::Train, Class::Scan, 6));
        builder.add(&row("b", Split::Test, Class::Benign, 6));
        builder.add_dropped(Dropped::Unlabelled, "a", None, 4);
        builder.add_dropped(Dropped::Copy, "b", Some(Class::Dos), 0);
        let card = builder.finish(Made::default(), None);
        assert_eq!((card.flows_seen, card.rows), (12, 8));
        assert_eq!(card.sites["a"]["scan"], 2);
        assert_eq!(card.hosts["a"], Hosts { benign_only: 4, hostile_only: 1, both: 1 });
        assert_eq!(card.class_by_service["scan"]["https"], 2);
        assert_eq!(card.class_by_split["benign"]["train"], 5);
        let web = &card.behaviours[0];
        assert_eq!(
            (web.behaviour.as_str(), web.flows, web.packets, web.median_duration_us),
            ("web", 6, 12, 300)
        );
        assert_eq!(card.dropped.len(), 1);
        for gap in [
            "no flow at all in validate",
            "no scan flow in test",
            "scan flows of one site only (a): nothing can be said about others",
            "scan/probe on one site only (a)",
        ] {
            assert!(card.gaps.iter().any(|known| known == gap), "{gap}: {:#?}", card.gaps);
        }
    }

    #[test]
    fn a_network_in_two_splits_is_told() {
        let mut builder = CardBuilder::default();
        builder.add(&row("a", Split::Train, Class::Benign, 1));
        builder.add(&row("a", Split::Test, Class::Benign, 1));
        let card = builder.finish(Made::default(), None);
        assert!(card.gaps.contains(&"site a is in test and train: the splits share a network".to_owned()));
    }

    #[test]
    fn names_are_bounded() {
        let mut builder = CardBuilder::default();
        let names: Vec<String> = (0..NAMES_MAX + 10).map(|n| n.to_string()).collect();
        for name in &names {
            builder.add(&Row { site: name, behaviour: name, ..row("", Split::Train, Class::Dos, 1) });
        }
        let card = builder.finish(Made::default(), None);
        assert_eq!((card.sites.len(), card.behaviours.len()), (NAMES_MAX + 1, NAMES_MAX + 1));
        assert_eq!(card.sites[OTHERS]["dos"], 10);
    }
}
