//! Instants and addresses as text, for CSV and NDJSON alike. Nothing here needs quoting or escaping in either.

use std::io::Write;
use std::net::IpAddr;

use tapline_record::Timestamp;

use crate::number_text::push_int;

/// An instant as rows show it: RFC 3339 in UTC with six digits of fraction.
#[must_use]
pub fn time_text(time: Timestamp) -> String {
    let mut out = Vec::with_capacity(27);
    push_time(&mut out, time);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends an instant as RFC 3339 in UTC with six digits of fraction: `2023-11-14T22:13:20.123456Z`.
///
/// Years that RFC 3339 cannot write get a sign and as many digits as they need, as ISO 8601 allows.
pub(crate) fn push_time(out: &mut Vec<u8>, time: Timestamp) {
    let civil = time.civil();
    if let Ok(year @ 0..=9_999) = u32::try_from(civil.year) {
        push_padded::<4>(out, year);
    } else {
        out.push(if civil.year < 0 { b'-' } else { b'+' });
        push_int(out, civil.year.saturating_abs());
    }
    for (before, value) in [
        (b'-', civil.month),
        (b'-', civil.day),
        (b'T', civil.hour),
        (b':', civil.minute),
        (b':', civil.second),
    ] {
        out.push(before);
        push_padded::<2>(out, u32::from(value));
    }
    out.push(b'.');
    push_padded::<6>(out, civil.micros);
    out.push(b'Z');
}

/// Appends an address: dotted decimal, or RFC 5952.
pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            for (octet, after) in [(a, Some(b'.')), (b, Some(b'.')), (c, Some(b'.')), (d, None)] {
                out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
                out.extend(after);
            }
        }
        IpAddr::V6(ip) => {
            // Writing into a Vec cannot fail.
            let _ = write!(out, "{ip}");
        }
    }
}

fn push_padded<const WIDTH: usize>(out: &mut Vec<u8>, mut value: u32) {
    let mut digits = [b'0'; WIDTH];
    for digit in digits.iter_mut().rev() {
        *digit += (value % 10) as u8;
        value /= 10;
    }
    out.extend_from_slice(&digits);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(micros: i64, expect: &str) {
        let mut out = Vec::new();
        push_time(&mut out, Timestamp::from_micros(micros));
        assert_eq!(String::from_utf8(out).unwrap(), expect);
    }

    #[test]
    fn times() {
        check(1_700_000_000_123_456, "2023-11-14T22:13:20.123456Z");
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(i64::MIN, "-290308-12-21T19:59:05.224192Z");
        check(i64::MAX, "+294247-01-10T04:00:54.775807Z");
    }

    proptest! {
        #[test]
        fn addresses_are_as_std_writes_them(ip: IpAddr) {
            let mut out = Vec::new();
            push_ip(&mut out, ip);
            prop_assert_eq!(String::from_utf8(out).unwrap(), ip.to_string());
        }
    }
}
