//! From journal lines to a [`Summary`].

use std::collections::{BTreeMap, HashMap};

use tics_record::{
    Closing, Event, HealthSample, LateCause, Line, LoadModel, Nanos, Outcome, RequestRecord, RunDescription,
    Sent, ServerSample, Stamp,
};

use crate::evidence::{Observed, Timing, timing, trend};
use crate::index_set::IndexSet;
use crate::peaks::{Flight, lateness_beyond_place, max_overlap};
use crate::spans::{SortedSpans, Spans};
use crate::turns::TurnSpans;
use crate::{
    Distribution, Evidence, Example, InputTokens, Limits, OutputTokens, Populations, Quantile, Requests,
    SharedReads, Summary, TokenCount, judge, quantile,
};

/// What of a run's description the figures depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Requests in the schedule.
    pub scheduled: u64,
    /// How arrivals were made.
    pub model: LoadModel,
}

impl From<&RunDescription> for Plan {
    fn from(run: &RunDescription) -> Self {
        Plan { scheduled: run.load.scheduled, model: run.load.model }
    }
}

/// Samples taken beside the records.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Samples {
    /// Of the tester (`health.jsonl`), in order.
    pub health: Vec<HealthSample>,
    /// Of the server (`server.jsonl`).
    pub server: Vec<ServerSample>,
}

/// Summarises the lines of a journal: what ends a run and what `tics report` does, by one function.
///
/// # Errors
/// The first error among the lines, as it is.
pub fn summarise<E>(
    lines: impl IntoIterator<Item = Result<Line, E>>,
    run: &RunDescription,
) -> Result<Summary, E> {
    summarise_with(lines, run, &Samples::default())
}

/// The same with what was sampled beside the records, which the verdict takes into account.
///
/// # Errors
/// The first error among the lines, as it is.
pub fn summarise_with<E>(
    lines: impl IntoIterator<Item = Result<Line, E>>,
    run: &RunDescription,
    samples: &Samples,
) -> Result<Summary, E> {
    let mut summariser = Summariser::new();
    for line in lines {
        summariser.line(&line?);
    }
    summariser.samples(samples);
    summariser.expect_cold(!run.prompts.prefixes && run.prompts.salt.is_some());
    Ok(summariser.finish(&Plan::from(run), &Limits::changed_by(&run.checks)))
}

/// Sums over the output lengths of answered requests.
#[derive(Debug, Clone, Copy, Default)]
struct TokenSums {
    input: InputTokens,
    output: OutputTokens,
    /// Tics of the requests for which the server counted.
    tics_with_usage: u64,
}

/// Collects records one by one, in any order.
///
/// Two summarisers can be [merged](Summariser::merge): that equals one having seen everything, so
/// parts of a journal can be read in parallel.
#[derive(Debug, Clone, Default)]
pub struct Summariser {
    outcomes: [u64; Outcome::COUNT],
    ttft: Spans,
    ttft_from_due: Spans,
    /// Gaps between tics that carried one token each: ICL and ITL at once, kept once.
    gaps_of_one: Spans,
    /// Gaps that are ICL only.
    gaps_other: Spans,
    /// Gaps divided by the tokens that came after them: ITL only.
    gaps_split: Spans,
    icl_requests: u64,
    itl_requests: u64,
    /// Nanoseconds.
    tpot: Vec<f64>,
    e2e: Spans,
    e2e_from_due: Spans,
    lateness: Vec<i64>,
    late_causes: BTreeMap<LateCause, u64>,
    read_delay_p99: Vec<Nanos>,
    read_delay_max: Nanos,
    shared_tics: u64,
    tokens: TokenSums,
    turns: TurnSpans,
    flights: Vec<Flight>,
    broken_stamps: u64,
    examples: BTreeMap<Outcome, Example>,
    ended: IndexSet,
    duplicates: u64,
    /// Sent and not ended so far.
    open: HashMap<u64, Sent>,
    last: Stamp,
    closing: Option<Closing>,
    observed: Observed,
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

    /// Takes the samples of the tester and of the server.
    pub fn samples(&mut self, samples: &Samples) {
        samples.health.iter().for_each(|sample| self.observed.health(sample));
        samples.server.iter().for_each(|sample| self.observed.server(sample));
    }

    /// Says that no cache of the server should know the prompts.
    pub fn expect_cold(&mut self, cold: bool) {
        self.observed.lengths.cold = cold;
    }

    /// Takes the record of a request that ended.
    pub fn record(&mut self, record: &RequestRecord) {
        self.open.remove(&record.i);
        if !self.ended.insert(record.i) {
            self.duplicates += 1;
        }
        self.outcomes[record.outcome as usize] += 1;
        self.turns.add(record);
        self.observed.record(record);
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
        let first = record.tics().next().map_or(end, |tic| tic.at);
        let excused = matches!(record.late_cause, Some(LateCause::OwnCap | LateCause::ParentTurn));
        self.flights.push(Flight { due: record.due, sent, first, end, excused });
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
        for (spans, span) in [
            (&mut self.ttft, record.ttft()),
            (&mut self.ttft_from_due, record.ttft_from_due()),
            (&mut self.e2e, record.e2e()),
            (&mut self.e2e_from_due, record.e2e_from_due()),
        ] {
            if let Some(span) = span {
                spans.push(span.as_nanos());
            }
        }
        self.tpot.extend(record.tpot_ns());
        self.gaps(record);
        self.shared_tics += record.tics().filter(|e| e.shared).count() as u64;
        self.tokens.add(record);
    }

    fn gaps(&mut self, record: &RequestRecord) {
        let pairs = || {
            let tics = record.tics();
            tics.clone().zip(tics.skip(1))
        };
        if pairs().next().is_none() {
            return;
        }
        self.icl_requests += 1;
        let tokens_said = record.tics().all(|e| e.tokens().is_some());
        let one_each = if tokens_said {
            record.tics().skip(1).all(|e| e.tokens() == Some(1))
        } else {
            record.output.usage == Some(record.tics().count() as u32)
        };
        self.itl_requests += u64::from(one_each || tokens_said);
        let icl = if one_each { &mut self.gaps_of_one } else { &mut self.gaps_other };
        for gap in pairs().filter_map(|(a, b)| b.at.since(a.at)) {
            icl.push(gap.as_nanos());
        }
        if tokens_said && !one_each {
            split_gaps(pairs(), &mut self.gaps_split);
        }
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
        self.ttft.append(other.ttft);
        self.ttft_from_due.append(other.ttft_from_due);
        self.gaps_of_one.append(other.gaps_of_one);
        self.gaps_other.append(other.gaps_other);
        self.gaps_split.append(other.gaps_split);
        self.icl_requests += other.icl_requests;
        self.itl_requests += other.itl_requests;
        self.tpot.append(&mut other.tpot);
        self.e2e.append(other.e2e);
        self.e2e_from_due.append(other.e2e_from_due);
        self.lateness.append(&mut other.lateness);
        for (cause, count) in other.late_causes {
            *self.late_causes.entry(cause).or_default() += count;
        }
        self.read_delay_p99.append(&mut other.read_delay_p99);
        self.read_delay_max = self.read_delay_max.max(other.read_delay_max);
        self.shared_tics += other.shared_tics;
        self.tokens.merge(&other.tokens);
        self.turns.merge(other.turns);
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
        self.observed.merge(other.observed);
    }

    /// The figures.
    pub fn finish(mut self, plan: &Plan, limits: &Limits) -> Summary {
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
        let requests = self.requests(plan.scheduled, lost);

        self.lateness.sort_unstable();
        let late = lateness_beyond_place(&mut self.flights, limits.per_place_ns);
        let ttft = SortedSpans::union_ms(&[&std::mem::take(&mut self.ttft).sorted()]);
        let median_ttft_ns = ttft.p50.map(|ms| ms * 1e6);
        let open = plan.model == LoadModel::OpenLoop;
        let slack = limits.lateness(median_ttft_ns) as u64;
        let mut observed = std::mem::take(&mut self.observed);
        let server = observed.conclude(&self.flights, requests.sent, requests.answered());
        let ramp = self.closing.map_or(0, |c| c.max_in_flight);
        let evidence = Evidence {
            model: Some(plan.model),
            live: false,
            answered: requests.answered(),
            median_icl_ns: None,
            timing: if open { timing(&self.flights, slack) } else { Timing::default() },
            health: observed.health,
            reads: observed.reads,
            lengths: observed.lengths,
            server,
            trend: trend(&self.flights, ramp),
            scheduled: plan.scheduled,
            sent: requests.sent,
            not_sent: requests.not_sent,
            cancelled: self.outcomes[Outcome::Cancelled as usize],
            duplicates: self.duplicates,
            strays,
            lost,
            complete: !cut_off,
            interrupted,
            n_lateness: late.len() as u64,
            lateness_p99_ns: quantile(&late, Quantile::P99).ok(),
            median_ttft_ns,
            main_late_cause: self.main_late_cause(),
        };
        self.summary(requests, &ttft, |median_icl_ns| judge(&Evidence { median_icl_ns, ..evidence }, limits))
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
            self.flights.push(Flight {
                due: sent.due,
                sent: sent.sent,
                first: last,
                end: last,
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

    fn requests(&self, scheduled: u64, lost: u64) -> Requests {
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

    fn summary(
        mut self,
        requests: Requests,
        ttft_ms: &Distribution,
        judge: impl FnOnce(Option<f64>) -> crate::Validity,
    ) -> Summary {
        let first_sent = self.flights.iter().map(|f| f.sent).min();
        let last_end = self.flights.iter().map(|f| f.end).max();
        let duration_s = first_sent.zip(last_end).and_then(|(a, b)| b.since(a)).map(Nanos::as_secs_f64);
        let rate = |count: u64| duration_s.filter(|s| *s > 0.0).map(|s| count as f64 / s);
        let output_tokens = self.tokens.output(requests.answered());
        // One at a time: each is freed before the next is sorted.
        let alone = |spans: Spans| SortedSpans::union_ms(&[&spans.sorted()]);
        let ttft_from_due_ms = alone(self.ttft_from_due);
        let e2e_ms = alone(self.e2e);
        let e2e_from_due_ms = alone(self.e2e_from_due);
        let (one, other, split) =
            (self.gaps_of_one.sorted(), self.gaps_other.sorted(), self.gaps_split.sorted());
        self.tpot.sort_unstable_by(f64::total_cmp);
        self.read_delay_p99.sort_unstable();
        let mut read_delay_us = Distribution::of_sorted(&self.read_delay_p99, 1e3);
        read_delay_us.max = read_delay_us.max.map(|_| self.read_delay_max.as_micros_f64());
        let tics = output_tokens.tics;
        let icl_ms = SortedSpans::union_ms(&[&one, &other]);
        Summary {
            requests,
            outcomes: Outcome::ALL.into_iter().map(|o| (o, self.outcomes[o as usize])).collect(),
            duration_s,
            ttft_ms: *ttft_ms,
            ttft_from_due_ms,
            icl_ms,
            itl_ms: (self.itl_requests > 0).then(|| SortedSpans::union_ms(&[&one, &split])),
            itl_requests: self.itl_requests,
            icl_requests: self.icl_requests,
            tpot_ms: Distribution::of_sorted(&self.tpot, 1e6),
            e2e_ms,
            e2e_from_due_ms,
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
            tokens_per_s: rate(output_tokens.used),
            output_tokens,
            requests_per_s: rate(requests.answered()),
            max_in_flight: max_overlap(self.flights.iter().map(|f| (f.sent, f.end))),
            max_queued: max_overlap(self.flights.iter().map(|f| (f.sent, f.first))),
            turns: self.turns.finish(),
            broken_stamps: self.broken_stamps,
            examples: self.examples.into_values().collect(),
            population: Populations::default(),
            validity: judge(icl_ms.p50.map(|ms| ms * 1e6)),
        }
    }
}

/// Spreads each gap over the tokens that came at its end: k tokens are k values of gap / k, the
/// nanoseconds that remain going to the first ones, so that the values add up to the gap. A tic
/// without a token passes its gap on to the next.
fn split_gaps<'a>(pairs: impl Iterator<Item = (&'a Event, &'a Event)>, into: &mut Spans) {
    let mut carried = 0;
    for (before, tic) in pairs {
        let Some(gap) = tic.at.since(before.at) else { continue };
        let gap = gap.as_nanos() + carried;
        let tokens = u64::from(tic.tokens().unwrap_or(0));
        carried = if tokens == 0 { gap } else { 0 };
        for k in 0..tokens {
            into.push(gap / tokens + u64::from(k < gap % tokens));
        }
    }
}

impl TokenSums {
    fn add(&mut self, record: &RequestRecord) {
        let (input, output) = (&mut self.input, &mut self.output);
        let tics = record.tics().count() as u64;
        input.asked += u64::from(record.input.asked);
        if let Some(usage) = record.input.usage {
            *input.usage.get_or_insert(0) += u64::from(usage);
            input.with_usage += 1;
            input.differ += u64::from(usage != record.input.asked);
        }
        output.asked += u64::from(record.output.asked);
        output.tics += tics;
        output.used += record.output.usage.map_or(tics, u64::from);
        if let Some(usage) = record.output.usage {
            *output.usage.get_or_insert(0) += u64::from(usage);
            output.with_usage += 1;
            output.differ += u64::from(u64::from(usage) != tics);
            self.tics_with_usage += tics;
        }
    }

    fn merge(&mut self, other: &TokenSums) {
        let add = |a: Option<u64>, b: Option<u64>| a.map_or(b, |a| Some(a + b.unwrap_or(0)));
        let (input, output) = (&mut self.input, &mut self.output);
        input.asked += other.input.asked;
        input.usage = add(input.usage, other.input.usage);
        input.with_usage += other.input.with_usage;
        input.differ += other.input.differ;
        output.asked += other.output.asked;
        output.tics += other.output.tics;
        output.usage = add(output.usage, other.output.usage);
        output.used += other.output.used;
        output.with_usage += other.output.with_usage;
        output.differ += other.output.differ;
        output.failed_tics += other.output.failed_tics;
        self.tics_with_usage += other.tics_with_usage;
    }

    fn output(&self, answered: u64) -> OutputTokens {
        let count = match self.output.with_usage {
            _ if answered == 0 => TokenCount::None,
            0 => TokenCount::Tics,
            n if n == answered => TokenCount::Usage,
            _ => TokenCount::Mixed,
        };
        let per_tic = self.output.usage.filter(|_| self.tics_with_usage > 0);
        let tokens_per_tic = per_tic.map(|usage| usage as f64 / self.tics_with_usage as f64);
        OutputTokens { count, tokens_per_tic, ..self.output }
    }
}
