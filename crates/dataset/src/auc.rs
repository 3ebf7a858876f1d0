//! How well a score parts hostile from benign: the area under the ROC curve, exact with ties, and balanced accuracy.

/// The area under the ROC curve: the chance that a hostile flow scores above a benign one, a tie counted as half.
/// `None` without flows of both kinds. Scores are finite.
///
/// In: `(score, hostile)`, in any order; they are sorted in place.
#[must_use]
pub fn auc(scored: &mut [(f32, bool)]) -> Option<f64> {
    let hostile = scored.iter().filter(|(_, hostile)| *hostile).count() as u64;
    let benign = scored.len() as u64 - hostile;
    if hostile == 0 || benign == 0 {
        return None;
    }
    scored.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    // In halves, so that everything is an exact integer: 2 for a pair in order, 1 for a tie.
    let mut halves: u128 = 0;
    let mut benign_below: u64 = 0;
    for group in scored.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let hostile_here = group.iter().filter(|(_, hostile)| *hostile).count() as u64;
        let benign_here = group.len() as u64 - hostile_here;
        halves += u128::from(hostile_here) * u128::from(2 * benign_below + benign_here);
        benign_below += benign_here;
    }
    Some(halves as f64 / (2.0 * hostile as f64 * benign as f64))
}

/// The mean of the share of hostile flows called hostile and the share of benign flows called benign. `None` without
/// flows of both kinds.
///
/// In: `(called hostile, hostile)`.
#[must_use]
pub fn balanced_accuracy(called: impl IntoIterator<Item = (bool, bool)>) -> Option<f64> {
    let mut right = [0u64; 2];
    let mut all = [0u64; 2];
    for (called, hostile) in called {
        all[usize::from(hostile)] += 1;
        right[usize::from(hostile)] += u64::from(called == hostile);
    }
    if all.contains(&0) {
        return None;
    }
    Some((right[0] as f64 / all[0] as f64 + right[1] as f64 / all[1] as f64) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        // Pairs of (hostile, benign): 3 > 1, 3 > 2, 2 > 1, 2 = 2.
        let mut scored = [(1.0, false), (2.0, false), (2.0, true), (3.0, true)];
        assert_eq!(auc(&mut scored), Some(3.5 / 4.0));
        assert_eq!(auc(&mut [(1.0, true), (1.0, false)]), Some(0.5));
        assert_eq!(auc(&mut [(0.0, true), (1.0, false)]), Some(0.0));
        assert_eq!(auc(&mut [(0.0, true)]), None);
        assert_eq!(balanced_accuracy([(true, true), (false, true), (false, false)]), Some(0.75));
        assert_eq!(balanced_accuracy([(true, true)]), None);
    }

    proptest! {
        #[test]
        fn equals_the_count_of_pairs(scored in prop::collection::vec((0u8..6, any::<bool>()), 0..40)) {
            let mut scored: Vec<(f32, bool)> =
                scored.into_iter().map(|(score, hostile)| (f32::from(score), hostile)).collect();
            let (mut wins, mut pairs) = (0.0, 0.0);
            for (hostile_score, _) in scored.iter().filter(|(_, hostile)| *hostile) {
                for (benign_score, _) in scored.iter().filter(|(_, hostile)| !*hostile) {
                    pairs += 1.0;
                    wins += match hostile_score.total_cmp(benign_score) {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
            let expect = (pairs > 0.0).then_some(wins / pairs);
            prop_assert_eq!(auc(&mut scored), expect);
        }
    }
}
