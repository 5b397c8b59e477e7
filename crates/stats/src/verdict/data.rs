//! D: whether there is enough to judge by.

use tics_record::LoadModel;

use super::{Check, Evidence, Judged, Limits};

/// Requests from which MLPerf's rule can bound a p99 with 99 % confidence, if they are independent.
const P99_NEEDS: u64 = 662;

pub(super) fn checks(evidence: &Evidence, limits: &Limits) -> Vec<Check> {
    [trend(evidence), enough(evidence), censoring(evidence)].map(|j| j.check(limits)).into()
}

/// Only where the load is the same throughout: a closed loop after its first requests.
fn trend(evidence: &Evidence) -> Judged {
    let trend = evidence.trend.filter(|_| evidence.model == Some(LoadModel::ClosedLoop));
    let value = trend.map(|t| if t.is_significant() { 100.0 * t.change.abs() } else { 0.0 });
    let note = trend.filter(|t| t.is_significant() && t.change.abs() > 0.1);
    Judged::new("D1", "TTFT of a closed loop, its last third off its first", value, 10.0)
        .note(note.map(|t| format!("rank correlation of ten tenths with time {:.2}", t.rho)))
        .remedy("the server had not settled: run for longer and leave the beginning out")
}

/// A note, no failure: whoever reads a p99 of few requests must know.
fn enough(evidence: &Evidence) -> Judged {
    let n = evidence.answered;
    let missing = P99_NEEDS.saturating_sub(n);
    let note = (missing > 0 && n > 0)
        .then(|| format!("{n} answered; a p99 needs {P99_NEEDS} to be bounded with 99 % confidence"));
    Judged::new("D2", "requests that a p99 still lacks", Some(missing as f64), P99_NEEDS as f64).note(note)
}

fn censoring(evidence: &Evidence) -> Judged {
    let cut = if evidence.interrupted { evidence.cancelled + evidence.not_sent } else { 0 };
    let note = evidence.interrupted.then(|| {
        format!(
            "interrupted: {} of {} not sent, {} cut while in flight",
            evidence.not_sent, evidence.scheduled, evidence.cancelled
        )
    });
    Judged::new("D3", "requests cut or left unsent by an interruption", Some(cut as f64), 0.0)
        .note(note)
        .remedy("let the run end, or ask for less of the trace")
}
