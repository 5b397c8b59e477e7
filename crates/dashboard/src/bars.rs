//! The four bars: requests sent, requests done, prefill tokens, decode tokens.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use tics_record::Progress;

use crate::{format, history::Series, layout::put_lines, palette::Role, view::Scene};

/// A bar narrower than this says nothing; the column before it is dropped instead.
const NARROWEST: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Text {
    Long,
    Short,
}

/// What stands to the right of a bar; each holds those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Beside {
    Nothing,
    Rate,
    Times,
}

/// Names, counts, and what stands beside the bar; from rich to poor.
type Tier = (Text, Text, Beside);
const TIERS: [Tier; 6] = [
    (Text::Long, Text::Long, Beside::Times),
    (Text::Short, Text::Long, Beside::Times),
    (Text::Short, Text::Short, Beside::Times),
    (Text::Short, Text::Long, Beside::Rate),
    (Text::Short, Text::Short, Beside::Rate),
    POOREST,
];
const POOREST: Tier = (Text::Short, Text::Short, Beside::Nothing);

/// The text of one bar's columns.
struct Row {
    name: &'static str,
    count: String,
    percent: String,
    rate: String,
    elapsed: String,
    remaining: String,
    progress: Progress,
    role: Role,
}

impl Row {
    fn new(scene: &Scene<'_>, series: Series, (names, counts, beside): Tier) -> Self {
        let pace = scene.pace();
        let progress = series.of(scene.snapshot);
        let (long, short, role) = match series {
            Series::Sent => ("requests sent", "sent", Role::Sent),
            Series::Done => ("requests done", "done", Role::Done),
            Series::Prefill => ("prefill tokens", "prefill", Role::Prefill),
            Series::Decode => ("decode tokens", "decode", Role::Decode),
        };
        let when = |on: bool, text: String| if on { text } else { String::new() };
        let remaining = pace.remaining(series).map_or(format::UNKNOWN_CLOCK.to_owned(), format::countdown);
        Row {
            name: if names == Text::Long { long } else { short },
            count: if counts == Text::Long {
                format::of_total(progress)
            } else {
                format::of_total_short(progress)
            },
            percent: format::percent(progress),
            rate: when(beside >= Beside::Rate, format::rate(pace.rate(series))),
            elapsed: when(beside >= Beside::Times, format::clock(pace.elapsed(series))),
            remaining: when(beside >= Beside::Times, remaining),
            progress,
            role,
        }
    }
}

/// Widths of the columns, the bar's being what is left of the row.
struct Columns {
    name: usize,
    count: usize,
    percent: usize,
    bar: usize,
    rate: usize,
    elapsed: usize,
    remaining: usize,
}

impl Columns {
    /// `None` if the bar would be too narrow.
    fn fit(rows: &[Row], beside: Beside, width: usize) -> Option<Self> {
        let widest = |of: fn(&Row) -> &str| rows.iter().map(|row| format::width(of(row))).max().unwrap_or(0);
        let headed = |least: Beside, heading: &str, of| {
            if beside >= least { widest(of).max(heading.len()) } else { 0 }
        };
        let mut columns = Columns {
            name: widest(|row| row.name),
            count: widest(|row| &row.count),
            percent: widest(|row| &row.percent).max(4),
            bar: 0,
            rate: headed(Beside::Rate, "rate", |row| &row.rate),
            elapsed: headed(Beside::Times, "elapsed", |row| &row.elapsed),
            remaining: headed(Beside::Times, "remaining", |row| &row.remaining),
        };
        let others =
            [columns.name, columns.count, columns.percent, columns.rate, columns.elapsed, columns.remaining];
        let gaps = others.into_iter().filter(|column| *column > 0).count();
        columns.bar = width.checked_sub(others.iter().sum::<usize>() + gaps)?;
        (columns.bar >= NARROWEST).then_some(columns)
    }
}

/// Draws the bars in the four rows of `area`, or in five with headings over the times.
pub(crate) fn draw(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let width = usize::from(area.width);
    let rows_of = |tier| Series::ALL.map(|series| Row::new(scene, series, tier));
    let fitting = TIERS.into_iter().find_map(|tier| {
        let rows = rows_of(tier);
        Columns::fit(&rows, tier.2, width).map(|columns| (rows, columns))
    });
    let mut lines = Vec::with_capacity(5);
    if let Some((rows, columns)) = fitting {
        if area.height > 4 {
            lines.push(headings(scene, &columns));
        }
        lines.extend(rows.iter().map(|row| line(scene, row, &columns)));
    } else {
        lines.extend(numbers_alone(scene, &rows_of(POOREST), width));
    }
    put_lines(buffer, area, &lines);
}

/// For rows too narrow for bars. The percentages go where they would be cut: half a number is a wrong one.
fn numbers_alone(scene: &Scene<'_>, rows: &[Row], width: usize) -> Vec<Line<'static>> {
    let line = |row: &Row, percent: &str| {
        Line::styled(format!("{:7} {} {percent}", row.name, row.count), scene.style(row.role))
    };
    let full: Vec<Line> = rows.iter().map(|row| line(row, &row.percent)).collect();
    if full.iter().all(|line| line.width() <= width) {
        return full;
    }
    rows.iter().map(|row| line(row, "")).collect()
}

fn headings(scene: &Scene<'_>, columns: &Columns) -> Line<'static> {
    let before = columns.name + columns.count + columns.percent + columns.bar + 3;
    let headings = [("rate", columns.rate), ("elapsed", columns.elapsed), ("remaining", columns.remaining)];
    let mut line = Line::styled(" ".repeat(before), scene.style(Role::Faint));
    for (heading, width) in headings.into_iter().filter(|(_, width)| *width > 0) {
        line.push_span(Span::raw(format!(" {heading:>width$}")));
    }
    line
}

fn line(scene: &Scene<'_>, row: &Row, columns: &Columns) -> Line<'static> {
    let (full, rest) = bar(row.progress, columns.bar);
    let mut spans = vec![
        Span::styled(format!("{:1$} ", row.name, columns.name), scene.style(Role::Plain)),
        Span::styled(format!("{:>1$} ", row.count, columns.count), scene.style(Role::Strong)),
        Span::styled(format!("{:>1$} ", row.percent, columns.percent), scene.style(Role::Plain)),
        Span::styled(full, scene.style(row.role)),
        Span::styled(rest, scene.style(Role::Faint)),
    ];
    let columns =
        [(&row.rate, columns.rate), (&row.elapsed, columns.elapsed), (&row.remaining, columns.remaining)];
    for (text, width) in columns.into_iter().filter(|(_, width)| *width > 0) {
        spans.push(Span::styled(format!(" {text:>width$}"), scene.style(Role::Plain)));
    }
    Line::from(spans)
}

/// The filled and the empty part of a bar of `width` columns, to an eighth of a column.
fn bar(progress: Progress, width: usize) -> (String, String) {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let all = width as u128 * 8;
    let filled = match progress.total {
        0 => 0,
        total => (u128::from(progress.done.min(total)) * all / u128::from(total)) as usize,
    };
    let full = "█".repeat(filled / 8) + EIGHTHS[filled % 8];
    let rest = "░".repeat(width - filled.div_ceil(8));
    (full, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_full_only_at_its_total() {
        let text = |done, total| {
            let (full, rest) = bar(Progress { done, total }, 4);
            full + &rest
        };
        assert_eq!(text(0, 100), "░░░░");
        assert_eq!(text(30, 100), "█▏░░");
        assert_eq!(text(99, 100), "███▉");
        assert_eq!(text(100, 100), "████");
        assert_eq!(text(130, 100), "████");
        assert_eq!(text(5, 0), "░░░░");
        assert_eq!(text(u64::MAX, u64::MAX), "████");
    }
}
