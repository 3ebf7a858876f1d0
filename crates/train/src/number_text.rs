//! Numbers as reports print them.

/// A share or an area with three decimals; a dash for none.
pub(crate) fn share(value: Option<f64>) -> String {
    value.map_or_else(|| DASH.to_owned(), |value| format!("{value:.3}"))
}

/// A share in percent, two digits that count: `12 %`, `1.2 %`, `0.0012 %`.
pub(crate) fn percent(value: Option<f64>) -> String {
    match value {
        None => DASH.to_owned(),
        Some(0.0) => "0 %".to_owned(),
        Some(value) => format!("{} %", digits(value * 100.0, 2)),
    }
}

/// A count in groups of three: `67,131`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with so many digits that count: `1,234`, `12.3`, `0.0123`.
pub(crate) fn digits(value: f64, wanted: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let magnitude = value.abs().log10().floor() as i32;
    if magnitude >= wanted - 1 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", count(value.abs().round() as u64));
    }
    format!("{value:.*}", (wanted - 1 - magnitude).clamp(0, 12) as usize)
}

/// A time span: `850 ms`, `4.2 s`, `3.1 min`, `2.5 h`.
pub(crate) fn span(seconds: Option<f64>) -> String {
    match seconds {
        None => DASH.to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1000.0),
        Some(seconds) if seconds < 120.0 => format!("{} s", digits(seconds, 2)),
        Some(seconds) if seconds < 7200.0 => format!("{} min", digits(seconds / 60.0, 2)),
        Some(seconds) => format!("{} h", digits(seconds / 3600.0, 2)),
    }
}

/// A rate of false alarms as people say it: `1 in 1,000`.
pub(crate) fn one_in(rate: f64) -> String {
    format!("1 in {}", count((1.0 / rate).round() as u64))
}

/// Where there is no number.
pub(crate) const DASH: &str = "-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0, 7, 999, 1000, 1_234_567].map(count), ["0", "7", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.000_012_34, 0.0512, 0.999, 1.0].map(|value| percent(Some(value))),
            ["0 %", "0.0012 %", "5.1 %", "100 %", "100 %"]
        );
        assert_eq!(
            [1234.4, 12.34, 0.012_34, -5.67].map(|value| digits(value, 3)),
            ["1,234", "12.3", "0.0123", "-5.67"]
        );
        assert_eq!(
            [0.01, 4.0, 186.0, 9000.0].map(|value| span(Some(value))),
            ["10 ms", "4.0 s", "3.1 min", "2.5 h"]
        );
        assert_eq!(
            (share(Some(0.9724)), share(None), one_in(1e-3)),
            ("0.972".to_owned(), "-".to_owned(), "1 in 1,000".to_owned())
        );
    }
}
