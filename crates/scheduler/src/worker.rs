//! A worker: one thread, one single-threaded runtime, many exchanges.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;

use tics_record::{Clock, LateCause, LiveHistogram, Nanos, Outcome, RequestRecord, Stamp};
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;

use crate::exchange::{Exchanger, ExchangerFactory, Ready};
use crate::live::{Live, Tracker};
use crate::pacer::PacerInbox;
use crate::run::{Ended, Message, TellPanic};
use crate::shot::{Armed, Report, Shooter, ShotState};

/// Lateness below this is the timer's own and needs no cause.
const NOTEWORTHY: Nanos = Nanos::from_micros(100);

/// A turn with less time than this after the one before it cannot be armed before it is due.
const ARMING: Nanos = Nanos::from_millis(5);

/// How far the run has come, as workers need to know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Everything goes on.
    Running,
    /// What is not fired is called off; what is fired goes on.
    Draining,
    /// Everything ends now.
    Cancelled,
}

/// A request on its way to a worker.
pub(crate) struct Assigned<J> {
    pub(crate) due: Stamp,
    pub(crate) ready: Ready<J>,
}

/// What all workers share.
pub(crate) struct Common<T> {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) live: Arc<Live>,
    pub(crate) pacer: Arc<PacerInbox<T>>,
    pub(crate) reports: std::sync::mpsc::Sender<Report>,
}

impl<T> Clone for Common<T> {
    fn clone(&self) -> Self {
        Common {
            clock: Arc::clone(&self.clock),
            live: Arc::clone(&self.live),
            pacer: Arc::clone(&self.pacer),
            reports: self.reports.clone(),
        }
    }
}

type JobOf<F> = <<F as ExchangerFactory>::Exchanger as Exchanger>::Job;
type TriggerOf<F> = <<F as ExchangerFactory>::Exchanger as Exchanger>::Trigger;

/// A running worker.
pub(crate) struct Worker<J> {
    pub(crate) jobs: mpsc::UnboundedSender<Assigned<J>>,
    pub(crate) thread: JoinHandle<()>,
}

/// Starts worker number `number`; `settle` is its thread's first act.
pub(crate) fn start<F: ExchangerFactory>(
    number: usize,
    factory: Arc<F>,
    common: Common<TriggerOf<F>>,
    mut stage: watch::Receiver<Stage>,
    events: std::sync::mpsc::Sender<Message<JobOf<F>>>,
    settle: impl FnOnce() + Send + 'static,
) -> std::io::Result<Worker<JobOf<F>>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (jobs, mut queue) = mpsc::unbounded_channel::<Assigned<JobOf<F>>>();
    let thread = std::thread::Builder::new().name(format!("tics-worker-{number}")).spawn(move || {
        let _guard = TellPanic(events.clone());
        settle();
        let _default_slack = nix::sys::prctl::set_timerslack(1);
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let exchanger = factory.build(number, Arc::clone(&common.clock));
            let here = Rc::<WorkerStage>::default();
            loop {
                let assigned = tokio::select! {
                    assigned = queue.recv() => assigned,
                    Ok(()) = stage.changed() => {
                        here.set(*stage.borrow_and_update());
                        continue;
                    }
                };
                let Some(assigned) = assigned else { break };
                let task = Task {
                    number,
                    exchanger: exchanger.clone(),
                    common: common.clone(),
                    events: events.clone(),
                    stage: Rc::clone(&here),
                    reported: Cell::new(false),
                };
                tokio::task::spawn_local(task.run(assigned));
            }
        });
        // Tasks that are left are those of requests whose end nobody waits for.
        drop(local);
    })?;
    Ok(Worker { jobs, thread })
}

/// One request on a worker.
struct Task<E: Exchanger> {
    number: usize,
    exchanger: E,
    common: Common<E::Trigger>,
    events: std::sync::mpsc::Sender<Message<E::Job>>,
    stage: Rc<WorkerStage>,
    reported: Cell<bool>,
}

/// A task that goes away without a report has panicked: the run must hear of it, or it would wait for
/// ever.
impl<E: Exchanger> Drop for Task<E> {
    fn drop(&mut self) {
        if !self.reported.get() {
            let _over = self.events.send(Message::Broken { worker: self.number });
        }
    }
}

impl<E: Exchanger> Task<E> {
    async fn run(self, assigned: Assigned<E::Job>) {
        let Assigned { due, ready: Ready { planned, at: ready_at, budget, released } } = assigned;
        let mut record = RequestRecord::not_sent(planned.index, due);
        record.row = planned.row;
        record.session = planned.session;
        record.input.asked = planned.input_tokens;
        record.input.sent = planned.prompt.sent;
        record.input.expected = planned.prompt.expected;
        record.output.asked = planned.output_tokens;
        record.worker = Some(self.number as u32);
        record.turn = planned.turn.number;
        record.parent = planned.turn.parent;
        record.parent_end = released.map(|r| r.parent_end);
        record.scheduled = released.and_then(|r| r.scheduled);
        record.events.reserve(planned.output_tokens.min(4096) as usize + 4);
        let record_index = record.i;
        let shot = Arc::<ShotState>::default();
        let mut tracker = Tracker {
            live: Arc::clone(&self.common.live),
            worker: self.number,
            input_tokens: planned.input_tokens,
            shot: Arc::clone(&shot),
            clock: Arc::clone(&self.common.clock),
            last_tic: None,
            connected: None,
        };
        let mut budget = Some(budget);
        let ended = {
            let armed = |trigger, record: &mut RequestRecord| {
                budget = None;
                self.armed(Armed { due, index: record.i, trigger, state: Arc::clone(&shot) });
            };
            let run = self.exchanger.run(planned.job, &mut record, &mut tracker, armed);
            let mut run = std::pin::pin!(run);
            let mut registered = false;
            std::future::poll_fn(|cx| {
                if run.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(true);
                }
                if self.stage.calls_off(&shot) {
                    return Poll::Ready(false);
                }
                if !registered {
                    self.stage.register(record_index, cx);
                    registered = true;
                }
                Poll::Pending
            })
            .await
        };
        if !ended {
            let fired = shot.is_fired();
            record.outcome = if fired { Outcome::Cancelled } else { Outcome::NotSent };
            record.detail = Some("the run was stopped".to_owned());
            record.end = fired.then(|| self.common.clock.now());
        }
        record.late_cause = late_cause(&record, ready_at, tracker.connected);
        self.report(record, &shot, planned.turn.followers);
    }

    /// Hands an armed request to the pacer, or fires it if it is due already.
    fn armed(&self, armed: Armed<E::Trigger>) {
        if armed.due > self.common.clock.now() {
            self.common.pacer.push(armed);
            return;
        }
        let shooter = Shooter {
            clock: Arc::clone(&self.common.clock),
            live: Arc::clone(&self.common.live),
            reports: self.common.reports.clone(),
        };
        let lateness: &LiveHistogram = &self.common.live.workers[self.number].lateness;
        shooter.shoot(&armed, lateness);
    }

    fn report(&self, record: RequestRecord, shot: &ShotState, followers: u64) {
        self.stage.forget(record.i);
        self.common.live.ended(self.number, &record, shot.is_fired());
        let end = record.end.unwrap_or_else(|| self.common.clock.now());
        let ended = Ended { index: record.i, end, outcome: record.outcome, followers };
        self.reported.set(true);
        // The listeners are gone only when the run is over.
        let _unheard = self.common.reports.send(Report::Ended(Box::new(record)));
        let _unheard = self.events.send(Message::Ended { worker: self.number, ended });
    }
}

/// The run's stage as a worker's tasks see it: a look costs nothing, which matters as they look at every
/// event. Whoever waits is woken when it changes.
#[derive(Default)]
struct WorkerStage {
    now: Cell<Option<Stage>>,
    waiting: RefCell<HashMap<u64, Waker>>,
}

impl WorkerStage {
    fn set(&self, stage: Stage) {
        self.now.set(Some(stage));
        for waker in self.waiting.borrow().values() {
            waker.wake_by_ref();
        }
    }

    /// Whether the stage ends this request: one that is not fired is called off as soon as the run
    /// drains.
    fn calls_off(&self, shot: &ShotState) -> bool {
        match self.now.get() {
            None | Some(Stage::Running) => false,
            Some(Stage::Draining) => shot.call_off(),
            Some(Stage::Cancelled) => {
                shot.call_off();
                true
            }
        }
    }

    /// Has the task of request `index` woken when the stage changes. A task keeps its waker for life, so
    /// the first time is enough.
    fn register(&self, index: u64, cx: &Context<'_>) {
        self.waiting.borrow_mut().insert(index, cx.waker().clone());
    }

    fn forget(&self, index: u64) {
        self.waiting.borrow_mut().remove(&index);
    }
}

/// Why the request left late, from when its parts were ready.
fn late_cause(record: &RequestRecord, ready: Stamp, connected: Option<Stamp>) -> Option<LateCause> {
    record.sent?.since(record.due).filter(|l| *l > NOTEWORTHY)?;
    let new_connection = record.connection.is_some_and(|c| !c.reused);
    Some(if ready > record.due && record.parent_end.is_some() {
        LateCause::History
    } else if ready > record.due {
        LateCause::PromptNotReady
    } else if new_connection && connected.is_some_and(|at| at > record.due) {
        LateCause::NoConnection
    } else if record.armed.is_some_and(|at| at > record.due) {
        let slack = record.parent_end.and_then(|end| record.due.since(end));
        if slack.is_some_and(|slack| slack < ARMING) { LateCause::Turnaround } else { LateCause::Worker }
    } else {
        LateCause::Pacer
    })
}

#[cfg(test)]
mod tests {
    use tics_record::ConnectionInfo;

    use super::*;

    #[test]
    fn the_last_part_to_be_ready_is_the_cause() {
        let at = |us: u64| Stamp::from_nanos(us * 1_000);
        let mut record = RequestRecord::not_sent(0, at(1_000));
        record.connection = Some(ConnectionInfo::default());
        record.armed = Some(at(900));
        record.sent = Some(at(1_050));
        assert_eq!(late_cause(&record, at(0), Some(at(10))), None);
        record.sent = Some(at(1_500));
        assert_eq!(late_cause(&record, at(0), Some(at(10))), Some(LateCause::Pacer));
        record.armed = Some(at(1_400));
        assert_eq!(late_cause(&record, at(0), Some(at(10))), Some(LateCause::Worker));
        assert_eq!(late_cause(&record, at(0), Some(at(1_300))), Some(LateCause::NoConnection));
        assert_eq!(late_cause(&record, at(1_100), Some(at(1_300))), Some(LateCause::PromptNotReady));
        record.parent_end = Some(at(900));
        assert_eq!(late_cause(&record, at(1_100), Some(at(1_300))), Some(LateCause::History));
        record.connection = Some(ConnectionInfo { reused: true, ..ConnectionInfo::default() });
        assert_eq!(late_cause(&record, at(0), Some(at(1_300))), Some(LateCause::Turnaround));
        record.parent_end = None;
        assert_eq!(late_cause(&record, at(0), Some(at(1_300))), Some(LateCause::Worker));
    }
}
