//! How requests ended so far.

use ratatui::{buffer::Buffer, layout::Rect, style::Style};
use tics_record::{Outcome, Snapshot};

use crate::{
    format,
    layout::{flow, put_lines},
    palette::Role,
    view::Scene,
};

/// `ok` and `failed` always; every other outcome that has happened. Failures are in capitals as well as in
/// red.
fn items(scene: &Scene<'_>) -> Vec<(String, Style)> {
    let snapshot = scene.snapshot;
    let item = |name: &str, n: u64, role: Role| (format!("{name} {}", format::count(n)), scene.style(role));
    let seen = |o: &Outcome| snapshot.count(*o) > 0;
    let answered = [Outcome::Short, Outcome::Long].into_iter().filter(seen);
    let failed = Outcome::ALL.into_iter().filter(|o| o.is_failed()).filter(seen);
    let mut items = vec![item("ok", snapshot.count(Outcome::Ok), Role::Good)];
    items.extend(answered.map(|o| item(o.name(), snapshot.count(o), Role::Odd)));
    items.push(match failures(snapshot) {
        0 => item("failed", 0, Role::Faint),
        n => item("FAILED", n, Role::Bad),
    });
    items.extend(failed.map(|o| item(o.name(), snapshot.count(o), Role::Bad)));
    if seen(&Outcome::NotSent) {
        items.push(item("not_sent", snapshot.count(Outcome::NotSent), Role::Odd));
    }
    items
}

/// The sum that [`Snapshot::failed`] makes, for counts that may be anything.
pub(crate) fn failures(snapshot: &Snapshot) -> u64 {
    let failed = Outcome::ALL.into_iter().filter(|o| o.is_failed());
    failed.fold(0, |sum, o| sum.saturating_add(snapshot.count(o)))
}

/// Fills `area` row by row.
pub(crate) fn draw(scene: &Scene<'_>, area: Rect, buffer: &mut Buffer) {
    put_lines(buffer, area, &flow(&items(scene), area.width, area.height));
}

/// Rows that all outcomes need at `width`.
pub(crate) fn rows_needed(scene: &Scene<'_>, width: u16) -> u16 {
    flow(&items(scene), width, u16::MAX).len() as u16
}
