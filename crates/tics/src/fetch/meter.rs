//! How far a download is: a line that is written over on a terminal, one now and then elsewhere.

use std::io::{IsTerminal, Write};

use tics_record::{Clock, Nanos, Stamp};

use crate::progress::say;

/// Between two lines on a terminal, and elsewhere.
const ON_TERMINAL: Nanos = Nanos::from_millis(200);
const ELSEWHERE: Nanos = Nanos::from_secs(5);

/// Shows how far a download is.
#[derive(Debug)]
pub struct Meter {
    terminal: bool,
    every: Option<Nanos>,
    shown: Stamp,
    dirty: bool,
}

impl Meter {
    /// One that has just begun.
    pub fn new(clock: &dyn Clock, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let every = if terminal { ON_TERMINAL } else { ELSEWHERE };
        Meter { terminal, every: (!quiet).then_some(every), shown: clock.now(), dirty: false }
    }

    /// Shows `bytes` of `whole`, if it is time.
    pub fn show(&mut self, clock: &dyn Clock, bytes: u64, whole: Option<u64>) {
        let now = clock.now();
        let due = self.every.is_some_and(|every| now.since(self.shown).is_some_and(|since| since >= every));
        if !due {
            return;
        }
        self.shown = now;
        let of = whole.map_or_else(String::new, |whole| format!(" of {}", size(whole)));
        let line = format!("{}{of} fetched", size(bytes));
        if self.terminal {
            self.dirty = true;
            // Back to the start of the line, and what stood there wiped out.
            let _gone = std::io::stderr().write_all(format!("\r\x1b[Ktics: {line}").as_bytes());
        } else {
            say(line);
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.dirty) {
            let _gone = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// Bytes for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
