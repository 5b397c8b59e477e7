//! Which part of a trace is replayed, and how fast.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tics_record::Nanos;

use crate::decimal::{SECONDS, format_decimal, parse_decimal};
use crate::spread::Spread;

/// Which part of a trace is replayed, and how fast: first the window, then the sample, then the limit,
/// then the scale.
///
/// The first request that is left is due at zero, whatever its time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Selection {
    /// Only rows with `from <= at < to`, in the trace's own time, as recorded.
    pub window: Option<(Nanos, Nanos)>,
    /// Only so large a share of the rows, above 0 and at most 1. Sessions and groups of requests with a
    /// common prefix are kept or left out as a whole: rows of one session; else those that lead back
    /// to the same request over their parents; else those with the same blocks up to the first one
    /// behind the system prompt (a prefix that more than 2 % of the rows share); else single rows.
    pub sample: Option<f64>,
    /// At most so many rows, the earliest.
    pub limit: Option<NonZeroU64>,
    /// Distributes rows that are all on one time.
    pub spread: Option<Spread>,
    /// Factor on the times.
    pub scale: Scale,
    /// Seed of the sample and of the draws of [`Spread::Poisson`].
    pub seed: u64,
}

impl Default for Selection {
    fn default() -> Self {
        Selection { window: None, sample: None, limit: None, spread: None, scale: Scale::ONE, seed: 0 }
    }
}

impl Selection {
    /// Whether every row is selected, at its own time.
    pub(crate) fn takes_all(&self, rows: u64) -> bool {
        self.window.is_none()
            && self.sample.is_none()
            && self.spread.is_none()
            && self.limit.is_none_or(|limit| limit.get() >= rows)
    }
}

/// Reads a share such as `0.1` or `10%`.
///
/// # Errors
/// What was expected instead.
pub fn parse_share(text: &str) -> Result<f64, String> {
    let (number, of) = text.trim().strip_suffix('%').map_or((text.trim(), 1.0), |number| (number, 100.0));
    let share = number.trim_end().parse().ok().map(|n: f64| n / of);
    share.filter(|share| *share > 0.0 && *share <= 1.0).ok_or_else(|| {
        format!("expected a share above 0 and at most 1, such as 0.1 or 10%, found \"{text}\"")
    })
}

/// A factor on times, above 0 and finite: 0.5 is twice as fast.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Scale(f64);

impl Scale {
    /// As recorded.
    pub const ONE: Scale = Scale(1.0);

    /// `None` unless `factor` is above 0 and finite.
    pub fn new(factor: f64) -> Option<Scale> {
        (factor > 0.0 && factor.is_finite()).then_some(Scale(factor))
    }

    /// The factor.
    pub const fn factor(self) -> f64 {
        self.0
    }

    /// `span` × factor, rounded to the nearest nanosecond, halves up; at most the largest span.
    ///
    /// The product of the integer and the factor's exact binary value is rounded once, so order is
    /// kept and a factor of 1 changes nothing, however long the trace is.
    #[must_use]
    pub fn apply(self, span: Nanos) -> Nanos {
        // factor = mantissa × 2^exponent, mantissa below 2^53: the product fits 117 bits.
        let bits = self.0.to_bits();
        let stored = bits & ((1 << 52) - 1);
        let biased = (bits >> 52) as i32;
        let (mantissa, exponent) =
            if biased == 0 { (stored, -1074) } else { (stored | 1 << 52, biased - 1075) };
        let product = u128::from(span.as_nanos()) * u128::from(mantissa);
        let scaled = match exponent {
            0.. => product.checked_mul(1_u128.checked_shl(exponent.unsigned_abs()).unwrap_or(u128::MAX)),
            -120..0 => {
                let shift = exponent.unsigned_abs();
                Some((product >> shift) + (product >> (shift - 1) & 1))
            }
            _ => Some(0),
        };
        Nanos::new(scaled.and_then(|ns| u64::try_from(ns).ok()).unwrap_or(u64::MAX))
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Scale {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a number above 0 such as 0.5, found \"{text}\"");
        text.trim().parse().ok().and_then(Scale::new).ok_or_else(expected)
    }
}

impl<'de> Deserialize<'de> for Scale {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let factor = f64::deserialize(from)?;
        Scale::new(factor).ok_or_else(|| serde::de::Error::custom("expected a number above 0"))
    }
}

/// Reads `0.4,0.5,0.8`.
///
/// # Errors
/// What is wrong with which of them.
pub fn parse_scales(text: &str) -> Result<Vec<Scale>, String> {
    text.split(',').map(str::parse).collect()
}

/// Reads a window `FROM..TO` in seconds, either end left out for the trace's own: `10..60`, `10..`, `..60`.
///
/// # Errors
/// What was expected instead.
pub fn parse_window(text: &str) -> Result<(Nanos, Nanos), String> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| format!("expected FROM..TO in seconds such as 10..60, found \"{text}\""))?;
    let seconds = |part: &str, open: u64| match part.trim() {
        "" => Ok(Nanos::new(open)),
        part => parse_decimal(part, SECONDS)
            .map(Nanos::new)
            .map_err(|_| format!("expected seconds from 0 such as 10 or 0.5, found \"{part}\"")),
    };
    let window = (seconds(from, 0)?, seconds(to, u64::MAX)?);
    if window.0 < window.1 {
        Ok(window)
    } else {
        Err(format!("the window {text} is empty: FROM must be below TO"))
    }
}

/// A window as it would be written on the command line.
pub(crate) fn window_text(window: (Nanos, Nanos)) -> String {
    let to = if window.1.as_nanos() == u64::MAX { String::new() } else { seconds_text(window.1) };
    format!("{}..{to}", seconds_text(window.0))
}

/// Seconds with as many digits as needed.
pub(crate) fn seconds_text(span: Nanos) -> String {
    format_decimal(span.as_nanos(), SECONDS, 0)
}

/// Lengths in tokens, drawn uniformly: a number, or a range with both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthRange {
    least: u32,
    most: u32,
}

impl LengthRange {
    /// `None` unless 1 ≤ `least` ≤ `most`.
    pub fn new(least: u32, most: u32) -> Option<LengthRange> {
        (1 <= least && least <= most).then_some(LengthRange { least, most })
    }

    /// The shortest.
    pub const fn least(self) -> u32 {
        self.least
    }

    /// The longest.
    pub const fn most(self) -> u32 {
        self.most
    }
}

impl FromStr for LengthRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let expected = || format!("expected tokens, N or A..B with 1 <= A <= B, found \"{text}\"");
        let number = |part: &str| part.trim().parse().map_err(|_| expected());
        LengthRange::new(number(least)?, number(most)?).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_are_read_or_explained() {
        let ns = |s: f64| Nanos::from_secs_f64(s).unwrap();
        assert_eq!(parse_window("10..60"), Ok((ns(10.0), ns(60.0))));
        assert_eq!(parse_window("0.5..1.25"), Ok((ns(0.5), ns(1.25))));
        assert_eq!(parse_window("10.."), Ok((ns(10.0), Nanos::new(u64::MAX))));
        assert_eq!(parse_window("..60"), Ok((Nanos::ZERO, ns(60.0))));
        assert_eq!(window_text((ns(0.5), Nanos::new(u64::MAX))), "0.5..");
        let check = |text: &str, expect: &str| assert_eq!(parse_window(text).unwrap_err(), expect);
        check("10", "expected FROM..TO in seconds such as 10..60, found \"10\"");
        check("a..60", "expected seconds from 0 such as 10 or 0.5, found \"a\"");
        check("-1..60", "expected seconds from 0 such as 10 or 0.5, found \"-1\"");
        check("60..10", "the window 60..10 is empty: FROM must be below TO");
        check("5..5", "the window 5..5 is empty: FROM must be below TO");
    }

    #[test]
    fn scales_and_lengths_are_read_or_explained() {
        let scales: Vec<f64> = parse_scales("0.4, 0.5,0.8").unwrap().into_iter().map(Scale::factor).collect();
        assert_eq!(scales, [0.4, 0.5, 0.8]);
        for text in ["", "0", "-1", "inf", "nan", "1,,2", "fast"] {
            assert!(parse_scales(text).unwrap_err().starts_with("expected a number above 0"), "{text}");
        }
        assert_eq!("7".parse(), Ok(LengthRange { least: 7, most: 7 }));
        assert_eq!("1..8192".parse(), Ok(LengthRange { least: 1, most: 8192 }));
        for text in ["", "0", "0..5", "9..5", "1..", "a..b", "1-5", "4294967296"] {
            let error = text.parse::<LengthRange>().unwrap_err();
            assert_eq!(error, format!("expected tokens, N or A..B with 1 <= A <= B, found \"{text}\""));
        }
    }

    #[test]
    fn shares_are_read_or_explained() {
        assert_eq!(parse_share("0.25"), Ok(0.25));
        assert_eq!(parse_share(" 10 % "), Ok(0.1));
        assert_eq!(parse_share("1"), Ok(1.0));
        for text in ["", "0", "1.5", "-1", "nan", "101%", "half"] {
            let expect =
                format!("expected a share above 0 and at most 1, such as 0.1 or 10%, found \"{text}\"");
            assert_eq!(parse_share(text), Err(expect));
        }
    }

    #[test]
    fn extreme_factors_stay_in_range() {
        let scale = |factor, ns| Scale::new(factor).unwrap().apply(Nanos::new(ns)).as_nanos();
        assert_eq!(scale(0.5, 5), 3);
        assert_eq!(scale(0.1, 3_536_999_000_000), 353_699_900_000);
        assert_eq!(scale(f64::MAX, 1), u64::MAX);
        assert_eq!(scale(f64::MAX, 0), 0);
        assert_eq!(scale(f64::MIN_POSITIVE, u64::MAX), 0);
        assert_eq!(scale(5e-324, u64::MAX), 0);
        assert_eq!(scale(2.0, u64::MAX), u64::MAX);
        assert_eq!(scale(1.0, u64::MAX), u64::MAX);
    }

    proptest! {
        /// Whole fractions have an exact oracle in integers.
        #[test]
        fn scaling_rounds_to_the_nearest(ns in 0..1_u64 << 62, eighths in 1_u64..64) {
            let scale = Scale::new(eighths as f64 / 8.0).unwrap();
            let exact = u128::from(ns) * u128::from(eighths);
            let oracle = u64::try_from((exact + 4) / 8).unwrap_or(u64::MAX);
            prop_assert_eq!(scale.apply(Nanos::new(ns)).as_nanos(), oracle);
        }

        #[test]
        fn scaling_keeps_order(a: u64, b: u64, factor in 1e-6..1e6_f64) {
            let scale = Scale::new(factor).unwrap();
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(scale.apply(Nanos::new(low)) <= scale.apply(Nanos::new(high)));
        }
    }
}
