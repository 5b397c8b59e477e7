//! The table of latencies, with an interval below each quantile.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tics_stats::{Distribution, Interval, Quantile, Summary, floor_of};

use crate::layout::{LABEL, end_line, labelled, number};

/// Appends the table of latencies.
///
/// - `full`: the mean gap of each request and the speed of each stream, too.
pub(crate) fn latencies(out: &mut String, summary: &Summary, full: bool) {
    let mut rows: Vec<(&str, &Distribution)> =
        vec![("TTFT", &summary.ttft_ms), ("TTFT from due", &summary.ttft_from_due_ms)];
    rows.extend(summary.ttft_visible_ms.as_ref().map(|d| ("TTFT visible", d)));
    rows.push(("ICL", &summary.icl_ms));
    rows.extend(summary.itl_ms.as_ref().map(|d| ("ITL", d)));
    if full {
        rows.push(("ICL a request", &summary.icl_of_requests_ms));
        rows.extend(summary.itl_of_requests_ms.as_ref().map(|d| ("ITL a request", d)));
    }
    rows.push(("TPOT", &summary.tpot_ms));
    rows.push(("E2E", &summary.e2e_ms));
    rows.push(("E2E from due", &summary.e2e_from_due_ms));
    let population = &summary.population.latency;
    let _ = writeln!(out, "Latency, ms ({population}; 95 % intervals below)");
    table(out, &rows);
    unknown_itl(out, summary);
    if full {
        out.push('\n');
        end_line(out, "One stream, tokens/s (answered requests of two tokens or more)");
        table(out, &[("Speed", &summary.stream_tokens_per_s)]);
    }
}

fn table(out: &mut String, rows: &[(&str, &Distribution)]) {
    let mut line = format!("{:LABEL$}{:>9}", "", "n");
    for name in ["mean", "p50", "p90", "p95", "p99", "max"] {
        let _ = write!(line, "{name:>12}");
    }
    end_line(out, &line);
    // Equal needs are said once, in order of the first row that has them.
    let mut needs: Vec<(String, Vec<&str>)> = Vec::new();
    for (label, d) in rows {
        one_row(out, label, d);
        if let Some(text) = needed(d) {
            match needs.iter_mut().find(|(known, _)| *known == text) {
                Some((_, labels)) => labels.push(label),
                None => needs.push((text, vec![label])),
            }
        }
    }
    for (text, labels) in needs {
        labelled(out, "", &format!("* {}: {text}", labels.join(", ")));
    }
}

fn one_row(out: &mut String, label: &str, d: &Distribution) {
    let missing = if d.infinite > 0 { "∞" } else { "-" };
    let value = |v: Option<f64>| v.map_or_else(|| missing.to_owned(), |v| number(Some(v), 3));
    let mut line = format!("{label:<LABEL$}{:>9}{:>12}", d.n, value(d.mean));
    let mut below = " ".repeat(LABEL + 9 + 12);
    let reliance = d.bounds.intervals().into_iter().zip(d.bounds.needs());
    for (quantile, (interval, needs)) in [d.p50, d.p90, d.p95, d.p99].into_iter().zip(reliance) {
        let star = if needs.is_some() { "*" } else { "" };
        let _ = write!(line, "{:>12}", value(quantile) + star);
        let _ = write!(below, "{:>12}", interval.map_or_else(String::new, range));
    }
    let _ = write!(line, "{:>12}", value(d.max));
    end_line(out, &line);
    if !below.trim().is_empty() {
        end_line(out, &below);
    }
}

/// An interval in at most eleven characters, with as many decimals as fit.
fn range(interval: Interval) -> String {
    let largest = interval.hi.or(interval.lo).unwrap_or(0.0);
    let (unit, letter, decimals) = match largest {
        v if v >= 1e5 => (1e3, "k", 0),
        v if v >= 1e3 => (1.0, "", 0),
        v if v >= 100.0 => (1.0, "", 1),
        v if v >= 10.0 => (1.0, "", 2),
        _ => (1.0, "", 3),
    };
    let text = |v: f64| format!("{}{letter}", number(Some(v / unit), decimals));
    match (interval.lo, interval.hi) {
        (Some(lo), Some(hi)) => format!("{}–{}", text(lo), text(hi)),
        (Some(lo), None) => format!("≥{}", text(lo)),
        (None, Some(hi)) => format!("≤{}", text(hi)),
        (None, None) => String::new(),
    }
}

/// `p95 needs 130 requests, p99 needs 662, had 100`.
fn needed(d: &Distribution) -> Option<String> {
    let had = d.bounds.had?;
    let names = ["p50", "p90", "p95", "p99"];
    let needs: BTreeMap<&str, u64> =
        names.into_iter().zip(d.bounds.needs()).filter_map(|(name, needs)| Some((name, needs?))).collect();
    let mut text = String::new();
    for (name, needs) in needs {
        let unit = if text.is_empty() { " requests" } else { "" };
        let _ = write!(text, "{name} needs {needs}{unit}, ");
    }
    let _ = write!(text, "had {had}");
    let floors = [Quantile::P50, Quantile::P90, Quantile::P95, Quantile::P99].map(floor_of);
    if d.bounds.needs().into_iter().zip(floors).any(|(needs, floor)| needs.is_some_and(|n| n > floor)) {
        text.push_str(" (requests in a row are alike, so each tells less)");
    }
    Some(text)
}

fn unknown_itl(out: &mut String, summary: &Summary) {
    let (known, all) = (summary.itl_requests, summary.icl_requests);
    if known < all {
        let text = match known {
            0 => {
                "ITL is not known: neither the server's counts nor its events show one token a tic".to_owned()
            }
            _ => format!("ITL is over {known} of {all} requests, those that show which tokens came when"),
        };
        end_line(out, &text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_fits_its_column() {
        let check = |lo: f64, hi: f64, expect: &str| {
            assert_eq!(range(Interval { lo: Some(lo), hi: Some(hi) }), expect);
            assert!(expect.chars().count() <= 11);
        };
        check(0.001, 9.999, "0.001–9.999");
        check(1.5, 12.25, "1.50–12.25");
        check(99.0, 999.94, "99.0–999.9");
        check(9_000.4, 99_999.0, "9000–99999");
        check(99_000.0, 1_234_567.0, "99k–1235k");
        assert_eq!(range(Interval { lo: Some(99_999.0), hi: None }), "≥99999");
        assert_eq!(range(Interval { lo: None, hi: Some(5.0) }), "≤5.000");
        assert_eq!(range(Interval::default()), "");
    }
}
