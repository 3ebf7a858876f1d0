//! Episodes of attacks, and how soon a detector speaks up in one.
//!
//! In: hostile flows of a table. Out: [`Episode`]s, stretches of one behaviour of one host within a run without a long
//! pause; and of an episode the time and the number of flows until the first that is called hostile. An operator meets
//! attacks as episodes, not as flows: half the flows of every scan is a better catch than all flows of every second.

use std::collections::BTreeMap;

use crate::Table;

/// A pause of so long parts two episodes of a behaviour.
pub const PAUSE_US: i64 = 600_000_000;

/// From so many flows on an episode should raise an incident.
pub const WORTH_AN_INCIDENT: usize = 20;

/// A stretch of one hostile behaviour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Episode {
    /// Number of the run in the table.
    pub run: u32,
    /// Number of the host in the table.
    pub host: u32,
    /// Number of the behaviour in the table.
    pub behaviour: u32,
    /// Class of its flows.
    pub class: u8,
    /// First packet of its first flow.
    pub start_us: i64,
    /// When the end of its last flow was certain.
    pub end_us: i64,
    /// Its flows, as places in the list of rows; in the order in which they began.
    pub flows: Vec<u32>,
}

/// How soon an episode was noticed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Noticed {
    /// From the first packet of the episode until the end of the first flow that is called hostile was certain. A window's
    /// deadline may come on top.
    pub after_s: f64,
    /// Flows whose end was certain before.
    pub flows_before: usize,
}

impl Episode {
    /// The episodes among `rows` of a table, by run, host, behaviour, time.
    #[must_use]
    pub fn of(table: &Table, rows: &[u32]) -> Vec<Self> {
        let mut groups: BTreeMap<(u32, u32, u32, u8), Vec<u32>> = BTreeMap::new();
        for (place, row) in rows.iter().enumerate() {
            let row = *row as usize;
            if table.hostile[row] {
                let key = (table.run.id(row), table.host.id(row), table.behaviour.id(row), table.class[row]);
                groups.entry(key).or_default().push(place as u32);
            }
        }
        let start_us = |place: u32| table.start_us[rows[place as usize] as usize];
        let decided_us = |place: u32| table.decided_us[rows[place as usize] as usize];
        let mut episodes = Vec::new();
        for ((run, host, behaviour, class), mut flows) in groups {
            flows.sort_by_key(|place| (start_us(*place), *place));
            for flows in flows.chunk_by(|a, b| start_us(*b) - start_us(*a) <= PAUSE_US) {
                let ends = flows.iter().map(|place| decided_us(*place));
                episodes.push(Self {
                    run,
                    host,
                    behaviour,
                    class,
                    start_us: start_us(flows[0]),
                    end_us: ends.max().expect("a chunk is not empty"),
                    flows: flows.to_vec(),
                });
            }
        }
        episodes
    }

    /// When it was noticed by a detector that calls flows hostile from `threshold` on; `None` if never. `scores` are those
    /// of `rows`, of which the episode is a part.
    #[must_use]
    pub fn noticed(&self, table: &Table, rows: &[u32], scores: &[f32], threshold: f32) -> Option<Noticed> {
        let decided_us = |place: &u32| table.decided_us[rows[*place as usize] as usize];
        let called = self.flows.iter().filter(|place| scores[**place as usize] >= threshold);
        let at_us = called.map(decided_us).min()?;
        Some(Noticed {
            after_s: (at_us - self.start_us).max(0) as f64 / 1e6,
            flows_before: self.flows.iter().filter(|place| decided_us(place) < at_us).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_table::{Change, TestRow, write};

    fn table(rows: &[(&'static str, &'static str, &'static str, i64, i64)]) -> Table {
        let rows: Vec<TestRow> = rows
            .iter()
            .map(|(class, behaviour, host, start_s, decided_s)| TestRow {
                x: vec![0.0],
                class,
                behaviour,
                host,
                start_us: start_s * 1_000_000,
                decided_us: decided_s * 1_000_000,
                ..TestRow::default()
            })
            .collect();
        Table::read(write(&["x"], &rows, Change::None).path()).unwrap()
    }

    #[test]
    fn a_long_pause_parts_episodes() {
        let table = table(&[
            ("scan", "sweep", "h1", 0, 1),
            ("benign", "web", "h1", 1, 2),
            ("scan", "sweep", "h2", 0, 3),
            ("scan", "sweep", "h1", 600, 601),
            ("scan", "slow", "h1", 600, 602),
            ("scan", "sweep", "h1", 1201, 1202),
        ]);
        let rows: Vec<u32> = (0..6).collect();
        let episodes = Episode::of(&table, &rows);
        let flows: Vec<&[u32]> = episodes.iter().map(|episode| episode.flows.as_slice()).collect();
        assert_eq!(flows, [&[0, 3][..], &[5], &[4], &[2]]);
        assert_eq!((episodes[0].start_us, episodes[0].end_us), (0, 601_000_000));
        // Places are those in the list, not in the table.
        assert_eq!(Episode::of(&table, &[1, 3])[0].flows, [1]);
    }

    #[test]
    fn noticed_when_the_first_flow_that_counts_has_ended() {
        let table = table(&[
            ("scan", "sweep", "h", 0, 120),
            ("scan", "sweep", "h", 5, 6),
            ("scan", "sweep", "h", 6, 7),
            ("scan", "sweep", "h", 7, 300),
        ]);
        let rows: Vec<u32> = (0..4).collect();
        let episode = &Episode::of(&table, &rows)[0];
        let noticed = |scores: [f32; 4]| episode.noticed(&table, &rows, &scores, 2.0);
        assert_eq!(noticed([0.0, 1.0, 2.0, 3.0]), Some(Noticed { after_s: 7.0, flows_before: 1 }));
        assert_eq!(noticed([2.0, 0.0, 0.0, 0.0]), Some(Noticed { after_s: 120.0, flows_before: 2 }));
        assert_eq!(noticed([1.9; 4]), None);
    }
}
