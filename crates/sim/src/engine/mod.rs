//! The engine thread: owns the timetable and writes the tokens.

mod batch;
mod fixed;
mod flood;
mod plan;
mod stream;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use self::plan::{Job, Planner, StreamId, Tick, planner};
use self::stream::{Peer, Stream, Streams};
use crate::link::{ToEngine, ToReader};
use crate::metrics::{Finish, Metrics};
use crate::order::Order;
use crate::reader::Shared;
use crate::truth::{Ending, Log};
use crate::wire::{self, Script};
use crate::{HeadTiming, Totals, clock};

/// Ticks served before the letter box is looked into again.
const TICKS_A_TURN: usize = 16;

/// Without a plan, one write has about that many bytes of events.
const BURST_BYTES: usize = 64 << 10;

/// Spinning is at most one part in this many of the time.
const SPIN_SHARE: u64 = 20;

/// The engine thread's state.
#[derive(Debug)]
pub(crate) struct Engine {
    shared: Arc<Shared>,
    log: Log,
    planner: Box<dyn Planner>,
    streams: Streams,
    padding: Arc<[u8]>,
    scratch: Vec<u8>,
    ends: Vec<usize>,
    /// When it last had something to do.
    busy_at: u64,
    totals: Totals,
}

impl Engine {
    pub(crate) fn new(shared: Arc<Shared>, log: Log) -> Self {
        let planner = planner(&shared.options.timetable);
        let padding = wire::padding(&shared.options);
        Engine {
            shared,
            log,
            planner,
            streams: Streams::new(),
            padding,
            scratch: Vec::with_capacity(2 * BURST_BYTES),
            ends: Vec::new(),
            busy_at: clock::now(),
            totals: Totals::default(),
        }
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) -> Totals {
        // The default slack of 50 µs would be most of the timetable's error. Refused in some sandboxes;
        // the truth log shows the lateness then.
        let _ = nix::sys::prctl::set_timerslack(1);
        let mut letters = Vec::new();
        let mut ticks = Vec::with_capacity(TICKS_A_TURN);
        while !self.shared.stop.load(Ordering::Acquire) {
            self.shared.to_engine.take(&mut letters);
            for letter in letters.drain(..) {
                self.on_letter(letter);
            }
            let now = clock::now();
            let due = self.planner.next_due(now);
            let waiting = self.planner.n_waiting();
            self.shared.metrics.load(self.streams.len().saturating_sub(waiting), waiting);
            match due {
                Some(due) if due <= now => {
                    self.planner.take_due(now, TICKS_A_TURN, &mut ticks);
                    for tick in ticks.drain(..) {
                        self.on_tick(tick);
                    }
                    self.busy_at = clock::now();
                }
                due => self.wait(due),
            }
        }
        for id in self.streams.ids() {
            self.end(id, Ending::Shutdown);
        }
        self.totals
    }

    /// Sleeps and spins until `due`, or until there is a letter.
    fn wait(&self, due: Option<u64>) {
        let woken = || self.shared.to_engine.is_filled() || self.shared.stop.load(Ordering::Acquire);
        let Some(due) = due else {
            if !woken() {
                std::thread::park();
            }
            return;
        };
        let options = &self.shared.options;
        let due = due.max(self.busy_at + options.gather.as_nanos() as u64);
        let spin = options.spin.as_nanos() as u64;
        let lead = spin.min(due.saturating_sub(self.busy_at) / SPIN_SHARE);
        while !woken() {
            let now = clock::now();
            if now >= due {
                return;
            }
            match (due - lead).checked_sub(now) {
                // An absolute futex wait underneath, and a letter ends it.
                Some(left) if left > 0 => std::thread::park_timeout(Duration::from_nanos(left)),
                _ => std::hint::spin_loop(),
            }
        }
    }

    fn on_letter(&mut self, letter: ToEngine) {
        match letter {
            ToEngine::Start(order) => self.start(*order),
            ToEngine::Writable { slot, id } => {
                if let Some(stream) = self.streams.on(slot, id) {
                    self.on_writable(stream);
                }
            }
            ToEngine::Gone { slot, id } => {
                if let Some(stream) = self.streams.on(slot, id) {
                    self.end(stream, Ending::ClientGone);
                }
            }
        }
    }

    fn start(&mut self, order: Order) {
        let script = Script::new(&self.shared.options, &self.padding, &order, clock::wall_seconds());
        let job = Job { received: order.received.received_ns, prefill_tokens: order.ask.prefill_tokens() };
        let (silent, streamed) = (order.ask.silent, order.ask.stream);
        let mut stream = Stream::new(order, script, self.log.truth);
        let mut peer = Peer::Here;
        if streamed && self.shared.options.head == HeadTiming::AtOnce {
            peer = stream.write_head();
        }
        let id = self.streams.insert(stream);
        if !silent {
            self.planner.admit(id, job);
        }
        if peer == Peer::Gone {
            self.end(id, Ending::ClientGone);
        }
    }

    fn on_tick(&mut self, tick: Tick) {
        let id = tick.stream;
        if self.speak(tick) == Peer::Gone {
            self.end(id, Ending::ClientGone);
            return;
        }
        let patience = self.planner.patience();
        let Some(stream) = self.streams.get(id) else { return };
        if stream.is_spoken() {
            let sent = stream.n_unsent() == 0;
            // The slot is free for the next one, whether or not this client reads its last bytes.
            self.planner.remove(id);
            if sent {
                self.end(id, Ending::Complete);
            }
        } else if stream.n_unsent() > patience {
            stream.paused = true;
        } else {
            self.planner.next(id);
        }
    }

    /// Makes the token, or the tokens, of a tick and offers them to the kernel.
    fn speak(&mut self, tick: Tick) -> Peer {
        let Some(stream) = self.streams.get(tick.stream) else { return Peer::Here };
        let left = stream.order.ask.output_tokens - stream.emitted;
        let n = match tick.due {
            Some(_) => 1,
            None => left.min((BURST_BYTES / stream.script.token_bytes()).max(1) as u32),
        };
        if !stream.order.ask.stream {
            count(&self.shared.metrics, stream, n);
            stream.keep_token(n, tick.due);
            if !stream.is_spoken() {
                return Peer::Here;
            }
            let bytes = wire::whole(&self.shared.options, &stream.order, clock::wall_seconds());
            return stream.write_whole(&bytes);
        }
        if stream.emitted == 0 && stream.write_prologue(&mut self.scratch) == Peer::Gone {
            return Peer::Gone;
        }
        count(&self.shared.metrics, stream, n);
        if stream.write_tokens(n, tick.due, &mut self.scratch, &mut self.ends) == Peer::Gone {
            return Peer::Gone;
        }
        if stream.is_spoken() { stream.write_epilogue(&mut self.scratch) } else { Peer::Here }
    }

    fn on_writable(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get(id) else { return };
        if stream.n_unsent() == 0 {
            return;
        }
        if stream.drain() == Peer::Gone {
            self.end(id, Ending::ClientGone);
        } else if stream.n_unsent() == 0 {
            if stream.is_spoken() {
                self.end(id, Ending::Complete);
            } else if stream.paused {
                stream.paused = false;
                self.planner.next(id);
            }
        }
    }

    fn end(&mut self, id: StreamId, ending: Ending) {
        let Some(stream) = self.streams.remove(id) else { return };
        self.planner.remove(id);
        let now = clock::now();
        let link = Arc::clone(&stream.order.link);
        let awaited = link.give_back(now);
        let (slot, conn) = (link.slot, link.id);
        let to_reader = &self.shared.to_reader;
        match ending {
            Ending::ClientGone => to_reader.put(ToReader::Drop { slot, id: conn }),
            _ if stream.order.delivery.close => to_reader.put(ToReader::Close { slot, id: conn }),
            _ if awaited => to_reader.put(ToReader::Returned { slot, id: conn }),
            _ => {}
        }
        match ending {
            Ending::Complete => self.totals.complete += 1,
            Ending::ClientGone => self.totals.client_gone += 1,
            _ => self.totals.shutdown += 1,
        }
        if !stream.is_spoken() {
            self.shared.metrics.finished(Finish::Abort, stream.n_resident());
        }
        self.totals.tokens += u64::from(stream.n_taken());
        self.log.ended(|| stream.into_ended(now, ending));
    }
}

/// Counts the next `n` tokens of `stream`, which are made and not yet written.
fn count(metrics: &Metrics, stream: &Stream, n: u32) {
    let ask = &stream.order.ask;
    if stream.emitted == 0 {
        let ttft = clock::now().saturating_sub(stream.order.received.received_ns);
        metrics.first_token(ask.prompt_tokens, ttft);
    }
    metrics.tokens(n);
    if stream.emitted + n == ask.output_tokens {
        let how = if ask.stops { Finish::Stop } else { Finish::Length };
        metrics.finished(how, ask.prompt_tokens + u64::from(ask.output_tokens));
    }
}
