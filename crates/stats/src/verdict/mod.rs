//! The verdict on the measurement: one pure function of what the journal shows.
//!
//! A check is a number, the largest value of it that passes, and a larger one above which the figures
//! are not to be used. Thresholds follow the latencies reported: a stall of 3 ms is nothing to a TTFT of
//! 2 s and a third of an ICL of 10 ms.

mod data;
mod numbers;
mod reader;
mod schedule;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tics_record::{LateCause, LoadModel};

use crate::CacheComparison;
use crate::evidence::{Lengths, Timing, Trend};

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
    /// Stable name, one of [`CHECKS`].
    pub id: String,
    /// What was looked at.
    pub statistic: String,
    /// Unit of `value` and `threshold`; empty for counts.
    pub unit: String,
    /// What was found; null if there was nothing to judge.
    pub value: Option<f64>,
    /// The largest value that passes.
    pub threshold: f64,
    /// Above this the figures are not to be used; null where the check can only make them suspect.
    #[serde(default)]
    pub hard: Option<f64>,
    /// How it came out.
    pub outcome: CheckOutcome,
    /// What was seen, where the number alone does not say it.
    pub note: Option<String>,
    /// What to do, where it did not pass.
    pub remedy: Option<String>,
    /// What it cannot see.
    #[serde(default)]
    pub blind_to: String,
}

/// The verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// The worst outcome of the checks.
    pub verdict: Verdict,
    /// Every check, passed or not.
    pub checks: Vec<Check>,
}

impl Validity {
    /// Ids of the checks that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &str> {
        self.checks.iter().filter(|c| c.outcome > CheckOutcome::Pass).map(|c| c.id.as_str())
    }
}

/// A check as it is known before any run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckInfo {
    /// Stable name.
    pub id: &'static str,
    /// Unit of its value and threshold; empty for counts.
    pub unit: &'static str,
    /// What it cannot see.
    pub blind_to: &'static str,
}

const fn info(id: &'static str, unit: &'static str, blind_to: &'static str) -> CheckInfo {
    CheckInfo { id, unit, blind_to }
}

/// Every check, in the order in which they are judged. `docs/validity.md` explains each.
pub const CHECKS: [CheckInfo; 16] = [
    info("A1", "ms", "the way from the kernel to the network"),
    info("A2a", "%", "the order of requests"),
    info("A2b", "%", "the order of requests within a second"),
    info("A3", "", "nothing"),
    info("A4a", "ms", "a lateness that is always the same"),
    info("A4b", "ms", "a lateness that is always the same"),
    info("A5", "%", "lumps smaller than the schedule's own largest"),
    info("B3c", "ms", "platforms whose kernel does not stamp reads"),
    info("C1a", "", "an error that all stamps share"),
    info("C1c", "%", "servers that count too many tokens"),
    info("C3a", "%", "by how much: the counts of tokens say it"),
    info("C3b", "%", "lengths that differ both ways and cancel out"),
    info("C3c", "%", "servers that do not say what they had cached, or forget as much of it"),
    info("D1", "%", "traces: they are not stationary by design"),
    info("D2", "", "requests that depend on each other"),
    info("D3", "", "requests that a time limit cut"),
];

/// What is known of check `id`.
pub fn check_info(id: &str) -> Option<CheckInfo> {
    CHECKS.iter().find(|info| info.id == id).copied()
}

/// Thresholds of the checks.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// p99 lateness that always passes, nanoseconds.
    pub lateness_ns: f64,
    /// p99 lateness that passes as a share of the median TTFT: what is too small to be seen in the
    /// latencies does not matter.
    pub lateness_of_ttft: f64,
    /// Times the threshold above which a delay is not suspect but invalid.
    pub hard_factor: f64,
    /// Lateness excused for each request due at the same instant that left before, nanoseconds: the
    /// time to hand one request to the kernel.
    pub per_place_ns: u64,
    /// Error of a latency that matters, as a share of it.
    pub effect: f64,
    /// Stall that never matters, nanoseconds.
    pub stall_ns: f64,
    /// Thresholds changed by hand, by the check's id, in its unit; none switches it off.
    pub changed: BTreeMap<String, Option<f64>>,
}

impl Default for Limits {
    /// 1 ms or 2 % of the median TTFT, ten times as much, 50 µs a place; 5 % of a latency, 0.5 ms.
    fn default() -> Self {
        Limits {
            lateness_ns: 1e6,
            lateness_of_ttft: 0.02,
            hard_factor: 10.0,
            per_place_ns: 50_000,
            effect: 0.05,
            stall_ns: 0.5e6,
            changed: BTreeMap::new(),
        }
    }
}

impl Limits {
    /// The defaults with the thresholds in `changed` instead.
    pub fn changed_by(changed: &BTreeMap<String, Option<f64>>) -> Self {
        Limits { changed: changed.clone(), ..Limits::default() }
    }

    /// Largest p99 lateness that passes, nanoseconds.
    pub fn lateness(&self, median_ttft_ns: Option<f64>) -> f64 {
        let share = median_ttft_ns.map_or(0.0, |ttft| ttft * self.lateness_of_ttft);
        let by_effect = self.lateness_ns.max(share);
        self.changed.get("A1").copied().flatten().map_or(by_effect, |ms| ms * 1e6)
    }
}

/// What the verdict is judged from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evidence {
    /// How arrivals were made; absent counts as an open loop.
    pub model: Option<LoadModel>,
    /// Requests in the schedule.
    pub scheduled: u64,
    /// Requests with an outcome other than `not_sent`.
    pub sent: u64,
    /// Requests with the outcome `not_sent`.
    pub not_sent: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Of these, with fewer tokens than asked.
    pub short: u64,
    /// With more.
    pub long: u64,
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
    /// Median gap between tics, nanoseconds.
    pub median_icl_ns: Option<f64>,
    /// The cause noted most often for a late request.
    pub main_late_cause: Option<LateCause>,
    /// How the schedule was realised.
    pub timing: Timing,
    /// Median over the requests of the p99 of their reads' delay, nanoseconds; none where the kernel stamped
    /// no read.
    pub read_delay_p99_ns: Option<f64>,
    /// Stamps that are earlier than the one before them in their record.
    pub broken_stamps: u64,
    /// Lengths and tokens.
    pub lengths: Lengths,
    /// Tokens that the server's chat template adds to a prompt that was made; none where not known.
    pub template_tokens: Option<u32>,
    /// What a prefix cache was expected to find and found; none where the server may know the prompts from
    /// before the run.
    pub cache: Option<CacheComparison>,
    /// TTFT over the time of a closed loop.
    pub trend: Option<Trend>,
}

impl Evidence {
    /// The smallest median among the latencies reported, nanoseconds: what a delay of the tester is
    /// compared with.
    pub fn smallest_latency_ns(&self) -> Option<f64> {
        let all = [self.median_ttft_ns, self.median_icl_ns];
        all.into_iter().flatten().reduce(f64::min)
    }
}

/// Judges the measurement.
///
/// Every check of [`CHECKS`] is in the result; `docs/validity.md` has the table of
/// statistics, thresholds, blind spots and remedies. The verdict is the worst outcome.
pub fn judge(evidence: &Evidence, limits: &Limits) -> Validity {
    let mut checks = schedule::checks(evidence, limits);
    checks.push(reader::check(evidence, limits));
    checks.extend(numbers::checks(evidence, limits));
    checks.extend(data::checks(evidence, limits));
    let verdict = match checks.iter().map(|c| c.outcome).max() {
        Some(CheckOutcome::Invalid) => Verdict::Invalid,
        Some(CheckOutcome::Suspect) => Verdict::Suspect,
        _ => Verdict::Valid,
    };
    Validity { verdict, checks }
}

/// A check on its way to its outcome.
struct Judged {
    id: &'static str,
    statistic: String,
    value: Option<f64>,
    limit: f64,
    hard: Option<f64>,
    note: Option<String>,
    remedy: String,
}

impl Judged {
    /// `value` of `statistic`, passing up to `limit`.
    fn new(id: &'static str, statistic: impl Into<String>, value: Option<f64>, limit: f64) -> Self {
        let (hard, note, remedy) = (None, None, String::new());
        Judged { id, statistic: statistic.into(), value, limit, hard, note, remedy }
    }

    /// Invalid above `hard`.
    fn hard(mut self, hard: f64) -> Self {
        self.hard = Some(hard);
        self
    }

    fn note(mut self, note: impl Into<Option<String>>) -> Self {
        self.note = note.into();
        self
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = remedy.into();
        self
    }

    fn check(self, limits: &Limits) -> Check {
        let CheckInfo { unit, blind_to, .. } = check_info(self.id).unwrap_or(info(self.id, "", ""));
        let (mut limit, mut hard, mut note) = (self.limit, self.hard, self.note);
        let off = match limits.changed.get(self.id) {
            None => false,
            Some(None) => {
                note = Some(format!("switched off (--check {}=off)", self.id));
                true
            }
            Some(Some(by_hand)) => {
                // The two keep their distance.
                hard = hard.map(|h| if limit > 0.0 { h / limit * by_hand } else { h.max(*by_hand) });
                limit = *by_hand;
                false
            }
        };
        let outcome = match self.value {
            _ if off => CheckOutcome::NotJudged,
            None => CheckOutcome::NotJudged,
            Some(value) if value <= limit => CheckOutcome::Pass,
            Some(value) if hard.is_some_and(|hard| value > hard) => CheckOutcome::Invalid,
            Some(_) => CheckOutcome::Suspect,
        };
        Check {
            id: self.id.to_owned(),
            statistic: self.statistic,
            unit: unit.to_owned(),
            value: self.value,
            threshold: limit,
            hard,
            outcome,
            note,
            remedy: (outcome > CheckOutcome::Pass).then_some(self.remedy),
            blind_to: blind_to.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
