//! Running statistics as CICFlowMeter has them: Commons Math `SummaryStatistics`, operation for operation, because the
//! last digit of a mean depends on the order of the operations.

/// Count, sum, extremes, running mean and second moment of a series.
#[derive(Clone, Copy, Debug)]
pub struct SummaryStatistics {
    n: u64,
    sum: f64,
    max: f64,
    min: f64,
    mean: f64,
    m2: f64,
}

impl SummaryStatistics {
    /// No values yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { n: 0, sum: 0.0, max: f64::NAN, min: f64::NAN, mean: f64::NAN, m2: f64::NAN }
    }

    /// Takes in a value. Commons Math `SecondMoment.increment`.
    #[inline]
    pub fn add(&mut self, value: f64) {
        if self.n == 0 {
            self.mean = 0.0;
            self.m2 = 0.0;
            self.max = value;
            self.min = value;
        }
        self.n += 1;
        let n = self.n as f64;
        let deviation = value - self.mean;
        let step = deviation / n;
        self.mean += step;
        self.m2 += (n - 1.0) * deviation * step;
        self.sum += value;
        self.max = self.max.max(value);
        self.min = self.min.min(value);
    }

    /// How many values.
    #[must_use]
    pub const fn n(&self) -> u64 {
        self.n
    }

    /// Their sum; 0 of none.
    #[must_use]
    pub const fn sum(&self) -> f64 {
        self.sum
    }

    /// The largest; NaN of none.
    #[must_use]
    pub const fn max(&self) -> f64 {
        self.max
    }

    /// The smallest; NaN of none.
    #[must_use]
    pub const fn min(&self) -> f64 {
        self.min
    }

    /// The mean; NaN of none.
    #[must_use]
    pub const fn mean(&self) -> f64 {
        self.mean
    }

    /// The sample variance; 0 of one, NaN of none.
    #[must_use]
    pub fn variance(&self) -> f64 {
        match self.n {
            0 => f64::NAN,
            1 => 0.0,
            n => self.m2 / (n as f64 - 1.0),
        }
    }

    /// The sample standard deviation; 0 of one, NaN of none.
    #[must_use]
    pub fn std(&self) -> f64 {
        self.variance().sqrt()
    }
}

impl Default for SummaryStatistics {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn streaming_is_two_pass(values in prop::collection::vec(-1e9..1e9f64, 1..200)) {
            let mut streamed = SummaryStatistics::new();
            values.iter().for_each(|value| streamed.add(*value));
            let n = values.len() as f64;
            let mean = values.iter().sum::<f64>() / n;
            let square = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
            let variance = if values.len() == 1 { 0.0 } else { square / (n - 1.0) };
            prop_assert!((streamed.mean() - mean).abs() <= 1e-6 * mean.abs().max(1.0));
            prop_assert!((streamed.variance() - variance).abs() <= 1e-9 * variance.max(1.0));
        }
    }
}
