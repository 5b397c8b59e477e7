//! The steady part, and the tables over time and by length.

use std::fmt::Write as _;

use tics_stats::{LengthClass, Summary};

use crate::layout::{LABEL, end_line, labelled, number};

/// Appends one line on the steady part, where there is one.
pub(crate) fn steady(out: &mut String, summary: &Summary) {
    let Some(steady) = &summary.steady else { return };
    let two = |d: &tics_stats::Distribution| format!("{} / {}", number(d.p50, 1), number(d.p99, 1));
    let text = format!(
        "{:.1} to {:.1} s ({}): {} requests, {} answered; TTFT p50 / p99 {} ms, E2E {} ms; {:.1} tokens/s, {:.3} requests/s, {:.1} in \
         flight",
        steady.from_s,
        steady.to_s,
        if steady.declared { "as given" } else { "found" },
        steady.requests,
        steady.answered,
        two(&steady.ttft_ms),
        two(&steady.e2e_ms),
        steady.tokens_per_s,
        steady.requests_per_s,
        steady.in_flight,
    );
    labelled(out, "Steady", &text);
}

/// Appends the long tables.
pub(crate) fn long_tables(out: &mut String, summary: &Summary) {
    if !summary.windows.is_empty() {
        out.push('\n');
        windows(out, summary);
    }
    for (title, classes) in [
        ("By input length, tokens as asked (latencies: answered requests)", &summary.by_input_length),
        ("By output length, tokens as asked (latencies: answered requests)", &summary.by_output_length),
    ] {
        if !classes.is_empty() {
            out.push('\n');
            lengths(out, title, classes);
        }
    }
}

fn windows(out: &mut String, summary: &Summary) {
    end_line(
        out,
        "Over time (requests by when they were due, tokens by when they came; TTFT of answered requests, ms)",
    );
    let mut line = format!("{:<LABEL$}{:>9}", "", "requests");
    for name in ["failed", "TTFT p50", "TTFT p99", "tokens/s", "in flight"] {
        let _ = write!(line, "{name:>12}");
    }
    end_line(out, &line);
    for w in &summary.windows {
        let mut line = format!("{:<LABEL$}{:>9}", format!("{:.0} to {:.0} s", w.from_s, w.to_s), w.requests);
        let _ = write!(line, "{:>12}", w.failed);
        for (value, decimals) in
            [(w.ttft_p50_ms, 1), (w.ttft_p99_ms, 1), (Some(w.tokens_per_s), 1), (Some(w.in_flight), 2)]
        {
            let _ = write!(line, "{:>12}", number(value, decimals));
        }
        end_line(out, &line);
    }
}

fn lengths(out: &mut String, title: &str, classes: &[LengthClass]) {
    end_line(out, title);
    let mut line = format!("{:<LABEL$}{:>9}{:>8}", "", "requests", "failed");
    for name in ["TTFT p50", "p99", "TPOT p50", "p99", "E2E p50", "p99"] {
        let _ = write!(line, "{name:>11}");
    }
    end_line(out, &line);
    for class in classes {
        let label = match class.to {
            Some(to) => format!("{} to {to}", class.from),
            None => format!("{} or more", class.from),
        };
        let mut line = format!("{label:<LABEL$}{:>9}{:>8}", class.requests, class.failed);
        let (ttft, tpot) = ([class.ttft_p50_ms, class.ttft_p99_ms], [class.tpot_p50_ms, class.tpot_p99_ms]);
        for (pair, decimals) in [(ttft, 1), (tpot, 2), ([class.e2e_p50_ms, class.e2e_p99_ms], 1)] {
            for value in pair {
                let _ = write!(line, "{:>11}", number(value, decimals));
            }
        }
        end_line(out, &line);
    }
}
