//! mini-sglang's figures as text.

use std::fmt::Write as _;

use tics_stats::definitions::minisgl::{Figures, FloorDistribution};

use crate::layout::{LABEL, counted, end_line, labelled, number};

/// The figures of a run under mini-sglang's definitions.
pub fn render_minisgl(figures: &Figures) -> String {
    let mut out = String::new();
    end_line(&mut out, &format!("mini-sglang's definitions ({})", figures.population));
    let mut text = format!("{}, {}", counted(figures.requests, "request"), counted(figures.tokens, "token"));
    text.push_str(" (one an event, and one for the response's head)");
    if figures.left_out > 0 {
        let _ = write!(text, "; {} left out: failed, or without an event", figures.left_out);
    }
    labelled(&mut out, "Requests", &text);
    let text = format!(
        "{} s; {} tokens/s, {} requests/s",
        number(figures.duration_s, 3),
        number(figures.tokens_per_s, 3),
        number(figures.requests_per_s, 4)
    );
    labelled(&mut out, "Throughput", &text);
    let mut line = format!("{:LABEL$}", "");
    for name in ["avg", "p50", "p90", "p99", "max"] {
        let _ = write!(line, "{name:>12}");
    }
    end_line(&mut out, &line);
    row(&mut out, "TTFT, ms", figures.ttft_ms.as_ref(), 3, "first event - head");
    row(&mut out, "TPOT, ms", figures.tpot_ms.as_ref(), 3, "all later gaps, pooled");
    row(&mut out, "E2E, s", figures.e2e_s.as_ref(), 6, "last event - head");
    out
}

fn row(out: &mut String, label: &str, d: Option<&FloorDistribution>, decimals: usize, formula: &str) {
    let mut line = format!("{label:<LABEL$}");
    let values = d.map_or([None; 5], |d| [d.mean, d.p50, d.p90, d.p99, d.max].map(Some));
    for value in values {
        let _ = write!(line, "{:>12}", number(value, decimals));
    }
    let _ = write!(line, "  {formula}");
    end_line(out, &line);
}
