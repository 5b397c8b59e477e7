//! Whether requests and the run achieved what was asked.

use serde::{Deserialize, Serialize};

use crate::effective::inflation;
use crate::interval::{Interval, wilson};
use crate::objective::{Metric, Objective, Slo};
use crate::rows::Row;

/// How many requests kept to the limits a request. A failed request is a miss.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attainment {
    /// The limits, as given.
    pub slo: String,
    /// Requests sent, failed ones included: what `share` is of.
    pub requests: u64,
    /// Requests that kept to every limit.
    pub met: u64,
    /// `met` / `requests`; null without requests.
    pub share: Option<f64>,
    /// Wilson's interval of `share`, on the effective number of requests.
    pub share_ci: Interval,
    /// `met` a second of `duration_s`; null without a duration.
    pub goodput_per_s: Option<f64>,
    /// Each limit alone.
    pub each: Vec<LimitMet>,
}

/// One limit alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LimitMet {
    /// As given.
    pub limit: String,
    /// Requests that kept to it.
    pub met: u64,
    /// Of all; null without requests.
    pub share: Option<f64>,
    /// Wilson's interval of `share`.
    pub share_ci: Interval,
}

/// One limit of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveResult {
    /// As given.
    pub objective: String,
    /// What was found, in `unit`; null where there is nothing to compute it from, and where it is
    /// infinite.
    pub value: Option<f64>,
    /// `ms`, `share`, `requests/s` or `tokens/s`.
    pub unit: String,
    /// The limit, in `unit`.
    pub limit: f64,
    /// Whether it is kept. Without a value it is not.
    pub met: bool,
    /// What to know of the value: that it is infinite, or from too few requests.
    pub note: Option<String>,
}

impl ObjectiveResult {
    /// Judges `value`, which may be infinite.
    pub(crate) fn new(objective: &Objective, value: Option<f64>, note: Option<String>) -> Self {
        let infinite = value.is_some_and(f64::is_infinite);
        let note = if infinite { Some("infinite: too many requests failed".to_owned()) } else { note };
        ObjectiveResult {
            objective: objective.to_string(),
            value: value.filter(|v| v.is_finite()),
            unit: objective.quantity.unit().to_owned(),
            limit: objective.limit,
            met: value.is_some_and(|value| objective.comparison.holds(value, objective.limit)),
            note: if value.is_none() { Some("no request to compute it from".to_owned()) } else { note },
        }
    }
}

/// Judges `requests`, those sent, in order of sending; each with its largest gap (ns) where it has one.
pub(crate) fn attainment<'a>(
    slo: &Slo,
    requests: impl Iterator<Item = (&'a Row, Option<u64>)>,
    duration_s: Option<f64>,
) -> Attainment {
    let mut all: Vec<f64> = Vec::new();
    let mut each: Vec<Vec<f64>> = vec![Vec::new(); slo.limits().len()];
    for (row, largest_gap) in requests {
        let mut good = row.outcome.is_answered();
        for (limit, met) in slo.limits().iter().zip(&mut each) {
            let value = match limit.metric {
                Metric::Icl => largest_gap.map(|ns| ns as f64),
                metric => row.value(metric),
            };
            let keeps = row.outcome.is_answered() && limit.is_met(value);
            met.push(f64::from(u8::from(keeps)));
            good &= keeps;
        }
        all.push(f64::from(u8::from(good)));
    }
    let requests = all.len() as u64;
    let (met, share, share_ci) = share_of(all);
    let each = slo.limits().iter().zip(each).map(|(limit, indicator)| {
        let (met, share, share_ci) = share_of(indicator);
        LimitMet { limit: limit.text.clone(), met, share, share_ci }
    });
    let goodput_per_s = duration_s.filter(|s| *s > 0.0).map(|s| met as f64 / s);
    Attainment { slo: slo.to_string(), requests, met, share, share_ci, goodput_per_s, each: each.collect() }
}

/// How many are 1, their share, and its interval.
fn share_of(indicator: Vec<f64>) -> (u64, Option<f64>, Interval) {
    let n = indicator.len() as f64;
    let met: f64 = indicator.iter().sum();
    if n == 0.0 {
        return (0, None, Interval::default());
    }
    let share = met / n;
    (met as u64, Some(share), wilson(share, n / inflation(indicator)))
}
