//! A calibration as text.

use std::fmt::Write;

use super::Calibration;
use super::figures::{Median, Medians};

/// The tables.
pub fn render(calibration: &Calibration) -> String {
    let mut text = String::new();
    head(calibration, &mut text);
    errors(calibration, &mut text);
    against(calibration, &mut text);
    others(calibration, &mut text);
    text
}

fn head(calibration: &Calibration, out: &mut String) {
    let host = &calibration.host;
    let _ = writeln!(out, "{} cores, {}, {}", host.cores, host.cpu, host.system);
    let _ = match calibration.pinned {
        Some(p) => writeln!(out, "Tics on core {}, the simulated server on core {}", p.client, p.server),
        None => writeln!(out, "Tics and the simulated server share every core"),
    };
    let runs = || calibration.rungs.iter().flat_map(|rung| &rung.tics_runs);
    let worst = |value: fn(&super::TicsFigures) -> Option<f64>| runs().filter_map(value).reduce(f64::max);
    if let (Some(p50), Some(p99)) = (worst(|r| r.truth.write_us.p50), worst(|r| r.truth.write_us.p99)) {
        let _ = writeln!(
            out,
            "truth log: a token left at some instant during its write, which takes {p50:.0} µs (p50) and \
             {p99:.0} µs (p99) on the worst rung"
        );
    }
    let _ = writeln!(out);
}

/// A figure in at most seven places.
fn cell(medians: &Medians, name: &str) -> String {
    medians.get(name).map_or_else(|| "-".to_owned(), |m| number(m.median))
}

fn number(value: f64) -> String {
    match value.abs() {
        v if v < 99.95 => format!("{value:.1}"),
        v if v < 999_999.5 => format!("{value:.0}"),
        _ => format!("{:.1}s", value / 1e6),
    }
}

fn errors(calibration: &Calibration, out: &mut String) {
    if calibration.rungs.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "            arrival - due, µs       TTFT error, µs          ICL error, µs           shared  CPU µs  server late, µs"
    );
    let _ = writeln!(
        out,
        "rung            p50     p99     max     p50     p99     max     p50     p99     max  reads   /event     p50     p99"
    );
    for rung in &calibration.rungs {
        let t = &rung.tics;
        let _ = write!(out, "{:<11}", rung.name);
        for error in ["arrival_us", "ttft_error_us", "icl_error_us"] {
            for statistic in ["p50", "p99", "max"] {
                let _ = write!(out, " {:>7}", cell(t, &format!("{error}.{statistic}")));
            }
        }
        let shared = t.get("shared_share").map_or(0.0, |m| m.median * 100.0);
        let _ = write!(out, " {shared:>5.1}% {:>7}", cell(t, "cpu_us_per_event"));
        let _ = write!(out, " {:>7}", cell(t, "truth_timetable_us.p50"));
        let _ = writeln!(out, " {:>7}", cell(t, "truth_timetable_us.p99"));
        notes(rung, out);
    }
    let _ = writeln!(out);
    let highest = &calibration.within_1_ms;
    let name = |rung: &Option<String>| rung.clone().unwrap_or_else(|| "none".to_owned());
    let _ = writeln!(
        out,
        "p99 of every error within 1 ms up to: streams {}, arrivals {}",
        name(&highest.streams),
        name(&highest.arrivals)
    );
}

/// What a rung's row has no room for.
fn notes(rung: &super::RungResult, out: &mut String) {
    let mut notes = Vec::new();
    let failed: u64 = rung.tics_runs.iter().map(|run| run.failed).sum();
    if failed > 0 {
        notes.push(format!("{failed} requests failed"));
    }
    if rung.name == "burst" {
        let order = rung.tics_runs.iter().all(|run| run.in_order);
        let after = cell(&rung.tics, "handed_over_after_ms");
        notes.push(format!(
            "{} requests handed over after {after} ms, {}",
            rung.requests,
            if order { "in order" } else { "out of order" }
        ));
    }
    if rung.shared_cores {
        notes.push("client and server shared every core".to_owned());
    }
    let mut objections: Vec<&str> =
        rung.tics_runs.iter().flat_map(|run| run.objections.iter().map(String::as_str)).collect();
    objections.sort_unstable();
    objections.dedup();
    if !objections.is_empty() {
        notes.push(format!("Tics objects: {}", objections.join(", ")));
    }
    if !notes.is_empty() {
        let _ = writeln!(out, "            {}", notes.join("; "));
    }
}

fn interval(median: Option<Median>) -> String {
    median.map_or_else(|| "-".to_owned(), |m| format!("{:.2} [{:.2}, {:.2}]", m.median, m.low, m.high))
}

fn against(calibration: &Calibration, out: &mut String) {
    for rung in &calibration.rungs {
        let (Some(ratios), Some(against)) = (&rung.ratios, &rung.against) else { continue };
        let _ = writeln!(out, "\n{}: Tics / {against}, {} pairs", rung.name, rung.tics_runs.len());
        let mut row = |what: &str, name: &str, ratio| {
            let (ours, theirs) = (cell(&rung.tics, name), cell(&rung.other, name));
            let _ = writeln!(out, "  {what:<16} {ours:>8} / {theirs:>8} = {}", interval(ratio));
        };
        row("CPU µs/event", "cpu_us_per_event", ratios.cpu_per_event);
        row("arrival p50 µs", "arrival_us.p50", ratios.arrival_p50);
        row("arrival p99 µs", "arrival_us.p99", ratios.arrival_p99);
    }
}

fn others(calibration: &Calibration, out: &mut String) {
    for flood in &calibration.floods {
        let _ = writeln!(
            out,
            "\n{}: {} streams without pauses, events of {:.0} bytes: {:.0} MB/s through one worker \
             [{:.0}, {:.0}]; the bare client {:.0} MB/s",
            flood.name,
            flood.streams,
            flood.bytes_per_event,
            flood.mb_per_s.median,
            flood.mb_per_s.low,
            flood.mb_per_s.high,
            flood.floor_mb_per_s.median,
        );
    }
    if let Some(memory) = &calibration.memory {
        let _ = writeln!(
            out,
            "\nmemory: {} streams open at once (of {}): {:.0} MB at the most, {:.0} MB before the first",
            memory.max_in_flight, memory.requests, memory.peak_mb, memory.start_mb
        );
    }
    if let Some(growth) = &calibration.million {
        let _ = writeln!(
            out,
            "\nmillion: {} requests: {:.1} MB after a tenth, {:.1} MB at the end, {:+.2} bytes a request \
             between; {:.0} MB while the report was made",
            growth.requests, growth.early_mb, growth.late_mb, growth.bytes_per_request, growth.report_mb
        );
    }
    if let Some(rows) = &calibration.rows {
        let _ = writeln!(
            out,
            "\nrows: a trace of {} rows, {:.0} tokens each: {:.0} MB at the most ({:.0} MB before the report), \
             {:.2} times a tenth of it; {} in flight at the most",
            rows.requests, rows.mean_tokens, rows.whole_mb, rows.sending_mb, rows.ratio, rows.max_in_flight
        );
    }
}
