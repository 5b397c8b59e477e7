//! The description of a run: `run.json`, written before the first request.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Stamp;

/// Version of `run.json`.
pub const RUN_FORMAT: u32 = 1;

/// What was run, against what, with which parameters. No secret is ever in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDescription {
    /// [`RUN_FORMAT`] of the writer.
    pub format: u32,
    /// Version of Tics.
    pub tics_version: String,
    /// Name of the run; request `i` carries `X-Request-Id: <name>-<i>`.
    pub name: String,
    /// Wall time of the origin, RFC 3339, UTC.
    pub started: String,
    /// CLOCK_MONOTONIC at the origin of all stamps.
    pub origin_monotonic_ns: u64,
    /// Wall time at the origin, nanoseconds since 1970.
    pub origin_unix_ns: u64,
    /// The command line, secrets redacted.
    pub command: Vec<String>,
    /// The server.
    pub target: Target,
    /// The load.
    pub load: Load,
    /// The trace, where there is one.
    #[serde(default)]
    pub trace: Option<TraceSource>,
    /// How the turns of conversations follow each other, where the trace has conversations.
    #[serde(default)]
    pub sessions: Option<Sessions>,
    /// What made the prompts.
    pub prompts: PromptSource,
    /// The machine.
    pub host: Host,
    /// Thresholds of checks that were changed (`--check`), by the check's id; null is off.
    #[serde(default)]
    pub checks: BTreeMap<String, Option<f64>>,
    /// What the figures are asked to show.
    #[serde(default)]
    pub asked: Asked,
}

/// The server.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Target {
    /// Base address, without credentials.
    pub url: String,
    /// Path of the requests.
    pub path: String,
    /// The model asked for.
    pub model: String,
    /// Whether the simulated server was started for this run.
    pub simulated: bool,
    /// Addresses that the name resolved to.
    pub addresses: Vec<String>,
    /// Whether certificates were not verified.
    pub insecure: bool,
    /// Time limits of a request, in words.
    #[serde(default)]
    pub limits: String,
    /// Keys of the body beside `model` and `messages`, as they were sent.
    pub body: serde_json::Value,
}

/// How arrivals were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoadModel {
    /// Arrivals at the schedule's times, whatever the server does.
    OpenLoop,
    /// A fixed number of requests in flight.
    ClosedLoop,
    /// Everything at one instant.
    AllAtOnce,
}

impl LoadModel {
    /// In print.
    pub const fn name(self) -> &'static str {
        match self {
            LoadModel::OpenLoop => "open loop",
            LoadModel::ClosedLoop => "closed loop",
            LoadModel::AllAtOnce => "all at once",
        }
    }
}

/// The load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// How arrivals were made.
    pub model: LoadModel,
    /// Requests in the schedule.
    pub scheduled: u64,
    /// Sum of their input lengths, tokens.
    pub input_tokens: u64,
    /// Sum of their output lengths, tokens.
    pub output_tokens: u64,
    /// Due time of the last request after the first, nanoseconds; 0 in a closed loop.
    pub span_ns: u64,
    /// Requests in flight of a closed loop.
    #[serde(default)]
    pub concurrency: Option<u64>,
    /// Factor on the trace's times.
    #[serde(default)]
    pub scale: Option<f64>,
    /// Part of the trace, seconds from its start, end excluded.
    #[serde(default)]
    pub window_s: Option<(f64, f64)>,
    /// Largest number of requests taken.
    #[serde(default)]
    pub limit: Option<u64>,
    /// Where the schedule's zero is.
    #[serde(rename = "epoch_ns")]
    pub epoch: Stamp,
}

/// The trace file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceSource {
    /// As given.
    pub path: String,
    /// Name of the format.
    pub format: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// Valid rows in the file.
    pub rows: u64,
    /// Rows skipped as invalid.
    pub skipped: u64,
    /// Where it was fetched from, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub download: Option<Download>,
}

/// A trace that lies at an address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// The address, without its query, which may be a secret.
    pub url: String,
    /// SHA-256 of what came from there, in hexadecimal; of a compressed file another one than the trace's.
    pub sha256: String,
    /// When it came, RFC 3339, UTC.
    pub fetched: String,
}

/// How the turns of conversations follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sessions {
    /// `recorded`, `wait` or `think`.
    pub mode: String,
    /// Where think times come from: `recorded`, or a distribution of seconds; none in the other modes.
    #[serde(default)]
    pub think_time: Option<String>,
    /// What a turn knows of the ones before it: `trace` or `live`.
    pub history: String,
    /// Requests that wait for the end of another.
    pub followers: u64,
}

/// What made the prompts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PromptSource {
    /// The tokenizer: a path, a model id, or `embedded`; `none` for given texts.
    pub tokenizer: String,
    /// SHA-256 of its file, in hexadecimal.
    #[serde(default)]
    pub tokenizer_sha256: Option<String>,
    /// How: `random`, `dummy`, `given`.
    pub mode: String,
    /// The seed.
    pub seed: u64,
    /// Whether prompts share the prefixes that the trace's `hash_ids` describe.
    #[serde(default)]
    pub prefixes: bool,
    /// What sets the text apart from that of other runs with the seed; none where a server's cache may
    /// know it.
    #[serde(default)]
    pub salt: Option<u64>,
    /// Tokens that the server's chat template adds, left out of the prompts so that the server counts
    /// the lengths asked for; none where that is not known or not wanted.
    #[serde(default)]
    pub template_tokens: Option<u32>,
    /// Whether they were sent as token ids.
    #[serde(default)]
    pub token_ids: bool,
    /// What the server may know of the prompts before the run: `cold`, `keep` or `warm`.
    #[serde(default)]
    pub cache: Option<String>,
    /// What was sent before the run so that the server knows it.
    #[serde(default)]
    pub warmed: Option<Warmed>,
}

/// What was sent before a run to warm the server's prefix cache: what two or more of its requests have in
/// common, each longest such prefix once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Warmed {
    /// Prefixes sent.
    pub prefixes: u64,
    /// Distinct blocks of the trace in them.
    pub blocks: u64,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Host {
    /// Name of the machine.
    pub name: String,
    /// Operating system and kernel release.
    pub system: String,
    /// Processors this process may use.
    pub cores: u32,
    /// Model of the processor.
    pub cpu: String,
    /// Workers that read streams.
    pub workers: u32,
}

/// What the figures of the run are asked to show beside those that every run has: so that the report
/// made later shows the same.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// Limits a request (`--slo`).
    #[serde(default)]
    pub slo: Option<String>,
    /// Limits a run (`--objective`).
    #[serde(default)]
    pub objectives: Vec<String>,
    /// Whether latencies have failed requests at infinity (`--failed-as inf`).
    #[serde(default)]
    pub failed_as_inf: bool,
    /// The steady window, seconds after the first request was due (`--steady`).
    #[serde(default)]
    pub steady_s: Option<(f64, f64)>,
}
