//! Lengths as asked, and numbers that must agree.

use tics_record::{Nanos, RequestRecord};

use super::HealthDigest;
use crate::peaks::Flight;

/// Time between two looks at the requests in flight (see `HealthSample::in_flight_mean`).
const LOOK_NS: f64 = 10e6;

/// Sums over the answered requests.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lengths {
    /// Requests whose TTFT and gaps do not add up to last tic - sent: a stamp is out of order.
    pub broken_sums: u64,
    /// Requests for which the server counted tokens.
    pub n_with_usage: u64,
    /// Of these, requests with more tics than tokens.
    pub usage_below_tics: u64,
    /// Output tokens asked for.
    pub output_asked: u64,
    /// Output tokens that came: the server's count, else tics.
    pub output_got: u64,
    /// Input tokens asked for, of requests whose prompt the server counted.
    pub input_asked: u64,
    /// The server's count of them.
    pub input_got: u64,
    /// The server's count of output tokens; none unless it counted for every request.
    pub usage: Option<u64>,
    /// Output tokens asked for by failed requests: the server may have made some of them.
    pub failed_output: u64,
    /// Input tokens of failed requests: the server may have read them.
    pub failed_input: u64,
    /// Requests whose prompt the server counted.
    pub n_with_input: u64,
    /// Prompt tokens that the server found in its cache, of requests for which it said so.
    pub cached: Option<u64>,
    /// Whether the prompts are new to any cache.
    pub cold: bool,
    /// Sum of end - sent over all requests sent, nanoseconds.
    pub flight_ns: f64,
    /// How many those are.
    pub n_flights: u64,
}

/// The mean number of requests in flight, as counted while the run went on and by the records.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Little {
    /// |1 - counted / by the records|.
    pub off: f64,
    /// What looking every few milliseconds may be off by, and one per cent.
    pub tolerance: f64,
}

impl Lengths {
    pub(crate) fn record(&mut self, record: &RequestRecord) {
        if !record.outcome.is_answered() {
            if record.sent.is_some() {
                self.failed_output += u64::from(record.output.asked.max(record.output.tics));
                self.failed_input += u64::from(record.input.usage.unwrap_or(record.input.asked));
            }
            return;
        }
        let first_and_gaps = record.ttft().map(|ttft| {
            let tics = record.tics();
            let gaps = tics.clone().zip(tics.skip(1)).map(|(a, b)| b.at.since(a.at).unwrap_or_default());
            gaps.fold(ttft, Nanos::plus)
        });
        let to_last = record.sent.zip(record.tics().next_back()).and_then(|(sent, last)| last.at.since(sent));
        self.broken_sums += u64::from(record.tics().next().is_some() && first_and_gaps != to_last);
        let tics = record.tics().count() as u64;
        if let Some(usage) = record.output.usage {
            self.n_with_usage += 1;
            self.usage_below_tics += u64::from(u64::from(usage) < tics);
        }
        let got = record.output.usage.map_or(tics, u64::from);
        self.output_asked += u64::from(record.output.asked);
        self.output_got += got;
        if let Some(usage) = record.input.usage {
            self.n_with_input += 1;
            self.input_asked += u64::from(record.input.asked);
            self.input_got += u64::from(usage);
            if let Some(cached) = record.cached_tokens {
                *self.cached.get_or_insert(0) += u64::from(cached);
            }
        }
    }

    pub(crate) fn merge(&mut self, other: &Lengths) {
        self.broken_sums += other.broken_sums;
        self.n_with_usage += other.n_with_usage;
        self.usage_below_tics += other.usage_below_tics;
        self.output_asked += other.output_asked;
        self.output_got += other.output_got;
        self.n_with_input += other.n_with_input;
        self.input_asked += other.input_asked;
        self.input_got += other.input_got;
        self.failed_output += other.failed_output;
        self.failed_input += other.failed_input;
        if let Some(cached) = other.cached {
            *self.cached.get_or_insert(0) += cached;
        }
        self.cold |= other.cold;
    }

    pub(crate) fn flights(&mut self, flights: &[Flight]) {
        self.n_flights = flights.len() as u64;
        self.flight_ns =
            flights.iter().map(|f| f.end.since(f.sent).unwrap_or_default().as_nanos() as f64).sum();
    }

    /// Share of prompt tokens that a cache knew; none where it may know them.
    pub fn cached_share(&self) -> Option<f64> {
        let cached = self.cached.filter(|_| self.cold && self.input_got > 0)?;
        Some(cached as f64 / self.input_got as f64)
    }

    /// Little's law: time in flight counted by looking, against that of the records.
    pub fn little(&self, digest: &HealthDigest) -> Option<Little> {
        if self.n_flights == 0 || self.flight_ns <= 0.0 || digest.in_flight_ns <= 0.0 {
            return None;
        }
        let mean = self.flight_ns / self.n_flights as f64;
        // A flight is seen at its length over the interval, rounded either way; four standard errors.
        let by_chance = 4.0 * LOOK_NS / (2.0 * mean * (self.n_flights as f64).sqrt());
        let off = (1.0 - digest.in_flight_ns / self.flight_ns).abs();
        Some(Little { off, tolerance: 0.01 + by_chance })
    }
}

#[cfg(test)]
mod tests {
    use tics_record::{Event, EventClass, InputTokens, Outcome, OutputTokens, Stamp};

    use super::*;

    fn record(stamps: &[u64], usage: u32) -> RequestRecord {
        let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
        record.sent = Some(Stamp::from_nanos(10));
        record.outcome = Outcome::Ok;
        record.events =
            stamps.iter().map(|at| Event::new(Stamp::from_nanos(*at), EventClass::Content)).collect();
        record.input = InputTokens { asked: 100, usage: Some(110), ..InputTokens::default() };
        record.output = OutputTokens { asked: 3, tics: stamps.len() as u32, usage: Some(usage) };
        record
    }

    #[test]
    fn what_does_not_add_up_is_counted() {
        let mut lengths = Lengths::default();
        lengths.record(&record(&[20, 30, 40], 3));
        assert_eq!((lengths.broken_sums, lengths.usage_below_tics), (0, 0));
        lengths.record(&record(&[20, 40, 30], 2));
        lengths.record(&record(&[5, 40, 50], 4));
        assert_eq!((lengths.broken_sums, lengths.usage_below_tics, lengths.n_with_usage), (2, 1, 3));
        assert_eq!((lengths.output_asked, lengths.output_got), (9, 9));
        assert_eq!((lengths.input_asked, lengths.input_got), (300, 330));
    }

    #[test]
    fn a_cache_is_judged_only_where_it_should_be_cold() {
        let mut lengths = Lengths { cold: true, ..Lengths::default() };
        assert_eq!(lengths.cached_share(), None);
        lengths.record(&RequestRecord { cached_tokens: Some(11), ..record(&[20], 1) });
        assert_eq!(lengths.cached_share(), Some(0.1));
        lengths.cold = false;
        assert_eq!(lengths.cached_share(), None);
    }

    #[test]
    fn littles_law_tells_counts_from_stamps() {
        let lengths = Lengths { flight_ns: 100e9, n_flights: 400, ..Lengths::default() };
        let counted = |ns: f64| {
            let mut digest = HealthDigest::default();
            digest.in_flight_ns = ns;
            lengths.little(&digest).unwrap()
        };
        let fine = counted(100.5e9);
        assert!(fine.off < fine.tolerance && fine.tolerance < 0.02, "{fine:?}");
        let wrong = counted(96e9);
        assert!(wrong.off > wrong.tolerance, "{wrong:?}");
        assert_eq!(lengths.little(&HealthDigest::default()), None);
    }
}
