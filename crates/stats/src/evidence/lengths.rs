//! Lengths as asked and as counted.

use tics_record::RequestRecord;

/// Sums over the answered requests.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lengths {
    /// Requests for which the server counted tokens.
    pub n_with_usage: u64,
    /// Of these, requests with more tics than tokens.
    pub usage_below_tics: u64,
    /// Output tokens asked for.
    pub output_asked: u64,
    /// Output tokens that came: the server's count, else tics.
    pub output_got: u64,
    /// Requests whose prompt was made to a length, and counted by the server.
    pub n_made: u64,
    /// Tokens of these prompts, without what the server's chat template adds.
    pub made: u64,
    /// The server's count of them.
    pub made_counted: u64,
}

impl Lengths {
    pub(crate) fn record(&mut self, record: &RequestRecord) {
        if !record.outcome.is_answered() {
            return;
        }
        let tics = record.tics().count() as u64;
        if let Some(usage) = record.output.usage {
            self.n_with_usage += 1;
            self.usage_below_tics += u64::from(u64::from(usage) < tics);
        }
        let got = record.output.usage.map_or(tics, u64::from);
        self.output_asked += u64::from(record.output.asked);
        self.output_got += got;
        if let (Some(sent), Some(counted)) = (record.input.sent, record.input.usage) {
            self.n_made += 1;
            self.made += u64::from(sent);
            self.made_counted += u64::from(counted);
        }
    }

    pub(crate) fn merge(&mut self, other: &Lengths) {
        self.n_with_usage += other.n_with_usage;
        self.usage_below_tics += other.usage_below_tics;
        self.output_asked += other.output_asked;
        self.output_got += other.output_got;
        self.n_made += other.n_made;
        self.made += other.made;
        self.made_counted += other.made_counted;
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
        record.input = InputTokens { asked: 100, usage: Some(110), sent: Some(97), expected: None };
        record.output = OutputTokens { asked: 3, tics: stamps.len() as u32, usage: Some(usage) };
        record
    }

    #[test]
    fn lengths_add_up() {
        let mut lengths = Lengths::default();
        lengths.record(&record(&[20, 30, 40], 3));
        assert_eq!(lengths.usage_below_tics, 0);
        lengths.record(&record(&[20, 40, 30], 2));
        lengths.record(&record(&[5, 40, 50], 4));
        assert_eq!((lengths.usage_below_tics, lengths.n_with_usage), (1, 3));
        assert_eq!((lengths.output_asked, lengths.output_got), (9, 9));
        let own = InputTokens { sent: None, ..record(&[20], 1).input };
        lengths.record(&RequestRecord { input: own, ..record(&[20], 1) });
        assert_eq!((lengths.n_made, lengths.made, lengths.made_counted), (3, 291, 330));
    }
}
