//! The overview: which parts stand where at which size.

use ratatui::{buffer::Buffer, layout::Rect, text::Line};

use crate::{
    bars, format, header, latency,
    layout::{framed, put_lines, split_left, take_bottom, take_top},
    levels, outcomes,
    palette::Role,
    sparks,
    view::Scene,
};

/// Below this there is room for one line only.
const SMALLEST: (u16, u16) = (20, 4);
/// From here on the parts have frames of their own.
const ROOMY: (u16, u16) = (80, 22);
/// Fewest rows of a framed sparkline.
const SPARK_ROWS: u16 = 3;

/// Draws the overview over `area`.
pub(crate) fn draw(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let at_least = |(width, height): (u16, u16)| area.width >= width && area.height >= height;
    if at_least(ROOMY) {
        draw_roomy(scene, area, buffer);
    } else if at_least(SMALLEST) {
        draw_compact(scene, area, buffer);
    } else {
        draw_line(scene, area, buffer);
    }
}

fn draw_line(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let snapshot = scene.snapshot;
    let text = format!("{} {}", format::of_total_short(snapshot.done), header::phase(scene));
    put_lines(buffer, area, &[Line::styled(text, scene.style(Role::Plain))]);
}

fn draw_roomy(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let mut rest = area;
    header::draw_title(scene, take_top(&mut rest, 1), buffer);
    header::draw_target(scene, take_top(&mut rest, 1), buffer);
    header::draw_keys(scene, take_bottom(&mut rest, 1), buffer);

    let progress = framed(scene, buffer, take_top(&mut rest, 7), "progress");
    bars::draw(scene, progress, buffer);

    let middle = take_top(&mut rest, 6);
    // Narrow enough at 80 columns for the table's five columns, half of a wide screen.
    let (left, right) = split_left(middle, (area.width / 2).max(58));
    latency::draw_table(scene, framed(scene, buffer, left, "latency so far"), buffer);
    levels::draw_table(scene, framed(scene, buffer, right, "requests"), buffer);

    let inner_width = area.width.saturating_sub(4);
    let wanted = outcomes::rows_needed(scene, inner_width).clamp(1, 4);
    let rows = wanted.min(rest.height.saturating_sub(2)).max(1);
    let ended = framed(scene, buffer, take_top(&mut rest, rows + 2), "outcomes");
    outcomes::draw(scene, ended, buffer);

    if rest.height >= SPARK_ROWS {
        sparks::draw(scene, rest, buffer);
    }
}

/// A part of the compact layout: how much it matters (0 first), its rows, and what draws it.
type Part = (u8, u16, fn(&Scene<'_>, Rect, &mut Buffer));

/// One row a part, no frames, in this order from top to bottom. Where rows are short, those that matter
/// least are left out; where rows are left over, outcomes and sparklines take them.
fn draw_compact(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    let spare = area.height.saturating_sub(11);
    let outcome_rows = 1 + (outcomes::rows_needed(scene, area.width) - 1).min(spare);
    let spare = spare.saturating_sub(outcome_rows - 1);
    let spark_rows = if spare >= SPARK_ROWS { spare } else { 0 };
    let mut parts: [Part; 8] = [
        (2, 1, header::draw_title),
        (6, 1, header::draw_target),
        (0, 4, bars::draw),
        (1, 1, levels::draw_row),
        (3, outcome_rows, outcomes::draw),
        (4, 3, latency::draw_rows),
        (7, spark_rows, sparks::draw),
        (5, 1, header::draw_keys),
    ];
    let heights = share_rows(&parts.map(|(rank, rows, _)| (rank, rows)), area.height);
    if heights.last() == Some(&0) {
        parts[0].2 = header::draw_title_and_keys;
    }
    let mut rest = area;
    for ((_, _, draw), height) in parts.into_iter().zip(heights) {
        let part = take_top(&mut rest, height);
        if part.height > 0 {
            draw(scene, part, buffer);
        }
    }
}

/// Gives each part its rows in order of rank until `height` is used up.
fn share_rows(wanted: &[(u8, u16)], height: u16) -> Vec<u16> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|index| wanted[*index].0);
    let mut left = height;
    let mut heights = vec![0; wanted.len()];
    for index in order {
        heights[index] = wanted[index].1.min(left);
        left -= heights[index];
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_least_goes_first() {
        let wanted = [(2, 1), (0, 4), (1, 1), (3, 3)];
        assert_eq!(share_rows(&wanted, 4), [0, 4, 0, 0]);
        assert_eq!(share_rows(&wanted, 7), [1, 4, 1, 1]);
        assert_eq!(share_rows(&wanted, 20), [1, 4, 1, 3]);
    }
}
