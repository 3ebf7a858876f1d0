//! What is left out when there is too much of one thing: stretches of time, never single rows at random.
//!
//! Windows over a host's flows are learnt from the table, and a window with every other flow missing never occurs on a
//! network. So the flows of a class are parted into episodes (no gap of [`EPISODE_GAP_US`] or more), each episode gets a
//! fair part of the cap, and keeps its beginning without a hole.

use std::ops::Range;

/// A pause that parts two episodes: ten minutes.
pub const EPISODE_GAP_US: i64 = 600_000_000;

/// The stretches of `starts_us` (in order) to be kept so that at most `cap` flows remain. Each is without a hole, and
/// all of them together are as many as the cap allows.
#[must_use]
pub fn stretches(starts_us: &[i64], cap: usize) -> Vec<Range<usize>> {
    let mut episodes: Vec<Range<usize>> = Vec::new();
    for (at, start_us) in starts_us.iter().enumerate() {
        match episodes.last_mut() {
            Some(episode) if start_us.saturating_sub(starts_us[at - 1]) < EPISODE_GAP_US => {
                episode.end = at + 1
            }
            _ => episodes.push(at..at + 1),
        }
    }
    let wants: Vec<usize> = episodes.iter().map(ExactSizeIterator::len).collect();
    let shares = fair_shares(&wants, cap);
    episodes
        .into_iter()
        .zip(shares)
        .filter(|(_, share)| *share > 0)
        .map(|(episode, share)| episode.start..episode.start + share)
        .collect()
}

/// Divides `budget`: who wants little gets it whole, the others get the same; what does not divide goes to those of them
/// who want least.
#[must_use]
pub fn fair_shares(wants: &[usize], budget: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..wants.len()).collect();
    order.sort_by_key(|at| wants[*at]);
    let mut shares = vec![0; wants.len()];
    let mut left = budget;
    for (done, at) in order.iter().enumerate() {
        let waiting = wants.len() - done;
        shares[*at] = wants[*at].min(left.div_ceil(waiting));
        left -= shares[*at];
    }
    shares
}

/// The most hostile flows beside `benign` ones if `benign_share` of all are to be benign.
#[must_use]
pub fn hostile_at_most(benign: usize, benign_share: f64) -> usize {
    // 40 * 0.2 / 0.8 is not quite 10 in binary.
    (benign as f64 * (1.0 - benign_share) / benign_share + 1e-6) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_episode_keeps_its_beginning() {
        let gap = EPISODE_GAP_US;
        let starts = [0, 1, 2, 3, gap + 3, gap + 4, 3 * gap, 3 * gap + 1, 3 * gap + 2];
        assert_eq!(stretches(&starts, 9), [0..4, 4..6, 6..9]);
        assert_eq!(stretches(&starts, 6), [0..2, 4..6, 6..8]);
        assert_eq!(stretches(&starts, 0), []);
        assert_eq!(stretches(&[], 5), []);
    }

    #[test]
    fn a_benign_share_is_a_number_of_hostile_flows() {
        assert_eq!(hostile_at_most(970, 0.97), 30);
        assert_eq!(hostile_at_most(0, 0.97), 0);
        assert_eq!(hostile_at_most(500, 0.5), 500);
        assert_eq!(hostile_at_most(40, 0.8), 10);
    }

    proptest! {
        #[test]
        fn shares_are_fair(wants in prop::collection::vec(0usize..50, 0..12), budget in 0usize..300) {
            let shares = fair_shares(&wants, budget);
            let all: usize = wants.iter().sum();
            prop_assert_eq!(shares.iter().sum::<usize>(), all.min(budget));
            let most = shares.iter().max().copied().unwrap_or(0);
            for (share, want) in shares.iter().zip(&wants) {
                // Whoever got less than somebody else by more than the remainder wanted no more.
                prop_assert!(share <= want && (share == want || share + 1 >= most));
            }
        }

        #[test]
        fn a_cap_is_used_up(gaps in prop::collection::vec(0i64..2 * EPISODE_GAP_US, 0..60), cap in 0usize..80) {
            let starts: Vec<i64> = gaps.iter().scan(0, |at, gap| { *at += gap; Some(*at) }).collect();
            let kept: usize = stretches(&starts, cap).iter().map(ExactSizeIterator::len).sum();
            prop_assert_eq!(kept, cap.min(starts.len()));
        }
    }
}
