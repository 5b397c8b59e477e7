//! The view's own state, and the one entry point of drawing.

use ratatui::Frame;
use tics_record::{Nanos, Snapshot};

use crate::{ColourMode, History, overview, pace::Pace};

/// What the run is, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Title {
    /// Name of the run.
    pub run: String,
    /// The server's address, without credentials.
    pub url: String,
    /// The model asked for.
    pub model: String,
    /// The load: `traces/tics.jsonl, open loop`.
    pub load: String,
}

/// A key and what it does, for the bottom line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHint {
    /// The key, as it is printed: `q`.
    pub key: String,
    /// What it does: `drain and stop`.
    pub does: String,
}

impl KeyHint {
    /// `key` does `does`.
    pub fn new(key: impl Into<String>, does: impl Into<String>) -> Self {
        KeyHint { key: key.into(), does: does.into() }
    }
}

/// Everything that decides what the screen looks like beside the snapshot. One a run.
#[derive(Debug, Clone)]
pub struct View {
    /// What the run is.
    pub title: Title,
    /// Which colours to use.
    pub colour: ColourMode,
    /// The recent past; push each snapshot before drawing it.
    pub history: History,
    /// From the epoch to the last request's due time where the schedule fixes it (open loop): then the time
    /// that sending still takes is known, not estimated.
    pub schedule_span: Option<Nanos>,
    /// The keys of the bottom line. `q drain and stop` unless the caller says otherwise.
    pub keys: Vec<KeyHint>,
}

impl Default for View {
    fn default() -> Self {
        View::new(Title::default(), ColourMode::default())
    }
}

impl View {
    /// The view at the start of a run.
    pub fn new(title: Title, colour: ColourMode) -> Self {
        View {
            title,
            colour,
            history: History::new(),
            schedule_span: None,
            keys: vec![KeyHint::new("q", "drain and stop")],
        }
    }
}

/// Draws `snapshot` over the whole frame. Any size is drawn; from 40×10 up everything that matters is
/// readable, from 80×24 up everything is there.
pub fn draw(frame: &mut Frame<'_>, snapshot: &Snapshot, view: &View) {
    let scene = Scene { snapshot, view };
    let area = frame.area();
    overview::draw(&scene, area, frame.buffer_mut());
}

/// What every part of the screen is drawn from.
#[derive(Clone, Copy)]
pub(crate) struct Scene<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) view: &'a View,
}

impl Scene<'_> {
    pub(crate) fn style(&self, role: crate::palette::Role) -> ratatui::style::Style {
        self.view.colour.style(role)
    }

    pub(crate) fn pace(&self) -> Pace<'_> {
        Pace { snapshot: self.snapshot, history: &self.view.history, schedule_span: self.view.schedule_span }
    }
}
