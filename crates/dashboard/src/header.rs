//! The title with the phase, what is run against what, and the keys.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    text::{Line, Span},
};
use tics_record::{Nanos, Phase};

use crate::{
    format,
    layout::{put_lines, shorten},
    palette::Role,
    view::Scene,
};

/// The phase in words, with its time: `running 0:12`, `draining, 0:30 left`.
pub(crate) fn phase(scene: &Scene<'_>) -> String {
    let snapshot = scene.snapshot;
    let elapsed = format::clock(scene.pace().run_elapsed());
    match snapshot.phase {
        Phase::Preparing => match snapshot.epoch.since(snapshot.at).filter(|wait| *wait > Nanos::ZERO) {
            Some(wait) => format!("preparing, {} left", format::countdown(wait)),
            None => "preparing".to_owned(),
        },
        Phase::Running => format!("running {elapsed}"),
        Phase::Draining => match snapshot.drain_until {
            Some(end) => {
                let left = end.since(snapshot.at).unwrap_or(Nanos::ZERO);
                format!("draining, {} left", format::countdown(left))
            }
            None => format!("draining {elapsed}"),
        },
        Phase::Finished => format!("finished {elapsed}"),
    }
}

/// The title: the run's name on the left, the phase on the right.
pub(crate) fn draw_title(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    title(scene, area, buffer, None);
}

/// The title with the keys behind the phase, for when the keys have no row of their own.
pub(crate) fn draw_title_and_keys(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    title(scene, area, buffer, Some(keys(scene)));
}

fn title(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer, keys: Option<Line<'static>>) {
    const BRAND: &str = "tics ";
    let width = usize::from(area.width);
    let role = match scene.snapshot.phase {
        Phase::Preparing | Phase::Draining => Role::Odd,
        Phase::Running => Role::Good,
        Phase::Finished => Role::Strong,
    };
    let mut right = Line::from(Span::styled(phase(scene), scene.style(role)));
    // Keys that would push the phase off the row are left out.
    if let Some(keys) = keys.filter(|keys| right.width() + 1 + keys.width() <= width) {
        right.push_span(Span::raw(" "));
        right.spans.extend(keys.spans);
    }
    let room = width.saturating_sub(right.width() + 1);
    let brand = if room > 30 { BRAND } else { "" };
    let name = shorten(&scene.view.title.run, room - brand.len());
    // A letter or two of a name say nothing.
    let name = if name.ends_with('…') && room < 4 { String::new() } else { name };
    let mut line = Line::from(vec![
        Span::styled(brand, scene.style(Role::Faint)),
        Span::styled(name, scene.style(Role::Strong)),
    ]);
    line.push_span(Span::raw(" ".repeat(width.saturating_sub(line.width() + right.width()))));
    line.spans.extend(right.spans);
    put_lines(buffer, area, &[line]);
}

/// Address, model and load in one row.
pub(crate) fn draw_target(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let title = &scene.view.title;
    let parts: Vec<&str> = [&title.url, &title.model, &title.load]
        .into_iter()
        .map(String::as_str)
        .filter(|p| !p.is_empty())
        .collect();
    let text = shorten(&parts.join(" · "), usize::from(area.width));
    put_lines(buffer, area, &[Line::styled(text, scene.style(Role::Faint))]);
}

/// The keys in one row.
pub(crate) fn draw_keys(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    put_lines(buffer, area, &[keys(scene)]);
}

fn keys(scene: &Scene<'_>) -> Line<'static> {
    let mut line = Line::default();
    for (index, hint) in scene.view.keys.iter().enumerate() {
        let gap = if index == 0 { "" } else { "   " };
        line.push_span(Span::styled(format!("{gap}{}", hint.key), scene.style(Role::Strong)));
        line.push_span(Span::styled(format!(" {}", hint.does), scene.style(Role::Faint)));
    }
    line
}
