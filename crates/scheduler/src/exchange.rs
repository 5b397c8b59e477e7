//! What the scheduler drives: anything that can be armed and fired.

use std::sync::Arc;

use tics_record::{Clock, Nanos, PromptFacts, RequestRecord, Stamp};

use crate::live::Tracker;
use crate::shot::Fire;

/// Makes one [`Exchanger`] a worker.
pub trait ExchangerFactory: Send + Sync + 'static {
    /// What it makes.
    type Exchanger: Exchanger;

    /// Makes the exchanger of worker number `worker`, on its thread, inside its runtime.
    fn build(&self, worker: usize, clock: Arc<dyn Clock>) -> Self::Exchanger;
}

/// Runs exchanges on one worker. Neither it nor its futures leave the worker's thread.
pub trait Exchanger: Clone + 'static {
    /// What a request is made of.
    type Job: Send + 'static;
    /// Its trigger.
    type Trigger: Fire + std::fmt::Debug + 'static;

    /// Runs one exchange to its end, however it ends, and fills `record`: everything but index, due
    /// instant, late cause and worker. Calls `armed` when the request waits for its trigger, and again
    /// if it must be armed anew. Keeps `record` right even when dropped half-way.
    fn run(
        &self,
        job: Self::Job,
        record: &mut RequestRecord,
        tracker: &mut Tracker,
        armed: impl FnMut(Self::Trigger, &mut RequestRecord),
    ) -> impl Future<Output = ()>;
}

/// A request of the schedule, ready to be armed.
#[derive(Debug)]
pub struct Planned<J> {
    /// Index in the schedule.
    pub index: u64,
    /// When it is due, from the schedule's zero. A closed loop sets its own.
    pub due: Nanos,
    /// Line in the trace.
    pub row: Option<u64>,
    /// Session.
    pub session: Option<String>,
    /// Tokens of its prompt.
    pub input_tokens: u32,
    /// What is known of its prompt, for its record.
    pub prompt: PromptFacts,
    /// Tokens asked for.
    pub output_tokens: u32,
    /// Its place in a conversation.
    pub turn: Turn,
    /// Memory it takes, bytes: what the look-ahead is bounded by.
    pub bytes: usize,
    /// What the exchanger makes of it.
    pub job: J,
}

/// Where a request stands in its conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Turn {
    /// Number of the turn, from 1.
    pub number: Option<u32>,
    /// Index of the request before it.
    pub parent: Option<u64>,
    /// Requests that wait for its end: [`Followers`](crate::Followers) knows them.
    pub followers: u64,
}

/// A planned request and when its prompt was ready.
pub(crate) struct Ready<J> {
    pub(crate) planned: Planned<J>,
    pub(crate) at: Stamp,
    pub(crate) budget: crate::feeder::Held,
    /// What the end of the request before it has settled, where it waited for that.
    pub(crate) released: Option<Released>,
}

impl<J> Ready<J> {
    /// When it is due, in a run whose schedule's zero is `epoch`.
    pub(crate) fn due(&self, epoch: Stamp) -> Stamp {
        self.released.map_or_else(|| epoch.plus(self.planned.due), |released| released.due)
    }
}

/// What the end of the request before it settles for one that waited for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Released {
    /// From when it may leave.
    pub(crate) due: Stamp,
    /// That end.
    pub(crate) parent_end: Stamp,
    /// The schedule's own instant, where it has one.
    pub(crate) scheduled: Option<Stamp>,
}
