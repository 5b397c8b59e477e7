//! What the threads of a run count as it happens, and the snapshot made of it.
//!
//! Every histogram and most counters have one writer; readers look without stopping it. Only the two
//! levels (in flight, queued) are written by several threads, twice a request each, so that their
//! peaks are exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use tics_record::{
    Clock, Event, Gauge, LiveHistogram, LivePercentiles, Nanos, Outcome, Phase, Progress, RequestRecord,
    Snapshot, Stamp,
};

use crate::shot::ShotState;

/// Totals of the schedule, known before the run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests.
    pub scheduled: u64,
    /// Sum of their input lengths, tokens.
    pub input_tokens: u64,
    /// Sum of their output lengths, tokens.
    pub output_tokens: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Level {
    now: AtomicU64,
    peak: AtomicU64,
}

impl Level {
    fn up(&self) {
        let now = self.now.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(now, Relaxed);
    }

    fn down(&self) {
        self.now.fetch_sub(1, Relaxed);
    }

    fn gauge(&self) -> Gauge {
        Gauge { now: self.now.load(Relaxed), peak: self.peak.load(Relaxed) }
    }
}

/// One worker's counters.
#[derive(Debug, Default)]
pub(crate) struct WorkerLive {
    prefill_tokens: AtomicU64,
    decode_tokens: AtomicU64,
    ttft: LiveHistogram,
    icl: LiveHistogram,
    /// Lateness of requests that this worker fired itself.
    pub(crate) lateness: LiveHistogram,
    outcomes: [AtomicU64; Outcome::COUNT],
}

/// Adds to a counter that only the calling thread writes.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

/// The live state of a run. Shared by all its threads and whoever shows it.
#[derive(Debug)]
pub struct Live {
    totals: Totals,
    epoch: AtomicU64,
    phase: AtomicU8,
    drain_until: AtomicU64,
    sent: AtomicU64,
    in_flight: Level,
    queued: Level,
    /// Lateness of requests that the pacer fired.
    pub(crate) lateness: LiveHistogram,
    pub(crate) workers: Vec<WorkerLive>,
    /// Requests that will never be handed to a worker.
    never_sent: AtomicU64,
}

impl Live {
    /// The state before a run of `totals` over `workers` workers.
    pub fn new(totals: Totals, workers: usize) -> Self {
        Live {
            totals,
            epoch: AtomicU64::new(0),
            phase: AtomicU8::new(0),
            drain_until: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            in_flight: Level::default(),
            queued: Level::default(),
            lateness: LiveHistogram::default(),
            workers: (0..workers).map(|_| WorkerLive::default()).collect(),
            never_sent: AtomicU64::new(0),
        }
    }

    pub(crate) fn set_epoch(&self, epoch: Stamp) {
        self.epoch.store(epoch.as_nanos(), Relaxed);
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
    }

    pub(crate) fn set_drain_until(&self, until: Stamp) {
        self.drain_until.store(until.as_nanos(), Relaxed);
    }

    pub(crate) fn set_never_sent(&self, n: u64) {
        self.never_sent.store(n, Relaxed);
    }

    /// A request is about to be handed to the kernel. Before and not after, so that its response,
    /// which another thread reads, cannot be counted first.
    pub(crate) fn sending(&self) {
        self.sent.fetch_add(1, Relaxed);
        self.in_flight.up();
        self.queued.up();
    }

    /// It was not, after all.
    pub(crate) fn not_sending(&self) {
        self.sent.fetch_sub(1, Relaxed);
        self.in_flight.down();
        self.queued.down();
    }

    pub(crate) fn first_token(&self, worker: usize, input_tokens: u32, ttft: Option<Nanos>) {
        self.queued.down();
        let live = &self.workers[worker];
        add(&live.prefill_tokens, u64::from(input_tokens));
        if let Some(ttft) = ttft {
            live.ttft.record(ttft);
        }
    }

    pub(crate) fn tic(&self, worker: usize, gap: Option<Nanos>) {
        let live = &self.workers[worker];
        add(&live.decode_tokens, 1);
        if let Some(gap) = gap {
            live.icl.record(gap);
        }
    }

    /// A request ended; `fired` tells whether it had been sent.
    pub(crate) fn ended(&self, worker: usize, record: &RequestRecord, fired: bool) {
        let live = &self.workers[worker];
        if fired {
            self.in_flight.down();
            if record.output.tics == 0 {
                self.queued.down();
            }
        }
        if let Some(tokens) = record.output.usage {
            // Wraps on purpose: the server may have counted fewer than the tics.
            add(&live.decode_tokens, u64::from(tokens).wrapping_sub(u64::from(record.output.tics)));
        }
        add(&live.outcomes[record.outcome as usize], 1);
    }

    /// Largest number of requests in flight and queued so far.
    pub fn peaks(&self) -> (u64, u64) {
        (self.in_flight.gauge().peak, self.queued.gauge().peak)
    }

    /// The run at `now`.
    pub fn snapshot(&self, now: Stamp) -> Snapshot {
        let sum = |part: fn(&WorkerLive) -> &AtomicU64| -> u64 {
            self.workers.iter().map(|w| part(w).load(Relaxed)).fold(0, u64::wrapping_add)
        };
        let mut outcomes = [0; Outcome::COUNT];
        for (code, count) in outcomes.iter_mut().enumerate() {
            *count = self.workers.iter().map(|w| w.outcomes[code].load(Relaxed)).sum();
        }
        let done: u64 = outcomes.iter().sum::<u64>() - outcomes[Outcome::NotSent as usize];
        outcomes[Outcome::NotSent as usize] += self.never_sent.load(Relaxed);
        let of = |part: fn(&WorkerLive) -> &LiveHistogram| LivePercentiles::of(self.workers.iter().map(part));
        let drain_until = self.drain_until.load(Relaxed);
        Snapshot {
            at: now,
            epoch: Stamp::from_nanos(self.epoch.load(Relaxed)),
            phase: match self.phase.load(Relaxed) {
                0 => Phase::Preparing,
                1 => Phase::Running,
                2 => Phase::Draining,
                _ => Phase::Finished,
            },
            sent: Progress { done: self.sent.load(Relaxed), total: self.totals.scheduled },
            done: Progress { done, total: self.totals.scheduled },
            prefill_tokens: Progress { done: sum(|w| &w.prefill_tokens), total: self.totals.input_tokens },
            decode_tokens: Progress { done: sum(|w| &w.decode_tokens), total: self.totals.output_tokens },
            in_flight: self.in_flight.gauge(),
            queued: self.queued.gauge(),
            ttft: of(|w| &w.ttft),
            icl: of(|w| &w.icl),
            lateness: LivePercentiles::of(self.workers.iter().map(|w| &w.lateness).chain([&self.lateness])),
            outcomes,
            drain_until: (drain_until > 0).then_some(Stamp::from_nanos(drain_until)),
        }
    }
}

/// Follows one request for the live view. Stays on its worker.
pub struct Tracker {
    pub(crate) live: Arc<Live>,
    pub(crate) worker: usize,
    pub(crate) input_tokens: u32,
    pub(crate) shot: Arc<ShotState>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) last_tic: Option<Stamp>,
    pub(crate) connected: Option<Stamp>,
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracker").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Tracker {
    /// The request has its connection.
    pub fn connected(&mut self) {
        self.connected = self.connected.or(Some(self.clock.now()));
    }

    /// An event of its stream. `first` if it is the first tic.
    pub fn event(&mut self, event: &Event, first: bool) {
        if !event.is_tic() {
            return;
        }
        if first {
            let ttft = self.shot.sent().and_then(|sent| event.at.since(sent));
            self.live.first_token(self.worker, self.input_tokens, ttft);
        }
        let gap = self.last_tic.and_then(|last| event.at.since(last));
        self.live.tic(self.worker, gap);
        self.last_tic = Some(event.at);
    }
}
