//! Times and sizes as text: a whole number and a unit. In and out: microseconds, bytes.

const TIME_UNITS: &[(&str, u64)] = &[
    ("us", 1),
    ("ms", 1_000),
    ("s", 1_000_000),
    ("m", 60_000_000),
    ("h", 3_600_000_000),
    ("d", 86_400_000_000),
];

const SIZE_UNITS: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

/// For a regular expression.
pub(crate) const TIME_PATTERN: &str = "^[0-9]+(us|ms|s|m|h|d)$";

/// For a regular expression.
pub(crate) const SIZE_PATTERN: &str = "^[0-9]+(B|KiB|MiB|GiB|TiB)$";

/// Microseconds of a time such as `500ms`; `None` if it is none, or longer than 292,000 years.
pub(crate) fn time_us(text: &str) -> Option<i64> {
    read(text, TIME_UNITS).and_then(|us| us.try_into().ok())
}

/// Bytes of a size such as `64KiB`; `None` if it is none, or 16 EiB or more.
pub(crate) fn size_bytes(text: &str) -> Option<u64> {
    read(text, SIZE_UNITS)
}

/// The shortest text that is read as this time; times are not negative.
pub(crate) fn time_text(us: i64) -> String {
    write(us.unsigned_abs(), TIME_UNITS)
}

/// The shortest text that is read as this size.
pub(crate) fn size_text(bytes: u64) -> String {
    write(bytes, SIZE_UNITS)
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = text.split_at(unit_at);
    let &(_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// In the greatest unit that it is a whole number of; zero is `0s` or `0B`.
fn write(amount: u64, units: &[(&str, u64)]) -> String {
    if amount == 0 {
        return if units == TIME_UNITS { "0s" } else { "0B" }.to_owned();
    }
    let is_whole = |&&(_, factor): &&(&str, u64)| amount.is_multiple_of(factor);
    let &(unit, factor) = units.iter().rev().find(is_whole).unwrap_or(&units[0]);
    format!("{}{unit}", amount / factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_what_they_say() {
        for (text, us) in
            [("0s", 0), ("1us", 1), ("500ms", 500_000), ("120s", 120_000_000), ("5m", 300_000_000)]
        {
            assert_eq!(time_us(text), Some(us), "{text}");
        }
        assert_eq!((time_us("1h"), time_us("1d")), (Some(3_600_000_000), Some(86_400_000_000)));
        for (text, bytes) in
            [("96B", 96), ("64KiB", 65_536), ("512MiB", 536_870_912), ("2GiB", 2_147_483_648)]
        {
            assert_eq!(size_bytes(text), Some(bytes), "{text}");
        }
        assert_eq!(size_bytes("1TiB"), Some(1 << 40));
    }

    #[test]
    fn what_has_no_unit_or_no_whole_number_is_nothing() {
        for text in [
            "",
            "5",
            "s",
            "-5s",
            "+5s",
            "1.5s",
            "5 s",
            " 5s",
            "5s ",
            "5S",
            "5min",
            "1h30m",
            "9223372036854775808us",
        ] {
            assert_eq!(time_us(text), None, "{text:?}");
        }
        for text in ["", "5", "5K", "5KB", "5MB", "5mib", "0x5B", "16777216TiB", "18446744073709551616B"] {
            assert_eq!(size_bytes(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn written_and_read_again_is_the_same(us in 0..=i64::MAX, bytes: u64, small in 0_i64..100_000) {
            prop_assert_eq!(time_us(&time_text(us)), Some(us));
            prop_assert_eq!(time_us(&time_text(small * 1_000)), Some(small * 1_000));
            prop_assert_eq!(size_bytes(&size_text(bytes)), Some(bytes));
        }
    }
}
