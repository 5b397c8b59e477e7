//! Confidence intervals, and how many values a quantile needs.

use serde::{Deserialize, Serialize};

use crate::Quantile;
use crate::special::beta_cdf;

/// The share of runs whose interval holds the true value.
pub const CONFIDENCE: f64 = 0.95;

/// z of a two-sided interval of [`CONFIDENCE`].
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// A 95 % interval, in the unit of the value it belongs to. In JSON `[lo, hi]`; an end that the data do
/// not bound is null.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(into = "[Option<f64>; 2]", from = "[Option<f64>; 2]")]
pub struct Interval {
    /// Lower end.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
}

impl From<Interval> for [Option<f64>; 2] {
    fn from(interval: Interval) -> Self {
        [interval.lo, interval.hi]
    }
}

impl From<[Option<f64>; 2]> for Interval {
    fn from([lo, hi]: [Option<f64>; 2]) -> Self {
        Interval { lo, hi }
    }
}

/// The ranks, counted from 1 and not whole, between which the quantile of a distribution lies in 95 %
/// of samples of `n` values (not whole either: an effective number), as shares of n + 1. `None` for an
/// end beyond the smallest or the largest value.
///
/// Whatever the distribution, the share of it below the r-th of n values is Beta(r, n + 1 - r): the
/// lower rank is the r at which that share is below `q` in 97.5 % of samples, the upper the one at which
/// it is in 2.5 %. Between whole ranks the same formula interpolates.
///
/// Source: Hutson 1999, "Calculating nonparametric confidence intervals for quantiles using fractional
/// order statistics".
pub(crate) fn rank_shares(q: Quantile, n: f64) -> (Option<f64>, Option<f64>) {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let share = |probability: f64| {
        let cdf = |r: f64| beta_cdf(q.get(), r, n + 1.0 - r);
        // It falls as r rises. A rank outside [1, n] is no value of the sample.
        if n < 1.0 || cdf(1.0) < probability || cdf(n) > probability {
            return None;
        }
        let (mut low, mut high) = (1.0, n);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if cdf(middle) > probability { low = middle } else { high = middle }
        }
        Some(0.5 * (low + high) / (n + 1.0))
    };
    (share(1.0 - tail), share(tail))
}

/// Independent values that a quantile needs before the data say anything of it: the smallest n at which
/// at most one value above a bound, in n, shows with 99 % confidence that the quantile is below it. 11
/// for the median, 64 for p90, 130 for p95, 662 for p99.
///
/// Source: MLPerf LoadGen's early stopping (`MinPassingQueriesFinder`), tolerance 0.
pub fn floor_of(q: Quantile) -> u64 {
    let above = 1.0 - q.get();
    let too_likely = |n: u64| {
        let (n, below) = (n as f64, q.get());
        below.powf(n) + n * above * below.powf(n - 1.0) > 0.01
    };
    if above <= 0.0 {
        return u64::MAX;
    }
    let (mut low, mut high) = (1, 2);
    while too_likely(high) {
        low = high;
        high *= 2;
    }
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if too_likely(middle) { low = middle } else { high = middle }
    }
    high
}

/// Wilson's interval of a share, 0 to 1, of which `n` (not whole: an effective number) tries show
/// `share`.
///
/// Source: Wilson 1927; Brown, Cai & DasGupta 2001, "Interval estimation for a binomial proportion".
pub fn wilson(share: f64, n: f64) -> Interval {
    if n <= 0.0 {
        return Interval::default();
    }
    let z2n = Z * Z / n;
    let middle = (share + z2n / 2.0) / (1.0 + z2n);
    let half = Z / (1.0 + z2n) * (share * (1.0 - share) / n + z2n / (4.0 * n)).sqrt();
    Interval { lo: Some((middle - half).max(0.0)), hi: Some((middle + half).min(1.0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floors_are_those_of_mlperf() {
        let check = |q: f64, expect: u64| assert_eq!(floor_of(Quantile::new(q).unwrap()), expect, "{q}");
        check(0.5, 11);
        check(0.75, 24);
        check(0.9, 64);
        check(0.95, 130);
        check(0.99, 662);
        check(0.999, 6_636);
        check(1.0, u64::MAX);
    }

    #[test]
    fn ranks_are_those_of_the_binomial() {
        // n = 10: the classical interval of the median, ranks 2 to 9, covers 97.9 %; 3 to 8 covers 89.1 %.
        let (low, high) = rank_shares(Quantile::P50, 10.0);
        let (low, high) = (low.unwrap() * 11.0, high.unwrap() * 11.0);
        assert!((2.0..3.0).contains(&low) && (8.0..9.0).contains(&high) && (low + high - 11.0).abs() < 1e-6);
        // Five values do not bound a median, 368 do not bound a p99 from above, 369 do.
        assert_eq!(rank_shares(Quantile::P50, 5.0), (None, None));
        assert_eq!(rank_shares(Quantile::P99, 367.0).1, None);
        assert!(rank_shares(Quantile::P99, 368.0).1.is_some());
        assert!(rank_shares(Quantile::P99, 2.0).0.is_none());
    }

    #[test]
    fn wilson_as_published() {
        // Brown, Cai & DasGupta's formula by hand: 0 of 10 and 8 of 10.
        let near =
            |got: Option<f64>, want: f64| assert!((got.unwrap() - want).abs() < 5e-5, "{got:?} {want}");
        near(wilson(0.0, 10.0).lo, 0.0);
        near(wilson(0.0, 10.0).hi, 0.2775);
        near(wilson(0.8, 10.0).lo, 0.4902);
        near(wilson(0.8, 10.0).hi, 0.9433);
        assert_eq!(wilson(0.5, 0.0), Interval::default());
    }
}
