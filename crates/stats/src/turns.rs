//! Conversations: figures by turn, and who made a turn wait, the one before it or the tester.

use serde::{Deserialize, Serialize};
use tics_record::{Outcome, RequestRecord};

use crate::Distribution;

/// Turns that have a row of their own; the last row has all later ones.
const ROWS: usize = 4;

/// Figures by turn of conversations.
///
/// | name | formula | population |
/// | --- | --- | --- |
/// | `held_up_ms` | due - scheduled: what the turn before ended too late for | turns that waited for another and have a time of their own |
/// | `lateness_us` | sent - due: what the tester was late | turns that waited for another and were handed to the kernel |
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Turns {
    /// Turn 1, 2, 3, and all later ones together; without those that no request is.
    pub by_turn: Vec<TurnRow>,
    /// How long the turn before held turns up; 0 where it had ended in time.
    pub held_up_ms: Distribution,
    /// How late the tester was to send turns that might leave.
    pub lateness_us: Distribution,
    /// Requests not sent because an earlier turn of their conversation failed.
    pub dropped: u64,
}

/// The answered requests of one turn.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TurnRow {
    /// `1`, `2`, `3`, `4+`.
    pub turn: String,
    /// Answered requests.
    pub n: u64,
    /// First tic - sent.
    pub ttft_ms: Distribution,
    /// Last event - sent.
    pub e2e_ms: Distribution,
    /// Sum of their input tokens: as the server counted, else as asked.
    pub input_tokens: u64,
    /// Sum of the prompt tokens that the server found in its cache; null where it never said.
    pub cached_tokens: Option<u64>,
    /// Of `cached_tokens`, the share of the input tokens of the requests for which it said so.
    pub cached_share: Option<f64>,
}

#[derive(Debug, Clone, Default)]
struct RowSpans {
    n: u64,
    /// Nanoseconds.
    ttft: Vec<u64>,
    /// Nanoseconds.
    e2e: Vec<u64>,
    input: u64,
    cached: Option<u64>,
    /// Input tokens of the requests for which the server said how many were cached.
    cached_of: u64,
}

/// Collects what [`Turns`] is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct TurnSpans {
    rows: [RowSpans; ROWS],
    /// Nanoseconds.
    held_up: Vec<u64>,
    /// Nanoseconds.
    lateness: Vec<i64>,
    dropped: u64,
    /// Whether some request continues another.
    any: bool,
}

impl TurnSpans {
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        let Some(turn) = record.turn else { return };
        self.any |= turn > 1 || record.parent.is_some();
        self.dropped += u64::from(record.outcome == Outcome::NotSent && record.dropped_by.is_some());
        if record.parent_end.is_some() && record.sent.is_some() {
            self.lateness.extend(record.lateness_ns());
            if let Some(span) = record.held_up() {
                self.held_up.push(span.as_nanos());
            }
        }
        if record.outcome.is_answered() {
            self.rows[(turn.max(1) as usize).min(ROWS) - 1].add(record);
        }
    }

    pub(crate) fn merge(&mut self, other: TurnSpans) {
        for (ours, theirs) in self.rows.iter_mut().zip(other.rows) {
            ours.merge(theirs);
        }
        self.held_up.extend(other.held_up);
        self.lateness.extend(other.lateness);
        self.dropped += other.dropped;
        self.any |= other.any;
    }

    pub(crate) fn finish(mut self) -> Option<Turns> {
        if !self.any {
            return None;
        }
        self.lateness.sort_unstable();
        let names = ["1", "2", "3", "4+"];
        let rows = names.into_iter().zip(self.rows).filter(|(_, row)| row.n > 0);
        Some(Turns {
            by_turn: rows.map(|(name, row)| row.finish(name)).collect(),
            held_up_ms: milliseconds(self.held_up),
            lateness_us: Distribution::of_sorted(&self.lateness, 1e3),
            dropped: self.dropped,
        })
    }
}

impl RowSpans {
    fn add(&mut self, record: &RequestRecord) {
        self.n += 1;
        for (spans, span) in [(&mut self.ttft, record.ttft()), (&mut self.e2e, record.e2e())] {
            if let Some(span) = span {
                spans.push(span.as_nanos());
            }
        }
        let input = u64::from(record.input.usage.unwrap_or(record.input.asked));
        self.input += input;
        if let Some(cached) = record.cached_tokens {
            *self.cached.get_or_insert(0) += u64::from(cached);
            self.cached_of += input;
        }
    }

    fn merge(&mut self, other: RowSpans) {
        self.n += other.n;
        self.ttft.extend(other.ttft);
        self.e2e.extend(other.e2e);
        self.input += other.input;
        self.cached = self.cached.map_or(other.cached, |ours| Some(ours + other.cached.unwrap_or(0)));
        self.cached_of += other.cached_of;
    }

    fn finish(self, name: &str) -> TurnRow {
        let share = |cached: u64| cached as f64 / self.cached_of as f64;
        TurnRow {
            turn: name.to_owned(),
            n: self.n,
            input_tokens: self.input,
            cached_tokens: self.cached,
            cached_share: self.cached.filter(|_| self.cached_of > 0).map(share),
            ttft_ms: milliseconds(self.ttft),
            e2e_ms: milliseconds(self.e2e),
        }
    }
}

fn milliseconds(mut ns: Vec<u64>) -> Distribution {
    ns.sort_unstable();
    Distribution::of_sorted(&ns, 1e6)
}

#[cfg(test)]
mod tests {
    use tics_record::{Event, EventClass, InputTokens, Stamp};

    use super::*;

    const fn ms(ms: u64) -> Stamp {
        Stamp::from_nanos(ms * 1_000_000)
    }

    /// Answered `ttft_ms` after it was sent, which was 1 ms after it was due.
    fn turn(i: u64, turn: u32, ttft_ms: u64, cached: Option<u32>) -> RequestRecord {
        let mut record = RequestRecord::not_sent(i, ms(100));
        record.turn = Some(turn);
        record.sent = Some(ms(101));
        record.events = vec![Event::new(ms(101 + ttft_ms), EventClass::Content)];
        record.outcome = Outcome::Ok;
        record.input = InputTokens { asked: 10, usage: cached.map(|_| 8), ..InputTokens::default() };
        record.cached_tokens = cached;
        if turn > 1 {
            record.parent = Some(0);
            record.parent_end = Some(ms(100));
            record.scheduled = Some(ms(40));
        }
        record
    }

    fn of(records: &[RequestRecord]) -> Option<Turns> {
        let mut spans = TurnSpans::default();
        for record in records {
            spans.add(record);
        }
        spans.finish()
    }

    #[test]
    fn turns_have_their_rows_and_waits_their_causes() {
        let mut dropped = RequestRecord::not_sent(9, ms(5));
        (dropped.turn, dropped.dropped_by, dropped.parent) = (Some(3), Some(8), Some(8));
        let records = [
            turn(0, 1, 50, Some(0)),
            turn(1, 2, 20, Some(4)),
            turn(2, 2, 30, Some(6)),
            turn(3, 4, 7, None),
            turn(4, 11, 9, None),
            dropped,
        ];
        let turns = of(&records).unwrap();
        let rows: Vec<_> = turns
            .by_turn
            .iter()
            .map(|r| (r.turn.as_str(), r.n, r.ttft_ms.p50, r.input_tokens, r.cached_tokens, r.cached_share))
            .collect();
        assert_eq!(
            rows,
            [
                ("1", 1, Some(50.0), 8, Some(0), Some(0.0)),
                ("2", 2, Some(25.0), 16, Some(10), Some(0.625)),
                ("4+", 2, Some(8.0), 20, None, None),
            ]
        );
        assert_eq!((turns.held_up_ms.n, turns.held_up_ms.max), (4, Some(60.0)));
        assert_eq!((turns.lateness_us.n, turns.lateness_us.max), (4, Some(1_000.0)));
        assert_eq!(turns.dropped, 1);
        let mut halves = [TurnSpans::default(), TurnSpans::default()];
        for (i, record) in records.iter().enumerate() {
            halves[i % 2].add(record);
        }
        let [mut one, two] = halves;
        one.merge(two);
        assert_eq!(one.finish(), Some(turns));
    }

    #[test]
    fn without_a_second_turn_there_is_no_table() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[turn(0, 1, 5, None), turn(1, 1, 5, None)]), None);
    }
}
