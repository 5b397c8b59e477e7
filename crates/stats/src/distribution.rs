//! The eight numbers printed of anything measured more than once.

use serde::{Deserialize, Serialize};

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
}

impl Distribution {
    /// The distribution of `sorted` (ascending), divided by `unit`: 1e6 turns nanoseconds into
    /// milliseconds.
    pub fn of_sorted<T: Sample>(sorted: &[T], unit: f64) -> Self {
        let sum = sorted.iter().map(|v| v.value()).sum();
        Self::from_ranks(sorted.len() as u64, sum, unit, |rank| sorted[rank as usize].value())
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
            Some(interpolate(low, high, fraction) / unit)
        };
        Distribution {
            n,
            mean: Some(sum / n as f64 / unit),
            p50: at(Quantile::P50),
            p90: at(Quantile::P90),
            p95: at(Quantile::P95),
            p99: at(Quantile::P99),
            max: Some(nth(n - 1) / unit),
        }
    }
}

#[cfg(test)]
mod tests {
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
    }

    #[test]
    fn has_the_unit_asked_for() {
        let d = Distribution::of_sorted(&[-1_000i64, 1_000, 3_000], 1e3);
        assert_eq!((d.n, d.mean, d.p50, d.max), (3, Some(1.0), Some(1.0), Some(3.0)));
        assert_eq!(d.p99, Some(2.96));
    }
}
