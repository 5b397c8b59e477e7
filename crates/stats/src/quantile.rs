//! Quantiles by linear interpolation.

use tics_record::Nanos;

/// A number of which quantiles can be taken.
pub trait Sample: Copy {
    /// As a float, for interpolation. Spans are exact up to 2^53 ns (104 days).
    fn value(self) -> f64;
}

impl Sample for u32 {
    fn value(self) -> f64 {
        f64::from(self)
    }
}

impl Sample for u64 {
    fn value(self) -> f64 {
        self as f64
    }
}

impl Sample for i64 {
    fn value(self) -> f64 {
        self as f64
    }
}

impl Sample for f64 {
    fn value(self) -> f64 {
        self
    }
}

impl Sample for Nanos {
    fn value(self) -> f64 {
        self.as_nanos() as f64
    }
}

/// Which quantile: a share in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Quantile(f64);

impl Quantile {
    /// The median.
    pub const P50: Quantile = Quantile(0.5);
    /// The 90th percentile.
    pub const P90: Quantile = Quantile(0.9);
    /// The 95th percentile.
    pub const P95: Quantile = Quantile(0.95);
    /// The 99th percentile.
    pub const P99: Quantile = Quantile(0.99);

    /// The quantile `q`; `None` outside [0, 1] and for NaN.
    pub fn new(q: f64) -> Option<Self> {
        (0.0..=1.0).contains(&q).then_some(Quantile(q))
    }

    /// The share below it.
    pub const fn get(self) -> f64 {
        self.0
    }

    /// Where it lies among `n` ≥ 1 values: the rank below it, from 0, and how far to the next, in [0, 1).
    pub(crate) fn position(self, n: u64) -> (u64, f64) {
        let at = self.0 * (n - 1) as f64;
        let below = at.floor();
        (below as u64, at - below)
    }
}

/// There is no quantile of no values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no values, so no quantile")]
pub struct Empty;

/// Quantile by linear interpolation between order statistics.
///
/// - `sorted`: n ≥ 1 values, ascending; an unsorted slice is a caller bug (debug assertion).
/// - `q` in [0, 1]: the value at position q · (n - 1), counted from 0; p50 of 10, 20, 30, 40 ns is 25 ns.
///
/// The result is in the unit of the values, never below the smallest nor above the largest, and
/// never falls as `q` rises.
///
/// ```
/// use tics_stats::{Empty, Quantile, quantile};
/// assert_eq!(quantile(&[10u64, 20, 30, 40], Quantile::P50), Ok(25.0));
/// assert_eq!(quantile::<u64>(&[], Quantile::P50), Err(Empty));
/// ```
///
/// # Errors
/// [`Empty`] when n = 0: "no data" and "0 ns" must not look alike.
///
/// Source: Hyndman & Fan 1996, definition 7 (numpy's default).
pub fn quantile<T: Sample>(sorted: &[T], q: Quantile) -> Result<f64, Empty> {
    debug_assert!(sorted.is_sorted_by(|a, b| a.value() <= b.value()), "quantile of an unsorted slice");
    if sorted.is_empty() {
        return Err(Empty);
    }
    let (below, fraction) = q.position(sorted.len() as u64);
    let low = sorted[below as usize].value();
    let high = sorted.get(below as usize + 1).map_or(low, |v| v.value());
    Ok(interpolate(low, high, fraction))
}

/// The value `fraction` of the way from `low` to `high`. Rounding may not carry it past `high`, or
/// quantiles would fall as q rises.
pub(crate) fn interpolate(low: f64, high: f64, fraction: f64) -> f64 {
    (low + (high - low) * fraction).min(high)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(sorted: &[u64], q: f64, expect: f64) {
        assert_eq!(quantile(sorted, Quantile::new(q).unwrap()), Ok(expect), "q = {q} of {sorted:?}");
    }

    #[test]
    fn interpolates_as_numpy_does() {
        check(&[7], 0.99, 7.0);
        check(&[10, 20, 30, 40], 0.0, 10.0);
        check(&[10, 20, 30, 40], 0.5, 25.0);
        check(&[10, 20, 30, 40], 1.0, 40.0);
        check(&[1, 2, 3, 4, 5], 0.9, 4.6);
        check(&[0, 100], 0.99, 99.0);
    }

    #[test]
    fn a_share_outside_the_unit_interval_is_no_quantile() {
        for q in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Quantile::new(q), None);
        }
    }

    /// The definition read literally: finds order statistics by counting, not by indexing, and weighs
    /// the two neighbours instead of stepping from one.
    fn oracle(values: &[u64], q: f64) -> f64 {
        let nth = |rank: usize| {
            let holds_rank = |v: &&u64| {
                let below = values.iter().filter(|w| w < v).count();
                let up_to = values.iter().filter(|w| w <= v).count();
                (below..up_to).contains(&rank)
            };
            values.iter().find(holds_rank).map_or(0.0, |v| *v as f64)
        };
        let at = q * (values.len() - 1) as f64;
        let above = at.floor() + 1.0;
        nth(at.floor() as usize) * (above - at) + nth(above as usize) * (at - at.floor())
    }

    proptest! {
        #[test]
        fn equals_the_definition(values in prop::collection::vec(0u64..1 << 50, 1..60), q in 0.0..=1.0) {
            let expect = oracle(&values, q);
            let mut sorted = values;
            sorted.sort_unstable();
            let got = quantile(&sorted, Quantile::new(q).unwrap()).unwrap();
            prop_assert!((got - expect).abs() <= 1e-12 * expect.max(1.0), "{got} is not {expect}");
        }

        #[test]
        fn rises_with_q_and_stays_within(
            mut values in prop::collection::vec(any::<f64>().prop_filter("finite", |v| v.abs() < 1e300), 1..60),
            mut shares in prop::collection::vec(0.0..=1.0, 2..20),
        ) {
            values.sort_unstable_by(f64::total_cmp);
            shares.sort_unstable_by(f64::total_cmp);
            let got: Vec<f64> =
                shares.iter().map(|q| quantile(&values, Quantile::new(*q).unwrap()).unwrap()).collect();
            prop_assert!(got.is_sorted(), "{got:?}");
            prop_assert!(values[0] <= got[0] && got[got.len() - 1] <= values[values.len() - 1]);
        }
    }
}
