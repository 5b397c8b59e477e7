//! How fast the run goes and how long it still takes.

use tics_record::{Nanos, Phase, Progress, Snapshot};

use crate::history::{History, Series};

/// Rates, elapsed and remaining time of one snapshot and its past.
#[derive(Clone, Copy)]
pub(crate) struct Pace<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) history: &'a History,
    pub(crate) schedule_span: Option<Nanos>,
}

impl Pace<'_> {
    /// Since the epoch; zero before it.
    pub(crate) fn run_elapsed(&self) -> Nanos {
        match self.snapshot.phase {
            Phase::Preparing => Nanos::ZERO,
            _ => self.snapshot.at.since(self.snapshot.epoch).unwrap_or(Nanos::ZERO),
        }
    }

    /// From the epoch until `series` was complete, or until now.
    pub(crate) fn elapsed(&self, series: Series) -> Nanos {
        match self.history.completed_at(series) {
            Some(stamp) => stamp.since(self.snapshot.epoch).unwrap_or(Nanos::ZERO),
            None => self.run_elapsed(),
        }
    }

    /// Per second: over the last seconds, or over all its time once `series` is complete.
    pub(crate) fn rate(&self, series: Series) -> Option<f64> {
        let recent = match self.history.completed_at(series) {
            Some(_) => None,
            None => self.history.rate(series),
        };
        recent.or_else(|| self.mean_rate(series))
    }

    fn mean_rate(&self, series: Series) -> Option<f64> {
        let elapsed = self.elapsed(series);
        (elapsed > Nanos::ZERO).then(|| series.of(self.snapshot).done as f64 / elapsed.as_secs_f64())
    }

    /// How long `series` still takes; `None` where nothing lets it be known.
    pub(crate) fn remaining(&self, series: Series) -> Option<Nanos> {
        let all_sent = is_complete(self.snapshot.sent);
        match self.snapshot.phase {
            Phase::Finished => Some(Nanos::ZERO),
            _ if is_complete(series.of(self.snapshot)) => Some(Nanos::ZERO),
            // Draining on request: what was not sent will never be, so the totals will not be reached.
            Phase::Draining if !all_sent => None,
            Phase::Preparing => None,
            Phase::Running | Phase::Draining => {
                let sending = self.sending_remaining();
                if series == Series::Sent {
                    return sending;
                }
                // Nothing is complete before the last request is sent.
                let own = self.by_rate(series)?;
                Some(if all_sent { own } else { own.max(sending.unwrap_or(Nanos::ZERO)) })
            }
        }
    }

    fn sending_remaining(&self) -> Option<Nanos> {
        let scheduled = self.schedule_span.map(|span| span.saturating_minus(self.run_elapsed()));
        // A schedule that is over without all being sent is one that could not be kept.
        scheduled.filter(|span| *span > Nanos::ZERO).or_else(|| self.by_rate(Series::Sent))
    }

    fn by_rate(&self, series: Series) -> Option<Nanos> {
        let progress = series.of(self.snapshot);
        // A quiet moment says little about the rest, so then the whole run so far is the guide.
        let rate = self.rate(series).filter(|rate| *rate > 0.0).or_else(|| self.mean_rate(series))?;
        Nanos::from_secs_f64(progress.total.saturating_sub(progress.done) as f64 / rate)
    }
}

fn is_complete(progress: Progress) -> bool {
    progress.total > 0 && progress.done >= progress.total
}

#[cfg(test)]
mod tests {
    use tics_record::Stamp;

    use super::*;

    fn snapshot(phase: Phase, s: u64, sent: u64, done: u64) -> Snapshot {
        Snapshot {
            at: Stamp::from_nanos(0).plus(Nanos::from_secs(s)),
            phase,
            sent: Progress { done: sent, total: 100 },
            done: Progress { done, total: 100 },
            ..Snapshot::default()
        }
    }

    fn remaining(snapshot: &Snapshot, schedule_s: Option<u64>, series: Series) -> Option<u64> {
        let mut history = History::new();
        history.push(snapshot);
        let schedule_span = schedule_s.map(Nanos::from_secs);
        let pace = Pace { snapshot, history: &history, schedule_span };
        pace.remaining(series).map(|span| span.as_nanos() / 1_000_000_000)
    }

    #[test]
    fn sending_ends_when_the_schedule_says() {
        let now = snapshot(Phase::Running, 10, 20, 10);
        assert_eq!(remaining(&now, None, Series::Sent), Some(40));
        assert_eq!(remaining(&now, Some(25), Series::Sent), Some(15));
        assert_eq!(remaining(&now, Some(5), Series::Sent), Some(40));
    }

    #[test]
    fn nothing_is_done_before_the_last_is_sent() {
        let now = snapshot(Phase::Running, 10, 20, 20);
        assert_eq!(remaining(&now, None, Series::Done), Some(40));
        assert_eq!(remaining(&now, Some(70), Series::Done), Some(60));
    }

    #[test]
    fn unknown_is_unknown() {
        assert_eq!(remaining(&snapshot(Phase::Running, 10, 0, 0), None, Series::Sent), None);
        assert_eq!(remaining(&snapshot(Phase::Preparing, 10, 0, 0), Some(9), Series::Sent), None);
        assert_eq!(remaining(&snapshot(Phase::Draining, 10, 20, 10), None, Series::Done), None);
        assert_eq!(remaining(&snapshot(Phase::Draining, 10, 100, 50), None, Series::Done), Some(10));
        assert_eq!(remaining(&snapshot(Phase::Finished, 10, 20, 10), None, Series::Done), Some(0));
    }
}
