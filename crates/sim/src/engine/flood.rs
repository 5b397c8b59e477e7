//! As fast as the sockets take it.

use std::collections::VecDeque;

use super::plan::{Job, Planner, StreamId, Tick};

/// Streams that have room, each in its turn.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    ready: VecDeque<StreamId>,
}

impl Planner for Flood {
    fn admit(&mut self, id: StreamId, _: Job) {
        self.ready.push_back(id);
    }

    fn next(&mut self, id: StreamId) {
        self.ready.push_back(id);
    }

    fn remove(&mut self, id: StreamId) {
        self.ready.retain(|ready| *ready != id);
    }

    fn next_due(&mut self, now: u64) -> Option<u64> {
        (!self.ready.is_empty()).then_some(now)
    }

    fn take_due(&mut self, _: u64, limit: usize, ticks: &mut Vec<Tick>) {
        while ticks.len() < limit
            && let Some(stream) = self.ready.pop_front()
        {
            ticks.push(Tick { stream, due: None });
        }
    }

    /// None: the socket's own buffer is all that may be filled.
    fn patience(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_take_turns() {
        let mut flood = Flood::default();
        let job = Job { received: 0, prefill_tokens: 0 };
        for id in 0..3 {
            flood.admit(id, job);
        }
        flood.remove(1);
        let mut ticks = Vec::new();
        flood.take_due(0, 1, &mut ticks);
        flood.next(0);
        flood.take_due(0, 9, &mut ticks);
        let served: Vec<StreamId> = ticks.iter().map(|tick| tick.stream).collect();
        assert_eq!(served, [0, 2, 0]);
        assert_eq!(flood.next_due(0), None);
    }
}
