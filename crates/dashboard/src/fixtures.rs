//! Snapshots of made-up runs for the tests of this crate.

use tics_record::{Gauge, LivePercentiles, Nanos, Outcome, Phase, Progress, Snapshot, Stamp};

use crate::{ColourMode, Title, View};

/// The schedule's zero of every fixture.
pub(crate) const EPOCH: Stamp = Stamp::from_nanos(3_000_000_000);

pub(crate) fn title() -> Title {
    Title {
        run: "20250101T120000-conversation".into(),
        url: "http://127.0.0.1:8000".into(),
        model: "sim-8b".into(),
        load: "traces/tics.jsonl ×0.5, open loop".into(),
    }
}

fn percentiles(n: u64, p50_us: u64, p90_us: u64, p99_us: u64, max_us: u64) -> LivePercentiles {
    let [p50, p90, p99, max] = [p50_us, p90_us, p99_us, max_us].map(Nanos::from_micros);
    LivePercentiles { n, p50, p90, p99, max }
}

/// Before the first request.
pub(crate) fn preparing() -> Snapshot {
    let total = |total| Progress { done: 0, total };
    Snapshot {
        at: EPOCH.minus(Nanos::from_millis(1_400)),
        epoch: EPOCH,
        sent: total(500),
        done: total(500),
        prefill_tokens: total(1_234_567),
        decode_tokens: total(98_765),
        ..Snapshot::default()
    }
}

/// `ms` after the epoch of a run of 25 requests a second that a server cannot keep up with.
pub(crate) fn queueing(ms: u64) -> Snapshot {
    let sent = (ms / 40).min(500);
    let done = ms.saturating_sub(2_000) / 60;
    let queued = (sent / 8).min(40);
    let mut snapshot = Snapshot {
        at: EPOCH.plus(Nanos::from_millis(ms)),
        phase: Phase::Running,
        in_flight: Gauge { now: sent - done.min(sent), peak: sent - done.min(sent) + 3 },
        queued: Gauge { now: queued, peak: queued + 2 },
        ttft: percentiles(sent - queued, 123_400, 456_000, 1_234_000, 2_004_000),
        icl: percentiles(done * 190, 21_400, 23_900, 61_200, 310_000),
        lateness: percentiles(sent, 12, 31, 456, 1_020),
        ..preparing()
    };
    snapshot.sent.done = sent;
    snapshot.done.done = done;
    snapshot.prefill_tokens.done = (sent - queued) * 2_469;
    snapshot.decode_tokens.done = done * 197 + ms % 7 * 11;
    snapshot.outcomes[Outcome::Ok as usize] = done;
    snapshot
}

/// The same with requests that failed in many ways.
pub(crate) fn failing(ms: u64) -> Snapshot {
    let mut snapshot = queueing(ms);
    let failures = [
        (Outcome::HttpStatus, 12),
        (Outcome::InBandError, 2),
        (Outcome::Truncated, 1),
        (Outcome::Reset, 7),
        (Outcome::Timeout, 31),
    ];
    for (outcome, n) in failures {
        snapshot.outcomes[outcome as usize] = n;
    }
    snapshot.outcomes[Outcome::Short as usize] = 5;
    snapshot.outcomes[Outcome::Ok as usize] -= 58;
    snapshot
}

/// After `q`: nothing more is sent.
pub(crate) fn draining() -> Snapshot {
    let mut snapshot = queueing(12_000);
    snapshot.phase = Phase::Draining;
    snapshot.drain_until = Some(snapshot.at.plus(Nanos::from_millis(29_300)));
    snapshot
}

/// Everything has ended.
pub(crate) fn finished() -> Snapshot {
    let mut snapshot = queueing(32_000);
    snapshot.phase = Phase::Finished;
    for progress in
        [&mut snapshot.sent, &mut snapshot.done, &mut snapshot.prefill_tokens, &mut snapshot.decode_tokens]
    {
        progress.done = progress.total;
    }
    snapshot.in_flight.now = 0;
    snapshot.queued.now = 0;
    snapshot.outcomes = [0; Outcome::COUNT];
    snapshot.outcomes[Outcome::Ok as usize] = 500;
    snapshot
}

/// A view that has seen the run from its start to `last`, five looks a second.
pub(crate) fn view_of(last: &Snapshot, course: fn(u64) -> Snapshot) -> View {
    let mut view = View::new(title(), ColourMode::Sixteen);
    view.schedule_span = Some(Nanos::from_secs(20));
    let end_ms = last.at.since(EPOCH).map_or(0, |span| span.as_nanos() / 1_000_000);
    for ms in (200..end_ms).step_by(200) {
        view.history.push(&course(ms));
    }
    view.history.push(last);
    view
}
