//! How a run went: requests in flight, windows of arrivals, the steady part.

use serde::{Deserialize, Serialize};
use tics_record::LoadModel;

use crate::objective::{FailedAs, Metric};
use crate::rows::{Row, Rows};
use crate::{Distribution, Quantile, quantile};

const S: f64 = 1e9;

/// Requests in flight over the run, and how they came and stayed.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Concurrency {
    /// Sum of end - sent / `duration_s`: what is in flight at an instant, on average; null without a duration.
    pub mean: Option<f64>,
    /// Requests handed to the kernel, failed or not, a second of `duration_s`.
    pub rate_per_s: Option<f64>,
    /// Mean of end - sent, seconds.
    pub mean_time_s: Option<f64>,
}

impl Concurrency {
    pub(crate) fn new(rows: &[Row], duration_s: Option<f64>) -> Self {
        let flights: Vec<(u64, u64)> = rows.iter().filter_map(Row::flight).collect();
        let Some(duration_s) = duration_s.filter(|s| *s > 0.0) else {
            return Concurrency::default();
        };
        let n = flights.len() as f64;
        let total: u128 = flights.iter().map(|(sent, end)| u128::from(end - sent)).sum();
        let total = total as f64 / S;
        Concurrency {
            mean: Some(total / duration_s),
            rate_per_s: Some(n / duration_s),
            mean_time_s: Some(total / n),
        }
    }
}

/// Starts and ends in order; an end comes before a start at the same instant.
fn changes(flights: &[(u64, u64)]) -> Vec<(u64, i64)> {
    let both = |(start, end): &(u64, u64)| [(*start, 1), (*end, -1)];
    let mut changes: Vec<(u64, i64)> = flights.iter().flat_map(both).collect();
    changes.sort_unstable();
    changes
}

/// Figures of the requests that were due in one part of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Seconds after the first request was due.
    pub from_s: f64,
    /// End, excluded.
    pub to_s: f64,
    /// Requests due in it and sent.
    pub requests: u64,
    /// Of these, answered.
    pub answered: u64,
    /// Of these, failed.
    pub failed: u64,
    /// First tic - sent, of the answered requests due in it.
    pub ttft_p50_ms: Option<f64>,
    /// The same, p99.
    pub ttft_p99_ms: Option<f64>,
    /// Output tokens that arrived in it, whenever their request was due, a second; to a tenth of a second.
    pub tokens_per_s: f64,
    /// Mean number of requests in flight in it.
    pub in_flight: f64,
}

/// Lengths of windows, seconds.
const WIDTHS: [u32; 15] = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 14_400, 86_400];
/// Most windows of a run.
const WINDOWS: u64 = 20;

/// The run in at most 20 windows of one length, by when requests were due; none of a run shorter than two.
pub(crate) fn windows(rows: &Rows) -> Vec<Window> {
    let Some((zero, end)) = span(&rows.all) else { return Vec::new() };
    let span = end - zero;
    let mut widths = WIDTHS.iter().map(|s| u64::from(*s) * 1_000_000_000);
    let width = widths.find(|w| span.div_ceil(*w) <= WINDOWS).unwrap_or(u64::MAX);
    let n = span.div_ceil(width) as usize;
    if n < 2 {
        return Vec::new();
    }
    let mut members: Vec<Vec<&Row>> = vec![Vec::new(); n];
    // Nanoseconds of flight in each.
    let mut in_flight = vec![0u128; n];
    for row in &rows.all {
        let Some((sent, end)) = row.flight() else { continue };
        members[((row.due.saturating_sub(zero) / width) as usize).min(n - 1)].push(row);
        let last = ((end.saturating_sub(zero) / width) as usize).min(n - 1);
        for (k, sum) in in_flight.iter_mut().enumerate().take(last + 1) {
            let from = zero + k as u64 * width;
            *sum += u128::from(end.min(from + width).saturating_sub(sent.max(from)));
        }
    }
    let window = |(k, inside): (usize, &Vec<&Row>)| {
        let from = zero + k as u64 * width;
        let to = (from + width).min(end);
        let answered = inside.iter().filter(|r| r.outcome.is_answered()).count() as u64;
        let ttft = sorted_values(inside.iter().copied(), Metric::Ttft);
        let at = |q| quantile(&ttft, q).ok().map(|ns| ns / 1e6);
        Window {
            from_s: (from - zero) as f64 / S,
            to_s: (to - zero) as f64 / S,
            requests: inside.len() as u64,
            answered,
            failed: inside.len() as u64 - answered,
            ttft_p50_ms: at(Quantile::P50),
            ttft_p99_ms: at(Quantile::P99),
            tokens_per_s: rows.flow.between(from, to) * S / (to - from) as f64,
            in_flight: in_flight[k] as f64 / (to - from) as f64,
        }
    };
    members.iter().enumerate().map(window).collect()
}

/// From the first due instant to the last end, of the requests that were sent.
fn span(rows: &[Row]) -> Option<(u64, u64)> {
    let sent = || rows.iter().filter_map(|row| row.flight().map(|(sent, end)| (row.due.min(sent), end)));
    let zero = sent().map(|(due, _)| due).min()?;
    Some((zero, sent().map(|(_, end)| end).max()?)).filter(|(zero, end)| zero < end)
}

/// The latencies of the answered among `rows`, ascending, nanoseconds.
pub(crate) fn sorted_values<'a>(rows: impl Iterator<Item = &'a Row>, metric: Metric) -> Vec<f64> {
    let answered = rows.filter(|r| r.outcome.is_answered());
    let mut values: Vec<f64> = answered.filter_map(|row| row.value(metric)).collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// Figures of the part of a run in which it neither fills up nor drains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Steady {
    /// Whether the window was given (`--steady`) or found.
    ///
    /// Found is, in an open loop, from the first end (before it nothing has left) to the last request
    /// sent; in a closed loop, from the first to the last instant at which the largest number were in
    /// flight. Neither says that the server had settled: the windows show that.
    pub declared: bool,
    /// Start, seconds after the first request was due.
    pub from_s: f64,
    /// End, excluded.
    pub to_s: f64,
    /// Requests sent in it.
    pub requests: u64,
    /// Of these, answered.
    pub answered: u64,
    /// First tic - sent, of those.
    pub ttft_ms: Distribution,
    /// Mean time an output token, of those.
    pub tpot_ms: Distribution,
    /// Last event - sent, of those.
    pub e2e_ms: Distribution,
    /// Output tokens that arrived in it, a second; to a tenth of a second.
    pub tokens_per_s: f64,
    /// Answered requests that ended in it, a second.
    pub requests_per_s: f64,
    /// Mean number in flight.
    pub in_flight: f64,
}

/// The steady part: as `declared` (seconds after the first due instant), or found. `None` where there is
/// none: everything at once, or too few requests.
pub(crate) fn steady(
    rows: &Rows,
    order: &[u32],
    model: LoadModel,
    declared: Option<(f64, f64)>,
    failed_as: FailedAs,
) -> Option<Steady> {
    let (zero, end) = span(&rows.all)?;
    let (from, to) = match declared {
        Some((from, to)) => {
            let at = |s: f64| zero.saturating_add((s.max(0.0) * S) as u64);
            (at(from), at(to).min(end))
        }
        None => found(&rows.all, model)?,
    };
    if from >= to {
        return None;
    }
    let in_order = order.iter().map(|place| &rows.all[*place as usize]);
    let inside: Vec<&Row> = in_order.filter(|r| r.sent().is_some_and(|s| (from..to).contains(&s))).collect();
    let seconds = (to - from) as f64 / S;
    let ended = |row: &&Row| {
        row.outcome.is_answered() && row.flight().is_some_and(|(_, end)| (from..to).contains(&end))
    };
    let under_way =
        |row: &Row| row.flight().map_or(0, |(sent, end)| end.min(to).saturating_sub(sent.max(from)));
    let of = |metric| Distribution::of_series(&series(inside.iter().copied(), metric, failed_as), 1e6);
    Some(Steady {
        declared: declared.is_some(),
        from_s: (from - zero) as f64 / S,
        to_s: (to - zero) as f64 / S,
        requests: inside.len() as u64,
        answered: inside.iter().filter(|r| r.outcome.is_answered()).count() as u64,
        ttft_ms: of(Metric::Ttft),
        tpot_ms: of(Metric::Tpot),
        e2e_ms: of(Metric::E2e),
        tokens_per_s: rows.flow.between(from, to) / seconds,
        requests_per_s: rows.all.iter().filter(ended).count() as f64 / seconds,
        in_flight: rows.all.iter().map(|row| u128::from(under_way(row))).sum::<u128>() as f64 / S / seconds,
    })
}

/// A latency of requests in the order of `rows`: of the answered ones, and infinite for failed ones where
/// they stand so.
pub(crate) fn series<'a>(
    rows: impl Iterator<Item = &'a Row>,
    metric: Metric,
    failed_as: FailedAs,
) -> Vec<f64> {
    rows.filter_map(|row| match failed_as {
        _ if row.outcome.is_answered() => row.value(metric),
        FailedAs::Inf if row.outcome.is_failed() => Some(f64::INFINITY),
        _ => None,
    })
    .collect()
}

fn found(rows: &[Row], model: LoadModel) -> Option<(u64, u64)> {
    let flights: Vec<(u64, u64)> = rows.iter().filter_map(Row::flight).collect();
    match model {
        LoadModel::OpenLoop => {
            let first_end = flights.iter().map(|(_, end)| *end).min()?;
            Some((first_end, flights.iter().map(|(sent, _)| *sent).max()?))
        }
        LoadModel::ClosedLoop => {
            let mut flying = 0;
            let mut levels = Vec::with_capacity(2 * flights.len());
            for (at, change) in changes(&flights) {
                flying += change;
                levels.push((at, flying));
            }
            let peak = levels.iter().map(|(_, level)| *level).max()?;
            let first = levels.iter().find(|(_, level)| *level == peak)?.0;
            let last = levels.iter().rposition(|(_, level)| *level == peak)?;
            Some((first, levels.get(last + 1)?.0))
        }
        LoadModel::AllAtOnce => None,
    }
}
