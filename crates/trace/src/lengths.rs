//! Distributions of whole numbers: lengths, and how many requests share an instant.

use std::collections::BTreeMap;

use serde::Serialize;

/// A distribution of lengths, tokens. Quantiles interpolate linearly.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs)] // The names say it.
pub struct Lengths {
    pub n: u64,
    pub mean: f64,
    pub min: u32,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub max: u32,
    pub histogram: Vec<Bin>,
}

/// A class of a histogram: the numbers from one power of two to below the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The least number.
    pub least: u64,
    /// The greatest.
    pub most: u64,
    /// How often one of them was met.
    pub n: u64,
}

/// Exact counts: a trace has far fewer distinct lengths than rows.
#[derive(Debug, Default)]
pub(crate) struct Histogram(BTreeMap<u32, u64>);

impl Histogram {
    pub(crate) fn add(&mut self, length: u32) {
        *self.0.entry(length).or_default() += 1;
    }

    pub(crate) fn summary(&self) -> Option<Lengths> {
        let n: u64 = self.0.values().sum();
        let (min, max) = (*self.0.first_key_value()?.0, *self.0.last_key_value()?.0);
        let total: u128 = self.0.iter().map(|(length, n)| u128::from(*length) * u128::from(*n)).sum();
        Some(Lengths {
            n,
            mean: total as f64 / n as f64,
            min,
            p50: self.quantile(0.5, n),
            p90: self.quantile(0.9, n),
            p99: self.quantile(0.99, n),
            max,
            histogram: self.bins(),
        })
    }

    /// Classes from the least number to the greatest, empty ones between them included.
    pub(crate) fn bins(&self) -> Vec<Bin> {
        let class = |number: u32| number.max(1).ilog2();
        let (Some(first), Some(last)) = (self.0.first_key_value(), self.0.last_key_value()) else {
            return Vec::new();
        };
        let mut bins: Vec<Bin> = (class(*first.0)..=class(*last.0))
            .map(|power| Bin { least: 1 << power, most: (2 << power) - 1, n: 0 })
            .collect();
        for (number, n) in &self.0 {
            bins[(class(*number) - class(*first.0)) as usize].n += n;
        }
        bins
    }

    /// Every number with how often it was met, in ascending order.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.0.iter().map(|(number, n)| (*number, *n))
    }

    /// The value at position `q` (n − 1), counted from 0, between neighbours in proportion.
    fn quantile(&self, q: f64, n: u64) -> f64 {
        let position = q * (n - 1) as f64;
        let low = self.at(position.floor() as u64);
        let high = self.at(position.ceil() as u64);
        low + (high - low) * position.fract()
    }

    fn at(&self, rank: u64) -> f64 {
        let mut below = 0;
        for (length, n) in &self.0 {
            below += n;
            if rank < below {
                return f64::from(*length);
            }
        }
        self.0.last_key_value().map_or(0.0, |(length, _)| f64::from(*length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let mut histogram = Histogram::default();
        for length in [40, 10, 30, 20] {
            histogram.add(length);
        }
        let lengths = histogram.summary().unwrap();
        // numpy.quantile([10, 20, 30, 40], [0.5, 0.9, 0.99])
        assert!((lengths.p50 - 25.0).abs() < 1e-9);
        assert!((lengths.p90 - 37.0).abs() < 1e-9);
        assert!((lengths.p99 - 39.7).abs() < 1e-9);
        assert!(Histogram::default().summary().is_none());
    }

    #[test]
    fn classes_are_powers_of_two() {
        let mut histogram = Histogram::default();
        for number in [1, 3, 2, 9, 8, 15, u32::MAX] {
            histogram.add(number);
        }
        let bins = histogram.bins();
        let n: Vec<u64> = bins.iter().map(|bin| bin.n).collect();
        assert_eq!(n[..5], [1, 2, 0, 3, 0]);
        assert_eq!((bins.len(), bins[3].least, bins[3].most), (32, 8, 15));
        assert_eq!((bins[31].most, bins[31].n), (u64::from(u32::MAX), 1));
    }
}
