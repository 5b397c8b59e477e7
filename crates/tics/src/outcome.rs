//! Exit statuses, and errors that carry theirs.

use std::fmt;

use tics_stats::{Summary, Verdict};

/// An objective was missed, or more requests failed than allowed.
pub const MISSED: u8 = 1;
/// Usage; a trace, tokenizer or config that cannot be read; pre-flight refused.
pub const USAGE: u8 = 2;
/// The measurement is INVALID (SUSPECT too, with `--strict`).
pub const INVALID: u8 = 3;
/// Server not reachable, no model, or the probe failed.
pub const SERVER: u8 = 4;
/// The run directory could not be written.
pub const RUN_DIR: u8 = 5;
/// Interrupted by SIGINT or by `q`.
pub const INTERRUPTED: u8 = 130;
/// Interrupted by SIGTERM.
pub const TERMINATED: u8 = 143;

/// A bug in this program: a thread panicked. What was measured is kept.
pub const INTERNAL: u8 = 101;

/// Statuses from the one that matters most; of several runs the first that applies counts.
const ORDER: [u8; 8] = [INTERNAL, USAGE, SERVER, RUN_DIR, INTERRUPTED, TERMINATED, INVALID, MISSED];

/// The status of several runs together.
pub fn worst(statuses: impl IntoIterator<Item = u8>) -> u8 {
    let rank = |s: &u8| ORDER.iter().position(|o| o == s).unwrap_or(ORDER.len());
    statuses.into_iter().min_by_key(rank).unwrap_or(0)
}

/// What makes a finished run's status.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Failed requests allowed.
    pub max_failed: u64,
    /// SUSPECT is a failure too.
    pub strict: bool,
}

/// The status of a finished run, interruption aside.
pub fn status_of(summary: &Summary, policy: Policy) -> u8 {
    let unusable = match summary.validity.verdict {
        Verdict::Invalid => true,
        Verdict::Suspect => policy.strict,
        Verdict::Valid => false,
    };
    if unusable {
        INVALID
    } else if summary.requests.failed > policy.max_failed || missed(summary) {
        MISSED
    } else {
        0
    }
}

/// Whether an objective was missed.
pub fn missed(summary: &Summary) -> bool {
    summary.objectives.iter().any(|objective| !objective.met)
}

/// A command that failed: one line, and the status.
#[derive(Debug)]
pub struct Failed {
    /// The exit status.
    pub status: u8,
    error: anyhow::Error,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The whole chain on one line: what, where, and why.
        write!(f, "{:#}", self.error)
    }
}

/// Gives an error its exit status.
pub trait OrStatus<T> {
    /// This error ends the command with `status`.
    fn or_status(self, status: u8) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> OrStatus<T> for Result<T, E> {
    fn or_status(self, status: u8) -> Result<T, Failed> {
        self.map_err(|error| Failed { status, error: error.into() })
    }
}

/// An error of `status` that says `line`.
pub fn failed(status: u8, line: impl fmt::Display) -> Failed {
    Failed { status, error: anyhow::anyhow!("{line}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_that_applies_counts() {
        assert_eq!(worst([0, MISSED, INVALID]), INVALID);
        assert_eq!(worst([INTERRUPTED, INVALID]), INTERRUPTED);
        assert_eq!(worst([0, 0]), 0);
        assert_eq!(worst([]), 0);
    }
}
