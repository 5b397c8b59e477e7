//! The arguments that say what a run is to achieve, and how its figures count failures.

use clap::{Args, ValueEnum};
use tics_record::Asked;
use tics_stats::{Objective, Slo, Wanted};

/// What the figures are to show beside those that every run has.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Objectives")]
pub struct AskedArgs {
    /// Limits that a request has to keep to, all of them, to count as good: ttft<500ms,tpot<50ms. There
    /// are ttft, ttft_due, ttft_visible, tpot, icl (its largest gap), e2e and e2e_due
    #[arg(long, value_name = "LIMITS", value_parser = slo)]
    pub slo: Option<String>,
    /// Limit of the run: p99(ttft)<500ms, mean(tpot)<50ms, goodput>=5, attainment>=99%, failed<1%,
    /// requests_per_s>5, tokens_per_s>1000; may be repeated. Exit status 1 if one is missed
    #[arg(long, value_name = "LIMIT", value_parser = objective)]
    pub objective: Vec<String>,
    /// Where failed requests stand in the latencies
    #[arg(long, value_enum)]
    pub failed_as: Option<Failed>,
    /// The steady part of the run, seconds after its first request; found unless given
    #[arg(long, value_name = "FROM..TO", value_parser = seconds)]
    pub steady: Option<Seconds>,
}

/// A part of a run.
pub type Seconds = (f64, f64);

/// Where failed requests stand in the latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Failed {
    /// Nowhere: latencies are over answered requests
    Excluded,
    /// At infinity: they never got their tokens
    Inf,
}

impl AskedArgs {
    /// Whether anything of it was given.
    pub fn is_given(&self) -> bool {
        self.slo.is_some() || !self.objective.is_empty() || self.failed_as.is_some() || self.steady.is_some()
    }

    /// What is asked, on top of `recorded`: whatever is given replaces it.
    pub fn over(&self, recorded: &Asked) -> Asked {
        Asked {
            slo: self.slo.clone().or_else(|| recorded.slo.clone()),
            objectives: if self.objective.is_empty() { &recorded.objectives } else { &self.objective }
                .clone(),
            failed_as_inf: self.failed_as.map_or(recorded.failed_as_inf, |f| f == Failed::Inf),
            steady_s: self.steady.or(recorded.steady_s),
        }
    }

    /// What is asked of a new run.
    ///
    /// # Errors
    /// What of it does not go together.
    pub fn asked(&self) -> Result<Asked, tics_stats::ObjectiveError> {
        let asked = self.over(&Asked::default());
        Wanted::parse(&asked).map(|_| asked)
    }
}

// Each is parsed here for its error and kept as text, which run.json records.

fn slo(text: &str) -> Result<String, tics_stats::ObjectiveError> {
    text.parse::<Slo>().map(|slo| slo.to_string())
}

fn objective(text: &str) -> Result<String, tics_stats::ObjectiveError> {
    text.parse::<Objective>().map(|objective| objective.to_string())
}

fn seconds(text: &str) -> Result<Seconds, String> {
    let wrong = || format!("expected two times in seconds such as 10..60, found `{text}`");
    let (from, to) = text.split_once("..").ok_or_else(wrong)?;
    let second = |text: &str| text.trim().parse::<f64>().ok().filter(|s| s.is_finite() && *s >= 0.0);
    let (from, to) = second(from).zip(second(to)).ok_or_else(wrong)?;
    if from < to { Ok((from, to)) } else { Err(format!("`{text}` ends before it starts")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_run() {
        assert_eq!(seconds("1.5..60"), Ok((1.5, 60.0)));
        assert!(seconds("60..1").unwrap_err().contains("ends before"));
        assert!(seconds("-1..2").is_err() && seconds("5").is_err() && seconds("a..b").is_err());
    }

    #[test]
    fn what_is_given_replaces_what_was_recorded() {
        let recorded = Asked { slo: Some("ttft<1s".into()), failed_as_inf: true, ..Asked::default() };
        let none = AskedArgs { slo: None, objective: vec![], failed_as: None, steady: None };
        assert_eq!(none.over(&recorded), recorded);
        let given =
            AskedArgs { failed_as: Some(Failed::Excluded), objective: vec!["goodput>1".into()], ..none };
        let got = given.over(&recorded);
        assert_eq!((got.slo.as_deref(), got.failed_as_inf), (Some("ttft<1s"), false));
        assert_eq!(got.objectives, ["goodput>1"]);
        assert!(given.asked().is_err());
    }
}
