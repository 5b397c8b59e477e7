//! From records to one [`Summary`]: definitions, quantiles, peaks, and the verdict on the measurement.
//!
//! The one decision that explains the rest: a summary is a pure function of the journal's lines and
//! the run's description, so the figures printed at the end of a run, those of a report made years
//! later on another machine, and those of a program of your own are the same figures. Quantiles are
//! exact, computed from every gap of every stream. The price is memory: 4 bytes a tic (12 for a gap
//! above 4.29 s) and about 150 bytes a request, more while the figures are made.
//!
//! The verdict is judged by [`judge`] from [`Evidence`]; [`evidence`] collects it.
//!
//! It knows no file, no network, no runtime and no terminal. Feed it lines from wherever they are.
//!
//! ```
//! use tics_record::{Event, EventClass, LoadModel, Outcome, RequestRecord, Stamp};
//! use tics_stats::{Limits, Plan, Summariser};
//!
//! let mut record = RequestRecord::not_sent(0, Stamp::ORIGIN);
//! record.sent = Some(Stamp::from_nanos(20_000));
//! record.events = vec![Event::new(Stamp::from_nanos(5_020_000), EventClass::Content)];
//! record.end = Some(Stamp::from_nanos(5_020_000));
//! record.outcome = Outcome::Ok;
//!
//! let mut summariser = Summariser::new();
//! summariser.record(&record);
//! let plan = Plan::new(1, LoadModel::OpenLoop);
//! let summary = summariser.finish(&plan, &Limits::default());
//! assert_eq!(summary.ttft_ms.p99, Some(5.0));
//! assert_eq!(summary.icl_ms.p99, None); // one tic has no gap, and no gap is not 0 ms
//! ```
//!
//! # Definitions
//! Each latency is a span between two stamps of a record. Unless said otherwise the population is
//! the answered requests (`ok`, `short`, `long`); a failed request is in no latency.
//!
//! | name | formula | one value a | null, or left out |
//! | --- | --- | --- | --- |
//! | `ttft_ms` | first tic - sent | request | |
//! | `ttft_from_due_ms` | first tic - due | request | |
//! | `icl_ms` | tic - tic before it | gap | below two tics |
//! | `itl_ms` | the same, where each tic carried one token (`usage.completion_tokens` = tics), or divided by the tokens of the tic where the server says how many | token | requests that show neither; null if all are so |
//! | `tpot_ms` | (last tic - first tic) / (output tokens - 1) | request | below two tokens, or two tics |
//! | `e2e_ms` | last event - sent | request | |
//! | `e2e_from_due_ms` | last event - due | request | |
//! | `lateness_us` | sent - due, negative if early | request | never handed to the kernel; population: all others, failed or not |
//! | `read_delay_us` | p99 of (user time - kernel time) over a request's reads; `max` is over all reads | request | no kernel stamps; population: as lateness |
//!
//! | name | formula |
//! | --- | --- |
//! | output tokens | `usage.completion_tokens`, else the number of tics |
//! | `duration_s` | last end - first sent, over every request that was sent, failed or not |
//! | `tokens_per_s` | output tokens of answered requests / `duration_s` |
//! | `requests_per_s` | answered requests / `duration_s` |
//! | `max_in_flight` | largest number of requests between sent and end; an end comes before a start at the same instant |
//! | `max_queued` | the same between sent and first tic (or the end, where there was none) |
//!
//! A turn that waits for the one before it is due at the instant from which it may leave: that turn's end
//! and the pause, or its own time where that is later. So its lateness and its latencies from due begin
//! there, and how long the turn before held it up (due - scheduled) is counted apart, in [`Turns`].
//!
//! Quantiles are [`quantile`]'s; other tools' figures are under [`definitions`].
#![warn(missing_docs)]

mod attained;
mod channels;
pub mod definitions;
mod distribution;
mod effective;
pub mod evidence;
mod figures;
mod flow;
mod gaps;
mod index_set;
mod interval;
mod lengths;
mod objective;
mod over_time;
mod peaks;
mod quantile;
mod rows;
mod select;
mod special;
mod summariser;
mod summary;
mod tokens;
mod turns;
mod verdict;
mod workload;

pub use attained::{Attainment, LimitMet, ObjectiveResult};
pub use channels::{Channel, Channels};
pub use distribution::{Bounds, Distribution};
pub use interval::{CONFIDENCE, Interval, floor_of, wilson};
pub use lengths::LengthClass;
pub use objective::{Comparison, FailedAs, Limit, Metric, Objective, ObjectiveError, Quantity, Slo, Wanted};
pub use over_time::{Concurrency, Steady, Window};
pub use quantile::{Empty, Quantile, Sample, quantile};
pub use summariser::{Plan, Summariser, summarise};
pub use summary::{
    Example, InputTokens, OutputTokens, Populations, Requests, SharedReads, Summary, TokenCount,
};
pub use turns::{TurnRow, Turns};
pub use verdict::{
    CHECKS, Check, CheckInfo, CheckOutcome, Evidence, Limits, Validity, Verdict, check_info, judge,
};
pub use workload::{
    CACHE_COUNTERS, CacheComparison, CacheShare, CacheUse, InputLengths, LengthDifference, OddLength,
    ServerCache,
};
