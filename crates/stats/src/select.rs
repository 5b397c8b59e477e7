//! Exact order statistics of many gaps without sorting them.

use crate::distribution::{PRINTED, Reliance};
use crate::effective::inflation;
use crate::gaps::Slice;
use crate::quantile::interpolate;
use crate::{Bounds, Distribution, Quantile};

const BUCKETS: usize = 1 << 16;

/// Hands the gaps of each request to a function: request after request, with its place among them.
pub(crate) trait ByRequest {
    fn each(&self, take: &mut dyn FnMut(usize, Slice<'_>));
}

/// Order statistics of gaps. Few are sorted; many are counted: once how many share their upper 16 bits,
/// then, for the few buckets that hold a wanted rank, how many share the lower ones. That copies none.
pub(crate) struct Selection<'a, G: ByRequest> {
    gaps: &'a G,
    values: Values,
    n: u64,
    sum: u128,
    /// The largest; 0 without any.
    max: u64,
}

enum Values {
    Sorted(Vec<u64>),
    Counted {
        upper: Vec<u64>,
        /// Those that do not fit into 32 bits, ascending.
        large: Vec<u64>,
    },
}

/// From here on counting is faster.
const MANY: u64 = 1 << 17;

impl<'a, G: ByRequest> Selection<'a, G> {
    pub(crate) fn new(gaps: &'a G) -> Self {
        Self::with(gaps, MANY)
    }

    fn with(gaps: &'a G, many: u64) -> Self {
        let (mut n, mut sum, mut max) = (0, 0u128, 0);
        gaps.each(&mut |_, slice| {
            n += slice.len();
            sum += u128::from(slice.sum());
            max = max.max(slice.max().unwrap_or(0));
        });
        let values = if n < many {
            let mut sorted = Vec::with_capacity(n as usize);
            gaps.each(&mut |_, slice| {
                sorted.extend(slice.small().map(u64::from));
                sorted.extend_from_slice(slice.large());
            });
            sorted.sort_unstable();
            Values::Sorted(sorted)
        } else {
            let (mut upper, mut large) = (vec![0u64; BUCKETS], Vec::new());
            gaps.each(&mut |_, slice| {
                for ns in slice.small() {
                    upper[(ns >> 16) as usize] += 1;
                }
                large.extend_from_slice(slice.large());
            });
            large.sort_unstable();
            Values::Counted { upper, large }
        };
        Selection { gaps, values, n, sum, max }
    }

    pub(crate) const fn n(&self) -> u64 {
        self.n
    }

    /// The values of `ranks`, from 0, each below n.
    fn nth(&self, ranks: &[u64]) -> Vec<u64> {
        let (upper, large) = match &self.values {
            Values::Sorted(sorted) => return ranks.iter().map(|rank| sorted[*rank as usize]).collect(),
            Values::Counted { upper, large } => (upper, large),
        };
        let n_small = self.n - large.len() as u64;
        // The bucket of each rank, and the rank inside it.
        let places: Vec<Option<(usize, u64)>> =
            ranks.iter().map(|rank| place(upper, *rank).filter(|_| *rank < n_small)).collect();
        let lower = self.lower(places.iter().flatten().map(|(bucket, _)| *bucket));
        let value = |(rank, found): (&u64, &Option<(usize, u64)>)| match found {
            None => large[(rank - n_small) as usize],
            Some((bucket, inside)) => {
                let low = place(lower.of(*bucket), *inside).map_or(0, |(low, _)| low);
                ((bucket << 16) + low) as u64
            }
        };
        ranks.iter().zip(&places).map(value).collect()
    }

    /// How often each value of the lower 16 bits occurs, for the buckets that are `wanted`.
    fn lower(&self, wanted: impl Iterator<Item = usize>) -> Lower {
        // 0 is "not wanted".
        let mut slot = vec![0u16; BUCKETS];
        let mut counts: Vec<Vec<u64>> = vec![Vec::new()];
        for bucket in wanted {
            if slot[bucket] == 0 {
                slot[bucket] = counts.len() as u16;
                counts.push(vec![0; BUCKETS]);
            }
        }
        self.gaps.each(&mut |_, slice| {
            for ns in slice.small() {
                let slot = slot[(ns >> 16) as usize];
                if slot != 0 {
                    counts[slot as usize][(ns & 0xffff) as usize] += 1;
                }
            }
        });
        Lower { slot, counts }
    }

    /// The quantiles `of`, nanoseconds; there is at least one gap.
    pub(crate) fn quantiles(&self, of: &[Quantile]) -> Vec<f64> {
        let positions: Vec<(u64, f64)> = of.iter().map(|q| q.position(self.n)).collect();
        self.between(&positions)
    }

    /// The values at positions: a rank from 0 and how far from it to the next.
    fn between(&self, positions: &[(u64, f64)]) -> Vec<f64> {
        let last = self.n - 1;
        let ranks: Vec<u64> = positions.iter().flat_map(|(rank, _)| [*rank, (rank + 1).min(last)]).collect();
        let values = self.nth(&ranks);
        let pairs = values.chunks_exact(2).zip(positions);
        pairs.map(|(pair, (_, part))| interpolate(pair[0] as f64, pair[1] as f64, *part)).collect()
    }

    /// The distribution in milliseconds, with an interval for each quantile.
    ///
    /// Gaps of one request are alike, and requests sent after each other are: what the gaps tell is found
    /// from how the share of gaps at most the quantile differs from request to request, a ratio estimator
    /// over clusters, with the autocorrelation of the clusters.
    ///
    /// - `order`: places of the requests in order of sending.
    ///
    /// Source: Cochran 1977, "Sampling techniques", section 9A (clusters of unequal size).
    pub(crate) fn distribution_ms(&self, order: &[u32]) -> Distribution {
        if self.n == 0 {
            return Distribution::default();
        }
        let found = self.quantiles(&PRINTED);
        let [p50, p90, p95, p99] = [0, 1, 2, 3].map(|k| Some(found[k] / 1e6));
        let max = Some(self.max as f64 / 1e6);
        let mean = Some(self.sum as f64 / self.n as f64 / 1e6);
        let bounds = self.bounds_ms(&found, order);
        Distribution { n: self.n, mean, p50, p90, p95, p99, max, infinite: 0, bounds }
    }

    fn bounds_ms(&self, quantiles: &[f64], order: &[u32]) -> Bounds {
        // Gaps of each request, and how many of them are at most each quantile.
        let mut clusters: Vec<[u32; 5]> = vec![[0; 5]; order.len()];
        self.gaps.each(&mut |place, slice| {
            let up_to = |k: usize| slice.count_up_to(quantiles[k] as u64) as u32;
            clusters[place] = [up_to(0), up_to(1), up_to(2), up_to(3), slice.len() as u32];
        });
        let in_order: Vec<[u32; 5]> =
            order.iter().map(|place| clusters[*place as usize]).filter(|c| c[4] > 0).collect();
        let n_requests = in_order.len() as u64;
        let effective = [0, 1, 2, 3].map(|k| effective_of_clusters(&in_order, k));
        let shares: Vec<f64> = [0, 1, 2, 3]
            .into_iter()
            .flat_map(|k| {
                let (lo, hi) = crate::interval::rank_shares(PRINTED[k], effective[k]);
                [lo, hi].map(|end| end.unwrap_or(f64::NAN))
            })
            .collect();
        let positions: Vec<(u64, f64)> = shares
            .iter()
            .map(|share| {
                let rank = (share * (self.n + 1) as f64 - 1.0).clamp(0.0, (self.n - 1) as f64);
                if rank.is_nan() { (0, 0.0) } else { (rank.floor() as u64, rank.fract()) }
            })
            .collect();
        let values = self.between(&positions);
        let known = |k: usize| (!shares[k].is_nan()).then(|| values[k] / 1e6);
        let of = [0, 1, 2, 3].map(|k| {
            let mut reliance = Reliance::new(PRINTED[k], n_requests, effective[k], |_| None);
            reliance.interval = crate::Interval { lo: known(2 * k), hi: known(2 * k + 1) };
            reliance
        });
        Bounds::new(n_requests, of)
    }
}

/// The bucket that holds `rank`, and the rank inside it.
fn place(counts: &[u64], rank: u64) -> Option<(usize, u64)> {
    let mut before = 0;
    for (bucket, n) in counts.iter().enumerate() {
        if rank - before < *n {
            return Some((bucket, rank - before));
        }
        before += n;
    }
    None
}

/// How often each value of the lower 16 bits occurs, in some buckets.
struct Lower {
    /// Where a bucket's counts are; 0 is nowhere.
    slot: Vec<u16>,
    counts: Vec<Vec<u64>>,
}

impl Lower {
    fn of(&self, bucket: usize) -> &[u64] {
        &self.counts[self.slot[bucket] as usize]
    }
}

/// Independent gaps that the clusters are worth for the share counted in column `k`; column 4 has their
/// sizes.
fn effective_of_clusters(clusters: &[[u32; 5]], k: usize) -> f64 {
    let n = clusters.len() as f64;
    let all: f64 = clusters.iter().map(|c| f64::from(c[4])).sum();
    let share = clusters.iter().map(|c| f64::from(c[k])).sum::<f64>() / all;
    let residuals: Vec<f64> = clusters.iter().map(|c| f64::from(c[k]) - share * f64::from(c[4])).collect();
    let variance = residuals.iter().map(|e| e * e).sum::<f64>();
    if variance <= 0.0 {
        // All gaps are on one side, or there is one request: each request is worth one gap.
        return n;
    }
    let tau = inflation(residuals);
    (share * (1.0 - share) * all * all / (variance * tau)).clamp(1.0, all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::gaps::Gaps;

    struct Requests<'a>(&'a Gaps, Vec<usize>);

    impl ByRequest for Requests<'_> {
        fn each(&self, take: &mut dyn FnMut(usize, Slice<'_>)) {
            let mut reader = self.0.reader();
            for (place, n) in self.1.iter().enumerate() {
                take(place, reader.take(*n));
            }
        }
    }

    proptest! {
        #[test]
        fn counting_equals_sorting(
            // Around 2^16, where buckets end; around 2^32, where small turns into large; and far above.
            requests in prop::collection::vec((any::<bool>(), prop::collection::vec(prop_oneof![
                0u64..50, (1 << 16) - 3..(1u64 << 16) + 3, (1 << 32) - 3..(1u64 << 32) + 3, 0u64..1 << 44,
            ], 0..20)), 1..8),
        ) {
            let mut gaps = Gaps::default();
            for (merged, request) in &requests {
                if *merged {
                    let mut other = Gaps::default();
                    for ns in request {
                        other.push(*ns);
                    }
                    gaps.append(other);
                    gaps.append(Gaps::default());
                } else {
                    // A part of its own, too, unless it is the first.
                    for ns in request {
                        gaps.push(*ns);
                    }
                }
            }
            let by_request = Requests(&gaps, requests.iter().map(|(_, r)| r.len()).collect());
            let mut place = 0;
            by_request.each(&mut |k, slice| {
                assert_eq!(k, place);
                let want = &requests[k].1;
                assert_eq!((slice.len() as usize, slice.max()), (want.len(), want.iter().copied().max()));
                assert_eq!(slice.sum(), want.iter().sum::<u64>());
                for limit in [0, 49, 1 << 16, (1 << 32) - 2, (1 << 32) - 1, 1 << 32, 1 << 43] {
                    assert_eq!(slice.count_up_to(limit), want.iter().filter(|v| **v <= limit).count() as u64);
                }
                place += 1;
            });
            let mut all: Vec<u64> = requests.iter().flat_map(|(_, r)| r).copied().collect();
            all.sort_unstable();
            let selection = Selection::with(&by_request, 0);
            prop_assert_eq!(selection.n(), all.len() as u64);
            let order: Vec<u32> = (0..requests.len() as u32).collect();
            let got = selection.distribution_ms(&order);
            prop_assert_eq!(got, Selection::new(&by_request).distribution_ms(&order));
            let want = Distribution::of_sorted(&all, 1e6);
            prop_assert_eq!(Distribution { mean: None, ..got.plain() }, Distribution { mean: None, ..want });
            prop_assert!((got.mean.unwrap_or(0.0) - want.mean.unwrap_or(0.0)).abs() <= 1e-9 * want.mean.unwrap_or(0.0));
            for (value, ci) in [(got.p50, got.bounds.p50_ci), (got.p99, got.bounds.p99_ci)] {
                let Some(value) = value else { continue };
                let ci = ci.unwrap();
                prop_assert!(ci.lo.is_none_or(|lo| lo <= value) && ci.hi.is_none_or(|hi| value <= hi));
            }
        }
    }

    #[test]
    fn gaps_of_one_request_are_worth_less_than_as_many_requests() {
        // 100 requests of 100 gaps: each request has a pace of its own, or none has.
        let count = |of: &dyn Fn(usize, usize) -> u64| {
            let mut gaps = Gaps::default();
            (0..100).for_each(|r| (0..100).for_each(|g| gaps.push(of(r, g))));
            let by_request = Requests(&gaps, vec![100; 100]);
            let order: Vec<u32> = (0..100).collect();
            let ci = Selection::new(&by_request).distribution_ms(&order).bounds.p50_ci.unwrap();
            ci.hi.unwrap() - ci.lo.unwrap()
        };
        let mixed = |n: usize| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        let paced = count(&|request, _| 1_000_000 + mixed(request + 7));
        let free = count(&|request, gap| 1_000_000 + mixed(100 * request + gap));
        assert!(paced > 5.0 * free, "{paced} {free}");
    }
}
