//! From logits to probabilities, scores and p-values, and how these are learned from flows that were set aside.
//!
//! In: logits of flows that no detector was trained on. Out: a temperature, and [`Calibration`]: how the scores of benign
//! flows are spread, compressed to some thousand numbers. Nothing here allocates while flows are scored.
//!
//! Sources: Guo et al., On calibration of modern neural networks, 2017 (temperature); Vovk, Gammerman and Shafer,
//! Algorithmic learning in a random world, 2005 (conformal p-values).

use crate::manifest::Calibration;

/// Every distinct score up to this rank is kept; from there on ranks grow by a 128th from one kept score to the next.
pub const EXACT_RANKS: u64 = 4096;

/// Bounds of a fitted temperature: flows that are easily told apart would drive it to 0.
pub const TEMPERATURES: (f32, f32) = (0.05, 20.0);

/// Why flows that were set aside cannot calibrate a model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalibrationError {
    /// There are none.
    #[error("no flows to calibrate with")]
    NoFlows,
    /// Logits and labels do not belong together.
    #[error("{logits} logits of {classes} classes for {labels} labels")]
    Shape {
        /// Numbers of logits.
        logits: usize,
        /// Classes.
        classes: usize,
        /// Labels.
        labels: usize,
    },
    /// A label that is no class.
    #[error("label {label} of flow {flow} is none of {classes} classes")]
    Label {
        /// Place of the flow.
        flow: usize,
        /// Its label.
        label: usize,
        /// Classes.
        classes: usize,
    },
    /// A score or logit that is not finite.
    #[error("the score of flow {flow} is not finite")]
    NotFinite {
        /// Place of the flow.
        flow: usize,
    },
}

/// The temperature at which the probabilities of labelled flows are least wrong: mean negative log-likelihood.
///
/// `logits` is `[flows, classes]`, row-major, `labels` the class of each flow.
///
/// # Errors
///
/// If there are no flows, the shapes do not fit, or a number is not finite.
pub fn fit_temperature(logits: &[f32], classes: usize, labels: &[usize]) -> Result<f32, CalibrationError> {
    if labels.is_empty() {
        return Err(CalibrationError::NoFlows);
    }
    if classes.checked_mul(labels.len()) != Some(logits.len()) {
        return Err(CalibrationError::Shape { logits: logits.len(), classes, labels: labels.len() });
    }
    for (flow, (row, &label)) in logits.chunks_exact(classes).zip(labels).enumerate() {
        if label >= classes {
            return Err(CalibrationError::Label { flow, label, classes });
        }
        if row.iter().any(|logit| !logit.is_finite()) {
            return Err(CalibrationError::NotFinite { flow });
        }
    }
    // The likelihood is convex in the inverse temperature, so its slope has one root, and halving finds it.
    let (coldest, hottest) = TEMPERATURES;
    let mut low = 1.0 / f64::from(hottest);
    let mut high = 1.0 / f64::from(coldest);
    for _ in 0..40 {
        let middle = (low * high).sqrt();
        if slope(logits, classes, labels, middle) < 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let temperature = (1.0 / (low * high).sqrt()) as f32;
    Ok(temperature.clamp(coldest, hottest))
}

/// How the summed negative log-likelihood changes with the inverse temperature.
fn slope(logits: &[f32], classes: usize, labels: &[usize], inverse: f64) -> f64 {
    let flows = logits.chunks_exact(classes).zip(labels);
    flows
        .map(|(row, &label)| {
            let greatest = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let (mut total, mut weighted) = (0.0, 0.0);
            for &logit in row {
                let below = f64::from(logit) - greatest;
                let weight = (below * inverse).exp();
                total += weight;
                weighted += weight * below;
            }
            weighted / total - (f64::from(row[label]) - greatest)
        })
        .sum()
}

/// Log-odds of being hostile: `ln(sum of hostile probabilities) - ln(probability of benign)`, after temperature.
///
/// NaN if a logit is, or if two are infinite that should be weighed against each other.
#[must_use]
pub fn log_odds(logits: &[f32], temperature: f32) -> f32 {
    let [benign, hostile @ ..] = logits else { return f32::NEG_INFINITY };
    log_sum_exp(hostile, temperature) - benign / temperature
}

/// Probabilities of the classes, after temperature; `probabilities` is as long as `logits`.
pub fn probabilities(logits: &[f32], temperature: f32, probabilities: &mut [f32]) {
    let total = log_sum_exp(logits, temperature);
    for (probability, logit) in probabilities.iter_mut().zip(logits) {
        *probability = (logit / temperature - total).exp();
    }
}

/// `ln(sum of exp(logit / temperature))`, without overflow; -inf of nothing.
pub(crate) fn log_sum_exp(logits: &[f32], temperature: f32) -> f32 {
    let greatest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if greatest.is_infinite() {
        return if logits.iter().any(|logit| logit.is_nan()) { f32::NAN } else { greatest };
    }
    let total: f32 = logits.iter().map(|logit| ((logit - greatest) / temperature).exp()).sum();
    greatest / temperature + total.ln()
}

impl Calibration {
    /// Learns how the scores of benign flows are spread: `scores` in any order, of flows that span `benign_span_s` of
    /// packet time. `source` says whose they are.
    ///
    /// # Errors
    ///
    /// If there are none, or one is not finite.
    pub fn from_benign_scores(
        mut scores: Vec<f32>,
        temperature: f32,
        source: impl Into<String>,
        benign_span_s: f64,
    ) -> Result<Self, CalibrationError> {
        if scores.is_empty() {
            return Err(CalibrationError::NoFlows);
        }
        if let Some(flow) = scores.iter().position(|score| !score.is_finite()) {
            return Err(CalibrationError::NotFinite { flow });
        }
        // One zero, not two.
        scores.iter_mut().for_each(|score| *score += 0.0);
        scores.sort_unstable_by(f32::total_cmp);
        let benign_flows = scores.len() as u64;
        let (mut kept, mut ranks): (Vec<f32>, Vec<u64>) = compress(&scores).into_iter().unzip();
        kept.reverse();
        ranks.reverse();
        Ok(Self { temperature, source: source.into(), benign_flows, benign_span_s, scores: kept, ranks })
    }

    /// The score of a flow: [`log_odds`] at the temperature of this calibration.
    #[must_use]
    pub fn score(&self, logits: &[f32]) -> f32 {
        log_odds(logits, self.temperature)
    }

    /// Probabilities of the classes: [`probabilities`] at the temperature of this calibration.
    pub fn probabilities(&self, logits: &[f32], probabilities: &mut [f32]) {
        self::probabilities(logits, self.temperature, probabilities);
    }

    /// How likely a benign flow scores at least so high: `(1 + benign flows that do) / (benign flows + 1)`.
    ///
    /// Exact where few do, up to [`EXACT_RANKS`]; else at most a 64th too great, never too small. 1 for NaN.
    #[must_use]
    pub fn p_value(&self, score: f32) -> f64 {
        (1 + self.rank(score)) as f64 / (self.benign_flows + 1) as f64
    }

    /// How many benign flows score at least so high; at most a 64th too many.
    fn rank(&self, score: f32) -> u64 {
        if score.is_nan() {
            return self.benign_flows;
        }
        let above = self.scores.partition_point(|kept| *kept < score);
        let Some(below) = above.checked_sub(1) else { return self.benign_flows };
        match (self.scores.get(above), self.ranks[below]) {
            (Some(kept), _) if *kept <= score => self.ranks[above],
            // There is nothing between two neighbours of which both are kept.
            (Some(_), rank) if rank <= EXACT_RANKS => self.ranks[above],
            (Some(_), rank) => rank,
            (None, _) => 0,
        }
    }

    /// The least score whose p-value is at most `rate`, so that benign flows like those of the calibration reach it
    /// no more often. Of a rate that so few flows cannot tell, the least score above all of them.
    #[must_use]
    pub fn score_at_rate(&self, rate: f64) -> f32 {
        // p-values fall at a kept score or right behind one.
        self.scores
            .iter()
            .flat_map(|score| [*score, score.next_up()])
            .find(|score| self.p_value(*score) <= rate)
            .or_else(|| self.scores.last().map(|greatest| greatest.next_up()))
            .unwrap_or(0.0)
    }

    /// What share of benign flows gets which p-value, by this calibration itself: pairs of p-value and share. With
    /// many equal scores that is far from uniform.
    pub(crate) fn p_value_shares(&self) -> impl Iterator<Item = (f64, f64)> {
        let higher = self.ranks.iter().copied().skip(1).chain([0]);
        let flows = self.benign_flows as f64;
        self.ranks.iter().zip(higher).map(move |(&rank, higher)| {
            ((1 + rank) as f64 / (flows + 1.0), rank.saturating_sub(higher) as f64 / flows)
        })
    }
}

/// Which scores to keep, from the greatest down, each with the number of those that are at least as great.
///
/// Where many flows share one score, what lies right above it is kept too, so that the whole crowd does not count for
/// what scores a little higher.
fn compress(ascending: &[f32]) -> Vec<(f32, u64)> {
    let mut kept: Vec<(f32, u64)> = Vec::new();
    let mut rank = 0;
    for crowd in ascending.chunk_by(|a, b| a.total_cmp(b).is_eq()).rev() {
        let above = rank;
        rank += crowd.len() as u64;
        let (last_score, last_rank) = kept.last().copied().unwrap_or((f32::INFINITY, 0));
        let step = last_rank / 128;
        if above > EXACT_RANKS && rank <= last_rank + step && rank < ascending.len() as u64 {
            continue;
        }
        let behind = crowd[0].next_up();
        let leaps = rank > EXACT_RANKS && (above <= EXACT_RANKS || crowd.len() as u64 > step);
        if leaps && above > 0 && behind < last_score {
            kept.push((behind, above));
        }
        kept.push((crowd[0], rank));
    }
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calibration(scores: Vec<f32>) -> Calibration {
        Calibration::from_benign_scores(scores, 1.0, "validation", 1.0).unwrap()
    }

    /// Uniform in (0, 1).
    fn uniform(seed: &mut u64) -> f64 {
        // Vigna's splitmix64.
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = *seed;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        ((bits >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Like the scores of a good model: far below 0, with a tail.
    fn score(seed: &mut u64) -> f32 {
        (-12.0 - 3.0 * uniform(seed).ln() + uniform(seed)) as f32
    }

    #[test]
    fn p_values_count_the_benign_flows_above() {
        let calibration = calibration(vec![3.0, 1.0, -2.0, 1.0]);
        for (score, expected) in [
            (-9.0, 1.0),
            (-2.0, 1.0),
            (-1.9, 0.8),
            (1.0, 0.8),
            (1.1, 0.4),
            (3.0, 0.4),
            (3.1, 0.2),
            (f32::INFINITY, 0.2),
        ] {
            assert!((calibration.p_value(score) - expected).abs() < 1e-12, "{score}");
        }
        assert!((calibration.p_value(f32::NAN) - 1.0).abs() < 1e-12);
        assert_eq!(calibration.benign_flows, 4);
    }

    #[test]
    fn p_values_of_flows_that_were_set_aside_are_uniform() {
        let mut seed = 7;
        let calibration = calibration((0..50_000).map(|_| score(&mut seed)).collect());
        let mut values: Vec<f64> = (0..20_000).map(|_| calibration.p_value(score(&mut seed))).collect();
        values.sort_unstable_by(f64::total_cmp);
        // Kolmogorov and Smirnov: 1.63 / sqrt(n) is passed by chance once in a hundred times; both samples have noise.
        let distance = values
            .iter()
            .enumerate()
            .map(|(at, value)| (value - (at as f64 + 0.5) / values.len() as f64).abs())
            .fold(0.0, f64::max);
        assert!(distance < 1.63 * (1.0_f64 / 20_000.0 + 1.0 / 50_000.0).sqrt(), "{distance}");
        for rate in [0.001, 0.01, 0.1] {
            let share = values.iter().filter(|value| **value <= rate).count() as f64 / values.len() as f64;
            let spread = (rate * (1.0_f64 / 20_000.0 + 1.0 / 50_000.0)).sqrt();
            assert!((share - rate).abs() < 4.0 * spread, "{rate}: {share}");
        }
    }

    #[test]
    fn half_a_million_scores_become_some_thousand() {
        let mut seed = 3;
        let scores: Vec<f32> = (0..500_000).map(|_| score(&mut seed)).collect();
        let calibration = calibration(scores.clone());
        assert!(calibration.scores.len() < 6_000, "{}", calibration.scores.len());
        assert_eq!(calibration.ranks.first(), Some(&500_000));
        assert_eq!(calibration.ranks.last(), Some(&1));
        close(&calibration, scores);
    }

    /// Exact up to the 4096th, never too small, and at most a 64th too great.
    fn close(calibration: &Calibration, mut scores: Vec<f32>) {
        scores.sort_unstable_by(f32::total_cmp);
        assert!(calibration.scores.is_sorted_by(|a, b| a < b));
        assert!(calibration.ranks.is_sorted_by(|a, b| a >= b));
        let between = scores.windows(2).map(|pair| pair[0] + (pair[1] - pair[0]) / 2.0);
        let asked: Vec<f32> = scores.iter().copied().chain(between).collect();
        for score in asked {
            let expected = (scores.len() - scores.partition_point(|other| *other < score)) as u64;
            let rank = calibration.rank(score);
            assert!(rank >= expected && rank <= expected + expected / 64, "{score}: {rank}, {expected}");
            assert!(expected > EXACT_RANKS || rank == expected, "{score}: {rank}, {expected}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn ranks_are_close_for_crowds_too(
            values in prop::collection::vec(0..40_i8, 1..400),
            times in 1..60_usize,
            fine in prop::collection::vec(-3.0..9.0_f32, 0..3_000),
        ) {
            let crowds = values.iter().flat_map(|value| std::iter::repeat_n(f32::from(*value) / 4.0 - 0.0, times));
            let scores: Vec<f32> = crowds.chain(fine).collect();
            close(&calibration(scores.clone()), scores);
        }

        #[test]
        fn shares_of_p_values_add_up(values in prop::collection::vec(-5.0..5.0_f32, 1..300)) {
            let total: f64 = calibration(values).p_value_shares().map(|(_, share)| share).sum();
            prop_assert!((total - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn crowds_do_not_hide_each_other() {
        let scores: Vec<f32> = [(0.0, 50_000), (1.0, 20_000), (1.0_f32.next_up(), 9_000), (2.0, 10)]
            .into_iter()
            .flat_map(|(score, times)| std::iter::repeat_n(score, times))
            .collect();
        close(&calibration(scores.clone()), scores);
        let zeros = calibration([vec![-0.0; 6_000], vec![0.0; 6_000]].concat());
        assert_eq!((zeros.scores, zeros.ranks), (vec![0.0], vec![12_000]));
    }

    #[test]
    fn rates_give_scores() {
        let calibration = calibration((0..999).map(|score| score as f32).collect());
        // Of 1000: ten p-values up to 1 %, the first of them of a score above all.
        assert!((calibration.score_at_rate(0.01) - 989.0_f32.next_up()).abs() < 1e-3);
        assert!(calibration.p_value(calibration.score_at_rate(0.01)) <= 0.01);
        assert!(calibration.p_value(989.0) > 0.01);
        let above_all = 998.0_f32.next_up();
        assert_eq!(calibration.score_at_rate(0.001).to_bits(), above_all.to_bits());
        assert_eq!(calibration.score_at_rate(1e-9).to_bits(), above_all.to_bits());
        assert_eq!(calibration.score_at_rate(1.0).to_bits(), 0.0_f32.to_bits());
    }

    #[test]
    fn scores_are_log_odds() {
        let logits = [2.0, 1.0, 0.0];
        let mut probabilities = [0.0; 3];
        super::probabilities(&logits, 2.0, &mut probabilities);
        assert!((probabilities.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let expected = ((probabilities[1] + probabilities[2]) / probabilities[0]).ln();
        assert!((log_odds(&logits, 2.0) - expected).abs() < 1e-6);
        // Where exp() would overflow or vanish.
        assert!((log_odds(&[500.0, -500.0, -1e4], 1.0) + 1000.0).abs() < 1e-3);
        assert!((log_odds(&[-500.0, 500.0, 500.0], 1.0) - 1000.693).abs() < 1e-2);
        assert!(log_odds(&[f32::NAN, 1.0], 1.0).is_nan());
        assert!(log_odds(&[0.0, f32::NAN, f32::INFINITY], 1.0).is_nan());
    }

    #[test]
    fn the_temperature_is_found_again() {
        // Labels drawn from the probabilities of logits; the logits then told three times too loud.
        let mut seed = 11;
        let (mut logits, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..20_000 {
            let row: [f32; 3] = std::array::from_fn(|_| (4.0 * uniform(&mut seed)) as f32);
            let mut shares = [0.0; 3];
            probabilities(&row, 1.0, &mut shares);
            let dice = uniform(&mut seed) as f32;
            labels.push(if dice < shares[0] {
                0
            } else if dice < shares[0] + shares[1] {
                1
            } else {
                2
            });
            logits.extend(row.map(|logit| 3.0 * logit));
        }
        let temperature = fit_temperature(&logits, 3, &labels).unwrap();
        assert!((temperature - 3.0).abs() < 0.1, "{temperature}");
    }

    #[test]
    fn temperatures_have_bounds_and_inputs_are_checked() {
        let sure = fit_temperature(&[1.0, 0.0, 0.0, 1.0], 2, &[0, 1]).unwrap();
        assert!((sure - TEMPERATURES.0).abs() < 1e-6, "{sure}");
        let wrong = fit_temperature(&[1.0, 0.0, 0.0, 1.0], 2, &[1, 0]).unwrap();
        assert!((wrong - TEMPERATURES.1).abs() < 1e-4, "{wrong}");
        assert_eq!(fit_temperature(&[], 2, &[]), Err(CalibrationError::NoFlows));
        assert!(matches!(fit_temperature(&[0.0; 3], 2, &[0]), Err(CalibrationError::Shape { .. })));
        assert!(matches!(fit_temperature(&[0.0; 2], 2, &[2]), Err(CalibrationError::Label { label: 2, .. })));
        let nan = fit_temperature(&[0.0, f32::NAN], 2, &[0]);
        assert_eq!(nan, Err(CalibrationError::NotFinite { flow: 0 }));
        let scores = Calibration::from_benign_scores(vec![0.0, f32::INFINITY], 1.0, "", 1.0);
        assert_eq!(scores, Err(CalibrationError::NotFinite { flow: 1 }));
    }
}
