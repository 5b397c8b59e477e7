//! The verdict on the measurement: one pure function, for a running run and for a finished one.

use serde::{Deserialize, Serialize};
use tics_record::{LateCause, LoadModel};

/// Whether the measurement can be trusted. Failures of the server never touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Every check passed.
    Valid,
    /// The figures may be off by more than they seem.
    Suspect,
    /// The figures are not those of the run that was asked for.
    Invalid,
}

impl Verdict {
    /// In print.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "VALID",
            Verdict::Suspect => "SUSPECT",
            Verdict::Invalid => "INVALID",
        }
    }
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// There was nothing to judge.
    NotJudged,
    /// Within the threshold.
    Pass,
    /// Beyond the threshold.
    Suspect,
    /// Beyond what can be excused.
    Invalid,
}

impl CheckOutcome {
    /// In print.
    pub const fn name(self) -> &'static str {
        match self {
            CheckOutcome::NotJudged => "not judged",
            CheckOutcome::Pass => "pass",
            CheckOutcome::Suspect => "suspect",
            CheckOutcome::Invalid => "invalid",
        }
    }
}

/// One check of the measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Stable name.
    pub id: String,
    /// What was looked at.
    pub statistic: String,
    /// Unit of `value` and `threshold`; empty for counts.
    pub unit: String,
    /// What was found; null if there was nothing to judge.
    pub value: Option<f64>,
    /// The largest value that passes.
    pub threshold: f64,
    /// How it came out.
    pub outcome: CheckOutcome,
    /// What was seen, where the number alone does not say it.
    pub note: Option<String>,
    /// What to do, where it did not pass.
    pub remedy: Option<String>,
}

/// The verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// The worst outcome of the checks.
    pub verdict: Verdict,
    /// Every check, passed or not.
    pub checks: Vec<Check>,
}

/// Thresholds of the checks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// p99 lateness that always passes, nanoseconds.
    pub lateness_ns: f64,
    /// p99 lateness that passes as a share of the median TTFT: what is too small to be seen in the
    /// latencies does not matter.
    pub lateness_of_ttft: f64,
    /// Times the threshold above which lateness is not suspect but invalid.
    pub hard_factor: f64,
    /// Lateness excused for each request due at the same instant that left before, nanoseconds: the
    /// time to hand one request to the kernel.
    pub per_place_ns: u64,
}

impl Default for Limits {
    /// 1 ms or 2 % of the median TTFT, ten times as much, 50 µs a place.
    fn default() -> Self {
        Limits { lateness_ns: 1e6, lateness_of_ttft: 0.02, hard_factor: 10.0, per_place_ns: 50_000 }
    }
}

/// What the verdict is judged from. Counts so far will do: the same function judges a running run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Evidence {
    /// How arrivals were made; absent counts as an open loop.
    pub model: Option<LoadModel>,
    /// Requests in the schedule.
    pub scheduled: u64,
    /// Requests with an outcome other than `not_sent`.
    pub sent: u64,
    /// Requests with the outcome `not_sent`.
    pub not_sent: u64,
    /// Requests cut when the run ended.
    pub cancelled: u64,
    /// Requests that ended twice.
    pub duplicates: u64,
    /// Requests that no schedule asked for.
    pub strays: u64,
    /// Scheduled requests of a complete journal without a record.
    pub lost: u64,
    /// Whether the journal has its closing line.
    pub complete: bool,
    /// Whether the run was stopped before the schedule's end.
    pub interrupted: bool,
    /// Requests whose lateness is judged.
    pub n_lateness: u64,
    /// p99 of |sent - due| beyond the request's place among those due together, nanoseconds.
    pub lateness_p99_ns: Option<f64>,
    /// Median TTFT, nanoseconds.
    pub median_ttft_ns: Option<f64>,
    /// The cause noted most often for a late request.
    pub main_late_cause: Option<LateCause>,
}

/// Below this the 99th percentile is little else than the largest value.
const FEW: u64 = 100;

/// Judges the measurement.
///
/// | id | statistic | suspect above | invalid above |
/// | --- | --- | --- | --- |
/// | A1 | p99 of \|sent - due\|, beyond the place in a burst | 1 ms or 2 % of the median TTFT, whichever is larger | 10 × that |
/// | A3 | requests missing, double or unknown; 1 more for a journal cut off | | 0 |
/// | D3 | requests cut or left unsent by an interruption | 0 | |
///
/// A1 is over every request handed to the kernel, failed or not, without those whose wait was asked
/// for (a cap on requests in flight, the turn before). *Place*: the n-th of several requests due at
/// one instant cannot leave before the others have, so each is excused 50 µs a request that left
/// before it. A burst of a trace and an all-at-once run are thus judged alike, by how far they are
/// from leaving back to back. In a closed loop a request is due when its place becomes free, and
/// lateness is the tester's own turnaround.
///
/// A1 is blind to the way from the kernel to the network; D3 to requests that a time limit cut.
pub fn judge(evidence: &Evidence, limits: &Limits) -> Validity {
    let checks = vec![lateness(evidence, limits), conservation(evidence), censoring(evidence)];
    let worst = checks.iter().map(|c| c.outcome).max();
    let verdict = match worst {
        Some(CheckOutcome::Invalid) => Verdict::Invalid,
        Some(CheckOutcome::Suspect) => Verdict::Suspect,
        _ => Verdict::Valid,
    };
    Validity { verdict, checks }
}

fn lateness(evidence: &Evidence, limits: &Limits) -> Check {
    let share = evidence.median_ttft_ns.map_or(0.0, |ttft| ttft * limits.lateness_of_ttft);
    let threshold = limits.lateness_ns.max(share);
    let outcome = match evidence.lateness_p99_ns {
        None => CheckOutcome::NotJudged,
        Some(late) if late <= threshold => CheckOutcome::Pass,
        Some(late) if late <= threshold * limits.hard_factor => CheckOutcome::Suspect,
        Some(_) => CheckOutcome::Invalid,
    };
    let statistic = match evidence.model {
        Some(LoadModel::ClosedLoop) => "p99 turnaround from a free place to the next request",
        Some(LoadModel::AllAtOnce) => "p99 lateness beyond leaving back to back",
        _ => "p99 lateness",
    };
    let note = match evidence.n_lateness {
        0 => Some("no request was handed to the kernel".to_owned()),
        1 => Some("one request: its lateness stands for the p99".to_owned()),
        n if n < FEW => Some(format!("{n} requests: the p99 is little else than the largest")),
        _ => None,
    };
    Check {
        id: "A1".to_owned(),
        statistic: statistic.to_owned(),
        unit: "ms".to_owned(),
        value: evidence.lateness_p99_ns.map(|ns| ns / 1e6),
        threshold: threshold / 1e6,
        outcome,
        note,
        remedy: (outcome > CheckOutcome::Pass).then(|| late_remedy(evidence.main_late_cause).to_owned()),
    }
}

fn late_remedy(cause: Option<LateCause>) -> &'static str {
    match cause {
        Some(LateCause::PromptNotReady) => {
            "prompts were not ready in time: shorten the prompts, stretch the trace, or give the tester more cores"
        }
        Some(LateCause::NoConnection) => {
            "connections were not ready in time: check the way to the server, or stretch the trace"
        }
        Some(LateCause::Worker) => {
            "workers were too busy to prepare requests: give the tester more cores, or lower the load"
        }
        Some(LateCause::History | LateCause::Turnaround) => {
            "turns were not ready when the one before them had ended: give the tester more cores, or think time"
        }
        Some(LateCause::Pacer | LateCause::OwnCap | LateCause::ParentTurn) | None => {
            "the tester was not scheduled in time: free a core for it (no other load, no CPU limit), or run it on another machine"
        }
    }
}

fn conservation(evidence: &Evidence) -> Check {
    let balance = evidence.scheduled.abs_diff(evidence.sent + evidence.not_sent);
    // Lost and stray requests also unbalance the sum; each is counted once.
    let named = evidence.lost + evidence.duplicates + evidence.strays;
    let violations = balance.max(named) + u64::from(!evidence.complete);
    let mut notes = Vec::new();
    if !evidence.complete {
        notes.push("the journal has no closing line: the run was cut off".to_owned());
    }
    for (count, what) in [
        (evidence.lost, "without a record"),
        (evidence.duplicates, "recorded twice"),
        (evidence.strays, "recorded that the schedule does not have"),
    ] {
        if count > 0 {
            notes.push(format!("{count} {} {what}", if count == 1 { "request" } else { "requests" }));
        }
    }
    if balance > 0 {
        notes.push(format!(
            "{} scheduled, {} sent and {} not sent do not add up",
            evidence.scheduled, evidence.sent, evidence.not_sent
        ));
    }
    let remedy = match violations {
        0 => None,
        _ if evidence.complete => {
            Some("the journal is damaged or the tester has a fault: run again, and report it if it recurs")
        }
        _ => Some("use the figures as those of an unfinished run; run again for the whole schedule"),
    };
    Check {
        id: "A3".to_owned(),
        statistic: "requests missing, double or unknown, and a journal cut off".to_owned(),
        unit: String::new(),
        value: Some(violations as f64),
        threshold: 0.0,
        outcome: if violations == 0 { CheckOutcome::Pass } else { CheckOutcome::Invalid },
        note: (!notes.is_empty()).then(|| notes.join("; ")),
        remedy: remedy.map(str::to_owned),
    }
}

fn censoring(evidence: &Evidence) -> Check {
    let cut = if evidence.interrupted { evidence.cancelled + evidence.not_sent } else { 0 };
    let note = evidence.interrupted.then(|| {
        format!(
            "interrupted: {} of {} not sent, {} cut while in flight",
            evidence.not_sent, evidence.scheduled, evidence.cancelled
        )
    });
    Check {
        id: "D3".to_owned(),
        statistic: "requests cut or left unsent by an interruption".to_owned(),
        unit: String::new(),
        value: Some(cut as f64),
        threshold: 0.0,
        outcome: if cut == 0 { CheckOutcome::Pass } else { CheckOutcome::Suspect },
        note,
        remedy: (cut > 0).then(|| "let the run end, or ask for less of the trace".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean() -> Evidence {
        Evidence {
            model: Some(LoadModel::OpenLoop),
            scheduled: 500,
            sent: 500,
            complete: true,
            n_lateness: 500,
            lateness_p99_ns: Some(80_000.0),
            median_ttft_ns: Some(20e6),
            ..Evidence::default()
        }
    }

    fn check(evidence: &Evidence, verdict: Verdict, failed: &[&str]) {
        let validity = judge(evidence, &Limits::default());
        let beyond: Vec<&str> = validity
            .checks
            .iter()
            .filter(|c| c.outcome > CheckOutcome::Pass)
            .map(|c| {
                assert!(c.remedy.is_some(), "{c:?} has no remedy");
                c.id.as_str()
            })
            .collect();
        assert_eq!((validity.verdict, beyond.as_slice()), (verdict, failed), "{validity:#?}");
    }

    #[test]
    fn lateness_is_judged_by_its_effect() {
        let late = |ms: f64, ttft_ms: Option<f64>| Evidence {
            lateness_p99_ns: Some(ms * 1e6),
            median_ttft_ns: ttft_ms.map(|t| t * 1e6),
            ..clean()
        };
        check(&late(1.0, None), Verdict::Valid, &[]);
        check(&late(1.1, Some(20.0)), Verdict::Suspect, &["A1"]);
        check(&late(1.1, Some(60.0)), Verdict::Valid, &[]);
        check(&late(10.1, Some(20.0)), Verdict::Invalid, &["A1"]);
        check(&late(10.1, Some(500.0)), Verdict::Suspect, &["A1"]);
        check(&Evidence { lateness_p99_ns: None, n_lateness: 0, ..clean() }, Verdict::Valid, &[]);
    }

    #[test]
    fn what_was_lost_is_invalid() {
        check(&clean(), Verdict::Valid, &[]);
        check(&Evidence { sent: 499, ..clean() }, Verdict::Invalid, &["A3"]);
        check(&Evidence { sent: 499, lost: 1, ..clean() }, Verdict::Invalid, &["A3"]);
        check(&Evidence { sent: 501, duplicates: 1, ..clean() }, Verdict::Invalid, &["A3"]);
        check(&Evidence { sent: 500, strays: 1, lost: 1, ..clean() }, Verdict::Invalid, &["A3"]);
        check(&Evidence { complete: false, ..clean() }, Verdict::Invalid, &["A3"]);
        check(&Evidence { sent: 480, not_sent: 20, ..clean() }, Verdict::Valid, &[]);
    }

    #[test]
    fn an_interruption_that_cut_something_is_suspect() {
        let stopped = Evidence { interrupted: true, ..clean() };
        check(&stopped, Verdict::Valid, &[]);
        check(&Evidence { cancelled: 1, ..stopped }, Verdict::Suspect, &["D3"]);
        check(&Evidence { sent: 480, not_sent: 20, ..stopped }, Verdict::Suspect, &["D3"]);
        check(&Evidence { cancelled: 1, ..clean() }, Verdict::Valid, &[]);
    }
}
