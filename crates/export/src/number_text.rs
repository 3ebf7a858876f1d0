//! Doubles as text: the shortest digits that read back as the same double, in one of two layouts.

use std::io::Write;

/// How doubles are laid out. Both always tell a double from an integer (`3.0`), and both are valid JSON when finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NumberText {
    /// `0.1`, `3.0`, `29221932.114882506`, `1e+16`, `1.5e-7`.
    #[default]
    Shortest,
    /// As Java's `Double.toString`, so that rows equal CICFlowMeter's byte for byte: decimal for
    /// 10⁻³ ≤ |x| < 10⁷, else `2.9221932114882506E7`, `1.0E-4`.
    ///
    /// The digits are those of JDK 19 and later; older ones print, in rare cases, one digit more than needed.
    Java,
}

impl NumberText {
    /// Appends a double. Non-finite ones are `NaN`, `Infinity` and `-Infinity` in both layouts.
    #[inline]
    pub fn push_float(self, out: &mut Vec<u8>, value: f64) {
        // Most doubles of a flow are counts and sizes. Comparing bits sends -0.0 and NaN the long way.
        let whole = value as i32;
        if f64::from(whole).to_bits() == value.to_bits() && whole.unsigned_abs() < DECIMAL_END_INT {
            if whole == 0 {
                out.extend_from_slice(b"0.0");
            } else {
                push_int(out, i64::from(whole));
                out.extend_from_slice(b".0");
            }
            return;
        }
        if !value.is_finite() {
            out.extend_from_slice(non_finite(value));
            return;
        }
        let mut digits = zmij::Buffer::new();
        let text = digits.format_finite(value).as_bytes();
        match self {
            Self::Java if !(DECIMAL_START..DECIMAL_END).contains(&value.abs()) && value != 0.0 => {
                push_scientific(out, value, text);
            }
            // In this range zmij's layout is Java's.
            _ => out.extend_from_slice(text),
        }
    }
}

/// Appends an integer in decimal.
#[inline]
pub(crate) fn push_int(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

const fn non_finite(value: f64) -> &'static [u8] {
    if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    }
}

/// Appends `d.dddE±x` from `shortest`, which is `value` in any layout.
fn push_scientific(out: &mut Vec<u8>, value: f64, shortest: &[u8]) {
    let mut digits = [0; MAX_DIGITS];
    let mut count = 0;
    // Power of ten of the first digit in `digits`.
    let mut exponent = 0;
    let mut after_point = false;
    let mut rest = shortest.iter();
    while let Some(&byte) = rest.next() {
        match byte {
            b'-' => {}
            b'.' => after_point = true,
            b'e' => {
                exponent += parse_exponent(rest.as_slice());
                break;
            }
            b'0' if count == 0 => exponent -= i32::from(after_point),
            digit => {
                if count < MAX_DIGITS {
                    digits[count] = digit;
                    count += 1;
                }
                exponent += i32::from(!after_point);
            }
        }
    }
    // Digits before the point counted the first one too; zeros between the point and the first digit did not.
    exponent -= 1;
    while count > 1 && digits[count - 1] == b'0' {
        count -= 1;
    }
    if count == 1 && value.is_subnormal() {
        // Java wants two digits, and these few doubles are so coarse that the second need not be 0: 4.9E-324.
        // Writing into a Vec cannot fail.
        let _ = write!(out, "{value:.1E}");
        return;
    }
    if value < 0.0 {
        out.push(b'-');
    }
    out.push(digits[0]);
    out.push(b'.');
    out.extend_from_slice(if count > 1 { &digits[1..count] } else { b"0" });
    out.push(b'E');
    push_int(out, i64::from(exponent));
}

fn parse_exponent(text: &[u8]) -> i32 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    sign * digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'))
}

/// Java writes decimals from here ...
const DECIMAL_START: f64 = 1e-3;

/// ... to below here.
const DECIMAL_END: f64 = 1e7;
const DECIMAL_END_INT: u32 = 10_000_000;

/// Longest text of a double: sign, 17 digits, point, five zeros or an exponent.
const MAX_DIGITS: usize = 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(numbers: NumberText, value: f64) -> String {
        let mut out = Vec::new();
        numbers.push_float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[track_caller]
    fn check(value: f64, java: &str, shortest: &str) {
        assert_eq!(text(NumberText::Java, value), java);
        assert_eq!(text(NumberText::Shortest, value), shortest);
        if value.is_finite() && value != 0.0 {
            assert_eq!(text(NumberText::Java, -value), format!("-{java}"));
            assert_eq!(text(NumberText::Shortest, -value), format!("-{shortest}"));
        }
    }

    #[test]
    fn layouts() {
        check(0.0, "0.0", "0.0");
        check(-0.0, "-0.0", "-0.0");
        check(3.0, "3.0", "3.0");
        check(0.1, "0.1", "0.1");
        check(100.0, "100.0", "100.0");
        check(0.001, "0.001", "0.001");
        check(0.000_999_999, "9.99999E-4", "0.000999999");
        check(1e-4, "1.0E-4", "0.0001");
        check(1.5e-7, "1.5E-7", "1.5e-7");
        check(123.456, "123.456", "123.456");
        check(1_234_567.875, "1234567.875", "1234567.875");
        check(9_999_999.0, "9999999.0", "9999999.0");
        check(9_999_999.999, "9999999.999", "9999999.999");
        check(1e7, "1.0E7", "10000000.0");
        check(1.2e7, "1.2E7", "12000000.0");
        check(10_000_001.0, "1.0000001E7", "10000001.0");
        check(29_221_932.114_882_506, "2.9221932114882506E7", "29221932.114882506");
        check(119_998_000.0, "1.19998E8", "119998000.0");
        // ...407.25 is halfway between two texts of 17 digits.
        check(1_048_510_333_743_407.2, "1.0485103337434072E15", "1048510333743407.2");
        check(1e15, "1.0E15", "1000000000000000.0");
        check(1e16, "1.0E16", "1e+16");
        check(1e100, "1.0E100", "1e+100");
        check(f64::MAX, "1.7976931348623157E308", "1.7976931348623157e+308");
        check(f64::MIN_POSITIVE, "2.2250738585072014E-308", "2.2250738585072014e-308");
        check(f64::from_bits(1), "4.9E-324", "5e-324");
        check(f64::NAN, "NaN", "NaN");
        check(f64::INFINITY, "Infinity", "Infinity");
        check(f64::NEG_INFINITY, "-Infinity", "-Infinity");
    }

    /// `Double.toString` in the words of its documentation, from Rust's own digits: as few as are needed, and of all
    /// that are so few the closest, on a tie the even one.
    fn java_model(value: f64) -> String {
        let shortest = format!("{:e}", value.abs());
        let fraction = shortest.bytes().take_while(|&byte| byte != b'e').count().saturating_sub(2);
        let scientific = format!("{:.fraction$e}", value.abs());
        let (mantissa, exponent) = scientific.split_once('e').unwrap();
        let digits = mantissa.replace('.', "");
        let exponent: i32 = exponent.parse().unwrap();
        let sign = if value.is_sign_negative() { "-" } else { "" };
        if value == 0.0 {
            return format!("{sign}0.0");
        }
        if (-3..0).contains(&exponent) {
            return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
        }
        let before = if (0..7).contains(&exponent) { exponent as usize + 1 } else { 1 };
        let padded = format!("{digits:0<width$}", width = before + 1);
        let decimal = format!("{sign}{}.{}", &padded[..before], &padded[before..]);
        if (0..7).contains(&exponent) { decimal } else { format!("{decimal}E{exponent}") }
    }

    fn doubles() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1e9..1e9_f64),
            (-2e7..2e7_f64).prop_map(f64::trunc),
            (any::<i32>(), -12..12_i32)
                .prop_map(|(digits, exponent)| { format!("{digits}e{exponent}").parse().unwrap() }),
            (1..200_000_000_u32, 1..100_u32).prop_map(|(sum, n)| f64::from(sum) / f64::from(n)),
        ]
        .prop_filter("finite", |value| value.is_finite())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn text_reads_back(value in doubles()) {
            for numbers in [NumberText::Shortest, NumberText::Java] {
                let text = text(numbers, value);
                prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{}", text);
                let json: f64 = serde_json::from_str(&text).unwrap();
                // serde_json rounds in the last digit unless told not to.
                prop_assert!((json - value).abs() <= value.abs() * 1e-15, "{}", text);
                prop_assert!(text.contains(['.', 'e']), "{}", text);
            }
        }

        #[test]
        fn java_layout(value in doubles()) {
            prop_assume!(!value.is_subnormal());
            prop_assert_eq!(text(NumberText::Java, value), java_model(value));
        }
    }
}
