//! Which turn of which conversation a request is, told row by row.

use std::collections::HashMap;

use tics_record::Nanos;

use crate::draw::hash;
use crate::row::{Id, Row};
use crate::schedule::ScheduledRequest;

/// Where a request stands in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Number of the turn, from 1; `None` for a request that no other could continue: without a name, a
    /// session or a turn.
    pub number: Option<u32>,
    /// Index of the request before it, where the schedule has that.
    pub parent: Option<u64>,
    /// From when that is due to when this one is, as scheduled; zero without it.
    pub gap: Nanos,
}

/// Finds the turns of a schedule, whose requests it is shown in their order.
///
/// A request continues the one that its row names as its parent; where the row names none, the one
/// before it in its session. One whose parent is not in the schedule before it (cut off by a window, or
/// never recorded) continues nothing. The number of a turn is the row's own, else one more than that of
/// the turn before.
///
/// Memory: about 50 bytes for each request with a name and for each session.
#[derive(Debug, Default)]
pub struct TurnFinder {
    /// Requests by a hash of their names: a name is as long as the trace likes.
    by_name: HashMap<u64, Seen>,
    /// The last request of each session, by a hash of its name.
    last_of: HashMap<u64, Seen>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    index: u64,
    due: Nanos,
    number: u32,
}

impl TurnFinder {
    /// One that has seen nothing.
    pub fn new() -> Self {
        TurnFinder::default()
    }

    /// The turn of the next request.
    pub fn next(&mut self, request: &ScheduledRequest) -> Turn {
        let row = &request.row;
        let session = row.session.as_ref().map(|name| hash(1, name.as_bytes()));
        let before = match &row.parent {
            Some(parent) => self.by_name.get(&name_hash(parent)),
            None => session.and_then(|session| self.last_of.get(&session)),
        };
        let before = before.copied();
        let number = row.turn.unwrap_or_else(|| before.map_or(1, |seen| seen.number.saturating_add(1)));
        let seen = Seen { index: request.index, due: request.due, number };
        if let Some(id) = &row.id {
            self.by_name.insert(name_hash(id), seen);
        }
        if let Some(session) = session {
            self.last_of.insert(session, seen);
        }
        Turn {
            number: is_of_conversation(row).then_some(number),
            parent: before.map(|seen| seen.index),
            gap: before.map_or(Nanos::ZERO, |seen| request.due.saturating_minus(seen.due)),
        }
    }
}

fn is_of_conversation(row: &Row) -> bool {
    row.session.is_some() || row.parent.is_some() || row.turn.is_some() || row.id.is_some()
}

fn name_hash(id: &Id) -> u64 {
    match id {
        Id::Number(n) => hash(2, &n.to_le_bytes()),
        Id::Text(text) => hash(3, text.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(rows: Vec<Row>) -> Vec<(Option<u32>, Option<u64>)> {
        let mut finder = TurnFinder::new();
        let requests =
            rows.into_iter().zip(0..).map(|(row, index)| ScheduledRequest { index, due: Nanos::ZERO, row });
        requests.map(|request| finder.next(&request)).map(|turn| (turn.number, turn.parent)).collect()
    }

    fn linked(id: i64, parent: Option<i64>) -> Row {
        Row { id: Some(Id::Number(id)), parent: parent.map(Id::Number), ..Row::default() }
    }

    #[test]
    fn parents_are_followed_and_numbered() {
        let rows = vec![
            linked(5, None),
            linked(6, Some(5)),
            linked(7, Some(6)),
            linked(8, Some(5)),
            linked(9, Some(77)),
            linked(10, Some(10)),
            Row { turn: Some(4), ..linked(11, Some(99)) },
            linked(12, Some(11)),
        ];
        let expect = [
            (Some(1), None),
            (Some(2), Some(0)),
            (Some(3), Some(1)),
            (Some(2), Some(0)),
            (Some(1), None),
            (Some(1), None),
            (Some(4), None),
            (Some(5), Some(6)),
        ];
        assert_eq!(turns(rows), expect);
    }

    #[test]
    fn sessions_are_followed_where_no_parent_is_named() {
        let of = |name: &str| Row { session: Some(name.to_owned()), ..Row::default() };
        let named = Row { id: Some(Id::Text("x".into())), ..of("a") };
        let cut = Row { parent: Some(Id::Text("y".into())), ..of("a") };
        let rows = vec![named, of("b"), of("a"), of("b"), cut, Row::default()];
        let expect = [
            (Some(1), None),
            (Some(1), None),
            (Some(2), Some(0)),
            (Some(2), Some(1)),
            (Some(1), None),
            (None, None),
        ];
        assert_eq!(turns(rows), expect);
    }
}
