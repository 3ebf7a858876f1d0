//! Instants as people and CICFlowMeter write them.

use jiff::civil::DateTime;
use jiff::tz::Offset;
use tapline_record::Timestamp;

/// An instant in RFC 3339, with its offset from UTC: `2017-07-04T09:20:00-03:00`.
///
/// # Errors
///
/// What is wrong with the text, and what would be right.
pub fn parse_rfc3339(text: &str) -> Result<Timestamp, String> {
    let instant: jiff::Timestamp = text.parse().map_err(|_| {
        format!("{text:?} is no time; write 2017-07-04T09:20:00-03:00, with the offset from UTC")
    })?;
    Ok(Timestamp::from_micros(instant.as_microsecond()))
}

/// An offset from UTC: `+00:00`, `-03:00`, `Z`; in seconds, east positive.
///
/// # Errors
///
/// What would be right.
pub fn parse_utc_offset(text: &str) -> Result<i32, String> {
    let wrong = || "say an offset from UTC: +00:00, -03:00 or Z".to_owned();
    if text == "Z" {
        return Ok(0);
    }
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let (hours, minutes) =
        (digits(hours, 2, 23).ok_or_else(wrong)?, digits(minutes, 2, 59).ok_or_else(wrong)?);
    Ok(sign * (hours * 3_600 + minutes * 60))
}

/// How to read the time of day where neither AM nor PM is said, as CICFlowMeter of 2018 leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// 0 to 23 o'clock.
    TwentyFour,
    /// 1 to 12 o'clock, within the twelve hours from this hour (0 to 12) on.
    TwelveFrom(i8),
}

/// An instant with how finely it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoarseTime {
    /// The earliest instant that is written like this.
    pub instant: Timestamp,
    /// Microseconds from it to the first instant that is written otherwise: 1, 1,000, 1,000,000 or 60,000,000.
    pub resolution_us: i64,
}

/// An instant as CICFlowMeter writes it, at an offset from UTC in seconds: `14/02/2018 08:31:01` (2018: a 12-hour
/// clock without AM or PM, see [`Clock`]), `3/7/2017 8:55` (the day files of 2017), `14/02/2018 08:31:01 PM` (4.0),
/// `2018-02-14 20:31:01.123456` (the corrected fork, a 24-hour clock).
///
/// # Errors
///
/// What is wrong with the text, and what would be right.
pub fn parse_cic(text: &str, offset_s: i32, clock: Option<Clock>) -> Result<CoarseTime, String> {
    let wrong =
        || format!("{text:?} is no time of CICFlowMeter; dd/MM/yyyy hh:mm:ss AM and yyyy-MM-dd HH:mm:ss are");
    let (date, time) = text.split_once(' ').ok_or_else(wrong)?;
    let (time, half) = match time.split_once(' ') {
        Some((time, half)) => (time, Some(half)),
        None => (time, None),
    };
    let by_slashes = date.contains('/');
    let mut parts = date.split(if by_slashes { '/' } else { '-' });
    let mut part = |width, max| digits(parts.next()?, width, max);
    let (year, month, day) = if by_slashes {
        let (day, month, year) = (part(2, 31), part(2, 12), part(4, 9_999));
        (year, month, day)
    } else {
        (part(4, 9_999), part(2, 12), part(2, 31))
    };
    if parts.next().is_some() {
        return Err(wrong());
    }
    let (time, fraction) = match time.split_once('.') {
        Some((time, fraction)) => (time, fraction),
        None => (time, ""),
    };
    let mut parts = time.split(':');
    let mut part = |max| digits(parts.next()?, 2, max);
    let (hour, minute) = (part(23).ok_or_else(wrong)?, part(59));
    let (second, whole_us) = match parts.next() {
        Some(second) => (digits(second, 2, 59), 1_000_000),
        None => (Some(0), 60_000_000),
    };
    let (nanos, resolution_us) = match (fraction.len(), digits(fraction, 6, 999_999)) {
        (0, _) => (Some(0), whole_us),
        (3, Some(millis)) => (Some(millis * 1_000_000), 1_000),
        (6, Some(micros)) => (Some(micros * 1_000), 1),
        _ => (None, 1),
    };
    if parts.next().is_some() {
        return Err(wrong());
    }
    let hour = match (half, by_slashes) {
        (Some("AM" | "am"), _) if (1..=12).contains(&hour) => hour % 12,
        (Some("PM" | "pm"), _) if (1..=12).contains(&hour) => hour % 12 + 12,
        (Some(_), _) => return Err(wrong()),
        (None, false) => hour,
        (None, true) => match clock {
            Some(Clock::TwentyFour) => hour,
            Some(Clock::TwelveFrom(from)) if (1..=12).contains(&hour) => {
                let from = i32::from(from);
                (from..from + 12).find(|candidate| candidate % 12 == hour % 12).unwrap_or(hour)
            }
            Some(Clock::TwelveFrom(_)) => {
                return Err(format!("{text:?} is not of a 12-hour clock; say --clock 24"));
            }
            None => {
                return Err(format!(
                    "{text:?} has neither AM nor PM; say --clock 24, or --clock 8 if every flow began \
                     between 08:00 and 19:59"
                ));
            }
        },
    };
    let small = |value: Option<i32>| value.and_then(|value| i8::try_from(value).ok()).ok_or_else(wrong);
    let year = year.and_then(|year| i16::try_from(year).ok()).ok_or_else(wrong)?;
    let civil = DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(Some(hour))?,
        small(minute)?,
        small(second)?,
        nanos.ok_or_else(wrong)?,
    );
    let offset = Offset::from_seconds(offset_s).map_err(|_| wrong())?;
    let instant = civil.and_then(|civil| offset.to_timestamp(civil)).map_err(|_| wrong())?;
    Ok(CoarseTime { instant: Timestamp::from_micros(instant.as_microsecond()), resolution_us })
}

/// One to `width` digits, at most `max`.
fn digits(text: &str, width: usize, max: i32) -> Option<i32> {
    let good = (1..=width).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if good { text.parse().ok().filter(|value| *value <= max) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_needs_an_offset() {
        assert_eq!(
            parse_rfc3339("2017-07-04T09:20:00-03:00"),
            Ok(Timestamp::from_micros(1_499_170_800_000_000))
        );
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.000001Z"), Ok(Timestamp::from_micros(1)));
        for wrong in ["", "2017-07-04T09:20:00", "2017-07-04", "yesterday"] {
            assert!(parse_rfc3339(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn offsets() {
        assert_eq!(parse_utc_offset("-03:30"), Ok(-12_600));
        assert_eq!(parse_utc_offset("+05:45"), Ok(20_700));
        assert_eq!(parse_utc_offset("Z"), Ok(0));
        for wrong in ["", "3", "+3", "+24:00", "+00:60", "+0a:00", "03:00"] {
            assert!(parse_utc_offset(wrong).is_err(), "{wrong}");
        }
    }

    /// All of these are 2018-02-14 20:31:01 UTC, or the beginning of that minute.
    #[test]
    fn the_forms_of_the_versions() {
        let at = |micros: i64| Timestamp::from_micros(1_518_640_261_000_000 + micros);
        let read = |text, clock| parse_cic(text, 0, clock).map(|time| (time.instant, time.resolution_us));
        assert_eq!(read("14/02/2018 08:31:01 PM", None), Ok((at(0), 1_000_000)));
        assert_eq!(read("14/02/2018 08:31:01", Some(Clock::TwelveFrom(9))), Ok((at(0), 1_000_000)));
        assert_eq!(read("14/02/2018 20:31:01", Some(Clock::TwentyFour)), Ok((at(0), 1_000_000)));
        assert_eq!(read("14/2/2018 20:31", Some(Clock::TwentyFour)), Ok((at(-1_000_000), 60_000_000)));
        assert_eq!(read("2018-02-14 20:31:01", None), Ok((at(0), 1_000_000)));
        assert_eq!(read("2018-02-14 20:31:01.123", None), Ok((at(123_000), 1_000)));
        assert_eq!(read("2018-02-14 20:31:01.123456", None), Ok((at(123_456), 1)));
        // 20:31:01 four hours west of Greenwich is after midnight there.
        let west = parse_cic("14/02/2018 04:31:01 PM", -4 * 3_600, None);
        assert_eq!(west.map(|time| time.instant), Ok(at(0)));
    }

    #[test]
    fn twelve_oclock_belongs_to_the_half_day() {
        let hour = |text, from| {
            let time = parse_cic(text, 0, Some(Clock::TwelveFrom(from))).unwrap();
            time.instant.civil().hour
        };
        assert_eq!(hour("1/1/2018 12:00:00", 0), 0);
        assert_eq!(hour("1/1/2018 11:00:00", 0), 11);
        assert_eq!(hour("1/1/2018 12:00:00", 8), 12);
        assert_eq!(hour("1/1/2018 8:00:00", 8), 8);
        assert_eq!(hour("1/1/2018 7:59:59", 8), 19);
        assert_eq!(hour("1/1/2018 12:00:00", 12), 12);
        assert_eq!(hour("1/1/2018 11:00:00", 12), 23);
    }

    #[test]
    fn other_times_are_refused() {
        let refused = |text, clock| assert!(parse_cic(text, 0, clock).is_err(), "{text}");
        refused("14/02/2018 08:31:01", None);
        refused("14/02/2018 20:31:01", Some(Clock::TwelveFrom(8)));
        for wrong in [
            "",
            "14/02/2018",
            "31/02/2018 08:31:01 PM",
            "14/13/2018 08:31:01 PM",
            "14/02/2018 13:31:01 PM",
            "14/02/2018 08:60:01 PM",
            "14/02/2018 08:31:01 XM",
            "14/02/2018/1 08:31:01 PM",
            "2018-02-14 20:31:01.12",
            "2018-02-14 20:31:01:01",
            "-2018-02-14 20:31:01",
            "Timestamp",
        ] {
            refused(wrong, Some(Clock::TwentyFour));
        }
    }
}
