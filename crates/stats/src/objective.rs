//! What a run is asked to achieve: limits a request, and limits a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tics_record::{Asked, RunDescription};

use crate::Quantile;

/// A latency of a request. In an objective of a run, its distribution over requests; for
/// [`Metric::Icl`] and [`Metric::Itl`] over all gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// First tic - sent.
    Ttft,
    /// First tic - due.
    TtftDue,
    /// First visible tic - sent.
    TtftVisible,
    /// (last tic - first tic) / (output tokens - 1).
    Tpot,
    /// Gap between neighbouring tics; of a request, the largest.
    Icl,
    /// Gap between neighbouring tokens; of runs only, as it is not known for every request.
    Itl,
    /// Last event - sent.
    E2e,
    /// Last event - due.
    E2eDue,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 8] = [
        Metric::Ttft,
        Metric::TtftDue,
        Metric::TtftVisible,
        Metric::Tpot,
        Metric::Icl,
        Metric::Itl,
        Metric::E2e,
        Metric::E2eDue,
    ];

    /// The name in an objective.
    pub const fn name(self) -> &'static str {
        match self {
            Metric::Ttft => "ttft",
            Metric::TtftDue => "ttft_due",
            Metric::TtftVisible => "ttft_visible",
            Metric::Tpot => "tpot",
            Metric::Icl => "icl",
            Metric::Itl => "itl",
            Metric::E2e => "e2e",
            Metric::E2eDue => "e2e_due",
        }
    }

    fn parse(text: &str) -> Result<Self, ObjectiveError> {
        let found = Metric::ALL.into_iter().find(|m| m.name() == text);
        found.ok_or_else(|| ObjectiveError::Metric(text.to_owned()))
    }
}

/// Why text is no objective.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// No comparison in it.
    #[error("`{0}`: expected a comparison such as {1}")]
    NoComparison(String, &'static str),
    /// An unknown latency.
    #[error("no latency `{0}`; there are ttft, ttft_due, ttft_visible, tpot, icl, itl, e2e and e2e_due")]
    Metric(String),
    /// A request's limit on something that not every request shows.
    #[error(
        "itl is not known for every request; a request's limit can be on tpot (its mean) or icl (its largest gap)"
    )]
    ItlOfRequest,
    /// A request's limit from below.
    #[error("`{0}`: a request's latency can only be limited from above, as in ttft<500ms")]
    FromBelow(String),
    /// No time.
    #[error("`{0}` is no time: expected a number with us, ms or s, such as 500ms")]
    Time(String),
    /// No number.
    #[error("`{0}` is no number: expected one such as 0.99, 99% or 1200")]
    Number(String),
    /// An unknown quantity of a run.
    #[error(
        "no quantity `{0}`; there are p50(LATENCY) to p99.99(LATENCY), mean(LATENCY), max(LATENCY), goodput, attainment, failed, \
         requests_per_s and tokens_per_s"
    )]
    Quantity(String),
    /// Goodput without limits a request.
    #[error("`{0}` needs --slo: it counts the requests that met it")]
    NoSlo(String),
}

/// How a value is compared with its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
}

impl Comparison {
    /// Whether `value` keeps to `limit`.
    pub fn holds(self, value: f64, limit: f64) -> bool {
        match self {
            Comparison::Below => value < limit,
            Comparison::AtMost => value <= limit,
            Comparison::Above => value > limit,
            Comparison::AtLeast => value >= limit,
        }
    }
}

/// Left side, comparison, right side.
fn split<'a>(text: &'a str, example: &'static str) -> Result<(&'a str, Comparison, &'a str), ObjectiveError> {
    let none = || ObjectiveError::NoComparison(text.trim().to_owned(), example);
    let at = text.find(['<', '>']).ok_or_else(none)?;
    let (left, rest) = text.split_at(at);
    let (comparison, right) = match (rest.strip_prefix("<="), rest.strip_prefix(">=")) {
        (Some(right), _) => (Comparison::AtMost, right),
        (_, Some(right)) => (Comparison::AtLeast, right),
        _ if rest.starts_with('<') => (Comparison::Below, &rest[1..]),
        _ => (Comparison::Above, &rest[1..]),
    };
    if left.trim().is_empty() || right.trim().is_empty() {
        return Err(none());
    }
    Ok((left.trim(), comparison, right.trim()))
}

/// A time in nanoseconds.
fn time(text: &str) -> Result<f64, ObjectiveError> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = match text[digits.len()..].trim() {
        "us" | "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return Err(ObjectiveError::Time(text.to_owned())),
    };
    let value: f64 = digits.trim().parse().map_err(|_| ObjectiveError::Time(text.to_owned()))?;
    let ns = value * unit;
    if ns.is_finite() && ns >= 0.0 { Ok(ns) } else { Err(ObjectiveError::Time(text.to_owned())) }
}

/// A percentage as a share: 99.9 / 100 is not the float nearest to 0.999.
fn hundredth(percent: f64) -> f64 {
    (percent * 1e10).round() / 1e12
}

/// A number, or a share in percent.
fn number(text: &str) -> Result<f64, ObjectiveError> {
    let (digits, unit) = text.strip_suffix('%').map_or((text, 1.0), |digits| (digits, 100.0));
    let value = digits.trim().parse::<f64>().ok().filter(|v| v.is_finite());
    value.map(|v| v / unit).ok_or_else(|| ObjectiveError::Number(text.to_owned()))
}

/// Limits that a request has to keep to, all of them, to count as good: `ttft<500ms,tpot<50ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Slo {
    text: String,
    limits: Vec<Limit>,
}

/// One limit of a [`Slo`].
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    /// As written.
    pub text: String,
    /// Of which latency.
    pub metric: Metric,
    /// Strictly or not.
    pub comparison: Comparison,
    /// Nanoseconds.
    pub ns: f64,
}

impl Limit {
    /// Whether a request with that latency keeps to it. One that has none (no TPOT with a single token)
    /// does.
    pub fn is_met(&self, ns: Option<f64>) -> bool {
        ns.is_none_or(|ns| self.comparison.holds(ns, self.ns))
    }
}

impl Slo {
    /// Its limits.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }
}

impl FromStr for Slo {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let limit = |part: &str| {
            let (left, comparison, right) = split(part, "ttft<500ms,tpot<50ms")?;
            let metric = Metric::parse(left)?;
            if metric == Metric::Itl {
                return Err(ObjectiveError::ItlOfRequest);
            }
            if matches!(comparison, Comparison::Above | Comparison::AtLeast) {
                return Err(ObjectiveError::FromBelow(part.trim().to_owned()));
            }
            Ok(Limit { text: part.trim().to_owned(), metric, comparison, ns: time(right)? })
        };
        let limits = text.split(',').map(limit).collect::<Result<_, _>>()?;
        Ok(Slo { text: text.trim().to_owned(), limits })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What an objective of a run limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Quantity {
    /// A quantile of a latency.
    Quantile(Quantile, Metric),
    /// Its mean.
    Mean(Metric),
    /// Its largest value.
    Max(Metric),
    /// Requests that met the limits a request, a second.
    Goodput,
    /// Their share of the requests sent.
    Attainment,
    /// Share of the requests sent that failed.
    Failed,
    /// Answered requests a second.
    RequestsPerS,
    /// Output tokens of answered requests a second.
    TokensPerS,
}

impl Quantity {
    /// Unit in print and in JSON.
    pub const fn unit(self) -> &'static str {
        match self {
            Quantity::Quantile(..) | Quantity::Mean(_) | Quantity::Max(_) => "ms",
            Quantity::Attainment | Quantity::Failed => "share",
            Quantity::Goodput | Quantity::RequestsPerS => "requests/s",
            Quantity::TokensPerS => "tokens/s",
        }
    }

    fn parse(text: &str) -> Result<Self, ObjectiveError> {
        let unknown = || ObjectiveError::Quantity(text.to_owned());
        match text {
            "goodput" => return Ok(Quantity::Goodput),
            "attainment" => return Ok(Quantity::Attainment),
            "failed" => return Ok(Quantity::Failed),
            "requests_per_s" => return Ok(Quantity::RequestsPerS),
            "tokens_per_s" => return Ok(Quantity::TokensPerS),
            _ => {}
        }
        let (function, inside) = text.split_once('(').ok_or_else(unknown)?;
        let inside = inside.strip_suffix(')').ok_or_else(unknown)?;
        let metric = Metric::parse(inside.trim())?;
        match function.trim() {
            "mean" => Ok(Quantity::Mean(metric)),
            "max" => Ok(Quantity::Max(metric)),
            function => {
                let percent = function.strip_prefix('p').and_then(|p| p.parse::<f64>().ok());
                let q =
                    percent.filter(|p| (0.0..100.0).contains(p)).and_then(|p| Quantile::new(hundredth(p)));
                q.map(|q| Quantity::Quantile(q, metric)).ok_or_else(unknown)
            }
        }
    }
}

/// A limit that a run has to keep to: `p99(ttft)<500ms`, `failed<1%`, `goodput>=5`.
#[derive(Debug, Clone, PartialEq)]
pub struct Objective {
    text: String,
    /// What it limits.
    pub quantity: Quantity,
    /// From above or from below.
    pub comparison: Comparison,
    /// Milliseconds for latencies, otherwise a number in the quantity's unit.
    pub limit: f64,
}

impl FromStr for Objective {
    type Err = ObjectiveError;

    fn from_str(text: &str) -> Result<Self, ObjectiveError> {
        let (left, comparison, right) = split(text, "'p99(ttft)<500ms'")?;
        let quantity = Quantity::parse(left)?;
        let limit = if quantity.unit() == "ms" { time(right)? / 1e6 } else { number(right)? };
        Ok(Objective { text: text.trim().to_owned(), quantity, comparison, limit })
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where a failed request stands among the latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedAs {
    /// Nowhere: latencies are over answered requests.
    #[default]
    Excluded,
    /// At infinity: it never got its tokens.
    Inf,
}

/// What is asked of the figures beside those that every run has.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wanted {
    /// Limits a request.
    pub slo: Option<Slo>,
    /// Limits a run.
    pub objectives: Vec<Objective>,
    /// Where failed requests stand.
    pub failed_as: FailedAs,
    /// The steady window, seconds after the first request was due, end excluded; found unless given.
    pub steady_s: Option<(f64, f64)>,
}

impl Wanted {
    /// What the run's description recorded.
    ///
    /// # Errors
    /// Those of the texts in it.
    pub fn of_run(run: &RunDescription) -> Result<Self, ObjectiveError> {
        Self::parse(&run.asked)
    }

    /// From the texts of a command line.
    ///
    /// # Errors
    /// [`ObjectiveError`]: which text is not understood, and what is expected.
    pub fn parse(asked: &Asked) -> Result<Self, ObjectiveError> {
        let slo: Option<Slo> = asked.slo.as_deref().map(str::parse).transpose()?;
        let objectives: Vec<Objective> =
            asked.objectives.iter().map(|text| text.parse()).collect::<Result<_, _>>()?;
        let counts_good = |o: &&Objective| matches!(o.quantity, Quantity::Goodput | Quantity::Attainment);
        if let (None, Some(objective)) = (&slo, objectives.iter().find(counts_good)) {
            return Err(ObjectiveError::NoSlo(objective.to_string()));
        }
        let failed_as = if asked.failed_as_inf { FailedAs::Inf } else { FailedAs::Excluded };
        Ok(Wanted { slo, objectives, failed_as, steady_s: asked.steady_s })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn limits_a_request() {
        let slo: Slo = " ttft<500ms, tpot<=0.05s,icl < 1e3us".parse().unwrap();
        let limits: Vec<_> = slo.limits().iter().map(|l| (l.metric, l.comparison, l.ns)).collect();
        assert_eq!(
            limits,
            [
                (Metric::Ttft, Comparison::Below, 5e8),
                (Metric::Tpot, Comparison::AtMost, 5e7),
                (Metric::Icl, Comparison::Below, 1e6)
            ]
        );
        assert_eq!(slo.to_string(), "ttft<500ms, tpot<=0.05s,icl < 1e3us");
        assert!(slo.limits()[0].is_met(None) && !slo.limits()[0].is_met(Some(5e8)));
        assert!(slo.limits()[1].is_met(Some(5e7)));
    }

    #[test]
    fn limits_a_run() {
        let check = |text: &str, quantity, comparison, limit| {
            let got: Objective = text.parse().unwrap();
            assert_eq!((got.quantity, got.comparison, got.limit), (quantity, comparison, limit), "{text}");
        };
        let p999 = Quantile::new(0.999).unwrap();
        check("p99(ttft)<500ms", Quantity::Quantile(Quantile::P99, Metric::Ttft), Comparison::Below, 500.0);
        check("p99.9( e2e_due ) <= 2s", Quantity::Quantile(p999, Metric::E2eDue), Comparison::AtMost, 2000.0);
        check("mean(tpot)<20ms", Quantity::Mean(Metric::Tpot), Comparison::Below, 20.0);
        check("max(icl)<1s", Quantity::Max(Metric::Icl), Comparison::Below, 1000.0);
        check("failed<1%", Quantity::Failed, Comparison::Below, 0.01);
        check("attainment>=0.95", Quantity::Attainment, Comparison::AtLeast, 0.95);
        check("goodput>5", Quantity::Goodput, Comparison::Above, 5.0);
        check("tokens_per_s>1e3", Quantity::TokensPerS, Comparison::Above, 1000.0);
    }

    #[test]
    fn what_is_not_understood_is_said() {
        let slo = |text: &str, expect: &str| {
            let error = text.parse::<Slo>().unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        slo("", "such as ttft<500ms,tpot<50ms");
        slo("ttft", "`ttft`: expected a comparison");
        slo("ttft<500ms,", "expected a comparison");
        slo("ttft<", "expected a comparison");
        slo("ttft<500", "`500` is no time");
        slo("ttft<-5ms", "`-5ms` is no time");
        slo("ttft<NaNms", "is no time");
        slo("latency<5ms", "no latency `latency`; there are ttft,");
        slo("ttft>5ms", "only be limited from above");
        slo("itl<5ms", "tpot (its mean) or icl (its largest gap)");
        let objective = |text: &str, expect: &str| {
            let error = text.parse::<Objective>().unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        };
        objective("p99(ttft)", "expected a comparison such as 'p99(ttft)<500ms'");
        objective("ttft<500ms", "no quantity `ttft`; there are p50(LATENCY)");
        objective("p101(ttft)<5ms", "no quantity `p101(ttft)`");
        objective("p99(ttft<5ms", "no quantity");
        objective("median(ttft)<5ms", "no quantity");
        objective("p99(foo)<5ms", "no latency `foo`");
        objective("failed<few", "`few` is no number");
        let asked = Asked { objectives: vec!["goodput>5".to_owned()], ..Asked::default() };
        assert_eq!(
            Wanted::parse(&asked).unwrap_err().to_string(),
            "`goodput>5` needs --slo: it counts the requests that met it"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[a-z0-9_().<>=,%µ ]{0,20}|\\PC{0,12}") {
            let _either = text.parse::<Slo>();
            let _either = text.parse::<Objective>();
        }
    }
}
