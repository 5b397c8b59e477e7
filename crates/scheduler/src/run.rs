//! The run: one loop that owns its state, from the first due instant to the last end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use tics_record::{Clock, Nanos, Phase, Stamp};
use tokio::sync::watch;

use crate::exchange::{Exchanger, ExchangerFactory, Planned, Ready};
use crate::feeder::{self, Budget};
use crate::live::Live;
use crate::pacer::PacerInbox;
use crate::place::{self, Places};
use crate::shot::{Report, Shooter};
use crate::worker::{self, Assigned, Common, Stage, Worker};

/// How a run goes.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Requests in the schedule.
    pub scheduled: u64,
    /// Requests in flight of a closed loop; `None` for an open one.
    pub concurrency: Option<u64>,
    /// Bytes of requests made ahead.
    pub lookahead: usize,
    /// From the start of the run to the schedule's zero: time to make the first prompts and connections.
    pub lead: Nanos,
    /// How long requests in flight may go on after the run was stopped.
    pub drain: Nanos,
    /// Keep the pacer and each worker on a processor of its own.
    pub pin: bool,
    /// Let the pacer run before all ordinary threads.
    pub realtime: bool,
}

/// What the outside tells a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Send nothing more, let what is in flight end (within the drain limit).
    Stop,
    /// End everything now.
    Cancel,
}

/// What the run's loop hears.
pub(crate) enum Message<J> {
    Ready(Box<Ready<J>>),
    /// The schedule has no more requests, or cannot be read on.
    Fed(Option<String>),
    Ended {
        worker: usize,
        end: Stamp,
    },
    /// A request's task panicked.
    Broken {
        worker: usize,
    },
    /// The pacer's or a worker's thread panicked: what it had will never end.
    ThreadLost,
    Control(Control),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// The schedule's zero.
    pub epoch: Stamp,
    /// When the last request had ended.
    pub end: Stamp,
    /// Whether it was stopped before its schedule was played.
    pub interrupted: bool,
    /// Whether a request's task panicked; its record is lost and the run was stopped.
    pub broken: bool,
    /// Why the schedule could not be read on.
    pub feed_error: Option<String>,
    /// Largest number of requests in flight.
    pub max_in_flight: u64,
    /// Largest number of requests sent and without a token.
    pub max_queued: u64,
    /// Time that the pacer spent spinning, of one processor.
    pub pacer_spun: Nanos,
    /// What was asked for and not allowed by the system, a line each.
    pub refused: Vec<String>,
}

/// Why a run could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a thread or its event queue")]
pub struct StartError {
    /// The cause.
    #[from]
    source: std::io::Error,
}

type JobOf<F> = <<F as ExchangerFactory>::Exchanger as Exchanger>::Job;

/// A run that has its threads and waits for its requests. Make it, take its [`RunHandle`], then call
/// [`Run::play`].
pub struct Run<F: ExchangerFactory> {
    options: RunOptions,
    clock: Arc<dyn Clock>,
    factory: Arc<F>,
    live: Arc<Live>,
    tell: Sender<Message<JobOf<F>>>,
    messages: Receiver<Message<JobOf<F>>>,
    reports: Sender<Report>,
}

/// Controls a run from other threads.
pub struct RunHandle<J> {
    messages: Sender<Message<J>>,
}

impl<J> Clone for RunHandle<J> {
    fn clone(&self) -> Self {
        RunHandle { messages: self.messages.clone() }
    }
}

impl<J> std::fmt::Debug for RunHandle<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunHandle").finish_non_exhaustive()
    }
}

impl<F: ExchangerFactory> std::fmt::Debug for Run<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("options", &self.options).finish_non_exhaustive()
    }
}

impl<J> RunHandle<J> {
    /// Tells the run; does nothing once it is over.
    pub fn control(&self, control: Control) {
        let _over = self.messages.send(Message::Control(control));
    }
}

/// How far ahead of its due instant a request is armed, as a rule.
const ARM_AHEAD: Nanos = Nanos::from_millis(250);
/// How much earlier for every request that is due in the same stretch: the time it takes to open a
/// connection and to arm.
const ARM_EACH: Nanos = Nanos::from_micros(250);
/// How far ahead at the most: an armed connection is an idle one, and servers close those after 5 s.
const ARM_AT_MOST: Nanos = Nanos::from_secs(2);

impl<F: ExchangerFactory> Run<F> {
    /// A run; `live` has as many parts as it shall have workers, `reports` gets every request.
    pub fn new(
        options: RunOptions,
        clock: Arc<dyn Clock>,
        factory: F,
        live: Arc<Live>,
        reports: Sender<Report>,
    ) -> Self {
        let (tell, messages) = channel();
        Run { options, clock, factory: Arc::new(factory), live, tell, messages, reports }
    }

    /// A handle to stop it by.
    pub fn handle(&self) -> RunHandle<JobOf<F>> {
        RunHandle { messages: self.tell.clone() }
    }

    /// Plays the schedule to its end. `requests` come in the order of their due instants; `started` is
    /// told the schedule's zero before anything is sent. Blocks.
    ///
    /// # Errors
    /// [`StartError`] if threads cannot be started; nothing was sent then.
    pub fn play<E, I>(self, requests: I, started: impl FnOnce(Stamp)) -> Result<RunEnd, StartError>
    where
        E: std::fmt::Display,
        I: Iterator<Item = Result<Planned<JobOf<F>>, E>> + Send + 'static,
    {
        let (announce, stage_seen) = watch::channel(Stage::Running);
        let pacer = PacerInbox::new();
        let places = Places::of_process();
        let (refuse, refused) = channel();
        let shooter = Shooter {
            clock: Arc::clone(&self.clock),
            live: Arc::clone(&self.live),
            reports: self.reports.clone(),
        };
        let settle = settle_pacer(self.options, places.pacer(), refuse.clone());
        let tell_panic = TellPanic(self.tell.clone());
        let pacer_thread = pacer.start(shooter, tell_panic, settle)?;
        let common = Common {
            clock: Arc::clone(&self.clock),
            live: Arc::clone(&self.live),
            pacer: Arc::clone(&pacer),
            reports: self.reports,
        };
        let workers = (0..self.live.workers.len())
            .map(|n| {
                let cpu = self.options.pin.then(|| places.worker(n));
                let refuse = refuse.clone();
                let settle = move || tell_refusal(cpu.map(place::pin), &refuse);
                let (factory, tell) = (Arc::clone(&self.factory), self.tell.clone());
                worker::start(n, factory, common.clone(), stage_seen.clone(), tell, settle)
            })
            .collect::<Result<Vec<_>, _>>()?;
        drop(common);
        let budget = Budget::new(self.options.lookahead);
        let feeder =
            feeder::start(requests, Arc::clone(&budget), Arc::clone(&self.clock), self.tell.clone())?;
        let epoch = self.clock.now().plus(self.options.lead);
        self.live.set_epoch(epoch);
        started(epoch);
        let mut state = State {
            options: self.options,
            epoch,
            clock: self.clock,
            live: self.live,
            jobs: workers.iter().map(|w| w.jobs.clone()).collect(),
            load: vec![0; workers.len()],
            waiting: VecDeque::new(),
            slots: VecDeque::new(),
            fed: Fed::Going,
            stage: announce,
            drain_until: None,
            ended: 0,
            broken: false,
            lost: false,
        };
        if let Some(concurrency) = state.options.concurrency {
            // A slot is an instant from which a request may be in flight: at first, the epoch.
            state.slots = (0..concurrency).map(|_| epoch).collect();
        }
        state.run(&self.messages, || pacer.drop_all());
        budget.close();
        pacer.stop();
        let end = state.clock.now();
        state.live.set_phase(Phase::Finished);
        let (max_in_flight, max_queued) = state.live.peaks();
        let interrupted = state.drain_until.is_some();
        let broken = state.broken;
        let feed_error = match std::mem::replace(&mut state.fed, Fed::All) {
            Fed::Failed(error) => Some(error),
            Fed::Going | Fed::All => None,
        };
        state.live.set_never_sent(state.options.scheduled.saturating_sub(state.ended));
        drop(state);
        drop(self.messages);
        let broken = !join(workers, pacer_thread, feeder) || broken;
        drop(refuse);
        let (pacer_spun, refused) = (pacer.spun(), refused.iter().collect());
        Ok(RunEnd {
            epoch,
            end,
            interrupted,
            broken,
            feed_error,
            max_in_flight,
            max_queued,
            pacer_spun,
            refused,
        })
    }
}

/// The pacer's first act: to its processor, and to the front.
fn settle_pacer(options: RunOptions, cpu: Option<usize>, refuse: Sender<String>) -> impl FnOnce() + Send {
    move || {
        tell_refusal(options.pin.then(|| place::pin(cpu)), &refuse);
        tell_refusal(options.realtime.then(place::realtime), &refuse);
    }
}

fn tell_refusal(result: Option<Result<(), String>>, refuse: &Sender<String>) {
    if let Some(Err(line)) = result {
        let _over = refuse.send(line);
    }
}

/// Waits for all threads; false if one of them panicked.
fn join<J>(workers: Vec<Worker<J>>, pacer: JoinHandle<()>, feeder: JoinHandle<()>) -> bool {
    let mut fine = true;
    for worker in workers {
        drop(worker.jobs);
        fine &= worker.thread.join().is_ok();
    }
    fine &= pacer.join().is_ok();
    fine & feeder.join().is_ok()
}

/// Tells the run's loop when the thread that holds it panics.
pub(crate) struct TellPanic<J>(pub(crate) Sender<Message<J>>);

impl<J> Drop for TellPanic<J> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _over = self.0.send(Message::ThreadLost);
        }
    }
}

/// How far the schedule has been read.
enum Fed {
    Going,
    All,
    Failed(String),
}

/// What the loop owns.
struct State<J> {
    options: RunOptions,
    epoch: Stamp,
    clock: Arc<dyn Clock>,
    live: Arc<Live>,
    jobs: Vec<tokio::sync::mpsc::UnboundedSender<Assigned<J>>>,
    /// Requests on each worker.
    load: Vec<u64>,
    /// Requests made and not yet assigned, in the order of their due instants.
    waiting: VecDeque<Ready<J>>,
    /// Closed loop: free places in flight, and since when.
    slots: VecDeque<Stamp>,
    fed: Fed,
    stage: watch::Sender<Stage>,
    drain_until: Option<Stamp>,
    ended: u64,
    broken: bool,
    /// A thread is gone, so not everything that was assigned will end.
    lost: bool,
}

impl<J> State<J> {
    fn run(&mut self, messages: &Receiver<Message<J>>, drop_armed: impl Fn()) {
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
            let due = self.epoch.plus(ready.planned.due);
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
        let soon =
            self.waiting.partition_point(|r| self.epoch.plus(r.planned.due) <= horizon).min(1 << 20) as u64;
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
        // A worker's thread ends only after this loop.
        let _sent = self.jobs[worker].send(Assigned { due, ready });
    }

    fn hear(&mut self, message: Message<J>, drop_armed: &impl Fn()) {
        match message {
            Message::Ready(ready) => {
                if self.drain_until.is_none() {
                    self.waiting.push_back(*ready);
                }
            }
            Message::Fed(error) => self.fed = error.map_or(Fed::All, Fed::Failed),
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
            Message::Ended { worker, end } => {
                self.load[worker] -= 1;
                self.ended += 1;
                if self.options.concurrency.is_some() {
                    self.slots.push_back(end);
                }
            }
            Message::Control(control) => self.stop(control, drop_armed),
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
        let no_more =
            self.drain_until.is_some() || (!matches!(self.fed, Fed::Going) && self.waiting.is_empty());
        self.lost || (idle && no_more)
    }
}
