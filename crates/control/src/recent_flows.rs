//! [`RecentFlows`]: the latest rows, to be looked at.
//!
//! In: each emitted flow's addresses, class and row. Out: the rows that match a query. At the bound the oldest gives
//! way, and its memory is used again: in the steady state nothing is allocated. It has no lock; its owner shares it.

use std::net::IpAddr;

use crate::sensor::FlowQuery;

/// The latest rows, at most [`Self::MAX`].
#[derive(Debug, Default)]
pub struct RecentFlows {
    kept: Vec<Kept>,
    /// Where the next one goes; once all places are taken, the oldest.
    next: usize,
    /// Rows that were longer than [`Self::LINE_BYTES_MAX`] and were not kept.
    too_long: u64,
}

#[derive(Debug)]
struct Kept {
    initiator: IpAddr,
    responder: IpAddr,
    class: String,
    line: String,
}

impl RecentFlows {
    /// Rows kept.
    pub const MAX: usize = 1_000;
    /// Bytes of a row that is kept; a row of all columns has about 4 KiB.
    pub const LINE_BYTES_MAX: usize = 16 << 10;

    /// Keeps one: a JSON object in text of one line, with or without its line feed. `class` is empty without a verdict.
    pub fn push(&mut self, initiator: IpAddr, responder: IpAddr, class: &str, line: &str) {
        let line = line.trim_end();
        if line.len() > Self::LINE_BYTES_MAX {
            self.too_long += 1;
            return;
        }
        if let Some(oldest) = self.kept.get_mut(self.next) {
            oldest.initiator = initiator;
            oldest.responder = responder;
            oldest.class.clear();
            oldest.class.push_str(class);
            oldest.line.clear();
            oldest.line.push_str(line);
        } else {
            self.kept.push(Kept { initiator, responder, class: class.to_owned(), line: line.to_owned() });
        }
        self.next = (self.next + 1) % Self::MAX;
    }

    /// Those that match, newest first.
    pub fn select(&self, query: &FlowQuery) -> Vec<String> {
        let (newer, older) = self.kept.split_at(self.next.min(self.kept.len()));
        let newest_first = newer.iter().rev().chain(older.iter().rev());
        newest_first
            .filter(|kept| kept.matches(query))
            .take(query.limit)
            .map(|kept| kept.line.clone())
            .collect()
    }

    /// Rows that were longer than [`Self::LINE_BYTES_MAX`] and were not kept.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }
}

impl Kept {
    fn matches(&self, query: &FlowQuery) -> bool {
        query.address.is_none_or(|address| self.initiator == address || self.responder == address)
            && query.class.as_ref().is_none_or(|class| self.class == *class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const B: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    fn query(limit: usize) -> FlowQuery {
        FlowQuery { limit, address: None, class: None }
    }

    #[test]
    fn the_newest_comes_first_and_the_oldest_gives_way() {
        let mut flows = RecentFlows::default();
        assert!(flows.select(&query(5)).is_empty());
        for number in 0..RecentFlows::MAX + 2 {
            flows.push(A, B, "", &format!("{{\"n\":{number}}}\n"));
        }
        let all = flows.select(&query(usize::MAX));
        assert_eq!(all.len(), RecentFlows::MAX);
        assert_eq!(all.first().unwrap(), "{\"n\":1001}");
        assert_eq!(all.last().unwrap(), "{\"n\":2}");
        assert_eq!(flows.select(&query(2)), ["{\"n\":1001}", "{\"n\":1000}"]);
    }

    #[test]
    fn queries_choose_by_either_address_and_by_class() {
        let mut flows = RecentFlows::default();
        let other = "2001:db8::7".parse().unwrap();
        flows.push(A, B, "scan", "1");
        flows.push(other, A, "benign", "2");
        flows.push(other, B, "scan", "3");
        let of = |address, class: Option<&str>| {
            flows.select(&FlowQuery { limit: 9, address, class: class.map(str::to_owned) })
        };
        assert_eq!(of(Some(A), None), ["2", "1"]);
        assert_eq!(of(Some(other), Some("scan")), ["3"]);
        assert_eq!(of(None, Some("scan")), ["3", "1"]);
        assert!(of(None, Some("sca")).is_empty());
    }

    #[test]
    fn a_row_that_is_too_long_is_counted() {
        let mut flows = RecentFlows::default();
        flows.push(A, B, "", &"x".repeat(RecentFlows::LINE_BYTES_MAX + 1));
        assert!(flows.select(&query(9)).is_empty());
        assert_eq!(flows.too_long(), 1);
    }
}
