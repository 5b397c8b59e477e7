//! TTFT, ICL and lateness, as percentiles so far.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use tics_record::{LivePercentiles, Nanos};

use crate::{format, layout::put_lines, palette::Role, view::Scene};

const COLUMNS: [&str; 5] = ["n", "p50", "p90", "p99", "max"];

fn rows(scene: &Scene<'_>) -> [(&'static str, LivePercentiles); 3] {
    let snapshot = scene.snapshot;
    [("TTFT", snapshot.ttft), ("ICL", snapshot.icl), ("lateness", snapshot.lateness)]
}

/// A span, or a dash where there was nothing to measure.
fn cell(of: &LivePercentiles, column: &str) -> String {
    let span = |span: Nanos| if of.n == 0 { "-".to_owned() } else { format::span(span) };
    match column {
        "n" => format::count(of.n),
        "p50" => span(of.p50),
        "p90" => span(of.p90),
        "p99" => span(of.p99),
        _ => span(of.max),
    }
}

/// A table with headings; as many columns as fit, dropped from the left but for the names: where room is
/// short the tail is worth more than the count.
pub(crate) fn draw_table(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    const NAME: usize = 9;
    const COLUMN: usize = 9;
    let width = usize::from(area.width).saturating_sub(NAME);
    let columns = &COLUMNS[COLUMNS.len() - (width / COLUMN).min(COLUMNS.len())..];
    // Spread over what there is, but not so far that the eye loses the row.
    let each = width.checked_div(columns.len()).unwrap_or(0).min(16);
    let mut heading = Line::styled(" ".repeat(NAME), scene.style(Role::Faint));
    for name in columns {
        heading.push_span(Span::raw(format!("{name:>each$}")));
    }
    let mut lines = vec![heading];
    for (name, of) in rows(scene) {
        let mut line = Line::styled(format!("{name:NAME$}"), scene.style(Role::Plain));
        for column in columns {
            let role = if *column == "n" { Role::Faint } else { Role::Plain };
            line.push_span(Span::styled(format!("{:>each$}", cell(&of, column)), scene.style(role)));
        }
        lines.push(line);
    }
    put_lines(buffer, area, &lines);
}

/// One row each without headings: `TTFT p50 123 ms p99 1.23 s`; the more the wider.
pub(crate) fn draw_rows(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    const CHOICES: [&[&str]; 4] =
        [&COLUMNS, &["p50", "p90", "p99", "max"], &["p50", "p99", "max"], &["p50", "p99"]];
    let width_of = |columns: &[&str]| 5 + columns.iter().map(|name| name.len() + 10).sum::<usize>();
    let fitting = CHOICES.into_iter().find(|columns| width_of(columns) <= usize::from(area.width) + 1);
    let columns = fitting.unwrap_or(&["p99"]);
    let lines = rows(scene).map(|(name, of)| {
        // Five columns for the name: `lateness` has its short form here.
        let mut line = Line::styled(
            format!("{:4} ", if name == "lateness" { "late" } else { name }),
            scene.style(Role::Plain),
        );
        for column in columns {
            line.push_span(Span::styled(format!("{column} "), scene.style(Role::Faint)));
            line.push_span(Span::styled(format!("{:<9}", cell(&of, column)), scene.style(Role::Plain)));
        }
        line
    });
    put_lines(buffer, area, &lines);
}
