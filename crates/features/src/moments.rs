//! Mean and standard deviation from exact integer sums.
//!
//! Sizes and gaps are integers, so their sum and the sum of their squares are exact, order does not matter, and one
//! multiplication per packet is enough, where Welford's method needs a division and rounds at every step. The sums fit
//! 64 bits because a flow is bounded: gaps and periods of a flow add up to at most its duration, which the active
//! timeout keeps below 2^32 us, and so the sum of their squares stays below 2^64; a payload square is below 2^32 for
//! every packet that IP can carry, and a flow has fewer than 2^32 packets.

use tapline_record::Cell;

/// The moments of a series of unsigned integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moments {
    /// How many values.
    pub n: u64,
    /// Their sum.
    pub sum: u64,
    /// The sum of their squares.
    pub square_sum: u128,
}

impl Moments {
    /// The moments of two series together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            sum: self.sum + other.sum,
            square_sum: self.square_sum + other.square_sum,
        }
    }

    /// The mean; 0 of none.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.sum as f64 / self.n as f64 }
    }

    /// The sample standard deviation; 0 of one or none.
    #[must_use]
    pub fn std(&self) -> f64 {
        if self.n < 2 {
            return 0.0;
        }
        let (n, sum) = (u128::from(self.n), u128::from(self.sum));
        // n * sum of squares >= square of the sum (Cauchy-Schwarz), and both fit: 2^32 * 2^64 and (2^63)^2.
        let spread = (n * self.square_sum).saturating_sub(sum * sum);
        (spread as f64 / (self.n as f64 * (self.n as f64 - 1.0))).sqrt()
    }

    /// [`Moments::mean`] as a cell.
    #[must_use]
    pub fn mean_cell(&self) -> Cell {
        Cell::Float(self.mean())
    }

    /// [`Moments::std`] as a cell.
    #[must_use]
    pub fn std_cell(&self) -> Cell {
        Cell::Float(self.std())
    }
}

/// The extremes of a series of 32-bit values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extremes {
    min: u32,
    max: u32,
}

impl Extremes {
    /// Of no values.
    #[must_use]
    pub const fn none() -> Self {
        Self { min: u32::MAX, max: 0 }
    }

    /// Takes in a value.
    #[inline]
    pub fn add(&mut self, value: u32) {
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// The extremes of two series together.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// The smallest; 0 of none.
    #[must_use]
    pub const fn min(&self) -> u32 {
        if self.min > self.max { 0 } else { self.min }
    }

    /// The largest; 0 of none.
    #[must_use]
    pub const fn max(&self) -> u32 {
        self.max
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exact_sums_are_two_pass(values in prop::collection::vec(0..4_000_000_000u64, 1..100)) {
            let moments = Moments {
                n: values.len() as u64,
                sum: values.iter().sum(),
                square_sum: values.iter().map(|value| u128::from(*value).pow(2)).sum(),
            };
            let n = values.len() as f64;
            let mean = values.iter().map(|value| *value as f64).sum::<f64>() / n;
            let square = values.iter().map(|value| (*value as f64 - mean).powi(2)).sum::<f64>();
            let std = if values.len() == 1 { 0.0 } else { (square / (n - 1.0)).sqrt() };
            prop_assert!((moments.mean() - mean).abs() <= 1e-9 * mean.max(1.0));
            prop_assert!((moments.std() - std).abs() <= 1e-9 * std.max(1.0));
        }
    }
}
