//! The two counters: in flight and queued, now and at their peaks.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use tics_record::Gauge;

use crate::{format, layout::put_lines, palette::Role, view::Scene};

fn gauges(scene: &Scene<'_>) -> [(&'static str, Gauge); 2] {
    [("in flight", scene.snapshot.in_flight), ("queued", scene.snapshot.queued)]
}

/// Both in one row: `in flight 22 (peak 31)  queued 3 (peak 9)`.
pub(crate) fn draw_row(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let counts: [fn(u64) -> String; 2] = [format::count, format::count_short];
    let lines = counts.map(|count| row(scene, count, "peak "));
    let fitting = lines.into_iter().find(|line| line.width() <= usize::from(area.width));
    // The peaks' word goes before any of the numbers does.
    let line = fitting.unwrap_or_else(|| row(scene, format::count_short, "^"));
    put_lines(buffer, area, &[line]);
}

fn row(scene: &Scene<'_>, count: fn(u64) -> String, peak: &str) -> Line<'static> {
    let mut line = Line::default();
    for (index, (name, gauge)) in gauges(scene).into_iter().enumerate() {
        let gap = if index == 0 { "" } else { "  " };
        line.push_span(Span::styled(format!("{gap}{name} "), scene.style(Role::Plain)));
        line.push_span(Span::styled(count(gauge.now), scene.style(Role::Strong)));
        line.push_span(Span::styled(format!(" ({peak}{})", count(gauge.peak)), scene.style(Role::Faint)));
    }
    line
}

/// A row for each level and one for its peak.
pub(crate) fn draw_table(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    const NAME: usize = "in flight".len();
    let column = usize::from(area.width).saturating_sub(NAME).min(12);
    let row = |name: &str, n: u64, role: Role| {
        let long = format::count(n);
        let count = if long.len() < column { long } else { format::count_short(n) };
        Line::from(vec![
            Span::styled(
                format!("{name:NAME$}"),
                scene.style(if role == Role::Strong { Role::Plain } else { role }),
            ),
            Span::styled(format!("{count:>column$}"), scene.style(role)),
        ])
    };
    let lines = gauges(scene)
        .map(|(name, gauge)| [row(name, gauge.now, Role::Strong), row("  peak", gauge.peak, Role::Faint)]);
    put_lines(buffer, area, &lines.concat());
}
