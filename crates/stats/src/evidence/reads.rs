//! How streams were read: what late reads leave uncertain.

use tics_record::{Nanos, RequestRecord, Stamp, TimerDelays};

use crate::{Quantile, quantile};

/// What reading several events at once leaves uncertain. A shared event came no later than its stamp and
/// after the read before: its stamp may be too late by what lies between.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Reads {
    /// TTFT of each answered request, and by how much it may be too long, nanoseconds.
    first: Vec<(u64, u64)>,
    /// By how much the stamps of shared tics may be late.
    shared: TimerDelays,
    /// Tics of answered requests.
    tics: u64,
    /// p99 of each request's reads.
    delays: Vec<Nanos>,
    /// Median over the requests of the p99 of their reads, nanoseconds.
    pub delay_p99_ns: Option<f64>,
    /// Largest delay of all reads, nanoseconds.
    pub delay_max_ns: f64,
}

impl Reads {
    pub(crate) fn record(&mut self, record: &RequestRecord) {
        if let Some(delay) = record.read_delay {
            self.delays.push(delay.p99);
            self.delay_max_ns = self.delay_max_ns.max(delay.max.as_nanos() as f64);
        }
        if !record.outcome.is_answered() {
            return;
        }
        let Some(sent) = record.sent else { return };
        let mut before = record.head.filter(|head| *head > sent).unwrap_or(sent);
        let mut read: Stamp = before;
        let mut first = true;
        for event in &record.events {
            if event.at > read {
                (before, read) = (read, event.at);
            }
            if !event.is_tic() {
                continue;
            }
            self.tics += 1;
            let late = if event.shared { event.at.since(before).unwrap_or_default() } else { Nanos::ZERO };
            if event.shared {
                self.shared.note(late, Nanos::ZERO);
            }
            if std::mem::take(&mut first)
                && let Some(ttft) = event.at.since(sent)
            {
                self.first.push((ttft.as_nanos(), late.as_nanos()));
            }
        }
    }

    pub(crate) fn merge(&mut self, mut other: Reads) {
        self.first.append(&mut other.first);
        self.shared.add(&other.shared);
        self.tics += other.tics;
        self.delays.append(&mut other.delays);
        self.delay_max_ns = self.delay_max_ns.max(other.delay_max_ns);
    }

    pub(crate) fn sort(&mut self) {
        self.delays.sort_unstable();
        self.delay_p99_ns = quantile(&self.delays, Quantile::P50).ok();
    }

    /// By how much the p99 of TTFT may be too long, as a share of it.
    ///
    /// - `longest_ns`: the longest that a worker was away; what lies further back was the server's pause.
    pub fn ttft_uncertainty(&self, longest_ns: f64) -> Option<f64> {
        let p99 = |of: &dyn Fn(&(u64, u64)) -> u64| {
            let mut all: Vec<u64> = self.first.iter().map(of).collect();
            all.sort_unstable();
            quantile(&all, Quantile::P99).ok()
        };
        let late = p99(&|(ttft, _)| *ttft)?;
        let early = p99(&|(ttft, late)| ttft.saturating_sub((*late as f64).min(longest_ns) as u64))?;
        (late > 0.0).then(|| (late - early) / late)
    }

    /// Share of tics whose stamp may be late by more than `visible_ns`.
    pub fn share_uncertain(&self, visible_ns: f64, longest_ns: f64) -> Option<f64> {
        if self.tics == 0 {
            return None;
        }
        let above = self.shared.counts.iter().filter(|(class, _)| {
            let start = class.checked_sub(1).map_or(0, |below| TimerDelays::end_of(below).as_nanos());
            (start as f64).min(longest_ns) > visible_ns
        });
        Some(above.map(|(_, n)| n).sum::<u64>() as f64 / self.tics as f64)
    }

    /// Says that it is the server, or the way to it, that sends several events at once.
    pub(crate) fn coalescing_note(&self, longest_ns: f64) -> Option<String> {
        let share = self.shared.n as f64 / self.tics.max(1) as f64;
        // Most of the room that shared events leave is wider than any absence of the tester.
        let p50 = self.shared.quantile(0.5).as_nanos() as f64;
        (share > 0.05 && p50 > 2.0 * longest_ns).then(|| {
            format!(
                "{:.0} % of tics came together with the next, and the tester was never away for so long: the \
                 server, or a proxy, holds tokens back",
                share * 100.0
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use tics_record::{Event, EventClass, Outcome, ReadDelay};

    use super::*;

    const MS: u64 = 1_000_000;

    /// Sent at 0; each `(at ms, shared)` is a tic.
    fn record(tics: &[(u64, bool)]) -> RequestRecord {
        let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
        record.sent = Some(Stamp::ORIGIN);
        record.outcome = Outcome::Ok;
        record.events = tics
            .iter()
            .map(|(at, shared)| {
                Event::new(Stamp::from_nanos(at * MS), EventClass::Content).with_shared(*shared)
            })
            .collect();
        record
    }

    fn reads(records: &[RequestRecord]) -> Reads {
        let mut reads = Reads::default();
        for record in records {
            reads.record(record);
        }
        reads.sort();
        reads
    }

    #[test]
    fn a_first_tic_read_with_the_next_may_be_older() {
        let clean = record(&[(40, false), (50, false), (60, false)]);
        let late = record(&[(100, true), (100, true), (100, false), (110, false)]);
        let all = reads(&[clean.clone(), late.clone()]);
        // The p99 of two is 99.4 and 0.6 parts of the larger and the smaller: 40 and 100 ms.
        let p99 = |larger: f64| 40.0 + 0.99 * (larger - 40.0);
        let expect = (p99(100.0) - p99(50.0)) / p99(100.0);
        let got = all.ttft_uncertainty(50.0 * MS as f64).unwrap();
        assert!((got - expect).abs() < 1e-9, "{got} {expect}");
        assert_eq!(all.ttft_uncertainty(0.0), Some(0.0));
        assert_eq!(reads(&[clean]).ttft_uncertainty(f64::INFINITY), Some(0.0));
        assert_eq!(reads(&[]).ttft_uncertainty(0.0), None);
        // Two of seven tics.
        let share = all.share_uncertain(MS as f64, 20.0 * MS as f64).unwrap();
        assert!((share - 2.0 / 7.0).abs() < 1e-9);
        assert_eq!(all.share_uncertain(30.0 * MS as f64, 20.0 * MS as f64), Some(0.0));
    }

    #[test]
    fn a_server_that_holds_tokens_back_is_told_from_a_slow_reader() {
        let pairs: Vec<(u64, bool)> = (1..40).map(|i| (i / 2 * 20 + 40, i % 2 == 0)).collect();
        let all = reads(&[record(&pairs)]);
        assert!(all.coalescing_note(0.3 * MS as f64).is_some());
        assert_eq!(all.coalescing_note(15.0 * MS as f64), None);
        assert_eq!(all.share_uncertain(0.5 * MS as f64, 0.3 * MS as f64), Some(0.0));
    }

    #[test]
    fn merging_equals_seeing_all() {
        let delay = |ms: u64| Some(ReadDelay { p99: Nanos::from_millis(ms), ..ReadDelay::default() });
        let parts = [
            RequestRecord { read_delay: delay(3), ..record(&[(40, true), (40, false)]) },
            RequestRecord { read_delay: delay(1), ..record(&[(30, false)]) },
        ];
        let mut merged = reads(&parts[..1]);
        merged.merge(reads(&parts[1..]));
        merged.sort();
        assert_eq!(merged, reads(&parts));
        assert_eq!(merged.delay_p99_ns, Some(2e6));
    }
}
