//! Limits a request and limits a run, and what became of them.

use std::fmt::Write as _;

use tics_stats::{Attainment, Interval, ObjectiveResult, Summary};

use crate::layout::{counted, labelled, number};

/// Whether there is anything to show.
pub(crate) fn any_asked(summary: &Summary) -> bool {
    summary.slo.is_some() || !summary.objectives.is_empty()
}

/// Appends goodput and objectives.
pub(crate) fn achieved(out: &mut String, summary: &Summary) {
    if let Some(slo) = &summary.slo {
        goodput(out, slo);
    }
    for result in &summary.objectives {
        objective(out, result);
    }
}

fn goodput(out: &mut String, slo: &Attainment) {
    let text = format!(
        "{} requests/s met {}: {}{} of {} sent (a failed one is a miss)",
        number(slo.goodput_per_s, 3),
        slo.slo,
        percent(slo.share),
        interval(slo.share_ci),
        counted(slo.requests, "request"),
    );
    labelled(out, "Goodput", &text);
    if slo.each.len() > 1 {
        let each: Vec<String> = slo
            .each
            .iter()
            .map(|limit| format!("{} {}{}", limit.limit, percent(limit.share), interval(limit.share_ci)))
            .collect();
        labelled(out, "", &each.join("; "));
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", 100.0 * share))
}

fn interval(ci: Interval) -> String {
    match (ci.lo, ci.hi) {
        (Some(lo), Some(hi)) => format!(" [{:.1}, {:.1}]", 100.0 * lo, 100.0 * hi),
        _ => String::new(),
    }
}

fn objective(out: &mut String, result: &ObjectiveResult) {
    let value = match (result.unit.as_str(), result.value) {
        (_, None) => "no value".to_owned(),
        ("share", Some(share)) => format!("{:.2} %", 100.0 * share),
        (unit, Some(value)) => format!("{value:.3} {unit}"),
    };
    let mut text = format!("{}: {value}", result.objective);
    if let Some(note) = &result.note {
        let _ = write!(text, " ({note})");
    }
    labelled(out, if result.met { "Met" } else { "MISSED" }, &text);
}
