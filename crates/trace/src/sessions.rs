//! Conversations of a trace.

use std::collections::HashMap;

use serde::Serialize;

use crate::info::grouped;
use crate::row::{Id, Row};

/// Conversations.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sessions {
    /// Number of conversations.
    pub sessions: u64,
    /// Of these, with more than one request in the file.
    pub with_several_turns: u64,
    /// Requests in a conversation, on average.
    pub mean_turns: f64,
    /// Most requests in one conversation.
    pub max_turns: u64,
    /// Requests whose parent is not in the file before them: it began before the trace.
    pub without_parent: u64,
}

#[derive(Default)]
pub(crate) struct SessionCounter {
    by_name: HashMap<String, usize>,
    by_request: HashMap<Id, usize>,
    turns: Vec<u64>,
    without_parent: u64,
    linked: bool,
}

impl SessionCounter {
    pub(crate) fn add(&mut self, row: &Row) {
        if row.session.is_none() && row.id.is_none() && row.parent.is_none() {
            return;
        }
        self.linked |= row.session.is_some() || row.parent.is_some();
        let of_parent = row.parent.as_ref().and_then(|parent| self.by_request.get(parent).copied());
        self.without_parent += u64::from(row.parent.is_some() && of_parent.is_none());
        let named = row.session.as_ref().and_then(|name| self.by_name.get(name).copied());
        let session = named.or(of_parent).unwrap_or_else(|| {
            self.turns.push(0);
            self.turns.len() - 1
        });
        self.turns[session] += 1;
        if let Some(name) = &row.session {
            self.by_name.entry(name.clone()).or_insert(session);
        }
        if let Some(id) = &row.id {
            self.by_request.insert(id.clone(), session);
        }
    }

    pub(crate) fn summary(&self) -> Option<Sessions> {
        let requests: u64 = self.turns.iter().sum();
        self.linked.then(|| Sessions {
            sessions: self.turns.len() as u64,
            with_several_turns: self.turns.iter().filter(|n| **n > 1).count() as u64,
            mean_turns: requests as f64 / self.turns.len() as f64,
            max_turns: self.turns.iter().copied().max().unwrap_or(0),
            without_parent: self.without_parent,
        })
    }
}

impl Sessions {
    pub(crate) fn render(&self) -> String {
        format!(
            "{}, {} with several requests; requests each: mean {:.2}, max {}; {} continue one that is not in the file",
            grouped(self.sessions),
            grouped(self.with_several_turns),
            self.mean_turns,
            self.max_turns,
            grouped(self.without_parent),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_follow_parents_and_names() {
        let mut counter = SessionCounter::default();
        let linked = |id: i64, parent: Option<i64>| Row {
            id: Some(Id::Number(id)),
            parent: parent.map(Id::Number),
            ..Row::default()
        };
        for row in
            [linked(0, None), linked(1, Some(0)), linked(2, Some(1)), linked(3, Some(77)), linked(4, None)]
        {
            counter.add(&row);
        }
        let sessions = counter.summary().unwrap();
        assert_eq!((sessions.sessions, sessions.with_several_turns, sessions.max_turns), (3, 1, 3));
        assert_eq!(sessions.without_parent, 1);
        let mut named = SessionCounter::default();
        for name in ["a", "b", "a"] {
            named.add(&Row { session: Some(name.to_owned()), ..Row::default() });
        }
        assert_eq!(named.summary().unwrap().sessions, 2);
    }
}
