//! The run's loop: what it owns, what it hears, what it does.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use tics_record::{Clock, Nanos, Phase, Stamp};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

use crate::exchange::Ready;
use crate::follow::ToFollow;
use crate::live::Live;
use crate::run::{Control, Message, RunEnd, RunOptions};
use crate::worker::{Assigned, Stage};

/// How far ahead of its due instant a request is armed, as a rule.
const ARM_AHEAD: Nanos = Nanos::from_millis(250);
/// How much earlier for every request that is due in the same stretch: the time it takes to open a
/// connection and to arm.
const ARM_EACH: Nanos = Nanos::from_micros(250);
/// How far ahead at the most: an armed connection is an idle one, and servers close those after 5 s.
const ARM_AT_MOST: Nanos = Nanos::from_secs(2);

/// How far the schedule has been read.
enum Fed {
    Going,
    All,
    Failed(String),
}

/// What the loop owns.
pub(crate) struct State<J> {
    options: RunOptions,
    epoch: Stamp,
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
    jobs: Vec<UnboundedSender<Assigned<J>>>,
    /// Requests on each worker.
    load: Vec<u64>,
    /// Requests made and not yet assigned, in the order of their due instants.
    waiting: VecDeque<Ready<J>>,
    /// Closed loop: free places in flight, and since when.
    slots: VecDeque<Stamp>,
    fed: Fed,
    /// Who readies the requests that wait for others.
    follow: Option<Sender<ToFollow>>,
    /// Requests that wait for one that has ended, and are being readied.
    outstanding: u64,
    /// Requests that will not be sent, as one before them failed.
    dropped: u64,
    stage: watch::Sender<Stage>,
    drain_until: Option<Stamp>,
    ended: u64,
    broken: bool,
    /// A thread is gone, so not everything that was assigned will end.
    lost: bool,
}

impl<J> State<J> {
    /// A run whose schedule's zero is `epoch`, over the workers that take from `jobs`.
    pub(crate) fn new(
        options: RunOptions,
        epoch: Stamp,
        clock: Arc<dyn Clock>,
        live: Arc<Live>,
        jobs: Vec<UnboundedSender<Assigned<J>>>,
        stage: watch::Sender<Stage>,
    ) -> Self {
        State {
            options,
            epoch,
            clock,
            live,
            load: vec![0; jobs.len()],
            jobs,
            waiting: VecDeque::new(),
            // A slot is an instant from which a request may be in flight: at first, the epoch.
            slots: (0..options.concurrency.unwrap_or(0)).map(|_| epoch).collect(),
            fed: Fed::Going,
            follow: None,
            outstanding: 0,
            dropped: 0,
            stage,
            drain_until: None,
            ended: 0,
            broken: false,
            lost: false,
        }
    }

    /// Has the requests that wait for others readied there.
    pub(crate) fn follow(&mut self, follow: Option<Sender<ToFollow>>) {
        self.follow = follow;
    }

    fn tell_follow(&self, what: ToFollow) {
        if let Some(follow) = &self.follow {
            // Gone only after a panic, which has been told.
            let _gone = follow.send(what);
        }
    }

    /// Says how the run ended, as far as the loop knows.
    pub(crate) fn finish(&mut self) -> RunEnd {
        self.live.set_phase(Phase::Finished);
        self.live.set_never_sent(self.options.scheduled.saturating_sub(self.ended));
        let (max_in_flight, max_queued) = self.live.peaks();
        RunEnd {
            epoch: self.epoch,
            end: self.clock.now(),
            interrupted: self.drain_until.is_some(),
            broken: self.broken,
            feed_error: match std::mem::replace(&mut self.fed, Fed::All) {
                Fed::Failed(error) => Some(error),
                Fed::Going | Fed::All => None,
            },
            max_in_flight,
            max_queued,
            pacer_spun: Nanos::ZERO,
            refused: Vec::new(),
        }
    }

    /// Goes round until everything has ended.
    pub(crate) fn run(&mut self, messages: &Receiver<Message<J>>, drop_armed: impl Fn()) {
        loop {
            let wait = self.step();
            if self.is_over() {
                return;
            }
            let message = match wait {
                None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => messages.recv_timeout(wait),
            };
            match message {
                Ok(message) => self.hear(message, &drop_armed),
                Err(RecvTimeoutError::Timeout) => {}
                // The feeder, the workers and the handle are all gone: nothing can happen any more.
                Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Ok(message) = messages.try_recv() {
                self.hear(message, &drop_armed);
            }
        }
    }

    /// Assigns what it is time for. Returns how long nothing happens by itself; `None` for ever.
    fn step(&mut self) -> Option<Duration> {
        let now = self.clock.now();
        if let Some(until) = self.drain_until {
            let Some(left) = until.since(now).filter(|l| *l > Nanos::ZERO) else {
                self.stage.send_replace(Stage::Cancelled);
                return None;
            };
            return (*self.stage.borrow() != Stage::Cancelled).then(|| left.into());
        }
        if now >= self.epoch {
            self.live.set_phase(Phase::Running);
        }
        if self.options.concurrency.is_some() { self.fill_slots() } else { self.arm_ahead(now) }
    }

    fn fill_slots(&mut self) -> Option<Duration> {
        while let (Some(_), Some(_)) = (self.slots.front(), self.waiting.front()) {
            let (Some(due), Some(ready)) = (self.slots.pop_front(), self.waiting.pop_front()) else { break };
            self.assign(due, ready);
        }
        let now = self.clock.now();
        self.epoch.since(now).filter(|l| *l > Nanos::ZERO).map(Into::into)
    }

    fn arm_ahead(&mut self, now: Stamp) -> Option<Duration> {
        while let Some(ready) = self.waiting.front() {
            let due = ready.due(self.epoch);
            let early = due.since(now).unwrap_or_default();
            let ahead = self.ahead(due);
            if early > ahead {
                let to_epoch = self.epoch.since(now).filter(|l| *l > Nanos::ZERO);
                let wait = early.saturating_minus(ahead);
                return Some(to_epoch.map_or(wait, |e| e.min(wait)).into());
            }
            let Some(ready) = self.waiting.pop_front() else { break };
            self.assign(due, ready);
        }
        self.epoch.since(now).filter(|l| *l > Nanos::ZERO).map(Into::into)
    }

    /// How far ahead the next request is armed: the more requests are due soon after it, the earlier.
    fn ahead(&self, due: Stamp) -> Nanos {
        let horizon = due.plus(ARM_AHEAD);
        let soon = self.waiting.partition_point(|r| r.due(self.epoch) <= horizon).min(1 << 20) as u64;
        ARM_AHEAD
            .plus(Nanos::new(soon * ARM_EACH.as_nanos() / self.jobs.len().max(1) as u64))
            .min(ARM_AT_MOST)
    }

    /// Gives a request to the worker that has the fewest.
    fn assign(&mut self, due: Stamp, ready: Ready<J>) {
        let Some((worker, load)) = self.load.iter_mut().enumerate().min_by_key(|(_, load)| **load) else {
            return;
        };
        *load += 1;
        if ready.planned.turn.followers > 0 {
            self.tell_follow(ToFollow::Started(ready.planned.index));
        }
        // A worker's thread ends only after this loop.
        let _sent = self.jobs[worker].send(Assigned { due, ready });
    }

    fn hear(&mut self, message: Message<J>, drop_armed: &impl Fn()) {
        match message {
            Message::Ready(ready) => {
                if ready.released.is_some() {
                    self.outstanding -= 1;
                }
                // After a turn that could not be made nothing more is sent: what comes then is of the feeder.
                if self.drain_until.is_none() && !matches!(self.fed, Fed::Failed(_)) {
                    self.enqueue(*ready);
                }
            }
            // What is fed by another thread may have failed before.
            Message::Fed(None) if matches!(self.fed, Fed::Failed(_)) => {}
            Message::Fed(error) => self.fed = error.map_or(Fed::All, Fed::Failed),
            Message::Dropped(dropped) => {
                self.outstanding -= dropped.followers;
                self.dropped += dropped.all;
                self.live.set_never_sent(self.dropped);
            }
            Message::Broken { worker } => {
                self.load[worker] -= 1;
                self.broken = true;
                self.stop(Control::Cancel, drop_armed);
            }
            Message::ThreadLost => {
                self.broken = true;
                self.lost = true;
                self.stop(Control::Cancel, drop_armed);
            }
            Message::Ended { worker, ended } => {
                self.load[worker] -= 1;
                self.ended += 1;
                if self.options.concurrency.is_some() {
                    self.slots.push_back(ended.end);
                }
                if ended.followers > 0 && self.follow.is_some() && self.drain_until.is_none() {
                    self.outstanding += ended.followers;
                    self.tell_follow(ToFollow::Ended(ended));
                }
            }
            Message::Control(control) => self.stop(control, drop_armed),
        }
    }

    /// Puts a request in its place: turns that waited for others come in any order.
    fn enqueue(&mut self, ready: Ready<J>) {
        let (epoch, due) = (self.epoch, ready.due(self.epoch));
        if self.waiting.back().is_none_or(|last| last.due(epoch) <= due) {
            self.waiting.push_back(ready);
        } else {
            let at = self.waiting.partition_point(|r| r.due(epoch) <= due);
            self.waiting.insert(at, ready);
        }
    }

    fn stop(&mut self, control: Control, drop_armed: &impl Fn()) {
        let now = self.clock.now();
        let drain = match control {
            Control::Stop => self.options.drain,
            Control::Cancel => Nanos::ZERO,
        };
        let until = now.plus(drain);
        let until = self.drain_until.map_or(until, |earlier| earlier.min(until));
        self.drain_until = Some(until);
        self.live.set_drain_until(until);
        self.live.set_phase(Phase::Draining);
        self.waiting.clear();
        drop_armed();
        self.stage.send_if_modified(|stage| {
            let next = if control == Control::Cancel { Stage::Cancelled } else { Stage::Draining };
            let changed = next > *stage;
            *stage = next.max(*stage);
            changed
        });
    }

    fn is_over(&self) -> bool {
        let idle = self.load.iter().all(|load| *load == 0);
        let fed = match self.fed {
            Fed::Going => false,
            Fed::All => self.outstanding == 0,
            // Some of what is outstanding may never come.
            Fed::Failed(_) => true,
        };
        let no_more = self.drain_until.is_some() || (fed && self.waiting.is_empty());
        self.lost || (idle && no_more)
    }
}
