//! Sparklines: output tokens per second and requests in flight over the last minutes.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    widgets::{Sparkline, Widget},
};

use crate::{
    format,
    layout::{framed, split_left},
    palette::Role,
    view::Scene,
};

/// Both side by side, one column a second, the newest on the right.
pub(crate) fn draw(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let (left, right) = split_left(area, area.width / 2);
    let history = &scene.view.history;
    let tokens = history.tokens_each_second(columns(left));
    draw_one(scene, buffer, left, "tokens/s", &tokens, Role::Decode);
    let in_flight = history.in_flight_each_second(columns(right));
    draw_one(scene, buffer, right, "in flight", &in_flight, Role::Sent);
}

/// Columns inside the frame.
fn columns(area: Rect) -> usize {
    usize::from(area.width.saturating_sub(4))
}

fn draw_one(scene: &Scene<'_>, buffer: &mut Buffer, area: Rect, name: &str, values: &[u64], role: Role) {
    let title = match values.iter().max().map(|max| format::count_short(*max)) {
        Some(max) => {
            let long = format!("{name}, last {} s, highest {max}", values.len());
            if long.len() <= columns(area) { long } else { format!("{name}, highest {max}") }
        }
        None => name.to_owned(),
    };
    let inner = framed(scene, buffer, area, &title);
    let (_, inner) = split_left(inner, inner.width.saturating_sub(values.len() as u16));
    // Scaled here to eighths of a row: the widget multiplies before it divides, which large values do not
    // survive.
    let top = u64::from(inner.height) * 8;
    let max = values.iter().copied().max().unwrap_or(0).max(1);
    let scaled = values.iter().map(|v| (u128::from(*v) * u128::from(top)).div_ceil(u128::from(max)) as u64);
    Sparkline::default()
        .data(scaled.collect::<Vec<u64>>())
        .max(top)
        .style(scene.style(role))
        .render(inner, buffer);
}
