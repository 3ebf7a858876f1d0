//! Which rules a flow has to be compared with.
//!
//! Rules that name two endpoints are found by the pair of endpoints, rules that name two addresses by the pair of
//! addresses, whichever way round; the others (networks, wildcards) stand in one list. Within each group rules are
//! sorted by their start, with the latest end so far beside them, so that a window of time is cut out by a binary
//! search and a short walk. Rows of exact endpoints therefore cost the same however many there are; rules of networks
//! and wildcards cost with the number of those that are in force at the time.

use std::collections::HashMap;
use std::ops::Range;

use crate::rule::{Address, Rule};
use crate::table::{Tuple, Window};

#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Numbers of rules: group after group, by start within each.
    order: Vec<u32>,
    /// The latest end of the rules of the group up to this one.
    latest_end_us: Vec<i64>,
    by_endpoints: HashMap<[(Address, u16); 2], Range<u32>>,
    by_addresses: HashMap<[Address; 2], Range<u32>>,
    others: Range<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Endpoints([(Address, u16); 2]),
    Addresses([Address; 2]),
    Other,
}

impl Index {
    /// Indexes rules, of which there are fewer than 2^32.
    pub(crate) fn new(rules: &[Rule]) -> Self {
        let mut order: Vec<u32> = (0..rules.len() as u32).collect();
        order.sort_unstable_by_key(|number| {
            let rule = &rules[*number as usize];
            (Group::of(rule), rule.start_us, *number)
        });
        let mut index = Self { latest_end_us: Vec::with_capacity(order.len()), ..Self::default() };
        let mut begin = 0;
        for run in order.chunk_by(|a, b| Group::of(&rules[*a as usize]) == Group::of(&rules[*b as usize])) {
            let mut latest = i64::MIN;
            for number in run {
                latest = latest.max(rules[*number as usize].end_us);
                index.latest_end_us.push(latest);
            }
            let range = begin..begin + run.len() as u32;
            begin = range.end;
            match Group::of(&rules[run[0] as usize]) {
                Group::Endpoints(pair) => drop(index.by_endpoints.insert(pair, range)),
                Group::Addresses(pair) => drop(index.by_addresses.insert(pair, range)),
                Group::Other => index.others = range,
            }
        }
        index.order = order;
        index
    }

    /// Rules of exactly the flow's endpoints. If one of them matches, no other rule can be more specific, nor as
    /// specific.
    pub(crate) fn of_endpoints<'a>(
        &'a self,
        rules: &'a [Rule],
        tuple: &Tuple,
        window: Window,
    ) -> impl Iterator<Item = u32> + 'a {
        let pair = ordered((tuple.source, tuple.source_port), (tuple.destination, tuple.destination_port));
        self.in_force(rules, self.by_endpoints.get(&pair), window)
    }

    /// All other rules that may be about the flow.
    pub(crate) fn of_others<'a>(
        &'a self,
        rules: &'a [Rule],
        tuple: &Tuple,
        window: Window,
    ) -> impl Iterator<Item = u32> + 'a {
        let pair = ordered(tuple.source, tuple.destination);
        self.in_force(rules, self.by_addresses.get(&pair), window).chain(self.in_force(
            rules,
            Some(&self.others),
            window,
        ))
    }

    /// Rules of a group that start by the end of the window, latest first, as long as one before them may still end
    /// after its start.
    fn in_force<'a>(
        &'a self,
        rules: &'a [Rule],
        group: Option<&Range<u32>>,
        window: Window,
    ) -> impl Iterator<Item = u32> + 'a {
        let group = group.map_or(0..0, |range| range.start as usize..range.end as usize);
        let order = &self.order[group.clone()];
        let latest_end_us = &self.latest_end_us[group];
        let started = order.partition_point(|number| rules[*number as usize].start_us <= window.to_us);
        (0..started).rev().take_while(move |at| latest_end_us[*at] >= window.from_us).map(move |at| order[at])
    }
}

impl Group {
    fn of(rule: &Rule) -> Self {
        let (Some(source), Some(destination)) = (rule.source.exact(), rule.destination.exact()) else {
            return Self::Other;
        };
        match (rule.source_port.exact(), rule.destination_port.exact()) {
            (Some(from), Some(to)) => Self::Endpoints(ordered((source, from), (destination, to))),
            _ => Self::Addresses(ordered(source, destination)),
        }
    }
}

fn ordered<T: Ord>(a: T, b: T) -> [T; 2] {
    if a <= b { [a, b] } else { [b, a] }
}
