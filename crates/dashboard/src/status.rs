//! The run in one line, for terminals without cursor and for logs.

use tics_record::{LivePercentiles, Nanos, Phase, Progress, Snapshot};

use crate::{format, history::History, history::Series, outcomes, pace::Pace};

/// Longest line that is printed.
const WIDEST: usize = 160;

/// The run in one line of at most 160 characters, without a line end:
///
/// `0:12 running: sent 120/500 done 98/500 in flight 22 (peak 31) queued 3 tok/s 1,234 TTFT p50 123 ms p99
/// 1.23 s late p99 45.6 µs failed 0`
///
/// - `history` has been given `snapshot` and those before it; tokens per second come from it.
/// - Counts are printed in full where the line allows it.
pub fn status_line(snapshot: &Snapshot, history: &History) -> String {
    let full = line(snapshot, history, format::count);
    if format::width(&full) <= WIDEST {
        return full;
    }
    let short = line(snapshot, history, format::count_short);
    if format::width(&short) <= WIDEST {
        return short;
    }
    // Only figures that no run reaches are so wide.
    short.chars().take(WIDEST - 1).chain(['…']).collect()
}

fn line(snapshot: &Snapshot, history: &History, count: fn(u64) -> String) -> String {
    let pace = Pace { snapshot, history, schedule_span: None };
    let of = |progress: Progress| format!("{}/{}", count(progress.done), count(progress.total));
    let span =
        |of: &LivePercentiles, span: Nanos| if of.n == 0 { "-".to_owned() } else { format::span(span) };
    let phase = match snapshot.phase {
        Phase::Preparing => "preparing",
        Phase::Running => "running",
        Phase::Draining => "draining",
        Phase::Finished => "finished",
    };
    let tokens_per_s = pace.rate(Series::Decode).map_or("-".to_owned(), |rate| count(rate.round() as u64));
    format!(
        "{} {phase}: sent {} done {} in flight {} (peak {}) queued {} tok/s {tokens_per_s} \
         TTFT p50 {} p99 {} late p99 {} failed {}",
        format::clock(pace.run_elapsed()),
        of(snapshot.sent),
        of(snapshot.done),
        count(snapshot.in_flight.now),
        count(snapshot.in_flight.peak),
        count(snapshot.queued.now),
        span(&snapshot.ttft, snapshot.ttft.p50),
        span(&snapshot.ttft, snapshot.ttft.p99),
        span(&snapshot.lateness, snapshot.lateness.p99),
        count(outcomes::failures(snapshot)),
    )
}
