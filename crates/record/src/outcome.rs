//! How a request ended: a closed set that adds up to the schedule.

use serde::{Deserialize, Serialize};

/// How one request ended. `Ok`, `Short` and `Long` are answered; the rest failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Outcome {
    /// Answered with the tokens asked for.
    Ok,
    /// Answered with fewer tokens than asked.
    Short,
    /// Answered with more tokens than asked.
    Long,
    /// A complete stream without one generated token.
    Empty,
    /// A status other than 200.
    HttpStatus,
    /// An error object inside a 200 response.
    InBandError,
    /// Neither finish reason nor `[DONE]`, or the body was cut.
    Truncated,
    /// The connection was reset.
    Reset,
    /// The connection was refused, or could not be made for another reason than DNS and TLS.
    Refused,
    /// The server's name could not be resolved.
    Dns,
    /// The TLS handshake failed.
    Tls,
    /// A time limit passed; `detail` names the phase.
    Timeout,
    /// The run ended before the request did.
    Cancelled,
    /// Never sent.
    NotSent,
}

impl Outcome {
    /// How many outcomes there are.
    pub const COUNT: usize = 14;

    /// Every outcome, in the order of the codes.
    pub const ALL: [Outcome; Self::COUNT] = [
        Outcome::Ok,
        Outcome::Short,
        Outcome::Long,
        Outcome::Empty,
        Outcome::HttpStatus,
        Outcome::InBandError,
        Outcome::Truncated,
        Outcome::Reset,
        Outcome::Refused,
        Outcome::Dns,
        Outcome::Tls,
        Outcome::Timeout,
        Outcome::Cancelled,
        Outcome::NotSent,
    ];

    /// Whether the request was answered: its tokens arrived and its stream ended as streams end.
    pub const fn is_answered(self) -> bool {
        matches!(self, Outcome::Ok | Outcome::Short | Outcome::Long)
    }

    /// Whether the request was sent and not answered.
    pub const fn is_failed(self) -> bool {
        !self.is_answered() && !matches!(self, Outcome::NotSent)
    }

    /// The name used in files and in print.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Short => "short",
            Outcome::Long => "long",
            Outcome::Empty => "empty",
            Outcome::HttpStatus => "http_status",
            Outcome::InBandError => "in_band_error",
            Outcome::Truncated => "truncated",
            Outcome::Reset => "reset",
            Outcome::Refused => "refused",
            Outcome::Dns => "dns",
            Outcome::Tls => "tls",
            Outcome::Timeout => "timeout",
            Outcome::Cancelled => "cancelled",
            Outcome::NotSent => "not_sent",
        }
    }
}

/// Why a request left after its due instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LateCause {
    /// It was armed in time; the pacer came late.
    Pacer,
    /// Its prompt was not ready in time.
    PromptNotReady,
    /// No connection was ready in time.
    NoConnection,
    /// The run's own cap on requests in flight.
    OwnCap,
    /// The turn before it in its session ended late.
    ParentTurn,
    /// A worker had not finished arming it.
    Worker,
    /// Its body was made after the turn before it had ended, and was not ready in time.
    History,
    /// It might leave as soon as the turn before it had ended, and could be armed only then.
    Turnaround,
}

impl LateCause {
    /// The name used in files and in print.
    pub const fn name(self) -> &'static str {
        match self {
            LateCause::Pacer => "pacer",
            LateCause::PromptNotReady => "prompt_not_ready",
            LateCause::NoConnection => "no_connection",
            LateCause::OwnCap => "own_cap",
            LateCause::ParentTurn => "parent_turn",
            LateCause::Worker => "worker",
            LateCause::History => "history",
            LateCause::Turnaround => "turnaround",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_set_is_closed_and_its_names_are_those_of_serde() {
        for (code, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, code);
            assert_eq!(serde_json::to_string(&outcome).unwrap(), format!("\"{}\"", outcome.name()));
            let kinds = [outcome.is_answered(), outcome.is_failed(), outcome == Outcome::NotSent];
            assert_eq!(kinds.iter().filter(|k| **k).count(), 1, "{outcome:?}");
        }
    }
}
