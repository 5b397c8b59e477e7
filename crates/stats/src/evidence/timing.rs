//! How the schedule was realised: rates, lumps, and whether lateness depends on load or time.

use crate::peaks::Flight;

const SECOND: u64 = 1_000_000_000;

/// Fewest requests due in a second that a rate is judged by.
const FEW_A_SECOND: u64 = 20;

/// How the schedule of an open loop was realised. None where there is too little to say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Timing {
    /// |1 - achieved / offered rate|, from the first request to the last.
    pub rate_off: Option<f64>,
    /// The worst second.
    pub window_off: Option<WindowOff>,
    /// Lateness against requests in flight.
    pub by_load: Option<Dependence>,
    /// Lateness against time.
    pub by_time: Option<Dependence>,
    /// Requests that left closer together than any of the schedule.
    pub lumps: Option<Lumps>,
}

/// A second in which the number of requests sent is not that of the schedule.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WindowOff {
    /// Requests too many or too few, of those due, or of twenty if that is more.
    pub off: f64,
    /// Where the second begins, from the first due instant.
    pub at_s: f64,
    /// Sent in it.
    pub sent: u64,
    /// Due in it.
    pub due: u64,
}

/// How lateness goes with something else.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Dependence {
    /// Spearman's rank correlation.
    pub rho: f64,
    /// Requests.
    pub n: u64,
    /// Mean lateness of the highest quarter minus that of the lowest, nanoseconds.
    pub effect_ns: f64,
}

impl Dependence {
    /// Whether chance would show as much less than once in a thousand times, and it is not weak.
    pub fn is_significant(&self) -> bool {
        let n = self.n.saturating_sub(1).max(1) as f64;
        self.n >= 30 && self.rho.abs() > (3.3 / n.sqrt()).max(0.1)
    }
}

/// Requests that left in lumps.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Lumps {
    /// Requests in them, of all.
    pub share: f64,
    /// Width of the window in which the largest was found.
    pub width_ms: u64,
    /// Requests in the largest.
    pub most: u64,
    /// Most requests that the schedule has within such a window.
    pub scheduled: u64,
}

/// - `flights`: of an open loop, in the order of due.
/// - `late`: of those that are not excused, beyond their places, in the same order.
/// - `slack_ns`: lateness that does not matter; what is off by less is not off.
pub(crate) fn timing(flights: &[Flight], late: &[i64], slack_ns: u64) -> Timing {
    let kept: Vec<&Flight> = flights.iter().filter(|f| !f.excused).collect();
    let due: Vec<u64> = kept.iter().map(|f| f.due.as_nanos()).collect();
    let mut sent: Vec<u64> = kept.iter().map(|f| f.sent.as_nanos()).collect();
    let late: Vec<f64> = late.iter().map(|ns| *ns as f64).collect();
    let load = in_flight_when_due(&kept, flights);
    let time: Vec<f64> = due.iter().map(|due| *due as f64).collect();
    sent.sort_unstable();
    Timing {
        rate_off: rate_off(&due, &sent),
        window_off: window_off(&due, &sent, slack_ns),
        by_load: dependence(&load, &late),
        by_time: dependence(&time, &late),
        lumps: lumps(&due, &sent, slack_ns),
    }
}

fn rate_off(due: &[u64], sent: &[u64]) -> Option<f64> {
    let span = |all: &[u64]| Some(all.last()? - all.first()?);
    let (offered, achieved) = (span(due)?, span(sent)?);
    // Below a second it is the lateness of two requests, which is judged as such.
    (offered >= SECOND).then(|| (1.0 - offered as f64 / achieved.max(1) as f64).abs())
}

/// How many of ascending `all` are in `[from, to)`.
fn within(all: &[u64], from: u64, to: u64) -> u64 {
    let before = |t: u64| all.partition_point(|at| *at < t) as u64;
    before(to).saturating_sub(before(from))
}

fn window_off(due: &[u64], sent: &[u64], slack: u64) -> Option<WindowOff> {
    let (first, last) = (*due.first()?, *due.last()?);
    let mut worst: Option<WindowOff> = None;
    let mut from = first;
    while from <= last {
        let to = from + SECOND;
        let n_due = within(due, from, to);
        // What is due near an edge may fall on either side of it.
        let at_least = within(due, from + slack, to.saturating_sub(slack));
        let at_most = within(due, from.saturating_sub(slack), to + slack);
        let n_sent = within(sent, from, to);
        let off = at_least.saturating_sub(n_sent).max(n_sent.saturating_sub(at_most));
        let off = off as f64 / n_due.max(FEW_A_SECOND) as f64;
        if worst.is_none_or(|w| off > w.off) {
            worst = Some(WindowOff { off, at_s: (from - first) as f64 / 1e9, sent: n_sent, due: n_due });
        }
        from += SECOND / 2;
    }
    worst
}

/// At the due instant and not when sent: who leaves late finds others gone by then, which would look like a
/// lateness that shrinks with the load.
fn in_flight_when_due(kept: &[&Flight], all: &[Flight]) -> Vec<f64> {
    let ordered = |of: fn(&Flight) -> u64| {
        let mut stamps: Vec<u64> = all.iter().map(of).collect();
        stamps.sort_unstable();
        stamps
    };
    let (starts, ends) = (ordered(|f| f.sent.as_nanos()), ordered(|f| f.end.as_nanos()));
    let before = |stamps: &[u64], at: u64| stamps.partition_point(|t| *t < at) as f64;
    kept.iter().map(|f| before(&starts, f.due.as_nanos()) - before(&ends, f.due.as_nanos())).collect()
}

fn dependence(x: &[f64], late: &[f64]) -> Option<Dependence> {
    let rho = spearman(x, late)?;
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|a, b| x[*a].total_cmp(&x[*b]));
    // Which of several with the same x are in a quarter is chance: each has the mean of them all.
    let mut tied_late = Vec::with_capacity(late.len());
    for tied in order.chunk_by(|a, b| x[*a].total_cmp(&x[*b]).is_eq()) {
        let mean = tied.iter().map(|i| late[*i]).sum::<f64>() / tied.len() as f64;
        tied_late.resize(tied_late.len() + tied.len(), mean);
    }
    let quarter = (x.len() / 4).max(1);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    let effect_ns = mean(&tied_late[tied_late.len() - quarter..]) - mean(&tied_late[..quarter]);
    Some(Dependence { rho, n: x.len() as u64, effect_ns })
}

/// Ranks from 1, equal values sharing the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for tied in order.chunk_by(|a, b| values[*a].total_cmp(&values[*b]).is_eq()) {
        let mean = before as f64 + f64::midpoint(tied.len() as f64, 1.0);
        for i in tied {
            ranks[*i] = mean;
        }
        before += tied.len();
    }
    ranks
}

/// Spearman's rank correlation; none below three pairs, or where one side never changes.
fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() < 3 {
        return None;
    }
    let (x, y) = (ranks(x), ranks(y));
    let mean = f64::midpoint(x.len() as f64, 1.0);
    let sum = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let scale = (sum(&x, &x) * sum(&y, &y)).sqrt();
    (scale > 0.0).then(|| sum(&x, &y) / scale)
}

fn lumps(due: &[u64], sent: &[u64], slack: u64) -> Option<Lumps> {
    if due.is_empty() {
        return None;
    }
    let largest = |all: &[u64], width: u64| {
        let ends = all.iter().map(|from| all.partition_point(|t| *t < from + width));
        ends.enumerate().map(|(i, end)| end - i).max().unwrap_or(0)
    };
    let found = [1u64, 10].map(|width_ms| {
        let width = width_ms * 1_000_000;
        let scheduled = largest(due, width + 2 * slack);
        let (mut most, mut lumped, mut counted) = (0, 0, 0);
        for (i, from) in sent.iter().enumerate() {
            let end = sent.partition_point(|t| *t < from + width);
            most = most.max(end - i);
            if end - i > scheduled + 1 {
                lumped += end - i.max(counted);
                counted = end;
            }
        }
        let share = lumped as f64 / sent.len() as f64;
        Lumps { share, width_ms, most: most as u64, scheduled: scheduled as u64 }
    });
    found.into_iter().reduce(|a, b| if b.share > a.share { b } else { a })
}

/// TTFT over the time of a closed loop.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trend {
    /// Rank correlation of the medians of ten tenths with time.
    pub rho: f64,
    /// Median of the last third over that of the first, minus 1.
    pub change: f64,
}

impl Trend {
    /// Whether chance would show as much less than once in a hundred times (Spearman, n = 10).
    pub fn is_significant(&self) -> bool {
        self.rho.abs() > 0.794
    }
}

/// Of the answered requests alone: an answer that fails is no time to first token, and often a fast one.
///
/// - `flights`: in the order of due. The first `ramp` of them found an empty server.
pub(crate) fn trend(flights: &[Flight], ramp: u64) -> Option<Trend> {
    let settled = flights.get(usize::try_from(ramp).ok()?..)?;
    let settled: Vec<u64> = settled
        .iter()
        .filter(|f| f.has_ttft)
        .filter_map(|f| Some(f.first.since(f.sent)?.as_nanos()))
        .collect();
    if settled.len() < 100 {
        return None;
    }
    let median = |part: &[u64]| {
        let mut spans = part.to_vec();
        spans.sort_unstable();
        spans.get(spans.len() / 2).map_or(0.0, |ns| *ns as f64)
    };
    let tenths: Vec<f64> =
        (0..10).map(|k| median(&settled[k * settled.len() / 10..(k + 1) * settled.len() / 10])).collect();
    let time: Vec<f64> = (0..10u32).map(f64::from).collect();
    let third = settled.len() / 3;
    let (first, last) = (median(&settled[..third]), median(&settled[settled.len() - third..]));
    (first > 0.0).then(|| Trend { rho: spearman(&time, &tenths).unwrap_or(0.0), change: last / first - 1.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tics_record::{Nanos, Stamp};

    use super::*;
    use crate::peaks::lateness_beyond_place;

    const MS: u64 = 1_000_000;

    fn flight(due: u64, sent: u64) -> Flight {
        let at = Stamp::from_nanos;
        Flight {
            due: at(due),
            sent: at(sent),
            first: at(sent + 20 * MS),
            end: at(sent + 50 * MS),
            has_ttft: true,
            excused: false,
        }
    }

    fn judged(mut flights: Vec<Flight>) -> Timing {
        let late = lateness_beyond_place(&mut flights, 50_000);
        timing(&flights, &late, MS)
    }

    /// A request every 10 ms for `n` of them, sent late by what `late` says, ns.
    fn run(n: u64, late: impl Fn(u64) -> u64) -> Timing {
        judged((0..n).map(|i| flight(i * 10 * MS, i * 10 * MS + late(i))).collect())
    }

    #[test]
    fn an_even_lateness_is_not_a_rate_a_lump_or_a_trend() {
        let found = run(500, |i| 20_000 + (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) % 30_000);
        assert!(found.rate_off.unwrap() < 1e-4, "{found:?}");
        assert_eq!((found.window_off.unwrap().off, found.lumps.unwrap().share), (0.0, 0.0));
        let independent = |found: Option<Dependence>| found.is_none_or(|d| !d.is_significant());
        assert!(independent(found.by_load) && independent(found.by_time), "{found:?}");
    }

    #[test]
    fn a_slow_sender_is_seen_in_its_rate_and_over_time() {
        // 8 % slow: the fault that no test of gaps sees.
        let found = run(500, |i| i * 800_000);
        assert!((found.rate_off.unwrap() - 0.08 / 1.08).abs() < 1e-3, "{found:?}");
        let by_time = found.by_time.unwrap();
        assert!(by_time.rho > 0.99 && by_time.is_significant(), "{by_time:?}");
        assert!((by_time.effect_ns - 375.0 * 800_000.0).abs() < 1e6, "{by_time:?}");
    }

    #[test]
    fn a_stall_moves_requests_into_another_second_and_into_a_lump() {
        // From 0.9 s to 1.3 s nothing leaves, then everything does.
        let found = run(500, |i| if (90..130).contains(&i) { (130 - i) * 10 * MS + i * 10_000 } else { 0 });
        let window = found.window_off.unwrap();
        assert!(window.off >= 0.09 && window.due == 100, "{window:?}");
        let lumps = found.lumps.unwrap();
        assert_eq!((lumps.most, lumps.scheduled), (41, 2), "{lumps:?}");
        assert!((lumps.share - 41.0 / 500.0).abs() < 0.01, "{lumps:?}");
    }

    #[test]
    fn a_burst_of_the_schedule_is_no_lump() {
        let flights: Vec<Flight> = (0..100).map(|i| flight(0, i * 20_000)).collect();
        assert!(judged(flights).lumps.unwrap().share <= 0.0);
    }

    #[test]
    fn bursts_that_grow_are_no_lateness_that_grows() {
        // From 1 to 100 requests due at each whole second, each leaving `apart` after the other.
        let bursts = |apart: u64| {
            let burst = |k: u64| (0..=k).map(move |i| flight(k * SECOND, k * SECOND + i * apart));
            judged((0..100).flat_map(burst).collect())
        };
        // 100 requests at 20 µs are 2 ms, of which their places explain all.
        let fine = bursts(20_000);
        for found in [fine.by_time, fine.by_load] {
            assert!(found.is_none_or(|d| !d.is_significant() || d.effect_ns.abs() < 1e-6), "{found:?}");
        }
        // At 70 µs each place is 20 µs late.
        let slow = bursts(70_000).by_time.unwrap();
        assert!(slow.is_significant() && slow.effect_ns > 0.5e6, "{slow:?}");
    }

    #[test]
    fn of_requests_with_one_load_none_is_picked() {
        // All but one of one load, late by 0 to 99 ms in the order in which they come.
        let mut x = vec![1.0; 100];
        x[0] = 0.0;
        let late: Vec<f64> = (0..100).map(f64::from).collect();
        let found = dependence(&x, &late).unwrap();
        assert!((found.effect_ns - 50.0 * (1.0 - 24.0 / 25.0)).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn lateness_that_follows_the_load_is_seen() {
        let load = |i: u64| i % 50;
        let flights: Vec<Flight> = (0..400)
            .map(|i| {
                let due = i * 10 * MS;
                Flight { end: Stamp::from_nanos(due + load(i) * 40 * MS), ..flight(due, due) }
            })
            .collect();
        let kept: Vec<&Flight> = flights.iter().collect();
        let in_flight = in_flight_when_due(&kept, &flights);
        let late: Vec<f64> = in_flight.iter().map(|n| n * 1e5).collect();
        let found = dependence(&in_flight, &late).unwrap();
        assert!(found.is_significant() && (found.rho - 1.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_closed_loop_that_slows_down_has_a_trend() {
        let loops = |ttft: fn(u64) -> u64| -> Vec<Flight> {
            (0..300)
                .map(|i| {
                    let sent = i * 10 * MS;
                    Flight { first: Stamp::from_nanos(sent + ttft(i)), ..flight(sent, sent) }
                })
                .collect()
        };
        let slower = trend(&loops(|i| 20 * MS + i * 100_000), 4).unwrap();
        assert!(slower.is_significant() && slower.change > 0.5, "{slower:?}");
        let steady = trend(&loops(|i| 20 * MS + (i * 7919) % 100_000), 4).unwrap();
        assert!(!steady.is_significant() || steady.change.abs() < 0.1, "{steady:?}");
        assert_eq!(trend(&loops(|_| MS)[..99], 0), None);
        // A server that refuses every other request at once from some point on has not become faster.
        let mut refusing = loops(|i| 20 * MS + (i * 7919) % 100_000);
        refusing.extend(refusing.clone());
        let answered = trend(&refusing, 4);
        for f in refusing.iter_mut().skip(300).step_by(2) {
            (f.first, f.has_ttft) = (f.sent.plus(Nanos::from_millis(1)), false);
        }
        assert!((answered.unwrap().change - trend(&refusing, 4).unwrap().change).abs() < 0.01);
        // From where it refuses all, nothing is known.
        for f in refusing.iter_mut().skip(300) {
            (f.first, f.has_ttft) = (f.sent.plus(Nanos::from_millis(1)), false);
        }
        assert_eq!(trend(&refusing, 4), trend(&refusing[..300], 4));
    }

    proptest! {
        #[test]
        fn a_rank_correlation_is_one_of_ranks(
            values in prop::collection::vec((-50i32..50, -50i32..50), 3..60),
        ) {
            let (x, y): (Vec<f64>, Vec<f64>) =
                values.iter().map(|(x, y)| (f64::from(*x), f64::from(*y))).unzip();
            if let Some(rho) = spearman(&x, &y) {
                prop_assert!(rho.abs() <= 1.0 + 1e-9);
                // Anything that rises leaves it as it is.
                let cubed: Vec<f64> = x.iter().map(|x| x.powi(3)).collect();
                prop_assert!((spearman(&cubed, &y).unwrap() - rho).abs() < 1e-9);
                let down: Vec<f64> = x.iter().map(|x| -x).collect();
                prop_assert!((spearman(&down, &y).unwrap() + rho).abs() < 1e-9);
            }
        }
    }
}
