//! One run of Tics on a rung, compared with the truth.

use std::path::Path;

use tics_record::{Line, RequestRecord};
use tics_stats::{CheckOutcome, Distribution};

use super::figures::{Cost, TicsFigures};
use super::truth::{TrueRequest, Truth};
use crate::outcome::{Failed, OrStatus, USAGE};
use crate::play::Played;

/// The figures of a finished run, from its journal and the server's truth log.
pub fn figures(played: &Played, truth: &Path) -> Result<TicsFigures, Failed> {
    let truth = Truth::read(truth, &played.run.name)?;
    let mut compared = Compared::default();
    for line in played.dir.read_journal()? {
        if let Line::Ended(record) = line.or_status(USAGE)? {
            compared.record(&record, played.run.origin_monotonic_ns, truth.request(record.i));
        }
    }
    Ok(compared.finish(played, &truth))
}

/// Collects, record by record; all in ns.
#[derive(Debug, Default)]
struct Compared {
    n_records: u64,
    n_failed: u64,
    n_events: u64,
    n_tics: u64,
    n_shared: u64,
    arrivals: Vec<i64>,
    ttft_errors: Vec<u64>,
    /// Sum of measured - true.
    ttft_sum: i64,
    icl_errors: Vec<u64>,
    /// (index, due, sent), from the run's origin.
    sends: Vec<(u64, u64, u64)>,
    last_event: u64,
}

impl Compared {
    fn record(&mut self, record: &RequestRecord, origin: u64, truth: Option<&TrueRequest>) {
        self.n_records += 1;
        self.n_events += record.events.len() as u64;
        let tics: Vec<u64> = record.tics().map(|tic| origin + tic.at.as_nanos()).collect();
        self.n_tics += tics.len() as u64;
        self.n_shared += record.tics().filter(|tic| tic.shared).count() as u64;
        self.last_event = self.last_event.max(record.events.last().map_or(0, |event| event.at.as_nanos()));
        if let Some(sent) = record.sent {
            self.sends.push((record.i, record.due.as_nanos(), sent.as_nanos()));
        }
        let (Some(truth), Some(sent), Some(first)) = (truth, record.sent, tics.first()) else {
            self.n_failed += 1;
            return;
        };
        // With a token too few or too many, no gap could be told from another.
        if !record.outcome.is_answered() || tics.len() != truth.tokens.len() {
            self.n_failed += 1;
            return;
        }
        let arrived = truth.arrived_ns();
        self.arrivals.push(arrived.cast_signed() - (origin + record.due.as_nanos()).cast_signed());
        let measured = first.cast_signed() - (origin + sent.as_nanos()).cast_signed();
        let error = measured - (truth.tokens[0].0.cast_signed() - arrived.cast_signed());
        self.ttft_errors.push(error.unsigned_abs());
        self.ttft_sum += error;
        for (seen, written) in tics.windows(2).zip(truth.tokens.windows(2)) {
            let gap = (seen[1] - seen[0]).cast_signed();
            self.icl_errors.push((gap - (written[1].0 - written[0].0).cast_signed()).unsigned_abs());
        }
    }

    fn finish(mut self, played: &Played, truth: &Truth) -> TicsFigures {
        self.arrivals.sort_unstable();
        self.ttft_errors.sort_unstable();
        self.icl_errors.sort_unstable();
        self.sends.sort_unstable();
        let n_compared = self.ttft_errors.len().max(1);
        let last_due = self.sends.last().map_or(0, |(_, due, _)| *due);
        let first_sent = self.sends.iter().map(|(.., sent)| *sent).min().unwrap_or(0);
        let last_sent = self.sends.iter().map(|(.., sent)| *sent).max().unwrap_or(0);
        let summary = &played.summary;
        let checks = summary.validity.checks.iter();
        let objections =
            checks.filter(|check| check.outcome > CheckOutcome::Pass).map(|check| check.id.clone());
        TicsFigures {
            cost: Cost {
                events: self.n_events,
                cpu_us_per_event: played.cpu.as_micros_f64() / self.n_events.max(1) as f64,
                arrival_us: Distribution::of_sorted(&self.arrivals, 1e3),
            },
            requests: summary.requests.scheduled,
            failed: self.n_failed + summary.requests.scheduled.saturating_sub(self.n_records),
            ttft_error_us: Distribution::of_sorted(&self.ttft_errors, 1e3),
            ttft_mean_error_us: self.ttft_sum as f64 / n_compared as f64 / 1e3,
            icl_error_us: Distribution::of_sorted(&self.icl_errors, 1e3),
            shared_share: self.n_shared as f64 / self.n_tics.max(1) as f64,
            lateness_us: summary.lateness_us,
            read_delay_us: summary.read_delay_us,
            handed_over_after_ms: last_sent.saturating_sub(last_due) as f64 / 1e6,
            in_order: self.sends.is_sorted_by_key(|(.., sent)| *sent),
            stream_s: self.last_event.saturating_sub(first_sent) as f64 / 1e9,
            verdict: summary.validity.verdict,
            objections: objections.collect(),
            truth: truth.error(),
        }
    }
}
