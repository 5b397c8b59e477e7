//! What a run came to: the shape of `summary.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tics_record::{LateCause, Outcome};

use crate::{
    Attainment, CacheUse, Channels, Concurrency, Distribution, InputLengths, LengthClass, ObjectiveResult,
    Steady, Turns, Validity, Window,
};

/// The figures of one run. Formulas and populations are in the crate's documentation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Counts of requests.
    pub requests: Requests,
    /// Every outcome with its count, zero included; they add up to the schedule.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Last end - first sent, seconds; null when nothing was sent.
    pub duration_s: Option<f64>,
    /// First tic - sent.
    pub ttft_ms: Distribution,
    /// First tic - due.
    pub ttft_from_due_ms: Distribution,
    /// First visible tic (of class content) - sent; null where that is the first tic of every request.
    #[serde(default)]
    pub ttft_visible_ms: Option<Distribution>,
    /// Gaps between neighbouring tics, pooled.
    pub icl_ms: Distribution,
    /// Gaps between neighbouring tokens, pooled; null where no request shows which tokens came when.
    pub itl_ms: Option<Distribution>,
    /// Requests that `itl_ms` is over. Where it is less than the requests that `icl_ms` is over, the
    /// others' tics did not carry one token each.
    pub itl_requests: u64,
    /// Requests that `icl_ms` is over: answered, with at least two tics.
    pub icl_requests: u64,
    /// Mean gap between tics, one value a request.
    #[serde(default)]
    pub icl_of_requests_ms: Distribution,
    /// Mean gap between tokens, one value a request; null as `itl_ms`.
    #[serde(default)]
    pub itl_of_requests_ms: Option<Distribution>,
    /// Mean time an output token after the first, one value a request.
    pub tpot_ms: Distribution,
    /// 1 / TPOT: output tokens a second of one stream, one value a request.
    #[serde(default)]
    pub stream_tokens_per_s: Distribution,
    /// Last event - sent.
    pub e2e_ms: Distribution,
    /// Last event - due.
    pub e2e_from_due_ms: Distribution,
    /// sent - due.
    pub lateness_us: Distribution,
    /// Requests by the cause of their lateness, where one was noted.
    pub late_causes: BTreeMap<LateCause, u64>,
    /// The reader's own delay: p99 of each request's reads; `max` is the largest of all reads.
    pub read_delay_us: Distribution,
    /// Seconds of processor that the pacer spent spinning; null where the journal was cut off.
    pub pacer_spun_s: Option<f64>,
    /// Tics that shared their read with a later event.
    pub shared_reads: SharedReads,
    /// Input tokens of answered requests.
    pub input_tokens: InputTokens,
    /// How long prompts were, as asked, sent and counted by the server.
    #[serde(default)]
    pub input_lengths: InputLengths,
    /// What a prefix cache was expected to find, and what the server's found.
    #[serde(default)]
    pub cache: CacheUse,
    /// Output tokens of answered requests.
    pub output_tokens: OutputTokens,
    /// Tics and tokens of answered requests by channel.
    #[serde(default)]
    pub channels: Channels,
    /// Output tokens of answered requests a second of `duration_s`; null without a duration.
    pub tokens_per_s: Option<f64>,
    /// Answered requests a second of `duration_s`; null without a duration.
    pub requests_per_s: Option<f64>,
    /// Largest number of requests sent and not ended.
    pub max_in_flight: u64,
    /// Largest number of requests sent and without a tic.
    pub max_queued: u64,
    /// Requests in flight over the run.
    #[serde(default)]
    pub concurrency: Concurrency,
    /// The part of the run in which it neither fills up nor drains; null where there is none.
    #[serde(default)]
    pub steady: Option<Steady>,
    /// Requests that kept to the limits a request; null where none were given.
    #[serde(default)]
    pub slo: Option<Attainment>,
    /// Limits of the run.
    #[serde(default)]
    pub objectives: Vec<ObjectiveResult>,
    /// The run in windows of one length, by when requests were due.
    #[serde(default)]
    pub windows: Vec<Window>,
    /// By input length as asked.
    #[serde(default)]
    pub by_input_length: Vec<LengthClass>,
    /// By output length as asked.
    #[serde(default)]
    pub by_output_length: Vec<LengthClass>,
    /// Figures by turn; null where no request continues another.
    #[serde(default)]
    pub turns: Option<Turns>,
    /// Stamps that are earlier than the one before them in their record. Their span is left out of
    /// its distribution, never rounded to zero.
    pub broken_stamps: u64,
    /// The first request of each class of failure, by index in the schedule.
    pub examples: Vec<Example>,
    /// Which requests the figures are over, in words.
    pub population: Populations,
    /// Whether the measurement can be trusted.
    pub validity: Validity,
}

impl Summary {
    /// Requests that ended with `outcome`.
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }
}

/// Counts of requests: `scheduled` = `sent` + `not_sent`, `sent` = `ok` + `short` + `long` + `failed`,
/// unless records were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Requests {
    /// In the schedule.
    pub scheduled: u64,
    /// Taken up when due: every outcome but `not_sent`, also where no connection could be made.
    pub sent: u64,
    /// Answered with the tokens asked for.
    pub ok: u64,
    /// Answered with fewer.
    pub short: u64,
    /// Answered with more.
    pub long: u64,
    /// Sent and not answered.
    pub failed: u64,
    /// Never sent.
    pub not_sent: u64,
    /// Scheduled, and without a record in a journal that says it is complete: a fault of the tester.
    pub lost: u64,
}

impl Requests {
    /// `ok` + `short` + `long`.
    pub const fn answered(&self) -> u64 {
        self.ok + self.short + self.long
    }
}

/// Tics that shared their read with a later event: each came no later than its stamp and after the
/// read before, so its gaps are known as intervals.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SharedReads {
    /// Tics of answered requests.
    pub tics: u64,
    /// Of these, shared.
    pub shared: u64,
    /// `shared` / `tics`; null without tics.
    pub share: Option<f64>,
}

/// Sums of input lengths over answered requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InputTokens {
    /// As the schedule asks.
    pub asked: u64,
    /// As the server counted, over the requests for which it did; null when for none.
    pub usage: Option<u64>,
    /// Requests for which the server counted.
    pub with_usage: u64,
    /// Of these, requests whose count differs from what was asked.
    pub differ: u64,
}

/// Which count of output tokens is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenCount {
    /// No request was answered.
    #[default]
    None,
    /// The server's, for every request.
    Usage,
    /// Tics, for every request: the server counted for none.
    Tics,
    /// The server's where it counted, tics elsewhere.
    Mixed,
}

impl TokenCount {
    /// In print.
    pub const fn name(self) -> &'static str {
        match self {
            TokenCount::None => "none",
            TokenCount::Usage => "usage",
            TokenCount::Tics => "tics",
            TokenCount::Mixed => "usage where given, else tics",
        }
    }
}

/// Sums of output lengths over answered requests.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct OutputTokens {
    /// As the schedule asks.
    pub asked: u64,
    /// Tics.
    pub tics: u64,
    /// As the server counted, over the requests for which it did; null when for none.
    pub usage: Option<u64>,
    /// The sum that rates and TPOT are computed from.
    pub used: u64,
    /// What `used` is made of.
    pub count: TokenCount,
    /// Requests for which the server counted.
    pub with_usage: u64,
    /// Of these, requests whose number of tics differs: several tokens an event, or none.
    pub differ: u64,
    /// Server's tokens a tic, over the requests for which it counted; null without any.
    pub tokens_per_tic: Option<f64>,
    /// Tics of failed requests, which no other figure counts.
    pub failed_tics: u64,
}

/// A request that shows what an outcome looked like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The outcome.
    pub outcome: Outcome,
    /// Index in the schedule.
    pub i: u64,
    /// Line in the trace.
    pub row: Option<u64>,
    /// HTTP status.
    pub status: Option<u16>,
    /// What the record says about it.
    pub detail: Option<String>,
}

/// Which requests the figures are over, in words for print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Populations {
    /// Of every latency.
    pub latency: String,
    /// Of lateness and read delay.
    pub tester: String,
    /// Of token counts and rates.
    pub throughput: String,
}

impl Default for Populations {
    fn default() -> Self {
        Populations {
            latency: "answered requests: ok, short, long".to_owned(),
            tester: "every request handed to the kernel, failed or not".to_owned(),
            throughput: "answered requests, over the whole time".to_owned(),
        }
    }
}
