//! Sums that fade and counts of distinct things within sliding windows: constant memory, packet time only.

/// `N` sums over each of `W` time constants: what was added `age` ago weighs `exp(-age / constant)`.
///
/// For a steady rate the sum of ones is rate times constant, as a count over a window of that length would be.
#[derive(Clone, Copy, Debug)]
pub struct Fading<const N: usize, const W: usize> {
    at_us: i64,
    sums: [[f32; N]; W],
}

impl<const N: usize, const W: usize> Default for Fading<N, W> {
    fn default() -> Self {
        Self { at_us: 0, sums: [[0.0; N]; W] }
    }
}

impl<const N: usize, const W: usize> Fading<N, W> {
    /// Lets the sums fade until `now_us`, then adds. Time that goes back counts as none.
    pub fn add(&mut self, now_us: i64, constants_s: &[f32; W], values: &[f32; N]) {
        let age_s = (now_us - self.at_us).max(0) as f32 / 1e6;
        self.at_us = self.at_us.max(now_us);
        for (sums, constant_s) in self.sums.iter_mut().zip(constants_s) {
            let weight = (-age_s / constant_s).exp();
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum = *sum * weight + value;
            }
        }
    }

    /// The sums of one time constant, as of the last addition.
    #[must_use]
    pub const fn sums(&self, window: usize) -> &[f32; N] {
        &self.sums[window]
    }

    /// The sums as they will be at `now_us`, if nothing is added.
    #[must_use]
    pub fn faded(&self, now_us: i64, constants_s: &[f32; W]) -> [[f32; N]; W] {
        let mut later = *self;
        later.add(now_us, constants_s, &[0.0; N]);
        later.sums
    }
}

/// How many distinct things were seen within the last seconds: linear counting over slots that remember when they were
/// last hit (after Whang, Vander-Zanden, Taylor 1990). Saturates at 266.
#[derive(Clone, Copy, Debug)]
pub struct Distinct {
    last_s: [u32; Self::SLOTS],
}

impl Default for Distinct {
    fn default() -> Self {
        Self { last_s: [0; Self::SLOTS] }
    }
}

impl Distinct {
    const SLOTS: usize = 64;

    /// Marks a thing, known by its hash, as seen at second `now_s` (not 0).
    pub fn add(&mut self, hash: u64, now_s: u32) {
        self.last_s[(hash >> 58) as usize] = now_s;
    }

    /// About how many distinct things were marked within each of the last `windows_s` seconds, the present one included.
    #[must_use]
    pub fn counts<const W: usize>(&self, now_s: u32, windows_s: &[u32; W]) -> [f32; W] {
        windows_s.map(|window_s| {
            let since = now_s.saturating_sub(window_s).max(1);
            let hit: u32 = self.last_s.iter().map(|&last_s| u32::from(last_s >= since)).sum();
            let slots = Self::SLOTS as f32;
            // With every slot hit the estimate has no bound; half a free slot stands in for none.
            let free = (slots - hit as f32).max(0.5);
            slots * (slots / free).ln()
        })
    }
}

/// A hash for [`Distinct`]: fixed, because the counts must be the same in every run.
#[must_use]
pub fn scatter(words: &[u64]) -> u64 {
    words.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, &word| {
        let mut mixed = (hash ^ word).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 29;
        mixed = mixed.wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 32)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_rate_sums_to_rate_times_constant() {
        let mut fading = Fading::<1, 2>::default();
        for second in 0..10_000 {
            fading.add(second * 1_000_000, &[60.0, 600.0], &[1.0]);
        }
        assert!((fading.sums(0)[0] - 60.5).abs() < 0.1, "{:?}", fading.sums(0));
        assert!((fading.sums(1)[0] - 600.5).abs() < 1.0, "{:?}", fading.sums(1));
    }

    #[test]
    fn distinct_things_are_counted_within_their_window() {
        let mut distinct = Distinct::default();
        for thing in 0..40 {
            distinct.add(scatter(&[thing]), 1000 + thing as u32);
            distinct.add(scatter(&[thing]), 1000 + thing as u32);
        }
        let [all, recent, none] = distinct.counts(1040, &[600, 10, 0]);
        assert!((all - 40.0).abs() < 10.0, "{all}");
        assert!((recent - 10.0).abs() < 4.0, "{recent}");
        assert!(none < 0.5, "{none}");
        assert!(Distinct::default().counts(5, &[600])[0].abs() < 1e-6);
    }
}
