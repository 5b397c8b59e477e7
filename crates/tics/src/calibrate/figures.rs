//! The figures of a run, and of several taken together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tics_stats::{Distribution, Verdict};

use super::truth::TruthError;

/// What any client costs and how well it keeps time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Server-sent events that were read.
    pub events: u64,
    /// Processor time an event: for Tics of its whole process, for the bare client of its reader.
    pub cpu_us_per_event: f64,
    /// Arrival at the server - due, absolute.
    pub arrival_us: Distribution,
}

/// One run of Tics on a rung.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TicsFigures {
    /// What the bare client has, too.
    #[serde(flatten)]
    pub cost: Cost,
    /// Requests of the schedule.
    pub requests: u64,
    /// Requests that were not answered, or of which the server has no record: in no other figure.
    pub failed: u64,
    /// |measured - true| of each request's time to first token.
    pub ttft_error_us: Distribution,
    /// Mean measured - mean true, signed.
    pub ttft_mean_error_us: f64,
    /// |measured - true| of each gap between tokens.
    pub icl_error_us: Distribution,
    /// Tics that shared their read with a later event, of all.
    pub shared_share: f64,
    /// As Tics reports it: sent - due.
    pub lateness_us: Distribution,
    /// As Tics reports it: user time - kernel time of a request's reads.
    pub read_delay_us: Distribution,
    /// From the first due instant to the last hand-over to the kernel less the span of the schedule.
    pub handed_over_after_ms: f64,
    /// Whether requests left in the order of the schedule.
    pub in_order: bool,
    /// From the first hand-over to the last event.
    pub stream_s: f64,
    /// Tics' own verdict.
    pub verdict: Verdict,
    /// Identifiers of its checks that did not pass.
    pub objections: Vec<String>,
    /// How good the truth is that this was compared with.
    pub truth: TruthError,
}

impl TicsFigures {
    /// Every figure by its name in JSON.
    pub fn values(&self) -> Vec<(&'static str, Option<f64>)> {
        let (arrival, ttft, icl) = (&self.cost.arrival_us, &self.ttft_error_us, &self.icl_error_us);
        vec![
            ("cpu_us_per_event", Some(self.cost.cpu_us_per_event)),
            ("arrival_us.p50", arrival.p50),
            ("arrival_us.p99", arrival.p99),
            ("arrival_us.max", arrival.max),
            ("ttft_error_us.p50", ttft.p50),
            ("ttft_error_us.p99", ttft.p99),
            ("ttft_error_us.max", ttft.max),
            ("ttft_mean_error_us", Some(self.ttft_mean_error_us)),
            ("icl_error_us.p50", icl.p50),
            ("icl_error_us.p99", icl.p99),
            ("icl_error_us.max", icl.max),
            ("shared_share", Some(self.shared_share)),
            ("lateness_us.p50", self.lateness_us.p50),
            ("lateness_us.p99", self.lateness_us.p99),
            ("read_delay_us.p99", self.read_delay_us.p99),
            ("handed_over_after_ms", Some(self.handed_over_after_ms)),
            ("truth_write_us.p50", self.truth.write_us.p50),
            ("truth_write_us.p99", self.truth.write_us.p99),
            ("truth_timetable_us.p50", self.truth.timetable_us.p50),
            ("truth_timetable_us.p99", self.truth.timetable_us.p99),
        ]
    }
}

/// One run of the bare client on a rung.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FloorFigures {
    /// What Tics has, too.
    #[serde(flatten)]
    pub cost: Cost,
    /// Processor time of the thread that sends, most of it spinning.
    pub pacer_cpu_ms: f64,
    /// Bytes that were read.
    pub bytes: u64,
    /// From the first write to the last read.
    pub stream_s: f64,
    /// Requests that had to wait for a free connection.
    pub starved: u64,
}

impl Cost {
    /// Every figure by its name in JSON.
    pub fn values(&self) -> Vec<(&'static str, Option<f64>)> {
        vec![
            ("cpu_us_per_event", Some(self.cpu_us_per_event)),
            ("arrival_us.p50", self.arrival_us.p50),
            ("arrival_us.p99", self.arrival_us.p99),
        ]
    }
}

/// The median of each figure over several runs.
pub type Medians = BTreeMap<String, Median>;

/// Takes several runs together.
pub fn medians(runs: impl Iterator<Item = Vec<(&'static str, Option<f64>)>>) -> Medians {
    let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in runs.flatten() {
        all.entry(name).or_default().extend(value);
    }
    all.into_iter().filter_map(|(name, values)| Some((name.to_owned(), Median::of(values)?))).collect()
}

/// A median with the interval that holds the true one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Median {
    /// Values.
    pub n: u64,
    /// Their median.
    #[expect(clippy::struct_field_names, reason = "what it is called in the JSON")]
    pub median: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Probability that an interval made so holds the true median, whatever the distribution.
    pub coverage: f64,
}

impl Median {
    /// The median of `values` and the narrowest pair of order statistics around it that holds the true
    /// one with at least 95 %; with fewer than 6 values that is beyond them, and all are inside.
    ///
    /// The true median is below the k-th smallest of n with the probability that a fair coin shows
    /// heads fewer than k times in n. Source: Hahn & Meeker 1991, "Statistical Intervals", 5.2.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        values.sort_unstable_by(f64::total_cmp);
        let n = values.len();
        let (first, last) = (*values.first()?, *values.last()?);
        let median = f64::midpoint(values[(n - 1) / 2], values[n / 2]);
        let mut interval = (first, last, coverage(n, 1));
        for k in 2..=n / 2 {
            if coverage(n, k) < 0.95 {
                break;
            }
            interval = (values[k - 1], values[n - k], coverage(n, k));
        }
        let (low, high, coverage) = interval;
        Some(Median { n: n as u64, median, low, high, coverage })
    }
}

/// Probability that the median is between the k-th smallest and the k-th largest of `n` values.
fn coverage(n: usize, k: usize) -> f64 {
    let mut term = 0.5f64.powi(i32::try_from(n).unwrap_or(i32::MAX));
    let mut below = 0.0;
    for heads in 0..k {
        below += term;
        term *= (n - heads) as f64 / (heads + 1) as f64;
    }
    (1.0 - 2.0 * below).max(0.0)
}

/// What the first of each pair has over the second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratios {
    /// Processor time an event.
    pub cpu_per_event: Option<Median>,
    /// Median lateness at the server.
    pub arrival_p50: Option<Median>,
    /// 99th percentile of lateness at the server.
    pub arrival_p99: Option<Median>,
}

impl Ratios {
    /// Pair by pair.
    pub fn of<'a>(pairs: &(impl Iterator<Item = (&'a Cost, &'a Cost)> + Clone)) -> Self {
        let ratio = |value: fn(&Cost) -> Option<f64>| {
            Median::of(pairs.clone().filter_map(|(a, b)| Some(value(a)? / value(b)?)).collect())
        };
        Ratios {
            cpu_per_event: ratio(|cost| Some(cost.cpu_us_per_event)),
            arrival_p50: ratio(|cost| cost.arrival_us.p50),
            arrival_p99: ratio(|cost| cost.arrival_us.p99),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_interval_holds_the_median_with_the_stated_probability() {
        let of = |n: u32| Median::of((1..=n).rev().map(f64::from).collect()).unwrap();
        let check = |n, low: f64, median: f64, high: f64, coverage: f64| {
            let m = of(n);
            assert_eq!((m.low, m.median, m.high), (low, median, high), "{n}");
            assert!((m.coverage - coverage).abs() < 1e-4, "{n}: {m:?}");
        };
        // Of Hahn & Meeker's tables: binomial with p = 1/2.
        check(1, 1.0, 1.0, 1.0, 0.0);
        check(5, 1.0, 3.0, 5.0, 0.9375);
        check(7, 1.0, 4.0, 7.0, 0.984_375);
        check(9, 2.0, 5.0, 8.0, 0.960_937_5);
        check(12, 3.0, 6.5, 10.0, 0.961_4);
        assert_eq!(Median::of(vec![f64::NAN]), None);
    }

    proptest! {
        #[test]
        fn the_median_is_inside(values in prop::collection::vec(0.0f64..1e9, 1..40)) {
            let m = Median::of(values.clone()).unwrap();
            prop_assert!(m.low <= m.median && m.median <= m.high);
            prop_assert!(values.contains(&m.low) && values.contains(&m.high));
        }
    }
}
