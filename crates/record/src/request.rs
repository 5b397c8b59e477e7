//! The record of one request.

use serde::{Deserialize, Serialize};

use crate::{Event, ExpectedHits, LateCause, Nanos, Outcome, Stamp};

/// How the request's connection came about. Spans are absent where the step was not taken (a reused
/// connection, a literal address, plain HTTP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Number of the connection within the run, from 0.
    pub id: u64,
    /// Whether another request had used it before.
    pub reused: bool,
    /// Name resolution.
    #[serde(rename = "dns_ns")]
    pub dns: Option<Nanos>,
    /// TCP handshake.
    #[serde(rename = "connect_ns")]
    pub connect: Option<Nanos>,
    /// TLS handshake.
    #[serde(rename = "tls_ns")]
    pub tls: Option<Nanos>,
    /// Whether a reused connection turned out closed before any byte of the response, so that the
    /// request went once more on this fresh one. `sent` stays that of the first attempt.
    #[serde(default)]
    pub reconnected: bool,
}

/// Input length in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InputTokens {
    /// As the schedule asks.
    pub asked: u32,
    /// As the server counted (`usage.prompt_tokens`).
    pub usage: Option<u32>,
    /// Tokens of the text that was made, without what the server's chat template adds; absent for texts
    /// that the user gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<u32>,
    /// What a prefix cache would find; absent where that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<ExpectedHits>,
}

/// Output length in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OutputTokens {
    /// As the schedule asks (`max_tokens`).
    pub asked: u32,
    /// Tics counted.
    pub tics: u32,
    /// As the server counted (`usage.completion_tokens`).
    pub usage: Option<u32>,
}

impl OutputTokens {
    /// The output length: the server's count, else the number of tics.
    pub fn best(&self) -> u32 {
        self.usage.unwrap_or(self.tics)
    }
}

/// User time minus kernel time of a request's reads: the reader's own delay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadDelay {
    /// Median.
    pub p50: Nanos,
    /// 99th percentile.
    pub p99: Nanos,
    /// Largest.
    pub max: Nanos,
}

/// Everything kept about one request, written when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// Index in the schedule, from 0.
    pub i: u64,
    /// Line in the trace, from 1; absent for requests that no trace asked for.
    #[serde(default)]
    pub row: Option<u64>,
    /// Session, where the trace has one.
    #[serde(default)]
    pub session: Option<String>,
    /// When it is to be sent: the schedule's instant, or, for a turn that waits for the one before it, the
    /// instant from which it may leave.
    #[serde(rename = "due_ns")]
    pub due: Stamp,
    /// When it was serialised and waiting.
    #[serde(rename = "armed_ns", default)]
    pub armed: Option<Stamp>,
    /// When its first byte was handed to the kernel.
    #[serde(rename = "sent_ns", default)]
    pub sent: Option<Stamp>,
    /// When its last byte was.
    #[serde(rename = "sent_last_ns", default)]
    pub sent_last: Option<Stamp>,
    /// When the response's head was complete.
    #[serde(rename = "head_ns", default)]
    pub head: Option<Stamp>,
    /// The stream.
    #[serde(default)]
    pub events: Vec<Event>,
    /// When it ended: the last event, or the failure.
    #[serde(rename = "end_ns", default)]
    pub end: Option<Stamp>,
    /// How it ended.
    pub outcome: Outcome,
    /// One line on a failure: the phase of a timeout, the server's message, an excerpt.
    #[serde(default)]
    pub detail: Option<String>,
    /// HTTP status.
    #[serde(default)]
    pub status: Option<u16>,
    /// The finish reason that the server gave.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// Its connection.
    #[serde(default)]
    pub connection: Option<ConnectionInfo>,
    /// Input length.
    #[serde(default)]
    pub input: InputTokens,
    /// Output length.
    #[serde(default)]
    pub output: OutputTokens,
    /// Prompt tokens that the server found in its cache.
    #[serde(default)]
    pub cached_tokens: Option<u32>,
    /// The worker that read it.
    #[serde(default)]
    pub worker: Option<u32>,
    /// The reader's own delay, where the kernel stamps.
    #[serde(rename = "read_delay_ns", default)]
    pub read_delay: Option<ReadDelay>,
    /// Why it was late, where the lateness is above the timer's own error.
    #[serde(default)]
    pub late_cause: Option<LateCause>,
    /// Turn of its conversation, from 1; absent where the trace has no conversations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
    /// Index of the turn before it, where the schedule has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u64>,
    /// When that turn ended, where this one waited for it: `due` was set by it then.
    #[serde(rename = "parent_end_ns", default, skip_serializing_if = "Option::is_none")]
    pub parent_end: Option<Stamp>,
    /// The schedule's own instant, where the request waited for another and has one: `due` is the later of
    /// it and `parent_end`.
    #[serde(rename = "scheduled_ns", default, skip_serializing_if = "Option::is_none")]
    pub scheduled: Option<Stamp>,
    /// Index of the earlier turn that failed, so that this one was not sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped_by: Option<u64>,
}

impl RequestRecord {
    /// A record of request `i`, due at `due`, that was not sent (yet).
    pub fn not_sent(i: u64, due: Stamp) -> Self {
        RequestRecord {
            i,
            row: None,
            session: None,
            due,
            armed: None,
            sent: None,
            sent_last: None,
            head: None,
            events: Vec::new(),
            end: None,
            outcome: Outcome::NotSent,
            detail: None,
            status: None,
            finish_reason: None,
            connection: None,
            input: InputTokens::default(),
            output: OutputTokens::default(),
            cached_tokens: None,
            worker: None,
            read_delay: None,
            late_cause: None,
            turn: None,
            parent: None,
            parent_end: None,
            scheduled: None,
            dropped_by: None,
        }
    }

    /// The tics, in order of arrival.
    pub fn tics(&self) -> impl DoubleEndedIterator<Item = &Event> + Clone {
        self.events.iter().filter(|e| e.is_tic())
    }

    /// First tic - sent. `None` without a tic, never zero for one.
    pub fn ttft(&self) -> Option<Nanos> {
        self.tics().next()?.at.since(self.sent?)
    }

    /// First tic - due: what the user of the traced system would have felt.
    pub fn ttft_from_due(&self) -> Option<Nanos> {
        self.tics().next()?.at.since(self.due)
    }

    /// Last event - sent.
    pub fn e2e(&self) -> Option<Nanos> {
        self.events.last()?.at.since(self.sent?)
    }

    /// Last event - due.
    pub fn e2e_from_due(&self) -> Option<Nanos> {
        self.events.last()?.at.since(self.due)
    }

    /// (last tic - first tic) / (output tokens - 1), in nanoseconds; `None` below two tokens, and
    /// below two tics: a single event with all tokens spans no time, which is not 0 ns a token.
    pub fn tpot_ns(&self) -> Option<f64> {
        let gaps = self.output.best().checked_sub(1).filter(|gaps| *gaps > 0)?;
        let mut tics = self.tics();
        let (first, last) = (tics.next()?, tics.next_back()?);
        Some(last.at.since(first.at)?.as_nanos() as f64 / f64::from(gaps))
    }

    /// sent - due, in nanoseconds; negative if it left early.
    pub fn lateness_ns(&self) -> Option<i64> {
        Some(self.sent?.signed_since(self.due))
    }

    /// due - scheduled: how long the turn before it held it up. Zero where that had ended in time, `None`
    /// where the schedule has no instant of its own for it.
    pub fn held_up(&self) -> Option<Nanos> {
        self.due.since(self.scheduled?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventClass;

    #[test]
    fn no_tic_has_no_ttft() {
        let mut record = RequestRecord::not_sent(0, Stamp::from_nanos(10));
        record.sent = Some(Stamp::from_nanos(12));
        record.events = vec![Event::new(Stamp::from_nanos(20), EventClass::RoleOnly)];
        assert_eq!((record.ttft(), record.tpot_ns()), (None, None));
        record.events.push(Event::new(Stamp::from_nanos(30), EventClass::Reasoning));
        record.events.push(Event::new(Stamp::from_nanos(50), EventClass::Content));
        record.events.push(Event::new(Stamp::from_nanos(60), EventClass::Done));
        record.output = OutputTokens { asked: 3, tics: 2, usage: Some(3) };
        assert_eq!(record.ttft(), Some(Nanos::new(18)));
        assert_eq!(record.ttft_from_due(), Some(Nanos::new(20)));
        assert_eq!(record.e2e(), Some(Nanos::new(48)));
        assert_eq!(record.tpot_ns(), Some(10.0));
        assert_eq!(record.lateness_ns(), Some(2));
    }

    #[test]
    fn turns_are_optional_and_read_back() {
        let alone = RequestRecord::not_sent(3, Stamp::from_nanos(10));
        let json = serde_json::to_string(&alone).unwrap();
        assert!(!json.contains("turn") && !json.contains("parent"), "{json}");
        let turn = RequestRecord {
            turn: Some(2),
            parent: Some(1),
            parent_end: Some(Stamp::from_nanos(10)),
            scheduled: Some(Stamp::from_nanos(4)),
            ..alone.clone()
        };
        let json = serde_json::to_string(&turn).unwrap();
        assert_eq!(serde_json::from_str::<RequestRecord>(&json).unwrap(), turn);
        assert_eq!((alone.held_up(), turn.held_up()), (None, Some(Nanos::new(6))));
    }

    #[test]
    fn tpot_needs_two_tokens_and_two_tics() {
        let check = |tics: &[u64], usage: Option<u32>, expect: Option<f64>| {
            let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
            record.events =
                tics.iter().map(|t| Event::new(Stamp::from_nanos(*t), EventClass::Content)).collect();
            record.output = OutputTokens { asked: 9, tics: tics.len() as u32, usage };
            assert_eq!(record.tpot_ns(), expect, "{tics:?}, usage {usage:?}");
        };
        check(&[], None, None);
        check(&[5], None, None);
        check(&[5], Some(0), None);
        check(&[5], Some(9), None);
        check(&[5, 25], Some(0), None);
        check(&[5, 25], Some(1), None);
        check(&[5, 25], None, Some(20.0));
        check(&[5, 25], Some(5), Some(5.0));
    }
}
