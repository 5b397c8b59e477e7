//! Every request on its own timetable.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::plan::{Job, Planner, StreamId, Tick};

/// Token k of a request is due at received + ttft + k · itl.
#[derive(Debug)]
pub(crate) struct Fixed {
    ttft: u64,
    itl: u64,
    /// By stream: when its next token is due, and how often its place was used.
    streams: Vec<(u64, u32)>,
    /// (due, stream, use of its place): one entry a stream that waits for a tick.
    queue: BinaryHeap<Reverse<(u64, StreamId, u32)>>,
}

impl Fixed {
    pub(crate) fn new(ttft: Duration, itl: Duration) -> Self {
        Fixed { ttft: nanos(ttft), itl: nanos(itl), streams: Vec::new(), queue: BinaryHeap::new() }
    }
}

/// At most 584 years.
fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

impl Planner for Fixed {
    fn admit(&mut self, id: StreamId, job: Job) {
        let place = id as usize;
        if place >= self.streams.len() {
            self.streams.resize(place + 1, (0, 0));
        }
        let (due, uses) = &mut self.streams[place];
        *due = job.received.saturating_add(self.ttft);
        self.queue.push(Reverse((*due, id, *uses)));
    }

    fn next(&mut self, id: StreamId) {
        let (due, uses) = &mut self.streams[id as usize];
        *due = due.saturating_add(self.itl);
        self.queue.push(Reverse((*due, id, *uses)));
    }

    fn remove(&mut self, id: StreamId) {
        // An entry left in the queue is from an earlier use then, and passed over.
        let (_, uses) = &mut self.streams[id as usize];
        *uses = uses.wrapping_add(1);
    }

    fn next_due(&mut self, _: u64) -> Option<u64> {
        while let Some(&Reverse((due, id, uses))) = self.queue.peek() {
            if self.streams[id as usize].1 == uses {
                return Some(due);
            }
            self.queue.pop();
        }
        None
    }

    fn take_due(&mut self, now: u64, limit: usize, ticks: &mut Vec<Tick>) {
        while ticks.len() < limit
            && let Some(due) = self.next_due(now)
            && due <= now
            && let Some(Reverse((due, stream, _))) = self.queue.pop()
        {
            ticks.push(Tick { stream, due: Some(due) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_has_its_absolute_time_whatever_the_others_do() {
        let mut fixed = Fixed::new(Duration::from_nanos(100), Duration::from_nanos(10));
        fixed.admit(0, Job { received: 1_000, prefill_tokens: 5 });
        fixed.admit(1, Job { received: 1_003, prefill_tokens: 5 });
        assert_eq!(fixed.next_due(0), Some(1_100));
        let mut ticks = Vec::new();
        fixed.take_due(1_099, 16, &mut ticks);
        assert_eq!(ticks, []);
        fixed.take_due(5_000, 16, &mut ticks);
        let tick = |stream, due| Tick { stream, due: Some(due) };
        assert_eq!(ticks, [tick(0, 1_100), tick(1, 1_103)]);
        // However late it was served, the next one's time has not moved.
        fixed.next(0);
        assert_eq!(fixed.next_due(5_000), Some(1_110));
    }

    #[test]
    fn a_place_used_again_has_nothing_of_its_last_stream() {
        let mut fixed = Fixed::new(Duration::from_nanos(100), Duration::ZERO);
        fixed.admit(0, Job { received: 0, prefill_tokens: 0 });
        fixed.remove(0);
        assert_eq!(fixed.next_due(0), None);
        fixed.admit(0, Job { received: 50, prefill_tokens: 0 });
        assert_eq!(fixed.next_due(0), Some(150));
    }
}
