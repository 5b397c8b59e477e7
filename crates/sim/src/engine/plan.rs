//! When tokens are due: the seam between the engine and its timetables.

use super::batch::Batch;
use super::fixed::Fixed;
use super::flood::Flood;
use crate::Timetable;

/// A response's place in the engine's table; used again after its end.
pub(crate) type StreamId = u32;

/// What a timetable must know of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Job {
    /// Its receive stamp: the anchor of everything that follows.
    pub(crate) received: u64,
    /// Prompt tokens that must be read.
    pub(crate) prefill_tokens: u64,
}

/// A token that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) stream: StreamId,
    /// When it was planned; `None`: as many tokens as one large write holds, whenever there is room.
    pub(crate) due: Option<u64>,
}

/// A timetable at work. Instants are monotonic ns.
///
/// A stream is given one tick; it gets no other before the engine has asked for it with
/// [`next`](Planner::next), which it does not while the client is not reading.
pub(crate) trait Planner: std::fmt::Debug + Send {
    /// A new request. Receive stamps never decrease.
    fn admit(&mut self, id: StreamId, job: Job);
    /// The stream's last tick was served, and it has more tokens.
    fn next(&mut self, id: StreamId);
    /// The stream needs no more ticks.
    fn remove(&mut self, id: StreamId);
    /// The instant of the next tick; `None` while there is nothing to do.
    fn next_due(&mut self, now: u64) -> Option<u64>;
    /// Takes up to `limit` ticks that are due at `now`, the earliest first.
    fn take_due(&mut self, now: u64, limit: usize, ticks: &mut Vec<Tick>);
    /// How many streams wait for a slot.
    fn n_waiting(&self) -> usize {
        0
    }
    /// Bytes that may wait for a client that does not read before its stream pauses.
    fn patience(&self) -> usize {
        1 << 20
    }
}

/// The planner of a timetable.
pub(crate) fn planner(timetable: &Timetable) -> Box<dyn Planner> {
    match timetable {
        Timetable::Batch(options) => Box::new(Batch::new(*options)),
        Timetable::Fixed { ttft, itl } => Box::new(Fixed::new(*ttft, *itl)),
        Timetable::Flood => Box::new(Flood::default()),
    }
}
