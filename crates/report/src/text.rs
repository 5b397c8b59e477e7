//! The report of one run as plain text.

use std::fmt::Write as _;

use tics_record::{Outcome, RunDescription};
use tics_stats::{Channels, Check, CheckOutcome, Summary, TokenCount};

use crate::achieved::{achieved, any_asked};
use crate::latency::latencies;
use crate::layout::{LABEL, counted, end_line, heading, labelled, number, row, shorten};
use crate::tables::{long_tables, steady};

/// Longest excerpt of a failure's detail.
const EXCERPT: usize = 240;

/// The report of one run: the verdict first, then what was run, the counts, the latencies, what was
/// asked of the run, the tester itself, and an example of each failure.
///
/// At most 100 columns for what this program writes; a longer word (an address, a path) is not broken.
pub fn render(summary: &Summary, run: &RunDescription) -> String {
    report(summary, run, false)
}

/// The same report with the long tables: over time, by length, a stream and a request.
pub fn render_full(summary: &Summary, run: &RunDescription) -> String {
    report(summary, run, true)
}

fn report(summary: &Summary, run: &RunDescription, full: bool) -> String {
    let mut out = String::new();
    verdict(&mut out, summary, &run.name, full);
    out.push('\n');
    what_was_run(&mut out, run);
    out.push('\n');
    counts(&mut out, summary);
    crate::workload::cache(&mut out, summary, run);
    out.push('\n');
    latencies(&mut out, summary, full);
    out.push('\n');
    if any_asked(summary) {
        achieved(&mut out, summary);
        out.push('\n');
    }
    if let Some(turns) = &summary.turns {
        crate::turns::turns(&mut out, turns);
        out.push('\n');
    }
    tester(&mut out, summary);
    if full {
        long_tables(&mut out, summary);
    }
    if !summary.examples.is_empty() {
        out.push('\n');
        failures(&mut out, summary);
    }
    out
}

/// What did not pass, with its number, its limit and the remedy; then what passed with a note; then the
/// names of what passed, and how many had nothing to judge (`full`: which).
fn verdict(out: &mut String, summary: &Summary, run: &str, full: bool) {
    let validity = &summary.validity;
    labelled(out, validity.verdict.name(), run);
    let mut worst_first: Vec<&Check> = validity.checks.iter().collect();
    worst_first.sort_by_key(|check| std::cmp::Reverse(check.outcome));
    let (mut passed, mut not_judged) = (Vec::new(), Vec::new());
    // The table of latencies says which quantiles lack requests, and how many.
    let said = |check: &Check| check.id == "D2" && summary.ttft_ms.bounds.p99_needs.is_some();
    for check in worst_first {
        if check.outcome == CheckOutcome::NotJudged {
            not_judged.push(check.id.as_str());
        }
        match check.outcome {
            CheckOutcome::Pass | CheckOutcome::NotJudged => match &check.note {
                Some(note) if !said(check) => {
                    labelled(out, &format!("  {}", check.id), &format!("note: {note}"));
                }
                _ if check.outcome == CheckOutcome::Pass => passed.push(check.id.as_str()),
                _ => {}
            },
            CheckOutcome::Suspect | CheckOutcome::Invalid => {
                labelled(out, &format!("  {}", check.id), &one_check(check));
                for note in check.note.iter().chain(&check.remedy) {
                    labelled(out, "", note);
                }
            }
        }
    }
    if !passed.is_empty() {
        labelled(out, "  passed", &passed.join(" "));
    }
    if !not_judged.is_empty() {
        let count = format!("{} of {} (docs/validity.md)", not_judged.len(), validity.checks.len());
        let ids = if full { format!(": {}", not_judged.join(" ")) } else { String::new() };
        labelled(out, "  not judged", &(count + &ids));
    }
}

fn one_check(check: &Check) -> String {
    let (blank, decimals) = if check.unit.is_empty() { ("", 0) } else { (" ", 3) };
    let unit = &check.unit;
    let value = number(check.value, decimals);
    let threshold = number(Some(check.threshold), decimals);
    let (outcome, statistic) = (check.outcome.name(), &check.statistic);
    format!("{outcome}: {statistic} = {value}{blank}{unit} (limit {threshold}{blank}{unit})")
}

fn what_was_run(out: &mut String, run: &RunDescription) {
    let load = &run.load;
    let mut text = format!("{}, {}", load.model.name(), counted(load.scheduled, "request"));
    if load.span_ns > 0 {
        let _ = write!(text, " over {:.3} s", load.span_ns as f64 / 1e9);
    }
    if let Some(concurrency) = load.concurrency {
        let _ = write!(text, ", {concurrency} in flight");
    }
    if let Some(scale) = load.scale {
        let _ = write!(text, ", scale {scale}");
    }
    if let Some((from, to)) = load.window_s {
        let _ = write!(text, ", window {from}..{to} s");
    }
    if let Some(limit) = load.limit {
        let _ = write!(text, ", limit {limit}");
    }
    labelled(out, "Load", &text);
    if let Some(trace) = &run.trace {
        let text = format!(
            "{} ({}, {}, {} skipped)",
            trace.path,
            trace.format,
            counted(trace.rows, "row"),
            trace.skipped
        );
        labelled(out, "Trace", &text);
    }
    crate::turns::sessions(out, run);
    let target = &run.target;
    let mut text = format!("{}{}, model {}", target.url.trim_end_matches('/'), target.path, target.model);
    if target.simulated {
        text.push_str(", simulated for this run");
    }
    if target.insecure {
        text.push_str(", certificates NOT verified");
    }
    labelled(out, "Server", &text);
    let host = &run.host;
    let text = format!(
        "{} on {} ({}, {}), Tics {}",
        run.started,
        host.name,
        counted(host.cores.into(), "core"),
        counted(host.workers.into(), "worker"),
        run.tics_version
    );
    labelled(out, "Started", &text);
}

fn counts(out: &mut String, summary: &Summary) {
    let r = &summary.requests;
    let mut text = format!(
        "{} scheduled: {} sent, {} not sent; {} answered ({} ok, {} short, {} long), {} failed",
        r.scheduled,
        r.sent,
        r.not_sent,
        r.answered(),
        r.ok,
        r.short,
        r.long,
        r.failed
    );
    // A request that never got a connection was sent as far as the schedule goes, and has no instant.
    let unconnected = r.sent.saturating_sub(summary.lateness_us.n);
    if unconnected > 0 {
        let _ = write!(text, "; {unconnected} of the sent never got a connection");
    }
    if r.lost > 0 {
        let _ = write!(text, "; {} LOST", r.lost);
    }
    labelled(out, "Requests", &text);
    let seen = summary.outcomes.iter().filter(|(_, n)| **n > 0);
    let seen: Vec<String> = seen.map(|(outcome, n)| format!("{} {n}", outcome.name())).collect();
    labelled(out, "Outcomes", &if seen.is_empty() { "none".to_owned() } else { seen.join(", ") });
    let text = match summary.duration_s {
        Some(s) => format!("{s:.3} s from the first sent to the last end"),
        None => "nothing was sent".to_owned(),
    };
    labelled(out, "Time", &text);
    let mean = number(summary.concurrency.mean, 1);
    let (most, queued) = (summary.max_in_flight, summary.max_queued);
    let text = format!("{mean} on average, {most} at most; {queued} queued at most (sent, no token yet)");
    labelled(out, "In flight", &text);
    labelled(out, "Input", &input_tokens(summary));
    crate::workload::lengths(out, summary);
    labelled(out, "Output", &output_tokens(summary));
    channels(out, &summary.channels);
    let text = format!(
        "{} output tokens/s, {} requests/s ({}); {} tokens/s in the median stream",
        number(summary.tokens_per_s, 1),
        number(summary.requests_per_s, 3),
        summary.population.throughput,
        number(summary.stream_tokens_per_s.p50, 1)
    );
    labelled(out, "Rates", &text);
    steady(out, summary);
}

fn input_tokens(summary: &Summary) -> String {
    let tokens = &summary.input_tokens;
    let mut text = counted(tokens.asked, "token");
    text.push_str(" asked");
    match tokens.usage {
        None => text.push_str(", not counted by the server"),
        Some(usage) => {
            let _ =
                write!(text, ", {usage} by the server's count of {}", counted(tokens.with_usage, "request"));
            if tokens.differ > 0 {
                let _ = write!(text, "; the two differ in {}", counted(tokens.differ, "request"));
            }
        }
    }
    text
}

fn output_tokens(summary: &Summary) -> String {
    let tokens = &summary.output_tokens;
    let mut text = format!("{} asked, {}", counted(tokens.asked, "token"), counted(tokens.tics, "tic"));
    match tokens.usage {
        None => text.push_str(", not counted by the server"),
        Some(usage) => {
            let _ =
                write!(text, ", {usage} by the server's count of {}", counted(tokens.with_usage, "request"));
        }
    }
    if tokens.count != TokenCount::None {
        let _ = write!(text, "; used: {} ({})", tokens.used, tokens.count.name());
    }
    if tokens.differ > 0 {
        let _ = write!(
            text,
            "; the server's count differs from the tics in {}, {} tokens a tic",
            counted(tokens.differ, "request"),
            number(tokens.tokens_per_tic, 3)
        );
    }
    if tokens.failed_tics > 0 {
        let _ = write!(text, "; {} of failed requests not counted", counted(tokens.failed_tics, "tic"));
    }
    text
}

/// Appends the channels, where there is another than visible text, and the third count of tokens.
fn channels(out: &mut String, channels: &Channels) {
    let used = channels.named().into_iter().filter(|(_, channel)| channel.tics > 0);
    let text: Vec<String> = used
        .map(|(name, channel)| match channel.tokens {
            0 => format!("{name} {}", counted(channel.tics, "tic")),
            tokens => format!("{name} {} ({})", counted(channel.tics, "tic"), counted(tokens, "token")),
        })
        .collect();
    if channels.content.tics < channels.named().iter().map(|(_, channel)| channel.tics).sum() {
        labelled(out, "Channels", &text.join(", "));
    }
    if let Some(tokens) = channels.said_tokens {
        let mut text = format!(
            "{} by the server's word on each event of {}, {} in one tic at most",
            counted(tokens, "token"),
            counted(channels.said_requests, "request"),
            channels.most_in_a_tic.unwrap_or(0)
        );
        if channels.said_differ > 0 {
            let _ =
                write!(text, "; not its count of the whole in {}", counted(channels.said_differ, "request"));
        }
        labelled(out, "", &text);
    }
}

fn tester(out: &mut String, summary: &Summary) {
    heading(out, "Tester, µs", &summary.population.tester);
    row(out, "Lateness", &summary.lateness_us, 1);
    if summary.read_delay_us.n > 0 {
        row(out, "Read delay", &summary.read_delay_us, 1);
    } else {
        labelled(out, "Read delay", "not measured: the kernel stamped no read");
    }
    if !summary.late_causes.is_empty() {
        let causes: Vec<String> =
            summary.late_causes.iter().map(|(cause, n)| format!("{} {n}", cause.name())).collect();
        labelled(out, "Late because", &causes.join(", "));
    }
    if let (Some(spun), Some(duration)) = (summary.pacer_spun_s, summary.duration_s.filter(|d| *d > 0.0)) {
        let share = 100.0 * spun / duration;
        labelled(out, "Pacer", &format!("spun {spun:.3} s in all, {share:.2} % of one core"));
    }
    let reads = &summary.shared_reads;
    if let Some(share) = reads.share {
        let text = format!(
            "{:.2} % of tics ({} of {}) shared their read with a later event",
            100.0 * share,
            reads.shared,
            reads.tics
        );
        labelled(out, "Shared reads", &text);
    }
    if summary.broken_stamps > 0 {
        let text = format!(
            "{} earlier than the one before; their spans are left out",
            counted(summary.broken_stamps, "stamp")
        );
        labelled(out, "Broken", &text);
    }
}

fn failures(out: &mut String, summary: &Summary) {
    end_line(out, "First of each failure");
    for example in &summary.examples {
        let mut text = match example.outcome {
            Outcome::NotSent => format!("request {} was not sent", example.i),
            _ => format!("request {}", example.i),
        };
        if let Some(trace_row) = example.row {
            let _ = write!(text, ", row {trace_row} of the trace");
        }
        if let Some(status) = example.status {
            let _ = write!(text, ", status {status}");
        }
        if let Some(detail) = &example.detail {
            let _ = write!(text, ": {}", shorten(detail, EXCERPT));
        }
        // Two columns narrower than other labels would leave `in_band_error` without its blank.
        labelled(out, &format!("{:<width$} ", example.outcome.name(), width = LABEL - 1), &text);
    }
}
