//! Who waits for whom: the turns of a schedule that leave only when the one before them has ended.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use tics_record::Nanos;

use crate::distribution::Distribution;
use crate::draw::mix;
use crate::error::TraceError;
use crate::row::Row;
use crate::schedule::ScheduledRequest;
use crate::select::Selection;
use crate::trace::Trace;
use crate::turns::{Turn, TurnFinder};

/// When a turn leaves whose turn before has ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Pause {
    /// At its own time, or at that end where that is later.
    OwnTime,
    /// So long after that end as the trace says: the row's think time, or, where it has none, the time
    /// from the turn before to this one. That holds the answer's own time too, as a trace of arrivals
    /// cannot tell the two apart. Both are scaled.
    Recorded,
    /// So many seconds after that end. Not scaled.
    Drawn(Distribution),
}

/// A turn that waits for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    parent: u32,
    index: u32,
    turn: u32,
    /// [`Pause::OwnTime`]: when it is due, from the schedule's zero. Else the pause.
    time: Nanos,
    line: u64,
    offset: u64,
}

/// A turn that waits for another, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// Index in the schedule.
    pub index: u64,
    /// Number of the turn, from 1.
    pub turn: u32,
    /// From the end of the turn before.
    pub pause: Nanos,
    /// Not before this, from the schedule's zero.
    pub not_before: Option<Nanos>,
}

/// The turns of a schedule that wait for another, with the places of their rows in the file, so that a
/// row is read when it is needed and what waits takes 40 bytes.
pub struct Links {
    trace: Trace,
    own_time: bool,
    /// By the index of the turn before, then by their own.
    turns: Vec<Link>,
    /// A bit for each request: whether it waits.
    waits: Vec<u64>,
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").field("links", &self.turns.len()).finish_non_exhaustive()
    }
}

impl Links {
    /// Finds them in one pass over the schedule of `selection`; `see` is shown every request with its turn.
    ///
    /// # Errors
    /// When the trace cannot be read, or the first error of `see`.
    pub fn find<E: From<TraceError>>(
        trace: &Trace,
        selection: &Selection,
        pause: &Pause,
        mut see: impl FnMut(&ScheduledRequest, Turn) -> Result<(), E>,
    ) -> Result<Links, E> {
        let mut schedule = trace.schedule(selection)?;
        let scheduled = schedule.totals().scheduled;
        if u32::try_from(scheduled).is_err() {
            let why = "more requests than turns can be told apart; take a part of it (--limit)".to_owned();
            return Err(TraceError::NothingLeft { path: trace.path().to_owned(), why }.into());
        }
        let mut finder = TurnFinder::new();
        let mut random = ChaCha8Rng::seed_from_u64(mix(selection.seed ^ 0x0074_6869_6E6B));
        let mut links = Vec::new();
        let mut waits = vec![0_u64; (scheduled as usize).div_ceil(64)];
        while let Some(request) = schedule.next() {
            let request = request?;
            let offset = schedule.offset().unwrap_or_default();
            let turn = finder.next(&request);
            see(&request, turn)?;
            if let Some(parent) = turn.parent {
                waits[request.index as usize / 64] |= 1 << (request.index % 64);
                let time = match pause {
                    Pause::OwnTime => request.due,
                    Pause::Recorded => match request.row.delay {
                        Some(delay) => selection.scale.apply(delay),
                        None => turn.gap,
                    },
                    Pause::Drawn(seconds) => {
                        Nanos::from_secs_f64(seconds.draw(&mut random)).unwrap_or_default()
                    }
                };
                links.push(Link {
                    parent: parent as u32,
                    index: request.index as u32,
                    turn: turn.number.unwrap_or(1),
                    time,
                    line: request.row.line,
                    offset,
                });
            }
        }
        // Stable: those of one parent stay in the order of the schedule.
        links.sort_by_key(|link| link.parent);
        links.shrink_to_fit();
        Ok(Links { trace: trace.clone(), own_time: *pause == Pause::OwnTime, turns: links, waits })
    }

    /// How many requests wait for another.
    pub fn len(&self) -> u64 {
        self.turns.len() as u64
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether the request waits for another.
    pub fn waits(&self, index: u64) -> bool {
        self.waits.get(index as usize / 64).is_some_and(|bits| bits >> (index % 64) & 1 == 1)
    }

    /// The requests that wait for the end of request `parent`, in the order of the schedule.
    pub fn of(&self, parent: u64) -> impl ExactSizeIterator<Item = Link> + '_ {
        let from = self.turns.partition_point(|link| u64::from(link.parent) < parent);
        let to = self.turns.partition_point(|link| u64::from(link.parent) <= parent);
        self.turns[from..to].iter().copied()
    }

    /// What there is to know of a turn before its row is read.
    pub fn follower(&self, link: &Link) -> Follower {
        let (pause, not_before) =
            if self.own_time { (Nanos::ZERO, Some(link.time)) } else { (link.time, None) };
        Follower { index: link.index.into(), turn: link.turn, pause, not_before }
    }

    /// Reads the row of a turn.
    ///
    /// # Errors
    /// When the file can no longer be read, or has changed.
    pub fn row(&self, link: &Link) -> Result<Row, TraceError> {
        self.trace.row_at(link.line, link.offset)
    }
}
