//! Draws a live [`Snapshot`](tics_record::Snapshot) of a run with ratatui, or as one [`status_line`].
//!
//! The one decision that explains the rest: drawing is a pure function of a snapshot and a [`View`]. It
//! reads no clock, takes no lock, and asks nobody, so it can never hold up the run, and a screen can be
//! tested cell by cell. What a single snapshot cannot tell, rates and their course, is in the [`History`]
//! that the caller feeds with each snapshot before it draws. The price is that the screen is as old as its
//! snapshot, and that the caller must own the terminal, the keys and the pace of drawing.
//!
//! Colours are the sixteen of the terminal's own palette; whatever a colour says is also said by a word.
//!
//! ```
//! use ratatui::{Terminal, backend::TestBackend};
//! use tics_dashboard::{ColourMode, Title, View, draw};
//! use tics_record::{Phase, Progress, Snapshot, Stamp};
//!
//! let mut view = View::new(Title { run: "demo".into(), ..Title::default() }, ColourMode::Sixteen);
//! let snapshot = Snapshot {
//!     at: Stamp::from_nanos(2_000_000_000),
//!     phase: Phase::Running,
//!     sent: Progress { done: 30, total: 120 },
//!     ..Snapshot::default()
//! };
//! view.history.push(&snapshot);
//! let mut terminal = Terminal::new(TestBackend::new(80, 24))?;
//! terminal.draw(|frame| draw(frame, &snapshot, &view))?;
//! assert!(terminal.backend().to_string().contains("30/120"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

mod bars;
mod format;
mod header;
mod history;
mod latency;
mod layout;
mod levels;
mod outcomes;
mod overview;
mod pace;
mod palette;
mod sparks;
mod status;
mod view;

pub use history::{History, Series};
pub use palette::ColourMode;
pub use status::status_line;
pub use view::{KeyHint, Title, View, draw};

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod screens;
