//! The live view of a run: counters and histograms that one thread writes and others read without
//! stopping it, and the [`Snapshot`] made of them for whoever shows the run.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::{Nanos, Outcome, Stamp};

/// Sub-buckets per power of two: a bucket is at most 1/32 of its value wide.
const SUB_BITS: u32 = 5;
const SUB: usize = 1 << SUB_BITS;
/// Values up to 2^40 ns (18 minutes) have a bucket of their own; larger ones share the last.
const TOP_BITS: u32 = 40;
const BUCKETS: usize = ((TOP_BITS - SUB_BITS) as usize + 1) * SUB;

/// A histogram of spans, log-linear, 3 % wide buckets; one writer, any number of readers.
///
/// For the live view only: the report computes exact quantiles from the records.
#[derive(Debug)]
pub struct LiveHistogram {
    counts: Box<[AtomicU64]>,
    max: AtomicU64,
}

impl Default for LiveHistogram {
    fn default() -> Self {
        LiveHistogram { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), max: AtomicU64::new(0) }
    }
}

fn bucket(ns: u64) -> usize {
    let ns = ns.min((1 << TOP_BITS) - 1);
    if ns < SUB as u64 {
        return ns as usize;
    }
    let shift = ns.ilog2() - SUB_BITS;
    (shift as usize + 1) * SUB + ((ns >> shift) as usize - SUB)
}

/// The middle of a bucket.
fn middle(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let shift = (bucket / SUB - 1) as u32;
    let low = ((bucket % SUB + SUB) as u64) << shift;
    low + (1 << shift) / 2
}

impl LiveHistogram {
    /// Counts one span. For the one writer of this histogram.
    pub fn record(&self, span: Nanos) {
        let ns = span.as_nanos();
        let count = &self.counts[bucket(ns)];
        // One writer: a load and a store are enough, and cheaper than a locked add.
        count.store(count.load(Relaxed) + 1, Relaxed);
        if ns > self.max.load(Relaxed) {
            self.max.store(ns, Relaxed);
        }
    }
}

/// Percentiles of one or more [`LiveHistogram`]s, to 3 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LivePercentiles {
    /// How many spans.
    pub n: u64,
    /// Median.
    pub p50: Nanos,
    /// 90th percentile.
    pub p90: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// Largest, exact.
    pub max: Nanos,
}

impl LivePercentiles {
    /// Percentiles over all that was recorded in `parts`; all zero with `n` = 0.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a LiveHistogram>) -> Self {
        let mut counts = [0u64; BUCKETS];
        let mut max = 0;
        for part in parts {
            for (sum, count) in counts.iter_mut().zip(&part.counts) {
                *sum += count.load(Relaxed);
            }
            max = max.max(part.max.load(Relaxed));
        }
        let n: u64 = counts.iter().sum();
        let at = |per_mille: u64| {
            let rank = (n * per_mille).div_ceil(1000).max(1);
            let mut seen = 0;
            for (bucket, count) in counts.iter().enumerate() {
                seen += count;
                if seen >= rank {
                    return Nanos::new(middle(bucket).min(max));
                }
            }
            Nanos::ZERO
        };
        if n == 0 {
            return LivePercentiles::default();
        }
        LivePercentiles { n, p50: at(500), p90: at(900), p99: at(990), max: Nanos::new(max) }
    }
}

/// A count and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// So far.
    pub done: u64,
    /// At the end, if all goes as scheduled.
    pub total: u64,
}

/// A level and its peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gauge {
    /// Now.
    pub now: u64,
    /// Highest so far.
    pub peak: u64,
}

/// Where the run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Prompts and connections are being made; nothing is due yet.
    #[default]
    Preparing,
    /// Requests are being sent.
    Running,
    /// Nothing more is sent; what is in flight may end.
    Draining,
    /// Everything has ended.
    Finished,
}

/// What a run looks like at one instant. Everything a dashboard needs and nothing it must compute
/// beyond formatting.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Stamp,
    /// The schedule's zero.
    pub epoch: Stamp,
    /// Where the run is.
    pub phase: Phase,
    /// Requests sent.
    pub sent: Progress,
    /// Requests ended, however.
    pub done: Progress,
    /// Input tokens of requests whose first token has come.
    pub prefill_tokens: Progress,
    /// Output tokens: tics so far, corrected by the server's count when a request ends.
    pub decode_tokens: Progress,
    /// Requests sent and not ended.
    pub in_flight: Gauge,
    /// Requests sent and without a token.
    pub queued: Gauge,
    /// First tic - sent, so far.
    pub ttft: LivePercentiles,
    /// Gaps between tics, so far.
    pub icl: LivePercentiles,
    /// sent - due, so far.
    pub lateness: LivePercentiles,
    /// Ended requests by outcome, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::COUNT],
    /// When in-flight requests are given up, while draining.
    pub drain_until: Option<Stamp>,
}

impl Snapshot {
    /// Requests that ended with `outcome`.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// Requests that were sent and failed.
    pub fn failed(&self) -> u64 {
        Outcome::ALL.into_iter().filter(|o| o.is_failed()).map(|o| self.count(o)).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_bucket_is_within_three_percent(ns in 0u64..(1 << TOP_BITS)) {
            let error = middle(bucket(ns)).abs_diff(ns);
            prop_assert!(error * 32 <= ns, "{ns} is filed under {}", middle(bucket(ns)));
        }

        #[test]
        fn percentiles_rise_and_stay_within(values in prop::collection::vec(0u64..1 << 41, 1..200)) {
            let histogram = LiveHistogram::default();
            for v in &values {
                histogram.record(Nanos::new(*v));
            }
            let p = LivePercentiles::of([&histogram]);
            prop_assert_eq!(p.n, values.len() as u64);
            prop_assert_eq!(p.max.as_nanos(), *values.iter().max().unwrap());
            prop_assert!(p.p50 <= p.p90 && p.p90 <= p.p99 && p.p99 <= p.max);
        }
    }

    #[test]
    fn nothing_recorded_is_said_by_n() {
        assert_eq!(LivePercentiles::of([&LiveHistogram::default()]), LivePercentiles::default());
    }
}
