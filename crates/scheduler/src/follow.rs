//! Requests that wait for another's end: readied on a thread of their own when that has come.
//!
//! What waits is not in the look-ahead: only [`Followers`] knows of it, so however many turns wait for a
//! slow server, the requests that wait for nobody are made and sent when they are due. A turn is made
//! when its instant is known and near, in the order of those instants, within a budget of bytes of its
//! own; where it may leave right at its parent's end, and its body does not depend on the answer, it is
//! made while the parent is in flight, as far as half of that budget goes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tics_record::{Clock, Nanos, Outcome, RequestRecord, Stamp};

use crate::exchange::{Planned, Ready, Released};
use crate::feeder::{Budget, Held};
use crate::run::{Dropped, Ended, Message, TellPanic};
use crate::shot::Report;

/// How long before it is due a turn is made. More than what a request is armed ahead at the most.
const MAKE_AHEAD: Nanos = Nanos::from_secs(3);
/// How long until a turn for which there was no room is looked at again: others give the room back.
const ROOM_AGAIN: Duration = Duration::from_millis(20);

/// A request that waits for the end of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follower {
    /// Index in the schedule.
    pub index: u64,
    /// Index of the request that it waits for.
    pub parent: u64,
    /// Number of the turn, from 1.
    pub number: u32,
    /// From the parent's end to this one.
    pub pause: Nanos,
    /// Not before this, from the schedule's zero.
    pub not_before: Option<Nanos>,
}

impl Follower {
    /// What the parent's `end` settles.
    fn released(&self, epoch: Stamp, end: Stamp) -> Released {
        let (earliest, scheduled) = (end.plus(self.pause), self.not_before.map(|at| epoch.plus(at)));
        Released { due: scheduled.map_or(earliest, |at| at.max(earliest)), parent_end: end, scheduled }
    }
}

/// Knows the requests that wait for others, and makes them.
pub trait Followers<J>: Send {
    /// Those that wait for the end of request `parent`, in the order of the schedule.
    fn of(&mut self, parent: u64) -> Vec<Follower>;

    /// Whether they can be made before that end.
    fn can_be_early(&self) -> bool;

    /// Makes one. Its parent was answered, unless it is made early.
    ///
    /// # Errors
    /// One line, if that cannot be done; no more requests are sent then.
    fn make(&mut self, follower: &Follower) -> Result<Planned<J>, String>;

    /// Says what is known of one that will not be sent: row, session, lengths.
    fn describe(&mut self, follower: &Follower, record: &mut RequestRecord);

    /// Request `index` failed or will not be sent: what is kept for those that follow it can go.
    fn lost(&mut self, index: u64);
}

/// What the thread hears.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ToFollow {
    /// A request that others wait for is on its way.
    Started(u64),
    /// It ended.
    Ended(Ended),
}

/// What the thread needs of the run.
pub(crate) struct Teller<J> {
    pub(crate) epoch: Stamp,
    pub(crate) clock: Arc<dyn Clock>,
    /// For turns made before their parent's end. A budget of its own: only this thread gives it back, so
    /// it must never wait for it.
    pub(crate) early: Arc<Budget>,
    /// For turns made after it.
    pub(crate) budget: Arc<Budget>,
    pub(crate) out: Sender<Message<J>>,
    pub(crate) reports: Sender<Report>,
}

/// Starts the thread; it ends when the returned sender is gone.
pub(crate) fn start<J: Send + 'static>(
    followers: Box<dyn Followers<J>>,
    teller: Teller<J>,
) -> std::io::Result<(Sender<ToFollow>, JoinHandle<()>)> {
    let (tell, heard) = channel();
    let thread = std::thread::Builder::new().name("tics-turns".into()).spawn(move || {
        let _guard = TellPanic(teller.out.clone());
        Turns::new(followers, teller).run(&heard);
    })?;
    Ok((tell, thread))
}

/// A turn made before its parent's end.
struct Early<J> {
    planned: Planned<J>,
    at: Stamp,
    budget: Held,
}

/// The run is over, or nothing more can be made.
struct Over;

/// Where a turn stands among those that are wanted early: nothing is due before its own time.
fn own_time(follower: &Follower, epoch: Stamp) -> (Stamp, u64) {
    (follower.not_before.map_or(Stamp::ORIGIN, |at| epoch.plus(at)), follower.index)
}

/// What the thread owns.
struct Turns<J> {
    followers: Box<dyn Followers<J>>,
    teller: Teller<J>,
    /// Parents in flight, with the turns that were made early.
    in_flight: HashMap<u64, Vec<Early<J>>>,
    /// Turns of theirs that are not made and might have to leave as soon as they end, by their own times.
    wanted: BTreeMap<(Stamp, u64), Follower>,
    /// Turns whose parent has ended and that are not made, by when they are due.
    released: BTreeMap<(Stamp, u64), (Follower, Released)>,
}

impl<J> Turns<J> {
    fn new(followers: Box<dyn Followers<J>>, teller: Teller<J>) -> Self {
        Turns {
            followers,
            teller,
            in_flight: HashMap::new(),
            wanted: BTreeMap::new(),
            released: BTreeMap::new(),
        }
    }

    fn run(mut self, heard: &Receiver<ToFollow>) {
        loop {
            // Ends first: what they release may be due at once.
            while let Ok(what) = heard.try_recv() {
                self.hear(what);
            }
            let Ok(wait) = self.step() else { return };
            let what = match wait {
                Some(Duration::ZERO) => continue,
                Some(wait) => heard.recv_timeout(wait),
                None => heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match what {
                Ok(what) => self.hear(what),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn hear(&mut self, what: ToFollow) {
        match what {
            ToFollow::Started(parent) => {
                if self.followers.can_be_early() {
                    self.in_flight.insert(parent, Vec::new());
                    let followers = self.followers.of(parent).into_iter().filter(|f| f.pause < MAKE_AHEAD);
                    self.wanted.extend(followers.map(|f| (own_time(&f, self.teller.epoch), f)));
                }
            }
            ToFollow::Ended(ended) if ended.outcome.is_answered() => self.release(&ended),
            ToFollow::Ended(ended) => self.drop_behind(&ended),
        }
    }

    /// Does the most urgent thing. Returns how long there is nothing to do; `None` for ever.
    fn step(&mut self) -> Result<Option<Duration>, Over> {
        let horizon = self.teller.clock.now().plus(MAKE_AHEAD);
        if let Some(next) = self.released.first_entry().filter(|next| next.key().0 <= horizon) {
            let (follower, released) = next.remove();
            return self.make(&follower, released).map(|()| Some(Duration::ZERO));
        }
        let mut wait = None;
        if let Some(next) = self.wanted.first_entry().filter(|next| next.key().0 <= horizon) {
            if self.teller.early.has_room() {
                let follower = next.remove();
                return self.make_early(&follower).map(|()| Some(Duration::ZERO));
            }
            wait = Some(ROOM_AGAIN);
        }
        let next = [self.released.keys().next(), self.wanted.keys().next()];
        let next = next.into_iter().flatten().filter_map(|(at, _)| at.since(horizon)).min();
        Ok([wait, next.map(Into::into)].into_iter().flatten().min())
    }

    /// Nothing that follows `parent` is to be made early any more.
    fn unwanted(&mut self, parent: u64) {
        if self.followers.can_be_early() {
            for follower in self.followers.of(parent) {
                self.wanted.remove(&own_time(&follower, self.teller.epoch));
            }
        }
    }

    /// The parent was answered: its turns have their instants.
    fn release(&mut self, parent: &Ended) {
        self.unwanted(parent.index);
        let mut early = self.in_flight.remove(&parent.index).unwrap_or_default();
        for follower in self.followers.of(parent.index) {
            let released = follower.released(self.teller.epoch, parent.end);
            match early.iter().position(|made| made.planned.index == follower.index) {
                Some(made) => {
                    let Early { planned, at, budget } = early.swap_remove(made);
                    self.tell(planned, at, budget, released);
                }
                None => drop(self.released.insert((released.due, follower.index), (follower, released))),
            }
        }
    }

    fn make(&mut self, follower: &Follower, released: Released) -> Result<(), Over> {
        let planned = self.planned(follower)?;
        // As in the feeder, its memory is taken before the budget is asked.
        let budget = self.teller.budget.hold(planned.bytes).ok_or(Over)?;
        self.tell(planned, self.teller.clock.now(), budget, released);
        Ok(())
    }

    /// Makes what may be due as soon as the parent has ended, while that is in flight.
    fn make_early(&mut self, follower: &Follower) -> Result<(), Over> {
        let planned = self.planned(follower)?;
        let budget = self.teller.early.take(planned.bytes);
        let made = Early { planned, at: self.teller.clock.now(), budget };
        self.in_flight.entry(follower.parent).or_default().push(made);
        Ok(())
    }

    fn planned(&mut self, follower: &Follower) -> Result<Planned<J>, Over> {
        self.followers.make(follower).map_err(|error| {
            let _over = self.teller.out.send(Message::Fed(Some(error)));
            Over
        })
    }

    fn tell(&self, planned: Planned<J>, at: Stamp, budget: Held, released: Released) {
        let ready = Ready { planned, at, budget, released: Some(released) };
        let _over = self.teller.out.send(Message::Ready(Box::new(ready)));
    }

    /// The parent failed: nothing that follows it is sent.
    fn drop_behind(&mut self, failed: &Ended) {
        self.unwanted(failed.index);
        self.in_flight.remove(&failed.index);
        self.followers.lost(failed.index);
        let mut behind: VecDeque<_> = self.followers.of(failed.index).into_iter().map(|f| (f, 1)).collect();
        let mut all = 0;
        while let Some((follower, turns)) = behind.pop_front() {
            behind.extend(self.followers.of(follower.index).into_iter().map(|f| (f, turns + 1)));
            self.followers.lost(follower.index);
            self.report_dropped(&follower, failed, turns);
            all += 1;
        }
        let dropped = Dropped { followers: failed.followers, all };
        let _over = self.teller.out.send(Message::Dropped(dropped));
    }

    fn report_dropped(&mut self, follower: &Follower, failed: &Ended, turns: u64) {
        let released = follower.released(self.teller.epoch, failed.end);
        let mut record = RequestRecord::not_sent(follower.index, released.due);
        record.turn = Some(follower.number);
        record.parent = Some(follower.parent);
        record.scheduled = released.scheduled;
        record.dropped_by = Some(failed.index);
        self.followers.describe(follower, &mut record);
        let before = if turns == 1 { "the turn".to_owned() } else { format!("{turns} turns") };
        let how = match failed.outcome {
            Outcome::NotSent => "was not sent".to_owned(),
            outcome => format!("failed ({})", outcome.name()),
        };
        record.detail = Some(format!("request {}, {before} before it, {how}", failed.index));
        // Nobody listens when the records cannot be written; the run is ending then.
        let _unheard = self.teller.reports.send(Report::Ended(Box::new(record)));
    }
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
