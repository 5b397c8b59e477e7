//! The recent past of a run: what a single snapshot cannot tell, namely rates and their course.

use std::collections::VecDeque;

use tics_record::{Nanos, Phase, Snapshot, Stamp};

/// Rates are over this span: long enough to be steady, short enough to show a stall at once.
const RATE_SPAN: Nanos = Nanos::from_secs(5);
/// Samples closer than this to the one before are not kept, so that `recent` stays small however often
/// the caller looks.
const SAMPLE_GAP: Nanos = Nanos::from_millis(50);
/// Seconds kept for the sparklines: the widest supported terminal, one column a second.
const SECONDS_KEPT: usize = 300;
const NANOS_PER_S: u64 = 1_000_000_000;

/// What one of the four bars counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Series {
    /// Requests sent.
    Sent,
    /// Requests ended.
    Done,
    /// Input tokens of requests whose first token has come.
    Prefill,
    /// Output tokens.
    Decode,
}

impl Series {
    pub(crate) const ALL: [Series; 4] = [Series::Sent, Series::Done, Series::Prefill, Series::Decode];

    pub(crate) fn of(self, snapshot: &Snapshot) -> tics_record::Progress {
        match self {
            Series::Sent => snapshot.sent,
            Series::Done => snapshot.done,
            Series::Prefill => snapshot.prefill_tokens,
            Series::Decode => snapshot.decode_tokens,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Stamp,
    done: [u64; 4],
}

#[derive(Debug, Clone, Copy)]
struct Second {
    tokens: f64,
    in_flight: u64,
}

/// The recent past of one run, fed with every snapshot that is drawn. Bounded: a few seconds of samples
/// and a few minutes of one value a second.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// Ascending in time, at least [`SAMPLE_GAP`] apart except for the newest; reaches back one sample
    /// beyond [`RATE_SPAN`].
    recent: VecDeque<Sample>,
    /// One entry a second since the epoch; the first is second `first_second`.
    seconds: VecDeque<Second>,
    first_second: u64,
    /// When each series was first seen at its total.
    completed: [Option<Stamp>; 4],
    /// The last snapshot: when, output tokens, in flight.
    newest: Option<(Stamp, u64, u64)>,
}

impl History {
    /// No past.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a snapshot. One that is not newer than the last, or from before the first request
    /// was due, is ignored.
    pub fn push(&mut self, snapshot: &Snapshot) {
        if snapshot.phase == Phase::Preparing || snapshot.at <= snapshot.epoch {
            return;
        }
        let before = self.newest.unwrap_or((snapshot.epoch, 0, 0));
        if snapshot.at <= before.0 {
            return;
        }
        self.note_seconds(before, snapshot);
        self.note_sample(snapshot);
        self.note_completion(snapshot);
        self.newest = Some((snapshot.at, snapshot.decode_tokens.done, snapshot.in_flight.now));
    }

    fn note_sample(&mut self, snapshot: &Snapshot) {
        if self.recent.is_empty() {
            self.recent.push_back(Sample { at: snapshot.epoch, done: [0; 4] });
        }
        // The newest sample is provisional until it is far enough from the one before it.
        if let [.., before, newest] = self.recent.make_contiguous()
            && newest.at < before.at.plus(SAMPLE_GAP)
        {
            self.recent.pop_back();
        }
        let done = Series::ALL.map(|series| series.of(snapshot).done);
        self.recent.push_back(Sample { at: snapshot.at, done });
        let horizon = snapshot.at.minus(RATE_SPAN);
        while self.recent.get(1).is_some_and(|second| second.at <= horizon) {
            self.recent.pop_front();
        }
    }

    fn note_completion(&mut self, snapshot: &Snapshot) {
        for (completed, series) in self.completed.iter_mut().zip(Series::ALL) {
            let progress = series.of(snapshot);
            let complete = snapshot.phase == Phase::Finished || progress.done >= progress.total;
            *completed = if complete { completed.or(Some(snapshot.at)) } else { None };
        }
    }

    /// Spreads the tokens since `before` (when, tokens, in flight) evenly over the time since then.
    fn note_seconds(&mut self, before: (Stamp, u64, u64), snapshot: &Snapshot) {
        let since_epoch = |stamp: Stamp| stamp.since(snapshot.epoch).unwrap_or(Nanos::ZERO).as_nanos();
        let (from, to) = (since_epoch(before.0), since_epoch(snapshot.at));
        let tokens = snapshot.decode_tokens.done.saturating_sub(before.1) as f64;
        let last = to / NANOS_PER_S;
        // After a long gap only the part that is kept is walked through.
        let first = (from / NANOS_PER_S).max(last.saturating_sub(SECONDS_KEPT as u64 - 1));
        if self.seconds.is_empty() || first > self.first_second + self.seconds.len() as u64 {
            self.seconds.clear();
            self.first_second = first;
        }
        for second in first..=last {
            let start = (second * NANOS_PER_S).max(from);
            let end = second.saturating_add(1).saturating_mul(NANOS_PER_S).min(to);
            let share = tokens * end.saturating_sub(start) as f64 / (to - from).max(1) as f64;
            let index = second.saturating_sub(self.first_second) as usize;
            if index >= self.seconds.len() {
                // Between two snapshots the level is taken to be that of the earlier one.
                self.seconds.push_back(Second { tokens: 0.0, in_flight: before.2 });
            }
            if let Some(entry) = self.seconds.get_mut(index) {
                entry.tokens += share;
            }
        }
        if let Some(entry) = self.seconds.back_mut() {
            entry.in_flight = entry.in_flight.max(snapshot.in_flight.now);
        }
        while self.seconds.len() > SECONDS_KEPT {
            self.seconds.pop_front();
            self.first_second += 1;
        }
    }

    /// How much of `series` came per second over the last five seconds (or since the epoch, if that is
    /// less); `None` without a past.
    pub fn rate(&self, series: Series) -> Option<f64> {
        let (oldest, newest) = (self.recent.front()?, self.recent.back()?);
        let span = newest.at.since(oldest.at).filter(|span| *span > Nanos::ZERO)?;
        let index = series as usize;
        let rise = newest.done[index].saturating_sub(oldest.done[index]);
        Some(rise as f64 / span.as_secs_f64())
    }

    /// When `series` was first seen at its total, or the run at its end.
    pub fn completed_at(&self, series: Series) -> Option<Stamp> {
        self.completed[series as usize]
    }

    /// Output tokens in each of the last `n` whole seconds, oldest first.
    pub fn tokens_each_second(&self, n: usize) -> Vec<u64> {
        let whole = self.seconds.len().saturating_sub(1);
        self.seconds
            .range(whole.saturating_sub(n)..whole)
            .map(|second| second.tokens.round() as u64)
            .collect()
    }

    /// Highest number of requests in flight seen in each of the last `n` seconds, the present one
    /// included, oldest first.
    pub fn in_flight_each_second(&self, n: usize) -> Vec<u64> {
        let len = self.seconds.len();
        self.seconds.range(len.saturating_sub(n)..).map(|second| second.in_flight).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tics_record::{Gauge, Progress};

    use super::*;

    const EPOCH: Stamp = Stamp::from_nanos(2 * NANOS_PER_S);

    fn at(ms: u64, tokens: u64, in_flight: u64) -> Snapshot {
        Snapshot {
            at: EPOCH.plus(Nanos::from_millis(ms)),
            epoch: EPOCH,
            phase: Phase::Running,
            decode_tokens: Progress { done: tokens, total: 10_000 },
            in_flight: Gauge { now: in_flight, peak: in_flight },
            ..Snapshot::default()
        }
    }

    fn history(of: impl IntoIterator<Item = Snapshot>) -> History {
        let mut history = History::new();
        of.into_iter().for_each(|snapshot| history.push(&snapshot));
        history
    }

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() < 1e-9 * b.abs().max(1.0))
    }

    #[test]
    fn a_young_run_counts_from_its_epoch() {
        assert_eq!(History::new().rate(Series::Decode), None);
        assert!(close(history([at(500, 100, 1)]).rate(Series::Decode), 200.0));
    }

    #[test]
    fn an_old_rate_is_forgotten_after_five_seconds() {
        // 1000 tokens/s for 10 s, then nothing.
        let run =
            |until_ms: u64| history((1..=until_ms / 100).map(|i| at(i * 100, (i * 100).min(10_000), 1)));
        assert!(close(run(10_000).rate(Series::Decode), 1_000.0));
        assert!(close(run(12_500).rate(Series::Decode), 500.0));
        assert!(close(run(15_000).rate(Series::Decode), 0.0));
    }

    #[test]
    fn looking_often_does_not_grow_the_past_nor_change_the_rate() {
        let often = history((1..=20_000).map(|ms| at(ms, ms / 2, 1)));
        assert!(often.recent.len() < 110, "{} samples", often.recent.len());
        assert!((often.rate(Series::Decode).unwrap() - 500.0).abs() < 1.0);
    }

    #[test]
    fn tokens_are_spread_over_the_seconds_between_two_looks() {
        let run = history([at(1_000, 100, 4), at(3_000, 300, 2), at(3_500, 310, 7)]);
        assert_eq!(run.tokens_each_second(10), [100, 100, 100]);
        assert_eq!(run.tokens_each_second(2), [100, 100]);
        assert_eq!(run.in_flight_each_second(10), [0, 4, 4, 7]);
    }

    #[test]
    fn a_series_is_complete_when_first_seen_so_and_open_again_when_corrected() {
        let mut run = history([at(1_000, 9_999, 1), at(2_000, 10_000, 1), at(3_000, 10_000, 1)]);
        assert_eq!(run.completed_at(Series::Decode), Some(EPOCH.plus(Nanos::from_secs(2))));
        run.push(&at(4_000, 9_000, 1));
        assert_eq!(run.completed_at(Series::Decode), None);
    }

    #[test]
    fn preparing_leaves_no_trace() {
        let preparing = Snapshot { at: Stamp::from_nanos(7), ..Snapshot::default() };
        assert_eq!(history([preparing]).rate(Series::Sent), None);
    }

    proptest! {
        #[test]
        fn bounded_and_complete_for_any_looks(
            looks in prop::collection::vec((1u64..400_000_000_000, 0u64..1_000), 1..80)
        ) {
            let mut history = History::new();
            let (mut ns, mut tokens) = (0, 0);
            for (step, more) in looks {
                ns += step;
                tokens += more;
                let mut snapshot = at(0, tokens, 1);
                snapshot.at = EPOCH.plus(Nanos::new(ns));
                history.push(&snapshot);
                prop_assert!(history.seconds.len() <= SECONDS_KEPT);
                prop_assert_eq!(history.first_second + history.seconds.len() as u64, ns / NANOS_PER_S + 1);
            }
            let kept: f64 = history.seconds.iter().map(|second| second.tokens).sum();
            prop_assert!(kept <= tokens as f64 + 1e-6);
            prop_assert!(history.first_second > 0 || (kept - tokens as f64).abs() < 1e-6);
        }
    }
}
