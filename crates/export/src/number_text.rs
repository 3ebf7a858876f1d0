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
    pub fn push_float(self, out: &mut Vec<u8>, value: f64) {
        let mut text = [0; NUMBER_ROOM];
        let end = self.put_float(&mut text, 0, value);
        out.extend_from_slice(&text[..end]);
    }

    /// Writes a double at `at` and gives its end. At most [`NUMBER_BYTES`] of text, but bytes after it may be
    /// overwritten, up to [`NUMBER_ROOM`].
    #[inline(always)]
    pub(crate) fn put_float(self, text: &mut [u8], at: usize, value: f64) -> usize {
        // Most doubles of a flow are counts and sizes. Comparing bits sends -0.0 and NaN the long way.
        let whole = value as i32;
        if f64::from(whole).to_bits() == value.to_bits() && whole.unsigned_abs() < DECIMAL_END_INT {
            let mut at = at;
            if whole < 0 {
                text[at] = b'-';
                at += 1;
            }
            let end = put_below_8_digits(text, at, whole.unsigned_abs());
            put_word(text, end, *b".0");
            return end + 2;
        }
        if !value.is_finite() {
            return put_short(text, at, non_finite(value));
        }
        let mut digits = zmij::Buffer::new();
        let shortest = digits.format_finite(value).as_bytes();
        match self {
            Self::Java if !(DECIMAL_START..DECIMAL_END).contains(&value.abs()) && value != 0.0 => {
                put_scientific(text, at, value, shortest)
            }
            // In this range zmij's layout is Java's.
            _ => put_short(text, at, shortest),
        }
    }
}

/// Appends an integer in decimal.
#[inline]
pub(crate) fn push_int(out: &mut Vec<u8>, value: i64) {
    let mut text = [0; NUMBER_ROOM];
    let end = put_int(&mut text, 0, value);
    out.extend_from_slice(&text[..end]);
}

/// Writes an integer at `at` and gives its end; see [`NumberText::put_float`].
#[inline(always)]
pub(crate) fn put_int(text: &mut [u8], at: usize, value: i64) -> usize {
    match u32::try_from(value) {
        Ok(value @ 0..EIGHT_DIGITS_END) => put_below_8_digits(text, at, value),
        _ => put_short(text, at, itoa::Buffer::new().format(value).as_bytes()),
    }
}

/// Writes an integer below 10⁸ without a branch on its length, which no predictor can guess.
#[inline(always)]
fn put_below_8_digits(text: &mut [u8], at: usize, value: u32) -> usize {
    // Lanes of one word: two of four digits, four of two, eight of one; the first digit ends up in the lowest byte.
    // The multiplications divide by 100 and by 10, exactly in the range of their lanes.
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let twos = hundreds | (fours - 100 * hundreds) << 16;
    let tens = ((twos * 103) >> 10) & 0x000f_000f_000f_000f;
    let ones = tens | (twos - 10 * tens) << 8;
    // The last digit stays, also of 0.
    let leading_zeros = (ones | 1 << 56).trailing_zeros() / 8;
    let word = (ones | 0x3030_3030_3030_3030) >> (8 * leading_zeros);
    put_word(text, at, word.to_le_bytes());
    at + 8 - leading_zeros as usize
}

#[inline(always)]
fn put_word<const N: usize>(text: &mut [u8], at: usize, word: [u8; N]) {
    text[at..at + N].copy_from_slice(&word);
}

/// Writes a few bytes, in words that may overlap rather than by a call that looks at the length first.
#[inline(always)]
pub(crate) fn put_short(text: &mut [u8], at: usize, short: &[u8]) -> usize {
    let end = at + short.len();
    match (short.first_chunk::<16>(), short.first_chunk::<8>(), short.last_chunk::<8>()) {
        (Some(first), _, Some(last)) if short.len() <= 24 => {
            put_word(text, at, *first);
            put_word(text, end - 8, *last);
        }
        (None, Some(first), Some(last)) => {
            put_word(text, at, *first);
            put_word(text, end - 8, *last);
        }
        _ => text[at..end].copy_from_slice(short),
    }
    end
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

/// Writes `d.dddE±x` from `shortest`, which is `value` as zmij lays it out.
fn put_scientific(text: &mut [u8], at: usize, value: f64, shortest: &[u8]) -> usize {
    if !(DECIMAL_END..1e16).contains(&value) {
        return put_any_scientific(text, at, value, shortest);
    }
    // Microseconds and rates: all digits stand there, only the point is in the wrong place.
    let point = 8 + POWERS.iter().filter(|&&power| value >= power).count();
    let mut source = [0; NUMBER_ROOM];
    let length = put_short(&mut source, 0, shortest);
    text[at] = source[0];
    text[at + 1] = b'.';
    // In whole words: `point` is at most 16, and at most 17 digits are written.
    text[at + 2..at + 18].copy_from_slice(&source[1..17]);
    text[at + 1 + point..at + 17 + point].copy_from_slice(&source[point + 1..point + 17]);
    let mut end = at + length;
    while text[end - 1] == b'0' && end > at + 3 {
        end -= 1;
    }
    text[end] = b'E';
    put_below_8_digits(text, end + 1, point as u32 - 1)
}

#[cold]
#[inline(never)]
fn put_any_scientific(text: &mut [u8], at: usize, value: f64, shortest: &[u8]) -> usize {
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
        let mut rest = &mut text[at..];
        let room = rest.len();
        // There is room.
        let _ = write!(rest, "{value:.1E}");
        return at + room - rest.len();
    }
    let mut at = at;
    if value < 0.0 {
        text[at] = b'-';
        at += 1;
    }
    text[at] = digits[0];
    text[at + 1] = b'.';
    let end = put_short(text, at + 2, if count > 1 { &digits[1..count] } else { b"0" });
    text[end] = b'E';
    put_int(text, end + 1, i64::from(exponent))
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

const EIGHT_DIGITS_END: u32 = 100_000_000;

/// `value` has as many digits before the point as 8 and the powers it reaches.
const POWERS: [f64; 8] = [1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Longest text of a number: `-1.7976931348623157E-308`.
pub(crate) const NUMBER_BYTES: usize = 24;

/// Room that writing a number may overwrite.
pub(crate) const NUMBER_ROOM: usize = 40;

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

    fn subnormal_doubles() -> impl Strategy<Value = f64> {
        (1..f64::MIN_POSITIVE.to_bits(), any::<bool>()).prop_map(|(bits, negative)| {
            let value = f64::from_bits(bits);
            if negative { -value } else { value }
        })
    }

    #[test]
    fn integers() {
        let powers = (0..19).map(|power| 10_i64.pow(power));
        let around = powers.flat_map(|power| [power - 1, power, power + 1, -power, 1 - power]);
        for value in around.chain(0..100_000).chain([i64::MIN, i64::MAX]) {
            let mut out = Vec::new();
            push_int(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn integers_of_eight_digits(value in 0..EIGHT_DIGITS_END) {
            let mut out = b"before".to_vec();
            push_int(&mut out, i64::from(value));
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("before{value}"));
        }

        #[test]
        fn short_texts(text in "[a-z]{0,40}") {
            let mut out = [b'.'; 50];
            let end = put_short(&mut out, 6, text.as_bytes());
            prop_assert_eq!(std::str::from_utf8(&out[..end]).unwrap(), format!("......{text}"));
        }

        #[test]
        fn text_reads_back(value in prop_oneof![4 => doubles(), 1 => subnormal_doubles()]) {
            for numbers in [NumberText::Shortest, NumberText::Java] {
                let text = text(numbers, value);
                prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{}", text);
                let json: f64 = serde_json::from_str(&text).unwrap();
                // serde_json rounds in the last digit unless told not to: count doubles between, as a share of a
                // subnormal one is less than the next double.
                prop_assert!(json.to_bits().abs_diff(value.to_bits()) <= 4, "{}", text);
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
