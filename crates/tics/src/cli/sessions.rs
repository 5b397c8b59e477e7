//! The arguments that say how the turns of conversations follow each other.

use clap::{Args, ValueEnum};
use tics_trace::Distribution;

/// How the turns of conversations follow each other.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionArgs {
    /// When a turn of a conversation leaves; recorded unless rows of the trace have no time, then think
    #[arg(long, value_enum, value_name = "MODE")]
    pub sessions: Option<SessionMode>,
    /// Draw think times instead of taking the trace's: seconds, such as 5 or exponential:mean=5
    #[arg(long, value_name = "DIST")]
    pub think_time: Option<Distribution>,
    /// What a turn that waits knows of the ones before it
    #[arg(long, value_enum, default_value_t = History::Trace)]
    pub history: History,
}

/// When a turn of a conversation leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SessionMode {
    /// At its own time, whatever became of the one before it
    Recorded,
    /// At its own time, or when the one before it has ended if that is later
    Wait,
    /// So long after the end of the one before it as its user thought
    Think,
}

/// What a turn knows of the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum History {
    /// What the trace says
    Trace,
    /// The server's own answers; needs messages that repeat the conversation so far
    Live,
}
