//! The run: one loop that owns its state, from the first due instant to the last end.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use tics_record::{Clock, Nanos, Outcome, Stamp};
use tokio::sync::watch;

use crate::exchange::{Exchanger, ExchangerFactory, Planned, Ready};
use crate::feeder::{self, Budget};
use crate::follow::{self, Followers, Teller};
use crate::live::Live;
use crate::pacer::PacerInbox;
use crate::place::{self, Places};
use crate::shot::{Report, Shooter};
use crate::state::State;
use crate::worker::{self, Common, Stage, Worker};

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
        ended: Ended,
    },
    /// Requests that will not be sent, as one before them failed.
    Dropped(Dropped),
    /// A request's task panicked.
    Broken {
        worker: usize,
    },
    /// The pacer's or a worker's thread panicked: what it had will never end.
    ThreadLost,
    Control(Control),
}

/// A request's end, as the run's loop and those that waited for it need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) index: u64,
    pub(crate) end: Stamp,
    pub(crate) outcome: Outcome,
    /// Requests that wait for it.
    pub(crate) followers: u64,
}

/// What is dropped with a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Requests that waited for it.
    pub(crate) followers: u64,
    /// These, and all behind them.
    pub(crate) all: u64,
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
    followers: Option<Box<dyn Followers<JobOf<F>>>>,
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
        Run { options, clock, factory: Arc::new(factory), live, tell, messages, reports, followers: None }
    }

    /// In an open loop, also plays the requests that wait for another's end.
    #[must_use]
    pub fn follow(mut self, followers: Box<dyn Followers<JobOf<F>>>) -> Self {
        self.followers = Some(followers);
        self
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
            reports: self.reports.clone(),
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
        let teller = Teller {
            epoch,
            clock: Arc::clone(&self.clock),
            early: Budget::new(self.options.lookahead / 2),
            budget: Budget::new(self.options.lookahead / 2),
            out: self.tell.clone(),
            reports: self.reports,
        };
        let turn_budget = Arc::clone(&teller.budget);
        let follow = self.followers.map(|followers| follow::start(followers, teller)).transpose()?;
        let (follow, follow_thread) = follow.unzip();
        self.live.set_epoch(epoch);
        started(epoch);
        let jobs = workers.iter().map(|w| w.jobs.clone()).collect();
        let mut state = State::new(self.options, epoch, self.clock, self.live, jobs, announce);
        state.follow(follow);
        state.run(&self.messages, || pacer.drop_all());
        budget.close();
        turn_budget.close();
        pacer.stop();
        let ended = state.finish();
        drop(state);
        drop(self.messages);
        let whole = join(workers, pacer_thread, [feeder].into_iter().chain(follow_thread));
        drop(refuse);
        Ok(RunEnd {
            broken: ended.broken || !whole,
            pacer_spun: pacer.spun(),
            refused: refused.iter().collect(),
            ..ended
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
fn join<J>(
    workers: Vec<Worker<J>>,
    pacer: JoinHandle<()>,
    feeders: impl Iterator<Item = JoinHandle<()>>,
) -> bool {
    let mut fine = true;
    for worker in workers {
        drop(worker.jobs);
        fine &= worker.thread.join().is_ok();
    }
    fine &= pacer.join().is_ok();
    feeders.fold(fine, |fine, feeder| feeder.join().is_ok() && fine)
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
