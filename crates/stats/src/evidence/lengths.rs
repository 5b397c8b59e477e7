//! Lengths as asked, and numbers that must agree.

use tics_record::{Nanos, RequestRecord};

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
    /// Prompt tokens that the server found in its cache, of requests for which it said so.
    pub cached: Option<u64>,
    /// Whether the prompts are new to any cache.
    pub cold: bool,
}

impl Lengths {
    pub(crate) fn record(&mut self, record: &RequestRecord) {
        if !record.outcome.is_answered() {
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
        self.input_asked += other.input_asked;
        self.input_got += other.input_got;
        if let Some(cached) = other.cached {
            *self.cached.get_or_insert(0) += cached;
        }
        self.cold |= other.cold;
    }

    /// Share of prompt tokens that a cache knew; none where it may know them.
    pub fn cached_share(&self) -> Option<f64> {
        let cached = self.cached.filter(|_| self.cold && self.input_got > 0)?;
        Some(cached as f64 / self.input_got as f64)
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
}
