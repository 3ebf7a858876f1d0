//! The instant of a packet: the only clock the pure crates know.

use serde::{Deserialize, Serialize};

/// Microseconds since the Unix epoch. Finer capture clocks are truncated, as libpcap does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp {
    /// Microseconds since 1970-01-01T00:00:00Z; negative before it.
    pub micros: i64,
}

impl Timestamp {
    /// The smallest instant, before every packet.
    pub const MIN: Self = Self { micros: i64::MIN };

    /// The instant `micros` microseconds after the Unix epoch.
    #[must_use]
    #[inline]
    pub const fn from_micros(micros: i64) -> Self {
        Self { micros }
    }

    /// Microseconds from `earlier` to `self`; negative when `self` came first.
    #[must_use]
    #[inline]
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.micros.saturating_sub(earlier.micros)
    }

    /// The instant `micros` later.
    #[must_use]
    #[inline]
    pub const fn plus_micros(self, micros: i64) -> Self {
        Self { micros: self.micros.saturating_add(micros) }
    }

    /// Whole seconds since the epoch, rounded down.
    #[must_use]
    #[inline]
    pub const fn second(self) -> i64 {
        self.micros.div_euclid(1_000_000)
    }

    /// The calendar date and time of day in UTC (proleptic Gregorian).
    #[must_use]
    pub const fn civil(self) -> Civil {
        let second = self.second();
        let days = second.div_euclid(86_400);
        let of_day = second.rem_euclid(86_400);
        // Days since 0000-03-01, then eras of 400 years, so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        Civil {
            year: year_of_era + era * 400 + (month <= 2) as i64,
            month: month as u8,
            day: (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8,
            hour: (of_day / 3_600) as u8,
            minute: (of_day / 60 % 60) as u8,
            second: (of_day % 60) as u8,
            micros: self.micros.rem_euclid(1_000_000) as u32,
        }
    }
}

/// A calendar date and time of day, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year; 0 is 1 BC.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999,999.
    pub micros: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(micros: i64, expect: (i64, u8, u8, u8, u8, u8, u32)) {
        let c = Timestamp::from_micros(micros).civil();
        assert_eq!((c.year, c.month, c.day, c.hour, c.minute, c.second, c.micros), expect);
    }

    #[test]
    fn civil_dates() {
        check(0, (1970, 1, 1, 0, 0, 0, 0));
        check(-1, (1969, 12, 31, 23, 59, 59, 999_999));
        check(951_782_400_000_000, (2000, 2, 29, 0, 0, 0, 0));
        check(1_700_000_000_123_456, (2023, 11, 14, 22, 13, 20, 123_456));
        check(4_102_444_799_000_000, (2099, 12, 31, 23, 59, 59, 0));
    }
}
