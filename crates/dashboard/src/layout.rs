//! Cutting rectangles, and text into rows. Every function takes any size.

use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::Style,
    text::{Line, Span},
    widgets::{Block, Widget},
};

use crate::{palette::Role, view::Scene};

/// Cuts up to `height` rows off the top of `rest`.
pub(crate) fn take_top(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let top = Rect { height, ..*rest };
    rest.y += height;
    rest.height -= height;
    top
}

/// Cuts up to `height` rows off the bottom of `rest`.
pub(crate) fn take_bottom(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    rest.height -= height;
    Rect { y: rest.y + rest.height, height, ..*rest }
}

/// The left `width` columns of `area`, and the rest.
pub(crate) fn split_left(area: Rect, width: u16) -> (Rect, Rect) {
    let width = width.min(area.width);
    (Rect { width, ..area }, Rect { x: area.x + width, width: area.width - width, ..area })
}

/// Writes `lines` from the top of `area`, as many as fit.
pub(crate) fn put_lines(buffer: &mut Buffer, area: Rect, lines: &[Line<'_>]) {
    for (line, y) in lines.iter().zip(area.y..area.bottom()) {
        buffer.set_line(area.x, y, line, area.width);
    }
}

/// Draws a frame with a title and returns what is inside.
pub(crate) fn framed(scene: &Scene<'_>, buffer: &mut Buffer, area: Rect, title: &str) -> Rect {
    let block = Block::bordered()
        .border_style(scene.style(Role::Faint))
        .title(Span::styled(format!(" {title} "), scene.style(Role::Plain)));
    let inner = block.inner(area);
    block.render(area, buffer);
    Rect { x: inner.x + inner.width.min(1), width: inner.width.saturating_sub(2), ..inner }
}

/// `text` cut to `width` columns, with an ellipsis where something is missing.
pub(crate) fn shorten(text: &str, width: usize) -> String {
    let line = Line::from(text);
    if line.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        let longer = format!("{short}{letter}");
        // One column is for the ellipsis; wide letters take two.
        if Line::from(longer.as_str()).width() + 1 > width {
            break;
        }
        short = longer;
    }
    if width > 0 {
        short.push('…');
    }
    short
}

/// Lays out `items` with two columns between them over up to `rows` rows of `width` columns. Where not all
/// fit, the last row ends with how many are missing.
pub(crate) fn flow(items: &[(String, Style)], width: u16, rows: u16) -> Vec<Line<'static>> {
    const GAP: usize = 2;
    // Room for ` +12 more`, kept free in the last row while items are still to come.
    const MORE: usize = 10;
    let width = usize::from(width);
    let mut lines = vec![(Line::default(), 0usize)];
    for (index, (text, style)) in items.iter().enumerate() {
        let is_last_row = lines.len() >= usize::from(rows);
        let Some((line, used)) = lines.last_mut() else { break };
        let gap = if *used == 0 { 0 } else { GAP };
        let needed = *used + gap + text.chars().count();
        let is_last_item = index + 1 == items.len();
        let limit = if is_last_row && !is_last_item { width.saturating_sub(MORE) } else { width };
        if needed <= limit || *used == 0 {
            line.push_span(Span::raw(" ".repeat(gap)));
            line.push_span(Span::styled(text.clone(), *style));
            *used = needed;
        } else if is_last_row {
            line.push_span(Span::raw(format!("  +{} more", items.len() - index)));
            break;
        } else {
            lines.push((Line::from(Span::styled(text.clone(), *style)), text.chars().count()));
        }
    }
    lines.into_iter().map(|(line, _)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flowed(width: u16, rows: u16) -> Vec<String> {
        let items = ["ok 12", "short 3", "FAILED 4", "reset 1", "timeout 3"];
        let items = items.map(|item| (item.to_owned(), Style::new()));
        flow(&items, width, rows).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn items_flow_over_the_rows_there_are() {
        assert_eq!(flowed(80, 1), ["ok 12  short 3  FAILED 4  reset 1  timeout 3"]);
        assert_eq!(flowed(30, 2), ["ok 12  short 3  FAILED 4", "reset 1  timeout 3"]);
        assert_eq!(flowed(30, 1), ["ok 12  short 3  +3 more"]);
    }

    #[test]
    fn text_is_cut_by_columns_not_letters() {
        assert_eq!(shorten("conversation", 12), "conversation");
        assert_eq!(shorten("conversation", 6), "conve…");
        assert_eq!(shorten("模型模型", 6), "模型…");
        assert_eq!(shorten("ab", 0), "");
    }
}
