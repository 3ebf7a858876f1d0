//! Amounts as people read them.

/// `9,000,000`.
pub(crate) fn count(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `123.4 k`, `1.2 G`: three or four digits and a prefix for thousands.
pub(crate) fn rate(per_s: f64) -> String {
    scaled(per_s, 1_000.0, &["", " k", " M", " G", " T", " P", " E"])
}

/// `1.2 Gbit/s`.
pub(crate) fn bits(per_s: f64) -> String {
    scaled(per_s, 1_000.0, &[" bit/s", " kbit/s", " Mbit/s", " Gbit/s", " Tbit/s", " Pbit/s", " Ebit/s"])
}

/// `301.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1_024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"])
}

/// `1:13:25`, `3 d 1:13:25`.
pub(crate) fn duration(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let clock = format!("{hours}:{minutes:02}:{:02}", seconds % 60);
    if days > 0 { format!("{days} d {clock}") } else { clock }
}

/// `4 s ago`, `16 min ago`, `3 h ago`, `2 d ago`.
pub(crate) fn ago(us: i64) -> String {
    match us.max(0) / 1_000_000 {
        seconds @ 0..120 => format!("{seconds} s ago"),
        seconds @ 120..7_200 => format!("{} min ago", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h ago", seconds / 3_600),
        seconds => format!("{} d ago", seconds / 86_400),
    }
}

/// `0.012 %` of a whole; nothing of nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".into();
    }
    let percent = part as f64 * 100.0 / whole as f64;
    match percent {
        0.0 => "0 %".into(),
        _ if percent < 0.001 => "<0.001 %".into(),
        _ if percent < 1.0 => format!("{percent:.3} %"),
        _ => format!("{percent:.1} %"),
    }
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = if value.is_finite() { value } else { 0.0 };
    let mut power = 0;
    // What would be shown as 1000.0 goes to the next unit.
    while value.abs() >= step - 0.05 && power + 1 < units.len() {
        value /= step;
        power += 1;
    }
    let unit = units[power];
    if power == 0 && (value >= 100.0 || value.fract().abs() < 0.05) {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        let rates = [0.0, 0.5, 99.5, 340.0, 999.9, 1_000.0, 123_400.0, 999_990.0, 1.2e9, f64::NAN];
        let texts = ["0", "0.5", "99.5", "340", "1000", "1.0 k", "123.4 k", "1.0 M", "1.2 G", "0"];
        assert_eq!(rates.map(rate), texts);
        assert_eq!([0.0, 1.2e9].map(bits), ["0 bit/s", "1.2 Gbit/s"]);
        assert_eq!([0, 512, 1_536, 301 << 20].map(bytes), ["0 B", "512 B", "1.5 KiB", "301.0 MiB"]);
        assert_eq!([0, 4_405_000_000, 263_605_000_000].map(duration), ["0:00:00", "1:13:25", "3 d 1:13:25"]);
        let times = [-5, 4_000_000, 960_000_000, 10_800_000_000, 172_800_000_000];
        assert_eq!(times.map(ago), ["0 s ago", "4 s ago", "16 min ago", "3 h ago", "2 d ago"]);
        let shares = [(0, 0), (0, 5), (1, 10_000_000), (12, 100_000), (1, 20)];
        assert_eq!(
            shares.map(|(part, whole)| share(part, whole)),
            ["-", "0 %", "<0.001 %", "0.012 %", "5.0 %"]
        );
    }
}
