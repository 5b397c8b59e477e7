//! A multiset of spans, 4 bytes each.

use crate::Distribution;

/// Spans in nanoseconds, exact. Those below 2^32 ns (4.29 s) take 4 bytes, so that 100 million gaps
/// fit into 400 MB; the rare larger ones are kept apart, and being larger they also sort apart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    small: Vec<u32>,
    large: Vec<u64>,
    sum: u128,
}

impl Spans {
    pub(crate) fn push(&mut self, ns: u64) {
        self.sum += u128::from(ns);
        match u32::try_from(ns) {
            Ok(ns) => self.small.push(ns),
            Err(_) => self.large.push(ns),
        }
    }

    pub(crate) fn append(&mut self, mut other: Spans) {
        self.small.append(&mut other.small);
        self.large.append(&mut other.large);
        self.sum += other.sum;
    }

    pub(crate) fn len(&self) -> u64 {
        (self.small.len() + self.large.len()) as u64
    }

    /// Sorts, once, before anything is looked up.
    pub(crate) fn sorted(mut self) -> SortedSpans {
        self.small.sort_unstable();
        self.large.sort_unstable();
        SortedSpans(self)
    }
}

/// Spans in ascending order.
#[derive(Debug)]
pub(crate) struct SortedSpans(Spans);

impl SortedSpans {
    /// How many are at most `ns`.
    fn count_up_to(&self, ns: u64) -> u64 {
        let Ok(small) = u32::try_from(ns) else {
            return (self.0.small.len() + self.0.large.partition_point(|v| *v <= ns)) as u64;
        };
        self.0.small.partition_point(|v| *v <= small) as u64
    }

    fn max(&self) -> u64 {
        self.0.large.last().copied().or(self.0.small.last().map(|v| u64::from(*v))).unwrap_or(0)
    }

    /// The distribution of several multisets taken together, in milliseconds, without joining them:
    /// a gap that counts as ICL and as ITL is kept once.
    pub(crate) fn union_ms(parts: &[&SortedSpans]) -> Distribution {
        let n = parts.iter().map(|p| p.0.len()).sum();
        let sum: u128 = parts.iter().map(|p| p.0.sum).sum();
        let max = parts.iter().map(|p| p.max()).max().unwrap_or(0);
        // The value of rank k is the smallest one that more than k values do not exceed.
        let nth = |rank: u64| {
            let (mut low, mut high) = (0, max);
            while low < high {
                let middle = low + (high - low) / 2;
                if parts.iter().map(|p| p.count_up_to(middle)).sum::<u64>() > rank {
                    high = middle;
                } else {
                    low = middle + 1;
                }
            }
            low as f64
        };
        Distribution::from_ranks(n, sum as f64, 1e6, nth)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_union_equals_one_sorted_list(
            // Around 2^32, where small turns into large, and far above.
            parts in prop::collection::vec(prop::collection::vec(
                prop_oneof![0u64..50, (1 << 32) - 3..(1u64 << 32) + 3, 0u64..1 << 44], 0..30), 1..4),
        ) {
            let mut all: Vec<u64> = parts.iter().flatten().copied().collect();
            all.sort_unstable();
            let sorted: Vec<SortedSpans> = parts.iter().map(|part| {
                let mut spans = Spans::default();
                for ns in part {
                    spans.push(*ns);
                }
                spans.sorted()
            }).collect();
            let union = SortedSpans::union_ms(&sorted.iter().collect::<Vec<_>>());
            prop_assert_eq!(union, Distribution::of_sorted(&all, 1e6));
        }
    }
}
