//! The table of turns.

use std::fmt::Write as _;

use tics_record::RunDescription;
use tics_stats::Turns;

use crate::layout::{LABEL, counted, end_line, heading, labelled, number, row};

/// Appends how the turns of the run's conversations followed each other.
pub(crate) fn sessions(out: &mut String, run: &RunDescription) {
    let Some(sessions) = &run.sessions else { return };
    let mut text = match sessions.mode.as_str() {
        "recorded" => "every turn at its own time".to_owned(),
        "wait" => "a turn leaves at its own time, or when the one before it has ended".to_owned(),
        _ => format!(
            "a turn leaves its think time ({}) after the end of the one before it",
            sessions.think_time.as_deref().unwrap_or("recorded")
        ),
    };
    if sessions.followers > 0 {
        let _ =
            write!(text, "; {} of {} wait so", sessions.followers, counted(run.load.scheduled, "request"));
    }
    if sessions.history == "live" {
        text.push_str("; history from the server's own answers");
    }
    labelled(out, "Sessions", &text);
}

/// Appends the figures by turn.
pub(crate) fn turns(out: &mut String, turns: &Turns) {
    out.push_str("Turns, ms (answered requests; tokens a request)\n");
    let mut line = format!("{:LABEL$}{:>9}", "", "n");
    for name in ["TTFT p50", "TTFT p99", "E2E p50", "E2E p99", "input", "cached"] {
        let _ = write!(line, "{name:>12}");
    }
    end_line(out, &line);
    for turn in &turns.by_turn {
        let mean = |sum: u64| Some(sum as f64 / turn.n as f64);
        let mut line = format!("{:<LABEL$}{:>9}", format!("Turn {}", turn.turn), turn.n);
        for ms in [turn.ttft_ms.p50, turn.ttft_ms.p99, turn.e2e_ms.p50, turn.e2e_ms.p99] {
            let _ = write!(line, "{:>12}", number(ms, 3));
        }
        let _ = write!(line, "{:>12}", number(mean(turn.input_tokens), 1));
        let _ = write!(line, "{:>12}", number(turn.cached_tokens.and_then(mean), 1));
        end_line(out, &line);
    }
    if turns.held_up_ms.n > 0 || turns.lateness_us.n > 0 {
        out.push('\n');
        heading(out, "Turns that waited, ms", "for another, and were handed to the kernel");
        if turns.held_up_ms.n > 0 {
            row(out, "Held up by it", &turns.held_up_ms, 3);
        }
        let mut late = turns.lateness_us;
        for value in
            [&mut late.mean, &mut late.p50, &mut late.p90, &mut late.p95, &mut late.p99, &mut late.max]
        {
            *value = value.map(|us| us / 1e3);
        }
        row(out, "Tester late", &late, 3);
    }
    if turns.dropped > 0 {
        let text = format!("{}, as an earlier turn failed", counted(turns.dropped, "request"));
        labelled(out, "Not sent", &text);
    }
}
