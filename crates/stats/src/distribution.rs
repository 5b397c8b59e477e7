//! The numbers printed of anything measured more than once.

use serde::{Deserialize, Serialize};

use crate::effective::inflation;
use crate::interval::{Interval, floor_of, rank_shares};
use crate::quantile::interpolate;
use crate::{Quantile, Sample};

/// A distribution, in the unit that the name of its field says.
///
/// With `n` = 0 every other value is `None` (null in JSON): "no data" and 0 never look alike. A field
/// that holds a distribution is itself null only where the thing could not be measured at all.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub n: u64,
    /// Arithmetic mean.
    pub mean: Option<f64>,
    /// Median.
    pub p50: Option<f64>,
    /// 90th percentile.
    pub p90: Option<f64>,
    /// 95th percentile.
    pub p95: Option<f64>,
    /// 99th percentile.
    pub p99: Option<f64>,
    /// Largest.
    pub max: Option<f64>,
    /// How many of the values are infinite: failed requests, where they are asked to count so. A number
    /// above that is null though `n` > 0 is infinite. Absent when 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub infinite: u64,
    /// How far each quantile can be relied on.
    #[serde(flatten)]
    pub bounds: Bounds,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A 95 % interval for each quantile, and what it would need where there are too few values.
///
/// Absent for figures of the tester itself and for parts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Bounds {
    /// Where the median lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_ci: Option<Interval>,
    /// Where p90 lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_ci: Option<Interval>,
    /// Where p95 lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_ci: Option<Interval>,
    /// Where p99 lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_ci: Option<Interval>,
    /// Requests that the median needs; absent where there are as many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50_needs: Option<u64>,
    /// Requests that p90 needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90_needs: Option<u64>,
    /// Requests that p95 needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95_needs: Option<u64>,
    /// Requests that p99 needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99_needs: Option<u64>,
    /// Requests that there are, where a quantile needs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub had: Option<u64>,
}

/// The quantiles that are printed.
pub(crate) const PRINTED: [Quantile; 4] = [Quantile::P50, Quantile::P90, Quantile::P95, Quantile::P99];

/// What is known of one quantile beside its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reliance {
    pub(crate) interval: Interval,
    pub(crate) needs: Option<u64>,
}

impl Reliance {
    /// Of quantile `q` of `n` requests that tell as much as `n_eff` independent values; `at` looks up
    /// the value at a share of the (number of values + 1).
    pub(crate) fn new(q: Quantile, n: u64, n_eff: f64, at: impl Fn(f64) -> Option<f64>) -> Self {
        let (lo, hi) = rank_shares(q, n_eff);
        let floor = floor_of(q);
        let needs = (n_eff < floor as f64).then(|| (floor as f64 * n as f64 / n_eff).ceil() as u64);
        Reliance { interval: Interval { lo: lo.and_then(&at), hi: hi.and_then(&at) }, needs }
    }
}

impl Bounds {
    /// Of the [`PRINTED`] quantiles, over `n` requests.
    pub(crate) fn new(n: u64, of: [Reliance; 4]) -> Self {
        let [p50, p90, p95, p99] = of;
        Bounds {
            p50_ci: Some(p50.interval),
            p90_ci: Some(p90.interval),
            p95_ci: Some(p95.interval),
            p99_ci: Some(p99.interval),
            p50_needs: p50.needs,
            p90_needs: p90.needs,
            p95_needs: p95.needs,
            p99_needs: p99.needs,
            had: of.iter().any(|r| r.needs.is_some()).then_some(n),
        }
    }
}

impl Distribution {
    /// The distribution of `sorted` (ascending), divided by `unit`: 1e6 turns nanoseconds into
    /// milliseconds. Without intervals: the order in which the values came is not known.
    pub fn of_sorted<T: Sample>(sorted: &[T], unit: f64) -> Self {
        let sum = sorted.iter().map(|v| v.value()).sum();
        Self::from_ranks(sorted.len() as u64, sum, unit, |rank| sorted[rank as usize].value())
    }

    /// The distribution of `series`, one value a request in order of sending, divided by `unit`, with an
    /// interval for each quantile. Values may be infinite, not NaN.
    ///
    /// The interval is that of order statistics for as many independent values as the series is worth:
    /// its length divided by the autocorrelation of whether a value is at most the quantile.
    ///
    /// ```
    /// use tics_stats::Distribution;
    /// let d = Distribution::of_series(&[4.0, 1.0, 3.0, 2.0, 5.0, 9.0, 8.0, 6.0, 7.0], 1.0);
    /// assert_eq!((d.p50, d.bounds.p99_needs, d.bounds.had), (Some(5.0), Some(662), Some(9)));
    /// ```
    pub fn of_series(series: &[f64], unit: f64) -> Self {
        let mut sorted = series.to_vec();
        sorted.sort_unstable_by(f64::total_cmp);
        let mut distribution = Self::of_sorted(&sorted, unit);
        if !series.is_empty() {
            distribution.bounds = bounds_of(series, &sorted, unit);
        }
        distribution
    }

    /// The same figures without what is known of their reliability.
    #[must_use]
    pub fn plain(self) -> Self {
        Distribution { bounds: Bounds::default(), ..self }
    }

    /// The distribution of `n` values with the given `sum`, whose order statistics `nth` looks up by
    /// rank from 0.
    pub(crate) fn from_ranks(n: u64, sum: f64, unit: f64, nth: impl Fn(u64) -> f64) -> Self {
        if n == 0 {
            return Distribution::default();
        }
        let at = |q: Quantile| {
            let (below, fraction) = q.position(n);
            let low = nth(below);
            let high = if fraction > 0.0 { nth(below + 1) } else { low };
            finite(high).map(|high| interpolate(low, high, fraction) / unit)
        };
        let infinite = match finite(nth(n - 1)) {
            Some(_) => 0,
            None => n - first_infinite(n, &nth),
        };
        Distribution {
            n,
            mean: finite(sum).map(|sum| sum / n as f64 / unit),
            p50: at(Quantile::P50),
            p90: at(Quantile::P90),
            p95: at(Quantile::P95),
            p99: at(Quantile::P99),
            max: finite(nth(n - 1)).map(|max| max / unit),
            infinite,
            bounds: Bounds::default(),
        }
    }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// The rank of the first infinite value, of which there is one.
fn first_infinite(n: u64, nth: impl Fn(u64) -> f64) -> u64 {
    let (mut low, mut high) = (0, n - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        if nth(middle).is_finite() { low = middle + 1 } else { high = middle }
    }
    low
}

/// Quantile `q` of `series`, which is not empty, and how far it can be relied on; `sorted` are the same
/// values, ascending.
pub(crate) fn reliance(q: Quantile, series: &[f64], sorted: &[f64], unit: f64) -> Reliance {
    let n = sorted.len();
    let (below, fraction) = q.position(n as u64);
    let low = sorted[below as usize];
    let high = if fraction > 0.0 { sorted[below as usize + 1] } else { low };
    let quantile = if high.is_finite() { interpolate(low, high, fraction) } else { low };
    let indicator = series.iter().map(|v| f64::from(u8::from(*v <= quantile))).collect();
    let at = |share: f64| {
        let rank = (share * (n + 1) as f64 - 1.0).clamp(0.0, (n - 1) as f64);
        let below = rank.floor() as usize;
        let high = sorted[(below + 1).min(n - 1)];
        finite(high).map(|high| interpolate(sorted[below], high, rank - rank.floor()) / unit)
    };
    Reliance::new(q, n as u64, n as f64 / inflation(indicator), at)
}

fn bounds_of(series: &[f64], sorted: &[f64], unit: f64) -> Bounds {
    Bounds::new(sorted.len() as u64, PRINTED.map(|q| reliance(q, series, sorted, unit)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_null_and_zero_is_zero() {
        let json = |d: Distribution| serde_json::to_string(&d).unwrap();
        assert_eq!(
            json(Distribution::of_sorted::<u64>(&[], 1e6)),
            r#"{"n":0,"mean":null,"p50":null,"p90":null,"p95":null,"p99":null,"max":null}"#
        );
        assert_eq!(
            json(Distribution::of_sorted(&[0u64], 1e6)),
            r#"{"n":1,"mean":0.0,"p50":0.0,"p90":0.0,"p95":0.0,"p99":0.0,"max":0.0}"#
        );
        assert_eq!(Distribution::of_series(&[], 1.0), Distribution::default());
    }

    #[test]
    fn has_the_unit_asked_for() {
        let d = Distribution::of_sorted(&[-1_000i64, 1_000, 3_000], 1e3);
        assert_eq!((d.n, d.mean, d.p50, d.max), (3, Some(1.0), Some(1.0), Some(3.0)));
        assert_eq!(d.p99, Some(2.96));
    }

    #[test]
    fn infinite_values_are_null_and_counted() {
        let d = Distribution::of_series(&[f64::INFINITY, 1.0, 2.0, 3.0, f64::INFINITY], 1.0);
        assert_eq!((d.n, d.infinite, d.p50, d.p90, d.mean, d.max), (5, 2, Some(3.0), None, None, None));
        // Between the largest finite value and infinity there is nothing but infinity.
        let d = Distribution::of_series(&[1.0, f64::INFINITY], 1.0);
        assert_eq!((d.infinite, d.p50), (1, None));
        let json = serde_json::to_string(&d).unwrap();
        assert_eq!(serde_json::from_str::<Distribution>(&json).unwrap(), d);
    }

    proptest! {
        #[test]
        fn an_interval_holds_its_quantile_and_rises_with_q(
            series in prop::collection::vec(0.0..1e9f64, 1..400),
        ) {
            let d = Distribution::of_series(&series, 1.0);
            let b = d.bounds;
            let mut before = (f64::NEG_INFINITY, f64::NEG_INFINITY);
            for (value, ci) in [(d.p50, b.p50_ci), (d.p90, b.p90_ci), (d.p95, b.p95_ci), (d.p99, b.p99_ci)] {
                let (value, ci) = (value.unwrap(), ci.unwrap());
                let min = series.iter().copied().fold(f64::INFINITY, f64::min);
                let (lo, hi) = (ci.lo.unwrap_or(min), ci.hi.unwrap_or(d.max.unwrap()));
                prop_assert!(min <= lo && hi <= d.max.unwrap());
                prop_assert!(lo <= value && value <= hi, "{value} is not in {ci:?}");
                prop_assert!(before.0 <= value);
                before = (value, hi);
            }
            prop_assert_eq!(d.plain(), {
                let mut sorted = series.clone();
                sorted.sort_unstable_by(f64::total_cmp);
                Distribution::of_sorted(&sorted, 1.0)
            });
        }
    }
}
