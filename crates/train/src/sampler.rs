//! Which windows an epoch sees: drawn with weights, so that no source and no behaviour swamps the others.
//!
//! A window belongs to the rarest group (source, class, behaviour) among the flows that it judges; a hostile one if there
//! is any. A group of n windows is drawn in proportion to the square root of n: between each flow alike (large captures
//! rule) and each group alike (a handful of windows is learnt by heart). Hostile windows get `hostile_share` of the
//! draws; the benign rest is divided evenly among the networks, since it is benign coverage that sets the false alarms.
//!
//! In: windows, labels, a seed. Out: for each epoch batches of window numbers; in a batch windows are of similar length.

use std::collections::BTreeMap;

use crate::{CLASSES, Random, Table, TrainError, Windows};

/// Settings of the sampler.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerSpec {
    /// Windows of a batch.
    pub batch_windows: usize,
    /// Batches of an epoch; 0: as many as there are windows for.
    pub batches: usize,
    /// Share of the draws that judge something hostile.
    pub hostile_share: f64,
    /// How much more often windows are drawn, by how their source begins; else 1.
    pub weights: BTreeMap<String, f64>,
    /// Of all draws.
    pub seed: u64,
}

/// Draws windows.
#[derive(Clone, Debug)]
pub struct Sampler {
    spec: SamplerSpec,
    /// Weights of the windows, added up; the last is the weight of all.
    sums: Vec<f64>,
    lengths: Vec<u32>,
    groups: Vec<Group>,
    /// Steps judged per class in a mean draw.
    class_steps: [f64; CLASSES.len()],
}

/// Windows that are drawn alike.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Number of the source.
    pub source: u32,
    /// Class.
    pub class: u8,
    /// Number of the behaviour.
    pub behaviour: u32,
    /// Windows.
    pub windows: usize,
    /// Share of the draws.
    pub share: f64,
}

impl Sampler {
    /// Weighs the windows.
    ///
    /// # Errors
    ///
    /// There are no windows.
    pub fn new(table: &Table, windows: &Windows, spec: SamplerSpec) -> Result<Self, TrainError> {
        if windows.is_empty() {
            return Err(TrainError::Data { reason: "there are no windows to train on".to_owned() });
        }
        let mut rows: BTreeMap<Key, usize> = BTreeMap::new();
        for window in 0..windows.len() {
            for row in windows.judged(window) {
                *rows.entry(key(table, *row)).or_default() += 1;
            }
        }
        let keys: Vec<Key> = (0..windows.len())
            .map(|window| {
                let keys = windows.judged(window).iter().map(|row| key(table, *row));
                keys.min_by_key(|key| (key.1 == 0, rows[key], *key)).unwrap_or_default()
            })
            .collect();
        let counts = count(&keys);
        let shares =
            shares(&counts, spec.hostile_share, |source| source_weight(table, source, &spec.weights));

        let mut class_steps = [0.0; CLASSES.len()];
        let mut sums = Vec::with_capacity(windows.len());
        let mut sum = 0.0;
        for (window, key) in keys.iter().enumerate() {
            let weight = shares[key] / counts[key] as f64;
            sum += weight;
            sums.push(sum);
            for row in windows.judged(window) {
                class_steps[usize::from(table.class[*row as usize])] += weight;
            }
        }
        let groups = counts
            .iter()
            .map(|(key, windows)| Group {
                source: key.0,
                class: key.1,
                behaviour: key.2,
                windows: *windows,
                share: shares[key],
            })
            .collect();
        let lengths = (0..windows.len()).map(|window| windows.steps(window).len() as u32).collect();
        Ok(Self { spec, sums, lengths, groups, class_steps })
    }

    /// Batches of an epoch.
    #[must_use]
    pub fn batches(&self) -> usize {
        match self.spec.batches {
            0 => self.lengths.len().div_ceil(self.spec.batch_windows.max(1)),
            batches => batches,
        }
    }

    /// The groups and their shares.
    #[must_use]
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// How many steps of each class a draw judges in the mean.
    #[must_use]
    pub const fn class_steps(&self) -> &[f64; CLASSES.len()] {
        &self.class_steps
    }

    /// The batches of an epoch. The same epoch is always the same.
    #[must_use]
    pub fn epoch(&self, epoch: u32) -> Vec<Vec<u32>> {
        let mut random = Random::stream(self.spec.seed, "sampler", u64::from(epoch));
        let windows = self.spec.batch_windows.max(1);
        let batches = self.batches();
        let all = self.sums.last().copied().unwrap_or(0.0);
        let mut drawn = Vec::with_capacity(batches);
        while drawn.len() < batches {
            let pool = POOL_BATCHES.min(batches - drawn.len());
            let mut pool: Vec<u32> = (0..pool * windows)
                .map(|_| {
                    let at = random.uniform() * all;
                    self.sums.partition_point(|sum| *sum <= at).min(self.sums.len() - 1) as u32
                })
                .collect();
            pool.sort_by_key(|window| self.lengths[*window as usize]);
            drawn.extend(pool.chunks(windows).map(<[u32]>::to_vec));
        }
        random.shuffle(&mut drawn);
        drawn
    }
}

/// Weights of rows, where windows play no part: in the mean 1, and each group has the share that its windows would have.
#[must_use]
pub fn row_weights(table: &Table, rows: &[u32], spec: &SamplerSpec) -> Vec<f32> {
    let keys: Vec<Key> = rows.iter().map(|row| key(table, *row)).collect();
    let counts = count(&keys);
    let shares = shares(&counts, spec.hostile_share, |source| source_weight(table, source, &spec.weights));
    keys.iter().map(|key| (shares[key] / counts[key] as f64 * rows.len() as f64) as f32).collect()
}

/// Source, class, behaviour.
type Key = (u32, u8, u32);

fn key(table: &Table, row: u32) -> Key {
    let at = row as usize;
    (table.source.id(at), table.class[at], table.behaviour.id(at))
}

fn count(keys: &[Key]) -> BTreeMap<Key, usize> {
    let mut counts = BTreeMap::new();
    for key in keys {
        *counts.entry(*key).or_default() += 1;
    }
    counts
}

/// How much more a source counts than others.
fn source_weight(table: &Table, source: u32, weights: &BTreeMap<String, f64>) -> f64 {
    let name = &table.source.all()[source as usize];
    let of = |(prefix, weight): (&String, &f64)| name.starts_with(prefix.as_str()).then_some(*weight);
    weights.iter().rev().find_map(of).unwrap_or(1.0)
}

/// Shares of the groups, from how many belong to each.
fn shares(
    counts: &BTreeMap<Key, usize>,
    hostile_share: f64,
    weight: impl Fn(u32) -> f64,
) -> BTreeMap<Key, f64> {
    let (mut hostile, mut benign) = (0.0, 0.0);
    let mut benign_roots: BTreeMap<u32, f64> = BTreeMap::new();
    let root = |count: &usize| (*count as f64).sqrt();
    for ((source, class, _), count) in counts {
        if *class == 0 {
            *benign_roots.entry(*source).or_default() += root(count);
        } else {
            hostile += root(count) * weight(*source);
        }
    }
    for source in benign_roots.keys() {
        benign += weight(*source);
    }
    let hostile_share = match (hostile > 0.0, benign > 0.0) {
        (false, _) => 0.0,
        (true, false) => 1.0,
        (true, true) => hostile_share.clamp(0.0, 1.0),
    };
    let share = |(key, count): (&Key, &usize)| {
        let (source, class, _) = key;
        let part = root(count) * weight(*source);
        let share = if *class == 0 {
            (1.0 - hostile_share) * part / benign_roots[source] / benign
        } else {
            hostile_share * part / hostile
        };
        (*key, share)
    };
    counts.iter().map(share).collect()
}

/// Batches within which windows are sorted by length.
const POOL_BATCHES: usize = 32;

#[cfg(test)]
mod tests {
    use tapline_score::manifest;

    use super::*;
    use crate::test_table::{Change, TestRow, write};

    /// Every row its own window.
    fn sampler(rows: &[TestRow], spec: SamplerSpec) -> (Table, Windows, Sampler) {
        let table = Table::read(write(&["x"], rows, Change::None).path()).unwrap();
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let rule = manifest::Window {
            steps: 3,
            stride: 1,
            deadline_us: 0,
            computed_at_most: 3,
            padding: "left".to_owned(),
        };
        let windows = Windows::of(&table, &all, &rule);
        let sampler = Sampler::new(&table, &windows, spec).unwrap();
        (table, windows, sampler)
    }

    fn rows(parts: &[(usize, &'static str, &'static str, &'static str)]) -> Vec<TestRow> {
        let rows = parts.iter().flat_map(|(count, site, class, behaviour)| {
            let row = TestRow { x: vec![0.0], site, run: site, class, behaviour, ..TestRow::default() };
            std::iter::repeat_n(row, *count)
        });
        rows.collect()
    }

    const SPEC: SamplerSpec =
        SamplerSpec { batch_windows: 8, batches: 0, hostile_share: 0.4, weights: BTreeMap::new(), seed: 1 };

    #[test]
    fn shares_are_those_by_hand() {
        // Hostile roots 20 and 5; benign: network a has 30 + 10, network b 10 alone.
        let rows = rows(&[
            (900, "a", "benign", "web"),
            (100, "a", "benign", "dns"),
            (100, "b", "benign", "web"),
            (400, "a", "scan", "syn"),
            (25, "b", "c2", "beacon"),
        ]);
        let (table, windows, sampler) = sampler(&rows, SPEC);
        assert_eq!(windows.len(), rows.len());
        let share = |site: &str, class: u8, behaviour: &str| {
            let found = sampler.groups().iter().find(|group| {
                table.source.all()[group.source as usize].ends_with(site)
                    && group.class == class
                    && table.behaviour.all()[group.behaviour as usize] == behaviour
            });
            found.unwrap().share
        };
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} is not {b}");
        close(share("a", 0, "web"), 0.3 * 0.75);
        close(share("a", 0, "dns"), 0.3 * 0.25);
        close(share("b", 0, "web"), 0.3);
        close(share("a", 1, "syn"), 0.4 * 0.8);
        close(share("b", 5, "beacon"), 0.4 * 0.2);
        close(sampler.class_steps()[5], 0.4 * 0.2);

        // Rows alone are weighed alike.
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let weights = row_weights(&table, &all, &SPEC);
        let scans = (0..rows.len()).filter(|row| table.class[*row] == 1);
        close(scans.map(|row| f64::from(weights[row])).sum::<f64>() / rows.len() as f64, 0.4 * 0.8);

        let mut drawn = [0_usize; CLASSES.len()];
        for epoch in 0..40 {
            for window in sampler.epoch(epoch).iter().flatten() {
                drawn[usize::from(table.class[windows.judged(*window as usize)[0] as usize])] += 1;
            }
        }
        let all: usize = drawn.iter().sum();
        assert_eq!(all, 40 * 191 * 8);
        assert!((drawn[1] as f64 / all as f64 - 0.32).abs() < 0.01);
        assert!((drawn[5] as f64 / all as f64 - 0.08).abs() < 0.01);
    }

    #[test]
    fn a_window_belongs_to_the_attack_in_it() {
        let mut mixed = rows(&[(5, "a", "benign", "rare"), (50, "a", "scan", "syn")]);
        mixed.iter_mut().for_each(|row| row.host = "10.0.0.7");
        let table = Table::read(write(&["x"], &mixed, Change::None).path()).unwrap();
        let all: Vec<u32> = (0..55).collect();
        let rule = manifest::Window {
            steps: 10,
            stride: 10,
            deadline_us: 9,
            computed_at_most: 1,
            padding: "left".to_owned(),
        };
        let windows = Windows::of(&table, &all, &rule);
        let sampler = Sampler::new(&table, &windows, SPEC).unwrap();
        assert_eq!(sampler.groups().len(), 1);
        assert_eq!((sampler.groups()[0].class, sampler.groups()[0].windows), (1, 6));
        assert!((sampler.groups()[0].share - 1.0).abs() < 1e-12, "there is no benign window");
    }

    #[test]
    fn an_epoch_repeats_and_lengths_are_alike() {
        let rows = rows(&[(40, "a", "benign", "web"), (40, "b", "scan", "syn")]);
        let (_, windows, sampler) = sampler(&rows, SamplerSpec { batches: 16, ..SPEC });
        assert_eq!(sampler.epoch(3), sampler.epoch(3));
        assert_ne!(sampler.epoch(3), sampler.epoch(4));
        let epoch = sampler.epoch(0);
        assert_eq!((epoch.len(), epoch[0].len()), (16, 8));
        let mixed = epoch
            .iter()
            .filter(|batch| {
                let length = |window: &u32| windows.steps(*window as usize).len();
                batch.iter().map(length).min() != batch.iter().map(length).max()
            })
            .count();
        assert!(mixed <= 2, "lengths 1, 2 and 3 meet in two batches at most");
    }
}
