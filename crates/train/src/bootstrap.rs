//! How far a figure would move with other incidents.
//!
//! In: which flows belong together. Out: for any figure the interval that holds 95 % of what it would have been had other
//! incidents been drawn from the same networks. Flows of one incident resemble one another, so a bootstrap that drew flow by
//! flow would promise far too much (Field and Welsh, Bootstrapping clustered data, 2007).

use serde::Serialize;

use crate::Random;

/// Where a figure would lie with other incidents: 95 % of the rounds of a bootstrap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5 % of the rounds lie below.
    pub low: f64,
    /// 2.5 % of the rounds lie above.
    pub high: f64,
}

/// A bootstrap that draws whole clusters of flows (an episode of an attack, the flows of a host and a behaviour), since flows
/// of one cluster resemble one another and a bootstrap by flow would promise far too much.
///
/// Clusters are drawn with replacement within their stratum (the class), so that every round has every class.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Cluster of each flow.
    clusters: Vec<u32>,
    /// Clusters of each stratum.
    strata: Vec<Vec<u32>>,
    rounds: usize,
    seed: u64,
}

impl Bootstrap {
    /// `clusters` and `strata` say for each flow where it belongs; a cluster lies within one stratum.
    #[must_use]
    pub fn new(clusters: Vec<u32>, strata: &[u16], rounds: usize, seed: u64) -> Self {
        let count = clusters.iter().max().map_or(0, |last| *last as usize + 1);
        let mut stratum_of = vec![None; count];
        for (cluster, stratum) in clusters.iter().zip(strata) {
            stratum_of[*cluster as usize] = Some(*stratum);
        }
        let mut by_stratum = vec![Vec::new(); strata.iter().max().map_or(0, |last| usize::from(*last) + 1)];
        for (cluster, stratum) in stratum_of.iter().enumerate() {
            if let Some(stratum) = stratum {
                by_stratum[usize::from(*stratum)].push(cluster as u32);
            }
        }
        Self { clusters, strata: by_stratum, rounds, seed }
    }

    /// Clusters of a stratum. An interval over fewer than two says nothing.
    #[must_use]
    pub fn clusters(&self, stratum: u16) -> usize {
        self.strata.get(usize::from(stratum)).map_or(0, Vec::len)
    }

    /// The interval of each of the figures that `figures` computes from the weights of flows. `None` where a figure was
    /// missing in more than a tenth of the rounds.
    pub fn intervals(&self, mut figures: impl FnMut(&[u32]) -> Vec<Option<f64>>) -> Vec<Option<Interval>> {
        let mut random = Random::stream(self.seed, "bootstrap", 0);
        let mut drawn = vec![0u32; self.strata.iter().map(Vec::len).sum()];
        let mut weights = vec![0u32; self.clusters.len()];
        let mut rounds: Vec<Vec<f64>> = Vec::new();
        for _ in 0..self.rounds {
            drawn.fill(0);
            for stratum in &self.strata {
                for _ in stratum {
                    drawn[stratum[random.below(stratum.len())] as usize] += 1;
                }
            }
            for (weight, cluster) in weights.iter_mut().zip(&self.clusters) {
                *weight = drawn[*cluster as usize];
            }
            let found = figures(&weights);
            rounds.resize_with(found.len().max(rounds.len()), Vec::new);
            for (values, figure) in rounds.iter_mut().zip(found) {
                values.extend(figure);
            }
        }
        rounds.into_iter().map(|values| self.interval(values)).collect()
    }

    fn interval(&self, mut values: Vec<f64>) -> Option<Interval> {
        if values.len() * 10 < self.rounds * 9 || values.is_empty() {
            return None;
        }
        values.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| {
            let place = share * (values.len() - 1) as f64;
            let (low, part) = (place.floor() as usize, place.fract());
            let high = (low + 1).min(values.len() - 1);
            values[low] + part * (values[high] - values[low])
        };
        Some(Interval { low: quantile(0.025), high: quantile(0.975) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[f64], weights: &[u32]) -> f64 {
        let sum: f64 = values.iter().zip(weights).map(|(value, weight)| value * f64::from(*weight)).sum();
        sum / f64::from(weights.iter().sum::<u32>())
    }

    #[test]
    fn whole_clusters_are_drawn_within_their_stratum() {
        // Clusters 0 and 2 are of stratum 0, clusters 1 and 3 of stratum 1.
        let bootstrap = Bootstrap::new(vec![0, 0, 1, 2, 2, 2, 3], &[0, 0, 1, 0, 0, 0, 1], 50, 1);
        assert_eq!((bootstrap.clusters(0), bootstrap.clusters(1), bootstrap.clusters(2)), (2, 2, 0));
        bootstrap.intervals(|weights| {
            assert_eq!(weights[0], weights[1]);
            assert!(weights[3] == weights[4] && weights[4] == weights[5]);
            assert_eq!((weights[0] + weights[3], weights[2] + weights[6]), (2, 2));
            Vec::new()
        });
    }

    #[test]
    fn an_interval_is_as_wide_as_the_standard_error_says() {
        // 400 clusters of one flow, values 0..399: the mean's standard error is 115.5 / sqrt(400) = 5.77.
        let values: Vec<f64> = (0..400).map(f64::from).collect();
        let single = Bootstrap::new((0..400).collect(), &[0; 400], 1000, 7);
        let interval = single.intervals(|weights| vec![Some(mean(&values, weights))])[0].unwrap();
        assert!((interval.low - (199.5 - 1.96 * 5.77)).abs() < 2.0, "{interval:?}");
        assert!((interval.high - (199.5 + 1.96 * 5.77)).abs() < 2.0, "{interval:?}");

        // The same flows in 10 clusters of neighbours are 10 observations: about six times as wide.
        let clustered = Bootstrap::new((0..400).map(|flow| flow / 40).collect(), &[0; 400], 1000, 7);
        let wide = clustered.intervals(|weights| vec![Some(mean(&values, weights))])[0].unwrap();
        let ratio = (wide.high - wide.low) / (interval.high - interval.low);
        assert!((5.0..7.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn the_seed_decides_and_gaps_are_told() {
        let values: Vec<f64> = (0..30).map(f64::from).collect();
        let of = |seed| {
            let bootstrap = Bootstrap::new((0..30).collect(), &[0; 30], 200, seed);
            bootstrap.intervals(|weights| vec![Some(mean(&values, weights)), None])
        };
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        assert_eq!(of(1)[1], None);
        assert!(Bootstrap::new(Vec::new(), &[], 10, 1).intervals(|_| vec![Some(1.0)])[0].is_some());
    }
}
