//! Decimal numbers as text, to and from whole units, without a binary float in between.
//!
//! A trace says `61.114` and means 61.114 s. The nearest f64 is a little off, and an f64 holds no
//! more than 104 days to the nanosecond, so times are read digit by digit.

use std::fmt::Write as _;

/// Decimal places that turn seconds into nanoseconds.
pub(crate) const SECONDS: u32 = 9;
/// Decimal places that turn milliseconds into nanoseconds.
pub(crate) const MILLIS: u32 = 6;
/// Decimal places that turn microseconds into nanoseconds.
pub(crate) const MICROS: u32 = 3;
/// Nanoseconds are nanoseconds.
pub(crate) const NANOS: u32 = 0;

/// Why a text is not a count of units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalFault {
    /// Not a decimal number.
    NotANumber,
    /// Below zero.
    Negative,
    /// More than 2^64 - 1 units.
    TooLarge,
}

/// A decimal number taken apart: `digits` before and after the point, and a power of ten.
struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl Parts<'_> {
    /// How many digits, from the left, are whole units of 10^-`places`; the next one decides the rounding.
    fn kept(&self, places: u32) -> i64 {
        let whole = i64::try_from(self.whole.len()).unwrap_or(i64::MAX);
        whole.saturating_add(self.exponent).saturating_add(i64::from(places))
    }
}

/// `text` × 10^`places`, rounded to the nearest whole number, halves up.
///
/// `text` is a decimal number such as `61.114`, `5` or `1.5e3`; `-0` counts as 0.
pub(crate) fn parse_decimal(text: &str, places: u32) -> Result<u64, DecimalFault> {
    let parts = split(text.as_bytes()).ok_or(DecimalFault::NotANumber)?;
    let digits = || parts.whole.iter().chain(parts.fraction).map(|d| u64::from(d - b'0'));
    if parts.negative && digits().any(|d| d != 0) {
        return Err(DecimalFault::Negative);
    }
    let keep = parts.kept(places);
    let mut units: u64 = 0;
    let mut position = 0;
    for digit in digits() {
        if position == keep {
            let up = u64::from(digit >= 5);
            return units.checked_add(up).ok_or(DecimalFault::TooLarge);
        }
        if position > keep {
            break;
        }
        units = units.checked_mul(10).and_then(|u| u.checked_add(digit)).ok_or(DecimalFault::TooLarge)?;
        position += 1;
    }
    // Fewer digits than places: zeros follow. Zero stays zero, whatever its exponent.
    while position < keep && units != 0 {
        units = units.checked_mul(10).ok_or(DecimalFault::TooLarge)?;
        position += 1;
    }
    Ok(units)
}

/// Whether `text` × 10^`places` is a whole number: nothing was lost in rounding.
pub(crate) fn is_exact(text: &str, places: u32) -> bool {
    let Some(parts) = split(text.as_bytes()) else { return false };
    let keep = parts.kept(places);
    let dropped =
        parts.whole.iter().chain(parts.fraction).skip(usize::try_from(keep.max(0)).unwrap_or(usize::MAX));
    dropped.clone().all(|d| *d == b'0')
}

fn split(text: &[u8]) -> Option<Parts<'_>> {
    let (negative, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, rest) = leading_digits(rest);
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => leading_digits(rest),
        None => (&rest[..0], rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match rest {
        [] => 0,
        [b'e' | b'E', exponent @ ..] => parse_exponent(exponent)?,
        _ => return None,
    };
    Some(Parts { negative, whole, fraction, exponent })
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// An exponent, kept far within an `i64`: beyond a few hundred digits its exact value changes nothing.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] | digits => (1, digits),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0_i64, |v, d| (v * 10 + i64::from(d - b'0')).min(1 << 40));
    Some(sign * value)
}

/// `units` ÷ 10^`places` as a decimal with at least `least` and at most `places` digits after the point.
pub(crate) fn format_decimal(units: u64, places: u32, least: usize) -> String {
    let one = 10_u64.pow(places);
    let mut text = format!("{}", units / one);
    let fraction = format!("{:0width$}", units % one, width = places as usize);
    let used = fraction.trim_end_matches('0').len().max(least);
    if used > 0 {
        // Writing to a String cannot fail.
        let _ = write!(text, ".{}", &fraction[..used]);
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_are_read_to_the_last_digit() {
        let check = |text: &str, places, expect| assert_eq!(parse_decimal(text, places), expect, "{text}");
        check("61.114", SECONDS, Ok(61_114_000_000));
        check("0.215729", SECONDS, Ok(215_729_000));
        check("27482", MILLIS, Ok(27_482_000_000));
        check("1.5e3", SECONDS, Ok(1_500_000_000_000));
        check("25E-1", MILLIS, Ok(2_500_000));
        check("-0.0", SECONDS, Ok(0));
        check("0e999999999999999999999", SECONDS, Ok(0));
        check("1e-999999999999999999999", SECONDS, Ok(0));
        check("0.0000000005", SECONDS, Ok(1));
        check("0.00000000049", SECONDS, Ok(0));
        check("0.30000000000000004", SECONDS, Ok(300_000_000));
        check("18446744073.709551615", SECONDS, Ok(u64::MAX));
        check("18446744073.7095516155", SECONDS, Err(DecimalFault::TooLarge));
        check("1e300", SECONDS, Err(DecimalFault::TooLarge));
        check("-0.1", SECONDS, Err(DecimalFault::Negative));
        for text in ["", "-", ".", "e5", "1e", "1e+", "NaN", "Infinity", "1,5", "1 ", "\"1\"", "0x10"] {
            check(text, SECONDS, Err(DecimalFault::NotANumber));
        }
    }

    #[test]
    fn exactness_is_about_the_value() {
        assert!(is_exact("500.0", 0));
        assert!(is_exact("5e2", 0));
        assert!(!is_exact("500.5", 0));
        assert!(!is_exact("0.0000000001", SECONDS));
    }

    proptest! {
        /// The oracle shifts the digits as one big integer and divides with rounding.
        #[test]
        fn any_decimal_agrees_with_integer_arithmetic(
            whole in "[0-9]{1,12}", fraction in "[0-9]{0,15}", exponent in -6_i32..6, places in 0_u32..10,
        ) {
            let text = format!("{whole}.{fraction}e{exponent}");
            let digits: u128 = format!("{whole}{fraction}").parse().unwrap();
            let shift = exponent + places.cast_signed() - i32::try_from(fraction.len()).unwrap();
            let power = 10_u128.pow(shift.unsigned_abs());
            let oracle = if shift >= 0 { digits * power } else { (digits * 2 + power) / (2 * power) };
            prop_assert_eq!(parse_decimal(&text, places), u64::try_from(oracle).map_err(|_| DecimalFault::TooLarge));
        }

        #[test]
        fn what_is_written_reads_back(units: u64, places in 1_u32..10, least in 0_usize..2) {
            prop_assert_eq!(parse_decimal(&format_decimal(units, places, least), places), Ok(units));
        }

        #[test]
        fn no_text_panics(text in ".*", places in 0_u32..10) {
            let _ = parse_decimal(&text, places);
            let _ = is_exact(&text, places);
        }
    }
}
