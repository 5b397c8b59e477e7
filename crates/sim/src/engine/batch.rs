//! Continuous batching: steps on absolute time, a FIFO queue before the slots.

use std::collections::VecDeque;
use std::time::Duration;

use super::plan::{Job, Planner, StreamId, Tick};
use crate::BatchOptions;

/// An engine that reads prompts and decodes in steps; see [`BatchOptions`].
///
/// A step's end is its start plus its planned length, and the next one starts there, so lateness of the
/// thread that writes the tokens never accumulates. A request takes part in steps that start at or
/// after its receive stamp; an idle engine starts one at that very stamp.
#[derive(Debug)]
pub(crate) struct Batch {
    slots: usize,
    step_tokens: u64,
    decode_step: u64,
    ns_per_prefill_token: f64,
    waiting: VecDeque<(StreamId, Job)>,
    /// In order of admission; at most `slots`.
    running: Vec<StreamId>,
    /// By stream.
    states: Vec<State>,
    step: Option<Step>,
    last_end: u64,
    /// There was nothing to do when last looked.
    idle: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// Prompt tokens still to be read.
    unread: u64,
    /// It had its first token.
    decoding: bool,
    /// It can take a token.
    ready: bool,
}

/// The step under way.
#[derive(Debug)]
struct Step {
    end: u64,
    /// Who gets a token at its end.
    emits: VecDeque<StreamId>,
}

impl Batch {
    pub(crate) fn new(options: BatchOptions) -> Self {
        Batch {
            slots: options.slots as usize,
            step_tokens: u64::from(options.step_tokens),
            decode_step: options.decode_step.as_nanos() as u64,
            ns_per_prefill_token: Duration::from_secs(1).as_nanos() as f64 / options.prefill_tokens_per_s,
            waiting: VecDeque::new(),
            running: Vec::new(),
            states: Vec::new(),
            step: None,
            last_end: 0,
            idle: true,
        }
    }

    /// Where the next step starts, if there is one.
    fn start(&self, now: u64) -> u64 {
        if !self.idle {
            return self.last_end;
        }
        let resumed = self.running.iter().any(|&id| self.states[id as usize].ready);
        let received = self.waiting.front().map(|(_, job)| job.received).filter(|_| !resumed);
        received.unwrap_or(now).max(self.last_end)
    }

    /// Puts the next step together, from what is there at its start.
    fn begin(&mut self, now: u64) {
        let start = self.start(now);
        while self.running.len() < self.slots
            && let Some(&(id, job)) = self.waiting.front()
            && job.received <= start
        {
            self.waiting.pop_front();
            self.states[id as usize] = State { unread: job.prefill_tokens, decoding: false, ready: true };
            self.running.push(id);
        }
        let decodes = |state: &State| state.decoding && state.ready;
        let n_decoding = self.running.iter().filter(|&&id| decodes(&self.states[id as usize])).count();
        let mut budget = self.step_tokens.saturating_sub(n_decoding as u64);
        let (mut n_read, mut emits) = (0, VecDeque::with_capacity(self.running.len()));
        for &id in &self.running {
            let state = &mut self.states[id as usize];
            if decodes(state) {
                emits.push_back(id);
            } else if !state.decoding {
                let read = state.unread.min(budget);
                budget -= read;
                n_read += read;
                state.unread -= read;
                if state.unread == 0 {
                    emits.push_back(id);
                }
            }
        }
        self.idle = emits.is_empty() && n_read == 0;
        if self.idle {
            // Whoever waits comes later than this start would have been.
            if let Some(&(_, job)) = self.waiting.front().filter(|_| self.running.len() < self.slots) {
                self.last_end = job.received;
                self.begin(now);
            }
            return;
        }
        let decode = if n_decoding > 0 { self.decode_step } else { 0 };
        let prefill = (n_read as f64 * self.ns_per_prefill_token).round() as u64;
        self.step = Some(Step { end: start.saturating_add(decode).saturating_add(prefill), emits });
    }
}

impl Planner for Batch {
    fn admit(&mut self, id: StreamId, job: Job) {
        if id as usize >= self.states.len() {
            self.states.resize(id as usize + 1, State::default());
        }
        self.waiting.push_back((id, job));
    }

    fn next(&mut self, id: StreamId) {
        self.states[id as usize].ready = true;
    }

    fn remove(&mut self, id: StreamId) {
        self.waiting.retain(|(waiting, _)| *waiting != id);
        self.running.retain(|running| *running != id);
        if let Some(step) = &mut self.step {
            step.emits.retain(|emits| *emits != id);
        }
    }

    fn next_due(&mut self, now: u64) -> Option<u64> {
        if self.step.is_none() {
            self.begin(now);
        }
        self.step.as_ref().map(|step| step.end)
    }

    fn n_waiting(&self) -> usize {
        self.waiting.len()
    }

    fn take_due(&mut self, now: u64, limit: usize, ticks: &mut Vec<Tick>) {
        let Some(step) = self.step.as_mut().filter(|step| step.end <= now) else { return };
        while ticks.len() < limit
            && let Some(stream) = step.emits.pop_front()
        {
            let state = &mut self.states[stream as usize];
            state.decoding = true;
            state.ready = false;
            ticks.push(Tick { stream, due: Some(step.end) });
        }
        if step.emits.is_empty() {
            self.last_end = step.end;
            self.step = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn batch(slots: u32) -> Batch {
        Batch::new(BatchOptions {
            slots,
            prefill_tokens_per_s: 1_000.0,
            decode_step: Duration::from_millis(10),
            step_tokens: 100,
        })
    }

    fn admit(batch: &mut Batch, id: StreamId, received_ms: u64, prefill_tokens: u64) {
        batch.admit(id, Job { received: received_ms * MS, prefill_tokens });
    }

    /// Runs until nothing is due; each stream has `tokens` tokens. (stream, due in ms) of each.
    fn run(batch: &mut Batch, tokens: &[u32]) -> Vec<(StreamId, f64)> {
        let mut left = tokens.to_vec();
        let mut served = Vec::new();
        while let Some(now) = batch.next_due(u64::MAX) {
            let mut ticks = Vec::new();
            batch.take_due(now, 3, &mut ticks);
            for tick in ticks {
                served.push((tick.stream, tick.due.unwrap() as f64 / MS as f64));
                left[tick.stream as usize] -= 1;
                if left[tick.stream as usize] == 0 {
                    batch.remove(tick.stream);
                } else {
                    batch.next(tick.stream);
                }
            }
        }
        assert!(left.iter().all(|left| *left == 0));
        served
    }

    #[test]
    fn one_request_is_read_and_then_decoded() {
        let mut batch = batch(4);
        admit(&mut batch, 0, 1_000, 20);
        assert_eq!(run(&mut batch, &[3]), [(0, 1_020.0), (0, 1_030.0), (0, 1_040.0)]);
    }

    #[test]
    fn with_one_slot_the_second_waits_for_the_first() {
        let mut batch = batch(1);
        admit(&mut batch, 0, 0, 10);
        admit(&mut batch, 1, 1, 20);
        assert_eq!(run(&mut batch, &[2, 2]), [(0, 10.0), (0, 20.0), (1, 40.0), (1, 50.0)]);
    }

    #[test]
    fn a_newcomers_prefill_lengthens_the_step_of_those_that_decode() {
        let mut batch = batch(4);
        admit(&mut batch, 0, 0, 0);
        admit(&mut batch, 1, 5, 30);
        // Received in the step 0..10, read in the next: 10 ms of decoding and 30 ms of reading.
        let served = run(&mut batch, &[4, 2]);
        assert_eq!(served, [(0, 0.0), (0, 10.0), (0, 50.0), (1, 50.0), (0, 60.0), (1, 60.0)]);
    }

    #[test]
    fn a_long_prompt_is_read_in_steps_of_the_budget() {
        let mut batch = batch(4);
        admit(&mut batch, 0, 0, 0);
        admit(&mut batch, 1, 0, 150);
        // First step: stream 0 (nothing to read) and 100 tokens of stream 1; then 1 decodes, 50 are read.
        assert_eq!(run(&mut batch, &[2, 1]), [(0, 100.0), (0, 160.0), (1, 160.0)]);
    }

    #[test]
    fn an_idle_engine_starts_at_the_receive_stamp() {
        let mut batch = batch(4);
        admit(&mut batch, 0, 0, 10);
        assert_eq!(run(&mut batch, &[1]), [(0, 10.0)]);
        assert_eq!(batch.next_due(50 * MS), None);
        admit(&mut batch, 0, 70, 10);
        assert_eq!(batch.next_due(75 * MS), Some(80 * MS));
    }

    #[test]
    fn a_stream_that_pauses_gets_no_token_and_holds_up_no_other() {
        let mut batch = batch(4);
        admit(&mut batch, 0, 0, 0);
        admit(&mut batch, 1, 0, 0);
        let mut ticks = Vec::new();
        batch.next_due(0);
        batch.take_due(0, 9, &mut ticks);
        batch.next(1);
        assert_eq!(batch.next_due(0), Some(10 * MS));
        ticks.clear();
        batch.take_due(10 * MS, 9, &mut ticks);
        assert_eq!(ticks, [Tick { stream: 1, due: Some(10 * MS) }]);
        // Now both pause: nothing is due until one resumes, and then not in the past.
        assert_eq!(batch.next_due(20 * MS), None);
        batch.next(0);
        assert_eq!(batch.next_due(500 * MS), Some(510 * MS));
    }

    #[test]
    fn who_leaves_frees_the_slot_at_once() {
        let mut batch = batch(1);
        admit(&mut batch, 0, 0, 50);
        admit(&mut batch, 1, 1, 10);
        assert_eq!(batch.next_due(0), Some(50 * MS));
        batch.remove(0);
        // The step under way goes on to its end, without a token.
        let mut ticks = Vec::new();
        batch.take_due(50 * MS, 9, &mut ticks);
        assert_eq!(ticks, []);
        assert_eq!(batch.next_due(50 * MS), Some(60 * MS));
    }
}
