//! Active and idle periods: a gap of more than five seconds ends an active period and is an idle one.
//!
//! CICFlowMeter loses the last active period; here it is closed when the row is read ([`ActiveIdle::active`]).

use crate::moments::{Extremes, Moments};

/// Gap above which a flow was idle; CICFlowMeter's default.
pub const IDLE_MIN_US: u32 = 5_000_000;

/// Finished periods of one flow, times as offsets from its start.
#[derive(Clone, Copy, Debug)]
pub struct ActiveIdle {
    active_since_us: u32,
    active: Periods,
    idle: Periods,
}

/// Periods of one kind, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Periods {
    /// In two halves: a 64-bit field would pad [`ActiveIdle`] by four bytes, in every flow.
    square_sum: [u32; 2],
    n: u32,
    sum: u32,
    extremes: Extremes,
}

impl ActiveIdle {
    /// At the first packet.
    #[must_use]
    pub const fn new() -> Self {
        Self { active: Periods::none(), idle: Periods::none(), active_since_us: 0 }
    }

    /// Takes in a packet: `previous_us` is when the one before it came, `gap_us` how long ago that was.
    #[inline]
    pub fn add(&mut self, previous_us: u32, gap_us: u32) {
        if gap_us > IDLE_MIN_US {
            self.active.add_if_any(previous_us - self.active_since_us.min(previous_us));
            self.idle.add_if_any(gap_us);
            self.active_since_us = previous_us + gap_us;
        }
    }

    /// Active periods, the last one closed at `last_us`. A period of one packet has no length and does not count.
    #[must_use]
    pub fn active(&self, last_us: u32) -> Periods {
        let mut active = self.active;
        active.add_if_any(last_us.saturating_sub(self.active_since_us));
        active
    }

    /// Idle periods.
    #[must_use]
    pub const fn idle(&self) -> &Periods {
        &self.idle
    }
}

impl Default for ActiveIdle {
    fn default() -> Self {
        Self::new()
    }
}

impl Periods {
    const fn none() -> Self {
        Self { square_sum: [0; 2], n: 0, sum: 0, extremes: Extremes::none() }
    }

    #[inline]
    fn add_if_any(&mut self, length_us: u32) {
        if length_us == 0 {
            return;
        }
        self.n += 1;
        self.sum += length_us;
        let square_sum = self.square_sum() + u64::from(length_us) * u64::from(length_us);
        self.square_sum = [square_sum as u32, (square_sum >> 32) as u32];
        self.extremes.add(length_us);
    }

    /// Count, sum and sum of squares.
    #[must_use]
    pub fn moments(&self) -> Moments {
        Moments { n: u64::from(self.n), sum: u64::from(self.sum), square_sum: u128::from(self.square_sum()) }
    }

    fn square_sum(&self) -> u64 {
        u64::from(self.square_sum[1]) << 32 | u64::from(self.square_sum[0])
    }

    /// Shortest and longest.
    #[must_use]
    pub const fn extremes(&self) -> &Extremes {
        &self.extremes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_active_period_counts() {
        let mut periods = ActiveIdle::new();
        periods.add(0, 2_000_000);
        periods.add(2_000_000, 6_000_000);
        periods.add(8_000_000, 1_000_000);
        let active = periods.active(9_000_000);
        assert_eq!(active.moments().n, 2);
        assert_eq!(active.moments().sum, 3_000_000);
        assert_eq!((active.extremes().min(), active.extremes().max()), (1_000_000, 2_000_000));
        assert_eq!(periods.idle().moments().sum, 6_000_000);
    }
}
