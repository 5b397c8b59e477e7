//! The figures of mini-sglang's benchmark client (`process_benchmark_results`).
//!
//! A request is a list of *tics*, seconds: first the instant at which the response's head was
//! complete, then one for each event that the OpenAI SDK hands to its caller. That is every event up
//! to `[DONE]`: those that announce the role, are empty, finish or carry usage, too. So a stream of N
//! tokens has N + 2 tics or more, and connecting, sending and waiting for the head are in no figure.
//!
//! | name | formula | one value a |
//! | --- | --- | --- |
//! | TTFT | tics\[1\] - tics\[0\] | request |
//! | "TPOT" | every later gap, pooled: elsewhere called ITL | gap |
//! | E2E | tics\[last\] - tics\[0\] | request |
//! | percentile | sorted\[int(n · p)\], no interpolation | |
//! | token throughput | sum of len(tics) / (largest tic - smallest tic) | run |
//! | request throughput | requests / (the same) | run |
//!
//! The population is the answered requests with at least two tics. mini-sglang itself has no figures
//! of a run with any other: a failed request ends the run, and a stream without an event is an error.
//! Here they are left out and counted.
//!
//! Computed in the floats that an export holds, so that its source gives the same figures from it.

use serde::Serialize;
use tics_record::{EventClass, RequestRecord, Stamp};

/// The stamps that mini-sglang's client would have taken of an answered request: the head's, then
/// one for each event that the SDK yields. `None` for a failed request.
///
/// Nothing after `[DONE]` is read; an error object is an exception in the SDK, and its request failed.
/// Data that is not JSON would raise there too; an `unknown` event counts all the same, since most are
/// JSON of a shape that Tics has no class for, which the SDK hands on.
pub fn tics(record: &RequestRecord) -> Option<impl Iterator<Item = Stamp> + '_> {
    let head = record.head.filter(|_| record.outcome.is_answered())?;
    let events = record.events.iter().take_while(|e| e.class != EventClass::Done);
    let yielded = events.filter(|e| e.class != EventClass::Error).map(|e| e.at);
    Some(std::iter::once(head).chain(yielded))
}

/// Seconds, as an export holds them: the float nearest to the nanosecond.
pub fn seconds(stamp: Stamp) -> f64 {
    stamp.as_nanos() as f64 / 1e9
}

/// Mean, percentiles and largest, as mini-sglang prints them. No p95.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct FloorDistribution {
    /// Arithmetic mean.
    pub mean: f64,
    /// sorted\[int(n · 0.5)\].
    pub p50: f64,
    /// sorted\[int(n · 0.9)\].
    pub p90: f64,
    /// sorted\[int(n · 0.99)\].
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl FloorDistribution {
    fn of(mut values: Vec<f64>, scale: f64) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let n = values.len();
        let max = scale * values.last()?;
        let at = |p: f64| scale * values[(n as f64 * p) as usize];
        let mean = scale * values.iter().sum::<f64>() / n as f64;
        Some(FloorDistribution { mean, p50: at(0.5), p90: at(0.9), p99: at(0.99), max })
    }
}

/// mini-sglang's figures of a run. Distributions and rates are null when there is nothing to compute
/// them from (mini-sglang stops with an error then).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// `minisgl`.
    pub definitions: &'static str,
    /// Which requests the figures are over.
    pub population: &'static str,
    /// How many.
    pub requests: u64,
    /// Requests left out: failed, or with fewer than two tics.
    pub left_out: u64,
    /// Sum of len(tics).
    pub tokens: u64,
    /// tics\[1\] - tics\[0\], milliseconds.
    pub ttft_ms: Option<FloorDistribution>,
    /// Later gaps, milliseconds.
    pub tpot_ms: Option<FloorDistribution>,
    /// tics\[last\] - tics\[0\], seconds.
    pub e2e_s: Option<FloorDistribution>,
    /// Largest tic - smallest tic, seconds.
    pub duration_s: Option<f64>,
    /// `tokens` / `duration_s`.
    pub tokens_per_s: Option<f64>,
    /// `requests` / `duration_s`.
    pub requests_per_s: Option<f64>,
}

/// Collects requests for [`Figures`]. Takes 8 bytes a tic.
#[derive(Debug, Clone)]
pub struct Collector {
    first: Vec<f64>,
    gaps: Vec<f64>,
    e2e: Vec<f64>,
    tokens: u64,
    left_out: u64,
    min: f64,
    max: f64,
}

impl Default for Collector {
    fn default() -> Self {
        Collector {
            first: Vec::new(),
            gaps: Vec::new(),
            e2e: Vec::new(),
            tokens: 0,
            left_out: 0,
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }
}

impl Collector {
    /// Takes a record.
    pub fn record(&mut self, record: &RequestRecord) {
        match tics(record) {
            Some(tics) => self.tics(tics.map(seconds)),
            None => self.left_out += 1,
        }
    }

    /// Takes the tics of one request, seconds.
    pub fn tics(&mut self, tics: impl IntoIterator<Item = f64>) {
        let mut tics = tics.into_iter();
        let (Some(head), Some(first)) = (tics.next(), tics.next()) else {
            self.left_out += 1;
            return;
        };
        self.first.push(first - head);
        self.tokens += 2;
        self.min = self.min.min(head.min(first));
        self.max = self.max.max(head.max(first));
        let mut last = first;
        for tic in tics {
            self.gaps.push(tic - last);
            self.tokens += 1;
            self.min = self.min.min(tic);
            self.max = self.max.max(tic);
            last = tic;
        }
        self.e2e.push(last - head);
    }

    /// The figures.
    pub fn finish(self) -> Figures {
        let requests = self.e2e.len() as u64;
        let duration_s = (requests > 0).then_some(self.max - self.min);
        let rate = |count: u64| duration_s.filter(|s| *s > 0.0).map(|s| count as f64 / s);
        Figures {
            definitions: "minisgl",
            population: "answered requests with at least two tics",
            requests,
            left_out: self.left_out,
            tokens: self.tokens,
            ttft_ms: FloorDistribution::of(self.first, 1e3),
            tpot_ms: FloorDistribution::of(self.gaps, 1e3),
            e2e_s: FloorDistribution::of(self.e2e, 1.0),
            duration_s,
            tokens_per_s: rate(self.tokens),
            requests_per_s: rate(requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use tics_record::{Event, Outcome};

    use super::*;

    fn figures(requests: &[&[f64]]) -> Figures {
        let mut collector = Collector::default();
        for tics in requests {
            collector.tics(tics.iter().copied());
        }
        collector.finish()
    }

    #[test]
    fn percentiles_are_floor_indexed_and_gaps_are_pooled() {
        // By hand: TTFT 1, 2; later gaps 1, 2, 3; E2E 4, 5.
        let got = figures(&[&[0.0, 1.0, 2.0, 4.0], &[1.0, 3.0, 6.0]]);
        let of = |mean, p50, p90, p99, max| Some(FloorDistribution { mean, p50, p90, p99, max });
        assert_eq!(got.ttft_ms, of(1500.0, 2000.0, 2000.0, 2000.0, 2000.0));
        assert_eq!(got.tpot_ms, of(2000.0, 2000.0, 3000.0, 3000.0, 3000.0));
        assert_eq!(got.e2e_s, of(4.5, 5.0, 5.0, 5.0, 5.0));
        assert_eq!((got.requests, got.tokens, got.left_out), (2, 7, 0));
        assert_eq!((got.duration_s, got.tokens_per_s), (Some(6.0), Some(7.0 / 6.0)));
        assert_eq!(got.requests_per_s, Some(2.0 / 6.0));
    }

    #[test]
    fn a_request_without_two_tics_is_left_out_and_counted() {
        let got = figures(&[&[0.0], &[], &[1.0, 2.0]]);
        assert_eq!((got.requests, got.left_out, got.tokens), (1, 2, 2));
        assert_eq!(got.tpot_ms, None);
        let nothing = figures(&[]);
        assert_eq!((nothing.ttft_ms, nothing.duration_s, nothing.tokens_per_s), (None, None, None));
        let no_time = figures(&[&[1.0, 1.0]]);
        assert_eq!((no_time.duration_s, no_time.tokens_per_s), (Some(0.0), None));
    }

    #[test]
    fn the_sdk_yields_everything_before_done() {
        let at = Stamp::from_nanos;
        let mut record = RequestRecord::not_sent(0, at(0));
        record.outcome = Outcome::Ok;
        record.head = Some(at(5));
        record.events = EventClass::ALL
            .into_iter()
            .chain([EventClass::Content])
            .zip(10..)
            .map(|(class, t)| Event::new(at(t), class))
            .collect();
        let got: Vec<u64> = tics(&record).unwrap().map(Stamp::as_nanos).collect();
        // The error at 18 raises in the SDK; `[DONE]` is at 19.
        assert_eq!(got, [5, 10, 11, 12, 13, 14, 15, 16, 17]);
        record.outcome = Outcome::Truncated;
        assert!(tics(&record).is_none());
    }
}
