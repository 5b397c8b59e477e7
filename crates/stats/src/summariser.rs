//! From journal lines to a [`Summary`].

use std::collections::{BTreeMap, HashMap};

use tics_record::{
    Closing, LateCause, Line, LoadModel, Nanos, Outcome, RequestRecord, RunDescription, Sent, Stamp,
};

use crate::channels::Channels;
use crate::evidence::{Lengths, Timing, timing, trend};
use crate::figures::{Figures, Latencies, Parts, Whole, population};
use crate::index_set::IndexSet;
use crate::peaks::{Flight, lateness_beyond_place, max_overlap};
use crate::rows::Rows;
use crate::tokens::TokenSums;
use crate::turns::TurnSpans;
use crate::workload::Workload;
use crate::{
    Distribution, Evidence, Example, Limits, Populations, Quantile, Requests, SharedReads, Summary, Validity,
    Verdict, Wanted, judge, quantile,
};

/// What of a run's description the figures depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Requests in the schedule.
    pub scheduled: u64,
    /// How arrivals were made.
    pub model: LoadModel,
    /// Tokens that the server's chat template adds to each prompt that was made; none where not known.
    pub template_tokens: Option<u32>,
    /// Whether the server can know of the prompts only what the run itself sent (`cache` cold or warm).
    pub own_prompts: bool,
}

impl Plan {
    /// Of prompts of which nothing is known.
    pub const fn new(scheduled: u64, model: LoadModel) -> Self {
        Plan { scheduled, model, template_tokens: None, own_prompts: false }
    }
}

impl From<&RunDescription> for Plan {
    fn from(run: &RunDescription) -> Self {
        Plan {
            template_tokens: run.prompts.template_tokens,
            own_prompts: matches!(run.prompts.cache.as_deref(), Some("cold" | "warm")),
            ..Plan::new(run.load.scheduled, run.load.model)
        }
    }
}

/// Summarises the lines of a journal: what ends a run and what `tics report` does, by one function.
///
/// # Errors
/// The first error among the lines, as it is.
pub fn summarise<E>(
    lines: impl IntoIterator<Item = Result<Line, E>>,
    run: &RunDescription,
    wanted: &Wanted,
) -> Result<Summary, E> {
    let mut summariser = Summariser::new();
    for line in lines {
        summariser.line(&line?);
    }
    Ok(summariser.finish_as(&Plan::from(run), &Limits::changed_by(&run.checks), wanted))
}

/// Collects records one by one, in any order.
///
/// Two summarisers can be [merged](Summariser::merge): that equals one having seen everything, so
/// parts of a journal can be read in parallel.
#[derive(Debug, Clone, Default)]
pub struct Summariser {
    outcomes: [u64; Outcome::COUNT],
    requests: Rows,
    channels: Channels,
    lateness: Vec<i64>,
    late_causes: BTreeMap<LateCause, u64>,
    read_delay_p99: Vec<Nanos>,
    read_delay_max: Nanos,
    shared_tics: u64,
    tokens: TokenSums,
    turns: TurnSpans,
    workload: Workload,
    flights: Vec<Flight>,
    broken_stamps: u64,
    examples: BTreeMap<Outcome, Example>,
    ended: IndexSet,
    duplicates: u64,
    /// Sent and not ended so far.
    open: HashMap<u64, Sent>,
    last: Stamp,
    closing: Option<Closing>,
    lengths: Lengths,
}

impl Summariser {
    /// One that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes one line of a journal.
    pub fn line(&mut self, line: &Line) {
        match line {
            Line::Header(_) => {}
            Line::Sent(sent) => self.sent(sent),
            Line::Ended(record) => self.record(record),
            Line::Closing(closing) => self.closing(closing),
        }
    }

    /// Notes that a request was sent. Only needed for those whose record may never come.
    pub fn sent(&mut self, sent: &Sent) {
        self.last = self.last.max(sent.sent);
        if !self.ended.contains(sent.i) {
            self.open.insert(sent.i, *sent);
        }
    }

    /// Notes that the run ended in order; without it, the run counts as cut off.
    pub fn closing(&mut self, closing: &Closing) {
        self.last = self.last.max(closing.end);
        self.closing = Some(*closing);
    }

    /// Takes the record of a request that ended.
    pub fn record(&mut self, record: &RequestRecord) {
        self.open.remove(&record.i);
        if !self.ended.insert(record.i) {
            self.duplicates += 1;
        }
        self.outcomes[record.outcome as usize] += 1;
        self.turns.add(record);
        self.lengths.record(record);
        self.requests.add(record);
        let end = record.end.or(record.events.last().map(|e| e.at));
        self.last = [end, record.sent].into_iter().flatten().fold(self.last, Stamp::max);
        if let Some(sent) = record.sent {
            self.handed_over(record, sent, end.unwrap_or(sent));
        }
        if record.outcome.is_answered() {
            self.answered(record);
        } else {
            self.tokens.output.failed_tics += record.tics().count() as u64;
            self.example(record);
        }
    }

    /// What is counted of every request handed to the kernel.
    fn handed_over(&mut self, record: &RequestRecord, sent: Stamp, end: Stamp) {
        let first = record.tics().next().map(|tic| tic.at);
        let has_ttft = record.outcome.is_answered() && first.is_some();
        let first = first.unwrap_or(end);
        let excused = matches!(record.late_cause, Some(LateCause::OwnCap | LateCause::ParentTurn));
        self.flights.push(Flight { due: record.due, sent, first, end, has_ttft, excused });
        self.lateness.push(sent.signed_since(record.due));
        if let Some(cause) = record.late_cause {
            *self.late_causes.entry(cause).or_default() += 1;
        }
        if let Some(delay) = record.read_delay {
            self.read_delay_p99.push(delay.p99);
            self.read_delay_max = self.read_delay_max.max(delay.max);
        }
        let stamps = record.events.iter().map(|e| e.at);
        let mut before = sent;
        for at in stamps {
            self.broken_stamps += u64::from(at < before);
            before = at;
        }
    }

    /// Latencies and tokens: only of answered requests, so that no failure can flatter them.
    fn answered(&mut self, record: &RequestRecord) {
        self.channels.add(record);
        self.shared_tics += record.tics().filter(|e| e.shared).count() as u64;
        self.tokens.add(record);
        self.workload.add(record);
    }

    fn example(&mut self, record: &RequestRecord) {
        // Requests that were never sent are no failures; they are worth an example if they say why.
        if record.outcome == Outcome::NotSent && record.detail.is_none() {
            return;
        }
        self.offer(Example {
            outcome: record.outcome,
            i: record.i,
            row: record.row,
            status: record.status,
            detail: record.detail.clone(),
        });
    }

    /// Keeps the example that comes first in the schedule: which of two ended first is chance, and
    /// merging must not depend on it.
    fn offer(&mut self, example: Example) {
        match self.examples.get(&example.outcome) {
            Some(known) if known.i <= example.i => {}
            _ => drop(self.examples.insert(example.outcome, example)),
        }
    }

    /// Takes everything that `other` has seen of the same run.
    pub fn merge(&mut self, mut other: Summariser) {
        for (ours, theirs) in self.outcomes.iter_mut().zip(other.outcomes) {
            *ours += theirs;
        }
        self.requests.merge(other.requests);
        self.channels.merge(&other.channels);
        self.lateness.append(&mut other.lateness);
        for (cause, count) in other.late_causes {
            *self.late_causes.entry(cause).or_default() += count;
        }
        self.read_delay_p99.append(&mut other.read_delay_p99);
        self.read_delay_max = self.read_delay_max.max(other.read_delay_max);
        self.shared_tics += other.shared_tics;
        self.tokens.merge(&other.tokens);
        self.turns.merge(other.turns);
        self.workload.merge(other.workload);
        self.flights.append(&mut other.flights);
        self.broken_stamps += other.broken_stamps;
        for example in other.examples.into_values() {
            self.offer(example);
        }
        self.duplicates += other.duplicates + self.ended.merge(&other.ended);
        self.open.extend(other.open);
        let ended = &self.ended;
        self.open.retain(|i, _| !ended.contains(*i));
        self.last = self.last.max(other.last);
        self.closing = self.closing.or(other.closing);
        self.lengths.merge(&other.lengths);
    }

    /// The figures that every run has.
    pub fn finish(self, plan: &Plan, limits: &Limits) -> Summary {
        self.finish_as(plan, limits, &Wanted::default())
    }

    /// The figures, and what else is `wanted` of them.
    pub fn finish_as(mut self, plan: &Plan, limits: &Limits, wanted: &Wanted) -> Summary {
        let cut_off = self.closing.is_none();
        let interrupted = self.closing.is_some_and(|c| c.interrupted);
        let (known, strays) = self.ended.split_at(plan.scheduled);
        let open = self.open.keys().filter(|i| **i < plan.scheduled).count() as u64;
        let unseen = plan.scheduled.saturating_sub(known + open);
        if cut_off {
            self.cut_in_flight();
        }
        // In a complete journal a request without a record was lost, unless the run was interrupted
        // before its turn. In one that was cut off, what it does not have was not sent.
        let not_reached = if cut_off || interrupted { unseen } else { 0 };
        self.outcomes[Outcome::NotSent as usize] += not_reached;
        let lost = if cut_off { 0 } else { open + unseen - not_reached };
        let requests = self.counts(plan.scheduled, lost);

        self.lateness.sort_unstable();
        self.read_delay_p99.sort_unstable();
        let late = lateness_beyond_place(&mut self.flights, limits.per_place_ns);
        let all = std::mem::take(&mut self.requests);
        let figures = Figures::new(&all, wanted);
        let latencies = figures.latencies();
        let evidence = Evidence { strays, ..self.evidence(plan, limits, &requests, &latencies, late) };
        let whole = self.whole(plan.model, &requests);
        let parts = figures.parts(&whole, &latencies);
        Summary {
            population: Populations { latency: population(wanted.failed_as), ..Populations::default() },
            validity: judge(&evidence, limits),
            ..self.summary(requests, &whole, &latencies, parts)
        }
    }

    /// What the verdict is judged from, but for strays. Flights are in the order of due, and reads sorted.
    ///
    /// - `late`: lateness beyond each one's place, in that order.
    fn evidence(
        &self,
        plan: &Plan,
        limits: &Limits,
        requests: &Requests,
        latencies: &Latencies,
        late: Vec<i64>,
    ) -> Evidence {
        let median_ns = |of: &Distribution| of.p50.map(|ms| ms * 1e6);
        let median_ttft_ns = median_ns(&latencies.ttft);
        let slack = limits.lateness(median_ttft_ns) as u64;
        let open = plan.model == LoadModel::OpenLoop;
        let timing = if open { timing(&self.flights, &late, slack) } else { Timing::default() };
        let ramp = self.closing.map_or(0, |c| c.max_in_flight);
        let closed = plan.model == LoadModel::ClosedLoop;
        let mut beyond: Vec<u64> = late.into_iter().map(i64::unsigned_abs).collect();
        beyond.sort_unstable();
        Evidence {
            model: Some(plan.model),
            scheduled: plan.scheduled,
            sent: requests.sent,
            not_sent: requests.not_sent,
            answered: requests.answered(),
            short: requests.short,
            long: requests.long,
            broken_stamps: self.broken_stamps,
            cancelled: self.outcomes[Outcome::Cancelled as usize],
            duplicates: self.duplicates,
            strays: 0,
            lost: requests.lost,
            complete: self.closing.is_some(),
            interrupted: self.closing.is_some_and(|c| c.interrupted),
            n_lateness: beyond.len() as u64,
            lateness_p99_ns: quantile(&beyond, Quantile::P99).ok(),
            median_ttft_ns,
            median_icl_ns: median_ns(&latencies.icl),
            main_late_cause: self.main_late_cause(),
            timing,
            read_delay_p99_ns: quantile(&self.read_delay_p99, Quantile::P50).ok(),
            lengths: self.lengths,
            template_tokens: plan.template_tokens,
            cache: self.workload.compared().filter(|_| plan.own_prompts),
            trend: if closed { trend(&self.flights, ramp) } else { None },
        }
    }

    /// The run as a whole.
    fn whole(&self, model: LoadModel, requests: &Requests) -> Whole {
        let first_sent = self.flights.iter().map(|f| f.sent).min();
        let last_end = self.flights.iter().map(|f| f.end).max();
        let duration_s = first_sent.zip(last_end).and_then(|(a, b)| b.since(a)).map(Nanos::as_secs_f64);
        let rate = |count: u64| duration_s.filter(|s| *s > 0.0).map(|s| count as f64 / s);
        Whole {
            model,
            duration_s,
            failed_share: (requests.sent > 0).then(|| requests.failed as f64 / requests.sent as f64),
            requests_per_s: rate(requests.answered()),
            tokens_per_s: rate(self.tokens.output.used),
        }
    }

    /// Requests that were in flight when a journal was cut off: cut with it, at the last stamp known.
    fn cut_in_flight(&mut self) {
        // In order, so that the example does not depend on the hash map's.
        let mut open: Vec<Sent> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_unstable_by_key(|sent| sent.i);
        for sent in open {
            self.outcomes[Outcome::Cancelled as usize] += 1;
            self.lateness.push(sent.sent.signed_since(sent.due));
            let last = self.last;
            let mut record = RequestRecord::not_sent(sent.i, sent.due);
            (record.sent, record.outcome) = (Some(sent.sent), Outcome::Cancelled);
            self.requests.add_cut(&record, last);
            self.flights.push(Flight {
                due: sent.due,
                sent: sent.sent,
                first: last,
                end: last,
                has_ttft: false,
                excused: false,
            });
            self.offer(Example {
                outcome: Outcome::Cancelled,
                i: sent.i,
                row: None,
                status: None,
                detail: Some("in flight when the journal was cut off".to_owned()),
            });
        }
    }

    fn counts(&self, scheduled: u64, lost: u64) -> Requests {
        let count = |outcome: Outcome| self.outcomes[outcome as usize];
        let failed = Outcome::ALL.into_iter().filter(|o| o.is_failed()).map(count).sum();
        let (ok, short, long) = (count(Outcome::Ok), count(Outcome::Short), count(Outcome::Long));
        let sent = ok + short + long + failed;
        Requests { scheduled, sent, ok, short, long, failed, not_sent: count(Outcome::NotSent), lost }
    }

    /// The cause noted most often; among equals the first of its type's order.
    fn main_late_cause(&self) -> Option<LateCause> {
        let causes = self.late_causes.iter();
        causes.max_by_key(|(cause, count)| (**count, std::cmp::Reverse(**cause))).map(|(cause, _)| *cause)
    }

    /// Everything but the verdict and the populations, which are added to it.
    fn summary(self, requests: Requests, whole: &Whole, latencies: &Latencies, parts: Parts) -> Summary {
        let output_tokens = self.tokens.output(requests.answered());
        let mut read_delay_us = Distribution::of_sorted(&self.read_delay_p99, 1e3);
        read_delay_us.max = read_delay_us.max.map(|_| self.read_delay_max.as_micros_f64());
        let tics = output_tokens.tics;
        let (input_lengths, cache) = self.workload.finish();
        Summary {
            requests,
            outcomes: Outcome::ALL.into_iter().map(|o| (o, self.outcomes[o as usize])).collect(),
            duration_s: whole.duration_s,
            ttft_ms: latencies.ttft,
            ttft_from_due_ms: latencies.ttft_due,
            ttft_visible_ms: latencies.ttft_visible,
            icl_ms: latencies.icl,
            itl_ms: latencies.itl,
            itl_requests: latencies.itl_requests,
            icl_requests: latencies.icl_requests,
            icl_of_requests_ms: latencies.icl_of_requests,
            itl_of_requests_ms: latencies.itl_of_requests,
            tpot_ms: latencies.tpot,
            stream_tokens_per_s: latencies.stream_tokens_per_s,
            e2e_ms: latencies.e2e,
            e2e_from_due_ms: latencies.e2e_due,
            lateness_us: Distribution::of_sorted(&self.lateness, 1e3),
            late_causes: self.late_causes,
            read_delay_us,
            pacer_spun_s: self.closing.map(|c| c.pacer_spun.as_secs_f64()),
            shared_reads: SharedReads {
                tics,
                shared: self.shared_tics,
                share: (tics > 0).then(|| self.shared_tics as f64 / tics as f64),
            },
            input_tokens: self.tokens.input,
            input_lengths,
            cache,
            tokens_per_s: whole.tokens_per_s,
            output_tokens,
            channels: self.channels,
            requests_per_s: whole.requests_per_s,
            max_in_flight: max_overlap(self.flights.iter().map(|f| (f.sent, f.end))),
            max_queued: max_overlap(self.flights.iter().map(|f| (f.sent, f.first))),
            turns: self.turns.finish(),
            broken_stamps: self.broken_stamps,
            examples: self.examples.into_values().collect(),
            concurrency: parts.concurrency,
            steady: parts.steady,
            slo: parts.slo,
            objectives: parts.objectives,
            windows: parts.windows,
            by_input_length: parts.by_input,
            by_output_length: parts.by_output,
            population: Populations::default(),
            validity: Validity { verdict: Verdict::Valid, checks: Vec::new() },
        }
    }
}
